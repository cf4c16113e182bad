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
        let (payload, next) = after.split_at(usize::from(u16::from_be_bytes([high, low])));
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
    for stream in streams(1_000) {
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

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const ENHANCE_YOUR_CALM: u8 = 11;
