//! Bodies and queries: what a map makes of a conversion.

use super::*;

#[track_caller]
fn json(lines: &[(&str, &str)], conversion: &str, expected: &str) {
    assert_eq!(Written::new(Encoding::Json).map(lines).body(conversion), expected);
}

#[track_caller]
fn form(lines: &[(&str, &str)], conversion: &str, expected: &str) {
    assert_eq!(Written::new(Encoding::Form).map(lines).body(conversion), expected);
}

#[track_caller]
fn query(lines: &[(&str, &str)], conversion: &str, expected: &str) {
    let url = Written::new(Encoding::None).map(lines).request(conversion).url;
    assert_eq!(url.strip_prefix("https://px.example.com/events").expect("the URL"), expected);
}

const ORDER: &str = r#"{"order_id":"o-1","value":99.90,"currency":"EUR","items":[
    {"sku":"A","category":"c","quantity":2,"price":"10.00","custom":{"impact":{"Text2":"deep"}}},
    {"sku":"B&C","quantity":1,"subtotal":5}]}"#;

#[test]
fn members_stand_in_the_order_of_the_lines_and_nest_at_first_mention() {
    json(
        &[("b.x", "order_id"), ("a", "value"), ("b.y", "currency"), ("c.d.e", "true")],
        ORDER,
        r#"{"b":{"x":"o-1","y":"EUR"},"a":99.90,"c":{"d":{"e":true}}}"#,
    );
}

#[test]
fn numbers_keep_their_text() {
    json(
        &[("a", "value"), ("b", "value | string"), ("c", "12"), ("d", "custom.n"), ("e", "vars.advertiser")],
        r#"{"value":"100.50","currency":"EUR","custom":{"n":1.2500}}"#,
        r#"{"a":100.50,"b":"100.50","c":12,"d":1.2500,"e":12}"#,
    );
}

#[test]
fn texts_are_escaped() {
    json(&[("a\"b", "order_id")], r#"{"order_id":"a\"b\\cü"}"#, r#"{"a\"b":"a\"b\\cü"}"#);
    json(&[("a", "custom.t")], r#"{"custom":{"t":"a\"\\\n\u0001é"}}"#, r#"{"a":"a\"\\\n\u0001é"}"#);
}

#[test]
fn what_is_absent_is_left_out_with_its_empty_parents() {
    json(
        &[
            ("a", "order_id"),
            ("b.c.d", "customer.id"),
            ("e[0].f", "customer.id"),
            ("g[].h", "item.sku"),
            ("i", "custom.o"),
        ],
        r#"{"custom":{"o":{}}}"#,
        "{}",
    );
    json(&[("[0].a", "order_id")], "{}", "[]");
    form(&[("a", "order_id"), ("b", "value")], "{}", "");
    query(&[("a", "order_id")], "{}", "");
}

#[test]
fn brackets_loop_over_the_items() {
    json(
        &[("items[].sku", "item.sku"), ("items[].n", "item.quantity"), ("items[].kind", "'product'")],
        ORDER,
        r#"{"items":[{"sku":"A","n":2,"kind":"product"},{"sku":"B&C","n":1,"kind":"product"}]}"#,
    );
    json(&[("skus[]", "item.sku")], ORDER, r#"{"skus":["A","B&C"]}"#);
}

#[test]
fn an_item_that_gives_nothing_has_no_entry() {
    json(
        &[("items[].category", "item.category"), ("items[].kind", "'product'"), ("items[].order", "order_id")],
        ORDER,
        r#"{"items":[{"category":"c","kind":"product","order":"o-1"}]}"#,
    );
}

#[test]
fn brackets_around_what_names_no_item_make_an_array_of_one() {
    json(&[("em[]", "order_id")], ORDER, r#"{"em":["o-1"]}"#);
    json(&[("em[]", "customer.id")], ORDER, "{}");
    json(&[("data[].x", "order_id"), ("data[].y", "1")], ORDER, r#"{"data":[{"x":"o-1","y":1}]}"#);
    json(&[("tags[]", "custom.tags")], r#"{"custom":{"tags":["a","b"]}}"#, r#"{"tags":["a","b"]}"#);
    json(
        &[("data[].items[].sku", "item.sku")],
        ORDER,
        r#"{"data":[{"items":[{"sku":"A"}]},{"items":[{"sku":"B&C"}]}]}"#,
    );
}

#[test]
fn an_index_builds_the_envelope() {
    json(
        &[
            ("data[0].event", "'Purchase'"),
            ("data[0].contents[].id", "item.sku"),
            ("data[1].x", "customer.id"),
            ("test", "'T'"),
        ],
        ORDER,
        r#"{"data":[{"event":"Purchase","contents":[{"id":"A"},{"id":"B&C"}]}],"test":"T"}"#,
    );
    json(&[("[0].a", "order_id"), ("[1].b", "value")], ORDER, r#"[{"a":"o-1"},{"b":99.90}]"#);
    json(&[("[].a", "item.sku")], ORDER, r#"[{"a":"A"},{"a":"B&C"}]"#);
    json(&[("m[0][0]", "order_id")], ORDER, r#"{"m":[["o-1"]]}"#);
}

#[test]
fn a_backslash_takes_the_next_character_as_it_is() {
    json(&[(r"a\.b", "order_id"), (r"c\[0\]", "1"), (r"\*", "2")], ORDER, r#"{"a.b":"o-1","c[0]":1,"*":2}"#);
}

#[test]
fn impact_items_are_numbered_in_form_and_in_flat_json() {
    let lines = [
        ("OrderId", "order_id"),
        ("ItemSku{i}", "item.sku"),
        ("ItemCategory{i}", "item.category"),
        ("ItemQuantity{i}", "item.quantity"),
        ("ItemPrice{i}", "item.price"),
        ("ItemText{i}_2", "item.custom.impact.Text2 | string"),
        ("Currency", "currency"),
    ];
    form(
        &lines,
        ORDER,
        "OrderId=o-1&ItemSku1=A&ItemCategory1=c&ItemQuantity1=2&ItemPrice1=10.00&ItemText1_2=deep\
         &ItemSku2=B%26C&ItemQuantity2=1&Currency=EUR",
    );
    json(
        &lines,
        ORDER,
        r#"{"OrderId":"o-1","ItemSku1":"A","ItemCategory1":"c","ItemQuantity1":2,"ItemPrice1":10.00,"ItemText1_2":"deep","ItemSku2":"B&C","ItemQuantity2":1,"Currency":"EUR"}"#,
    );
}

#[test]
fn numbers_begin_at_one_or_zero_or_at_the_second_item() {
    form(&[("bd[{i0}]", "item.sku")], ORDER, "bd%5B0%5D=A&bd%5B1%5D=B%26C");
    form(&[("Sku{i2}", "item.sku")], ORDER, "Sku=A&Sku2=B%26C");
    json(&[("a.x{i}y{i}", "item.sku")], ORDER, r#"{"a":{"x1y1":"A","x2y2":"B&C"}}"#);
    json(
        &[
            ("p{i}.sku", "item.sku"),
            ("p{i}.kind", "'k'"),
            ("p{i}.tags[]", "item.category"),
            ("p{i}.n{i}", "item.quantity"),
        ],
        ORDER,
        r#"{"p1":{"sku":"A","kind":"k","tags":["c"],"n1":2},"p2":{"sku":"B&C","kind":"k","n2":1}}"#,
    );
}

#[test]
fn trackdesk_nests_in_json_and_is_dotted_in_a_get() {
    let lines = [
        ("conversionTypeCode", "'sale'"),
        ("amount.value", "value | string"),
        ("currency.code", "currency"),
        ("externalId", "order_id"),
        ("customParams.advS1", "custom.trackdesk.advS1 | string"),
    ];
    let conversion = r#"{"order_id":"a b+c/d=é","value":100.50,"currency":"EUR"}"#;
    json(
        &lines,
        conversion,
        r#"{"conversionTypeCode":"sale","amount":{"value":"100.50"},"currency":{"code":"EUR"},"externalId":"a b+c/d=é"}"#,
    );
    query(
        &lines,
        conversion,
        "?conversionTypeCode=sale&amount.value=100.50&currency.code=EUR&externalId=a%20b%2Bc%2Fd%3D%C3%A9",
    );
    form(
        &lines,
        conversion,
        "conversionTypeCode=sale&amount.value=100.50&currency.code=EUR&externalId=a+b%2Bc%2Fd%3D%C3%A9",
    );
}

#[test]
fn the_ids_of_a_dsp_stand_only_where_they_have_a_value() {
    let lines = [(
        "ids",
        "@id => customer.guid; name => 'Guid' / id => customer.email_sha256 ?? (customer.email | sha256); name => 'HashedEmail' \
         / id => customer.phone | digits | sha256; name => 'HashedPhone'",
    )];
    let hash = "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514";
    json(
        &lines,
        r#"{"customer":{"guid":"85b04ded-09dd-4015-ad30-581e45452dd9","email":"user@example.com"}}"#,
        &format!(
            r#"{{"ids":[{{"id":"85b04ded-09dd-4015-ad30-581e45452dd9","name":"Guid"}},{{"id":"{hash}","name":"HashedEmail"}}]}}"#
        ),
    );
    json(&lines, "{}", "{}");
}

#[test]
fn entries_of_a_list_may_nest_and_may_stand_in_a_loop() {
    json(
        &[("users", "@who.id => customer.id; em[] => order_id / only => order_id")],
        r#"{"order_id":"o","customer":{"id":"c"}}"#,
        r#"{"users":[{"who":{"id":"c"},"em":["o"]},{"only":"o"}]}"#,
    );
    json(
        &[("users", "@a => customer.id; b => order_id / b => order_id")],
        r#"{"order_id":"o"}"#,
        r#"{"users":[{"b":"o"}]}"#,
    );
    json(
        &[("items[].ids", "@v => item.sku; k => 'sku' / v => item.category; k => 'cat'"), ("l[]", "@a => order_id")],
        ORDER,
        r#"{"items":[{"ids":[{"v":"A","k":"sku"},{"v":"c","k":"cat"}]},{"ids":[{"v":"B&C","k":"sku"}]}],"l":[{"a":"o-1"}]}"#,
    );
}

#[test]
fn a_spread_adds_members_that_the_map_does_not_name() {
    let custom = r#"{"order_id":"o","custom":{"thrad":{"order_id":"evil","coupon":"X","list":[1,null],"no":null,"empty":"","n":1.50}}}"#;
    json(
        &[("order_id", "order_id"), ("*", "custom.thrad"), ("late", "1")],
        custom,
        r#"{"order_id":"o","coupon":"X","list":[1,null],"n":1.50,"late":1}"#,
    );
    json(
        &[("c.*", "custom.thrad"), ("c.coupon", "customer.id")],
        custom,
        r#"{"c":{"order_id":"evil","list":[1,null],"n":1.50}}"#,
    );
    form(&[("order_id", "order_id"), ("*", "custom.thrad")], custom, "order_id=o&coupon=X&list=%5B1%2Cnull%5D&n=1.50");
    query(
        &[("c.coupon", "order_id"), ("c.*", "custom.thrad")],
        custom,
        "?c.coupon=o&c.order_id=evil&c.list=%5B1%2Cnull%5D&c.n=1.50",
    );
    json(&[("*", "custom.thrad")], "{}", "{}");
    let items = r#"{"items":[{"sku":"A","custom":{"x":{"sku":"no","y":1}}},{"custom":{"x":{"ItemSku7":"z"}}}]}"#;
    json(
        &[("i[].sku", "item.sku"), ("i[].*", "item.custom.x")],
        items,
        r#"{"i":[{"sku":"A","y":1},{"ItemSku7":"z"}]}"#,
    );
}

#[test]
fn a_spread_never_forges_a_numbered_field() {
    let custom = r#"{"items":[{"sku":"A"}],"custom":{"x":{"ItemSku1":"evil","ItemSku9":"evil","ItemSku":"fine"}}}"#;
    json(&[("ItemSku{i}", "item.sku"), ("*", "custom.x")], custom, r#"{"ItemSku1":"A","ItemSku":"fine"}"#);
    form(&[("ItemSku{i}", "item.sku"), ("*", "custom.x")], custom, "ItemSku1=A&ItemSku=fine");
}

#[test]
fn what_is_no_object_cannot_be_spread() {
    let written = Written::new(Encoding::Json).map(&[("*", "custom.x")]);
    assert_eq!(
        written.unmappable(r#"{"custom":{"x":["secret"]}}"#),
        "*: `*` spreads an object's members, and this is no object"
    );
}

#[test]
fn lists_in_form_and_query_repeat_their_name() {
    form(&[("skus[]", "item.sku"), ("bd[0]", "order_id")], ORDER, "skus%5B%5D=A&skus%5B%5D=B%26C&bd%5B0%5D=o-1");
    query(&[("skus[]", "item.sku"), ("em[]", "order_id")], ORDER, "?skus%5B%5D=A&skus%5B%5D=B%26C&em%5B%5D=o-1");
    query(&[("skulist", "items[].sku | join('|')")], ORDER, "?skulist=A%7CB%26C");
}

#[test]
fn scalars_of_a_form_are_their_text() {
    form(
        &[("n", "value"), ("b", "true"), ("f", "order.gift"), ("j", "custom.o | json")],
        r#"{"value":99.90,"currency":"EUR","order":{"gift":false},"custom":{"o":{"a":[1.0,"é"]}}}"#,
        "n=99.90&b=true&f=false&j=%7B%22a%22%3A%5B1.0%2C%22%C3%A9%22%5D%7D",
    );
}

#[test]
fn required_fields_that_are_absent_name_themselves() {
    let required = |target, source| Written::new(Encoding::Json).map(&[(target, source)]);
    assert_eq!(required("user.id", "customer.id !").unmappable("{}"), "user.id: required, and absent");
    assert_eq!(required("i[].c", "item.category !").unmappable(ORDER), "i[].c: required, and absent (item 2)");
    assert_eq!(required("u", "@a => order_id; b => customer.id !").unmappable(ORDER), "u.b: required, and absent");
}
