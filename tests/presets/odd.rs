//! Conversions that are right and unusual: who gets them, what of them, and that no document is broken by it.

use capi_relay::config::{Config, Decision};
use capi_relay::conversion::{Conversion, ConversionId, Meta};
use capi_relay::mapping::{Scope, Secrets};
use capi_relay::sandbox::{Platform, Sandbox};
use serde_json::{Value, json};

use super::{at_sandbox, platform, post};

const ALL: &[&str] = &["thrad", "impact", "impact-json", "scaleo", "trackdesk", "trackdesk-get", "dsp"];

/// An order of its own that all of them take, with members replaced or (`null`) taken away.
fn order(name: &str, changes: &Value) -> Value {
    let mut order = json!({
        "event_id": name, "order_id": name, "time": "2026-11-20T14:03:27Z", "value": "99.90", "currency": "EUR",
        "click_ids": { "thrad": format!("clk-{name}"), "impact": format!("imp-{name}"), "scaleo": format!("scl-{name}"),
            "trackdesk": "85b04ded-09dd-4015-ad30-581e45452dd9" },
        "customer": { "id": "customer-1" },
    });
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            drop(order.as_object_mut().unwrap().remove(key));
        } else {
            order[key] = value.clone();
        }
    }
    order
}

/// What each destination got.
struct Got(Vec<(String, String)>);

impl Got {
    #[track_caller]
    fn at(&self, taker: &str) -> &str {
        self.0.iter().find(|(name, _)| name == taker).map(|(_, got)| got.as_str()).unwrap()
    }
}

struct Bench {
    sandbox: Sandbox,
    config: Config,
}

impl Bench {
    /// Sends it to all that take it: exactly `takers`, who find nothing wrong with it. Gives back what each got, its
    /// target before its body.
    async fn send(&self, name: &str, changes: Value, takers: &[&str]) -> Got {
        let text = order(name, &changes).to_string();
        let conversion =
            Conversion::parse(text.as_bytes(), "generated").unwrap_or_else(|why| panic!("{name}: {why:?}"));
        let meta = Meta::new(ConversionId::new(0, [0; 10]), "acme".into(), None, &conversion);
        let scope = Scope { conversion: &conversion, meta: &meta };
        let mut sent = Vec::new();
        for destination in &self.config.destinations {
            let Decision::Send(operation) = destination.decide(scope) else { continue };
            let Ok(request) = operation.request.render(scope, Secrets::Revealed) else { continue };
            post(&request).await.unwrap();
            let at = platform(destination.name.as_str());
            let received = self.sandbox.received(at).pop().unwrap();
            assert_eq!((received.answered, &received.violations), (200, &Vec::new()), "{name} at {at:?}: {received:?}");
            sent.push((destination.name.to_string(), format!("{} {}", received.target, received.body)));
        }
        let got: Vec<&str> = sent.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(got, takers, "{name}");
        Got(sent)
    }
}

#[tokio::test]
async fn unusual_conversions_break_no_document() {
    let origin = ("trackdesk", "vars.revenue_origin_id", "6d1c3c5e-0000-4000-8000-000000000002");
    let (sandbox, config) = at_sandbox(&[origin]).await;
    let bench = Bench { sandbox, config };
    identities(&bench).await;
    amounts(&bench).await;
    events(&bench).await;
    for platform in Platform::ALL {
        assert_eq!(bench.sandbox.counts(platform).violations, 0);
    }
    bench.sandbox.stop().await;
}

async fn identities(bench: &Bench) {
    let got = bench.send("female", json!({"customer": {"id": "c", "gender": "Female"}}), ALL).await;
    assert!(got.at("scaleo").contains(r#""gender":"f""#), "{}", got.at("scaleo"));
    let got = bench.send("other", json!({"customer": {"id": "c", "gender": "non-binary"}}), ALL).await;
    assert!(!got.at("scaleo").contains("gender"), "{}", got.at("scaleo"));
    bench.send("no-phone", json!({"customer": {"id": "c", "phone": "n/a"}}), ALL).await;
    let all_but_dsp = &ALL[..6];
    bench.send("nobody", json!({"customer": {"phone": "n/a"}}), all_but_dsp).await;
    bench.send("no-event-id", json!({"event_id": null}), ALL).await;
    let got = bench.send("non-ascii", json!({"event_id": "bestellung-ü-№7"}), ALL).await;
    assert!(got.at("thrad").contains("bestellung-ü-№7"), "{}", got.at("thrad"));
    let notes = json!({"notes": {"public": "two\nlines"}, "customer": {"id": "c", "address": "1 Main St\nFloor 2"}});
    bench.send("lines", notes, ALL).await;
    let long = json!({"click_ids": {"impact": "c".repeat(65)}});
    let got = bench.send("long-click", long, &["impact", "impact-json", "dsp"]).await;
    assert!(!got.at("impact").contains("ClickId="), "{}", got.at("impact"));
    let coupon = json!({"click_ids": null, "attribution": {"promo_code": "SAVE10", "media_id": "7"}});
    let got = bench.send("coupon", coupon, &["impact", "impact-json", "trackdesk", "dsp"]).await;
    assert!(got.at("trackdesk").contains(r#""couponCodes":["SAVE10"]"#), "{}", got.at("trackdesk"));
    assert!(got.at("impact").contains("&MediaId=7"), "{}", got.at("impact"));
    let partner =
        json!({"attribution": {"media_id": "7"}, "custom": {"impact": {"MediaPartnerId": 8}}, "click_ids": null});
    let got = bench.send("partner", partner, &["impact", "impact-json", "dsp"]).await;
    assert!(!got.at("impact").contains("MediaPartnerId"), "{}", got.at("impact"));
}

async fn amounts(bench: &Bench) {
    let order = json!({"subtotal": "90.005", "discount": "5.555", "discount_rate": "5.5555", "tax": "1.125", "shipping": "2.5"});
    let got = bench.send("dinar", json!({"value": "98.765", "currency": "KWD", "order": order}), ALL).await;
    assert!(
        got.at("impact").contains("OrderSubTotalPostDiscount=90.01&OrderShipping=2.5&OrderTax=1.13"),
        "{}",
        got.at("impact")
    );
    assert!(got.at("scaleo").contains(r#""amount":98.765,"#), "{}", got.at("scaleo"));
    let fine = json!({"value": "0.1234567", "commission": {"payout": "1.00005", "revenue": "2.50"}});
    let got = bench.send("fine", fine, ALL).await;
    assert!(got.at("scaleo").contains(r#""amount":0.1235,"revenue":2.50,"payout":1.0001,"#), "{}", got.at("scaleo"));
    assert!(got.at("thrad").contains(r#""conversion_value":0.1234567,"#), "{}", got.at("thrad"));
    let item = json!({"sku": "s".repeat(256), "category": "c", "quantity": 2, "price": "5.555", "subtotal": "11.11",
        "discount": "1", "total_discount": "2", "discount_rate": "9.125", "margin": "0.005", "mpn": "m".repeat(65)});
    let rated = json!({"sku": "B", "category": "c", "quantity": 1, "price": "5.555", "discount_rate": "9.125"});
    let discounts =
        json!({"items": [item, rated], "order": {"discount": "5", "discount_rate": "10", "subtotal": "16"}});
    let got = bench.send("discounts", discounts, ALL).await;
    let impact = got.at("impact");
    assert!(impact.contains("ItemSubTotal1=11.11&ItemTotalDiscount1=2&ItemMargin1=0.01&ItemSku2=B"), "{impact}");
    assert!(impact.contains("ItemSubTotal2=5.56&ItemDiscountRate2=9.125"), "{impact}");
    assert!(!impact.contains("ItemPrice"), "{impact}");
    assert!(impact.contains("&OrderDiscount=5&") && !impact.contains("OrderDiscountRate"), "{impact}");
    assert!(!impact.contains("OrderSubTotalPostDiscount") && !impact.contains("ItemMpn1"), "{impact}");
    lines(bench).await;
}

/// Rounded once for each line, and not once for each piece of it.
async fn lines(bench: &Bench) {
    let line = |quantity: u32, price: &str, discount: &str| {
        let item = json!({"sku": "S", "category": "c", "quantity": quantity, "price": price, "discount": discount});
        json!({"items": [item], "value": "125", "currency": "KWD"})
    };
    for (name, quantity, price, discount, expected) in [
        ("screws", 1000, "0.125", "0.005", "ItemSubTotal1=125.00&ItemTotalDiscount1=5.00"),
        ("dinars", 10, "1.235", "0.004", "ItemSubTotal1=12.35&ItemTotalDiscount1=0.04"),
        ("half-a-cent", 1, "0.005", "0.001", "ItemSubTotal1=0.01&ItemTotalDiscount1=0.00"),
        ("none", 0, "1.235", "0.1", "ItemSubTotal1=0.00&ItemTotalDiscount1=0.0"),
    ] {
        let got = bench.send(name, line(quantity, price, discount), ALL).await;
        let impact = got.at("impact");
        assert!(impact.contains(&format!("ItemQuantity1={quantity}&{expected}")), "{name}: {impact}");
        assert!(!impact.contains("ItemPrice") && !impact.contains("ItemDiscount1"), "{name}: {impact}");
    }
}

async fn events(bench: &Bench) {
    for (event, word) in [("trial_started", "Trial"), ("lead_created", "Lead"), ("store_visit", "store_visit")] {
        let got = bench.send(event, json!({"event_type": event}), &["thrad", "dsp"]).await;
        assert!(got.at("dsp").contains(&format!(r#""conversion_type":"{word}""#)), "{}", got.at("dsp"));
    }
    let view = json!({"event_type": "page_view", "value": null, "currency": null, "order_id": null});
    bench.send("view", view, &["dsp"]).await;
    let judged = &["scaleo", "trackdesk", "trackdesk-get"];
    bench.send("rejected", json!({"status": "rejected"}), judged).await;
    for status in ["pending", "hold", "approved"] {
        bench.send(status, json!({"status": status}), ALL).await;
    }
}
