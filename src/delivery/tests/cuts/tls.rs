//! The same over TLS: what is cut is the cipher text, by records. Each is cut at its boundaries and in its header, those of
//! a request and of an answer in many more places.
//!
//! Whether the platform has a request, or the relay an answer, the records decide: half of one is none of its bytes.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::SupportedProtocolVersion;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// What the platform does in one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Answers.
    Whole,
    /// Ends before this byte of this record of what it reads; behind the last one it answers nothing.
    Read(Place, End),
    /// Ends before this byte of this record of what it writes, to this request: or behind the answer.
    Written(&'static str, Place, End),
}

/// A record since the exchange began, a handshake with it, and a byte of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    record: usize,
    byte: usize,
}

impl Plan {
    fn answer(self) -> Option<&'static str> {
        match self {
            Plan::Whole => Some(ANSWERS[0]),
            Plan::Read(..) => None,
            Plan::Written(answer, ..) => Some(answer),
        }
    }

    fn end(self) -> End {
        match self {
            Plan::Whole => End::Fin,
            Plan::Read(_, end) | Plan::Written(_, _, end) => end,
        }
    }
}

/// What came of a request that was received whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The answer was cut, or there was none.
    Untold,
    /// The whole answer was sent, and no reset behind it.
    Told,
}

#[derive(Debug, Default)]
struct Account {
    plans: VecDeque<Plan>,
    effects: BTreeMap<String, Vec<(Plan, Effect)>>,
    /// How long the records of the last whole exchange were: read, and written.
    lengths: [Vec<usize>; 2],
    handshakes: usize,
}

/// A platform; ends when dropped.
struct Ledger {
    url: String,
    ca_file: tempfile::NamedTempFile,
    account: Arc<Mutex<Account>>,
    _tasks: JoinSet<()>,
}

impl Ledger {
    async fn start(keeps: bool, version: &'static SupportedProtocolVersion) -> Ledger {
        let issued = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let mut ca_file = tempfile::NamedTempFile::new().unwrap();
        ca_file.write_all(issued.cert.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let mut config = config.with_no_client_auth().with_single_cert(vec![issued.cert.der().clone()], key).unwrap();
        // Every handshake is a whole one.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let account = Arc::new(Mutex::new(Account::default()));
        let shared = Arc::clone(&account);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&shared), keeps));
            }
        });
        Ledger { url, ca_file, account, _tasks: tasks }
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }

    /// Every cut that there is, each followed by an exchange that is none.
    fn cut_everywhere(&self) {
        let mut account = self.account();
        let [read, written] = account.lengths.clone();
        let longer = ANSWERS[1].len() - ANSWERS[0].len();
        let both = |plan: &dyn Fn(End) -> Plan| [plan(End::Rst), plan(End::Fin)];
        let mut plans: Vec<Plan> =
            places(&read, 0).into_iter().flat_map(|place| both(&|end| Plan::Read(place, end))).collect();
        for (answer, longer) in [(ANSWERS[0], 0), (ANSWERS[1], longer)] {
            let places = places(&written, longer).into_iter();
            plans.extend(places.flat_map(|place| both(&|end| Plan::Written(answer, place, end))));
        }
        account.plans = plans.into_iter().flat_map(|plan| [plan, Plan::Whole]).collect();
    }
}

/// Where records of these lengths are cut; the last one, that much longer, also at each [`STRIDE`] and behind its end.
fn places(lengths: &[usize], longer: usize) -> Vec<Place> {
    let mut places = Vec::new();
    for (record, length) in lengths.iter().enumerate() {
        let bytes: Vec<usize> = if record + 1 == lengths.len() {
            let end = length + longer;
            (0..=HEADER + 1).chain((HEADER + 2..end - 1).step_by(STRIDE)).chain([end - 1]).collect()
        } else {
            [0, 1, HEADER - 1, HEADER, HEADER + 1, length / 2, length - 1].into()
        };
        places.extend(bytes.into_iter().map(|byte| Place { record, byte }));
    }
    places.push(Place { record: lengths.len(), byte: 0 });
    places
}

/// A handshake takes milliseconds, and whether a record is there is the same for most of its bytes.
const STRIDE: usize = 13;
/// Type, version and length of a record.
const HEADER: usize = 5;

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, account: Arc<Mutex<Account>>, keeps: bool) {
    // Records go out in pieces.
    stream.set_nodelay(true).unwrap();
    let mut meter = Meter { stream, read: Side::default(), written: Side::default() };
    let mut plan = meter.begin(&account);
    if let Ok(mut tls) = acceptor.accept(&mut meter).await {
        account.lock().unwrap().handshakes += 1;
        while exchange(&mut tls, plan, &account).await && keeps {
            plan = tls.get_mut().0.begin(&account);
            if plan.end() == End::Rst {
                // At once, it could take the answer with it that was just sent.
                let _readable = tls.get_ref().0.stream.readable().await;
            }
        }
    }
    match plan.end() {
        End::Rst => meter.stream.set_zero_linger().unwrap(),
        End::Fin => {
            let _ended = meter.stream.shutdown().await;
            // Unread bytes would make a reset of it.
            let _unread = meter.stream.read_to_end(&mut Vec::new()).await;
        }
    }
}

/// One exchange; whether another may follow.
async fn exchange(tls: &mut TlsStream<&mut Meter>, plan: Plan, account: &Mutex<Account>) -> bool {
    let mut request = Vec::new();
    let id = loop {
        if let Some(id) = whole(&request) {
            break id;
        }
        if !matches!(tls.read_buf(&mut request).await, Ok(1..)) {
            // The relay let go of a connection that it kept: the next one meets this plan.
            if tls.get_ref().0.read.rest() > 0 {
                account.lock().unwrap().plans.push_front(plan);
            }
            return false;
        }
    };
    account.lock().unwrap().effects.entry(id.clone()).or_default().push((plan, Effect::Untold));
    let Some(answer) = plan.answer() else { return false };
    let is_sent = tls.write_all(answer.as_bytes()).await.is_ok() && tls.flush().await.is_ok();
    let meter = &tls.get_ref().0;
    let mut account = account.lock().unwrap();
    if is_sent && plan.end() == End::Fin {
        *account.effects.get_mut(&id).unwrap().last_mut().unwrap() = (plan, Effect::Told);
    }
    if plan == Plan::Whole {
        account.lengths = [meter.read.lengths.clone(), meter.written.lengths.clone()];
    }
    plan == Plan::Whole
}

/// A connection's cipher text, as far as it may go.
struct Meter {
    stream: TcpStream,
    read: Side,
    written: Side,
}

/// One direction since the exchange began.
#[derive(Debug, Default)]
struct Side {
    cut: Option<Place>,
    /// Those that went by.
    lengths: Vec<usize>,
    /// What has gone by of the next.
    bytes: usize,
    header: [u8; HEADER],
}

impl Meter {
    /// Takes the next plan.
    fn begin(&mut self, account: &Mutex<Account>) -> Plan {
        let plan = account.lock().unwrap().plans.pop_front().unwrap_or(Plan::Whole);
        let (read, written) = match plan {
            Plan::Whole => (None, None),
            Plan::Read(place, _) => (Some(place), None),
            Plan::Written(_, place, _) => (None, Some(place)),
        };
        self.read = Side { cut: read, ..Side::default() };
        self.written = Side { cut: written, ..Side::default() };
        plan
    }
}

impl Side {
    /// How much may go by before it is to be looked at again; nothing where it is cut.
    fn rest(&self) -> usize {
        let length = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        let end = if self.bytes < HEADER { HEADER } else { HEADER + length };
        let here = self.cut.filter(|cut| cut.record == self.lengths.len());
        here.map_or(end, |cut| end.min(cut.byte)) - self.bytes
    }

    fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(header) = self.header.get_mut(self.bytes) {
                *header = *byte;
            }
            self.bytes += 1;
        }
        let length = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        if self.bytes >= HEADER && self.bytes == HEADER + length {
            self.lengths.push(self.bytes);
            self.bytes = 0;
        }
    }
}

impl AsyncRead for Meter {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.rest() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [0; 4096];
        let most = self.read.rest().min(buffer.remaining()).min(bytes.len());
        let mut part = ReadBuf::new(&mut bytes[..most]);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut part);
        self.read.pass(part.filled());
        buffer.put_slice(part.filled());
        polled
    }
}

impl AsyncWrite for Meter {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.read.rest() == 0 || self.written.rest() == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let most = self.written.rest().min(bytes.len());
        let polled = Pin::new(&mut self.stream).poll_write(context, &bytes[..most]);
        if let Poll::Ready(Ok(count)) = polled {
            self.written.pass(&bytes[..count]);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Sends through every cut, and returns how each delivery ended, with what the platform did.
async fn cut(keeps: bool, version: &'static SupportedProtocolVersion, more: &str) -> Vec<(State, Vec<(Plan, Effect)>)> {
    let ledger = Ledger::start(keeps, version).await;
    let retry = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"1h\" }";
    let ca_file = ledger.ca_file.path().display();
    let more = format!("{retry}\nca_file = \"{ca_file}\"\nlimits = {{ concurrency = 1 }}\n{more}");
    let bench = Bench::start(&[destination("one", &ledger.url, &more)]);
    // All requests are equally long.
    bench.next_id.store(10_000, Ordering::SeqCst);
    // The second one meets a kept connection.
    for _ in 0..2 {
        let id = bench.accept().await;
        bench.reaches(id, "one", delivered).await;
    }
    assert_eq!(ledger.account().handshakes, if keeps { 1 } else { 2 });
    ledger.cut_everywhere();
    let mut ids = Vec::new();
    while !ledger.account().plans.is_empty() {
        ids.extend(accept_and_end(&bench, 32).await);
    }
    let mut ends = Vec::new();
    for (number, id) in ids.into_iter().enumerate() {
        let ended = |status: &DeliveryStatus| matches!(status.state, State::Delivered | State::Dead(_));
        let state = bench.reaches(id, "one", ended).await.state;
        let body = format!("{{\"id\":\"e{}\"}}", 10_002 + number);
        ends.push((state, ledger.account().effects.get(&body).cloned().unwrap_or_default()));
    }
    bench.stop().await;
    ends
}

/// The platform deduplicates nothing: at most one effect, and a delivery is delivered only where there is one.
async fn no_cut_is_a_second_sale(keeps: bool, version: &'static SupportedProtocolVersion, more: &str) {
    let (mut delivered, mut unknown) = (0, 0);
    for (state, effects) in cut(keeps, version, &format!("on_ambiguous = \"dead_letter\"\n{more}")).await {
        assert!(effects.len() <= 1, "{state:?}: {effects:?}");
        if state == State::Delivered {
            assert_eq!(effects.len(), 1, "delivered, and nothing was");
        } else {
            assert!(
                state == State::Dead(DeadKind::Unknown) && !matches!(effects.as_slice(), [(_, Effect::Told)]),
                "{state:?}: {effects:?}"
            );
        }
        delivered += usize::from(state == State::Delivered);
        unknown += usize::from(state != State::Delivered);
    }
    assert!(delivered > 50 && unknown > 50, "{delivered}, {unknown}");
}

/// The platform deduplicates: every delivery arrives, and counts once.
async fn every_cut_is_mended(keeps: bool, version: &'static SupportedProtocolVersion) {
    let mut repeated = 0;
    for (state, effects) in cut(keeps, version, "idempotency = \"map.id\"\ndelivered_when = \"body.ok == true\"").await
    {
        assert!(state == State::Delivered && !effects.is_empty(), "{state:?}: {effects:?}");
        repeated += usize::from(effects.len() > 1);
    }
    assert!(repeated > 20, "{repeated}");
}

#[tokio::test]
async fn where_nothing_deduplicates_no_cut_of_a_record_is_a_second_sale_or_a_lost_one() {
    tokio::join!(
        no_cut_is_a_second_sale(true, &rustls::version::TLS13, "delivered_when = \"body.ok == true\""),
        no_cut_is_a_second_sale(false, &rustls::version::TLS13, ""),
    );
}

#[tokio::test]
async fn where_the_platform_deduplicates_every_cut_of_a_record_is_mended() {
    every_cut_is_mended(false, &rustls::version::TLS12).await;
}
