//! The public listener's TLS: its certificate is renewed while it serves, and clients show theirs.

use std::path::Path;

use http::Method;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, KeyIdMethod, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};

use crate::support::process::{Process, run, started};
use crate::support::tls::{Authority, Door, Pair};
use crate::support::{Http, conversion, eventually};

/// Writes a pair where the routes look for it.
fn write(folder: &Path, cert: &Pair, key: &Pair) {
    std::fs::write(folder.join("tls.crt"), &cert.cert).unwrap();
    std::fs::write(folder.join("tls.key"), &key.key).unwrap();
}

/// Serves with TLS from now on.
fn serve_tls(file: &Path, tls: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text.replace("plaintext = true", tls)).unwrap();
}

const FILES: &str = "tls = { cert = \"tls.crt\", key = \"tls.key\" }";

async fn shows(relay: &Process, line: &str) {
    eventually(line, async || {
        let metrics = Http::new().call(Method::GET, &format!("{}/metrics", relay.admin), &[], "").await;
        metrics.body.as_str()?.lines().any(|shown| shown == line).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_from_the_next_connection_on_and_a_broken_one_is_not() {
    let (sandbox, folder, file) = started().await;
    let authority = Authority::new("tests");
    let (old, new) = (authority.server(), authority.server());
    write(folder.path(), &old, &old);
    serve_tls(&file, FILES);
    let relay = Process::serve(&file);
    let open = async || Door::open(&relay.origin, &authority, None).await.unwrap();
    let mut first = open().await;
    assert_eq!(first.shown, old.der());
    assert_eq!(first.post(&conversion("o1").to_string()).await, 202);

    // The files change by themselves; nobody is asked.
    write(folder.path(), &new, &new);
    shows(&relay, "capi_relay_config_version 2").await;
    let mut second = open().await;
    assert_eq!(second.shown, new.der());
    assert_eq!(second.post(&conversion("o2").to_string()).await, 202);
    assert_eq!(first.post(&conversion("o3").to_string()).await, 202, "it was not dropped");

    write(folder.path(), &old, &new);
    shows(&relay, "capi_relay_config_reloads_total{result=\"refused\"} 1").await;
    shows(&relay, "capi_relay_config_refused 1").await;
    assert_eq!(open().await.shown, new.der());
    let url = format!("{}/admin/reload", relay.admin);
    let refused = Http::new().call(Method::POST, &url, &[], "").await.body;
    let detail = refused["detail"].as_str().unwrap();
    let place = format!("{}:6:", file.display());
    assert!(detail.contains(&place) && detail.contains("cannot be used together"), "{detail}");
    let (code, _, error) = run(&["check", "-c", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(error.contains(&place) && error.contains("cannot be used together"), "{error}");

    write(folder.path(), &old, &old);
    shows(&relay, "capi_relay_config_version 3").await;
    shows(&relay, "capi_relay_config_refused 0").await;
    assert_eq!(open().await.shown, old.der());
    let other = std::fs::read_to_string(&file).unwrap().replace("tls.crt", "other.crt");
    std::fs::write(folder.path().join("other.crt"), &old.cert).unwrap();
    std::fs::write(&file, other).unwrap();
    shows(&relay, "capi_relay_config_version 4").await;
    let log = relay.terminate_with_log();
    assert_eq!(log.matches("certificate in force").count(), 3, "once for each that is another: {log}");
    assert!(log.contains("line=6") && log.contains("cannot be used together"), "{log}");
    sandbox.stop().await;
}

/// Certificates of merchants: by common name, or by another name.
fn own(authority: &Authority, common: &str, other: Option<SanType>, serial: u64) -> Pair {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params.subject_alt_names = other.into_iter().collect();
    params.serial_number = Some(SerialNumber::from(serial));
    authority.sign(&params)
}

fn write_crl(folder: &Path, authority: &Authority, revoked: &[u64]) {
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let crl = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2036, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    std::fs::write(folder.join("crl.pem"), crl.signed_by(&authority.0).unwrap().pem().unwrap()).unwrap();
}

const SHOP: &str = "[merchant.shop]\nclient_certificates = [\"CN=shop\", \"dns:shop.internal\", \"uri:spiffe://internal/shop\", \
                    \"email:shop@example.com\"]\n[merchant.acme]";

/// A relay that asks its clients who they are.
fn asking(folder: &Path, file: &Path, server: &Authority, clients: &Authority, more: &str) -> Process {
    let pair = server.server();
    write(folder, &pair, &pair);
    std::fs::write(folder.join("ca.pem"), clients.0.pem()).unwrap();
    let tls = FILES.replace(" }", &format!(", client_ca = \"ca.pem\"{more} }}"));
    serve_tls(file, &tls);
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text.replace("[merchant.acme]", SHOP)).unwrap();
    Process::serve(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_is_known_by_each_name_of_its_client_certificate() {
    let (sandbox, folder, file) = started().await;
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    let relay = asking(folder.path(), &file, &server, &clients, "");
    let mut number = 0;
    let mut post = async |own: Option<&Pair>, headers: &[(&str, &str)]| {
        number += 1;
        let body = conversion(&format!("o{number}")).to_string();
        let mut door = Door::open(&relay.origin, &server, own).await?;
        door.post_with(headers, &body).await
    };
    let text = |name: &str| name.try_into().unwrap();
    for name in [
        None,
        Some(SanType::DnsName(text("Shop.internal"))),
        Some(SanType::URI(text("spiffe://internal/shop"))),
        Some(SanType::Rfc822Name(text("shop@Example.com"))),
    ] {
        let shop = own(&clients, if name.is_none() { "shop" } else { "x" }, name.clone(), 1);
        let (status, body) = post(Some(&shop), &[]).await.unwrap();
        assert_eq!(status, 202, "{name:?}: {body}");
    }
    let bearer = format!("Bearer {}", crate::support::TOKEN);
    let token = [("authorization", bearer.as_str())];
    let stranger = own(&clients, "stranger", Some(SanType::DnsName(text("a.shop.internal"))), 2);
    let (status, body) = post(Some(&stranger), &[]).await.unwrap();
    assert!(status == 403 && body.contains("the client certificate belongs to no merchant"), "{body}");
    assert_eq!(post(Some(&stranger), &token).await.unwrap().0, 202, "acme has no certificates of its own");
    let shop = own(&clients, "shop", None, 3);
    assert_eq!(post(Some(&shop), &token).await.unwrap().0, 403, "another one's token");
    // Who shows none, or one of somebody else's, is not spoken with.
    assert!(post(None, &token).await.is_err());
    let foreign = own(&Authority::new("clients"), "shop", None, 4);
    assert!(post(Some(&foreign), &[]).await.is_err());
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_revoked_opens_nothing_more_on_open_connections_too() {
    let (sandbox, folder, file) = started().await;
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    write_crl(folder.path(), &clients, &[]);
    let more = ", client_crl = \"crl.pem\", client_auth = \"optional\"";
    let relay = asking(folder.path(), &file, &server, &clients, more);
    let (shop, good) = (own(&clients, "shop", None, 7), own(&clients, "shop", None, 8));
    let open = async |own: &Pair| Door::open(&relay.origin, &server, Some(own)).await;
    let (mut shop_door, mut good_door) = (open(&shop).await.unwrap(), open(&good).await.unwrap());
    let body = |order: &str| conversion(order).to_string();
    for (door, order) in [(&mut shop_door, "o1"), (&mut good_door, "o2")] {
        assert_eq!(door.post_with(&[], &body(order)).await.unwrap().0, 202);
    }
    write_crl(folder.path(), &clients, &[7]);
    shows(&relay, "capi_relay_config_version 2").await;
    let (status, problem) = shop_door.post_with(&[], &body("o3")).await.unwrap();
    assert!(status == 403 && problem.contains("no longer trusted"), "{problem}");
    assert_eq!(good_door.post_with(&[], &body("o4")).await.unwrap().0, 202);
    let refused = async {
        let mut door = open(&shop).await?;
        door.post_with(&[], &body("o5")).await
    };
    assert!(refused.await.is_err());
    assert_eq!(open(&good).await.unwrap().post_with(&[], &body("o6")).await.unwrap().0, 202);
    // Optional: who shows none is known by its token.
    assert_eq!(Door::open(&relay.origin, &server, None).await.unwrap().post(&body("o7")).await, 202);

    // Another CA takes the place of the one before, whose certificates are good no longer.
    let successors = Authority::new("successors");
    write_crl(folder.path(), &successors, &[]);
    std::fs::write(folder.path().join("ca.pem"), successors.0.pem()).unwrap();
    shows(&relay, "capi_relay_config_version 3").await;
    assert_eq!(good_door.post_with(&[], &body("o8")).await.unwrap().0, 403);
    assert!(good_door.post_with(&[], &body("o8")).await.is_err(), "the connection has ended");
    let successor = own(&successors, "shop", None, 1);
    assert_eq!(open(&successor).await.unwrap().post_with(&[], &body("o9")).await.unwrap().0, 202);

    std::fs::write(folder.path().join("crl.pem"), "no list").unwrap();
    shows(&relay, "capi_relay_config_reloads_total{result=\"refused\"} 1").await;
    assert_eq!(open(&successor).await.unwrap().post_with(&[], &body("o10")).await.unwrap().0, 202);
    let log = relay.terminate_with_log();
    assert!(log.contains("holds no revocation list") && log.contains("line=6"), "{log}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_required_from_now_on_is_required_on_open_connections_too() {
    let (sandbox, folder, file) = started().await;
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    let relay = asking(folder.path(), &file, &server, &clients, ", client_auth = \"optional\"");
    let body = |order: &str| conversion(order).to_string();
    let mut without = Door::open(&relay.origin, &server, None).await.unwrap();
    assert_eq!(without.post(&body("o1")).await, 202);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"optional\"", "\"required\"")).unwrap();
    shows(&relay, "capi_relay_config_version 2").await;
    let bearer = format!("Bearer {}", crate::support::TOKEN);
    let (status, problem) = without.post_with(&[("authorization", &bearer)], &body("o2")).await.unwrap();
    assert!(status == 403 && problem.contains("a client certificate is required now"), "{problem}");
    assert!(without.post_with(&[("authorization", &bearer)], &body("o2")).await.is_err(), "the connection has ended");
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

const SIGNED: &str = "[merchant.signed]\ntoken_sha256 = \"@token@\"\nsigning_secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n\
                      [merchant.acme]";

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_speaks_as_every_merchant_may() {
    let (sandbox, folder, file) = started().await;
    let (server, clients) = (Authority::new("server"), Authority::new("clients"));
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("signed-token"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("[merchant.acme]", &SIGNED.replace("@token@", &digest))).unwrap();
    let relay = asking(folder.path(), &file, &server, &clients, ", client_auth = \"optional\"");
    let (url, shop) = (relay.origin.replace("http://127.0.0.1", "https://localhost"), own(&clients, "shop", None, 1));
    let written = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let body = |order: &str| conversion(order).to_string();
    let (ca, foreign) = (written("server.pem", &server.0.pem()), written("foreign.pem", &clients.0.pem()));
    let (cert, key) = (written("shop.crt", &shop.cert), written("shop.key", &shop.key));
    let (own_pair, place) =
        (["--client-certificate", &cert, "--client-key", &key], ["--url", url.as_str(), "--ca", ca.as_str()]);
    let of =
        |merchant: &str, order: &str| run(&["status", "--order", order, "--admin", &relay.admin]).1.contains(merchant);

    // By a certificate alone.
    let first = written("o1.json", &body("o1"));
    let (code, said, error) = run(&[&["send", &first], &place[..], &own_pair].concat());
    assert_eq!(code, Some(0), "{said}{error}");
    assert!(of("merchant    shop", "o1"));
    let (code, said, error) = run(&[&["status", "--order", "o1"], &place[..], &own_pair].concat());
    assert!(code == Some(0) && said.contains("merchant    shop"), "{said}{error}");
    let (code, _, error) = run(&[&["send", &first, "--url", &url, "--ca", &foreign], &own_pair[..]].concat());
    assert!(code == Some(1) && error.contains("no TLS connection") && error.contains("UnknownIssuer"), "{error}");

    // Signed, with a token: one, a file of lines, and what became of it.
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let signed = ["--token", "signed-token", "--signing-secret", secret];
    let second = written("o2.json", &body("o2"));
    let lines = written("o3.ndjson", &format!("{}\n{}\n", body("o3"), body("o4")));
    for (file, order) in [(&second, "o2"), (&lines, "o4")] {
        let (code, said, error) = run(&[&["send", file.as_str()], &place[..], &signed].concat());
        assert_eq!(code, Some(0), "{said}{error}");
        let (code, said, error) = run(&[&["status", "--order", order], &place[..], &signed].concat());
        assert!(code == Some(0) && said.contains("merchant    signed"), "{said}{error}");
    }
    let other = ["--token", "signed-token", "--signing-secret", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="];
    let (code, _, error) = run(&[&["send", &second], &place[..], &other].concat());
    assert!(code == Some(1) && error.contains("no v1 signature"), "{error}");

    // The operator's commands, where something in front of the admin listener speaks TLS: here nothing is found behind it.
    let health = |ca: &str| run(&["health", "--admin", &url, "--ca", ca]).2;
    assert!(health(&ca).contains("not ready: 404"), "{}", health(&ca));
    assert!(health(&foreign).contains("UnknownIssuer"), "{}", health(&foreign));
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[test]
fn credentials_that_cannot_be_used_are_refused_in_words_that_hold_nothing_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("tests");
    let (one, two) = (authority.server(), authority.server());
    write(folder.path(), &one, &two);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key, absent) = (path("tls.crt"), path("tls.key"), path("absent.pem"));
    std::fs::write(path("conversion.json"), "{}").unwrap();
    let check = |arguments: &[&str], expected: (i32, &str)| {
        let place = ["send", &path("conversion.json"), "--url", "https://localhost:9"];
        let (code, _, error) = run(&[&place[..], arguments].concat());
        assert!(code == Some(expected.0) && error.contains(expected.1), "{arguments:?}: {code:?} {error}");
        assert!(!error.contains("AAAA") && !error.contains("MfKQ"), "{error}");
    };
    check(&["--client-certificate", &cert], (2, "--client-key <FILE>"));
    check(&["--client-key", &key], (2, "--client-certificate <FILE>"));
    check(&["--ca", &absent], (1, "`--ca`: cannot read "));
    check(&["--ca", &key], (1, "`--ca` holds a private key, and no certificate: "));
    let pair = (1, "`--client-key` does not belong to the certificate in `--client-certificate`: ");
    check(&["--client-certificate", &cert, "--client-key", &key], pair);
    check(&["--signing-secret", "whsec_AAAA"], (1, "`--signing-secret`: the key is 3 bytes long"));
    check(&["--signing-secret", "MfKQ*"], (1, "`--signing-secret`: the key does not begin with `whsec_`"));
    std::fs::write(&key, &one.key).unwrap();
    let plain = ["--client-certificate", &cert, "--client-key", &key, "--url"];
    // Somebody has to listen, or nothing is said of what is spoken.
    let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", there.local_addr().unwrap());
    let (code, _, error) = run(&[&["send", &path("conversion.json")], &plain[..], &[url.as_str()]].concat());
    assert!(
        code == Some(1) && error.contains("a certificate is shown over TLS alone: use https://127.0.0.1"),
        "{error}"
    );
}
