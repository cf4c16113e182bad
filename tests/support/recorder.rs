//! A destination that keeps every byte it is sent, and refuses for as long as it is told to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Listens on a port of its own until it is dropped.
pub(crate) struct Recorder {
    /// `http://127.0.0.1:port`
    pub(crate) origin: String,
    kept: Arc<Kept>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    /// Heads and bodies as they came.
    requests: Mutex<Vec<String>>,
    /// Requests that were taken.
    taken: AtomicBool,
    willing: AtomicBool,
}

impl Recorder {
    /// Answers `503` until [`Recorder::relent`].
    pub(crate) async fn unwilling() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Kept::default());
        let all = Arc::clone(&kept);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&all)));
            }
        });
        Recorder { origin, kept, task }
    }

    /// From now on every request is taken.
    pub(crate) fn relent(&self) {
        self.kept.willing.store(true, Ordering::SeqCst);
    }

    /// Whether one was.
    pub(crate) fn has_taken(&self) -> bool {
        self.kept.taken.load(Ordering::SeqCst)
    }

    /// Every request, byte for byte.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.kept.requests.lock().unwrap().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut connection: TcpStream, kept: Arc<Kept>) {
    let mut bytes = Vec::new();
    while let Some(request) = whole(&mut connection, &mut bytes).await {
        kept.requests.lock().unwrap().push(request);
        let willing = kept.willing.load(Ordering::SeqCst);
        let status = if willing { "200 OK" } else { "503 Service Unavailable" };
        let body = r#"{"status":"ok"}"#;
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if connection.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        kept.taken.fetch_or(willing, Ordering::SeqCst);
    }
}

/// The next request of a connection; nothing once it is closed.
async fn whole(connection: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(str::to_owned));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            let end = head.len() + 4 + length;
            if bytes.len() >= end {
                return String::from_utf8(bytes.drain(..end).collect()).ok();
            }
        }
        if connection.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}
