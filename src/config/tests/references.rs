//! What stands elsewhere: `${env:…}`, `${file:…}`, `ca_file`, TLS files; and what is never shown of it.

use super::*;

#[test]
fn references_are_resolved_anywhere_in_a_string() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "from-a-file\r\n").unwrap();
    let text = with(&format!(
        "{PARTNER}secrets.one = \"x-${{file:token}}-${{env:NUMBER}}\"\nsecrets.two = \"$${{env:NUMBER}}\"\n"
    ));
    let source = Source { path: folder.path().join("routes.toml"), text, environment: &environment, sets: &[] };
    let config = Config::load(source).unwrap();
    let secrets: Vec<&str> = config.destinations[0].secrets.iter().map(Secret::reveal).collect();
    assert_eq!(secrets, ["x-from-a-file-12", "${env:NUMBER}"]);
}

#[test]
fn a_reference_that_leads_nowhere_is_one_fault() {
    let check = |value: &str, expected: &str| {
        assert_eq!(faults(&with(&format!("{PARTNER}secrets.token = \"{value}\"\n"))), [expected], "{value}");
    };
    check("${env:NO_SUCH}", "13:18 the environment variable `NO_SUCH` is not set");
    check("a${env:NO_SUCH}b", "13:19 the environment variable `NO_SUCH` is not set");
    check("${file:no/such}", "13:18 the file `no/such` cannot be read: it does not exist");
    check("${file:/}", "13:18 the file `/` cannot be read: is a directory");
    check("${vault:x}", "13:18 `${vault:x}` names no source");
    check("a${env:TOKEN", "13:19 `${` without its `}`");
    check("${env:EMPTY}", "13:17 `secrets.token` is empty");
}

#[test]
fn a_large_file_is_no_credential() {
    let report = load(&with(&format!("{PARTNER}secrets.token = \"${{file:/dev/zero}}\"\n"))).unwrap_err();
    assert!(report.to_string().contains("it is larger than 65536 bytes"), "{report}");
}

#[test]
fn a_var_out_of_the_environment_is_read_as_its_type() {
    let dsp = |id: &str| {
        with(&format!(
            "[destination.dsp]\npreset = \"dsp\"\nvars.endpoint = \"https://px.dsp.com/c\"\nvars.advertiser_id = {id}\nvars.data_source_key = \"k\"\nsecrets.token = \"${{env:TOKEN}}\"\n"
        ))
    };
    right(&dsp("12"));
    right(&dsp("\"${env:NUMBER}\""));
    assert_eq!(faults(&dsp("\"12\"")), ["13:22 `vars.advertiser_id` must be a whole number"]);
    assert_eq!(
        faults(&dsp("\"${env:TOKEN}\"")),
        ["13:22 `vars.advertiser_id` must be a whole number, and `${env:TOKEN}` is none"]
    );
}

#[test]
fn a_variable_that_is_not_set_or_empty_may_have_a_default() {
    let event = |value: &str| {
        let text = format!("{PARTNER}vars.v = \"{value}\"\nheaders.X-V = \"{{vars.v}}\"\n");
        let config = right(&with(&text));
        let sample = Sample::parse(br#"{"time": "2026-11-21T10:00:00Z", "order_id": "o-1"}"#).unwrap();
        let Rendering::Sent { request, .. } =
            sample.at(&config.destinations[0], "acme", crate::mapping::Secrets::Masked)
        else {
            panic!("nothing is sent")
        };
        let (_, sent) = request.headers.iter().find(|(name, _)| name == "x-v").unwrap();
        sent.to_str().unwrap().to_owned()
    };
    assert_eq!(event("${env:NUMBER:-7}"), "12");
    assert_eq!(event("${env:MISSING:-7}"), "7");
    assert_eq!(event("${env:EMPTY:-7}"), "7", "as in a shell");
    assert_eq!(event("a-${env:MISSING:-b:-c}-$${env:MISSING:-d}"), "a-b:-c-${env:MISSING:-d}");
    let optional = "[destination.trackdesk-get]\npreset = \"trackdesk-get\"\nvars.tenant = \"t\"\n\
                    vars.conversion_type = \"sale\"\nvars.revenue_origin_id = \"${env:MISSING:-}\"\n";
    right(&with(optional));
    let empty = format!("{PARTNER}vars.v = \"${{env:MISSING:-}}\"\n");
    assert_eq!(faults(&with(&empty)), ["13:10 `vars.v` is empty"]);
}

#[test]
fn a_var_that_is_not_set_is_said_once() {
    let text = "[destination.dsp]\npreset = \"dsp\"\nvars.endpoint = \"${env:MISSING}\"\nvars.advertiser_id = 1\n\
                vars.data_source_key = \"k\"\nsecrets.token = \"${env:TOKEN}\"\n";
    assert_eq!(faults(&with(text)), ["12:18 the environment variable `MISSING` is not set"]);
}

#[test]
fn a_default_that_is_a_credential_is_never_shown() {
    let secret = "live-0123456789";
    let thrad = format!(
        "[destination.thrad]\npreset = \"thrad\"\nsecrets.api_key = \"${{env:MISSING:-{secret}}}\" # the key\n"
    );
    for wrong in [
        thrad.replace("api_key", "api_ky"),
        thrad.replace("secrets.api_key", "vars.token"),
        format!("{thrad}]"),
        format!("{thrad}auth = {{ bearer = \"a {{secrets.nothing}}\" }}\n"),
    ] {
        let report = load(&with(&wrong)).map(|_| ()).unwrap_err().to_string();
        assert!(!report.contains(secret), "{report}");
    }
    let consent = thrad.replace("secrets.api_key", "consent");
    assert_eq!(faults(&with(&consent))[1], "12:11 `consent` cannot be `${env:MISSING:-…}`");
}

#[test]
fn what_stands_in_a_ca_file_is_part_of_what_a_destination_is() {
    let folder = tempfile::tempdir().unwrap();
    let (ca_file, token) = (folder.path().join("ca.pem"), folder.path().join("token"));
    std::fs::write(&token, "one").unwrap();
    let text = with(&format!("{PARTNER}ca_file = \"ca.pem\"\nsecrets.token = \"${{file:token}}\"\n"));
    let told = std::cell::RefCell::new(Vec::new());
    let load = || {
        told.borrow_mut().clear();
        let path = folder.path().join("routes.toml");
        let source = Source { path, text: text.clone(), environment: &environment, sets: &[] };
        let reading = |path: &std::path::Path| told.borrow_mut().push(path.to_owned());
        Config::load_to_serve(source, Trial { reading: &reading, ..Trial::NONE })
    };
    let fault = load().map(|_| ()).unwrap_err();
    assert_eq!(fault.located()[0].message, "`ca_file` cannot be read: it does not exist");
    assert_eq!(*told.borrow(), [token.clone(), ca_file.clone()], "also of what is missing");
    let fingerprint = || load().unwrap_or_else(|report| panic!("{report}")).destinations[0].fingerprint;
    std::fs::write(&ca_file, super::certificates::identity().0).unwrap();
    let one = fingerprint();
    assert_eq!(*told.borrow(), [token, ca_file.clone()]);
    assert_eq!(fingerprint(), one);
    std::fs::write(&ca_file, super::certificates::identity().0).unwrap();
    assert_ne!(fingerprint(), one);
}

#[test]
fn where_it_does_not_serve_secrets_and_tls_files_may_be_missing_and_nothing_else() {
    let text = with(
        "[destination.thrad]\npreset = \"thrad\"\nsecrets.api_key = \"${env:MISSING}\"\nca_file = \"/nowhere/ca.pem\"\n",
    )
    .replace("self_signed = true", "cert = \"/nowhere/tls.crt\", key = \"/nowhere/tls.key\"")
    .replace(
        "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
        "${file:/nowhere/token}\"\n[merchant.globex]\ntoken_sha256 = \"${env:OTHER}",
    );
    let elsewhere = |text: &str| {
        let path = "routes.toml".into();
        Config::load_without_secrets(Source { path, text: text.to_owned(), environment: &environment, sets: &[] })
    };
    let config = elsewhere(&text).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(config.merchants.len(), 2);
    assert_eq!(load(&text).map(|_| ()).unwrap_err().faults, 6);
    let report =
        elsewhere(&format!("{text}vars.tag_id = \"${{env:MISSING}}\"\nsecrets.api_ky = \"${{env:MISSING}}\"\n"));
    let report = report.map(|_| ()).unwrap_err();
    let messages: Vec<&str> = report.located().iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(messages, ["the environment variable `MISSING` is not set", "unknown secret `api_ky`"]);
    assert_eq!(
        report.located()[0].help.as_deref().unwrap(),
        "secrets alone are stood in for, and this is part of what is sent or served: set `MISSING`, for `check` to anything \
         of its type, or give a default: `${env:MISSING:-…}`"
    );
}

#[test]
fn the_order_of_keys_is_part_of_what_a_destination_is_where_it_is_sent_or_chosen() {
    let are_same = |one: &str, other: &str| {
        let [before, after] = [format!("{PARTNER}{one}{other}"), format!("{PARTNER}{other}{one}")].map(|text| {
            let config = right(&with(&text));
            config.destinations[0].fingerprint
        });
        before == after
    };
    assert!(are_same("limits.rate = \"5/s\"\n", "limits.burst = 2\n"));
    assert!(are_same("when = \"value\"\n", "retry = { first = \"2s\" }\n"));
    assert!(are_same("vars.a = \"1\"\n", "vars.b = \"2\"\n"));
    assert!(!are_same("map.a = \"kind\"\n", "map.b = \"kind\"\n"));
    assert!(!are_same("query.a = \"kind\"\n", "query.b = \"kind\"\n"));
    assert!(!are_same("headers.A = \"1\"\n", "headers.B = \"2\"\n"));
    let operation = |name: &str, more: [&str; 2]| {
        let keys = "kind = \"refund\"\nurl = \"https://px.example.com/r\"\nmap.id = \"order_id\"\n";
        format!("[destination.partner.operation.{name}]\n{keys}{}", more.concat())
    };
    let more = ["when = \"value\"\n", "test = \"skip\"\n"];
    assert!(!are_same(&operation("a", more), &operation("b", more)));
    let [one, other] = [more, [more[1], more[0]]].map(|more| {
        let config = right(&with(&format!("{PARTNER}{}", operation("a", more))));
        config.destinations[0].fingerprint
    });
    assert_eq!(one, other);
}
