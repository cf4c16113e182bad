//! The listeners: one stand per platform, plain HTTP/1.1 on the loopback. Knows the script, not the documents.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::memory::{Ledger, Memory};
use super::request::{Answer, Inspection, Outcome, Request};
use super::{Accounts, Behaviour, Failure, Platform, Received, dsp, impact, scaleo, thrad, trackdesk};

/// Most connections of one platform at a time; a relay's pool for one destination is far smaller. More wait in the
/// kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// Wait after a failed accept (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One platform: its address, its accounts, and what it remembers.
#[derive(Debug)]
pub(super) struct Stand {
    platform: Platform,
    address: SocketAddr,
    accounts: Arc<Accounts>,
    state: Mutex<State>,
}

/// What requests change.
#[derive(Debug)]
pub(super) struct State {
    pub(super) ledger: Ledger,
    pub(super) script: Behaviour,
    memory: Memory,
}

/// What happens on the wire.
#[derive(Debug)]
pub(super) enum Act {
    Answer(Answer),
    AnswerAfter(Duration, Answer),
    Silence,
    Cut,
}

/// The service's word to its connection: reset it.
#[derive(Debug, thiserror::Error)]
#[error("the script resets this connection")]
struct Cut;

/// Boxed, because a connection that can be taken apart must not hold pinned parts.
type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Full<Bytes>>, Cut>> + Send>>;

/// Binds a platform's port and serves it until `stopping`.
pub(super) async fn open(
    platform: Platform,
    accounts: Arc<Accounts>,
    base_port: u16,
    offset: u16,
    tasks: &TaskTracker,
    stopping: &CancellationToken,
) -> io::Result<Arc<Stand>> {
    let port = match base_port {
        0 => 0,
        base => base.checked_add(offset).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("no room for five ports from {base_port}"))
        })?,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let stand = Arc::new(Stand::new(platform, listener.local_addr()?, accounts));
    tasks.spawn(listen(listener, Arc::clone(&stand), tasks.clone(), stopping.clone()));
    Ok(stand)
}

async fn listen(listener: TcpListener, stand: Arc<Stand>, tasks: TaskTracker, stopping: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accept = async {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (stand, stopping) = (Arc::clone(&stand), stopping.clone());
            tasks.spawn(async move {
                stopping.run_until_cancelled(serve(stream, stand)).await;
                drop(place);
            });
        }
    };
    stopping.run_until_cancelled(accept).await;
}

/// Serves one connection to its end. How it ends is the client's affair, except for a [`Cut`]: then unsent and unread
/// bytes are dropped with a TCP reset.
async fn serve(stream: TcpStream, stand: Arc<Stand>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "sandbox could not set nodelay");
    }
    let service = service_fn(move |request| {
        let stand = Arc::clone(&stand);
        let answering: Answering = Box::pin(async move { stand.answer(request).await });
        answering
    });
    let mut connection =
        http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    if let Err(error) = ended
        && std::error::Error::source(&error).is_some_and(|source| source.is::<Cut>())
        && let Err(error) = connection.into_parts().io.into_inner().set_zero_linger()
    {
        tracing::debug!(%error, "sandbox could not reset a connection");
    }
}

impl Stand {
    pub(super) fn new(platform: Platform, address: SocketAddr, accounts: Arc<Accounts>) -> Stand {
        let memory = Memory::new(super::HANDLES_MAX);
        let state = State { ledger: Ledger::default(), script: Behaviour::Document, memory };
        Stand { platform, address, accounts, state: Mutex::new(state) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the stand remembers. A panic elsewhere leaves it whole: every change is one call.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: hyper::Request<Incoming>) -> Result<http::Response<Full<Bytes>>, Cut> {
        let Ok(request) = Request::read(request).await else {
            self.state().ledger.broke_off();
            return Err(Cut);
        };
        let answer = match self.receive(&request) {
            Act::Answer(answer) => answer,
            Act::AnswerAfter(delay, answer) => {
                tokio::time::sleep(delay).await;
                answer
            }
            Act::Silence => match std::future::pending::<Infallible>().await {},
            Act::Cut => return Err(Cut),
        };
        Ok(response(answer))
    }

    /// Judges and records a request, and says what happens on the wire.
    pub(super) fn receive(&self, request: &Request) -> Act {
        let inspection = inspect(self.platform, request, &self.accounts);
        let mut state = self.state();
        let behaviour = state.next_behaviour();
        let mut settle = |inspection: &Inspection| match &inspection.refusal {
            Some(refusal) => Outcome::idle(refusal.clone()),
            None => settle(self.platform, inspection, &mut state.memory, &self.accounts),
        };
        let (act, effect, duplicate) = match behaviour {
            Behaviour::Document => {
                let outcome = settle(&inspection);
                (Act::Answer(outcome.answer), outcome.effect, outcome.duplicate)
            }
            Behaviour::Slow { delay, .. } => {
                let outcome = settle(&inspection);
                (Act::AnswerAfter(delay, outcome.answer), outcome.effect, outcome.duplicate)
            }
            Behaviour::LoseAnswer { .. } => {
                let outcome = settle(&inspection);
                (Act::Cut, outcome.effect, outcome.duplicate)
            }
            Behaviour::Answer { status, headers, body, .. } => {
                (Act::Answer(Answer { status, headers, body }), false, false)
            }
            Behaviour::Fail { failure, .. } => (Act::Answer(fail(self.platform, failure)), false, false),
            Behaviour::Hang => (Act::Silence, false, false),
            Behaviour::Reset => (Act::Cut, false, false),
        };
        let answered = match &act {
            Act::Answer(answer) | Act::AnswerAfter(_, answer) => answer.status,
            Act::Silence | Act::Cut => 0,
        };
        let received = Received {
            method: request.method.clone(),
            target: request.target(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            operation: inspection.operation,
            violations: inspection.findings.sentences(),
            handle: inspection.handle,
            effect,
            answered,
        };
        state.ledger.record(received, duplicate);
        act
    }
}

impl State {
    /// The behaviour for the next request, counting down its `times`.
    fn next_behaviour(&mut self) -> Behaviour {
        let spent = match &mut self.script {
            Behaviour::Answer { times, .. }
            | Behaviour::Fail { times, .. }
            | Behaviour::Slow { times, .. }
            | Behaviour::LoseAnswer { times } => match times {
                Some(0) => true,
                Some(left) => {
                    *left = left.saturating_sub(1);
                    false
                }
                None => false,
            },
            Behaviour::Document | Behaviour::Hang | Behaviour::Reset => false,
        };
        if spent {
            self.script = Behaviour::Document;
        }
        self.script.clone()
    }
}

fn inspect(platform: Platform, request: &Request, accounts: &Accounts) -> Inspection {
    match platform {
        Platform::Thrad => thrad::inspect(request, accounts),
        Platform::Impact => impact::inspect(request, accounts),
        Platform::Scaleo => scaleo::inspect(request, accounts),
        Platform::Trackdesk => trackdesk::inspect(request, accounts),
        Platform::Dsp => dsp::inspect(request, accounts),
    }
}

fn settle(platform: Platform, inspection: &Inspection, memory: &mut Memory, accounts: &Accounts) -> Outcome {
    match platform {
        Platform::Thrad => thrad::settle(inspection, memory),
        Platform::Impact => impact::settle(inspection, memory, accounts),
        Platform::Scaleo => scaleo::settle(inspection, memory, accounts),
        Platform::Trackdesk => trackdesk::settle(inspection, memory),
        Platform::Dsp => dsp::settle(inspection, memory),
    }
}

fn fail(platform: Platform, failure: Failure) -> Answer {
    match platform {
        Platform::Thrad => thrad::fail(failure),
        Platform::Impact => impact::fail(failure),
        Platform::Scaleo => scaleo::fail(failure),
        Platform::Trackdesk => trackdesk::fail(failure),
        Platform::Dsp => dsp::fail(failure),
    }
}

/// Puts an answer on the wire; a script that is no HTTP becomes a `500` that says so.
fn response(answer: Answer) -> http::Response<Full<Bytes>> {
    let mut builder = http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(Bytes::from(answer.body))).unwrap_or_else(|error| {
        let mut response =
            http::Response::new(Full::new(Bytes::from(format!("the script is no HTTP answer: {error}"))));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
