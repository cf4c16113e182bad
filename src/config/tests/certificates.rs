//! Files of certificates and keys: what can be used, and what is said of the others.

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A certificate for itself, and its key, both PEM.
pub(super) fn identity() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (CertificateParams::default().self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// The faults of a destination with these keys, in whose folder these files are: place, message and help.
fn found(keys: &str, files: &[(&str, &[u8])]) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let (path, text) = (folder.path().join("routes.toml"), with(&format!("{PARTNER}{keys}\n")));
    let Err(report) = Config::load(Source { path, text, environment: &environment, sets: &[] }) else { return vec![] };
    assert!(!report.to_string().contains("U0VDUkVU"), "what stands in a key is nobody's to see: {report}");
    let said = |fault: &Located| {
        let place = format!("{}:{} {}", fault.line, fault.column, fault.message);
        (place, fault.help.clone().unwrap_or_default())
    };
    report.located().iter().map(said).collect()
}

#[track_caller]
fn check(cert: &[u8], key: &[u8], expected: &[(&str, &str)]) {
    let keys = "client_certificate = { cert = \"c.crt\", key = \"c.key\" }";
    let found = found(keys, &[("c.crt", cert), ("c.key", key)]);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((place, help), (expected, part)) in found.iter().zip(expected) {
        assert_eq!(place, expected);
        assert!(help.contains(part), "{help}");
    }
}

const CERT: &str = "13:32 `cert`";
const KEY: &str = "13:47 `key`";

#[test]
fn a_client_certificate_that_cannot_be_used_is_a_fault_at_its_own_key() {
    let ((cert, key), (other, foreign)) = (identity(), identity());
    let (cert, key, foreign) = (cert.as_bytes(), key.as_bytes(), foreign.as_bytes());
    check(cert, key, &[]);
    check(&[cert, key].concat(), &[key, cert].concat(), &[]);
    let at = |place: &str, message: &str| format!("{place} {message}");
    let no_cert = at(CERT, "holds a private key, and no certificate");
    let no_key = at(KEY, "holds a certificate, and no private key");
    check(key, cert, &[(&no_cert, "may have been exchanged"), (&no_key, "may have been exchanged")]);
    check(b"", key, &[(&at(CERT, "holds no certificate"), "-----BEGIN CERTIFICATE-----")]);
    check(cert, b"", &[(&at(KEY, "holds no private key"), "-----BEGIN PRIVATE KEY-----")]);
    let mismatch = at(KEY, "does not belong to the certificate in `cert`");
    check(cert, foreign, &[(&mismatch, "openssl x509 -noout -pubkey")]);
    let second = at(KEY, "belongs to certificate 2 of `cert`, and not to the first");
    check(&[other.as_bytes(), cert].concat(), key, &[(&second, "comes first")]);
    let encrypted = at(KEY, "holds an encrypted private key");
    for text in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nU0VDUkVU\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nU0VDUkVU\n-----END RSA PRIVATE KEY-----\n",
    ] {
        check(cert, text.as_bytes(), &[(&encrypted, "openssl pkey")]);
    }
    let unknown = b"-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----\n";
    check(cert, unknown, &[(&at(KEY, "holds a private key that cannot be used"), "Ed25519")]);
    check(
        cert,
        b"-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n",
        &[(&at(KEY, "is broken PEM"), "-----END PRIVATE KEY-----")],
    );
    check(cert, b"-----BEGIN U0VDUkVU\n", &[(&at(KEY, "is broken PEM"), "-----END PRIVATE KEY-----")]);
    let no_x509 = b"-----BEGIN CERTIFICATE-----\nU0VDUkVU\n-----END CERTIFICATE-----\n";
    let message = at(CERT, "holds a certificate (number 1) that is no X.509 certificate");
    check(no_x509, key, &[(&message, "openssl x509")]);
    check(b"\x30\x82\x01\xff", key, &[(&at(CERT, "holds no certificate in PEM"), "-inform der")]);
    check(cert, b"\x30\x82\x01\xff", &[(&at(KEY, "holds no private key in PEM"), "-inform der")]);
}

#[test]
fn a_ca_file_that_holds_no_roots_is_a_fault_beside_all_others() {
    let ((cert, key), keys) = (identity(), "ca_file = \"ca.pem\"\nmap.b = \"event_tipe\"");
    let of = |ca: &str| found(keys, &[("ca.pem", ca.as_bytes())]).into_iter().map(|(place, _)| place);
    let beside = "14:10 there is no field `event_tipe`".to_owned();
    let whole = of(&format!("# ours\n{cert}{cert}"));
    assert_eq!(whole.collect::<Vec<_>>(), std::slice::from_ref(&beside));
    for (content, message) in [
        ("no certificate", "holds no certificate"),
        (key.as_str(), "holds a private key, and no certificate"),
        ("-----BEGIN CERTIFICATE-----\n", "is broken PEM"),
    ] {
        assert_eq!(of(content).collect::<Vec<_>>(), [format!("13:12 `ca_file` {message}"), beside.clone()]);
    }
    let second = format!("{cert}-----BEGIN CERTIFICATE-----\nU0VDUkVU\n-----END CERTIFICATE-----\n");
    let message = "13:12 `ca_file` holds a certificate (number 2) that is no X.509 certificate";
    assert_eq!(of(&second).collect::<Vec<_>>(), [message.to_owned(), beside]);
}

#[test]
fn a_client_certificate_is_two_files_and_is_part_of_what_a_destination_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = with(&format!(
        "{PARTNER}client_certificate = {{ cert = \"{}\", key = \"{}\" }}\n",
        path("c.crt").display(),
        path("c.key").display()
    ));
    let missing = faults(&text);
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].ends_with("`cert` cannot be read: it does not exist"), "{missing:?}");
    let (one, two) = (identity(), identity());
    let fingerprint = |(cert, key): &(String, String)| {
        std::fs::write(path("c.crt"), cert).unwrap();
        std::fs::write(path("c.key"), key).unwrap();
        right(&text).destinations[0].fingerprint
    };
    assert_eq!(fingerprint(&one), fingerprint(&one));
    assert_ne!(fingerprint(&one), fingerprint(&two));
    let half = with(&format!("{PARTNER}client_certificate = {{ cert = \"{}\" }}\n", path("c.crt").display()));
    assert_eq!(faults(&half), ["13:1 `client_certificate` needs `key`"]);
    let printed = format!("{:?}", right(&text).destinations[0].connection);
    assert!(printed.contains("ClientCertificate { chain: 1, .. }"), "{printed}");
}

#[test]
fn certificates_of_a_destination_without_tls_are_warned_of() {
    let (cert, key) = identity();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.pem"), format!("{cert}{key}")).unwrap();
    let warnings = |url: &str, keys: &str| -> Vec<String> {
        let (path, text) = (folder.path().join("routes.toml"), with(PARTNER).replace("https://px.example.com", url));
        let source = Source { path, text: format!("{text}{keys}\n"), environment: &environment, sets: &[] };
        let config = Config::load(source).unwrap_or_else(|report| panic!("{report}"));
        config.warnings.located().iter().map(|warning| format!("{}:{}", warning.line, warning.message)).collect()
    };
    let (ca, own) = ("ca_file = \"c.pem\"", "client_certificate = { cert = \"c.pem\", key = \"c.pem\" }");
    let said = |what: &str| [format!("10:{what} of no use to `partner`: no URL of it is `https://`")];
    assert_eq!(warnings("http://127.0.0.1:9", ca), said("`ca_file` is"));
    assert_eq!(warnings("http://127.0.0.1:9", own), said("`client_certificate` is"));
    let both = format!("{ca}\n{own}");
    assert_eq!(warnings("http://127.0.0.1:9", &both), said("`ca_file` and `client_certificate` are"));
    assert_eq!(warnings("http://127.0.0.1:9", ""), [""; 0]);
    assert_eq!(warnings("https://127.0.0.1:9", &both), [""; 0]);
    assert_eq!(warnings("https://px.example", &format!("{both}\norigin = \"http://127.0.0.1:9\"")), [""; 0]);
}
