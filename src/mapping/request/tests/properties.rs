//! What holds for any configuration and any conversion.

use proptest::prelude::*;

use super::*;

/// Targets and expressions from a small stock, so that many of them go together, and any text, so that many do not.
fn targets() -> impl Strategy<Value = String> {
    let stock = [
        "a", "a.b", "b.c", "n1{i}", "x[]", "x[].y", "x[].z", "n{i}", "m{i}.k", "d[0].a", "d[1]", "*", "c.*", "e{i0}",
        r"q\.r", "[].a", "[0]",
    ];
    prop_oneof![4 => prop::sample::select(stock.to_vec()).prop_map(str::to_owned), 1 => ".{0,12}", 1 => r"[ab\[\]{}i.*0\\]{0,8}"]
}

fn sources() -> impl Strategy<Value = String> {
    let stock = [
        "order_id",
        "value",
        "currency !",
        "item.sku",
        "item.price",
        "item.custom.o",
        "custom.o",
        "custom.t",
        "custom.t | json",
        "'lit'",
        "12",
        "secrets.token",
        "vars.unset",
        "@id => customer.id; n => 'x' / id => order_id",
        "items[].sku | join('|')",
        "each(concat(item.sku, '-', order_id)) | join('|', 'keep')",
        "order_id ?? null",
        "item.sku ?? ''",
        "@order_id / item.sku / custom.o ?? null",
    ];
    prop::sample::select(stock.to_vec()).prop_map(str::to_owned)
}

fn conversions() -> impl Strategy<Value = String> {
    let sku = prop::option::of(
        any::<String>().prop_map(|text| text.chars().filter(|c| !c.is_control()).take(20).collect::<String>()),
    );
    (sku.clone(), prop::collection::vec(sku, 0..4), any::<String>(), any::<i32>()).prop_map(|(order, skus, free, number)| {
        let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let items = skus.into_iter().map(|sku| match filled(sku) {
            Some(sku) => serde_json::json!({ "sku": sku, "quantity": 1, "custom": { "o": { "a": sku, "n1": 1, "z": null } } }),
            None => serde_json::json!({ "quantity": 1 }),
        });
        let items: Vec<_> = items.collect();
        let mut json = serde_json::json!({ "items": items, "custom": { "o": { "a": free, "k": number, "x": [] }, "t": free } });
        if let Some(order) = filled(order) {
            json["order_id"] = order.into();
        }
        json.to_string()
    })
}

/// Every string of quotes-balanced JSON, members told apart: a duplicate member is an error here.
fn is_json(body: &[u8]) -> bool {
    crate::conversion::Json::parse(body).is_ok()
}

proptest! {
    #[test]
    fn a_request_never_panics_is_well_formed_and_is_the_same_twice(
        lines in prop::collection::vec((targets(), sources()), 0..6),
        url in prop_oneof!["https://h\\.example/\\{order_id\\}/[a-z]{0,3}", ".{0,20}", "https://[a-z{}./?&=]{0,20}"],
        header in prop_oneof!["\\{order_id\\}", "\\{custom\\.t \\| string\\}", "[a-z ]{1,5}"],
        json in conversions(),
        encoding in prop::sample::select(vec![Encoding::Json, Encoding::Form, Encoding::None]),
    ) {
        let lines: Vec<(&str, &str)> = lines.iter().map(|(target, source)| (&**target, &**source)).collect();
        let written = Written::new(encoding).map(&lines).header("x-order", &header).auth_query("k", "{secrets.token}");
        for written in [written.compile().ok(), written.url(&url).compile().ok()] {
            let Some(template) = written else { continue };
            let twice = with_scope(&json, |scope| (template.render(scope, Secrets::Revealed), template.render(scope, Secrets::Revealed)));
            prop_assert_eq!(&twice.0, &twice.1);
            let masked = with_scope(&json, |scope| template.render(scope, Secrets::Masked));
            prop_assert_eq!(masked.is_ok(), twice.0.is_ok());
            if let (Ok(request), Ok(masked)) = (twice.0, masked) {
                prop_assert!(!masked.to_http().contains("s3cret"));
                prop_assert!(request.url.parse::<http::Uri>().is_ok(), "{}", request.url);
                let parsed = ::url::Url::parse(&request.url).expect("a URL");
                prop_assert_eq!(parsed.as_str(), &request.url, "nothing is left to normalise");
                if encoding == Encoding::Json {
                    prop_assert!(is_json(&request.body), "{:?}", request.body);
                }
            }
        }
    }

    #[test]
    fn a_form_reads_back_as_what_was_written(order in "\\PC{1,30}", free in any::<String>()) {
        prop_assume!(!order.trim().is_empty() && order.trim() == order && !free.is_empty());
        let json = serde_json::json!({ "order_id": order, "custom": { "t": free } }).to_string();
        let lines = [("a b&=", "order_id"), ("c", "custom.t | string")];
        let expected = vec![("a b&=".to_owned(), order), ("c".to_owned(), free)];
        let body = Written::new(Encoding::Form).map(&lines).body(&json);
        prop_assert_eq!(form_urlencoded::parse(body.as_bytes()).into_owned().collect::<Vec<_>>(), expected.clone());
        let request = Written::new(Encoding::None).map(&lines).request(&json);
        let query = request.url.split_once('?').expect("a query").1;
        prop_assert_eq!(form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>(), expected);
        prop_assert!(!query.contains(['+', ' ']));
    }
}
