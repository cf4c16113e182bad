//! Proxies in front, and what one client address may hold.

use super::*;

/// Trusts this machine; an address holds one.
fn behind(protocol: bool) -> impl FnOnce(&mut Front) {
    move |front| {
        front.addresses = Addresses::new(1);
        front.proxies = Proxies { trusted: vec!["127.0.0.0/8".parse().unwrap()], protocol, header: None };
    }
}

fn v1(address: &str) -> Vec<u8> {
    [format!("PROXY TCP4 {address} 198.51.100.1 1 2\r\n").as_bytes(), PLAIN].concat()
}

/// Whether nothing is answered; closed with bytes unread, the connection is reset.
async fn is_closed(served: &Served, bytes: &[u8]) -> bool {
    let mut stream = served.connect().await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    drop(soon(stream.read_to_end(&mut answer)).await);
    answer.is_empty()
}

#[tokio::test]
async fn an_address_that_a_proxy_header_names_holds_so_many_connections() {
    let served = Served::start(behind(true)).await;
    let mut first = served.connect().await;
    first.write_all(&v1("192.0.2.1")).await.unwrap();
    assert!(answer(&mut first, "read 0").await.starts_with("HTTP/1.1 200"));
    assert!(is_closed(&served, &v1("192.0.2.1")).await, "a second is");
    let mut other = served.connect().await;
    other.write_all(&v1("192.0.2.2")).await.unwrap();
    answer(&mut other, "read 0").await;
    // The proxy's own, which look whether it lives, are not limited.
    for _ in 0..3 {
        let own = b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        assert!(served.send(own).await.starts_with("HTTP/1.1 200"));
    }
    drop(first);
    soon(async {
        loop {
            let mut again = served.connect().await;
            again.write_all(&v1("192.0.2.1")).await.unwrap();
            if again.read_u8().await.is_ok() {
                break;
            }
        }
    })
    .await;
    drop(other);
    let metrics = served.end().await;
    assert!(metrics.contains(r#"ended_total{reason="address_limit"}"#), "{metrics}");
}

#[tokio::test]
async fn without_its_header_or_past_the_proxies_nobody_is_spoken_with() {
    let served = Served::start(|front| {
        behind(true)(front);
        front.first_request_timeout = Duration::from_millis(100);
    })
    .await;
    assert!(is_closed(&served, PLAIN).await);
    assert!(is_closed(&served, b"PROXY TCP4 192").await, "in time");
    let metrics = served.end().await;
    assert!(metrics.contains(r#"ended_total{reason="bad_proxy_header"} 2"#), "{metrics}");

    let served = Served::start(|front| {
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        front.proxies = Proxies { trusted, protocol: true, header: None };
    })
    .await;
    assert!(is_closed(&served, &v1("192.0.2.1")).await);
    let metrics = served.end().await;
    assert!(metrics.contains(r#"ended_total{reason="untrusted_proxy"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_forwarded_address_holds_so_many_requests_and_cannot_be_made_up() {
    let request = |path: &str, fields: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n").into_bytes()
    };
    let served = Served::start(behind(false)).await;
    let mut first = served.connect().await;
    first.write_all(&request("/waits", "x-forwarded-for: 192.0.2.1\r\n")).await.unwrap();
    soon(served.probe.arrived.notified()).await;
    for fields in [
        "x-forwarded-for: 192.0.2.1\r\n",
        "x-forwarded-for: 192.0.2.77, 192.0.2.1\r\n",
        "x-forwarded-for: 192.0.2.1, 127.0.0.1\r\n",
        "forwarded: for=192.0.2.77\r\nx-forwarded-for: 192.0.2.1\r\n",
        "forwarded: for=192.0.2.1\r\nx-forwarded-for: 192.0.2.77\r\n",
    ] {
        let refused = served.send(&request("/", fields)).await;
        assert!(
            refused.starts_with("HTTP/1.1 429") && refused.contains("problem:address-limit"),
            "{fields}: {refused}"
        );
        assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    }
    // A quote of the client's own hides nobody.
    let hidden = served.send(&request("/", "x-forwarded-for: \", 192.0.2.1\r\n")).await;
    assert!(hidden.starts_with("HTTP/1.1 429"), "{hidden}");
    let hidden = served.send(&request("/", "forwarded: for=\", for=192.0.2.1\r\n")).await;
    assert!(hidden.starts_with("HTTP/1.1 400") && hidden.contains("quoted string"), "{hidden}");
    for fields in ["", "x-forwarded-for: 192.0.2.2\r\n", "x-forwarded-for: 192.0.2.1, 192.0.2.2\r\n"] {
        assert!(served.send(&request("/", fields)).await.starts_with("HTTP/1.1 200"), "{fields}");
    }
    served.probe.let_go.notify_one();
    assert!(rest(first).await.starts_with("HTTP/1.1 200"));
    let fields = "x-forwarded-for: 192.0.2.1\r\n";
    assert!(served.send(&request("/", fields)).await.starts_with("HTTP/1.1 200"), "it holds none any more");
    served.end().await;

    let served = Served::start(|front| front.addresses = Addresses::new(1)).await;
    let mut first = served.connect().await;
    first.write_all(&request("/waits", fields)).await.unwrap();
    soon(served.probe.arrived.notified()).await;
    assert!(served.send(&request("/", fields)).await.starts_with("HTTP/1.1 200"), "nobody's word is taken");
    served.probe.let_go.notify_one();
    rest(first).await;
    served.end().await;
}
