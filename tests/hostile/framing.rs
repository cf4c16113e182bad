//! Where a request ends: two lengths, codings that are almost `chunked`, chunks that are almost chunks. Behind each stands a
//! whole request of the same merchant, which must not be taken for one where its beginning is in doubt.

use super::{CLOSE, Case, chunk, conversion, good, head, post};

pub(super) fn cases() -> Vec<Case> {
    [lengths(), codings(), lines(), chunks(), trailers(), pipelines()].into_iter().flatten().collect()
}

/// Its fields, its body, and behind it what would be smuggled.
fn case(name: &str, fields: &str, body: &str, allowed: &'static [u16]) -> Case {
    let bytes = [head(fields).as_bytes(), body.as_bytes(), &good(&format!("smuggled by {name}"))].concat();
    Case::new(name, bytes, allowed)
}

fn lengths() -> Vec<Case> {
    let body = conversion("lengths");
    let length = body.len();
    let one = |name: &str, value: &str| case(name, &format!("content-length: {value}\r\n"), &body, &[400]);
    let both = |name: &str, fields: &str| case(name, fields, "0\r\n\r\n", &[400]);
    let twice = format!("content-length: {length}\r\n").repeat(2);
    vec![
        both("length, then chunked", "content-length: 900\r\ntransfer-encoding: chunked\r\n"),
        both("chunked, then length", "transfer-encoding: chunked\r\ncontent-length: 900\r\n"),
        both("chunked between lengths", "content-length: 5\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n"),
        both("chunked and a length that is none", "transfer-encoding: chunked\r\ncontent-length: x\r\n"),
        // RFC 9112 §6.3: may be taken as the one that it is; the next request is then a request.
        case("the same length twice", &twice, &body, &[202]).accepting(2),
        case("two lengths", &format!("content-length: {length}\r\ncontent-length: 0\r\n"), &body, &[400]),
        case(
            "two lengths, the other way",
            &format!("content-length: 0\r\ncontent-length: {length}\r\n"),
            &body,
            &[400],
        ),
        one("a list of the same length", &format!("{length}, {length}")),
        one("a list of lengths", &format!("{length}, 0")),
        one("a negative length", "-1"),
        one("a length with a plus", &format!("+{length}")),
        one("a hexadecimal length", &format!("0x{length:x}")),
        one("a length with an exponent", "1e2"),
        one("a length with a fraction", &format!("{length}.0")),
        one("a length in two words", "1 00"),
        one("a length in quotes", &format!("\"{length}\"")),
        one("a length with a parameter", &format!("{length};q=1")),
        one("a length in other digits", "\u{ff15}"),
        one("a length beyond all numbers", "99999999999999999999999999"),
        one("a length one beyond 64 bits", "18446744073709551616"),
        case("the largest length", "content-length: 18446744073709551615\r\n", &body, &[400, 413, 431]),
        case("the largest length that is one", "content-length: 18446744073709551613\r\n", &body, &[413]),
        one("an empty length", ""),
        one("a length that is a vertical tab away", &format!("\u{b}{length}")),
    ]
}

fn codings() -> Vec<Case> {
    let body = |name: &str| chunk(&conversion(name)) + "0\r\n\r\n";
    let coded = |name: &str, field: &str, allowed| case(name, &format!("{field}\r\n"), &body(name), allowed);
    let refused: &[u16] = &[400, 501];
    vec![
        coded("chunked in capitals", "Transfer-Encoding: CHUNKED", &[202]).accepting(2),
        coded("chunked and spaces", "transfer-encoding: \t chunked \t", &[202]).accepting(2),
        coded("almost chunked", "transfer-encoding: xchunked", refused),
        coded("chunked and more", "transfer-encoding: chunkedx", refused),
        coded("chunked with a parameter", "transfer-encoding: chunked;q=1", refused),
        coded("chunked in quotes", "transfer-encoding: \"chunked\"", refused),
        coded("chunked and a vertical tab", "transfer-encoding: chunked\u{b}", refused),
        coded("chunked, then identity", "transfer-encoding: chunked, identity", refused),
        coded("identity", "transfer-encoding: identity", refused),
        coded("identity and a length", "transfer-encoding: identity\r\ncontent-length: 5", refused),
        coded("gzip before chunked", "transfer-encoding: gzip, chunked", refused),
        coded("chunked in chunked", "transfer-encoding: chunked, chunked", refused),
        coded("chunked in two fields", "transfer-encoding: chunked\r\ntransfer-encoding: chunked", refused),
        coded(
            "chunked, then identity in two fields",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity",
            refused,
        ),
        coded(
            "identity, then chunked in two fields",
            "transfer-encoding: identity\r\ntransfer-encoding: chunked",
            refused,
        ),
        coded("an empty coding", "transfer-encoding:", refused),
        coded("an empty coding before chunked", "transfer-encoding: ,chunked", refused),
        coded("a coding with an underscore", "transfer_encoding: chunked", &[400]),
        Case::new(
            "chunked in HTTP/1.0",
            [
                head("transfer-encoding: chunked\r\n").replace("1.1", "1.0").as_bytes(),
                body("1.0").as_bytes(),
                &good("old"),
            ]
            .concat(),
            &[400],
        ),
    ]
}

fn lines() -> Vec<Case> {
    let body = conversion("lines");
    let length = body.len();
    let field =
        |name: &str, field: &str| case(name, &format!("{field}\r\ncontent-length: {length}\r\n"), &body, &[400]);
    let (bare_lf, bare_cr) = (head("content-length: 0\r\n").replace("\r\n", "\n"), head("").replace("\r\n", "\r"));
    vec![
        field("a folded field", "x: a\r\n b"),
        field("a folded coding", "transfer-encoding:\r\n chunked"),
        field("a field that is continued by a tab", "x: a\r\n\tb"),
        field("a bare CR in a value", "x: a\rtransfer-encoding: chunked"),
        field("a bare CR before a line's end", "x: a\r\r"),
        field("NUL in a value", "x: a\0b"),
        field("NUL in a name", "x\0: a"),
        field("a control character in a value", "x: \u{1}"),
        field("DEL in a value", "x: \u{7f}"),
        field("space before the colon", "transfer-encoding : chunked"),
        field("tab before the colon", "transfer-encoding\t: chunked"),
        field("space before the name", " transfer-encoding: chunked"),
        field("no name", ": chunked"),
        field("no colon", "transfer-encoding chunked"),
        field("a name that is no token", "x(y): z"),
        field("a name beyond ASCII", "transfer\u{2010}encoding: chunked"),
        // RFC 9112 §2.2 lets a line end with LF alone: then the empty body is refused, and the next request is one.
        Case::new("bare LF", [bare_lf.as_bytes(), &good("after bare LF")].concat(), &[400]).accepting(1),
        Case::new("bare CR for every line's end", [bare_cr.as_bytes(), &good("cr")].concat(), &[400]),
    ]
}

fn chunks() -> Vec<Case> {
    let body = conversion("chunks");
    let size = format!("{:x}", body.len());
    let chunked = |name: &str, body: &str| case(name, "transfer-encoding: chunked\r\n", body, &[400]);
    let sized = |name: &str, size: &str| chunked(name, &format!("{size}\r\n{body}\r\n0\r\n\r\n"));
    let extended = |extension: &str| format!("{size};{extension}\r\n{body}\r\n0\r\n\r\n");
    let many = format!("1;{}\r\n \r\n", "x".repeat(1000)).repeat(100);
    vec![
        sized("a size beyond 64 bits", &format!("1{}{size}", "0".repeat(16))),
        sized("the largest size", "ffffffffffffffff"),
        sized("a size of a thousand noughts", &format!("{}g", "0".repeat(1000))),
        sized("a negative size", "-1"),
        sized("a size with a plus", &format!("+{size}")),
        sized("a size with 0x", &format!("0x{size}")),
        sized("a size that is none", "g"),
        sized("no size", ""),
        sized("space before the size", &format!(" {size}")),
        sized("two sizes", &format!("{size} {size}")),
        chunked("LF alone behind the size", &format!("{size}\n{body}\r\n0\r\n\r\n")),
        chunked("CR alone behind the size", &format!("{size}\r{body}\r\n0\r\n\r\n")),
        chunked("nothing behind the data", &format!("{size}\r\n{body}0\r\n\r\n")),
        chunked("LF alone behind the data", &format!("{size}\r\n{body}\n0\r\n\r\n")),
        chunked("data longer than its size", &format!("{size}\r\n{body} \r\n0\r\n\r\n")),
        chunked("data shorter than its size", &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len() + 1)),
        chunked("LF alone in an extension", &extended("a\nb")),
        chunked("a bare CR in an extension", &extended("a\rb")),
        chunked("an extension bomb", &extended(&"x".repeat(64 * 1024))),
        chunked("a bomb of many extensions", &format!("{many}0\r\n\r\n")),
        case("an extension", "transfer-encoding: chunked\r\n", &extended("a=\"b;c\""), &[202]).accepting(2),
        case("no last chunk", "transfer-encoding: chunked\r\n", &chunk(&body), &[400]),
        case("no line behind the last chunk", "transfer-encoding: chunked\r\n", &(chunk(&body) + "0\r\n"), &[400]),
    ]
}

fn trailers() -> Vec<Case> {
    let trailed = |name: &str, trailers: &str, allowed| {
        let body = chunk(&conversion(name)) + "0\r\n" + trailers + "\r\n";
        case(name, "transfer-encoding: chunked\r\ntrailer: x\r\n", &body, allowed)
    };
    let unsigned = head("transfer-encoding: chunked\r\n").replace("authorization", "x-authorization");
    let trailer = chunk(&conversion("late")) + "0\r\nauthorization: Bearer test-token\r\n\r\n";
    vec![
        trailed("a trailer", "x: y\r\n", &[202]).accepting(2),
        trailed("a length in a trailer", "content-length: 500\r\n", &[202]).accepting(2),
        trailed("a coding in a trailer", "transfer-encoding: chunked\r\n", &[202]).accepting(2),
        trailed("a host in a trailer", "host: b\r\n", &[202]).accepting(2),
        Case::new("credentials in a trailer", unsigned + &trailer, &[401]),
        trailed("a trailer that is none", "x y\r\n", &[400]),
        trailed("a folded trailer", "x: y\r\n z\r\n", &[400]),
        trailed("NUL in a trailer", "x: \0\r\n", &[400]),
        trailed("a long trailer", &format!("x: {}\r\n", "y".repeat(64 * 1024)), &[400]),
        trailed("many trailers", &"x: y\r\n".repeat(1000), &[400]),
    ]
}

fn pipelines() -> Vec<Case> {
    let bad: &[u8] = b"POST /v1/conversions HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n";
    let inner = good("inside of a body");
    let unknown = String::from_utf8(post("", &inner)).unwrap();
    vec![
        Case::new("good, bad, good", [&good("first"), bad, &good("third")].concat(), &[202]).accepting(1),
        Case::new("bad, good", [bad, &good("second")].concat(), &[400]),
        Case::new("a request as the body of one", post("", &inner), &[400]),
        Case::new(
            "a request as the body of one that is not read",
            unknown.replacen("Bearer test-token", "Bearer another", 1),
            &[401],
        ),
        Case::new(
            "a request as the body of a GET",
            unknown.replacen("POST /v1/conversions", "GET /v1/orders/x", 1),
            &[404],
        ),
        Case::new(
            "a request as the body of what is not there",
            unknown.replacen("/v1/conversions", "/v1/nothing", 1),
            &[404],
        ),
        Case::new("a hundred at once", (0..100).flat_map(|id| good(&format!("p-{id}"))).collect::<Vec<_>>(), &[202])
            .accepting(100),
        Case::new("one and a half", [good("whole"), good("half")[..150].to_vec()].concat(), &[202]).accepting(1),
        Case::new("a head without its end", head("").trim_end().to_owned(), &[400, CLOSE]),
    ]
}
