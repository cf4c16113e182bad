//! From what was written of a destination to what it means: constants checked against the preset's needs, expressions
//! compiled, one request template for each operation.

use std::collections::BTreeSet;
use std::time::Duration;

use super::auth::{auth, braced};
use super::conditions::{self, conditions};
use super::confirm::{self, Asks, confirm};
use super::deduplication::Slot;
use super::judgement::{self, judge};
use super::operation::Written as WrittenOperation;
use super::vars::{given, is_empty, typed};
use super::{Named, Written, connection, deduplication, outputs, test_switch};
use crate::config::files::is_credential;
use crate::config::keys::{choice, listed};
use crate::config::preset::{Needs, Replaced};
use crate::config::report::Faults;
use crate::config::tree::{Entry, Value};
use crate::config::{
    Consent, Destination, OnAmbiguous, OnUnmappable, Operation, Rate, TestConversions, WaitHeader, merchant,
};
use crate::conversion::{EventKind, is_currency, nearest};
use crate::mapping::{
    Constants, Encoding, Fault, Given, RequestSource, RequestTemplate, Secret, Span, Text, Var, VarType, bare_path,
};

/// Compiles a destination; every fault of it at once.
pub(in crate::config) fn build(
    written: Written<'_>,
    dedup_window: Duration,
    faults: &mut Faults,
) -> Option<Destination> {
    let name = merchant::name(written.key, "a destination", faults);
    let (constants, complete) = constants(&written, faults);
    let (expect_currency, mut compiling) = (expect_currency(&written, faults), Faults::default());
    let shared = Shared {
        key: written.key,
        origin: written.origin.as_ref(),
        auth: written.conversion.auth,
        confirm: written.conversion.confirm,
        wait_header: written.conversion.judge.wait_header.clone(),
        idempotency: written.conversion.idempotency.named().cloned(),
        on_ambiguous: written.conversion.on_ambiguous,
        on_unmappable: written.conversion.on_unmappable,
        test: written.conversion.test,
        constants: &constants,
        complete,
        strays: written.strays,
        removed: written.needs.map_or(&[], |needs| needs.removed.as_slice()),
        replaced: written.needs.map_or(&[], |needs| needs.replaced.as_slice()),
    };
    let (operations, is_all) = operations(&shared, written.conversion, written.operations, &mut compiling);
    if compiling.is_empty() && complete && is_all {
        deduplication::check(shared.idempotency.as_ref(), written.dedup_window.as_ref(), &operations, &mut compiling);
    }
    // What a preset cannot make of a var that is missing is no fault of the preset.
    let preset_file = written.needs.map(|needs| needs.file);
    let mut found = compiling.take_list();
    faults.extend_warnings(compiling);
    found.retain_mut(|fault| match written.needs.and_then(|needs| cause(fault, needs, written.vars)) {
        None => complete || Some(fault.span.file) != preset_file,
        Some(var) if faults.are_at(&var.node.span) || matches!(var.node.value, Value::Unresolved) => false,
        Some(var) => {
            fault.span = var.node.span.clone();
            fault.message = format!("`vars.{}`: {}", var.key.value, fault.message);
            true
        }
    });
    let is_whole = found.is_empty() && complete;
    faults.extend(found);
    let retry = written.retry.meaning(dedup_window, written.dedup_window.as_ref(), faults);
    let given_up = written.retry.give_up_after.as_ref().map_or(&written.key.span, |after| &after.span);
    confirm::outlived(given_up, retry.give_up_after, &operations, faults);
    let destination = Destination {
        name: name?,
        fingerprint: written.fingerprint,
        preset: written.preset.map(str::to_owned),
        operations,
        declares_confirm: written.needs.is_some_and(|needs| needs.declares_confirm),
        limits: written.limits,
        retry,
        consent: written.consent.unwrap_or(Consent::Require),
        traceparent: written.traceparent.unwrap_or(true),
        budget: written.budget,
        expect_currency,
        max_age: written.max_age.map(|age| age.value),
        dedup_window: written.dedup_window.map(|window| window.value),
        secrets: constants.secrets.into_values().flatten().collect(),
        connection: written.connection,
        goldens: written.goldens,
    };
    connection::check(&destination, is_whole, written.key, faults);
    Some(destination)
}

/// What the operations of a destination have in common.
struct Shared<'t> {
    key: &'t Text,
    origin: Option<&'t Text>,
    auth: Option<&'t Entry>,
    confirm: Option<&'t Entry>,
    wait_header: Option<WaitHeader>,
    idempotency: Option<Text>,
    on_ambiguous: Option<OnAmbiguous>,
    on_unmappable: Option<OnUnmappable>,
    test: Option<TestConversions>,
    constants: &'t Constants,
    /// All that is needed is there.
    complete: bool,
    /// What is missing may stand under an unknown name, which is a fault already.
    strays: bool,
    /// Operation and output of the preset that the destination takes away.
    removed: &'t [(String, Text)],
    /// Conditions of the preset in whose place the destination puts its own.
    replaced: &'t [Replaced],
}

/// The var whose value breaks something in a preset: the fault is shown where the value was given.
fn cause<'t>(fault: &Fault, needs: &Needs, vars: &'t [Entry]) -> Option<&'t Entry> {
    let named = needs.text.get(fault.span.range.clone()).filter(|_| fault.span.file == needs.file)?;
    let name = named.trim_start_matches('{').trim_end_matches('}').strip_prefix("vars.")?;
    vars.iter().find(|entry| entry.key.value == name)
}

/// The constants, and whether all that is needed is there. Where a value was given and is wrong, which is a fault already,
/// another stands in its place, so that the expressions over it are still checked.
fn constants(written: &Written<'_>, faults: &mut Faults) -> (Constants, bool) {
    let mut constants = Constants::default();
    let mut complete = true;
    if let Some(needs) = written.needs {
        complete &= needed_vars(written, needs, &mut constants, faults);
        complete &= needed_secrets(written, needs, &mut constants, faults);
        return (constants, complete);
    }
    for entry in written.vars {
        let value = given(entry, "vars", faults).unwrap_or_else(|| stand_in(VarType::Text));
        constants.vars.insert(entry.key.value.clone(), (type_of(&value), Some(value)));
    }
    for entry in written.secrets {
        let secret = secret(entry, faults).unwrap_or_else(|| Secret::new(SECRET_STAND_IN.to_owned()));
        constants.secrets.insert(entry.key.value.clone(), Some(secret));
    }
    (constants, complete)
}

/// Whether all that is needed is there.
fn needed_vars(written: &Written<'_>, needs: &Needs, constants: &mut Constants, faults: &mut Faults) -> bool {
    let header = &written.key.span;
    let mut complete = true;
    let known: Vec<&str> = needs.vars.iter().map(|need| need.name.as_str()).collect();
    let meant = unknown(written.vars, "var", &known, faults);
    let mut set = BTreeSet::new();
    for need in &needs.vars {
        let entry = written.vars.iter().find(|entry| entry.key.value == need.name);
        let entry = entry.filter(|entry| need.required || !is_empty(entry));
        let mut value = need.default.clone();
        if let Some(entry) = entry {
            let typed = typed(entry, need, faults);
            complete &= typed.is_some();
            value = Some(typed.unwrap_or_else(|| stand_in(need.kind)));
            set.insert(need.name.as_str());
        } else if need.required {
            if !meant.contains(&need.name.as_str()) {
                let message = format!("destination `{}` needs `vars.{}`", written.key.value, need.name);
                faults.with_help(header.clone(), message, need.doc.as_str());
            }
            complete = false;
        }
        constants.vars.insert(need.name.clone(), (need.kind, value));
    }
    for group in needs.one_of.iter().filter(|group| !group.iter().any(|name| set.contains(name.as_str()))) {
        let names: Vec<String> = group.iter().map(|name| format!("vars.{name}")).collect();
        let docs = needs.vars.iter().filter(|need| group.contains(&need.name)).map(|need| need.doc.as_str());
        let names = listed(names.iter().map(String::as_str));
        let message = format!("destination `{}` needs one of {names}", written.key.value);
        faults.with_help(header.clone(), message, docs.collect::<Vec<_>>().join("; "));
        complete = false;
    }
    complete
}

/// Whether all that is needed is there.
fn needed_secrets(written: &Written<'_>, needs: &Needs, constants: &mut Constants, faults: &mut Faults) -> bool {
    let mut complete = true;
    let known: Vec<&str> = needs.secrets.iter().map(|need| need.name.as_str()).collect();
    let meant = unknown(written.secrets, "secret", &known, faults);
    for need in &needs.secrets {
        let entry = written.secrets.iter().find(|entry| entry.key.value == need.name);
        let entry = entry.filter(|entry| need.required || !is_empty(entry));
        let value = entry.and_then(|entry| secret(entry, faults));
        if entry.is_none() && need.required && !meant.contains(&need.name.as_str()) {
            let message = format!("destination `{}` needs `secrets.{}`", written.key.value, need.name);
            faults.with_help(written.key.span.clone(), message, need.doc.as_str());
        }
        complete &= value.is_some() || (entry.is_none() && !need.required);
        constants.secrets.insert(need.name.clone(), value);
    }
    complete
}

fn stand_in(kind: VarType) -> Var {
    match kind {
        VarType::Text => Var::Text(STAND_IN.to_owned()),
        VarType::Int => Var::Int(1),
        VarType::Bool => Var::Bool(true),
    }
}

/// Reports what the preset does not know, and hands back what was probably meant.
fn unknown<'k>(entries: &[Entry], what: &str, known: &[&'k str], faults: &mut Faults) -> Vec<&'k str> {
    let mut meant = Vec::new();
    for entry in entries {
        let name = entry.key.value.as_str();
        if known.contains(&name) {
            continue;
        }
        let near = nearest(name, known.iter().copied());
        meant.extend(near);
        let help = near.map(|near| format!("did you mean `{near}`?"));
        let help = help.unwrap_or_else(|| match known {
            [] => format!("the preset knows no {what}"),
            _ => format!("the preset knows {}", listed(known.iter().copied())),
        });
        faults.with_help(entry.key.span.clone(), format!("unknown {what} `{name}`"), help);
    }
    meant
}

fn type_of(value: &Var) -> VarType {
    match value {
        Var::Text(_) => VarType::Text,
        Var::Int(_) => VarType::Int,
        Var::Bool(_) => VarType::Bool,
    }
}

fn secret(entry: &Entry, faults: &mut Faults) -> Option<Secret> {
    match given(entry, "secrets", faults)? {
        Var::Text(text) => Some(Secret::new(text)),
        Var::Int(_) | Var::Bool(_) => {
            faults.at(entry.node.span.clone(), format!("`secrets.{}` must be a string", entry.key.value));
            None
        }
    }
}

/// What is right of the operations, and whether that is all of them.
fn operations(
    shared: &Shared<'_>,
    conversion: WrittenOperation<'_>,
    named: Vec<Named<'_>>,
    faults: &mut Faults,
) -> (Vec<Operation>, bool) {
    let (mut operations, mut is_all) = (Vec::new(), true);
    let mut keep = |operation: Option<Operation>| {
        is_all &= operation.is_some();
        operations.extend(operation);
    };
    outputs::hold_all(&conversion, &named, faults);
    judgement::hold_all(&conversion, &named, faults);
    let has_conversion = conversion.is_given() || named.is_empty();
    conditions::reach_all(has_conversion.then_some(&conversion), &named, faults);
    if has_conversion {
        let about = About { name: "conversion", kind: Some(EventKind::Conversion), rate: None };
        keep(operation(about, shared, conversion, faults));
    } else {
        unread(&conversion, &named, faults);
    }
    for Named { key, kind, rate, written, .. } in named.into_iter().filter(|named| !named.is_misspelt) {
        keep(operation(About { name: &key.value, kind, rate }, shared, written, faults));
    }
    (operations, is_all)
}

/// Without a call at its own level a destination is its named operations alone, and none of them reads what that level says of
/// a call.
fn unread(conversion: &WrittenOperation<'_>, named: &[Named<'_>], faults: &mut Faults) {
    let Some(operation) = named.first().map(|named| &named.key.value) else { return };
    for key in &conversion.own {
        let message = format!("no operation reads `{}` of the destination's own level, which has no call", key.value);
        let help = format!("say it of each operation: `operation.{operation}.{}`", key.value);
        faults.with_help(key.span.clone(), message, help);
    }
}

/// What is said of an operation beside its request.
#[derive(Clone, Copy)]
struct About<'t> {
    name: &'t str,
    kind: Option<EventKind>,
    rate: Option<Rate>,
}

fn operation(
    about: About<'_>,
    shared: &Shared<'_>,
    mut written: WrittenOperation<'_>,
    faults: &mut Faults,
) -> Option<Operation> {
    let About { name, kind, rate } = about;
    let test = written.test.or(shared.test).unwrap_or(TestConversions::Skip);
    test_switch::told(name, test, &written, faults);
    let (conditions, applies) = conditions(name, &mut written, shared.replaced, shared.constants, faults);
    let judge = judge(&written.judge, shared.wait_header.as_ref(), faults);
    let (confirm_entry, has_credential) = (written.confirm.or(shared.confirm), written.auth.or(shared.auth).is_some());
    let confirm = confirm_entry.and_then(|entry| {
        let asks = Asks {
            name,
            captures: &written.judge.capture,
            auth: written.auth.or(shared.auth),
            origin: shared.origin,
            wait_header: judge.wait_header.as_ref(),
            constants: shared.constants,
        };
        let mut found = Faults::default();
        let confirm = confirm(entry, &asks, &mut found);
        // Inherited, what is wrong with it is said once.
        faults.extend_new(found);
        confirm
    });
    let (otherwise, own_slot) = (written.otherwise.take(), std::mem::take(&mut written.idempotency));
    let (on_ambiguous, on_unmappable) = (written.on_ambiguous, written.on_unmappable);
    let removed = shared.removed.iter().filter(|(operation, _)| operation == name);
    let slot = own_slot.or(shared.idempotency.as_ref()).filter(|_| shared.complete).cloned();
    let given = Given { kind, applies, removed: removed.map(|(_, target)| target.clone()).collect(), slot };
    let names_order = written.names_order();
    let request = request(name, shared, written, given, faults)?;
    if let (Some(confirm), Some(entry), true) = (&confirm, confirm_entry, has_credential) {
        confirm::led_astray(entry, confirm, &request, faults);
    }
    if let Some(slot) = own_slot.named().filter(|_| shared.complete) {
        deduplication::bound(slot, &request, faults);
    }
    let slot = own_slot.or(shared.idempotency.as_ref().filter(|slot| request.has_output(&slot.value)));
    let fallback = if slot.is_some() { OnAmbiguous::Retry } else { OnAmbiguous::DeadLetter };
    // What an operation says of its slot it says of its doubts, too.
    let inherited = shared.on_ambiguous.filter(|_| matches!(own_slot, Slot::Unsaid));
    let on_ambiguous = on_ambiguous.or(inherited);
    Some(Operation {
        name: name.to_owned(),
        kind,
        when: conditions.when,
        only_when: conditions.only_when,
        otherwise: otherwise.map(|text| text.value),
        idempotency: slot.map(|slot| slot.value.clone()),
        on_ambiguous: on_ambiguous.unwrap_or(fallback),
        on_unmappable: on_unmappable.or(shared.on_unmappable).unwrap_or(OnUnmappable::DeadLetter),
        test,
        rate,
        request,
        names_order,
        judge,
        confirm,
    })
}

fn request(
    name: &str,
    shared: &Shared<'_>,
    written: WrittenOperation<'_>,
    given: Given,
    faults: &mut Faults,
) -> Option<RequestTemplate> {
    let body = written.body.as_ref();
    let encoding = body.map_or(Some(Encoding::Json), |body| encoding(body, shared.constants, faults));
    let auth_given = written.auth.or(shared.auth);
    let auth = auth_given.and_then(|entry| auth(entry, faults));
    literal_credentials(&written.headers, shared.constants, faults);
    let says_something = written.says_something();
    let Some(url) = written.url else {
        // One that is at fault is there.
        if shared.strays || written.has_url {
            return None;
        }
        let message = format!("operation `{name}` of destination `{}` needs `url`", shared.key.value);
        faults.with_help(written.span, message, "`url = \"https://px.example.com/events\"`, or `preset = \"…\"`");
        return None;
    };
    if !says_something {
        if shared.strays {
            return None;
        }
        let message = format!("operation `{name}` of destination `{}` sends nothing of a conversion", shared.key.value);
        faults.with_help(
            written.span,
            message,
            "`map.order_id = \"order_id\"`: one line for each field of the request",
        );
        return None;
    }
    let encoding = encoding?;
    let source = RequestSource {
        method: written.method.unwrap_or_else(|| default_method(encoding, &url.span)),
        url,
        origin: shared.origin.cloned(),
        headers: written.headers,
        query: written.query,
        encoding,
        map: written.map,
        auth,
        rules: written.rules,
        given,
    };
    faults.take(RequestTemplate::compile(&source, shared.constants))
}

fn default_method(encoding: Encoding, place: &Span) -> Text {
    let method = match encoding {
        Encoding::Json | Encoding::Form => "POST",
        Encoding::None => "GET",
    };
    Text { value: method.to_owned(), span: place.clone(), verbatim: false }
}

/// `json`, `form`, `none`, or a var that holds one of them: `{vars.encoding}`.
fn encoding(body: &Text, constants: &Constants, faults: &mut Faults) -> Option<Encoding> {
    let var = body.value.strip_prefix("{vars.").and_then(|rest| rest.strip_suffix('}'));
    let word = match var.and_then(|name| constants.vars.get(name)) {
        Some((_, Some(Var::Text(word)))) => Text { value: word.clone(), ..body.clone() },
        Some((_, Some(Var::Int(_) | Var::Bool(_)) | None)) | None => body.clone(),
    };
    let encodings = [("json", Encoding::Json), ("form", Encoding::Form), ("none", Encoding::None)];
    choice("body", &word, &encodings, faults)
}

/// A credential in plain sight would show wherever the request is shown.
fn literal_credentials(headers: &[(Text, Text)], constants: &Constants, faults: &mut Faults) {
    for (name, value) in headers {
        braced(value, faults);
        if faults.are_at(&value.span) {
            continue;
        }
        if let Some(path) = bare_path(value, constants) {
            let message = format!("`{}` is sent as the very letters `{path}`: a header is a template", name.value);
            faults.warn(value.span.clone(), message, format!("for its value write `{{{path}}}`"));
        }
        if is_credential(&name.value) && !value.value.contains('{') {
            let message = format!("the credential in `{}` does not come from `secrets`", name.value);
            let help = "give it as `secrets.token = \"${env:TOKEN}\"` and name it here as `{secrets.token}`";
            faults.with_help(value.span.clone(), message, help);
        }
    }
}

/// The currency that is expected; none where any is taken. A preset of a call without a currency wants one to be said.
fn expect_currency(written: &Written<'_>, faults: &mut Faults) -> Option<String> {
    match (&written.expect_currency, written.needs.and_then(|needs| needs.expect_currency.as_deref())) {
        (Some(text), _) if text.value == ANY_CURRENCY => None,
        (Some(text), _) => currency(text, faults),
        (None, Some(doc)) => {
            let message = format!("destination `{}` needs `expect_currency`", written.key.value);
            faults.with_help(written.key.span.clone(), message, doc);
            None
        }
        (None, None) => None,
    }
}

fn currency(text: &Text, faults: &mut Faults) -> Option<String> {
    if is_currency(&text.value) {
        return Some(text.value.clone());
    }
    let message = format!("`expect_currency`: `{}` is no ISO 4217 code of a currency", text.value);
    faults.with_help(text.span.clone(), message, "three upper-case letters: `EUR`, or `any`");
    None
}

const STAND_IN: &str = "unknown";
/// For a secret that is missing, which is a fault already: a key in hex or Base64 too, so that nothing more is said of it.
const SECRET_STAND_IN: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Said where the merchant has one currency only, or the platform minds none.
const ANY_CURRENCY: &str = "any";
