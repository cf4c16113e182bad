//! HTTP/2: streams served at once, ended with their connection, answered or refused without a reset behind.

use super::*;

#[tokio::test]
async fn http_2_streams_are_served_at_once_and_drained() {
    let served = Served::start_tls(|_| {}).await;
    let stream = connect_tls(served.address, &rustls::version::TLS13, &["h2"]).await.unwrap();
    let (mut sender, connection) = http2(stream).await;
    let request = |path: &str| {
        Request::builder().uri(format!("https://localhost{path}")).body(Full::new(bytes::Bytes::new())).unwrap()
    };
    let waiting = tokio::spawn(sender.send_request(request("/waits")));
    soon(served.probe.arrived.notified()).await;
    let quick = soon(sender.send_request(request("/"))).await.unwrap();
    assert_eq!((quick.status(), quick.version()), (StatusCode::OK, Version::HTTP_2));
    let panicked = soon(sender.send_request(request("/panics"))).await.unwrap();
    assert_eq!(panicked.status(), StatusCode::INTERNAL_SERVER_ERROR);

    served.shutdown.cancel();
    assert!(!waiting.is_finished());
    served.probe.let_go.notify_one();
    let last = soon(waiting).await.unwrap().unwrap();
    assert_eq!(last.status(), StatusCode::OK);
    #[expect(clippy::disallowed_methods, reason = "read through a limit, as the ban asks")]
    let text = Limited::new(last.into_body(), 1024).collect().await.unwrap().to_bytes();
    assert_eq!(text, "read 0");
    soon(connection).await.unwrap().unwrap();
    let metrics = served.end().await;
    assert!(metrics.contains("capi_relay_request_panics_total 1"), "{metrics}");
}

#[tokio::test]
async fn an_http_2_stream_ends_with_its_drain_timeout() {
    let served = Served::start_tls(|front| front.drain_timeout = Duration::from_millis(50)).await;
    let stream = connect_tls(served.address, &rustls::version::TLS13, &["h2"]).await.unwrap();
    let (mut sender, connection) = http2(stream).await;
    let request = Request::builder().uri("https://localhost/waits").body(Full::new(bytes::Bytes::new())).unwrap();
    let waiting = tokio::spawn(sender.send_request(request));
    soon(served.probe.arrived.notified()).await;
    served.end().await;
    assert!(soon(waiting).await.unwrap().is_err());
    drop(soon(connection).await);
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    bytes.extend_from_slice(payload);
    bytes
}

/// What begins a connection of HTTP/2.
fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &[])].concat()
}

/// Kinds and streams of the frames that come until nothing has come for so long.
async fn frames(client: &mut DuplexStream, quiet: Duration) -> Vec<(u8, u8)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(read @ 1..)) = timeout(quiet, client.read(&mut buffer)).await {
        bytes.extend_from_slice(&buffer[..read]);
    }
    let (mut seen, mut rest) = (Vec::new(), bytes.as_slice());
    while let [_, high, low, kind, _, _, _, _, stream, behind @ ..] = rest {
        seen.push((*kind, *stream));
        rest = &behind[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    seen
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
/// The last of a stream, and the last of a head.
const END: u8 = 1;
const HEAD_END: u8 = 4;

#[tokio::test(start_paused = true)]
async fn a_request_that_crosses_the_idle_goaway_is_answered() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let connection = connection();
    let probe = Arc::clone(&connection.api);
    let _task = tokio::spawn(async move { connection.http2(server).await });
    client.write_all(&preface()).await.unwrap();
    client.write_all(&frame(HEADERS, END | HEAD_END, 1, &[0x82, 0x87, 0x84, 0x41, 1, b'a'])).await.unwrap();
    sleep(Duration::from_millis(5500)).await;
    let head = [&[0x82, 0x87, 0x04, 6], b"/waits".as_slice(), &[0x41, 1, b'a']].concat();
    client.write_all(&frame(HEADERS, END | HEAD_END, 3, &head)).await.unwrap();
    timeout(Duration::from_secs(1), probe.arrived.notified()).await.expect("taken");
    sleep(Duration::from_secs(3)).await;
    probe.let_go.notify_one();
    let seen = frames(&mut client, Duration::from_secs(2)).await;
    assert!(seen.contains(&(HEADERS, 3)), "{seen:?}");
}

/// Some clients take a reset behind the answer for the answer.
#[tokio::test(start_paused = true)]
async fn a_refusal_over_http_2_waits_for_the_body_so_that_no_reset_comes_behind_it() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let connection = connection();
    let _task = tokio::spawn(async move { connection.http2(server).await });
    client.write_all(&preface()).await.unwrap();
    let head = [&[0x83, 0x87, 0x04, 8], b"/refuses".as_slice(), &[0x41, 1, b'a']].concat();
    let answered =
        |seen: &[(u8, u8)], stream| (seen.contains(&(HEADERS, stream)), seen.contains(&(RST_STREAM, stream)));
    let moment = Duration::from_millis(500);
    client.write_all(&frame(HEADERS, HEAD_END, 1, &head)).await.unwrap();
    assert_eq!(answered(&frames(&mut client, moment).await, 1), (false, false));
    client.write_all(&frame(DATA, END, 1, b"{}")).await.unwrap();
    assert_eq!(answered(&frames(&mut client, moment).await, 1), (true, false));
    // Whose body does not come is answered all the same.
    client.write_all(&frame(HEADERS, HEAD_END, 3, &head)).await.unwrap();
    assert_eq!(answered(&frames(&mut client, moment).await, 3), (false, false));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(answered(&frames(&mut client, moment).await, 3), (true, true));
    // Who asks before it sends has not begun to.
    let asking = [&head, [0x0f, 20, 12].as_slice(), b"100-continue"].concat();
    client.write_all(&frame(HEADERS, HEAD_END, 5, &asking)).await.unwrap();
    assert_eq!(answered(&frames(&mut client, moment).await, 5), (true, true));
}
