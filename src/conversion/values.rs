//! The values of a conversion or an item, by place: a byte for each row of the schema, and room only for what is there.

use super::Value;
use super::schema::Rows;

/// Values of `ROWS` places.
#[derive(Clone, PartialEq)]
pub(super) struct Values<const ROWS: usize> {
    /// [`ABSENT`], [`REFUSED`], or the number in `stored`, from 1.
    numbers: [u8; ROWS],
    stored: Vec<Value>,
    /// Places that hold something.
    filled: Rows,
}

const ABSENT: u8 = 0;
const REFUSED: u8 = u8::MAX;
/// Places of ten for which there is room at first: a well-filled conversion fits without growing.
const FILLED_OF_TEN: usize = 4;
/// Most places: numbers from 1 must stay below [`REFUSED`].
const ROWS_MAX: usize = 254;

impl<const ROWS: usize> Values<ROWS> {
    pub(super) fn new() -> Self {
        const { assert!(ROWS <= ROWS_MAX, "a place's number is one byte") };
        let stored = Vec::with_capacity(ROWS.saturating_mul(FILLED_OF_TEN) / 10);
        Values { numbers: [ABSENT; ROWS], stored, filled: Rows::NONE }
    }

    /// Places that hold something.
    pub(super) fn filled(&self) -> Rows {
        self.filled
    }

    /// Notes that a place is filled whose values are kept elsewhere.
    pub(super) fn fill(&mut self, place: usize) {
        self.filled = self.filled.with_row(place);
    }

    /// The value at that place.
    pub(super) fn at(&self, place: usize) -> Option<&Value> {
        let number = self.numbers.get(place).copied()?;
        self.stored.get(usize::from(number).checked_sub(1)?)
    }

    /// Puts a value where none is yet.
    pub(super) fn put(&mut self, place: usize, value: Value) {
        if let Some(number) = self.numbers.get_mut(place) {
            self.stored.push(value);
            *number = u8::try_from(self.stored.len()).unwrap_or(REFUSED);
            self.fill(place);
        }
    }

    /// Puts a value where nothing stood.
    pub(super) fn put_absent(&mut self, place: usize, value: impl FnOnce() -> Value) {
        if !self.named(place) {
            self.put(place, value());
        }
    }

    /// Notes that something stood there which was refused.
    pub(super) fn refuse(&mut self, place: usize) {
        if let Some(number) = self.numbers.get_mut(place) {
            *number = REFUSED;
        }
    }

    /// Whether anything stood there, right or wrong.
    pub(super) fn named(&self, place: usize) -> bool {
        self.numbers.get(place).is_some_and(|number| *number != ABSENT)
    }

    /// The values, as they came.
    pub(super) fn stored(&self) -> &[Value] {
        &self.stored
    }

    /// Places and values, in the order of the schema.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Value)> {
        let stored = |number: u8| self.stored.get(usize::from(number).checked_sub(1)?);
        self.numbers.iter().enumerate().filter_map(move |(place, number)| Some((place, stored(*number)?)))
    }
}
