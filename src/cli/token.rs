//! `token`: a merchant's bearer token, and the digest of it that the configuration holds.

use std::io::Read;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Args;
use sha2::{Digest, Sha256};

use super::{DONE, NO, output};

/// 256 bits: beyond guessing, also for one who holds the digest.
const TOKEN_BYTES: usize = 32;
/// A token given on standard input: far above any in use.
const TOKEN_TEXT_MAX: u64 = 4096;

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// Reads an existing token from standard input and prints its digest alone
    #[arg(long)]
    stdin: bool,
}

pub(super) fn command(args: &TokenArgs) -> u8 {
    if !args.stdin {
        let token = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>());
        output::line(&format!("token         {token}\ntoken_sha256  {}", digest(&token)));
        return DONE;
    }
    let mut token = String::new();
    if let Err(error) = std::io::stdin().lock().take(TOKEN_TEXT_MAX).read_to_string(&mut token) {
        output::error(&format!("cannot read the token: {error}"));
        return NO;
    }
    let token = token.trim_end_matches(['\r', '\n']);
    if token.is_empty() {
        output::error("there is no token on standard input");
        return NO;
    }
    output::line(&digest(token));
    DONE
}

/// What `token_sha256` holds.
pub(super) fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_is_that_of_sha256sum() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::digest("abc"), expected);
    }
}
