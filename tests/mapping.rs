//! What holds of the mapping from the merchant's bytes to the destination's, over the built-in destinations: amounts arrive
//! as they were given, and a request is the same whenever it is made.

mod amounts;
mod killed;
mod restarts;

use std::sync::LazyLock;

use capi_relay::config::{Config, Decision, Destination};
use capi_relay::conversion::{Conversion, ConversionId, Kind, Meta, SCHEMA};
use capi_relay::mapping::{Request, Scope, Secrets};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::config;

#[path = "support/generate.rs"]
mod generate;
#[path = "support/laws.rs"]
mod laws;

/// Loaded once.
static CONFIG: LazyLock<Config> = LazyLock::new(|| config(&routes()));

/// The built-in destinations with all that they may be told, and one that takes every row of the schema.
fn routes() -> String {
    let mut routes = include_str!("presets/routes.toml").to_owned();
    routes.push_str("\n[destination.everything]\nurl = \"https://px.example.com/{meta.id}\"\nconsent = \"ignore\"\n");
    routes.push_str("test = \"carry\"\nheaders.X-Key = \"{meta.dedup_key}\"\n[destination.everything.map]\n");
    for field in SCHEMA.iter().filter(|field| field.kind != Kind::TextMap) {
        let line = match field.path.strip_prefix("items[].") {
            Some(name) => format!("\"items[].{name}\" = \"item.{name}\"\n"),
            None => format!("\"{}\" = \"{}\"\n", field.path, field.path),
        };
        routes.push_str(&line);
    }
    for network in ["thrad", "impact", "scaleo", "trackdesk"] {
        routes.push_str(&format!("\"click_ids.{network}\" = \"click_ids.{network}\"\n"));
    }
    routes.push_str("\"meta.at\" = \"meta.received_at\"\n\"meta.key\" = \"meta.idempotency_key\"\n");
    routes
}

/// What a destination is sent of it, or why it is not.
fn sent(destination: &Destination, scope: Scope<'_>) -> Result<Request, String> {
    match destination.decide(scope) {
        Decision::Send(operation) => {
            operation.request.render(scope, Secrets::Revealed).map_err(|unmappable| unmappable.to_string())
        }
        Decision::Skipped(why) | Decision::Withheld(why) | Decision::Unsupported(why) => Err(why),
    }
}

fn meta(number: u64, key: Option<String>, conversion: &Conversion) -> Meta {
    Meta::new(ConversionId::new(1_780_000_000_000 + number, [7; 10]), "acme".into(), key, conversion)
}

proptest! {
    #[test]
    fn a_conversion_is_the_same_after_it_was_written_and_so_are_its_requests(json in generate::conversion()) {
        laws::any_bytes(json.as_bytes(), &CONFIG);
    }

    #[test]
    fn whatever_is_torn_out_of_a_conversion_is_refused_in_words(
        json in generate::conversion(), from: Index, length in 0_usize..20, put in vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = json.into_bytes();
        let from = from.index(bytes.len());
        let to = bytes.len().min(from + length);
        bytes.splice(from..to, put);
        laws::any_bytes(&bytes, &CONFIG);
    }
}
