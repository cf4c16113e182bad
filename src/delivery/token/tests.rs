//! The cache on paused time, with a token endpoint that answers when the test says so.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;
use tokio::time::advance;

use super::*;
use crate::config::{Config, Source};
use crate::delivery::judge::{Body, Failure};
use crate::mapping::Answer;

/// A grant by the refresh token `r0`.
pub(super) fn grant() -> Arc<OAuth> {
    let text = r#"
        server = { listen = "127.0.0.1:0", plaintext = true }
        queue = { path = "/nowhere", allow_volatile = true }
        merchant.acme.token_sha256 = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
        [destination.one]
        url = "https://px.example.com/"
        map.id = "event_id"
        secrets = { client = "cl13nt", refresh = "r0" }
        [destination.one.auth.oauth]
        grant = "refresh_token"
        token_url = "https://id.example.com/token"
        client_id = "me"
        client_secret = "{secrets.client}"
        refresh_token = "{secrets.refresh}"
    "#;
    let source = Source { path: "routes.toml".into(), text: text.to_owned(), environment: &|_| None, sets: &[] };
    let config = Config::load(source).unwrap_or_else(|report| panic!("{report}"));
    Arc::clone(config.destinations[0].operations[0].request.oauth().unwrap())
}

fn answer(status: u16, body: &str) -> Transmission {
    let status = StatusCode::from_u16(status).unwrap();
    let answer = Answer::new(status, HeaderMap::new(), Bytes::from(body.to_owned()));
    Transmission::Answered { answer, body: Body::Whole }
}

/// A cache, and the token requests that it sent.
struct Bench {
    cache: TokenCache,
    clock: Clock,
    asked: Mutex<Vec<String>>,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            cache: TokenCache::new(&grant(), Arc::default()),
            clock: Clock::tokio(1_700_000_000_000),
            asked: Mutex::default(),
        }
    }

    fn note(&self, request: &Request) {
        self.asked.lock().unwrap().push(String::from_utf8(request.body.to_vec()).unwrap());
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// A token from an endpoint that answers so at once.
    async fn token(&self, refused: Option<&Arc<Token>>, status: u16, body: &str) -> Result<Arc<Token>, NoToken> {
        let ask = |request| async move {
            self.note(&request);
            answer(status, body)
        };
        self.cache.token(&self.clock, refused, ask).await
    }

    async fn granted(&self, refused: Option<&Arc<Token>>, token: &str, seconds: u32) -> Arc<Token> {
        let body = format!(r#"{{"access_token":"{token}","expires_in":{seconds}}}"#);
        self.token(refused, 200, &body).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn sixteen_that_want_a_token_at_once_send_one_request() {
    let bench = Bench::new();
    let (answers, waiting) = (Notify::new(), AtomicUsize::new(0));
    let want = async || {
        let ask = |request: Request| {
            bench.note(&request);
            let answers = &answers;
            async move {
                answers.notified().await;
                answer(200, r#"{"access_token":"t1"}"#)
            }
        };
        waiting.fetch_add(1, Ordering::SeqCst);
        bench.cache.token(&bench.clock, None, ask).await.unwrap()
    };
    let all = async {
        tokio::join!(
            want(),
            want(),
            want(),
            want(),
            want(),
            want(),
            want(),
            want(),
            want(),
            want(),
            want(),
            want(),
            want(),
            want(),
            want(),
            want()
        )
    };
    let release = async {
        while waiting.load(Ordering::SeqCst) < 16 {
            tokio::task::yield_now().await;
        }
        answers.notify_one();
    };
    let (tokens, ()) = tokio::join!(all, release);
    assert_eq!(bench.asked(), 1);
    assert!(Arc::ptr_eq(&tokens.0, &tokens.15) && Arc::ptr_eq(&tokens.0, &tokens.7));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_expires() {
    let bench = Bench::new();
    let first = bench.granted(None, "t1", 3600).await;
    advance(Duration::from_secs(3600 - 61)).await;
    assert!(Arc::ptr_eq(&first, &bench.granted(None, "t2", 3600).await), "it lasts");
    advance(Duration::from_secs(1)).await;
    let second = bench.granted(None, "t2", 3600).await;
    assert_eq!(second.authorization, "Bearer t2", "a minute before its end");
    assert_eq!(bench.asked(), 2);
    assert!(first.authorization.is_sensitive());
    assert!(!format!("{first:?} {:?}", bench.cache.grant).contains("t1"));
}

#[test]
fn a_token_is_kept_for_its_life_less_a_margin() {
    let check = |lasts: Option<u64>, expected| {
        assert_eq!(usable(lasts.map(Duration::from_secs)), Duration::from_secs(expected), "{lasts:?}");
    };
    check(Some(0), 0);
    check(Some(10), 9);
    check(Some(600), 540);
    check(Some(3600), 3540);
    check(Some(86_400), 86_340);
    check(Some(u64::MAX), 86_340);
    check(None, 1740);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_dropped_once_however_many_were_refused_with_it() {
    let bench = Bench::new();
    let first = bench.granted(None, "t1", 3600).await;
    let second = bench.granted(Some(&first), "t2", 3600).await;
    assert_eq!(second.authorization, "Bearer t2");
    for _ in 0..15 {
        assert!(Arc::ptr_eq(&second, &bench.granted(Some(&first), "t3", 3600).await), "the new one is not that one");
    }
    assert_eq!(bench.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_does_not_last_is_good_for_the_one_who_asked() {
    let bench = Bench::new();
    let first = bench.granted(None, "t1", 0).await;
    assert_eq!(first.authorization, "Bearer t1");
    assert_eq!(bench.granted(None, "t2", 0).await.authorization, "Bearer t2");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_is_replaced_is_used_from_then_on() {
    let bench = Bench::new();
    let body = |refresh: &str| format!(r#"{{"access_token":"t","expires_in":0{refresh}}}"#);
    for refresh in [r#","refresh_token":"r1""#, "", r#","refresh_token":"r2""#, ""] {
        bench.token(None, 200, &body(refresh)).await.unwrap();
    }
    bench.token(None, 400, r#"{"error":"invalid_grant"}"#).await.unwrap_err();
    let sent = bench.asked.lock().unwrap().clone();
    let sent = sent.iter().map(|form| form.rsplit_once("refresh_token=").unwrap().1);
    assert_eq!(sent.collect::<Vec<_>>(), ["r0", "r1", "r1", "r2", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_kept() {
    let bench = Bench::new();
    let refused = bench.token(None, 400, r#"{"error":"invalid_client"}"#).await.unwrap_err();
    let words = "no access token from the token endpoint: invalid_client: the client id or the client secret is wrong";
    assert_eq!(refused, NoToken::Refused { reason: words.to_owned() });
    let ask = |_| async { Transmission::NotSent(Failure::timed_out("no connection".to_owned())) };
    let unavailable = bench.cache.token(&bench.clock, None, ask).await.unwrap_err();
    assert_eq!(unavailable.reason(), "no access token from the token endpoint: not sent: no connection");
    assert_eq!(bench.granted(None, "t1", 60).await.authorization, "Bearer t1");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_while_it_asks_leaves_the_asking_to_the_next() {
    let bench = Arc::new(Bench::new());
    let (asking, own) = (Arc::new(Notify::new()), Arc::clone(&bench));
    let begun = Arc::clone(&asking);
    let cut_off = tokio::spawn(async move {
        let ask = |_| async {
            begun.notify_one();
            std::future::pending().await
        };
        own.cache.token(&own.clock, None, ask).await
    });
    asking.notified().await;
    let own = Arc::clone(&bench);
    let waiting = tokio::spawn(async move { own.granted(None, "t2", 60).await });
    tokio::task::yield_now().await;
    assert_eq!(bench.asked(), 0, "it waits for the other");
    cut_off.abort();
    assert_eq!(waiting.await.unwrap().authorization, "Bearer t2");
}
