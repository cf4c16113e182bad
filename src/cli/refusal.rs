//! Why a configuration does not come into force: whole, for who asked; fault by fault, for the log.

use std::fmt;

use tracing::{error, warn};

use super::output;
use super::relay::ReloadError;
use super::settings::Failure;
use super::test::Failed;
use crate::config::{Config, Severity};

/// Why a configuration does not come into force. `Display` is the whole report.
pub(super) enum Refusal {
    /// It could not be read, or is wrong.
    Read(Failure),
    /// Goldens of it fail.
    Goldens(Failed),
    /// The running relay cannot go over to it.
    Relay(ReloadError),
}

impl Refusal {
    /// An event for each fault, a line each, and one that sums up: what a person reads at night, and a machine at any time.
    pub(super) fn log(&self, cause: &str) {
        let reason = match self {
            Refusal::Read(Failure::Unread(reason)) => reason.clone(),
            Refusal::Read(Failure::Wrong(report)) => {
                let faults = report.located().iter().filter(|fault| fault.severity == Severity::Error);
                for fault in faults.take(EVENTS_MAX) {
                    let help = fault.help.as_deref().map(output::one_line);
                    error!(
                        file = fault.file,
                        line = fault.line,
                        column = fault.column,
                        fault = output::one_line(&fault.message),
                        help,
                        "fault in the configuration"
                    );
                }
                summary(&counted(report.faults, "fault"), report.faults)
            }
            Refusal::Goldens(failed) => {
                let places = failed.places();
                for (destination, conversion, reason) in places.iter().take(EVENTS_MAX) {
                    error!(destination, conversion, reason = output::one_line(reason), "golden fails");
                }
                summary(&failed.count(), places.len())
            }
            Refusal::Relay(error) => output::chain(error),
        };
        error!(cause, reason, "the new configuration is refused, the one before stays in force");
    }
}

/// Says what is taken, and probably not meant: an event for each.
pub(super) fn log_warnings(config: &Config) {
    for warning in config.warnings.located().iter().take(EVENTS_MAX) {
        let help = warning.help.as_deref().map(output::one_line);
        warn!(
            file = warning.file,
            line = warning.line,
            column = warning.column,
            warning = output::one_line(&warning.message),
            help,
            "the configuration is probably not what was meant"
        );
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Read(failure) => write!(f, "{failure}"),
            Refusal::Goldens(failed) => write!(f, "{failed} (`--no-goldens` serves all the same)"),
            Refusal::Relay(error) => f.write_str(&output::chain(error)),
        }
    }
}

fn summary(text: &str, places: usize) -> String {
    if places > EVENTS_MAX { format!("{text}, the first {EVENTS_MAX} places are logged") } else { text.to_owned() }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The first faults are often the cause of the rest; `POST /admin/reload` and `check` tell all of them.
const EVENTS_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::Source;

    const ROUTES: &str = "[server]\nlisten = \"127.0.0.1:8443\"\ntls = { self_signed = true }\n[queue]\npath = \"q\"\n\
                          [merchant.acme]\ntoken_sha256 = \"00\"\n[destination.dsp]\npreset = \"dsp\"\n\
                          vars.endpoint = \"https://px.example.com/c\"\nvars.data_source_key = \"k\"\n\
                          vars.advertiser_id = \"${env:PLANTED}\"\nsecrets.tokn = \"planted-in-the-file\"\n";

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged of a refusal of these routes.
    fn logged(routes: &str, json: bool) -> Vec<String> {
        let environment = |name: &str| (name == "PLANTED").then(|| "planted-in-the-environment".to_owned());
        let source =
            Source { path: "routes.toml".into(), text: routes.to_owned(), environment: &environment, sets: &[] };
        let refusal = Refusal::Read(Failure::Wrong(Config::load(source).unwrap_err()));
        let sink = Sink::default();
        let writer = sink.clone();
        let builder = tracing_subscriber::fmt().with_writer(move || writer.clone()).without_time().with_target(false);
        let log = || refusal.log("SIGHUP");
        crate::queue::tests::never_the_only_listener();
        match json {
            true => tracing::subscriber::with_default(builder.json().finish(), log),
            false => tracing::subscriber::with_default(builder.with_ansi(false).finish(), log),
        }
        let log = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(!log.contains("planted-in"), "{log}");
        log.lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_fault_is_a_line_that_can_be_read() {
        insta::assert_snapshot!(logged(ROUTES, false).join("\n"), @r#"
        ERROR fault in the configuration file="routes.toml" line=7 column=17 fault="`token_sha256` must be a SHA-256 in 64 hex digits" help="`capi-relay token` makes a token and prints its SHA-256"
        ERROR fault in the configuration file="routes.toml" line=12 column=22 fault="`vars.advertiser_id` must be a whole number, and `${env:PLANTED}` is none" help="look at what is set there"
        ERROR fault in the configuration file="routes.toml" line=13 column=9 fault="unknown secret `tokn`" help="did you mean `token`?"
        ERROR the new configuration is refused, the one before stays in force cause="SIGHUP" reason="3 faults"
        "#);
    }

    #[test]
    fn json_is_one_object_for_each_fault_and_one_that_sums_up() {
        let lines = logged(ROUTES, true);
        let events: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (summary, faults) = events.split_last().unwrap();
        assert_eq!(summary["fields"]["reason"], "3 faults");
        assert_eq!(summary["fields"]["cause"], "SIGHUP");
        assert_eq!(faults.len(), 3);
        assert_eq!(faults[0]["fields"]["file"], "routes.toml");
        assert_eq!((&faults[0]["fields"]["line"], &faults[0]["fields"]["column"]), (&7.into(), &17.into()));
        assert!(faults[0]["fields"]["fault"].as_str().unwrap().contains("token_sha256"), "{lines:?}");
    }

    #[test]
    fn a_flood_of_faults_is_cut_and_counted() {
        let many: String = (0..80).map(|number| format!("unknown{number} = 1\n")).collect();
        let lines = logged(&format!("{many}{ROUTES}"), false);
        assert_eq!(lines.len(), EVENTS_MAX + 1);
        assert!(lines.last().unwrap().contains("83 faults, the first 50 places are logged"), "{lines:?}");
    }
}
