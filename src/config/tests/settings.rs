//! What a right file means: defaults, and rules between keys of `[server]`, `[queue]`, merchants and destinations.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

#[test]
fn a_right_file_means_what_it_says_and_defaults_fill_the_rest() {
    let config = right(&with(PARTNER));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8443");
    assert_eq!(config.server.admin.to_string(), "127.0.0.1:9090");
    assert_eq!(config.server.body_bytes_max, 4 << 20);
    assert_eq!(config.queue.pending_bytes_max, 8 << 30);
    assert_eq!(config.queue.dedup_window, Duration::from_secs(72 * 3600));
    assert_eq!(config.queue.history_keep, Duration::from_secs(7 * 86_400));
    assert_eq!(&*config.merchants[0].name, "acme");
    let partner = config.destination("partner").unwrap();
    assert_eq!(partner.limits.concurrency.get(), 16);
    assert_eq!(partner.retry.give_up_after, Duration::from_secs(72 * 3600));
    assert_eq!(partner.operations[0].on_ambiguous, OnAmbiguous::DeadLetter, "nothing deduplicates there");
}

#[test]
fn what_is_retried_with_a_slot_that_deduplicates_is_retried_when_ambiguous() {
    let partner = PARTNER.replace("event_type", "event_id");
    let slot = format!("{partner}idempotency = \"map.event\"\n");
    assert_eq!(right(&with(&slot)).destinations[0].operations[0].on_ambiguous, OnAmbiguous::Retry);
    let told = format!("{slot}on_ambiguous = \"dead_letter\"\n");
    assert_eq!(right(&with(&told)).destinations[0].operations[0].on_ambiguous, OnAmbiguous::DeadLetter);
    let other = format!("{PARTNER}idempotency = \"map.other\"\n");
    assert_eq!(faults(&with(&other)), ["13:16 `map.other` is not sent, so nothing can be deduplicated on it"]);
}

#[test]
fn the_retry_horizon_stays_within_the_window_in_which_a_repeat_is_recognised() {
    let short = with(PARTNER).replace("[merchant", "dedup_window = \"24h\"\n[merchant");
    assert_eq!(right(&short).destinations[0].retry.give_up_after, Duration::from_secs(86_400), "the default follows");
    let longer = format!("{short}retry.give_up_after = \"25h\"\n");
    assert_eq!(faults(&longer), ["14:24 `retry.give_up_after` is longer than `queue.dedup_window` (1d)"]);
}

#[test]
fn plain_http_is_for_loopback_and_for_proxies() {
    let check = |server: &str, expected: &[&str]| {
        let text = with(PARTNER).replace("listen = \"127.0.0.1:8443\"\ntls = { self_signed = true }", server);
        let found = load(&text)
            .map_or_else(|report| report.located().iter().map(|f| f.message.clone()).collect(), |_| Vec::new());
        assert_eq!(found, expected, "{server}");
    };
    let clear = "`plaintext` would send tokens and personal data in the clear beyond this machine";
    check("listen = \"127.0.0.1:80\"\nplaintext = true", &[]);
    check("listen = \"[::1]:80\"\nplaintext = true", &[]);
    check("listen = \"0.0.0.0:80\"\nplaintext = true", &[clear]);
    check("listen = \"0.0.0.0:80\"\nplaintext = true\nbehind_proxy = true", &[]);
    check("listen = \"0.0.0.0:80\"", &["`[server]` needs `tls`"]);
    check("listen = \"0.0.0.0:80\"\nplaintext = false", &["`[server]` needs `tls`"]);
}

#[test]
fn the_two_listeners_do_not_want_the_same_address() {
    let check = |listen: &str, admin: Option<&str>, expected: &[&str]| {
        let mut lines = format!("listen = \"{listen}\"\n");
        if let Some(admin) = admin {
            lines.push_str(&format!("admin = \"{admin}\"\nadmin_token_sha256 = \"{}\"\n", "7".repeat(64)));
        }
        let text = with(PARTNER).replace("listen = \"127.0.0.1:8443\"\n", &lines);
        let found = load(&text)
            .map_or_else(|report| report.located().iter().map(|f| f.message.clone()).collect(), |_| Vec::new());
        assert_eq!(found, expected, "{listen} {admin:?}");
    };
    let said = |words: &str| format!("{words}, which is 127.0.0.1:9090 where nothing else is said");
    check("127.0.0.1:9090", None, &[&said("`listen` is the address of `admin`")]);
    check("0.0.0.0:9090", None, &[&said("`listen` takes the address of `admin` too")]);
    check("[::]:9090", None, &[&said("`listen` takes the address of `admin` too")]);
    check("127.0.0.1:8443", Some("127.0.0.1:8443"), &["`admin` and `listen` are the same address"]);
    let on_one_port = |listen: &str| {
        format!("`admin` and `listen` ({listen}) are on one port, and one of them takes every address of it")
    };
    check("0.0.0.0:8443", Some("127.0.0.1:8443"), &[&on_one_port("0.0.0.0:8443")]);
    check("127.0.0.1:8443", Some("0.0.0.0:8443"), &[&on_one_port("127.0.0.1:8443")]);
    check("0.0.0.0:8443", Some("[::]:8443"), &[&on_one_port("0.0.0.0:8443")]);
    for (listen, admin) in [
        ("192.0.2.1:9090", None),
        ("0.0.0.0:9091", None),
        ("0.0.0.0:9090", Some("127.0.0.1:9091")),
        ("192.0.2.1:8443", Some("127.0.0.1:8443")),
        ("0.0.0.0:8443", Some("[::1]:8443")),
        ("127.0.0.1:0", Some("127.0.0.1:0")),
        ("0.0.0.0:0", Some("127.0.0.1:0")),
    ] {
        check(listen, admin, &[]);
    }
    check("127.0.0.1:9090", Some("nowhere"), &["`admin`: `nowhere` is no address"]);
}

#[test]
fn a_token_belongs_to_one_merchant() {
    let twin = with(PARTNER).replace("[destination", "[merchant.globex]\ntoken_sha256 = \"8F434346648F6B96DF89DDA901C5176B10A6D83961DD3C1AC88B59B2DC327AA4\"\n[destination");
    assert_eq!(
        faults(&twin),
        ["11:17 this token is already merchant `acme`'s"],
        "letters in either case are one digest"
    );
}

#[test]
fn one_to_four_tokens_are_valid_at_once() {
    let digest = |number: usize| format!("\"{number:064x}\"");
    let list = |count: usize| (0..count).map(digest).collect::<Vec<_>>().join(", ");
    let first = "\"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4\"";
    let merchant = |value: &str| with(PARTNER).replace(first, value);
    let admin = |value: &str| with(PARTNER).replace("tls =", &format!("admin_token_sha256 = {value}\ntls ="));
    for count in 1..=4 {
        let value = format!("[{}]", list(count));
        assert_eq!(right(&merchant(&value)).merchants[0].token_sha256.len(), count);
        assert_eq!(right(&admin(&value)).server.admin_token_sha256.len(), count);
    }
    assert_eq!(right(&admin(&digest(7))).server.admin_token_sha256.len(), 1);
    for count in [0, 5] {
        let value = format!("[{}]", list(count));
        assert_eq!(faults(&merchant(&value)), ["7:16 `token_sha256` must hold 1 to 4"], "{count}");
        assert_eq!(faults(&admin(&value)), ["3:22 `admin_token_sha256` must hold 1 to 4"], "{count}");
    }
    let named = right(&admin(&format!("{{ ana = {}, ci = [{}] }}", digest(7), list(2)))).server.admin_token_sha256;
    let names: Vec<_> = named.iter().map(|token| token.name.as_deref()).collect();
    assert_eq!(names, [Some("ana"), Some("ci"), Some("ci")]);
    assert_eq!(faults(&admin("{}")), ["3:22 `admin_token_sha256` must hold 1 to 64 names"]);
    assert_eq!(faults(&admin("{ ana = [] }")), ["3:30 `admin_token_sha256` must hold 1 to 4"]);
    assert_eq!(faults(&admin("{ ana = \"x\" }")), ["3:31 `admin_token_sha256` must be a SHA-256 in 64 hex digits"]);
    assert_eq!(faults(&admin("{ ana = 1 }")).len(), 1);
    let shared = faults(&admin(&format!("{{ ana = {0}, bo = {0} }}", digest(7))));
    assert_eq!(shared, ["3:104 this token is already `ana`'s"]);
    let twice = format!("[{0}, {0}]", digest(7));
    assert_eq!(faults(&merchant(&twice)).len(), 1);
}

#[test]
fn client_certificates_belong_to_one_merchant_and_need_a_ca() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tls.crt", "tls.key", "ca.pem"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let check = |tls: &str, merchants: &str, expected: &[&str]| {
        let text = with(PARTNER).replace("{ self_signed = true }", tls);
        let text = text.replace("[destination", &format!("{merchants}\n[destination"));
        let path = folder.path().join("routes.toml");
        let found = Config::load(Source { path, text, environment: &environment, sets: &[] });
        let found: Vec<_> = found.map_or_else(|report| report.located().to_vec(), |_| Vec::new());
        let found: Vec<_> = found.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(found, expected, "{tls} {merchants}");
    };
    let files = "{ cert = \"tls.crt\", key = \"tls.key\" }";
    let asking = "{ cert = \"tls.crt\", key = \"tls.key\", client_ca = \"ca.pem\", client_auth = \"optional\" }";
    let shop = "[merchant.shop]\nclient_certificates = [\"CN=shop\", \"dns:shop.internal\"]";
    check(files, "", &[]);
    check(asking, shop, &[]);
    check(files, shop, &["`client_certificates` without `server.tls.client_ca`: nobody is asked for one"]);
    check("{ self_signed = true, client_ca = \"ca.pem\" }", "", &["`client_ca` beside `self_signed = true`"]);
    check(&files.replace(" }", ", client_auth = \"optional\" }"), "", &["`client_auth` without `client_ca`"]);
    check(&asking.replace("ca.pem", "none.pem"), shop, &["`client_ca`: there is no such file"]);
    let twin = format!("{shop}\n[merchant.twin]\nclient_certificates = [\"dns:SHOP.internal.\"]");
    check(asking, &twin, &["this name is already merchant `shop`'s"]);
    for wrong in ["shop", "cn=shop", "dns:", "uri: spiffe://x", "ip:10.0.0.1"] {
        let shop = format!("[merchant.shop]\nclient_certificates = [\"{wrong}\"]");
        check(asking, &shop, &[&format!("`{wrong}` is no name in a certificate")]);
    }
    check(asking, "[merchant.shop]\nclient_certificates = []", &["`client_certificates` is empty"]);
}

#[test]
fn signing_secrets_are_those_of_standard_webhooks_and_are_never_shown() {
    let signed =
        |value: &str| with(PARTNER).replace("[destination", &format!("signing_secrets = {value}\n[destination"));
    let secret = format!("whsec_{}", "q6ur".repeat(8));
    for (value, count) in [(format!("{secret:?}"), 1), (format!("[{secret:?}, {secret:?}]"), 2)] {
        let config = right(&signed(&value));
        assert_eq!(config.merchants[0].signing_secrets.len(), count);
        assert!(!format!("{config:?}").contains("171, 171"), "it is shown");
    }
    let fault = "the key is 7 bytes long, and Standard Webhooks has 24 to 64";
    let short = format!("[{secret:?}, \"whsec_cGxhbnRlZA==\"]");
    let report = load(&signed(&short)).unwrap_err();
    assert_eq!(report.located()[0].message, fault);
    assert!(!report.to_string().contains("cGxhbnRlZA") && !report.to_string().contains("q6ur"), "{report}");
    assert_eq!(faults(&signed("[]")), ["10:19 `signing_secrets` must hold 1 to 4"]);
    let text = signed("\"${env:MISSING}\"");
    let source = Source { path: "routes.toml".into(), text, environment: &environment, sets: &[] };
    assert!(Config::load_without_secrets(source).is_ok(), "elsewhere it may be missing");
}

#[test]
fn proxies_are_trusted_by_their_networks() {
    let server = |lines: &str| with(PARTNER).replace("tls =", &format!("{lines}\ntls ="));
    let config = right(&server("trusted_proxies = [\"10.0.0.0/8\", \"2001:db8::7\"]\nproxy_protocol = true"));
    let networks: Vec<_> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(
        (networks, config.server.proxy_protocol),
        (vec!["10.0.0.0/8".to_owned(), "2001:db8::7/128".to_owned()], true)
    );
    assert_eq!(config.server.connections_per_address_max, 256);
    assert_eq!(config.server.requests_at_once_max, None);
    assert_eq!(right(&server("requests_at_once_max = 7")).server.requests_at_once_max, NonZeroU32::new(7));
    assert_eq!(faults(&server("trusted_proxies = [\"10.0.0.0/33\"]")), ["3:21 `10.0.0.0/33` is no network"]);
    let one_for_all = right(&server("behind_proxy = true")).server;
    assert_eq!(one_for_all.connections_per_address_max, one_for_all.connections_max, "all are the proxy's");
    let nobody = "`proxy_protocol` without `trusted_proxies`: nobody could connect";
    assert_eq!(faults(&server("proxy_protocol = true")), [format!("3:18 {nobody}")]);
    assert_eq!(faults(&server("trusted_proxies = []\nproxy_protocol = true")), [format!("4:18 {nobody}")]);
    let header = |lines: &str| right(&server(lines)).server.forwarded_header;
    assert_eq!(header("trusted_proxies = [\"10.0.0.0/8\"]"), None);
    let named = "trusted_proxies = [\"10.0.0.0/8\"]\nforwarded_header = \"x-forwarded-for\"";
    assert_eq!(header(named), Some(ForwardedHeader::XForwardedFor));
    let unread = "`forwarded_header` is read of `trusted_proxies` alone, and not beside `proxy_protocol`";
    assert_eq!(faults(&server("forwarded_header = \"forwarded\"")), [format!("3:1 {unread}")]);
    assert_eq!(faults(&server(&format!("{named}\nproxy_protocol = true"))), [format!("4:1 {unread}")]);
}

#[test]
fn a_key_is_32_bytes_in_hex_or_base64_and_is_never_shown() {
    let encrypted = |value: &str| with(PARTNER).replace("[merchant", &format!("encryption = {value}\n[merchant"));
    let hex = "ab".repeat(32);
    let base64 = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s";
    for key in [hex.clone(), hex.to_uppercase(), format!("{base64}="), base64.to_owned(), format!(" {hex}\\n")] {
        let config = right(&encrypted(&format!("{{ key = \"{key}\", old_keys = [\"{base64}\"] }}")));
        let encryption = config.queue.encryption.as_ref().unwrap();
        assert_eq!(encryption.key.0, [0xab; 32], "{key}");
        assert_eq!(encryption.old_keys.len(), 1);
        assert!(!format!("{config:?}").contains("171, 171"), "it is shown");
    }
    assert_eq!(right(&with(PARTNER)).queue.encryption, None);
    let wrong = "`key` must be 32 bytes in hex or Base64";
    for key in ["", "secret", &hex.replacen("ab", "a", 1), &format!("{hex}00")] {
        let found = faults(&encrypted(&format!("{{ key = \"{key}\" }}")));
        assert!(matches!(found.as_slice(), [fault] if fault.ends_with(wrong)), "{found:?}");
    }
    let found = faults(&encrypted("{ old_keys = [] }"));
    assert!(matches!(found.as_slice(), [fault] if fault.ends_with("`encryption` needs `key`")), "{found:?}");
    let found = faults(&encrypted(&format!("{{ key = \"{hex}\", old_key = \"x\" }}")));
    assert!(matches!(found.as_slice(), [fault] if fault.contains("unknown key `old_key`")), "{found:?}");
}

#[test]
fn what_is_more_than_may_wait_is_refused_unless_it_is_said_otherwise() {
    let budget = |more: &str| right(&with(&format!("{PARTNER}{more}"))).destinations[0].budget;
    let hundred = std::num::NonZeroU32::new(100).unwrap();
    assert_eq!(budget(""), None);
    assert_eq!(budget("max_pending = 100\n"), Some(Budget { pending_max: hundred, overflow: Overflow::Refuse }));
    let skip = budget("max_pending = 100\non_overflow = \"skip\"\n");
    assert_eq!(skip, Some(Budget { pending_max: hundred, overflow: Overflow::Skip }));
    let alone = faults(&with(&format!("{PARTNER}on_overflow = \"skip\"\n")));
    assert_eq!(alone, ["13:1 `on_overflow` says nothing without `max_pending`"]);
}
