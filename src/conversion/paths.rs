//! Finding rows of the schema: by the members of a document, and by the paths of expressions.

use std::sync::LazyLock;

use super::nearest::nearest;
use super::schema::{Field, ITEM_PREFIX, Kind, MAP_KEY_CHARS_MAX, ROWS_TOP, SCHEMA, Slot};

/// What a path in an expression names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// A field at the top level or in a group (`value`, `customer.email`).
    Field(Slot),
    /// `click_ids.<key>`.
    ClickId(String),
    /// `custom` (empty) or `custom.a.b`.
    Custom(Vec<String>),
    /// `item.sku` (the row `items[].sku`).
    ItemField(Slot),
    /// `item.custom` (empty) or `item.custom.a.b`.
    ItemCustom(Vec<String>),
}

/// Resolves a path of an expression.
///
/// # Errors
/// With the nearest known path, if one is near.
pub fn resolve(path: &str) -> Result<Resolved, Option<String>> {
    known(path).ok_or_else(|| nearest_path(path))
}

/// The members that an object of a conversion may have.
#[derive(Default)]
pub(super) struct Level {
    members: Vec<(&'static str, Member)>,
    /// Numbers of the members by [`bucket`] of their names, a member whose bucket is taken in the next free one.
    buckets: Vec<Option<u8>>,
    /// Numbers of the required members.
    required: Vec<(usize, &'static Field)>,
}

/// What a member of a conversion is.
pub(super) enum Member {
    /// A field with a value, and its place among the values of its level.
    Field { slot: Slot, kind: Kind, place: usize },
    /// An open map.
    TextMap,
    /// The items.
    Items,
    /// Further members.
    Group(Level),
}

/// The members of a conversion itself.
pub(super) fn top() -> &'static Level {
    &LEVELS.0
}

/// The members of an item.
pub(super) fn item() -> &'static Level {
    &LEVELS.1
}

impl Level {
    /// The member of that name, and its number in this level.
    pub(super) fn member(&self, name: &str) -> Option<(usize, &Member)> {
        let mut at = bucket(name);
        while let Some(number) = self.buckets.get(at).copied()? {
            let number = usize::from(number);
            let (known, member) = self.members.get(number)?;
            if *known == name {
                return Some((number, member));
            }
            at = at.saturating_add(1);
        }
        None
    }

    /// The members that must stand there, by number.
    pub(super) fn required(&self) -> impl Iterator<Item = (usize, &'static Field)> {
        self.required.iter().copied()
    }

    /// The known name that a misspelt one was probably meant to be.
    pub(super) fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.members.iter().map(|(known, _)| *known))
    }

    fn insert(&mut self, path: &'static str, member: Member) {
        match path.split_once('.') {
            None => self.members.push((path, member)),
            Some((group, "*")) => self.members.push((group, member)),
            Some((group, rest)) => {
                if let Some((_, Member::Group(level))) = self.members.iter_mut().find(|(known, _)| *known == group) {
                    return level.insert(rest, member);
                }
                let mut level = Level::default();
                level.insert(rest, member);
                self.members.push((group, Member::Group(level)));
            }
        }
    }

    fn finish(&mut self) {
        self.buckets = vec![None; BUCKETS];
        for (number, (name, member)) in self.members.iter_mut().enumerate() {
            match member {
                Member::Group(level) => level.finish(),
                Member::Field { slot, .. } if slot.field().required => self.required.push((number, slot.field())),
                Member::Field { .. } | Member::TextMap | Member::Items => {}
            }
            if let Some(free) = self.buckets.iter_mut().skip(bucket(name)).find(|taken| taken.is_none()) {
                *free = u8::try_from(number).ok();
            }
        }
    }
}

/// Buckets of a level: several for each of the 64 members that it may have, and a margin to step over taken ones.
const BUCKETS: usize = 512;

/// Where to look for a name first: its length and its outer letters tell almost all names apart.
fn bucket(name: &str) -> usize {
    let bytes = name.as_bytes();
    let letter = |byte: Option<&u8>| usize::from(byte.copied().unwrap_or_default());
    let mixed =
        bytes.len().wrapping_mul(41) ^ letter(bytes.first()).wrapping_mul(7) ^ letter(bytes.last()).wrapping_mul(29);
    mixed % (BUCKETS / 2)
}

/// The fields of this name in some group: `email` is `customer.email`.
pub(super) fn homes(name: &str) -> impl Iterator<Item = &'static str> {
    SCHEMA
        .iter()
        .map(|field| field.path)
        .filter(move |path| path.rsplit_once('.').is_some_and(|(_, last)| last == name))
}

/// The characters of a key of an open map: those that a path can spell.
pub(super) fn is_map_key(key: &str) -> bool {
    (1..=MAP_KEY_CHARS_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

static LEVELS: LazyLock<(Level, Level)> = LazyLock::new(|| {
    let mut levels = (Level::default(), Level::default());
    for (row, field) in SCHEMA.iter().enumerate() {
        let Ok(number) = u16::try_from(row) else { continue };
        let place = row.checked_sub(ROWS_TOP).unwrap_or(row);
        let member = if field.kind == Kind::TextMap {
            Member::TextMap
        } else {
            Member::Field { slot: Slot(number), kind: field.kind, place }
        };
        match field.path.strip_prefix(ITEM_PREFIX) {
            Some(name) => levels.1.insert(name, member),
            None => levels.0.insert(field.path, member),
        }
    }
    levels.0.members.push(("items", Member::Items));
    levels.0.finish();
    levels.1.finish();
    levels
});

fn known(path: &str) -> Option<Resolved> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    if first == "item" {
        let (name, rest) = match rest?.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (rest?, None),
        };
        return match item().member(name)?.1 {
            Member::Field { kind: Kind::Json, .. } => Some(Resolved::ItemCustom(names(rest)?)),
            Member::Field { slot, .. } if rest.is_none() => Some(Resolved::ItemField(*slot)),
            Member::Field { .. } | Member::TextMap | Member::Items | Member::Group(_) => None,
        };
    }
    match top().member(first)?.1 {
        Member::Field { kind: Kind::Json, .. } => Some(Resolved::Custom(names(rest)?)),
        Member::Field { slot, .. } if rest.is_none() => Some(Resolved::Field(*slot)),
        Member::TextMap => rest.filter(|key| is_map_key(key)).map(|key| Resolved::ClickId(key.to_owned())),
        Member::Group(level) => match level.member(rest?)?.1 {
            Member::Field { slot, .. } => Some(Resolved::Field(*slot)),
            Member::TextMap | Member::Items | Member::Group(_) => None,
        },
        Member::Field { .. } | Member::Items => None,
    }
}

/// The names of a path into free JSON, none of them empty.
fn names(path: Option<&str>) -> Option<Vec<String>> {
    let Some(path) = path else { return Some(Vec::new()) };
    path.split('.').map(|name| (!name.is_empty()).then(|| name.to_owned())).collect()
}

fn nearest_path(path: &str) -> Option<String> {
    let in_expressions = |schema: &str| match schema.strip_prefix(ITEM_PREFIX) {
        Some(name) => format!("item.{name}"),
        None => schema.replace(".*", ".thrad"),
    };
    let asked = path.replace("items[].", "item.").replace("items.", "item.");
    if asked != path && known(&asked).is_some() {
        return Some(asked);
    }
    let all: Vec<String> = SCHEMA.iter().map(|field| in_expressions(field.path)).collect();
    let last = asked.rsplit('.').next().unwrap_or(&asked);
    nearest(&asked, all.iter().map(String::as_str))
        .map(str::to_owned)
        .or_else(|| homes(last).next().map(in_expressions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_resolves_by_its_path() {
        for (row, field) in SCHEMA.iter().enumerate() {
            let slot = Slot(u16::try_from(row).unwrap());
            assert_eq!(Slot::of(field.path), Some(slot));
            assert!(std::ptr::eq(slot.field(), field));
            let (path, expected) = match (field.path, field.kind) {
                ("custom", _) => ("custom".to_owned(), Resolved::Custom(vec![])),
                ("items[].custom", _) => ("item.custom".to_owned(), Resolved::ItemCustom(vec![])),
                (path, Kind::TextMap) => (path.replace('*', "thrad"), Resolved::ClickId("thrad".to_owned())),
                (path, _) => match path.strip_prefix(ITEM_PREFIX) {
                    Some(name) => (format!("item.{name}"), Resolved::ItemField(slot)),
                    None => (path.to_owned(), Resolved::Field(slot)),
                },
            };
            assert_eq!(resolve(&path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn free_data_resolves_at_any_depth() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(resolve("custom.a"), Ok(Resolved::Custom(names(&["a"]))));
        assert_eq!(resolve("custom.impact.Text1"), Ok(Resolved::Custom(names(&["impact", "Text1"]))));
        assert_eq!(resolve("item.custom.a.b.c"), Ok(Resolved::ItemCustom(names(&["a", "b", "c"]))));
    }

    #[test]
    fn an_unknown_path_names_the_nearest_known_one() {
        #[track_caller]
        fn check(path: &str, expected: Option<&str>) {
            assert_eq!(resolve(path), Err(expected.map(str::to_owned)));
        }
        check("customer.emial", Some("customer.email"));
        check("costumer.email", Some("customer.email"));
        check("orderId", Some("order_id"));
        check("values", Some("value"));
        check("email", Some("customer.email"));
        check("user.email", Some("customer.email"));
        check("sku", Some("item.sku"));
        check("items.sku", Some("item.sku"));
        check("items[].sku", Some("item.sku"));
        check("items[].custom.a", Some("item.custom.a"));
        check("item.skuu", Some("item.sku"));
        check("click_id.thrad", Some("click_ids.thrad"));
        check("click_ids.*", Some("click_ids.thrad"));
        check("zzzzzz", None);
        check("", None);
        check(&"x".repeat(100_000), None);
    }

    #[test]
    fn a_group_a_list_or_half_a_path_is_no_field() {
        for path in [
            "customer",
            "items",
            "item",
            "click_ids",
            "click_ids.",
            "value.x",
            "customer.email.x",
            "custom.",
            "custom..a",
            "item.sku.x",
            "click_ids.a.b",
            ".value",
            "time ",
        ] {
            assert!(resolve(path).is_err(), "{path}");
        }
    }

    #[test]
    fn levels_have_few_enough_members_for_the_bits_that_mark_them() {
        fn widest(level: &Level) -> usize {
            let inner = level.members.iter().map(|(_, member)| match member {
                Member::Group(level) => widest(level),
                Member::Field { .. } | Member::TextMap | Member::Items => 0,
            });
            inner.max().unwrap_or(0).max(level.members.len())
        }
        assert!(widest(top()) <= 64);
        assert!(widest(item()) <= 64);
    }
}
