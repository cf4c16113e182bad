//! Signatures, grants, and every way in which a platform asks for a credential.

use super::*;

impl Written {
    fn signed(self, algorithm: HmacAlgorithm, key: &str, sign: &str) -> Written {
        self.hmac(algorithm, key, |source, text| source.sign = Some(text(sign)))
    }

    /// In the header `X-Signature`, in hex, unless `change` says otherwise.
    fn hmac(
        mut self,
        algorithm: HmacAlgorithm,
        key: &str,
        change: impl FnOnce(&mut HmacSource, &mut dyn FnMut(&str) -> Text),
    ) -> Written {
        let file = &mut self.file;
        let mut text = |value: &str| super::text(file, value);
        let mut source = HmacSource {
            algorithm,
            key: text(&format!("{{secrets.{key}}}")),
            key_encoding: if key == "jefe" || key == "token" { KeyEncoding::Text } else { KeyEncoding::Hex },
            place: SignaturePlace::Header(text("X-Signature")),
            encoding: SignatureEncoding::Hex,
            prefix: None,
            sign: None,
        };
        change(&mut source, &mut text);
        self.source.auth = Some(AuthSource::Hmac(source));
        self
    }

    fn oauth(mut self, change: impl FnOnce(&mut OAuthSource, &mut dyn FnMut(&str) -> Text)) -> Written {
        let file = &mut self.file;
        let mut text = |value: &str| super::text(file, value);
        let mut source = OAuthSource {
            grant: Grant::ClientCredentials,
            token_url: text("https://id.example.com/token"),
            client_id: text("{vars.account}"),
            client_secret: Some(text("{secrets.token}")),
            scope: None,
            audience: None,
            client_auth: ClientAuth::Body,
            header_scheme: None,
        };
        change(&mut source, &mut text);
        self.source.auth = Some(AuthSource::OAuth(source));
        self
    }

    #[track_caller]
    fn header_value(&self, name: &str, conversion: &str, secrets: Secrets) -> String {
        let request = self.rendered(conversion, secrets).expect("mappable");
        let (_, value) = request.headers.iter().find(|(own, _)| own.as_str() == name).expect("the header");
        value.to_str().expect("visible").to_owned()
    }

    #[track_caller]
    fn grant(&self) -> Arc<OAuth> {
        Arc::clone(self.template().oauth().expect("a grant"))
    }
}

fn json() -> Written {
    Written::new(Encoding::Json)
}

const SHA1: HmacAlgorithm = HmacAlgorithm::Sha1;
const SHA256: HmacAlgorithm = HmacAlgorithm::Sha256;
const SHA512: HmacAlgorithm = HmacAlgorithm::Sha512;

#[test]
fn signatures_are_those_of_the_rfcs() {
    #[track_caller]
    fn check(algorithm: HmacAlgorithm, key: &str, data: &str, expected: &str) {
        let conversion = format!(r#"{{"order_id":"{data}"}}"#);
        let written = json().signed(algorithm, key, "{order_id}");
        assert_eq!(written.header_value("x-signature", &conversion, Secrets::Revealed), expected);
    }
    // RFC 2202, 3 (the long key there is shorter: 80 bytes), and RFC 4231, 4.2, 4.3 and 4.7.
    let (hi, want) = ("Hi There", "what do ya want for nothing?");
    check(SHA1, "hex", hi, "b617318655057264e28bc0b6fb378c8ef146be00");
    check(SHA1, "jefe", want, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    check(SHA256, "hex", hi, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    check(SHA256, "jefe", want, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    let long = "Test Using Larger Than Block-Size Key - Hash Key First";
    check(SHA256, "long", long, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    check(
        SHA512,
        "hex",
        hi,
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
    );
    check(
        SHA512,
        "jefe",
        want,
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
    );
    check(
        SHA512,
        "long",
        long,
        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
    );
}

#[test]
fn a_key_in_base64_is_the_same_key_as_in_hex() {
    let of = |key: &str, encoding| {
        let written = json().hmac(SHA256, key, |source, text| {
            source.key_encoding = encoding;
            source.sign = Some(text("Hi There"));
        });
        written.header_value("x-signature", "{}", Secrets::Revealed)
    };
    assert_eq!(of("base64", KeyEncoding::Base64), of("hex", KeyEncoding::Hex));
    assert_ne!(of("base64", KeyEncoding::Text), of("hex", KeyEncoding::Text));
}

#[test]
fn the_body_is_signed_as_it_is_sent() {
    let conversion = r#"{"order_id":"é 1","value":1.50,"currency":"EUR"}"#;
    let map = [("o", "order_id"), ("v", "value")];
    let base64 = |source: &mut HmacSource, text: &mut dyn FnMut(&str) -> Text| {
        source.encoding = SignatureEncoding::Base64;
        source.prefix = Some(text("sha256="));
    };
    let written = json().map(&map).hmac(SHA256, "jefe", base64);
    assert_eq!(written.body(conversion), r#"{"o":"é 1","v":1.50}"#);
    assert_eq!(
        written.header_value("x-signature", conversion, Secrets::Revealed),
        "sha256=sCzZQxR7STyHYALPl3pGU33B+Cuv69CJ8d9D4HG1Br0="
    );
    assert_eq!(written.header_value("x-signature", conversion, Secrets::Masked), "sha256=***");
    let form = Written::new(Encoding::Form).map(&map).hmac(SHA1, "jefe", |_, _| {});
    assert_eq!(form.body(conversion), "o=%C3%A9+1&v=1.50");
    assert_eq!(
        form.header_value("x-signature", conversion, Secrets::Revealed),
        "200319008b696b0d50956b2ddad997af23fb82ae"
    );
    let empty = Written::new(Encoding::Form).map(&map).hmac(SHA1, "jefe", |_, _| {});
    assert_eq!(empty.header_value("x-signature", "{}", Secrets::Revealed), "09d9e59d72239e62a8155c583d52743de9b7231a");
}

#[test]
fn what_is_signed_names_the_parts_of_the_request_and_of_the_conversion() {
    #[track_caller]
    fn check(sign: &str, equals: &str) {
        let base =
            || json().url("https://h.example/{order_id}/x?u=1").map(&[("o", "order_id")]).query(&[("q", "order_id")]);
        let conversion = r#"{"order_id":"a b"}"#;
        let of =
            |sign: &str| base().signed(SHA256, "jefe", sign).header_value("x-signature", conversion, Secrets::Revealed);
        assert_eq!(of(sign), of(equals), "{sign}");
    }
    check("{body}", r#"{{"o":"a b"}}"#);
    check("{method}", "POST");
    check("{method | lower}", "post");
    check("{url}", "https://h.example/a%20b/x?u=1&q=a%20b");
    check("{path}", "/a%20b/x");
    check("{query}", "u=1&q=a%20b");
    check("{body | sha256}", "52ce05e47a22ce181a926df3048f3bcdac611c1345478a1882fba797d9d583b1");
    check("{vars.tenant}:{order_id}:{meta.merchant}", "acme:a b:acme");
    check("{method}\n{path}\n{body}", "POST\n/a%20b/x\n{{\"o\":\"a b\"}}");
}

#[test]
fn a_signature_in_the_query_covers_all_but_itself() {
    let written = Written::new(Encoding::None).url("https://h.example/p?u=1").map(&[("o", "order_id")]).hmac(
        SHA256,
        "jefe",
        |source, text| {
            source.place = SignaturePlace::Query(text("sig"));
            source.encoding = SignatureEncoding::Base64;
            source.sign = Some(text("{url}"));
        },
    );
    let conversion = r#"{"order_id":"1 2"}"#;
    assert_eq!(
        written.request(conversion).url,
        "https://h.example/p?u=1&o=1%202&sig=ZLFDiC%2B2hXr%2F%2Fgjs1Fd1IZ5vXOvfhIQZ04OA36s8H04%3D"
    );
    let masked = written.rendered(conversion, Secrets::Masked).expect("mappable").url;
    assert_eq!(masked, "https://h.example/p?u=1&o=1%202&sig=***");
    assert!(written.template().has_output("query.sig"));
}

#[test]
fn a_part_of_what_is_signed_is_never_left_out_unseen() {
    for secrets in [Secrets::Revealed, Secrets::Masked] {
        let absent = json().signed(SHA256, "jefe", "{order_id}.{body}").rendered("{}", secrets);
        assert_eq!(absent.expect_err("absent").to_string(), "auth: a part of what is signed is absent");
    }
    let line = json().hmac(SHA256, "jefe", |source, text| source.prefix = Some(text("{custom.p | string}=")));
    assert_eq!(line.unmappable(r#"{"custom":{"p":"a\r\nb"}}"#), "auth: a control character cannot stand in a header");
    assert_eq!(line.unmappable("{}"), "auth: a part of the prefix is absent");
}

#[test]
fn a_signature_that_cannot_be_made_is_refused_at_load() {
    #[track_caller]
    fn check(written: &Written, expected: &str) {
        assert_eq!(written.faults(), expected);
    }
    let key = |key: &str, encoding| {
        json().hmac(SHA256, "jefe", |source, text| {
            source.key = text(key);
            source.key_encoding = encoding;
        })
    };
    check(&key("{secrets.token}", KeyEncoding::Hex), "{secrets.token}: the key is not hexadecimal");
    check(&key("{secrets.token}", KeyEncoding::Base64), "{secrets.token}: the key is not Base64");
    check(&key("{order_id}", KeyEncoding::Text), "{order_id}: a conversion cannot choose the key");
    check(&key("{secrets.tokn}", KeyEncoding::Text), "secrets.tokn: there is no secret `tokn`");
    check(&json().signed(SHA256, "jefe", "{boddy}"), "boddy: there is no field `boddy`");
    check(&json().header("X", "{body}"), "body: there is no field `body`");
    let nothing = Written::new(Encoding::None).signed(SHA256, "jefe", "{body}");
    check(&nothing, "{body}: there is no body to sign: every request would be signed alike");
    let twice = json().header("x-signature", "1").hmac(SHA256, "jefe", |_, _| {});
    check(&twice, "x-signature: `auth` sets the header `x-signature` already");
    let taken = json().query(&[("sig", "order_id")]).hmac(SHA256, "jefe", |source, text| {
        source.place = SignaturePlace::Query(text("sig"));
    });
    check(&taken, "sig: `sig` stands in the URL already");
    let host = json().hmac(SHA256, "jefe", |source, text| source.place = SignaturePlace::Header(text("Host")));
    check(&host, "Host: the header `Host` cannot be set");
    for unset in [key("{secrets.unset}", KeyEncoding::Hex), json().signed(SHA256, "jefe", "{vars.unset}")] {
        assert!(unset.template().lacks().is_some_and(|name| name.ends_with(".unset")));
    }
}

#[test]
fn a_token_request_is_what_the_rfc_writes() {
    #[track_caller]
    fn check(written: &Written, authorization: Option<&str>, body: &str) {
        let request = written.grant().token_request(None);
        assert_eq!((request.method.as_str(), &*request.url), ("POST", "https://id.example.com/token"));
        assert_eq!(std::str::from_utf8(&request.body).expect("UTF-8"), body);
        let value = |name: &str| {
            let found = request.headers.iter().find(|(own, _)| own.as_str() == name);
            found.map(|(_, value)| value.to_str().expect("visible"))
        };
        assert_eq!(value("authorization"), authorization);
        assert_eq!(value("content-type"), Some("application/x-www-form-urlencoded"));
    }
    let body = "grant_type=client_credentials&client_id=a%2F12&client_secret=s3cret%2F%2B+%3D";
    check(&json().oauth(|_, _| {}), None, body);
    let scoped = json().oauth(|source, text| {
        source.scope = Some(text("conversions write"));
        source.audience = Some(text("https://api.example.com/{vars.tenant}"));
        source.client_auth = ClientAuth::Basic;
    });
    let body = "grant_type=client_credentials&scope=conversions+write&audience=https%3A%2F%2Fapi.example.com%2Facme";
    check(&scoped, Some("Basic YSUyRjEyOnMzY3JldCUyRiUyQislM0Q="), body);
    let refresh = json().oauth(|source, text| {
        source.grant = Grant::RefreshToken(text("{secrets.jefe}"));
        source.client_secret = None;
    });
    check(&refresh, None, "grant_type=refresh_token&client_id=a%2F12&refresh_token=Jefe");
    let rotated = refresh.grant().token_request(Some(&Secret::new("second".to_owned())));
    assert!(rotated.body.ends_with(b"&refresh_token=second"));
}

#[test]
fn a_rendering_says_where_the_access_token_will_stand() {
    let written = json().oauth(|_, _| {}).origin("http://127.0.0.1:9");
    let shown = |secrets| written.header_value("authorization", "{}", secrets);
    assert_eq!(shown(Secrets::Masked), "Bearer ***");
    assert_eq!(shown(Secrets::Revealed), "Bearer <access token: fetched when it is sent>");
    assert_eq!(written.grant().token_request(None).url, "https://id.example.com/token", "an origin does not move it");
    let own = json().oauth(|source, text| source.header_scheme = Some(text("Zoho-oauthtoken")));
    assert_eq!(own.header_value("authorization", "{}", Secrets::Masked), "Zoho-oauthtoken ***");
    let value = own.grant().authorization("t0k3n").expect("a header");
    assert!(value.is_sensitive() && value == "Zoho-oauthtoken t0k3n");
    assert_eq!(own.grant().authorization("a\r\nb: c"), None);
    let debug = format!("{:?} {:?}", written.template(), written.grant().token_request(None));
    assert!(!debug.contains("s3cret"), "{debug}");
}

#[test]
fn a_grant_that_cannot_be_asked_for_is_refused_at_load() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut OAuthSource, &mut dyn FnMut(&str) -> Text), expected: &str) {
        assert_eq!(json().oauth(change).faults(), expected);
    }
    check(
        |source, text| source.token_url = text("http://id.example.com/token"),
        "http://id.example.com: plain HTTP beyond this machine",
    );
    check(
        |source, text| source.token_url = text("https://id.example.com/{order_id}"),
        "https://id.example.com/{order_id}: a conversion cannot choose where tokens come from",
    );
    check(
        |source, text| source.token_url = text("https://id.example.com/?s={secrets.token}"),
        "https://id.example.com/?s={secrets.token}: a secret in `token_url`",
    );
    check(
        |source, text| source.scope = Some(text("{event_type}")),
        "{event_type}: a conversion cannot choose how a token is come by",
    );
    check(|source, text| source.header_scheme = Some(text("Bearer x")), "Bearer x: no authentication scheme");
    check(|source, text| source.client_id = text(""), ": an empty text");
    assert!(json().oauth(|source, text| source.token_url = text("http://127.0.0.1:9/token")).compile().is_ok());
    let lacks = json().oauth(|source, text| source.client_secret = Some(text("{secrets.unset}")));
    assert_eq!(lacks.template().lacks(), Some("secrets.unset"));
    let header = json().header("Authorization", "x").oauth(|_, _| {});
    assert_eq!(header.faults(), "Authorization: `auth` sets the header `Authorization` already");
}

#[test]
fn every_way_of_showing_a_credential_can_be_written_and_is_masked() {
    #[track_caller]
    fn check(what: &str, written: &Written, sent: &str, shown: &str) {
        let printed = |secrets| written.rendered("{}", secrets).expect("mappable").to_http();
        let (revealed, masked) = (printed(Secrets::Revealed), printed(Secrets::Masked));
        assert!(revealed.contains(sent), "{what}: {revealed}");
        assert!(masked.contains(shown) && !masked.contains("s3cret"), "{what}: {masked}");
    }
    let (json, form) = (json, || Written::new(Encoding::Form));
    check("bearer", &json().bearer("{secrets.token}"), "\nauthorization: Bearer s3cret/+ =\n", ": Bearer ***\n");
    check(
        "basic",
        &json().basic("me", "{secrets.token}"),
        "\nauthorization: Basic bWU6czNjcmV0LysgPQ==\n",
        ": Basic ***\n",
    );
    check(
        "a raw Authorization",
        &json().auth_header("Authorization", "{secrets.token}"),
        "\nauthorization: s3cret/+ =\n",
        "\nauthorization: ***\n",
    );
    check(
        "a header",
        &json().auth_header("Access-Token", "{secrets.token}"),
        "\naccess-token: s3cret/+ =\n",
        ": ***\n",
    );
    check("the query", &json().auth_query("key", "{secrets.token}"), "?key=s3cret%2F%2B%20%3D\n", "?key=***\n");
    check(
        "JSON",
        &json().map(&[("auth.key", "secrets.token")]),
        r#"{"key":"s3cret/+ ="}"#,
        r#"{"auth":{"key":"***"}}"#,
    );
    check("a form", &form().map(&[("key", "secrets.token")]), "\nkey=s3cret%2F%2B+%3D", "\nkey=***");
    check("a hash", &json().map(&[("key", "concat(secrets.token, 'x') | sha256")]), r#"{"key":""#, r#"{"key":"***"}"#);
    let none = json().map(&[("a", "1")]).request("{}");
    assert_eq!(none.to_http(), "POST https://px.example.com/events\ncontent-type: application/json\n\n{\"a\":1}");
}

#[test]
fn a_webhook_is_stamped_when_it_is_sent_and_shown_without_its_key() {
    let mut written = json().map(&[("event", "event_type")]);
    written.source.auth = Some(AuthSource::StandardWebhooks(text(&mut written.file, "{secrets.webhook}")));
    let template = written.template();
    let stamped = |unix_s: u64| {
        let mut request = written.rendered("{}", Secrets::Revealed).unwrap();
        template.stamp(&mut request, unix_s);
        let header = |name: &str| {
            let found: Vec<_> = request.headers.iter().filter(|(own, _)| own.as_str() == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            found[0].1.to_str().unwrap().to_owned()
        };
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
    };
    let (first, second) = (stamped(1_614_265_330), stamped(1_614_265_331));
    assert_eq!((first.0.len(), &first.0), (36, &second.0), "the same id on every attempt");
    assert_eq!((first.1.as_str(), second.1.as_str()), ("1614265330", "1614265331"));
    assert!(first.2.starts_with("v1,") && first.2 != second.2, "{} {}", first.2, second.2);
    for secrets in [Secrets::Revealed, Secrets::Masked] {
        assert_eq!(written.header_value("webhook-signature", "{}", secrets), "***", "before it is sent");
    }
    assert!(!format!("{template:?}").contains("MfKQ"), "no key in a debug output");
}

#[test]
fn a_webhooks_key_and_headers_are_checked_when_it_is_loaded() {
    let fault = |key: &str, encoding: Encoding, header: &str| {
        let mut written = Written::new(encoding).map(&[("event", "event_type")]);
        written.source.auth = Some(AuthSource::StandardWebhooks(text(&mut written.file, key)));
        let written = if header.is_empty() { written } else { written.header(header, "x") };
        written.compile().map(|_| ()).unwrap_err().remove(0).message
    };
    assert_eq!(fault("{secrets.token}", Encoding::Json, ""), "the key does not begin with `whsec_`, and is no Base64");
    assert_eq!(fault("{order_id}", Encoding::Json, ""), "a conversion cannot choose the key");
    assert_eq!(fault("{secrets.webhook}", Encoding::None, ""), "there is no body to sign");
    for header in ["Webhook-Id", "webhook-timestamp", "Webhook-Signature"] {
        let message = fault("{secrets.webhook}", Encoding::Json, header);
        assert_eq!(message, format!("`auth` sets the header `{header}` already"));
    }
}
