use proptest::prelude::*;

use super::*;

#[track_caller]
fn written(text: &str) -> String {
    let mut out = Vec::new();
    Json::parse(text.as_bytes()).unwrap().write(&mut out);
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>) -> String {
    Json::parse(bytes.as_ref()).unwrap_err().to_string()
}

#[test]
fn numbers_and_order_are_kept_as_they_were_written() {
    #[track_caller]
    fn check(text: &str) {
        assert_eq!(written(text), text);
    }
    check("99.90");
    check("12345678901234.56");
    check("123456789012345678901234567890");
    check("-0");
    check("-0.0");
    check("1.50e+400");
    check("2e-7");
    check("18446744073709551615");
    check("18446744073709551616");
    check("-9223372036854775808");
    check("-9223372036854775809");
    check("0.1000000000000000055511151231257827021181583404541015625");
    check(r#"{"b":1.50,"a":[1.0,null,true,false,""],"":{}}"#);
    check(r#""ä € 😀 \" \\ \n \t""#);
}

#[test]
fn an_answer_may_begin_with_a_byte_order_mark_and_its_last_member_of_a_name_counts() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut out = Vec::new();
        Json::parse_answer(text.as_bytes()).unwrap().write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
    }
    check("\u{feff}{\"a\": 1}", r#"{"a":1}"#);
    check(r#"{"a":1,"b":2,"a":3,"A":4,"a":5}"#, r#"{"b":2,"A":4,"a":5}"#);
    check(r#"[{"a":{"b":1,"b":[2]},"a":{"b":3,"b":{"c":4}}}]"#, r#"[{"a":{"b":{"c":4}}}]"#);
    let many: Vec<String> = (0..40).map(|at| format!(r#""k{}":{at}"#, at % 20)).collect();
    let last: Vec<String> = (20..40).map(|at| format!(r#""k{}":{at}"#, at % 20)).collect();
    check(&format!("{{{}}}", many.join(",")), &format!("{{{}}}", last.join(",")));
    // One mark, at the beginning.
    for wrong in ["\u{feff}\u{feff}{}", "{}\u{feff}", " \u{feff}{}", "\u{feff}"] {
        assert!(Json::parse_answer(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
}

#[test]
fn an_exponent_is_written_with_its_sign_and_nothing_else_changes() {
    assert_eq!(written("[1.50E5,1e400,1e-05]"), "[1.50e+5,1e+400,1e-05]");
}

#[test]
fn texts_are_unescaped_and_escaped_only_where_they_must_be() {
    assert_eq!(written(r#""\u00e4\/\u0041\ud83d\ude00""#), r#""ä/A😀""#);
    assert_eq!(written(r#""\u0000\u001f\b\f\r""#), r#""\u0000\u001f\u0008\u000c\r""#);
}

#[test]
fn a_member_named_like_the_mark_of_a_number_is_a_member() {
    #[track_caller]
    fn check(text: &str) {
        assert_eq!(written(text), text);
    }
    check(r#"{"$serde_json::private::Number":"12"}"#);
    check(r#"{"$serde_json::private::Number":1.5}"#);
    check(r#"{"$serde_json::private::Number":{"$serde_json::private::Number":[]}}"#);
    check(r#"{"$serde_json::private::Number":"12","a":1}"#);
    check(r#"{"a":1,"$serde_json::private::Number":"x"}"#);
    check(r#"{"$serde_json::private::RawValue":"1"}"#);
    assert_eq!(written(r#"{"\u0024serde_json::private::Number":"12"}"#), r#"{"$serde_json::private::Number":"12"}"#);
}

#[test]
fn what_is_no_json_is_refused_with_line_and_column() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(refused(text), expected);
    }
    check("", "nothing there: a JSON value is expected");
    check(" \n\t", "nothing there: a JSON value is expected");
    check("{", "EOF while parsing an object at line 1 column 1");
    check("{\n \"a\": nope}", "expected ident at line 2 column 8");
    check("{\"a\":NaN}", "expected value at line 1 column 6");
    check("{\"a\":-Infinity}", "invalid number at line 1 column 7");
    check("{\"a\":01}", "invalid number at line 1 column 7");
    check("{\"a\":1.}", "invalid number at line 1 column 8");
    check("{\"a\":.5}", "expected value at line 1 column 6");
    check("{\"a\":+5}", "expected value at line 1 column 6");
    check("{\"a\":1,}", "trailing comma at line 1 column 8");
    check("{'a':1}", "key must be a string at line 1 column 2");
    check("{\"a\":1} x", "trailing characters at line 1 column 9");
    check("{} {}", "trailing characters at line 1 column 4");
    check("\"\\ud800\"", "unexpected end of hex escape at line 1 column 8");
    check("\"a\nb\"", "control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0");
    check("\u{feff}{}", "begins with a byte order mark at line 1 column 1");
    check("// c\n{}", "expected value at line 1 column 1");
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_where_they_stand() {
    assert_eq!(refused(b"\xff"), "not UTF-8 at line 1 column 1");
    assert_eq!(refused(b"{\n \"a\": \"\xc3\x28\"}"), "not UTF-8 at line 2 column 8");
    assert_eq!(
        refused("{}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
        "key must be a string at line 1 column 2"
    );
}

#[test]
fn duplicate_members_are_refused_at_any_depth_and_in_any_number() {
    assert_eq!(refused(r#"{"a":1,"a":1}"#), "stands twice: keep one at line 1 column 13");
    assert!(refused(r#"[[{"x":{"a":1,"b":2,"\u0061":3}}]]"#).starts_with("stands twice"));
    let many: Vec<String> = (0..10_000).map(|n| format!("\"{}\":0", n % 9_999)).collect();
    assert!(refused(format!("{{{}}}", many.join(","))).starts_with("stands twice"));
    let distinct: Vec<String> = (0..10_000).map(|n| format!("\"{n}\":0")).collect();
    assert!(Json::parse(format!("{{{}}}", distinct.join(",")).as_bytes()).is_ok());
}

#[test]
fn depth_ends_in_words_and_never_in_a_stack_overflow() {
    let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + "1" + &close.repeat(depth);
    assert!(Json::parse(nested("[", "]", DEPTH_MAX).as_bytes()).is_ok());
    assert!(Json::parse(nested("{\"a\":", "}", DEPTH_MAX).as_bytes()).is_ok());
    for depth in [DEPTH_MAX + 1, 127, 128, 129, 100_000] {
        assert!(refused(nested("[", "]", depth)).starts_with("nests deeper than 32 levels"), "{depth}");
        assert!(refused(nested("{\"a\":", "}", depth)).starts_with("nests deeper than 32 levels"), "{depth}");
        assert!(refused("[".repeat(depth)).starts_with("nests deeper than 32 levels"), "{depth}");
    }
}

#[test]
fn members_are_found_by_exact_name() {
    let json = Json::parse(br#"{"a":{"B":[1]},"n":null}"#).unwrap();
    let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(json.at(&path(&[])), Some(&json));
    assert_eq!(json.at(&path(&["a", "B"])), Some(&Json::Array(vec![Json::Number("1".into())])));
    assert_eq!(json.at(&path(&["a", "b"])), None);
    assert_eq!(json.at(&path(&["a", "B", "0"])), None);
    assert_eq!(json.member("n"), Some(&Json::Null));
}

/// Any JSON document of moderate size, with distinct names.
fn any_json() -> impl Strategy<Value = Json> {
    let number = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?(e[-+][0-9]{1,5})?";
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number.prop_map(|text| Json::Number(text.into())),
        ".{0,12}".prop_map(|text| Json::Text(text.into())),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::Array),
            prop::collection::btree_map(".{0,6}", inner, 0..24).prop_map(|members| Json::Object(
                members.into_iter().map(|(name, value)| (name.into(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(json in any_json()) {
        let mut text = Vec::new();
        json.write(&mut text);
        prop_assert_eq!(Json::parse(&text).unwrap(), json);
    }

    #[test]
    fn serde_json_reads_the_same_document(json in any_json()) {
        let mut text = Vec::new();
        json.write(&mut text);
        let theirs: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let ours = Json::parse(theirs.to_string().as_bytes()).unwrap();
        prop_assert_eq!(ours.canonical(), json.canonical());
    }

    /// Every byte, beside any others, at every place of a word.
    #[test]
    fn what_needs_an_escape_is_seen_wherever_it_stands(
        text in r#"[ !#-\[\]-~é€]{0,20}"#,
        other in any::<char>(),
        at: prop::sample::Index,
    ) {
        prop_assert!(needs_no_escape(&text));
        let mut characters: Vec<char> = text.chars().collect();
        let places = characters.len().saturating_add(1);
        characters.insert(at.index(places), other);
        let text: String = characters.into_iter().collect();
        prop_assert_eq!(needs_no_escape(&text), !matches!(other, '"' | '\\' | '\0'..='\x1f'));
    }

    #[test]
    fn every_character_that_needs_an_escape_is_seen(special in r#"[\x00-\x1f"\\]"#, before in ".{0,9}", after in ".{0,9}") {
        let text = [before, special, after].concat();
        prop_assert!(!needs_no_escape(&text));
    }

    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(Json::parse(&bytes));
    }

    #[test]
    fn torn_documents_never_panic(json in any_json(), at: prop::sample::Index, byte: u8) {
        let mut text = Vec::new();
        json.write(&mut text);
        let at = at.index(text.len());
        drop(Json::parse(&text[..at]));
        text[at] = byte;
        drop(Json::parse(&text));
    }
}
