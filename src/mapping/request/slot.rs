//! The slot that a platform deduplicates on, proven at load: it stands in every request, whole, and tells one conversion
//! from another.
//!
//! A request whose slot is missing is a second sale as soon as it is repeated, and one whose slot is another's is no sale.

use super::super::check::facts::Known;
use super::super::check::identity::{self, HEX_SIGNS_ENOUGH, Merging, Says};
use super::super::check::presence::{self, Gap};
use super::super::program::Node;
use super::super::{Constants, Escape, Expression, Fault, Interpolation, Text};
use super::field::Field;
use super::headers::Header;
use super::lines::Output;
use super::rules::Nameable;
use super::url;
use super::{Applies, AuthSource, MapLine, Over, RequestSource};

/// Every reason why a repeat of this request need not be known as one; a slot that is no output is not looked at here.
pub(super) fn prove(
    source: &RequestSource,
    constants: &Constants,
    outputs: &[Nameable<'_>],
    headers: &[Header],
) -> Vec<Fault> {
    let Some(slot) = &source.given.slot else { return Vec::new() };
    let mut proof = Proof { source, constants, slot, known: source.given.known(), faults: Vec::new() };
    match slot.value.split_once('.') {
        Some(("header", name)) => proof.header(name, headers),
        Some((place @ ("map" | "query"), target)) => match source.line_at(place, target) {
            Some(line) => proof.output(line, outputs),
            None if place == "query" => proof.parameter(target),
            None => {}
        },
        Some(_) | None => {}
    }
    proof.faults
}

struct Proof<'p> {
    source: &'p RequestSource,
    constants: &'p Constants,
    slot: &'p Text,
    /// `None` where the operation's `when` is at fault.
    known: Option<Known>,
    faults: Vec<Fault>,
}

impl<'p> Proof<'p> {
    fn header(&mut self, name: &str, headers: &[Header]) {
        let is_named = |own: &Text| own.value.eq_ignore_ascii_case(name);
        let is_authorization = name.eq_ignore_ascii_case(http::header::AUTHORIZATION.as_str());
        let written = self.source.headers.iter().find(|(other, _)| is_named(other));
        if let Some((_, text)) = written {
            self.header_line(text);
        } else if headers.iter().any(|header| header.name.as_str().eq_ignore_ascii_case(name) && header.is_fixed()) {
            self.is_fixed(self.slot, FIELD.to_owned());
        } else if let Some(AuthSource::Header { name: own, value }) = &self.source.auth
            && is_named(own)
        {
            self.template(value, value, HEADER);
        } else if let Some(AuthSource::Bearer(value) | AuthSource::Basic { user: value, .. }) = &self.source.auth
            && is_authorization
        {
            self.template(value, value, HEADER);
        }
    }

    fn header_line(&mut self, text: &'p Text) {
        let Some(template) = self.template(text, text, HEADER).filter(|template| !template.is_required()) else {
            return;
        };
        let gap = |known: &Known| template.expressions().find_map(|part| presence::gap(part.node(), known));
        if let Some(gap) = self.known.as_ref().and_then(gap) {
            self.may_be_absent(text, &gap);
        }
    }

    /// A parameter that stands in the URL or carries the credential: without its parts there is no request.
    fn parameter(&mut self, name: &str) {
        if let Some(AuthSource::Query { name: own, value }) = &self.source.auth
            && own.value == name
        {
            self.template(value, value, PARAMETER);
        } else if let Some(value) = url::parameter(&self.source.url, name, self.constants) {
            self.template(&self.source.url, &value, PARAMETER);
        }
    }

    /// Proves what is written at `text`, and hands it back where it is right.
    fn template(&mut self, text: &'p Text, written: &Text, what: &str) -> Option<Interpolation> {
        let template = Interpolation::compile(written, self.constants, Escape::None).ok()?;
        if template.is_constant() {
            let bare = written.value.trim_matches(['{', '}', ' ']);
            let is_path = Expression::reads_path(bare, self.constants);
            let meant = if is_path { bare } else { "meta.dedup_key" };
            self.is_fixed(text, format!("{what}: write `{{{meant}}}`"));
            return None;
        }
        let parts: Vec<&Node> = template.expressions().map(Expression::node).collect();
        self.tells_orders_apart(text, &parts).then_some(template)
    }

    fn output(&mut self, line: &'p MapLine, outputs: &[Nameable<'_>]) {
        let Some(output) = outputs.iter().find(|output| output.is_of(line)) else { return };
        let super::MapSource::Expr(text) = &line.source else {
            return self.fault(&line.target, "is a list", "name an output that is one value");
        };
        let Output::Field(field) = &*output.output else { return };
        if output.is_per_item {
            return self.fault(&line.target, "is made for each item", "name an output of the request");
        }
        // What only an unset var could fill is never sent, which is said elsewhere.
        if field.expression.lacks().is_some() {
            return;
        }
        self.stands_whole(field, &line.target);
        if field.expression.is_literal() {
            return self.is_fixed(text, FIELD.to_owned());
        }
        if !self.tells_orders_apart(text, &[field.expression.node()]) {
            return;
        }
        // A rule's name is the body's where the query has it as well.
        let is_ruled =
            outputs.iter().find(|first| first.target == output.target).is_some_and(|first| first.is_of(line));
        if field.expression.is_required() || (is_ruled && self.is_required_by_rule(output.target)) {
            return;
        }
        if let Some(gap) = self.known.as_ref().and_then(|known| presence::gap(field.expression.node(), known)) {
            self.may_be_absent(text, &gap);
        }
    }

    /// It is neither cut nor left out.
    fn stands_whole(&mut self, field: &Field, target: &'p Text) {
        let rules = &self.source.rules;
        let by_rule = rules.max_length.iter().find(|(name, ..)| name.value == target.value).map(|(name, ..)| name);
        let by_contract = rules.outputs.iter().map(|output| &output.target).find(|name| name.value == target.value);
        let rule = by_rule.or(by_contract).unwrap_or(target);
        match field.limit.map(|limit| limit.over) {
            Some(Over::Truncate) => {
                self.fault(rule, "is cut where it is too long, so that two orders become one", OVER);
            }
            Some(Over::Omit) => self.fault(rule, "is left out where it is too long: a retry is a second sale", OVER),
            Some(Over::Reject) | None => {}
        }
        if matches!(field.among.as_deref(), Some((_, Over::Omit))) {
            let rule = by_contract.unwrap_or(target);
            self.fault(rule, "is left out where the contract does not take it: a retry is a second sale", OVER);
        }
        if !field.unless.is_empty() {
            let rule = rules.omit_with.iter().map(|(name, _)| name).find(|name| name.value == target.value);
            let help = "take it out of `omit_with`";
            self.fault(rule.unwrap_or(target), "is left out with `omit_with`: a retry is a second sale", help);
        }
    }

    fn is_required_by_rule(&self, target: &str) -> bool {
        let alone = |group: &Vec<Text>| matches!(group.as_slice(), [only] if only.value == target);
        self.source.rules.require_any.iter().chain(&self.source.rules.exactly_one).any(alone)
    }

    fn may_be_absent(&mut self, text: &'p Text, gap: &Gap) {
        let (why, help) = match gap {
            Gap::Field(path) => (
                format!("and `{path}` may be absent: a retry is a second sale"),
                format!("end it with `!`, fall back (`?? event_id`), or ask for `{path}` in `when`"),
            ),
            Gap::Filter(name) => (
                format!("and `{name}` gives nothing of some values: a retry is a second sale"),
                "end it with `!`, or fall back (`?? event_id`)".to_owned(),
            ),
            Gap::Unset => (
                "and what it names is not set: a retry is a second sale".to_owned(),
                "set it, or fall back (`?? event_id`)".to_owned(),
            ),
        };
        match &self.source.given.applies {
            // A preset is read after what is laid over it.
            Applies::When(Some(when), _) if when.span.file < text.span.file && when.span.file < self.slot.span.file => {
                let message = format!(
                    "this `when` no longer asks for what the platform deduplicates on: `{}`, {why}",
                    self.slot.value
                );
                self.faults.push(when.fault(0..when.value.len(), message).with_help(help));
            }
            Applies::Always | Applies::When(..) | Applies::Unknown => {
                let message = format!("`{}` is deduplicated on, {why}", self.slot.value);
                let at = self.nearest_place(text);
                self.faults.push(at.fault(0..at.value.len(), message).with_help(help));
            }
        }
    }

    fn tells_orders_apart(&mut self, text: &'p Text, parts: &[&Node]) -> bool {
        match self.known.as_ref().map(|known| identity::says(parts, known)) {
            None | Some(Says::Name { .. } | Says::Else) => return true,
            Some(Says::Merged(Merging { filter, cut })) => {
                let what = format!("`{filter}` can make one of two orders, so that the second is no sale");
                let kept = cut.filter(|kept| (HEX_SIGNS_ENOUGH..HEX_SIGNS).contains(kept));
                let kept = kept.map_or(String::new(), |kept| format!(" | truncate({kept})"));
                self.fault(text, &what, format!("leave it whole, or hash it: `| sha256{kept}`"));
            }
            Some(Says::Shared(shown)) => self.fault(text, &format!("{shown} tells no order from another"), FIELD),
        }
        false
    }

    fn is_fixed(&mut self, text: &'p Text, help: String) {
        self.fault(text, "is the same for every conversion", help);
    }

    fn fault(&mut self, text: &'p Text, what: &str, help: impl Into<String>) {
        let at = self.nearest_place(text);
        let message = format!("`{}` is deduplicated on, and {what}", self.slot.value);
        self.faults.push(at.fault(0..at.value.len(), message).with_help(help));
    }

    /// Where the slot was named by a destination and the line is its preset's, the name is at fault.
    fn nearest_place(&self, text: &'p Text) -> &'p Text {
        if self.slot.span.file < text.span.file { self.slot } else { text }
    }
}

const HEADER: &str = "a header is a template";
const PARAMETER: &str = "a parameter of the URL is a template";
const FIELD: &str = "name what tells one conversion from another: `order_id ?? event_id`, `meta.dedup_key`";
/// Of SHA-256.
const HEX_SIGNS: usize = 64;
const OVER: &str = "write `over = \"reject\"`: a conversion that does not fit is a dead letter";
