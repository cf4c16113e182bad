//! Text: digested, encoded.

use super::{maybe, one};
use crate::mapping::filters::{Argument, Filter, Param};
use crate::mapping::ops::{Algorithm, Op};
use crate::mapping::types::{Gives, Takes};

const CODING: &[Param] = &[maybe("'hex' | 'base64'", Argument::Plain)];
const KEY_AND_CODING: &[Param] = &[one("secrets.x", Argument::Secret), maybe("'hex' | 'base64'", Argument::Plain)];

pub(super) static DIGEST: &[Filter] = &[
    Filter {
        name: "sha1",
        takes: Takes::Plain,
        params: CODING,
        gives: Gives::Digest,
        doc: "its SHA-1 digest, in lower-case hex unless 'base64' is asked for",
        make: |args| Ok(Op::Hash(Algorithm::Sha1, args.coding(0)?)),
    },
    Filter {
        name: "sha256",
        takes: Takes::Plain,
        params: CODING,
        gives: Gives::Digest,
        doc: "its SHA-256 digest, likewise",
        make: |args| Ok(Op::Hash(Algorithm::Sha256, args.coding(0)?)),
    },
    Filter {
        name: "sha512",
        takes: Takes::Plain,
        params: CODING,
        gives: Gives::Digest,
        doc: "its SHA-512 digest, likewise",
        make: |args| Ok(Op::Hash(Algorithm::Sha512, args.coding(0)?)),
    },
    Filter {
        name: "md5",
        takes: Takes::Plain,
        params: CODING,
        gives: Gives::Digest,
        doc: "its MD5 digest, likewise",
        make: |args| Ok(Op::Hash(Algorithm::Md5, args.coding(0)?)),
    },
    Filter {
        name: "hmac_sha1",
        takes: Takes::Plain,
        params: KEY_AND_CODING,
        gives: Gives::Digest,
        doc: "its HMAC-SHA-1 with this key, likewise",
        make: |args| Ok(Op::Hmac(Algorithm::Sha1, args.word(0), args.coding(1)?)),
    },
    Filter {
        name: "hmac_sha256",
        takes: Takes::Plain,
        params: KEY_AND_CODING,
        gives: Gives::Digest,
        doc: "its HMAC-SHA-256 with this key, likewise",
        make: |args| Ok(Op::Hmac(Algorithm::Sha256, args.word(0), args.coding(1)?)),
    },
    Filter {
        name: "hmac_sha512",
        takes: Takes::Plain,
        params: KEY_AND_CODING,
        gives: Gives::Digest,
        doc: "its HMAC-SHA-512 with this key, likewise",
        make: |args| Ok(Op::Hmac(Algorithm::Sha512, args.word(0), args.coding(1)?)),
    },
    Filter {
        name: "hex",
        takes: Takes::Plain,
        params: &[],
        gives: Gives::Text,
        doc: "its bytes (UTF-8) in lower-case hex",
        make: |_| Ok(Op::Hex),
    },
    Filter {
        name: "base64",
        takes: Takes::Plain,
        params: &[],
        gives: Gives::Text,
        doc: "its bytes (UTF-8) in base64 with padding",
        make: |_| Ok(Op::Base64),
    },
];
