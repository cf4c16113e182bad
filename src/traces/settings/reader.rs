//! Variables, one by one: a value, or a line that says what would be right.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use url::Url;

use super::super::{Environment, Wrong};

/// Reads variables, and keeps what is wrong with them.
pub(super) struct Reader<'e> {
    environment: Environment<'e>,
    wrong: Vec<String>,
}

impl<'e> Reader<'e> {
    pub(super) fn new(environment: Environment<'e>) -> Reader<'e> {
        Reader { environment, wrong: Vec::new() }
    }

    /// Whether nothing was wrong.
    pub(super) fn end(self) -> Result<(), Wrong> {
        if self.wrong.is_empty() { Ok(()) } else { Err(Wrong(self.wrong)) }
    }

    /// An empty variable is none.
    fn text(&self, name: &str) -> Option<String> {
        (self.environment)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The first that is set.
    fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, String)> {
        names.iter().find_map(|name| Some((*name, self.text(name)?)))
    }

    fn refuse(&mut self, name: &str, why: impl Display) {
        self.wrong.push(format!("{name}: {why}"));
    }

    /// One of a few words, in either case.
    pub(super) fn one_of(&mut self, name: &str, words: &[&'static str]) -> Option<&'static str> {
        let text = self.text(name)?;
        let word = words.iter().find(|word| word.eq_ignore_ascii_case(&text)).copied();
        if word.is_none() {
            self.refuse(name, format_args!("`{text}` is not known here: it may be `{}`", words.join("` or `")));
        }
        word
    }

    /// What this build has not.
    pub(super) fn absent(&mut self, name: &str, why: &str) {
        if self.text(name).is_some() {
            self.refuse(name, why);
        }
    }

    fn parsed<T: FromStr>(&mut self, names: &[&str], right: &str, is_right: impl Fn(&T) -> bool) -> Option<T> {
        let (name, text) = self.first(names)?;
        let value = text.parse().ok().filter(is_right);
        if value.is_none() {
            self.refuse(name, format_args!("`{text}` is not right: {right}"));
        }
        value
    }

    /// Milliseconds.
    pub(super) fn duration(&mut self, names: &[&str], otherwise: Duration) -> Duration {
        let is_right = |ms: &u64| (1..=DURATION_MS_MAX).contains(ms);
        let ms = self.parsed(names, "it is a number of milliseconds, from 1 to an hour's 3600000", is_right);
        ms.map_or(otherwise, Duration::from_millis)
    }

    pub(super) fn count(&mut self, name: &str, otherwise: usize, max: usize) -> usize {
        let right = format!("it is a number of spans, from 1 to {max}");
        self.parsed(&[name], &right, |count| (1..=max).contains(count)).unwrap_or(otherwise)
    }

    /// Pairs in W3C Baggage's form: `name=value,name=value`, with percent-encoding.
    fn pairs(&mut self, name: &str, text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (at, entry) in text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty()) {
            let pair = entry.split_once('=').and_then(|(key, value)| {
                let decoded = |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
                Some((decoded(key)?, decoded(value)?))
            });
            match pair.filter(|(key, _)| !key.is_empty()) {
                Some(pair) => pairs.push(pair),
                // What stands there may be a credential.
                None => {
                    let place = at.saturating_add(1);
                    self.refuse(name, format_args!("entry {place} is no `name=value`, percent-encoded, as `a=1,b=2`"));
                }
            }
        }
        pairs
    }

    pub(super) fn headers(&mut self, names: [&str; 2]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some((name, text)) = self.first(&names) else { return headers };
        for (at, (key, value)) in self.pairs(name, &text).into_iter().enumerate() {
            let header = HeaderName::try_from(key).ok().zip(HeaderValue::try_from(value).ok());
            let Some((key, mut value)) = header else {
                let place = at.saturating_add(1);
                self.refuse(
                    name,
                    format_args!(
                        "entry {place} is no header: a name is letters, digits and `-`, a value visible characters"
                    ),
                );
                continue;
            };
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        headers
    }

    /// What the relay is called where spans are looked at.
    pub(super) fn resource(&mut self, attributes: &str, service_name: &str) -> Vec<KeyValue> {
        let own = [("service.name", env!("CARGO_PKG_NAME")), ("service.version", env!("CARGO_PKG_VERSION"))];
        let mut resource: Vec<KeyValue> = own.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
        // Of two of a name the later one counts.
        if let Some(text) = self.text(attributes) {
            let pairs = self.pairs(attributes, &text);
            resource.extend(pairs.into_iter().map(|(key, value)| KeyValue::new(key, value)));
        }
        resource.extend(self.text(service_name).map(|name| KeyValue::new("service.name", name)));
        resource
    }

    pub(super) fn sampler(&mut self, name: &str, argument: &str) -> Sampler {
        let based = |root: Sampler| Sampler::ParentBased(Box::new(root));
        let word = self.one_of(name, &SAMPLERS).unwrap_or(SAMPLERS[0]);
        let mut ratio = || {
            let is_right = |ratio: &f64| (0.0..=1.0).contains(ratio);
            let ratio = self.parsed(&[argument], "it is a share of all traces, from 0 to 1, as 0.1", is_right);
            Sampler::TraceIdRatioBased(ratio.unwrap_or(1.0))
        };
        match word {
            "parentbased_always_off" => based(Sampler::AlwaysOff),
            "parentbased_traceidratio" => based(ratio()),
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => ratio(),
            _ => based(Sampler::AlwaysOn),
        }
    }

    /// Certificates that are trusted beside Mozilla's.
    pub(super) fn roots(&mut self, names: [&str; 2]) -> Vec<TrustAnchor<'static>> {
        let Some((name, path)) = self.first(&names) else { return Vec::new() };
        let read = std::fs::read(&path).map_err(|error| format!("`{path}` cannot be read: {error}"));
        let roots = read.and_then(|pem| {
            let mut store = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate.ok().and_then(|certificate| store.add(certificate).ok());
                added.ok_or_else(|| format!("a certificate in `{path}` cannot be read"))?;
            }
            let right = "a certificate begins with `-----BEGIN CERTIFICATE-----`";
            if store.is_empty() { Err(format!("`{path}` holds none: {right}")) } else { Ok(store.roots) }
        });
        roots.unwrap_or_else(|why| {
            self.refuse(name, why);
            Vec::new()
        })
    }

    /// Where spans are posted to; to a base `v1/traces` is put.
    pub(super) fn endpoint(&mut self, name: &str, is_base: bool) -> Option<Url> {
        let text = self.text(name)?;
        let url = endpoint(&text, is_base);
        url.map_err(|why| self.refuse(name, why)).ok()
    }
}

/// The text is not repeated: some have a credential in it.
fn endpoint(text: &str, is_base: bool) -> Result<Url, String> {
    let example = if is_base { "https://collector.internal:4318" } else { "https://collector.internal:4318/v1/traces" };
    let mut url = Url::parse(text).map_err(|error| format!("no URL ({error}): write it as {example}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("no HTTP URL: write it as {example}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into the URL: OTEL_EXPORTER_OTLP_HEADERS is for them".to_owned());
    }
    if is_base {
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("a base has neither query nor fragment, as {example}"));
        }
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    // What sends it takes fewer hosts than what reads it.
    http::Uri::try_from(url.as_str()).map_err(|_invalid| format!("no HTTP URL: write it as {example}"))?;
    Ok(url)
}

/// The first is the default.
const SAMPLERS: [&str; 6] = [
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "always_on",
    "always_off",
    "traceidratio",
];
const DURATION_MS_MAX: u64 = 3_600_000;
