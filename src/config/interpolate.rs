//! `${env:NAME}`, `${env:NAME:-default}` (where it is not set, or empty) and `${file:PATH}` in the strings of routes.toml.
//! `$${` is a literal `${`.
//!
//! Reads the environment that it was given and files, nothing else; what it read never reaches a report.

use sha2::{Digest, Sha256};

use super::disk::Disk;
use super::files::{Files, inner_span};
use super::report::Faults;
use crate::mapping::{Span, Text};

/// Resolves the strings of one configuration.
pub(super) struct Interpolation<'a> {
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(super) disk: &'a Disk<'a>,
}

impl Interpolation<'_> {
    /// The text with every `${…}` replaced, or `None` after saying what is wrong. `whole` is the span of the string with
    /// its quotes. A credential that is missing is stood in for where the relay does not serve.
    pub(super) fn resolve(
        &self,
        text: &Text,
        whole: &Span,
        is_credential: bool,
        files: &mut Files,
        faults: &mut Faults,
    ) -> Option<Text> {
        let mut complete = true;
        let mut value = String::with_capacity(text.value.len());
        let mut rest = text.value.as_str();
        while let Some(start) = rest.find("${") {
            let (before, marker_on) = rest.split_at(start);
            let offset = text.value.len().saturating_sub(marker_on.len());
            if let Some(escaped) = before.strip_suffix('$') {
                value.push_str(escaped);
                value.push_str("${");
                rest = marker_on.get(2..).unwrap_or_default();
                continue;
            }
            value.push_str(before);
            let Some(length) = marker_on.find('}').map(|end| end.saturating_add(1)) else {
                faults.with_help(inner_span(text, &(offset..text.value.len())), "`${` without its `}`", ESCAPE_HELP);
                return None;
            };
            let (marker, after) = marker_on.split_at(length);
            let inner = offset..offset.saturating_add(length);
            let misread = misread(marker);
            let may_be_missing = faults.are_elsewhere() && names_source(marker) && misread.is_none();
            let found = match misread.map_or_else(|| self.lookup(marker), Err) {
                Err(_) if is_credential && may_be_missing => Ok(stand_in(marker)),
                found => found,
            };
            match found {
                Ok(found) => {
                    files.resolved(whole, &without_default(marker), &found);
                    value.push_str(&found);
                }
                Err((message, help)) => {
                    let help = if may_be_missing { elsewhere_help(marker) } else { help };
                    faults.with_help(inner_span(text, &inner), message, help);
                    complete = false;
                }
            }
            rest = after;
        }
        value.push_str(rest);
        complete.then(|| Text { value, span: whole.clone(), verbatim: false })
    }

    /// The value of one `${…}`, or what is wrong with it and what would be right.
    fn lookup(&self, marker: &str) -> Result<String, (String, String)> {
        let inner = marker.get(2..marker.len().saturating_sub(1)).unwrap_or_default();
        match inner.split_once(':') {
            Some(("env", rest)) => {
                let (name, default) = rest.split_once(":-").map_or((rest, None), |(name, or)| (name, Some(or)));
                let value = (self.environment)(name).filter(|value| default.is_none() || !value.is_empty());
                value.or(default.map(str::to_owned)).ok_or_else(|| {
                    let message = format!("the environment variable `{name}` is not set");
                    (message, format!("set it where the relay starts: {name}=…"))
                })
            }
            Some(("file", path)) => self
                .disk
                .read(&self.disk.folder.join(path), FILE_BYTES_MAX)
                .and_then(text_of)
                .map_err(|reason| (format!("the file `{path}` cannot be read: {reason}"), FILE_HELP.to_owned())),
            _ => Err((format!("`{marker}` names no source"), ESCAPE_HELP.to_owned())),
        }
    }
}

/// What is wrong with a `${env:…}` that a shell would read otherwise. A default may be a credential, and is not repeated.
fn misread(marker: &str) -> Option<(String, String)> {
    let rest = marker.strip_prefix("${env:")?.trim_end_matches('}');
    let (name, default) = rest.split_once(":-").map_or((rest, None), |(name, default)| (name, Some(default)));
    if default.is_some_and(|default| default.contains("${")) {
        let message = "a default is plain text; nesting is not supported".to_owned();
        return Some((message, format!("name one variable, `${{env:{name}}}`, and choose where it is set")));
    }
    if default.is_some_and(|default| default.contains('{')) {
        let message = "a default ends at the first `}`, so it holds no braces".to_owned();
        return Some((message, format!("write them outside of `${{env:{name}:-…}}`, or set `{name}`")));
    }
    let (name, _) = name.split_at(name.find([':', '-', '=', '?', '+'])?);
    let message = format!("something stands behind the name `{name}`, and it is no default");
    Some((message, format!("a default stands behind `:-`: `${{env:{name}:-…}}`")))
}

/// What would be right where secrets are stood in for, and this is none.
fn elsewhere_help(marker: &str) -> String {
    let name = marker.strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}'));
    let set = name.map_or_else(
        || "put a file there, for `check` with anything of the right type in it".to_owned(),
        |name| format!("set `{name}`, for `check` to anything of its type, or give a default: `${{env:{name}:-…}}`"),
    );
    format!("secrets alone are stood in for, and this is part of what is sent or served: {set}")
}

/// A default may be a credential: a message that names the marker leaves it out.
fn without_default(marker: &str) -> String {
    marker.split_once(":-").map_or_else(|| marker.to_owned(), |(name, _)| format!("{name}:-…}}"))
}

fn names_source(marker: &str) -> bool {
    marker.starts_with("${env:") || marker.starts_with("${file:")
}

/// What stands for a credential that is not there: no two are the same, and each can be a key in hex or Base64, or the
/// digest of a token. None passes for one that was read.
fn stand_in(marker: &str) -> String {
    let digest = Sha256::digest(marker);
    let bytes: Vec<u8> = STAND_IN.into_iter().chain(digest).take(digest.len()).collect();
    hex::encode(bytes)
}

/// Whether these bytes stand for some that were not there.
pub(super) fn is_stand_in(bytes: &[u8]) -> bool {
    bytes.starts_with(&STAND_IN)
}

/// How they begin.
const STAND_IN: [u8; 8] = *b"stand-in";

/// A small text, with one newline at its end cut.
fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    let mut text = String::from_utf8(bytes).map_err(|_not_text| "it is not UTF-8 text".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

const ESCAPE_HELP: &str = "write `${env:NAME}`, `${env:NAME:-default}` or `${file:PATH}`; `$${` stands for `${` itself";
const FILE_HELP: &str = "the path is relative to the folder of the configuration file";

/// Tokens and keys are small; anything larger is a wrong path.
const FILE_BYTES_MAX: u64 = 64 * 1024;
