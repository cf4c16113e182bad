//! Totality: whatever the schema and the table of filters allow is compiled or refused in words, and what is compiled makes
//! the same bytes of any conversion, however often, or says in words why there are none.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::mapping::filters::{Argument, Filter};
use crate::mapping::types::{Base, Gives, Ty};

/// An expression beside what is known of it while it is built.
#[derive(Debug, Clone)]
struct Built {
    text: String,
    ty: Ty,
}

/// Whatever has a value: rows of the schema, free data, what the relay and the configuration know, literals.
fn leaf(place: Place) -> BoxedStrategy<Built> {
    let rows = |of_items: bool| -> Vec<Built> {
        let rows = SCHEMA.iter().filter(|field| field.path.starts_with("items[].") == of_items || place == Place::Top);
        rows.map(|field| leaf_of(field.path, field.kind, place)).collect()
    };
    if place == Place::Item {
        return select(rows(true)).boxed();
    }
    let named = |(text, base): &(&str, Base)| Built { text: (*text).to_owned(), ty: Ty::of(*base) };
    prop_oneof![3 => select(rows(false)), 1 => select(OTHERS.iter().map(named).collect::<Vec<_>>())].boxed()
}

fn leaf_of(path: &str, kind: Kind, place: Place) -> Built {
    let ty = Ty::of_field(kind);
    match path.strip_prefix("items[].") {
        Some(name) if place == Place::Item => Built { text: format!("item.{name}"), ty },
        Some(_) => Built { text: path.to_owned(), ty: Ty { list: true, ..ty } },
        None if kind == Kind::TextMap => Built { text: path.replace('*', "thrad"), ty: Ty::of(Base::Text) },
        None => Built { text: path.to_owned(), ty },
    }
}

/// One more filter, mostly one that takes what is there.
#[derive(Debug, Clone)]
struct Step {
    pick: Index,
    wild: bool,
    args: Vec<(Index, u32)>,
}

fn step() -> impl Strategy<Value = Step> {
    (any::<Index>(), prop::bool::weighted(0.03), vec((any::<Index>(), 0..1000_u32), 4))
        .prop_map(|(pick, wild, args)| Step { pick, wild, args })
}

impl Step {
    fn after(&self, built: &Built) -> Built {
        let fits = |filter: &&Filter| {
            let lists = built.ty.list && filter.gives == Gives::Texts;
            self.wild || (filter.takes.accepts(built.ty) && !lists)
        };
        let fitting: Vec<&Filter> = Filter::names().filter_map(Filter::named).filter(fits).collect();
        let filter = fitting[self.pick.index(fitting.len())];
        let args = filter.params.iter().zip(&self.args).map(|(param, (pick, number))| {
            let stock = stock(param.name, param.takes, built.ty, *number);
            stock[pick.index(stock.len())].clone()
        });
        let args: Vec<String> = args.collect();
        let call = if args.is_empty() { String::new() } else { format!("({})", args.join(", ")) };
        Built { text: format!("{} | {}{call}", built.text, filter.name), ty: given(filter, built.ty) }
    }
}

/// Arguments that a parameter of that name and kind might be given.
fn stock(name: &str, takes: Argument, input: Ty, number: u32) -> Vec<String> {
    let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    match takes {
        Argument::Plain if name.contains("hex") => all(&["'hex'", "'base64'"]),
        Argument::Plain if name == "zone" => all(&["'Europe/Berlin'", "vars.zone", "vars.unset"]),
        Argument::Plain if name.contains("keep") => all(&["'keep'"]),
        Argument::Plain if name == "c" => all(&["'0'", "'ß'"]),
        Argument::Plain if name == "pattern" => all(&["'[0-9]+'", "'^(.)(.)'", "'a|(?i)É'"]),
        Argument::Plain if name == "format" => all(&["'%Y-%m-%d'", "'%j %A %e'", "'%d.%m.%y'"]),
        Argument::Plain => all(&["'a'", "'ttclid'", "vars.account"]),
        Argument::Text => all(&["'a'", "'ß€'", "'|'", "vars.account", "secrets.token", "vars.unset"]),
        Argument::Count(max) => vec![number.min(max).to_string(), (number % 19).min(max).to_string()],
        Argument::Number => vec!["-1".to_owned(), "100".to_owned(), format!("0.{number}1"), format!("{number}")],
        Argument::Scalar => match Ty::of(input.base).out() {
            OutType::Number => all(&["0", "-1.50"]),
            OutType::Bool => all(&["true", "false"]),
            OutType::Text | OutType::Json => all(&["'x'", "vars.account", "''"]),
        },
        Argument::Secret => all(&["secrets.token", "secrets.unset"]),
        Argument::Words => all(&["['a', 'f0']", "['impact']"]),
        Argument::Map => all(&["{a: 'b', approved: 'c', EUR: 'd'}", "{'1': 1.5, true: 2}"]),
    }
}

fn given(filter: &Filter, input: Ty) -> Ty {
    let list = input.list && !filter.takes.whole_lists();
    let base = match filter.gives {
        Gives::Text | Gives::Entry | Gives::Argument => Base::Text,
        Gives::SameText if input.base == Base::Digest => Base::Digest,
        Gives::SameText => Base::Text,
        Gives::Digest => Base::Digest,
        Gives::Int => Base::Int,
        Gives::Number => Base::Number,
        Gives::SameNumber if input.base == Base::Money => Base::Money,
        Gives::SameNumber => Base::Number,
        Gives::Either => return input,
        Gives::Texts => return Ty::list(Base::Text),
        Gives::Part => return Ty::of(input.base),
        Gives::Json => Base::Json,
    };
    Ty { base, list }
}

fn pipe(place: Place) -> impl Strategy<Value = Built> {
    (leaf(place), vec(step(), 0..4)).prop_map(|(leaf, steps)| steps.iter().fold(leaf, |built, step| step.after(&built)))
}

/// A whole value: pipes, joined, one instead of the other, required; where `flat`, one that a form can hold.
fn expression(place: Place, flat: bool) -> impl Strategy<Value = String> {
    let shape = move |built: &Built| match built.ty {
        Ty { list, base } if flat && (list || base == Base::Json) => format!("({} | json)", built.text),
        _ => built.text.clone(),
    };
    let one = |built: Built| match built.ty {
        Ty { list: true, .. } => format!("({} | json)", built.text),
        Ty { list: false, base: Base::Text } => built.text,
        Ty { list: false, .. } => format!("({} | string)", built.text),
    };
    let either = move |(first, second): (Built, Built)| match first.ty.or(second.ty) {
        Some(_) => format!("{} ?? {}", shape(&first), shape(&second)),
        None => format!("{} ?? {}", one(first), one(second)),
    };
    let arithmetic = move |(first, second, name): (Built, Built, &str)| match (first.ty.out(), second.ty.out()) {
        (OutType::Number, OutType::Number) => format!("{name}({}, {})", first.text, second.text),
        _ => either((first, second)),
    };
    prop_oneof![
        4 => pipe(place).prop_map(move |built| shape(&built)),
        1 => pipe(place).prop_map(move |built| format!("{} !", shape(&built))),
        1 => (pipe(place), pipe(place)).prop_map(either),
        1 => (pipe(place), pipe(place), select(ARITHMETIC)).prop_map(arithmetic),
        1 => pipe(Place::Item).prop_map(move |built| each(place, &built)),
        1 => (pipe(place), pipe(place)).prop_map(move |(first, last)| format!("concat({}, '-', {})", one(first), one(last))),
    ]
}

/// `each` where it may stand, which is outside the items.
fn each(place: Place, built: &Built) -> String {
    match place {
        Place::Top | Place::Signature => format!("each({}) | json", built.text),
        Place::Item => format!("({} | json)", built.text),
    }
}

/// Lines of a map with names of their own; fields of the request and of its items.
fn map(encoding: Encoding) -> impl Strategy<Value = Vec<(String, String)>> {
    let top = move |at: usize, source: String| {
        let target = match (encoding, at % 4) {
            (Encoding::Json, 1) => format!("a.b{at}"),
            (Encoding::Json, 2) => format!("d[0].e{at}"),
            (Encoding::Json, 3) => format!("g{at}[]"),
            _ => format!("f{at}"),
        };
        (target, source)
    };
    let item = move |at: usize, source: String| match encoding {
        Encoding::Json if at.is_multiple_of(2) => (format!("items[].i{at}"), source),
        Encoding::Json => (format!("n{{i}}.k{at}"), source),
        Encoding::Form | Encoding::None => (format!("K{at}_{{i}}"), source),
    };
    let flat = encoding != Encoding::Json;
    (vec(expression(Place::Top, flat), 1..5), vec(expression(Place::Item, flat), 0..3)).prop_map(
        move |(tops, items)| {
            let tops = tops.into_iter().enumerate().map(|(at, source)| top(at, source));
            tops.chain(items.into_iter().enumerate().map(|(at, source)| item(at, source))).collect()
        },
    )
}

fn any_map() -> impl Strategy<Value = (Encoding, Vec<(String, String)>)> {
    select(vec![Encoding::Json, Encoding::Form, Encoding::None])
        .prop_flat_map(|encoding| (Just(encoding), map(encoding)))
}

fn compile(encoding: Encoding, lines: &[(String, String)]) -> Result<RequestTemplate, Vec<Fault>> {
    let line =
        |(target, source): &(String, String)| MapLine { target: text(target), source: MapSource::Expr(text(source)) };
    let method = if encoding == Encoding::None { "GET" } else { "POST" };
    let source = RequestSource {
        method: text(method),
        url: text("https://px.example.com/{vars.account}/{order_id}"),
        origin: None,
        headers: vec![(text("X-Key"), text("{meta.dedup_key}"))],
        query: Vec::new(),
        encoding,
        map: lines.iter().map(line).collect(),
        auth: Some(AuthSource::Bearer(text("{secrets.token}"))),
        rules: RulesSource::default(),
        given: Given::default(),
    };
    RequestTemplate::compile(&source, &constants())
}

/// As the queue gives it back: from the merchant's bytes, and the event id that stood in for none.
fn rendered(template: &RequestTemplate, json: &str, secrets: Secrets) -> Result<Request, Unmappable> {
    let conversion = Conversion::parse(json.as_bytes(), "generated").expect("a valid conversion");
    let meta = Meta::new(ConversionId::new(1_780_000_000_000, [7; 10]), Arc::from("acme"), None, &conversion);
    template.render(Scope { conversion: &conversion, meta: &meta }, secrets)
}

proptest! {
    #[test]
    fn what_the_schema_allows_is_a_conversion(json in generate::conversion()) {
        let parsed = Conversion::parse(json.as_bytes(), "generated");
        prop_assert!(parsed.is_ok(), "{:?}\n{}", parsed.err(), json);
    }

    #[test]
    fn a_map_of_the_schema_and_the_filters_makes_the_same_bytes_every_time(
        (encoding, lines) in any_map(), jsons in vec(generate::conversion(), 3),
    ) {
        let (Ok(template), Ok(reloaded)) = (compile(encoding, &lines), compile(encoding, &lines)) else { return Ok(()) };
        for json in &jsons {
            let first = rendered(&template, json, Secrets::Revealed);
            prop_assert_eq!(&first, &rendered(&template, json, Secrets::Revealed));
            prop_assert_eq!(&first, &rendered(&reloaded, json, Secrets::Revealed), "from a reloaded configuration");
            let masked = rendered(&template, json, Secrets::Masked);
            prop_assert_eq!(first.is_ok(), masked.is_ok());
            let Ok(request) = first else { continue };
            prop_assert!(!masked.map(|masked| masked.to_http()).unwrap_or_default().contains("s3cret"));
            prop_assert!(request.url.parse::<http::Uri>().is_ok(), "{}", request.url);
            let body = std::str::from_utf8(&request.body).expect("UTF-8");
            let right = match encoding {
                Encoding::Json => crate::conversion::Json::parse(body.as_bytes()).is_ok(),
                Encoding::Form => body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*-._%=&+".contains(&byte)),
                Encoding::None => body.is_empty(),
            };
            prop_assert!(right, "{}", body);
        }
    }

    #[test]
    fn a_template_is_the_text_around_its_values(
        parts in vec(("[ -~äß]{0,5}", select(vec!["order_id", "value | string", "vars.account", "vars.unset", "secrets.token"])), 0..5),
        end in "[ -~]{0,5}",
    ) {
        let escaped = |literal: &str| literal.replace('{', "{{").replace('}', "}}");
        let written: String = parts.iter().map(|(literal, value)| format!("{}{{{value}}}", escaped(literal))).collect();
        let written = written + &escaped(&end);
        let compiled = Interpolation::compile(&text(&written), &constants(), Escape::None).expect("it is right");
        let mut expected = Some(String::new());
        for (literal, value) in &parts {
            let value = evaluate(value, Secrets::Revealed);
            let value = (value != "-").then(|| value.trim_matches('\'').to_owned());
            expected = expected.zip(value).map(|(before, value)| before + literal + &value);
        }
        let found = with_scope(PURCHASE, |scope| compiled.eval(scope, Secrets::Revealed)).expect("no value is wrong");
        prop_assert_eq!(found, expected.map(|text| text + &end));
    }

    #[test]
    fn a_condition_over_the_schema_is_the_same_twice(
        parts in vec((leaf(Place::Top), select(CONDITIONS), any::<bool>()), 1..5), json in generate::conversion(),
    ) {
        let part = |(leaf, form, negated): &(Built, &str, bool)| {
            format!("{}({})", if *negated { "!" } else { "" }, form.replace('@', &leaf.text))
        };
        let source = parts.iter().map(part).collect::<Vec<_>>().join(if parts.len() % 2 == 0 { " && " } else { " || " });
        let compile = || Condition::compile(&text(&source), &constants());
        let (Ok(condition), Ok(again)) = (compile(), compile()) else { return Ok(()) };
        let conversion = Conversion::parse(json.as_bytes(), "generated").expect("a valid conversion");
        let meta = Meta::new(ConversionId::new(1, [7; 10]), Arc::from("acme"), None, &conversion);
        let scope = Scope { conversion: &conversion, meta: &meta };
        prop_assert_eq!(condition.holds(scope), condition.holds(scope));
        prop_assert_eq!(condition.holds(scope), again.holds(scope));
    }
}

/// A mask fits everywhere; the credential behind it may not.
#[test]
fn what_cannot_be_sent_is_not_shown_as_if_it_could() {
    let template = compile(Encoding::Json, &[("phone".to_owned(), "secrets.token | e164".to_owned())]).expect("right");
    let sent = |secrets| rendered(&template, r#"{"time":"2026-01-01T00:00:00Z","order_id":"o"}"#, secrets);
    assert_eq!(sent(Secrets::Masked), sent(Secrets::Revealed));
    assert!(sent(Secrets::Masked).is_err());
}

const ARITHMETIC: &[&str] = &["sum", "product", "difference"];

/// What is no row of the schema.
const OTHERS: &[(&str, Base)] = &[
    ("vars.account", Base::Text),
    ("vars.goal", Base::Int),
    ("(vars.unset ?? meta.id)", Base::Text),
    ("secrets.token", Base::Text),
    ("meta.merchant", Base::Text),
    ("meta.dedup_key", Base::Text),
    ("meta.received_at", Base::Timestamp),
    ("custom.impact.Text1", Base::Json),
    ("custom.f0[0]", Base::Json),
    ("'it''s'", Base::Text),
    ("12.50", Base::Number),
    ("true", Base::Bool),
];

const CONDITIONS: &[&str] = &[
    "@",
    "@ == 'a'",
    "@ != 'EUR'",
    "@ > 1",
    "@ <= 99.90",
    "@ == true",
    "@ in ['a', 'b']",
    "contains(@, 'a')",
    "@ == @",
];

/// Were few of the maps accepted, or few of those rendered, the properties above would say little.
#[test]
fn most_maps_of_the_schema_and_the_filters_are_accepted_and_rendered() {
    const MAPS: usize = 400;
    let mut runner = TestRunner::deterministic();
    let mut new = |strategy: &BoxedStrategy<_>| strategy.new_tree(&mut runner).expect("a value").current();
    let maps = (any_map(), generate::conversion()).boxed();
    let mut accepted = Vec::new();
    for _ in 0..MAPS {
        let ((encoding, lines), json) = new(&maps);
        let Ok(template) = compile(encoding, &lines) else { continue };
        accepted.push(rendered(&template, &json, Secrets::Revealed).is_ok());
    }
    let sent = accepted.iter().filter(|sent| **sent).count();
    assert!(accepted.len() > MAPS / 2, "{} of {MAPS} accepted", accepted.len());
    assert!(sent > accepted.len() / 4, "{sent} of {} rendered", accepted.len());
}
