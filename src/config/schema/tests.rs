//! The schema's keys are those that the readers ask for, and its words those that they take.

use super::super::Config;
use super::super::load::Source;
use super::*;

const HEAD: &str = "[server]\nlisten = \"127.0.0.1:8443\"\ntls = { self_signed = true }\n[queue]\npath = \"/var/lib/x\"\n\
    [merchant.acme]\ntoken_sha256 = \"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4\"\n\
    [destination.partner]\nurl = \"https://px.example.com/events\"\nmap.event = \"event_type\"\n";

/// What the reader says of the keys of a table in which one stands that it cannot know.
fn known_by_the_reader(place: &str) -> Vec<String> {
    let sets = [(format!("{place}zzzzzzzz"), "1".to_owned())];
    let source = Source { path: "routes.toml".into(), text: HEAD.to_owned(), environment: &|_| None, sets: &sets };
    let report = Config::load(source).map(drop).unwrap_err();
    let help = report.located().iter().filter(|fault| fault.message == "unknown key `zzzzzzzz`");
    let help = help.filter_map(|fault| fault.help.clone()).next().unwrap_or_else(|| panic!("{place}: {report}"));
    let (_, list) = help.split_once(" knows ").unwrap_or_else(|| panic!("{place}: {help}"));
    let mut keys: Vec<String> = list.split(", ").map(|key| key.trim_matches('`').to_owned()).collect();
    keys.sort();
    keys
}

#[test]
fn the_keys_of_the_schema_are_those_that_are_read() {
    #[track_caller]
    fn check(place: &str, keys: &[Key]) {
        let mut known: Vec<String> = keys.iter().map(|key| key.name.to_owned()).collect();
        known.sort();
        assert_eq!(known, known_by_the_reader(place), "{place}");
    }
    check("", keys::ROOT);
    check("server.", keys::SERVER);
    check("server.tls.", keys::TLS);
    check("queue.", keys::QUEUE);
    check("queue.history.", keys::HISTORY);
    check("queue.encryption.", keys::ENCRYPTION);
    check("merchant.acme.", keys::MERCHANT);
    check("destination.partner.", keys::DESTINATION);
    check("destination.partner.operation.refund.", keys::OPERATION);
    check("destination.partner.operation.refund.limits.", keys::RATES);
    check("destination.partner.auth.", keys::AUTH);
    check("destination.partner.auth.header.", keys::NAME_VALUE);
    check("destination.partner.auth.hmac.", keys::HMAC);
    check("destination.partner.auth.oauth.", keys::OAUTH);
    check("destination.partner.max_length.event.", keys::MAX_LENGTH);
    check("destination.partner.outputs.event.", keys::OUTPUT);
    check("destination.partner.wait_header.", keys::WAIT_HEADER);
    check("destination.partner.limits.", keys::LIMITS);
    check("destination.partner.retry.", keys::RETRY);
}

#[test]
fn every_word_of_the_schema_is_taken() {
    fn each(place: &str, keys: &[Key], seen: &mut usize) {
        for key in keys {
            if let Shape::Table(inner) = key.shape {
                each(&format!("{place}{}.", key.name), inner, seen);
            }
            let Shape::Words(words) = key.shape else { continue };
            for word in words {
                *seen += 1;
                let sets = [(format!("{place}{}", key.name), (*word).to_owned())];
                let text = HEAD.to_owned();
                let source = Source { path: "routes.toml".into(), text, environment: &|_| None, sets: &sets };
                let refused = Config::load(source).err().map(|report| report.to_string()).unwrap_or_default();
                assert!(!refused.contains(&format!("cannot be `{word}`")), "{refused}");
                assert!(!refused.contains("is not sent\n"), "{refused}");
            }
        }
    }
    let mut seen = 0;
    each("server.", keys::SERVER, &mut seen);
    each("queue.", keys::QUEUE, &mut seen);
    each("destination.partner.", keys::DESTINATION, &mut seen);
    each("destination.partner.outputs.event.", keys::OUTPUT, &mut seen);
    each("destination.partner.max_length.event.", keys::MAX_LENGTH, &mut seen);
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_preset_shows_its_vars_secrets_and_fields() {
    let schema = routes_schema();
    let rules = schema.pointer("/$defs/destination/allOf").and_then(Value::as_array).unwrap();
    assert_eq!(rules.len(), presets().len());
    let thrad = &rules[0];
    assert_eq!(thrad.pointer("/if/properties/preset/const"), Some(&json!("thrad")));
    assert!(thrad.pointer("/then/properties/secrets/properties/api_key/description").is_some());
    assert!(thrad.pointer("/then/properties/map/properties/click_id").is_some());
    assert_eq!(thrad.pointer("/then/properties/secrets/required"), Some(&json!(["api_key"])));
    let names: Vec<&str> = presets().iter().map(|(name, _)| *name).collect();
    assert_eq!(schema.pointer("/$defs/destination/properties/preset/anyOf/0/enum"), Some(&json!(names)));
    let descriptions = schema.pointer("/$defs/expression/description").and_then(Value::as_str).unwrap();
    assert!(filters().all(|filter| descriptions.contains(&filter.signature)));
}
