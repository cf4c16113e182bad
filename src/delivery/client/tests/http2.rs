//! HTTP/2: one connection for all that is under way.

use tokio::sync::Semaphore;

use super::super::kept::{AGE_MAX, IDLE_TIMEOUT};
use super::kept::pass;
use super::tls::{tls, trusts};
use super::*;

/// A server that answers at once, but to `/held` only when it is released.
struct Holding {
    server: Server,
    ca_file: tempfile::NamedTempFile,
    arrived: Arc<Semaphore>,
    released: Arc<Semaphore>,
}

impl Holding {
    async fn start() -> Holding {
        let (arrived, released) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (arrives, release) = (Arc::clone(&arrived), Arc::clone(&released));
        let answer = move |request: http::Request<Incoming>| {
            let (arrives, release) = (Arc::clone(&arrives), Arc::clone(&release));
            async move {
                if request.uri().path() == "/held" {
                    arrives.add_permits(1);
                    release.acquire().await.unwrap().forget();
                }
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::new())))
            }
        };
        let (server, ca_file) = tls(&["h2"], rustls::DEFAULT_VERSIONS, move |stream| {
            let service = hyper::service::service_fn(answer.clone());
            async move {
                let connection = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
                let _ended = connection.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
            }
        })
        .await;
        Holding { server, ca_file, arrived, released }
    }

    fn client(&self) -> Client {
        connected_by(PATIENCE_MS, 3_600_000, &trusts(self.ca_file.path()))
    }

    async fn answers(&self, client: &Client, path: &str) {
        let url = format!("https://{}{path}", self.server.address);
        let sent = client.send(&post(&url), &CancellationToken::new()).await;
        answered(&sent.transmission, 200, Body::Whole);
        assert_eq!(sent.negotiated, Some(Negotiated { protocol: Protocol::Http2, tls: Some(Tls::V1_3) }));
    }
}

#[tokio::test]
async fn a_connection_is_shared_before_its_first_answer_and_kept_however_late_that_comes() {
    let holding = Holding::start().await;
    let client = holding.client();
    tokio::join!(holding.answers(&client, "/held"), async {
        holding.arrived.acquire().await.unwrap().forget();
        holding.answers(&client, "/").await;
        pass(IDLE_TIMEOUT).await;
        holding.released.add_permits(1);
    });
    holding.answers(&client, "/").await;
    assert_eq!(holding.server.connections(), 1);
}

#[tokio::test]
async fn a_connection_over_which_no_answer_came_in_time_takes_no_new_request() {
    let holding = Holding::start().await;
    let client = connected_by(PATIENCE_MS, 2_000, &trusts(holding.ca_file.path()));
    holding.answers(&client, "/").await;
    let url = format!("https://{}/held", holding.server.address);
    let sent = client.send(&post(&url), &CancellationToken::new()).await;
    assert!(matches!(sent.transmission, Transmission::Unanswered(_)), "{:?}", sent.transmission);
    assert_eq!(holding.server.connections(), 1);
    holding.answers(&client, "/").await;
    assert_eq!(holding.server.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_is_not_used_again() {
    let holding = Holding::start().await;
    let client = holding.client();
    for number in 1..=3 {
        holding.answers(&client, "/").await;
        assert_eq!(holding.server.connections(), number);
        pass(IDLE_TIMEOUT).await;
    }
}

#[tokio::test]
async fn a_busy_connection_that_is_too_old_takes_no_new_request_and_ends_with_its_last() {
    let holding = Holding::start().await;
    let client = holding.client();
    tokio::join!(holding.answers(&client, "/held"), async {
        holding.arrived.acquire().await.unwrap().forget();
        holding.answers(&client, "/").await;
        assert_eq!(holding.server.connections(), 1, "shared while it is young");
        pass(AGE_MAX).await;
        holding.answers(&client, "/").await;
        assert_eq!(holding.server.connections(), 2, "the name is looked up again");
        holding.released.add_permits(1);
    });
    holding.answers(&client, "/").await;
    assert_eq!(holding.server.connections(), 2, "what was answered late is not kept in its place");
}
