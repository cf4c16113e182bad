//! Digests by their looks: what a field takes whose contract asks for a hash, where only a conversion shows what it gets.

use super::super::check::digest::{Form, codings};
use super::super::ops::{Algorithm, Coding};

/// The digests that a field takes.
#[derive(Debug, Clone)]
pub(super) struct Digests {
    algorithms: Vec<Algorithm>,
    codings: Vec<Coding>,
}

impl Digests {
    /// By these algorithms, or by any if there are none; written as the hashes of the field's own expression are.
    pub(super) fn new(algorithms: &[String], forms: &[Form]) -> Digests {
        let named =
            |(name, _): &(&str, Algorithm)| algorithms.is_empty() || algorithms.iter().any(|known| known == name);
        let algorithms = ALGORITHMS.into_iter().filter(named).map(|(_, algorithm)| algorithm).collect();
        Digests { algorithms, codings: codings(forms) }
    }

    /// Whether a text looks like one of them.
    pub(super) fn has(&self, text: &str) -> bool {
        let looks = |coding: &Coding| {
            self.algorithms.iter().any(|algorithm| match coding {
                Coding::Hex => text.len() == algorithm.chars(Coding::Hex) && text.bytes().all(is_hex_digit),
                Coding::Base64 => {
                    let bare = |text: &str| text.trim_end_matches('=').len();
                    let padded = text.len() == algorithm.chars(Coding::Base64);
                    let signs = algorithm.base64_signs();
                    bare(text) == signs && (padded || text.len() == signs) && text.bytes().take(signs).all(is_base64)
                }
            })
        };
        self.codings.iter().any(looks)
    }

    /// What would be right, for a reason: `sha1 or sha256 in lower-case hex`.
    pub(super) fn wanted(&self) -> String {
        let names = ALGORITHMS.into_iter().filter(|(_, algorithm)| self.algorithms.contains(algorithm));
        let names: Vec<&str> = names.map(|(name, _)| name).collect();
        let coding = |coding: &Coding| match coding {
            Coding::Hex => "lower-case hex",
            Coding::Base64 => "base64",
        };
        let codings: Vec<&str> = self.codings.iter().map(coding).collect();
        format!("{} in {}", names.join(" or "), codings.join(" or "))
    }
}

fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Of either alphabet.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// As `pii` and the filters name them.
const ALGORITHMS: [(&str, Algorithm); 4] =
    [("md5", Algorithm::Md5), ("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512)];
