use proptest::prelude::*;
use serde_json::json;

use super::canonical::tests::digest_by_sorting;
use super::problem::Problem;
use super::*;

/// A conversion of these members beside a `time`.
#[track_caller]
fn accepted(members: &str) -> Conversion {
    parse(members).unwrap()
}

fn parse(members: &str) -> Result<Conversion, Refusal> {
    let comma = if members.is_empty() { "" } else { "," };
    Conversion::parse(format!(r#"{{"time":"2026-05-26T12:34:56Z"{comma}{members}}}"#).as_bytes(), "generated")
}

/// Every problem, as `pointer: detail`.
#[track_caller]
fn problems(body: impl AsRef<[u8]>) -> Vec<String> {
    match Conversion::parse(body.as_ref(), "generated") {
        Err(Refusal::Invalid(problems)) => {
            problems.into_iter().map(|Problem { pointer, detail }| format!("{pointer}: {detail}")).collect()
        }
        Err(Refusal::Malformed(error)) => panic!("{error}"),
        Ok(_) => panic!("accepted"),
    }
}

/// A value that a field of this kind takes, and that every other conversion could hold too.
fn example(kind: Kind) -> serde_json::Value {
    match kind {
        Kind::Text { .. } => json!("text"),
        Kind::Lines { .. } => json!("text"),
        Kind::Money => json!("99.90"),
        Kind::Int => json!(3),
        Kind::Bool => json!(true),
        Kind::Timestamp => json!("2026-05-26T12:34:56.250+02:00"),
        Kind::Date => json!("1990-12-31"),
        Kind::Enum(words) => json!(words[0]),
        Kind::Currency => json!("EUR"),
        Kind::Country => json!("DEU"),
        Kind::Email => json!("jane@example.com"),
        Kind::Ip => json!("203.0.113.9"),
        Kind::Url => json!("https://shop.example.com/thanks"),
        Kind::Uuid => json!("85b04ded-09dd-4015-ad30-581e45452dd9"),
        Kind::Digest { chars } => json!("0a".repeat(chars / 2)),
        Kind::TextMap => json!({ "thrad": "clk_1" }),
        Kind::Json => json!({ "a": { "b": 1 } }),
    }
}

/// `value` at a schema path of an otherwise empty document.
fn document(path: &str, value: serde_json::Value) -> serde_json::Value {
    let path = path.trim_end_matches(".*");
    path.rsplit('.').fold(value, |value, name| match name.strip_suffix("[]") {
        Some(array) => json!({ array: [value] }),
        None => json!({ name: value }),
    })
}

fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
    match (into, from) {
        (serde_json::Value::Object(into), serde_json::Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(serde_json::Value::Null), value);
            }
        }
        (serde_json::Value::Array(into), serde_json::Value::Array(from)) if !into.is_empty() => {
            for (into, from) in into.iter_mut().zip(from) {
                merge(into, from);
            }
        }
        (into, from) => *into = from,
    }
}

/// A conversion with a value for every row.
fn full() -> serde_json::Value {
    let mut body = json!({});
    for field in SCHEMA {
        merge(&mut body, document(field.path, example(field.kind)));
    }
    body
}

#[test]
fn every_row_is_read_into_its_slot() {
    let conversion = Conversion::parse(full().to_string().as_bytes(), "generated").unwrap();
    for slot in Slot::top() {
        let field = slot.field();
        if field.kind == Kind::TextMap {
            assert_eq!(conversion.click_id("thrad"), Some("clk_1"));
        } else {
            assert_eq!(conversion.value(slot).map(Value::ty), Some(field.kind.ty()), "{}", field.path);
        }
    }
    let item = &conversion.items()[0];
    for slot in Slot::of_items() {
        assert_eq!(item.value(slot).map(Value::ty), Some(slot.field().kind.ty()), "{}", slot.field().path);
        assert_eq!(conversion.value(slot), None);
    }
    assert_eq!(Slot::top().count() + Slot::of_items().count(), SCHEMA.len());
    assert_eq!(item.custom(), conversion.custom());
}

#[test]
fn every_row_alone_is_accepted_or_misses_only_what_a_rule_names() {
    for field in SCHEMA.iter().filter(|field| !field.required) {
        let mut body = document(field.path, example(field.kind));
        merge(&mut body, json!({ "time": "2026-05-26T12:34:56Z" }));
        let result = Conversion::parse(body.to_string().as_bytes(), "generated");
        assert_eq!(result.is_err(), field.kind == Kind::Money, "{}: {result:?}", field.path);
    }
}

#[test]
fn every_row_refuses_a_wrong_value_at_its_own_pointer() {
    for field in SCHEMA.iter().filter(|field| field.kind != Kind::Json) {
        let mut body = full();
        merge(&mut body, document(field.path, json!([["secret"]])));
        let pointer = format!("/{}: ", field.path.trim_end_matches(".*").replace("[].", "/0/").replace('.', "/"));
        let found = problems(body.to_string());
        assert!(found.len() == 1 && found[0].starts_with(&pointer), "{pointer} {found:?}");
    }
}

#[test]
fn every_row_refuses_null_and_says_what_to_do_instead() {
    for field in SCHEMA {
        let mut body = full();
        merge(&mut body, document(field.path, serde_json::Value::Null));
        let found = problems(body.to_string());
        assert!(found.len() == 1 && found[0].contains("must not be null: leave the field out instead"), "{found:?}");
    }
}

#[test]
fn values_are_kept_as_they_were_sent() {
    let conversion = accepted(
        r#""value":12345678901234.50,"currency":"EUR","order_id":" Ord\u00e4 ","order":{"tax":"0.100"},
           "click":{"time":"2026-05-26T10:00:00.120+02:00"},"items":[{"quantity":2,"price":99.90}],"custom":{"n":1.50}"#,
    );
    let text = |path: &str| match conversion.value(Slot::of(path).unwrap()) {
        Some(Value::Money(amount)) => amount.to_string(),
        Some(Value::Timestamp(time)) => time.as_str().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text("value"), "12345678901234.50");
    assert_eq!(text("order.tax"), "0.100");
    assert_eq!(text("click.time"), "2026-05-26T10:00:00.120+02:00");
    assert_eq!(conversion.order_id(), Some(" Ordä "));
    assert_eq!(conversion.items()[0].value(Slot::of("items[].quantity").unwrap()), Some(&Value::Int(2)));
    assert_eq!(conversion.custom().unwrap().member("n"), Some(&Json::Number("1.50".into())));
}

#[test]
fn defaults_stand_in_their_slots() {
    let conversion = accepted("");
    let value = |path| conversion.value(Slot::of(path).unwrap());
    assert_eq!(value("kind"), Some(&Value::Text("conversion".into())));
    assert_eq!(value("event_type"), Some(&Value::Text("purchase_completed".into())));
    assert_eq!(value("test"), Some(&Value::Bool(false)));
    assert_eq!(value("event_id"), Some(&Value::Text("generated".into())));
    assert_eq!((conversion.event_id(), conversion.event_id_given()), ("generated", false));
    assert_eq!(
        (conversion.kind(), conversion.event_type(), conversion.is_test()),
        (EventKind::Conversion, "purchase_completed", false)
    );
    assert_eq!((conversion.order_id(), conversion.currency(), conversion.tracking_consent()), (None, None, None));
    assert_eq!((conversion.items(), conversion.custom(), conversion.click_id("thrad")), (&[][..], None, None));
}

#[test]
fn what_is_always_present_is_there_when_nothing_is_given() {
    let conversion = Conversion::parse(br#"{"time":"2026-05-26T12:34:56Z"}"#, "x").unwrap();
    for slot in Slot::top().filter(|slot| slot.field().kind != Kind::TextMap) {
        assert_eq!(conversion.value(slot).is_some(), slot.is_always_present(), "{}", slot.field().path);
    }
    assert!(!Slot::of_items().any(Slot::is_always_present));
}

#[test]
fn what_is_given_stands_before_the_defaults() {
    let conversion = accepted(
        r#""kind":"refund","event_type":"signup","test":true,"event_id":"e-1","consent":{"tracking":false},"custom":[1]"#,
    );
    assert_eq!((conversion.event_id(), conversion.event_id_given()), ("e-1", true));
    assert_eq!((conversion.kind(), conversion.event_type(), conversion.is_test()), (EventKind::Refund, "signup", true));
    assert_eq!(conversion.tracking_consent(), Some(false));
    assert_eq!(conversion.time().as_str(), "2026-05-26T12:34:56Z");
    assert_eq!(conversion.custom(), Some(&Json::Array(vec![Json::Number("1".into())])));
}

#[test]
fn every_problem_is_reported_at_once_and_where_it_stands() {
    let body = r#"{"valu":1,"email":"x","time":"yesterday","value":1e3,"currency":"eur","customer":{"emial":"x","country":"de","email":null},
        "items":[{"sku":"a","sku":"b"},7,{"prize":1,"quantity":1.5}],"order":[],"click_ids":{"a/b~c":"x"},"custom":{"k":1,"k":2},
        "value":2,"page":{"url":"/thanks"}}"#;
    assert_eq!(
        problems(body),
        [
            "/valu: is not a known field: did you mean value?",
            "/email: is not a known field here: did you mean customer.email?",
            "/time: must be an RFC 3339 time with an offset, such as 2026-05-26T12:34:56Z",
            "/value: must be written out, without an exponent",
            "/currency: must be an ISO 4217 code in upper case, such as EUR",
            "/customer/emial: is not a known field: did you mean email?",
            "/customer/country: must be an ISO 3166 code of two or three letters in upper case, such as DE or DEU",
            "/customer/email: must not be null: leave the field out instead",
            "/items/0/sku: stands twice: keep one",
            "/items/1: must be an object",
            "/items/2/prize: is not a known field: did you mean price?",
            "/items/2/quantity: must be a whole number from 0 to 9007199254740991, written in digits, not as a string",
            "/order: must be an object",
            "/click_ids/a~1b~0c: key must be 1 to 64 letters, digits, - or _",
            "/custom/k: stands twice: keep one",
            "/value: stands twice: keep one",
            "/page/url: must be an absolute http or https URL",
        ]
    );
}

#[test]
fn rules_across_fields() {
    #[track_caller]
    fn check(members: &str, expected: &[&str]) {
        assert_eq!(problems(format!(r#"{{"time":"2026-05-26T12:34:56Z",{members}}}"#)), expected);
    }
    const ADDRESS: &str = "must not be an e-mail address: that is `customer.email`, and is hashed where it must be";
    let both = format!("/customer/profile_id: {ADDRESS}");
    let id = format!("/customer/id: {ADDRESS}");
    check(r#""customer":{"id":"jane@example.com","profile_id":" j@example.com "}"#, &[&id, &both]);
    check(
        r#""customer":{"id":"@jane","profile_id":"jane@home"},"value":-1,"currency":"EUR""#,
        &["/value: must not be negative: only a refund may be"],
    );
    const CURRENCY: &str = "/currency: is required, because there is an amount at";
    const NAMED: &str = "/order_id: is required in a refund or adjustment, to name the earlier conversion (its event_id will do as well, if \
         it had no order_id)";
    const TOTAL: &str = "/value: is required in an adjustment: the new absolute total";
    check(r#""value":1"#, &[&format!("{CURRENCY} /value")]);
    check(r#""order":{"tax":"0.00"}"#, &[&format!("{CURRENCY} /order/tax")]);
    check(r#""commission":{"payout":5}"#, &[&format!("{CURRENCY} /commission/payout")]);
    check(r#""items":[{"sku":"a"},{"price":5}]"#, &[&format!("{CURRENCY} /items/1/price")]);
    check(r#""value":-1,"currency":"EUR""#, &["/value: must not be negative: only a refund may be"]);
    check(
        r#""currency":"EUR","items":[{"discount":-1}],"order":{"tax":-2}"#,
        &[
            "/order/tax: must not be negative: only a refund may be",
            "/items/0/discount: must not be negative: only a refund may be",
        ],
    );
    check(r#""kind":"refund""#, &[NAMED]);
    check(r#""kind":"adjustment""#, &[NAMED, TOTAL]);
    check(
        r#""kind":"adjustment","order_id":"1","value":-1,"currency":"EUR""#,
        &["/value: must not be negative: only a refund may be"],
    );
    for (part, place) in [
        (r#""order":{"shipping":-4.90}"#, "/order/shipping"),
        (r#""order":{"tax":1,"discount":2},"items":[]"#, "/order/discount"),
        (r#""commission":{"payout":1}"#, "/commission/payout"),
    ] {
        let detail = format!(
            "/value: is required in a refund of a part (or order.subtotal, or items), and there is an amount at {place}: a \
             refund of the whole order names no amount"
        );
        check(&format!(r#""kind":"refund","order_id":"1","currency":"EUR",{part}"#), &[&detail]);
        accepted(&format!(r#""kind":"refund","order_id":"1","currency":"EUR","value":1,{part}"#));
        accepted(&format!(r#""kind":"conversion","currency":"EUR",{}"#, part.replace('-', "")));
    }
    accepted(r#""kind":"refund","order_id":"1","currency":"EUR","order":{"shipping":1,"subtotal":2}"#);
    accepted(r#""kind":"refund","order_id":"1","currency":"EUR","order":{"shipping":1},"items":[{"sku":"a"}]"#);
    for kind in ["conversion", "adjustment", "refund"] {
        let margins = r#""currency":"EUR","value":1,"order":{"margin":-1.50},"items":[{"margin":"-0.50"}]"#;
        accepted(&format!(r#""kind":"{kind}","order_id":"1",{margins}"#));
    }
    accepted(r#""kind":"refund","order_id":"1""#);
    accepted(r#""kind":"refund","event_id":"e-1","value":-99.90,"currency":"EUR""#);
    accepted(r#""kind":"adjustment","order_id":"1","value":0,"currency":"EUR""#);
    accepted(r#""currency":"EUR""#);
}

#[test]
fn a_rule_is_silent_where_the_fields_that_it_rests_on_are_wrong() {
    assert_eq!(problems(r#"{"time":"2026-05-26T12:34:56Z","value":1,"currency":"euro"}"#).len(), 1);
    assert_eq!(problems(r#"{"time":"2026-05-26T12:34:56Z","kind":"refunds","value":-1,"currency":"EUR"}"#).len(), 1);
    assert_eq!(problems(r#"{"time":"2026-05-26T12:34:56Z","kind":"refund","order_id":""}"#).len(), 1);
    assert_eq!(problems(r#"{"time":"2026-05-26T12:34:56Z","kind":"adjustment","order_id":"1","value":"x"}"#).len(), 1);
    assert_eq!(problems("{}"), ["/time: is required"]);
}

#[test]
fn lengths_count_characters() {
    let order = |count| parse(&format!(r#""order_id":"{}""#, "ä".repeat(count)));
    assert!(order(256).is_ok());
    assert!(order(257).is_err());
    accepted(&format!(r#""event_id":"{}""#, "😀".repeat(128)));
}

#[test]
fn lists_and_maps_are_bounded() {
    let items = |count: usize| parse(&format!(r#""items":[{}]"#, vec!["{}"; count].join(",")));
    assert_eq!(items(500).unwrap().items().len(), 500);
    let Err(Refusal::Invalid(found)) = items(501) else { panic!("accepted") };
    assert_eq!(found, [Problem { pointer: "/items".to_owned(), detail: "must have at most 500 items".to_owned() }]);

    let ids = |count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!("\"k{n}\":\"v\"")).collect();
        parse(&format!(r#""click_ids":{{{}}}"#, members.join(",")))
    };
    assert_eq!(ids(64).unwrap().click_ids().count(), 64);
    assert!(ids(65).is_err());
    assert!(parse(r#""click_ids":{"a":"1","a":"2"}"#).is_err());
    assert!(parse(r#""click_ids":{"":"1"}"#).is_err());
}

#[test]
fn free_data_is_bounded_in_size_over_the_whole_conversion() {
    let half = "x".repeat(130 * 1024);
    accepted(&format!(r#""custom":{{"a":"{half}"}}"#));
    let both = problems(format!(
        r#"{{"time":"2026-05-26T12:34:56Z","custom":{{"a":"{half}"}},"items":[{{"custom":{{"b":"{half}","c":1,"d":[1,2]}}}}]}}"#
    ));
    assert_eq!(both, ["/items/0/custom/b: is more than the free data of one conversion may be: 256 KiB in all"]);
    let many = vec!["[]"; 100_000].join(",");
    assert_eq!(problems(format!(r#"{{"time":"2026-05-26T12:34:56Z","custom":[{many}]}}"#)).len(), 1);
}

#[test]
fn deep_nesting_is_a_problem_and_never_a_stack_overflow() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [32, 127, 200, 100_000] {
            let value = open.repeat(depth) + "1" + &close.repeat(depth);
            for path in ["custom", "unknown", "order_id", "order", "items", "click_ids"] {
                let found = problems(format!(r#"{{"time":"2026-05-26T12:34:56Z","{path}":{value}}}"#));
                assert!(found.iter().any(|problem| problem.starts_with(&format!("/{path}"))), "{found:?}");
            }
            assert!(Conversion::parse(value.as_bytes(), "x").is_err());
        }
    }
    let nested = |depth: usize| parse(&format!(r#""custom":{}1{}"#, "[".repeat(depth), "]".repeat(depth)));
    assert!(nested(31).is_ok());
    assert!(nested(32).is_err());
}

#[test]
fn at_most_a_hundred_problems_are_listed_and_the_rest_counted() {
    let members: Vec<String> = (0..250).map(|n| format!("\"unknown{n}\":0")).collect();
    let found = problems(format!(r#"{{"time":"2026-05-26T12:34:56Z",{}}}"#, members.join(",")));
    assert_eq!(found.len(), PROBLEMS_MAX + 1);
    assert_eq!(found[PROBLEMS_MAX], ": and 150 more problems");
}

#[test]
fn a_pointer_does_not_repeat_a_key_of_absurd_length() {
    let found = problems(format!(r#"{{"time":"2026-05-26T12:34:56Z","{}":0}}"#, "k".repeat(1_000_000)));
    assert!(found.len() == 1 && found[0].len() < 300);
}

#[test]
fn what_is_no_json_is_malformed_and_what_is_no_object_is_invalid() {
    for body in ["", "  ", "{", "{\"time\":", "nope", "{\"a\":NaN}", "{\"a\":1}}", "{\"a\":1} {\"a\":1}", "\u{feff}{}"]
    {
        assert!(matches!(Conversion::parse(body.as_bytes(), "x"), Err(Refusal::Malformed(_))), "{body}");
    }
    assert!(matches!(Conversion::parse(b"{\"order_id\":\"\xff\"}", "x"), Err(Refusal::Malformed(_))));
    for body in ["null", "true", "12", "1.5", "\"text\"", "[]", "[{}]"] {
        assert_eq!(problems(body), [": must be one JSON object: a conversion"]);
    }
}

/// Whatever stands where, the value itself is never repeated, for refusals are logged and answered.
#[test]
fn a_refusal_never_repeats_a_value() {
    const SECRET: &str = "S3CRET";
    for field in SCHEMA {
        for value in [
            json!(SECRET),
            json!([SECRET]),
            json!({ "a": SECRET }),
            json!(format!("\u{1}{SECRET}")),
            json!(SECRET.repeat(900)),
        ] {
            let mut body = full();
            merge(&mut body, json!({ "kind": "adjustment" }));
            merge(&mut body, document(field.path, value));
            let result = Conversion::parse(body.to_string().as_bytes(), "generated");
            assert!(!format!("{:?}", result.err()).contains(SECRET), "{}", field.path);
        }
    }
    for body in
        ["{\"a\":\"S3CRET", "{\"a\":S3CRET}", "S3CRET", "{\"time\":\"S3CRET\\q\"}", "{\"a\":1}S3CRET", "{S3CRET:1}"]
    {
        let result = Conversion::parse(body.as_bytes(), "x");
        assert!(!format!("{result:?}").contains(SECRET), "{result:?}");
    }
}

#[test]
fn debug_output_names_fields_and_no_personal_data() {
    let text = format!("{:?}", Conversion::parse(full().to_string().as_bytes(), "generated").unwrap());
    assert!(text.contains("customer.email") && text.contains("items[].sku"));
    for value in ["jane", "203.0.113.9", "99.90", "clk_1", "1990"] {
        assert!(!text.contains(value), "{text}");
    }
}

#[test]
fn a_member_named_like_the_mark_of_a_number_is_a_member_like_any_other() {
    let conversion = accepted(r#""custom":{"$serde_json::private::Number":"12"}"#);
    let mark = Json::Object(vec![("$serde_json::private::Number".into(), Json::Text("12".into()))]);
    assert_eq!(conversion.custom(), Some(&mark));
    for path in ["value", "order_id", "customer", "items", "$serde_json::private::Number"] {
        let body = format!(r#"{{"time":"2026-05-26T12:34:56Z","{path}":{{"$serde_json::private::Number":"12"}}}}"#);
        assert!(problems(body)[0].starts_with(&format!("/{path}")));
    }
}

#[test]
fn the_digest_is_over_all_fields_sorted_by_path() {
    for generated in [false, true] {
        let mut body = full();
        if generated {
            body.as_object_mut().unwrap().remove("event_id");
        }
        let conversion = Conversion::parse(body.to_string().as_bytes(), "generated").unwrap();
        assert_eq!(conversion.event_id_given(), !generated);
        assert_eq!(conversion.content_digest(), digest_by_sorting(&conversion));
    }
}

/// A document out of known and unknown names and values of every type.
fn any_document() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        prop::sample::select(SCHEMA.iter().flat_map(|field| field.path.split(['.', '[', ']'])).collect::<Vec<_>>())
            .prop_map(str::to_owned),
        "[a-z_~/\u{e4}]{0,6}",
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,30}(\\.[0-9]{1,3})?",
        prop::sample::select(SCHEMA.iter().map(|field| example(field.kind).to_string()).collect::<Vec<_>>()),
        "\\PC{0,8}".prop_map(|text| json!(text).to_string()),
    ];
    let value = leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    let top = prop::sample::select(
        SCHEMA.iter().map(|field| field.path.split(['.', '[']).next().unwrap()).collect::<Vec<_>>(),
    );
    prop::collection::vec((top, value), 0..8).prop_map(|members| {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{\"time\":\"2026-05-26T12:34:56Z\",{}}}", members.join(",")).replace(",}", "}")
    })
}

proptest! {
    #[test]
    fn parsing_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
        drop(Conversion::parse(&bytes, "x"));
    }

    #[test]
    fn parsing_any_document_never_panics_and_says_something_when_it_refuses(body in any_document()) {
        if let Err(Refusal::Invalid(problems)) = Conversion::parse(body.as_bytes(), "x") {
            prop_assert!(!problems.is_empty() && problems.len() <= PROBLEMS_MAX + 1);
            for problem in problems {
                prop_assert!(problem.pointer.is_empty() || problem.pointer.starts_with('/'));
            }
        }
    }

    #[test]
    fn a_torn_document_is_never_accepted(at: prop::sample::Index) {
        let body = full().to_string();
        let at = at.index(body.len());
        prop_assert!(matches!(Conversion::parse(&body.as_bytes()[..at], "x"), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn parsing_twice_gives_the_same(body in any_document()) {
        let (first, second) = (Conversion::parse(body.as_bytes(), "x"), Conversion::parse(body.as_bytes(), "x"));
        prop_assert_eq!(&first, &second);
        if let (Ok(first), Ok(second)) = (first, second) {
            prop_assert_eq!(first.content_digest(), second.content_digest());
            prop_assert_eq!(first.content_digest(), digest_by_sorting(&first));
        }
    }
}
