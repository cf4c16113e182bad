//! The public listener's TLS: its certificate is renewed while it serves.

use std::path::Path;

use http::Method;

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
