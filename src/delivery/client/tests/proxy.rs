//! A proxy between: what it is asked, what goes through it, and what its refusals mean.

use super::tls::{connection_in, tls_for};
use super::*;

/// A proxy that answers each CONNECT with `answer`, and opens a tunnel to `to` where that is a success. Hands out what it
/// was asked.
async fn proxy(answer: &'static str, to: SocketAddr) -> (Server, tokio::sync::mpsc::Receiver<String>) {
    let (seen, asked) = tokio::sync::mpsc::channel(8);
    let server = Server::start(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            seen.send(String::from_utf8(head).unwrap()).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.starts_with("HTTP/1.1 200") {
                let mut onward = TcpStream::connect(to).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
            } else if answer.contains("Content-Length") {
                // Another request might come.
                std::future::pending::<()>().await;
            }
        }
    })
    .await;
    (server, asked)
}

/// A connection through it, but for those of `except`.
fn through(proxy: &Server, credentials: &str, except: &str) -> Connection {
    through_with("", proxy, credentials, except)
}

fn through_with(keys: &str, proxy: &Server, credentials: &str, except: &str) -> Connection {
    let url = format!("http://{credentials}{}/", proxy.address);
    connection_in(keys, &[("HTTPS_PROXY", &url), ("NO_PROXY", except)])
}

#[tokio::test]
async fn tls_goes_through_the_tunnel_and_the_proxy_looks_up_the_name() {
    let (server, ca_file) = tls_for("destination.example", |mut stream| async move {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        request(&mut stream).await;
    })
    .await;
    let (between, mut asked) = proxy("HTTP/1.1 200 Connection established\r\n\r\n", server.address).await;
    let trusted = format!("ca_file = \"{}\"", ca_file.path().display());
    let connection = through_with(&trusted, &between, "user:pass@", "");
    let client = connected_by(PATIENCE_MS, PATIENCE_MS, &connection);
    answered(&send(&client, "https://destination.example/conversions").await, 200, Body::Whole);
    let head = asked.recv().await.unwrap();
    assert!(head.starts_with("CONNECT destination.example:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic "), "{head}");
    assert!(head.contains("dXNlcjpwYXNz"), "user:pass in Base64: {head}");
}

#[tokio::test]
async fn a_proxy_that_refuses_has_sent_nothing_and_a_refused_credential_is_told() {
    let nowhere = "127.0.0.1:9".parse().unwrap();
    for (answer, text, kind) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407", FailureKind::Refused),
        ("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", "the proxy answered 407", FailureKind::Refused),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "the proxy answered 403", FailureKind::Broken),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy answered 502", FailureKind::Broken),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "no tunnel through the proxy", FailureKind::Broken),
    ] {
        let (between, _asked) = proxy(answer, nowhere).await;
        let connection = through(&between, "", "");
        let transmission =
            send(&connected_by(PATIENCE_MS, PATIENCE_MS, &connection), "https://destination.example/").await;
        let Transmission::NotSent(failure) = &transmission else { panic!("{transmission:?}") };
        assert!(failure.text.contains(text), "{}", failure.text);
        assert_eq!(failure.kind, kind, "{answer}");
    }
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_out_of_time_and_has_sent_nothing() {
    let silent = Server::start(|_, stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let connection = through(&silent, "", "");
    let transmission = send(&connected_by(100, PATIENCE_MS, &connection), "https://destination.example/").await;
    not_sent(&transmission, true, "no connection within 100 ms");
}

#[tokio::test]
async fn loopback_and_those_of_no_proxy_are_reached_without_it() {
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let (between, mut asked) = proxy("HTTP/1.1 502 Bad Gateway\r\n\r\n", nowhere).await;
    let connection = through(&between, "", ".invalid");
    let client = connected_by(1_000, PATIENCE_MS, &connection);
    for url in
        ["https://127.0.0.1:9/", "https://localhost.:9/", "http://localhost:9/", "https://capi-relay-test.invalid/"]
    {
        let transmission = send(&client, url).await;
        let Transmission::NotSent(failure) = &transmission else { panic!("{transmission:?}") };
        assert!(!failure.text.contains("proxy"), "{}", failure.text);
    }
    not_sent(&send(&client, "https://10.0.0.5/").await, false, "a private address");
    assert!(asked.try_recv().is_err(), "nothing was asked of it");
}
