//! What a configuration changes of the destinations of the one before.

use super::Config;
use crate::conversion::DestinationName;

/// Destinations by what became of them; the old in the order of the old configuration, the others in that of the new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Succession {
    /// They are new.
    pub added: Vec<DestinationName>,
    /// They are no longer there: their work is held.
    pub removed: Vec<DestinationName>,
    /// They are another than before in anything that is said of them: they begin anew.
    pub changed: Vec<DestinationName>,
    /// How many go on as they were.
    pub unchanged: usize,
}

impl Config {
    /// What follows where this one comes after `before`.
    pub fn after(&self, before: &Config) -> Succession {
        let mut succession = Succession::default();
        for destination in &self.destinations {
            match before.destination(destination.name.as_str()) {
                None => succession.added.push(destination.name.clone()),
                Some(old) if old.fingerprint != destination.fingerprint => {
                    succession.changed.push(destination.name.clone());
                }
                Some(_) => succession.unchanged = succession.unchanged.saturating_add(1),
            }
        }
        let names = before.destinations.iter().map(|destination| &destination.name);
        succession.removed = names.filter(|name| self.destination(name.as_str()).is_none()).cloned().collect();
        succession
    }
}
