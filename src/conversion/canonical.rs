//! Sameness: bytes that are equal for equal JSON values, and the digest of a conversion's content.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::schema::{self, ROWS_TOP, SCHEMA};
use super::values::Values;
use super::{Conversion, Json, Value, rules, write_text};

impl Json {
    /// Bytes that are equal exactly for equal JSON values: members sorted by name, numbers by their amount (`1`, `1.0`
    /// and `10e-1` are one; a number is not a string), texts without regard to how they were escaped.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_json(self, &mut out);
        out
    }
}

impl Conversion {
    /// SHA-256 over what the merchant sent, by meaning: the order of members, the spelling of numbers and escapes, an
    /// amount as number or string, empty groups and a default that is spelt out make no difference. A generated
    /// `event_id` is left out. Adding or moving rows of the schema does not change it.
    pub fn content_digest(&self) -> [u8; 32] {
        let mut out = Vec::with_capacity(CANONICAL_BYTES);
        let generated = (!self.event_id_given()).then_some(rules::EVENT_ID);
        write_fields(&self.values, &SORTED.top, generated, &mut out);
        let mut click_ids: Vec<_> = self.click_ids.iter().map(|(network, id)| (&**network, id)).collect();
        click_ids.sort_unstable();
        write_members(&click_ids, |id, out| write_text(id, out), &mut out);
        for item in &self.items {
            write_fields(&item.values, &SORTED.item, None, &mut out);
        }
        Sha256::digest(&out).into()
    }
}

/// Room for the canonical form of most conversions.
const CANONICAL_BYTES: usize = 2048;

/// The schema's fields of both levels, sorted by path once and for all.
struct Sorted {
    top: Vec<Field>,
    item: Vec<Field>,
}

/// A field of a level.
struct Field {
    /// Among the level's values.
    place: usize,
    /// Its path as a member's name, with what comes behind that.
    name: Vec<u8>,
}

static SORTED: LazyLock<Sorted> = LazyLock::new(|| {
    let (top, item) = SCHEMA.split_at(ROWS_TOP);
    Sorted { top: sorted(top), item: sorted(item) }
});

fn sorted(level: &[schema::Field]) -> Vec<Field> {
    let mut fields: Vec<_> = level.iter().map(|field| field.path).enumerate().collect();
    fields.sort_unstable_by_key(|(_, path)| *path);
    let named = |(place, path)| {
        let mut name = Vec::new();
        write_text(path, &mut name);
        name.push(b':');
        Field { place, name }
    };
    fields.into_iter().map(named).collect()
}

/// The fields of a level as an object, sorted by path.
fn write_fields<const ROWS: usize>(
    values: &Values<ROWS>,
    fields: &[Field],
    left_out: Option<usize>,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    let begin = out.len();
    for Field { place, name } in fields.iter().filter(|field| Some(field.place) != left_out) {
        let Some(value) = values.at(*place) else { continue };
        if out.len() > begin {
            out.push(b',');
        }
        out.extend_from_slice(name);
        write_value(value, out);
    }
    out.push(b'}');
}

fn write_members<T>(members: &[(&str, T)], write: impl Fn(&T, &mut Vec<u8>), out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(name, out);
        out.push(b':');
        write(value, out);
    }
    out.push(b'}');
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => write_text(text, out),
        Value::Money(amount) => write_number(amount.text().as_str(), out),
        Value::Int(number) => write_number(itoa::Buffer::new().format(*number), out),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Timestamp(time) => write_text(time.as_str(), out),
        Value::Date(date) => write_text(date.as_str(), out),
        Value::Json(json) => write_json(json, out),
    }
}

fn write_json(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Null | Json::Bool(_) | Json::Text(_) => json.write(out),
        Json::Number(text) => write_number(text, out),
        Json::Array(elements) => {
            out.push(b'[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_json(element, out);
            }
            out.push(b']');
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|(name, value)| (&**name, value)).collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            write_members(&members, |value, out| write_json(value, out), out);
        }
    }
}

/// A number as its significant digits and a power of ten: `-99.90` is `-999e-1`. A power beyond 64 bits stays as written.
fn write_number(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    if write_normal(text, out).is_none() {
        out.truncate(start);
        out.extend_from_slice(text.as_bytes());
    }
}

fn write_normal(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, power.parse::<i64>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().all(|digit| digit == b'0') {
        out.extend_from_slice(b"0e0");
        return Some(());
    }
    if text.len() > unsigned.len() {
        out.push(b'-');
    }
    out.extend(digits().skip_while(|digit| *digit == b'0'));
    let mut power = power.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    while out.pop_if(|digit| *digit == b'0').is_some() {
        power = power.checked_add(1)?;
    }
    out.push(b'e');
    out.extend_from_slice(itoa::Buffer::new().format(power).as_bytes());
    Some(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The digest, made without what is known of the schema beforehand.
    pub(in super::super) fn digest_by_sorting(conversion: &Conversion) -> [u8; 32] {
        fn object(mut members: Vec<(&str, Vec<u8>)>, out: &mut Vec<u8>) {
            members.sort_unstable();
            write_members(&members, |written, out| out.extend_from_slice(written), out);
        }
        let written = |value: &Value| {
            let mut out = Vec::new();
            match value {
                Value::Money(amount) => write_number(&amount.to_string(), &mut out),
                Value::Int(number) => write_number(&number.to_string(), &mut out),
                Value::Text(_) | Value::Bool(_) | Value::Timestamp(_) | Value::Date(_) | Value::Json(_) => {
                    write_value(value, &mut out);
                }
            }
            out
        };
        let path = |row: usize| SCHEMA[row].path;
        let mut out = Vec::new();
        let generated = |row: usize| row == rules::EVENT_ID && !conversion.event_id_given();
        let fields = conversion.values.iter().filter(|(row, _)| !generated(*row));
        object(fields.map(|(row, value)| (path(row), written(value))).collect(), &mut out);
        let click_ids = conversion.click_ids.iter().map(|(network, id)| {
            let mut text = Vec::new();
            write_text(id, &mut text);
            (&**network, text)
        });
        object(click_ids.collect(), &mut out);
        for item in &conversion.items {
            let fields = item.values.iter().map(|(row, value)| (path(row.saturating_add(ROWS_TOP)), written(value)));
            object(fields.collect(), &mut out);
        }
        Sha256::digest(&out).into()
    }

    fn canonical(text: &str) -> String {
        String::from_utf8(Json::parse(text.as_bytes()).unwrap().canonical()).unwrap()
    }

    #[test]
    fn equal_json_values_have_equal_canonical_bytes() {
        #[track_caller]
        fn check(a: &str, b: &str) {
            assert_eq!(canonical(a), canonical(b));
        }
        check(r#"{"a":1,"b":2}"#, r#" { "b" : 2 , "a" : 1 } "#);
        check("1", "1.0");
        check("1", "10e-1");
        check("1200", "1.2E+3");
        check("-99.90", "-9.99e1");
        check("0", "-0.00");
        check("0", "0e5");
        check(r#""A""#, "\"\\u0041\"");
        check(r#""/""#, r#""\/""#);
        check("12345678901234567890.10", "12345678901234567890.1");
        check(r#"[{"x":{"b":[],"a":{}}}]"#, r#"[{"x":{"a":{},"b":[]}}]"#);
    }

    #[test]
    fn different_json_values_have_different_canonical_bytes() {
        #[track_caller]
        fn check(a: &str, b: &str) {
            assert_ne!(canonical(a), canonical(b));
        }
        check("1", r#""1""#);
        check("1", "-1");
        check("1", "10");
        check("10000000000000001", "10000000000000000");
        check("0.1", "0.10000000000000001");
        check("[1,2]", "[2,1]");
        check("[]", "{}");
        check("null", "false");
        check(r#"{"a":{"b":1}}"#, r#"{"a.b":1}"#);
        check(r#"["a","b"]"#, r#"["a\",\"b"]"#);
        check("1e99999999999999999999", "1e99999999999999999998");
    }

    fn digest(members: &str) -> [u8; 32] {
        let body = format!(r#"{{"time":"2026-05-26T12:34:56Z","currency":"EUR","order_id":"1",{members}}}"#);
        Conversion::parse(body.as_bytes(), "generated").unwrap().content_digest()
    }

    #[test]
    fn the_same_content_has_the_same_digest() {
        #[track_caller]
        fn check(a: &str, b: &str) {
            assert_eq!(digest(a), digest(b));
        }
        check(r#""value":99.90,"status":"hold""#, r#""status":"hold","value":99.9"#);
        check(r#""value":99.90"#, r#""value":"99.90""#);
        check(r#""value":1"#, r#""value":1,"kind":"conversion","test":false,"event_type":"purchase_completed""#);
        check(r#""value":1"#, r#""value":1,"customer":{}"#);
        check(r#""click_ids":{"a":"1","b":"2"}"#, r#""click_ids":{"b":"2","a":"1"}"#);
        check(r#""custom":{"a":1,"b":[2.0]}"#, r#""custom":{"b":[2],"a":1.0}"#);
        check(r#""items":[{"sku":"a","price":1}]"#, r#""items":[{"price":1.00,"sku":"a"}]"#);
    }

    #[test]
    fn other_content_has_another_digest() {
        #[track_caller]
        fn check(a: &str, b: &str) {
            assert_ne!(digest(a), digest(b));
        }
        check(r#""value":1"#, r#""value":2"#);
        check(r#""value":1"#, r#""order":{"tax":1}"#);
        check(r#""value":1"#, r#""value":1,"event_id":"generated""#);
        check(r#""click_ids":{"a":"1","b":"2"}"#, r#""click_ids":{"a":"2","b":"1"}"#);
        check(r#""click_ids":{"a":"1"}"#, r#""custom":{"a":"1"}"#);
        check(r#""items":[{"sku":"a"},{"sku":"b"}]"#, r#""items":[{"sku":"b"},{"sku":"a"}]"#);
        check(r#""items":[{"sku":"a","name":"b"}]"#, r#""items":[{"sku":"a"},{"name":"b"}]"#);
        check(r#""custom":{"a":null}"#, r#""custom":{}"#);
    }

    #[test]
    fn a_generated_event_id_is_no_content() {
        let body = br#"{"time":"2026-05-26T12:34:56Z"}"#;
        let digest = |event_id| Conversion::parse(body, event_id).unwrap().content_digest();
        assert_eq!(digest("a"), digest("b"));
    }

    /// Stored beside deduplication keys: a change of this value would turn repeats into mistakes after an update.
    #[test]
    fn the_digest_stays_what_it_is_from_version_to_version() {
        let expected = "60d6e9cca031d32e38216e50bb6c75a9713e6e30d174abb50fe092f13b04d8ce";
        assert_eq!(hex::encode(digest(r#""value":99.90,"items":[{"sku":"a"}],"click_ids":{"thrad":"x"}"#)), expected);
    }
}
