//! What the variables mean, and what is said of those that are wrong.

use std::collections::BTreeMap;

use super::*;

const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

fn read(set: &[(&str, &str)]) -> Result<Settings, Wrong> {
    let set: BTreeMap<&str, &str> = set.iter().copied().collect();
    Settings::read(&|name| set.get(name).map(|value| (*value).to_owned()))
}

#[track_caller]
fn of(set: &[(&str, &str)]) -> Wanted {
    read(&[&[BASE], set].concat()).unwrap().0.unwrap()
}

#[track_caller]
fn refused(set: &[(&str, &str)], expected: &[&str]) {
    let Wrong(lines) = read(&[&[BASE], set].concat()).unwrap_err();
    assert_eq!(lines, expected, "{set:?}");
}

#[test]
fn traces_are_off_without_an_endpoint_whatever_else_is_set() {
    for set in [&[][..], &[("OTEL_BSP_SCHEDULE_DELAY", "soon"), ("OTEL_SERVICE_NAME", "relay")]] {
        assert_eq!(read(set).unwrap().outlook(), Outlook::Off);
    }
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        assert_eq!(read(&[BASE, off]).unwrap().outlook(), Outlook::Off);
    }
    // Set for others on the machine.
    let of_others = ("OTEL_TRACES_EXPORTER", "otlp,console");
    assert_eq!(read(&[of_others]).unwrap().outlook(), Outlook::Off);
    assert_eq!(read(&[BASE, of_others, ("OTEL_SDK_DISABLED", "true")]).unwrap().outlook(), Outlook::Off);
}

#[test]
fn a_host_that_cannot_be_asked_is_refused_and_not_repeated() {
    for (name, _) in [BASE, (ENDPOINTS[0], "")] {
        let refusal = read(&[(name, "https://{hidden}:4318/")]).unwrap_err().to_string();
        assert!(refusal.contains("write it as https://") && !refusal.contains("hidden"), "{refusal}");
    }
}

#[test]
fn where_spans_are_posted_to() {
    #[track_caller]
    fn check(set: &[(&str, &str)], endpoint: &str, collector: &str, exposed: bool) {
        let settings = read(set).unwrap();
        let outlook = Outlook::Exported { collector: collector.to_owned(), exposed };
        assert_eq!(settings.outlook(), outlook, "{set:?}");
        assert_eq!(settings.0.unwrap().endpoint, endpoint, "{set:?}");
    }
    let (own, base) = (ENDPOINTS[0], ENDPOINTS[1]);
    check(&[(base, "https://c.example")], "https://c.example/v1/traces", "https://c.example:443", false);
    check(&[(base, "https://c.example/otlp/")], "https://c.example/otlp/v1/traces", "https://c.example:443", false);
    check(&[(base, " http://[::1]:4318 ")], "http://[::1]:4318/v1/traces", "http://[::1]:4318", false);
    check(&[BASE, (own, "http://c:9/x?k=v")], "http://c:9/x?k=v", "http://c:9", false);
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "k=v");
    check(&[(own, "http://c:9/x"), headers], "http://c:9/x", "http://c:9", true);
    check(&[(own, "https://c:9/x"), headers], "https://c:9/x", "https://c:9", false);
    check(&[(own, "http://localhost:9/x"), headers], "http://localhost:9/x", "http://localhost:9", false);
}

#[test]
fn what_is_set_counts_and_what_is_not_is_as_the_specification_says() {
    let usual = of(&[]);
    assert_eq!((usual.timeout, usual.delay), (Duration::from_secs(10), Duration::from_secs(5)));
    assert_eq!((usual.queue_max, usual.batch_max, usual.gzip, usual.headers.len()), (2048, 512, false, 0));
    assert_eq!(format!("{:?}", usual.sampler), "ParentBased(AlwaysOn)");

    let own = of(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
        ("OTEL_BSP_SCHEDULE_DELAY", "3000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Authorization=Basic%20YTpi, x-tenant = one"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ]);
    assert_eq!((own.timeout, own.delay), (Duration::from_secs(2), Duration::from_secs(3)));
    assert_eq!((own.queue_max, own.batch_max, own.gzip), (100, 100, true));
    assert_eq!(
        (own.headers.len(), &own.headers["authorization"], &own.headers["x-tenant"]),
        (2, &"Basic YTpi".parse().unwrap(), &"one".parse().unwrap())
    );
    assert!(!format!("{own:?}").contains("YTpi"), "headers are nobody's to read");
    assert_eq!(format!("{:?}", own.sampler), "ParentBased(TraceIdRatioBased(0.25))");

    let plain = of(&[("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
    assert!(!plain.gzip);
    assert_eq!(of(&[("OTEL_BSP_EXPORT_TIMEOUT", "400")]).timeout, Duration::from_millis(400));
}

#[test]
fn the_relays_name_is_the_last_one_that_is_given() {
    #[track_caller]
    fn check(set: &[(&str, &str)], expected: &str) {
        let resource = of(set).resource;
        let name = resource.iter().rev().find(|pair| pair.key.as_str() == "service.name").unwrap();
        assert_eq!(name.value.as_str(), expected, "{set:?}");
    }
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=of-all, region=eu");
    check(&[], "capi-relay");
    check(&[attributes], "of-all");
    check(&[attributes, ("OTEL_SERVICE_NAME", "own")], "own");
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_with_what_would_be_right() {
    refused(
        &[("OTEL_SDK_DISABLED", "maybe"), ("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
        &[
            "OTEL_SDK_DISABLED: `maybe` is not known here: it may be `true` or `false`",
            "OTEL_TRACES_EXPORTER: `zipkin` is not known here: it may be `otlp` or `none`",
            "OTEL_EXPORTER_OTLP_PROTOCOL: `grpc` is not known here: it may be `http/protobuf`",
        ],
    );
    refused(
        &[("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"), ("OTEL_BSP_MAX_QUEUE_SIZE", "0")],
        &[
            "OTEL_EXPORTER_OTLP_TIMEOUT: `10s` is not right: it is a number of milliseconds, from 1 to an hour's 3600000",
            "OTEL_BSP_MAX_QUEUE_SIZE: `0` is not right: it is a number of spans, from 1 to 65536",
        ],
    );
    refused(
        &[("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "11")],
        &["OTEL_BSP_MAX_EXPORT_BATCH_SIZE: `11` is not right: it is a number of spans, from 1 to 10"],
    );
    refused(
        &[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "10%")],
        &["OTEL_TRACES_SAMPLER_ARG: `10%` is not right: it is a share of all traces, from 0 to 1, as 0.1"],
    );
    refused(
        &[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/run/secrets/key")],
        &["OTEL_EXPORTER_OTLP_CLIENT_KEY: no client certificate is shown to a collector: use headers"],
    );
    let Wrong(lines) = read(&[BASE, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")]).unwrap_err();
    assert!(lines[0].starts_with("OTEL_EXPORTER_OTLP_CERTIFICATE: `/nowhere/ca.pem` cannot be read: "), "{lines:?}");
}

#[test]
fn nothing_of_a_header_or_an_endpoint_is_repeated() {
    #[track_caller]
    fn check(name: &str, value: &str, expected: &str) {
        let Wrong(lines) = read(&[BASE, (name, value)]).unwrap_err();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(&format!("{name}: {expected}")), "{lines:?}");
        assert!(!lines[0].contains("canary"), "{lines:?}");
    }
    let (own, base) = (ENDPOINTS[0], ENDPOINTS[1]);
    check("OTEL_EXPORTER_OTLP_HEADERS", "a=1,canary", "entry 2 is no `name=value`");
    check("OTEL_EXPORTER_OTLP_HEADERS", "ca nary=canary", "entry 1 is no header");
    check("OTEL_EXPORTER_OTLP_HEADERS", "a=%0Acanary", "entry 1 is no header");
    check("OTEL_RESOURCE_ATTRIBUTES", "a=%ff", "entry 1 is no `name=value`");
    check(own, "canary", "no URL (relative URL without a base): write it as https://");
    check(own, "canary:4318", "no HTTP URL: write it as https://collector.internal:4318/v1/traces");
    check(own, "https://u:canary@c.example/v1/traces", "credentials do not belong into the URL");
    check(base, "https://c.example?canary", "a base has neither query nor fragment");
}
