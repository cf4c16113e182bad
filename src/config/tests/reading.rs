//! Reading: quantities, places, overlays, `${…}`, what reports show.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::units;

#[test]
fn durations_have_a_unit_and_are_never_zero() {
    let check = |text: &str, expected: Option<u128>| {
        assert_eq!(units::duration(text).map(|d| d.as_millis()), expected, "{text}")
    };
    check("500ms", Some(500));
    check("30s", Some(30_000));
    check("15m", Some(900_000));
    check("72h", Some(259_200_000));
    check("7d", Some(604_800_000));
    check("1h30m", Some(5_400_000));
    for wrong in [
        "",
        "0s",
        "5",
        "s",
        "-5s",
        "1.5s",
        "5 s",
        "5S",
        "3w",
        "5s ",
        "99999999999999999999s",
        "4000d",
        "18446744073709551615d",
    ] {
        check(wrong, None);
    }
}

#[test]
fn sizes_have_a_unit_and_are_never_zero() {
    let check = |text: &str, expected: Option<u64>| assert_eq!(units::bytes(text), expected, "{text}");
    check("8GiB", Some(8 << 30));
    check("512KiB", Some(512 << 10));
    check("1MB", Some(1_000_000));
    check("100B", Some(100));
    for wrong in ["", "0B", "8", "8gib", "8 GiB", "-1B", "GiB", "99999999999999TiB"] {
        check(wrong, None);
    }
}

#[test]
fn rates_count_per_period() {
    let check = |text: &str, expected: Option<(u32, u64)>| {
        assert_eq!(units::rate(text).map(|(count, per)| (count.get(), per.as_secs())), expected, "{text}");
    };
    check("200/s", Some((200, 1)));
    check("60/m", Some((60, 60)));
    check("1000/h", Some((1000, 3600)));
    for wrong in ["", "200", "/s", "0/s", "1.5/s", "200/sec", "200 /s", "-1/s", "4294967296/s"] {
        check(wrong, None);
    }
    let burst = |count, per| units::burst_of(NonZeroU32::new(count).unwrap(), Duration::from_secs(per)).get();
    assert_eq!((burst(200, 1), burst(1000, 3600), burst(7200, 3600)), (200, 1, 2));
}

#[test]
fn a_duration_is_printed_as_it_would_be_written() {
    for text in ["500ms", "30s", "15m", "3d", "7h"] {
        assert_eq!(units::written(units::duration(text).unwrap()), text);
    }
    assert_eq!(units::written(units::duration("72h").unwrap()), "3d");
    for text in ["200/s", "60/m", "990/h", "5/d"] {
        let (count, per) = units::rate(text).unwrap();
        assert_eq!(units::written_rate(count, per), text);
    }
}

#[test]
fn a_right_file_means_what_it_says_and_defaults_fill_the_rest() {
    let config = right(&with(PARTNER));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8443");
    assert_eq!(config.server.admin.to_string(), "127.0.0.1:9090");
    assert_eq!(config.server.body_bytes_max, 4 << 20);
    assert_eq!(config.queue.pending_bytes_max, 8 << 30);
    assert_eq!(config.queue.dedup_window, Duration::from_secs(72 * 3600));
    assert_eq!(config.queue.history_keep, Duration::from_secs(7 * 86_400));
    assert_eq!(&*config.merchants[0].name, "acme");
    let partner = config.destination("partner").unwrap();
    assert_eq!(partner.limits.concurrency.get(), 16);
    assert_eq!(partner.retry.give_up_after, Duration::from_secs(72 * 3600));
    assert_eq!(partner.operations[0].on_ambiguous, OnAmbiguous::DeadLetter, "nothing deduplicates there");
}

#[test]
fn what_is_retried_with_a_slot_that_deduplicates_is_retried_when_ambiguous() {
    let slot = format!("{PARTNER}idempotency = \"map.event\"\n");
    assert_eq!(right(&with(&slot)).destinations[0].operations[0].on_ambiguous, OnAmbiguous::Retry);
    let told = format!("{slot}on_ambiguous = \"dead_letter\"\n");
    assert_eq!(right(&with(&told)).destinations[0].operations[0].on_ambiguous, OnAmbiguous::DeadLetter);
    let other = format!("{PARTNER}idempotency = \"map.other\"\n");
    assert_eq!(faults(&with(&other)), ["13:16 `map.other` is not sent, so nothing can be deduplicated on it"]);
}

#[test]
fn the_retry_horizon_stays_within_the_window_in_which_a_repeat_is_recognised() {
    let short = with(PARTNER).replace("[merchant", "dedup_window = \"24h\"\n[merchant");
    assert_eq!(right(&short).destinations[0].retry.give_up_after, Duration::from_secs(86_400), "the default follows");
    let longer = format!("{short}retry.give_up_after = \"25h\"\n");
    assert_eq!(faults(&longer), ["14:24 `retry.give_up_after` is longer than `queue.dedup_window` (1d)"]);
}

#[test]
fn plain_http_is_for_loopback_and_for_proxies() {
    let check = |server: &str, expected: &[&str]| {
        let text = with(PARTNER).replace("listen = \"127.0.0.1:8443\"\ntls = { self_signed = true }", server);
        let found = load(&text)
            .map_or_else(|report| report.located().iter().map(|f| f.message.clone()).collect(), |_| Vec::new());
        assert_eq!(found, expected, "{server}");
    };
    let clear = "`plaintext` would send tokens and personal data in the clear beyond this machine";
    check("listen = \"127.0.0.1:80\"\nplaintext = true", &[]);
    check("listen = \"[::1]:80\"\nplaintext = true", &[]);
    check("listen = \"0.0.0.0:80\"\nplaintext = true", &[clear]);
    check("listen = \"0.0.0.0:80\"\nplaintext = true\nbehind_proxy = true", &[]);
    check("listen = \"0.0.0.0:80\"", &["`[server]` needs `tls`"]);
    check("listen = \"0.0.0.0:80\"\nplaintext = false", &["`[server]` needs `tls`"]);
}

#[test]
fn a_token_belongs_to_one_merchant() {
    let twin = with(PARTNER).replace("[destination", "[merchant.globex]\ntoken_sha256 = \"8F434346648F6B96DF89DDA901C5176B10A6D83961DD3C1AC88B59B2DC327AA4\"\n[destination");
    assert_eq!(
        faults(&twin),
        ["11:17 this token is already merchant `acme`'s"],
        "letters in either case are one digest"
    );
}

#[test]
fn a_syntax_error_alone_ends_the_reading() {
    let found = faults("[server]\nlisten = \n[queue]\npaht = \"x\"\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("2:10 TOML: "), "{found:?}");
}

#[test]
fn an_empty_file_lacks_everything() {
    let found = faults("");
    assert_eq!(
        found,
        [
            "1:1 there is no `[destination.NAME]`",
            "1:1 there is no `[merchant.NAME]`",
            "1:1 there is no `[queue]`",
            "1:1 there is no `[server]`",
        ]
    );
}

#[test]
fn references_are_resolved_anywhere_in_a_string() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "from-a-file\r\n").unwrap();
    let text = with(&format!(
        "{PARTNER}secrets.one = \"x-${{file:token}}-${{env:NUMBER}}\"\nsecrets.two = \"$${{env:NUMBER}}\"\n"
    ));
    let source = Source { path: folder.path().join("routes.toml"), text, environment: &environment, sets: &[] };
    let config = Config::load(source).unwrap();
    let secrets: Vec<&str> = config.destinations[0].secrets.iter().map(Secret::reveal).collect();
    assert_eq!(secrets, ["x-from-a-file-12", "${env:NUMBER}"]);
}

#[test]
fn a_reference_that_leads_nowhere_is_one_fault() {
    let check = |value: &str, expected: &str| {
        assert_eq!(faults(&with(&format!("{PARTNER}secrets.token = \"{value}\"\n"))), [expected], "{value}");
    };
    check("${env:NO_SUCH}", "13:18 the environment variable `NO_SUCH` is not set");
    check("a${env:NO_SUCH}b", "13:19 the environment variable `NO_SUCH` is not set");
    check("${file:no/such}", "13:18 the file `no/such` cannot be read: it does not exist");
    check("${file:/}", "13:18 the file `/` cannot be read: is a directory");
    check("${vault:x}", "13:18 `${vault:x}` names no source");
    check("a${env:TOKEN", "13:19 `${` without its `}`");
    check("${env:EMPTY}", "13:17 `secrets.token` is empty");
}

#[test]
fn a_large_file_is_no_credential() {
    let report = load(&with(&format!("{PARTNER}secrets.token = \"${{file:/dev/zero}}\"\n"))).unwrap_err();
    assert!(report.to_string().contains("it is larger than 65536 bytes"), "{report}");
}

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
fn a_list_in_the_map_holds_expressions_or_tables() {
    let list = |list: &str| with(&format!("{PARTNER}map.ids = {list}\n"));
    for right_list in ["[\"order_id\", \"customer.id ?? null\"]", "[{ id = \"order_id\" }]"] {
        let config = right(&list(right_list));
        assert!(config.destinations[0].operations[0].request.has_output("map.ids"), "{right_list}");
    }
    let mixed = faults(&list("[\"order_id\", { id = \"order_id\" }]"));
    let said = "`ids` must be a list of expressions alone, or of inline tables alone, and this is a table";
    assert_eq!(mixed, [format!("13:24 {said}")]);
    assert_eq!(faults(&list("[]")), ["13:5 a list with nothing in it"]);
    assert_eq!(faults(&list("[\"order_id\", \"ordr_id\"]")), ["13:25 there is no field `ordr_id`"]);
}

#[test]
fn a_var_out_of_the_environment_is_read_as_its_type() {
    let dsp = |id: &str| {
        with(&format!(
            "[destination.dsp]\npreset = \"dsp\"\nvars.endpoint = \"https://px.dsp.com/c\"\nvars.advertiser_id = {id}\nvars.data_source_key = \"k\"\nsecrets.token = \"${{env:TOKEN}}\"\n"
        ))
    };
    right(&dsp("12"));
    right(&dsp("\"${env:NUMBER}\""));
    assert_eq!(faults(&dsp("\"12\"")), ["13:22 `vars.advertiser_id` must be a whole number"]);
    assert_eq!(
        faults(&dsp("\"${env:TOKEN}\"")),
        ["13:22 `vars.advertiser_id` must be a whole number, and `${env:TOKEN}` is none"]
    );
}

#[test]
fn a_variable_that_is_not_set_or_empty_may_have_a_default() {
    let event = |value: &str| {
        let text = format!("{PARTNER}vars.v = \"{value}\"\nheaders.X-V = \"{{vars.v}}\"\n");
        let config = right(&with(&text));
        let sample = Sample::parse(br#"{"time": "2026-11-21T10:00:00Z", "order_id": "o-1"}"#).unwrap();
        let Rendering::Sent { request, .. } =
            sample.at(&config.destinations[0], "acme", crate::mapping::Secrets::Masked)
        else {
            panic!("nothing is sent")
        };
        let (_, sent) = request.headers.iter().find(|(name, _)| name == "x-v").unwrap();
        sent.to_str().unwrap().to_owned()
    };
    assert_eq!(event("${env:NUMBER:-7}"), "12");
    assert_eq!(event("${env:MISSING:-7}"), "7");
    assert_eq!(event("${env:EMPTY:-7}"), "7", "as in a shell");
    assert_eq!(event("a-${env:MISSING:-b:-c}-$${env:MISSING:-d}"), "a-b:-c-${env:MISSING:-d}");
    let optional = "[destination.trackdesk-get]\npreset = \"trackdesk-get\"\nvars.tenant = \"t\"\n\
                    vars.conversion_type = \"sale\"\nvars.revenue_origin_id = \"${env:MISSING:-}\"\n";
    right(&with(optional));
    let empty = format!("{PARTNER}vars.v = \"${{env:MISSING:-}}\"\n");
    assert_eq!(faults(&with(&empty)), ["13:10 `vars.v` is empty"]);
}

#[test]
fn a_var_that_is_not_set_is_said_once() {
    let text = "[destination.dsp]\npreset = \"dsp\"\nvars.endpoint = \"${env:MISSING}\"\nvars.advertiser_id = 1\n\
                vars.data_source_key = \"k\"\nsecrets.token = \"${env:TOKEN}\"\n";
    assert_eq!(faults(&with(text)), ["12:18 the environment variable `MISSING` is not set"]);
}

#[test]
fn a_default_that_is_a_credential_is_never_shown() {
    let secret = "live-0123456789";
    let thrad = format!(
        "[destination.thrad]\npreset = \"thrad\"\nsecrets.api_key = \"${{env:MISSING:-{secret}}}\" # the key\n"
    );
    for wrong in [
        thrad.replace("api_key", "api_ky"),
        thrad.replace("secrets.api_key", "vars.token"),
        format!("{thrad}]"),
        format!("{thrad}auth = {{ bearer = \"a {{secrets.nothing}}\" }}\n"),
    ] {
        let report = load(&with(&wrong)).map(|_| ()).unwrap_err().to_string();
        assert!(!report.contains(secret), "{report}");
    }
    let consent = thrad.replace("secrets.api_key", "consent");
    assert_eq!(faults(&with(&consent))[1], "12:11 `consent` cannot be `${env:MISSING:-…}`");
}

#[test]
fn debug_output_of_a_configuration_shows_no_secret() {
    let text =
        with(&format!("{PARTNER}secrets.token = \"${{env:TOKEN}}\"\nauth = {{ bearer = \"{{secrets.token}}\" }}\n"));
    let config = right(&text);
    assert!(!format!("{config:?}").contains("token-from-the-environment"));
    assert_eq!(config.destinations[0].secrets[0].reveal(), "token-from-the-environment");
}

#[test]
fn reports_are_bounded_sorted_and_without_repeats() {
    let many: String = (0..80).map(|n| format!("unknown_{n:02} = 1\n")).collect();
    let report = load(&with(&format!("{PARTNER}{many}"))).unwrap_err();
    assert_eq!(report.faults, 80);
    let text = report.to_string();
    assert!(text.contains("unknown_49") && !text.contains("unknown_50"), "{text}");
    assert!(text.contains("… and 30 more") && text.ends_with("80 faults in the configuration"), "{text}");
}

#[test]
fn what_stands_in_a_ca_file_is_part_of_what_a_destination_is() {
    let folder = tempfile::tempdir().unwrap();
    let (ca_file, token) = (folder.path().join("ca.pem"), folder.path().join("token"));
    std::fs::write(&token, "one").unwrap();
    let text = with(&format!("{PARTNER}ca_file = \"ca.pem\"\nsecrets.token = \"${{file:token}}\"\n"));
    let told = std::cell::RefCell::new(Vec::new());
    let load = || {
        told.borrow_mut().clear();
        let path = folder.path().join("routes.toml");
        let source = Source { path, text: text.clone(), environment: &environment, sets: &[] };
        Config::load_telling(source, &|path| told.borrow_mut().push(path.to_owned()))
    };
    let fault = load().map(|_| ()).unwrap_err();
    assert_eq!(fault.located()[0].message, "`ca_file` cannot be read: it does not exist");
    assert_eq!(*told.borrow(), [token.clone(), ca_file.clone()], "also of what is missing");
    let fingerprint = || load().unwrap_or_else(|report| panic!("{report}")).destinations[0].fingerprint;
    std::fs::write(&ca_file, "one").unwrap();
    let one = fingerprint();
    assert_eq!(*told.borrow(), [token, ca_file.clone()]);
    assert_eq!(fingerprint(), one);
    std::fs::write(&ca_file, "two").unwrap();
    assert_ne!(fingerprint(), one);
}

#[test]
fn nesting_has_a_limit() {
    for deep in [
        format!("a{} = 1", ".a".repeat(200_000)),
        format!("a = {}", "[".repeat(200_000)),
        format!("[a{}]", ".a".repeat(200_000)),
    ] {
        assert!(load(&deep).is_err());
        assert!(load(&with(&format!("{PARTNER}map.{deep}"))).is_err());
    }
}

#[test]
fn the_configuration_is_looked_for_in_order() {
    let environment = |name: &str| (name == "CAPI_RELAY_CONFIG").then(|| "from-the-environment.toml".to_owned());
    let found = |flag: Option<&str>| find(flag.map(std::path::Path::new), &environment).unwrap();
    assert_eq!(found(Some("given.toml")).as_os_str(), "given.toml");
    assert_eq!(found(None).as_os_str(), "from-the-environment.toml");
    assert!(read(std::path::Path::new("/no/such")).unwrap_err().to_string().contains("/no/such cannot be read"));
    assert!(read(std::path::Path::new("/dev/zero")).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_reading_panic(text in "[ -~\n\u{e9}\u{1f600}]{0,200}", cut in 0usize..2000) {
        let whole = with(&format!("{PARTNER}{text}\n[destination.thrad]\npreset = \"thrad\"\nsecrets.api_key = \"${{env:TOKEN}}\"\n"));
        let cut = whole.floor_char_boundary(cut.min(whole.len()));
        for text in [text.as_str(), whole.as_str(), whole.split_at(cut).0] {
            if let Err(report) = load(text) {
                prop_assert!(report.faults > 0);
                prop_assert!(!report.to_string().contains("token-from-the-environment"));
            }
        }
    }

    #[test]
    fn a_literal_secret_is_never_shown_wherever_it_is_cut(cut in 0usize..400, line in 0usize..12) {
        let text = with(&format!("{PARTNER}[destination.thrad]\npreset = \"thrad\"\nsecrets.api_key = \"live-0123456789\"\nsecrets.extra = '''\nlive-0123456789\n'''\n"));
        let lines: Vec<&str> = text.lines().enumerate().filter(|(n, _)| *n != line).map(|(_, line)| line).collect();
        let cut = text.floor_char_boundary(cut.min(text.len()));
        for text in [lines.join("\n"), text.split_at(cut).0.to_owned()] {
            if let Err(report) = load(&text) {
                let report = report.to_string();
                prop_assert!(!report.contains("live-0123456789"), "{report}");
            }
        }
    }
}

#[test]
fn where_it_does_not_serve_secrets_and_tls_files_may_be_missing_and_nothing_else() {
    let text = with(
        "[destination.thrad]\npreset = \"thrad\"\nsecrets.api_key = \"${env:MISSING}\"\nca_file = \"/nowhere/ca.pem\"\n",
    )
    .replace("self_signed = true", "cert = \"/nowhere/tls.crt\", key = \"/nowhere/tls.key\"")
    .replace(
        "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
        "${file:/nowhere/token}\"\n[merchant.globex]\ntoken_sha256 = \"${env:OTHER}",
    );
    let elsewhere = |text: &str| {
        let path = "routes.toml".into();
        Config::load_without_secrets(Source { path, text: text.to_owned(), environment: &environment, sets: &[] })
    };
    let config = elsewhere(&text).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(config.merchants.len(), 2);
    assert_eq!(load(&text).map(|_| ()).unwrap_err().faults, 6);
    let report =
        elsewhere(&format!("{text}vars.tag_id = \"${{env:MISSING}}\"\nsecrets.api_ky = \"${{env:MISSING}}\"\n"));
    let report = report.map(|_| ()).unwrap_err();
    let messages: Vec<&str> = report.located().iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(messages, ["the environment variable `MISSING` is not set", "unknown secret `api_ky`"]);
    assert_eq!(
        report.located()[0].help.as_deref().unwrap(),
        "secrets alone are stood in for, and this is part of what is sent or served: set `MISSING`, for `check` to anything \
         of its type, or give a default: `${env:MISSING:-…}`"
    );
}

#[test]
fn what_is_said_of_a_field_may_hold_what_is_said_of_the_fields_below_it() {
    let declared = r#"[destination.partner]
url = "https://px.example.com/events"
[destination.partner.map]
"data[0].user.name" = "customer.id"
"data[0].user.type" = "event_type"
"data[0].items[].id" = "item.sku"
[destination.partner.outputs."data[0]".user]
type = { type = "text", values = ["guest"] }
nam = { type = "text" }
[destination.partner.outputs."data[0]".items]
type = "array"
"#;
    assert_eq!(faults(&with(declared)), ["13:2 the contract knows no field `data[0].user.name`"]);
    right(&with(&declared.replace("nam =", "name =")));
    assert_eq!(
        faults(&with(&declared.replace("nam =", "\"name\" = { type = \"int\" }\nother ="))),
        ["13:24 `data[0].user.name` is a whole number, and this is text"]
    );
    let said_twice = format!("{declared}[destination.partner.outputs]\n\"data[0].user.nam\" = {{}}\n");
    assert_eq!(faults(&with(&said_twice))[1], "22:2 `data[0].user.nam` is declared twice");
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
