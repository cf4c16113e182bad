//! A required object or array that the map sets member by member: something of it is always there.

use super::*;

fn object(lines: &[(&str, &str)]) -> Written {
    Written::new(Encoding::Json)
        .map(lines)
        .output("x", |output| (output.kind, output.required) = (OutputKind::Object, true))
}

const LACKS: &str = "`x` is required by the contract, and each of its fields may be absent";

#[test]
fn one_member_of_a_required_object_is_always_there() {
    let two = &[("x.a", "order_id"), ("x.b.c", "customer.id")];
    assert_eq!(object(two).fault(), format!("x.a: {LACKS}"));
    assert_eq!(object(two).when("order_id || customer.id").fault(), "-");
    assert_eq!(object(two).when("order_id || session.id").fault(), format!("x.a: {LACKS}"));
    assert_eq!(object(&[("x.a", "order_id"), ("x.b", "customer.id !")]).fault(), "-");
    assert_eq!(object(&[("x.a", "order_id"), ("x.b", "customer.id ?? null")]).fault(), "-");
    assert_eq!(object(&[("x.a", "order_id"), ("x.b", "'web'")]).fault(), "-");
    assert_eq!(object(&[("x.*", "custom.x")]).fault(), format!("x.*: {LACKS}"));
    assert_eq!(object(two).require_any(&["x.a", "x.b.c"]).fault(), "-");
    let other = object(&[("x.a", "order_id"), ("b", "customer.id")]).output("b", |_| {});
    assert_eq!(other.require_any(&["x.a", "b"]).fault(), format!("x.a: {LACKS}"));
    let omitted = object(&[("x.a", "event_id"), ("b", "order_id")]).output("b", |_| {}).omit_with("x.a", &["b"]);
    assert_eq!(omitted.fault(), format!("x.a: {LACKS}"));
    // What is empty is not sent, and that is what the fault is about.
    let mut sent = object(two);
    sent.source.rules.outputs[0].required = false;
    assert_eq!(sent.body("{}"), "{}");
}

#[test]
fn a_member_that_is_required_itself_is_said_once() {
    let written = object(&[("x.a", "order_id")]).output("x.a", |output| output.required = true);
    assert_eq!(written.fault(), "order_id: `x.a` is required by the contract, and `order_id` may be absent");
    assert_eq!(written.when("order_id").fault(), "-");
}

#[test]
fn entries_and_elements_are_members() {
    let entries = || object(&[("x.ids", "@id => customer.id; name => 'Id' / id => order_id; name => 'Order'")]);
    assert_eq!(entries().fault(), format!("x.ids: {LACKS}"));
    assert_eq!(entries().when("order_id").fault(), "-");
    let parts = || object(&[("x.em", "@customer.email_sha256 / customer.phone_sha256")]);
    assert_eq!(parts().fault(), format!("x.em: {LACKS}"));
    assert_eq!(parts().when("customer.email_sha256 || customer.phone_sha256").fault(), "-");
    let elements = Written::new(Encoding::Json)
        .map(&[("data[0].id", "order_id")])
        .output("data", |output| (output.kind, output.required) = (OutputKind::Array, true));
    assert!(elements.fault().starts_with("data[0].id: `data` is required"), "{}", elements.fault());
    assert_eq!(elements.when("order_id").fault(), "-");
}

#[test]
fn a_required_array_of_items_needs_an_item() {
    let lines = |when: &str| {
        let written = Written::new(Encoding::Json)
            .map(&[("x[].sku", "item.sku"), ("x[].n", "item.quantity !"), ("x[].w", "'web'")])
            .output("x", |output| (output.kind, output.required) = (OutputKind::Array, true));
        if when.is_empty() { written.fault() } else { written.when(when).fault() }
    };
    assert_eq!(lines(""), format!("x[].sku: {LACKS}"));
    assert_eq!(lines("value"), format!("x[].sku: {LACKS}"));
    assert_eq!(lines("items[].sku"), "-");
    assert_eq!(lines("each(item.name)"), "-", "of every item the quantity is there");
    assert_eq!(lines("value || items[].sku"), format!("x[].sku: {LACKS}"));
    let optional = Written::new(Encoding::Json)
        .map(&[("x[].sku", "item.sku")])
        .output("x", |output| (output.kind, output.required) = (OutputKind::Array, true));
    assert_eq!(optional.when("items[].name").fault(), format!("x[].sku: {LACKS}"));
}

#[test]
fn what_may_be_left_out_is_no_member_that_is_always_there() {
    let omit = |lines: &[(&str, &str)], target: &str, shape: &dyn Fn(&mut OutputSource)| {
        object(lines).when("order_id && status").output(target, |output| {
            output.over = Over::Omit;
            shape(output);
        })
    };
    let short = |output: &mut OutputSource| output.chars_max = Some(3);
    let long = |output: &mut OutputSource| output.chars_max = Some(5000);
    let words = |output: &mut OutputSource| output.values = vec!["approved".to_owned()];
    let digest = |output: &mut OutputSource| output.pii = Pii::Hashed(Vec::new());
    let (order, status, free) =
        (&[("x.a", "order_id")], &[("x.a", "status")], &[("x.a", "custom.a | string ?? (order_id | sha256)")]);
    assert_eq!(omit(order, "x.a", &short).fault(), format!("x.a: {LACKS}"));
    assert_eq!(omit(order, "x.a", &long).fault(), "-");
    assert_eq!(omit(status, "x.a", &words).fault(), format!("x.a: {LACKS}"));
    assert_eq!(omit(&[("x.a", "'approved'")], "x.a", &words).fault(), "-");
    assert_eq!(omit(&[("x.a", "status ?? null")], "x.a", &words).fault(), "-");
    assert_eq!(omit(free, "x.a", &digest).fault(), format!("x.a: {LACKS}"));
    let by_rule = object(order).when("order_id").max_length("x.a", 3, Over::Omit);
    assert_eq!(by_rule.fault(), format!("x.a: {LACKS}"));
    let entries = omit(&[("x.ids", "@id => order_id; name => 'Order'")], "x.ids[].id", &short);
    assert_eq!(entries.fault(), format!("x.ids: {LACKS}"));
    let list = object(&[("x.ids", "@order_id"), ("b", "order_id")]).when("order_id").output("b", |_| {});
    assert_eq!(list.omit_with("x.ids", &["b"]).fault(), format!("x.ids: {LACKS}"));
}

#[test]
fn a_required_list_has_an_entry_that_is_not_left_out() {
    let list = |source: &str, target: &str| {
        let written = Written::new(Encoding::Json).map(&[("ids", source)]).when("order_id");
        let written = written.output("ids", |output| (output.kind, output.required) = (OutputKind::Array, true));
        written.output(target, |output| (output.values, output.over) = (vec!["a".to_owned()], Over::Omit)).fault()
    };
    let fault = "ids: `ids` is required by the contract, and none of its entries need stand";
    assert_eq!(list("@order_id", "ids[]"), fault);
    assert_eq!(list("@order_id / 'a'", "ids[]"), "-");
    assert_eq!(list("@id => order_id; name => 'b'", "ids[].id"), fault);
    assert_eq!(list("@id => order_id; name => 'b'", "ids[].other"), "-");
}

#[test]
fn a_required_field_that_a_rule_may_leave_out() {
    let written = Written::new(Encoding::Json).map(&[("x", "order_id")]).required("x").when("order_id");
    let fault = "order_id: `x` is required by the contract, and left out where it is not taken";
    assert_eq!(written.max_length("x", 3, Over::Omit).fault(), fault);
}

#[test]
fn a_numbered_field_of_items_is_no_proof_of_its_object() {
    let numbered = object(&[("x.s{i}", "item.sku !")]).output("x.s{i}", |output| output.required = true);
    assert_eq!(numbered.fault(), format!("x.s{{i}}: {LACKS}"));
    let wrapped = object(&[("x.em[]", "customer.id")]).output("x.em[]", |output| output.required = true);
    assert_eq!(wrapped.fault(), "customer.id: `x.em[]` is required by the contract, and `customer.id` may be absent");
}
