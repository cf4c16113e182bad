//! Which attempts may have reached a platform although nobody said so.

use super::{Attempt, Verdict};

impl Attempt {
    /// Whether the platform may have what was sent. Of an answer's words only what is kept of them is known.
    pub(in super::super) fn may_have_arrived(&self) -> bool {
        match self.verdict {
            Verdict::Unknown | Verdict::Accepted | Verdict::Unconfirmed | Verdict::Delivered | Verdict::Duplicate => {
                true
            }
            // That `retry_when` asked for it says nothing of what was behind.
            Verdict::Retry => {
                let words = self.excerpt.as_deref().unwrap_or_default();
                self.status.is_some_and(|status| comes_from_between(status) || broke_off_behind(status, words))
            }
            Verdict::Suspended
            | Verdict::Rejected
            | Verdict::Unmappable
            | Verdict::Withheld
            | Verdict::Skipped
            | Verdict::Unsupported
            | Verdict::Expired => false,
        }
    }

    /// With less kept of it. Where its words alone told that it may have arrived, its verdict says so from here on.
    pub(in super::super) fn without_excerpt(&self) -> Attempt {
        let rest = Attempt { excerpt: None, ..self.clone() };
        let is_untold = self.may_have_arrived() && !rest.may_have_arrived();
        if is_untold { Attempt { verdict: Verdict::Unknown, ..rest } } else { rest }
    }
}

/// Statuses with which a gateway says that it passed the request on and got no good answer, or none in time: *Bad Gateway* and
/// *Gateway Timeout* ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-15.6)), and of Cloudflare's own
/// [520, 522 and 524](https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/): 522 also
/// where the connection stood.
pub(crate) fn comes_from_between(status: u16) -> bool {
    matches!(status, 502 | 504 | 520 | 522 | 524)
}

/// Whether a gateway says with a `503` that it had passed the request on, and that the connection behind it ended before an
/// answer. Envoy (and Istio with it) says so in a text that begins like no other and names the reason of the reset; Fastly and
/// Varnish name it in their page.
pub(crate) fn broke_off_behind(status: u16, body: &str) -> bool {
    if status != 503 {
        return false;
    }
    let body = body.trim_start().to_ascii_lowercase();
    if body.starts_with(ENVOY) {
        let reason = body.split_once("reset reason:").map_or("", |(_, reason)| reason);
        let reason = reason.split([',', '\n']).next().unwrap_or_default().trim();
        return !NOT_PASSED_ON.iter().any(|known| reason.ends_with(known));
    }
    BROKEN_READS.iter().any(|words| body.contains(words))
}

/// How Envoy begins to tell of a connection behind it.
const ENVOY: &str = "upstream connect error or disconnect/reset before headers";
/// How its reasons end (`remote connection failure`) where nothing of the request was taken.
const NOT_PASSED_ON: [&str; 4] = ["connection failure", "connection timeout", "overflow", "refused stream reset"];
/// Fastly's and Varnish's words for an answer that did not come, or broke off.
const BROKEN_READS: [&str; 2] = ["first byte timeout", "backend read error"];

#[cfg(test)]
mod tests {
    use super::super::super::tests::attempt;
    use super::*;

    #[test]
    fn what_a_gateway_passed_on_may_have_arrived_though_it_is_asked_to_be_repeated() {
        for (status, verdict, expected) in [
            (500, Verdict::Retry, false),
            (503, Verdict::Retry, false),
            (502, Verdict::Retry, true),
            (504, Verdict::Retry, true),
            (502, Verdict::Rejected, false),
            (504, Verdict::Unknown, true),
            (200, Verdict::Delivered, true),
        ] {
            assert_eq!(attempt(status, verdict).may_have_arrived(), expected, "{status} {verdict:?}");
        }
        let envoys = format!("{ENVOY}. reset reason: connection termination");
        let told = Attempt { excerpt: Some(envoys), ..attempt(503, Verdict::Retry) };
        assert!(told.may_have_arrived(), "`retry_when` had it repeated");
        let bare = |verdict| Attempt { excerpt: None, ..attempt(503, verdict) };
        assert_eq!(told.without_excerpt(), bare(Verdict::Unknown), "it is not forgotten with its words");
        assert_eq!(attempt(503, Verdict::Retry).without_excerpt(), bare(Verdict::Retry));
        assert!(!Attempt { excerpt: None, ..told }.may_have_arrived());
    }

    #[test]
    fn a_503_of_a_gateway_tells_whether_the_request_was_passed_on() {
        #[track_caller]
        fn check(body: &str, expected: bool) {
            assert_eq!(broke_off_behind(503, body), expected, "{body}");
            assert!(!broke_off_behind(500, body), "{body}");
        }
        check("upstream connect error or disconnect/reset before headers. reset reason: connection termination", true);
        check("upstream connect error or disconnect/reset before headers. reset reason: remote reset", true);
        check(
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: protocol error",
            true,
        );
        check("upstream connect error or disconnect/reset before headers", true);
        check("upstream connect error or disconnect/reset before headers. reset reason: connection failure", false);
        check("upstream connect error or disconnect/reset before headers. reset reason: connection timeout", false);
        check("upstream connect error or disconnect/reset before headers. reset reason: overflow", false);
        check(
            "upstream connect error or disconnect/reset before headers. reset reason: remote refused stream reset",
            false,
        );
        let delayed = "remote connection failure, transport failure reason: delayed connect error: 111";
        check(&format!("upstream connect error or disconnect/reset before headers. reset reason: {delayed}"), false);
        check("<html><head><title>503 first byte timeout</title></head>", true);
        check("<h1>Error 503 Backend read error</h1>", true);
        check("<h1>Error 503 Backend fetch failed</h1>", false);
        check("no healthy upstream", false);
        check("", false);
    }
}
