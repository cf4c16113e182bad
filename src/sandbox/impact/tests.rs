use serde_json::{Value, json};

use super::super::Platform;
use super::super::request::Request;
use super::super::tests::Bench;

const CONVERSIONS: &str = "/Advertisers/IRsandbox0000000001/Conversions";
const ACTIONS: &str = "/Advertisers/IRsandbox0000000001/Actions";
/// `IRsandbox0000000001:sandbox-impact-token`.
const BASIC: (&str, &str) = ("authorization", "Basic SVJzYW5kYm94MDAwMDAwMDAwMTpzYW5kYm94LWltcGFjdC10b2tlbg==");
const ACCEPT: (&str, &str) = ("accept", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

/// *Example request*, without its `IpAddress=`: an empty field is left out.
const EXAMPLE: &[(&str, &str)] = &[
    ("EventTypeId", "12345"),
    ("ClickId", "QiiWXOVnrQ3SQHl24jQjyxBGUkmzfJ3i1VHrWM0"),
    ("CustomerId", "BCZ2WVSH674563PDPYOTM3AXDQ"),
    ("OrderPromoCode", "10OFF-ROCKET"),
    ("EventDate", "2023-12-01T23:55:24-08:00"),
    ("CampaignId", "1000"),
    ("OrderId", "9217374917471"),
    ("OrderDiscount", "5"),
    ("ItemSku1", "12345"),
    ("ItemName1", "Anvil"),
    ("ItemCategory1", "Blacksmithing"),
    ("ItemQuantity1", "1"),
    ("ItemPrice1", "10"),
    ("ItemSku2", "78909"),
    ("ItemName2", "Tennis Balls"),
    ("ItemCategory2", "Sports"),
    ("ItemQuantity2", "6"),
    ("ItemPrice2", "3.14"),
    ("CustomerStatus", "NEW"),
    ("CustomerPostCode", "93101"),
    ("CurrencyCode", "USD"),
    ("CustomerEmail", "7076656fee27c02fd8a1cbd17828c9cf28f2c250"),
];

/// The example with fields replaced, added, or (`None`) taken away.
fn form(changes: &[(&str, Option<&str>)]) -> String {
    let kept = EXAMPLE.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name)).copied();
    let added = changes.iter().filter_map(|(name, value)| value.map(|value| (*name, value)));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(kept.chain(added)).finish()
}

fn post(body: &str) -> Request {
    Request::of("POST", CONVERSIONS, &[BASIC, ACCEPT, FORM], body)
}

fn action(method: &str, body: &str) -> Request {
    Request::of(method, ACTIONS, &[BASIC, ACCEPT, FORM], body)
}

fn queued(number: u64) -> String {
    format!(
        r#"{{"QueuedUri":"/Advertisers/IRsandbox0000000001/APISubmissions/A-00000000-0000-4000-8000-{number:012x}","Status":"QUEUED"}}"#
    )
}

#[track_caller]
fn right(changes: &[(&str, Option<&str>)]) {
    Bench::new(Platform::Impact).accept(&post(&form(changes)), 200, &queued(1));
}

#[track_caller]
fn wrong(changes: &[(&str, Option<&str>)], violation: &str) {
    Bench::new(Platform::Impact).refuse(&post(&form(changes)), 400, &[violation]);
}

/// What became of the newest submission.
fn reason(bench: &Bench, number: u64) -> (String, String) {
    let target = format!("/Advertisers/IRsandbox0000000001/APISubmissions/A-00000000-0000-4000-8000-{number:012x}");
    let ask = || bench.send(&Request::of("GET", &target, &[BASIC, ACCEPT], ""));
    assert!(ask().0.body.contains(r#""Status":"Queued""#), "whoever asks at once is not told");
    let (answer, received) = ask();
    assert_eq!((answer.status, received.violations.len(), received.effect), (200, 0, false), "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["Status"], "Complete");
    (body["Type"].as_str().unwrap().to_owned(), body["ErrorReason"].as_str().unwrap().to_owned())
}

#[test]
fn the_documents_example_is_right() {
    right(&[]);
}

#[test]
fn the_example_is_right_as_flat_json_too() {
    let mut body: Value = EXAMPLE
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    body["ItemQuantity1"] = json!(1);
    body["ItemPrice2"] = json!(3.5);
    body["GiftPurchase"] = json!(true);
    let send = |body: &Value| Request::of("POST", CONVERSIONS, &[BASIC, ACCEPT, JSON], &body.to_string());
    let bench = Bench::new(Platform::Impact);
    bench.accept(&send(&body), 200, &queued(1));
    body["Note"] = Value::Null;
    bench.refuse(&send(&body), 400, &["Note: is null: a field without a value is left out"]);
    body["Note"] = json!("n");
    body["Items"] = json!([{"Sku": "1"}]);
    bench.refuse(&send(&body), 400, &["Items: must be a flat value: items are numbered keys"]);
}

#[test]
fn the_example_as_printed_has_an_empty_address() {
    wrong(&[("IpAddress", Some(""))], "IpAddress: is empty: a field without a value is left out");
}

/// What the example does not show, in the document's order.
const OTHERS: &str = "CustomProfileId=p&CustomClickId=c&UniqueUrl=https://brand.example/&GoogAId=g&AndroidId=a&AppleIfa=a&\
    AppleIfv=a&MediaId=10000&SubId1=s&SubId3=s&SharedId=s&PhoneNumber=8051234567&CallerId=8051234567&\
    CountryCode=US&IpAddress=72.194.216.61&PaymentType=CREDIT_CARD&OrderDiscountRate=10&OrderShipping=5&\
    OrderTax=8&OrderMargin=-30.5&Amount=123&GiftPurchase=false&TrackingConsent=true&\
    LocationId=LOC-12345&LocationName=Resort&LocationType=HOTEL&PropertyId=12345&\
    CustomerCity=Santa Barbara&CustomerCountry=USA&CustomerRegion=AMER&UserAgent=Mozilla/5.0&\
    DeviceMfr=Apple&DeviceModel=iPhone 15&AppPackage=com.acme.app&AppInstallRef=clickid=x&AppVer=1.2.3&\
    DispositionCode=DEFAULT&Note=n&Date1=2022-03-28&Date10=2022-05-21T07:25:00Z&Text1=t&Text50=t&\
    Numeric10=100.5&Money3=1&ItemPromoCode1=P&ItemSubCategory1=S&ItemMpn1=M&ItemBrand1=B&\
    ItemDiscountRate1=10.125&ItemTotalDiscount2=1&ItemDeliveryType1=INSTORE&ItemMargin1=2&\
    ItemText1_50=t&ItemNumeric2_10=1&ItemDate1_1=2022-03-28&ItemMoney1_3=1";

#[test]
fn every_documented_field_is_taken() {
    let others: Vec<(&str, Option<&str>)> =
        OTHERS.split('&').map(|pair| pair.split_once('=').map(|(name, value)| (name, Some(value))).unwrap()).collect();
    right(&others);
    right(&[("EventTypeId", None), ("EventTypeCode", Some("ACME_SALE"))]);
    right(&[("EventTypeId", None), ("ActionTrackerId", Some("12345"))]);
    right(&[("ItemPrice1", None), ("ItemSubTotal1", Some("10"))]);
    right(&[("ItemDiscount1", Some("1"))]);
    let name = "n".repeat(255);
    right(&[("ItemSku1", Some(&name)), ("ItemName1", Some(&name)), ("ItemMpn1", Some(&"m".repeat(64)))]);
}

#[test]
fn a_discount_is_said_once() {
    let bare: Vec<(&str, Option<&str>)> =
        EXAMPLE.iter().filter(|(name, _)| name.starts_with("Item")).map(|(name, _)| (*name, None)).collect();
    let order = |more: &[(&'static str, Option<&'static str>)]| [bare.as_slice(), more].concat();
    let total = ("OrderSubTotalPostDiscount", Some("10"));
    right(&order(&[total, ("OrderDiscount", None)]));
    wrong(&order(&[total]), "OrderDiscount: must not be sent with OrderSubTotalPostDiscount");
    wrong(
        &order(&[total, ("OrderDiscount", None), ("OrderDiscountRate", Some("5"))]),
        "OrderDiscountRate: must not be sent with OrderSubTotalPostDiscount",
    );
    wrong(
        &[("ItemDiscount1", Some("1")), ("ItemDiscountRate1", Some("1"))],
        "ItemDiscount1: at most one of ItemDiscount1, ItemTotalDiscount1 and ItemDiscountRate1 may be sent",
    );
}

#[test]
fn amounts_have_two_decimals_and_names_an_end() {
    for name in ["ItemPrice1", "ItemMargin1", "OrderMargin", "Money1", "ItemMoney1_1"] {
        wrong(&[(name, Some("1.234"))], &format!("{name}: must have at most 2 decimals"));
    }
    for (name, max) in
        [("ItemSku1", 255), ("ItemName1", 255), ("ItemCategory1", 255), ("ItemSubCategory1", 255), ("ItemMpn1", 64)]
    {
        wrong(&[(name, Some(&"x".repeat(max + 1)))], &format!("{name}: must have at most {max} characters"));
    }
}

#[test]
fn the_minimum_is_required() {
    wrong(&[("EventDate", None)], "EventDate: is required");
    wrong(&[("CampaignId", None)], "CampaignId: is required");
    wrong(&[("OrderId", None)], "OrderId: is required");
    let event = "EventTypeId: exactly one of EventTypeId, ActionTrackerId and EventTypeCode must be sent";
    wrong(&[("EventTypeId", None)], event);
    wrong(&[("EventTypeCode", Some("SALE"))], event);
    wrong(
        &[("ClickId", None), ("CustomerId", None), ("OrderPromoCode", None), ("IpAddress", Some("203.0.113.7"))],
        "ClickId: at least one attribution key is required",
    );
    wrong(&[("MediaId", Some("1")), ("MediaPartnerId", Some("1"))], "MediaPartnerId: must not be sent with MediaId");
    wrong(&[("CurrencyCode", None)], "CurrencyCode: is required with monetary fields");
}

#[test]
fn one_wrong_value_is_one_violation() {
    let instant = "EventDate: must be an ISO 8601 date and time with its zone";
    wrong(&[("EventDate", Some("NOW"))], instant);
    wrong(&[("EventDate", Some("2023-12-01T23:55:24"))], instant);
    let id = "must be a whole number from 1, of at most 10 digits";
    wrong(&[("CampaignId", Some("12345678901"))], &format!("CampaignId: {id}"));
    wrong(&[("EventTypeId", Some("SALE"))], &format!("EventTypeId: {id}"));
    let pii = "CustomerId: must not identify: plain e-mail addresses are not permitted";
    wrong(&[("CustomerId", Some("user@example.com"))], pii);
    let digest = "CustomerEmail: must be a lower-case hexadecimal digest of 40 or 64 characters";
    wrong(&[("CustomerEmail", Some("user@example.com"))], digest);
    wrong(&[("CustomerEmail", Some("7076656FEE27C02FD8A1CBD17828C9CF28F2C250"))], digest);
    wrong(&[("CustomerStatus", Some("RETURNING"))], "CustomerStatus: must be one of NEW, EXISTING");
    wrong(&[("CurrencyCode", Some("Dollar"))], "CurrencyCode: must be an ISO 4217 code in capitals");
    wrong(&[("CountryCode", Some("USA"))], "CountryCode: must be an ISO 3166-1 alpha-2 code in capitals");
    wrong(&[("OrderDiscount", Some("5.001"))], "OrderDiscount: must have at most 2 decimals");
    wrong(&[("Amount", Some("1000000"))], "Amount: must have at most 6 digits before the point");
    wrong(
        &[("OrderTax", Some("1,000.00"))],
        "OrderTax: must be a plain decimal: digits, a dot, no exponent, no separators",
    );
    wrong(&[("GiftPurchase", Some("1"))], "GiftPurchase: must be true or false");
    wrong(&[("TrackingConsent", Some("yes"))], "TrackingConsent: must be true or false");
    wrong(&[("Date1", Some("28.03.2022"))], "Date1: must be a date, or a date and time with its zone");
    wrong(&[("Note", Some("None"))], "Note: is the text \"None\": a field without a value is left out");
}

#[test]
fn lengths_are_those_of_the_document() {
    for (name, max) in [
        ("OrderId", 64),
        ("ClickId", 64),
        ("CustomerId", 255),
        ("CustomProfileId", 70),
        ("Note", 255),
        ("SubId1", 255),
        ("SharedId", 255),
        ("PaymentType", 32),
        ("Text1", 64),
        ("ItemText1_1", 64),
    ] {
        right(&[(name, Some(&"ä".repeat(max)))]);
        wrong(&[(name, Some(&"ä".repeat(max + 1)))], &format!("{name}: must have at most {max} characters"));
    }
}

#[test]
fn keys_beyond_the_document_are_refused() {
    for name in [
        "Text51",
        "Text0",
        "Text01",
        "Numeric11",
        "Money4",
        "Date11",
        "SubId4",
        "ItemText1_51",
        "ItemDate1_11",
        "ItemMoney1_4",
        "ItemSku01",
        "ItemSku",
        "ItemSubTotal",
        "ItemColour1",
        "Currency",
        "PromoCode",
        "Latitude",
        "itemsku1",
        "Margin",
    ] {
        wrong(&[(name, Some("1"))], &format!("{name}: is not a field of the document"));
    }
}

#[test]
fn items_are_whole_and_numbered_from_one() {
    wrong(&[("ItemSku2", None)], "ItemSku2: is required with item-level details");
    wrong(&[("ItemCategory1", None)], "ItemCategory1: is required with item-level details");
    wrong(&[("ItemQuantity1", None)], "ItemQuantity1: is required with item-level details");
    let price = "ItemSubTotal1: exactly one of ItemSubTotal1 and ItemPrice1 must be sent";
    wrong(&[("ItemPrice1", None)], price);
    wrong(&[("ItemSubTotal1", Some("10"))], price);
    wrong(&[("ItemQuantity1", Some("1.5"))], "ItemQuantity1: must be a whole number from 0, of at most 10 digits");
    let details = "OrderSubTotalPostDiscount: must not be sent with item-level details";
    wrong(&[("OrderSubTotalPostDiscount", Some("95")), ("OrderDiscount", None)], details);
    let renamed: Vec<(String, Option<&str>)> = EXAMPLE
        .iter()
        .filter(|(name, _)| name.starts_with("Item") && name.ends_with('2'))
        .flat_map(|(name, value)| [((*name).to_owned(), None), (name.replace('2', "3"), Some(*value))])
        .collect();
    let renamed: Vec<(&str, Option<&str>)> = renamed.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    wrong(&renamed, "Item…3: items are numbered from 1 without gaps: 2 is missing");
}

#[test]
fn an_order_without_items_has_its_subtotal() {
    let mut changes: Vec<(&str, Option<&str>)> =
        EXAMPLE.iter().filter(|(name, _)| name.starts_with("Item")).map(|(name, _)| (*name, None)).collect();
    changes.extend([("OrderSubTotalPostDiscount", Some("95")), ("OrderDiscount", None)]);
    right(&changes);
}

#[test]
fn headers_path_and_method_are_held_to_the_document() {
    let bench = Bench::new(Platform::Impact);
    let body = form(&[]);
    let send = |method: &str, target: &str, headers: &[_]| Request::of(method, target, headers, &body);
    let basic = "Authorization: must be Basic with the AccountSID and the AuthToken";
    bench.refuse(&send("POST", CONVERSIONS, &[ACCEPT, FORM]), 401, &[basic]);
    bench.refuse(&send("POST", CONVERSIONS, &[ACCEPT, FORM, ("authorization", "Basic YTpi")]), 401, &[basic]);
    bench.refuse(
        &send("POST", "/Advertisers/other/Conversions", &[BASIC, ACCEPT, FORM]),
        403,
        &["path: must hold the AccountSID of the credential"],
    );
    bench.refuse(
        &send("POST", CONVERSIONS, &[BASIC, FORM]),
        400,
        &["Accept: must be application/json: the default answer is XML"],
    );
    bench.refuse(
        &send("POST", CONVERSIONS, &[BASIC, ACCEPT]),
        400,
        &["Content-Type: must be application/x-www-form-urlencoded"],
    );
    bench.refuse(
        &send("POST", CONVERSIONS, &[BASIC, ACCEPT, FORM, ("ir-version", "v14")]),
        400,
        &["IR-Version: must be a version number"],
    );
    bench.refuse(
        &send("POST", &format!("{CONVERSIONS}?OrderId=1"), &[BASIC, ACCEPT, FORM]),
        400,
        &["query: must be empty"],
    );
    bench.refuse(
        &send("GET", CONVERSIONS, &[BASIC, ACCEPT, FORM]),
        405,
        &["method: must be POST for Conversions, PUT or DELETE for Actions"],
    );
    for target in ["/Conversions", "/Advertisers/IRsandbox0000000001/Orders", "/Mediapartners/IR/Conversions"] {
        bench.refuse(
            &send("POST", target, &[BASIC, ACCEPT, FORM]),
            404,
            &["path: must be /Advertisers/{AccountSID}/Conversions or …/Actions"],
        );
    }
}

#[test]
fn a_form_repeats_no_key_and_is_encoded() {
    let bench = Bench::new(Platform::Impact);
    bench.refuse(&post(&format!("{}&OrderId=2", form(&[]))), 400, &["OrderId: is sent more than once"]);
    bench.refuse(&post(&format!("{}&Note=50%", form(&[]))), 400, &["body: must be percent-encoded"]);
}

#[test]
fn the_error_has_the_documented_shape() {
    let (answer, _) = Bench::new(Platform::Impact).send(&post(&form(&[("OrderMargin", Some("fifty"))])));
    assert_eq!(
        answer.body,
        r#"{"Status":"ERROR","errors":[{"field":"OrderMargin","level":"ERROR","message":"must be a plain decimal: digits, a dot, no exponent, no separators"}]}"#
    );
}

#[test]
fn a_repeat_is_queued_and_fails_later() {
    let bench = Bench::new(Platform::Impact);
    let send = |changes: &[(&str, Option<&str>)]| {
        let (answer, received) = bench.send(&post(&form(changes)));
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("QUEUED"));
        received.effect
    };
    assert!(send(&[]));
    assert!(!send(&[("ClickId", Some("other"))]));
    assert!(send(&[("EventTypeId", Some("999"))]), "an order id is unique to its event type only");
    assert_eq!(reason(&bench, 1), ("Conversion".into(), String::new()));
    assert_eq!(reason(&bench, 2), ("Conversion".into(), "CONV_DUPLICATE".into()));
    assert_eq!(bench.counts().duplicates, 1);
}

#[test]
fn an_action_is_reversed_once_and_only_when_it_exists() {
    let bench = Bench::new(Platform::Impact);
    let reversal = "ActionTrackerId=12345&OrderId=9217374917471&DispositionCode=ITEM_RETURNED";
    let send = || bench.send(&action("DELETE", reversal)).1;
    assert!(!send().effect);
    assert_eq!(reason(&bench, 1), ("Reversal".into(), "ACTION_REF_NOT_FOUND".into()));
    bench.send(&post(&form(&[])));
    let first = send();
    assert_eq!((first.effect, first.operation, first.handle.as_str()), (true, "reversal", "9217374917471"));
    assert!(!send().effect);
}

#[test]
fn an_action_is_modified_to_an_absolute_amount() {
    let bench = Bench::new(Platform::Impact);
    bench.send(&post(&form(&[])));
    let identity = "ActionTrackerId=12345&OrderId=9217374917471&Reason=ORDER_UPDATE";
    let send = |more: &str| bench.send(&action("PUT", &format!("{identity}&{more}"))).1;
    let first = send("Amount=19.99");
    assert_eq!((first.effect, first.violations, first.operation), (true, vec![], "modification"));
    assert!(!send("Amount=19.99").effect, "the same total again changes nothing");
    assert!(send("Amount=9.99").effect);
    assert!(send("Sku=1&Quantity=2&Sku2=3&Quantity2=0&ItemSubTotalDelta2=-5.0&Category2=Sports").effect);
    assert_eq!(send("Sku1=1").violations, ["Sku1: is not a field of the document"]);
    assert_eq!(send("CurrencyCode=USD").violations, ["CurrencyCode: is not a field of the document"]);
}

#[test]
fn a_wrong_change_is_refused() {
    let bench = Bench::new(Platform::Impact);
    let identity = "ActionId: is required unless ActionTrackerId and OrderId are sent together";
    bench.refuse(&action("DELETE", "OrderId=1&DispositionCode=OTHER"), 400, &[identity]);
    bench.refuse(&action("DELETE", "ActionId=1000.4636.158133"), 400, &["DispositionCode: is required"]);
    let (_, received) = bench.send(&action("DELETE", "ActionId=1&DispositionCode=REGRET"));
    assert!(received.violations[0].starts_with("DispositionCode: must be one of REJECTED"));
    bench.refuse(&action("PUT", "ActionId=1&Amount=1"), 400, &["Reason: is required"]);
    let (_, received) = bench.send(&action("PUT", "ActionId=1&Reason=REGRET"));
    assert!(received.violations[0].starts_with("Reason: must be one of ORDER_UPDATE"));
}
