//! The one way in: from a text, its environment and its overlays to a configuration or to every fault of it.

use std::path::PathBuf;
use std::sync::Arc;

use super::destination::{self, build};
use super::disk::{Disk, Trial};
use super::files::Files;
use super::interpolate::Interpolation;
use super::keys::{Keys, did_you_mean, listed};
use super::report::{Faults, Report};
use super::tree::{Builder, Entry, Table};
use super::{Config, merchant, server};
use crate::mapping::Span;

/// What a variable of the environment holds, by its name.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is read, and with what.
pub struct Source<'a> {
    /// Shown in reports; relative paths inside the file are relative to its folder.
    pub path: PathBuf,
    /// The file's text.
    pub text: String,
    /// The environment for `${env:NAME}`, and for `HTTPS_PROXY` and its like.
    pub environment: Environment<'a>,
    /// `--set destination.thrad.origin=…`: dotted key and value (a TOML value, or else a string) laid over the file.
    pub sets: &'a [(String, String)],
}

pub(super) fn load(
    source: Source<'_>,
    presets: &[(&str, &str)],
    mut faults: Faults,
    trial: Trial<'_>,
) -> Result<Config, Report> {
    let mut files = Files::default();
    let config = read(source, presets, trial, &mut files, &mut faults);
    let report = Report::new(faults, &files);
    match config {
        Some(config) if report.faults == 0 => Ok(Config { warnings: report, ..config }),
        Some(_) | None => Err(report),
    }
}

pub(super) fn read(
    source: Source<'_>,
    presets: &[(&str, &str)],
    trial: Trial<'_>,
    files: &mut Files,
    faults: &mut Faults,
) -> Option<Config> {
    let Source { path, text, environment, sets } = source;
    let disk = Disk { folder: path.parent().map(PathBuf::from).unwrap_or_default(), trial };
    let interpolation = Interpolation { environment, disk: &disk };
    let file = files.add(path.display().to_string(), text);
    let mut root = Builder { files, faults, interpolation: Some(&interpolation) }.parse(file)?;
    for (key, value) in sets {
        lay_set(&mut root, key, value, &interpolation, files, faults);
    }
    let start = Span { file, range: 0..0 };
    let mut keys = Keys::new(&root, start);
    let server = server::server(&mut keys, &disk, faults);
    let queue = server::queue(&mut keys, &disk.folder, faults);
    let destinations = sections(&mut keys, "destination", DESTINATION_HELP, faults);
    let senders = sections(&mut keys, "merchant", MERCHANT_HELP, faults);
    let names: Vec<&str> = destinations.iter().map(|entry| entry.key.value.as_str()).collect();
    let merchant_names: Vec<&str> = senders.iter().map(|entry| entry.key.value.as_str()).collect();
    // As it is written: a CA that is missing is not a fault of every merchant.
    let tls = root.table("server").and_then(|server| server.table("tls"));
    let asks_for_certificates = tls.is_some_and(|tls| tls.entry("client_ca").is_some());
    let before = faults.count();
    let merchants = merchant::merchants(senders, &names, asks_for_certificates, faults);
    // A name that is misspelt in `destinations` is a fault already, and no second one.
    if faults.count() == before && !merchants.is_empty() {
        merchant::unserved(destinations, &merchants, faults);
    }
    let window = queue.as_ref().map_or(std::time::Duration::MAX, |queue| queue.dedup_window);
    let mut built = Vec::with_capacity(destinations.len());
    for entry in destinations {
        let Some(source) = destination::Source::new(entry.clone(), presets, files, faults) else { continue };
        built.extend(build(source.read(&disk, environment, &merchant_names, faults), window, faults).map(Arc::new));
    }
    keys.finish("the configuration", faults);
    Some(Config { server: server?, queue: queue?, merchants, destinations: built, warnings: Report::default() })
}

/// The named tables of a section that must not be empty.
fn sections<'t>(keys: &mut Keys<'t>, section: &'static str, help: &str, faults: &mut Faults) -> &'t [Entry] {
    let entries = keys.entries(section, faults);
    if entries.is_empty() && keys.entry(section).is_none_or(|entry| entry.node.value.as_table().is_some()) {
        keys.missing(section, format!("there is no `[{section}.NAME]`"), help);
    }
    entries
}

/// Lays `--set key=value` over the file. It may change what the file has; it makes no new merchant or destination, so that a
/// misspelt name is found.
fn lay_set(
    root: &mut Table,
    key: &str,
    value: &str,
    interpolation: &Interpolation<'_>,
    files: &mut Files,
    faults: &mut Faults,
) {
    let literal = if toml::de::DeValue::parse(value).is_ok() { value.to_owned() } else { quoted(value) };
    let text = format!("{key} = {literal}");
    let behind_key = key.len()..text.len();
    let file = files.add(format!("--set {key}"), text);
    if !key.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '=' | '#' | '[' | ']')) {
        // Whether it is a credential, nothing tells.
        files.hide(&Span { file, range: behind_key });
        faults.with_help(Span { file, range: 0..key.len() }, "this is no key", SET_HELP);
        return;
    }
    let Some(table) = (Builder { files, faults, interpolation: Some(interpolation) }).parse(file) else {
        files.hide(&Span { file, range: behind_key });
        return;
    };
    if names_what_is_there(root, &table, faults) {
        root.lay(table);
    }
}

fn names_what_is_there(root: &Table, set: &Table, faults: &mut Faults) -> bool {
    for section in ["destination", "merchant"] {
        let Some(named) = set.table(section) else { continue };
        let there = root.table(section).map(|table| table.entries.as_slice()).unwrap_or_default();
        for Entry { key, .. } in &named.entries {
            if there.iter().any(|entry| entry.key.value == key.value) {
                continue;
            }
            let names = || there.iter().map(|entry| entry.key.value.as_str());
            let help = did_you_mean(&key.value, names()).unwrap_or_else(|| format!("the file has {}", listed(names())));
            faults.with_help(key.span.clone(), format!("there is no {section} `{}`", key.value), help);
            return false;
        }
    }
    true
}

/// A TOML basic string.
fn quoted(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len().saturating_add(2));
    quoted.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control.is_control() => quoted.push_str(&format!("\\U{:08X}", u32::from(control))),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

const SET_HELP: &str = "as in `--set destination.thrad.origin=http://127.0.0.1:9001`";
const MERCHANT_HELP: &str = "at least one merchant must be able to send: `[merchant.acme]` with `token_sha256`";
const DESTINATION_HELP: &str = "conversions must go somewhere: `[destination.thrad]` with `preset = \"thrad\"`";
