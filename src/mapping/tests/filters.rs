//! Filters that cut, search, pad, count and take apart.

use super::*;

#[test]
fn texts_are_cut_and_padded_by_characters() {
    check("'äöüß' | substring(1)", "'öüß'");
    check("'äöüß' | substring(1, 2)", "'öü'");
    check("'äöüß' | substring(2, 9)", "'üß'");
    check("'äöüß' | substring(4)", "-");
    check("'äöüß' | substring(0, 0)", "-");
    check("'7' | pad_left(3, '0')", "'007'");
    check("'ä' | pad_right(3, 'ß')", "'äßß'");
    check("'1234' | pad_left(3, '0')", "'1234'");
    check("'äöü' | truncate_bytes(5)", "'äö'");
    check("'äöü' | truncate_bytes(6)", "'äöü'");
    check("'äöü' | truncate_bytes(1)", "-");
    check("'St. Gällen 9' | alphanumeric", "'StGällen9'");
    check("'.-' | alphanumeric", "-");
    refused("order_id | pad_left(3, '00')", "'00': exactly one character stands here");
    refused("order_id | pad_left(3, '')", "exactly one character stands here");
    refused("order_id | pad_left(9999, '0')", "a whole number from 0 to 1000");
}

#[test]
fn a_telephone_number_is_nobodys_without_its_country_code() {
    let check_both = |phone: &str, number: &str, with_plus: &str| {
        check(&format!("'{phone}' | phone_digits"), number);
        check(&format!("'{phone}' | phone_plus"), with_plus);
    };
    for same in ["+49 (0)30 1234", "0049 30 1234", " 0049 (0)30-1234 ", "+49.30/12 34", "(0)+49 30 1234"] {
        check_both(same, "'49301234'", "'+49301234'");
    }
    check_both("49301234", "'49301234'", "-");
    check_both("+1 (010) 555-2671", "'10105552671'", "'+10105552671'");
    for nobodys in ["030 1234", "+030 1234", "00030 1234", "(0)", "+", "call me", "+ (0)"] {
        check_both(nobodys, "-", "-");
    }
    refused("items[].price | phone_digits", "`phone_digits` takes text");
    refused("value | phone_plus", "`phone_plus` takes text");
}

#[test]
fn regular_expressions_replace_and_extract() {
    check("customer.phone | replace_re('[^0-9]', '')", "'14155552671'");
    check("'a1b22' | replace_re('([a-z])([0-9]+)', '$2${1}$$')", "'1a$22b$'");
    check("'x-y' | replace_re('(?P<left>x)-(y)?', '$left$2')", "'xy'");
    check("'x-' | replace_re('(?P<left>x)-(y)?', '$left$2')", "'x'");
    check("'abc' | replace_re('x*', '-')", "'-a-b-c-'");
    check("'abc' | replace_re('.+', '')", "-");
    check("'abc' | replace_re('z', 'y')", "'abc'");
    check("'ÄÖ' | replace_re('(?i)ä', 'x')", "'xÖ'");
    check("page.url | extract('[?&]x=([0-9]+)')", "'1'");
    check("page.url | extract('^https?://')", "'https://'");
    check("page.url | extract('id=([0-9]+)')", "-");
    check("'ref-7' | extract('id-([0-9])|ref-([0-9])')", "'7'");
    check("'abc' | extract('a(x)?')", "-");
    refused("order_id | extract('(')", "'(': no regular expression: unclosed group");
    refused("order_id | extract('')", "'': an empty pattern is found everywhere");
    refused("order_id | extract('(?=x)')", "look-around");
    refused("order_id | replace_re('a(b)', '$2')", "'$2': the pattern has no group `2`, it has 1");
    refused(
        "order_id | replace_re('a(b)', '$1st')",
        "the pattern has no group `1st`, it has 1; before a letter write `${1}`",
    );
    refused("order_id | replace_re('a', '$x')", "the pattern has no group `x`: a group stands in parentheses");
    refused("order_id | replace_re('a', '5 $')", "a dollar sign itself is `$$`");
    refused("order_id | replace_re('a', '${1')", "`${` is not closed");
    refused("order_id | extract('((a{99}){99}){99}')", "too large once compiled");
    refused(&format!("order_id | extract('{}')", "a".repeat(513)), "a pattern has at most 512 bytes");
    refused("order_id | extract(secrets.token)", "a text that is no secret");
}

#[test]
fn a_replacement_stays_within_the_bound() {
    let expression = format!("'{}' | replace_re('.', '{}')", "x".repeat(2000), "y".repeat(1000));
    refused(&expression, "this can never be computed: the text would be longer than 1 MiB");
}

#[test]
fn cookies_and_urls_are_taken_apart_and_encoded() {
    check("'a=1; _fbp=fb.1.2; b=\"q\"' | cookie('_fbp')", "'fb.1.2'");
    check("'a=1; b=\"q\"' | cookie('b')", "'q'");
    check("'aa=1;a=2;a=3' | cookie('a')", "'2'");
    check("'a=' | cookie('a')", "-");
    check("'a; =2' | cookie('a')", "-");
    check("'a b/ü*~' | url_encode", "'a%20b%2F%C3%BC%2A~'");
}

#[test]
fn texts_are_split_and_lists_taken_apart() {
    check("'a,,b' | split(',')", r#"["a","b"]"#);
    check("'a,,b' | split(',') | nth(2)", "'b'");
    check("'a,,b' | split(',') | nth(1)", "-");
    check("'a,,b' | split(',') | nth(3)", "-");
    check("'a, b' | split(',') | trim | upper | join('|')", "'A|B'");
    check("',' | split(',')", "-");
    check("items[].sku | nth(0)", "'A'");
    check("items[].price | nth(1) | minor_units", "500");
    check("custom.tags | nth(1)", "'b'");
    check("custom.o.k | nth(0)", "1");
    check("custom.s | nth(0)", "'Text'");
    check("custom.o | nth(0)", "! a list is needed here, and this is an object");
    refused("items[].sku | split(',')", "`split` makes a list, and its input is a list already");
    refused("order_id | nth(0)", "`nth` takes a list, and this is text");
    refused("order_id | split('')", "an empty text separates nothing");
    refused(&format!("'{}' | split(',')", ",".repeat(1000)), "more than 1000 entries");
}

#[test]
fn joining_closes_the_gaps_or_keeps_them() {
    check("items[].sku | join('|')", "'A'");
    check("items[].sku | join('|', 'keep')", "'A|'");
    check("items[].name | join('|', 'keep')", "-");
    check("'a,,b' | split(',') | join('-')", "'a-b'");
    check("'a,,b' | split(',') | join('', 'keep')", "'ab'");
    check("custom.tags | join(' ', 'keep')", "'a b'");
    refused("items[].sku | join('|', 'drop')", "'drop': 'keep' keeps the places of absent entries");
}

#[test]
fn members_are_picked_and_left() {
    check("custom | pick(['n', 'b', 'none'])", r#"{"n":12.50,"b":false}"#);
    check("custom.o | without(['k'])", "-");
    check("{a: 1, b: 2} | without(['a'])", r#"{"b":2}"#);
    check("custom.s | pick(['a'])", "! an object is needed here");
    refused("order_id | pick(['a'])", "`pick` takes an object, and this is text");
    refused("custom | pick('a')", "a list of texts such as ['a', 'b']");
    refused("custom | pick([1])", "a list of texts such as ['a', 'b']");
    refused("custom | pick([''])", "an empty text is no value");
}

#[test]
fn an_amount_that_is_no_whole_number_of_the_smallest_unit_ends_the_request_or_is_left_out() {
    check("value | mul(0.001) | minor_units", "! the amount has a part below the currency's smallest unit");
    check("value | mul(0.001) | minor_units('omit')", "-");
    check("value | mul(0.001) | minor_units('omit') ?? 7", "7");
    check("value | minor_units('omit')", "9990");
    check("each(item.price | mul(0.001) | minor_units('omit')) | join('|', 'keep')", "'1|'");
    refused("value | minor_units('round')", "'round': 'omit' leaves out an amount that is not exact");
    refused("value | minor_units(2)", "a text that is no secret");
}

#[test]
fn of_nothing_there_is_nothing_in_any_currency_and_without_one() {
    let units = |currency: &str, source: &str| {
        let members = if currency.is_empty() { String::new() } else { format!(r#", "currency": "{currency}""#) };
        let lead = format!(r#"{{"time": "2026-01-01T00:00:00Z", "event_type": "lead_created"{members}}}"#);
        let expression = Expression::compile(&text(source), &constants(), Place::Top).expect("it is right");
        with_scope(&lead, |scope| match expression.eval(scope, None, Secrets::Revealed) {
            Ok(Some(value)) => value.into_scalar_text().expect("one value").into_owned(),
            Ok(None) => "-".to_owned(),
            Err(error) => format!("! {error}"),
        })
    };
    for currency in ["", "EUR", "JPY", "XAU"] {
        assert_eq!(units(currency, "(value ?? 0) | minor_units"), "0", "{currency}");
        assert_eq!(units(currency, "value | default(0) | minor_units"), "0", "{currency}");
        assert_eq!(units(currency, "(value ?? 0.00) | minor_units('omit')"), "0", "{currency}");
    }
    assert_eq!(units("EUR", "(value ?? 5) | minor_units"), "500");
    assert_eq!(units("", "(value ?? 5) | minor_units"), "! the conversion has no currency");
    assert_eq!(units("", "(value ?? 5) | minor_units('omit')"), "-");
    assert_eq!(units("XAU", "(value ?? 5) | minor_units"), "! the conversion's currency has no smallest unit");
    assert_eq!(units("XAU", "(value ?? 5) | minor_units('omit')"), "-");
}

#[test]
fn numbers_are_added_and_lists_of_them_summed() {
    check("value | add(0.1)", "100.00");
    check("value | sub(99.90)", "0.00");
    check("value | sub(100) | minor_units", "-10");
    check("custom.n | add(1)", "13.50");
    check("vars.goal | add(vars.goal)", "14");
    check("value | strip_zeros", "99.9");
    check("value | add(0.10) | strip_zeros", "100");
    check("custom.n | strip_zeros | string", "'12.5'");
    check("items[].price | total", "15.00");
    check("items[].price | total | minor_units", "1500");
    check("items[].quantity | total", "3");
    check("items[].margin | total", "-");
    check(
        "items[].sku | join(',') | default('x') | split(',') | number | total",
        "! no number: digits, at most one decimal point, at most 28 digits",
    );
    check("'1.5,2' | split(',') | number | total", "3.5");
    check("'1.5,,2' | split(',') | number | total", "-");
    check("'1.5,,2' | split(',') | default('0') | number | total", "3.5");
    // A list of none is no list of zeros: what stands behind `??` is asked.
    check("each(item.margin) | default(0) | total", "-");
    check("(each(item.margin) | default(0) | total) ?? value", "99.90");
    check("(items[].margin | default(0) | total) ?? value", "99.90");
    check("(reason | split(',') | default('0') | number | total) ?? 7", "7");
    check("items[].sku | default('none') | join(',') | default('all')", "'A,none'");
    check("custom.n | total", "12.50");
    check("custom.tags | total", "! a number of at most 28 digits is needed here");
    check("value | add(9999999999999999999999999999)", "! the result has more than 28 digits");
    refused("value | total", "`total` takes a list of numbers, and this is money");
    refused(
        "items[].sku | total",
        "`total` takes a list of numbers, and this is a list of text (put `| number` before it)",
    );
}

#[test]
fn keyed_digests_in_three_sizes() {
    // RFC 2202 and RFC 4231, test case 2.
    let text = "'what do ya want for nothing?'";
    check(&format!("{text} | hmac_sha1(secrets.jefe)"), "'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79'");
    check(&format!("{text} | hmac_sha512(secrets.jefe) | truncate(32)"), "'164b7a7bfcf819e2e395fbe73b56e0a3'");
    check(&format!("{text} | hmac_sha1(secrets.jefe, 'base64')"), "'7/zfauXrL6LSdBbV8YTfnCWafHk='");
    refused("customer.email | hmac_sha512('key')", "a key does not stand in a mapping");
}
