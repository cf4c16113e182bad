//! The floor: serde_json and typed structs.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// As most services read a body whose form they do not check.
pub(crate) fn parse(body: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(body).ok()
}

pub(crate) fn parse_and_write(body: &[u8], bodies: &Bodies<'_>) -> Option<(serde_json::Value, Vec<Vec<u8>>)> {
    Some((parse(body)?, bodies.write()))
}

/// The five bodies before they are written: all texts borrowed.
pub(crate) struct Bodies<'a> {
    thrad: Thrad<'a>,
    impact: Impact<'a>,
    scaleo: Scaleo<'a>,
    trackdesk: Trackdesk<'a>,
    dsp: Dsp<'a>,
}

impl<'a> Bodies<'a> {
    /// Reads them out of the relay's own, in the order of the fields, and makes sure that they are written as they were.
    pub(crate) fn read(documents: impl Iterator<Item = &'a [u8]>) -> Result<Bodies<'a>, Box<dyn std::error::Error>> {
        let documents: Vec<&[u8]> = documents.collect();
        let [thrad, impact, scaleo, trackdesk, dsp] = *documents else { return Err("five bodies are needed".into()) };
        let bodies = Bodies {
            thrad: serde_json::from_slice(thrad)?,
            impact: serde_json::from_slice(impact)?,
            scaleo: serde_json::from_slice(scaleo)?,
            trackdesk: serde_json::from_slice(trackdesk)?,
            dsp: serde_json::from_slice(dsp)?,
        };
        if bodies.write() == documents {
            Ok(bodies)
        } else {
            Err("the floor writes other bodies than the relay".into())
        }
    }

    pub(crate) fn write(&self) -> Vec<Vec<u8>> {
        let Bodies { thrad, impact, scaleo, trackdesk, dsp } = self;
        let written = [
            serde_json::to_vec(thrad),
            serde_json::to_vec(impact),
            serde_json::to_vec(scaleo),
            serde_json::to_vec(trackdesk),
            serde_json::to_vec(dsp),
        ];
        written.into_iter().flatten().collect()
    }
}

/// A struct of members that are left out where they are absent.
macro_rules! body {
    ($(#[$case:meta])? $name:ident { $($member:ident: $ty:ty),* $(,)? }) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        $(#[$case])?
        struct $name<'a> {
            $(#[serde(skip_serializing_if = "Option::is_none")] $member: Option<$ty>,)*
        }
    };
}

/// An amount as its digits.
type Number<'a> = &'a RawValue;

body!(Thrad {
    click_id: &'a str,
    conversion_time: &'a str,
    conversion_value: Number<'a>,
    currency: &'a str,
    event_type: &'a str,
    order_id: &'a str,
    event_id: &'a str,
    page_url: &'a str,
    user_agent: &'a str,
});

body!(#[serde(rename_all = "PascalCase")] Impact {
    campaign_id: Number<'a>,
    event_type_id: Number<'a>,
    event_date: &'a str,
    order_id: &'a str,
    click_id: &'a str,
    customer_id: &'a str,
    order_promo_code: &'a str,
    ip_address: &'a str,
    customer_status: &'a str,
    customer_city: &'a str,
    customer_post_code: &'a str,
    customer_country: &'a str,
    customer_region: &'a str,
    customer_email: &'a str,
    user_agent: &'a str,
    tracking_consent: bool,
    currency_code: &'a str,
    order_sub_total_post_discount: Number<'a>,
    order_shipping: Number<'a>,
    order_tax: Number<'a>,
    payment_type: &'a str,
    item_sku1: &'a str,
    item_name1: &'a str,
    item_category1: &'a str,
    item_quantity1: Number<'a>,
    item_price1: Number<'a>,
    item_sku2: &'a str,
    item_name2: &'a str,
    item_category2: &'a str,
    item_quantity2: Number<'a>,
    item_price2: Number<'a>,
    item_sku3: &'a str,
    item_name3: &'a str,
    item_category3: &'a str,
    item_quantity3: Number<'a>,
    item_price3: Number<'a>,
});

body!(Scaleo {
    click_id: &'a str,
    amount: Number<'a>,
    conv_status: &'a str,
    timestamp: &'a str,
    adv_order_id: &'a str,
    adv_user_id: &'a str,
    promo_code: &'a str,
    email: &'a str,
    firstname: &'a str,
    lastname: &'a str,
    city: &'a str,
    region: &'a str,
    country: &'a str,
    postcode: &'a str,
    phone: &'a str,
    ip: &'a str,
    conversion_referer_url: &'a str,
});

body!(#[serde(rename_all = "camelCase")] Trackdesk {
    conversion_type_code: &'a str,
    cid: &'a str,
    amount: Amount<'a>,
    currency: Currency<'a>,
    external_id: &'a str,
    customer_id: &'a str,
    status: &'a str,
});

body!(Amount { value: &'a str });

body!(Currency { code: &'a str });

body!(Dsp {
    advertiser_id: Number<'a>,
    data_source_key: &'a str,
    conversion_type: &'a str,
    event_id: &'a str,
    order_id: &'a str,
    timestamp: &'a str,
    value: Number<'a>,
    currency: &'a str,
    user_agent: Agent<'a>,
    ids: Vec<Id<'a>>,
});

body!(Agent { browser: &'a str, operating_system: &'a str });

body!(Id { id: &'a str, name: &'a str });
