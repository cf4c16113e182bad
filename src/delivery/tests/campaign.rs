//! The faults of a destination, one by one, from the conversion to the end of its delivery: what each attempt is called,
//! when the next one is due, what becomes of the delivery and of the destination, and that nothing stays behind.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use std::ops::RangeInclusive;
use std::sync::atomic::AtomicUsize;
use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::*;

/// What the platform does to a request.
#[derive(Debug, Clone)]
enum Fault {
    /// Writes this.
    Says(String),
    /// Resets the connection.
    Rst,
    /// Closes its side, and keeps the other open.
    HalfClose,
    /// Nothing, ever.
    Hang,
    /// Says the first at once, the second byte by byte.
    Drip(&'static str, &'static str),
}

/// In what a delivery ends, or for what it waits.
#[derive(Debug, Clone)]
enum End {
    Delivered,
    Dead(DeadKind),
    /// For its next attempt, so many ms after the one before.
    Waits(RangeInclusive<u64>),
    /// For a destination that is no longer sent to.
    Barred(Activity),
}

struct Case {
    name: &'static str,
    fault: Fault,
    /// To how many requests; those behind them are taken.
    times: usize,
    /// Of the destination.
    more: String,
    status: Option<u16>,
    verdict: Verdict,
    end: End,
}

/// Sooner than an idle connection ends by itself.
const SOON: Duration = Duration::from_secs(3);
/// Time for an answer to come over loopback, and to run out where none does.
const BRIEF: &str = "limits = { timeout = \"1s\" }";
/// Likewise where its head must come in time on a busy machine.
const LONGER: &str = "limits = { timeout = \"4s\" }";
const QUICK: &str = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"9h\" }";
const SLOW: &str = "retry = { first = \"1h\", max = \"1h\", give_up_after = \"9h\" }";
const ONCE: &str = "on_ambiguous = \"dead_letter\"";
const AGAIN: &str = "on_ambiguous = \"retry\"";
const READS: &str = "delivered_when = \"status == 200 && body.ok == true\"";
const READS_ERRORS: &str = "delivered_when = \"status == 200 && !(body.ok == false)\"";
const WINDOW: &str = "wait_header = { name = \"X-Reset\", unit = \"seconds\" }";
const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":true}";

fn case(name: &'static str, fault: Fault, more: &[&str], (status, verdict): (u16, Verdict), end: End) -> Case {
    let status = (status != 0).then_some(status);
    Case { name, fault, times: 1, more: more.join("\n"), status, verdict, end }
}

fn bare(status: &str, head: &str) -> Fault {
    Fault::Says(format!("HTTP/1.1 {status}\r\n{head}Content-Length: 0\r\n\r\n"))
}

fn big(member: &str) -> Fault {
    let body = format!("{{\"padding\":\"{}\",{member}}}", "x".repeat(2 << 20));
    Fault::Says(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    use End::{Barred, Dead, Waits};
    use Fault::{Drip, HalfClose, Hang, Rst, Says};
    use Verdict::{Delivered, Rejected, Retry, Suspended, Unknown};
    let garbage = || Says("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned());
    let huge = Says(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(256 << 10)));
    let in_half_an_hour = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(Clock::system().unix_ms()) + Duration::from_secs(1_800));
    let (backoff, half_an_hour) = (0..=3_600_000, 1_795_000..=1_800_001);
    let mut cases = vec![
        case("reset", Rst, &[ONCE], (0, Unknown), Dead(DeadKind::Unknown)),
        case("reset", Rst, &[AGAIN, QUICK], (0, Unknown), End::Delivered),
        case("half-close", HalfClose, &[ONCE], (0, Unknown), Dead(DeadKind::Unknown)),
        case("half-close", HalfClose, &[AGAIN, SLOW], (0, Unknown), Waits(backoff.clone())),
        case("hang", Hang, &[ONCE, BRIEF], (0, Unknown), Dead(DeadKind::Unknown)),
        case("hang", Hang, &[AGAIN, BRIEF, SLOW], (0, Unknown), Waits(backoff.clone())),
        case("dripping head", Drip("", GOOD), &[ONCE, BRIEF], (0, Unknown), Dead(DeadKind::Unknown)),
        case("dripping body", Drip("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", GOOD), &[ONCE, LONGER, READS], (200, Unknown), Dead(DeadKind::Unknown)),
        case("dripping body, of which nothing is read", Drip("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", GOOD), &[ONCE, LONGER], (200, Delivered), End::Delivered),
        case("garbage", garbage(), &[ONCE], (0, Unknown), Dead(DeadKind::Unknown)),
        case("huge head", huge, &[ONCE], (0, Unknown), Dead(DeadKind::Unknown)),
        case("success behind the limit", big("\"ok\":true"), &[ONCE, READS], (200, Unknown), Dead(DeadKind::Unknown)),
        case("error behind the limit", big("\"ok\":false"), &[ONCE, READS_ERRORS], (200, Unknown), Dead(DeadKind::Unknown)),
        case("100 before the answer", Says(format!("HTTP/1.1 100 Continue\r\n\r\n{GOOD}")), &[READS], (200, Delivered), End::Delivered),
        case("103 before the answer", Says(format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{GOOD}")), &[READS], (200, Delivered), End::Delivered),
        case("an old head", Says("HTTP/1.1 200 OK\r\nX-Note : folded\r\n  twice\r\nContent-Length: 11\r\n\r\n{\"ok\":true}".to_owned()), &[ONCE, READS], (200, Delivered), End::Delivered),
        case("429", bare("429 Too Many Requests", ""), &[SLOW], (429, Retry), Waits(backoff.clone())),
        case("429, in seconds", bare("429 Too Many Requests", "Retry-After: 1800\r\n"), &[QUICK], (429, Retry), Waits(half_an_hour.clone())),
        case("429, until a date", bare("429 Too Many Requests", &format!("Retry-After: {in_half_an_hour}\r\n")), &[QUICK], (429, Retry), Waits(1_700_000..=1_800_001)),
        case("503, in a day", bare("503 Busy", "Retry-After: 86400\r\n"), &[QUICK], (503, Retry), Waits(3_595_000..=3_600_001)),
        case("429, by its own header", bare("429 Too Many Requests", "X-Reset: 1800\r\n"), &[QUICK, WINDOW], (429, Retry), Waits(half_an_hour.clone())),
        case("500, that tells its window", bare("500 Oops", "X-Reset: 1800\r\n"), &[QUICK, WINDOW], (500, Retry), End::Delivered),
        case("404 to be repeated, that tells its window", bare("404 Not Found", "X-Reset: 1800\r\n"), &[QUICK, WINDOW, "retry_when = \"status == 404\""], (404, Retry), End::Delivered),
        case("404 that asks too much", bare("404 Not Found", "X-Reset: 1800\r\n"), &[QUICK, WINDOW, "throttled_when = \"status == 404\""], (404, Retry), Waits(half_an_hour.clone())),
        case("compressed", Says("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\u{8b}\x08".to_owned()), &[ONCE, READS], (200, Unknown), Dead(DeadKind::Unknown)),
        case("200, that tells when", bare("200 OK", "Retry-After: 1800\r\n"), &[], (200, Delivered), End::Delivered),
        case("401", bare("401 Unauthorized", ""), &[QUICK], (401, Suspended), Barred(Activity::Suspended)),
    ];
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let code = status.split(' ').next().unwrap().parse().unwrap();
        cases.push(case("redirect", bare(status, "Location: /elsewhere\r\n"), &[], (code, Rejected), Dead(DeadKind::Rejected)));
    }
    let bursts = [(bare("503 Busy", ""), 503, Retry), (Rst, 0, Unknown), (Hang, 0, Unknown), (garbage(), 0, Unknown)];
    for (fault, status, verdict) in bursts {
        let burst = case("burst", fault, &[AGAIN, QUICK, BRIEF], (status, verdict), Barred(Activity::Open));
        cases.push(Case { times: usize::MAX, ..burst });
    }
    cases
}

/// A platform that counts; ends when dropped.
struct Site {
    port: u16,
    requests: Arc<AtomicUsize>,
    open: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl Site {
    async fn start(fault: Fault, times: usize, tls: Option<TlsAcceptor>) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let (count, open) = watch::channel(0);
        let counted = Arc::clone(&requests);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (count, requests, fault, tls) = (count.clone(), Arc::clone(&counted), fault.clone(), tls.clone());
                connections.spawn(async move {
                    count.send_modify(|open| *open += 1);
                    meet(stream, tls, &fault, times, &requests).await;
                    count.send_modify(|open| *open -= 1);
                });
            }
        });
        Site { port, requests, open, _tasks: tasks }
    }
}

async fn meet(stream: TcpStream, tls: Option<TlsAcceptor>, fault: &Fault, times: usize, requests: &AtomicUsize) {
    let Some(tls) = tls else { return serve(stream, TcpStream::set_zero_linger, fault, times, requests).await };
    if let Ok(stream) = tls.accept(stream).await {
        serve(stream, |_| Ok(()), fault, times, requests).await;
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    abort: impl Fn(&S) -> std::io::Result<()>,
    fault: &Fault,
    times: usize,
    requests: &AtomicUsize,
) {
    loop {
        let mut last = 0;
        while last != b'}' {
            let Ok(byte) = stream.read_u8().await else { return };
            last = byte;
        }
        let fault = if requests.fetch_add(1, Ordering::SeqCst) < times { fault } else { &Fault::Says(GOOD.to_owned()) };
        let written = match fault {
            Fault::Says(answer) => stream.write_all(answer.as_bytes()).await,
            Fault::Rst => return abort(&stream).unwrap(),
            Fault::HalfClose => stream.shutdown().await,
            Fault::Hang => Ok(()),
            Fault::Drip(at_once, slowly) => drip(&mut stream, at_once, slowly).await,
        };
        if written.is_err() {
            return;
        }
    }
}

async fn drip(stream: &mut (impl AsyncWrite + Unpin), at_once: &str, slowly: &str) -> std::io::Result<()> {
    stream.write_all(at_once.as_bytes()).await?;
    for byte in slowly.bytes() {
        stream.write_u8(byte).await?;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// One case to its end; then nothing of it is left.
async fn run(case: &Case, url: &str, site: &Site) -> usize {
    let bench = Bench::start(&[destination("one", url, &case.more)]);
    let id = bench.accept().await;
    let what = format!("{}: {}", case.name, case.more);
    let status = match &case.end {
        End::Delivered => bench.reaches(id, "one", delivered).await,
        End::Dead(kind) => bench.reaches(id, "one", |status| status.state == State::Dead(*kind)).await,
        End::Waits(_) => bench.reaches(id, "one", |status| status.next_attempt_ms.is_some()).await,
        End::Barred(activity) => {
            bench.becomes("one", |state| state.state == *activity).await;
            bench.status(id, "one").await
        }
    };
    let first = status.history.first().unwrap();
    assert_eq!((first.status, first.verdict), (case.status, case.verdict), "{what}");
    if let End::Waits(bounds) = &case.end {
        // The wait is counted from the attempt's end.
        let wait_ms = status.next_attempt_ms.unwrap().saturating_sub(first.at_ms.saturating_add(first.duration_ms));
        let bounds = *bounds.start()..=bounds.end().saturating_add(10_000);
        assert!(bounds.contains(&wait_ms) && status.attempts == 1, "{what}: {wait_ms} ms, {status:?}");
    }
    let activity = if let End::Barred(activity) = case.end { activity } else { Activity::Active };
    let state = bench.becomes("one", |state| state.in_flight == 0).await;
    assert_eq!(state.state, activity, "{what}");
    let requests = site.requests.load(Ordering::SeqCst);
    // Their client lives on, so that it is the stop that ends its connections.
    let still_there = bench.pools.clone();
    bench.stop().await;
    timeout(SOON, site.open.clone().wait_for(|open| *open == 0)).await.expect(&what).unwrap();
    drop(still_there);
    requests
}

/// Waits until no more tasks live than before.
async fn no_more_tasks_than(before: usize) {
    let ended = timeout(PATIENCE, async {
        while Handle::current().metrics().num_alive_tasks() > before {
            sleep(POLL_EVERY).await;
        }
    });
    ended.await.unwrap_or_else(|_| panic!("{} tasks", Handle::current().metrics().num_alive_tasks()));
}

#[tokio::test]
async fn every_fault_has_its_verdict_its_schedule_and_its_end_and_leaves_nothing_behind() {
    for case in cases() {
        let before = Handle::current().metrics().num_alive_tasks();
        let site = Site::start(case.fault.clone(), case.times, None).await;
        let requests = timeout(PATIENCE, run(&case, &format!("http://127.0.0.1:{}/", site.port), &site)).await.unwrap();
        let expected = match (&case.end, case.verdict) {
            (End::Barred(Activity::Open), _) => usize::try_from(FAILURES_MAX).unwrap(),
            (End::Delivered, Verdict::Unknown | Verdict::Retry) => 2,
            _ => 1,
        };
        assert_eq!(requests, expected, "{}: {}", case.name, case.more);
        drop(site);
        no_more_tasks_than(before).await;
    }
}

/// A certificate for this name, valid until this year, and the file of its issuer.
fn certified(name: &str, until: i32) -> (TlsAcceptor, tempfile::NamedTempFile) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    leaf.not_after = date_time_ymd(until, 1, 1);
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), issuer.pem()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), file)
}

#[tokio::test]
async fn where_there_is_no_connection_nothing_is_sent_and_the_delivery_waits() {
    let good = || Fault::Says(GOOD.to_owned());
    let waits = || End::Waits(0..=3_600_000);
    let sees = |name, (acceptor, ca_file): &(TlsAcceptor, tempfile::NamedTempFile), verdict: (u16, Verdict), end| {
        let ca_file = format!("ca_file = \"{}\"", ca_file.path().display());
        (case(name, good(), &[ONCE, SLOW, &ca_file], verdict, end), "127.0.0.1", Some(acceptor.clone()))
    };
    let (right, wrong, expired) =
        (certified("127.0.0.1", 4000), certified("other.example", 4000), certified("127.0.0.1", 2020));
    let not_sent = (0, Verdict::Retry);
    let limits = "limits = { connect_timeout = \"1s\" }";
    let cases = [
        sees("a certificate", &right, (200, Verdict::Delivered), End::Delivered),
        sees("another's certificate", &wrong, not_sent, waits()),
        sees("an expired certificate", &expired, not_sent, waits()),
        (
            case("a certificate of an unknown issuer", good(), &[ONCE, SLOW], not_sent, waits()),
            "127.0.0.1",
            Some(right.0.clone()),
        ),
        (case("an unknown name", good(), &[ONCE, SLOW, limits], not_sent, waits()), "capi-relay-test.invalid", None),
    ];
    for (case, host, acceptor) in cases {
        let before = Handle::current().metrics().num_alive_tasks();
        let site = Site::start(case.fault.clone(), 1, acceptor).await;
        let requests = timeout(PATIENCE, run(&case, &format!("https://{host}:{}/", site.port), &site)).await.unwrap();
        assert_eq!(requests, usize::from(case.status.is_some()), "{}", case.name);
        drop(site);
        no_more_tasks_than(before).await;
    }
}
