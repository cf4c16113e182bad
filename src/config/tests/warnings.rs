//! What is taken as it is, and probably not meant; and how a preset is narrowed without a warning.

use super::*;
use crate::conversion::{Conversion, ConversionId, Meta};

/// The warnings of a right configuration, as `line:column message`.
#[track_caller]
fn warnings(text: &str) -> Vec<String> {
    let config = right(text);
    assert!(config.warnings.located().iter().all(|warning| warning.severity == Severity::Warning));
    let said = |warning: &Located| format!("{}:{} {}", warning.line, warning.column, warning.message);
    config.warnings.located().iter().map(said).collect()
}

const IMPACT: &str = r#"[destination.impact]
preset = "impact"
vars.account_sid = "IRsid"
vars.campaign_id = 1000
vars.event_type_id = 12345
vars.action_tracker_id = 7
secrets.auth_token = "impact-token"
"#;

const SCALEO: &str = r#"[destination.scaleo]
preset = "scaleo"
expect_currency = "any"
vars.domain = "example.scaletrk.com"
secrets.api_key = "scaleo-key"
secrets.security_token = "scaleo-token"
"#;

#[test]
fn a_preset_as_it_is_warns_of_nothing() {
    let six = presets::ALL.split("[destination.meta]").next().unwrap_or_default();
    for name in ["thrad", "impact", "scaleo", "trackdesk", "trackdesk-get", "dsp"] {
        assert!(six.contains(&format!("preset = \"{name}\"")), "{name}");
    }
    assert_eq!(warnings(&with(six)), [""; 0]);
    assert_eq!(warnings(&with(&format!("{IMPACT}{SCALEO}"))), [""; 0]);
}

#[test]
fn a_condition_that_drops_a_presets_guards_says_which() {
    let check = |keys: &str, expected: &[&str]| {
        assert_eq!(warnings(&with(&format!("{SCALEO}{keys}"))), expected, "{keys}");
    };
    let dropped = |what: &str| format!("this takes the place of the preset's `when`, and drops {what}");
    check("when = \"click_ids.scaleo\"\n", &[&format!("16:9 {}", dropped("`event_type == vars.event_type`"))]);
    let both = dropped("`event_type == vars.event_type`, `click_ids.scaleo`");
    check("when = \"status == 'approved'\"\nmap.click_id = \"order_id !\"\n", &[&format!("16:9 {both}")]);
    check("when = \"\"\n", &[&format!("16:9 {both}")]);
    check(
        "operation.conversion.when = \"click_ids.scaleo && value\"\n",
        &[&format!("16:30 {}", dropped("`event_type == vars.event_type`"))],
    );
    // However it is spelt and wherever it stands, a guard that is kept is kept.
    check("when = \"click_ids.scaleo == 'a' && event_type == vars.event_type\"\n", &[]);
    check("when = \"click_ids.scaleo && event_type in ['purchase_completed']\"\n", &[]);
    check("when = \"event_type == vars.event_type\"\nonly_when = \"click_ids.scaleo\"\n", &[]);
    check(
        "when = \"click_ids.scaleo && event_type in ['purchase_completed', 'signup']\"\n",
        &[&format!("16:9 {}", dropped("`event_type == vars.event_type`"))],
    );
    check("when = \"value > 5 && (click_ids.scaleo && event_type==vars.event_type)\"\n", &[]);
    check(
        "operation.refund.when = \"order_id\"\n",
        &[&format!(
            "16:26 {}",
            dropped(
                "`event_type == vars.event_type`, `custom.scaleo.transaction_id || click_ids.scaleo`, `!value`, \
             `!order.subtotal`, `!each(item.sku ?? 'item')`"
            )
        )],
    );
}

#[test]
fn only_when_narrows_a_preset_and_keeps_its_guards() {
    let text = with(&format!("{SCALEO}only_when = \"value > 5\"\noperation.refund.only_when = \"reason\"\n"));
    assert_eq!(warnings(&text), [""; 0]);
    let config = right(&text);
    let decided = |more: &str| {
        let text = format!(r#"{{"time": "2026-05-26T12:00:00Z", "order_id": "o", "currency": "EUR"{more}}}"#);
        let conversion = Conversion::parse(text.as_bytes(), "g").unwrap();
        let meta = Meta::new(ConversionId::new(1, [7; 10]), Arc::from("acme"), None, &conversion);
        match config.destinations[0].decide(Scope { conversion: &conversion, meta: &meta }) {
            Decision::Send(operation) => format!("send {}", operation.name),
            Decision::Skipped(why) | Decision::Withheld(why) | Decision::Unsupported(why) => why,
        }
    };
    let click = r#", "click_ids": {"scaleo": "c"}"#;
    assert_eq!(decided(&format!(r#"{click}, "value": 6"#)), "send conversion");
    assert_eq!(decided(&format!(r#"{click}, "value": 4"#)), "does not apply: value > 5 does not hold");
    assert_eq!(decided(r#", "value": 6"#), "does not apply: click_ids.scaleo is absent");
    let view = decided(&format!(r#"{click}, "value": 6, "event_type": "page_view""#));
    assert_eq!(view, "does not apply: event_type == vars.event_type does not hold");
    let refund = format!(r#"{click}, "kind": "refund""#);
    assert_eq!(decided(&format!(r#"{refund}, "reason": "r""#)), "send refund");
    // What the preset says where its own condition fails is no word on another one.
    assert_eq!(decided(&refund), "does not apply: reason is absent");
}

#[test]
fn what_only_when_asks_for_is_there_for_the_proof() {
    let partner = format!("{PARTNER}map.order = \"order_id\"\noutputs.event = {{}}\noutputs.order.required = true\n");
    let absent = "`order` is required by the contract, and `order_id` may be absent";
    assert_eq!(faults(&with(&partner)), [format!("13:14 {absent}")]);
    assert_eq!(warnings(&with(&format!("{partner}only_when = \"order_id\"\n"))), [""; 0]);
    assert_eq!(warnings(&with(&format!("{partner}when = \"value\"\nonly_when = \"order_id\"\n"))), [""; 0]);
    assert_eq!(
        faults(&with(&format!("{partner}only_when = \"order_idd\"\n"))),
        ["16:14 there is no field `order_idd`"]
    );
}

#[test]
fn an_operation_beside_a_proven_one_that_is_not_proven_itself_is_told() {
    let refund = "[destination.partner.operation.refund]\nurl = \"https://px.example.com/r\"\nmap.id = \"order_id\"\n";
    let proven = format!("{PARTNER}outputs.event = {{}}\n");
    assert_eq!(
        warnings(&with(&format!("{proven}{refund}"))),
        ["14:32 operation `refund` has no `outputs`, so its map is not proven as that of `conversion` is"]
    );
    assert_eq!(warnings(&with(&format!("{proven}{refund}outputs.id = {{}}\n"))), [""; 0]);
    assert_eq!(warnings(&with(&format!("{PARTNER}{refund}"))), [""; 0]);
    assert_eq!(
        warnings(&with(&format!("{PARTNER}{refund}outputs.id = {{}}\n"))),
        ["10:14 operation `conversion` has no `outputs`, so its map is not proven as that of `refund` is"]
    );
    // A call that sends no field has nothing to prove.
    let bare = "[destination.partner.operation.refund]\nurl = \"https://px.example.com/r/{order_id}\"\n";
    assert_eq!(warnings(&with(&format!("{proven}{bare}"))), [""; 0]);
}

#[test]
fn warnings_stand_behind_the_faults_in_a_report() {
    let report = load(&with(&format!("{SCALEO}when = \"click_ids.scaleo\"\nmap.amount = \"valeu\"\n"))).unwrap_err();
    assert_eq!(report.faults, 1);
    let severities: Vec<Severity> = report.located().iter().map(|fault| fault.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Warning]);
    let text = report.to_string();
    assert!(text.contains("warning: this takes the place of the preset's `when`"), "{text}");
    assert!(text.ends_with("1 fault in the configuration, 1 warning"), "{text}");
}

#[test]
fn an_operation_that_takes_any_2xx_beside_conversions_that_do_not_is_warned_of() {
    let check = |conversion: &str, refund: &str, expected: &[&str]| {
        let text = format!(
            "[destination.x]\nurl = \"https://px.example.com/events\"\nmap.order = \"order_id\"\n{conversion}\
             [destination.x.operation.refund]\nurl = \"https://px.example.com/refunds\"\nmap.order = \"order_id\"\n{refund}"
        );
        assert_eq!(warnings(&with(&text)), expected, "{text}");
    };
    let own = "delivered_when = \"status == 200 && body.ok == true\"\n";
    let warning = "14:26 operation `refund` has no `delivered_when`: any 2xx counts as delivered, though that of the \
                   destination looks at conversions closer";
    check(own, "", &[warning]);
    check(own, own, &[]);
    check("", "", &[]);
}

#[test]
fn an_operation_that_takes_test_conversions_and_never_looks_is_warned_of() {
    let refund = "[destination.partner.operation.refund]\nurl = \"https://px.example.com/r\"\nmap.id = \"order_id\"\n";
    let check = |keys: &str, expected: &[&str]| {
        let messages: Vec<_> = warnings(&with(&format!("{PARTNER}{keys}")))
            .into_iter()
            .map(|warning| warning.split_once(' ').unwrap_or_default().1.to_owned())
            .collect();
        assert_eq!(messages, expected, "{keys}");
    };
    let told = |name: &str| {
        format!(
            "operation `{name}` takes test conversions (`test = \"carry\"`), and nothing of it reads `test`: they are sent \
             as real ones"
        )
    };
    let carry = "test = \"carry\"\n";
    check(carry, &[&told("conversion")]);
    check("", &[]);
    for reads in [
        "map.sandbox = \"test\"",
        "map.mode = \"(test | bool('T', '')) ?? event_type\"",
        "map.list = [\"order_id\", \"test | bool('T', '')\"]",
        "query.test = \"test\"",
        "headers.X-Test = \"{test}\"",
        "only_when = \"test == false\"",
        "when = \"test || value\"",
    ] {
        check(&format!("{carry}{reads}\n"), &[]);
    }
    for others in ["map.a = \"custom.test\"", "map.a = \"'test'\"", "headers.X-Test = \"test\""] {
        check(&format!("{carry}{others}\n"), &[&told("conversion")]);
    }
    let switch = "map.sandbox = \"test\"\n";
    check(&format!("{carry}{switch}{refund}"), &[&told("refund")]);
    check(&format!("{carry}{switch}{refund}test = \"skip\"\n"), &[]);
    check(&format!("{refund}{carry}"), &[&told("refund")]);
}

#[test]
fn a_destination_that_no_merchant_sends_to_is_warned_of() {
    let other = PARTNER.replace("partner", "other");
    let text = |chosen: &str| {
        let text = with(&format!("{PARTNER}{other}"));
        text.replacen("[merchant.acme]\n", &format!("[merchant.acme]\ndestinations = [{chosen}]\n"), 1)
    };
    assert_eq!(warnings(&text("\"other\"")), ["11:14 no merchant sends to destination `partner`: it gets nothing"]);
    assert_eq!(warnings(&text("\"other\", \"partner\"")), [""; 0]);
    assert_eq!(warnings(&with(&format!("{PARTNER}{other}"))), [""; 0]);
    // A name that is misspelt is one fault.
    let report = load(&text("\"other\", \"partnr\"")).unwrap_err();
    assert_eq!(report.located().len(), 1, "{report}");
}

#[test]
fn an_operation_that_takes_every_kind_without_saying_so_is_warned_of() {
    let check = |keys: &str, expected: &[&str]| {
        let lead = "[destination.partner.operation.lead]\nurl = \"https://px.example.com/l\"\nmap.id = \"order_id\"\n";
        assert_eq!(warnings(&with(&format!("{PARTNER}only_when = \"value\"\n{lead}{keys}"))), expected, "{keys}");
    };
    let warning = "14:32 operation `lead` takes every kind of conversion, refunds and adjustments too";
    check("", &[warning]);
    check("when = \"event_type == 'lead_created'\"\n", &[warning]);
    check("kind = \"conversion\"\n", &[]);
    check("when = \"event_type == 'lead_created' && kind in ['conversion', 'refund']\"\n", &[]);
    check("only_when = \"kind != 'refund'\"\n", &[]);
}

/// A destination that asks, at this URL and with these further keys.
fn asking(url: &str, more: &str) -> String {
    with(&format!(
        "[destination.x]\nurl = \"https://px.example.com/e\"\nmap.a = \"event_type\"\ncapture.id = \"body.id\"\n\
         {more}\n\
         confirm = {{ url = \"{url}/{{captured.id}}\", confirmed_when = \"body.ok\" }}\n"
    ))
}

#[test]
fn a_question_that_shows_the_credential_to_another_host_is_warned_of() {
    let secret = "secrets.token = \"${env:TOKEN}\"\n";
    let auth = &format!("{secret}auth = {{ bearer = \"{{secrets.token}}\" }}");
    let warning = |asked: &str| {
        format!(
            "16:20 the question goes to {asked}, the conversion to https://px.example.com: it shows the credential of \
             `auth` there"
        )
    };
    assert_eq!(warnings(&asking("https://px.example.com", auth)), [""; 0]);
    let elsewhere = "https://status.example.org";
    assert_eq!(warnings(&asking(elsewhere, auth)), [warning(elsewhere)]);
    let another_port = "https://px.example.com:8443";
    assert_eq!(warnings(&asking(another_port, auth)), [warning(another_port)]);
    // The token is only named in a header of the conversion's own.
    assert_eq!(warnings(&asking(elsewhere, &format!("{secret}headers.X-Token = \"{{secrets.token}}\""))), [""; 0]);
    // A stand-in takes the place of both.
    assert_eq!(warnings(&asking(elsewhere, &format!("{auth}\norigin = \"http://127.0.0.1:1\""))), [""; 0]);
}

#[test]
fn a_delivery_given_up_before_it_is_first_asked_about_is_warned_of() {
    let check = |after: &str, retry: &str, expected: &[&str]| {
        let text = asking("https://px.example.com", retry).replace("confirmed_when", &format!("{after}confirmed_when"));
        assert_eq!(warnings(&text), expected, "{text}");
    };
    let said = |place: &str, allowed: &str, after: &str| {
        format!(
            "{place} `retry.give_up_after` ({allowed}) is over before the first question of `confirm` ({after}): one \
             without an answer is not asked again"
        )
    };
    check("", "retry.give_up_after = \"30s\"", &[&said("14:24", "30s", "1m")]);
    check("after = \"5m\", ", "retry.give_up_after = \"1m\"", &[&said("14:24", "1m", "5m")]);
    check("after = \"4d\", ", "", &[&said("10:14", "3d", "4d")]);
    check("", "retry.give_up_after = \"1m\"", &[]);
    check("", "", &[]);
}

#[test]
fn an_operation_that_is_never_used_is_warned_of() {
    let check = |own: &str, lead: &str, expected: &[&str]| {
        let call = "url = \"https://px.example.com/l\"\nmap.id = \"order_id\"\n";
        let lead = lead.replace("CALL\n", call);
        let text = format!("{PARTNER}{own}[destination.partner.operation.lead]\n{call}{lead}");
        assert_eq!(warnings(&with(&text)), expected, "{text}");
    };
    let never = "13:32 operation `lead` is never used: all is taken before it by `conversion`";
    check("", "kind = \"conversion\"\n", &[never]);
    check("", "kind = \"conversion\"\nwhen = \"value\"\n", &[never]);
    check("only_when = \"value\"\n", "kind = \"conversion\"\n", &[]);
    check("", "when = \"kind in ['conversion', 'refund']\"\n", &[]);
    let refund = |more: &str| format!("{more}[destination.partner.operation.refund]\nCALL\n");
    check("", &refund("kind = \"adjustment\"\n"), &[]);
    check("", &refund("kind = \"refund\"\nwhen = \"value\"\n"), &[]);
    let never = "17:32 operation `refund` is never used: all is taken before it by `lead`";
    check("", &refund("kind = \"refund\"\n"), &[never]);
}

#[test]
fn what_is_at_fault_is_no_reason_to_call_something_else_unread_or_unused() {
    let check = |text: &str, expected: &[&str]| {
        let report = load(&with(text)).map(|_| ()).unwrap_err();
        let messages: Vec<&str> = report.located().iter().map(|located| located.message.as_str()).collect();
        assert_eq!(messages, expected, "{text}");
    };
    let unset = "the environment variable `MISSING` is not set";
    let lead = "[destination.x.operation.lead]\nurl = \"https://px.example.com/l/{order_id}\"\nkind = \"conversion\"\n";
    let own = |keys: &str| format!("[destination.x]\nurl = \"https://px.example.com/e/{{order_id}}\"\n{keys}\n{lead}");
    // A call whose URL is at fault is a call.
    let call = |more: &str| format!("[destination.x]\nurl = \"${{env:MISSING}}\"\n{more}");
    check(&call("map.a = \"event_type\"\n"), &[unset]);
    check(&call("map.a = \"event_id\"\nidempotency = \"map.a\"\ndedup_window = \"3d\"\n"), &[unset]);
    check(&call(&format!("when = \"value\"\nheaders.Accept = \"*/*\"\n{lead}")), &[unset]);
    check(
        &format!("[destination.x]\nurl = 7\nwhen = \"value\"\n{lead}"),
        &["`url` must be a string, and this is a whole number"],
    );
    // A condition that is at fault is a condition.
    check(&own("when = \"${env:MISSING}\""), &[unset]);
    check(&own("only_when = 7"), &["`only_when` must be a string, and this is a whole number"]);
    let every = lead.replace("kind = \"conversion\"", "when = \"${env:MISSING}\"");
    check(&format!("[destination.x]\n{every}"), &[unset]);
}
