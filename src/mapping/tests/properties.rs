//! What holds of any text, any conversion and any well-typed expression.

mod words;

use proptest::collection::vec;
use proptest::prelude::*;

use self::words::{AGENTS, WORDS};
use super::*;
use crate::mapping::lexer::{At, Faults, Scalar, Segment};
use crate::mapping::parser::{parse_condition, parse_value};
use crate::mapping::syntax::{Arithmetic, Ast, Call, Comparison, Key, Kind, Literal};

fn ast(kind: Kind) -> Ast {
    Ast { kind, at: At::default() }
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        "[ -~äß€\n]{0,6}".prop_map(Scalar::Text),
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?".prop_map(Scalar::Number),
        any::<bool>().prop_map(Scalar::Bool),
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        4 => scalar().prop_map(Literal::Scalar),
        1 => Just(Literal::Null),
        1 => vec(scalar(), 0..3).prop_map(|entries| Literal::List(entries.into_iter().map(|e| (e, At::default())).collect())),
        1 => prop::collection::btree_map("[ -~]{0,4}", scalar(), 0..3).prop_map(|members| {
            let key = |name| Key { name, at: At::default() };
            Literal::Map(members.into_iter().map(|(name, value)| (key(name), value)).collect())
        }),
    ]
}

fn path() -> impl Strategy<Value = Kind> {
    let segment = prop_oneof![
        "[a-z0-9_][a-z0-9_-]{0,3}".prop_map(|name| Segment::Key(name.into())),
        "[ -~é]{0,4}".prop_map(|name| Segment::Key(name.into())),
        (0_usize..100).prop_map(Segment::Index),
        Just(Segment::All),
    ];
    ("[a-z_]{1,3}[A-Z0-9-]{1,3}", vec(segment, 0..3)).prop_map(|(root, rest)| {
        let mut segments = vec![Segment::Key(root.into())];
        segments.extend(rest);
        Kind::Path(segments)
    })
}

/// A chain is flat: a part of its own kind is one of its parts.
fn chain(parts: Vec<Ast>, sort: u8) -> Kind {
    let mut flat = Vec::new();
    for part in parts {
        match (part.kind, sort) {
            (Kind::First(inner), 0) | (Kind::And(inner), 1) | (Kind::Or(inner), 2) => flat.extend(inner),
            (kind, _) => flat.push(ast(kind)),
        }
    }
    match sort {
        0 => Kind::First(flat),
        1 => Kind::And(flat),
        _ => Kind::Or(flat),
    }
}

/// A difference has two parts.
fn arithmetic_kind(operation: Arithmetic, mut parts: Vec<Ast>) -> Kind {
    parts.truncate(if operation == Arithmetic::Difference { 2 } else { parts.len() });
    Kind::Arithmetic(operation, parts)
}

fn pipe(mut input: Ast, mut more: Vec<Call>) -> Kind {
    if let Kind::Pipe(_, calls) = &mut input.kind {
        calls.append(&mut more);
        return input.kind;
    }
    Kind::Pipe(Box::new(input), more)
}

fn tree() -> impl Strategy<Value = Ast> {
    let leaf = prop_oneof![path(), literal().prop_map(Kind::Literal)].prop_map(ast);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let args = vec(inner.clone(), 0..3);
        let call = ("[a-z_0-9]{1,3}[A-Z]", args).prop_map(|(name, args)| Call {
            name: format!("f{name}"),
            args,
            at: At::default(),
        });
        let comparison = prop_oneof![
            Just(Comparison::Equal),
            Just(Comparison::Unequal),
            Just(Comparison::Less),
            Just(Comparison::LessOrEqual),
            Just(Comparison::Greater),
            Just(Comparison::GreaterOrEqual),
        ];
        let arithmetic = prop::sample::select(Arithmetic::ALL.to_vec());
        let pair = (inner.clone(), inner.clone()).prop_map(|(a, b)| Box::new([a, b]));
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(Kind::Concat),
            (arithmetic, vec(inner.clone(), 2..4)).prop_map(|(operation, parts)| arithmetic_kind(operation, parts)),
            inner.clone().prop_map(|entry| Kind::Each(Box::new(entry))),
            pair.clone().prop_map(Kind::Matches),
            pair.clone().prop_map(Kind::Contains),
            (inner.clone(), vec(call, 1..3)).prop_map(|(input, calls)| pipe(input, calls)),
            (vec(inner.clone(), 2..4), 0_u8..3).prop_map(|(parts, sort)| chain(parts, sort)),
            (comparison, pair.clone()).prop_map(|(comparison, sides)| Kind::Compare(comparison, sides)),
            pair.prop_map(Kind::In),
            inner.prop_map(|inner| Kind::Not(Box::new(inner))),
        ]
        .prop_map(ast)
    })
}

/// What a conversion may have, so that expressions over it find something.
pub(super) fn conversion() -> impl Strategy<Value = String> {
    let words = "[ -~äß€😀]{1,12}";
    let money = "-?(0|[1-9][0-9]{0,12})\\.[0-9]{1,6}";
    let json = prop_oneof![
        Just("null".to_owned()),
        Just("[1, \"x\", null]".to_owned()),
        Just("{\"k\": \"v\"}".to_owned()),
        "[ -~]{0,6}".prop_map(|text| serde_json::json!(text).to_string()),
        "-?[1-9][0-9]{0,30}(e[0-9]{1,3})?"
    ];
    (words, money, 0_i64..4_000_000_000, any::<bool>(), vec(json, 0..4), vec((words, 0..1000_u32), 0..4)).prop_map(
        |(text, money, second, flag, free, items)| {
            let time = jiff::Timestamp::from_second(second).expect("in range").to_string();
            let quoted = serde_json::json!(text).to_string();
            let items: Vec<String> = items
                .iter()
                .map(|(sku, quantity)| {
                    let sku = serde_json::json!(sku);
                    format!(r#"{{"sku": {sku}, "quantity": {quantity}, "price": "{quantity}.5"}}"#)
                })
                .collect();
            let free: Vec<String> = free.iter().enumerate().map(|(i, json)| format!("\"f{i}\": {json}")).collect();
            let money = money.trim_start_matches('-');
            format!(
                r#"{{"time": "{time}", "value": {money}, "currency": "JPY", "order_id": {quoted}, "reason": {quoted},
                    "customer": {{"first_name": {quoted}, "phone": {quoted}, "birthday": "1990-12-31"}}, "test": {flag},
                    "device": {{"user_agent": {quoted}}}, "items": [{}], "custom": {{{}}}}}"#,
                items.join(", "),
                free.join(", ")
            )
        },
    )
}

#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Text,
    Digest,
    Money,
    Number,
    Bool,
    Time,
    Date,
    Json,
}

/// Filters with the sorts that they take and what they give.
const STEPS: &[(&str, &[Sort], Sort)] = {
    use Sort::{Bool, Date, Digest, Json, Money, Number, Text, Time};
    &[
        ("trim", &[Text, Json], Text),
        ("lower", &[Text], Text),
        ("upper", &[Digest], Digest),
        ("digits", &[Text, Digest], Text),
        ("e164", &[Text], Text),
        ("email_canonical", &[Text, Json], Text),
        ("truncate(3)", &[Text, Digest], Text),
        ("prefix(secrets.token)", &[Text], Text),
        ("suffix('x')", &[Text, Digest], Text),
        ("replace('a', 'aaaaaaaaaaaaaaaa')", &[Text], Text),
        ("replace_re('(.)(\\w)?', '$2$1$1$1$1$1$1$1$1$1$1$1$1$1$1')", &[Text, Json], Text),
        ("extract('[^a](.*)')", &[Text, Digest], Text),
        ("alphanumeric", &[Text], Text),
        ("truncate_bytes(5)", &[Text, Json], Text),
        ("substring(1, 3)", &[Text, Digest], Text),
        ("pad_left(9, 'é')", &[Text], Text),
        ("pad_right(2, ' ')", &[Text], Text),
        ("url_encode", &[Text], Text),
        ("cookie('a')", &[Text, Json], Text),
        ("default('none')", &[Text], Text),
        ("lookup({a: 1, 'true': 2})", &[Text, Bool, Json], Number),
        ("sha1", &[Text], Digest),
        ("sha256('base64')", &[Text, Json], Digest),
        ("md5", &[Text], Digest),
        ("hmac_sha256(secrets.token)", &[Text], Digest),
        ("hmac_sha512(secrets.token, 'base64')", &[Text], Digest),
        ("hex", &[Text], Text),
        ("base64", &[Text], Text),
        ("string", &[Text, Digest, Money, Number, Bool, Time, Date, Json], Text),
        ("int", &[Json], Number),
        ("lower | int", &[Text], Number),
        ("decimal(0) | int", &[Money, Number], Number),
        ("decimal(0)", &[Money], Money),
        ("number", &[Text, Money, Number, Json], Number),
        ("bool('1', '')", &[Bool, Json], Text),
        ("decimal(2)", &[Money], Money),
        ("decimal_max(2)", &[Money], Money),
        ("phone_digits", &[Text], Text),
        ("phone_plus", &[Text], Text),
        ("minor_units", &[Money], Number),
        ("minor_units('omit')", &[Money], Number),
        ("micros", &[Money, Number, Json], Number),
        ("negate", &[Money], Money),
        ("mul(12345678901.5)", &[Money], Money),
        ("mul(-3)", &[Number, Json], Number),
        ("add(0.01)", &[Money], Money),
        ("sub(1)", &[Number, Json], Number),
        ("strip_zeros", &[Money], Money),
        ("pick(['k'])", &[Json], Json),
        ("without(['f1'])", &[Json], Json),
        ("rfc3339", &[Time, Json], Text),
        ("rfc3339(3)", &[Time], Text),
        ("unix_us", &[Time, Json], Number),
        ("strftime('%y %c %f', 'America/New_York')", &[Time, Json], Text),
        ("strftime('%j')", &[Date, Time, Json], Text),
        ("json", &[Text, Digest, Money, Number, Bool, Time, Date, Json], Text),
        ("ua_browser", &[Text], Text),
        ("ua_os", &[Text], Text),
        ("url_param('a')", &[Text, Json], Text),
    ]
};

const LEAVES: &[(&str, Sort)] = &[
    ("order_id", Sort::Text),
    ("concat(reason, '-', customer.first_name)", Sort::Text),
    ("device.user_agent", Sort::Text),
    ("(vars.unset ?? reason)", Sort::Text),
    ("(vars.unset ?? meta.id)", Sort::Text),
    ("secrets.token", Sort::Text),
    ("click_ids.none", Sort::Text),
    ("customer.email_sha256", Sort::Digest),
    ("value", Sort::Money),
    ("(order.tax ?? value)", Sort::Money),
    ("(custom.f0 | number)", Sort::Number),
    ("test", Sort::Bool),
    ("time", Sort::Time),
    ("meta.received_at", Sort::Time),
    ("customer.birthday", Sort::Date),
    ("custom.f0", Sort::Json),
    ("(custom.f1[1] ?? custom.f2.k ?? custom)", Sort::Json),
    ("(custom.f1 | nth(1))", Sort::Json),
    ("(order_id | split('a') | nth(1))", Sort::Text),
    ("(items[].sku | join('|', 'keep'))", Sort::Text),
    ("(items[].price | total)", Sort::Money),
    ("(each(product(item.price, item.quantity, 1.5)) | total)", Sort::Money),
    ("(each(concat(item.sku, 'a')) | nth(0))", Sort::Text),
    ("difference(value, 0.001)", Sort::Money),
    ("sum(custom.f0, 1)", Sort::Number),
];

/// An expression that is right by its construction.
pub(super) fn well_typed() -> impl Strategy<Value = String> {
    (0..LEAVES.len(), vec(any::<prop::sample::Index>(), 0..6), any::<bool>()).prop_map(|(leaf, picks, list)| {
        let (mut text, mut sort) = (LEAVES[leaf].0.to_owned(), LEAVES[leaf].1);
        if list && sort == Sort::Text {
            text = "items[].sku".to_owned();
        }
        if list && sort == Sort::Money {
            text = "items[].price".to_owned();
        }
        for pick in picks {
            let fitting: Vec<_> = STEPS.iter().filter(|(_, takes, _)| takes.contains(&sort)).collect();
            let (step, _, gives) = fitting[pick.index(fitting.len())];
            text = format!("{text} | {step}");
            sort = *gives;
        }
        text
    })
}

proptest! {
    #[test]
    fn printing_and_parsing_a_tree_gives_it_back(tree in tree()) {
        let source = text(&tree.to_string());
        let mut faults = Faults::new(&source);
        let parsed = parse_condition(&source, &mut faults);
        prop_assert!(faults.is_empty(), "{}: {:?}", source.value, faults);
        prop_assert_eq!(&parsed, &tree, "{}", source.value);
        let required = ast(Kind::Required(Box::new(tree)));
        let source = text(&required.to_string());
        let parsed = parse_value(&source, 0..source.value.len(), &mut Faults::new(&source));
        prop_assert_eq!(parsed, required);
    }

    #[test]
    fn no_text_makes_the_compiler_panic(source in "\\PC{0,60}") {
        laws::any_text(&source);
    }

    #[test]
    fn no_mixture_of_the_languages_words_makes_it_panic(words in vec(prop::sample::select(WORDS), 0..14)) {
        laws::any_text(&words.join(" "));
        laws::any_text(&words.concat());
    }

    #[test]
    fn a_well_typed_expression_compiles_and_is_the_same_twice(source in well_typed(), json in conversion()) {
        let compiled = Expression::compile(&text(&source), &constants(), Place::Top);
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(faults) => return Err(TestCaseError::fail(format!("{source}: {faults:?}"))),
        };
        let conversion = Conversion::parse(json.as_bytes(), "generated");
        prop_assume!(conversion.is_ok());
        with_scope(&json, |scope| {
            let value = compiled.eval(scope, None, Secrets::Revealed);
            prop_assert_eq!(&value, &compiled.eval(scope, None, Secrets::Revealed));
            check_out(&compiled, value)?;
            let masked = shown(&compiled.eval(scope, None, Secrets::Masked));
            prop_assert!(!masked.contains("s3cret"), "{} shows {}", source, masked);
            Ok(())
        })?;
    }

    #[test]
    fn no_user_agent_makes_the_parser_panic(agent in "(Mozilla/5.0 )?[(;) /.A-Za-z0-9_:é-]{0,60}", pick in vec(prop::sample::select(AGENTS), 0..8)) {
        for agent in [agent, pick.concat()] {
            crate::mapping::agent::browser(&agent);
            crate::mapping::agent::operating_system(&agent);
        }
    }

    #[test]
    fn a_predicate_over_any_answer_has_an_answer(body in "\\PC{0,40}", status in 100_u16..600, words in vec(prop::sample::select(WORDS), 0..14)) {
        let answer = super::conditions::answer(status, &body);
        if let Ok(condition) = AnswerCondition::compile(&text(&words.join(" "))) {
            prop_assert_eq!(condition.holds(&answer), condition.holds(&answer));
        }
        if let Ok(capture) = Capture::compile(&text(&words.join(" "))) {
            capture.take(&answer);
        }
    }
}

/// What leaves is of the promised type, and never empty.
fn check_out(expression: &Expression, value: Result<Option<Val<'_>>, EvalError>) -> Result<(), TestCaseError> {
    let Ok(Some(value)) = value else { return Ok(()) };
    let known = expression.out_type();
    match value.out().expect("it is settled") {
        Out::Text(text) => {
            prop_assert!(!text.is_empty());
            prop_assert!(matches!(known, OutType::Text | OutType::Json));
        }
        Out::Number(number) => {
            prop_assert!(serde_json::from_str::<serde_json::Number>(number).is_ok(), "{}", number);
            prop_assert!(matches!(known, OutType::Number | OutType::Json));
        }
        Out::Amount(amount) => {
            let text = amount.to_string();
            prop_assert!(serde_json::from_str::<serde_json::Number>(&text).is_ok(), "{}", text);
            prop_assert!(matches!(known, OutType::Number | OutType::Json));
        }
        Out::Int(_) => prop_assert!(matches!(known, OutType::Number | OutType::Json)),
        Out::Bool(_) => prop_assert!(matches!(known, OutType::Bool | OutType::Json)),
        Out::Json(json) => {
            prop_assert_eq!(known, OutType::Json);
            let filled = matches!(json, crate::conversion::Json::Array(entries) if !entries.is_empty())
                || matches!(json, crate::conversion::Json::Object(members) if !members.is_empty());
            prop_assert!(filled);
        }
    }
    Ok(())
}
