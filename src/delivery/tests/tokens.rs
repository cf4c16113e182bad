//! Destinations that want an access token, and token endpoints that grant or refuse it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::*;

const CLIENT: &str = "cl13nt-s3cret";
const REFRESH: &str = "r3fresh-s3cret";

/// A destination with a token endpoint of its own.
fn with_tokens(platform: &Platform, endpoint: &Platform, more: &str) -> String {
    let url = platform.url();
    let auth = format!(
        "secrets.client = \"{CLIENT}\"\nsecrets.refresh = \"{REFRESH}\"\n[destination.one.auth.oauth]\n\
         grant = \"refresh_token\"\ntoken_url = \"{}\"\nclient_id = \"me\"\n\
         client_secret = \"{{secrets.client}}\"\nrefresh_token = \"{{secrets.refresh}}\"",
        endpoint.url()
    );
    let own = destination("one", &url, &format!("{more}\n{auth}"));
    own.replace("auth = { bearer = \"{secrets.token}\" }\n", "")
}

fn granted(token: &str) -> Reply {
    Reply::Body(200, format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#))
}

fn credentials(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.headers["authorization"].to_str().unwrap()).collect()
}

#[tokio::test]
async fn all_attempts_share_one_token() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let endpoint = Platform::answering([granted("t0ken-1")], Reply::Status(500)).await;
    let mut bench = Bench::open(&[with_tokens(&platform, &endpoint, "limits = { concurrency = 16 }")]);
    let mut ids = Vec::new();
    for _ in 0..16 {
        ids.push(bench.accept().await);
    }
    bench.run();
    for id in ids {
        bench.reaches(id, "one", delivered).await;
    }
    assert_eq!(credentials(&platform.seen()), ["Bearer t0ken-1"; 16]);
    let asked = endpoint.seen();
    let form = format!("grant_type=refresh_token&client_id=me&client_secret={CLIENT}&refresh_token={REFRESH}");
    assert_eq!(bodies(&asked), [form]);
    assert_eq!(asked[0].headers["content-type"], "application/x-www-form-urlencoded");
    bench.stop().await;
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_attempt_made_again() {
    let platform = Platform::answering([Reply::Status(401)], Reply::Status(200)).await;
    let endpoint = Platform::answering([granted("t0ken-1"), granted("t0ken-2")], Reply::Status(500)).await;
    let bench = Bench::start(&[with_tokens(&platform, &endpoint, "")]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", delivered).await;
    assert_eq!((status.attempts, status.history.len()), (1, 1));
    let seen = platform.seen();
    assert_eq!(credentials(&seen), ["Bearer t0ken-1", "Bearer t0ken-2"]);
    assert_eq!(bodies(&seen), [r#"{"id":"e1"}"#; 2], "the same each time");
    assert_eq!(bench.state("one").state, Activity::Active);
    bench.stop().await;
}

#[tokio::test]
async fn a_new_token_that_is_refused_too_suspends() {
    let platform = Platform::answering([], Reply::Status(401)).await;
    let endpoint = Platform::answering([granted("t0ken-1"), granted("t0ken-2")], Reply::Status(500)).await;
    let bench = Bench::start(&[with_tokens(&platform, &endpoint, "")]);
    let id = bench.accept().await;
    let state = bench.becomes("one", |state| state.state == Activity::Suspended).await;
    assert_eq!(state.reason.as_deref(), Some("status 401 Unauthorized"));
    assert_eq!((platform.seen().len(), endpoint.seen().len()), (2, 2));
    let status = bench.reaches(id, "one", |status| status.attempts > 0).await;
    assert_eq!(status.history[0].verdict, Verdict::Suspended);
    bench.stop().await;
}

#[tokio::test]
async fn a_token_that_is_right_and_may_not_is_not_renewed() {
    let platform = Platform::answering([], Reply::Status(403)).await;
    let endpoint = Platform::answering([granted("t0ken-1")], Reply::Status(500)).await;
    let bench = Bench::start(&[with_tokens(&platform, &endpoint, "")]);
    bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    assert_eq!((platform.seen().len(), endpoint.seen().len()), (1, 1));
    bench.stop().await;
}

#[tokio::test]
async fn a_refused_grant_suspends_in_words_and_spends_no_attempt() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let refusal = format!(r#"{{"error":"invalid_grant","error_description":"{REFRESH} is revoked"}}"#);
    let endpoint = Platform::answering([], Reply::Body(400, refusal)).await;
    let bench = Bench::start(&[with_tokens(&platform, &endpoint, "")]);
    let id = bench.accept().await;
    let state = bench.becomes("one", |state| state.state == Activity::Suspended).await;
    let words =
        "no access token from the token endpoint: invalid_grant: the refresh token is wrong, expired or revoked";
    assert_eq!(state.reason.as_deref(), Some(words));
    let status = bench.reaches(id, "one", |status| status.state == State::Held).await;
    assert_eq!((status.attempts, status.history[0].verdict), (0, Verdict::Suspended));
    assert_eq!((status.history[0].status, status.history[0].excerpt.as_deref()), (None, Some(words)));
    assert_eq!((platform.seen().len(), endpoint.seen().len()), (0, 1));

    endpoint.now(granted("t0ken-1"));
    bench.pools.resume("one").unwrap();
    let other = bench.accept().await;
    bench.reaches(other, "one", delivered).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_refresh_token_that_was_replaced_outlives_a_reload_that_changes_something_else_of_the_grant() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let rotated = Reply::Body(200, r#"{"access_token":"t0ken-1","refresh_token":"r3placed"}"#.to_owned());
    let endpoint = Platform::answering([rotated], granted("t0ken-2")).await;
    let routes = with_tokens(&platform, &endpoint, "");
    let bench = Bench::start(std::slice::from_ref(&routes));
    let id = bench.accept().await;
    bench.reaches(id, "one", delivered).await;
    let by_scope = |scope: &str| routes.replace("client_id = ", &format!("scope = \"{scope}\"\nclient_id = "));
    for (reloaded, refresh_token) in
        [(by_scope("more"), "r3placed"), (by_scope("most").replace(REFRESH, "an0ther"), "an0ther")]
    {
        bench.reload(&[reloaded]);
        let id = bench.accept().await;
        bench.reaches(id, "one", delivered).await;
        let asked = endpoint.seen().pop().unwrap().body;
        assert!(asked.ends_with(&format!("refresh_token={refresh_token}")), "{asked}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_costs_time_and_no_attempt() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let busy = Reply::Header(429, "retry-after", "1".to_owned());
    let replies = [Reply::Status(503), Reply::Close, busy];
    let endpoint = Platform::answering(replies, granted("t0ken-1")).await;
    let bench = Bench::start(&[with_tokens(&platform, &endpoint, "limits = { concurrency = 1 }")]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", delivered).await;
    assert_eq!((status.attempts, platform.seen().len()), (1, 1));
    let verdicts: Vec<_> = status.history.iter().map(|attempt| (attempt.status, attempt.verdict)).collect();
    let waited = (None, Verdict::Retry);
    assert_eq!(verdicts, [waited, waited, waited, (Some(200), Verdict::Delivered)]);
    let asked = endpoint.seen();
    assert!(asked[3].at.duration_since(asked[2].at) >= Duration::from_millis(990), "it asked for a second");
    bench.stop().await;
}

#[tokio::test]
async fn without_a_token_a_conversion_is_given_up_in_its_time() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let endpoint = Platform::answering([], Reply::Status(503)).await;
    let retry = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"1s\" }";
    let bench = Bench::start(&[with_tokens(&platform, &endpoint, retry)]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", |status| status.state == State::Dead(DeadKind::Exhausted)).await;
    let reason = status.reason.unwrap();
    assert!(reason.contains("503") && reason.ends_with("given up at attempt 1, after 1s"), "{reason}");
    assert_eq!(platform.seen().len(), 0);
    bench.stop().await;
}

#[tokio::test]
async fn no_token_and_no_credential_of_the_grant_comes_out() {
    let (written, _logging) = Written::listening();
    let echo = format!("you are Bearer t0ken-2, or t0ken-2, by {CLIENT} and {REFRESH}");
    let replies = [Reply::Status(401), Reply::Body(400, echo)];
    let platform = Platform::answering(replies, Reply::Status(200)).await;
    let unfit = Reply::Body(200, "{\"access_token\":\"t0ken-3\\n\"}".to_owned());
    let endpoint = Platform::answering([granted("t0ken-1"), granted("t0ken-2"), unfit], Reply::Status(200)).await;
    let bench = Bench::start(&[with_tokens(&platform, &endpoint, "limits = { concurrency = 1 }")]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", |status| matches!(status.state, State::Dead(_))).await;
    let excerpt = status.history[0].excerpt.clone().unwrap();
    assert_eq!(excerpt, "you are Bearer ***, or ***, by *** and ***");
    platform.now(Reply::Status(401));
    bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    let mut outputs = format!("{:?} {:?} {}", bench.pools.states(), bench.dead().await, bench.metrics());
    outputs.push_str(&written.text());
    assert!(written.text().contains("access token refused"), "nothing was logged");
    for secret in ["t0ken-1", "t0ken-2", "t0ken-3", CLIENT, REFRESH] {
        assert!(!outputs.contains(secret), "{secret} came out");
    }
    bench.stop().await;
}

/// What was logged.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    /// All of this thread, as long as the guard lives.
    pub(super) fn listening() -> (Written, tracing::subscriber::DefaultGuard) {
        let written = Written::default();
        let own = written.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        crate::queue::tests::never_the_only_listener();
        let guard = tracing::subscriber::set_default(subscriber.with_writer(move || own.clone()).finish());
        (written, guard)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
