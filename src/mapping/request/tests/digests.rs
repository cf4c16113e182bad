//! A field whose contract asks for a hash: what is refused at load, and what is held for each request.

use super::*;

fn by(names: &[&str]) -> Pii {
    Pii::Hashed(names.iter().map(|name| (*name).to_owned()).collect())
}

fn hashed(source: &str, algorithms: &[&str]) -> Written {
    Written::new(Encoding::Json).map(&[("x", source), ("e", "event_id")]).output("e", |_| {}).output("x", |output| {
        output.pii = by(algorithms);
    })
}

fn custom(text: &str) -> String {
    format!(r#"{{"event_id": "e", "custom": {{"x": {text}}}}}"#)
}

#[test]
fn what_follows_a_hash_leaves_it_a_digest() {
    #[track_caller]
    fn check(source: &str, holds: bool) {
        let fault = "is hashed (sha256), and what follows the hash makes something else of it";
        let expected = if holds { "-".to_owned() } else { format!("{source}: `x` {fault}") };
        assert_eq!(hashed(source, &["sha256"]).fault(), expected, "{source}");
    }
    check("customer.email | lower | sha256", true);
    check("customer.email | lower | sha256 | lower | string | trim", true);
    check("customer.email | lower | sha256 | truncate(64)", true);
    check("customer.email | lower | sha256 | truncate(32)", false);
    check("customer.email | lower | sha256 | upper", false);
    check("customer.email_sha256 | upper", false);
    check("customer.email | lower | sha256 | prefix('sha256=')", false);
    check("customer.email_sha256 | suffix('.v1')", false);
    check("concat('h_', customer.email_sha256)", false);
    check("customer.email_sha256 | replace('a', 'b')", false);
    check("customer.email_sha256 | replace_re('^0+', '')", false);
    check("customer.email_sha256 | digits", false);
    check("customer.email_sha256 | substring(0, 32)", false);
    check("customer.email_sha256 | pad_left(70, '0')", false);
    check("customer.email_sha256 | json", false);
    check("customer.email_sha256 ?? (customer.email | lower | sha256 | upper)", false);
    // What is hashed may be whatever it is.
    check("concat('salt', customer.id) | upper | sha256", true);
    check("custom.x | string | prefix('a') | sha256", true);
    // In base64 the alphabet and the padding are the platform's choice, and the case is not.
    check("customer.email | lower | sha256('base64')", true);
    check("customer.email | lower | sha256('base64') | replace('+', '-') | replace_re('=+$', '')", true);
    check("customer.email | lower | sha256('base64') | lower", false);
    check("customer.email | lower | sha256('base64') | url_encode", false);
    check("customer.email | lower | sha256 | url_encode", true);
}

#[test]
fn a_literal_in_a_hashed_field_is_a_digest() {
    #[track_caller]
    fn check(source: &str, algorithms: &[&str], expected: &str) {
        let expected = if expected == "-" { "-".to_owned() } else { format!("{source}: `x` is {expected}") };
        assert_eq!(hashed(source, algorithms).fault(), expected);
    }
    check("'none'", &["sha256"], "hashed (sha256), and `none` is no digest");
    check("customer.email_sha256 ?? 'none'", &["sha256"], "hashed (sha256), and `none` is no digest");
    check("customer.email_sha256 | default('none')", &["sha256"], "hashed (sha256), and `none` is no digest");
    check("customer.gender | lookup({m: 'm'})", &["sha256"], "hashed (sha256), and `m` is no digest");
    check("vars.tenant", &[], "hashed, and `acme` is no digest");
    check("'none' | sha256", &["sha256"], "-");
    check(&format!("'{}'", "0a".repeat(32)), &["sha256"], "-");
    check(&format!("'{}'", "0a".repeat(20)), &["sha1", "sha256"], "-");
    let (sha1, upper) = ("0a".repeat(20), "0A".repeat(32));
    check(&format!("'{sha1}'"), &["sha256"], &format!("hashed (sha256), and `{sha1}` is no digest"));
    check(&format!("'{upper}'"), &["sha256"], &format!("hashed (sha256), and `{upper}` is no digest"));
}

#[test]
fn free_data_in_a_hashed_field_is_held_for_each_request() {
    let (sha1, sha256) = ("0a".repeat(20), "0b".repeat(32));
    let text = |text: &str| custom(&format!("\"{text}\""));
    let one = hashed("custom.x | string", &["sha256"]);
    assert_eq!(one.body(&text(&sha256)), format!(r#"{{"x":"{sha256}","e":"e"}}"#));
    for wrong in ["ada@example.com", &sha1, &sha256.to_uppercase(), &sha256.replacen('0', "g", 1)] {
        let reason = one.unmappable(&text(wrong));
        assert_eq!(reason, "x: not a digest, and the contract takes sha256 in lower-case hex", "{wrong}");
    }
    assert_eq!(one.body(r#"{"event_id": "e"}"#), r#"{"e":"e"}"#, "absent stays absent");
    let two = hashed("(customer.email | lower | sha256) ?? custom.x | string", &["sha1", "sha256"]);
    assert_eq!(two.body(&text(&sha1)), format!(r#"{{"x":"{sha1}","e":"e"}}"#));
    let any = hashed("custom.x", &[]);
    assert_eq!(any.body(&text(&sha1)), format!(r#"{{"x":"{sha1}","e":"e"}}"#));
    let reason = "x: not a digest, and the contract takes md5 or sha1 or sha256 or sha512 in lower-case hex";
    assert_eq!(any.unmappable(&custom("12")), reason);
    assert_eq!(any.unmappable(&custom("{\"a\": 1}")), reason);
    // What is found in a text is no more known than free data.
    let found = hashed("page.url | url_param('em')", &["sha256"]);
    assert_eq!(found.unmappable(r#"{"page": {"url": "https://a.example/?em=ada"}}"#).split(':').next(), Some("x"));
}

#[test]
fn what_is_not_the_digest_that_is_asked_for_can_be_left_out() {
    let mut omit = hashed("custom.x | string", &["sha256"]);
    omit.source.rules.outputs[1].over = Over::Omit;
    assert_eq!(omit.body(&custom("\"ada@example.com\"")), r#"{"e":"e"}"#);
    omit.source.rules.outputs[1].required = true;
    assert!(omit.fault().starts_with("x: a required field cannot be left out"), "{}", omit.fault());
}

#[test]
fn a_digest_in_base64_is_asked_for_where_the_fields_own_hash_is_so_written() {
    let field = hashed("(customer.email | lower | sha256('base64')) ?? custom.x | string", &["sha256"]);
    let digest = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    for right in [digest, digest.trim_end_matches('='), &digest.replace('+', "-")] {
        assert_eq!(field.body(&custom(&format!("\"{right}\""))), format!(r#"{{"x":"{right}","e":"e"}}"#));
    }
    let reason = "x: not a digest, and the contract takes sha256 in base64";
    for wrong in ["0b".repeat(32), digest.replace('P', "*"), format!("{digest}="), digest.replacen('L', "", 1)] {
        assert_eq!(field.unmappable(&custom(&format!("\"{wrong}\""))), reason, "{wrong}");
    }
}

#[test]
fn lists_and_entries_are_held_like_single_fields() {
    let sha256 = "0b".repeat(32);
    let list = Written::new(Encoding::Json).map(&[("em[]", "custom.x")]).output("em[]", |output| {
        output.pii = by(&["sha256"]);
    });
    assert_eq!(list.body(&custom(&format!("[\"{sha256}\"]"))), format!(r#"{{"em":["{sha256}"]}}"#));
    assert!(list.unmappable(&custom(&format!("[\"{sha256}\", \"ada\"]"))).starts_with("em[]: not a digest"));
    let parts = Written::new(Encoding::Json).map(&[("em", "@customer.email_sha256 / custom.x | string")]);
    let parts = parts.output("em", |output| (output.kind, output.pii) = (OutputKind::Array, by(&["sha256"])));
    assert_eq!(parts.body(&custom(&format!("\"{sha256}\""))), format!(r#"{{"em":["{sha256}"]}}"#));
    assert!(parts.unmappable(&custom("\"ada\"")).starts_with("em[1]: not a digest"));
    let entries = Written::new(Encoding::Json)
        .map(&[("ids", "@id => custom.x | string; name => 'Email' / id => event_id; name => 'Event'")])
        .output("ids", |_| {})
        .output("ids[].name", |output| output.values = vec!["Email".to_owned(), "Event".to_owned()]);
    assert!(entries.body(&custom("\"ada\"")).contains(r#"{"id":"ada","name":"Email"}"#));
    let entries = Written::new(Encoding::Json)
        .map(&[("ids", "@id => custom.x | string; name => 'Email'"), ("e", "event_id")])
        .output("ids", |_| {})
        .output("e", |_| {})
        .output("ids[].id", |output| (output.pii, output.over) = (by(&["sha256"]), Over::Omit));
    assert_eq!(entries.body(&custom("\"ada\"")), r#"{"e":"e"}"#);
    assert!(entries.body(&custom(&format!("\"{sha256}\""))).contains("Email"));
}

#[test]
fn what_is_proven_a_digest_is_not_looked_at_again() {
    let held = |source: &str| {
        let field = Written::new(Encoding::Json).map(&[("x", source)]).output("x", |output| output.pii = by(&[]));
        format!("{:?}", field.template()).contains("among: Some")
    };
    assert!(!held("customer.email_sha256 ?? (customer.email | trim | lower | sha256)"));
    assert!(held("customer.email_sha256 ?? custom.x | string"));
}

#[test]
fn what_replaces_signs_of_base64_is_held_for_each_request() {
    let sent = |filters: &str| {
        hashed(&format!("customer.email | lower | sha256('base64') | {filters}"), &["sha256"])
            .rendered(r#"{"event_id": "e", "customer": {"email": "ada@example.com"}}"#, Secrets::Revealed)
            .map(|request| String::from_utf8_lossy(&request.body).len())
            .map_err(|unmappable| unmappable.to_string())
    };
    // `{"x":"…","e":"e"}` around 43 signs.
    assert_eq!(sent("replace('+', '-') | replace('/', '_') | replace_re('=+$', '')"), Ok(43 + 16));
    let reason = Err("x: not a digest, and the contract takes sha256 in base64".to_owned());
    assert_eq!(sent("replace_re('.*', 'x')"), reason);
    assert_eq!(sent("replace_re('^.', '')"), reason);
}

#[test]
fn three_stars_are_no_digest_and_no_word() {
    let stars = custom("\"***\"");
    let digest = hashed("custom.x | string", &["sha256"]);
    assert!(digest.unmappable(&stars).starts_with("x: not a digest"));
    let list = hashed("custom.x", &["sha256"]);
    assert!(list.unmappable(&custom("[\"***\"]")).starts_with("x: not a digest"));
    let words = |source: &str, word: &str| {
        Written::new(Encoding::Json).map(&[("x", source)]).output("x", |output| output.values = vec![word.to_owned()])
    };
    let reason = "x: none of the values that the contract names";
    assert_eq!(words("custom.x | string", "a").unmappable(&stars), reason);
    let shown = words("custom.x | string", "a").rendered(&stars, Secrets::Masked).expect_err("no word").to_string();
    assert_eq!(shown, reason);
    // What a secret leaves when it is masked was looked at as it is.
    let masked = words("secrets.token", "s3cret/+ =").rendered("{}", Secrets::Masked).expect("its word");
    assert_eq!(masked.body, br#"{"x":"***"}"#);
    assert_eq!(words("secrets.token", "other").unmappable("{}"), reason);
}

#[test]
fn what_is_asked_for_with_an_exclamation_mark_is_not_left_out() {
    let omit = |source: &str, shape: &dyn Fn(&mut OutputSource)| {
        let written = Written::new(Encoding::Json).map(&[("x", source), ("e", "event_id")]).output("e", |_| {});
        let written = written.output("x", |output| {
            output.over = Over::Omit;
            shape(output);
        });
        written.fault()
    };
    let words = |output: &mut OutputSource| output.values = vec!["a".to_owned()];
    let length = |output: &mut OutputSource| output.chars_max = Some(64);
    let digest = |output: &mut OutputSource| output.pii = by(&["sha256"]);
    let fault = |source: &str| format!("{source}: a required field cannot be left out");
    assert_eq!(omit("custom.x | string !", &words), fault("custom.x | string !"));
    assert_eq!(omit("custom.x | string !", &length), fault("custom.x | string !"));
    assert_eq!(omit("custom.x | string !", &digest), fault("custom.x | string !"));
    assert_eq!(omit("customer.email_sha256 !", &length), "-");
    assert_eq!(omit("customer.email_sha256 !", &digest), "-");
    assert_eq!(omit("event_type | lookup({purchase: 'a'}) !", &words), "-");
    let part = Written::new(Encoding::Json).map(&[("ids", "@id => custom.x | string !; name => 'Id'")]);
    let part = part.output("ids", |_| {}).output("ids[].id", |output| {
        (output.chars_max, output.over) = (Some(3), Over::Omit);
    });
    assert_eq!(part.fault(), fault("custom.x | string !"));
}
