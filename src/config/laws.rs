//! What holds of any text as a routes.toml. The properties and the fuzz target `routes` call this one function.

use std::path::Path;
use std::sync::Arc;

use super::files::Files;
use super::load::read;
use super::report::Faults;
use super::{Config, Decision, Source, Trial, presets};
use crate::conversion::{Conversion, ConversionId, Meta};
use crate::mapping::{Scope, Secrets};

/// Loads a text, its relative `${file:…}` from `folder`: every fault lies in the text that it is about, the report shows
/// nothing that a `${…}` stood for, and what loads decides on a full conversion, and renders it, the same twice.
pub fn any_text(text: &str, folder: &Path) {
    let source = || Source {
        path: folder.join("routes.toml"),
        text: text.to_owned(),
        environment: &|name| (name == "SECRET").then(|| PLANTED.to_owned()),
        sets: &[],
    };
    let (mut files, mut faults) = (Files::default(), Faults::default());
    let config = read(source(), presets(), Trial::NONE, &mut files, &mut faults);
    for fault in faults.iter() {
        let (within, range) = (files.text(fault.span.file), fault.span.range.clone());
        assert!(within.get(range.clone()).is_some(), "{range:?}, {}: no part of {within:?}", fault.message);
    }
    match Config::load(source()) {
        Err(report) => {
            assert!(!faults.is_empty() || config.is_none());
            assert!(report.faults > 0, "refused without a word");
            assert!(!report.to_string().contains(PLANTED), "the report shows what a `${{…}}` stood for");
        }
        Ok(config) => {
            assert!(faults.is_empty());
            assert!(!config.warnings.to_string().contains(PLANTED), "a warning shows what a `${{…}}` stood for");
            assert!(!config.summary().to_string().is_empty());
            rendered(&config);
        }
    }
}

fn rendered(config: &Config) {
    let Ok(conversion) = Conversion::parse(FULL.as_bytes(), "generated") else { return };
    let meta = Meta::new(ConversionId::new(1_780_000_000_000, [7; 10]), Arc::from("acme"), None, &conversion);
    let scope = Scope { conversion: &conversion, meta: &meta };
    for destination in &config.destinations {
        let Decision::Send(operation) = destination.decide(scope) else { continue };
        let request = operation.request.render(scope, Secrets::Revealed);
        assert!(request == operation.request.render(scope, Secrets::Revealed), "another request the second time");
        assert_eq!(request.is_ok(), operation.request.render(scope, Secrets::Masked).is_ok());
    }
}

/// What `${env:SECRET}` stands for.
const PLANTED: &str = "planted-0123456789-credential";

/// A conversion in which most paths find something.
const FULL: &str = include_str!("../../tests/presets/full.json");
