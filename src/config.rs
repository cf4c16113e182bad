//! `routes.toml` → checked configuration.
//!
//! Text → what was written (a tree in which each key and value knows its place) → what it means ([`Config`]). Reading is
//! strict, and collects every fault at once; each is reported with file, line, column, the text underlined and what would be
//! right. Presets are the same TOML, compiled in; a destination lays its own keys over one, key by key.
//!
//! Promises: after [`Config::load`] nothing about the configuration can fail; a decision about a conversion is pure; no
//! credential stands in a report, nor what a `${env:…}` or `${file:…}` stood for. Reads files and the environment it is
//! given while loading, and afterwards nothing but the files of a golden that is proven; speaks to no network.

mod files;
mod units;
mod address;
mod disk;
mod interpolate;
mod tree;
mod report;
mod keys;
mod tokens;
mod certificates;
mod server;
mod merchant;
mod range;
mod preset;
mod fields;
mod starter;
mod rendering;
mod message;
mod outline;
mod difference;
mod golden;
mod destination;
mod options;
mod load;
mod find;
mod succession;
mod schema;
mod decision;
mod summary;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod laws;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use address::{Reach, reach};
pub use certificates::CertificateName;
pub use decision::Decision;
pub use destination::certificates::ClientCertificate;
pub use destination::checked::{
    Budget, Confirm, Connection, Consent, Destination, Judge, Limits, OnAmbiguous, OnUnmappable, Operation, Overflow,
    Retry, TestConversions, WaitHeader, WaitUnit,
};
pub use destination::confirm::{Question, UNCONFIRMED};
pub use destination::proxy::Proxy;
pub use difference::{Difference, Place, changes};
pub use disk::Trial;
pub use fields::preset_fields;
pub use find::{NotFound, ReadError, find, read};
pub use golden::{Expected, Failure, Golden, Proof};
pub use load::{Environment, Source};
pub use merchant::Merchant;
pub use message::MessageError;
pub use options::{option_certificate, option_roots};
pub use outline::{Outline, admin_address, outline};
pub use preset::presets;
pub use rendering::{Outcome, Rendering, Sample, SampleError};
use report::Faults;
pub use report::{Located, Report, Severity};
pub use schema::routes_schema;
pub(crate) use server::key_bytes;
pub use server::{
    ADMIN_DEFAULT, ClientAuth, Encryption, ForwardedHeader, Identity, Key, LogFormat, QueueSettings, Server, Tls,
    Transport,
};
pub use starter::{NoPreset, Starter, is_merchant_name, starter};
pub use succession::Succession;
pub use summary::Summary;
pub use tokens::AdminToken;
pub use units::{Rate, older_than, written_duration};

/// The checked configuration: after loading nothing about it can fail.
#[derive(Debug)]
pub struct Config {
    /// How the relay listens.
    pub server: Server,
    /// Where it keeps what it has accepted.
    pub queue: QueueSettings,
    /// In the order of the file.
    pub merchants: Vec<Arc<Merchant>>,
    /// In the order of the file.
    pub destinations: Vec<Arc<Destination>>,
    /// What is taken as it is, and probably not meant; no faults.
    pub warnings: Report,
}

impl Config {
    /// Reads and checks a configuration; every fault at once.
    pub fn load(source: Source<'_>) -> Result<Config, Report> {
        load::load(source, presets(), Faults::default(), Trial::NONE)
    }

    /// Likewise, to serve here: the files that only the relay must be able to read are tried out.
    pub fn load_to_serve(source: Source<'_>, trial: Trial<'_>) -> Result<Config, Report> {
        load::load(source, presets(), Faults::default(), trial)
    }

    /// Likewise, where the relay does not serve: a `${…}` of a secret or of a token's digest that comes to nothing is stood
    /// in for, and TLS files may be missing. Good for everything that shows requests masked; never for sending.
    pub fn load_without_secrets(source: Source<'_>) -> Result<Config, Report> {
        load::load(source, presets(), Faults::elsewhere(), Trial::NONE)
    }

    /// Likewise with these presets, by name and TOML, in the place of those that are compiled in: how a preset is tried
    /// before it is one.
    pub fn load_with_presets(source: Source<'_>, presets: &[(&str, &str)]) -> Result<Config, Report> {
        load::load(source, presets, Faults::default(), Trial::NONE)
    }

    /// The destination of that name.
    pub fn destination(&self, name: &str) -> Option<&Arc<Destination>> {
        self.destinations.iter().find(|destination| destination.name.as_str() == name)
    }
}
