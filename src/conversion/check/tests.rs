use proptest::prelude::*;

use super::*;
use crate::conversion::SCHEMA;

#[track_caller]
fn text(kind: Kind, value: &str, right: bool) {
    let checked = check(kind, Found::Text(value.into()));
    assert_eq!(checked.is_ok(), right, "{value:?}: {checked:?}");
}

#[test]
fn e_mail_addresses() {
    for right in [
        "jane@example.com",
        "jane.doe+tag@mail.example.co.uk",
        "o'hara_1/2=x@a-b.de",
        "jürgen@müller.de",
        "用户@例子.广告",
        "a@1.de",
    ] {
        text(Kind::Email, right, true);
    }
    for wrong in [
        "",
        "jane",
        "@example.com",
        "jane@",
        "jane@localhost",
        "jane@@example.com",
        "jane@example.com ",
        " jane@example.com",
        "Jane <jane@example.com>",
        "mailto:jane@example.com",
        "jane.@example.com",
        ".jane@example.com",
        "ja..ne@example.com",
        "jane@-example.com",
        "jane@example-.com",
        "jane@example..com",
        "jane@example.com.",
        "ja ne@example.com",
        "jane@exa_mple.com",
        "jane@[203.0.113.9]",
        "\"jane\"@example.com",
        "jane@example.com\n",
        "jane@exam\u{a0}ple.com",
    ] {
        text(Kind::Email, wrong, false);
    }
    text(Kind::Email, &format!("{}@example.com", "a".repeat(64)), true);
    text(Kind::Email, &format!("{}@example.com", "a".repeat(65)), false);
    text(Kind::Email, &format!("a@{}", ["a".repeat(63).as_str(); 4].join(".")), false);
}

#[test]
fn urls_are_absolute_and_of_the_web() {
    for right in [
        "https://shop.example.com",
        "https://shop.example.com/thanks?order=1&x=%20#top",
        "HTTP://EXAMPLE.COM/",
        "http://localhost:8080/a",
        "https://user:secret@example.com/",
        "https://203.0.113.9/",
        "https://[2001:db8::1]/",
        "https://müller.de/straße?q=ä",
        "https://xn--mller-kva.de/",
        "https://example.com?x",
        "https://a_b.example.com/",
    ] {
        text(Kind::Url, right, true);
    }
    for wrong in [
        "",
        "/thanks",
        "shop.example.com",
        "//shop.example.com",
        "https:/example.com",
        "https:example.com",
        "https://",
        "https:///example.com",
        "ftp://example.com",
        "javascript:alert(1)",
        "android-app://com.example",
        "https://exa mple.com",
        "https://example.com/a b",
        " https://example.com",
        "https://example.com\\a",
        "https://[::1",
        "https://example.com:99999/",
        "https://xn--a-ä.de/",
        "https://999.999.999.999/",
        "https://example.com/\u{7}",
        "https://example.com/\u{a0}",
        "https://a..b%/",
    ] {
        text(Kind::Url, wrong, false);
    }
}

#[test]
fn addresses_codes_and_digests() {
    let cases: [(Kind, &[&str], &[&str]); 6] = [
        (
            Kind::Ip,
            &["203.0.113.9", "::1", "2001:DB8::1", "::ffff:1.2.3.4"],
            &["300.1.1.1", "1.2.3", "01.2.3.4", "1.2.3.4/8", "fe80::1%eth0", "localhost", ""],
        ),
        (Kind::Currency, &["EUR", "JPY", "KWD", "XCG"], &["eur", "EURO", "EU", "ZZZ", "XXX", "XTS", "€", ""]),
        (Kind::Country, &["DE", "DEU", "US", "USA", "AX", "ZWE"], &["de", "D", "XX", "UK", "Germany", ""]),
        (
            Kind::Digest { chars: 40 },
            &["63a710569261a24b3766275b7000ce8d7b32e2f7"],
            &["63A710569261a24b3766275b7000ce8d7b32e2f7", "63a7", "g3a710569261a24b3766275b7000ce8d7b32e2f7", ""],
        ),
        (
            Kind::Uuid,
            &["85b04ded-09dd-4015-ad30-581e45452dd9", "85B04DED-09DD-4015-AD30-581E45452DD9"],
            &[
                "85b04ded09dd4015ad30581e45452dd9",
                "{85b04ded-09dd-4015-ad30-581e45452dd9}",
                "85b04ded-09dd-4015-ad30-581e45452ddx",
                "",
            ],
        ),
        (Kind::Enum(&["new", "existing"]), &["new", "existing"], &["New", "old", " new", ""]),
    ];
    for (kind, right, wrong) in cases {
        right.iter().for_each(|value| text(kind, value, true));
        wrong.iter().for_each(|value| text(kind, value, false));
    }
}

#[test]
fn a_code_that_names_no_currency_is_told_so() {
    for code in ["XXX", "XTS"] {
        let why = check(Kind::Currency, Found::Text(code.into())).unwrap_err();
        assert!(why.contains("XXX says that there is none"), "{why}");
        assert!(!is_currency(code));
    }
    assert!(is_currency("XAU"));
}

#[test]
fn text_is_measured_in_characters_and_holds_no_controls() {
    let kind = Kind::Text { chars_max: 4 };
    for right in ["a", "abcd", "äöüß", "😀😀😀😀", " ", "a\u{a0}b"] {
        text(kind, right, true);
    }
    for wrong in ["", "abcde", "äöüßa", "a\nb", "\t", "a\u{0}", "\u{7f}", "\u{85}", "\u{9f}"] {
        text(kind, wrong, false);
    }
}

#[test]
fn text_in_lines_has_line_breaks_and_no_other_controls() {
    let kind = Kind::Lines { chars_max: 4 };
    for right in ["a", "a\nb", "\n", "ä\nöü", "abcd"] {
        text(kind, right, true);
    }
    for wrong in ["", "abc\nd", "a\r\nb", "a\tb", "a\n\u{0}", "\u{85}"] {
        text(kind, wrong, false);
    }
}

#[test]
fn whole_numbers_are_digits_up_to_what_every_reader_keeps() {
    for (number, expected) in [
        ("0", Some(0)),
        ("3", Some(3)),
        ("9007199254740991", Some(INT_MAX)),
        ("9007199254740992", None),
        ("-1", None),
        ("1.0", None),
        ("1e+2", None),
        ("99999999999999999999", None),
    ] {
        assert_eq!(check(Kind::Int, Found::Number(number.into())).ok(), expected.map(Value::Int), "{number}");
    }
}

#[test]
fn a_value_of_another_type_is_told_what_would_be_right() {
    let kinds = SCHEMA.iter().map(|field| field.kind).filter(|kind| *kind != Kind::Json);
    for kind in kinds {
        for found in
            [Found::Array, Found::Object, Found::Bool(true), Found::Number("7.5".into()), Found::Text("\u{1}".into())]
        {
            let fits = matches!((kind, &found), (Kind::Bool, Found::Bool(_)) | (Kind::Money, Found::Number(_)));
            match check(kind, found) {
                Ok(_) => assert!(fits, "{kind:?}"),
                Err(detail) => assert!(!fits && detail.starts_with("must "), "{kind:?}: {detail}"),
            }
        }
        assert!(check(kind, Found::Null).unwrap_err().contains("leave the field out"));
    }
}

proptest! {
    #[test]
    fn a_plain_host_is_one_that_the_url_crate_takes(
        host in r"[a-zA-Z][-a-zA-Z0-9]{0,12}(\.[a-zA-Z0-9][-a-zA-Z0-9]{0,70}){0,4}",
        rest in "([/?#][ -~]{0,20})?",
    ) {
        let url = format!("{host}{rest}");
        if begins_with_plain_host(&url) {
            prop_assert!(url::Url::parse(&format!("https://{url}")).is_ok_and(|url| url.has_host()), "{}", url);
        }
    }

    #[test]
    fn checking_never_panics(value in "\\PC{0,40}|[a-z0-9@:/.%\\[\\]-]{0,40}", row in 0..SCHEMA.len()) {
        drop(check(SCHEMA[row].kind, Found::Text(value.into())));
    }
}
