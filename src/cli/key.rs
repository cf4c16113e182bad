//! `key`: a key that encrypts what the queue stores, and the id by which the relay names it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;

use super::{DONE, NO, output};
use crate::config::key_bytes;
use crate::queue::MasterKey;

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// Reads an existing key from standard input and prints its id, by which a refusal names it
    #[arg(long)]
    stdin: bool,
}

pub(super) fn command(args: &KeyArgs) -> u8 {
    if !args.stdin {
        let key: [u8; 32] = rand::random();
        output::line(&BASE64_STANDARD.encode(key));
        return DONE;
    }
    let text = match std::io::read_to_string(std::io::Read::take(std::io::stdin().lock(), KEY_TEXT_MAX)) {
        Ok(text) => text,
        Err(error) => {
            output::error(&format!("cannot read the key: {error}"));
            return NO;
        }
    };
    let Some(key) = key_bytes(text.trim()) else {
        output::error("a key is 32 bytes in hex or Base64");
        return NO;
    };
    output::line(&MasterKey::new(key).id());
    DONE
}

/// A key given on standard input: above any form of it.
const KEY_TEXT_MAX: u64 = 256;
