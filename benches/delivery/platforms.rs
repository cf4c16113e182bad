//! Three platforms that take everything and tell who waits for it, one that swallows requests, one that answers 503.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::Failed;

/// Where they are.
pub(crate) struct Platforms {
    /// Those that take everything.
    pub(crate) well: [SocketAddr; 3],
    /// The one that never answers.
    pub(crate) hole: SocketAddr,
    /// The one that answers 503.
    pub(crate) failing: SocketAddr,
    /// Who waits for what to arrive.
    pub(crate) arrivals: Arc<Arrivals>,
    _tasks: JoinSet<()>,
}

/// Conversions on their way, by event id: how many of the three have it, and who waits for the last.
#[derive(Default)]
pub(crate) struct Arrivals(Mutex<HashMap<String, (usize, oneshot::Sender<()>)>>);

impl Arrivals {
    /// Tells when all three have it.
    pub(crate) fn wait(&self, event_id: String) -> oneshot::Receiver<()> {
        let (arrived, waits) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(event_id, (0, arrived));
        waits
    }

    fn note(&self, event_id: &str) {
        let mut on_their_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((count, _)) = on_their_way.get_mut(event_id) else { return };
        *count = count.saturating_add(1);
        if *count == 3
            && let Some((_, arrived)) = on_their_way.remove(event_id)
        {
            // Who waits may have had enough.
            arrived.send(()).ok();
        }
    }
}

/// What a platform does with a request.
#[derive(Clone, Copy)]
enum Manner {
    Take,
    Swallow,
    Fail,
}

impl Platforms {
    pub(crate) async fn start() -> Result<Platforms, Failed> {
        let (arrivals, mut tasks) = (Arc::<Arrivals>::default(), JoinSet::new());
        let mut addresses = Vec::new();
        for manner in [Manner::Take, Manner::Take, Manner::Take, Manner::Swallow, Manner::Fail] {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            tasks.spawn(listen(listener, manner, Arc::clone(&arrivals)));
        }
        let [one, two, three, hole, failing] =
            <[SocketAddr; 5]>::try_from(addresses).map_err(|_other| "five platforms")?;
        Ok(Platforms { well: [one, two, three], hole, failing, arrivals, _tasks: tasks })
    }
}

async fn listen(listener: TcpListener, manner: Manner, arrivals: Arc<Arrivals>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let arrivals = Arc::clone(&arrivals);
                let service = service_fn(move |request| answer(request, manner, Arc::clone(&arrivals)));
                let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async {
                    // A connection that breaks is the relay's to notice.
                    connection.await.ok();
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    manner: Manner,
    arrivals: Arc<Arrivals>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    #[expect(clippy::disallowed_methods, reason = "within a limit")]
    let body = Limited::new(request.into_body(), 1 << 16).collect().await.map(|body| body.to_bytes());
    let status = match manner {
        Manner::Take => {
            let body: Result<serde_json::Value, _> = serde_json::from_slice(&body.unwrap_or_default());
            if let Some(event_id) = body.ok().as_ref().and_then(|body| body.get("id")?.as_str()) {
                arrivals.note(event_id);
            }
            StatusCode::OK
        }
        Manner::Swallow => std::future::pending().await,
        Manner::Fail => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    Ok(response)
}
