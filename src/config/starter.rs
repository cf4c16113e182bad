//! A routes file to begin with: the chosen presets, what each needs, and what each may be given beside, commented out.

use std::fmt::Write as _;

use super::keys::{did_you_mean, listed};
use super::preset::{NeededSecret, NeededVar, Needs, Preset, presets};
use super::tree::{Table, Value};
use crate::conversion::DestinationName;
use crate::mapping::{Var, VarType};

/// A routes file to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Starter {
    /// The file.
    pub text: String,
    /// The environment variables that it takes, in its order.
    pub variables: Vec<String>,
}

/// A preset that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no preset `{name}`; {help}")]
pub struct NoPreset {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub help: String,
}

/// Writes a routes file for a merchant and these presets, each once.
///
/// # Errors
/// When there is no preset of a name.
pub fn starter(merchant: &str, chosen: &[&str]) -> Result<Starter, NoPreset> {
    let mut starter = Starter { text: String::new(), variables: Vec::new() };
    let token = starter.variable(&format!("{}_TOKEN_SHA256", upper(merchant)));
    starter.text = HEAD.replace("MERCHANT", merchant).replace("TOKEN", &token);
    let mut seen = Vec::new();
    for name in chosen {
        if seen.contains(name) {
            continue;
        }
        seen.push(name);
        let preset = Preset::built_in(name).ok_or_else(|| unknown(name))?;
        starter.destination(name, &preset.needs);
        starter.refund(&preset.table);
    }
    Ok(starter)
}

fn unknown(name: &str) -> NoPreset {
    let names = || presets().iter().map(|(preset, _)| *preset);
    let help = did_you_mean(name, names()).unwrap_or_else(|| format!("there are {}", listed(names())));
    NoPreset { name: name.to_owned(), help }
}

impl Starter {
    /// Notes a variable, and says how it is written.
    fn variable(&mut self, name: &str) -> String {
        if !self.variables.iter().any(|known| known == name) {
            self.variables.push(name.to_owned());
        }
        format!("${{env:{name}}}")
    }

    fn destination(&mut self, name: &str, needs: &Needs) {
        let _infallible = write!(self.text, "\n[destination.{name}]\npreset = \"{name}\"\n");
        // Of each group the first is as good as any other.
        let is_first = |var: &NeededVar| needs.one_of.iter().any(|group| group.first() == Some(&var.name));
        for var in &needs.vars {
            self.var(name, var, var.required || is_first(var));
        }
        for secret in &needs.secrets {
            self.secret(name, secret);
        }
        if let Some(doc) = &needs.expect_currency {
            let value = self.variable(&format!("{}_CURRENCY", upper(name)));
            self.line(doc, &format!("expect_currency = \"{value}\""));
        }
    }

    /// How refunds of orders that the partner never had are kept away, where those of a sale carry its click id.
    fn refund(&mut self, preset: &Table) {
        if let Some(clicks) = clicks(preset) {
            let doc = "refunds that come without the sale's click id are kept away: the partner never had that order, and would \
                       refuse them";
            self.line(doc, &format!("# operation.refund.only_when = \"{clicks}\""));
        }
    }

    fn var(&mut self, destination: &str, var: &NeededVar, is_needed: bool) {
        let says_them = var.values.iter().all(|value| var.doc.contains(value.as_str()));
        let doc = if says_them {
            var.doc.clone()
        } else {
            format!("{} ({})", var.doc, listed(var.values.iter().map(String::as_str)))
        };
        let key = format!("vars.{}", var.name);
        if is_needed && var.default.is_none() {
            let value = self.variable(&format!("{}_{}", upper(destination), upper(&var.name)));
            return self.line(&doc, &format!("{key} = \"{value}\""));
        }
        let example = example(&doc).map(str::to_owned);
        let own = || format!("{key} = {}", var.default.as_ref().map_or_else(|| placeholder(var), literal));
        self.line(&doc, &format!("# {}", example.unwrap_or_else(own)));
    }

    fn secret(&mut self, destination: &str, secret: &NeededSecret) {
        let named = example(&secret.doc).and_then(|example| example.split("${env:").nth(1)?.split('}').next());
        let own = || format!("{}_{}", upper(destination), upper(&secret.name));
        let name = named.map_or_else(own, str::to_owned);
        let line = |value: &str| format!("secrets.{} = \"{value}\"", secret.name);
        if secret.required {
            let value = self.variable(&name);
            self.line(&secret.doc, &line(&value));
        } else {
            self.line(&secret.doc, &format!("# {}", line(&format!("${{env:{name}}}"))));
        }
    }

    /// A key under what is said of it.
    fn line(&mut self, doc: &str, line: &str) {
        let said = example(doc)
            .map_or(doc, |example| doc.trim_start_matches('`').trim_start_matches(example).trim_start_matches("`: "));
        let _infallible = write!(self.text, "# {said}\n{line}\n");
    }
}

/// The click ids that a preset's `when` names, as a condition on its refunds; none where it has no refund, or one that asks for
/// them already.
fn clicks(preset: &Table) -> Option<String> {
    let refund = preset.table("operation")?.table("refund")?;
    if named_clicks(refund).is_some_and(|clicks| !clicks.is_empty()) {
        return None;
    }
    named_clicks(preset).filter(|clicks| !clicks.is_empty()).map(|clicks| clicks.join(" || "))
}

/// The click ids in the `when` of a conversion or an operation.
fn named_clicks(operation: &Table) -> Option<Vec<String>> {
    let Value::Text { text: when, .. } = &operation.entry("when")?.node.value else { return None };
    let is_of_name = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    let clicks = when.value.split(CLICK_IDS).skip(1).map(|behind| {
        let network: String = behind.chars().take_while(is_of_name).collect();
        format!("{CLICK_IDS}{network}")
    });
    Some(clicks.collect())
}

const CLICK_IDS: &str = "click_ids.";

/// The line that a need's doc begins with, if it does.
fn example(doc: &str) -> Option<&str> {
    let (example, _) = doc.strip_prefix('`')?.split_once("`: ")?;
    example.contains(" = ").then_some(example)
}

fn placeholder(var: &NeededVar) -> String {
    match (var.kind, var.values.first()) {
        (_, Some(value)) => format!("\"{value}\""),
        (VarType::Text, None) => "\"…\"".to_owned(),
        (VarType::Int, None) => "1".to_owned(),
        (VarType::Bool, None) => "true".to_owned(),
    }
}

fn literal(var: &Var) -> String {
    match var {
        Var::Text(text) => format!("\"{text}\""),
        Var::Int(number) => number.to_string(),
        Var::Bool(is) => is.to_string(),
    }
}

/// As the environment's variables are named.
fn upper(name: &str) -> String {
    name.chars().map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' }).collect()
}

/// Whether a merchant may have that name.
#[must_use]
pub fn is_merchant_name(name: &str) -> bool {
    DestinationName::parse(name).is_some()
}

const HEAD: &str = r#"# capi-relay: one conversion in, every conversion API out. `capi-relay check` proves this file and names what is missing;
# `capi-relay schema --routes` is its JSON Schema, for editors. `${env:NAME}` is taken from the environment and
# `${file:PATH}` from a file, in any string.

[server]
listen = "127.0.0.1:8443"
# A trial's certificate; in production: tls = { cert = "tls.crt", key = "tls.key" }
tls = { self_signed = true }
# Health, metrics and the status page. Beyond loopback it needs admin_token_sha256.
admin = "127.0.0.1:9090"

[queue]
# What is accepted and not yet delivered: a local disk that survives a restart.
path = "data"
# Beyond it merchants are answered 503, and nothing is kept half.
# max_pending_bytes = "8GiB"
# Conversions are personal data: `capi-relay key` makes a key, and what is stored is encrypted.
# encryption = { key = "${env:QUEUE_KEY}" }

[merchant.MERCHANT]
# `capi-relay token` makes a bearer token and this digest of it; while one is changed, two in a list.
token_sha256 = "TOKEN"
# rate = "200/s"
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Config, Source};

    /// What would be set, by kind: numbers where numbers are needed.
    fn set(variable: &str) -> String {
        let value = match variable {
            _ if variable.ends_with("_SHA256") => return "ab".repeat(32),
            _ if variable.ends_with("_CURRENCY") => "EUR",
            _ if variable.ends_with("ENDPOINT") => "https://px.example.com/c",
            _ if variable.ends_with("DOMAIN") || variable.ends_with("HOST") => "track.example.com",
            _ => "1234567890",
        };
        value.to_owned()
    }

    fn loaded(starter: &Starter, without: &str) -> Result<Config, String> {
        let known: BTreeMap<&str, String> = starter
            .variables
            .iter()
            .map(|name| (name.as_str(), set(name)))
            .filter(|(name, _)| *name != without)
            .collect();
        let environment = |name: &str| known.get(name).cloned();
        let source =
            Source { path: "routes.toml".into(), text: starter.text.clone(), environment: &environment, sets: &[] };
        Config::load(source).map_err(|report| report.to_string())
    }

    #[test]
    fn what_it_writes_is_right_once_its_variables_are_set_and_names_each_that_is_not() {
        for (preset, _) in presets() {
            let starter = starter("shop", &[preset]).unwrap();
            let config = loaded(&starter, "").unwrap_or_else(|report| panic!("{preset}: {report}\n{}", starter.text));
            assert_eq!(config.destinations.len(), 1, "{preset}");
            for variable in &starter.variables {
                let report = loaded(&starter, variable).expect_err("one is missing");
                assert!(report.contains(variable), "{preset}: {report}");
            }
        }
    }

    #[test]
    fn each_commented_key_is_one_of_the_presets() {
        for (preset, _) in presets() {
            let needs = Preset::built_in(preset).unwrap().needs;
            let text = starter("shop", &[preset]).unwrap().text;
            let names = needs.vars.iter().map(|var| format!("vars.{} = ", var.name));
            for key in names.chain(needs.secrets.iter().map(|secret| format!("secrets.{} = ", secret.name))) {
                let lines = text.lines().filter(|line| line.trim_start_matches("# ").starts_with(&key));
                assert_eq!(lines.count(), 1, "{preset}: {key}\n{text}");
            }
        }
    }

    #[test]
    fn refunds_of_what_a_partner_never_had_are_kept_away_by_a_line_that_can_be_taken_as_it_is() {
        let mut found = BTreeMap::new();
        for (preset, _) in presets() {
            let mut starter = starter("shop", &[preset]).unwrap();
            let Some((_, line)) = starter.text.split_once("# operation.refund.only_when = ") else { continue };
            found.insert(*preset, line.trim().to_owned());
            starter.text = starter.text.replace("# operation.refund.only_when", "operation.refund.only_when");
            let config = loaded(&starter, "").unwrap();
            assert!(config.warnings.located().is_empty(), "{preset}: {}", config.warnings);
        }
        let lines: Vec<(&str, &str)> = found.iter().map(|(preset, line)| (*preset, line.as_str())).collect();
        let expected = [
            ("google-ads", "\"click_ids.gclid || click_ids.gbraid || click_ids.wbraid\""),
            ("impact", "\"click_ids.impact\""),
            ("trackdesk", "\"click_ids.trackdesk\""),
            ("trackdesk-get", "\"click_ids.trackdesk\""),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn two_are_written_once_each_and_none_that_is_not_there() {
        let starter = starter("shop", &["thrad", "impact", "thrad"]).unwrap();
        assert_eq!(starter.text.matches("\npreset = ").count(), 2);
        insta::with_settings!({snapshot_path => "tests", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!("starter", starter.text);
        });
        let unknown = super::starter("shop", &["thard"]).unwrap_err();
        assert_eq!(unknown.to_string(), "there is no preset `thard`; did you mean `thrad`?");
    }
}
