//! How a destination is connected to: `proxy` and the environment's, `allow_private`, timeouts.

use std::time::Duration;

use super::*;

/// Loads a partner with these keys of its own in this environment.
fn partner(keys: &str, environment: &[(&str, &str)]) -> Result<Config, Report> {
    let text = with(&format!("{PARTNER}{keys}\n"));
    let lookup = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::load(Source { path: "routes.toml".into(), text, environment: &lookup, sets: &[] })
}

#[track_caller]
fn connection(keys: &str, environment: &[(&str, &str)]) -> Connection {
    let config = partner(keys, environment).unwrap_or_else(|report| panic!("{report}"));
    config.destinations[0].connection.clone()
}

#[track_caller]
fn fault(keys: &str, environment: &[(&str, &str)], expected: &str) {
    let report = partner(keys, environment).map(|_| ()).unwrap_err();
    assert_eq!(report.located()[0].message, expected);
    assert!(!report.to_string().contains("pass-word"), "{report}");
}

#[test]
fn the_environments_proxy_counts_where_a_destination_names_none() {
    let shown = |keys: &str, environment: &[(&str, &str)]| {
        let summary = partner(keys, environment).unwrap_or_else(|report| panic!("{report}")).summary().to_string();
        assert!(!summary.contains("pass-word"), "{summary}");
        summary.trim_end().split_once("; proxy ").map(|(_, shown)| shown.to_owned())
    };
    let proxy = |shown: &str| Some(shown.to_owned());
    assert_eq!(shown("", &[]), None);
    assert_eq!(shown("", &[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "x")]), proxy("a:1 (HTTPS_PROXY)"));
    let both = [("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2/")];
    assert_eq!(shown("", &both), proxy("b:2 (https_proxy)"));
    assert_eq!(shown("", &[("ALL_PROXY", "c:3")]), proxy("c:3 (ALL_PROXY)"));
    assert_eq!(shown("", &[("HTTPS_PROXY", "garbage")]), proxy("garbage:80 (HTTPS_PROXY)"), "as curl reads it");
    assert_eq!(shown("", &[("HTTPS_PROXY", ""), ("HTTP_PROXY", "http://a:1")]), None, "that one is for plain HTTP");
    let both = [("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "*")];
    assert_eq!(shown("proxy = \"http://own\"", &both), proxy("own:80"), "named, it is used whatever NO_PROXY says");
    assert_eq!(shown("proxy = \"none\"", &both), None);
    assert_eq!(shown("proxy = \"${env:OWN}\"", &[("OWN", "http://u:pass-word@own:8080")]), proxy("own:8080"));
    assert_eq!(shown("", &[("HTTPS_PROXY", "http://u:pass-word@a:1")]), proxy("a:1 (HTTPS_PROXY)"));
    let printed = format!("{:?}", connection("", &[("HTTPS_PROXY", "http://u:pass-word@a:1")]));
    assert!(!printed.contains("pass-word"), "{printed}");
}

#[test]
fn a_proxy_is_shown_where_it_is_between_and_only_there() {
    let refund = "[destination.x.operation.refund]\nurl = \"https://refunds.example/r\"\nmap.a = \"event_type\"\n";
    let shown = |url: &str, more: &str, no_proxy: &str| {
        let text = with(&format!("[destination.x]\nurl = \"{url}\"\nmap.a = \"event_type\"\n{more}"));
        let lookup = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://a:1".to_owned()),
            "NO_PROXY" => Some(no_proxy.to_owned()),
            _ => None,
        };
        let config = Config::load(Source { path: "routes.toml".into(), text, environment: &lookup, sets: &[] });
        let config = config.unwrap_or_else(|report| panic!("{report}"));
        let (summary, connection) = (config.summary().to_string(), &config.destinations[0].connection);
        // What is shown is what delivery asks.
        let proxy = connection.proxy.as_ref().unwrap();
        assert_eq!(summary.contains("; proxy a:1 (HTTPS_PROXY)"), proxy.is_between(&url.parse().unwrap()), "{summary}");
        summary.trim_end().split_once("; proxy a:1 (HTTPS_PROXY)").map(|(_, rest)| rest.to_owned())
    };
    let everywhere = Some(String::new());
    assert_eq!(shown("https://px.example/e", "", ""), everywhere);
    assert_eq!(shown("https://px.example/e", refund, ""), everywhere);
    assert_eq!(shown("https://px.example/e", refund, "refunds.example").as_deref(), Some(" to px.example"));
    for past in ["https://localhost:8443/e", "https://127.0.0.1/e", "https://[::1]/e", "http://localhost/e"] {
        assert_eq!(shown(past, "", ""), None, "{past}");
    }
    assert_eq!(shown("https://px.example/e", "", ".example"), None);
    assert_eq!(shown("https://px.example/e", "", "*"), None);
    assert_eq!(shown("https://1.1.1.1/e", "", "*"), None);
    assert_eq!(shown("https://1.1.1.1/e", "", "1.0.0.0/8"), None);
    assert_eq!(shown("https://1.1.1.1/e", "", "2.0.0.0/8"), everywhere);
}

#[test]
fn a_proxy_that_cannot_be_one_is_refused_in_words() {
    let help = |keys: &str| {
        let report = partner(keys, &[("HOST", "127.0.0.1:28502")]).map(|_| ()).unwrap_err();
        let fault = report.located()[0].clone();
        (fault.message, fault.help.unwrap())
    };
    let no_scheme = |proxy: &str| ("`proxy` has no scheme".to_owned(), format!("`proxy = \"http://{proxy}\"`"));
    assert_eq!(help("proxy = \"127.0.0.1:28502\""), no_scheme("127.0.0.1:28502"));
    assert_eq!(help("proxy = \"own:8080\""), no_scheme("own:8080"));
    assert_eq!(help("proxy = \"own\""), no_scheme("own"));
    assert_eq!(help("proxy = \"${env:HOST}\""), no_scheme("${env:HOST}"), "what came from elsewhere is not repeated");
    fault(
        "proxy = \"socks5://own:8080\"",
        &[],
        "`proxy` must be an `http://` URL: it is asked for a tunnel (CONNECT), and TLS goes through that",
    );
    fault("proxy = \"http://own/path\"", &[], "`proxy` names more than a host and a port");
    for plain in [
        "http://u:pass-word@own",
        "http://u:pass-word@${env:HOST}",
        "http://${env:HOST}:pass-word@own",
        "u:pass-word@own",
        "http:/u:pass-word@own",
        "http://u:pass-word/@own",
        "http://pass-word#@own:x",
        "http://u:1/pass-word@own",
    ] {
        let report = partner(&format!("proxy = \"{plain}\""), &[("HOST", "own")]).map(|_| ()).unwrap_err();
        let mut messages = report.located().iter().map(|located| located.message.as_str());
        assert!(messages.any(|message| message == "the credentials of `proxy` stand in plain sight"), "{report}");
        assert!(!report.to_string().contains("pass-word"), "{report}");
    }
    let reference = connection("proxy = \"http://u:${env:PASS}@own\"", &[("PASS", "pass-word")]);
    assert!(reference.proxy.unwrap().credentials().is_some());
    fault("", &[("https_proxy", "http://")], "the environment variable `https_proxy` is no URL");
}

#[test]
fn what_may_be_a_password_in_a_url_is_in_no_report_whatever_else_is_wrong() {
    let check = |keys: &str| {
        let text = with(&format!("[destination.x]\nmap.a = \"event_type\"\n{keys}\n"));
        let report = load(&text).map(|_| ()).unwrap_err().to_string();
        assert!(!report.contains("pass-word"), "{report}");
    };
    for url in [
        "https://u:pass-word@px.example/e",
        "https://u:pass-word/@px.example/e",
        "https://u:pass-word?#@px.example",
        "u:pass-word@px.example/e",
        "https:/u:pass-word@px.example/e",
        "https://u:pass-word@${env:MISSING}/e",
    ] {
        check(&format!("url = \"{url}\""));
        check(&format!("url = \"https://px.example\"\norigin = \"{url}\""));
        check(&format!("[destination.x.operation.refund]\nurl = \"{url}\"\nmap.a = \"event_type\""));
    }
    check("proxy = \"http://u:pass-word@${env:MISSING}\"");
    check("secrets.key = \"pass-word${env:MISSING}\"");
}

#[test]
fn a_signing_key_that_is_missing_is_one_fault() {
    for auth in [
        "standard_webhooks = \"{secrets.key}\"",
        "hmac = { algorithm = \"sha256\", key = \"{secrets.key}\", key_encoding = \"hex\", header = \"X\" }",
    ] {
        let keys = format!("auth = {{ {auth} }}\nsecrets.key = \"${{env:MISSING}}\"");
        fault(&keys, &[], "the environment variable `MISSING` is not set");
    }
}

#[test]
fn a_private_address_is_a_fault_unless_it_is_allowed() {
    let at = |host: &str, more: &str| {
        with(&format!("[destination.partner]\nurl = \"https://{host}/\"\n{more}map.a = \"event_type\"\n"))
    };
    for host in ["10.0.0.5", "169.254.169.254", "[fd00::1]"] {
        let address = host.trim_matches(['[', ']']);
        let expected = format!("10:14 operation `conversion` of `partner` goes to {address}, a private address");
        assert_eq!(faults(&at(host, "")), [expected]);
        right(&at(host, "allow_private = true\n"));
    }
    for host in ["127.0.0.1", "localhost", "1.1.1.1", "px.example.com"] {
        right(&at(host, ""));
    }
    let asking = |host: &str, more: &str| {
        let step = format!("url = \"https://{host}/{{captured.id}}\", confirmed_when = \"body.ok\"");
        with(&format!("{PARTNER}capture.id = \"body.id\"\nconfirm = {{ {step} }}\n{more}"))
    };
    let expected = "10:14 `confirm` of operation `conversion` of `partner` asks at 10.0.0.5, a private address";
    assert_eq!(faults(&asking("10.0.0.5", "")), [expected]);
    right(&asking("10.0.0.5", "allow_private = true\n"));
    right(&asking("127.0.0.1", ""));
}

#[test]
fn the_head_cannot_have_more_time_than_the_whole() {
    let limits = |keys: &str| with(&format!("{PARTNER}limits = {{ {keys} }}\n"));
    let of = |keys: &str| right(&limits(keys)).destinations[0].limits.clone();
    assert_eq!(of("timeout = \"10s\"").header_timeout, Duration::from_secs(10));
    assert_eq!(of("header_timeout = \"3s\"").header_timeout, Duration::from_secs(3));
    assert_eq!(
        faults(&limits("timeout = \"2s\", header_timeout = \"3s\"")),
        ["13:46 `header_timeout` is longer than `timeout` (2s)"]
    );
}
