//! Reading: syntax, lists, what is declared of fields, limits; what reports show, and never show.

use proptest::prelude::*;

use super::*;

#[test]
fn a_syntax_error_alone_ends_the_reading() {
    let found = faults("[server]\nlisten = \n[queue]\npaht = \"x\"\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("2:10 TOML: "), "{found:?}");
}

#[test]
fn an_empty_file_lacks_everything() {
    let found = faults("");
    assert_eq!(
        found,
        [
            "1:1 there is no `[destination.NAME]`",
            "1:1 there is no `[merchant.NAME]`",
            "1:1 there is no `[queue]`",
            "1:1 there is no `[server]`",
        ]
    );
}

#[test]
fn a_list_in_the_map_holds_expressions_or_tables() {
    let list = |list: &str| with(&format!("{PARTNER}map.ids = {list}\n"));
    for right_list in ["[\"order_id\", \"customer.id ?? null\"]", "[{ id = \"order_id\" }]"] {
        let config = right(&list(right_list));
        assert!(config.destinations[0].operations[0].request.has_output("map.ids"), "{right_list}");
    }
    let mixed = faults(&list("[\"order_id\", { id = \"order_id\" }]"));
    let said = "`ids` must be a list of expressions alone, or of inline tables alone, and this is a table";
    assert_eq!(mixed, [format!("13:24 {said}")]);
    assert_eq!(faults(&list("[]")), ["13:5 a list with nothing in it"]);
    assert_eq!(faults(&list("[\"order_id\", \"ordr_id\"]")), ["13:25 there is no field `ordr_id`"]);
}

#[test]
fn debug_output_of_a_configuration_shows_no_secret() {
    let text =
        with(&format!("{PARTNER}secrets.token = \"${{env:TOKEN}}\"\nauth = {{ bearer = \"{{secrets.token}}\" }}\n"));
    let config = right(&text);
    assert!(!format!("{config:?}").contains("token-from-the-environment"));
    assert_eq!(config.destinations[0].secrets[0].reveal(), "token-from-the-environment");
}

#[test]
fn reports_are_bounded_sorted_and_without_repeats() {
    let many: String = (0..80).map(|n| format!("unknown_{n:02} = 1\n")).collect();
    let report = load(&with(&format!("{PARTNER}{many}"))).unwrap_err();
    assert_eq!(report.faults, 80);
    let text = report.to_string();
    assert!(text.contains("unknown_49") && !text.contains("unknown_50"), "{text}");
    assert!(text.contains("… and 30 more") && text.ends_with("80 faults in the configuration"), "{text}");
}

#[test]
fn nesting_has_a_limit() {
    for deep in [
        format!("a{} = 1", ".a".repeat(200_000)),
        format!("a = {}", "[".repeat(200_000)),
        format!("[a{}]", ".a".repeat(200_000)),
    ] {
        assert!(load(&deep).is_err());
        assert!(load(&with(&format!("{PARTNER}map.{deep}"))).is_err());
    }
}

#[test]
fn the_configuration_is_looked_for_in_order() {
    let environment = |name: &str| (name == "CAPI_RELAY_CONFIG").then(|| "from-the-environment.toml".to_owned());
    let found = |flag: Option<&str>| find(flag.map(std::path::Path::new), &environment).unwrap();
    assert_eq!(found(Some("given.toml")).as_os_str(), "given.toml");
    assert_eq!(found(None).as_os_str(), "from-the-environment.toml");
    assert!(read(std::path::Path::new("/no/such")).unwrap_err().to_string().contains("/no/such cannot be read"));
    assert!(read(std::path::Path::new("/dev/zero")).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_reading_panic(text in "[ -~\n\u{e9}\u{1f600}]{0,200}", cut in 0usize..2000) {
        let whole = with(&format!("{PARTNER}{text}\n[destination.thrad]\npreset = \"thrad\"\nsecrets.api_key = \"${{env:TOKEN}}\"\n"));
        let cut = whole.floor_char_boundary(cut.min(whole.len()));
        for text in [text.as_str(), whole.as_str(), whole.split_at(cut).0] {
            if let Err(report) = load(text) {
                prop_assert!(report.faults > 0);
                prop_assert!(!report.to_string().contains("token-from-the-environment"));
            }
        }
    }

    #[test]
    fn a_literal_secret_is_never_shown_wherever_it_is_cut(cut in 0usize..800, line in 0usize..12) {
        let text = with(&format!("{PARTNER}{SECRETS}"));
        let lines: Vec<&str> = text.lines().enumerate().filter(|(n, _)| *n != line).map(|(_, line)| line).collect();
        let cut = text.floor_char_boundary(cut.min(text.len()));
        for text in [lines.join("\n"), text.split_at(cut).0.to_owned()] {
            if let Err(report) = load(&text) {
                let report = report.to_string();
                prop_assert!(!report.contains("live-0123456789"), "{report}");
            }
        }
    }
}

/// Secrets in plain sight, on lines of their own too.
const SECRETS: &str = r#"[destination.thrad]
preset = "thrad"
secrets.api_key = "live-0123456789" # was ${env:KEY}
secrets.extra = '''
live-0123456789
'''
[merchant.globex]
signing_secrets = [
    "live-0123456789",
    "live-0123456789", # ]
    "live-0123456789"
]
[destination.other]
secrets = {
    a = "live-0123456789",
    b = { c = "live-0123456789" },
    d = "live-0123456789"
}
"#;

#[test]
fn a_syntax_error_shows_no_secret_of_its_line() {
    let shown = |lines: &str| load(&with(&format!("{PARTNER}{lines}\n"))).map(|_| ()).unwrap_err().to_string();
    for lines in [
        "secrets.a = \"live-1\" \"live-2\" # was ${env:A}",
        "secrets.a = \"live-1\", \"${env:A}\"",
        "secrets.a \"live-1\"",
        "secrets.a \"live-1==\"",
        "signing_secrets = [\n\"live-1\"\n\"live-2\"\n]",
        "old_keys = [ # [\n\"live-1\", \"]\",\n\"live-2\" \"live-3\"\n]",
        "secrets = {\na = \"live-1\"\nb = \"live-2\"\n}",
        "secrets.key = \"-----BEGIN\nlive-1\nlive-2==\n-----END\"",
        "secrets = { a = \"\"\"\n} live-1\n\"\"\" \"live-2\"\n}",
        "signing_secrets =\n[\"live-1\", \"live-2\"]",
        "signing_secrets = # old and new\n\n# these\n[\n\"live-1\",\n\"live-2\"\n]",
        "secrets.a =\n\"live-1\"",
        "secrets.a =\n=\n'''\nlive-1\n'''",
        "secrets.a\n= \"live-1\"",
        "signing_secrets =\n[destination.other.secrets]\na = \"live-1\"",
        "[destination.other.secrets]\na =\n[\"live-1\"]\nb = \"live-2\"",
    ] {
        let report = shown(lines);
        assert!(report.contains("TOML: ") && !report.contains("live-"), "{lines}\n{report}");
    }
    let reference = shown("secrets.a = \"${env:TOKEN}\" ]");
    assert!(reference.contains("secrets.a = \"${env:TOKEN}\" ]"), "{reference}");
}

#[test]
fn what_is_said_of_a_field_may_hold_what_is_said_of_the_fields_below_it() {
    let declared = r#"[destination.partner]
url = "https://px.example.com/events"
[destination.partner.map]
"data[0].user.name" = "customer.id"
"data[0].user.type" = "event_type"
"data[0].items[].id" = "item.sku"
[destination.partner.outputs."data[0]".user]
type = { type = "text", values = ["guest"] }
nam = { type = "text" }
[destination.partner.outputs."data[0]".items]
type = "array"
"#;
    assert_eq!(faults(&with(declared)), ["13:2 the contract knows no field `data[0].user.name`"]);
    right(&with(&declared.replace("nam =", "name =")));
    assert_eq!(
        faults(&with(&declared.replace("nam =", "\"name\" = { type = \"int\" }\nother ="))),
        ["13:24 `data[0].user.name` is a whole number, and this is text"]
    );
    let said_twice = format!("{declared}[destination.partner.outputs]\n\"data[0].user.nam\" = {{}}\n");
    assert_eq!(faults(&with(&said_twice))[1], "22:2 `data[0].user.nam` is declared twice");
}
