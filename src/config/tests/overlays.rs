//! What is laid over: flags over the file, and the keys of a destination over its preset.

use super::*;

#[test]
fn overlays_change_what_the_file_has() {
    let text = with(PARTNER);
    let config = load_set(
        &text,
        &[
            ("destination.partner.limits.rate", "5/s"),
            ("server.listen", "127.0.0.1:1"),
            ("destination.partner.limits.concurrency", "3"),
            ("server.tls", "{ self_signed = true }"),
        ],
    );
    let config = config.unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(config.server.listen.port(), 1);
    assert_eq!(config.destinations[0].limits.rate.unwrap().count.get(), 5);
    assert_eq!(config.destinations[0].limits.concurrency.get(), 3);
}

#[test]
fn a_wrong_overlay_is_a_fault_that_names_the_flag() {
    let check = |key: &str, value: &str, expected: &str| {
        let report = load_set(&with(PARTNER), &[(key, value)]).unwrap_err();
        let [fault] = report.located() else { panic!("{report}") };
        assert_eq!(format!("{}: {}", fault.file, fault.message), expected);
    };
    check(
        "destination.partnr.origin",
        "http://127.0.0.1:1",
        "--set destination.partnr.origin: there is no destination `partnr`",
    );
    check("destination.partner.orgin", "x", "--set destination.partner.orgin: unknown key `orgin`");
    check("queue.path", "7", "--set queue.path: `path` must be a string, and this is a whole number");
    check("queue.dedup_window", "a\"b\n", "--set queue.dedup_window: `dedup_window`: `a\"b\n` is no duration");
    check("a = 1 #", "x", "--set a = 1 #: this is no key");
    check("a..b", "x", "--set a..b: TOML: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`");
}

#[test]
fn a_destination_lays_its_keys_over_the_preset_one_by_one() {
    let text = with(
        r#"[destination.thrad]
preset = "thrad"
secrets.api_key = "${env:TOKEN}"
headers.idempotency-key = "{event_id}"
map.page_url = ""
map.referrer = "page.url"
idempotency = ""
limits.rate = "5/s"
[destination.trackdesk]
preset = "trackdesk"
vars.tenant = "t"
vars.conversion_type = "sale"
map.amount.value = "value | decimal(2) | string"
map.customParams = { advS1 = "" }
"#,
    );
    let config = right(&text);
    let request = &config.destinations[0].operations[0].request;
    assert!(!request.has_output("map.page_url") && request.has_output("map.referrer"));
    assert!(request.has_output("header.Idempotency-Key"));
    assert_eq!(config.destinations[0].operations[0].idempotency, None);
    let request = &config.destinations[1].operations[0].request;
    assert!(request.has_output("map.amount.value") && !request.has_output("map.customParams.advS1"));
    assert!(request.has_output("map.customParams.advS2"));
}

#[test]
fn a_field_that_is_taken_away_is_gone_from_the_presets_rules_too() {
    let lines = r#"[destination.impact]
preset = "impact"
vars.account_sid = "IRsid"
vars.campaign_id = 1
vars.event_type_id = 2
secrets.auth_token = "${env:TOKEN}"
omit_with.OrderDiscountRate = []
outputs."ItemSku{i}".required = false
[destination.impact.map]
Note = ""
MediaId = ""
ClickId = ""
"ItemSku{i}" = ""
"ItemSubTotal{i}" = ""
"#;
    let request = &right(&with(lines)).destinations[0].operations[0].request;
    for target in ["Note", "MediaId", "ClickId", "ItemSku{i}", "ItemSubTotal{i}"] {
        assert!(!request.has_output(&format!("map.{target}")));
    }
    // What the destination itself says of it stays a fault.
    let report =
        load(&with(&lines.replace("omit_with.OrderDiscountRate = []", "omit_with.SubId1 = [\"Note\"]"))).unwrap_err();
    assert_eq!(report.located()[0].message, "no line of the map sets `Note`");
}

#[test]
fn what_a_preset_does_not_have_cannot_be_taken_away() {
    let text =
        with("[destination.thrad]\npreset = \"thrad\"\nsecrets.api_key = \"${env:TOKEN}\"\nmap.page_ulr = \"\"\n");
    let report = load(&text).unwrap_err();
    assert_eq!(report.located()[0].message, "preset `thrad` has no `map.page_ulr` to take away");
    assert_eq!(report.located()[0].help.as_deref(), Some("did you mean `page_url`?"));
}

#[test]
fn the_operation_conversion_is_the_destinations_own_level() {
    let inner = r#"[destination.partner.operation.conversion]
url = "https://px.example.com/events"
map.event = "event_type"
"#;
    assert_eq!(right(&with(inner)).destinations[0].operations[0].name, "conversion");
    let twice = format!("[destination.partner]\nurl = \"https://a.example\"\n{inner}");
    assert_eq!(faults(&with(&twice)), ["13:1 `url` is given twice"]);
}

#[test]
fn a_destination_changes_what_a_preset_says_of_a_field_below_another() {
    let meta = r#"[destination.meta]
preset = "meta"
vars.pixel_id = "1"
secrets.access_token = "${env:TOKEN}"
map."data[0].custom_data.content_type" = "'vehicle'"
"#;
    let refused = faults(&with(meta));
    let taken = "`data[0].custom_data.content_type` is one of `product`, `product_group`, and this can be `vehicle`";
    assert!(refused[0].ends_with(taken), "{refused:?}");
    for place in ["\"data[0]\".custom_data.content_type", "\"data[0].custom_data.content_type\""] {
        right(&with(&format!("{meta}outputs.{place}.values = [\"vehicle\"]\n")));
    }
    let unknown = meta.replace("custom_data.content_type", "user_data.em_sha256");
    assert!(faults(&with(&unknown))[0].ends_with("the contract knows no field `data[0].user_data.em_sha256`"));
}

#[test]
fn what_a_destination_sets_twice_over_a_preset_is_a_fault() {
    let check = |keys: &str, expected: &str| {
        let preset =
            "[destination.trackdesk]\npreset = \"trackdesk\"\nvars.tenant = \"t\"\nvars.conversion_type = \"sale\"\n";
        assert_eq!(faults(&with(&format!("{preset}{keys}"))), [expected], "{keys}");
    };
    let amount = "\"value | decimal(2) | string\"";
    check(
        &format!("map.\"amount.value\" = {amount}\nmap.amount.value = {amount}\n"),
        "15:5 `amount.value` is set twice",
    );
    check("headers.X-A = \"1\"\nheaders.x-a = \"2\"\n", "15:9 the header `x-a` is set twice");
    check(
        "outputs.\"amount.value\".doc = \"a\"\noutputs.amount.value.doc = \"b\"\n",
        "15:9 `amount.value` is declared twice",
    );
    check(
        "operation.refund.headers.X-A = \"1\"\noperation.refund.headers.x-a = \"2\"\n",
        "15:26 the header `x-a` is set twice",
    );
}

#[test]
fn what_is_said_in_both_places_of_the_conversion_is_a_fault_at_any_depth() {
    let text = |own: &str, operation: &str| {
        let partner = "[destination.partner]\nurl = \"https://px.example.com/e\"\nsecrets.a = \"${env:TOKEN}\"\n";
        with(&format!("{partner}{own}\n[destination.partner.operation.conversion]\n{operation}\n"))
    };
    let check = |own: &str, operation: &str, expected: &str| {
        assert_eq!(faults(&text(own, operation)), [expected], "{operation}");
    };
    let amount = "map.amount.value = \"value\"";
    check(amount, "map.amount.value = \"order.subtotal\"", "15:12 `map.amount.value` is given twice");
    let auth = "auth = { bearer = \"{secrets.a}\" }";
    check(&format!("{amount}\n{auth}"), auth, "16:1 `auth` is given twice");
    right(&text(&format!("{amount}\n{auth}"), "map.amount.currency = \"currency\""));
}

#[test]
fn a_value_behind_what_is_no_key_is_not_shown() {
    for key in ["destination.partner.secrets[token]", "destination.partner.secrets..token", "a b"] {
        let report = load_set(&with(PARTNER), &[(key, "live-0123456789")]).map(|_| ()).unwrap_err();
        assert!(!report.to_string().contains("live-0123456789"), "{report}");
    }
}
