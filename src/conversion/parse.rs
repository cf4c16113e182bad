//! From bytes to a conversion: one pass over the document, straight into the slots, every problem noted on the way.

use compact_str::CompactString;
use serde::de::{MapAccess, SeqAccess};

use super::check::{NULL, check};
use super::json::{DUPLICATE, FreeReader, Repeats, document};
use super::paths::{self, Level, Member, homes, is_map_key};
use super::problem::{Path, Problems};
use super::read::{Found, Members, Read, Reading, skip_elements};
use super::schema::{ITEMS_MAX, Kind, MAP_KEY_CHARS_MAX, MAP_KEYS_MAX, MAP_TEXT_CHARS_MAX, ROWS_ITEM, ROWS_TOP};
use super::values::Values;
use super::{Item, Json, JsonError, Value, rules};

/// What was read, before the rules across fields.
pub(super) struct Draft {
    pub(super) values: Values<ROWS_TOP>,
    pub(super) rest: Rest,
}

/// What is gathered at every level alike.
pub(super) struct Rest {
    pub(super) click_ids: Vec<(CompactString, CompactString)>,
    pub(super) items: Vec<Item>,
    pub(super) problems: Problems,
    /// Bytes that the free data may still take.
    free_left: usize,
}

/// Free data of one conversion, over `custom` and every `items[].custom`: a few hundred values for each vendor, and small
/// beside the request limit.
const FREE_BYTES_MAX: usize = 256 * 1024;

/// Reads a document into a draft.
pub(super) fn read(body: &[u8]) -> Result<Draft, JsonError> {
    let mut values = Values::new();
    let mut rest =
        Rest { click_ids: Vec::new(), items: Vec::new(), problems: Problems::all(), free_left: FREE_BYTES_MAX };
    let root = ObjectReader { level: paths::top(), path: &Path::ROOT, values: &mut values, rest: &mut rest };
    if document(body, root)? {
        rules::check(&values, &rest.items, &mut rest.problems);
    }
    Ok(Draft { values, rest })
}

/// Reads an object of known members: the conversion, a group, an item. Answers whether one stood there.
struct ObjectReader<'c, const ROWS: usize> {
    level: &'static Level,
    path: &'c Path<'c>,
    values: &'c mut Values<ROWS>,
    rest: &'c mut Rest,
}

impl<'de, const ROWS: usize> Read<'de> for ObjectReader<'_, ROWS> {
    type Output = bool;

    fn other(self, found: Found<'de>) -> bool {
        let wanted = if self.path.depth == 0 { "must be one JSON object: a conversion" } else { "must be an object" };
        self.rest.problems.unwanted(self.path, &found, wanted);
        false
    }

    fn object<A: MapAccess<'de>>(mut self, mut members: Members<'de, A>) -> Result<bool, A::Error> {
        let mut seen: u64 = 0;
        while let Some(name) = members.next_name()? {
            let path = self.path.member(&name);
            let Some((number, member)) = self.level.member(&name) else {
                self.rest.problems.push_with(&path, || unknown(self.level, &name, self.path.depth));
                members.skip_value()?;
                continue;
            };
            if seen & bit(number) != 0 {
                self.rest.problems.push(&path, DUPLICATE);
                members.skip_value()?;
                continue;
            }
            seen |= bit(number);
            self.member(member, &path, &mut members)?;
        }
        for (number, field) in self.level.required() {
            if seen & bit(number) == 0 {
                let name = field.path.rsplit('.').next().unwrap_or(field.path);
                self.rest.problems.push(&self.path.member(name), "is required");
            }
        }
        Ok(true)
    }
}

impl<const ROWS: usize> ObjectReader<'_, ROWS> {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static Member,
        path: &Path<'_>,
        members: &mut Members<'de, A>,
    ) -> Result<(), A::Error> {
        let (values, rest) = (&mut *self.values, &mut *self.rest);
        match member {
            Member::Field { kind: Kind::Json, place, .. } => {
                let Rest { problems, free_left, .. } = rest;
                let json = members.value(FreeReader {
                    path,
                    problems: &mut *problems,
                    bytes_left: free_left,
                    repeats: Repeats::Refused,
                })?;
                if json == Json::Null {
                    problems.push(path, NULL);
                }
                values.put(*place, Value::Json(Box::new(json)));
            }
            Member::Field { kind, place, .. } => {
                members.value(FieldReader {
                    kind: *kind,
                    place: *place,
                    path,
                    values,
                    problems: &mut rest.problems,
                })?;
            }
            Member::Group(level) => {
                members.value(ObjectReader { level, path, values, rest })?;
            }
            Member::TextMap => members.value(MapReader { path, rest })?,
            Member::Items => members.value(ItemsReader { path, rest })?,
        }
        Ok(())
    }
}

/// The bit of a member's number; a level has at most 64 (held by a test).
fn bit(number: usize) -> u64 {
    u32::try_from(number).ok().and_then(|number| 1_u64.checked_shl(number)).unwrap_or(0)
}

/// What to say of a member that no row knows.
fn unknown(level: &Level, name: &str, depth: usize) -> String {
    if let Some(near) = level.nearest(name) {
        return format!("is not a known field: did you mean {near}?");
    }
    match homes(name).next() {
        Some(home) => format!("is not a known field here: did you mean {home}?"),
        None if depth == 0 => "is not a known field: free data goes under custom".to_owned(),
        None => "is not a known field".to_owned(),
    }
}

/// Reads the value of a field.
struct FieldReader<'c, const ROWS: usize> {
    kind: Kind,
    place: usize,
    path: &'c Path<'c>,
    values: &'c mut Values<ROWS>,
    problems: &'c mut Problems,
}

impl<'de, const ROWS: usize> Read<'de> for FieldReader<'_, ROWS> {
    type Output = ();

    fn other(self, found: Found<'de>) {
        match check(self.kind, found) {
            Ok(value) => self.values.put(self.place, value),
            Err(detail) => {
                self.values.refuse(self.place);
                self.problems.push(self.path, detail);
            }
        }
    }
}

/// Reads an open map of texts.
struct MapReader<'c> {
    path: &'c Path<'c>,
    rest: &'c mut Rest,
}

impl<'de> Read<'de> for MapReader<'_> {
    type Output = ();

    fn other(self, found: Found<'de>) {
        self.rest.problems.unwanted(self.path, &found, "must be an object");
    }

    fn object<A: MapAccess<'de>>(self, mut members: Members<'de, A>) -> Result<(), A::Error> {
        let Rest { click_ids, problems, .. } = self.rest;
        let mut keys: usize = 0;
        click_ids.reserve(CLICK_IDS_USUAL);
        while let Some(name) = members.next_name()? {
            keys = keys.saturating_add(1);
            if keys > MAP_KEYS_MAX {
                members.skip_value()?;
                continue;
            }
            let path = self.path.member(&name);
            if !is_map_key(&name) {
                problems.push(&path, format!("key must be 1 to {MAP_KEY_CHARS_MAX} letters, digits, - or _"));
            }
            if click_ids.iter().any(|(known, _)| **known == *name) {
                problems.push(&path, DUPLICATE);
            }
            if let Some(text) = members.value(MapTextReader { path: &path, problems: &mut *problems })? {
                click_ids.push((name.into(), text));
            }
        }
        if keys > MAP_KEYS_MAX {
            problems.push(self.path, format!("must have at most {MAP_KEYS_MAX} members"));
        }
        Ok(())
    }
}

/// Most conversions have no more.
const CLICK_IDS_USUAL: usize = 8;

/// Reads a text of an open map.
struct MapTextReader<'c> {
    path: &'c Path<'c>,
    problems: &'c mut Problems,
}

impl<'de> Read<'de> for MapTextReader<'_> {
    type Output = Option<CompactString>;

    fn other(self, found: Found<'de>) -> Option<CompactString> {
        match check(Kind::Text { chars_max: MAP_TEXT_CHARS_MAX }, found) {
            Ok(Value::Text(text)) => Some(text),
            Ok(_) => None,
            Err(detail) => {
                self.problems.push(self.path, detail);
                None
            }
        }
    }
}

/// Reads the items.
struct ItemsReader<'c> {
    path: &'c Path<'c>,
    rest: &'c mut Rest,
}

impl<'de> Read<'de> for ItemsReader<'_> {
    type Output = ();

    fn other(self, found: Found<'de>) {
        self.rest.problems.unwanted(self.path, &found, "must be an array of objects");
    }

    fn array<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        for index in 0..ITEMS_MAX {
            let path = self.path.element(index);
            let mut values = Values::<ROWS_ITEM>::new();
            let reader = ObjectReader { level: paths::item(), path: &path, values: &mut values, rest: &mut *self.rest };
            match elements.next_element_seed(Reading(reader))? {
                None => return Ok(()),
                Some(true) => self.rest.items.push(Item { values }),
                Some(false) => {}
            }
        }
        if skip_elements(elements)? {
            self.rest.problems.push(self.path, format!("must have at most {ITEMS_MAX} items"));
        }
        Ok(())
    }
}
