//! The configuration as the command line names it: the one place that reads the process's environment.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Config, Destination, Merchant, Report, Source, Trial};
use crate::ingress::unusable;
use crate::traces;

use super::{ConfigurationArgs, ReadingArgs, output};

/// Why there is no configuration.
pub(super) enum Failure {
    /// It was not found, not readable, or not laid over rightly.
    Unread(String),
    /// It is wrong.
    Wrong(Report),
}

/// All of it, ready to print.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unread(message) => f.write_str(message),
            Failure::Wrong(report) => write!(f, "{report}"),
        }
    }
}

/// Finds, reads and checks the configuration, for a command that sends nothing; the error is a whole report, ready to print.
pub(super) fn load_to_read(args: &ConfigurationArgs, reading: &ReadingArgs) -> Result<Config, String> {
    read(&find(args)?, args, reading)
}

/// Where a relay that has this configuration takes orders. Beside it the report of its faults, if it has any: a relay that
/// runs goes on by what it read before, and must be found all the same.
pub(super) fn admin_address(args: &ConfigurationArgs) -> Result<(SocketAddr, Option<String>), String> {
    let path = find(args)?;
    // Whoever asks need not have the relay's secrets.
    let report = match parse(&path, args, &ReadingArgs { no_secrets: true }) {
        Ok(config) => return Ok((config.server.admin, None)),
        Err(Failure::Unread(message)) => return Err(message),
        Err(Failure::Wrong(report)) => report.to_string(),
    };
    let text = config::read(&path).map_err(|error| output::chain(&error))?;
    let set = args.set.iter().rev().filter_map(|set| assignment(set).ok()).find(|(key, _)| key == "server.admin");
    let written = set.map(|(_, value)| value).or_else(|| config::admin_address(&text));
    match written.map(|address| address.parse()) {
        None => Ok((config::ADMIN_DEFAULT, Some(report))),
        Some(Ok(address)) => Ok((address, Some(report))),
        Some(Err(_)) => Err(report),
    }
}

/// Likewise, for a command that opens the data folder: with the key that seals it, if one does.
pub(super) fn load_for_folder(args: &ConfigurationArgs) -> Result<Config, String> {
    let config = load_to_read(args, &ReadingArgs { no_secrets: true })?;
    match &config.queue.encryption {
        Some(encryption) if encryption.key.is_stand_in() => Err(NO_KEY.to_owned()),
        Some(_) | None => Ok(config),
    }
}

const NO_KEY: &str = "`encryption.key` of `[queue]` cannot be read here, and the data folder is sealed with it: set its variable, or \
                      run this as the user who can read its file, as for `serve`";

/// Likewise, of this file.
pub(super) fn read(path: &Path, args: &ConfigurationArgs, reading: &ReadingArgs) -> Result<Config, String> {
    parse(path, args, reading).map_err(|failure| failure.to_string())
}

/// Likewise, as it serves; `reading` is told of each file before it is read.
pub(super) fn read_to_serve(path: &Path, args: &ConfigurationArgs, reading: &dyn Fn(&Path)) -> Result<Config, Failure> {
    reading(path);
    parse_by(path, args, |source| Config::load_to_serve(source, Trial { reading, tls: &unusable }))
}

/// Likewise, to say whether it would serve.
pub(super) fn check(args: &ConfigurationArgs, reading: &ReadingArgs) -> Result<Config, Failure> {
    let path = find(args).map_err(Failure::Unread)?;
    if reading.no_secrets { parse(&path, args, reading) } else { read_to_serve(&path, args, &|_| ()) }
}

fn parse(path: &Path, args: &ConfigurationArgs, reading: &ReadingArgs) -> Result<Config, Failure> {
    parse_by(path, args, if reading.no_secrets { Config::load_without_secrets } else { Config::load })
}

fn parse_by(
    path: &Path,
    args: &ConfigurationArgs,
    load: impl FnOnce(Source<'_>) -> Result<Config, Report>,
) -> Result<Config, Failure> {
    let text = config::read(path).map_err(|error| Failure::Unread(output::chain(&error)))?;
    let sets = args.set.iter().map(|set| assignment(set)).collect::<Result<Vec<_>, _>>().map_err(Failure::Unread)?;
    let source = Source { path: path.to_owned(), text, environment: &environment, sets: &sets };
    load(source).map_err(Failure::Wrong)
}

/// What the environment asks of traces; the error is a whole report, ready to print.
pub(super) fn traces() -> Result<traces::Settings, String> {
    traces::Settings::read(&environment).map_err(|wrong| wrong.to_string())
}

/// Which file is read.
pub(super) fn find(args: &ConfigurationArgs) -> Result<PathBuf, String> {
    config::find(args.config.as_deref(), &environment).map_err(|error| output::chain(&error))
}

/// The destinations of these names, in the order of the file; all where none is named.
pub(super) fn chosen<'c>(config: &'c Config, names: &[String]) -> Result<Vec<&'c Arc<Destination>>, String> {
    if let Some(unknown) = names.iter().find(|name| config.destination(name).is_none()) {
        let known: Vec<&str> = config.destinations.iter().map(|destination| destination.name.as_str()).collect();
        return Err(format!("there is no destination `{unknown}`; there are: {}", known.join(", ")));
    }
    let is_chosen = |destination: &&Arc<Destination>| {
        names.is_empty() || names.iter().any(|name| name == destination.name.as_str())
    };
    Ok(config.destinations.iter().filter(is_chosen).collect())
}

/// Says of each destination that no merchant sends to that a relay would send it nothing, whatever is shown of it.
pub(super) fn unserved<'c>(config: &Config, destinations: impl IntoIterator<Item = &'c Arc<Destination>>) {
    for destination in destinations.into_iter().filter(|destination| !config.is_served(destination)) {
        let name = &destination.name;
        output::error(&format!("note: {name}: no merchant sends to it: a relay would send it nothing"));
    }
}

/// The merchant of that name.
pub(super) fn merchant<'c>(config: &'c Config, name: &str) -> Result<&'c Merchant, String> {
    config.merchants.iter().find(|merchant| *merchant.name == *name).map(|merchant| &**merchant).ok_or_else(|| {
        let known: Vec<&str> = config.merchants.iter().map(|merchant| &*merchant.name).collect();
        format!("there is no merchant `{name}`; there are: {}", known.join(", "))
    })
}

/// A variable of the environment; one that is no text counts as absent.
pub(super) fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    std::env::var(name).ok()
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`--set {text}` sets nothing: write it as --set destination.thrad.origin=http://…"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
