use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::admin::tests::Watched;
use crate::ingress::tests::client::{Call, call, rest, soon};
use crate::queue::DeadKind;

/// A page that listens.
struct Ear {
    stream: TcpStream,
    heard: String,
}

impl Ear {
    async fn open(watched: &Watched) -> Ear {
        let mut stream = TcpStream::connect(watched.address).await.unwrap();
        stream.write_all(b"GET /admin/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        Ear { stream, heard: String::new() }
    }

    /// The next event; chunk sizes and the head stand between them, and are none.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.heard.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.heard = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(kind), Some(data)) = (field("event: "), field("data: ")) {
                    assert!(field("id: ").is_some(), "{event}");
                    return (kind, serde_json::from_str(&data).unwrap());
                }
                continue;
            }
            let mut part = [0; 4096];
            let read = soon(self.stream.read(&mut part)).await.unwrap();
            assert!(read > 0, "ended after {:?}", self.heard);
            self.heard.push_str(std::str::from_utf8(&part[..read]).unwrap());
        }
    }

    /// The next event of this type that is as expected.
    async fn hears(&mut self, kind: &str, expected: impl Fn(&Value) -> bool) -> Value {
        soon(async {
            loop {
                let (found, data) = self.next().await;
                if found == kind && expected(&data) {
                    return data;
                }
            }
        })
        .await
    }
}

/// Whether another one is let in.
async fn listens(watched: &Watched) -> bool {
    let mut stream = Ear::open(watched).await.stream;
    let mut head = [0; 12];
    soon(stream.read_exact(&mut head)).await.unwrap();
    head.ends_with(b"200")
}

#[tokio::test]
async fn the_whole_comes_first_and_then_each_change() {
    let watched = Watched::start("").await;
    let mut ear = Ear::open(&watched).await;
    let (kind, whole) = ear.next().await;
    assert_eq!(kind, "overview");
    let names: Vec<_> = whole["destinations"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!((names, &whole["concerns"]), (vec![json!("first"), json!("refunds")], &json!([])));
    assert_eq!((&whole["relay"]["phase"], &whole["relay"]["config_version"]), (&json!("serving"), &json!(1)));
    assert!(whole["relay"]["disk_free_bytes"].as_u64().unwrap() > 0, "{whole}");

    watched.post("e-1").await;
    let first = ear.hears("destination", |data| data["pending"] == 1).await;
    assert_eq!((&first["name"], &first["gives_up_at"].is_string()), (&json!("first"), &true), "{first}");
    watched.kill(DeadKind::Rejected, "status 400").await;
    let concerns = ear.hears("concerns", |data| data[0]["destination"] == "first").await;
    ear.hears("destination", |data| data["dead"] == 1).await;
    assert_eq!((&concerns[0]["what"], &concerns[0]["level"]), (&json!("has 1 dead letter"), &json!("notice")));
    watched.pools.pause("first", "the partner asked us to".to_owned()).unwrap();
    ear.hears("destination", |data| data["state"] == "paused" && data["reason"] == "the partner asked us to").await;
    watched.relay.drain();
    ear.hears("relay", |data| data["phase"] == "draining").await;
    watched.end().await;
}

#[tokio::test]
async fn what_is_kept_for_a_destination_that_is_gone_is_told() {
    let watched = Watched::start("").await;
    let mut ear = Ear::open(&watched).await;
    ear.next().await;
    watched.post("e-1").await;
    watched.kill(DeadKind::Rejected, "status 400").await;
    ear.hears("destination", |data| data["dead"] == 1).await;
    watched.pools.reload(&watched.relay.changed("[destination.first", "[destination.second")).unwrap();
    let kept = json!([{"name": "first", "pending": 0, "dead": 1}]);
    ear.hears("overview", |data| data["removed"] == kept).await;
    let body = r#"{"destination":"first","reason":"a test"}"#;
    let discard = Call { path: "/admin/dead/discard", token: None, body, ..Call::post() };
    assert_eq!(call(watched.address, discard).await.json["discarded"], 1);
    ear.hears("removed", |data| *data == json!([])).await;
    watched.end().await;
}

#[tokio::test]
async fn the_overview_is_what_a_listener_is_told_first() {
    let watched = Watched::start("").await;
    let mut told = Ear::open(&watched).await.hears("overview", |_| true).await;
    let mut asked = watched.get("/admin/overview").await.json;
    for picture in [&mut told, &mut asked] {
        picture["now"].take();
        picture["relay"]["disk_free_bytes"].take();
    }
    assert_eq!(told, asked);
    watched.end().await;
}

#[tokio::test]
async fn the_end_of_the_listener_ends_every_stream_and_takes_no_other() {
    let watched = Watched::start("").await;
    let mut ear = Ear::open(&watched).await;
    ear.next().await;
    watched.shutdown.cancel();
    let last = rest(ear.stream).await;
    assert!(last.ends_with("0\r\n\r\n"), "cut off: {last:?}");
    watched.end().await;

    let events = Events::default();
    events.end();
    assert!(events.join(None).is_err());
}

#[tokio::test]
async fn so_many_may_listen_and_no_more() {
    let watched = Watched::start("").await;
    let mut ears = Vec::new();
    for _ in 0..LISTENERS_MAX {
        let mut ear = Ear::open(&watched).await;
        ear.next().await;
        ears.push(ear);
    }
    let refused = watched.get("/admin/events").await;
    assert_eq!(refused.refusal(), (503, "urn:capi-relay:problem:unavailable"));
    assert_eq!(refused.headers["retry-after"], "15");
    assert_eq!(watched.get("/admin/overview").await.status, 200, "they do not take the others' places");
    // A socket with something unread in it is reset, and its place is free at once.
    ears.truncate(LISTENERS_MAX - 1);
    watched.post("e-1").await;
    soon(async {
        while !listens(&watched).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(ears);
    watched.end().await;
}

#[tokio::test]
async fn who_reads_nothing_is_let_go_and_the_others_are_told() {
    let events = Events::default();
    let (deaf, mut good) = (events.join(None).unwrap(), events.join(None).unwrap());
    let (whole, news) = (Bytes::from_static(b"whole"), Bytes::from_static(b"news"));
    for number in 0..=UNREAD_MAX {
        events.tell(&whole, &news);
        let Content::Told { parts, .. } = good.body_mut() else { panic!("it is told") };
        assert_eq!(parts.recv().await.unwrap(), if number == 0 { "whole" } else { "news" });
    }
    assert_eq!(events.audience().listeners.len(), 1);
    let Content::Told { mut parts, .. } = deaf.into_body() else { panic!("it is told") };
    for _ in 0..UNREAD_MAX {
        parts.recv().await.unwrap();
    }
    assert_eq!(parts.recv().await, None);
    events.tell(&whole, &Bytes::new());
    let Content::Told { parts, .. } = good.body_mut() else { panic!("it is told") };
    assert!(parts.try_recv().is_err(), "no news is nothing");
}

#[tokio::test(start_paused = true)]
async fn who_comes_is_told_at_once_and_hastens_no_look() {
    let events = Events::default();
    let whole = Bytes::from_static(b"whole");
    let told = |reply: &mut Reply| {
        let Content::Told { parts, .. } = reply.body_mut() else { panic!("it is told") };
        parts.try_recv().ok()
    };
    let mut first = events.join(None).unwrap();
    let begun = Instant::now();
    events.due(None).await;
    events.tell(&whole, &Bytes::new());
    assert_eq!((told(&mut first), begun.elapsed()), (Some(whole.clone()), Duration::ZERO));
    let mut others = Vec::new();
    for _ in 0..10 {
        let mut other = events.join(None).unwrap();
        assert_eq!(told(&mut other), Some(whole.clone()));
        others.push(other);
    }
    events.due(Some(begun)).await;
    assert_eq!(begun.elapsed(), LOOK_EVERY);
    // What was told a second ago is told to nobody as it is now: the look that is due has it.
    let mut last = events.join(None).unwrap();
    assert_eq!(told(&mut last), None);
    let news = Bytes::from_static(b"news");
    events.tell(&whole, &news);
    assert_eq!((told(&mut first), told(&mut last)), (Some(news), Some(whole)));
    // Who comes when all have gone waits for no more of a second than is left.
    drop((first, others, last));
    events.audience().listeners.clear();
    tokio::time::advance(LOOK_EVERY * 3).await;
    let _next = events.join(None).unwrap();
    let begun_again = Instant::now();
    events.due(Some(begun)).await;
    assert_eq!(begun_again.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_a_comment() {
    let picture = || Picture { relay: "1".to_owned(), concerns: "[]".to_owned(), ..Picture::default() };
    let begun = Instant::now();
    let mut teller = Teller { number: 0, before: picture(), told_at: begun };
    let (whole, news) = teller.next(picture(), begun + Duration::from_secs(14));
    assert!(whole.starts_with(b"retry: 2000\n\nid: 0\nevent: overview\ndata: {"), "{whole:?}");
    assert_eq!(news, "");
    assert_eq!(teller.next(picture(), begun + STILL_HERE_EVERY).1, ": still here\n\n");
    assert_eq!(teller.next(picture(), begun + STILL_HERE_EVERY + LOOK_EVERY).1, "");
    let other = Picture { relay: "2".to_owned(), ..picture() };
    assert_eq!(teller.next(other, begun).1, "id: 1\nevent: relay\ndata: 2\n\n");
}

#[tokio::test]
async fn a_page_elsewhere_neither_listens_nor_reads_nor_changes_anything() {
    let watched = Watched::start("").await;
    // A name that was pointed at loopback: no browser's protection stands between it and us.
    for path in ["/", "/page/page.js", "/admin/overview", "/admin/events", "/admin/destinations"] {
        let headers = [("host", "evil.example:9090")];
        let mut stream = TcpStream::connect(watched.address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\n{}: {}\r\nconnection: close\r\n\r\n", headers[0].0, headers[0].1);
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    for headers in [[("sec-fetch-site", "cross-site")], [("origin", "https://evil.example")]] {
        let listening = Call { headers: &headers, ..Call::get("/admin/events") };
        assert_eq!(call(watched.address, listening).await.status, 400, "{headers:?}");
        for path in ["/admin/reload", "/admin/dead/replay", "/admin/dead/discard", "/admin/forget"] {
            let change = Call { path, token: None, headers: &headers, ..Call::post() };
            assert_eq!(call(watched.address, change).await.refusal().0, 400, "{path} {headers:?}");
        }
    }
    watched.end().await;
}

#[tokio::test]
async fn with_a_token_the_page_is_served_and_holds_nothing_that_the_token_guards() {
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("admin-token"));
    let watched = Watched::start(&format!("admin_token_sha256 = \"{digest}\"")).await;
    watched.post("e-1").await;
    let page = watched.get("/").await;
    assert_eq!((page.status, page.headers["content-type"].as_bytes()), (200, &b"text/html; charset=utf-8"[..]));
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    assert!(!page.text.contains("refunds"), "a destination's name");
    assert_eq!(call(watched.address, Call { method: "POST", ..Call::get("/") }).await.status, 405);
    for path in ["/admin/overview", "/admin/events"] {
        assert_eq!(watched.get(path).await.status, 401, "{path}");
    }
    let reply = call(watched.address, Call { token: Some("admin-token"), ..Call::get("/admin/overview") }).await;
    assert_eq!(reply.status, 200);
    watched.end().await;
}
