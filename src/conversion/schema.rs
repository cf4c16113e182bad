//! The schema: one table of every field that a conversion may carry.
//!
//! Parsing, validation, the mapping type-checker, `capi-relay schema` and the README's field list are all made from
//! [`SCHEMA`]. A new canonical field is one row here and nothing else.

use Kind::{
    Bool, Country, Currency, Date, Digest, Email, Enum, Int, Ip, Json, Lines, Money, Text, TextMap, Timestamp, Url,
    Uuid,
};
use Privacy::{Personal, Pseudonymous, Public};

/// One row of the schema table.
#[derive(Debug)]
pub struct Field {
    /// Dotted path: `customer.email`; of each item: `items[].sku`; of an open map: `click_ids.*`.
    pub path: &'static str,
    /// What the field accepts.
    pub kind: Kind,
    /// Whether every conversion must carry it.
    pub required: bool,
    /// How it may be shown.
    pub class: Privacy,
    /// One line for the README, the JSON Schema and editors.
    pub doc: &'static str,
}

impl Field {
    /// Whether it is an amount that may be negative in any conversion: what is left of a price after its costs.
    pub(super) fn may_be_negative(&self) -> bool {
        matches!(self.path, "order.margin" | "items[].margin")
    }
}

/// What a field accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text without control characters, 1 to `chars_max` characters.
    Text {
        /// Most characters (not bytes).
        chars_max: usize,
    },
    /// The same with line breaks (`\n`) in it.
    Lines {
        /// Most characters (not bytes).
        chars_max: usize,
    },
    /// Exact decimal, as a JSON number or a string.
    Money,
    /// Whole number from 0 to 9,007,199,254,740,991 (2⁵³ − 1).
    Int,
    /// `true` or `false`.
    Bool,
    /// RFC 3339 with offset.
    Timestamp,
    /// `YYYY-MM-DD`.
    Date,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// ISO 4217 code, upper case.
    Currency,
    /// ISO 3166-1 alpha-2 or alpha-3 code, upper case.
    Country,
    /// E-mail address in plain text.
    Email,
    /// IPv4 or IPv6 address.
    Ip,
    /// Absolute `http` or `https` URL.
    Url,
    /// UUID of 36 characters, in either case.
    Uuid,
    /// Lower-case hex digest of so many characters.
    Digest {
        /// 64 for SHA-256, 40 for SHA-1.
        chars: usize,
    },
    /// Open map of texts: any key of `[A-Za-z0-9_-]`, any text.
    TextMap,
    /// Any JSON value but `null`.
    Json,
}

/// The static type of an expression over a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// Characters.
    Text,
    /// Exact decimal.
    Money,
    /// Whole number.
    Int,
    /// Truth value.
    Bool,
    /// Instant with offset.
    Timestamp,
    /// Day of the calendar.
    Date,
    /// Free JSON.
    Json,
}

/// How a field may be shown: logs and listings print by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// Says nothing of a person.
    Public,
    /// Points at a person for those who hold another table: ids, digests, click ids.
    Pseudonymous,
    /// Names a person, or may: addresses, names, IP, free data.
    Personal,
}

/// Index of a row of [`SCHEMA`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub(super) u16);

/// A set of rows of [`SCHEMA`]. Two words and no `u128`: asked for every field of every request, it is read in the halves
/// in which it was just written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    low: u64,
    high: u64,
}

impl Kind {
    /// The type that an expression over such a field has.
    pub const fn ty(self) -> Type {
        match self {
            Text { .. } | Lines { .. } | Enum(_) | Currency | Country | Email | Ip | Url | Uuid | Digest { .. } => {
                Type::Text
            }
            Money => Type::Money,
            Int => Type::Int,
            Bool => Type::Bool,
            Timestamp => Type::Timestamp,
            Date => Type::Date,
            TextMap | Json => Type::Json,
        }
    }
}

impl Slot {
    /// The row.
    #[expect(clippy::indexing_slicing, reason = "a slot is only ever made from the number of a row")]
    pub fn field(self) -> &'static Field {
        &SCHEMA[usize::from(self.0)]
    }

    /// The row of exactly this schema path, such as `items[].sku`.
    pub fn of(path: &str) -> Option<Slot> {
        let row = SCHEMA.iter().position(|field| field.path == path)?;
        u16::try_from(row).ok().map(Slot)
    }

    /// Every row of a field at the top level or in a group, in table order.
    pub fn top() -> impl Iterator<Item = Slot> {
        (0..ROWS_TOP).filter_map(|row| u16::try_from(row).ok()).map(Slot)
    }

    /// Every row of an item's field, in table order.
    pub fn of_items() -> impl Iterator<Item = Slot> {
        (ROWS_TOP..SCHEMA.len()).filter_map(|row| u16::try_from(row).ok()).map(Slot)
    }
}

impl Rows {
    /// Every row.
    pub const ALL: Rows = Rows { low: u64::MAX, high: u64::MAX };
    /// No row.
    pub const NONE: Rows = Rows { low: 0, high: 0 };

    /// That row alone.
    pub fn of(slot: Slot) -> Rows {
        Rows::NONE.with_row(usize::from(slot.0))
    }

    /// The row of this path alone.
    pub fn at(path: &str) -> Rows {
        Slot::of(path).map_or(Rows::NONE, Rows::of)
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Rows) -> Rows {
        Rows { low: self.low | other.low, high: self.high | other.high }
    }

    /// Whether a row is in both.
    #[inline]
    pub fn meets(self, other: Rows) -> bool {
        self.low & other.low != 0 || self.high & other.high != 0
    }

    #[must_use]
    pub(super) fn with_row(self, row: usize) -> Rows {
        self.and(Rows { low: 1, high: 0 }.after(row))
    }

    /// The same with so many rows before them.
    #[must_use]
    pub(super) fn after(self, rows: usize) -> Rows {
        let whole = u128::from(self.high) << u64::BITS | u128::from(self.low);
        let moved = u32::try_from(rows).ok().and_then(|rows| whole.checked_shl(rows)).unwrap_or(0);
        let word = |word: u128| u64::try_from(word & u128::from(u64::MAX)).unwrap_or(0);
        Rows { low: word(moved), high: word(moved >> u64::BITS) }
    }
}

/// Every field of a conversion, a line each. Rows of `items[]` stand last.
#[rustfmt::skip]
pub static SCHEMA: &[Field] = &[
    row("event_id", Text { chars_max: 128 }, Public, "The merchant's unique id of this conversion; generated when absent."),
    row("kind", Enum(&["conversion", "refund", "adjustment"]), Public, "What it is; default `conversion`. A refund or adjustment names an earlier conversion by its `order_id`, or by its `event_id` if it had no `order_id`."),
    row("event_type", Text { chars_max: 64 }, Public, "What happened; default `purchase_completed`. Others: `lead_created`, `trial_started`, `subscription_created`, `page_view`, `signup`, any."),
    Field { required: true, ..row("time", Timestamp, Public, "When it happened.") },
    row("value", Money, Public, "What the merchant values it at, and each destination is to be paid on unless its preset says otherwise: Impact, Awin, GA4 and Pinterest take `order.subtotal` first, and Impact the items before both; in an adjustment the new absolute total, in a refund what is given back (without it, `order.subtotal` and `items`: everything, and then no other amount is named)."),
    row("currency", Currency, Public, "Currency of every amount in the conversion; required when there is one. `XXX` (none) and `XTS` (for tests) are refused."),
    row("reason", Text { chars_max: 64 }, Public, "Why it is refunded or adjusted."),
    row("test", Bool, Public, "A test conversion is sent with the destination's own test switch, and skipped where it has none; default false."),
    row("order_id", Text { chars_max: 256 }, Pseudonymous, "The merchant's order number."),
    row("status", Enum(&["pending", "approved", "rejected", "hold"]), Public, "The merchant's judgement of the conversion."),
    row("click_ids.*", TextMap, Pseudonymous, "Click ids by network: `thrad`, `impact`, `scaleo`, `trackdesk`, `gclid`, `fbclid`, `ttclid`, any."),
    row("attribution.promo_code", Text { chars_max: 128 }, Public, "Promo code that belongs to one partner."),
    row("attribution.unique_url", Text { chars_max: 4096 }, Public, "Unique URL or domain of the partner who referred the customer."),
    row("attribution.media_id", Text { chars_max: 64 }, Public, "Partner who is to win the credit where no click is known."),
    row("attribution.affiliate_click_id", Text { chars_max: 1024 }, Pseudonymous, "The affiliate's own click id."),
    row("attribution.track_id", Text { chars_max: 256 }, Pseudonymous, "The advertiser's tracking id."),
    row("attribution.caller_id", Text { chars_max: 256 }, Pseudonymous, "Id of the caller in call tracking."),
    row("attribution.called_number", Text { chars_max: 64 }, Public, "Number that was called in call tracking."),
    row("attribution.tag_id", Text { chars_max: 128 }, Public, "Tag that saw the click, where a partner key has several."),
    row("customer.id", Text { chars_max: 256 }, Pseudonymous, "The merchant's id of the customer; never an e-mail address."),
    row("customer.profile_id", Text { chars_max: 256 }, Pseudonymous, "Id of the visitor, signed in or not; never an e-mail address."),
    row("customer.guid", Uuid, Pseudonymous, "UUID of the visitor at the ad platform."),
    row("customer.email", Email, Personal, "E-mail address in plain text; hashed where a destination wants a hash."),
    row("customer.email_sha256", Digest { chars: 64 }, Pseudonymous, "SHA-256 of the trimmed, lower-cased e-mail address."),
    row("customer.email_sha1", Digest { chars: 40 }, Pseudonymous, "SHA-1 of the trimmed, lower-cased e-mail address."),
    row("customer.phone", Text { chars_max: 64 }, Personal, "Telephone number in plain text."),
    row("customer.phone_sha256", Digest { chars: 64 }, Pseudonymous, "SHA-256 of the telephone number."),
    row("customer.first_name", Text { chars_max: 128 }, Personal, "Given name."),
    row("customer.last_name", Text { chars_max: 128 }, Personal, "Family name."),
    row("customer.gender", Text { chars_max: 32 }, Personal, "Gender, in the merchant's words."),
    row("customer.birthday", Date, Personal, "Date of birth."),
    row("customer.address", Lines { chars_max: 512 }, Personal, "Street and number."),
    row("customer.city", Text { chars_max: 128 }, Personal, "City."),
    row("customer.region", Text { chars_max: 128 }, Personal, "State, province or region."),
    row("customer.postcode", Text { chars_max: 32 }, Personal, "Postal code."),
    row("customer.country", Country, Public, "Country."),
    row("customer.status", Enum(&["new", "existing"]), Public, "Whether the customer bought before."),
    row("device.ip", Ip, Personal, "The customer's IP address."),
    row("device.user_agent", Text { chars_max: 2048 }, Pseudonymous, "The customer's user agent."),
    row("device.browser", Text { chars_max: 128 }, Public, "Browser, where it is known already."),
    row("device.os", Text { chars_max: 128 }, Public, "Operating system, where it is known already."),
    row("device.idfa", Text { chars_max: 64 }, Pseudonymous, "Apple's advertising id."),
    row("device.idfv", Text { chars_max: 64 }, Pseudonymous, "Apple's vendor id."),
    row("device.gaid", Text { chars_max: 64 }, Pseudonymous, "Google's advertising id."),
    row("device.manufacturer", Text { chars_max: 128 }, Public, "Maker of the device."),
    row("device.model", Text { chars_max: 128 }, Public, "Model of the device."),
    row("app.package", Text { chars_max: 256 }, Public, "Package name of the app."),
    row("app.version", Text { chars_max: 64 }, Public, "Version of the app."),
    row("app.install_referrer", Text { chars_max: 2048 }, Pseudonymous, "Install referrer of the Google Play Store."),
    row("app.property_id", Text { chars_max: 64 }, Public, "The app's id at the platform."),
    row("page.url", Url, Personal, "Page on which it happened."),
    row("page.referrer", Url, Personal, "Page from which the customer came."),
    row("click.time", Timestamp, Public, "When the ad was clicked."),
    row("click.referrer", Url, Personal, "Page on which the ad was clicked."),
    row("session.id", Text { chars_max: 256 }, Pseudonymous, "Id of the session."),
    row("session.client_id", Text { chars_max: 256 }, Pseudonymous, "Id of the browser or app instance."),
    row("location.id", Text { chars_max: 128 }, Public, "Id of the shop, hotel or place."),
    row("location.name", Text { chars_max: 256 }, Public, "Its name."),
    row("location.type", Text { chars_max: 128 }, Public, "Its category."),
    row("order.subtotal", Money, Public, "Total after discounts, without tax and shipping."),
    row("order.discount", Money, Public, "Discount on the whole order."),
    row("order.discount_rate", Money, Public, "Discount on the whole order, in per cent."),
    row("order.shipping", Money, Public, "Cost of shipping."),
    row("order.tax", Money, Public, "Tax."),
    row("order.margin", Money, Public, "Revenue less costs; may be negative."),
    row("order.gift", Bool, Public, "Whether it is a gift."),
    row("order.payment_type", Text { chars_max: 64 }, Public, "How it was paid."),
    row("order.promo_code", Text { chars_max: 128 }, Public, "Promo code of the order."),
    row("order.disposition_code", Text { chars_max: 64 }, Public, "The platform's code for why an order is reversed."),
    row("commission.revenue", Money, Public, "What the network earns."),
    row("commission.payout", Money, Public, "What the affiliate earns."),
    row("consent.tracking", Bool, Public, "Whether the customer agreed to be tracked; false withholds the conversion."),
    row("consent.ad_user_data", Bool, Public, "Whether user data may be sent for advertising."),
    row("consent.ad_personalization", Bool, Public, "Whether data may be used to personalise advertising."),
    row("consent.tcf", Text { chars_max: 4096 }, Public, "IAB TCF consent string."),
    row("consent.gpp", Text { chars_max: 4096 }, Public, "IAB GPP string."),
    row("consent.us_privacy", Text { chars_max: 16 }, Public, "IAB US privacy string."),
    row("notes.public", Lines { chars_max: 2048 }, Personal, "Note that partners may read."),
    row("notes.private", Lines { chars_max: 2048 }, Personal, "Note that partners may not read."),
    row("custom", Json, Personal, "Anything else; reachable as `custom.a.b`."),
    row("items[].sku", Text { chars_max: 256 }, Public, "Stock-keeping unit."),
    row("items[].name", Text { chars_max: 512 }, Public, "Name of the product."),
    row("items[].category", Text { chars_max: 256 }, Public, "Category of the product."),
    row("items[].subcategory", Text { chars_max: 256 }, Public, "Subcategory of the product."),
    row("items[].brand", Text { chars_max: 256 }, Public, "Brand of the product."),
    row("items[].mpn", Text { chars_max: 128 }, Public, "Manufacturer's part number."),
    row("items[].quantity", Int, Public, "How many."),
    row("items[].price", Money, Public, "Price of one."),
    row("items[].subtotal", Money, Public, "Price of the line, before its discount."),
    row("items[].discount", Money, Public, "Discount on each one."),
    row("items[].total_discount", Money, Public, "Discount on the line."),
    row("items[].discount_rate", Money, Public, "Discount on each one, in per cent."),
    row("items[].margin", Money, Public, "Revenue less costs of the line; may be negative."),
    row("items[].promo_code", Text { chars_max: 128 }, Public, "Promo code of the line."),
    row("items[].delivery_type", Text { chars_max: 64 }, Public, "How it is delivered, such as `INSTORE`."),
    row("items[].custom", Json, Personal, "Anything else about the line; reachable as `item.custom.a.b`."),
];

/// Items of one conversion: an order of more lines is a bulk transfer, and every line is copied into every request.
pub const ITEMS_MAX: usize = 500;
/// Keys of an open map: there are a few dozen ad networks, and a conversion comes from a handful of them.
pub(super) const MAP_KEYS_MAX: usize = 64;
/// Characters of a key of an open map: a network's name.
pub(super) const MAP_KEY_CHARS_MAX: usize = 64;
/// Characters of a text in an open map: the longest click ids in use (`fbclid`, `wbraid`) stay below 500.
pub(super) const MAP_TEXT_CHARS_MAX: usize = 1024;
/// Characters of a URL: landing pages with every tracking parameter reach some 2,000.
pub(super) const URL_CHARS_MAX: usize = 4096;
/// Characters of an e-mail address: RFC 5321 leaves 254 between the angle brackets.
pub(super) const EMAIL_CHARS_MAX: usize = 254;
/// Largest whole number: 2⁵³ − 1, the largest that every JSON reader keeps exactly (RFC 8259, section 6).
pub(super) const INT_MAX: i64 = 9_007_199_254_740_991;
/// Significant digits of an amount: what the decimal type holds for every digit.
pub(super) const MONEY_DIGITS_MAX: usize = 28;

/// How the path of an item's field begins.
pub(super) const ITEM_PREFIX: &str = "items[].";
/// Rows before the first of `items[]`.
pub(super) const ROWS_TOP: usize = rows_top();
/// Rows of `items[]`.
pub(super) const ROWS_ITEM: usize = SCHEMA.len() - ROWS_TOP;
const _: () = assert!(SCHEMA.len() <= 128, "a row is a bit of `Rows`");

const fn row(path: &'static str, kind: Kind, class: Privacy, doc: &'static str) -> Field {
    Field { path, kind, required: false, class, doc }
}

/// The number of the row of exactly this path, at compile time; a path without a row does not compile.
#[expect(clippy::panic, reason = "evaluated by the compiler")]
pub(super) const fn place(path: &str) -> usize {
    let (mut rest, mut row) = (SCHEMA, 0_usize);
    while let [field, later @ ..] = rest {
        if field.path.len() == path.len() && starts_with(field.path, path) {
            return row;
        }
        (rest, row) = (later, row.saturating_add(1));
    }
    panic!("no row of the schema has this path")
}

const fn rows_top() -> usize {
    let (mut rest, mut top, mut items) = (SCHEMA, 0_usize, false);
    while let [field, later @ ..] = rest {
        let item = starts_with(field.path, ITEM_PREFIX);
        assert!(item || !items, "rows of items[] stand last");
        if !item {
            top = top.saturating_add(1);
        }
        (rest, items) = (later, item);
    }
    top
}

const fn starts_with(text: &str, prefix: &str) -> bool {
    let (mut text, mut prefix) = (text.as_bytes(), prefix.as_bytes());
    while let [wanted, later_prefix @ ..] = prefix {
        let [first, later_text @ ..] = text else { return false };
        if *first != *wanted {
            return false;
        }
        (text, prefix) = (later_text, later_prefix);
    }
    true
}
