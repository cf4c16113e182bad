//! Bad input gets a clear answer that says what would be right, and is never a 500.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Bench, conversion, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");

#[track_caller]
fn problem(answer: &Answer, status: u16) -> &Value {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["status"], status);
    for name in ["type", "title"] {
        assert!(answer.body[name].as_str().is_some_and(|text| !text.is_empty()), "no {name} in {}", answer.body);
    }
    &answer.body
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_is_read() {
    let bench = Bench::start("").await;
    let url = bench.url("/v1/conversions");
    let body = conversion("order-1").to_string();
    for header in ["", "Bearer wrong", "Basic dGVzdA==", "Bearer"] {
        let answer = bench.http.call(Method::POST, &url, &[JSON, ("authorization", header)], &body).await;
        problem(&answer, 401);
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        assert_eq!(challenge.contains("error="), header.starts_with("Bearer"), "{header:?}: {challenge}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_is_listed_at_once_with_its_place() {
    let bench = Bench::start("").await;
    let body = json!({
        "tiem": "2026-11-20T14:03:27Z",
        "value": true,
        "currency": "eur",
        "customer": { "emial": "a@b.example", "birthday": "1990-02-30" },
        "items": [ { "quantity": "two" }, { "price": "1e3" } ],
    });
    let answer = bench.post(&body).await;
    let problem = problem(&answer, 422);
    let pointers: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    for pointer in [
        "/tiem",
        "/time",
        "/value",
        "/currency",
        "/customer/emial",
        "/customer/birthday",
        "/items/0/quantity",
        "/items/1/price",
    ] {
        assert!(pointers.contains(&pointer), "no {pointer} in {problem:#}");
    }
    let text = problem.to_string();
    assert!(text.contains("time") && text.contains("email"), "no did-you-mean in {text}");
    assert!(!text.contains("a@b.example"), "a value is repeated in {text}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_conversion_is_refused_with_the_right_status() {
    let bench = Bench::start("").await;
    let url = bench.url("/v1/conversions");
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!(
        "{{\"time\":\"2026-11-20T14:03:27Z\",\"custom\":{}}}",
        "{\"a\":".repeat(5_000) + "1" + &"}".repeat(5_000)
    );
    let cases: [(&str, u16); 9] = [
        ("", 400),
        ("{", 400),
        ("{\"time\":}", 400),
        ("{\"time\":\"2026-11-20T14:03:27Z\"} x", 400),
        ("{\"value\":NaN}", 400),
        (&deep, 422),
        (&nested, 422),
        ("\"text\"", 422),
        ("{\"time\":\"2026-11-20T14:03:27Z\",\"time\":\"2026-11-20T14:03:27Z\"}", 422),
    ];
    for (body, status) in cases {
        let answer = bench.http.call(Method::POST, &url, &[JSON], body).await;
        problem(&answer, status);
    }
    let huge = format!("{{\"time\":\"{}\"}}", "x".repeat(8 * 1024 * 1024));
    problem(&bench.http.call(Method::POST, &url, &[JSON], &huge).await, 413);
    let text = bench.http.call(Method::POST, &url, &[("content-type", "text/plain")], "{}").await;
    problem(&text, 415);
    problem(&bench.http.call(Method::GET, &bench.url("/nowhere"), &[], "").await, 404);
    let method = bench.http.call(Method::DELETE, &url, &[], "").await;
    problem(&method, 405);
    assert_eq!(method.headers["allow"], "POST");
    let unknown = "/v1/conversions/019370a0-0000-7000-8000-000000000000";
    problem(&bench.http.call(Method::GET, &bench.url(unknown), &[], "").await, 404);
    assert_eq!(bench.post(&conversion("still-serving")).await.status, StatusCode::ACCEPTED);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_are_refused_and_the_relay_serves_on() {
    let bench = Bench::start("").await;
    let cases: [(&[u8], &[&str]); 8] = [
        (b"POST /v1/conversions HTTP/1.1\r\n\r\n", &["400"]),
        (b"POST /v1/conversions HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &["400"]),
        (b"POST /v1/conversions HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", &["400"]),
        // The length is dropped, the chunks count, and the connection ends with the answer (RFC 9112, 6.1).
        (b"POST /v1/conversions HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &["401"]),
        (b"POST /v1/conversions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", &["400", "501"]),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", &["405"]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &["400", ""]),
        (b"GET / HTTP/9.9\r\n\r\n", &["400", "505"]),
    ];
    for (bytes, expected) in cases {
        let mut stream = TcpStream::connect(bench.relay.public()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = vec![0; 4096];
        // A reset instead of an answer counts as none.
        let read = stream.read(&mut answer).await.unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        let status = answer.split_whitespace().nth(1).unwrap_or_default();
        assert!(expected.contains(&status), "{:?} was answered {answer:?}", String::from_utf8_lossy(bytes));
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(12 * 1024));
    let mut stream = TcpStream::connect(bench.relay.public()).await.unwrap();
    stream.write_all(long.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(
        String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 414"),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(bench.post(&conversion("still-serving")).await.status, StatusCode::ACCEPTED);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_end_take_a_bounded_part_of_the_memory() {
    let bench = Bench::start("").await;
    let length = 4 * 1024 * 1024;
    let head = format!(
        "POST /v1/conversions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer test-token\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    let mut open = tokio::task::JoinSet::new();
    // Four of them fill the merchant's half of the 32 MiB; each is one byte short of its end.
    for _ in 0..12 {
        let mut stream = TcpStream::connect(bench.relay.public()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // A relay that has refused need not read on.
        drop(stream.write_all(&vec![b' '; length - 1]).await);
        // Those that are not refused wait for their last byte.
        open.spawn(async move {
            let mut answer = vec![0; 1024];
            let read = stream.read(&mut answer).await.unwrap_or_default();
            (String::from_utf8_lossy(&answer[..read]).into_owned(), stream)
        });
    }
    let (mut answers, mut answered) = (String::new(), Vec::new());
    while !answers.contains("HTTP/1.1 503") {
        let Some(read) = open.join_next().await else { panic!("nothing is refused: {answers}") };
        let (answer, stream) = read.unwrap();
        answers.push_str(&answer);
        answered.push(stream);
    }
    assert!(answers.to_lowercase().contains("retry-after"), "{answers}");
    drop((open, answered));
    eventually("room again", async || {
        (bench.post(&conversion("after")).await.status == StatusCode::ACCEPTED).then_some(())
    })
    .await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_merchants_conversion_is_not_found() {
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("other-token"));
    let bench = Bench::start(&format!("[merchant.other]\ntoken_sha256 = \"{digest}\"\n")).await;
    let id = bench.post(&conversion("order-1")).await.id();
    let url = bench.url(&format!("/v1/conversions/{id}"));
    assert_eq!(bench.http.call(Method::GET, &url, &[], "").await.status, StatusCode::OK);
    let other = bench.http.call(Method::GET, &url, &[("authorization", "Bearer other-token")], "").await;
    problem(&other, 404);
    // The same key of another merchant is another conversion.
    let body = conversion("order-1").to_string();
    let (url, as_other) = (bench.url("/v1/conversions"), [JSON, ("authorization", "Bearer other-token")]);
    assert_eq!(bench.http.call(Method::POST, &url, &as_other, &body).await.status, StatusCode::ACCEPTED);
    bench.stop().await;
}
