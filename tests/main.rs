//! One test binary: it links once. A file per behaviour.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test that meets what it does not expect has failed"
)]

mod support;

mod admin;
mod architecture;
mod bad_requests;
mod canaries;
mod commands;
mod config;
mod confirm;
mod conformance;
mod crash;
mod damaged;
mod demo;
mod destinations;
mod disk;
mod encryption;
mod fan_out;
mod faults;
mod folders;
mod goldens;
mod hostile;
mod incident;
mod mapping;
mod moving;
mod mutation;
mod presets;
mod priorities;
mod progress;
mod refunds;
mod reload;
mod removing;
mod restart;
mod schema;
mod secrets;
mod shutdown;
mod tls;
#[cfg(feature = "otlp")]
mod traces;
mod trial;
