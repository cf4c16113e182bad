//! Braces that were forgotten, secrets that nothing uses, and what comes from the environment.

use super::*;

#[track_caller]
fn findings(text: &str) -> Vec<String> {
    let report = match load(text) {
        Ok(config) => config.warnings,
        Err(report) => report,
    };
    report.located().iter().map(|found| format!("{} {}", found.severity.as_str(), found.message)).collect()
}

#[track_caller]
fn help(text: &str) -> String {
    let report = load(text).map(|_| ()).unwrap_err();
    report.located()[0].help.clone().unwrap_or_default()
}

#[test]
fn a_credential_without_its_braces_is_a_fault() {
    let secret = format!("{PARTNER}secrets.token = \"${{env:TOKEN}}\"\nvars.user = \"u\"\n");
    let check = |auth: &str, path: &str| {
        let text = with(&format!("{secret}{auth}\n"));
        let found = findings(&text);
        assert!(found.contains(&format!("error `{path}` would be sent as these very letters")), "{auth}: {found:?}");
        assert!(load(&text).map(|_| ()).unwrap_err().to_string().contains(&format!("write `{{{path}}}`")), "{auth}");
    };
    check("auth = { bearer = \"secrets.token\" }", "secrets.token");
    check("auth = { bearer = \"vars.user\" }", "vars.user");
    check("auth = { header = { name = \"X-Key\", value = \"secrets.token\" } }", "secrets.token");
    check("auth = { query = { name = \"key\", value = \"{{secrets.token}}\" } }", "secrets.token");
    check("auth = { basic = { user = \"vars.user\", password = \"{secrets.token}\" } }", "vars.user");
    check("auth = { basic = { user = \"{vars.user}\", password = \"secrets.token\" } }", "secrets.token");
    check("auth = { hmac = { algorithm = \"sha256\", key = \"secrets.token\", header = \"X-S\" } }", "secrets.token");
    check("headers.Authorization = \"Bearer secrets.token\"", "secrets.token");
    check("headers.X-Account = \"vars.user\"", "vars.user");
    right(&with(&format!("{secret}auth = {{ bearer = \"{{secrets.token}}\" }}\n")));
    right(&with(&format!("{secret}auth = {{ bearer = \"{{secrets.token | trim}}\" }}\n")));
}

#[test]
fn a_header_that_reads_as_a_path_is_warned_of() {
    let check = |value: &str, expected: &[&str]| {
        assert_eq!(findings(&with(&format!("{PARTNER}headers.X-Order = \"{value}\"\n"))), expected, "{value}");
    };
    let letters =
        |path: &str| format!("warning `X-Order` is sent as the very letters `{path}`: a header is a template");
    check("order_id", &[&letters("order_id")]);
    check("meta.dedup_key", &[&letters("meta.dedup_key")]);
    check("{{meta.dedup_key}}", &[&letters("meta.dedup_key")]);
    for meant in ["value", "{order_id}", "application/json", "px.example", "1.0", "no_field"] {
        check(meant, &[]);
    }
}

#[test]
fn a_secret_that_nothing_uses_is_warned_of() {
    let secrets = format!("{PARTNER}secrets.token = \"${{env:TOKEN}}\"\nsecrets.token_2 = \"${{env:TOKEN}}\"\n");
    let one = with(&format!("{secrets}auth = {{ bearer = \"{{secrets.token_2}}\" }}\n"));
    assert_eq!(findings(&one), ["warning nothing uses `secrets.token`"]);
    let both = with(&format!(
        "{secrets}map.sign = \"order_id | hmac_sha256(secrets.token_2)\"\nauth = {{ bearer = \"{{secrets.token}}\" }}\n"
    ));
    assert_eq!(findings(&both), [""; 0]);
}

#[test]
fn a_default_is_plain_text_behind_its_sign() {
    let check = |value: &str, message: &str, right: &str| {
        let text = with(&format!("{PARTNER}vars.x = \"{value}\"\n"));
        let found = faults(&text);
        assert!(found[0].ends_with(message), "{value}: {found:?}");
        assert_eq!(help(&text), right, "{value}");
    };
    let nested = "a default is plain text; nesting is not supported";
    check("${env:A:-${env:B}}", nested, "name one variable, `${env:A}`, and choose where it is set");
    let braces = "a default ends at the first `}`, so it holds no braces";
    check("${env:A:-{none}}", braces, "write them outside of `${env:A:-…}`, or set `A`");
    let sign = "a default stands behind `:-`: `${env:X:-…}`";
    for wrong in ["${env:X:1000}", "${env:X-1000}", "${env:X:=1000}", "${env:X:?gone}"] {
        check(wrong, "something stands behind the name `X`, and it is no default", sign);
    }
    right(&with(&format!("{PARTNER}vars.x = \"${{env:X:-1000}}\"\n")));
    right(&with(&format!("{PARTNER}vars.x = \"${{env:X:-a:-b}}\"\n")));
}

#[test]
fn a_condition_quotes_nothing_from_the_environment() {
    for key in ["when", "only_when"] {
        let text = with(&format!("{PARTNER}{key} = \"custom.k == '${{env:TOKEN}}'\"\n"));
        let found = faults(&text);
        let message = format!("`{key}` holds a `${{…}}`, and is quoted in the reason why a conversion is skipped");
        assert!(found.len() == 1 && found[0].ends_with(&message), "{found:?}");
        assert!(!load(&text).map(|_| ()).unwrap_err().to_string().contains("token-from-the-environment"));
    }
    let by_var =
        with(&format!("{PARTNER}vars.x = \"${{env:TOKEN}}\"\nwhen = \"custom.k == vars.x || custom.l == vars.x\"\n"));
    let config = right(&by_var);
    let conversion = crate::conversion::Conversion::parse(br#"{"time": "2026-05-26T12:00:00Z"}"#, "g").unwrap();
    let id = crate::conversion::ConversionId::new(1, [7; 10]);
    let meta = crate::conversion::Meta::new(id, std::sync::Arc::from("acme"), None, &conversion);
    let decision = config.destinations[0].decide(crate::mapping::Scope { conversion: &conversion, meta: &meta });
    let Decision::Skipped(why) = decision else { panic!("it is skipped") };
    assert_eq!(why, "does not apply: (custom.k == vars.x || custom.l == vars.x) does not hold");
}
