//! A cut at every byte: wherever a connection breaks, in the request or in the answer, what a platform did is neither
//! forgotten nor done twice.
//!
//! The platforms keep account of their effects: a request is one the moment that it was received whole, and never before.
//! Every other exchange is cut, so that no breaker opens.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

mod tls;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By a reset: what was sent and is not read yet may be lost with it.
    Rst,
    /// In order.
    Fin,
}

/// What the platform does in one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Answers.
    Whole,
    /// Ends after so many bytes of the request.
    Request(usize, End),
    /// Takes the request, and ends after so many bytes of this answer.
    Answer(&'static str, usize, End),
}

/// What a platform is to do, and has done.
#[derive(Debug, Default)]
struct Account {
    plans: VecDeque<Plan>,
    /// What was answered to each whole request, by the conversion's id.
    effects: BTreeMap<String, Vec<Plan>>,
    /// How many bytes a request has.
    request_bytes: usize,
}

/// A platform; ends when dropped.
struct Ledger {
    url: String,
    account: Arc<Mutex<Account>>,
    _tasks: JoinSet<()>,
}

impl Ledger {
    /// One that keeps connections open, or closes each behind its answer.
    async fn start(keeps: bool) -> Ledger {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let account = Arc::new(Mutex::new(Account::default()));
        let shared = Arc::clone(&account);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&shared), keeps));
            }
        });
        Ledger { url, account, _tasks: tasks }
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }

    /// Every cut that there is, each followed by an exchange that is none.
    fn cut_everywhere(&self) {
        let mut account = self.account();
        let request_bytes = account.request_bytes;
        let requests =
            (0..=request_bytes).flat_map(|bytes| [Plan::Request(bytes, End::Rst), Plan::Request(bytes, End::Fin)]);
        let answers = ANSWERS.into_iter().flat_map(|answer| {
            (0..=answer.len())
                .flat_map(move |bytes| [Plan::Answer(answer, bytes, End::Rst), Plan::Answer(answer, bytes, End::Fin)])
        });
        account.plans = requests.chain(answers).flat_map(|plan| [plan, Plan::Whole]).collect();
    }
}

const ANSWERS: [&str; 2] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":true}",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"ok\r\n7\r\n\":true}\r\n0\r\n\r\n",
];

async fn serve(mut stream: TcpStream, account: Arc<Mutex<Account>>, keeps: bool) {
    while exchange(&mut stream, &account).await && keeps {}
}

/// One exchange; whether another may follow.
async fn exchange(stream: &mut TcpStream, account: &Mutex<Account>) -> bool {
    let plan = account.lock().unwrap().plans.pop_front().unwrap_or(Plan::Whole);
    let limit = if let Plan::Request(bytes, _) = plan { bytes } else { usize::MAX };
    let mut request = Vec::new();
    while request.len() < limit && whole(&request).is_none() {
        let mut byte = [0];
        if stream.read_exact(&mut byte).await.is_err() {
            // The relay let go of a connection that it kept: the next one meets this plan.
            if request.is_empty() {
                account.lock().unwrap().plans.push_front(plan);
            }
            return false;
        }
        request.push(byte[0]);
    }
    if let Some(id) = whole(&request) {
        let mut account = account.lock().unwrap();
        account.request_bytes = request.len();
        account.effects.entry(id).or_default().push(plan);
    }
    let (answer, bytes, end) = match plan {
        Plan::Whole => return stream.write_all(ANSWERS[0].as_bytes()).await.is_ok(),
        Plan::Request(_, end) => ("", 0, end),
        Plan::Answer(answer, bytes, end) => (answer, bytes, end),
    };
    let _written = stream.write_all(&answer.as_bytes()[..bytes]).await;
    match end {
        End::Rst => stream.set_zero_linger().unwrap(),
        End::Fin => {
            let _ended = stream.shutdown().await;
            // Unread bytes would make a reset of it.
            let _unread = stream.read_to_end(&mut Vec::new()).await;
        }
    }
    false
}

/// The conversion's id, once the request is there to its last byte.
fn whole(request: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(request).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    (body.len() == length.parse::<usize>().unwrap()).then(|| body.to_owned())
}

/// Sends through every cut, and returns how each delivery ended, with what the platform did.
async fn cut(keeps: bool, more: &str) -> Vec<(State, Vec<Plan>)> {
    let ledger = Ledger::start(keeps).await;
    let retry = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"1h\" }";
    let more = format!("{retry}\nlimits = {{ concurrency = 1 }}\n{more}");
    let bench = Bench::start(&[destination("one", &ledger.url, &more)]);
    // All requests are equally long.
    bench.next_id.store(10_000, Ordering::SeqCst);
    let first = bench.accept().await;
    bench.reaches(first, "one", delivered).await;
    ledger.cut_everywhere();
    let mut ids = Vec::new();
    while !ledger.account().plans.is_empty() {
        let batch = accept_and_end(&bench, 32).await;
        ids.extend(batch);
    }
    let mut ends = Vec::new();
    for (number, id) in ids.into_iter().enumerate() {
        let ended = |status: &DeliveryStatus| matches!(status.state, State::Delivered | State::Dead(_));
        let state = bench.reaches(id, "one", ended).await.state;
        let body = format!("{{\"id\":\"e{}\"}}", 10_001 + number);
        ends.push((state, ledger.account().effects.get(&body).cloned().unwrap_or_default()));
    }
    assert!(ledger.account().plans.is_empty());
    bench.stop().await;
    ends
}

/// So many more deliveries, brought to their ends.
async fn accept_and_end(bench: &Bench, count: usize) -> Vec<ConversionId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(bench.accept().await);
    }
    if let Some(last) = ids.last() {
        bench.reaches(*last, "one", |status| matches!(status.state, State::Delivered | State::Dead(_))).await;
    }
    ids
}

/// The platform deduplicates nothing: at most one effect, and a delivery is delivered only where there is one.
async fn no_cut_is_a_second_sale(keeps: bool, more: &str) {
    let (mut delivered, mut unknown) = (0, 0);
    for (state, effects) in cut(keeps, &format!("on_ambiguous = \"dead_letter\"\n{more}")).await {
        let told = match effects.as_slice() {
            [Plan::Whole] => true,
            [Plan::Answer(answer, bytes, End::Fin)] => *bytes == answer.len(),
            _ => false,
        };
        assert!(effects.len() <= 1, "{state:?}: {effects:?}");
        if state == State::Delivered {
            assert_eq!(effects.len(), 1, "delivered, and nothing was");
        } else {
            assert!(state == State::Dead(DeadKind::Unknown) && !told, "{state:?}: {effects:?}");
        }
        delivered += usize::from(state == State::Delivered);
        unknown += usize::from(state != State::Delivered);
    }
    assert!(delivered > 200 && unknown > 200, "{delivered}, {unknown}");
}

/// The platform deduplicates: every delivery arrives, and counts once.
async fn every_cut_is_mended(keeps: bool) {
    let mut repeated = 0;
    for (state, effects) in cut(keeps, "idempotency = \"map.id\"\ndelivered_when = \"body.ok == true\"").await {
        assert!(state == State::Delivered && !effects.is_empty(), "{state:?}: {effects:?}");
        repeated += usize::from(effects.len() > 1);
    }
    assert!(repeated > 0, "no cut was met");
}

#[tokio::test]
async fn where_nothing_deduplicates_no_cut_is_a_second_sale_or_a_lost_one() {
    tokio::join!(
        no_cut_is_a_second_sale(true, "delivered_when = \"body.ok == true\""),
        no_cut_is_a_second_sale(false, "delivered_when = \"body.ok == true\""),
        no_cut_is_a_second_sale(true, ""),
    );
}

#[tokio::test]
async fn where_the_platform_deduplicates_every_cut_is_mended() {
    tokio::join!(every_cut_is_mended(true), every_cut_is_mended(false));
}
