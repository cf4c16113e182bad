//! The conversion that has everything, and its refund.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::shape::{merged, set, without};

/// A conversion with every canonical field and every name of `custom` that a preset reads, and those beside the ends of its
/// ranges.
pub(super) fn everything() -> Value {
    let mut all: Value = serde_json::from_str(include_str!("../../presets/full.json")).unwrap();
    let digests = json!({
        "customer": {
            "email_sha256": "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514",
            "email_sha1": "0123456789012345678901234567890123456789",
            "phone_sha256": "c4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514",
        },
        "device": { "browser": "Netscape", "os": "BeOS" },
        "reason": "item_returned",
        "custom": {
            "impact": { "CustomClickId": "own", "MediaPartnerId": "mp", "AndroidId": "an", "CountryCode": "DE", "DispositionCode": "own-code" },
            "scaleo": { "transaction_id": "t-1" },
            "trackdesk": { "externalCid": "ext", "couponCodes": ["C1", "C2"] },
        },
    });
    all = merged(&all, &digests);
    for (name, _) in IMPACT {
        series(&mut all, name, 1..=1);
    }
    all
}

/// The same with every member of the series, and with those beside their ends.
pub(super) fn with_series(all: &Value) -> Value {
    let mut all = all.clone();
    for (name, last) in IMPACT {
        series(&mut all, name, 0..=last + 1);
    }
    for (name, last) in SERIES {
        for number in 0..=last + 1 {
            set(&mut all, &format!("/custom/{name}{number}"), json!(format!("{name}-{number}")));
        }
    }
    all
}

/// Own fields of an account at Impact, of the order and of an item.
fn series(all: &mut Value, name: &str, numbers: RangeInclusive<u32>) {
    for number in numbers {
        let is_number = matches!(name, "Numeric" | "Money");
        let value = if is_number { json!(number) } else { json!(format!("{name}-{number}")) };
        set(all, &format!("/custom/impact/{name}{number}"), value.clone());
        set(all, &format!("/items/0/custom/impact/{name}{number}"), value);
    }
}

/// The same as a refund of the whole.
pub(super) fn refund(conversion: &Value) -> Value {
    let mut refund = without(&without(conversion, &super::AMOUNTS), &["/items"]);
    refund["kind"] = json!("refund");
    refund
}

/// Names and their last numbers.
const IMPACT: [(&str, u32); 5] = [("Text", 50), ("Numeric", 10), ("Money", 3), ("Date", 10), ("SubId", 3)];
const SERIES: [(&str, u32); 5] = [
    ("scaleo/aff_param", 5),
    ("scaleo/sub_id", 5),
    ("scaleo/adv_param", 5),
    ("scaleo/custom", 10),
    ("trackdesk/advS", 5),
];
