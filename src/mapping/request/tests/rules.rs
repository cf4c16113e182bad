//! Rules over outputs: which conversions they let through, and what they say of the others.

use super::*;

fn impact() -> Written {
    Written::new(Encoding::Form)
        .map(&[
            ("ClickId", "click_ids.impact"),
            ("CustomerId", "customer.id"),
            ("Currency", "currency"),
            ("ItemSku{i}", "item.sku"),
            ("ItemPrice{i}", "item.price"),
            ("ItemSubTotal{i}", "item.subtotal"),
        ])
        .require_any(&["ClickId", "CustomerId"])
        .exactly_one(&["ItemPrice{i}", "ItemSubTotal{i}"])
        .required_with("items", &["ItemSku{i}", "Currency"])
}

#[test]
fn one_of_a_group_is_enough_and_none_is_not() {
    assert_eq!(impact().body(r#"{"click_ids":{"impact":"c"}}"#), "ClickId=c");
    assert_eq!(impact().body(r#"{"click_ids":{"impact":"c"},"customer":{"id":"k"}}"#), "ClickId=c&CustomerId=k");
    assert_eq!(impact().unmappable("{}"), "ClickId, CustomerId: one of them is required, none is present");
}

#[test]
fn exactly_one_is_held_for_each_item_that_gives_something() {
    let with = |items: &str| format!(r#"{{"currency":"EUR","customer":{{"id":"k"}},"items":[{items}]}}"#);
    let good = with(r#"{"sku":"A","price":1},{"sku":"B","subtotal":2}"#);
    assert_eq!(impact().body(&good), "CustomerId=k&Currency=EUR&ItemSku1=A&ItemPrice1=1&ItemSku2=B&ItemSubTotal2=2");
    let field = "ItemPrice{i}, ItemSubTotal{i}";
    let both = with(r#"{"sku":"A","price":1},{"sku":"B","price":1,"subtotal":2}"#);
    assert_eq!(
        impact().unmappable(&both),
        format!("{field}: exactly one of them may stand, more are present (item 2)")
    );
    let neither = with(r#"{"sku":"A"}"#);
    assert_eq!(
        impact().unmappable(&neither),
        format!("{field}: exactly one of them is required, none is present (item 1)")
    );
    let sizes = Written::new(Encoding::Json).map(&[("a", "order_id"), ("b", "customer.id")]).exactly_one(&["a", "b"]);
    assert_eq!(sizes.body(r#"{"order_id":"o"}"#), r#"{"a":"o"}"#);
    assert_eq!(sizes.unmappable("{}"), "a, b: exactly one of them is required, none is present");
    let unmapped = Written::new(Encoding::Json)
        .map(&[("i[].price", "item.price"), ("i[].sub", "item.subtotal"), ("i[].kind", "'k'")])
        .exactly_one(&["i[].price", "i[].sub"]);
    assert_eq!(unmapped.body(r#"{"items":[{"name":"gives nothing that is mapped"}]}"#), "{}");
}

#[test]
fn fields_required_with_items_are_required_of_every_item() {
    let items = r#"{"currency":"EUR","customer":{"id":"k"},"items":[{"sku":"A","price":1},{"price":1}]}"#;
    assert_eq!(impact().unmappable(items), "ItemSku{i}: required with `items`, and absent (item 2)");
    let empty = r#"{"customer":{"id":"k"},"items":[{"name":"nothing of it is mapped"}]}"#;
    assert_eq!(impact().unmappable(empty), "ItemSku{i}: required with `items`, and absent (item 1)");
    assert_eq!(impact().body(r#"{"customer":{"id":"k"}}"#), "CustomerId=k");
    let json = Written::new(Encoding::Json)
        .map(&[("items[].sku", "item.sku"), ("items[].n", "item.quantity")])
        .required_with("items", &["items[].sku"]);
    assert_eq!(
        json.unmappable(r#"{"items":[{"quantity":1}]}"#),
        "items[].sku: required with `items`, and absent (item 1)"
    );
}

#[test]
fn a_field_may_require_another() {
    let written = Written::new(Encoding::Json)
        .map(&[("v", "value"), ("order", "order_id"), ("i[].p", "item.price"), ("i[].q", "item.quantity")])
        .required_with("v", &["order"])
        .required_with("i[].p", &["i[].q", "order"]);
    assert_eq!(written.body(r#"{"items":[{"quantity":1}]}"#), r#"{"i":[{"q":1}]}"#);
    assert_eq!(written.unmappable(r#"{"value":1,"currency":"EUR"}"#), "order: required with `v`, and absent");
    let no_quantity = r#"{"order_id":"o","currency":"EUR","items":[{"price":1,"quantity":1},{"price":1}]}"#;
    assert_eq!(written.unmappable(no_quantity), "i[].q: required with `i[].p`, and absent (item 2)");
    let no_order = r#"{"currency":"EUR","items":[{"price":1,"quantity":1}]}"#;
    assert_eq!(written.unmappable(no_order), "order: required with `i[].p`, and absent");
}

#[test]
fn rules_reach_lists_of_tables_and_the_query() {
    let ids = Written::new(Encoding::Json)
        .map(&[("ids", "@id => customer.id; name => 'Id'")])
        .query(&[("order", "order_id")])
        .require_any(&["ids"])
        .require_any(&["order"]);
    assert_eq!(ids.unmappable("{}"), "ids: one of them is required, none is present");
    assert_eq!(ids.unmappable(r#"{"customer":{"id":"k"}}"#), "order: one of them is required, none is present");
    let sent = ids.request(r#"{"order_id":"o","customer":{"id":"k"}}"#);
    assert_eq!(sent.url, "https://px.example.com/events?order=o");
}

#[test]
fn a_length_is_within_what_the_contract_takes() {
    let with = |limit: usize, over: Over| {
        Written::new(Encoding::Json)
            .map(&[("n", "notes.public")])
            .output("n", |output| output.chars_max = Some(3))
            .max_length("n", limit, over)
    };
    assert_eq!(with(4, Over::Reject).faults(), "n: the contract takes at most 3 characters");
    let long = r#"{"notes":{"public":"abcd"}}"#;
    assert_eq!(with(3, Over::Truncate).body(long), r#"{"n":"abc"}"#);
    assert_eq!(with(2, Over::Truncate).body(long), r#"{"n":"ab"}"#);
    assert_eq!(with(2, Over::Reject).unmappable(long), "n: longer than 2 characters");
    // Of an array the contract means each entry, and so does a rule then.
    let array = Written::new(Encoding::Json)
        .map(&[("c", "custom.c")])
        .output("c", |output| (output.kind, output.chars_max) = (OutputKind::Array, Some(3)))
        .max_length("c", 2, Over::Reject);
    assert_eq!(array.body(r#"{"custom":{"c":["ab","cd"]}}"#), r#"{"c":["ab","cd"]}"#);
    assert_eq!(array.unmappable(r#"{"custom":{"c":["ab","cde"]}}"#), "c: longer than 2 characters");
}

#[test]
fn lengths_count_characters() {
    let note = |over| Written::new(Encoding::Json).map(&[("n", "notes.public")]).max_length("n", 3, over);
    assert_eq!(note(Over::Truncate).body(r#"{"notes":{"public":"äöüß"}}"#), r#"{"n":"äöü"}"#);
    assert_eq!(note(Over::Truncate).body(r#"{"notes":{"public":"äöü"}}"#), r#"{"n":"äöü"}"#);
    assert_eq!(note(Over::Reject).body(r#"{"notes":{"public":"äöü"}}"#), r#"{"n":"äöü"}"#);
    assert_eq!(note(Over::Reject).unmappable(r#"{"notes":{"public":"äöüß"}}"#), "n: longer than 3 characters");
    let upper = Written::new(Encoding::Form).map(&[("n", "notes.public | upper")]).max_length("n", 2, Over::Truncate);
    assert_eq!(upper.body(r#"{"notes":{"public":"abc"}}"#), "n=AB");
    let number = Written::new(Encoding::Form).map(&[("n", "value")]).max_length("n", 3, Over::Reject);
    assert_eq!(number.body(r#"{"value":1.5,"currency":"EUR"}"#), "n=1.5");
    assert_eq!(number.unmappable(r#"{"value":1.50,"currency":"EUR"}"#), "n: longer than 3 characters");
    let item = Written::new(Encoding::Form).map(&[("T{i}", "item.name")]).max_length("T{i}", 2, Over::Reject);
    assert_eq!(
        item.unmappable(r#"{"items":[{"name":"ab"},{"name":"abc"}]}"#),
        "T{i}: longer than 2 characters (item 2)"
    );
    let free = Written::new(Encoding::Json).map(&[("c", "custom.c")]).max_length("c", 3, Over::Truncate);
    assert_eq!(free.body(r#"{"custom":{"c":"abcd"}}"#), r#"{"c":"abc"}"#);
    assert_eq!(free.unmappable(r#"{"custom":{"c":1234}}"#), "c: longer than 3 characters");
    assert_eq!(free.unmappable(r#"{"custom":{"c":["a"]}}"#), "c: longer than 3 characters");
}
