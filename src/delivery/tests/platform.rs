//! A platform on 127.0.0.1 that answers as its script says and remembers what it received.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What the platform does to one request.
#[derive(Debug, Clone)]
pub(in crate::delivery) enum Reply {
    /// A status.
    Status(u16),
    /// A status with a header.
    Header(u16, &'static str, String),
    /// A status with a body.
    Body(u16, String),
    /// Nothing, ever.
    Hang,
    /// The connection is closed without an answer.
    Close,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(in crate::delivery) struct Seen {
    pub(in crate::delivery) at: Instant,
    /// Method and target.
    pub(in crate::delivery) line: String,
    pub(in crate::delivery) headers: http::HeaderMap,
    pub(in crate::delivery) body: String,
}

/// The platform; ends when dropped.
pub(in crate::delivery) struct Platform {
    address: SocketAddr,
    seen: watch::Receiver<Vec<Seen>>,
    open: watch::Receiver<usize>,
    script: Arc<Mutex<Script>>,
    _tasks: JoinSet<()>,
}

struct Script {
    replies: std::vec::IntoIter<Reply>,
    then: Reply,
}

impl Platform {
    /// Answers with `replies` in order, then with `then`.
    pub(in crate::delivery) async fn answering(replies: impl Into<Vec<Reply>>, then: Reply) -> Platform {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (record, seen) = watch::channel(Vec::new());
        let (count, open) = watch::channel(0);
        let script = Arc::new(Mutex::new(Script { replies: replies.into().into_iter(), then }));
        let shared = Arc::clone(&script);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (record, script, count) = (record.clone(), Arc::clone(&shared), count.clone());
                connections.spawn(async move {
                    count.send_modify(|open: &mut usize| *open = open.saturating_add(1));
                    serve(stream, record, script).await;
                    count.send_modify(|open: &mut usize| *open = open.saturating_sub(1));
                });
            }
        });
        Platform { address, seen, open, script, _tasks: tasks }
    }

    /// From now on every request is answered so.
    pub(in crate::delivery) fn now(&self, then: Reply) {
        *self.script.lock().unwrap() = Script { replies: Vec::new().into_iter(), then };
    }

    /// Where it listens.
    pub(in crate::delivery) fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// What it has received.
    pub(in crate::delivery) fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Waits until no connection is open.
    pub(in crate::delivery) async fn left(&self) {
        self.open.clone().wait_for(|open| *open == 0).await.unwrap();
    }

    /// Waits until it has received so many requests.
    pub(in crate::delivery) async fn received(&self, count: usize) -> Vec<Seen> {
        self.seen.clone().wait_for(|seen| seen.len() >= count).await.unwrap().clone()
    }
}

async fn serve(stream: TcpStream, record: watch::Sender<Vec<Seen>>, script: Arc<Mutex<Script>>) {
    let service = service_fn(|request| reply(request, &record, &script));
    let _ended = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

#[expect(clippy::disallowed_methods, reason = "collected through a limit")]
async fn reply(
    request: http::Request<Incoming>,
    record: &watch::Sender<Vec<Seen>>,
    script: &Mutex<Script>,
) -> io::Result<http::Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, 1 << 20).collect().await.map_err(io::Error::other)?.to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let next = {
        let mut script = script.lock().unwrap();
        script.replies.next().unwrap_or_else(|| script.then.clone())
    };
    let line = format!("{} {}", head.method, head.uri);
    record.send_modify(|seen| seen.push(Seen { at: Instant::now(), line, headers: head.headers, body }));
    let mut response = http::Response::new(Full::default());
    let status = match next {
        Reply::Status(status) => status,
        Reply::Header(status, name, value) => {
            response.headers_mut().insert(name, value.parse().unwrap());
            status
        }
        Reply::Body(status, body) => {
            *response.body_mut() = Full::from(body);
            status
        }
        Reply::Hang => match std::future::pending::<Infallible>().await {},
        Reply::Close => return Err(io::Error::other("closed by the script")),
    };
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    Ok(response)
}
