//! Five platforms on 127.0.0.1 that take everything, and note when the fifth has a conversion.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Failed;
use super::load::number_in;
use super::process::now;
use super::tls::{Tls, accepted};

/// Where they are.
pub(crate) struct Sinks {
    /// In the order of [`NAMES`].
    pub(crate) addresses: Vec<SocketAddr>,
    /// The same over TLS.
    pub(crate) tls_addresses: Vec<SocketAddr>,
    pub(crate) tls: Tls,
    book: Arc<Book>,
    tasks: JoinSet<()>,
}

/// The presets that stand behind them, and what each has to hear.
const NAMES: [(&str, &str); 5] = [
    ("thrad", r#"{"status":"ok"}"#),
    ("impact", r#"{"Status":"QUEUED"}"#),
    ("scaleo", r#"{"status":"success"}"#),
    ("trackdesk", "{}"),
    ("dsp", "{}"),
];

/// What has arrived.
#[derive(Default)]
pub(crate) struct Book {
    arrived: AtomicU32,
    /// Of each conversion when it was to be sent, and how many have it.
    sent: Mutex<HashMap<u64, (Instant, u32)>>,
    /// Seconds to the fifth arrival.
    times: Mutex<Vec<f64>>,
}

impl Sinks {
    pub(crate) async fn start() -> Result<Sinks, Failed> {
        let (book, mut tasks, tls) = (Arc::<Book>::default(), JoinSet::new(), Tls::new()?);
        let mut all = [Vec::new(), Vec::new()];
        for (addresses, acceptor) in all.iter_mut().zip([None, Some(tls.acceptor())]) {
            for (_, said) in NAMES {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                addresses.push(listener.local_addr()?);
                tasks.spawn(listen(listener, acceptor.clone(), said, Arc::clone(&book)));
            }
        }
        let [addresses, tls_addresses] = all;
        Ok(Sinks { addresses, tls_addresses, tls, book, tasks })
    }

    /// The same where nobody listens.
    pub(crate) async fn absent() -> Result<Sinks, Failed> {
        let mut sinks = Sinks::start().await?;
        sinks.tasks.shutdown().await;
        Ok(sinks)
    }

    /// Each with the name of its preset; over TLS, or not.
    pub(crate) fn named(&self, over_tls: bool) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let addresses = if over_tls { &self.tls_addresses } else { &self.addresses };
        NAMES.into_iter().map(|(name, _)| name).zip(addresses.iter().copied())
    }

    pub(crate) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book)
    }

    /// Requests that have arrived since everything was forgotten.
    pub(crate) fn arrived(&self) -> u32 {
        self.book.arrived.load(Ordering::Relaxed)
    }

    pub(crate) fn forget(&self) {
        self.book.arrived.store(0, Ordering::Relaxed);
        lock(&self.book.sent).clear();
        lock(&self.book.times).clear();
    }

    /// Waits until so many conversions have arrived everywhere.
    pub(crate) async fn wait_for(&self, count: u32) -> Result<(), Failed> {
        let since = now();
        while lock(&self.book.times).len() < usize::try_from(count)? {
            if since.elapsed() > PATIENCE {
                let arrived = lock(&self.book.times).len();
                return Err(format!("of {count} conversions {arrived} have arrived everywhere").into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Seconds from when it was to be sent to the fifth arrival, in their order.
    pub(crate) fn times(&self) -> Vec<f64> {
        let mut times = std::mem::take(&mut *lock(&self.book.times));
        times.sort_by(f64::total_cmp);
        times
    }
}

impl Book {
    /// A conversion is on its way since then.
    pub(crate) fn expect(&self, number: u64, since: Instant) {
        lock(&self.sent).insert(number, (since, 0));
    }

    /// It was refused.
    pub(crate) fn expect_no_more(&self, number: u64) {
        lock(&self.sent).remove(&number);
    }

    fn note(&self, number: u64) {
        let mut sent = lock(&self.sent);
        // What is counted is what was asked for, once: a warm-up's late arrivals are nobody's.
        let Some((since, count)) = sent.get_mut(&number) else { return };
        self.arrived.fetch_add(1, Ordering::Relaxed);
        *count = count.saturating_add(1);
        if *count == 5 {
            let seconds = since.elapsed().as_secs_f64();
            sent.remove(&number);
            drop(sent);
            lock(&self.times).push(seconds);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(listener: TcpListener, acceptor: Option<TlsAcceptor>, said: &'static str, book: Arc<Book>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                stream.set_nodelay(true).ok();
                connections.spawn(serve(stream, acceptor.clone(), said, Arc::clone(&book)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, said: &'static str, book: Arc<Book>) {
    let Ok(stream) = accepted(stream, acceptor.as_ref()).await else { return };
    let service = service_fn(move |request| answer(request, said, Arc::clone(&book)));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // However it ends, the sender is told of it.
    connection.await.ok();
}

async fn answer(
    request: Request<Incoming>,
    said: &'static str,
    book: Arc<Book>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    #[expect(clippy::disallowed_methods, reason = "within a limit")]
    let body = Limited::new(request.into_body(), LIMIT).collect().await.map(|body| body.to_bytes());
    if let Some(number) = body.ok().and_then(|body| number_in(&body)) {
        book.note(number);
    }
    Ok(Response::new(Full::new(Bytes::from_static(said.as_bytes()))))
}

/// Bytes of any body here.
pub(crate) const LIMIT: usize = 1 << 16;
/// Whatever was accepted has arrived by then.
const PATIENCE: Duration = Duration::from_secs(120);
