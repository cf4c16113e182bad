//! A hundred thousand amounts through every built-in destination, held to arithmetic by hand.

use capi_relay::conversion::Conversion;
use capi_relay::mapping::Scope;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::generate::{CURRENCIES, amount};
use super::{CONFIG, meta, sent};

#[path = "../support/decimal.rs"]
#[expect(dead_code, reason = "no built-in destination takes minor units")]
mod decimal;

/// Each with [`AMOUNTS`]: a hundred thousand in all.
const CASES: u32 = 200;
const AMOUNTS: usize = 500;

/// What a destination takes: how many decimals at most, and where the amount stands in its request.
const ONE_BY_ONE: &[(&str, usize, &str)] = &[
    ("thrad", 28, r#""conversion_value":@,"#),
    ("scaleo", 4, r#""amount":@,"revenue":@,"payout":@,"#),
    ("trackdesk", 28, r#""amount":{"value":"@"},"#),
    ("trackdesk-get", 28, "amount.value=@&"),
    ("dsp", 28, r#""value":@,"#),
];

/// Impact takes two decimals, and three amounts with each line of an order.
const LINE: &str =
    "&ItemSku{}=s&ItemCategory{}=c&ItemQuantity{}=1&ItemSubTotal{}=@0&ItemTotalDiscount{}=@1&ItemMargin{}=@2";

/// A conversion that all of them take, with these members.
fn conversion(members: &str) -> Conversion {
    let json = format!(
        r#"{{"event_id":"e","time":"2026-11-21T10:15:30Z",{members},
            "click_ids":{{"thrad":"t","impact":"i","scaleo":"s","trackdesk":"7d3f2c1a-1111-4222-8333-444455556666"}},
            "customer":{{"id":"c"}}}}"#
    );
    Conversion::parse(json.as_bytes(), "generated").unwrap()
}

/// URL and body of its request to a destination, or why there is none.
fn request(name: &str, conversion: &Conversion) -> Result<String, String> {
    let meta = meta(0, None, conversion);
    let request = sent(CONFIG.destination(name).unwrap(), Scope { conversion, meta: &meta })?;
    Ok(format!("{} {}", request.url, String::from_utf8_lossy(&request.body)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]
    #[test]
    fn an_amount_arrives_everywhere_as_it_was_given(
        amounts in vec(amount(), AMOUNTS), currency in select(CURRENCIES), as_text: bool,
    ) {
        let other_trackdesk = if as_text { "trackdesk" } else { "trackdesk-get" };
        let quote = if as_text { "\"" } else { "" };
        for amount in &amounts {
            let members = format!(
                r#""currency":"{currency}","value":{quote}{amount}{quote},
                   "commission":{{"revenue":{quote}{amount}{quote},"payout":{quote}{amount}{quote}}}"#
            );
            let conversion = conversion(&members);
            for (name, places, expected) in ONE_BY_ONE.iter().filter(|(name, ..)| *name != other_trackdesk) {
                let found = request(name, &conversion);
                match decimal::rounded_max(amount, *places) {
                    Some(left) => {
                        let (found, expected) = (found.unwrap(), expected.replace('@', &left));
                        prop_assert!(found.contains(&expected), "{}: {} in {}", name, expected, found);
                    }
                    None => prop_assert!(found.is_err(), "{}: {} is too long to be rounded: {:?}", name, amount, found),
                }
            }
        }
    }

    #[test]
    fn the_amounts_of_an_orders_lines_arrive_at_impact_with_two_decimals(
        amounts in vec(amount(), AMOUNTS), currency in select(CURRENCIES),
    ) {
        let fitting: Vec<&String> =
            amounts.iter().filter(|amount| decimal::rounded_max(amount, 2).is_some()).collect();
        let lines: Vec<&[&String]> = fitting.chunks_exact(3).collect();
        let line = |line: &&[&String]| format!(
            r#"{{"sku":"s","category":"c","quantity":1,"subtotal":{},"total_discount":"{}","margin":{}}}"#,
            line[0], line[1], line[2]
        );
        let written: Vec<String> = lines.iter().map(line).collect();
        let conversion = conversion(&format!(r#""currency":"{currency}","items":[{}]"#, written.join(",")));
        let form = request("impact", &conversion).unwrap();
        for (at, line) in lines.iter().enumerate() {
            let mut expected = LINE.replace("{}", &(at + 1).to_string());
            for (place, amount) in line.iter().enumerate() {
                expected = expected.replace(&format!("@{place}"), &decimal::rounded_max(amount, 2).unwrap());
            }
            prop_assert!(form.contains(&expected), "{}", expected);
        }
    }
}
