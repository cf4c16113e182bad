//! What an operation says of itself, what it inherits, and what is deduplicated.

use std::time::Duration;

use super::*;

#[test]
fn a_retry_beyond_the_window_of_the_platform_is_a_fault() {
    let partner = PARTNER.replace("event_type", "event_id");
    let slot = format!("{partner}idempotency = \"map.event\"\ndedup_window = \"24h\"\n");
    assert_eq!(
        right(&with(&slot)).destinations[0].retry.give_up_after,
        Duration::from_secs(86_400),
        "the default follows"
    );
    assert_eq!(
        faults(&with(&format!("{slot}retry.give_up_after = \"25h\"\n"))),
        ["15:24 `retry.give_up_after` is longer than the platform recognises a repeat (1d)"]
    );
    let longer =
        format!("{slot}retry.give_up_after = \"24h\"\n").replace("dedup_window = \"24h\"", "dedup_window = \"90d\"");
    right(&with(&longer));
    assert_eq!(
        faults(&with(&format!("{PARTNER}dedup_window = \"24h\"\n"))),
        ["13:17 `dedup_window` without `idempotency`"]
    );
}

#[test]
fn a_slot_that_only_an_unset_var_could_fill_is_a_fault() {
    let check = |keys: &str, expected: &[&str]| {
        let impact = presets::ALL.split("[destination.scaleo]").next().unwrap_or_default();
        assert_eq!(faults(&with(&format!("{impact}{keys}\n"))), expected, "{keys}");
    };
    let never = "21:16 `map.EventTypeCode` is never sent, for `vars.event_type_code` is not set: nothing can be deduplicated on it";
    check("idempotency = \"map.EventTypeCode\"", &[never]);
    let taken_away = faults(&with(
        &presets::ALL
            .replace("vars.campaign_id", "map.OrderId = \"\"\noutputs.OrderId.required = false\nvars.campaign_id"),
    ));
    assert!(
        taken_away[0].ends_with(" `map.OrderId` is not sent, so nothing can be deduplicated on it"),
        "{taken_away:?}"
    );
}

#[test]
fn operations_inherit_what_they_do_not_say_themselves() {
    let text = with(
        r#"[destination.partner]
url = "https://px.example.com/events"
map.id = "event_id"
idempotency = "map.id"
on_unmappable = "skip"
[destination.partner.operation.refund]
url = "https://px.example.com/refunds"
map.id = "event_id"
[destination.partner.operation.adjustment]
url = "https://px.example.com/adjustments"
map.order = "order_id"
on_unmappable = "dead_letter"
limits = { rate = "5/s" }
[destination.partner.operation.other]
url = "https://px.example.com/other"
map.order = "order_id !"
idempotency = "map.order"
"#,
    );
    let config = right(&text);
    let said: Vec<_> = config.destinations[0]
        .operations
        .iter()
        .map(|it| (it.name.as_str(), it.idempotency.as_deref(), it.on_ambiguous, it.on_unmappable, it.rate.is_some()))
        .collect();
    assert_eq!(
        said,
        [
            ("conversion", Some("map.id"), OnAmbiguous::Retry, OnUnmappable::Skip, false),
            ("refund", Some("map.id"), OnAmbiguous::Retry, OnUnmappable::Skip, false),
            ("adjustment", None, OnAmbiguous::DeadLetter, OnUnmappable::DeadLetter, true),
            ("other", Some("map.order"), OnAmbiguous::Retry, OnUnmappable::Skip, false),
        ]
    );
    let wrong = text.replace("limits = { rate = \"5/s\" }", "limits = { rate = \"5/s\", timeout = \"1s\" }");
    assert_eq!(faults(&wrong), ["22:26 unknown key `timeout`"]);
}

#[test]
fn an_operation_may_decline_what_its_destination_deduplicates_on() {
    let check = |keys: &str, own: &str, expected: (Option<&str>, OnAmbiguous)| {
        let text = with(&format!(
            "[destination.partner]\nurl = \"https://px.example.com/events\"\nmap.id = \"event_id\"\nidempotency = \"map.id\"\n\
             {keys}[destination.partner.operation.refund]\nurl = \"https://px.example.com/refunds\"\nmap.id = \"event_id\"\n{own}"
        ));
        let config = right(&text);
        let [sale, refund] = config.destinations[0].operations.as_slice() else { panic!("{text}") };
        assert_eq!(sale.idempotency.as_deref(), Some("map.id"));
        assert_eq!((refund.idempotency.as_deref(), refund.on_ambiguous), expected, "{keys}{own}");
    };
    let none = "idempotency = \"none\"\n";
    let retry = "on_ambiguous = \"retry\"\n";
    check("", "", (Some("map.id"), OnAmbiguous::Retry));
    check("", none, (None, OnAmbiguous::DeadLetter));
    check(retry, none, (None, OnAmbiguous::DeadLetter));
    check("", &format!("{none}{retry}"), (None, OnAmbiguous::Retry));
    // A destination's own takes a preset's slot away, for all its operations.
    let thrad = "[destination.thrad]\npreset = \"thrad\"\nsecrets.api_key = \"${env:TOKEN}\"\n";
    assert!(right(&with(thrad)).destinations[0].operations[0].idempotency.is_some());
    let config = right(&with(&format!("{thrad}{none}")));
    assert_eq!(config.destinations[0].operations[0].idempotency, None);
}

#[test]
fn at_ga4_all_but_a_purchase_is_counted_by_each_that_arrives() {
    let ga4 =
        "[destination.ga4]\npreset = \"ga4\"\nvars.measurement_id = \"G-1\"\nsecrets.api_secret = \"${env:TOKEN}\"\n";
    let config = right(&with(ga4));
    let said: Vec<_> =
        config.destinations[0].operations.iter().map(|it| (it.idempotency.is_some(), it.on_ambiguous)).collect();
    assert_eq!(said, [(true, OnAmbiguous::Retry), (false, OnAmbiguous::DeadLetter), (false, OnAmbiguous::DeadLetter)]);
}

#[test]
fn a_call_without_a_currency_wants_one_to_be_said() {
    let currency = |line: &str| with(&presets::ALL.replace("vars.goal_id = 3", &format!("{line}\nvars.goal_id = 3")));
    let without = currency("").replace("expect_currency = \"EUR\"\n", "");
    assert_eq!(faults(&without), ["21:14 destination `scaleo` needs `expect_currency`"]);
    let any = without.replace("vars.goal_id", "expect_currency = \"any\"\nvars.goal_id");
    assert_eq!(right(&any).destination("scaleo").unwrap().expect_currency, None);
}

#[test]
fn an_operation_that_is_nearly_called_after_a_kind_is_a_fault() {
    let operation =
        "[destination.partner.operation.adjustmnt]\nurl = \"https://px.example.com/a\"\nmap.order = \"order_id\"\n";
    let text = with(&format!("{PARTNER}{operation}"));
    let found = faults(&text);
    assert!(found[0].ends_with("`adjustmnt` is no kind of conversion, and would take them all"), "{found:?}");
    right(&text.replace("map.order", "kind = \"adjustment\"\nmap.order"));
}

#[test]
fn the_summary_says_of_each_operation_what_becomes_of_a_repeat() {
    let check = |destination: &str, expected: &str| {
        let summary = right(&with(destination)).destinations[0].to_string();
        assert_eq!(summary.split_once("; ").map(|(_, said)| said.to_owned()).as_deref(), Some(expected));
    };
    let slot = format!(
        "{PARTNER}headers.Idempotency-Key = \"{{meta.dedup_key}}\"\nidempotency = \"header.Idempotency-Key\"\n"
    );
    let operation = |name: &str, more: &str| {
        format!(
            "[destination.partner.operation.{name}]\nurl = \"https://px.example.com/r\"\nmap.id = \"event_id\"\n{more}"
        )
    };
    let refund = operation("refund", "");
    let adjustment = |more: &str| operation("adjustment", more);
    check(PARTNER, "does not deduplicate");
    check(&format!("{PARTNER}{refund}"), "does not deduplicate");
    check(&slot, "deduplicates on header.Idempotency-Key");
    let parked = "(an unanswered one is parked)";
    let first = "conversion deduplicates on header.Idempotency-Key";
    check(&format!("{slot}{refund}"), &format!("{first}, refund does not {parked}"));
    let both = format!("{slot}{refund}{}", adjustment(""));
    check(&both, &format!("{first}, refund and adjustment do not {parked}"));
    let again = format!("{slot}{refund}{}", adjustment("on_ambiguous = \"retry\"\n"));
    let said = format!("{first}, refund does not {parked}, adjustment does not (an unanswered one is sent again)");
    check(&again, &said);
    let own = format!("{PARTNER}{}", operation("refund", "idempotency = \"map.id\"\n"));
    check(&own, &format!("refund deduplicates on map.id, conversion does not {parked}"));
}

#[test]
fn values_are_of_the_type_of_their_field() {
    let check = |kind: &str, values: &str, expected: &[&str]| {
        let output = format!("outputs.n = {{ type = \"{kind}\", values = {values} }}");
        let text = with(&format!("{PARTNER}map.n = \"custom.n | number\"\noutputs.event = {{}}\n{output}\n"));
        let found = load(&text)
            .map_or_else(|report| report.located().iter().map(|it| it.message.clone()).collect(), |_| Vec::new());
        assert_eq!(found, expected, "{kind} {values}");
    };
    check("number", "[\"1\", \"2.5\"]", &[]);
    check("number", "[\"1\", \"one\"]", &["the field is a number, and `one` is none"]);
    let text = |values: &str, ty: &str, map: &str| {
        with(&format!(
            "{PARTNER}map.n = \"{map}\"\noutputs.event = {{}}\noutputs.n = {{ type = \"{ty}\", values = {values} }}\n"
        ))
    };
    assert_eq!(faults(&text("[\"1.5\"]", "int", "custom.n | int")).iter().filter(|it| it.contains("whole")).count(), 1);
    assert!(faults(&text("[\"yes\"]", "bool", "test"))[0].ends_with("the field is true or false, and `yes` is none"));
}

#[test]
fn what_no_operation_reads_of_a_destinations_own_level_is_a_fault() {
    let text = |own: &str| {
        with(&format!(
            "[destination.partner]\n{own}\n[destination.partner.operation.sale]\nkind = \"conversion\"\n\
             url = \"https://px.example.com/events\"\nmap.event = \"event_type\"\n"
        ))
    };
    for (key, own) in [
        ("only_when", "only_when = \"consent.ad_user_data != false\""),
        ("when", "when = \"value\""),
        ("otherwise", "otherwise = \"none\""),
        ("headers", "headers.X-A = \"1\""),
        ("body", "body = \"form\""),
        ("require_any", "require_any = [[\"event\"]]"),
        ("outputs", "outputs.event.type = \"text\""),
        ("duplicate_when", "duplicate_when = \"status == 409\""),
        ("rejected_when", "rejected_when = \"status == 403\""),
        ("capture", "capture.id = \"body.id\""),
    ] {
        let report = load(&text(own)).map(|_| ()).unwrap_err();
        let fault = &report.located()[0];
        let message = format!("no operation reads `{key}` of the destination's own level, which has no call");
        assert_eq!((report.faults, fault.line, fault.message.as_str()), (1, 11, message.as_str()), "{report}");
        assert_eq!(fault.help.as_deref(), Some(&*format!("say it of each operation: `operation.sale.{key}`")));
    }
    right(&text("limits.rate = \"5/s\"\nretry.first = \"2s\"\ntest = \"skip\"\non_ambiguous = \"retry\""));
    right(&text("url = \"https://px.example.com/e\"\nmap.event = \"event_type\"\nonly_when = \"value\""));
}
