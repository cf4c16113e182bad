//! The URL: its origin fixed when the configuration is loaded, the rest a template.

use std::fmt;
use std::ops::Range;

use super::super::{Constants, Escape, Fault, Interpolation, MASK, Scope, Secrets, Text};
use super::Unmappable;
use super::flat::Separator;

/// A compiled URL.
#[derive(Debug, Clone)]
pub(super) struct UrlPlan {
    /// Scheme, host and port, and what of the path is fixed by the var that the URL begins with.
    base: String,
    /// Of `base`: where the path begins.
    origin_bytes: usize,
    rest: Interpolation,
    /// The whole of it, where nothing in it depends on the conversion.
    fixed: Option<Fixed>,
    /// What comes before a parameter that is added.
    pub(super) next: Separator,
    /// Parameters that the URL itself names.
    pub(super) query_names: Vec<String>,
    /// As it is where no `origin` moves it.
    unmoved: Option<Box<UrlPlan>>,
}

impl UrlPlan {
    /// Compiles `url`.
    ///
    /// # Errors
    /// Whatever keeps it from being an absolute URL over TLS (or to this machine) whose host the configuration fixes.
    pub(super) fn compile(url: &Text, origin: Option<&Text>, constants: &Constants) -> Result<Compiled, Vec<Fault>> {
        let own = UrlPlan::of_template(url, constants);
        match (origin.map(fixed_origin), own) {
            (None, own) => own,
            (Some(Ok(origin)), Ok(Compiled::Url(own))) => {
                let path = own.base.get(own.origin_bytes..).unwrap_or_default();
                let base = format!("{origin}{path}");
                let fixed = Fixed::of(&base, &own.rest);
                let unmoved = Some(Box::new(own.clone()));
                Ok(Compiled::Url(UrlPlan { base, origin_bytes: origin.len(), fixed, unmoved, ..own }))
            }
            (Some(Ok(_)), own) => own,
            (Some(Err(fault)), own) => Err(own.err().into_iter().flatten().chain([fault]).collect()),
        }
    }

    fn of_template(url: &Text, constants: &Constants) -> Result<Compiled, Vec<Fault>> {
        let split = match Split::of(url, constants)? {
            Known::Is(split) => split,
            Known::Lacks(name) => return Ok(Compiled::Lacks(name)),
        };
        let origin = parse_origin(&split.authority)
            .map_err(|wrong| vec![url.fault(0..split.rest_start.max(1), wrong.text()).with_help(wrong.help())])?;
        let rest = url.value.get(split.rest_start..).unwrap_or_default();
        check_characters(url, &split, rest).map_err(|fault| vec![fault])?;
        let tail = format!("{}{}", split.path, skeleton(rest));
        if has_dot_segment(&tail) {
            return Err(vec![whole(url, "`.` and `..` in a path lead elsewhere").with_help("write the path as it is")]);
        }
        let rest = Interpolation::compile(&part(url, split.rest_start..url.value.len()), constants, Escape::UrlPath)?;
        if let Some(Ok(Some(fixed))) = rest.constant(Secrets::Revealed) {
            check_rest(&split.path, &fixed).map_err(|reason| vec![whole(url, reason)])?;
        }
        let slash = if tail.starts_with('/') { "" } else { "/" };
        let base = format!("{origin}{slash}{}", split.path);
        if let Some(name) = rest.lacks() {
            return Ok(Compiled::Lacks(name.to_owned()));
        }
        let (next, query_names, fixed) = (separator(&tail), query_names(&tail), Fixed::of(&base, &rest));
        Ok(Compiled::Url(UrlPlan { base, origin_bytes: origin.len(), rest, fixed, next, query_names, unmoved: None }))
    }

    /// The URL without `origin`; `None`: it has none.
    pub(super) fn unmoved(&self) -> Option<&UrlPlan> {
        self.unmoved.as_deref()
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> &str {
        self.base.get(..self.origin_bytes).unwrap_or_default()
    }

    /// The whole URL when no conversion speaks in it.
    pub(super) fn fixed(&self, secrets: Secrets) -> Option<String> {
        self.fixed.as_ref().map(|fixed| fixed.text(secrets).to_owned())
    }

    pub(super) fn render(&self, scope: Scope<'_>, secrets: Secrets) -> Result<String, Unmappable> {
        if let Some(fixed) = &self.fixed {
            let fixed = fixed.text(secrets);
            let mut url = String::with_capacity(fixed.len().saturating_add(QUERY_BYTES_USUAL));
            url.push_str(fixed);
            return Ok(url);
        }
        let refuse = |reason: &str| Unmappable { field: "url".to_owned(), reason: reason.to_owned() };
        let rest = self.rest.eval(scope, secrets).map_err(|error| refuse(&error.to_string()))?;
        let rest = rest.ok_or_else(|| {
            let part = self.rest.absent(scope, secrets).unwrap_or("a part of it");
            refuse(&format!("{part} is absent"))
        })?;
        let mut url = String::with_capacity(self.base.len().saturating_add(rest.len()));
        url.push_str(&self.base);
        url.push_str(&rest);
        check_rest(&self.base, &rest).map_err(refuse)?;
        Ok(url)
    }
}

/// Room for a credential or two.
const QUERY_BYTES_USUAL: usize = 64;

/// A whole URL, which was checked when it was compiled. Shows itself masked.
#[derive(Clone)]
struct Fixed {
    revealed: Box<str>,
    masked: Box<str>,
}

impl Fixed {
    /// None where a conversion has a part in it.
    fn of(base: &str, rest: &Interpolation) -> Option<Fixed> {
        let whole = |secrets| Some(format!("{base}{}", rest.constant(secrets)?.ok()??).into_boxed_str());
        Some(Fixed { revealed: whole(Secrets::Revealed)?, masked: whole(Secrets::Masked)? })
    }

    fn text(&self, secrets: Secrets) -> &str {
        match secrets {
            Secrets::Revealed => &self.revealed,
            Secrets::Masked => &self.masked,
        }
    }
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked)
    }
}

/// A URL, or the name of the unset var or secret for want of which there is none.
pub(super) enum Compiled {
    Url(UrlPlan),
    Lacks(String),
}

/// The longest URL that the HTTP library takes.
pub(super) const URL_BYTES_MAX: usize = 65_534;

/// What the configuration fixes, or the name of the unset var it needs.
enum Known<T> {
    Is(T),
    Lacks(String),
}

/// A URL taken apart at the end of its authority.
struct Split {
    /// `scheme://host:port`.
    authority: String,
    /// What of the path the leading var brings.
    path: String,
    rest_start: usize,
}

impl Split {
    fn of(url: &Text, constants: &Constants) -> Result<Known<Split>, Vec<Fault>> {
        let mut authority = String::new();
        let mut at = 0;
        while let Some(rest) = url.value.get(at..).filter(|rest| !rest.is_empty()) {
            if rest.starts_with('{') {
                let range = at..at.saturating_add(braces(rest));
                at = range.end;
                let value = match constant(&part(url, range.clone()), constants)? {
                    Known::Is(value) => value,
                    Known::Lacks(name) => return Ok(Known::Lacks(name)),
                };
                if range.start > 0 && !value.chars().all(is_host_char) {
                    let fault = url.fault(range, "this value cannot stand in a host name");
                    return Err(vec![fault.with_help("a host is letters, digits, `-` and `.`")]);
                }
                authority.push_str(&value);
                if let Some(path) = cut_path(&mut authority) {
                    return Ok(Known::Is(Split { authority, path, rest_start: at }));
                }
            } else {
                let literal = rest.split('{').next().unwrap_or_default();
                at = at.saturating_add(literal.len());
                authority.push_str(literal);
                if let Some(path) = cut_path(&mut authority) {
                    return Ok(Known::Is(Split {
                        authority,
                        path: String::new(),
                        rest_start: at.saturating_sub(path.len()),
                    }));
                }
            }
        }
        Ok(Known::Is(Split { authority, path: String::new(), rest_start: at }))
    }
}

/// Cuts off what comes behind the authority, if it is complete.
fn cut_path(url: &mut String) -> Option<String> {
    authority_end(url).map(|end| url.split_off(end))
}

/// Where the authority ends and path or query begins.
fn authority_end(url: &str) -> Option<usize> {
    let start = url.find("://")?.saturating_add("://".len());
    let end = url.get(start..)?.find(['/', '?', '#', '\\'])?;
    Some(start.saturating_add(end))
}

/// The value of `{expr}` where only the configuration may speak.
fn constant(text: &Text, constants: &Constants) -> Result<Known<String>, Vec<Fault>> {
    let compiled = Interpolation::compile(text, constants, Escape::None)?;
    let (Some(value), Some(masked)) = (compiled.constant(Secrets::Revealed), compiled.constant(Secrets::Masked)) else {
        let fault = whole(text, "a conversion cannot choose the host");
        return Err(vec![fault.with_help("up to the path only `vars.` may be named")]);
    };
    let value = value.map_err(|error| vec![whole(text, error.to_string())])?;
    if masked.is_ok_and(|masked| masked.is_some_and(|masked| masked.contains(MASK))) {
        return Err(vec![
            whole(text, "a secret before the path").with_help("credentials live in `auth`, and a host is no secret"),
        ]);
    }
    let lacks = || compiled.lacks().unwrap_or(&text.value).to_owned();
    Ok(value.map_or_else(|| Known::Lacks(lacks()), Known::Is))
}

/// Why something is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Form,
    Scheme,
    Plain,
    UserInfo,
    Path,
}

impl Wrong {
    fn text(self) -> &'static str {
        match self {
            Wrong::Form => "no absolute URL",
            Wrong::Scheme => "a destination speaks HTTP",
            Wrong::Plain => "plain HTTP beyond this machine",
            Wrong::UserInfo => "credentials in a URL",
            Wrong::Path => "an origin is scheme, host and port only",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Wrong::Form | Wrong::Scheme => "write `https://host/path`",
            Wrong::Plain => "write `https://`; `http://` is for 127.0.0.0/8, [::1] and localhost",
            Wrong::UserInfo => "credentials live in `auth`",
            Wrong::Path => "write `https://host` or `https://host:8443`",
        }
    }
}

/// `scheme://host[:port]`, in its normal form.
fn parse_origin(authority: &str) -> Result<String, Wrong> {
    if authority.contains('@') {
        return Err(Wrong::UserInfo);
    }
    if !authority.contains("://") {
        return Err(Wrong::Form);
    }
    let url = url::Url::parse(authority).map_err(|_unspecific| Wrong::Form)?;
    let host = url.host().ok_or(Wrong::Form)?;
    let is_loopback = match host {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        "http" => return Err(Wrong::Plain),
        _ => return Err(Wrong::Scheme),
    }
    let origin = url.origin().ascii_serialization();
    let host_and_port = origin.split_once("://").map_or("", |(_, rest)| rest);
    if host_and_port.chars().all(is_host_char) { Ok(origin) } else { Err(Wrong::Form) }
}

fn fixed_origin(origin: &Text) -> Result<String, Fault> {
    let value = origin.value.strip_suffix('/').unwrap_or(&origin.value);
    let parsed = if authority_end(value).is_some() { Err(Wrong::Path) } else { parse_origin(value) };
    parsed.map_err(|wrong| whole(origin, wrong.text()).with_help(wrong.help()))
}

/// Literal text of a URL is written as it is sent.
fn check_characters(url: &Text, split: &Split, rest: &str) -> Result<(), Fault> {
    let unfit = |text: &str| text.bytes().position(|byte| !is_url_byte(byte));
    if unfit(&split.path).is_some() {
        return Err(url.fault(0..split.rest_start, "this value is no URL").with_help("percent-encode it"));
    }
    let mut at = 0;
    while let Some(text) = rest.get(at..).filter(|text| !text.is_empty()) {
        if text.starts_with("{{") {
            let start = split.rest_start.saturating_add(at);
            let fault = url.fault(start..start.saturating_add(2), "this character cannot stand in a URL");
            return Err(fault.with_help("percent-encode it: `%7B`"));
        }
        if text.starts_with('{') {
            at = at.saturating_add(braces(text));
            continue;
        }
        let literal = text.split('{').next().unwrap_or_default();
        if let Some(offset) = unfit(literal) {
            let start = split.rest_start.saturating_add(at).saturating_add(offset);
            let found = literal.get(offset..).and_then(|text| text.chars().next()).unwrap_or(' ');
            let range = start..start.saturating_add(found.len_utf8());
            return Err(match found {
                '#' => url.fault(range, "a fragment is never sent").with_help("write `%23` for a `#` in the path"),
                _ => url
                    .fault(range, "this character cannot stand in a URL")
                    .with_help("percent-encode it: `%20` for a space"),
            });
        }
        at = at.saturating_add(literal.len());
    }
    Ok(())
}

/// What the template became: each value is encoded, so this finds a var that stands raw behind the leading one.
fn check_rest(before: &str, rest: &str) -> Result<(), &'static str> {
    match rest.bytes().all(is_url_byte) {
        false => Err("a value in it cannot stand in a URL"),
        true if !before.contains('?') && has_dot_segment(rest) => {
            Err("a value in it is `.` or `..`, which leads elsewhere")
        }
        true => Ok(()),
    }
}

/// What may stand behind the authority: RFC 3986, with `%` for escapes.
fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%".contains(&byte)
}

fn is_host_char(found: char) -> bool {
    found.is_alphanumeric() || ['-', '_', '.', ':', '[', ']'].contains(&found)
}

/// Bytes of the `{…}` that `text` begins with; braces inside quotes do not count.
fn braces(text: &str) -> usize {
    let (mut depth, mut is_quoted) = (0_usize, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\'' => is_quoted = !is_quoted,
            b'{' if !is_quoted => depth = depth.saturating_add(1),
            b'}' if !is_quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at.saturating_add(1);
        }
    }
    text.len()
}

/// The template with letters for each inserted value, as many bytes as its braces take.
fn skeleton(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((literal, inserted)) = rest.find('{').and_then(|at| rest.split_at_checked(at)) {
        let bytes = braces(inserted);
        out.push_str(literal);
        out.extend(std::iter::repeat_n('x', bytes));
        rest = inserted.get(bytes..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// What stands in the template for the parameter of this name; empty where the leading var brings it whole.
pub(super) fn parameter(url: &Text, name: &str, constants: &Constants) -> Option<Text> {
    let Ok(Known::Is(split)) = Split::of(url, constants) else { return None };
    let tail = format!("{}{}", split.path, skeleton(url.value.get(split.rest_start..)?));
    let at = |tail_at: usize| split.rest_start.saturating_add(tail_at.saturating_sub(split.path.len()));
    let mut start = tail.find('?')?.saturating_add(1);
    for pair in tail.get(start..)?.split('&') {
        let end = start.saturating_add(pair.len());
        if form_urlencoded::parse(pair.as_bytes()).any(|(found, _)| found == name) {
            let value = pair.find('=').map_or(end, |sign| start.saturating_add(sign).saturating_add(1));
            return Some(part(url, at(value)..at(end)));
        }
        start = end.saturating_add(1);
    }
    None
}

/// Whether the path steps somewhere else when it is resolved.
fn has_dot_segment(tail: &str) -> bool {
    let path = tail.split('?').next().unwrap_or_default();
    path.split('/').any(|segment| {
        let is_dots = segment.len() <= "%2e%2e".len() && segment.contains(['.', '%']);
        is_dots && matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
    })
}

fn separator(tail: &str) -> Separator {
    match tail.split_once('?') {
        None => Separator::QuestionMark,
        Some((_, query)) if query.is_empty() || query.ends_with('&') => Separator::Nothing,
        Some(_) => Separator::Ampersand,
    }
}

fn query_names(tail: &str) -> Vec<String> {
    let query = tail.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

fn part(text: &Text, range: Range<usize>) -> Text {
    let mut span = text.span.clone();
    if text.verbatim {
        let start = span.range.start;
        span.range = start.saturating_add(range.start)..start.saturating_add(range.end);
    }
    Text { value: text.value.get(range).unwrap_or_default().to_owned(), span, verbatim: text.verbatim }
}

fn whole(text: &Text, message: impl Into<String>) -> Fault {
    text.fault(0..text.value.len(), message)
}
