//! What is said of a value before there is one is never wrong, whatever the conversion.

use proptest::collection::vec;
use proptest::prelude::*;

use super::properties::{conversion, well_typed};
use super::*;
use crate::mapping::check::content;
use crate::mapping::check::digest::{self, Form};
use crate::mapping::check::facts::Known;
use crate::mapping::check::presence::{self, Gap};
use crate::mapping::ops::Coding;

fn compiled(source: &str) -> Expression {
    Expression::compile(&text(source), &constants(), Place::Top)
        .unwrap_or_else(|faults| panic!("{source}: {faults:#?}"))
}

fn known(when: &str) -> Known {
    let when = (!when.is_empty())
        .then(|| Condition::compile(&text(when), &constants()).unwrap_or_else(|faults| panic!("{when}: {faults:#?}")));
    Known::of(None, when.iter().flat_map(Condition::tests))
}

#[track_caller]
fn check_gap(when: &str, expression: &str, expected: &str) {
    let gap = match presence::gap(compiled(expression).node(), &known(when)) {
        None => "-".to_owned(),
        Some(Gap::Field(path)) => path,
        Some(Gap::Filter(name)) => format!("| {name}"),
        Some(Gap::Unset) => "unset".to_owned(),
    };
    assert_eq!(gap, expected, "{expression} when {when}");
}

#[test]
fn a_value_is_there_if_the_schema_or_the_expression_sees_to_it() {
    let check = |expression, expected| check_gap("", expression, expected);
    check("time | rfc3339", "-");
    check("event_id", "-");
    check("concat(event_type, '-', meta.id)", "-");
    check("meta.idempotency_key", "meta.idempotency_key");
    check("vars.account", "-");
    check("vars.unset", "unset");
    check("vars.unset ?? 'x'", "-");
    check("secrets.token", "-");
    check("order_id", "order_id");
    check("order_id ?? event_id", "-");
    check("order_id ?? customer.id", "customer.id");
    check("order_id | default('none')", "-");
    check("order_id | default(vars.unset)", "order_id");
    check("items[].sku | default('none') | join(',')", "items[].sku");
    check("each(item.price) | default(0) | total", "items");
    check("concat(order_id, '-', event_id)", "order_id");
    check("items[].sku | join(',')", "items[].sku");
    check("test | bool('t', 'f')", "-");
    check("test | bool('t', '')", "| bool");
    check("event_type | lookup({a: 'A'})", "| lookup");
    check("event_type | lookup({a: 'A'}) | default('B')", "-");
    check("(event_type | lookup({a: 'A'})) ?? event_type", "-");
    check("kind | lookup({conversion: 'c', refund: 'r', adjustment: 'a'})", "-");
    check("kind | lookup({conversion: 'c', refund: 'r'})", "| lookup");
}

#[test]
fn a_value_is_there_if_the_condition_sees_to_it() {
    check_gap("order_id", "order_id", "-");
    check_gap("order_id != 'x'", "order_id", "order_id");
    check_gap("order_id == 'x'", "order_id", "-");
    check_gap("!(order_id != 'x')", "order_id", "-");
    check_gap("!(order_id == 'x')", "order_id", "order_id");
    check_gap("order_id in ['x', 'y']", "order_id", "-");
    check_gap("contains(order_id, 'x')", "order_id", "-");
    check_gap("value > 0", "value", "-");
    check_gap("value > 0", "currency", "-");
    check_gap("order_id && value", "concat(order_id, currency)", "-");
    check_gap("order_id || customer.id", "order_id", "order_id");
    check_gap("order_id || customer.id", "order_id ?? customer.id", "-");
    check_gap("!(!order_id || !value)", "value", "-");
    check_gap("order_id ?? customer.id", "order_id ?? customer.id", "-");
    check_gap("concat(order_id, reason)", "reason", "-");
    check_gap("order_id | lower", "order_id", "-");
    check_gap("order_id | default('x')", "order_id", "order_id");
    check_gap("customer.email", "customer.email | trim | lower | sha256", "-");
    check_gap("order_id", "order_id | trim", "| trim");
    check_gap("event_type in ['a', 'b']", "event_type | lookup({a: 'A', b: 'B'})", "-");
    check_gap("event_type in ['a', 'b']", "event_type | lookup({a: 'A'})", "| lookup");
    check_gap("status && status != 'hold'", "status | lookup({pending: 1, approved: 2, rejected: 3})", "-");
    check_gap("status", "status | lookup({pending: 1, approved: 2, rejected: 3})", "| lookup");
    check_gap("custom.a.b", "custom.a.b | string", "-");
    check_gap("custom.a.b", "custom.a | string", "custom.a");
    check_gap("click_ids.thrad", "click_ids.thrad", "-");
    check_gap("click_ids.thrad", "click_ids.impact", "click_ids.impact");
}

#[test]
fn a_kind_says_what_its_conversions_have() {
    let adjustment = Known::of(Some(crate::conversion::EventKind::Adjustment), std::iter::empty());
    let gap = |source: &str| presence::gap(compiled(source).node(), &adjustment);
    assert_eq!(gap("value | decimal(2)"), None);
    assert_eq!(gap("currency"), None);
    assert_eq!(gap("kind | lookup({adjustment: 'A'})"), None);
    assert_eq!(gap("order_id"), Some(Gap::Field("order_id".to_owned())));
}

#[test]
fn words_that_a_value_can_be() {
    #[track_caller]
    fn check(when: &str, expression: &str, expected: Option<&[&str]>) {
        let words = content::words(compiled(expression).node(), &known(when));
        let expected = expected.map(|words| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words, expected, "{expression} when {when}");
    }
    check("", "'a'", Some(&["a"]));
    check("", "order_id", None);
    check("", "customer.status | upper", Some(&["NEW", "EXISTING"]));
    check("", "event_type | lookup({a: 'A', b: 'B'})", Some(&["A", "B"]));
    check("", "(event_type | lookup({a: 'A'})) ?? 'other'", Some(&["A", "other"]));
    check("", "(event_type | lookup({a: 'A'})) ?? event_type", None);
    check("", "test | bool(1, 0)", Some(&["1", "0"]));
    check("status != 'rejected'", "status", Some(&["pending", "approved", "hold"]));
    check("event_type == 'x'", "event_type | prefix('p-')", Some(&["p-x"]));
    check("order_id || event_type == 'x'", "event_type", None);
    check("", "vars.goal | string", Some(&["7"]));
    check("", "'a' | prefix(secrets.token)", None);
}

#[test]
fn a_word_with_a_secret_in_it_is_not_known() {
    let forms = |source: &str| digest::forms(compiled(source).node());
    assert_eq!(forms("'a' | prefix('b')"), [Form::Word("ba".to_owned())]);
    assert_eq!(forms("'a' | prefix(secrets.token)"), [Form::Unseen]);
    assert_eq!(forms("test | bool('1', '') | prefix(secrets.token)"), [Form::Unseen]);
}

/// Conditions over what the generated conversions may have.
const CONDITIONS: &[&str] = &[
    "order_id",
    "reason == 'a'",
    "value > 10",
    "test",
    "custom.f0",
    "custom.f1[1]",
    "status",
    "event_type == 'purchase_completed'",
    "event_type != 'x'",
    "customer.email_sha256",
    "click_ids.none",
    "order.tax",
    "(order.tax ?? value) >= 0",
    "'x' in items[].sku",
    "items[].sku",
    "each(concat(item.sku, item.name))",
    "contains(device.user_agent, 'a')",
];

fn condition() -> impl Strategy<Value = String> {
    let part = (prop::sample::select(CONDITIONS), any::<bool>());
    let negated = part.prop_map(|(part, negated)| if negated { format!("!({part})") } else { format!("({part})") });
    (vec(vec(negated, 1..3), 1..3), any::<bool>()).prop_map(|(groups, negated)| {
        let all: Vec<String> = groups.iter().map(|group| format!("({})", group.join(" && "))).collect();
        let any = all.join(" || ");
        if negated { format!("!({any})") } else { any }
    })
}

proptest! {
    #[test]
    fn nothing_that_is_said_of_a_value_is_wrong(source in well_typed(), more in prop::option::of(well_typed()), when in condition(), json in conversion()) {
        let source = match more {
            Some(more) => format!("({source} | json) ?? ({more} | json)"),
            None => source,
        };
        prop_assume!(Conversion::parse(json.as_bytes(), "generated").is_ok());
        let condition = Condition::compile(&text(&when), &constants()).unwrap();
        let (expression, known) = (compiled(&source), Known::of(None, condition.tests()));
        let sku = Expression::compile(&text("item.sku"), &constants(), Place::Item).unwrap();
        let skus = compiled("items[].sku");
        with_scope(&json, |scope| {
            if !condition.holds(scope) {
                return Ok(());
            }
            if presence::something_stands(&[], &[Some(sku.node())], &known) {
                prop_assert_ne!(skus.eval(scope, None, Secrets::Revealed), Ok(None), "an item has a sku when {}", when);
            }
            let value = expression.eval(scope, None, Secrets::Revealed);
            if presence::gap(expression.node(), &known).is_none() {
                prop_assert_ne!(&value, &Ok(None), "{} when {}", source, when);
            }
            let Some(Out::Text(shown) | Out::Number(shown)) = value.as_ref().ok().and_then(|value| value.as_ref()?.out()) else { return Ok(()) };
            prop_assert!(shown.chars().count() >= content::chars_min(expression.node()), "{}", source);
            let most = content::chars_max(expression.node());
            prop_assert!(most.is_none_or(|most| shown.chars().count() <= most), "{}", source);
            if let Some(words) = content::words(expression.node(), &known) {
                prop_assert!(words.iter().any(|word| **word == *shown), "{} of {:?} when {}", source, words, when);
            }
            let forms = digest::forms(expression.node());
            if !forms.iter().any(|form| form.shows_late() || *form == Form::Altered) {
                let is_hex = shown.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                let fits = |form: &Form| match form {
                    Form::Digest { chars, coding: Coding::Hex } => is_hex && shown.len() == *chars,
                    Form::Digest { coding: Coding::Base64, .. } => true,
                    Form::Word(word) => *word == *shown,
                    Form::Respelled { .. } | Form::Altered | Form::Unseen => false,
                };
                prop_assert!(forms.iter().any(fits), "{} is one of {:?}", source, forms);
            }
            if let (Some(most), OutType::Number) = (content::decimals_max(expression.node()), expression.out_type()) {
                let decimals = shown.split_once('.').map_or(0, |(_, decimals)| decimals.len());
                prop_assert!(decimals <= usize::try_from(most).unwrap(), "{}", source);
            }
            Ok(())
        })?;
    }
}
