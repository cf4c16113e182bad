//! Ranges: what they stand for, what overrides one of them, and what is said of wrong ones.

use super::*;
use crate::conversion::{Conversion, ConversionId, Meta};
use crate::mapping::Secrets;

/// The query that a destination of these keys sends of a conversion whose `custom.t` holds `t1` to `t12`.
#[track_caller]
fn query(keys: &str) -> String {
    sent(&with(&format!("[destination.partner]\nurl = \"https://px.example.com/\"\nbody = \"none\"\n{keys}\n")))
}

#[track_caller]
fn sent(text: &str) -> String {
    let config = right(text);
    let members: Vec<String> = (1..=12).map(|number| format!(r#""t{number}": "{number}""#)).collect();
    let body = format!(
        r#"{{"time": "2026-11-21T10:00:00Z", "order_id": "o-1", "items": [{{"sku": "A", "custom": {{"t1": "x"}}}}],
            "custom": {{{}}}}}"#,
        members.join(", ")
    );
    let conversion = Conversion::parse(body.as_bytes(), "generated").unwrap();
    let meta = Meta::new(ConversionId::new(0, [0; 10]), "acme".into(), None, &conversion);
    let scope = Scope { conversion: &conversion, meta: &meta };
    let url = config.destinations[0].operations[0].request.render(scope, Secrets::Masked).unwrap().url;
    url.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default()
}

#[test]
fn a_range_is_as_many_lines_in_its_place() {
    assert_eq!(
        query("map.a = \"order_id\"\nmap.\"x{9..12}\" = \"custom.t{9..12} | string\"\nmap.z = \"order_id\""),
        "a=o-1&x9=9&x10=10&x11=11&x12=12&z=o-1"
    );
    assert_eq!(query("map.\"x{i}_{1..3}\" = \"item.custom.t{1..3} | string\""), "x1_1=x");
    assert_eq!(query("query.\"x{0..1}\" = \"'c'\""), "x0=c&x1=c", "the number need not stand in the value");
    assert_eq!(query("map.p.\"x{1..2}\" = \"custom.t{1..2} | string\""), "p.x1=1&p.x2=2");
}

#[test]
fn rules_over_ranges_are_as_many_rules() {
    let lines = "map.\"x{1..3}\" = \"custom.t{1..3} | string\"\nmap.\"y{1..3}\" = \"custom.t{1..3} | string\"\n";
    assert_eq!(query(&format!("{lines}omit_with.\"y{{1..2}}\" = [\"x{{1..2}}\"]")), "x1=1&x2=2&x3=3&y3=3");
    assert_eq!(query(&format!("{lines}omit_with.y3 = [\"x{{1..2}}\"]")), "x1=1&x2=2&x3=3&y1=1&y2=2");
    assert_eq!(
        query(
            "map.\"x{10..12}\" = \"custom.t{10..12} | string\"\nmax_length.\"x{11..12}\" = { limit = 1, over = \"truncate\" }"
        ),
        "x10=10&x11=1&x12=1"
    );
    query(&format!("{lines}require_any = [[\"x{{1..3}}\"]]\nrequired_with.x1 = [\"y{{1..3}}\"]"));
}

#[test]
fn a_line_of_its_own_goes_before_the_ranges() {
    assert_eq!(query("map.x2 = \"order_id\"\nmap.\"x{1..3}\" = \"custom.t{1..3} | string\""), "x2=o-1&x1=1&x3=3");
    assert_eq!(query("map.\"x{1..3}\" = \"custom.t{1..3} | string\"\nmap.x2 = \"order_id\""), "x1=1&x3=3&x2=o-1");
}

#[test]
fn of_a_presets_range_one_or_all_can_be_overridden_and_taken_away() {
    let impact = |keys: &str| {
        let text = presets::ALL.replace("vars.campaign_id", &format!("{keys}\nvars.campaign_id"));
        let config = right(&with(&text));
        let request = &config.destination("impact").unwrap().operations[0].request;
        [1, 7, 50].map(|number| request.has_output(&format!("map.Text{number}")))
    };
    assert_eq!(impact(""), [true, true, true]);
    assert_eq!(impact("map.Text7 = \"\""), [true, false, true]);
    assert_eq!(impact("map.\"Text{1..50}\" = \"\""), [false, false, false]);
    assert_eq!(impact("map.\"Text{2..50}\" = \"\""), [true, false, false]);
    assert_eq!(impact("map.\"Text{1..50}\" = \"\"\nmap.Text7 = \"order_id\""), [false, true, false]);
    assert_eq!(impact("max_length.\"Text{1..50}\" = { limit = 32 }"), [true, true, true]);
}

#[test]
fn a_wrong_range_says_what_would_be_right() {
    let check = |lines: &str, expected: &[&str]| {
        assert_eq!(faults(&with(&format!("{PARTNER}{lines}\n"))), expected, "{lines}");
    };
    check("map.\"x{1..}\" = \"order_id\"", &["13:7 `{1..}` is no range"]);
    check("map.\"x{a..b}\" = \"order_id\"", &["13:7 `{a..b}` is no range"]);
    check("map.\"x{01..10}\" = \"order_id\"", &["13:7 `{01..10}` is no range"]);
    check("map.\"x{1...9}\" = \"order_id\"", &["13:7 `{1...9}` is no range"]);
    check("map.\"x{9..1}\" = \"order_id\"", &["13:7 `{9..1}` ends before it begins"]);
    check("map.\"x{1..201}\" = \"order_id\"", &["13:7 `{1..201}` is too long: a range is at most 200 lines"]);
    check("map.\"x{1..2}y{1..2}\" = \"order_id\"", &["13:7 two ranges in one name"]);
    check("map.\"x{1..3}\" = \"order_id\"\nmap.\"x{3..5}\" = \"order_id\"", &["14:6 `x3` is in two ranges"]);
    check("require_any = [[\"x{9..1}\"]]", &["13:19 `{9..1}` ends before it begins"]);
}

#[test]
fn what_is_wrong_with_every_line_of_a_range_is_said_once() {
    let check = |lines: &str, expected: &[&str]| {
        assert_eq!(faults(&with(&format!("{PARTNER}{lines}\n"))), expected, "{lines}");
    };
    check("map.\"x{1..50}\" = \"custm.t{1..50}\"", &["13:19 there is no field `custm.t1`"]);
    check("omit_with.event = [\"x{1..50}\"]", &["13:21 no line of the map sets `x1`"]);
    check("max_length.\"x{1..9}\" = { limt = 1 }", &["13:13 `limit` is missing", "13:26 unknown key `limt`"]);
}
