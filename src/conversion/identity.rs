//! Who a conversion is: its id, the key under which a repeat is recognised, the destinations' names.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Conversion, EventKind, Timestamp, TraceParent};

/// UUIDv7: sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversionId(uuid::Uuid);

/// What the relay knows beside the conversion itself (`meta.*` in expressions).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The relay's id of the conversion.
    pub id: ConversionId,
    /// Whose it is.
    pub merchant: Arc<str>,
    /// The `Idempotency-Key` header, unquoted.
    pub idempotency_key: Option<String>,
    /// The key under which a repeat is recognised: see [`Meta::new`].
    pub dedup_key: String,
    /// When the relay received it: the time in the id.
    pub received_at: Timestamp,
    /// The trace that the merchant's request belonged to, or that began with it; the parent of its attempts.
    pub trace: Option<TraceParent>,
}

/// A destination's name in `routes.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationName(Arc<str>);

impl ConversionId {
    /// From the Unix time in milliseconds and ten random bytes, which the caller brings: this module has neither.
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        ConversionId(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
    }

    /// Reads the form that [`Display`](fmt::Display) writes, in either case: 36 characters, version 7.
    pub fn parse(text: &str) -> Option<Self> {
        let id = uuid::Uuid::try_parse(text).ok().filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH)?;
        (id.get_version_num() == 7).then_some(ConversionId(id))
    }

    /// From [`ConversionId::as_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        ConversionId(uuid::Uuid::from_bytes(bytes))
    }

    /// Sixteen bytes whose order is that of the ids.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The Unix time in milliseconds that it was made from.
    pub fn unix_ms(&self) -> u64 {
        let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The instant that it was made from.
    pub fn instant(&self) -> jiff::Timestamp {
        let ms = i64::try_from(self.unix_ms()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl fmt::Display for ConversionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl Meta {
    /// Makes the deduplication key: the `Idempotency-Key`, else a given `event_id` (of a refund or adjustment with its kind:
    /// there it may be the sale's, and the sale is no refund), else `order_id` + `event_type` + `kind` (of a test conversion
    /// apart: it must not swallow the order's own), else the id itself, which nothing repeats.
    ///
    /// An order is refunded or adjusted more than once, so such a key also holds a digest of the content: posted again as
    /// it was it is a repeat, and another amount is another refund.
    ///
    /// The key is `merchant/key/…`, `merchant/event/…`, `merchant/event/…/kind`, `merchant/order/…/type/kind` (`test` for
    /// `order`) or `merchant/id/…`, each part percent-encoded but for unreserved characters. So it is ASCII fit for a
    /// header, no two merchants share one, and no two different lists of parts make the same key. A header `x` and an event
    /// id `x` are **not** the same key: a counter in one must not swallow conversions that are named in the other.
    pub fn new(id: ConversionId, merchant: Arc<str>, idempotency_key: Option<String>, conversion: &Conversion) -> Meta {
        let dedup_key = match (&idempotency_key, conversion.order_id()) {
            (Some(key), _) => join(&[&merchant, KEY, key]),
            (None, _) if conversion.event_id_given() => {
                let (event, kind) = (conversion.event_id(), conversion.kind());
                match kind {
                    EventKind::Conversion => join(&[&merchant, EVENT, event]),
                    EventKind::Refund | EventKind::Adjustment => join(&[&merchant, EVENT, event, kind.as_str()]),
                }
            }
            (None, Some(order)) => {
                let (event_type, kind) = (conversion.event_type(), conversion.kind());
                let whose = if conversion.is_test() { "test" } else { "order" };
                let parts = [&merchant, whose, order, event_type, kind.as_str()];
                match kind {
                    EventKind::Conversion => join(&parts),
                    EventKind::Refund | EventKind::Adjustment => {
                        let content = hex::encode(conversion.content_digest());
                        join(&[parts.as_slice(), &[content.as_str()]].concat())
                    }
                }
            }
            (None, None) => join(&[&merchant, "id", &id.to_string()]),
        };
        let received_at = Timestamp::from_instant(id.instant());
        Meta { id, merchant, idempotency_key, dedup_key, received_at, trace: None }
    }

    /// Whether the merchant named the key (header or `event_id`): the same key with other content is then a mistake to
    /// be told, and not a duplicate.
    pub fn key_is_explicit(&self) -> bool {
        matches!(self.dedup_key.split('/').nth(1), Some(KEY | EVENT))
    }
}

impl DestinationName {
    /// Lower-case letters, digits, `-` and `_`, 1 to 64 characters, beginning with a letter.
    pub fn parse(text: &str) -> Option<Self> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        let right = text.len() <= NAME_CHARS_MAX
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(known);
        right.then(|| DestinationName(text.into()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Characters of a destination's name: it is a metric's label and a column of the status page.
const NAME_CHARS_MAX: usize = 64;

/// Second part of a key that the merchant named by header.
const KEY: &str = "key";
/// Second part of a key that the merchant named by `event_id`.
const EVENT: &str = "event";
/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn join(parts: &[&str]) -> String {
    let mut key = String::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            key.push('/');
        }
        key.extend(utf8_percent_encode(part, RESERVED));
    }
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0197a2b3-c4d5-7000-8000-000000000000";

    /// The key of a conversion with these members beside `time`, and whether the merchant named it.
    #[track_caller]
    fn key(merchant: &str, header: Option<&str>, members: &str) -> (String, bool) {
        let body = format!(r#"{{"time":"2026-05-26T12:34:56Z"{members}}}"#);
        let conversion = Conversion::parse(body.as_bytes(), "generated").unwrap();
        let id = ConversionId::parse(ID).unwrap();
        let meta = Meta::new(id, merchant.into(), header.map(str::to_owned), &conversion);
        assert_eq!(meta.received_at.instant(), id.instant());
        let explicit = meta.key_is_explicit();
        (meta.dedup_key, explicit)
    }

    #[test]
    fn a_second_refund_of_an_order_is_no_repeat_of_the_first() {
        let refund = |value: &str| {
            let members = format!(r#","order_id":"1001","kind":"refund","value":"{value}","currency":"EUR""#);
            key("acme", None, &members).0
        };
        assert!(refund("-5.00").starts_with("acme/order/1001/purchase_completed/refund/"));
        assert_eq!(refund("-5.00"), refund("-5.00"), "posted again");
        assert_ne!(refund("-5.00"), refund("-7.50"), "another one");
    }

    #[test]
    fn the_key_is_the_header_else_the_event_id_else_the_order_else_nothing_that_repeats() {
        #[track_caller]
        fn check(header: Option<&str>, members: &str, expected: &str, explicit: bool) {
            assert_eq!(key("acme", header, members), (expected.to_owned(), explicit));
        }
        let all = r#","event_id":"e-1","order_id":"1001""#;
        check(Some("k-1"), all, "acme/key/k-1", true);
        check(None, all, "acme/event/e-1", true);
        check(None, r#","event_id":"e-1","test":true"#, "acme/event/e-1", true);
        check(None, r#","event_id":"e-1","kind":"refund""#, "acme/event/e-1/refund", true);
        let total = r#","event_id":"e-1","kind":"adjustment","value":1,"currency":"EUR""#;
        check(None, total, "acme/event/e-1/adjustment", true);
        check(Some("k-1"), r#","event_id":"e-1","kind":"refund""#, "acme/key/k-1", true);
        check(None, r#","order_id":"1001""#, "acme/order/1001/purchase_completed/conversion", false);
        check(
            None,
            r#","order_id":"a/b","event_type":"lead created""#,
            "acme/order/a%2Fb/lead%20created/conversion",
            false,
        );
        check(None, r#","order_id":"1001","test":true"#, "acme/test/1001/purchase_completed/conversion", false);
        check(None, r#","order_id":"1001","test":false"#, "acme/order/1001/purchase_completed/conversion", false);
        check(None, "", &format!("acme/id/{ID}"), false);
    }

    #[test]
    fn the_same_text_in_header_and_event_id_is_not_the_same_key() {
        let header = key("acme", Some("x"), "");
        let event = key("acme", None, r#","event_id":"x""#);
        assert_ne!(header, event);
    }

    #[test]
    fn two_merchants_never_share_a_key() {
        assert_ne!(key("a", Some("key/x"), "").0, key("a/key", Some("x"), "").0);
        assert_ne!(key("a", Some("x"), "").0, key("b", Some("x"), "").0);
        assert!(!key("key", None, r#","order_id":"event""#).1);
    }

    #[test]
    fn an_id_is_a_version_7_uuid_that_knows_its_time() {
        let id = ConversionId::new(1_779_798_896_250, [7; 10]);
        assert_eq!(id.unix_ms(), 1_779_798_896_250);
        assert_eq!(id.instant().as_millisecond(), 1_779_798_896_250);
        assert_eq!(ConversionId::parse(&id.to_string()), Some(id));
        assert_eq!(ConversionId::from_bytes(*id.as_bytes()), id);
        assert_eq!(id.to_string().len(), 36);
    }

    #[test]
    fn what_is_no_id_is_none() {
        #[track_caller]
        fn check(text: &str) {
            assert_eq!(ConversionId::parse(text), None);
        }
        check("");
        check("0197a2b3c4d570008000000000000000");
        check("{0197a2b3-c4d5-7000-8000-000000000000}");
        check("0197a2b3-c4d5-4000-8000-000000000000");
        check("0197a2b3-c4d5-7000-8000-00000000000x");
    }

    #[test]
    fn a_destination_name_is_a_lower_case_word() {
        #[track_caller]
        fn check(text: &str, right: bool) {
            assert_eq!(DestinationName::parse(text).is_some_and(|name| name.as_str() == text), right, "{text}");
        }
        check("thrad", true);
        check("trackdesk-get", true);
        check("a_2", true);
        check(&"a".repeat(64), true);
        check(&"a".repeat(65), false);
        check("", false);
        check("2a", false);
        check("-a", false);
        check("Thrad", false);
        check("a b", false);
        check("ä", false);
    }

    proptest! {
        #[test]
        fn ids_sort_by_time(a in 0_u64..1 << 48, b in 0_u64..1 << 48, random: [u8; 10], other: [u8; 10]) {
            let (first, second) = (ConversionId::new(a, random), ConversionId::new(b, other));
            if a != b {
                prop_assert_eq!(first.cmp(&second), a.cmp(&b));
                prop_assert_eq!(first.to_string().cmp(&second.to_string()), a.cmp(&b));
            }
            prop_assert_eq!(first.unix_ms(), a);
            prop_assert!(first.instant() >= jiff::Timestamp::UNIX_EPOCH);
        }

        #[test]
        fn a_key_fits_a_header_and_tells_its_parts(a in "\\PC{0,8}", b in "\\PC{0,8}") {
            let key = join(&[&a, &b]);
            prop_assert!(http::HeaderValue::from_str(&key).is_ok());
            let parts: Vec<_> = key.split('/').map(|part| percent_encoding::percent_decode_str(part).decode_utf8().unwrap()).collect();
            prop_assert_eq!(parts, [&*a, &*b]);
        }
    }
}
