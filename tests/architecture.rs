//! The module order and the owners of outside crates, held by reading the source.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Reading order: a module names only those before it.
const ORDER: [&str; 10] =
    ["conversion", "mapping", "config", "queue", "traces", "delivery", "ingress", "admin", "sandbox", "cli"];

/// What a module may name beyond the order's rule: fewer than all before it.
const ONLY: [(&str, &[&str]); 4] = [
    ("queue", &["conversion"]),
    ("traces", &["conversion", "queue"]),
    ("sandbox", &["conversion"]),
    ("delivery", &["conversion", "mapping", "config", "queue", "traces"]),
];

/// Outside crates (and parts of them) that replacing must touch only these modules.
const OWNERS: [(&str, &[&str]); 13] = [
    ("toml::", &["config"]),
    ("annotate_snippets::", &["config"]),
    ("sled::", &["queue"]),
    ("governor::", &["delivery", "ingress"]),
    ("opentelemetry::", &["traces"]),
    ("opentelemetry_sdk::", &["traces"]),
    ("opentelemetry_otlp::", &["traces"]),
    ("hyper_util::client", &["delivery", "traces"]),
    ("hyper::client", &["cli", "delivery"]),
    ("hyper::server", &["ingress", "sandbox"]),
    ("rcgen::", &["ingress"]),
    ("clap::", &["cli"]),
    ("strsim::", &["conversion"]),
];

/// Modules that are pure: what they must not name.
const PURE: [&str; 2] = ["conversion", "mapping"];
const IMPURE: [&str; 9] = [
    "tokio::",
    "std::fs",
    "std::net::Tcp",
    "std::thread",
    "tracing::",
    "rand::",
    "std::env",
    "Timestamp::now",
    "SystemTime",
];

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).unwrap();
                let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                found.push((module, path, code(&text)));
            }
        }
    }
    found
}

/// The text without comments: only code has dependencies.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The code before its tests: a test may build the whole relay.
fn product(path: &Path, text: &str) -> String {
    if path.components().any(|part| part.as_os_str() == "tests") || path.file_stem().is_some_and(|stem| stem == "tests")
    {
        return String::new();
    }
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// Top-level modules that a text names through `crate::`, also inside braces.
fn named(text: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let head: String = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().to_owned(),
            None => rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned(),
        };
        let parts = head.split(',').map(|part| part.trim().split("::").next().unwrap_or_default().to_owned());
        for part in parts.collect::<Vec<_>>() {
            found.extend(ORDER.iter().copied().filter(|module| *module == part));
        }
    }
    found
}

#[test]
fn every_module_names_only_those_before_it() {
    let place: BTreeMap<&str, usize> = ORDER.iter().enumerate().map(|(place, name)| (*name, place)).collect();
    let mut breaches = Vec::new();
    for (module, path, text) in sources() {
        let Some(own) = place.get(module.as_str()) else { continue };
        let only = ONLY.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
        for name in named(&product(&path, &text)) {
            let allowed = only.is_none_or(|only| only.contains(&name));
            if name != module && (place[name] > *own || !allowed) {
                breaches.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn lib_rs_declares_the_modules_in_reading_order() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let declared: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(declared, ORDER);
}

#[test]
fn outside_crates_stay_with_their_owners() {
    let mut breaches = Vec::new();
    for (module, path, text) in sources() {
        for (name, owners) in OWNERS {
            if product(&path, &text).contains(name) && !owners.contains(&module.as_str()) {
                breaches.push(format!("{} uses {name} which belongs to {owners:?}", path.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn conversion_and_mapping_are_pure() {
    let mut breaches = Vec::new();
    for (module, path, text) in sources() {
        for name in IMPURE {
            if PURE.contains(&module.as_str()) && product(&path, &text).contains(name) {
                breaches.push(format!("{} uses {name}", path.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

/// The one place that a float may be named: where the JSON reader refuses it.
const REFUSAL: &str = "fn visit_f64<E: Error>(self, _: f64)";

#[test]
fn no_binary_float_is_anywhere_near_an_amount() {
    let floats = |text: &str| {
        text.replace(REFUSAL, "")
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| matches!(word, "f32" | "f64" | "as_f64"))
    };
    let breaches: Vec<String> = sources()
        .into_iter()
        .filter(|(module, path, text)| PURE.contains(&module.as_str()) && floats(&product(path, text)))
        .map(|(_, path, _)| path.display().to_string())
        .collect();
    assert!(breaches.is_empty(), "{breaches:#?}");
}
