//! An overview as it is sent: its parts as JSON, so that what has changed is found by comparing texts.

use serde::Serialize;

use crate::conversion::DestinationName;
use crate::ingress::view::instant;

/// The parts of an overview.
#[derive(Default)]
pub(super) struct Picture {
    pub(super) now_ms: u64,
    pub(super) relay: String,
    pub(super) concerns: String,
    /// Destinations that are configured no more and have something kept.
    pub(super) removed: String,
    /// In configuration order.
    pub(super) tiles: Vec<Tile>,
}

/// One destination.
pub(super) struct Tile {
    pub(super) name: DestinationName,
    /// What is told of it when something has changed.
    pub(super) news: String,
    /// What is told of it in the beginning.
    pub(super) whole: String,
}

impl Picture {
    /// All of it.
    pub(super) fn whole(&self) -> String {
        let tiles: Vec<&str> = self.tiles.iter().map(|tile| tile.whole.as_str()).collect();
        let now = json(&instant(self.now_ms));
        let Picture { relay, concerns, removed, .. } = self;
        let tiles = tiles.join(",");
        format!(r#"{{"now":{now},"relay":{relay},"concerns":{concerns},"destinations":[{tiles}],"removed":{removed}}}"#)
    }

    /// What is another than it was, with the type of its event; all of it where the destinations are others, or stand in
    /// another order.
    pub(super) fn changes(&self, before: &Picture) -> Vec<(&'static str, String)> {
        let names = |picture: &Picture| picture.tiles.iter().map(|tile| tile.name.clone()).collect::<Vec<_>>();
        if before.relay.is_empty() || names(self) != names(before) {
            return vec![("overview", self.whole())];
        }
        let parts = [
            ("relay", &self.relay, &before.relay),
            ("concerns", &self.concerns, &before.concerns),
            ("removed", &self.removed, &before.removed),
        ];
        let parts =
            parts.into_iter().filter(|(_, now, before)| now != before).map(|(kind, now, _)| (kind, now.clone()));
        let tiles = self.tiles.iter().zip(&before.tiles).filter(|(now, before)| now.news != before.news);
        parts.chain(tiles.map(|(now, _)| ("destination", now.news.clone()))).collect()
    }
}

/// A view as JSON.
pub(super) fn json(view: &impl Serialize) -> String {
    serde_json::to_string(view).unwrap_or_else(|error| {
        tracing::error!(%error, "a part of the overview cannot be written as JSON");
        "null".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(relay: &str, concerns: &str, tiles: &[(&str, &str)]) -> Picture {
        let tiles = tiles.iter().map(|(name, news)| {
            let name = DestinationName::parse(name).unwrap();
            Tile { name, news: (*news).to_owned(), whole: format!("[{news}]") }
        });
        let removed = "[]".to_owned();
        Picture {
            now_ms: 1_000,
            relay: relay.to_owned(),
            concerns: concerns.to_owned(),
            removed,
            tiles: tiles.collect(),
        }
    }

    #[test]
    fn only_what_is_another_than_it_was_is_told() {
        let before = picture("1", "[]", &[("a", "10"), ("b", "20")]);
        let told = |now: Picture| now.changes(&before);
        assert_eq!(told(picture("1", "[]", &[("a", "10"), ("b", "20")])), []);
        let of = |kind, data: &str| (kind, data.to_owned());
        assert_eq!(
            told(picture("2", "[3]", &[("a", "10"), ("b", "21")])),
            [of("relay", "2"), of("concerns", "[3]"), of("destination", "21")]
        );
        let gone = Picture { removed: "[4]".to_owned(), ..picture("1", "[]", &[("a", "10"), ("b", "20")]) };
        assert_eq!(told(gone), [of("removed", "[4]")]);
        let whole = r#"{"now":"1970-01-01T00:00:01Z","relay":1,"concerns":[],"destinations":[[20],[10]],"removed":[]}"#;
        assert_eq!(told(picture("1", "[]", &[("b", "20"), ("a", "10")])), [of("overview", whole)]);
        assert_eq!(told(picture("1", "[]", &[("a", "10")])).len(), 1);
        assert_eq!(picture("1", "[]", &[]).changes(&Picture::default())[0].0, "overview");
    }
}
