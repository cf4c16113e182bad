//! The client against real sockets on 127.0.0.1: every way in which an exchange can go wrong, and what is known of the
//! request then.

mod http2;
mod kept;
mod proxy;
mod tls;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::super::judge::FailureKind;
use super::*;
use crate::config::Connection;
use crate::queue::{Protocol, Tls};

fn client_with(connect_ms: u64, timeout_ms: u64) -> Client {
    connected_by(connect_ms, timeout_ms, &Connection::default())
}

fn connected_by(connect_ms: u64, timeout_ms: u64, connection: &Connection) -> Client {
    let limits = Limits {
        rate: None,
        concurrency: NonZeroUsize::new(4).unwrap(),
        connect_timeout: Duration::from_millis(connect_ms),
        header_timeout: Duration::from_millis(timeout_ms),
        timeout: Duration::from_millis(timeout_ms),
    };
    Client::new(&limits, connection).unwrap()
}

/// One that waits for as long as a busy machine may need.
fn client() -> Client {
    client_with(PATIENCE_MS, PATIENCE_MS)
}

/// Nothing that is right takes longer, also on a busy machine.
const PATIENCE_MS: u64 = 60_000;

fn post(url: &str) -> http::Request<Full<Bytes>> {
    let request = Request {
        method: http::Method::POST,
        url: url.to_owned(),
        headers: vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))].into(),
        body: b"{\"a\":1}".to_vec(),
    };
    assemble(request).unwrap()
}

async fn send(client: &Client, url: &str) -> Transmission {
    client.send(&post(url), &CancellationToken::new()).await.transmission
}

/// A server that hands each connection, with its number from 0, to `serve`; ends when dropped.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start<F>(serve: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Server
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                served.spawn(serve(count.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Server { address, connections, _tasks: tasks }
    }

    fn url(&self) -> String {
        format!("http://{}/conversions?api-key=k", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads one request (these tests send bodies of seven bytes) and returns it.
async fn request(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"{\"a\":1}") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(bytes).unwrap()
}

/// A server that reads each request of a connection and writes `answer`.
async fn answering(answer: impl Into<Vec<u8>>) -> Server {
    let answer = Arc::new(answer.into());
    Server::start(move |_, mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            while !request(&mut stream).await.is_empty() {
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// Closes with a reset instead of an end.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

#[track_caller]
fn not_sent(transmission: &Transmission, timed_out: bool, text: &str) {
    let Transmission::NotSent(failure) = transmission else { panic!("{transmission:?}") };
    assert!(failure.text.contains(text), "{}", failure.text);
    assert_eq!(failure.kind == FailureKind::TimedOut, timed_out, "{}", failure.text);
}

#[track_caller]
fn unanswered(transmission: &Transmission, timed_out: bool, text: &str) {
    let Transmission::Unanswered(failure) = transmission else { panic!("{transmission:?}") };
    assert!(failure.text.contains(text), "{}", failure.text);
    assert_eq!(failure.kind == FailureKind::TimedOut, timed_out, "{}", failure.text);
}

#[track_caller]
fn answered(transmission: &Transmission, status: u16, extent: Body) -> Answer {
    let Transmission::Answered { answer, body } = transmission else { panic!("{transmission:?}") };
    assert_eq!(answer.status().as_u16(), status);
    assert_eq!(*body, extent);
    answer.clone()
}

#[tokio::test]
async fn an_answer_is_read_whole_and_its_connection_kept() {
    for (answer, status, body) in [
        ("200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}", 200, "{\"status\":\"ok\"}"),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, "abcde"),
        ("200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""),
        ("204 No Content\r\n\r\n", 204, ""),
        ("503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", 503, "busy"),
    ] {
        let server = answering(format!("HTTP/1.1 {answer}")).await;
        let client = client();
        for _ in 0..3 {
            let read = answered(&send(&client, &server.url()).await, status, Body::Whole);
            assert_eq!(read.body().as_ref(), body.as_bytes());
        }
        assert_eq!(server.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn the_request_carries_what_was_rendered_and_our_name() {
    let (seen, mut requests) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |_, mut stream| {
        let seen = seen.clone();
        async move {
            seen.send(request(&mut stream).await).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let client = client();
    answered(&send(&client, &server.url()).await, 204, Body::Whole);
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("POST /conversions?api-key=k HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nuser-agent: capi-relay/{}\r\n", env!("CARGO_PKG_VERSION"))), "{request}");
    assert!(request.contains(&format!("\r\nhost: {}\r\n", server.address)), "{request}");
    assert!(request.contains("\r\naccept-encoding: identity\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = answering("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n").await;
    answered(&send(&client(), &server.url()).await, 302, Body::Whole);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    not_sent(&send(&client(), &format!("http://{address}/")).await, false, "no connection: ");
}

#[tokio::test]
async fn an_unknown_name_sent_nothing() {
    // RFC 6761: names under .invalid never resolve; without any resolver the connect timeout ends it.
    let transmission = send(&client_with(1_000, PATIENCE_MS), "https://capi-relay-test.invalid/").await;
    assert!(matches!(transmission, Transmission::NotSent(_)), "{transmission:?}");
}

#[tokio::test]
async fn a_tls_handshake_that_hangs_sent_nothing() {
    let server = Server::start(|_, stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let url = format!("https://{}/", server.address);
    not_sent(&send(&client_with(100, PATIENCE_MS), &url).await, true, "no connection within 100 ms");
    not_sent(&send(&client_with(PATIENCE_MS, 100), &url).await, true, "within 100 ms");
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_tls_sent_nothing() {
    let server = answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let garbage = Server::start(|_, mut stream| async move {
        let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    drop(server);
    not_sent(&send(&client(), &format!("https://{}/", garbage.address)).await, false, "no connection: ");
}

#[tokio::test]
async fn plain_http_goes_to_loopback_only() {
    // The test's own listener on every interface; reached through an address of this machine that is not loopback, if
    // it has one.
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let Ok(own) = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr()) else { return };
    if own.ip().is_loopback() {
        return;
    }
    let allowed = Connection { allow_private: true, ..Connection::default() };
    let client = connected_by(PATIENCE_MS, PATIENCE_MS, &allowed);
    let transmission = send(&client, &format!("http://{}:{port}/", own.ip())).await;
    not_sent(&transmission, false, "plain HTTP is sent to loopback addresses only");
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    let _ended = stream.read_to_end(&mut bytes).await;
    assert_eq!(bytes, b"", "not a byte of the request left");
}

#[tokio::test]
async fn a_private_address_is_not_connected_to_unless_that_is_allowed() {
    for host in ["10.255.255.1", "169.254.169.254", "[fd00::1]", "[::ffff:192.168.0.1]"] {
        not_sent(&send(&client(), &format!("https://{host}/")).await, false, "a private address");
    }
    // Nobody is there, and how that is found depends on the network.
    let allowed = connected_by(50, 50, &Connection { allow_private: true, ..Connection::default() });
    let Transmission::NotSent(failure) = send(&allowed, "https://10.255.255.1/").await else { panic!("nobody there") };
    assert!(!failure.text.contains("private"), "{}", failure.text);
}

#[tokio::test]
async fn what_a_connection_speaks_is_told_once_there_is_one() {
    let sent = client().send(&post("http://127.0.0.1:9/"), &CancellationToken::new()).await;
    assert_eq!(sent.negotiated, None);
    let server = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let sent = client().send(&post(&server.url()), &CancellationToken::new()).await;
    assert_eq!(sent.negotiated, Some(Negotiated { protocol: Protocol::Http1, tls: None }));
}

#[tokio::test]
async fn a_hanging_answer_is_unknown_and_the_connection_is_not_used_again() {
    let server = Server::start(|number, mut stream| async move {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        if number == 0 {
            request(&mut stream).await;
            std::future::pending::<()>().await;
        }
    })
    .await;
    let mut client = client();
    answered(&send(&client, &server.url()).await, 200, Body::Whole);
    // Over the connection that is kept, so that the time is that of the answer alone.
    let patience = std::mem::replace(&mut client.header_timeout, Duration::from_millis(200));
    unanswered(&send(&client, &server.url()).await, true, "nothing within 200 ms");
    client.header_timeout = patience;
    answered(&send(&client, &server.url()).await, 200, Body::Whole);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_reset_or_an_end_after_the_request_is_unknown() {
    for with_reset in [true, false] {
        let server = Server::start(move |_, mut stream| async move {
            request(&mut stream).await;
            if with_reset {
                reset(&stream);
            }
        })
        .await;
        unanswered(&send(&client(), &server.url()).await, false, "the connection broke: ");
        assert_eq!(server.connections(), 1, "not repeated by the client itself");
    }
}

#[tokio::test]
async fn a_connection_reset_in_the_middle_of_the_request_is_unknown() {
    let server = Server::start(|_, mut stream| async move {
        let mut one = [0];
        stream.read_exact(&mut one).await.unwrap();
        reset(&stream);
    })
    .await;
    unanswered(&send(&client(), &server.url()).await, false, "the connection broke: ");
}

#[tokio::test]
async fn garbage_for_an_answer_is_unknown() {
    for garbage in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 twohundred\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let server = answering(garbage).await;
        unanswered(&send(&client(), &server.url()).await, false, "the connection broke: ");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2 * HEAD_BYTES_MAX));
    let server = answering(endless).await;
    unanswered(&send(&client(), &server.url()).await, false, "the connection broke: ");
}

#[tokio::test]
async fn a_body_that_breaks_off_keeps_its_status() {
    let server = Server::start(|_, mut stream| async move {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\":").await.unwrap();
    })
    .await;
    let answer = answered(&send(&client(), &server.url()).await, 200, Body::Broken);
    assert_eq!(answer.body().as_ref(), b"{\"status\":");
}

#[tokio::test]
async fn a_body_that_never_ends_is_broken_at_the_deadline() {
    let server = Server::start(|_, mut stream| async move {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    // Its head must come before the deadline.
    let answer = answered(&send(&client_with(PATIENCE_MS, 3_000), &server.url()).await, 200, Body::Broken);
    assert_eq!(answer.body().as_ref(), b"ok");
}

#[tokio::test]
async fn interim_answers_without_end_are_no_answer_at_the_deadline() {
    let server = Server::start(|_, mut stream| async move {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        request(&mut stream).await;
        let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(64);
        while stream.write_all(&hints).await.is_ok() {}
    })
    .await;
    let mut client = client();
    answered(&send(&client, &server.url()).await, 200, Body::Whole);
    client.header_timeout = Duration::from_millis(200);
    unanswered(&send(&client, &server.url()).await, true, "nothing within 200 ms");
}

#[tokio::test]
async fn an_oversize_body_is_read_up_to_the_limit() {
    let length = 10 * BODY_BYTES_MAX;
    let mut whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    whole.extend(std::iter::repeat_n(b'x', length));
    let server = answering(whole).await;
    let answer = answered(&send(&client(), &server.url()).await, 200, Body::Head);
    assert_eq!(answer.body().len(), BODY_BYTES_MAX);

    let mut exact = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES_MAX}\r\n\r\n").into_bytes();
    exact.extend(std::iter::repeat_n(b'x', BODY_BYTES_MAX));
    let server = answering(exact).await;
    answered(&send(&client(), &server.url()).await, 200, Body::Whole);
}

#[tokio::test]
async fn what_hyper_gives_back_unwritten_was_not_sent() {
    let (near, far) = tokio::io::duplex(64);
    let io = hyper_util::rt::TokioIo::new(near);
    let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Full<Bytes>>(io).await.unwrap();
    drop((far, connection));
    let error = sender.send_request(post("http://127.0.0.1/")).await.unwrap_err();
    assert!(error.is_canceled(), "{error:?}");
}

#[tokio::test]
async fn a_stop_ends_an_exchange_at_once_and_says_what_is_known() {
    let stop = CancellationToken::new();
    let received = stop.clone();
    let server = Server::start(move |_, mut stream| {
        let received = received.clone();
        async move {
            request(&mut stream).await;
            received.cancel();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let client = client_with(60_000, 60_000);
    unanswered(&client.send(&post(&server.url()), &stop).await.transmission, false, "the relay stopped");
    let handshake = format!("https://{}/", server.address);
    not_sent(&client.send(&post(&handshake), &stop).await.transmission, false, "the relay stopped");
}

#[test]
fn a_host_field_names_the_port_unless_the_scheme_does() {
    for (url, named) in [
        ("https://x.example/a", "x.example"),
        ("https://x.example:443/", "x.example"),
        ("http://x.example:443/", "x.example:443"),
        ("http://127.0.0.1:80/", "127.0.0.1"),
        ("https://[::1]:8443/", "[::1]:8443"),
    ] {
        assert_eq!(connection::host(&url.parse().unwrap()), named, "{url}");
    }
}

#[test]
fn a_url_that_is_none_is_unmappable() {
    for url in ["", "/conversions", "https://", "https://a b/", "https://x/\u{7f}"] {
        let request =
            Request { method: http::Method::GET, url: url.to_owned(), headers: Vec::new().into(), body: Vec::new() };
        assert_eq!(assemble(request).unwrap_err().field, "url", "{url}");
    }
}

#[test]
fn a_configured_user_agent_replaces_ours() {
    let request = Request {
        method: http::Method::GET,
        url: "https://x/".to_owned(),
        headers: vec![
            (header::USER_AGENT, HeaderValue::from_static("theirs")),
            (header::ACCEPT, HeaderValue::from_static("a")),
        ]
        .into(),
        body: Vec::new(),
    };
    let assembled = assemble(request).unwrap();
    assert_eq!(assembled.headers().get_all(header::USER_AGENT).iter().collect::<Vec<_>>(), ["theirs"]);
}

#[test]
fn a_body_that_is_none_is_said_to_be_none_where_one_is_expected() {
    use http::Method;
    for (method, body, expected) in [
        (Method::POST, "", Some("0")),
        (Method::PUT, "", Some("0")),
        (Method::PATCH, "", Some("0")),
        (Method::GET, "", None),
        (Method::DELETE, "", None),
        // Its length is known to the HTTP library.
        (Method::POST, "{}", None),
    ] {
        let headers = Vec::new().into();
        let request = Request { method, url: "https://x/".to_owned(), headers, body: body.as_bytes().to_vec() };
        let assembled = assemble(request).unwrap();
        let said = assembled.headers().get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap());
        assert_eq!(said, expected, "{} {body}", assembled.method());
    }
}
