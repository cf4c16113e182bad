//! `omit_with`: what makes way for what, and which rules can never hold.

use super::*;

/// The amounts of an order as Impact wants them: one way of saying it, and not two.
fn amounts(encoding: Encoding) -> Written {
    Written::new(encoding)
        .map(&[
            ("Rate", "order.discount_rate"),
            ("Discount", "order.discount"),
            ("Total", "order.subtotal ?? value"),
            ("Sku{i}", "item.sku"),
            ("Price{i}", "item.price"),
            ("Sub{i}", "item.subtotal"),
        ])
        .omit_with("Rate", &["Discount", "Total"])
        .omit_with("Discount", &["Total"])
        .omit_with("Total", &["Sku{i}"])
        .omit_with("Price{i}", &["Sub{i}"])
}

const ORDER: &str = r#""currency":"EUR","value":9,"order":{"discount":1,"discount_rate":10}"#;

#[test]
fn an_output_makes_way_where_another_stands_and_chains_hold() {
    let order = |items: &str| format!(r#"{{{ORDER}{items}}}"#);
    let written = amounts(Encoding::Form);
    assert_eq!(written.body(&order("")), "Total=9");
    // The total makes way for the items, so the discount has nothing to make way for.
    let items = r#","items":[{"sku":"A","price":1,"subtotal":2},{"price":3}]"#;
    assert_eq!(written.body(&order(items)), "Discount=1&Sku1=A&Sub1=2&Price2=3");
    assert_eq!(written.body(&order(r#","items":[{"price":3}]"#)), "Total=9&Price1=3");
    let rate = r#"{"currency":"EUR","order":{"discount_rate":10},"items":[{"sku":"A"}]}"#;
    assert_eq!(written.body(rate), "Rate=10&Sku1=A");
    assert_eq!(written.body("{}"), "");
}

#[test]
fn it_holds_in_json_and_in_a_query_and_across_both() {
    let items = format!(r#"{{{ORDER},"items":[{{"sku":"A","price":1,"subtotal":2}},{{"price":3}}]}}"#);
    let json = r#"{"Discount":1,"Sku1":"A","Sub1":2,"Price2":3}"#;
    assert_eq!(amounts(Encoding::Json).body(&items), json);
    let url = "https://px.example.com/events?Discount=1&Sku1=A&Sub1=2&Price2=3";
    assert_eq!(amounts(Encoding::None).request(&items).url, url);

    let nested = Written::new(Encoding::Json)
        .map(&[("a.b", "order_id"), ("items[].n", "item.name"), ("items[].s", "item.sku"), ("k", "customer.id")])
        .query(&[("q", "event_id")])
        .omit_with("a.b", &["items[].s"])
        .omit_with("items[].n", &["items[].s", "k"])
        .omit_with("q", &["a.b"]);
    let named = nested.request(r#"{"event_id":"e","order_id":"o","items":[{"name":"N"},{"name":"M","sku":"S"}]}"#);
    assert_eq!(named.body, br#"{"items":[{"n":"N"},{"s":"S"}]}"#);
    assert_eq!(named.url, "https://px.example.com/events?q=e");
    let known = nested.request(r#"{"order_id":"o","customer":{"id":"c"},"items":[{"name":"N"}]}"#);
    assert_eq!(known.body, br#"{"a":{"b":"o"},"k":"c"}"#);
    assert_eq!(known.url, "https://px.example.com/events");
}

#[test]
fn other_rules_see_only_what_is_sent() {
    let written = amounts(Encoding::Form).exactly_one(&["Rate", "Discount", "Total"]);
    assert_eq!(written.body(&format!("{{{ORDER}}}")), "Total=9");
    let required = Written::new(Encoding::Form)
        .map(&[("cid", "click_ids.td"), ("external", "custom.external | string !")])
        .omit_with("external", &["cid"]);
    assert_eq!(required.body(r#"{"click_ids":{"td":"c"},"custom":{"external":"x"}}"#), "cid=c");
    assert_eq!(required.body(r#"{"click_ids":{"td":"c"}}"#), "cid=c");
    assert_eq!(required.unmappable("{}"), "external: required, and absent");
}

#[test]
fn what_is_too_long_and_left_out_leaves_nothing_out() {
    let written = Written::new(Encoding::Form)
        .map(&[("MediaId", "attribution.media_id"), ("ClickId", "click_ids.i")])
        .max_length("ClickId", 3, Over::Omit)
        .omit_with("MediaId", &["ClickId"])
        .require_any(&["MediaId", "ClickId"]);
    let with = |click: &str| format!(r#"{{"attribution":{{"media_id":"7"}},"click_ids":{{"i":"{click}"}}}}"#);
    assert_eq!(written.body(&with("äöü")), "ClickId=%C3%A4%C3%B6%C3%BC");
    assert_eq!(written.body(&with("abcd")), "MediaId=7");
    let alone = r#"{"click_ids":{"i":"abcd"}}"#;
    assert_eq!(written.unmappable(alone), "MediaId, ClickId: one of them is required, none is present");
    let number = Written::new(Encoding::Json).map(&[("n", "value"), ("c", "custom.c")]);
    let number = number.max_length("n", 3, Over::Omit).max_length("c", 3, Over::Omit);
    assert_eq!(number.body(r#"{"value":1.50,"currency":"EUR","custom":{"c":[1,2]}}"#), "{}");
    assert_eq!(number.body(r#"{"value":1.5,"currency":"EUR","custom":{"c":[1]}}"#), r#"{"n":1.5,"c":[1]}"#);
    let required = Written::new(Encoding::Form).map(&[("n", "order_id !")]).max_length("n", 3, Over::Omit);
    assert_eq!(required.faults(), "n: a required field cannot be left out");
}

#[test]
fn an_output_that_cannot_be_made_still_ends_the_request() {
    let written =
        Written::new(Encoding::Form).map(&[("a", "order_id"), ("n", "custom.n | number")]).omit_with("a", &["n"]);
    assert_eq!(written.body(r#"{"order_id":"o"}"#), "a=o");
    let refused = written.unmappable(r#"{"order_id":"o","custom":{"n":"x"}}"#);
    assert!(refused.starts_with("n: "), "{refused}");
}

#[test]
fn rules_that_go_in_a_circle_or_can_never_hold_are_faults() {
    let lines = [
        ("a", "order_id"),
        ("b", "event_type"),
        ("c", "value"),
        ("i[].x", "item.sku"),
        ("i[].k", "'k'"),
        ("r", "time !"),
    ];
    let written = || Written::new(Encoding::Json).map(&lines);
    let circle = "`omit_with` goes in a circle: each would make way for the other";
    assert_eq!(written().omit_with("a", &["a"]).faults(), format!("a: {circle}"));
    assert_eq!(written().omit_with("a", &["b"]).omit_with("b", &["a"]).faults(), format!("a: {circle}"));
    let long = written().omit_with("a", &["b"]).omit_with("b", &["i[].x"]).omit_with("i[].x", &["c", "a"]);
    assert_eq!(long.faults(), format!("a: {circle}"));
    // Two ways to the same place are no circle.
    written().omit_with("a", &["b", "c"]).omit_with("b", &["i[].x"]).omit_with("c", &["i[].x"]).template();

    let unknown = written().omit_with("aa", &["b"]).omit_with("a", &["i[].y"]);
    assert_eq!(unknown.faults(), "aa: no line of the map sets `aa`\ni[].y: no line of the map sets `i[].y`");
    let faults = written().omit_with("a", &["i[].y"]).compile().expect_err("a fault");
    assert_eq!(faults[0].help.as_deref(), Some("did you mean `i[].x`?"));

    let required = "r: `r` is required: what makes way for it is never sent";
    assert_eq!(written().omit_with("a", &["r"]).faults(), required);
    assert_eq!(written().omit_with("i[].x", &["i[].k"]).faults(), "i[].k: `i[].k` says nothing of an item");
    let many = Written::new(Encoding::Json)
        .map(&[("ids", "@id => customer.id"), ("a", "order_id"), ("*", "custom.free")])
        .omit_with("a", &["ids", "*"]);
    let single = "a list or a spread is many outputs";
    assert_eq!(many.faults(), format!("ids: {single}\n*: {single}"));
}

#[test]
fn a_list_makes_way_as_a_whole_where_another_stands() {
    let written = Written::new(Encoding::Json)
        .map(&[
            ("c.gclid", "click_ids.gclid"),
            ("c.gbraid", "click_ids.gbraid"),
            ("c.who", "@email => customer.email | sha256"),
        ])
        .omit_with("c.gbraid", &["c.gclid"])
        .omit_with("c.who", &["c.gbraid"])
        .require_any(&["c.gclid", "c.gbraid", "c.who"]);
    let of = |clicks: &str| format!(r#"{{"click_ids":{{{clicks}}},"customer":{{"email":"a@b.example"}}}}"#);
    let has_who = |clicks: &str| written.body(&of(clicks)).contains("who");
    assert!(has_who(""));
    assert!(has_who(r#""gclid":"g""#));
    assert!(!has_who(r#""gbraid":"b""#));
    // What it would make way for makes way itself.
    assert!(has_who(r#""gclid":"g","gbraid":"b""#));
    assert_eq!(written.body(r#"{"click_ids":{"gbraid":"b"}}"#), r#"{"c":{"gbraid":"b"}}"#);
    assert!(written.unmappable("{}").starts_with("c.gclid, c.gbraid, c.who: one of them is required"));
}
