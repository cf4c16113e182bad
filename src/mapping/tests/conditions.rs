//! Claims about conditions, answers and texts with expressions in them.

use super::*;

#[track_caller]
fn holds(condition: &str, expected: bool) {
    let compiled = Condition::compile(&text(condition), &constants()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(with_scope(PURCHASE, |scope| compiled.holds(scope)), expected, "{condition}");
}

#[test]
fn conditions_over_a_conversion() {
    holds("event_type == 'purchase_completed' && consent.tracking != false", true);
    holds("consent.tracking == false", false);
    holds("consent.tracking", false);
    holds("!consent.tracking", true);
    holds("order.gift", true);
    holds("test", false);
    holds("custom.b", false);
    holds("custom.n", true);
    holds("custom.n == 12.5", true);
    holds("custom.n == '12.5'", false);
    holds("value > 99 && value <= 99.9", true);
    holds("value < custom.n", false);
    holds("kind in ['conversion', 'refund']", true);
    holds("!(kind in ['refund'])", true);
    holds("'a' in custom.tags", true);
    holds("'A' in items[].sku", true);
    holds("time >= '2026-05-26T10:34:56Z' && time < '2026-05-26T10:34:57Z'", true);
    holds("customer.birthday < '2008-01-01'", true);
    holds("contains(page.url, '/thanks')", true);
    holds("(reason ?? order_id) == 'o/1'", true);
    holds("customer.email | lower == 'user@example.com'", true);
    holds("status == 'hold' || status == 'approved' && test", false);
    holds("(status == 'hold' || status == 'approved') && !test", true);
    holds("vars.unset == 'x'", false);
    holds("custom.s | unix > 1", false);
    holds("true", true);
    holds("matches(page.url, '^https://[a-z.]+/thanks')", true);
    holds("matches(order_id, '^[0-9]+$')", false);
    holds("!matches(reason, '.')", true);
    holds("matches(custom.s, '(?i)^text$')", true);
    holds("matches(custom.n, '1')", false);
    holds("20 in each(product(item.price, item.quantity))", true);
    holds("(each(product(item.price, item.quantity)) | total) == 25", true);
    holds("sum(value, 0.10) == 100", true);
}

#[test]
fn a_condition_that_fails_says_which_part_of_it_and_no_value() {
    #[track_caller]
    fn check(condition: &str, expected: Option<&str>) {
        let compiled =
            Condition::compile(&text(condition), &constants()).unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert_eq!(with_scope(PURCHASE, |scope| compiled.unmet(scope).map(str::to_owned)).as_deref(), expected);
    }
    check("value && event_type == 'purchase_completed'", None);
    check("value && click_ids.nobody && reason", Some("click_ids.nobody is absent"));
    check("value && (time && (order_id && reason))", Some("reason is absent"));
    check("value&&event_type=='lead_created'", Some("event_type == 'lead_created' does not hold"));
    check("test", Some("test is absent or false"));
    check("custom.nothing", Some("custom.nothing is absent or false"));
    check("vars.unset", Some("vars.unset is not set"));
    check("!order_id", Some("order_id is present"));
    check("!order.gift", Some("order.gift is true"));
    check("!(order_id || reason)", Some("!(order_id || reason) does not hold"));
    check("reason || click_ids.nobody", Some("none of reason, click_ids.nobody is present"));
    // `custom.b` is there, and false.
    let false_too = "none of reason, custom.b, custom.nothing is present and not false";
    check("reason || custom.b || custom.nothing", Some(false_too));
    check("reason || test", Some("none of reason, test is present and not false"));
    check("!custom.n", Some("custom.n is present and not false"));
    check("!order_id && reason", Some("order_id is present"));
    check("reason || status == 'hold'", Some("(reason || status == 'hold') does not hold"));
    check("(reason ?? notes.public)", Some("reason ?? notes.public does not hold"));
    check("value > 1000 && value", Some("value > 1000 does not hold"));
}

#[test]
fn faults_of_conditions() {
    let refused = |source: &str, message: &str| {
        let faults = Condition::compile(&text(source), &constants()).expect_err("it is refused");
        assert_named(source, &faults, message);
    };
    refused("kind == 'refnd'", "refnd` (did you mean `refund`?)");
    refused("kind in ['refund', 'adjustmnt']", "did you mean `adjustment`?");
    refused("currency == 'eur'", "`currency` is never this: it must be an ISO 4217 code in upper case, such as EUR");
    refused("currency in ['EUR', 'usd']", "`currency` is never this");
    refused("customer.country != 'Germany'", "`customer.country` is never this: it must be an ISO 3166 code");
    refused("customer.email_sha256 == 'jane@example.com'", "is never this: it must be a digest of 64 lower-case");
    refused("(currency | lookup({eur: 'x'})) == 'x'", "`currency` is never this");
    refused("value == '1'", "money is never equal to text");
    refused("order_id < 'x'", "texts are equal or not");
    refused("time > 'yesterday'", "what a timestamp is compared with must be an RFC 3339 time");
    refused("!order_id == 'x'", "what does `!` negate here?");
    refused("1 < value < 2", "comparisons do not chain");
    refused("order_id = 'x'", "equality is `==`");
    refused("order_id == ''", "an empty text is no value");
    refused("secrets.token == 'x'", "a condition does not read secrets");
    refused("item.sku == 'x'", "there is no one item here");
    refused("kind in 'refund'", "after `in` comes a list");
    refused("'x'", "a literal is no condition");
    refused("items[].sku == 'x'", "write 'x' in items[].sku");
    refused("matches(order_id, 'a(')", "'a(': no regular expression: unclosed group");
    refused("matches(order_id, reason)", "the pattern of `matches` is a text, written out");
    refused("matches(value, '1')", "value: matches takes texts, and this is money");
    refused("contains(value, '1')", "value: contains takes texts, and this is money");
    refused("matches(order_id)", "matches takes a text and a pattern: matches(body, '^OK')");
    refused("test and order.gift", "and: a word means nothing here: the signs are `&&`, `||`, `!`, `==` (write `&&`)");
    refused("test OR order.gift", "write `||`");
    refused("(test or order.gift) && test", "write `||`");
    refused("not test", "not: a word means nothing here");
    refused("test && not order.gift", "write `!`");
    refused("kind is 'refund'", "write `==`");
    refused("reason == null", "null is no value");
    refused("reason != null", "and `!a` where it has none");
    refused("status == 200", "text is never equal to a whole number");
}

pub(super) fn answer(status: u16, body: &str) -> Answer {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-request-id", http::HeaderValue::from_static("r-1"));
    Answer::new(http::StatusCode::from_u16(status).expect("a status"), headers, body.to_owned().into())
}

#[test]
fn predicates_over_an_answer() {
    let check = |predicate: &str, body: &str, expected: bool| {
        let compiled = AnswerCondition::compile(&text(predicate)).unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert_eq!(compiled.holds(&answer(200, body)), expected, "{predicate} over {body}");
    };
    check("status == 200 && body.ok == true", r#"{"ok":true}"#, true);
    check("status == 200 && body.ok == true", r#"{"ok":"true"}"#, false);
    check("status >= 200 && status < 300", "", true);
    check("body.status in ['ok', 'duplicate']", r#"{"Status":"duplicate"}"#, true);
    check("body.Status == 'ERROR'", r#"{"status":"ERROR"}"#, true);
    check("body.errors[0].field == 'x'", r#"{"Errors":[{"Field":"x"}]}"#, true);
    check("body[0] == 1", "[1]", true);
    check("body.code == 0 || body.code == 20001", r#"{"code":0}"#, true);
    check("body.status != 'ok'", "<html>", false);
    check("body.status != 'ok'", r#"{"status":"error"}"#, true);
    check("!(body.status == 'ok')", "<html>", true);
    check("contains(body | lower, 'already exists')", "The conversion Already Exists.", true);
    check("contains(body, 'Multiple Conversions')", "", false);
    check("contains(body.message, 'exists')", r#"{"message":"exists"}"#, true);
    check("header.X-Request-Id == 'r-1'", "", true);
    check("header.X-Other", "", false);
    check("header.x-request-id | int > 3", "", false);
    check("body.a.b.c", r#"{"a":[]}"#, false);
    check("body.time | unix > 5", r#"{"time":"x"}"#, false);
    let reads_body = |source| AnswerCondition::compile(&text(source)).expect("it is right").reads_body();
    assert!(reads_body("status == 200 && body.ok"));
    assert!(reads_body("contains(body, 'x')"));
    assert!(!reads_body("status == 200 && header.x-a == 'b'"));
    let faults = AnswerCondition::compile(&text("staus == 200 && order_id == 'x'")).expect_err("it is wrong");
    assert_eq!(faults.len(), 2);
    assert_eq!(faults[0].help.as_deref(), Some("did you mean `status`?"));
}

#[test]
fn captures_show_what_the_answer_has() {
    let take =
        |source: &str, body: &str| Capture::compile(&text(source)).expect("it is right").take(&answer(200, body));
    assert_eq!(take("body.Info.lead_id", r#"{"info":{"lead_id":12.50}}"#).as_deref(), Some("12.50"));
    assert_eq!(take("body.info", r#"{"info":{"a":[1]}}"#).as_deref(), Some(r#"{"a":[1]}"#));
    assert_eq!(take("header.x-request-id", "").as_deref(), Some("r-1"));
    assert_eq!(take("status", "").as_deref(), Some("200"));
    assert_eq!(take("body.id", "not JSON"), None);
    assert_eq!(take("body | extract('id=([0-9]+)')", "OK id=42;").as_deref(), Some("42"));
    assert_eq!(take("body | extract('<Id>(.*?)</Id>')", "<R><Id>A-1</Id></R>").as_deref(), Some("A-1"));
    assert_eq!(take("body.id ?? (body | extract('id=([0-9]+)'))", "ERR").as_deref(), None);
    assert_eq!(take("body", &"ä".repeat(5000)).map(|text| text.chars().count()), Some(CAPTURE_CHARS_MAX));
}

#[track_caller]
fn interpolated(source: &str, escape: Escape, secrets: Secrets) -> String {
    let compiled =
        Interpolation::compile(&text(source), &constants(), escape).unwrap_or_else(|faults| panic!("{faults:#?}"));
    match with_scope(PURCHASE, |scope| compiled.eval(scope, secrets)) {
        Ok(Some(text)) => text,
        Ok(None) => "-".to_owned(),
        Err(fault) => format!("! {fault}"),
    }
}

#[test]
fn interpolation_keeps_values_in_their_place() {
    let url = |source: &str| interpolated(source, Escape::UrlPath, Secrets::Revealed);
    assert_eq!(url("https://px/{vars.account}/x"), "https://px/a%2F12/x");
    assert_eq!(url("{vars.account}/x/{vars.account}"), "a/12/x/a%2F12");
    assert_eq!(url("https://px/{order_id | upper}?v={value}&g={order.gift}"), "https://px/O%2F1?v=99.90&g=true");
    assert_eq!(url("https://px/{'..'}"), "! `.` and `..` cannot be a part of a URL");
    assert_eq!(url("https://px/{kind | lookup({conversion: '}x{'})}"), "https://px/%7Dx%7B");
    assert_eq!(url("https://px/{reason}"), "-");
    assert_eq!(url("https://px/{{x}}"), "https://px/{x}");
    assert_eq!(url("https://px/"), "https://px/");
    assert_eq!(url("https://px/{secrets.token}"), "https://px/s3cret-token");
    assert_eq!(interpolated("{secrets.token}/x?k={secrets.token}", Escape::UrlPath, Secrets::Masked), "***/x?k=***");
    let header = |source: &str| interpolated(source, Escape::HeaderValue, Secrets::Revealed);
    assert_eq!(header("Bearer {secrets.token}"), "Bearer s3cret-token");
    assert_eq!(header("{custom.o | json}"), r#"{"k":[1,"two"]}"#);
    assert_eq!(header("{custom.o}"), "! one value is needed here, and this is a list or an object");
    assert_eq!(header("{'a\nb'}"), "! a control character cannot stand in a header");
    let faults = |source: &str| Interpolation::compile(&text(source), &constants(), Escape::None).expect_err("wrong");
    assert_named("a {vars.acount} b {order_id | uper}", &faults("a {vars.acount} b {order_id | uper}"), "uper: ");
    assert_named("x } y", &faults("x } y"), "closes nothing");
    assert_named("x { y", &faults("x { y"), "never ends");
    assert_named("x {} y", &faults("x {} y"), "an expression is missing here");
    let constant = Interpolation::compile(&text("{vars.account}!"), &constants(), Escape::None).expect("right");
    assert_eq!(constant.constant(Secrets::Masked), Some(Ok(Some("a/12!".to_owned()))));
    let unset = Interpolation::compile(&text("x{secrets.unset}"), &constants(), Escape::None).expect("right");
    assert_eq!(unset.lacks(), Some("secrets.unset"));
}
