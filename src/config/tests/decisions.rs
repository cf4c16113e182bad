//! What a conversion is owed: the order in which destinations are asked, and the reasons.

use super::*;
use crate::conversion::{Conversion, ConversionId, Meta};

/// The decision, in words, of a destination with these further keys over a conversion with these further members.
#[track_caller]
fn check(keys: &str, members: &str, expected: &str) {
    let config = right(&with(&format!("{PARTNER}{keys}\n")));
    let (conversion, meta) = conversion(members);
    let decision = config.destinations[0].decide(Scope { conversion: &conversion, meta: &meta });
    assert_eq!(words(&decision), expected, "{keys} / {members}");
}

fn words(decision: &Decision<'_>) -> String {
    match decision {
        Decision::Send(operation) => format!("send {}", operation.name),
        Decision::Skipped(reason) => format!("skipped: {reason}"),
        Decision::Withheld(reason) => format!("withheld: {reason}"),
        Decision::Unsupported(reason) => format!("unsupported: {reason}"),
    }
}

fn conversion(members: &str) -> (Conversion, Meta) {
    let body = format!(r#"{{"time": "2026-11-21T10:00:00Z", "order_id": "o-1"{members}}}"#);
    let conversion = Conversion::parse(body.as_bytes(), "generated").unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let meta = Meta::new(ConversionId::new(0, [0; 10]), "acme".into(), None, &conversion);
    (conversion, meta)
}

const REFUND: &str = r#", "kind": "refund""#;

#[test]
fn a_kind_without_an_operation_is_unsupported_before_anything_else_is_asked() {
    check("", "", "send conversion");
    check("", REFUND, "unsupported: no operation for a conversion of kind refund");
    let refused = format!(r#"{REFUND}, "consent": {{"tracking": false}}"#);
    check("", &refused, "unsupported: no operation for a conversion of kind refund");
    let refund = "[destination.partner.operation.refund]\nurl = \"https://px.example.com/r\"\nmethod = \"DELETE\"\nmap.order = \"order_id\"";
    check(refund, REFUND, "send refund");
    check(refund, "", "send conversion");
    check(
        refund,
        r#", "kind": "adjustment", "value": 1, "currency": "EUR""#,
        "unsupported: no operation for a conversion of kind adjustment",
    );
}

#[test]
fn a_destination_of_named_operations_only_takes_what_they_take() {
    let text =
        with("[destination.partner.operation.refund]\nurl = \"https://px.example.com/r\"\nmap.order = \"order_id\"\n");
    let config = right(&text);
    let (sale, meta) = conversion("");
    let decision = config.destinations[0].decide(Scope { conversion: &sale, meta: &meta });
    assert_eq!(words(&decision), "skipped: no operation for a conversion of kind conversion");
}

#[test]
fn ga4_takes_a_purchase_and_any_other_event_by_calls_of_their_own() {
    let ga4 =
        "[destination.ga4]\npreset = \"ga4\"\nvars.measurement_id = \"G-1\"\nsecrets.api_secret = \"${env:TOKEN}\"\n";
    let config = right(&with(ga4));
    let decided = |members: &str| {
        let members = format!(r#", "session": {{"client_id": "1.2"}}{members}"#);
        let (conversion, meta) = conversion(&members);
        words(&config.destinations[0].decide(Scope { conversion: &conversion, meta: &meta }))
    };
    let purchase = r#", "event_type": "purchase_completed""#;
    assert_eq!(decided(&format!(r#"{purchase}, "value": 1, "currency": "EUR""#)), "send conversion");
    assert!(decided(purchase).starts_with("skipped: "), "a purchase has a value");
    for other in ["lead_created", "signup", "quote"] {
        assert_eq!(decided(&format!(r#", "event_type": "{other}""#)), "send event");
    }
    assert!(decided(r#", "event_type": "session_start""#).starts_with("skipped: "), "a name of Google's own");
}

#[test]
fn a_refused_consent_withholds_unless_the_destination_says_otherwise() {
    let refused = r#", "consent": {"tracking": false}"#;
    check("", refused, "withheld: consent.tracking is false");
    check("consent = \"carry\"", refused, "send conversion");
    check("consent = \"ignore\"", refused, "send conversion");
    check("", r#", "consent": {"tracking": true}"#, "send conversion");
    check("", r#", "consent": {"ad_user_data": false}"#, "send conversion");
    check("", &format!(r#"{refused}, "test": true"#), "withheld: consent.tracking is false");
}

#[test]
fn a_test_conversion_goes_only_where_there_is_a_switch_for_it() {
    check("", r#", "test": true"#, "skipped: a test conversion, and this destination has no test switch");
    check("test = \"carry\"", r#", "test": true"#, "send conversion");
}

#[test]
fn an_operation_without_a_switch_skips_test_conversions_beside_one_that_has_it() {
    let refund = "[destination.partner.operation.refund]\nurl = \"https://px.example.com/r\"\nmap.id = \"order_id\"\n";
    let (sale, back) = (r#", "test": true"#, format!(r#"{REFUND}, "test": true"#));
    let no_switch = |name: &str| format!("skipped: a test conversion, and operation {name} has no test switch");
    let own = format!("test = \"carry\"\n{refund}test = \"skip\"");
    check(&own, sale, "send conversion");
    check(&own, &back, &no_switch("refund"));
    check(&own, REFUND, "send refund");
    check(&format!("test = \"carry\"\n{refund}"), &back, "send refund");
    let other = format!("{refund}test = \"carry\"");
    check(&other, sale, &no_switch("conversion"));
    check(&other, &back, "send refund");
    // Nothing of a test is refunded, so nothing is lacking either.
    let trackdesk =
        "[destination.trackdesk]\npreset = \"trackdesk\"\nvars.tenant = \"t\"\nvars.conversion_type = \"sale\"\n";
    let config = right(&with(trackdesk));
    let decided = |members: &str| {
        let (conversion, meta) = conversion(members);
        words(&config.destinations[0].decide(Scope { conversion: &conversion, meta: &meta }))
    };
    assert_eq!(decided(&back), no_switch("refund"));
    assert_eq!(decided(REFUND), "unsupported: operation refund needs secrets.api_key, which is not set");
    assert_eq!(decided(&format!(r#"{sale}, "click_ids": {{"trackdesk": "c"}}"#)), "send conversion");
}

#[test]
fn another_currency_than_expected_is_skipped() {
    let euro = "expect_currency = \"EUR\"";
    check(euro, r#", "value": 1, "currency": "EUR""#, "send conversion");
    check(euro, r#", "value": 1, "currency": "USD""#, "skipped: currency is USD, and expect_currency is EUR");
    check(euro, "", "send conversion");
}

#[test]
fn a_refund_of_the_sale_of_a_click_names_its_currency_where_one_is_expected() {
    let named = |id: &str| {
        format!("[destination.partner.operation.refund]\nurl = \"https://px.example.com/r\"\nmap.id = \"{id}\"\n")
    };
    let euro = |id: &str| format!("expect_currency = \"EUR\"\n{}", named(id));
    let of_a_click = format!(r#"{REFUND}, "click_ids": {{"partner": "c"}}"#);
    let said = |currency: &str| format!(r#"{of_a_click}, "currency": "{currency}""#);
    let click = "click_ids.partner";
    let unsaid = "unsupported: a refund here must name its currency: expect_currency is EUR";
    check(&euro(click), &of_a_click, unsaid);
    check(&euro(click), &said("EUR"), "send refund");
    check(&euro(click), &said("USD"), "unsupported: currency is USD, and expect_currency is EUR");
    // An order is that one or none; and without an expectation any sale was taken.
    check(&euro("order_id ?? event_id"), &of_a_click, "send refund");
    check(&euro(click).replace("com/r", "com/r/{event_id}"), &of_a_click, "send refund");
    check(&named(click), &of_a_click, "send refund");
}

#[test]
fn the_first_operation_whose_condition_holds_is_used() {
    let several = r#"when = "event_type == 'purchase_completed'"
[destination.partner.operation.lead]
url = "https://px.example.com/leads"
map.event = "event_type"
when = "event_type == 'lead_created'"
[destination.partner.operation.rest]
url = "https://px.example.com/rest"
map.event = "event_type"
when = "event_type in ['signup', 'page_view']""#;
    check(several, "", "send conversion");
    check(several, r#", "event_type": "lead_created""#, "send lead");
    check(several, r#", "event_type": "page_view""#, "send rest");
    check(
        several,
        r#", "event_type": "other""#,
        "skipped: does not apply: event_type == 'purchase_completed' does not hold; event_type == 'lead_created' does not \
         hold; event_type in ['signup', 'page_view'] does not hold",
    );
}

#[test]
fn of_a_condition_the_part_that_failed_is_told() {
    let when = "when = \"event_type == 'purchase_completed' && click_ids.partner && (session.id || customer.id)\"";
    let lead = r#", "event_type": "lead_created""#;
    check(when, lead, "skipped: does not apply: event_type == 'purchase_completed' does not hold");
    check(when, "", "skipped: does not apply: click_ids.partner is absent");
    let clicked = r#", "click_ids": {"partner": "c"}"#;
    let nobody = "skipped: does not apply: none of session.id, customer.id is present";
    check(when, clicked, nobody);
    check(when, &format!(r#"{clicked}, "customer": {{"id": "7"}}"#), "send conversion");
}

#[test]
fn a_refund_that_no_operation_takes_is_unsupported_in_words() {
    let refund = "[destination.partner.operation.refund]\nurl = \"https://px.example.com/r\"\nmap.id = \"order_id\"\n\
                  when = \"!value\"";
    let part = format!(r#"{REFUND}, "value": 5, "currency": "EUR""#);
    check(refund, REFUND, "send refund");
    check(refund, &part, "unsupported: does not apply: value is present");
    let worded = format!("{refund}\notherwise = \"a part cannot be refunded\"");
    check(&worded, &part, "unsupported: does not apply: a part cannot be refunded (value is present)");
    check(&worded, "", "send conversion");
}

#[test]
fn operations_of_any_name_can_be_of_one_kind() {
    let two = r#"[destination.partner.operation.refund]
url = "https://px.example.com/r"
map.id = "order_id"
when = "click_ids.scaleo"
[destination.partner.operation.refund_by_order]
kind = "refund"
url = "https://px.example.com/r"
map.id = "order_id""#;
    check(two, REFUND, "send refund_by_order");
    check(two, &format!(r#"{REFUND}, "click_ids": {{"scaleo": "c"}}"#), "send refund");
    check(two, "", "send conversion");
    let reason = "unsupported: no operation for a conversion of kind adjustment";
    check(two, r#", "kind": "adjustment", "value": 1, "currency": "EUR""#, reason);
}

#[test]
fn an_operation_that_lacks_an_optional_secret_is_unsupported() {
    let preset = "[destination.scaleo]\npreset = \"scaleo\"\nvars.domain = \"a.example\"\nsecrets.api_key = \"${env:TOKEN}\"\n\
                  expect_currency = \"any\"\n";
    let config = right(&with(preset));
    let (refund, meta) = conversion(&format!(r#"{REFUND}, "click_ids": {{"scaleo": "c"}}"#));
    let decision = config.destinations[0].decide(Scope { conversion: &refund, meta: &meta });
    assert_eq!(words(&decision), "unsupported: operation refund needs secrets.security_token, which is not set");
}

#[test]
fn a_merchant_is_owed_its_own_destinations_in_the_order_of_the_file() {
    let three = ["zulu", "alpha", "mike"].map(|name| PARTNER.replace("partner", name)).concat();
    let chosen = with(&three).replace("dc327aa4\"\n", "dc327aa4\"\ndestinations = [\"mike\", \"zulu\"]\n");
    let (sale, meta) = conversion("");
    let scope = Scope { conversion: &sale, meta: &meta };
    let plan = |text: &str| {
        let config = right(text);
        let plan = config.plan(&config.merchants[0], scope);
        plan.into_iter().map(|(destination, _)| destination.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(plan(&with(&three)), ["zulu", "alpha", "mike"]);
    assert_eq!(plan(&chosen), ["zulu", "mike"]);
}
