//! Clients that do not send what they have begun.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{CLOSE, Heard, PATIENCE, Victim, head};

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_byte_at_a_time_is_ended_by_the_time_of_the_whole() {
    let mut victim = Victim::start("request_timeout = \"1s\"\nidle_timeout = \"1s\"");
    let chunked = head("transfer-encoding: chunked\r\n");
    let cases: [(&str, String, &str, &[u16]); 7] = [
        ("a slow body", head("content-length: 100000\r\n"), " ", &[408]),
        ("slow chunks", chunked.clone(), "1\r\n \r\n", &[408]),
        ("a slow size", chunked.clone(), "0", &[408]),
        ("a slow extension", chunked.clone() + "1;", "x", &[408]),
        ("a slow trailer", chunked + "0\r\n", "x: y\r\n", &[408]),
        ("a slow head", "POST /v1/conversions HTTP/1.1\r\n".to_owned(), "x: y\r\n", &[CLOSE]),
        ("slow empty lines", String::new(), "\r\n", &[CLOSE]),
    ];
    for (name, begin, more, allowed) in cases {
        let (mut from, mut into) = TcpStream::connect(&victim.address).await.unwrap().into_split();
        let begun = Instant::now();
        into.write_all(begin.as_bytes()).await.unwrap();
        let sending = async {
            while into.write_all(more.as_bytes()).await.is_ok() {
                sleep(super::BETWEEN).await;
            }
            std::future::pending().await
        };
        let mut heard = Vec::new();
        let hearing = async { drop(from.read_to_end(&mut heard).await) };
        let both = async {
            tokio::select! { () = sending => {}, () = hearing => {} }
        };
        assert!(timeout(PATIENCE, both).await.is_ok(), "{name}: the relay waits on");
        let heard = Heard::of(&heard);
        assert!(allowed.contains(&heard.first()), "{name}: {heard:?}");
        assert!(begun.elapsed() >= super::LIMIT, "{name}: {:?}", begun.elapsed());
        victim.is_sound(name).await;
    }
    assert_eq!(victim.accepted().await, victim.served);
    victim.stops();
}
