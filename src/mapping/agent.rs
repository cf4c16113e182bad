//! The browser and the operating system of a user agent, as plain names.
//!
//! Only families are named, since versions in user agents are frozen or made up: every Windows but Windows Phone is
//! `Windows`, macOS is `Mac OS X`, iPhone, iPad and iPod are `iOS`. What is unknown has no name.

use woothee::parser::Parser;

/// `Chrome`, `Safari`, `Firefox`, `Edge`, `Opera`, `SamsungBrowser`, `Internet Explorer`, …
pub(super) fn browser(user_agent: &str) -> &'static str {
    if let Some(usual) = usual(user_agent) {
        return usual.browser;
    }
    let Some(found) = bounded(user_agent).and_then(|agent| Parser::new().parse(agent)) else { return "" };
    BROWSERS.into_iter().find(|known| *known == found.name).unwrap_or("")
}

/// `Windows`, `Mac OS X`, `iOS`, `Android`, `Linux`, …
pub(super) fn operating_system(user_agent: &str) -> &'static str {
    if let Some(usual) = usual(user_agent) {
        return usual.system;
    }
    let Some(found) = bounded(user_agent).and_then(|agent| Parser::new().parse(agent)) else { return "" };
    SYSTEMS.into_iter().find(|(start, _)| found.os.starts_with(start)).map_or("", |(_, name)| name)
}

/// A user agent of the browsers that most customers have, and what the parser makes of it.
struct Usual {
    /// Behind [`MOZILLA`]; a version stands between each and the next, and at the end.
    literals: &'static [&'static str],
    browser: &'static str,
    system: &'static str,
}

/// The parser finds the same in them (held by a test), after a dozen regular expressions: a hundred times later.
fn usual(user_agent: &str) -> Option<&'static Usual> {
    let rest = user_agent.strip_prefix(MOZILLA)?;
    USUAL.iter().find(|usual| is_of(rest, usual.literals))
}

/// Whether the text is the literals with a version behind each.
fn is_of(text: &str, literals: &[&str]) -> bool {
    // The first letter tells most of them apart.
    if literals.first().and_then(|literal| literal.bytes().next()) != text.bytes().next() {
        return false;
    }
    let rest = literals.iter().try_fold(text, |rest, literal| without_version(rest.strip_prefix(literal)?));
    rest == Some("")
}

/// What follows the version that the text begins with.
fn without_version(text: &str) -> Option<&str> {
    let version = text.bytes().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_')).count();
    if version == 0 { None } else { text.get(version..) }
}

/// The part of a user agent that says what it is; longer ones are not looked through to their end.
fn bounded(user_agent: &str) -> Option<&str> {
    let end = user_agent.floor_char_boundary(USER_AGENT_BYTES_MAX);
    user_agent.get(..end)
}

/// Real ones stay below 500 bytes.
const USER_AGENT_BYTES_MAX: usize = 1024;

const BROWSERS: [&str; 13] = [
    "Chrome",
    "Safari",
    "Firefox",
    "Edge",
    "Opera",
    "SamsungBrowser",
    "Internet Explorer",
    "Vivaldi",
    "Yandex Browser",
    "Google Search App",
    "Sleipnir",
    "Webview",
    "Firefox OS",
];

/// How names of the parser begin, and ours; longer ones first.
const SYSTEMS: [(&str, &str); 14] = [
    ("Windows Phone", "Windows Phone"),
    ("Windows RSS", ""),
    ("Windows", "Windows"),
    ("Mac OS", "Mac OS X"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("iPod", "iOS"),
    ("iOS", "iOS"),
    ("Android", "Android"),
    ("ChromeOS", "Chrome OS"),
    ("Linux", "Linux"),
    ("BSD", "BSD"),
    ("BlackBerry", "BlackBerry"),
    ("PlayStation", "PlayStation"),
];

/// Chrome, Edge and Safari say no more of a system than this since they froze it.
#[rustfmt::skip]
const USUAL: [Usual; 8] = [
    usually(&["iPhone; CPU iPhone OS ", " like Mac OS X) AppleWebKit/", LIKE_GECKO_VERSION, " Mobile/15E148 Safari/"], "Safari", "iOS"),
    usually(&["Linux; Android ", "; K) AppleWebKit/", LIKE_GECKO_CHROME, " Mobile Safari/"], "Chrome", "Android"),
    usually(&["Windows NT 10.0; Win64; x64) AppleWebKit/", LIKE_GECKO_CHROME, " Safari/"], "Chrome", "Windows"),
    usually(&["Windows NT 10.0; Win64; x64) AppleWebKit/", LIKE_GECKO_CHROME, " Safari/", " Edg/"], "Edge", "Windows"),
    usually(&["Windows NT 10.0; Win64; x64; rv:", ") Gecko/", " Firefox/"], "Firefox", "Windows"),
    usually(&["Macintosh; Intel Mac OS X ", ") AppleWebKit/", LIKE_GECKO_VERSION, " Safari/"], "Safari", "Mac OS X"),
    usually(&["Macintosh; Intel Mac OS X ", ") AppleWebKit/", LIKE_GECKO_CHROME, " Safari/"], "Chrome", "Mac OS X"),
    usually(&["X11; Linux x86_64) AppleWebKit/", LIKE_GECKO_CHROME, " Safari/"], "Chrome", "Linux"),
];

/// What they all begin with.
const MOZILLA: &str = "Mozilla/5.0 (";
const LIKE_GECKO_CHROME: &str = " (KHTML, like Gecko) Chrome/";
const LIKE_GECKO_VERSION: &str = " (KHTML, like Gecko) Version/";

const fn usually(literals: &'static [&'static str], browser: &'static str, system: &'static str) -> Usual {
    Usual { literals, browser, system }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the parser makes of it.
    fn parsed(agent: &str) -> (&'static str, &'static str) {
        let found = Parser::new().parse(agent).unwrap();
        let browser = BROWSERS.into_iter().find(|known| *known == found.name).unwrap();
        let system = SYSTEMS.into_iter().find(|(start, _)| found.os.starts_with(start)).unwrap();
        (browser, system.1)
    }

    #[test]
    fn the_usual_user_agents_are_told_by_their_form() {
        #[track_caller]
        fn check(agent: &str, expected: Option<(&str, &str)>) {
            assert_eq!(usual(agent).map(|usual| (usual.browser, usual.system)), expected);
        }
        let chrome = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
        check(chrome, Some(("Chrome", "Mac OS X")));
        check(&format!("{chrome} OPR/1.0"), None);
        check(&format!("{chrome} "), None);
        check(&chrome.replace("126.0.0.0", ""), None);
        check(&chrome.replace("126.0.0.0", "126.x"), None);
        check("", None);
        check("Mozilla/5.0", None);
    }

    proptest! {
        #[test]
        fn what_is_usual_is_what_the_parser_finds(row in 0..USUAL.len(), version in "[0-9][0-9._]{0,8}") {
            let Usual { literals, browser, system } = &USUAL[row];
            let behind: String = literals.iter().flat_map(|literal| [*literal, &version]).collect();
            prop_assert!(is_of(&behind, literals));
            let agent = format!("{MOZILLA}{behind}");
            prop_assert_eq!((*browser, *system), parsed(&agent));
        }
    }
}
