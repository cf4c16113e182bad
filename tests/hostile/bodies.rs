//! Bodies: text that is none, JSON that is none, numbers and depths beyond all measure, batches and codings that grow.

use std::io::Write;

use super::{Case, chunk, conversion, head, post};

pub(super) fn cases() -> Vec<Case> {
    [texts(), numbers(), depths(), sizes(), batches(), codings(), ends()].into_iter().flatten().collect()
}

/// What merchants send, in the sizes that they may.
pub(super) fn usual() -> Vec<Case> {
    let text = conversion("usual");
    let large = " ".repeat(BODY_BYTES_MAX - text.len()) + &text;
    let batch: Vec<_> = (0..1000).map(|id| conversion(&format!("usual-{id}"))).collect();
    let batch = format!("[{}]", batch.join(","));
    vec![
        Case::new("the largest body", post("", large.as_bytes()), &[202]).accepting(1),
        Case::new("the largest batch", post("", batch.as_bytes()), &[202]).accepting(1000),
        Case::new("a compressed batch", post("content-encoding: zstd\r\n", &zstd(batch.as_bytes())), &[202]),
    ]
}

const BODY_BYTES_MAX: usize = 4 << 20;

fn json(name: &str, body: impl AsRef<[u8]>, allowed: &'static [u16]) -> Case {
    Case::new(name, post("", body.as_ref()), allowed)
}

/// A conversion a line.
fn lines(name: &str, body: &str, allowed: &'static [u16]) -> Case {
    let text = String::from_utf8(post("", body.as_bytes())).unwrap();
    Case::new(name, text.replacen("application/json", "application/x-ndjson", 1), allowed)
}

/// A conversion with one member more.
fn member(name: &str, member: &str, allowed: &'static [u16]) -> Case {
    json(name, conversion(name).replacen('{', &format!("{{{member},"), 1), allowed)
}

fn texts() -> Vec<Case> {
    let utf16: Vec<u8> = conversion("utf-16").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let broken = |name: &str, bytes: &[u8]| {
        let text = conversion(name).into_bytes();
        let body = [&text[..text.len() - 1], b",\"notes\":\"", bytes, b"\"}"].concat();
        json(name, body, &[400, 422])
    };
    vec![
        json("no body", "", &[400]),
        json("spaces", " ".repeat(BODY_BYTES_MAX), &[400]),
        json("NULs", "\0".repeat(100_000), &[400]),
        json("UTF-16", utf16, &[400]),
        json("a byte order mark", format!("\u{feff}{}", conversion("bom")), &[400]),
        broken("a byte that is no text", b"\xff"),
        broken("overlong text", b"\xc0\xaf"),
        broken("a surrogate in UTF-8", b"\xed\xa0\x80"),
        broken("text that is cut", b"\xe2\x82"),
        broken("a raw NUL in text", b"\0"),
        broken("a raw line end in text", b"\n"),
        broken("a lone high surrogate", br"\ud800"),
        broken("a lone low surrogate", br"\udc00"),
        broken("two high surrogates", br"\ud800\ud800"),
        broken("an escape that is none", br"\x41"),
        broken("half an escape", br"\u00"),
        member("NUL, escaped", r#""notes":"\u0000""#, &[422]),
        json("two documents", conversion("1") + &conversion("2"), &[400]),
        json("a comment", format!("/**/{}", conversion("comment")), &[400]),
        json("a comma too many", conversion("comma").replace('}', ",}"), &[400]),
        json("single quotes", conversion("quotes").replace('"', "'"), &[400]),
        json("XML", "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>", &[400]),
        json("a word", "null", &[422]),
        member("a member twice", r#""currency":"USD""#, &[422]),
        member("a member twice in free data", r#""custom":{"a":1,"a":2}"#, &[422]),
        member("a member twice, escaped", r#""curr\u0065ncy":"USD""#, &[422]),
        member("a prototype", r#""__proto__":{"admin":true}"#, &[422]),
    ]
}

fn numbers() -> Vec<Case> {
    let value = |name: &str, value: &str, allowed| json(name, conversion(name).replace("\"1\"", value), allowed);
    vec![
        value("NaN", "NaN", &[400]),
        value("Infinity", "Infinity", &[400]),
        value("-Infinity", "-Infinity", &[400]),
        value("a number beyond doubles", "1e400", &[422]),
        value("a number with a huge exponent", "1e999999999999", &[422]),
        value("a number with a tiny exponent", "1e-999999999999", &[422]),
        value("the smallest double", "5e-324", &[422]),
        value("a number of a million digits", &"9".repeat(1_000_000), &[422]),
        value("a fraction of a million digits", &format!("0.{}1", "0".repeat(1_000_000)), &[422]),
        value("text of a million digits", &format!("\"{}\"", "9".repeat(1_000_000)), &[422]),
        value("a number with noughts before it", "01", &[400]),
        value("a number with a plus", "+1", &[400]),
        value("a hexadecimal number", "0x10", &[400]),
        value("a number without its fraction", "1.", &[400]),
        value("minus nought", "-0", &[422]),
        member("a number beyond doubles in free data", r#""custom":{"a":1e400}"#, &[202]).accepting(1),
        member("a million digits in free data", &format!("\"custom\":{{\"a\":{}}}", "9".repeat(1_000_000)), &[422]),
        member("a quantity beyond 64 bits", r#""items":[{"quantity":18446744073709551616}]"#, &[422]),
        member("a quantity of less than nothing", r#""items":[{"quantity":-1}]"#, &[422]),
    ]
}

fn depths() -> Vec<Case> {
    let nested = |open: &str, close: &str| open.repeat(DEPTH) + "1" + &close.repeat(DEPTH);
    let (arrays, objects) = (nested("[", "]"), nested("{\"a\":", "}"));
    let batch = format!("[{},{objects}]", conversion("beside the deep"));
    let text = format!("{}\n{arrays}\n{objects}\n", conversion("a line beside the deep"));
    let item = |value: &str| format!("\"items\":[{{\"name\":{value}}}]");
    vec![
        json("deep arrays", &arrays, &[400, 422]),
        json("deep objects", &objects, &[400, 422]),
        json("arrays that do not end", "[".repeat(BODY_BYTES_MAX), &[400, 422]),
        json("objects that do not end", "{\"a\":".repeat(BODY_BYTES_MAX / 5), &[400, 422]),
        member("deep arrays in free data", &format!("\"custom\":{arrays}"), &[400, 422]),
        member("deep objects in free data", &format!("\"custom\":{{\"a\":{objects}}}"), &[400, 422]),
        member("deep arrays in an item", &item(&arrays), &[400, 422]),
        member("deep objects where text belongs", &format!("\"order_id\":{objects}"), &[400, 422]),
        member("deep objects under a name that is unknown", &format!("\"unknown\":{objects}"), &[400, 422]),
        json("deep objects in a batch", batch, &[207]).accepting(1),
        lines("deep lines", &text, &[207]).accepting(1),
    ]
}

fn sizes() -> Vec<Case> {
    let large = "k".repeat(1 << 20);
    let keys: String = (0..300_000).map(|key| format!("\"{key}\":0,")).collect();
    let unknown: String = (0..200_000).map(|key| format!("\"x{key}\":0,")).collect();
    let faulty = format!("\"items\":[{}{{}}]", "{\"quantity\":\"x\"},".repeat(150_000));
    vec![
        member("a name of 1 MiB", &format!("\"{large}\":1"), &[422]),
        member("a name of 1 MiB in free data", &format!("\"custom\":{{\"{large}\":1}}"), &[422]),
        member("a text of 1 MiB", &format!("\"order_id\":\"{large}\""), &[422]),
        member("a text of escapes", &format!("\"order_id\":\"{}\"", r"\u0041".repeat(500_000)), &[422]),
        member("very many names in free data", &format!("\"custom\":{{{keys}\"last\":0}}"), &[422]),
        member("very many names that are unknown", &format!("{unknown}\"last\":0"), &[422]),
        member("very many items, each with a fault", &faulty, &[422]),
        member("very many empty arrays", &format!("\"custom\":{{\"a\":[{}[]]}}", "[],".repeat(1_000_000)), &[422]),
        json("one byte too many", " ".repeat(BODY_BYTES_MAX + 1), &[413]),
        Case::new("a length beyond the limit, and no body", head("content-length: 4194305\r\n"), &[413]),
        Case::new(
            "chunks beyond the limit",
            head("transfer-encoding: chunked\r\n") + &chunk(&" ".repeat(64 << 10)).repeat(100),
            &[413],
        ),
        Case::new(
            "a body of single bytes",
            head("transfer-encoding: chunked\r\n") + &chunk(" ").repeat(200_000) + "0\r\n\r\n",
            &[400],
        ),
    ]
}

fn batches() -> Vec<Case> {
    let line = |count: usize, line: &str| format!("{line}\n").repeat(count);
    let repeated = conversion("a batch of repeats");
    vec![
        json("an empty batch", "[]", &[422]),
        json("a batch in a batch", format!("[[{}]]", conversion("nested")), &[422]),
        json("a batch of nulls", format!("[{}null]", "null,".repeat(999)), &[422]),
        json("a batch of too many", format!("[{}1]", "1,".repeat(1000)), &[413]),
        json("a batch of very many", format!("[{}1]", "1,".repeat(2_000_000)), &[413]),
        json("a batch that does not end", format!("[{}", conversion("endless")), &[400]),
        json("a batch and more", format!("[{}]]", conversion("more")), &[400]),
        json("a batch of repeats", format!("[{}{repeated}]", format!("{repeated},").repeat(999)), &[202]).accepting(1),
        json("good and bad", format!("[{},{{}}]", conversion("good beside bad")), &[207]).accepting(1),
        lines("too many lines", &line(1001, &conversion("a line too many")), &[413]),
        lines("a line of 4 MiB", &"x".repeat(BODY_BYTES_MAX), &[422]),
        lines("empty lines", &"\n".repeat(BODY_BYTES_MAX), &[422]),
        lines("lines that end with CR alone", &line(2, "{}").replace('\n', "\r"), &[422]),
        lines("a thousand lines of nothing", &line(1000, "{}"), &[422]),
        Case::new("a key for several", post("idempotency-key: k\r\n", b"[{},{}]"), &[400]),
    ]
}

fn codings() -> Vec<Case> {
    let coded = |name: &str, coding: &str, body: &[u8], allowed| {
        Case::new(name, post(&format!("content-encoding: {coding}\r\n"), body), allowed)
    };
    let text = conversion("coded").into_bytes();
    let bomb = vec![b' '; 64 << 20];
    let (gzip_bomb, zstd_bomb) = (gzip(&bomb), zstd(&bomb));
    let empty = |member: Vec<u8>| member.repeat(BODY_BYTES_MAX / member.len());
    let skippable = [0x184d_2a50_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat();
    let window = {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&bomb).unwrap();
        encoder.finish().unwrap()
    };
    vec![
        coded("a gzip bomb", "gzip", &gzip_bomb, &[413]),
        coded("a zstd bomb", "zstd", &zstd_bomb, &[413]),
        coded("a bomb in a bomb", "gzip", &gzip(&gzip_bomb), &[400]),
        coded("a zstd window of 128 MiB", "zstd", &window, &[400]),
        coded("very many empty members of gzip", "gzip", &empty(gzip(b"")), &[400]),
        coded("very many empty frames of zstd", "zstd", &empty(zstd(b"")), &[400]),
        coded("very many frames to skip", "zstd", &empty(skippable), &[400]),
        coded("no gzip", "gzip", &text, &[400]),
        coded("no zstd", "zstd", &text, &[400]),
        coded("zstd that says gzip", "gzip", &zstd(&text), &[400]),
        coded("gzip that says zstd", "zstd", &gzip(&text), &[400]),
        coded("gzip that says nothing", "identity", &gzip(&text), &[400]),
        coded("gzip that is cut", "gzip", &gzip(&text)[..40], &[400]),
        coded("gzip and more", "gzip", &[gzip(&text).as_slice(), b"more"].concat(), &[400]),
        coded("nothing, compressed", "gzip", b"", &[400]),
        coded("two codings", "gzip, gzip", &gzip(&gzip(&text)), &[415]),
        coded("two fields", "gzip\r\ncontent-encoding: gzip", &gzip(&gzip(&text)), &[415]),
        coded("an unknown coding", "br", &text, &[415]),
        coded("a transfer coding", "chunked", &text, &[415]),
        coded("an empty coding", "", &text, &[415]),
    ]
}

/// Bodies whose client has closed its half before they were whole.
fn ends() -> Vec<Case> {
    let text = conversion("short");
    vec![
        Case::new("a body that is cut", head(&format!("content-length: {}\r\n", text.len() + 1)) + &text, &[400]),
        Case::new("chunks that are cut", head("transfer-encoding: chunked\r\n") + &chunk(&text), &[400]),
        Case::new("a chunk that is cut", head("transfer-encoding: chunked\r\n") + "ff\r\n" + &text, &[400]),
        Case::new("a size that is cut", head("transfer-encoding: chunked\r\n") + "f", &[400]),
        Case::new("no length", head("") + &text, &[400]),
        Case::new("nothing behind an expectation", head("expect: 100-continue\r\ncontent-length: 9\r\n"), &[400]),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// Far beyond any stack.
const DEPTH: usize = 100_000;
