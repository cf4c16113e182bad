//! Every preset loads.

use super::*;
use crate::config::preset::Preset;
use crate::config::tree::{Entry, Table, Value};

/// Every preset, set.
pub(super) const ALL: &str = r#"
[destination.thrad]
preset = "thrad"
vars.tag_id = "tag-7"
secrets.api_key = "thrad-key"
[destination.impact]
preset = "impact"
vars.account_sid = "IRsid"
vars.campaign_id = 1000
vars.event_type_id = 12345
secrets.auth_token = "impact-token"
[destination.scaleo]
preset = "scaleo"
expect_currency = "EUR"
vars.domain = "example.scaletrk.com"
vars.goal_id = 3
secrets.api_key = "scaleo-key"
[destination.trackdesk]
preset = "trackdesk"
vars.tenant = "example"
vars.conversion_type = "sale"
[destination.trackdesk-get]
preset = "trackdesk-get"
vars.tenant = "example"
vars.conversion_type = "sale"
[destination.dsp]
preset = "dsp"
vars.endpoint = "https://px.dsp.com/signal/v1/conversion"
vars.advertiser_id = 12
vars.data_source_key = "abc123def456"
secrets.token = "dsp-token"
[destination.meta]
preset = "meta"
vars.pixel_id = "123456789012345"
secrets.access_token = "meta-token"
[destination.tiktok]
preset = "tiktok"
vars.pixel_code = "CABCDEFGHIJKLMNOPQRS"
secrets.access_token = "tiktok-token"
[destination.ga4]
preset = "ga4"
vars.measurement_id = "G-ABCDEF1234"
secrets.api_secret = "ga4-secret"
[destination.google-ads]
preset = "google-ads"
vars.customer_id = "1234567890"
vars.conversion_action_id = "555000111"
secrets.client_id = "google-client"
secrets.client_secret = "google-secret"
secrets.refresh_token = "google-token"
[destination.pinterest]
preset = "pinterest"
vars.ad_account_id = "549755885175"
secrets.conversion_token = "pinterest-token"
[destination.snap]
preset = "snap"
vars.pixel_id = "fcde1234-0000-4000-8000-000000000001"
secrets.access_token = "snap-token"
[destination.reddit]
preset = "reddit"
vars.pixel_id = "a2_abcdefghijkl"
secrets.conversion_token = "reddit-token"
[destination.linkedin]
preset = "linkedin"
vars.conversion_id = "104012"
secrets.client_id = "linkedin-client"
secrets.client_secret = "linkedin-secret"
secrets.refresh_token = "linkedin-token"
[destination.openai-ads]
preset = "openai-ads"
vars.pixel_id = "2atj5meVpvtJ5kCtqhG3yX"
secrets.api_key = "openai-key"
[destination.awin]
preset = "awin"
vars.advertiser_id = "12345"
secrets.api_key = "awin-key"
"#;

#[test]
fn every_preset_loads() {
    let config = right(&with(ALL));
    let names: Vec<&str> = config.destinations.iter().filter_map(|destination| destination.preset.as_deref()).collect();
    assert_eq!(names, presets().iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn a_preset_says_of_every_field_of_the_document_where_it_comes_from_or_why_not() {
    for (name, _) in presets() {
        let preset = Preset::built_in(name).unwrap();
        declares_every_field(name, &preset.table);
        for operation in preset.table.table("operation").map(|table| table.entries.as_slice()).unwrap_or_default() {
            let place = format!("{name}: {}", operation.key.value);
            declares_every_field(&place, operation.node.value.as_table().unwrap());
        }
    }
}

/// Of one operation: each field that it sends is declared with its type and its meaning, and each one that is declared is
/// sent, or says why not.
#[track_caller]
fn declares_every_field(place: &str, operation: &Table) {
    let entries = |key| operation.table(key).map(|table| table.entries.as_slice()).unwrap_or_default();
    let lines: Vec<&Entry> = entries("map").iter().chain(entries("query")).collect();
    let mut set: Vec<String> = lines.iter().map(|line| line.key.value.clone()).collect();
    for line in &lines {
        let Value::List(entries) = &line.node.value else { continue };
        let parts = entries.iter().filter_map(|entry| entry.value.as_table()).flat_map(|parts| &parts.entries);
        set.extend(parts.map(|part| format!("{}[].{}", line.key.value, part.key.value)));
    }
    let declared: Vec<&str> = entries("outputs").iter().map(|output| output.key.value.as_str()).collect();
    assert!(!declared.is_empty(), "{place} says nothing of its fields");
    for field in &set {
        assert!(declared.contains(&field.as_str()), "{place} sends {field} and says nothing of it");
    }
    for output in entries("outputs") {
        let (target, said) = (output.key.value.as_str(), output.node.value.as_table().unwrap());
        let below = |line: &String| line.strip_prefix(target).is_some_and(|rest| rest.starts_with(['.', '[']));
        let is_set = set.iter().any(|line| line == target || below(line));
        assert_ne!(is_set, said.entry("unmapped").is_some(), "{place}: {target}");
        assert!(said.entry("doc").is_some(), "{place}: {target}");
        assert!(said.entry("type").is_some() || target == "*", "{place}: {target}");
    }
}

/// A declaration that nothing can break says nothing: each line is given what its field does not take.
#[test]
fn what_presets_declare_is_held_against_every_line_of_their_maps() {
    for said in [Said::Hashed, Said::Words, Said::Numbers, Said::Required, Said::Length] {
        let mut refused = 0;
        for (name, _) in presets() {
            let preset = Preset::built_in(name).unwrap();
            let section = format!("[destination.{name}]");
            let own = ALL.split_once(&section).unwrap().1.split("[destination.").next().unwrap_or_default();
            let others = preset.table.table("operation").map(|table| table.entries.as_slice()).unwrap_or_default();
            let others =
                others.iter().map(|it| (format!("operation.{}.", it.key.value), it.node.value.as_table().unwrap()));
            for (place, operation) in others.chain([(String::new(), &preset.table)]) {
                let wrong = said.broken(operation);
                let lines = wrong.iter().map(|(target, line)| format!("{place}map.\"{target}\" = {line}\n"));
                let text = with(&format!("{section}{own}{}", lines.collect::<String>()));
                let report = load(&text).map(|_| ()).err();
                for (target, _) in &wrong {
                    let expected = format!("`{target}` {}", said.fault());
                    let faults = report.as_ref().map(Report::located).unwrap_or_default();
                    let is_said = faults.iter().any(|fault| fault.message.starts_with(&expected));
                    assert!(is_said, "{name} {place}: {expected} is not in {report:?}");
                    refused += 1;
                }
            }
        }
        assert!(refused >= 20, "{said:?}: {refused}");
    }
}

/// What a declaration says of a field.
#[derive(Debug, Clone, Copy)]
enum Said {
    Hashed,
    Words,
    Numbers,
    Required,
    Length,
}

impl Said {
    /// How the fault begins, after the field's name.
    fn fault(self) -> &'static str {
        match self {
            Said::Hashed => "is hashed",
            Said::Words => "is one of",
            Said::Numbers => "is ",
            Said::Required => "is required",
            Said::Length => "takes ",
        }
    }

    /// The fields of an operation of which it is said, each with a line that does not keep to it.
    fn broken(self, operation: &Table) -> Vec<(String, String)> {
        let lines = operation.table("map").unwrap();
        let outputs = operation.table("outputs").unwrap().entries.iter();
        let declared = outputs.filter_map(|output| Some((output, lines.entry(&output.key.value)?)));
        let line = |(output, line): (&Entry, &Entry)| {
            let is_list = matches!(line.node.value, Value::List(_));
            let line = self.broken_line(&output.key.value, output.node.value.as_table().unwrap(), is_list)?;
            Some((output.key.value.clone(), line))
        };
        declared.filter_map(line).collect()
    }

    fn broken_line(self, target: &str, said: &Table, is_list: bool) -> Option<String> {
        let text = |key: &str| match said.entry(key).map(|entry| &entry.node.value) {
            Some(Value::Text { text, .. }) => text.value.as_str(),
            Some(_) | None => "",
        };
        let is_of_items = target.contains("[]") || target.contains("{i");
        let line = match self {
            Said::Hashed if text("pii") == "sha256" && is_list => "[\"customer.email\"]",
            Said::Hashed if text("pii") == "sha256" => "\"customer.email\"",
            Said::Words if said.entry("values").is_some() => "\"'no such word'\"",
            Said::Numbers if !matches!(text("type"), "int" | "number" | "bool") => return None,
            Said::Numbers if is_of_items => "\"item.sku\"",
            Said::Numbers => "\"order_id\"",
            // Of items, and of lists, a rule may hold it for each request.
            Said::Required if is_of_items || is_list => return None,
            Said::Required => {
                matches!(said.entry("required")?.node.value, Value::Bool(true)).then_some("\"custom.a | string\"")?
            }
            Said::Length if said.entry("max_length").is_some() && !is_of_items => {
                return Some(format!("\"'{}'\"", "x".repeat(1001)));
            }
            Said::Hashed | Said::Words | Said::Length => return None,
        };
        Some(line.to_owned())
    }
}

#[test]
fn a_var_of_a_preset_says_its_type_and_has_no_default_where_it_is_required() {
    #[track_caller]
    fn check(need: &str, expected: &str) {
        let preset = format!("url = \"https://px.example.com/{{vars.account}}\"\nmap.event = \"event_type\"\n{need}\n");
        let text = with("[destination.partner]\npreset = \"own\"\nvars.account = \"a-1\"\n");
        let source = Source { path: "routes.toml".into(), text, environment: &|_| None, sets: &[] };
        let found = Config::load_with_presets(source, &[("own", &preset)]);
        let said = found.map(|_| String::new()).unwrap_or_else(|report| report.located()[0].message.clone());
        assert_eq!(said, expected);
    }
    check("needs.vars.account = { type = \"text\", required = true }", "");
    check("needs.vars.account = { required = true }", "`type` is missing");
    check(
        "needs.vars.account = { type = \"text\", required = true, default = \"a\" }",
        "`account` is required, so its default would never be",
    );
}

#[test]
fn a_preset_gives_up_within_a_window_that_is_shorter_than_its_platforms() {
    let hours = |hours: u64| std::time::Duration::from_secs(hours * 3600);
    let given_up = |text: &str, name: &str| right(text).destination(name).unwrap().retry.give_up_after;
    let all = with(ALL);
    let queue = all.replace("[merchant", "dedup_window = \"24h\"\n[merchant");
    for name in ["meta", "tiktok", "snap"] {
        let header = format!("[destination.{name}]\n");
        let own = all.replace(&header, &format!("{header}dedup_window = \"12h\"\n"));
        assert_eq!([given_up(&all, name), given_up(&queue, name), given_up(&own, name)], [48, 24, 12].map(hours));
    }
}

#[test]
fn what_a_vendor_allows_in_a_minute_is_not_passed_with_the_burst_either() {
    let config = right(&with(ALL));
    for (preset, allowed) in [("awin", 20), ("pinterest", 5_000)] {
        let rate = config.destination(preset).unwrap().limits.rate.unwrap();
        assert_eq!(rate.per, std::time::Duration::from_secs(60), "{preset}");
        assert!(rate.count.get() + rate.burst.get() <= allowed, "{preset}: {rate:?}");
    }
}
