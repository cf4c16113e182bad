//! Answers that nobody reads.

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;
use crate::conversion::DestinationName;
use crate::ingress::answers::{BYTES_MAX, SHARE_BYTES_MAX};
use crate::queue::{Attempt, DeadKind, Negotiated, ORDER_STATUSES_MAX, Outcome, Protocol, Verdict};

type Sender = SendRequest<Full<Bytes>>;

/// A client that reads nothing of a body but its first byte.
async fn unreading(address: SocketAddr) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let stream = connect_tls(address, &rustls::version::TLS13, &["h2"]).await.unwrap();
    let mut builder = Builder::new(TokioExecutor::new());
    let handshake = builder.initial_stream_window_size(1).handshake(TokioIo::new(stream));
    let (sender, connection) = soon(handshake).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn ask(sender: &mut Sender, token: &str, method: &str, path: &str, body: String) -> http::Response<Incoming> {
    let request = Request::builder()
        .method(method)
        .uri(format!("https://localhost{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    soon(sender.send_request(request)).await.unwrap()
}

/// As many conversions as an order shows, each with much to tell.
async fn fill(relay: &Running, sender: &mut Sender, token: &str) {
    let sale = |number| json!({"event_id": format!("e-{number}"), "order_id": "much", "time": "2026-01-31T12:00:00Z"});
    let batch: Vec<_> = (0..ORDER_STATUSES_MAX).map(sale).collect();
    let taken = ask(sender, token, "POST", "/v1/conversions", json!(batch).to_string()).await;
    assert_eq!(taken.status(), StatusCode::ACCEPTED);
    let first = DestinationName::parse("first").unwrap();
    for _ in 0..ORDER_STATUSES_MAX {
        let delivery = soon(relay.queue.next(&first)).await;
        let attempt = Attempt {
            at_ms: 1_769_860_800_123,
            duration_ms: 41,
            status: Some(400),
            verdict: Verdict::Rejected,
            negotiated: Some(Negotiated { protocol: Protocol::Http2, tls: None }),
            excerpt: Some("x".repeat(2048)),
        };
        let outcome = Outcome::Dead { kind: DeadKind::Rejected, reason: "a reason".to_owned() };
        relay.queue.settle(&delivery, outcome, Some(attempt));
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_take_no_more_than_their_room() {
    let more = merchant("gamma", "");
    let relay = Running::start_with("tls = { self_signed = true }", "", &more).await;
    let (mut greedy, connection) = unreading(relay.address).await;
    let (mut other, others) = unreading(relay.address).await;
    fill(&relay, &mut greedy, "acme-token").await;
    fill(&relay, &mut other, "gamma-token").await;
    let order =
        async |sender: &mut Sender, token: &str| ask(sender, token, "GET", "/v1/orders/much", String::new()).await;

    let mut unread = Vec::new();
    let refused = loop {
        let reply = order(&mut greedy, "acme-token").await;
        if reply.status() != StatusCode::OK {
            break reply;
        }
        unread.push(reply);
        assert!(unread.len() < 127, "there is an end of it");
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    let bytes: usize = unread[0].headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert!(bytes > 100 * 2048 && unread.len() >= SHARE_BYTES_MAX / bytes - 1, "{} of {bytes} bytes", unread.len());
    assert_eq!(order(&mut other, "gamma-token").await.status(), StatusCode::OK, "half of it is for the others");
    // One conversion is taken all the same.
    let sale = conversion("e-last", "1");
    assert_eq!(ask(&mut greedy, "acme-token", "POST", "/v1/conversions", sale).await.status(), StatusCode::ACCEPTED);

    drop((unread, refused, greedy, other));
    connection.abort();
    others.abort();
    let looking = async {
        while relay.ingress.answers.free() != BYTES_MAX {
            tokio::task::yield_now().await;
        }
    };
    soon(looking).await;
    relay.end().await;
}
