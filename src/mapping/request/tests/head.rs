//! URL, headers, authentication, masking and printing.

use super::*;

#[track_caller]
fn url(written: &Written, conversion: &str, expected: &str) {
    assert_eq!(written.request(conversion).url, expected);
}

#[track_caller]
fn headers(written: &Written, conversion: &str, expected: &[&str]) {
    let request = written.request(conversion);
    let shown = request.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("visible")));
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

fn get() -> Written {
    Written::new(Encoding::None)
}

#[test]
fn values_in_a_path_are_encoded() {
    let written = get().url("https://{vars.tenant}.example.com/{vars.account}/o/{order_id}?k={order_id}");
    url(
        &written,
        r#"{"order_id":"a/b?c#d&e=f g+é"}"#,
        "https://acme.example.com/a%2F12/o/a%2Fb%3Fc%23d%26e%3Df%20g%2B%C3%A9?k=a%2Fb%3Fc%23d%26e%3Df%20g%2B%C3%A9",
    );
    assert_eq!(written.unmappable("{}"), "url: {order_id} is absent");
}

#[test]
fn a_value_cannot_climb_out_of_its_path() {
    for order in ["..", "."] {
        let conversion = format!(r#"{{"order_id":"{order}"}}"#);
        let whole = get().url("https://h.example/a/{order_id}/b").unmappable(&conversion);
        assert!(whole.starts_with("url: "), "{whole}");
    }
    let part = get().url("https://h.example/a/.{order_id}/b");
    assert_eq!(part.unmappable(r#"{"order_id":"."}"#), "url: `.` and `..` cannot be a part of a URL");
    url(&part, r#"{"order_id":".a"}"#, "https://h.example/a/..a/b");
    let two = get().url("https://h.example/a/{order_id}{customer.id}/b");
    let conversion = r#"{"order_id":".","customer":{"id":"."}}"#;
    assert!(two.unmappable(conversion).starts_with("url: "));
    let dotted = get().url("https://h.example/a/.{customer.city}");
    let raw = get().url("{vars.folder}{vars.dots}/{order_id}");
    assert_eq!(raw.unmappable(r#"{"order_id":"o"}"#), "url: a value in it is `.` or `..`, which leads elsewhere");
    let raw = get().url("{vars.folder}{vars.spaced}/{order_id}");
    assert_eq!(raw.unmappable(r#"{"order_id":"o"}"#), "url: a value in it cannot stand in a URL");
    url(
        &get().url("{vars.endpoint}{vars.dots}/{order_id}"),
        r#"{"order_id":"o"}"#,
        "https://px.dsp.com/signal/v1?src=a%20b../o",
    );
    assert!(dotted.unmappable(r#"{"customer":{"city":"."}}"#).starts_with("url: "));
}

#[test]
fn a_var_at_the_start_is_the_url_as_it_stands() {
    let written = Written::new(Encoding::Json).url("{vars.endpoint}").query(&[("o", "order_id")]);
    url(&written, r#"{"order_id":"1"}"#, "https://px.dsp.com/signal/v1?src=a%20b&o=1");
    let moved = Written::new(Encoding::Json).url("{vars.endpoint}&t={vars.tenant}").origin("http://127.0.0.1:8088");
    url(&moved, "{}", "http://127.0.0.1:8088/signal/v1?src=a%20b&t=acme");
}

#[test]
fn an_origin_replaces_scheme_host_and_port() {
    let written = get().url("https://{vars.tenant}.example.com:444/a/b?c=d").origin("http://[::1]:9/");
    url(&written, "{}", "http://[::1]:9/a/b?c=d");
}

#[test]
fn parameters_follow_those_of_the_url() {
    let base = |url| get().url(url).map(&[("a", "order_id"), ("b", "value")]);
    let conversion = r#"{"order_id":"x","value":1.50,"currency":"EUR"}"#;
    url(&base("https://h.example"), conversion, "https://h.example/?a=x&b=1.50");
    url(&base("https://H.Example:443?"), conversion, "https://h.example/?a=x&b=1.50");
    url(&base("https://h.example/p?z=1"), conversion, "https://h.example/p?z=1&a=x&b=1.50");
    url(&base("https://h.example/p?z=1&"), conversion, "https://h.example/p?z=1&a=x&b=1.50");
    url(&base("https://h.example/p?z={order_id}"), conversion, "https://h.example/p?z=x&a=x&b=1.50");
    url(&base("https://h.example/p"), "{}", "https://h.example/p");
    let spread = base("https://h.example/p?c=1&d=2").query(&[("*", "custom")]);
    let custom = r#"{"custom":{"a":"no","c":"no","e":"yes"}}"#;
    url(&spread, custom, "https://h.example/p?c=1&d=2&e=yes");
    let all = get()
        .url("https://h.example/p?u=1")
        .map(&[("m", "order_id")])
        .query(&[("q", "order_id")])
        .auth_query("api key", "{secrets.token}");
    url(&all, conversion, "https://h.example/p?u=1&q=x&m=x&api%20key=s3cret%2F%2B%20%3D");
}

#[test]
fn a_url_longer_than_any_is_unmappable() {
    let written = get().map(&[("a", "custom.long | string")]);
    let conversion = format!(r#"{{"custom":{{"long":"{}"}}}}"#, "é".repeat(16_000));
    assert_eq!(written.unmappable(&conversion), "url: longer than 65534 bytes");
}

#[test]
fn content_type_is_that_of_the_body_unless_it_is_given() {
    headers(&Written::new(Encoding::Json), "{}", &["content-type: application/json"]);
    headers(&Written::new(Encoding::Form), "{}", &["content-type: application/x-www-form-urlencoded"]);
    headers(&get(), "{}", &[]);
    headers(
        &Written::new(Encoding::Json).header("CONTENT-TYPE", "application/vnd.x+json"),
        "{}",
        &["content-type: application/vnd.x+json"],
    );
}

#[test]
fn headers_take_values_and_are_left_out_without_them() {
    let written = get()
        .header("Accept", "application/json")
        .header("Idempotency-Key", "{order_id}-{event_type}")
        .header("X-Unset", "{secrets.unset}")
        .header("X-Empty", "");
    headers(
        &written,
        r#"{"order_id":"o 1"}"#,
        &["accept: application/json", "idempotency-key: o 1-purchase_completed"],
    );
    headers(&written, "{}", &["accept: application/json"]);
    let required = get().header("Idempotency-Key", "{order_id !}");
    assert_eq!(required.unmappable("{}"), "header.idempotency-key: required, and absent");
}

#[test]
fn constant_headers_go_first_and_computed_ones_behind_each_in_the_order_of_the_file() {
    let written = get()
        .header("B", "{event_type}")
        .header("C", "{vars.tenant}")
        .header("A", "{order_id}")
        .header("D", "1")
        .auth_header("E", "{order_id}");
    headers(&written, r#"{"order_id":"o"}"#, &["c: acme", "d: 1", "e: o", "b: purchase_completed", "a: o"]);
}

#[test]
fn a_conversion_cannot_forge_a_header() {
    let written = get().header("X-Order", "{custom.order | string}");
    for evil in [r"a\r\nX-Evil: 1", r"a\nb", r"a\u0000b", r"a\u007fb", "é"] {
        let reason = written.unmappable(&format!(r#"{{"custom":{{"order":"{evil}"}}}}"#));
        assert!(reason.starts_with("header.x-order: "), "{reason}");
        assert!(!reason.contains("Evil"), "{reason}");
    }
}

#[test]
fn credentials_are_sent_and_masked() {
    #[track_caller]
    fn check(written: &Written, sent: &str, shown: &str) {
        let printed = |secrets| written.rendered("{}", secrets).expect("mappable").to_http();
        assert!(printed(Secrets::Revealed).contains(sent), "{}", printed(Secrets::Revealed));
        assert!(printed(Secrets::Masked).contains(shown), "{}", printed(Secrets::Masked));
        assert!(!printed(Secrets::Masked).contains("s3cret"));
        let template = format!("{:?}", written.template());
        assert!(!template.contains("s3cret") && !template.contains("czNjcmV0"), "{template}");
        let request = format!("{:?}", written.rendered("{}", Secrets::Revealed).expect("mappable"));
        assert!(!request.contains("s3cret"), "{request}");
    }
    check(&get().bearer("{secrets.token}"), "authorization: Bearer s3cret/+ =\n", "authorization: Bearer ***\n");
    check(&get().bearer("literal"), "authorization: Bearer literal\n", "authorization: Bearer ***\n");
    check(
        &get().basic("{vars.account}", "{secrets.token}"),
        "authorization: Basic YS8xMjpzM2NyZXQvKyA9\n",
        "authorization: Basic ***\n",
    );
    check(
        &get().auth_header("X-Api-Key", "Key {secrets.token}"),
        "x-api-key: Key s3cret/+ =\n",
        "x-api-key: Key ***\n",
    );
    check(&get().auth_header("X-Api-Key", "plain"), "x-api-key: plain\n", "x-api-key: ***\n");
    check(&get().auth_query("api-key", "{secrets.token}"), "?api-key=s3cret%2F%2B%20%3D\n", "?api-key=***\n");
    check(&get().header("X", "{secrets.token}"), "x: s3cret/+ =\n", "x: ***\n");
    check(&get().url("https://h.example/{secrets.token}/x"), "/s3cret%2F%2B%20%3D/x", "https://h.example/***/x\n");
    check(&get().map(&[("k", "secrets.token")]), "?k=s3cret%2F%2B%20%3D\n", "?k=***\n");
    check(&get().map(&[("k", "secrets.token | sha256")]), "?k=", "?k=***\n");
    let body = Written::new(Encoding::Json).map(&[("k", "secrets.token")]);
    check(&body, r#"{"k":"s3cret/+ ="}"#, r#"{"k":"***"}"#);
    let form = Written::new(Encoding::Form).map(&[("k", "secrets.token")]);
    check(&form, "k=s3cret%2F%2B+%3D", "k=***");
}

#[test]
fn without_its_credential_nothing_is_sent() {
    let without = [
        get().bearer("{secrets.unset}"),
        get().basic("{vars.tenant}", "{secrets.unset}"),
        get().auth_header("X", "{secrets.unset}"),
        get().auth_query("x", "{secrets.unset}"),
        get().header("X", "{secrets.unset !}"),
        get().map(&[("x", "secrets.unset !")]),
    ];
    for written in without {
        assert_eq!(written.template().lacks(), Some("secrets.unset"));
        assert_eq!(written.unmappable("{}"), "secrets.unset: not set in the configuration");
    }
    for url in ["https://h.example/{vars.unset}", "https://{vars.unset}.example/", "{vars.unset}"] {
        assert_eq!(get().url(url).template().lacks(), Some("vars.unset"), "{url}");
    }
    assert_eq!(get().bearer("{customer.id}").unmappable("{}"), "header.authorization: required, and absent");
    assert_eq!(get().auth_query("x", "{customer.id}").unmappable("{}"), "auth: required, and absent");
    assert_eq!(get().map(&[("x", "vars.unset")]).template().lacks(), None);
}

#[test]
fn slots_are_found_by_where_they_stand() {
    let template = Written::new(Encoding::Json)
        .url("https://h.example/?u=1")
        .header("Idempotency-Key", "{event_id}")
        .auth_query("key", "{secrets.token}")
        .map(&[("externalId", "order_id"), ("a.b", "order_id")])
        .query(&[("q", "order_id")])
        .template();
    for slot in [
        "header.idempotency-key",
        "header.Idempotency-Key",
        "map.externalId",
        "map.a.b",
        "query.q",
        "query.u",
        "query.key",
    ] {
        assert!(template.has_output(slot), "{slot}");
    }
    for slot in ["header.x", "map.q", "query.externalId", "map.external", "externalId", "map", "body.externalId", ""] {
        assert!(!template.has_output(slot), "{slot}");
    }
    assert!(get().map(&[("id", "order_id")]).template().has_output("query.id"));
}

#[test]
fn an_output_that_only_an_unset_constant_could_fill_says_which() {
    let template = Written::new(Encoding::Json)
        .map(&[("id", "vars.unset | lower"), ("order", "order_id ?? vars.unset")])
        .query(&[("q", "secrets.unset")])
        .template();
    assert_eq!(template.unset_output("map.id"), Some("vars.unset"));
    assert_eq!(template.unset_output("query.q"), Some("secrets.unset"));
    for slot in ["map.order", "map.q2", "header.id", "id"] {
        assert_eq!(template.unset_output(slot), None, "{slot}");
    }
}

#[test]
fn a_request_prints_as_http_as_curl_and_as_json() {
    let written = Written::new(Encoding::Json)
        .bearer("{secrets.token}")
        .map(&[("a", "order_id"), ("v", "value")])
        .query(&[("q", "order_id")]);
    let conversion = r#"{"order_id":"it's \"1\"","value":1.50,"currency":"EUR"}"#;
    let request = written.rendered(conversion, Secrets::Masked).expect("mappable");
    assert_eq!(
        request.to_http(),
        "POST https://px.example.com/events?q=it%27s%20%221%22\nauthorization: Bearer ***\ncontent-type: application/json\n\n\
         {\"a\":\"it's \\\"1\\\"\",\"v\":1.50}"
    );
    assert_eq!(
        request.to_curl(),
        r#"curl -X POST 'https://px.example.com/events?q=it%27s%20%221%22' \
  -H 'authorization: Bearer ***' \
  -H 'content-type: application/json' \
  --data-raw '{"a":"it'\''s \"1\"","v":1.50}'"#
    );
    assert_eq!(
        request.to_json(),
        r#"{"method":"POST","url":"https://px.example.com/events?q=it%27s%20%221%22","headers":{"authorization":"Bearer ***","content-type":"application/json"},"body":{"a":"it's \"1\"","v":1.50}}"#
    );
    let form = Written::new(Encoding::Form).map(&[("a", "order_id")]).request(r#"{"order_id":"1 2"}"#);
    assert!(form.to_json().ends_with(r#","body":"a=1+2"}"#), "{}", form.to_json());
    let get = get().request("{}");
    assert_eq!(get.to_http(), "GET https://px.example.com/events\n\n");
    assert_eq!(get.to_curl(), "curl -X GET 'https://px.example.com/events'");
    assert_eq!(get.to_json(), r#"{"method":"GET","url":"https://px.example.com/events","headers":{}}"#);
}

#[test]
fn an_output_is_unset_in_its_own_place_alone() {
    let unset = |encoding, map: &str, query: &[(&str, &str)]| {
        let template = Written::new(encoding).map(&[("id", map), ("order", "order_id")]).query(query).template();
        ["map.id", "query.id"].map(|slot| template.unset_output(slot).is_some())
    };
    assert_eq!(unset(Encoding::Json, "vars.unset", &[("id", "order_id")]), [true, false]);
    assert_eq!(unset(Encoding::Json, "order_id", &[("id", "vars.unset")]), [false, true]);
    assert_eq!(unset(Encoding::None, "vars.unset", &[]), [true, true], "the map is the query");
}
