//! Claims about the language as a whole: text in, value out.

mod amounts;
mod capabilities;
mod conditions;
mod filters;
mod functions;
mod knowledge;
mod properties;
mod total;

#[path = "../../tests/support/decimal.rs"]
mod decimal;
#[path = "../../tests/support/generate.rs"]
mod generate;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::conversion::{Conversion, ConversionId, Kind, Meta, SCHEMA};

fn text(value: &str) -> Text {
    Text { value: value.to_owned(), span: Span { file: FileId(0), range: 0..value.len() }, verbatim: true }
}

fn constants() -> Constants {
    let mut vars = BTreeMap::new();
    vars.insert("account".to_owned(), (VarType::Text, Some(Var::Text("a/12".to_owned()))));
    vars.insert("goal".to_owned(), (VarType::Int, Some(Var::Int(7))));
    vars.insert("unset".to_owned(), (VarType::Text, None));
    vars.insert("zone".to_owned(), (VarType::Text, Some(Var::Text("Europe/Berlin".to_owned()))));
    let mut secrets = BTreeMap::new();
    secrets.insert("token".to_owned(), Some(Secret::new("s3cret-token".to_owned())));
    secrets.insert("jefe".to_owned(), Some(Secret::new("Jefe".to_owned())));
    secrets.insert("unset".to_owned(), None);
    Constants { vars, secrets }
}

const PURCHASE: &str = r#"{
  "event_id": "e-1", "order_id": "o/1", "time": "2026-05-26T12:34:56.789+02:00", "value": 99.90, "currency": "EUR",
  "click_ids": {"thrad": "c-1"}, "status": "approved",
  "customer": {"email": " User@Example.com ", "phone": "+1 (415) 555-2671", "birthday": "1990-12-31",
               "email_sha256": "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514"},
  "device": {"user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36"},
  "page": {"url": "https://shop.example/thanks?ttclid=a%20b&x=1#top"},
  "order": {"gift": true, "shipping": "4.5"},
  "items": [{"sku": "A", "quantity": 2, "price": "10.00"}, {"quantity": 1, "price": 5}],
  "custom": {"n": 12.50, "s": "Text", "b": false, "o": {"k": [1, "two"]}, "empty": "", "nothing": null, "tags": ["a", "b"],
             "amount": "7.10", "when": "2026-01-02T03:04:05Z"}
}"#;

fn with_scope<T>(json: &str, run: impl FnOnce(Scope<'_>) -> T) -> T {
    let json = json.replace(" User@Example.com ", "User@Example.com");
    let conversion = Conversion::parse(json.as_bytes(), "generated").expect("a valid conversion");
    let id = ConversionId::new(1_780_000_000_000, [7; 10]);
    let meta = Meta::new(id, Arc::from("acme"), None, &conversion);
    run(Scope { conversion: &conversion, meta: &meta })
}

/// The value as it would be written: texts quoted, `-` when absent, `!` and the reason when it cannot be computed.
fn evaluate(expression: &str, secrets: Secrets) -> String {
    let expression = Expression::compile(&text(expression), &constants(), Place::Top)
        .unwrap_or_else(|faults| panic!("{expression}: {faults:#?}"));
    with_scope(PURCHASE, |scope| shown(&expression.eval(scope, None, secrets)))
}

fn shown(value: &Result<Option<Val<'_>>, EvalError>) -> String {
    match value.as_ref().map(|value| value.as_ref().map(|value| value.out().expect("it is settled"))) {
        Ok(None) => "-".to_owned(),
        Ok(Some(Out::Text(text))) => format!("'{text}'"),
        Ok(Some(Out::Number(number))) => number.to_owned(),
        Ok(Some(Out::Amount(amount))) => amount.to_string(),
        Ok(Some(Out::Int(int))) => int.to_string(),
        Ok(Some(Out::Bool(value))) => value.to_string(),
        Ok(Some(Out::Json(json))) => {
            let mut bytes = Vec::new();
            json.write(&mut bytes);
            String::from_utf8(bytes).expect("JSON is UTF-8")
        }
        Err(fault) => format!("! {fault}"),
    }
}

#[track_caller]
fn check(expression: &str, expected: &str) {
    assert_eq!(evaluate(expression, Secrets::Revealed), expected, "{expression}");
}

#[track_caller]
fn refused(expression: &str, message: &str) {
    refused_in(expression, Place::Top, message);
}

#[track_caller]
fn refused_in(expression: &str, place: Place, message: &str) {
    let faults = Expression::compile(&text(expression), &constants(), place).expect_err("it is refused");
    assert_named(expression, &faults, message);
}

#[track_caller]
fn assert_named(source: &str, faults: &[Fault], message: &str) {
    let all: Vec<String> = faults
        .iter()
        .map(|fault| {
            let at = source.get(fault.span.range.clone()).unwrap_or("?");
            format!(
                "{at}: {}{}",
                fault.message,
                fault.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default()
            )
        })
        .collect();
    assert!(all.join("\n").contains(message), "{source}\n{}", all.join("\n"));
}

#[test]
fn paths_yield_their_values() {
    check("order_id", "'o/1'");
    check("value", "99.90");
    check("order.shipping", "4.5");
    check("order.gift", "true");
    check("time", "'2026-05-26T12:34:56.789+02:00'");
    check("customer.birthday", "'1990-12-31'");
    check("click_ids.thrad", "'c-1'");
    check("click_ids.impact", "-");
    check("test", "false");
    check("meta.merchant", "'acme'");
    check("meta.idempotency_key", "-");
    check("vars.goal", "7");
    check("vars.unset", "-");
    check("custom.n", "12.50");
    check("custom.b", "false");
    check("custom.o", r#"{"k":[1,"two"]}"#);
    check("custom.o.k[1]", "'two'");
    check("custom['o'].k[7]", "-");
    check("custom.empty", "-");
    check("custom.nothing", "-");
    check("items[].sku", r#"["A"]"#);
}

#[test]
fn literals_keep_their_type_and_their_text() {
    check("'web'", "'web'");
    check("'it''s'", "'it's'");
    check("12", "12");
    check("3.50", "3.50");
    check("-1", "-1");
    check("true", "true");
    check("['a', 'b']", r#"["a","b"]"#);
    check("{a: 'b', 'c d': 1.0}", r#"{"a":"b","c d":1.0}"#);
}

#[test]
fn the_first_that_is_present_counts() {
    check("reason ?? order_id ?? 'none'", "'o/1'");
    check("custom.empty ?? custom.nothing ?? 'none'", "'none'");
    check("vars.unset ?? secrets.unset ?? vars.account", "'a/12'");
    check("order.tax ?? 0", "0");
    check("reason | default('none')", "'none'");
    check("reason | default(vars.unset)", "-");
    check("concat(order_id, ':', reason)", "-");
    check("concat(order_id, ':', value | string)", "'o/1:99.90'");
}

#[test]
fn text_filters() {
    check("customer.email | lower", "'user@example.com'");
    check("'  x ' | trim", "'x'");
    check("'   ' | trim", "-");
    check("'straße' | upper", "'STRASSE'");
    check("customer.phone | digits", "'14155552671'");
    check("customer.phone | e164", "'+14155552671'");
    check("'+49 (0)30 901820' | e164", "'+4930901820'");
    check("custom.s | e164", "! no international phone number: `+`, a country code, 7 to 15 digits in all");
    check("' Jo.Hn+x@GMail.com' | email_canonical", "'john@gmail.com'");
    check("'Jo.Hn+x@example.com' | email_canonical", "'jo.hn+x@example.com'");
    check("'äöü' | truncate(2)", "'äö'");
    check("'ab' | truncate(0)", "-");
    check("order_id | prefix('x-') | suffix('-y')", "'x-o/1-y'");
    check("'a-b-c' | replace('-', '')", "'abc'");
    check("order_id | suffix(vars.unset)", "-");
    check("page.url | url_param('ttclid')", "'a b'");
    check("page.url | url_param('top')", "-");
    check("device.user_agent | ua_browser", "'Chrome'");
    check("device.user_agent | ua_os", "'Mac OS X'");
    check("order_id | ua_os", "-");
}

#[test]
fn digests_are_lower_case_hex_of_the_text() {
    let sha256 = "'b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514'";
    check("customer.email | trim | lower | sha1", "'63a710569261a24b3766275b7000ce8d7b32e2f7'");
    check("customer.email | lower | sha256", sha256);
    check("customer.email_sha256 ?? (customer.email | trim | lower | sha256)", sha256);
    check("'abc' | md5", "'900150983cd24fb0d6963f7d28e17f72'");
    check("'abc' | sha256('base64')", "'ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='");
    check("'abc' | sha512 | truncate(12)", "'ddaf35a19361'");
    // RFC 4231, test case 2.
    let hmac = "'5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'";
    check("'what do ya want for nothing?' | hmac_sha256(secrets.jefe)", hmac);
    check("'hé' | hex", "'68c3a9'");
    check("'hé' | base64", "'aMOp'");
}

#[test]
fn money_stays_exact() {
    check("value | string", "'99.90'");
    check("value | decimal(1)", "99.9");
    check("value | decimal(4)", "99.9000");
    check("custom.n | decimal(0)", "13");
    check("value | decimal_max(1)", "99.9");
    check("value | decimal_max(2)", "99.90");
    check("value | decimal_max(4)", "99.90");
    check("value | mul(1.005) | decimal_max(3)", "100.400");
    check("value | mul(-1.00005) | decimal_max(4)", "-99.9050");
    check("custom.n | decimal_max(0)", "13");
    check("value | minor_units", "9990");
    check("value | negate | minor_units | string", "'-9990'");
    check("value | micros", "99900000");
    check("value | mul(100) | decimal(0) | int", "9990");
    check("value | decimal(0)", "100");
    check("value | decimal_max(0) | negate | default(1) | int", "-100");
    check("value | mul(0.1)", "9.990");
    check("custom.n | int", "! no whole number of at most 18 digits");
    check("value | mul(0.0001) | minor_units", "! the amount has a part below the currency's smallest unit");
    check("(value ?? 0) | minor_units", "9990");
    check("custom.amount | number", "7.10");
    check("custom.amount | negate", "! a number of at most 28 digits is needed here");
    check("'12.00' | int", "12");
    check("value | mul(9999999999999999999999999999)", "! the result has more than 28 digits");
}

#[test]
fn times_and_dates() {
    check("time | rfc3339", "'2026-05-26T10:34:56.789Z'");
    check("time | rfc3339(0)", "'2026-05-26T10:34:56Z'");
    check("time | rfc3339(6)", "'2026-05-26T10:34:56.789000Z'");
    check("time | unix", "1779791696");
    check("time | unix_ms", "1779791696789");
    check("time | unix_us | string", "'1779791696789000'");
    check("time | strftime('%Y-%m-%d %H:%M:%S')", "'2026-05-26 10:34:56'");
    check("time | strftime('%F %T%:z', vars.zone)", "'2026-05-26 12:34:56+02:00'");
    check("time | strftime('%H', vars.unset)", "'10'");
    check("customer.birthday | strftime('%d.%m.%Y')", "'31.12.1990'");
    check("custom.when | unix", "1767323045");
    check("custom.s | unix", "! a time of RFC 3339 with an offset is needed here");
    check("meta.received_at | unix", "1780000000");
}

#[test]
fn lookups_and_spellings() {
    check("event_type | lookup({purchase_completed: 'Purchase', lead_created: 'Lead'})", "'Purchase'");
    check("event_type | lookup({lead_created: 'Lead'}) ?? 'Other'", "'Other'");
    check("vars.goal | lookup({7: 'seven'})", "'seven'");
    check("status | lookup({approved: 1, rejected: 0})", "1");
    check("order.gift | bool('yes', 'no')", "'yes'");
    check("test | bool(1, 0)", "0");
    check("test | bool('1', '')", "-");
    check("custom.b | bool('yes', 'no')", "'no'");
    check("custom.s | bool('yes', 'no')", "! true or false is needed here");
}

#[test]
fn lists_keep_their_places() {
    check("items[].sku | join('|', 'keep')", "'A|'");
    check("items[].sku | default('none') | lower | join('|')", "'a|none'");
    check("items[].price | minor_units | string | join(',')", "'1000,500'");
    check("items[].name | join('|')", "-");
    check("items[].quantity", "[2,1]");
    check("custom.tags | join(' ')", "'a b'");
    check("custom.o | json", r#"'{"k":[1,"two"]}'"#);
    check("items[].sku | json", r#"'["A"]'"#);
    check("custom.o | lower", "! a text is needed here, and this is a list or an object");
    check("custom.n | lower", "! a text is needed here, and this is a number");
    check("custom.n | string | lower", "'12.50'");
}

#[test]
fn secrets_are_masked_with_all_that_is_made_of_them() {
    check("secrets.token", "'s3cret-token'");
    let masked = |expression: &str| evaluate(expression, Secrets::Masked);
    assert_eq!(masked("secrets.token"), "'***'");
    assert_eq!(masked("secrets.token | prefix('Bearer ')"), "'Bearer ***'");
    assert_eq!(masked("concat('key=', secrets.token)"), "'key=***'");
    assert_eq!(masked("concat('a', secrets.token) | base64"), "'***'");
    assert_eq!(masked("order_id | hmac_sha256(secrets.token)"), "'***'");
    assert_eq!(masked("order_id | replace('o', secrets.token)"), "'***'");
    // What is left out is left out under the mask too, with all that depends on it.
    assert_eq!(masked("secrets.token | substring(12, 0)"), "-");
    assert_eq!(masked("concat(secrets.token | substring(12, 0), '-', (custom.o | trim))"), "-");
    let compiled = Expression::compile(&text("concat(secrets.token, 'x') | sha256"), &constants(), Place::Top);
    assert!(!format!("{compiled:?}").contains("s3cret"));
}

#[test]
fn what_an_expression_needs_is_known_at_load() {
    let compile = |source: &str| Expression::compile(&text(source), &constants(), Place::Item).expect("it is right");
    assert!(compile("order_id !").is_required());
    assert!(!compile("order_id").is_required());
    assert!(compile("concat('a', vars.account, secrets.token)").is_literal());
    assert!(!compile("vars.account ?? order_id").reads_items());
    assert!(compile("item.sku ?? item.custom.sku").reads_items());
    assert!(!compile("items[].sku | join(',')").reads_items());
    assert_eq!(compile("vars.unset ?? secrets.unset !").lacks(), Some("vars.unset"));
    assert_eq!(compile("vars.unset ?? order_id !").lacks(), None);
    assert_eq!(compile("reason !").lacks(), None);
    assert_eq!(compile("value | string").out_type(), OutType::Text);
    assert_eq!(compile("value ?? 0").out_type(), OutType::Number);
    assert_eq!(compile("custom.x ?? 'web'").out_type(), OutType::Json);
    assert_eq!(compile("time").out_type(), OutType::Text);
    assert_eq!(compile("items[].sku").out_type(), OutType::Json);
}

#[test]
fn items_are_read_one_by_one() {
    let expression = Expression::compile(&text("item.price | minor_units"), &constants(), Place::Item).expect("right");
    let prices = with_scope(PURCHASE, |scope| {
        let items = scope.conversion.items().iter();
        items.map(|item| shown(&expression.eval(scope, Some(item), Secrets::Masked))).collect::<Vec<_>>()
    });
    assert_eq!(prices, ["1000", "500"]);
    refused("item.sku", "there is no one item here");
}

#[test]
fn faults_say_what_would_be_right() {
    refused("custmer.email", "did you mean `customer.email`?");
    refused("vars.acount", "did you mean `vars.account`?");
    refused("secrets.tokn", "did you mean `secrets.token`?");
    refused("meta.merchnt", "did you mean `meta.merchant`?");
    refused("order_id | uper", "uper: there is no filter `uper` (did you mean `upper`?)");
    refused("value | lower", "lower: `lower` takes text, and this is money (put `| string` before it)");
    refused("time | lower", "`| rfc3339`");
    refused("order_id | minor_units", "`minor_units` takes money, and this is text");
    refused("custom.n | minor_units", "`minor_units` takes money, and this is free JSON");
    refused("value | int", "`int` takes what has no decimals, and an amount may have some (`| minor_units` counts");
    refused("(order.subtotal ?? value) | mul(100) | int", "`int` takes what has no decimals");
    refused("value | string | int", "`int` takes what has no decimals");
    refused("value | decimal(0) | mul(0.5) | int", "`int` takes what has no decimals");
    refused("each(item.price | int)", "`int` takes what has no decimals");
    refused("sum(value, 1) | int", "`int` takes what has no decimals");
    refused("customer.email_sha256 | sha256", "never hash twice");
    refused("customer.email | sha256 | lower | sha1", "never hash twice");
    refused("(customer.email_sha256 ?? customer.email) | sha256", "never hash twice");
    refused("customer.email | sha256 | base64", "sha256('base64')");
    refused("order_id ?? value", "value: the alternatives of `??` are of one kind; this is money, before it is text");
    refused("order_id | default(1)", "`default` gives one or the other");
    refused("order.gift | bool('yes', 1)", "`bool` gives one or the other");
    refused("status | lookup({aproved: 1})", "aproved: this is one of pending, approved, rejected, hold");
    refused("event_type | lookup({a: 'x', a: 'y'})", "a: this key stands here twice");
    refused("event_type | lookup({a: 'x', b: 1})", "the values of a map are all texts");
    refused("time | strftime('%Y-%')", "'%Y-%': no format for a time");
    refused("time | strftime('%F', 'Europe/Berlln')", "did you mean `Europe/Berlin`?");
    refused("customer.birthday | strftime('%H')", "a date has no time of day");
    refused("order_id | hmac_sha256('key')", "a key does not stand in a mapping");
    refused("order_id | truncate(order_id)", "it is known before a conversion is");
    refused("order_id | truncate", "the arguments are `truncate(n)`");
    refused("order_id | lower(1)", "`lower` has no arguments");
    refused("value | decimal(99)", "a whole number from 0 to 18");
    refused("'abc' | int", "this can never be computed");
    refused("''", "an empty text is no value");
    refused("'a' ?? order_id", "a literal is always there");
    refused("order_id == 'x'", "a value belongs here");
    refused("concat(order_id, value)", "value: concat joins texts, and this is money (put `| string` after it)");
    refused("items[].sku | lower | minor_units", "minor_units");
    refused("order_id | url_param(secrets.token)", "a text that is no secret");
}

#[test]
fn a_fault_does_not_hide_the_next() {
    let source = "concat(custmer.email, order_id | uper, value) ?? vars.nothing";
    let faults = Expression::compile(&text(source), &constants(), Place::Top).expect_err("it is wrong");
    let at: Vec<&str> = faults.iter().map(|fault| source.get(fault.span.range.clone()).unwrap_or("?")).collect();
    assert_eq!(at, ["custmer.email", "uper", "value", "vars.nothing"]);
    let source = "a | | b ?? # 'x";
    let faults = Expression::compile(&text(source), &constants(), Place::Top).expect_err("it is wrong");
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn one_slip_is_one_fault() {
    for source in [
        "order_id & reason",
        "order_id + reason",
        "value ? order_id : reason",
        "{reason}",
        "{{ reason }}",
        "concat('a, order_id)",
        "order_id ?? \"x\"",
        "reason || 'x'",
        "items[0].sku",
    ] {
        let faults = Expression::compile(&text(source), &constants(), Place::Top).expect_err("it is wrong");
        assert_eq!(faults.len(), 1, "{source}: {faults:?}");
    }
}

#[test]
fn syntax_faults_stand_where_they_are() {
    refused("order_id ! ?? reason", "!");
    refused("concat(order_id !, 'x')", "!: `!` stands at the end of the whole value");
    refused("order_id | ", "after `|` comes a filter's name");
    refused("concat(order_id", "`)` is missing here");
    refused("order_id)", "`)` closes nothing");
    refused("order_id reason", "reason: a path is not expected here");
    refused("\"x\"", "single quotes");
    refused("'x", "no closing quote");
    refused("", "an expression is missing here");
    refused("upper(order_id)", "a filter follows its input");
    refused("summ(value, value)", "did you mean `sum`?");
    refused("sum(value)", "sum takes at least two numbers: sum(a, b)");
    refused("difference(value, value, value)", "difference takes two numbers: difference(a, b)");
    refused("concat()", "concat takes at least one part: concat(a, b)");
    refused("007", "this is no number");
    refused(&format!("{}order_id{}", "(".repeat(100), ")".repeat(100)), "nested more than 32 deep");
    refused(&format!("'{}'", "x".repeat(20_000)), "an expression has at most 16384 bytes");
}

#[test]
fn a_span_lies_in_the_file() {
    let source =
        Text { value: "order_id | uper".to_owned(), span: Span { file: FileId(3), range: 100..115 }, verbatim: true };
    let faults = Expression::compile(&source, &constants(), Place::Top).expect_err("it is wrong");
    assert_eq!(faults[0].span, Span { file: FileId(3), range: 111..115 });
    let escaped = Text { verbatim: false, ..source };
    let faults = Expression::compile(&escaped, &constants(), Place::Top).expect_err("it is wrong");
    assert_eq!(faults[0].span.range, 100..115);
}

#[test]
fn every_filter_is_listed_with_its_signature() {
    let all: Vec<String> = filters().map(|filter| filter.signature).collect();
    assert!(all.contains(&"text | truncate(n) → text".to_owned()), "{all:#?}");
    assert!(all.contains(&"a timestamp or a date | strftime(format[, zone]) → text".to_owned()), "{all:#?}");
    assert!(all.contains(&"money | minor_units(['omit']) → a whole number".to_owned()), "{all:#?}");
    let readme = include_str!("../../README.md");
    let promised = readme.split_once("Filters: `").and_then(|(_, rest)| rest.split_once('`')).expect("the list").0;
    let names: Vec<&str> = filters().map(|filter| filter.name).collect();
    assert_eq!(names, promised.split_whitespace().collect::<Vec<_>>());
}
