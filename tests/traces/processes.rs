//! What the environment of a process says of traces: what is right, what is refused in words, and the last spans of a stop.

use std::process::Command;
use std::sync::Arc;

use http::StatusCode;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio_rustls::TlsAcceptor;

use super::{CANARIES, personal, routes};
use crate::support::collector::{Collector, Mood};
use crate::support::process::Process;
use crate::support::recorder::Recorder;
use crate::support::tls::Authority;
use crate::support::{Http, eventually};

/// Routes in a folder, with two destinations that take all.
struct Place {
    folder: tempfile::TempDir,
    file: std::path::PathBuf,
    first: Recorder,
    second: Recorder,
}

impl Place {
    async fn new() -> Place {
        let (first, second) = (Recorder::unwilling().await, Recorder::unwilling().await);
        first.relent();
        second.relent();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("routes.toml");
        std::fs::write(&file, routes(&folder, &first, &second)).unwrap();
        Place { folder, file, first, second }
    }

    /// A relay that has delivered a conversion to both.
    async fn relay(&self, variables: &[&str]) -> Process {
        let relay = Process::wrapped(&[&["env"], variables].concat(), &self.file);
        let url = format!("{}/v1/conversions", relay.origin);
        assert_eq!(Http::new().post(&url, personal().to_string()).await.status, StatusCode::ACCEPTED);
        let taken = async || (self.first.has_taken() && self.second.has_taken()).then_some(());
        eventually("taken by both", taken).await;
        relay
    }

    /// What `check` says and complains of.
    fn check(&self, variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
        let mut check = Command::new(env!("CARGO_BIN_EXE_capi-relay"));
        check.args(["check", "-c"]).arg(&self.file).envs(variables.iter().copied());
        let output = check.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_hands_out_the_last_spans_over_tls_compressed_and_the_log_holds_no_header() {
    let authority = Authority::new("collectors");
    let pair = authority.server();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![pair.der()], key).unwrap();
    let collector = Collector::behind(Some(TlsAcceptor::from(Arc::new(tls)))).await;
    let place = Place::new().await;
    let ca = place.folder.path().join("ca.pem");
    std::fs::write(&ca, authority.0.pem()).unwrap();
    let port = collector.address.rsplit(':').next().unwrap();
    let relay = place
        .relay(&[
            &format!("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://localhost:{port}/path-canary"),
            &format!("OTEL_EXPORTER_OTLP_CERTIFICATE={}", ca.display()),
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS=authorization=Bearer%20header-canary",
            "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
            "OTEL_BSP_SCHEDULE_DELAY=3600000",
            "RUST_LOG=trace",
        ])
        .await;
    let log = relay.terminate_with_log();
    assert!(log.contains(&format!("traces are exported collector=\"https://localhost:{port}\"")), "{log}");
    let out: Vec<_> = CANARIES.into_iter().filter(|canary| log.contains(canary)).collect();
    assert!(out.is_empty(), "{out:?} in {log}");
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{log}\n{spans:#?}");
    let export = &collector.exports()[0];
    assert_eq!((export.path.as_str(), export.header("authorization")), ("/path-canary", "Bearer header-canary"));
    assert_eq!(export.header("content-encoding"), "gzip");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_is_a_line_in_the_log_and_no_more() {
    let collector = Collector::start().await;
    collector.be(Mood::Answers(StatusCode::UNAUTHORIZED));
    let place = Place::new().await;
    let relay = place
        .relay(&[
            &format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{}", collector.address),
            "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20header-canary",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=1",
        ])
        .await;
    let log = relay.terminate_with_log();
    let said: Vec<_> = log.lines().filter(|line| line.contains("traces: spans were lost")).collect();
    assert_eq!(said.len(), 1, "{log}");
    assert!(said[0].contains("WARN") && said[0].contains("failed=1") && said[0].contains("401"), "{said:?}");
    assert!(!log.contains("header-canary"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_where_traces_go_and_what_is_wrong_is_refused_in_words() {
    let place = Place::new().await;
    let (code, said, complaint) = place.check(&[]);
    assert_eq!((code, said.contains("traces")), (Some(0), false), "{said}{complaint}");
    let endpoint = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector.internal/path-canary?query-canary");
    let (code, said, complaint) = place.check(&[endpoint]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.contains("\ntraces      to https://collector.internal:443\n"), "{said}");

    let wrong = [endpoint, ("OTEL_EXPORTER_OTLP_HEADERS", "header-canary"), ("OTEL_TRACES_SAMPLER", "sometimes")];
    let (code, said, complaint) = place.check(&wrong);
    assert_eq!((code, said.as_str()), (Some(1), ""), "{complaint}");
    let headers = "OTEL_EXPORTER_OTLP_HEADERS: entry 1 is no `name=value`";
    assert!(complaint.contains(headers) && complaint.contains("OTEL_TRACES_SAMPLER: `sometimes`"), "{complaint}");
    assert!(!complaint.contains("canary"), "{complaint}");

    let wrapper = ["env", "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318"];
    let ended = Process::attempt(&wrapper, &place.file, &[], "info").err().unwrap();
    assert_eq!(ended.code, Some(64), "{}", ended.log);
    assert!(
        ended.log.contains("OTEL_EXPORTER_OTLP_ENDPOINT: ") && ended.log.contains("nothing is started"),
        "{}",
        ended.log
    );
}
