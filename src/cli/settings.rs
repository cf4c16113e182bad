//! The configuration as the command line names it: the one place that reads the process's environment.

use std::path::PathBuf;

use crate::config::{self, Config, Report, Source};

use super::{ConfigurationArgs, output};

/// Why there is no configuration.
pub(super) enum Failure {
    /// It was not found, not readable, or not laid over rightly: one line.
    Unread(String),
    /// It is wrong.
    Wrong(Report),
}

/// Finds, reads and checks the configuration; the error is a whole report, ready to print.
pub(super) fn load(args: &ConfigurationArgs) -> Result<Config, String> {
    load_or_report(args).map_err(|failure| match failure {
        Failure::Unread(message) => message,
        Failure::Wrong(report) => report.to_string(),
    })
}

/// Likewise, with every fault in parts.
pub(super) fn load_or_report(args: &ConfigurationArgs) -> Result<Config, Failure> {
    let (path, text, sets) = read(args).map_err(Failure::Unread)?;
    let source = Source { path, text, environment: &environment, sets: &sets };
    Config::load(source).map_err(Failure::Wrong)
}

type Sets = Vec<(String, String)>;

fn read(args: &ConfigurationArgs) -> Result<(PathBuf, String, Sets), String> {
    let path = config::find(args.config.as_deref(), &environment).map_err(|error| output::chain(&error))?;
    let text = config::read(&path).map_err(|error| output::chain(&error))?;
    let sets = args.set.iter().map(|set| assignment(set)).collect::<Result<Vec<_>, _>>()?;
    Ok((path, text, sets))
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
