//! What is refused when the configuration is loaded: the text underlined, and why.

use super::super::super::parser::NO_BRACES;
use super::*;

#[track_caller]
fn json(lines: &[(&str, &str)], expected: &str) {
    assert_eq!(Written::new(Encoding::Json).map(lines).faults(), expected);
}

#[track_caller]
fn form(lines: &[(&str, &str)], expected: &str) {
    assert_eq!(Written::new(Encoding::Form).map(lines).faults(), expected);
}

#[test]
fn a_target_that_contradicts_an_earlier_one() {
    json(&[("a", "order_id"), ("b", "1"), ("a", "value")], "a: `a` is set twice");
    json(&[(r"a", "order_id"), (r"\a", "value")], r"\a: `\a` sets the same as `a`");
    json(&[("a", "order_id"), ("a.b", "value")], "a.b: `a.b` needs an object where `a` puts a value");
    json(&[("a.b", "order_id"), ("a", "value")], "a: `a` needs a value where `a.b` puts an object");
    json(&[("a[0]", "order_id"), ("a.b", "value")], "a.b: `a.b` needs an object where `a[0]` puts an array by index");
    json(
        &[("a[]", "order_id"), ("a[0]", "value")],
        "a[0]: `a[0]` needs an array by index where `a[]` puts an array by `[]`",
    );
    json(&[("em[]", "order_id"), ("em[]", "value")], "em[]: `em[]` is set twice");
    json(&[("*", "custom.a"), ("*", "custom.b")], "*: `*` is set twice");
    json(&[("[0].a", "order_id"), ("b", "value")], "b: `b` needs an object where `[0].a` puts an array by index");
    form(&[("a.b", "order_id"), ("a.b", "value")], "a.b: `a.b` is set twice");
    form(&[("*", "custom.a"), ("*", "custom.b")], "*: `*` is set twice");
}

#[test]
fn a_name_that_an_item_could_have() {
    let lines = [("ItemSku{i}", "item.sku"), ("ItemSku1", "order_id")];
    json(&lines, "ItemSku1: `ItemSku1` and `ItemSku{i}` can be the same name for one of the items");
    form(&lines, "ItemSku1: `ItemSku1` and `ItemSku{i}` can be the same name for one of the items");
    for literal in ["ItemSku", "ItemSku0", "ItemSku01", "ItemSku501", "ItemSku1x"] {
        let written = Written::new(Encoding::Form).map(&[("ItemSku{i}", "item.sku"), (literal, "order_id")]);
        assert!(written.compile().is_ok(), "{literal}");
    }
    form(
        &[("Sku{i2}", "item.sku"), ("Sku", "order_id")],
        "Sku: `Sku` and `Sku{i2}` can be the same name for one of the items",
    );
    let both = |one: &str, other: &str, is_right: bool| {
        for encoding in [Encoding::Json, Encoding::Form, Encoding::None] {
            let compiled = Written::new(encoding).map(&[(one, "item.sku"), (other, "item.name")]).compile();
            assert_eq!(compiled.is_ok(), is_right, "{one} {other}");
        }
    };
    both("I{i}", "I1{i}", false);
    both("A{i}B", "A{i}{i0}B", false);
    both("Sku{i}", "Sku{i2}", false);
    both("I{i}_1", "I{i}_{i}", false);
    both("I{i}_1", "I{i}_11", true);
    both("I{i}_{i}", "I{i}_x", true);
    both("I{i}", "I9999{i}", true);
    both("I{i}A", "J{i}A", true);
}

#[test]
fn a_template_in_a_map_is_one_slip() {
    #[track_caller]
    fn check(source: &str, meant: &str) {
        for encoding in [Encoding::Json, Encoding::Form] {
            let faults = Written::new(encoding).map(&[("a", source)]).compile().expect_err("it is refused");
            let [fault] = faults.as_slice() else { panic!("{faults:?}") };
            assert_eq!(fault.message, NO_BRACES, "{source}");
            assert_eq!(fault.help.as_deref(), Some(&*format!("write `{meant}`")));
            // What is advised is right.
            assert!(Written::new(encoding).map(&[("a", meant)]).compile().is_ok(), "{meant}");
        }
    }
    check("order-{order_id}", "concat('order-', order_id)");
    check("{order_id}", "order_id");
    check("it's {order_id | lower} {kind}", "concat('it''s ', order_id | lower, ' ', kind)");
    check("o-{order_id !}", "concat('o-', order_id) !");
    check("o-{order_id} !", "concat('o-', order_id) !");
    check("o-{order_id ! }-{kind}", "concat('o-', order_id, '-', kind) !");
    check("{order_id} !", "order_id !");
    check("{order_id}!", "concat(order_id, '!')");
    check("o-{value}", "concat('o-', value | string)");
    check("o-{value ?? order.tax}", "concat('o-', (value ?? order.tax) | string)");
    let item = Written::new(Encoding::Json).map(&[("a[].b", "s-{item.sku}")]);
    assert_eq!(item.faults(), format!("s-{{item.sku}}: {NO_BRACES}"));
    // A map of a filter, an expression at fault.
    let quoted = Written::new(Encoding::Json).map(&[("a", "'o-{order_id}' ?? ordr_id")]).faults();
    assert!(quoted.contains("ordr_id: ") && !quoted.contains(NO_BRACES), "{quoted}");
    for other in [
        "event_type | lookup({order_id})",
        "order-{ordr_id}",
        "event_type | lookup({a: b})",
        // No text says what a list or an object is.
        "o-{items[].sku}",
    ] {
        let faults = Written::new(Encoding::Json).map(&[("a", other)]).faults();
        assert!(!faults.starts_with(&format!("{other}: ")), "{other}: {faults}");
    }
}

#[test]
fn indices_with_a_gap() {
    json(&[("a[0]", "1"), ("a[2]", "2"), ("a[3]", "2")], "a[2]: `[2]`, but no line for `[1]`");
    json(&[("a[1].b", "1")], "a[1].b: `[1]`, but no line for `[0]`");
    assert!(Written::new(Encoding::Form).map(&[("a[7]", "order_id")]).compile().is_ok(), "in a form it is a name");
}

#[test]
fn a_number_without_an_item_and_an_item_without_a_number() {
    let message = "ItemSku{i}: numbered over the items, but its expression names no `item.` field";
    json(&[("ItemSku{i}", "order_id")], message);
    form(&[("ItemSku{i}", "order_id")], message);
    json(
        &[("a[].b", "item.sku"), ("p{i}.k", "'k'")],
        "p{i}.k: numbered over the items, but its expression names no `item.` field",
    );
    for encoding in [Encoding::Json, Encoding::Form, Encoding::None] {
        let faults = Written::new(encoding).map(&[("sku", "item.sku")]).faults();
        assert!(faults.starts_with("item.sku: "), "{faults}");
    }
}

#[test]
fn a_target_that_cannot_be_read() {
    json(&[("a..b", "1")], ".b: a name is missing in this target");
    json(&[("", "1")], ": a name is missing in this target");
    json(&[("a[x]", "1")], "[x]: no index of an array");
    json(&[("a[01]", "1")], "[01]: no index of an array");
    json(&[("a[1", "1")], "[1: `[` is not closed");
    json(&[("a]", "1")], "]: `]` without `[`");
    json(&[("a[0]b", "1")], "b: after `]` comes `.`, `[` or the end");
    json(&[("a{n}", "1")], "{n}: in a target only the item's number stands in braces");
    json(&[("a[{i}]", "item.sku")], "[{i}]: no index of an array");
    json(&[("a}", "1")], "}: `}` without `{`");
    json(&[("a\\", "1")], "\\: nothing follows the backslash");
    json(&[("a\n", "1")], "\n: a control character in a target");
    form(&[("a{", "1")], "{: in a target only the item's number stands in braces");
    form(&[("", "1")], ": an empty target");
    let deep = vec!["a"; 33].join(".");
    json(&[(&deep, "1")], &format!("{deep}: a target of more than 32 steps"));
}

#[test]
fn an_output_that_the_encoding_cannot_hold() {
    form(&[("a", "custom.a")], "custom.a: JSON of any shape cannot stand in a form or a query");
    form(&[("a", "@b => order_id")], "a: a form or a query has no lists");
    form(&[("*", "order_id")], "order_id: `*` spreads the members of a JSON object, and this is none");
    json(&[("*", "order_id")], "order_id: `*` spreads the members of a JSON object, and this is none");
    json(&[("*", "@b => order_id")], "*: `*` spreads a JSON object, not a list");
    json(&[("*", "@order_id / value")], "*: `*` spreads a JSON object, not a list");
    json(&[("a", "@nonsense / value")], "nonsense: there is no field `nonsense`");
    form(&[("a", "@order_id / value")], "a: a form or a query has no lists");
    form(&[("a", "order_id ?? null")], "order_id ?? null: a form or a query has no null");
    json(&[("*", "custom ?? null")], "custom ?? null: `*` spreads the members of a JSON object, and this is none");
    form(&[("*", "custom ?? ''")], "custom ?? '': `*` spreads the members of a JSON object, and this is none");
    json(&[("a", "@")], "a: a list with nothing in it");
    json(&[("a", "@* => custom.a")], "*: a key of a list's table is a plain name");
    json(&[("a", "@b{i} => order_id")], "b{i}: a key of a list's table is a plain name");
    json(&[("a", "@b => order_id; b => value")], "b: `b` is set twice");
}

#[test]
fn every_fault_is_found_at_once() {
    let written = Written::new(Encoding::Json)
        .method("get")
        .url("http://px.example.com/")
        .header("Host", "x")
        .map(&[("a", "nonsense"), ("b..c", "1"), ("a", "1")])
        .query(&[("q", "custom.q")])
        .require_any(&["zzz"]);
    let faults = written.compile().expect_err("faults");
    assert_eq!(faults.len(), 7, "{faults:#?}");
    assert!(faults.iter().all(|fault| !fault.span.range.is_empty()));
}

#[test]
fn methods_and_bodies_that_do_not_go_together() {
    assert_eq!(Written::new(Encoding::Json).method("post").faults(), "post: the method `post` is not sent");
    assert_eq!(Written::new(Encoding::Form).method("GET").faults(), "GET: a GET carries no body");
    assert!(Written::new(Encoding::Form).method("DELETE").compile().is_ok());
}

#[test]
fn a_url_that_is_not_https_to_a_fixed_host() {
    #[track_caller]
    fn refused(url: &str, expected: &str) {
        assert_eq!(Written::new(Encoding::Json).url(url).faults(), expected, "{url}");
    }
    refused("http://px.example.com/a", "http://px.example.com: plain HTTP beyond this machine");
    refused("http://localhost.evil.com/a", "http://localhost.evil.com: plain HTTP beyond this machine");
    refused("ftp://127.0.0.1/a", "ftp://127.0.0.1: a destination speaks HTTP");
    refused("px.example.com/a", "px.example.com/a: no absolute URL");
    refused("", ": no absolute URL");
    refused("https://h{{}}.example/a", "{{}}: this value cannot stand in a host name");
    refused("https://h}.example/a", "https://h}.example: no absolute URL");
    refused("https://h.example/a{{b}}", "{{: this character cannot stand in a URL");
    refused("https://h.example/a}b", "}: this character cannot stand in a URL");
    refused("https:///a", "https://: no absolute URL");
    refused("https://a b/c", "https://a b: no absolute URL");
    refused("https://u:p@h.example/a", "https://u:p@h.example: credentials in a URL");
    refused("https://{order_id}.example.com/a", "{order_id}: a conversion cannot choose the host");
    refused("https://h.example:{value}/a", "{value}: a conversion cannot choose the host");
    refused("{click_ids.thrad}/a", "{click_ids.thrad}: a conversion cannot choose the host");
    refused("https://{vars.evil_host}/a", "{vars.evil_host}: this value cannot stand in a host name");
    refused("https://{secrets.token}.example.com/a", "{secrets.token}: a secret before the path");
    refused("https://h.example/a b", " : this character cannot stand in a URL");
    refused("https://h.example/é", "é: this character cannot stand in a URL");
    refused("https://h.example\\evil/", "\\: this character cannot stand in a URL");
    refused("https://h.example/a#b", "#: a fragment is never sent");
    refused("https://h.example/a/../b", "https://h.example/a/../b: `.` and `..` in a path lead elsewhere");
    refused("https://h.example/a/%2E%2e", "https://h.example/a/%2E%2e: `.` and `..` in a path lead elsewhere");
    refused(
        "{vars.folder}{vars.dots}/b",
        "{vars.folder}{vars.dots}/b: a value in it is `.` or `..`, which leads elsewhere",
    );
    refused("{vars.folder}{vars.spaced}", "{vars.folder}{vars.spaced}: a value in it cannot stand in a URL");
    refused("{vars.spaced}", "{vars.spaced}: no absolute URL");
    refused("https://h.example/{nonsense}", "nonsense: there is no field `nonsense`");
}

#[test]
fn plain_http_reaches_this_machine_only() {
    for url in ["http://localhost:8080/a", "http://127.1.2.3/a", "http://[::1]:9/a", "http://LOCALHOST"] {
        assert!(Written::new(Encoding::Json).url(url).compile().is_ok(), "{url}");
    }
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    #[track_caller]
    fn refused(origin: &str, expected: &str) {
        assert_eq!(Written::new(Encoding::Json).origin(origin).faults(), expected);
    }
    refused("https://h.example/a", "https://h.example/a: an origin is scheme, host and port only");
    refused("http://h.example", "http://h.example: plain HTTP beyond this machine");
    refused("https://u@h.example", "https://u@h.example: credentials in a URL");
    refused("h.example", "h.example: no absolute URL");
    let both = Written::new(Encoding::Json).url("https://u@h.example/").origin("ftp://localhost");
    assert_eq!(both.faults(), "https://u@h.example: credentials in a URL\nftp://localhost: a destination speaks HTTP");
}

#[test]
fn headers_that_cannot_be_sent() {
    #[track_caller]
    fn refused(name: &str, value: &str, expected: &str) {
        assert_eq!(Written::new(Encoding::Json).header(name, value).faults(), expected);
    }
    refused("X Y", "1", "X Y: `X Y` is no name of a header");
    refused("Content-Length", "1", "Content-Length: the header `Content-Length` cannot be set");
    refused("transfer-encoding", "chunked", "transfer-encoding: the header `transfer-encoding` cannot be set");
    refused("X", "a\r\nb", "a\r\nb: a character that cannot stand in a header");
    refused("X", "é", "é: a character that cannot stand in a header");
    let twice = Written::new(Encoding::Json).header("X-A", "1").header("x-a", "2");
    assert_eq!(twice.faults(), "x-a: the header `x-a` is set twice");
    let both = Written::new(Encoding::Json).bearer("{secrets.token}").header("authorization", "x");
    assert_eq!(both.faults(), "authorization: `auth` sets the header `authorization` already");
    let broken = Written::new(Encoding::Json).header("X", "{secrets.line}").compile().expect_err("a line break");
    assert!(broken.iter().all(|fault| !format!("{fault:?}").contains("a\\nb")), "{broken:?}");
    assert_eq!(Written::new(Encoding::Json).basic("a:b", "c").faults(), "a:b: a user name with a colon");
}

#[test]
fn a_parameter_that_stands_in_the_url_already() {
    let url = Written::new(Encoding::None).url("https://h.example/?a%5B0%5D=1").map(&[("a[0]", "order_id")]);
    assert_eq!(url.faults(), "a[0]: `a[0]` stands in the URL already");
    let auth = Written::new(Encoding::Json).auth_query("api-key", "{secrets.token}").query(&[("api-key", "order_id")]);
    assert_eq!(auth.faults(), "api-key: `api-key` stands in the URL already");
    let both = Written::new(Encoding::None).query(&[("a", "1")]).map(&[("a", "order_id")]);
    assert_eq!(both.faults(), "a: `a` is set twice");
}

#[test]
fn rules_over_fields_that_nobody_sets() {
    let written =
        || Written::new(Encoding::Form).map(&[("ClickId", "click_ids.impact"), ("Sku{i}", "item.sku"), ("N", "value")]);
    let faults = written().require_any(&["ClickID", "N"]).compile().expect_err("a fault");
    assert_eq!(faults[0].message, "no line of the map sets `ClickID`");
    assert_eq!(faults[0].help.as_deref(), Some("did you mean `ClickId`?"));
    assert_eq!(
        written().exactly_one(&["Sku{i}", "N"]).faults(),
        "N: a group of fields of items and fields of the request"
    );
    assert_eq!(
        written().required_with("N", &["Sku{i}"]).faults(),
        "Sku{i}: a field of items cannot be required by a field of the request"
    );
    assert_eq!(written().max_length("N", 3, Over::Truncate).faults(), "N: a number that is cut is another number");
    assert_eq!(written().max_length("ClickId", 0, Over::Reject).faults(), "ClickId: a limit of 0 characters");
    let list = Written::new(Encoding::Json).map(&[("ids", "@a => order_id")]).max_length("ids", 3, Over::Reject);
    assert_eq!(list.faults(), "ids: a list has no length in characters");
}

#[test]
fn a_rule_over_a_line_with_a_fault_of_its_own_is_no_second_fault() {
    let written = Written::new(Encoding::Form).map(&[("a", "nonsense")]).require_any(&["a"]);
    assert_eq!(written.compile().expect_err("one").len(), 1);
}
