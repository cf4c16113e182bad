//! The browser and the operating system of a user agent, as plain names.
//!
//! Only families are named, since versions in user agents are frozen or made up: every Windows but Windows Phone is
//! `Windows`, macOS is `Mac OS X`, iPhone, iPad and iPod are `iOS`. What is unknown has no name.

use woothee::parser::Parser;

/// `Chrome`, `Safari`, `Firefox`, `Edge`, `Opera`, `SamsungBrowser`, `Internet Explorer`, …
pub(super) fn browser(user_agent: &str) -> &'static str {
    let Some(found) = bounded(user_agent).and_then(|agent| Parser::new().parse(agent)) else { return "" };
    BROWSERS.into_iter().find(|known| *known == found.name).unwrap_or("")
}

/// `Windows`, `Mac OS X`, `iOS`, `Android`, `Linux`, …
pub(super) fn operating_system(user_agent: &str) -> &'static str {
    let Some(found) = bounded(user_agent).and_then(|agent| Parser::new().parse(agent)) else { return "" };
    SYSTEMS.into_iter().find(|(start, _)| found.os.starts_with(start)).map_or("", |(_, name)| name)
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
