//! Traces to an OpenTelemetry collector (OTLP over HTTP, protobuf): the build feature `otlp`.
//!
//! A request of which something was accepted is a span, under the one that its merchant named; each attempt is one more, below
//! it, and is what the attempt's own `traceparent` names to the platform. The spans are made at the end of what they tell of,
//! from what is known anyway, and have nothing to do with the log.
//!
//! Promises: who exports nothing pays a branch, and a build without the feature not even that. What waits for the collector
//! is bounded; what there is no room for is dropped and counted. Nothing waits for the collector but the last two seconds of a
//! stop. Where the merchant's trace is not recorded, nothing is exported of it.
//!
//! Never: exports a header, a path or query of a destination, a body, an excerpt, or anything of a conversion but its id,
//! its kind and its `event_type`. Never logs the collector's headers or its path.
//!
//! | file | owns |
//! | --- | --- |
//! | `absent` | what stands in for all of it in a build without the feature |
//! | `settings` | OpenTelemetry's own environment variables: what they say, or what would be right |
//! | `exported` | the spans: which there are, and which are recorded |
//! | `span` | one span as the exporter takes it |
//! | `outlet` | the bounded way out, what is counted of it, and what the log is told |
//! | `collector` | HTTP to the collector |

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod exported;
#[cfg(feature = "otlp")]
mod outlet;
#[cfg(feature = "otlp")]
mod settings;
#[cfg(feature = "otlp")]
mod span;

#[cfg(not(feature = "otlp"))]
pub use absent::{Attempting, Entry, Receipt, Settings, Traces};
#[cfg(feature = "otlp")]
pub use exported::{Attempting, Entry, Receipt, Traces};
#[cfg(feature = "otlp")]
pub use settings::Settings;

/// What becomes of traces, as `check` and the log say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// Nobody asked for them.
    Off,
    /// They go to a collector.
    Exported {
        /// Its scheme, host and port.
        collector: String,
        /// Its headers go over plain HTTP to another machine.
        exposed: bool,
    },
    /// They were asked for, and this build cannot.
    NotBuilt {
        /// The variable that asks for them.
        variable: &'static str,
    },
}

/// What is wrong with the environment, and what would be right: a line for each variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Wrong(pub Vec<String>);

/// Why traces cannot be exported although the environment is right.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The TLS library was refused its set-up.
    #[error("no TLS to the collector of traces")]
    Tls(#[source] rustls::Error),
    /// So was the exporter: its own words would hold the endpoint.
    #[error("no exporter of traces")]
    Exporter,
}

/// A variable of the environment; `None`: it is not set.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The variable that asks for traces, where one does. One that is empty counts as not set, as OpenTelemetry has it.
fn asked(environment: Environment<'_>) -> Option<&'static str> {
    let is = |name: &str, value: &str| environment(name).is_some_and(|is| is.trim().eq_ignore_ascii_case(value));
    let is_off = is(SDK_DISABLED, "true") || is(EXPORTER, "none");
    endpoint(environment).filter(|_| !is_off)
}

/// The variable that names the collector, where one does.
fn endpoint(environment: Environment<'_>) -> Option<&'static str> {
    let given = |name: &&str| environment(name).is_some_and(|value| !value.trim().is_empty());
    ENDPOINTS.iter().find(|name| given(name)).copied()
}

/// Turns traces off where it is `true`.
const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";
/// `otlp`, or `none` for no traces.
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
/// Where the collector is. The first is a whole URL, the second what `v1/traces` is put to.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_asked_for_by_an_endpoint() {
        #[track_caller]
        fn check(set: &[(&str, &str)], expected: Option<&str>) {
            let environment =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(asked(&environment), expected, "{set:?}");
        }
        let endpoint = (ENDPOINTS[1], "http://localhost:4318");
        check(&[], None);
        check(&[("OTEL_SERVICE_NAME", "relay")], None);
        check(&[(ENDPOINTS[1], "")], None);
        check(&[endpoint], Some(ENDPOINTS[1]));
        check(&[endpoint, (ENDPOINTS[0], "http://localhost:4318/v1/traces")], Some(ENDPOINTS[0]));
        check(&[endpoint, (SDK_DISABLED, "TRUE")], None);
        check(&[endpoint, (SDK_DISABLED, "false")], Some(ENDPOINTS[1]));
        check(&[endpoint, (EXPORTER, "none")], None);
        check(&[endpoint, (EXPORTER, "otlp")], Some(ENDPOINTS[1]));
    }
}
