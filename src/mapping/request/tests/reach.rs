//! What the contract says of an array or an object holds for its entries and for what stands below it.

use super::*;

fn sha256() -> Pii {
    Pii::Hashed(vec!["sha256".to_owned()])
}

fn custom(json: &str) -> String {
    format!(r#"{{"event_id": "e", "custom": {{"x": {json}}}}}"#)
}

/// A user object with hashed addresses, and one line of the map.
fn addresses(target: &str, source: &str) -> Written {
    Written::new(Encoding::Json)
        .map(&[(target, source)])
        .output("u", |output| output.kind = OutputKind::Object)
        .output("u.em", |output| (output.kind, output.pii) = (OutputKind::Array, sha256()))
}

#[test]
fn entries_and_what_stands_below_take_the_same_of_a_person() {
    let plain = "customer.email: `u.em` is hashed (sha256), and `customer.email` is plain";
    for target in ["u.em[]", "u.em[0]", "u.em.x", "u.em[0].x", r"u.\em[]", "u.em"] {
        let source = if target == "u.em" { "@customer.email_sha256 / customer.email" } else { "customer.email" };
        assert_eq!(addresses(target, source).fault(), plain, "{target}");
        if target != "u.em" {
            assert_eq!(addresses(target, "customer.email_sha256").fault(), "-", "{target}");
        }
    }
    let form = Written::new(Encoding::Form).map(&[("em[]", "customer.email")]);
    let form = form.output("em", |output| (output.kind, output.pii) = (OutputKind::Array, sha256()));
    assert_eq!(form.fault(), "customer.email: `em` is hashed (sha256), and `customer.email` is plain");
    let whole = Written::new(Encoding::Json).map(&[("em", "@customer.email")]);
    let whole = whole.output("em", |output| output.kind = OutputKind::Array).output("em[]", |output| {
        output.pii = sha256();
    });
    assert_eq!(whole.fault(), "customer.email: `em[]` is hashed (sha256), and `customer.email` is plain");
}

#[test]
fn a_place_is_the_same_by_another_spelling_and_in_a_body_that_is_an_array() {
    let hashed = |declared: &str, target: &str, source: &str| {
        Written::new(Encoding::Json).map(&[(target, source)]).output(declared, |output| output.pii = sha256()).fault()
    };
    for (declared, target) in
        [("em", r"\em"), (r"a\.em", r"a\.\em"), ("[].em", "[0].em"), ("[0]", "[]"), ("[]", "[].em")]
    {
        let plain = format!("customer.email: `{declared}` is hashed (sha256), and `customer.email` is plain");
        assert!(hashed(declared, target, "customer.email").contains(&plain), "{target}");
        assert!(!hashed(declared, target, "customer.email_sha256").contains("hashed"), "{target}");
    }
    assert!(!hashed("em", "[].em", "customer.email").contains("hashed"));
}

#[test]
fn the_nearest_that_says_something_of_a_person_is_held_to() {
    let nobody = |target: &str, source: &str| {
        Written::new(Encoding::Json)
            .map(&[(target, source)])
            .output("u", |output| (output.kind, output.pii) = (OutputKind::Object, Pii::Forbidden))
            .output("u.seller", |output| output.kind = OutputKind::Object)
            .output("u.buyer", |output| (output.kind, output.pii) = (OutputKind::Object, Pii::Plain))
    };
    let fault = "customer.email: `u` takes nothing that names a person, and `customer.email` does";
    assert_eq!(nobody("u.a.b", "customer.email").fault(), fault);
    assert_eq!(nobody("u.seller.email", "customer.email").fault(), fault);
    assert_eq!(nobody("u.buyer.email", "customer.email").fault(), "-");
    assert_eq!(nobody("u.ids", "@id => customer.id; name => customer.email").fault(), fault);
}

#[test]
fn free_data_below_is_held_for_each_request() {
    let digest = "0b".repeat(32);
    for target in ["u.em[]", "u.em[0]"] {
        let written = addresses(target, "custom.x | string");
        assert_eq!(written.body(&custom(&format!("\"{digest}\""))), format!(r#"{{"u":{{"em":["{digest}"]}}}}"#));
        let reason = format!("{target}: not a digest, and the contract takes sha256 in lower-case hex");
        assert_eq!(written.unmappable(&custom("\"ada@example.com\"")), reason);
    }
    let spread = Written::new(Encoding::Json).map(&[("u.*", "custom.x")]);
    let spread = spread.output("u", |output| (output.kind, output.pii) = (OutputKind::Object, sha256()));
    let member = |text: &str| custom(&format!(r#"{{"em": "{text}"}}"#));
    assert_eq!(spread.body(&member(&digest)), format!(r#"{{"u":{{"em":"{digest}"}}}}"#));
    assert!(spread.unmappable(&member("ada")).starts_with("u.*: not a digest"));
}

#[test]
fn words_and_lengths_of_an_array_are_those_of_its_entries() {
    let words = |target: &str, source: &str| {
        Written::new(Encoding::Json).map(&[(target, source)]).output("x", |output| {
            (output.kind, output.values) = (OutputKind::Array, vec!["a".to_owned(), "b".to_owned()]);
        })
    };
    let reason = "none of the values that the contract names";
    assert_eq!(words("x[]", "'c'").fault(), "'c': `x` is one of `a`, `b`, and this can be `c`");
    assert_eq!(words("x", "@'a' / 'c'").fault(), "'c': `x` is one of `a`, `b`, and this can be `c`");
    assert_eq!(words("x[0]", "custom.x | string").unmappable(&custom("\"c\"")), format!("x[0]: {reason}"));
    assert_eq!(words("x", "@'a' / custom.x | string").unmappable(&custom("\"c\"")), format!("x[1]: {reason}"));
    assert_eq!(words("x", "custom.x").body(&custom(r#"["a", "b"]"#)), r#"{"x":["a","b"]}"#);
    assert_eq!(words("x", "custom.x").unmappable(&custom(r#"["a", "c"]"#)), format!("x: {reason}"));
    let short = |target: &str, source: &str| {
        Written::new(Encoding::Json).map(&[(target, source)]).output("x", |output| {
            (output.kind, output.chars_max) = (OutputKind::Array, Some(3));
        })
    };
    assert_eq!(short("x[]", "'abcd'").fault(), "'abcd': `x` takes 3 characters, and `abcd` has more");
    for target in ["x", "x[]"] {
        assert_eq!(short(target, "custom.x").body(&custom(r#"["äöü", "de"]"#)), r#"{"x":["äöü","de"]}"#);
        let reason = format!("{target}: longer than 3 characters");
        assert_eq!(short(target, "custom.x").unmappable(&custom(r#"["a", "abcd"]"#)), reason);
    }
    assert_eq!(short("x", "@custom.x | string").unmappable(&custom("\"abcd\"")), "x[0]: longer than 3 characters");
}

#[test]
fn parts_of_a_list_of_tables_are_held_wherever_the_list_stands() {
    let hashed = |target: &str, source: &str| {
        Written::new(Encoding::Json)
            .map(&[(target, source)])
            .output("ids", |output| output.kind = OutputKind::Array)
            .output("ids[].em", |output| (output.kind, output.pii) = (OutputKind::Array, sha256()))
    };
    let fault = "customer.email: `ids[].em` is hashed (sha256), and `customer.email` is plain";
    assert_eq!(hashed("ids", "@em[] => customer.email; k => 'x'").fault(), fault);
    assert_eq!(hashed("ids[0].em[]", "customer.email").fault(), fault);
    assert_eq!(hashed("ids", "@em[] => customer.email_sha256; k => 'x'").fault(), "-");
    let held = hashed("ids", "@em[] => custom.x | string; k => 'x'");
    assert!(held.unmappable(&custom("\"ada\"")).starts_with("ids.em[]: not a digest"));

    let of_item = |kind: &str| {
        Written::new(Encoding::Json)
            .map(&[("items[].ids", &format!("@id => item.sku; kind => {kind}"))])
            .output("items", |output| output.kind = OutputKind::Array)
            .output("items[].ids[].kind", |output| output.values = vec!["sku".to_owned()])
    };
    assert_eq!(of_item("'gtin'").fault(), "'gtin': `items[].ids[].kind` is one of `sku`, and this can be `gtin`");
    let items = |name: &str| format!(r#"{{"items": [{{"sku": "A", "name": "{name}"}}]}}"#);
    let named = of_item("item.name");
    assert_eq!(named.body(&items("sku")), r#"{"items":[{"ids":[{"id":"A","kind":"sku"}]}]}"#);
    let reason = "items[].ids.kind: none of the values that the contract names (item 1)";
    assert_eq!(named.unmappable(&items("gtin")), reason);
}

#[test]
fn a_list_and_its_parts_are_declared_in_any_order() {
    let omit = |output: &mut OutputSource| (output.pii, output.over) = (sha256(), Over::Omit);
    let reject = |output: &mut OutputSource| (output.kind, output.pii) = (OutputKind::Array, sha256());
    let map =
        || Written::new(Encoding::Json).map(&[("em", "@custom.x | string"), ("e", "event_id")]).output("e", |_| {});
    for written in [map().output("em", reject).output("em[0]", omit), map().output("em[0]", omit).output("em", reject)]
    {
        assert_eq!(written.body(&custom("\"ada\"")), r#"{"e":"e"}"#);
    }
    let tables = || Written::new(Encoding::Json).map(&[("ids", "@id => customer.email_sha256; name => 'Email'")]);
    let named = |output: &mut OutputSource| output.values = vec!["Email".to_owned()];
    let fault = "ids: `ids` is hashed, and the entries of `ids` are tables";
    for written in [
        tables().output("ids", reject),
        tables().output("ids", reject).output("ids[].name", named),
        tables().output("ids[].name", named).output("ids", reject),
    ] {
        assert_eq!(written.fault(), fault);
    }
    let by_parts = tables().output("ids", reject).output("ids[].id", |output| output.pii = sha256());
    let by_parts = by_parts.output("ids[].name", |output| output.pii = Pii::Plain);
    let digest = "0b".repeat(32);
    let sent = by_parts.body(&format!(r#"{{"customer": {{"email_sha256": "{digest}"}}}}"#));
    assert_eq!(sent, format!(r#"{{"ids":[{{"id":"{digest}","name":"Email"}}]}}"#));
}
