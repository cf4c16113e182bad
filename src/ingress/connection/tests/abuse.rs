//! HTTP/2 in raw frames, from a peer that makes more work than it takes on itself.

use super::*;

/// A frame of a stream; `kind` and `flags` as RFC 9113 §6 numbers them.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET` of `/waits`, whole.
fn get(stream: u32) -> Vec<u8> {
    let head = [0x82, 0x87, 0x04, 6, b'/', b'w', b'a', b'i', b't', b's', 0x41, 1, b'a'];
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL)
}

/// The ids of that many streams.
fn streams(count: usize) -> impl Iterator<Item = u32> {
    (1..).step_by(2).take(count)
}

fn opening() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The error codes of the GOAWAY frames that a connection ends with.
fn goaways(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut codes) = (bytes, Vec::new());
    while let Some((head, after)) = rest.split_first_chunk::<9>() {
        let [_, high, low, kind, ..] = *head;
        // The last one may not be whole yet.
        let Some((payload, next)) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low]))) else { break };
        if kind == GOAWAY {
            codes.push(payload[7]);
        }
        rest = next;
    }
    codes
}

/// All tasks of this runtime: one for each stream in hand, and one for the connection.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// How a connection ends that is sent all of this at once, and what is left of it.
async fn ended_by(frames: &[u8]) -> Vec<u8> {
    let before = tasks();
    let (mut client, server) = tokio::io::duplex(1 << 22);
    let connection = connection();
    let watched = Arc::clone(&connection);
    let task = tokio::spawn(async move { connection.http2(server).await });
    client.write_all(&[&opening(), frames].concat()).await.unwrap();
    let mut bytes = Vec::new();
    let begun = Instant::now();
    soon(client.read_to_end(&mut bytes)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "by what it did, and not by its silence");
    soon(task).await.unwrap();
    assert_eq!((tasks(), watched.activity.in_hand()), (before, false));
    assert_eq!(Arc::strong_count(&watched), 1, "no stream holds it any more");
    goaways(&bytes)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_resets_what_it_has_just_asked_for_is_told_to_calm_down() {
    let flood: Vec<u8> = streams(10_000).flat_map(|stream| [get(stream), reset(stream)].concat()).collect();
    assert_eq!(ended_by(&flood).await, [ENHANCE_YOUR_CALM]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_keeps_asking_for_what_is_no_request_is_told_to_calm_down() {
    // Two methods: each is a stream that we reset.
    let wrong = [0x82, 0x82, 0x87, 0x84, 0x41, 1, b'a'];
    let flood: Vec<u8> = streams(ERROR_RESETS_MAX.saturating_add(1))
        .flat_map(|stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &wrong))
        .collect();
    assert_eq!(ended_by(&flood).await, [ENHANCE_YOUR_CALM]);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_told_to_calm_down() {
    let continued: Vec<u8> = (0..6).flat_map(|_| frame(CONTINUATION, 0, 1, &[])).collect();
    let flood = [frame(HEADERS, END_STREAM, 1, &[0x82]), continued].concat();
    assert_eq!(ended_by(&flood).await, [ENHANCE_YOUR_CALM]);
}

#[tokio::test(start_paused = true)]
async fn what_is_reset_after_it_was_taken_leaves_nothing_behind() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let connection = connection();
    let (probe, watched) = (Arc::clone(&connection.api), Arc::clone(&connection));
    let task = tokio::spawn(async move { connection.http2(server).await });
    client.write_all(&opening()).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let (before, held) = (tasks(), Arc::strong_count(&watched));
    for stream in streams(100) {
        client.write_all(&get(stream)).await.unwrap();
        timeout(Duration::from_secs(1), probe.arrived.notified()).await.expect("taken");
        client.write_all(&reset(stream)).await.unwrap();
        // What we say meanwhile must not fill the line.
        let mut said = [0; 1024];
        drop(timeout(Duration::from_micros(1), client.read(&mut said)).await);
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!((tasks(), Arc::strong_count(&watched), watched.activity.in_hand()), (before, held, false));
    drop(client);
    soon(task).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_back_one_request_after_the_other_is_let_go() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let connection = connection();
    let (probe, watched) = (Arc::clone(&connection.api), Arc::clone(&connection));
    let before = tasks();
    let task = tokio::spawn(async move { connection.http2(server).await });
    client.write_all(&opening()).await.unwrap();
    let (begun, mut said) = (Instant::now(), Vec::new());
    for stream in streams(10_000) {
        if client.write_all(&get(stream)).await.is_err() {
            break;
        }
        if timeout(Duration::from_secs(1), probe.arrived.notified()).await.is_err() {
            break;
        }
        // It never goes beyond what may be taken back unseen.
        drop(client.write_all(&reset(stream)).await);
        drop(timeout(Duration::from_micros(1), client.read_buf(&mut said)).await);
    }
    drop(timeout(Duration::from_secs(1), client.read_to_end(&mut said)).await);
    assert_eq!(soon(task).await.unwrap(), Ending::TakenBack);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(goaways(&said).contains(&NO_ERROR), "{:?}", goaways(&said));
    assert_eq!((tasks(), Arc::strong_count(&watched)), (before, 1));
}

/// Asks and takes back until it is let go; what it had asked for first stays in hand. It confirms no PING.
async fn let_go(client: &mut DuplexStream) {
    client.write_all(&[opening(), get(1)].concat()).await.unwrap();
    let mut said = Vec::new();
    for stream in streams(10_000).skip(1) {
        client.write_all(&get(stream)).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        client.write_all(&reset(stream)).await.unwrap();
        drop(timeout(Duration::from_micros(1), client.read_buf(&mut said)).await);
        if !goaways(&said).is_empty() {
            return;
        }
    }
    panic!("it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_let_go_is_not_waited_for_without_end() {
    for drains in [false, true] {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let connection = connection();
        let watched = Arc::clone(&connection);
        let task = tokio::spawn(async move { connection.http2(server).await });
        let_go(&mut client).await;
        let begun = Instant::now();
        if drains {
            watched.shutdown.cancel();
        }
        let ending = timeout(Duration::from_secs(60), task).await.expect("it ends").unwrap();
        assert_eq!(ending, if drains { Ending::DrainTimeout } else { Ending::TakenBack });
        assert!(begun.elapsed() <= watched.front.drain_timeout, "{:?}", begun.elapsed());
        assert!(!watched.activity.in_hand());
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_the_drain_cuts_off_was_told_to_go_before() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let connection = connection();
    let watched = Arc::clone(&connection);
    let task = tokio::spawn(async move { connection.http2(server).await });
    client.write_all(&[opening(), get(1)].concat()).await.unwrap();
    watched.api.arrived.notified().await;
    watched.shutdown.cancel();
    let mut said = Vec::new();
    soon(client.read_to_end(&mut said)).await.unwrap();
    assert_eq!(soon(task).await.unwrap(), Ending::DrainTimeout);
    assert_eq!(goaways(&said), [NO_ERROR]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_them_back_in_the_middle_of_their_bodies_is_let_go_too() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let connection = connection();
    let task = tokio::spawn(async move { connection.http2(server).await });
    client.write_all(&opening()).await.unwrap();
    let mut said = Vec::new();
    for stream in streams(10_000) {
        // A POST whose body is still to come.
        let head = frame(HEADERS, END_HEADERS, stream, &[0x83, 0x87, 0x84, 0x41, 1, b'a']);
        if client.write_all(&head).await.is_err() {
            break;
        }
        drop(timeout(Duration::from_micros(1), client.read_buf(&mut said)).await);
        drop(client.write_all(&reset(stream)).await);
        drop(timeout(Duration::from_micros(1), client.read_buf(&mut said)).await);
    }
    drop(timeout(Duration::from_secs(1), client.read_to_end(&mut said)).await);
    assert_eq!(soon(task).await.unwrap(), Ending::TakenBack);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_the_rules_is_told_which_and_let_go() {
    let window = |stream: u32, more: u32| frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    let setting = |id: u16, value: u32| frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    // Its body is not read, so its window is never given back.
    let posting =
        frame(HEADERS, END_HEADERS, 1, &[0x83, 0x87, 0x04, 6, b'/', b'w', b'a', b'i', b't', b's', 0x41, 1, b'a']);
    let full = frame(DATA, 0, 1, &[0; 16 * 1024]);
    let cases = [
        ("a window that does not grow", window(0, 0), PROTOCOL_ERROR),
        ("a window beyond all", window(0, u32::MAX >> 1), FLOW_CONTROL_ERROR),
        // RFC 9113 has a narrower code for some: h2 says that the protocol was broken, and ends it as it should.
        ("first windows beyond all", setting(INITIAL_WINDOW_SIZE, 1 << 31), PROTOCOL_ERROR),
        (
            "first windows that overflow one",
            [get(1), window(1, (u32::MAX >> 1) - 65_535), setting(INITIAL_WINDOW_SIZE, 1 << 30)].concat(),
            FLOW_CONTROL_ERROR,
        ),
        ("data beyond the window", [posting, full.repeat(5)].concat(), FLOW_CONTROL_ERROR),
        ("data of no stream", frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR),
        ("a window of no stream", window(1, 1), PROTOCOL_ERROR),
        ("a stream of ours", get(2), PROTOCOL_ERROR),
        ("a stream that was passed over", [get(3), get(1)].concat(), PROTOCOL_ERROR),
        ("a promise", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]), PROTOCOL_ERROR),
        ("a frame that is too long", frame(DATA, 0, 1, &[0; 16 * 1024 + 1]), FRAME_SIZE_ERROR),
        ("a ping that is too short", frame(PING, 0, 0, &[0; 7]), PROTOCOL_ERROR),
        ("a head that means nothing", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 16]), PROTOCOL_ERROR),
        ("a name out of the table", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xbe]), PROTOCOL_ERROR),
        ("a head within another", [frame(HEADERS, 0, 1, &[0x82]), get(3)].concat(), PROTOCOL_ERROR),
    ];
    for (name, frames, code) in cases {
        assert_eq!(ended_by(&frames).await, [code], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_only_makes_itself_heard_is_silent() {
    let setting = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]);
    let window = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    for flood in [frame(PING, 0, 0, &[0; 8]), setting, window, frame(200, 0, 0, b"unknown")] {
        for reads in [true, false] {
            assert_eq!(flooded(&flood, reads).await, Ending::FirstRequestTimeout, "{flood:?}");
        }
    }
}

/// How a connection ends whose peer sends this for ever, and reads what comes or does not.
async fn flooded(flood: &[u8], reads: bool) -> Ending {
    let (client, server) = tokio::io::duplex(1 << 12);
    let task = tokio::spawn(async move { connection().http2(server).await });
    let (mut from, mut into) = tokio::io::split(client);
    let begun = Instant::now();
    let reading = tokio::spawn(async move {
        let mut said = [0; 1024];
        while reads && from.read(&mut said).await.is_ok_and(|bytes| bytes > 0) {}
        from
    });
    into.write_all(&opening()).await.unwrap();
    while into.write_all(&flood.repeat(20)).await.is_ok() {
        sleep(Duration::from_millis(10)).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{flood:?}: it goes on");
    }
    drop(reading.await.unwrap());
    task.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_answer_is_not_kept() {
    let before = tasks();
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let connection = connection();
    let watched = Arc::clone(&connection);
    let task = tokio::spawn(async move { connection.http2(server).await });
    let begun = Instant::now();
    let closed = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    // `GET /`, whose answer has a body, for which there is no window.
    let asked: Vec<u8> = streams(100)
        .flat_map(|stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &[0x82, 0x87, 0x84, 0x41, 1, b'a']))
        .collect();
    client.write_all(&[opening(), closed, asked].concat()).await.unwrap();
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(task.await.unwrap(), Ending::Idle);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!((tasks(), Arc::strong_count(&watched)), (before, 1));
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const NO_ERROR: u8 = 0;
const ENHANCE_YOUR_CALM: u8 = 11;
const INITIAL_WINDOW_SIZE: u16 = 4;
const PROTOCOL_ERROR: u8 = 1;
const FLOW_CONTROL_ERROR: u8 = 3;
const FRAME_SIZE_ERROR: u8 = 6;
