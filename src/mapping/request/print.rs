//! A request as text: for people who want to see, or repeat by hand, what is sent.

use super::Request;
use super::json::escaped;

impl Request {
    /// As an HTTP message: request line with the absolute URL, headers, a blank line, the body.
    pub fn to_http(&self) -> String {
        let mut out = format!("{} {}\n", self.method, self.url);
        for (name, value) in self.header_texts() {
            out.push_str(&format!("{name}: {value}\n"));
        }
        out.push('\n');
        out.push_str(&String::from_utf8_lossy(&self.body));
        out
    }

    /// As a command for a POSIX shell.
    pub fn to_curl(&self) -> String {
        // Without it, curl takes brackets and braces for a pattern of several URLs.
        let literal = if self.url.contains(['[', ']', '{', '}']) { " --globoff" } else { "" };
        let mut out = format!("curl{literal} -X {} {}", self.method, shell_quoted(&self.url));
        for (name, value) in self.header_texts() {
            out.push_str(&format!(" \\\n  -H {}", shell_quoted(&format!("{name}: {value}"))));
        }
        if !self.body.is_empty() {
            out.push_str(&format!(" \\\n  --data-raw {}", shell_quoted(&String::from_utf8_lossy(&self.body))));
        }
        out
    }

    /// As one line of JSON: `method`, `url`, `headers`, and `body`: as it is when it is JSON, otherwise as a string.
    pub fn to_json(&self) -> String {
        let mut out = format!(r#"{{"method":"{}","url":"{}","headers":{{"#, self.method, escaped(&self.url));
        for (at, (name, value)) in self.header_texts().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            out.push_str(&format!(r#"{comma}"{name}":"{}""#, escaped(&value)));
        }
        out.push('}');
        let body = String::from_utf8_lossy(&self.body);
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(&body).is_ok();
        match (body.is_empty(), is_json) {
            (true, _) => {}
            (false, true) => out.push_str(&format!(r#","body":{body}"#)),
            (false, false) => out.push_str(&format!(r#","body":"{}""#, escaped(&body))),
        }
        out.push('}');
        out
    }

    fn header_texts(&self) -> impl Iterator<Item = (&str, String)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    }
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
