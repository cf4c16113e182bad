//! `confirm = { … }`: how the platform is asked what became of what it accepted.
//!
//! A preset declares the step, and asks nothing: questions cost of the same rate. The destination turns it on, with `true`
//! or with keys of its own. What was captured of an answer goes into the URL behind the host, which the configuration fixes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::auth::auth;
use super::checked::{Confirm, Judge, Operation};
use super::operation::pairs;
use crate::config::keys::{At, Keys, did_you_mean, listed, wrong_with_help};
use crate::config::report::Faults;
use crate::config::tree::{Entry, Node, Table, Value};
use crate::config::{WaitHeader, written_duration};
use crate::mapping::{
    AnswerCondition, AuthSource, Capture, Constants, Encoding, Given, Request, RequestSource, RequestTemplate,
    RulesSource, Scope, Secrets, Span, Text, Unmappable,
};

/// The request that asks, and where in its URL what stands that was captured.
#[derive(Debug)]
pub struct Question {
    request: RequestTemplate,
    /// In the order of the URL.
    places: Vec<Captured>,
}

/// A captured value's place in a URL: a mark stands there that the value takes the place of.
#[derive(Debug)]
struct Captured {
    name: String,
    mark: String,
    /// It stands directly behind the host, and is a path with what may follow one; otherwise it is encoded.
    is_path: bool,
}

impl Question {
    /// Whether all that stands in its URL was captured.
    pub fn can_be_asked(&self, captured: &BTreeMap<String, String>) -> bool {
        self.places.iter().all(|place| captured.contains_key(&place.name))
    }

    /// The request for a conversion and what was captured of the answer to it.
    ///
    /// # Errors
    /// When something that stands in the URL is absent, or cannot stand there.
    pub fn ask(&self, scope: Scope<'_>, captured: &BTreeMap<String, String>) -> Result<Request, Unmappable> {
        let mut request = self.request.render(scope, Secrets::Revealed)?;
        let mut url = String::with_capacity(request.url.len());
        let mut rest = request.url.as_str();
        for place in &self.places {
            let refuse =
                |reason: &str| Unmappable { field: format!("captured.{}", place.name), reason: reason.to_owned() };
            let value = captured.get(&place.name).ok_or_else(|| refuse("was not in the answer"))?;
            let (before, after) = rest.split_once(&place.mark).ok_or_else(|| refuse("has no place in the URL"))?;
            url.push_str(&joined(&url, before));
            if !place.is_path {
                url.extend(utf8_percent_encode(value, ESCAPED));
            } else if value.starts_with('/') && value.bytes().all(is_path_byte) {
                url.push_str(value);
            } else {
                return Err(refuse("is no path"));
            }
            rest = after;
        }
        let rest = joined(&url, rest);
        url.push_str(&rest);
        request.url = url;
        Ok(request)
    }

    /// The request for a conversion that was not sent: `{captured.NAME}` stands where an answer's value would.
    ///
    /// # Errors
    /// When something of it is absent in the conversion.
    pub fn shown(&self, scope: Scope<'_>, secrets: Secrets) -> Result<Request, Unmappable> {
        let mut request = self.request.render(scope, secrets)?;
        for Captured { name, mark, .. } in &self.places {
            request.url = request.url.replacen(mark, &format!("{OPENING}{name}}}"), 1);
        }
        Ok(request)
    }

    /// Scheme, host and port; `None` when something it needs is not set.
    pub fn origin(&self) -> Option<&str> {
        self.request.origin()
    }
}

/// What the operation has that asks.
pub(super) struct Asks<'t> {
    /// Of the operation.
    pub(super) name: &'t str,
    pub(super) captures: &'t [(Text, Text)],
    pub(super) auth: Option<&'t Entry>,
    pub(super) origin: Option<&'t Text>,
    pub(super) wait_header: Option<&'t WaitHeader>,
    pub(super) constants: &'t Constants,
}

/// Turns on the step that a preset declares where the destination says so: its keys, with the destination's over them,
/// take the place of what the destination says. Whether the preset declares one.
pub(in crate::config) fn turn_on(base: &mut Table, over: &mut Table) -> bool {
    let Some(declared) = base.remove(KEY) else { return false };
    let on = |table: &mut Table| {
        let is_on = matches!(
            table.entry(KEY),
            Some(Entry { node: Node { value: Value::Bool(true) | Value::Table(_), .. }, .. })
        );
        let Some(own) = is_on.then(|| table.remove(KEY)).flatten() else { return };
        let mut whole = declared.clone();
        if let (Value::Table(whole), Value::Table(own)) = (&mut whole.node.value, own.node.value) {
            whole.lay(own);
        }
        table.entries.push(whole);
    };
    on(over);
    for operation in over.table_mut("operation").map(|table| table.entries.as_mut_slice()).unwrap_or_default() {
        if let Value::Table(operation) = &mut operation.node.value {
            on(operation);
        }
    }
    true
}

/// Reads and compiles it; `None` where it is off, or at fault.
pub(super) fn confirm(entry: &Entry, of: &Asks<'_>, faults: &mut Faults) -> Option<Confirm> {
    match entry.node.value {
        Value::Bool(false) => return None,
        Value::Bool(true) => {
            let message = "`confirm = true` turns on a step that the preset declares, and there is none";
            faults.with_help(entry.node.span.clone(), message, EXAMPLE);
            return None;
        }
        Value::Table(_) => {}
        Value::Text { .. }
        | Value::Unresolved
        | Value::Integer(_)
        | Value::Float
        | Value::Datetime
        | Value::List(_) => {
            wrong_with_help(KEY, "`true`, `false` or a table", &entry.node, EXAMPLE, faults);
            return None;
        }
    }
    let mut keys = Keys::of(entry, faults)?;
    let url = keys.text("url", faults);
    let headers = pairs(&mut keys, "headers", faults);
    let (after, every) = (keys.duration("after", faults), keys.duration("every", faults));
    let tries = keys.count("tries", faults);
    let confirmed_when = keys.text("confirmed_when", faults);
    let duplicate_when = keys.text("duplicate_when", faults);
    let rejected_when = keys.text("rejected_when", faults);
    let reason = keys.text("reason", faults);
    for key in ["url", "confirmed_when"] {
        if keys.entry(key).is_none() {
            keys.missing(key, format!("`confirm` needs `{key}`"), EXAMPLE);
        }
    }
    keys.finish("`confirm`", faults);
    let mut condition =
        |text: &Option<Text>| text.as_ref().and_then(|text| faults.take(AnswerCondition::compile(text)));
    let (confirmed, duplicate) = (condition(&confirmed_when), condition(&duplicate_when));
    let rejected = condition(&rejected_when);
    let reason = reason.and_then(|text| faults.take(Capture::compile(&text)));
    let question = url.and_then(|url| question(&url, headers, of, faults));
    let given = |at: Option<At<Duration>>, otherwise| at.map_or(otherwise, |at| at.value);
    let judge = Judge {
        duplicate_when: duplicate,
        // Without it any 2xx would confirm.
        delivered_when: Some(confirmed?),
        rejected_when: rejected,
        suspended_when: None,
        ambiguous_when: None,
        throttled_when: None,
        retry_when: None,
        wait_header: of.wait_header.cloned(),
        capture: reason.map(|capture| (REASON.to_owned(), capture)).into_iter().collect(),
    };
    let tries = tries.map_or(TRIES, |tries| tries.value);
    Some(Confirm { question: question?, after: given(after, AFTER), every: given(every, EVERY), tries, judge })
}

fn question(url: &Text, headers: Vec<(Text, Text)>, of: &Asks<'_>, faults: &mut Faults) -> Option<Question> {
    let (url, places) = marked(url, of, faults)?;
    // What is wrong with it is said of the operation's own requests.
    let auth = of.auth.and_then(|entry| auth(entry, &mut Faults::default()));
    if let Some(AuthSource::Hmac(_) | AuthSource::StandardWebhooks(_)) = auth {
        let message = "a question cannot be signed: its URL is complete only once it is asked";
        faults.with_help(url.span, message, "`confirm` goes with every scheme of `auth` that signs nothing");
        return None;
    }
    let source = RequestSource {
        method: Text { value: "GET".to_owned(), span: url.span.clone(), verbatim: false },
        url,
        origin: of.origin.cloned(),
        headers,
        query: Vec::new(),
        encoding: Encoding::None,
        map: Vec::new(),
        auth,
        rules: RulesSource::default(),
        given: Given::default(),
    };
    let request = faults.take(RequestTemplate::compile(&source, of.constants))?;
    Some(Question { request, places })
}

/// Warns of a question to another host than the operation's own: it shows that one the operation's credential.
pub(super) fn led_astray(entry: &Entry, confirm: &Confirm, request: &RequestTemplate, faults: &mut Faults) {
    let (Some(asked), Some(own)) = (confirm.question.origin(), request.origin()) else { return };
    if asked == own {
        return;
    }
    let url = entry.node.value.as_table().and_then(|table| table.entry("url"));
    let span = match url.map(|url| &url.node.value) {
        Some(Value::Text { text, .. }) => text.span.clone(),
        Some(_) | None => entry.node.span.clone(),
    };
    let message =
        format!("the question goes to {asked}, the conversion to {own}: it shows the credential of `auth` there");
    faults.warn(
        span,
        message,
        "right where that host is the platform's own, too; every question goes with the operation's `auth`",
    );
}

/// Warns where a delivery may be given up before it is asked about for the first time.
pub(super) fn outlived(place: &Span, give_up_after: Duration, operations: &[Operation], faults: &mut Faults) {
    let waits = operations.iter().filter_map(|operation| operation.confirm.as_ref()).map(|confirm| confirm.after);
    let Some(after) = waits.max().filter(|after| give_up_after < *after) else { return };
    let (allowed, after) = (written_duration(give_up_after), written_duration(after));
    let message = format!(
        "`retry.give_up_after` ({allowed}) is over before the first question of `confirm` ({after}): one without an \
         answer is not asked again"
    );
    let help = "a question that fails is asked again for as long as a delivery is attempted: give up later, or ask earlier \
                (`confirm.after`)";
    faults.warn(place.clone(), message, help);
}

/// The URL with a mark for each `{captured.NAME}`.
fn marked(url: &Text, of: &Asks<'_>, faults: &mut Faults) -> Option<(Text, Vec<Captured>)> {
    let mut places: Vec<Captured> = Vec::new();
    let mut value = String::new();
    let mut at = 0_usize;
    let mut is_right = true;
    while let Some((before, behind)) = url.value.get(at..).and_then(|rest| rest.split_once(OPENING)) {
        let start = at.saturating_add(before.len());
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        at = url.value.len().saturating_sub(after.len());
        let span = || url.fault(start..at, "").span;
        if !of.captures.iter().any(|(known, _)| known.value == name) {
            is_right = false;
            let known = || of.captures.iter().map(|(known, _)| known.value.as_str());
            let help = did_you_mean(name, known()).unwrap_or_else(|| match of.captures {
                [] => format!("`capture.{name} = \"body.id\"` keeps it, and `confirm = false` asks nothing"),
                _ => format!("it captures {}", listed(known())),
            });
            faults.with_help(span(), format!("operation `{}` has no `capture.{name}`", of.name), help);
        }
        value.push_str(before);
        let is_path = ends_with_host(&value);
        // A host is not pieced together, and ends where the path begins.
        let is_whole = after.is_empty() || after.starts_with(['/', '?', '&']);
        if is_path && (value.ends_with(['/', '.', '-', ':', '@']) || !value.contains([':', '{']) || !is_whole) {
            let help = "write the host as it is: `https://api.example.com{captured.uri}`";
            faults.with_help(span(), "a captured value cannot choose the host", help);
            return None;
        }
        let mark = format!("{}~captured-{}~", if is_path { "/" } else { "" }, places.len());
        value.push_str(&mark);
        places.push(Captured { name: name.to_owned(), mark, is_path });
    }
    value.push_str(url.value.get(at..).unwrap_or_default());
    let verbatim = url.verbatim && places.is_empty();
    is_right.then(|| (Text { value, span: url.span.clone(), verbatim }, places))
}

/// Whether a URL that goes on here has nothing yet behind its host; a var at its beginning may be the host with a path.
fn ends_with_host(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest =
        rest.split_once('}').filter(|(var, _)| rest == url && var.starts_with("{vars.")).map_or(rest, |(_, rest)| rest);
    !rest.contains(['/', '?'])
}

/// What comes behind a URL so far: a query that would begin a second time goes on.
fn joined<'a>(url: &str, rest: &'a str) -> Cow<'a, str> {
    match rest.strip_prefix('?') {
        Some(query) if url.contains('?') => Cow::Owned(format!("&{query}")),
        Some(_) | None => Cow::Borrowed(rest),
    }
}

/// What may stand in a path and behind it (RFC 3986, 3.3 and 3.4).
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@/?%".contains(&byte)
}

const KEY: &str = "confirm";
/// How the capture is called that holds the platform's reason.
pub(in crate::config) const REASON: &str = "reason";
/// Beside what was captured of a delivery that is taken for delivered unconfirmed: why, in words.
pub const UNCONFIRMED: &str = "unconfirmed";
const OPENING: &str = "{captured.";
/// All but what is never reserved (RFC 3986, 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const EXAMPLE: &str = "`confirm = { url = \"https://api.example.com/status/{captured.id}\", confirmed_when = \"body.status == 'done'\" }`";

/// Most platforms need less than that.
const AFTER: Duration = Duration::from_secs(60);
/// With [`TRIES`] an hour and a half, at a price of 20 requests at the most.
const EVERY: Duration = Duration::from_secs(5 * 60);
const TRIES: NonZeroU32 = match NonZeroU32::new(20) {
    Some(tries) => tries,
    None => NonZeroU32::MIN,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_value_stands_behind_the_host_or_is_encoded() {
        for (url, expected) in [
            ("https://h", true),
            ("https://{vars.host}", true),
            ("{vars.base}", true),
            ("https://h/", false),
            ("https://h?id=", false),
            ("{vars.base}/status/", false),
            ("https://{vars.host}/s/", false),
        ] {
            assert_eq!(ends_with_host(url), expected, "{url}");
        }
    }
}
