//! Connections between two requests: what may befall them, and what becomes of the next request then.

use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn a_kept_connection_that_had_closed_costs_nothing() {
    let (closed, mut closes) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |_, mut stream| {
        let closed = closed.clone();
        async move {
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            // Closed without `Connection: close`, while the client holds it idle.
            drop(stream);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let client = client();
    for number in 1..=50 {
        answered(&send(&client, &server.url()).await, 200, Body::Whole);
        closes.recv().await.unwrap();
        assert_eq!(server.connections(), number);
    }
}

/// The server is a thread of its own, and this one waits without the runtime for what becomes of the connection: the kernel
/// alone knows of it when the next request is written.
async fn between_requests(happens: impl Fn(std::net::TcpStream) -> Option<std::net::TcpStream>) {
    const REQUESTS: usize = 20;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (answers, kept) = std::sync::mpsc::sync_channel(1);
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        for _ in 0..REQUESTS {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"{\"a\":1}") {
                let mut buffer = [0; 1024];
                let read = stream.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            // Not before the client keeps the connection.
            answers.send(stream).unwrap();
        }
    });
    let client = client();
    let mut open = Vec::new();
    for _ in 0..REQUESTS {
        answered(&send(&client, &url).await, 200, Body::Whole);
        open.extend(happens(kept.recv().unwrap()));
    }
    server.join().unwrap();
}

#[tokio::test]
async fn a_close_that_the_runtime_has_not_seen_yet_is_no_unknown_outcome() {
    between_requests(|stream| {
        drop(stream);
        None
    })
    .await;
}

#[tokio::test]
async fn a_word_that_the_runtime_has_not_seen_yet_is_no_answer() {
    between_requests(|mut stream| {
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 500 Stray\r\nContent-Length: 0\r\n\r\n").unwrap();
        Some(stream)
    })
    .await;
}

/// What a peer says out of turn would pass for the answer to the next request.
#[tokio::test]
async fn what_was_said_before_a_request_is_no_answer_to_it() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    const STRAY: &str = "HTTP/1.1 500 Stray\r\nContent-Length: 0\r\n\r\n";
    for (answer, later) in [(format!("{ANSWER}{STRAY}"), ""), (ANSWER.to_owned(), STRAY)] {
        let (kept, said) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let theirs = (Arc::clone(&kept), Arc::clone(&said));
        let server = Server::start(move |_, mut stream| {
            let (answer, (kept, said)) = (answer.clone(), theirs.clone());
            async move {
                request(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                kept.acquire().await.unwrap().forget();
                stream.write_all(later.as_bytes()).await.unwrap();
                said.add_permits(1);
                assert_eq!(request(&mut stream).await, "", "an end, and no request");
            }
        })
        .await;
        let client = client();
        for number in 1..=20 {
            answered(&send(&client, &server.url()).await, 200, Body::Whole);
            assert_eq!(server.connections(), number);
            kept.add_permits(1);
            said.acquire().await.unwrap().forget();
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_server_will_close_takes_no_other_request() {
    let server = answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
    let client = client();
    for number in 1..=3 {
        answered(&send(&client, &server.url()).await, 200, Body::Whole);
        assert_eq!(server.connections(), number);
    }
}

/// Lets time pass, and what is due then happen.
pub(super) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// A server that answers one request of each connection, and tells when that ends.
async fn telling_ends() -> (Server, Arc<Semaphore>) {
    let ends = Arc::new(Semaphore::new(0));
    let ended = Arc::clone(&ends);
    let server = Server::start(move |_, mut stream| {
        let ended = Arc::clone(&ended);
        async move {
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            assert_eq!(request(&mut stream).await, "", "an end, and no request");
            ended.add_permits(1);
        }
    });
    (server.await, ends)
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_its_server_would() {
    let (server, ends) = telling_ends().await;
    let client = client();
    for _ in 0..3 {
        answered(&send(&client, &server.url()).await, 200, Body::Whole);
        pass(super::super::kept::IDLE_TIMEOUT).await;
        ends.acquire().await.unwrap().forget();
    }
}

#[tokio::test]
async fn what_begins_after_a_stop_is_not_sent_over_a_kept_connection_either() {
    let (server, ends) = telling_ends().await;
    let client = client();
    answered(&send(&client, &server.url()).await, 200, Body::Whole);
    let stop = CancellationToken::new();
    stop.cancel();
    not_sent(&client.send(&post(&server.url()), &stop).await.transmission, false, "the relay stopped");
    client.close().await;
    ends.acquire().await.unwrap().forget();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_busy_connection_is_given_up_once_it_is_old() {
    let server = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let client = client();
    let step = super::super::kept::IDLE_TIMEOUT / 2;
    let mut age = Duration::ZERO;
    while age < super::super::kept::AGE_MAX {
        answered(&send(&client, &server.url()).await, 200, Body::Whole);
        assert_eq!(server.connections(), 1, "after {age:?}");
        pass(step).await;
        age += step;
    }
    for _ in 0..2 {
        answered(&send(&client, &server.url()).await, 200, Body::Whole);
    }
    assert_eq!(server.connections(), 2, "the name is looked up again");
}

#[tokio::test]
async fn closing_ends_idle_connections_and_waits_for_every_task() {
    let (server, ends) = telling_ends().await;
    let client = client();
    answered(&send(&client, &server.url()).await, 200, Body::Whole);
    assert!(!client.background.tasks.is_empty(), "a connection is kept");
    client.close().await;
    assert!(client.background.tasks.is_empty());
    ends.acquire().await.unwrap().forget();
}
