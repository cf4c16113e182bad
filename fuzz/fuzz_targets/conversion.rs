//! Any bytes as a conversion, and what becomes of it at the built-in destinations.
#![no_main]

use std::sync::LazyLock;

use capi_relay::config::{Config, Source};

#[path = "../../tests/support/laws.rs"]
mod laws;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = include_str!("../../tests/presets/routes.toml").to_owned();
    let source = Source { path: "routes.toml".into(), text, environment: &|_| None, sets: &[] };
    Config::load(source).unwrap_or_else(|report| panic!("{report}"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::any_bytes(bytes, &CONFIG));
