//! The slot that a platform deduplicates on: always there, whole, and another one for each order.

use super::*;

impl Written {
    fn slot(mut self, slot: &str) -> Written {
        self.source.given.slot = Some(text(&mut self.file, slot));
        self
    }
}

const RETRY: &str = "a retry is a second sale";

#[test]
fn a_slot_stands_in_every_request() {
    #[track_caller]
    fn check(when: &str, source: &str, expected: &str) {
        for encoding in [Encoding::Json, Encoding::Form, Encoding::None] {
            let written = Written::new(encoding).map(&[("x", source)]).slot("map.x");
            let written = if when.is_empty() { written } else { written.when(when) };
            assert_eq!(written.fault(), expected, "{source} when {when} as {encoding:?}");
        }
    }
    let absent = format!("order_id: `map.x` is deduplicated on, and `order_id` may be absent: {RETRY}");
    check("", "order_id", &absent);
    check("value || order_id", "order_id", &absent);
    check("order_id", "order_id", "-");
    check("", "order_id !", "-");
    check("", "order_id ?? event_id", "-");
    check("", "meta.dedup_key", "-");
    check("", "order_id ?? ''", &absent.replacen("order_id:", "order_id ?? '':", 1));
    check(
        "",
        "page.url | url_param('order')",
        &absent.replace("order_id", "page.url").replacen("page.url:", "page.url | url_param('order'):", 1),
    );
    check(
        "page.url",
        "page.url | url_param('order')",
        &format!(
            "page.url | url_param('order'): `map.x` is deduplicated on, and `url_param` gives nothing of some values: {RETRY}"
        ),
    );
    let query = Written::new(Encoding::Json).map(&[("y", "kind")]).query(&[("x", "order_id")]);
    assert_eq!(query.slot("query.x").fault(), absent.replace("map.x", "query.x"));
    let group = Written::new(Encoding::Json).map(&[("x", "order_id")]).require_any(&["x"]);
    assert_eq!(group.slot("map.x").fault(), "-");
    let items = Written::new(Encoding::Json).map(&[("x[].id", "item.sku !")]).slot("map.x[].id");
    assert_eq!(items.fault(), "x[].id: `map.x[].id` is deduplicated on, and is made for each item");
}

#[test]
fn a_header_that_is_a_slot_stands_in_every_request_and_is_a_template() {
    #[track_caller]
    fn check(value: &str, expected: &str) {
        let written = Written::new(Encoding::Json).map(&[("x", "kind")]).header("Idempotency-Key", value);
        assert_eq!(written.slot("header.idempotency-key").fault(), expected, "{value}");
    }
    let absent = format!("`header.idempotency-key` is deduplicated on, and `order_id` may be absent: {RETRY}");
    check("x-{order_id}", &format!("x-{{order_id}}: {absent}"));
    check("x-{order_id !}", "-");
    check("x-{order_id ?? event_id}", "-");
    check("{meta.dedup_key}", "-");
    let same = "`header.idempotency-key` is deduplicated on, and is the same for every conversion";
    for fixed in ["meta.dedup_key", "{{meta.dedup_key}}", "k-1", "{vars.account}"] {
        check(fixed, &format!("{fixed}: {same}"));
    }
    let help = |value: &str| {
        let written = Written::new(Encoding::Json).map(&[("x", "kind")]).header("Idempotency-Key", value);
        let faults = written.slot("header.Idempotency-Key").compile().expect_err("it is refused");
        faults[0].help.clone().unwrap_or_default()
    };
    assert_eq!(help("order_id"), "a header is a template: write `{order_id}`");
    assert_eq!(help("{{meta.dedup_key}}"), "a header is a template: write `{meta.dedup_key}`");
    assert_eq!(help("k-1"), "a header is a template: write `{meta.dedup_key}`");
}

#[test]
fn a_slot_tells_one_order_from_another() {
    #[track_caller]
    fn check(source: &str, expected: &str) {
        let written = Written::new(Encoding::Json).map(&[("x", source)]).slot("map.x");
        assert_eq!(written.fault(), expected, "{source}");
    }
    let same = "`map.x` is deduplicated on, and is the same for every conversion";
    check("'k-1'", &format!("'k-1': {same}"));
    check("vars.account", &format!("vars.account: {same}"));
    for (source, shared) in [
        ("kind", "kind"),
        ("event_type", "event_type"),
        ("currency !", "currency"),
        ("value | string !", "value"),
        ("customer.country !", "customer.country"),
        ("consent.tcf !", "consent.tcf"),
        ("meta.merchant", "meta.merchant"),
        ("meta.received_at", "meta.received_at"),
        ("event_type ?? order_id", "event_type"),
        ("items[].sku | join(',') !", "item.sku"),
        ("concat('o-', kind)", "kind"),
        ("order_id ?? 'none'", "'none'"),
        ("order_id | default('none')", "'none'"),
        ("concat('o-', order_id ?? 'none')", "'none'"),
        ("(order_id ?? 'none') | sha256", "'none'"),
        ("(order_id ?? 'none') | prefix('o-')", "'none'"),
        ("(order_id | default('none')) | sha256", "'none'"),
        ("customer.id ?? 'none'", "'none'"),
    ] {
        check(source, &format!("{source}: `map.x` is deduplicated on, and `{shared}` {OF_MANY}"));
    }
    let computed = "sum(value, 1) | string !";
    check(computed, &format!("{computed}: `map.x` is deduplicated on, and a computed number {OF_MANY}"));
    for named in ["event_id ?? order_id", "concat(kind, '-', event_id)", "order_id ?? customer.id !", "custom.n !"] {
        check(named, "-");
    }
    let given = Written::new(Encoding::Json).map(&[("x", "order_id ?? 'none'")]).slot("map.x");
    assert_eq!(given.when("order_id").fault(), "-", "the stand-in is never used");
    let few = Written::new(Encoding::Json).map(&[("x", "custom.n !")]).slot("map.x").when("custom.n in ['a', 'b']");
    assert_eq!(few.fault(), format!("custom.n !: `map.x` is deduplicated on, and `custom.n` {OF_MANY}"));
    check("event_id ?? 'none'", "-");
    let url = |url: &str| Written::new(Encoding::Json).map(&[("y", "kind")]).url(url).slot("query.id").fault();
    assert_eq!(url("https://px/?id={order_id}"), "-");
    assert_eq!(
        url("https://px/?id=order_id"),
        "https://px/?id=order_id: `query.id` is deduplicated on, and is the same for every conversion"
    );
}

#[test]
fn a_template_that_is_a_slot_tells_one_order_from_another() {
    #[track_caller]
    fn check(value: &str, wrong: &str) {
        let expected = |place: &str, slot: &str| match wrong {
            "-" => "-".to_owned(),
            wrong => format!("{place}: `{slot}` is deduplicated on, and {wrong}"),
        };
        let written = || Written::new(Encoding::Json).map(&[("x", "kind")]);
        let header = written().header("Key", value).slot("header.key");
        assert_eq!(header.fault(), expected(value, "header.key"), "{value}");
        let url = format!("https://px/?a={{vars.account}}&id={value}&b=1");
        let parameter = written().url(&url).slot("query.id");
        assert_eq!(parameter.fault(), expected(&url, "query.id"), "{value}");
        let query = written().auth_query("id", value).slot("query.id");
        assert_eq!(query.fault(), expected(value, "query.id"), "{value}");
        let header = written().auth_header("Key", value).slot("header.key");
        assert_eq!(header.fault(), expected(value, "header.key"), "{value}");
        for credential in [written().bearer(value), written().basic(value, "p")] {
            let (fault, slot) = (credential.slot("header.authorization").fault(), "header.authorization");
            assert_eq!(fault, expected(value, slot), "{value}");
        }
    }
    check("{order_id ?? 'none'}", &format!("`'none'` {OF_MANY}"));
    check("{order_id | default('none')}", &format!("`'none'` {OF_MANY}"));
    check("o-{kind}", &format!("`kind` {OF_MANY}"));
    check("o-{order_id ?? kind}", &format!("`kind` {OF_MANY}"));
    check("{meta.merchant}", &format!("`meta.merchant` {OF_MANY}"));
    check("{event_id | truncate(20)}-{order_id ?? kind}", &format!("`truncate` {ONE_OF_TWO}"));
    check("{event_id | upper | replace('&','n')}", &format!("`upper` {ONE_OF_TWO}"));
    check("{kind}-{event_id}", "-");
    check("o-{event_id | sha256 | truncate(16)}", "-");
    // Braces may hold what looks like the query's signs.
    let url = |url: &str| Written::new(Encoding::Json).map(&[("y", "kind")]).url(url).slot("query.id").fault();
    let cut =
        "https://{vars.unset ?? 'px'}.example.com/{event_id | replace('?', '&id=') !}/e?id={event_id | truncate(6)}";
    assert_eq!(url(cut), format!("{cut}: `query.id` is deduplicated on, and `truncate` {ONE_OF_TWO}"));
    assert_eq!(url("https://px/{event_id | truncate(6)}?id={event_id}"), "-");
    assert_eq!(url("https://px/?%69d={event_id}"), "-");
    let fixed = "{vars.endpoint}&id=1&x={event_id}";
    assert_eq!(url(fixed), format!("{fixed}: `query.id` is deduplicated on, and is the same for every conversion"));
    assert_eq!(url("{vars.endpoint}&id={event_id}"), "-");
    let brought = Written::new(Encoding::Json).map(&[("y", "kind")]).url("{vars.endpoint}&x={event_id}");
    let same = "{vars.endpoint}&x={event_id}: `query.src` is deduplicated on, and is the same for every conversion";
    assert_eq!(brought.slot("query.src").fault(), same);
}

const OF_MANY: &str = "tells no order from another";

/// Expressions, and the filter of each that makes one of two orders.
#[track_caller]
fn keep_apart(rows: &[(&str, &str)]) {
    for (source, filter) in rows {
        let written = Written::new(Encoding::Json).map(&[("x", source)]).slot("map.x");
        let expected = match *filter {
            "-" => "-".to_owned(),
            filter => format!("{source}: `map.x` is deduplicated on, and `{filter}` {ONE_OF_TWO}"),
        };
        assert_eq!(written.fault(), expected, "{source}");
    }
}

#[test]
fn a_slot_keeps_two_orders_apart_whatever_its_filters() {
    keep_apart(&[
        ("event_id | truncate(20)", "truncate"),
        ("event_id | truncate(127)", "truncate"),
        ("event_id | truncate(128)", "-"),
        ("(order_id ?? event_id) | truncate(255) !", "truncate"),
        ("(order_id ?? event_id) | truncate(256)", "-"),
        ("concat('o-', event_id) | truncate(129)", "truncate"),
        ("concat('o-', event_id) | truncate(130)", "-"),
        ("event_id | truncate_bytes(511)", "truncate_bytes"),
        ("event_id | truncate_bytes(512) !", "-"),
        ("event_id | substring(1) !", "substring"),
        ("event_id | substring(0, 128) !", "-"),
        ("meta.dedup_key | truncate(64)", "truncate"),
        ("event_id | lower", "lower"),
        ("event_id | upper", "upper"),
        ("event_id | digits !", "digits"),
        ("event_id | alphanumeric !", "alphanumeric"),
        ("event_id | replace('shop-', '') !", "replace"),
        ("event_id | replace_re('^shop-', '') !", "replace_re"),
        ("event_id | extract('[0-9]+') !", "extract"),
        ("event_id | split('-') | nth(0) !", "split"),
        ("event_id | split('-') | join('') !", "split"),
        ("event_id | pad_right(12, ' ')", "pad_right"),
        ("event_id | pad_right(12, '0')", "pad_right"),
        ("event_id | pad_left(12, 'x')", "pad_left"),
        ("event_id | number | decimal(0) !", "decimal"),
        ("custom.number | lower !", "lower"),
        // Free data may have the name somewhere in it.
        ("custom.page | url_param('order') !", "-"),
        // A name that is also there whole tells enough.
        ("concat(event_id | truncate(8), '-', kind) !", "truncate"),
        ("concat(order_id | truncate(8), '-', event_id) !", "-"),
        ("concat(event_id | truncate(8), '-', order_id ?? kind)", "truncate"),
        ("concat(order_id | truncate(8), '-', customer.email ?? order_id) !", "truncate"),
        ("concat(order_id | truncate(8), '-', event_id | truncate(8)) !", "truncate"),
        ("concat(event_id, '-', kind) | truncate(128)", "truncate"),
        ("concat(event_id, '-', event_type | lower)", "-"),
    ]);
}

#[test]
fn what_leaves_a_name_whole_stands_in_a_slot() {
    keep_apart(&[
        // One order is still one.
        ("event_id | trim !", "-"),
        ("event_id | int !", "-"),
        ("event_id | pad_left(12, '0')", "-"),
        ("event_id | pad_left(12, ' ')", "-"),
        ("event_id | pad_left(12, '0') | truncate(128)", "-"),
        ("event_id | pad_left(200, '0') | truncate(199)", "truncate"),
        ("event_id | prefix('shop-')", "-"),
        ("event_id | prefix('shop-') | truncate(133)", "-"),
        ("event_id | prefix('shop-') | truncate(132)", "truncate"),
        ("event_id | suffix('-1') | truncate(130)", "-"),
        ("event_id | suffix('-1') | truncate(129)", "truncate"),
        ("event_id | replace('a', 'b') !", "replace"),
        // An alternative that is never reached.
        ("event_id ?? (order_id | truncate(20))", "-"),
        ("(event_id ?? order_id) | truncate(128)", "-"),
        // The relay's own id has one spelling.
        ("meta.id | truncate(36)", "-"),
        ("meta.id | truncate(35)", "truncate"),
        ("meta.id | truncate_bytes(36) !", "-"),
        ("meta.id | upper", "-"),
        ("meta.id | lower", "-"),
        ("meta.id | alphanumeric !", "-"),
        ("meta.id | replace('-', '') !", "-"),
        ("meta.id | replace('-', '') | upper | prefix('R') !", "-"),
        ("meta.id | replace('a', 'b') !", "replace"),
        ("(meta.idempotency_key ?? meta.id) | upper", "upper"),
    ]);
}

#[test]
fn enough_signs_of_a_digest_keep_two_orders_apart() {
    keep_apart(&[
        ("event_id | sha256", "-"),
        ("event_id | lower | sha256", "lower"),
        ("event_id | sha256 | upper", "-"),
        ("event_id | sha256('base64') | replace('+', '-') !", "-"),
        ("event_id | sha256 | truncate(16)", "-"),
        ("event_id | sha256 | truncate(15)", "truncate"),
        ("event_id | sha256('base64') | truncate(11)", "-"),
        ("event_id | sha256('base64') | truncate(10)", "truncate"),
        ("event_id | sha256('base64') | lower | truncate(15)", "truncate"),
        (
            "event_id | sha256('base64') | replace('+', '-') | replace('/', '_') | replace('=', '') | truncate(11) !",
            "-",
        ),
        ("event_id | sha256('base64') | replace('+', '') !", "replace"),
        ("event_id | sha256 | replace('a', 'b') !", "replace"),
        ("event_id | sha256 | truncate_bytes(32) !", "-"),
        ("event_id | sha256 | truncate_bytes(15) !", "truncate_bytes"),
        ("event_id | sha256 | substring(48) !", "-"),
        ("event_id | sha256 | substring(49) !", "substring"),
        ("event_id | sha256 | substring(8, 16) !", "-"),
        ("event_id | sha256 | truncate(32) | substring(16) !", "-"),
        ("event_id | sha256 | truncate(32) | substring(17) !", "substring"),
        ("event_id | md5 | prefix('o-') | truncate(18)", "-"),
        ("event_id | md5 | prefix('o-') | truncate(17)", "truncate"),
        ("event_id | sha256 | prefix('é') | truncate_bytes(17) !", "truncate_bytes"),
        ("event_id | sha256 | suffix('-1') | truncate(16)", "-"),
    ]);
}

#[test]
fn signs_that_are_none_of_the_digest_tell_nothing() {
    keep_apart(&[
        ("event_id | sha256 | prefix('shop-order-12345-') | truncate(16)", "truncate"),
        ("event_id | sha256 | pad_left(80, '0') | truncate(16)", "truncate"),
        ("event_id | sha256 | pad_left(80, '0')", "-"),
        ("event_id | sha256 | extract('^[0-9a-f]{1}') !", "extract"),
        ("event_id | sha256 | split('a') | nth(0) !", "split"),
        ("event_id | sha256 | replace_re('[0-9a-f]{62}$', '') !", "replace_re"),
        ("event_id | sha256 | digits !", "digits"),
        ("event_id | split('-') | sha256 | nth(0) !", "split"),
        ("(order_id | sha256 ?? event_id | sha256) | truncate(32)", "-"),
        ("(order_id | md5 ?? event_id | sha256) | substring(16) !", "-"),
        ("(order_id | md5 ?? event_id | sha256) | substring(17) !", "substring"),
        ("(order_id ?? event_id | sha256) | truncate(32)", "truncate"),
        ("concat('o-', event_id | sha256) | truncate(40)", "-"),
        ("concat('o-', event_id | sha256) | truncate(17)", "truncate"),
        ("concat('o-', event_id | sha256, '-1') | truncate(18)", "-"),
        ("concat(kind, event_id | sha256) | truncate(40)", "truncate"),
        ("custom.n | sha256 | truncate(15) !", "truncate"),
        ("customer.id | lookup({a: 'b'}) !", "lookup"),
        // Two spellings of one address are one person.
        ("customer.email | trim | lower | sha256 !", "-"),
    ]);
}

#[test]
fn a_template_keeps_two_orders_apart_whatever_its_filters() {
    let header = Written::new(Encoding::Json).map(&[("x", "kind")]).header("Key", "o-{event_id | truncate(20)}");
    let fault = format!("o-{{event_id | truncate(20)}}: `header.key` is deduplicated on, and `truncate` {ONE_OF_TWO}");
    assert_eq!(header.slot("header.key").fault(), fault);
    let url = |url: &str| Written::new(Encoding::Json).map(&[("y", "kind")]).url(url).slot("query.id").fault();
    let cut = "https://px/?id={order_id | truncate(20)}";
    assert_eq!(url(cut), format!("{cut}: `query.id` is deduplicated on, and `truncate` {ONE_OF_TWO}"));
    assert_eq!(url("https://px/?id={event_id | truncate(20)}-{order_id}"), "-");
}

const ONE_OF_TWO: &str = "can make one of two orders, so that the second is no sale";

#[test]
fn what_would_fit_into_a_short_slot_is_a_digest() {
    let help = |source: &str| {
        let written = Written::new(Encoding::Json).map(&[("x", source)]).slot("map.x");
        written.compile().expect_err("it is refused")[0].help.clone().unwrap_or_default()
    };
    assert_eq!(help("event_id | truncate(20)"), "leave it whole, or hash it: `| sha256 | truncate(20)`");
    assert_eq!(help("event_id | truncate_bytes(20) !"), "leave it whole, or hash it: `| sha256 | truncate(20)`");
    assert_eq!(help("event_id | truncate(63)"), "leave it whole, or hash it: `| sha256 | truncate(63)`");
    for whole in ["truncate(64)", "truncate(15)", "substring(1) !", "pad_right(9, '0')"] {
        assert_eq!(help(&format!("event_id | {whole}")), "leave it whole, or hash it: `| sha256`", "{whole}");
    }
    assert_eq!(help("event_id | truncate(8)"), "leave it whole, or hash it: `| sha256`");
    assert_eq!(help("event_id | lower"), "leave it whole, or hash it: `| sha256`");
}

#[test]
fn a_slot_is_neither_cut_nor_left_out() {
    #[track_caller]
    fn check(expected: &str, limit: impl FnOnce(Written) -> Written) {
        let written = limit(Written::new(Encoding::Json).map(&[("x", "event_id"), ("y", "reason")]));
        assert_eq!(written.slot("map.x").fault(), expected);
    }
    let cut = "x: `map.x` is deduplicated on, and is cut where it is too long, so that two orders become one";
    let long = format!("x: `map.x` is deduplicated on, and is left out where it is too long: {RETRY}");
    let other = format!("x: `map.x` is deduplicated on, and is left out where the contract does not take it: {RETRY}");
    check(cut, |written| written.max_length("x", 20, Over::Truncate));
    check(&long, |written| written.max_length("x", 20, Over::Omit));
    check("-", |written| written.max_length("x", 20, Over::Reject));
    let contract = |over, values: &'static [&'static str]| {
        move |written: Written| {
            written.output("y", |_| ()).output("x", |output| {
                output.over = over;
                output.chars_max = values.is_empty().then_some(20);
                output.values = values.iter().map(|&value| value.to_owned()).collect();
            })
        }
    };
    check(cut, contract(Over::Truncate, &[]));
    check(&long, contract(Over::Omit, &[]));
    check("-", contract(Over::Reject, &[]));
    check(&other, contract(Over::Omit, &["a"]));
    check(&format!("x: `map.x` is deduplicated on, and is left out with `omit_with`: {RETRY}"), |written| {
        written.omit_with("x", &["y"])
    });
}

#[test]
fn a_slot_is_proven_in_the_place_that_it_names() {
    #[track_caller]
    fn check(map: &str, query: &str, slot: &str, expected: &str) {
        for encoding in [Encoding::Json, Encoding::Form] {
            let written = Written::new(encoding).map(&[("id", map)]).query(&[("id", query)]).require_any(&["id"]);
            assert_eq!(written.slot(slot).fault(), expected, "{map}, {query} as {encoding:?}");
        }
    }
    let many = |slot: &str| format!("kind: `{slot}` is deduplicated on, and `kind` {OF_MANY}");
    check("event_id", "kind", "query.id", &many("query.id"));
    check("event_id", "kind", "map.id", "-");
    check("kind", "event_id", "query.id", "-");
    check("kind", "event_id", "map.id", &many("map.id"));
    // The rule is the body's.
    check("order_id", "kind", "map.id", "-");
    let absent = format!("order_id: `query.id` is deduplicated on, and `order_id` may be absent: {RETRY}");
    check("kind", "order_id", "query.id", &absent);
    let url = Written::new(Encoding::Json).map(&[("id", "event_id")]).url("https://px/?id={kind}");
    assert_eq!(url.slot("query.id").fault(), many("query.id").replacen("kind", "https://px/?id={kind}", 1));
}
