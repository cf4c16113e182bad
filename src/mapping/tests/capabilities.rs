//! What destinations ask of the language, one case each: what is written, and the bytes that are sent.
//!
//! The numbers are those of the list of capabilities that the vendors' documents were boiled down to: request line (R), values
//! (V), formats (F), structure (S), rules (L) and answers (P).

use super::*;

const ORDER: &str = r#"{
  "event_id": "e-1", "order_id": "O-1", "time": "2026-05-26T12:34:56.789+02:00", "value": "99.90", "currency": "EUR",
  "status": "approved", "consent": {"tracking": true},
  "click_ids": {"impact": "imp-1"}, "page": {"url": "https://shop.example/t?ttclid=a%20b&im_ref=r1"},
  "customer": {"id": "c 7", "email": "Ada@Example.com", "phone": "+1 (415) 555-2671", "city": "St. Gällen", "country": "CH"},
  "device": {"user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36"},
  "order": {"gift": true, "shipping": "4.50", "promo_code": "SPRING"},
  "items": [{"sku": "A|1", "name": "Ball", "quantity": 2, "price": "10.00", "discount": "0.5"},
            {"sku": "B", "quantity": 1, "price": "5"}],
  "custom": {"cookies": "_fbp=fb.1.2; sid=x", "hashed": "B4C9A289323B21A01C3E940F150EB9B8C542587F1ABFD8F0E1CC1FFC5E475514",
             "coupons": ["A", "B"], "internal": 1, "plan": "gold", "raw": {"a": [1.50, null]}, "note": "a  b\u00a0c",
             "thrad": {"seat": 3, "secret_note": "no", "color": "red"}}
}"#;

/// One line of a map.
enum Is {
    One(&'static str),
    /// A list of expressions.
    List(&'static [&'static str]),
    /// A list of inline tables.
    Tables(&'static [&'static [(&'static str, &'static str)]]),
}

use Is::{List, One, Tables};

fn source(encoding: Encoding, method: &str, url: &str, lines: &[(&str, Is)]) -> RequestSource {
    let line = |(target, is): &(&str, Is)| MapLine {
        target: text(target),
        source: match is {
            One(expression) => MapSource::Expr(text(expression)),
            List(parts) => MapSource::List(parts.iter().map(|part| text(part)).collect()),
            Tables(tables) => {
                let table = |table: &&[(&str, &str)]| table.iter().map(|(key, is)| (text(key), text(is))).collect();
                MapSource::Entries(tables.iter().map(table).collect())
            }
        },
    };
    RequestSource {
        method: text(method),
        url: text(url),
        origin: None,
        headers: Vec::new(),
        query: Vec::new(),
        encoding,
        map: lines.iter().map(line).collect(),
        auth: None,
        rules: RulesSource::default(),
    }
}

fn render(source: &RequestSource) -> Result<Request, Unmappable> {
    let template = RequestTemplate::compile(source, &constants()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    with_scope(ORDER, |scope| template.render(scope, Secrets::Revealed))
}

fn body(request: &Request) -> &str {
    std::str::from_utf8(&request.body).expect("UTF-8")
}

/// As a JSON body.
#[track_caller]
fn json(lines: &[(&str, Is)], expected: &str) {
    let request = render(&source(Encoding::Json, "POST", "https://px.example.com/", lines)).expect("a request");
    assert_eq!(body(&request), expected);
}

/// As a form body, and as a query, which differ in their blanks alone.
#[track_caller]
fn flat(lines: &[(&str, Is)], expected: &str) {
    let request = render(&source(Encoding::Form, "POST", "https://px.example.com/", lines)).expect("a request");
    assert_eq!(body(&request), expected);
    let request = render(&source(Encoding::None, "GET", "https://px.example.com/", lines)).expect("a request");
    assert_eq!(request.url, format!("https://px.example.com/?{}", expected.replace('+', "%20")));
}

/// One expression, as the JSON that it is sent as.
#[track_caller]
fn sent(expression: &'static str, expected: &str) {
    json(&[("x", One(expression))], &format!(r#"{{"x":{expected}}}"#));
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut RulesSource), lines: &[(&str, Is)], expected: &str) {
    let mut source = source(Encoding::Form, "POST", "https://px.example.com/", lines);
    change(&mut source.rules);
    assert_eq!(render(&source).expect_err("it is refused").to_string(), expected);
}

fn texts(names: &[&str]) -> Vec<Text> {
    names.iter().map(|name| text(name)).collect()
}

#[test]
fn r_methods_urls_encodings_and_headers() {
    // R1: any method, a body with DELETE. R2: constants and fields of the event in path and query, the map's query behind.
    let lines = [("OrderId", One("order_id"))];
    let url = "https://px.example.com/v{vars.goal}/{customer.id}?src={order_id}";
    let request = render(&source(Encoding::Form, "DELETE", url, &lines)).expect("a request");
    assert_eq!((request.method.as_str(), body(&request)), ("DELETE", "OrderId=O-1"));
    assert_eq!(request.url, "https://px.example.com/v7/c%207?src=O-1");
    let request = render(&source(Encoding::None, "PUT", url, &lines)).expect("a request");
    assert_eq!(request.url, "https://px.example.com/v7/c%207?src=O-1&OrderId=O-1");
    // R4: one mapping in any encoding.
    json(&lines, r#"{"OrderId":"O-1"}"#);
    flat(&lines, "OrderId=O-1");
    // R5: static and templated headers.
    let mut source = source(Encoding::Json, "POST", "https://px.example.com/", &lines);
    source.headers.push((text("IR-Version"), text("15")));
    source.headers.push((text("Idempotency-Key"), text("{meta.merchant}-{order_id}")));
    let http = render(&source).expect("a request").to_http();
    assert!(http.contains("ir-version: 15\n") && http.contains("idempotency-key: acme-O-1\n"), "{http}");
}

#[test]
fn r_operations_are_chosen_by_a_condition() {
    // R3, L1: event type, consent, a click id, a currency in a set.
    let condition = "kind == 'conversion' && event_type in ['purchase_completed', 'signup'] && consent.tracking \
                     && (click_ids.impact || click_ids.thrad) && currency in ['EUR', 'USD'] && !test";
    let compiled = Condition::compile(&text(condition), &constants()).expect("it is right");
    assert!(with_scope(ORDER, |scope| compiled.holds(scope)));
}

#[test]
fn v_where_values_come_from() {
    // V1: a path. V2: ordered fallbacks. V3: a constant of its own JSON type. V4: a setting of the destination.
    sent("customer.email", r#""Ada@Example.com""#);
    sent("click_ids.gclid ?? custom.none ?? click_ids.impact", r#""imp-1""#);
    json(&[("a", One("12")), ("b", One("'12'")), ("c", One("true"))], r#"{"a":12,"b":"12","c":true}"#);
    sent("vars.goal", "7");
    // V5: a text of several values.
    sent("concat('urn:lla:conversion:', vars.goal | string)", r#""urn:lla:conversion:7""#);
    sent("concat('SALE:', value | decimal(2) | string)", r#""SALE:99.90""#);
    // V6: a table with a default, or without: then nothing.
    sent("event_type | lookup({lead_created: 'Lead'}) ?? 'Purchase'", r#""Purchase""#);
    json(&[("x", One("event_type | lookup({lead_created: 'Lead'})"))], "{}");
    sent(
        "status | lookup({approved: 'CONVERSION_STATUS_APPROVED', hold: 'CONVERSION_STATUS_PENDING'})",
        r#""CONVERSION_STATUS_APPROVED""#,
    );
    // V7: a stable id.
    sent(
        "concat(meta.merchant, '/', order_id, '/', event_type) | sha256 | truncate(32)",
        r#""224d5c1338e4ae7eaeeeb93bcf9565f0""#,
    );
    // V8: a parameter of a URL, a cookie of a text.
    sent("page.url | url_param('ttclid')", r#""a b""#);
    sent("custom.cookies | cookie('_fbp')", r#""fb.1.2""#);
    // V9: when it happened, when it came.
    json(
        &[("at", One("time | unix")), ("got", One("meta.received_at | unix"))],
        r#"{"at":1779791696,"got":1780000000}"#,
    );
    // V10: what else there is, all, only some, or all but some.
    json(&[("*", One("custom.thrad | pick(['seat', 'color'])"))], r#"{"seat":3,"color":"red"}"#);
    json(&[("seat", One("1")), ("*", One("custom.thrad | without(['secret_note'])"))], r#"{"seat":1,"color":"red"}"#);
}

#[test]
fn f_numbers() {
    // F1: as text, number, whole number, true or false, raw JSON; exact, with a fixed scale, with and without zeros.
    sent("value", "99.90");
    sent("value | string", r#""99.90""#);
    sent("value | decimal(4)", "99.9000");
    sent("value | decimal(0) | string", r#""100""#);
    sent("value | strip_zeros", "99.9");
    sent("items[].quantity | nth(0) | string", r#""2""#);
    sent("custom.internal | int", "1");
    sent("custom.raw", r#"{"a":[1.50,null]}"#);
    sent("custom.raw | json", r#""{\"a\":[1.50,null]}""#);
    // F2: minor units and micros, negated, summed, multiplied, subtracted, zero for nothing.
    sent("value | minor_units", "9990");
    sent("value | micros", "99900000");
    sent("value | negate", "-99.90");
    sent("sum(value, order.shipping, order.tax ?? 0)", "104.40");
    sent("difference(value, order.shipping)", "95.40");
    sent("value | sub(0.90) | mul(2)", "198.00");
    sent("each(product(difference(item.price, item.discount ?? 0), item.quantity)) | total", "24.00");
    sent("order.tax ?? 0", "0");
}

#[test]
fn f_times() {
    // F3.
    sent("time | rfc3339(0)", r#""2026-05-26T10:34:56Z""#);
    sent("time | rfc3339(3)", r#""2026-05-26T10:34:56.789Z""#);
    sent("time | string", r#""2026-05-26T12:34:56.789+02:00""#);
    sent("time | unix", "1779791696");
    sent("time | unix_ms | string", r#""1779791696789""#);
    sent("time | unix_us", "1779791696789000");
    sent("time | strftime('%Y-%m-%d %H:%M:%S', vars.zone)", r#""2026-05-26 12:34:56""#);
    sent("time | strftime('%Y-%m-%d %H:%M:%S%:z', 'America/New_York')", r#""2026-05-26 06:34:56-04:00""#);
    sent("time | strftime('%Y%m%d_%H%M')", r#""20260526_1034""#);
    sent("time | strftime('%F')", r#""2026-05-26""#);
}

#[test]
fn f_texts() {
    // F4: case, replacements, digits, blanks, ends, lengths, padding, parts, lists, encodings.
    sent("customer.email | trim | lower | upper", r#""ADA@EXAMPLE.COM""#);
    sent("custom.note | replace_re('\\s+', ' ')", r#""a b c""#);
    sent("custom.note | replace_re('\\s+', '')", r#""abc""#);
    sent("customer.phone | digits | prefix('00') | suffix('#')", r##""0014155552671#""##);
    sent("customer.city | truncate(6)", r#""St. Gä""#);
    sent("customer.city | truncate_bytes(6)", r#""St. G""#);
    sent("vars.goal | string | pad_left(5, '0')", r#""00007""#);
    sent("order_id | substring(2)", r#""1""#);
    sent("custom.cookies | split(';') | nth(1) | trim", r#""sid=x""#);
    sent("customer.id | url_encode", r#""c%207""#);
    sent("order_id | base64", r#""Ty0x""#);
    sent("order_id | hex", r#""4f2d31""#);
}

#[test]
fn f_digests_and_what_comes_before_them() {
    // F5: SHA-1, SHA-256, SHA-512, MD5, hex and base64, salted, keyed, and what is hashed already.
    sent("customer.email | lower | sha1", r#""3ca93ad87e0bb737e653b66ad67731e86bbc050f""#);
    sent("customer.email | lower | md5", r#""3e3417d7ef77d5932a6734b916515ed5""#);
    sent("customer.email | lower | sha256('base64')", r#""tfyF5VdV+eDQMKEKtEKbaylEhV+aDWAHf+gyvsvEHXI=""#);
    sent("customer.email | lower | sha512 | truncate(16)", r#""8618c684a678c6cf""#);
    sent(
        "concat('pepper', customer.email | lower) | sha256",
        r#""f3de2501fc91c4a9ae4d4ed50bef931c9901aabe5ea36979890a69204e7eb2b1""#,
    );
    sent(
        "customer.email | lower | hmac_sha256(secrets.token)",
        r#""5eb7dc50710c841aa71e5b60291e5ecb10a1099eaef8eb5d9943d881ac8b00de""#,
    );
    sent(
        "(custom.hashed | lower | extract('^[0-9a-f]{64}$')) ?? (custom.hashed | lower | sha256)",
        r#""b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514""#,
    );
    sent(
        "(custom.plan | lower | extract('^[0-9a-f]{64}$')) ?? (custom.plan | lower | sha256 | truncate(4))",
        r#""24d7""#,
    );
    // F6: each destination's own form of an address, a telephone number, a name.
    sent(
        "customer.email | email_canonical | sha256",
        r#""b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72""#,
    );
    sent("customer.phone | e164 | sha256", r#""cb6880e416769253645cb9c6b8989154bf66a56a77fc14c81fb1019663cbb928""#);
    sent(
        "customer.phone | e164 | digits | sha256",
        r#""758fbf68945f21c416814c539ab578876c8d98fb69e6da692def92cd52417fe0""#,
    );
    sent(
        "customer.city | lower | alphanumeric | sha256",
        r#""40ef428e9912d1f5e408d80bb53cff004a1a4508d2e202762c42e9442edb144f""#,
    );
    // F7: spellings of true and false. F8: a user agent.
    json(
        &[
            ("a", One("order.gift")),
            ("b", One("order.gift | bool(1, 0)")),
            ("c", One("order.gift | bool('yes', 'no')")),
        ],
        r#"{"a":true,"b":1,"c":"yes"}"#,
    );
    json(
        &[("b", One("device.browser ?? (device.user_agent | ua_browser)")), ("o", One("device.user_agent | ua_os"))],
        r#"{"b":"Chrome","o":"Mac OS X"}"#,
    );
}

#[test]
fn s_objects_arrays_and_names() {
    // S1: the same dotted name nests, or stands as it is.
    json(&[("a.b", One("order_id"))], r#"{"a":{"b":"O-1"}}"#);
    json(&[(r"a\.b", One("order_id"))], r#"{"a.b":"O-1"}"#);
    flat(&[("a.b", One("order_id"))], "a.b=O-1");
    // S2: an object for each item.
    json(
        &[("contents[].id", One("item.sku")), ("contents[].price", One("item.price"))],
        r#"{"contents":[{"id":"A|1","price":10.00},{"id":"B","price":5}]}"#,
    );
    // S3: numbered names, from 1 or 0, with none for the first, the number anywhere.
    flat(
        &[("ItemSku{i}", One("item.sku")), ("ItemText{i}_1", One("item.name")), ("bd[{i0}]", One("item.quantity"))],
        "ItemSku1=A%7C1&ItemText1_1=Ball&bd%5B0%5D=2&ItemSku2=B&bd%5B1%5D=1",
    );
    flat(&[("Sku{i2}", One("item.sku"))], "Sku=A%7C1&Sku2=B");
    json(&[("AMT{i}", One("item.price"))], r#"{"AMT1":10.00,"AMT2":5}"#);
    // S4: parallel lists, each entry encoded, no entry without its place, nothing when all are empty.
    flat(
        &[
            ("skulist", One("items[].sku | url_encode | join('|', 'keep')")),
            ("namelist", One("items[].name | join('|', 'keep')")),
            ("amtlist", One("each(product(item.price, item.quantity) | minor_units) | join('|', 'keep')")),
            ("catlist", One("items[].category | join('|', 'keep')")),
        ],
        "skulist=A%257C1%7CB&namelist=Ball%7C&amtlist=2000%7C500",
    );
}

#[test]
fn s_lists_of_what_there_is() {
    // S5: entries of separate sources, those that are there: pairs, or objects of one key.
    json(
        &[(
            "ids",
            Tables(&[&[("id", "customer.id"), ("name", "'CustomerId'")], &[("id", "device.idfa"), ("name", "'IDFA'")]]),
        )],
        r#"{"ids":[{"id":"c 7","name":"CustomerId"}]}"#,
    );
    json(
        &[(
            "userIdentifiers",
            Tables(&[
                &[("hashedEmail", "customer.email | lower | sha256 | truncate(4)")],
                &[("hashedPhone", "customer.phone_sha256")],
            ]),
        )],
        r#"{"userIdentifiers":[{"hashedEmail":"b5fc"}]}"#,
    );
    // S6: one value in an array, a list of values, and those of several that are there.
    json(&[("em[]", One("order_id"))], r#"{"em":["O-1"]}"#);
    json(&[("codes", One("custom.coupons"))], r#"{"codes":["A","B"]}"#);
    json(&[("ids", List(&["customer.id", "device.idfa", "order_id"]))], r#"{"ids":["c 7","O-1"]}"#);
    json(&[("ids", List(&["device.idfa", "device.gaid"]))], "{}");
    json(&[("totals", One("each(product(item.price, item.quantity))"))], r#"{"totals":[20.00,5]}"#);
    // S7: an envelope, and constants beside it.
    json(
        &[("data[0].event", One("'Purchase'")), ("data[0].ids", List(&["order_id"])), ("partialFailure", One("true"))],
        r#"{"data":[{"event":"Purchase","ids":["O-1"]}],"partialFailure":true}"#,
    );
    json(&[("[0].a", One("order_id"))], r#"[{"a":"O-1"}]"#);
}

#[test]
fn s_nothing_null_and_the_empty_text() {
    // S8: left out, unless asked for.
    json(
        &[("a", One("order.tax")), ("b", One("order.tax ?? null")), ("c", One("order.tax ?? ''"))],
        r#"{"b":null,"c":""}"#,
    );
    json(&[("a", One("value ?? null")), ("b", One("order_id ?? ''"))], r#"{"a":99.90,"b":"O-1"}"#);
    flat(&[("a", One("order.tax")), ("c", One("order.tax ?? ''")), ("d", One("order_id"))], "c=&d=O-1");
    json(&[("items[].n", One("item.name ?? null"))], r#"{"items":[{"n":"Ball"},{"n":null}]}"#);
    json(&[("em[]", One("order.tax ?? null"))], r#"{"em":[null]}"#);
    json(&[("ids", List(&["device.idfa ?? null", "order_id"]))], r#"{"ids":[null,"O-1"]}"#);
    // S9: no empty object or array; one that holds a null is not empty.
    json(
        &[("a.b.c", One("order.tax")), ("d[].e", One("item.brand")), ("f.g", One("order.tax ?? null"))],
        r#"{"f":{"g":null}}"#,
    );
}

#[test]
fn l_rules_over_fields() {
    let lines = || [("ClickId", One("click_ids.gclid")), ("CustomerId", One("customer.guid")), ("Total", One("value"))];
    // L2, L6: a required field; refused with its name, or the line is left out by `??`.
    refuses(|_| {}, &[("Tax", One("order.tax !"))], "Tax: required, and absent");
    // L3: at least one of a group. L4: exactly one.
    let group = vec![texts(&["ClickId", "CustomerId"])];
    refuses(
        |rules| rules.require_any = group,
        &lines(),
        "ClickId, CustomerId: one of them is required, none is present",
    );
    let prices = [("Price{i}", One("item.price")), ("Sub{i}", One("item.discount"))];
    refuses(
        |rules| rules.exactly_one = vec![texts(&["Price{i}", "Sub{i}"])],
        &prices,
        "Price{i}, Sub{i}: exactly one of them may stand, more are present (item 1)",
    );
    // L5: required with items.
    refuses(
        |rules| rules.required_with = vec![(text("items"), texts(&["Name{i}"]))],
        &[("Sku{i}", One("item.sku")), ("Name{i}", One("item.name"))],
        "Name{i}: required with `items`, and absent (item 2)",
    );
    // L7: a longest length. L8: one of some words.
    refuses(
        |rules| rules.max_length = vec![(text("City"), 3, Over::Reject)],
        &[("City", One("customer.city"))],
        "City: longer than 3 characters",
    );
    flat(&[("City", One("customer.city | truncate(3)"))], "City=St.");
    refuses(
        |_| {},
        &[("Type", One("event_type | lookup({signup: 'S', lead_created: 'L'}) !"))],
        "Type: required, and absent",
    );
    // A null is no value to a rule.
    let blanks = [("ClickId", One("click_ids.gclid ?? ''")), ("CustomerId", One("customer.guid ?? ''"))];
    let group = vec![texts(&["ClickId", "CustomerId"])];
    refuses(
        |rules| rules.require_any = group,
        &blanks,
        "ClickId, CustomerId: one of them is required, none is present",
    );
}

#[test]
fn p_answers_are_judged_and_read() {
    let answer = |body: &str| super::conditions::answer(200, body);
    #[track_caller]
    fn judged(condition: &str, answer: &Answer) {
        assert!(AnswerCondition::compile(&text(condition)).expect("it is right").holds(answer), "{condition}");
    }
    // P2: paths without regard to case, present, equal, among, by pattern; raw text and XML by pattern.
    let json = answer(r#"{"Status":"QUEUED","QueuedUri":"/Actions/9","errors":["E1"]}"#);
    judged("body.status == 'QUEUED'", &json);
    judged("body.queueduri && body.status in ['OK', 'QUEUED'] && 'E1' in body.errors", &json);
    judged("matches(body.queueduri, '^/Actions/[0-9]+$')", &json);
    judged("matches(body, '(?i)^ok\\b')", &answer("OK 12"));
    judged("matches(body, '<status>\\s*ok\\s*</status>')", &answer("<r><status> ok </status></r>"));
    // P6: what is kept of an answer.
    let taken = |source: &str, answer: &Answer| Capture::compile(&text(source)).expect("it is right").take(answer);
    assert_eq!(taken("body.QueuedUri", &json).as_deref(), Some("/Actions/9"));
    assert_eq!(taken("body.QueuedUri | extract('[0-9]+$')", &json).as_deref(), Some("9"));
    assert_eq!(taken("body | extract('id=([0-9]+)')", &answer("OK id=42")).as_deref(), Some("42"));
}
