//! What a routes file names, before anything of it is checked: for who lays other values over it.

use super::files::Files;
use super::report::Faults;
use super::tree::{Builder, Node, Table, Value};

/// The names in a routes file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// `server.listen`, as it is written.
    pub listen: Option<String>,
    /// `server.admin`, as it is written.
    pub admin: Option<String>,
    /// `server.plaintext`.
    pub is_plain: bool,
    /// In the order of the file.
    pub merchants: Vec<String>,
    /// In the order of the file, with their presets.
    pub destinations: Vec<(String, Option<String>)>,
    /// Environment variables that it takes without a default, each once.
    pub variables: Vec<String>,
}

/// Reads the names; `None`: the text is no TOML.
pub fn outline(text: &str) -> Option<Outline> {
    let (mut files, mut faults) = (Files::default(), Faults::default());
    let file = files.add("routes.toml".to_owned(), text.to_owned());
    let root = Builder { files: &mut files, faults: &mut faults, interpolation: None }.parse(file)?;
    let mut outline = Outline::default();
    if let Some(server) = root.table("server") {
        outline.listen = word(server, "listen");
        outline.admin = word(server, "admin");
        outline.is_plain = server.entry("plaintext").is_some_and(|entry| matches!(entry.node.value, Value::Bool(true)));
    }
    let named = |section: &str| root.table(section).map(|table| table.entries.as_slice()).unwrap_or_default();
    outline.merchants = named("merchant").iter().map(|entry| entry.key.value.clone()).collect();
    let destinations = named("destination").iter();
    let destinations = destinations
        .map(|entry| (entry.key.value.clone(), entry.node.value.as_table().and_then(|table| word(table, "preset"))));
    outline.destinations = destinations.collect();
    root.entries.iter().for_each(|entry| outline.take_variables(&entry.node));
    Some(outline)
}

/// `server.admin` of a routes file that need not be right, nor even TOML, as it is written.
pub fn admin_address(text: &str) -> Option<String> {
    match outline(text) {
        Some(outline) => outline.admin,
        None => admin_line(text),
    }
}

/// Line by line: what is no TOML elsewhere does not matter.
fn admin_line(text: &str) -> Option<String> {
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.split(']').next().unwrap_or_default().trim();
            continue;
        }
        let key = match section {
            "" => "server.admin",
            "server" => "admin",
            _ => continue,
        };
        let value = line.strip_prefix(key).and_then(|rest| rest.trim_start().strip_prefix('='));
        if let Some(value) = value {
            let quoted = value.trim_start().strip_prefix(QUOTES)?;
            return quoted.split(QUOTES).next().map(str::to_owned);
        }
    }
    None
}

/// Around a text on one line.
const QUOTES: [char; 2] = ['"', '\''];

impl Outline {
    fn take_variables(&mut self, node: &Node) {
        match &node.value {
            Value::Text { text, .. } => text.value.split("${env:").skip(1).for_each(|rest| self.take(rest)),
            Value::List(list) => list.iter().for_each(|node| self.take_variables(node)),
            Value::Table(table) => table.entries.iter().for_each(|entry| self.take_variables(&entry.node)),
            Value::Unresolved | Value::Integer(_) | Value::Float | Value::Bool(_) | Value::Datetime => {}
        }
    }

    fn take(&mut self, rest: &str) {
        let Some((name, _)) = rest.split_once('}') else { return };
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_name && !self.variables.iter().any(|known| known == name) {
            self.variables.push(name.to_owned());
        }
    }
}

fn word(table: &Table, key: &str) -> Option<String> {
    match &table.entry(key)?.node.value {
        Value::Text { text, .. } => Some(text.value.clone()),
        Value::Unresolved
        | Value::Integer(_)
        | Value::Float
        | Value::Bool(_)
        | Value::Datetime
        | Value::List(_)
        | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_of_a_file_that_need_not_be_right() {
        let text = "# ${env:IN_A_COMMENT}\n[server]\nlisten = \"0.0.0.0:8443\"\nadmin = \"127.0.0.1:9\"\nplaintext = true\nlogg = 1\n\
                    [merchant.acme]\ntoken_sha256 = [\"${env:A}\", \"${env:B:-}\"]\n[merchant.beta]\n\
                    [destination.one]\npreset = \"dsp\"\nvars.x = \"${env:A}${env:C_2}\"\n[destination.two]\nurl = 1\n";
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let expected = Outline {
            listen: Some("0.0.0.0:8443".to_owned()),
            admin: Some("127.0.0.1:9".to_owned()),
            is_plain: true,
            merchants: owned(&["acme", "beta"]),
            destinations: vec![("one".to_owned(), Some("dsp".to_owned())), ("two".to_owned(), None)],
            variables: owned(&["A", "C_2"]),
        };
        assert_eq!(outline(text), Some(expected));
        assert_eq!(outline("["), None);
    }

    #[test]
    fn the_admin_listener_is_found_in_what_is_no_toml() {
        for (text, address) in [
            ("[server]\nlisten = 1\nadmin = \"127.0.0.1:9\"\n", Some("127.0.0.1:9")),
            ("[server]\nlisten = \"a\nadmin='127.0.0.1:9' # here\n[", Some("127.0.0.1:9")),
            ("server.admin = \"[::1]:9\"\n[server", Some("[::1]:9")),
            ("[ server ]\nadmin_token_sha256 = \"x\"\n[", None),
            ("[merchant.admin]\nadmin = \"127.0.0.1:9\"\n[", None),
            ("[server]\nadmin = 9\n[", None),
        ] {
            assert_eq!(admin_address(text).as_deref(), address, "{text}");
        }
    }
}
