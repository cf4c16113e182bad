//! The fields of *Create a conversion*: one rule per key, and the rules between keys.

use std::collections::BTreeMap;

use super::super::request::{check_pairs, value};
use super::super::rules::{Decimals, Findings, REQUIRED, Rule, UNLIMITED};
use super::ID;

const TEXT: Rule = Rule::Text(UNLIMITED);
/// Text1-50 and ItemText: at most 64 characters.
const CUSTOM_TEXT: Rule = Rule::Text(64);
/// Names of products: 255 characters, as Impact keeps them.
const NAME: Rule = Rule::Text(255);
/// Amounts without a declared type hold the two decimals that the declared ones have.
const MONEY: Rule = Rule::Number(Decimals { fraction: 2, ..Decimals::ANY });
const SIGNED_MONEY: Rule = Rule::Number(Decimals { fraction: 2, ..Decimals::SIGNED });
const RATE: Rule = Rule::Number(Decimals::ANY);
const SIGNED: Rule = Rule::Number(Decimals::SIGNED);

/// Amount: decimal (8,2).
pub(super) const AMOUNT: Decimals = Decimals { whole: 6, fraction: 2, signed: false };
/// OrderDiscount: decimal (12,2).
const DISCOUNT: Decimals = Decimals { whole: 10, fraction: 2, signed: false };
/// OrderShipping and OrderTax: decimal (14,2).
const FEE: Decimals = Decimals { whole: 12, fraction: 2, signed: false };
/// CustomerStatus: "values must be configured in the Customer Status Mapping"; this account has the document's two.
pub(super) const CUSTOMER_STATUS: Rule = Rule::OneOf(&["NEW", "EXISTING"]);

/// "A minimum of 1 parameter is required." IpAddress is none: it attributes installs only.
const ATTRIBUTION_KEYS: &[&str] = &[
    "ClickId",
    "CustomerId",
    "CustomProfileId",
    "CustomClickId",
    "OrderPromoCode",
    "UniqueUrl",
    "GoogAId",
    "AndroidId",
    "AppleIfa",
    "AppleIfv",
    "MediaId",
    "MediaPartnerId",
    "PhoneNumber",
    "CallerId",
];

/// The three names of the event type, of which one is needed.
const EVENT_TYPES: &[&str] = &["EventTypeId", "ActionTrackerId", "EventTypeCode"];

/// Holds the pairs of a conversion to the document.
pub(super) fn check(pairs: &[(String, String)], findings: &mut Findings) {
    check_pairs(pairs, rule, findings);
    let has = |name: &str| value(pairs, name).is_some();
    // "Minimum requirements": event type, attribution key, event date, campaign, order.
    for name in ["EventDate", "CampaignId", "OrderId"] {
        if !has(name) {
            findings.add(name, REQUIRED);
        }
    }
    if EVENT_TYPES.iter().filter(|name| has(name)).count() != 1 {
        findings.add("EventTypeId", "exactly one of EventTypeId, ActionTrackerId and EventTypeCode must be sent");
    }
    if !ATTRIBUTION_KEYS.iter().any(|name| has(name)) {
        findings.add("ClickId", "at least one attribution key is required");
    }
    // MediaId, MediaPartnerId: "provide either one, not both".
    if has("MediaId") && has("MediaPartnerId") {
        findings.add("MediaPartnerId", "must not be sent with MediaId");
    }
    // CurrencyCode: "required when monetary fields are provided".
    if !has("CurrencyCode") && pairs.iter().any(|(name, _)| is_money(name)) {
        findings.add("CurrencyCode", "is required with monetary fields");
    }
    // The total is after discounts: beside it they would be taken off twice.
    if has("OrderSubTotalPostDiscount") {
        for name in ["OrderDiscount", "OrderDiscountRate"].into_iter().filter(|name| has(name)) {
            findings.add(name, "must not be sent with OrderSubTotalPostDiscount");
        }
    }
    check_items(pairs, findings);
}

/// "Required if passing item-level details": Sku, Category, Quantity, and one of SubTotal and Price.
fn check_items(pairs: &[(String, String)], findings: &mut Findings) {
    let mut items: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for (name, _) in pairs {
        if let Some(key) = ItemKey::parse(name)
            && key.rule().is_some()
        {
            items.entry(key.item).or_default().push(key.stem);
        }
    }
    // "If you're submitting item-level data, this value should not be submitted."
    if !items.is_empty() && value(pairs, "OrderSubTotalPostDiscount").is_some() {
        findings.add("OrderSubTotalPostDiscount", "must not be sent with item-level details");
    }
    let mut due = 1_u32;
    for (item, stems) in &items {
        if *item != due {
            findings.add(format!("Item…{item}"), format!("items are numbered from 1 without gaps: {due} is missing"));
        }
        due = item.saturating_add(1);
        for stem in ["Sku", "Category", "Quantity"] {
            if !stems.contains(&stem) {
                findings.add(format!("Item{stem}{item}"), "is required with item-level details");
            }
        }
        if stems.contains(&"SubTotal") == stems.contains(&"Price") {
            findings.add(
                format!("ItemSubTotal{item}"),
                format!("exactly one of ItemSubTotal{item} and ItemPrice{item} must be sent"),
            );
        }
        // One discount in three ways of saying it.
        let discounts = ["Discount", "TotalDiscount", "DiscountRate"];
        if discounts.iter().filter(|stem| stems.contains(stem)).count() > 1 {
            findings.add(
                format!("ItemDiscount{item}"),
                format!(
                    "at most one of ItemDiscount{item}, ItemTotalDiscount{item} and ItemDiscountRate{item} may be sent"
                ),
            );
        }
    }
}

/// The rule of a key; `None` for a key that the document does not have.
fn rule(name: &str) -> Option<Rule> {
    if let Some(key) = ItemKey::parse(name) {
        return key.rule();
    }
    Some(match name {
        // *Event ID or code*: EventTypeId is "functionally identical to ActionTrackerId".
        "EventTypeId" | "ActionTrackerId" | "CampaignId" => ID,
        "EventTypeCode" => Rule::Text(64),
        // *Attribution key*.
        "ClickId" | "CustomClickId" => Rule::Text(64),
        // "These values must be non-identifying (e.g., plain text email addresses are not permitted)."
        "CustomerId" => Rule::NonIdentifying(255),
        "CustomProfileId" => Rule::Text(70),
        "OrderPromoCode" | "GoogAId" | "AndroidId" | "AppleIfa" | "AppleIfv" | "CallerId" | "PhoneNumber" => TEXT,
        "UniqueUrl" => Rule::Url,
        "MediaId" | "MediaPartnerId" => ID,
        "SubId1" | "SubId2" | "SubId3" | "SharedId" => Rule::Text(255),
        "IpAddress" => Rule::Ip,
        // CountryCode: alpha-2 code of the number called.
        "CountryCode" => Rule::CountryAlpha2,
        // *Event date*: ISO 8601. "NOW" would be the time of delivery, not of the event, so it is refused here.
        "EventDate" => Rule::Instant,
        // *Order and items*.
        "OrderId" => Rule::Text(64),
        "CurrencyCode" => Rule::Currency,
        "Amount" => Rule::Number(AMOUNT),
        "OrderSubTotalPostDiscount" => MONEY,
        "OrderDiscountRate" => RATE,
        "OrderDiscount" => Rule::Number(DISCOUNT),
        "OrderShipping" | "OrderTax" => Rule::Number(FEE),
        "OrderMargin" => SIGNED_MONEY,
        "PaymentType" => Rule::Text(32),
        "GiftPurchase" | "TrackingConsent" => Rule::Boolean,
        "LocationId" | "LocationName" | "LocationType" => TEXT,
        // *Customer*. CustomerEmail: "SHA1 or SHA256 hash. Plaintext emails are not accepted."
        "CustomerEmail" => Rule::Hex(&[40, 64]),
        "CustomerStatus" => CUSTOMER_STATUS,
        "CustomerCity" | "CustomerPostCode" | "CustomerCountry" | "CustomerRegion" | "UserAgent" => TEXT,
        // *Mobile app*. PropertyId is the "System App ID".
        "PropertyId" => ID,
        "DeviceMfr" | "DeviceModel" | "AppPackage" | "AppInstallRef" | "AppVer" => TEXT,
        // *Additional parameters*.
        "DispositionCode" => Rule::Text(64),
        "Note" => Rule::Text(255),
        _ => return numbered(name),
    })
}

/// Date1-10, Text1-50, Numeric1-10, Money1-3.
fn numbered(name: &str) -> Option<Rule> {
    let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    custom(stem, number(name.strip_prefix(stem)?)?)
}

/// A custom field by kind and number, for orders and items alike.
fn custom(stem: &str, number: u32) -> Option<Rule> {
    match (stem, number) {
        // "A date string, for example 2022-03-28, or a datetime string, for example 2022-05-21T07:25:00Z."
        ("Date", 1..=10) => Some(Rule::DateOrInstant),
        ("Text", 1..=50) => Some(CUSTOM_TEXT),
        ("Numeric", 1..=10) => Some(SIGNED),
        ("Money", 1..=3) => Some(SIGNED_MONEY),
        _ => None,
    }
}

/// A number from 1, without leading zeros.
fn number(text: &str) -> Option<u32> {
    if text.starts_with('0') { None } else { text.parse().ok() }
}

/// `ItemSku1` or `ItemText1_2`: the item's number stands in the middle of the custom ones.
#[derive(Debug, Clone, Copy)]
struct ItemKey<'a> {
    stem: &'a str,
    item: u32,
    custom: Option<u32>,
}

impl ItemKey<'_> {
    fn parse(name: &str) -> Option<ItemKey<'_>> {
        let rest = name.strip_prefix("Item")?;
        let (stem, numbers) = rest.split_at_checked(rest.find(|letter: char| letter.is_ascii_digit())?)?;
        let (item, custom) = match numbers.split_once('_') {
            Some((item, custom)) => (number(item)?, Some(number(custom)?)),
            None => (number(numbers)?, None),
        };
        Some(ItemKey { stem, item, custom })
    }

    fn rule(self) -> Option<Rule> {
        match (self.stem, self.custom) {
            (stem, Some(number)) => custom(stem, number),
            ("Sku" | "Category" | "SubCategory" | "Name", None) => Some(NAME),
            ("Mpn", None) => Some(Rule::Text(64)),
            ("Brand" | "PromoCode" | "DeliveryType", None) => Some(TEXT),
            // ItemQuantity: "expressed as a whole number".
            ("Quantity", None) => Some(Rule::Integer { min: 0, digits: 10 }),
            ("SubTotal" | "Price" | "Discount" | "TotalDiscount", None) => Some(MONEY),
            ("DiscountRate", None) => Some(RATE),
            // ItemMargin is named under OrderMargin.
            ("Margin", None) => Some(SIGNED_MONEY),
            (_, None) => None,
        }
    }
}

/// Whether a key holds money; rates and Numeric fields do not.
fn is_money(name: &str) -> bool {
    if let Some(key) = ItemKey::parse(name) {
        return matches!(
            (key.stem, key.custom),
            ("SubTotal" | "Price" | "Discount" | "TotalDiscount" | "Margin", None) | ("Money", Some(_))
        );
    }
    matches!(
        name,
        "Amount"
            | "OrderSubTotalPostDiscount"
            | "OrderDiscount"
            | "OrderShipping"
            | "OrderTax"
            | "OrderMargin"
            | "Money1"
            | "Money2"
            | "Money3"
    )
}
