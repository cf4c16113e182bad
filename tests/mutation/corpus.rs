//! The conversions of the goldens: everything at once, each field alone and each left out, every length at its limit,
//! every word, amounts, times, consent, tests, refunds and adjustments.

mod shape;
mod whole;

use std::borrow::Borrow;

use capi_relay::config::Sample;
use serde_json::{Value, json};

use self::shape::{kinds, leaves, merged, set, stretch, subsets, without};
use self::whole::{everything, refund, with_series};

/// What a test of a mapping sends: a name for people, and the conversion.
pub(super) fn corpus() -> Vec<(String, Sample)> {
    let mut made = Corpus::default();
    let all = everything();
    let whole = with_series(&all);
    made.add("everything".to_owned(), whole.clone());
    made.fields(&all);
    made.items(&all);
    made.groups(&all);
    made.lengths(&all, &whole);
    made.words(&all);
    made.amounts(&all);
    made.types(&all);
    made.changes(&all);
    made.probing(&all);
    made.samples
}

#[derive(Default)]
struct Corpus {
    samples: Vec<(String, Sample)>,
}

impl Corpus {
    /// Keeps it if it is a conversion: what is left of one without a field may be none.
    fn add(&mut self, name: String, conversion: impl Borrow<Value>) {
        if let Ok(sample) = Sample::parse(conversion.borrow().to_string().as_bytes()) {
            self.samples.push((name, sample));
        }
    }

    /// Each field left out of everything, beside a sale's own, and alone.
    fn fields(&mut self, all: &Value) {
        let sale = json!({
            "time": "2026-11-21T10:15:30Z", "event_id": "evt-7", "order_id": "order-7", "value": "7.50", "currency": "EUR",
            "click_ids": { "thrad": "t", "impact": "i", "scaleo": "s", "trackdesk": "d" }, "customer": { "id": "c" },
        });
        let alone = json!({ "time": "2026-11-21T10:15:30Z", "currency": "EUR" });
        for leaf in kinds(all) {
            self.add(format!("without {leaf}"), without(all, &[&leaf]));
            let value = all.pointer(&leaf).cloned().unwrap_or_default();
            for (beside, base) in [("sale", &sale), ("alone", &alone)] {
                let mut conversion = base.clone();
                set(&mut conversion, &leaf, value.clone());
                self.add(format!("{beside} with {leaf}"), conversion);
            }
        }
        self.add("sale".to_owned(), sale);
        self.add("alone".to_owned(), alone);
    }

    /// One item, each of its fields left out, its amounts in every combination; several items; none with a name.
    fn items(&mut self, all: &Value) {
        let item = all.pointer("/items/0").cloned().unwrap_or_default();
        let amounts = ["/price", "/subtotal", "/discount", "/total_discount", "/discount_rate"];
        let one_price = |item: &Value| without(item, &["/subtotal"]);
        for leaf in kinds(&item) {
            self.with_items(all, &format!("item without {leaf}"), vec![without(&item, &[&leaf])]);
            let beside = without(&item, &[&leaf, "/subtotal"]);
            self.with_items(all, &format!("item by price without {leaf}"), vec![item.clone(), beside]);
        }
        for (name, left) in subsets(&amounts) {
            self.with_items(all, &format!("item without {name}"), vec![without(&item, &left)]);
        }
        self.with_items(all, "one item", vec![item.clone()]);
        self.with_items(all, "two prices", vec![one_price(&item), one_price(&item), item.clone()]);
        self.with_items(all, "an item without anything", vec![json!({})]);
        self.with_items(all, "an item with a quantity", vec![json!({ "quantity": 0 }), item]);
        self.with_items(all, "no item", vec![]);
    }

    fn with_items(&mut self, base: &Value, name: &str, items: Vec<Value>) {
        let mut conversion = base.clone();
        conversion["items"] = Value::Array(items);
        self.add(name.to_owned(), conversion);
    }

    /// What stands in for one another, in every combination.
    fn groups(&mut self, all: &Value) {
        let groups: [&[&str]; 9] = [
            &["/items", "/order/subtotal", "/value", "/order/discount", "/order/discount_rate"],
            &["/click_ids", "/attribution/media_id", "/custom/impact/MediaPartnerId"],
            &[
                "/click_ids",
                "/custom/trackdesk/externalCid",
                "/custom/trackdesk/couponCodes",
                "/attribution/promo_code",
            ],
            &["/customer/email_sha1", "/customer/email", "/customer/email_sha256"],
            &["/customer/phone", "/customer/phone_sha256"],
            &["/device/browser", "/device/os", "/device/user_agent"],
            &[
                "/customer/guid",
                "/customer/email",
                "/customer/email_sha256",
                "/customer/phone",
                "/customer/phone_sha256",
                "/customer/id",
            ],
            &["/order_id", "/event_id"],
            &["/custom/impact/Note", "/notes", "/attribution/promo_code", "/order/promo_code"],
        ];
        for group in groups {
            for (name, left) in subsets(group) {
                self.add(format!("without {name}"), without(all, &left));
            }
        }
    }

    /// Every text as long as a limit, and longer by one.
    fn lengths(&mut self, all: &Value, whole: &Value) {
        for limit in LIMITS {
            for chars in [limit, limit + 1] {
                let mut conversion = whole.clone();
                for leaf in leaves(whole) {
                    stretch(&mut conversion, &leaf, chars);
                }
                for leaf in whole.pointer("/items/0").into_iter().flat_map(leaves) {
                    stretch(&mut conversion, &format!("/items/0{leaf}"), chars);
                }
                self.add(format!("texts of {chars}"), conversion.clone());
                self.add(format!("refund, texts of {chars}"), refund(&conversion));
                conversion["kind"] = json!("adjustment");
                self.add(format!("adjustment, texts of {chars}"), conversion);
            }
        }
        let alone = json!({ "time": "2026-11-21T10:15:30Z", "order_id": "order-7" });
        for leaf in kinds(all) {
            let mut conversion = alone.clone();
            set(&mut conversion, &leaf, all.pointer(&leaf).cloned().unwrap_or_default());
            if stretch(&mut conversion, &leaf, 256) {
                self.add(format!("alone with {leaf} of 256"), conversion);
            }
        }
    }

    /// Every word that a mapping looks up, and some that it does not know.
    fn words(&mut self, all: &Value) {
        for (pointer, words) in WORDS {
            for word in *words {
                let mut conversion = all.clone();
                set(&mut conversion, pointer, json!(word));
                self.add(format!("{pointer} {word}"), conversion.clone());
                if matches!(*pointer, "/reason" | "/event_type" | "/status") {
                    let mut refund = refund(&conversion);
                    self.add(format!("refund, {pointer} {word}"), refund.clone());
                    refund["order"] = json!({});
                    self.add(format!("refund, {pointer} {word}, no disposition"), refund);
                    conversion["kind"] = json!("adjustment");
                    self.add(format!("adjustment, {pointer} {word}"), conversion);
                }
            }
        }
        let mut test = all.clone();
        test["test"] = json!(true);
        self.add("a test".to_owned(), test.clone());
        test["status"] = Value::Null;
        self.add("a test without a status".to_owned(), without(&test, &["/status"]));
        for consent in [false, true] {
            let mut conversion = all.clone();
            conversion["consent"] = json!({ "tracking": consent });
            self.add(format!("consent {consent}"), conversion.clone());
            self.add(format!("refund, consent {consent}"), refund(&conversion));
        }
    }

    /// Every amount as each text.
    fn amounts(&mut self, all: &Value) {
        for amount in ["0", "7", "1.50", "2.005", "1.00005", "12.345678", "0.1234"] {
            let mut conversion = all.clone();
            let item = conversion["items"][0].clone();
            let by_price = without(&item, &["/subtotal", "/total_discount"]);
            conversion["items"] = json!([item, by_price, without(&by_price, &["/discount"])]);
            let items = conversion["items"].as_array().map_or(0, Vec::len);
            let inside = (0..items).flat_map(|item| ITEM_AMOUNTS.map(|name| format!("/items/{item}/{name}")));
            for pointer in AMOUNTS.iter().map(|pointer| (*pointer).to_owned()).chain(inside) {
                if conversion.pointer(&pointer).is_some() {
                    set(&mut conversion, &pointer, json!(amount));
                }
            }
            for name in ["Money1", "Money2", "Money3"] {
                set(
                    &mut conversion,
                    &format!("/custom/impact/{name}"),
                    json!(amount.parse::<serde_json::Number>().unwrap()),
                );
                set(
                    &mut conversion,
                    &format!("/items/0/custom/impact/{name}"),
                    json!(amount.parse::<serde_json::Number>().unwrap()),
                );
            }
            self.add(format!("amounts of {amount}"), conversion.clone());
            self.add(format!("amounts of {amount}, no items"), without(&conversion, &["/items"]));
            self.add(format!("amounts of {amount}, no subtotal"), without(&conversion, &["/items", "/order/subtotal"]));
            conversion["kind"] = json!("adjustment");
            self.add(format!("adjustment, amounts of {amount}"), conversion.clone());
            self.add(
                format!("adjustment, amounts of {amount}, no subtotal"),
                without(&conversion, &["/order/subtotal"]),
            );
        }
        for time in ["2026-07-01T23:59:59.999+02:00", "2026-12-31T23:30:00-05:00", "2026-03-29T00:30:00.123456Z"] {
            let mut conversion = all.clone();
            conversion["time"] = json!(time);
            conversion["click"]["time"] = json!(time);
            self.add(format!("at {time}"), conversion);
        }
    }

    /// Free JSON of each type; names and telephone numbers as people write them.
    fn types(&mut self, all: &Value) {
        for free in [
            json!(12),
            json!(true),
            json!(""),
            json!({ "a": 1 }),
            json!(["a", "b"]),
            json!("2026-01-02"),
            json!("text"),
        ] {
            let mut conversion = all.clone();
            for leaf in kinds(all).iter().filter(|leaf| leaf.starts_with("/custom/")) {
                set(&mut conversion, leaf, free.clone());
            }
            self.add(format!("custom of {free}"), conversion.clone());
            conversion["click_ids"] = json!({ "scaleo": "s" });
            self.add(format!("custom of {free} without clicks"), conversion);
            for leaf in kinds(all).iter().filter(|leaf| leaf.starts_with("/custom/")) {
                let mut conversion = all.clone();
                set(&mut conversion, leaf, free.clone());
                self.add(format!("{leaf} of {free}"), conversion);
            }
        }
        for phone in ["+49 (0)30 1234567", "0049 30 1200345 ext", "030 1234567", "+1 (410) 555-2671", "call me", "(0)"]
        {
            let mut conversion = without(
                all,
                &[
                    "/customer/phone_sha256",
                    "/customer/guid",
                    "/customer/id",
                    "/customer/email",
                    "/customer/email_sha256",
                ],
            );
            conversion["customer"]["phone"] = json!(phone);
            self.add(format!("telephone {phone}"), conversion);
        }
        for (user_data, personalization) in [(false, true), (true, false)] {
            let mut conversion = all.clone();
            set(&mut conversion, "/consent/ad_user_data", json!(user_data));
            set(&mut conversion, "/consent/ad_personalization", json!(personalization));
            self.add(format!("ad_user_data {user_data}"), conversion);
        }
        for email in ["Ada.Lovelace+x@Gmail.COM", "Straße@example.com", "ada@example.com"] {
            let mut conversion = without(all, &["/customer/email_sha1", "/customer/email_sha256"]);
            conversion["customer"]["email"] = json!(email);
            self.add(format!("address {email}"), conversion);
        }
    }

    /// Refunds and adjustments: whole and in part, of what another event, no click or no order names.
    fn changes(&mut self, all: &Value) {
        let refunded = refund(all);
        self.add("refund".to_owned(), refunded.clone());
        for leaf in kinds(all) {
            self.add(format!("refund without {leaf}"), without(&refunded, &[&leaf]));
        }
        let part = |more: Value| merged(&refunded, &more);
        self.add("refund of a value".to_owned(), part(json!({ "value": "5", "currency": "EUR" })));
        self.add("refund of a subtotal".to_owned(), part(json!({ "order": { "subtotal": "5" }, "currency": "EUR" })));
        self.add("refund of an item".to_owned(), part(json!({ "items": [{ "sku": "A" }] })));
        self.add("refund of a nameless item".to_owned(), part(json!({ "items": [{ "quantity": 1 }] })));
        self.add("refund of two items".to_owned(), part(json!({ "items": [{ "quantity": 1 }, { "sku": "A" }] })));
        let mut adjustment = all.clone();
        adjustment["kind"] = json!("adjustment");
        self.add("adjustment".to_owned(), adjustment.clone());
        for leaf in kinds(all) {
            self.add(format!("adjustment without {leaf}"), without(&adjustment, &[&leaf]));
        }
        let by_items = [
            json!([{ "sku": "A", "category": "C", "quantity": 0 }, { "sku": "B", "quantity": 3 }]),
            json!([{ "sku": "A" }]),
            json!([{ "quantity": 1 }]),
            json!([{ "quantity": 1 }, { "sku": "B", "quantity": 1 }]),
            json!([]),
        ];
        for items in by_items {
            let name = format!("adjustment of {items}");
            adjustment["items"] = items;
            self.add(name, adjustment.clone());
        }
        let named = ["/order_id", "/event_id", "/click_ids", "/custom/scaleo/transaction_id"];
        for (name, left) in subsets(&named) {
            self.add(format!("refund without {name}"), without(&refunded, &left));
            self.add(format!("adjustment without {name}"), without(&adjustment, &left));
        }
    }
}

impl Corpus {
    /// What `custom.probe` is where a destination puts it in a field's place.
    fn probing(&mut self, all: &Value) {
        let lengths = LIMITS.into_iter().chain([300]).flat_map(|limit| [limit, limit + 1]);
        let texts = lengths.map(|chars| json!(('a'..='z').cycle().take(chars).collect::<String>()));
        for free in texts.chain([json!("word"), json!(1.5), json!(true), json!({ "a": 1 }), json!(["a"])]) {
            let mut conversion = all.clone();
            set(&mut conversion, "/custom/probe", free.clone());
            set(&mut conversion, "/items/0/custom/probe", free.clone());
            let items = json!([conversion.pointer("/items/0")]);
            conversion["items"] = items;
            self.add(format!("probe conversion {free}"), conversion.clone());
            self.add(format!("probe conversion {free}, no items"), without(&conversion, &["/items"]));
            self.add(format!("probe refund {free}"), refund(&conversion));
            conversion["kind"] = json!("adjustment");
            self.add(format!("probe adjustment {free}"), conversion.clone());
            self.add(format!("probe adjustment {free}, no items"), without(&conversion, &["/items"]));
        }
    }
}

/// The lengths that the contracts name.
const LIMITS: [usize; 5] = [3, 32, 64, 70, 255];
const AMOUNTS: [&str; 9] = [
    "/value",
    "/order/subtotal",
    "/order/discount",
    "/order/discount_rate",
    "/order/shipping",
    "/order/tax",
    "/order/margin",
    "/commission/revenue",
    "/commission/payout",
];
const ITEM_AMOUNTS: [&str; 6] = ["price", "subtotal", "discount", "total_discount", "discount_rate", "margin"];
const WORDS: &[(&str, &[&str])] = &[
    ("/status", &["pending", "approved", "rejected", "hold"]),
    (
        "/event_type",
        &[
            "purchase_completed",
            "lead_created",
            "trial_started",
            "subscription_created",
            "page_view",
            "signup",
            "other",
        ],
    ),
    ("/currency", &["USD", "KWD", "JPY"]),
    ("/customer/gender", &["m", "male", "f", "female", " Male ", "F", "d", "mx", "m."]),
    ("/customer/status", &["new", "existing"]),
    ("/custom/scaleo/deliver_lead", &["yes", "no", "maybe"]),
    ("/order/disposition_code", &["TEST_ACTION", "own"]),
    (
        "/reason",
        &[
            "REJECTED",
            "CONS_INFO_INVALID",
            "CONS_ERROR",
            "CONS_FRAUD",
            "ITEM_RETURNED",
            "ITEM_OUT_OF_STOCK",
            "ORDER_ERROR",
            "PUB_ACT_DISPUTE",
            "NOT_COMPLIANCE_TERMS",
            "MP_RETURNED",
            "OTHER",
            "CREDITED_DIFFERENT_MP",
            "ADV_ACT_DISPUTE",
            "TEST_ACTION",
            "ORDER_UPDATE",
            "PARTNER_NOT_ACTIVE",
            "cons_fraud",
            "came back broken",
        ],
    ),
];
