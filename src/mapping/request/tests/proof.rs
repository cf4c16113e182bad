//! A map against the contract of its destination: what is refused at load, and what holds a request.

use super::super::super::Condition;
use super::*;
use crate::conversion::EventKind;

impl Written {
    pub(super) fn output(mut self, target: &str, shape: impl FnOnce(&mut OutputSource)) -> Written {
        let mut output = OutputSource {
            target: text(&mut self.file, target),
            kind: OutputKind::Any,
            required: false,
            chars_max: None,
            values: Vec::new(),
            over: Over::Reject,
            decimals_max: None,
            pii: Pii::Unsaid,
            unmapped: None,
            doc: None,
        };
        shape(&mut output);
        self.source.rules.outputs.push(output);
        self
    }

    pub(super) fn required(self, target: &str) -> Written {
        self.output(target, |output| output.required = true)
    }

    pub(super) fn when(mut self, when: &str) -> Written {
        let text = text(&mut self.file, when);
        let condition = Condition::compile(&text, &constants()).expect("a condition");
        self.source.given.applies = Applies::When(Some(text), condition);
        self
    }

    fn removed(mut self, target: &str) -> Written {
        let text = text(&mut self.file, target);
        self.source.given.removed.push(text);
        self
    }

    /// The one fault, or `-`.
    #[track_caller]
    pub(super) fn fault(&self) -> String {
        if self.compile().is_ok() { "-".to_owned() } else { self.faults() }
    }
}

#[track_caller]
fn check(encoding: Encoding, source: &str, expected: &str, shape: impl FnOnce(&mut OutputSource)) {
    let written = Written::new(encoding).map(&[("x", source)]).output("x", shape);
    assert_eq!(written.fault(), expected, "{source}");
}

#[test]
fn what_is_required_is_always_there() {
    #[track_caller]
    fn check(when: &str, source: &str, expected: &str) {
        let written = Written::new(Encoding::Json).map(&[("x", source)]).required("x");
        let written = if when.is_empty() { written } else { written.when(when) };
        assert_eq!(written.fault(), expected, "{source} when {when}");
    }
    check("", "order_id", "order_id: `x` is required by the contract, and `order_id` may be absent");
    check("", "order_id !", "-");
    check("", "order_id ?? event_id", "-");
    check("order_id && value", "order_id", "-");
    check(
        "click_ids.a || order_id",
        "order_id",
        "order_id: `x` is required by the contract, and `order_id` may be absent",
    );
    check(
        "",
        "event_type | lookup({a: 'A'})",
        "event_type | lookup({a: 'A'}): `x` is required by the contract, and `lookup` gives nothing of some values",
    );
    check("", "vars.unset", "vars.unset: `x` is required by the contract, and what it names is not set");
    check("", "(value ?? 0) | minor_units", "-");
    check("value", "value | minor_units", "-");
    check(
        "value",
        "value | minor_units('omit')",
        "value | minor_units('omit'): `x` is required by the contract, and `minor_units` gives nothing of some values",
    );
    check("value", "value | minor_units('omit') ?? 0", "-");
}

#[test]
fn a_condition_that_is_laid_over_a_preset_must_ask_for_what_the_preset_relies_on() {
    let mut written = Written::new(Encoding::Json).map(&[("x", "order_id")]).required("x").when("value");
    let in_preset = |text: &mut Text| text.span.file = FileId(1);
    let MapLine { target, source: MapSource::Expr(expression) } = &mut written.source.map[0] else { panic!("a line") };
    in_preset(target);
    in_preset(expression);
    let fault = "value: this `when` no longer asks for what `x` requires: `order_id` may be absent";
    assert_eq!(written.faults(), fault);
}

#[test]
fn a_time_that_should_be_a_number_is_counted() {
    #[track_caller]
    fn check(kind: OutputKind, source: &str, expected: &str) {
        let written = Written::new(Encoding::Json).map(&[("x", source)]).output("x", |output| output.kind = kind);
        let faults = written.compile().expect_err("it is refused");
        assert_eq!(faults[0].help.as_deref(), Some(expected), "{source}");
    }
    let counted = "a time is a number by `| unix`, `| unix_ms` or `| unix_us`, in the place of what makes a text of it";
    for kind in [OutputKind::Int, OutputKind::Number] {
        check(kind, "time | strftime('%Y-%m-%d %H:%M:%S')", counted);
        check(kind, "time | rfc3339", counted);
        check(kind, "customer.birthday", "`| strftime('%Y%m%d') | int`");
    }
    check(OutputKind::Int, "time", "`| unix`, `| unix_ms` or `| unix_us`");
    // Of digits alone, it is the number that is meant.
    check(OutputKind::Int, "time | strftime('%Y%m%d')", "`| int`");
    check(OutputKind::Number, "time | strftime('%s')", "`| number`");
}

#[test]
fn what_an_operation_is_for_counts() {
    let mut written = Written::new(Encoding::Json).map(&[("x", "value")]).required("x");
    written.source.given.kind = Some(EventKind::Adjustment);
    assert_eq!(written.fault(), "-");
    written.source.given.kind = Some(EventKind::Refund);
    assert_eq!(written.fault(), "value: `x` is required by the contract, and `value` may be absent");
    // Of a condition that cannot be read nothing follows, and nothing is blamed for it.
    written.source.given.applies = Applies::Unknown;
    assert_eq!(written.fault(), "-");
}

#[test]
fn what_is_required_is_in_the_map() {
    let written = || Written::new(Encoding::Json).map(&[("a", "event_id")]).output("a", |_| {});
    assert_eq!(written().required("x").fault(), "x: `x` is required by the contract, and no line of the map sets it");
    let removed = written().required("x").removed("x").faults();
    assert_eq!(removed, "x: `x` is required by the contract: it cannot be taken away");
    // Of items only where there are any.
    assert_eq!(written().required("Sku{i}").required("lines[].sku").fault(), "-");
    let name = written().map(&[("lines[].name", "item.name")]).output("lines[].name", |_| {}).required("lines[].sku");
    assert_eq!(name.fault(), "lines[].sku: `lines[].sku` is required by the contract, and no line of the map sets it");
    let below = Written::new(Encoding::Json).map(&[("x.y", "event_id")]);
    let below = below.output("x", |output| (output.kind, output.required) = (OutputKind::Object, true));
    assert_eq!(below.fault(), "-");
}

#[test]
fn rules_that_make_a_dead_letter_of_a_lack_are_as_good_as_an_exclamation_mark() {
    let items = Written::new(Encoding::Form).map(&[("Sku{i}", "item.sku")]).required("Sku{i}");
    assert_eq!(items.fault(), "item.sku: `Sku{i}` is required by the contract, and `item.sku` may be absent");
    assert_eq!(items.required_with("items", &["Sku{i}"]).fault(), "-");
    let ids = || Written::new(Encoding::Json).map(&[("ids", "@id => customer.id; name => 'Id'")]);
    let required =
        |written: Written| written.output("ids", |output| (output.kind, output.required) = (OutputKind::Array, true));
    assert_eq!(required(ids()).fault(), "ids: `ids` is required by the contract, and none of its entries need stand");
    assert_eq!(required(ids()).when("customer.id").fault(), "-");
    assert_eq!(required(ids()).require_any(&["ids"]).fault(), "-");
}

#[test]
fn what_is_required_is_not_left_out_by_a_rule() {
    let written = Written::new(Encoding::Json).map(&[("x", "event_id"), ("y", "order_id")]).output("y", |_| {});
    let written = written.required("x").omit_with("x", &["y"]);
    assert_eq!(written.fault(), "x: `x` is required, and `omit_with` leaves it out");
    let list = Written::new(Encoding::Json).map(&[("x", "@id => event_id"), ("y", "order_id")]).omit_with("x", &["y"]);
    let list = list.output("y", |_| {});
    assert_eq!(list.required("x").fault(), "x: `x` is required, and `omit_with` leaves it out");
    let too_long = |output: &mut OutputSource| {
        (output.required, output.chars_max, output.over) = (true, Some(3), Over::Omit);
    };
    check(Encoding::Json, "event_id", "x: a required field cannot be left out", too_long);
}

#[test]
fn fields_that_the_contract_does_not_know() {
    let written =
        || Written::new(Encoding::Json).map(&[("a", "event_id"), ("OrderID", "order_id")]).output("a", |_| {});
    assert_eq!(written().output("OrderId", |_| {}).fault(), "OrderID: the contract knows no field `OrderID`");
    let help = written().output("OrderId", |_| {}).compile().unwrap_err().remove(0).help;
    assert_eq!(help.as_deref(), Some("did you mean `OrderId`?"));
    assert_eq!(written().output("*", |_| {}).fault(), "-");
    assert_eq!(Written::new(Encoding::Json).map(&[("any", "event_id")]).fault(), "-", "nothing is known of it");
    let below = Written::new(Encoding::Json).map(&[("a.b", "event_id"), ("c.d", "order_id")]);
    let below = below
        .output("a", |output| output.kind = OutputKind::Object)
        .output("c", |output| output.kind = OutputKind::Text);
    assert_eq!(below.fault(), "c.d: the contract knows no field `c.d`");
}

#[test]
fn types_fit() {
    #[track_caller]
    fn check_kind(encoding: Encoding, kind: OutputKind, source: &str, expected: &str) {
        let expected = if expected == "-" { "-".to_owned() } else { format!("{source}: `x` is {expected}") };
        check(encoding, source, &expected, |output| output.kind = kind);
    }
    use Encoding::{Form, Json};
    use OutputKind::{Any, Array, Bool, Int, Number, Object, Text};
    check_kind(Json, Int, "value", "a whole number, and this is money");
    check_kind(Json, Int, "value | minor_units", "-");
    check_kind(Json, Int, "value | micros", "-");
    check_kind(Json, Int, "value | decimal(0)", "-");
    check_kind(Json, Int, "value | decimal(1)", "a whole number, and this is money");
    check_kind(Json, Int, "custom.a | number", "a whole number, and this is a number");
    let money = Written::new(Json).map(&[("x", "value")]).output("x", |output| output.kind = Int).compile();
    let help = money.unwrap_err().remove(0).help.unwrap_or_default();
    assert_eq!(
        help,
        "`| minor_units` counts the currency's smallest unit, `| micros` millionths; `| decimal(0)` rounds"
    );
    check_kind(Json, Int, "vars.advertiser", "-");
    check_kind(Json, Int, "'12'", "a whole number, and this is text");
    check_kind(Form, Int, "'12'", "-");
    check_kind(Form, Int, "'12.5'", "a whole number, and this is text");
    check_kind(Json, Number, "value", "-");
    check_kind(Json, Number, "order_id", "a number, and this is text");
    check_kind(Form, Number, "order_id", "a number, and this is text");
    check_kind(Form, Number, "order_id | number", "-");
    check_kind(Json, Text, "value", "a text, and this is money");
    check_kind(Form, Text, "value", "-");
    check_kind(Json, Text, "time", "-");
    check_kind(Json, Text, "custom.a", "a text, and this is free JSON");
    check_kind(Json, Text, "custom.a | string", "-");
    check_kind(Json, Text, "items[].sku", "a text, and this is a list of text");
    check_kind(Json, Bool, "test", "-");
    check_kind(Json, Bool, "test | string", "true or false, and this is text");
    check_kind(Form, Bool, "test | bool('true', 'false')", "-");
    check_kind(Json, Array, "items[].sku", "-");
    check_kind(Json, Array, "order_id", "an array, and this is text");
    check_kind(Json, Object, "custom.a", "-");
    check_kind(Json, Object, "order_id", "an object, and this is text");
    check_kind(Json, Any, "order_id", "-");
    let wrapped = Written::new(Json).map(&[("em[]", "order_id")]).output("em[]", |output| output.kind = Text);
    assert_eq!(wrapped.fault(), "-");
    let table = Written::new(Json).map(&[("x", "@id => order_id")]).output("x", |output| output.kind = Text);
    assert_eq!(table.fault(), "x: `x` is a text, and this is an array");
}

#[test]
fn decimals_fit() {
    #[track_caller]
    fn check_scale(source: &str, expected: &str) {
        check(Encoding::Form, source, expected, |output| output.decimals_max = Some(2));
    }
    check_scale("value", "value: `x` takes 2 decimals, and this may have more");
    check_scale("value | decimal_max(2)", "-");
    check_scale("value | decimal(4)", "value | decimal(4): `x` takes 2 decimals, and this may have more");
    check_scale(
        "value | decimal(2) | mul(0.5)",
        "value | decimal(2) | mul(0.5): `x` takes 2 decimals, and this may have more",
    );
    check_scale("(order.subtotal | decimal(2)) ?? (value | decimal_max(2) | negate)", "-");
    check_scale("value | minor_units", "-");
    check_scale("value | minor_units('omit')", "-");
}

#[test]
fn words_fit() {
    #[track_caller]
    fn check_values(source: &str, expected: &str) {
        let values = ["pending", "approved", "hold"].map(str::to_owned);
        check(Encoding::Json, source, expected, |output| output.values = values.into());
    }
    check_values("'aproved'", "'aproved': `x` is one of `pending`, `approved`, `hold`, and this can be `aproved`");
    check_values("status", "status: `x` is one of `pending`, `approved`, `hold`, and this can be `rejected`");
    check_values("status | lookup({pending: 'pending', rejected: 'hold'})", "-");
    check_values("order_id", "-");
    let fault = "order_id ?? 'open': `x` is one of `pending`, `approved`, `hold`, and this can be `open`";
    check_values("order_id ?? 'open'", fault);
    check_values("order_id ?? 'hold'", "-");
    check_values("order_id | default('hold')", "-");
    let fault =
        "order_id | default('open') | lower: `x` is one of `pending`, `approved`, `hold`, and this can be `open`";
    check_values("order_id | default('open') | lower", fault);
    let values = |output: &mut OutputSource| output.values = vec!["m".to_owned(), "f".to_owned()];
    let written = Written::new(Encoding::Json).map(&[("g", "customer.gender")]);
    let reject = written.output("g", values);
    assert_eq!(reject.body(r#"{"customer": {"gender": "f"}}"#), r#"{"g":"f"}"#);
    assert_eq!(reject.unmappable(r#"{"customer": {"gender": "x"}}"#), "g: none of the values that the contract names");
    let omit = Written::new(Encoding::Json).map(&[("g", "customer.gender"), ("o", "order_id")]).output("o", |_| {});
    let omit = omit.output("g", |output| {
        values(output);
        output.over = Over::Omit;
    });
    assert_eq!(omit.body(r#"{"customer": {"gender": "x"}, "order_id": "1"}"#), r#"{"o":"1"}"#);
}

#[test]
fn words_that_are_not_taken_are_left_out_where_the_contract_says_so() {
    let omit = |source: &str| {
        let lines = &[("x", source), ("e", "order_id")];
        Written::new(Encoding::Json).map(lines).output("e", |_| {}).output("x", |output| {
            (output.values, output.over) = (["pending", "approved"].map(str::to_owned).into(), Over::Omit);
        })
    };
    let of = |word: &str| format!(r#"{{"order_id": "1", "status": "{word}"}}"#);
    assert_eq!(omit("status").fault(), "-");
    assert_eq!(omit("status").body(&of("approved")), r#"{"x":"approved","e":"1"}"#);
    assert_eq!(omit("status").body(&of("rejected")), r#"{"e":"1"}"#);
    let looked_up = omit("status | lookup({pending: 'pending', hold: 'held'})");
    assert_eq!(looked_up.fault(), "-");
    assert_eq!(looked_up.body(&of("hold")), r#"{"e":"1"}"#);
    assert_eq!(looked_up.body(&of("pending")), r#"{"x":"pending","e":"1"}"#);
    // What would never be sent is a mistake all the same.
    let never = "is one of `pending`, `approved`, and this can be";
    assert_eq!(omit("customer.status").fault(), format!("customer.status: `x` {never} `new`"));
    assert_eq!(omit("status ?? 'open'").fault(), format!("status ?? 'open': `x` {never} `open`"));
    assert_eq!(omit("order_id | default('open')").fault(), format!("order_id | default('open'): `x` {never} `open`"));
    assert_eq!(omit("status").when("status == 'hold'").fault(), format!("status: `x` {never} `hold`"));
    let short = Written::new(Encoding::Json).map(&[("x", "status"), ("e", "order_id")]).output("e", |_| {});
    let short = short.output("x", |output| (output.chars_max, output.over) = (Some(4), Over::Omit));
    assert_eq!(short.body(&of("rejected")), r#"{"e":"1"}"#);
    assert_eq!(short.body(&of("hold")), r#"{"x":"hold","e":"1"}"#);
}

#[test]
fn lengths_fit() {
    #[track_caller]
    fn check_length(source: &str, expected: &str) {
        check(Encoding::Json, source, expected, |output| output.chars_max = Some(32));
    }
    check_length("order_id", "-");
    check_length("customer.email | lower | md5", "-");
    let long = "customer.email | lower | sha256";
    check_length(long, &format!("{long}: `x` takes 32 characters, and this has at least 64"));
    check_length("customer.email_sha1", "customer.email_sha1: `x` takes 32 characters, and this has at least 40");
    let literal = "'0123456789012345678901234567890123456789'";
    let fault = format!("{literal}: `x` takes 32 characters, and `{}` has more", literal.trim_matches('\''));
    check_length(literal, &fault);
    let written = Written::new(Encoding::Json).map(&[("x", "order_id")]).output("x", |output| {
        (output.chars_max, output.over) = (Some(3), Over::Truncate);
    });
    assert_eq!(written.body(r#"{"order_id": "12345"}"#), r#"{"x":"123"}"#);
}

#[test]
fn personal_data_goes_where_it_is_meant_to_go() {
    #[track_caller]
    fn check_pii(pii: Pii, source: &str, expected: &str) {
        let expected = if expected == "-" { "-".to_owned() } else { format!("{source}: `x` {expected}") };
        check(Encoding::Json, source, &expected, |output| output.pii = pii);
    }
    let by = |names: &[&str]| Pii::Hashed(names.iter().map(|name| (*name).to_owned()).collect());
    check_pii(Pii::Forbidden, "customer.email", "takes nothing that names a person, and `customer.email` does");
    check_pii(
        Pii::Forbidden,
        "order_id ?? customer.first_name",
        "takes nothing that names a person, and `customer.first_name` does",
    );
    check_pii(Pii::Forbidden, "customer.id", "-");
    check_pii(Pii::Forbidden, "customer.email | lower | sha256", "-");
    check_pii(Pii::Forbidden, "custom.a", "-");
    check_pii(Pii::Forbidden, "customer.gender | lookup({m: 1, f: 2})", "-");
    check_pii(by(&["sha256"]), "customer.email", "is hashed (sha256), and `customer.email` is plain");
    check_pii(by(&["sha256"]), "customer.email | lower | sha256", "-");
    check_pii(
        by(&["sha256"]),
        "customer.email | sha256",
        "is hashed (sha256), and `customer.email` is hashed as it was typed",
    );
    check_pii(
        by(&["sha256"]),
        "customer.email | lower | sha1",
        "is hashed (sha256), and `customer.email` is hashed with sha1",
    );
    check_pii(
        by(&["sha256"]),
        "customer.email_sha1",
        "is hashed (sha256), and `customer.email_sha1` is hashed with sha1",
    );
    check_pii(by(&["sha1", "sha256"]), "customer.email_sha1 ?? customer.email_sha256", "-");
    check_pii(by(&[]), "customer.phone | digits | md5", "-");
    check_pii(by(&[]), "customer.phone | digits", "is hashed, and `customer.phone` is plain");
    check_pii(by(&[]), "custom.a", "-");
    check_pii(Pii::Plain, "customer.email", "-");
    check_pii(Pii::Plain, "customer.email_sha256", "is sent as it is, and `customer.email_sha256` is hashed (sha256)");
    let entries = Written::new(Encoding::Json).map(&[("ids", "@id => customer.email; name => 'Email'")]);
    let entries = entries.output("ids", |_| {}).output("ids[].id", |output| output.pii = Pii::Forbidden);
    assert_eq!(
        entries.fault(),
        "customer.email: `ids[].id` takes nothing that names a person, and `customer.email` does"
    );
}

#[test]
fn groups_that_can_never_hold() {
    let none = Written::new(Encoding::Json).map(&[("a", "vars.unset"), ("b", "order_id")]).require_any(&["a"]);
    assert_eq!(none.fault(), "a: one of these is required, and none of them can ever have a value");
    let both = Written::new(Encoding::Json).map(&[("a", "event_id"), ("b", "time")]).exactly_one(&["a", "b"]);
    assert_eq!(both.fault(), "b: exactly one of them may stand, and `a` always does too");
}

#[test]
fn every_entry_of_a_list_of_expressions_is_held_to_the_contract() {
    let with = |parts: &[&str]| {
        let mut written = Written::new(Encoding::Json);
        let target = text(&mut written.file, "em");
        let parts = parts.iter().map(|part| text(&mut written.file, part)).collect();
        written.source.map.push(MapLine { target, source: MapSource::List(parts) });
        written.output("em", |output| {
            (output.kind, output.required, output.pii) = (OutputKind::Array, true, Pii::Hashed(Vec::new()));
        })
    };
    let hashed = "customer.email_sha256 !";
    assert_eq!(with(&[hashed, "'b' | sha256"]).fault(), "-");
    assert!(with(&["'b' | sha256", "customer.email"]).fault().contains("is hashed, and `customer.email` is plain"));
    assert!(with(&["customer.email_sha1"]).fault().contains("none of its entries need stand"));
}

#[test]
fn codes_have_the_form_of_their_standard() {
    let values = |values: &'static [&'static str]| {
        move |output: &mut OutputSource| output.values = values.iter().map(|&value| value.to_owned()).collect()
    };
    let never =
        "currency: `x` is one of `eur`, `usd`, and `currency` must be an ISO 4217 code in upper case, such as EUR";
    check(Encoding::Json, "currency", never, values(&["eur", "usd"]));
    check(Encoding::Json, "currency", "-", values(&["eur", "EUR"]));
    check(Encoding::Json, "currency | lower", "-", values(&["eur", "usd"]));
    let short = |source: &str, chars: usize, expected: &str| {
        check(Encoding::Json, source, expected, |output| output.chars_max = Some(chars));
    };
    short("currency", 3, "-");
    short("customer.country", 2, "-");
    let fault = |source: &str, chars: usize| {
        let written = Written::new(Encoding::Json).map(&[("x", source)]);
        written.output("x", |output| output.chars_max = Some(chars)).fault()
    };
    assert!(fault("currency", 2).starts_with("currency: `x` takes 2 characters"), "{}", fault("currency", 2));
    assert!(fault("customer.country", 1).starts_with("customer.country: `x` takes 1 characters"));
}

#[test]
fn values_that_are_numbers_are_compared_by_their_amount() {
    let sent = |source: &str, value: &str, conversion: &str| {
        let value = value.to_owned();
        let written = Written::new(Encoding::Json).map(&[("x", source)]).output("x", |output| {
            output.kind = OutputKind::Number;
            output.values = vec![value];
        });
        match written.rendered(conversion, Secrets::Revealed) {
            Ok(request) => String::from_utf8(request.body.to_vec()).expect("UTF-8"),
            Err(unmappable) => unmappable.to_string(),
        }
    };
    let conversion = r#"{"value": "1.00", "currency": "EUR", "custom": {"n": 1.0}}"#;
    assert_eq!(sent("value", "1", conversion), r#"{"x":1.00}"#);
    assert_eq!(sent("custom.n | number", "1", conversion), r#"{"x":1.0}"#);
    assert_eq!(sent("value", "2", conversion), "x: none of the values that the contract names");
}
