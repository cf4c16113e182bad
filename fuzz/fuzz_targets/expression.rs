//! Any text as a value, a condition, a template, a predicate over an answer, a capture.
#![no_main]

use capi_relay::mapping::laws;

libfuzzer_sys::fuzz_target!(|text: &str| laws::any_text(text));
