//! Functions over numbers and items, and what stands for no value.

use super::*;

#[test]
fn sums_products_and_differences_are_exact() {
    check("sum(value, order.shipping)", "104.40");
    check("sum(value, order.shipping, 0.005)", "104.405");
    check("product(value, 0.1, 0.1)", "0.9990");
    check("difference(value, order.shipping)", "95.40");
    check("difference(order.shipping, value) | minor_units", "-9540");
    check("sum(1, 2)", "3");
    check("sum(custom.n, 1)", "13.50");
    check("sum(custom.amount | number, custom.n)", "19.60");
    check("sum(value, order.tax)", "-");
    check("sum(value, order.tax ?? 0) | minor_units", "9990");
    check("sum(value, vars.unset | number)", "-");
    check("custom.amount | prefix('1') | number", "17.10");
    check("sum(custom.amount, 1)", "! a number of at most 28 digits is needed here");
    check("product(value, 9999999999999999999999999999)", "! the result has more than 28 digits");
    refused("sum(value, order_id)", "order_id: sum takes numbers, and this is text (put `| number` after it)");
    refused("sum(value, items[].price)", "`| total` adds up a list");
    refused("sum(value, secrets.token)", "secrets.token: sum computes with amounts, and a secret is none");
    refused("sum(1, 2) | minor_units", "`minor_units` takes money, and this is a number");
    refused("sum(9999999999999999999999999999, 1)", "this can never be computed");
}

#[test]
fn each_item_gives_an_entry() {
    check("each(product(item.price, item.quantity))", "[20.00,5]");
    check("each(product(item.price, item.quantity) | minor_units) | join('|', 'keep')", "'2000|500'");
    check("each(product(item.price, item.quantity)) | total", "25.00");
    check("each(concat(item.sku, '/', order_id)) | join(',', 'keep')", "'A/o/1,'");
    check("each(item.name)", "-");
    check("each(item.sku ?? 'none') | nth(1)", "'none'");
    check("each(item.custom.x) | json", "-");
    check("each(item.price | decimal(0) | int)", "[10,5]");
    check("each(item.price | sub(7) | minor_units | string | prefix('x')) | nth(1)", "'x-200'");
    check(
        "each(item.price | mul(0.001) | minor_units) | total",
        "! the amount has a part below the currency's smallest unit",
    );
    refused("each(order_id)", "this is the same for each item");
    refused("each(items[].sku)", "a list has no lists in it");
    refused("each(each(item.sku) | join(','))", "each(…) goes through all of them");
    refused("each(item.sku, item.name)", "each takes one expression");
    refused("each(item.sku) | minor_units", "`minor_units` takes money");
    refused("concat(each(item.sku))", "put `| join(',')` after it");
    refused("concat(each(item.sku) | join(','), item.sku)", "item.sku: there is no one item here");
    refused_in("each(item.sku)", Place::Item, "let the target be one field, as `x`, not `x[]` or `X{i}`");
    let masked = evaluate("each(concat(item.sku, secrets.token)) | join(',')", Secrets::Masked);
    assert_eq!(masked, "'***'");
}

#[test]
fn null_and_the_empty_text_stand_last_and_nowhere_else() {
    let blank = |source: &str| {
        let compiled = Expression::compile(&text(source), &constants(), Place::Top).expect("it is right");
        compiled.blank()
    };
    assert_eq!(blank("reason ?? order_id ?? null"), Some(Blank::Null));
    assert_eq!(blank("reason ?? ''"), Some(Blank::EmptyText));
    assert_eq!(blank("reason"), None);
    check("reason ?? null", "-");
    check("reason ?? order_id ?? ''", "'o/1'");
    refused("null", "sent only by `?? null`");
    refused("''", "sent only by `?? ''`");
    refused("null ?? order_id", "null: null is no value");
    refused("reason ?? null !", "null: null is no value");
    refused("(reason ?? null) | lower", "null: null is no value");
    refused("concat(reason ?? '', 'x')", "'': an empty text is no value");
    refused("reason | default(null)", "null: null is no value");
    refused("event_type | lookup({a: null})", "a literal is missing here");
    refused("[null]", "a literal is missing here");
    let header = Interpolation::compile(&text("x {reason ?? null}"), &constants(), Escape::None).expect_err("no field");
    assert_named("x {reason ?? null}", &header, "null: null is no value");
}
