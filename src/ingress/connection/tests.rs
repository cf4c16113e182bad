use super::*;

mod abuse;
mod proxies;
mod streams;

use std::net::SocketAddr;
use std::sync::Mutex;

use http::{StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{self, Identity, Transport};
use crate::ingress::problem::body;
use crate::ingress::reply::Telling;
use crate::ingress::tests::client::{answer, connect_tls, http2, rest, soon};

/// Answers what the tests need: `/` at once, `/much` with much, `/waits` when it is let go, `/tells` what it is told to,
/// `/panics`, `/refuses` before reading the body.
#[derive(Default)]
struct Probe {
    arrived: Notify,
    let_go: Notify,
    told: Mutex<Option<Telling>>,
}

impl Api for Probe {
    async fn answer(&self, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        let dislikes = request.uri().path() == "/dislikes";
        match request.uri().path() {
            "/waits" => {
                self.arrived.notify_one();
                self.let_go.notified().await;
            }
            "/tells" => {
                let (told, content) = Content::told(1);
                *self.told.lock().unwrap() = Some(told);
                self.arrived.notify_one();
                return Ok(http::Response::new(content));
            }
            "/much" => return Ok(body(StatusCode::OK, "text/plain", vec![b'x'; 1 << 16])),
            "/panics" => panic!("on purpose"),
            "/refuses" => return Err(Problem::new(Kind::Unauthorized, "on purpose")),
            _ => {}
        }
        #[expect(clippy::disallowed_methods, reason = "read through a limit, as the ban asks")]
        let read = Limited::new(request.into_body(), 1 << 20).collect().await;
        let bytes = read.map_err(|_broken_off| Problem::body_broken_off())?.to_bytes();
        if dislikes {
            return Err(Problem::new(Kind::Unauthorized, "what was read"));
        }
        Ok(body(StatusCode::OK, "text/plain", format!("read {}", bytes.len()).into_bytes()))
    }

    fn refused(&self, _kind: Kind) {}
}

/// A listener of our own on a free port.
struct Served {
    address: SocketAddr,
    probe: Arc<Probe>,
    metrics: Connections,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(adjust: impl FnOnce(&mut Front)) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Connections::default();
        let mut front = Front {
            tls: None,
            connections_max: 8,
            addresses: Addresses::new(8),
            proxies: Proxies::default(),
            first_request_timeout: NEVER,
            idle_timeout: NEVER,
            drain_timeout: NEVER,
            metrics: metrics.clone(),
        };
        adjust(&mut front);
        let (probe, shutdown) = (Arc::new(Probe::default()), CancellationToken::new());
        let task = tokio::spawn(serve(Arc::clone(&probe), listener, front, shutdown.clone()));
        Served { address, probe, metrics, shutdown, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that comes back until the connection ends.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        rest(stream).await
    }

    /// Drains, and sees `serve` return.
    async fn end(self) -> String {
        self.shutdown.cancel();
        soon(self.task).await.unwrap();
        let mut registry = Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }
}

/// Far longer than any wait of these tests: what ends sooner ends for another reason.
const NEVER: Duration = Duration::from_secs(3600);

const PLAIN: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn what_http_does_not_allow_is_refused_on_the_wire() {
    let served = Served::start(|_| {}).await;
    let check = async |head: &str, expected: &str| {
        let answer = served.send(format!("{head}connection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{head:?}: {answer}");
    };
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}", "x: y\r\n".repeat(HEADERS_MAX));
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n", "y".repeat(HEAD_BYTES_MAX));
    let target = format!("GET /{} HTTP/1.1\r\nhost: a\r\n", "y".repeat(4096));
    check("GET / HTTP/1.1\r\nhost: a\r\n", "200").await;
    check("GET http://a/ HTTP/1.1\r\nhost: a\r\n", "200").await;
    check("GET / HTTP/1.1\r\n", "400").await;
    check("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n", "400").await;
    check("GET / HTTP/1.1\r\nhost: a b\r\n", "400").await;
    check("GET / HTTP/1.1\r\nhost : a\r\n", "400").await;
    check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n", "400").await;
    check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n", "400").await;
    check("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n", "400").await;
    check("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n", "501").await;
    check("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n", "405").await;
    check(&target, "414").await;
    check(&many, "431").await;
    check(&long, "431").await;
    served.end().await;
}

#[tokio::test]
async fn nothing_is_smuggled_behind_two_lengths() {
    let served = Served::start(|_| {}).await;
    let twice = b"POST /first HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\
        GET /second HTTP/1.1\r\nhost: a\r\n\r\n";
    let answers = served.send(twice).await;
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    let coded = b"POST /first HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n\
        GET /second HTTP/1.1\r\nhost: a\r\n\r\n";
    let answers = served.send(coded).await;
    assert!(answers.starts_with("HTTP/1.1 501") && answers.contains("connection: close\r\n"), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    served.end().await;
}

#[tokio::test]
async fn a_request_in_hand_is_finished_by_the_drain_and_nothing_new_is_taken() {
    let served = Served::start(|_| {}).await;
    let mut waiting = served.connect().await;
    waiting.write_all(b"GET /waits HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    soon(served.probe.arrived.notified()).await;
    let mut idle = served.connect().await;
    idle.write_all(PLAIN).await.unwrap();
    answer(&mut idle, "read 0").await;

    served.shutdown.cancel();
    assert_eq!(rest(idle).await, "", "an idle connection is closed at once");
    assert!(!served.task.is_finished());
    served.probe.let_go.notify_one();
    let last = rest(waiting).await;
    assert!(last.starts_with("HTTP/1.1 200") && last.contains("connection: close"), "{last}");
    let address = served.address;
    let metrics = served.end().await;
    assert!(metrics.contains(r#"capi_relay_connections_ended_total{reason="closed"} 2"#), "{metrics}");
    assert!(metrics.contains("capi_relay_connections 0"), "{metrics}");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_drain_ends_at_its_timeout() {
    let served = Served::start(|front| front.drain_timeout = Duration::from_millis(50)).await;
    let mut waiting = served.connect().await;
    waiting.write_all(b"GET /waits HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    soon(served.probe.arrived.notified()).await;
    let metrics = served.end().await;
    assert_eq!(rest(waiting).await, "");
    assert!(metrics.contains(r#"capi_relay_connections_ended_total{reason="drain_timeout"} 1"#), "{metrics}");
}

#[tokio::test]
async fn silence_and_slow_heads_and_idleness_end_a_connection() {
    let served = Served::start(|front| front.first_request_timeout = Duration::from_millis(100)).await;
    assert_eq!(rest(served.connect().await).await, "");
    assert_eq!(served.send(b"GET / HTTP/1.1\r\nhost").await, "");
    let metrics = served.end().await;
    assert!(metrics.contains(r#"ended_total{reason="first_request_timeout"} 2"#), "{metrics}");

    let served = Served::start(|front| front.idle_timeout = Duration::from_millis(200)).await;
    let answers = served.send(PLAIN).await;
    assert!(answers.starts_with("HTTP/1.1 200"), "{answers}");
    let again = served.send(&[PLAIN, b"GET / HTTP/1.1\r\nhost"].concat()).await;
    assert_eq!(again.matches("HTTP/1.1 ").count(), 1, "{again}");
    let metrics = served.end().await;
    assert!(metrics.contains(r#"ended_total{reason="idle"} 2"#), "{metrics}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_keep_its_place() {
    let served = Served::start(|front| {
        front.connections_max = 1;
        front.idle_timeout = Duration::from_millis(100);
    })
    .await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(served.address).await.unwrap();
    // Ends only when the connection does: before that, the answers fill every buffer and nothing more is read.
    let requests = b"GET /much HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1000);
    let stuffed = soon(async { while deaf.write_all(&requests).await.is_ok() {} });
    let next = soon(served.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
    let ((), next) = tokio::join!(stuffed, next);
    assert!(next.starts_with("HTTP/1.1 200"), "{next}");
    let metrics = served.end().await;
    assert!(metrics.contains(r#"ended_total{reason="idle"} 1"#), "{metrics}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let served = Served::start(|front| front.connections_max = 1).await;
    let mut first = served.connect().await;
    first.write_all(PLAIN).await.unwrap();
    answer(&mut first, "read 0").await;
    let mut second = served.connect().await;
    second.write_all(PLAIN).await.unwrap();
    let unanswered = timeout(Duration::from_millis(100), second.read_u8()).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    drop(first);
    answer(&mut second, "read 0").await;
    drop(second);
    served.end().await;
}

#[tokio::test]
async fn a_panic_ends_one_request_and_is_counted() {
    let served = Served::start(|_| {}).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /panics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let broken = answer(&mut stream, "}").await;
    assert!(broken.starts_with("HTTP/1.1 500") && broken.contains("urn:capi-relay:problem:internal"), "{broken}");
    stream.write_all(PLAIN).await.unwrap();
    assert!(answer(&mut stream, "read 0").await.starts_with("HTTP/1.1 200"));
    drop(stream);
    let metrics = served.end().await;
    assert!(metrics.contains("capi_relay_request_panics_total 1"), "{metrics}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let served = Served::start(|_| {}).await;
    let mut stream = served.connect().await;
    let body = vec![b' '; 4 << 20];
    let head = format!("POST /refuses HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    // A client that looks for the answer only when it has sent everything.
    soon(write.write_all(&body)).await.unwrap();
    let refused = answer(&mut read, "}").await;
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("connection: close\r\n"), "{refused}");
    served.end().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_to_a_client_that_is_still_sending_it() {
    let served = Served::start(|_| {}).await;
    let mut stream = served.connect().await;
    // Also behind a request that was answered.
    stream.write_all(PLAIN).await.unwrap();
    assert!(answer(&mut stream, "read 0").await.starts_with("HTTP/1.1 200"));
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(4 << 20));
    soon(stream.write_all(head.as_bytes())).await.unwrap();
    let refused = rest(stream).await;
    assert!(refused.starts_with("HTTP/1.1 431") && refused.contains("connection: close\r\n"), "{refused}");
    served.end().await;
}

#[tokio::test]
async fn a_refusal_says_whether_its_connection_goes_on() {
    let served = Served::start(|_| {}).await;
    let refused = |length: &str, body: &str| format!("POST /refuses HTTP/1.1\r\nhost: a\r\n{length}\r\n\r\n{body}");
    let mut stream = served.connect().await;
    for whole in
        [("content-length: 2", "{}"), ("content-length: 0", ""), ("transfer-encoding: chunked", "2\r\n{}\r\n0\r\n\r\n")]
    {
        // Its body is there, and does not stand in the way of the next request.
        stream.write_all(refused(whole.0, whole.1).as_bytes()).await.unwrap();
        let goes_on = answer(&mut stream, "}").await;
        assert!(goes_on.starts_with("HTTP/1.1 401") && !goes_on.contains("connection: close"), "{whole:?}: {goes_on}");
    }
    let awaited = "content-length: 2\r\nexpect: 100-continue";
    // Told to begin, it has sent what is refused.
    stream.write_all(format!("POST /dislikes HTTP/1.1\r\nhost: a\r\n{awaited}\r\n\r\n").as_bytes()).await.unwrap();
    assert!(answer(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    stream.write_all(b"{}").await.unwrap();
    let goes_on = answer(&mut stream, "}").await;
    assert!(goes_on.starts_with("HTTP/1.1 401") && !goes_on.contains("connection: close"), "{goes_on}");
    for unread in [("content-length: 3", "{}"), (awaited, ""), ("transfer-encoding: chunked", "2\r\n{}\r\n")] {
        let mut stream = served.connect().await;
        stream.write_all(refused(unread.0, unread.1).as_bytes()).await.unwrap();
        let ends = answer(&mut stream, "}").await;
        assert!(ends.starts_with("HTTP/1.1 401") && ends.contains("connection: close\r\n"), "{unread:?}: {ends}");
        stream.shutdown().await.unwrap();
        assert_eq!(rest(stream).await, "");
    }
    drop(stream);
    served.end().await;
}

#[tokio::test]
async fn expect_continue_is_granted_only_to_who_is_read() {
    let served = Served::start(|_| {}).await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
        )
    };
    let mut stream = served.connect().await;
    stream.write_all(head("/").as_bytes()).await.unwrap();
    assert!(answer(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    stream.write_all(b"{}").await.unwrap();
    assert!(rest(stream).await.ends_with("read 2"));
    let refused = served.send(head("/refuses").as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    served.end().await;
}

#[tokio::test]
async fn head_is_answered_like_get_without_its_body() {
    let served = Served::start(|_| {}).await;
    let reply = served.send(b"HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("\r\n\r\n"), "{reply}");
    assert!(reply.contains("content-length: 6\r\n"), "{reply}");
    served.end().await;
}

impl Served {
    async fn start_tls(adjust: impl FnOnce(&mut Front)) -> Served {
        Served::start(|front| {
            front.tls =
                Tls::of(&Transport::Tls(config::Tls { identity: Identity::SelfSigned, clients: None })).unwrap();
            adjust(front);
        })
        .await
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_alpn_chooses_the_protocol() {
    let served = Served::start_tls(|_| {}).await;
    for (version, expected) in [
        (&rustls::version::TLS12, rustls::ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, rustls::ProtocolVersion::TLSv1_3),
    ] {
        for (offered, chosen) in [(&["http/1.1"][..], Some("http/1.1")), (&[], None), (&["h2", "http/1.1"], Some("h2"))]
        {
            let stream = connect_tls(served.address, version, offered).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(expected));
            assert_eq!(session.alpn_protocol(), chosen.map(str::as_bytes));
            if chosen != Some("h2") {
                let mut stream = stream;
                stream.write_all(PLAIN).await.unwrap();
                assert!(answer(&mut stream, "read 0").await.starts_with("HTTP/1.1 200"));
            }
        }
    }
    assert!(connect_tls(served.address, &rustls::version::TLS13, &["spdy/3"]).await.is_err());
    served.end().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_or_is_none_ends_the_connection() {
    let served = Served::start_tls(|front| front.first_request_timeout = Duration::from_millis(100)).await;
    let sooner = timeout(HANDSHAKE_TIMEOUT, rest(served.connect().await)).await;
    assert_eq!(sooner.expect("sooner than a handshake may take by itself"), "");
    let metrics = served.end().await;
    assert!(metrics.contains(r#"ended_total{reason="handshake_timeout"} 1"#), "{metrics}");

    let served = Served::start_tls(|_| {}).await;
    let mut plain = served.connect().await;
    plain.write_all(PLAIN).await.unwrap();
    let (head, body) = answer_of(plain).await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["detail"], "TLS is spoken here: use https");
    let mut neither = served.connect().await;
    neither.write_all(&[0x80, 0x2e, 1, 3, 1]).await.unwrap();
    rest(neither).await;
    let metrics = served.end().await;
    assert!(metrics.contains(r#"ended_total{reason="plain_http"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"ended_total{reason="handshake_failed"} 1"#), "{metrics}");
}

async fn answer_of(stream: TcpStream) -> (String, String) {
    let text = rest(stream).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
    (format!("{head}\r\n"), body.to_owned())
}

#[tokio::test]
async fn a_client_that_closes_its_half_gets_its_answer() {
    let served = Served::start(|_| {}).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /waits HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    soon(served.probe.arrived.notified()).await;
    served.probe.let_go.notify_one();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    served.end().await;
}

/// A connection without a socket, for time that stands still; each of its limits is five seconds.
fn connection() -> Arc<Connection<Probe>> {
    let front = Arc::new(Front {
        tls: None,
        connections_max: 8,
        addresses: Addresses::new(8),
        proxies: Proxies::default(),
        first_request_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(5),
        metrics: Connections::default(),
    });
    let (activity, shutdown, shown) = (Activity::new(), CancellationToken::new(), OnceLock::new());
    let peer = IpAddr::from([127, 0, 0, 1]);
    Arc::new(Connection { api: Arc::default(), front, activity, shutdown, peer, shown })
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_let_go_at_once() {
    let begun = Instant::now();
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let task = tokio::spawn(async move { connection().http1(server).await });
    client.write_all(PLAIN).await.unwrap();
    answer(&mut client, "read 0").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(client).await, "");
    assert_eq!((task.await.unwrap(), begun.elapsed()), (Ending::Closed, Duration::ZERO));
    // A body that ends early is refused, not waited for.
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let task = tokio::spawn(async move { connection().http1(server).await });
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    client.shutdown().await.unwrap();
    let text = rest(client).await;
    assert!(text.starts_with("HTTP/1.1 400"), "{text:?}");
    task.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_which_nothing_is_unread_is_closed_at_once() {
    let begun = Instant::now();
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let connection = connection();
    let shutdown = connection.shutdown.clone();
    let task = tokio::spawn(async move { connection.http1(server).await });
    for _ in 0..2 {
        client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
        assert!(answer(&mut client, "read 2").await.starts_with("HTTP/1.1 200"));
    }
    // Its client does not close its side.
    shutdown.cancel();
    assert_eq!((task.await.unwrap(), begun.elapsed()), (Ending::Closed, Duration::ZERO));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_still_told_is_no_idle_connection() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let connection = connection();
    let probe = Arc::clone(&connection.api);
    let task = tokio::spawn(async move { connection.http1(server).await });
    client.write_all(b"GET /tells HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    soon(probe.arrived.notified()).await;
    let told = probe.told.lock().unwrap().take().unwrap();
    sleep(Duration::from_secs(600)).await;
    assert!(told.tell("late".into()));
    answer(&mut client, "4\r\nlate\r\n").await;
    drop(told);
    assert_eq!(rest(client).await, "0\r\n\r\n", "then it is one");
    assert_eq!(task.await.unwrap(), Ending::Idle);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_tells_or_reads_any_more_is_an_idle_connection() {
    let connection = connection();
    let (probe, idle_timeout) = (Arc::clone(&connection.api), connection.front.idle_timeout);
    // A client that reads nothing: less than the head goes into the line.
    let (mut client, server) = tokio::io::duplex(64);
    let task = tokio::spawn(async move { connection.http1(server).await });
    client.write_all(b"GET /tells HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    soon(probe.arrived.notified()).await;
    let told = probe.told.lock().unwrap().take().unwrap();
    while told.tell("unread".into()) {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(idle_timeout * 10).await;
    assert!(!task.is_finished(), "it is still told");
    drop(told);
    let begun = Instant::now();
    assert_eq!(timeout(idle_timeout * 10, task).await.expect("it ends").unwrap(), Ending::Idle);
    assert!(begun.elapsed() <= idle_timeout + CLOSE_TIMEOUT + idle_timeout, "{:?}", begun.elapsed());
}
