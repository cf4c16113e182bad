//! Clients that stop short of the end of their bodies.

use super::*;

const BODY_BYTES: usize = 4 << 20;

/// Sends all of a conversion's body but its last byte.
async fn begin(relay: &Running, merchant: &str, order: &str) -> TcpStream {
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let head = format!("{HEAD}authorization: Bearer {merchant}-token\r\ncontent-length: {BODY_BYTES}\r\n\r\n");
    let conversion = conversion(order, "1");
    let body = " ".repeat(BODY_BYTES.saturating_sub(conversion.len())) + &conversion;
    soon(stream.write_all(&[head.as_bytes(), &body.as_bytes()[..BODY_BYTES.saturating_sub(1)]].concat()))
        .await
        .unwrap();
    stream
}

#[tokio::test]
async fn bodies_that_do_not_end_give_way_to_others_and_those_that_need_not_go_on() {
    let relay = Running::start_with("", "", &merchant("gamma", "")).await;
    let mut slow = Vec::new();
    // Each merchant has its half.
    for number in 0..4 {
        slow.push(begin(&relay, "acme", &format!("slow-{number}")).await);
        slow.push(begin(&relay, "gamma", &format!("slow-{number}")).await);
    }
    relay.has_free(slow.len()).await;
    let (body, begun) = (conversion("quick", "1"), tokio::time::Instant::now());
    let quick = loop {
        let reply = relay.post(&body).await;
        assert!(begun.elapsed() < Duration::from_secs(20), "sooner than they are too late: {reply:?}");
        if reply.status != 503 {
            break reply;
        }
        assert_eq!(reply.headers["retry-after"], "1");
    };
    assert_eq!(quick.status, 202, "{quick:?}");
    let gave_way = answer(&mut slow[0], "}").await;
    assert!(gave_way.starts_with("HTTP/1.1 503") && gave_way.contains("retry-after: 1\r\n"), "{gave_way}");
    slow[7].write_all(b"}").await.unwrap();
    assert!(answer(&mut slow[7], "}}").await.starts_with("HTTP/1.1 202"));
    drop(slow);
    relay.has_free(BODIES_BYTES_MAX).await;
    relay.end().await;
}
