//! What is wrong with a conversion, and where.

use serde::de::Error;

use super::check::NULL;
use super::read::Found;

/// One fault of a conversion; never repeats the offending value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON Pointer (RFC 6901) to the member; of a missing one, to where it belongs.
    pub pointer: String,
    /// What would be right.
    pub detail: String,
}

/// Problems that are reported one by one: more would fill a screen, and the answer must not outgrow the request.
pub const PROBLEMS_MAX: usize = 100;

/// Where a value stands in the document. Lives on the stack; becomes text only for a problem.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
    /// Containers around the value.
    pub(super) depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(super) const ROOT: Path<'static> = Path { parent: None, step: Step::Index(0), depth: 0 };

    pub(super) fn member(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Name(name), depth: self.depth.saturating_add(1) }
    }

    pub(super) fn element(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index), depth: self.depth.saturating_add(1) }
    }

    pub(super) fn pointer(&self) -> String {
        let mut pointer = self.parent.map(Path::pointer).unwrap_or_default();
        match (self.parent, self.step) {
            (None, _) => {}
            (Some(_), Step::Name(name)) => {
                pointer.push('/');
                push_escaped(&mut pointer, name);
            }
            (Some(_), Step::Index(index)) => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
        }
        pointer
    }
}

/// Problems as they are found.
pub(super) struct Problems {
    list: Vec<Problem>,
    /// Found beyond [`PROBLEMS_MAX`].
    more: usize,
    /// The first one ends the reading.
    strict: bool,
}

impl Problems {
    /// Gathers all.
    pub(super) fn all() -> Problems {
        Problems { list: Vec::new(), more: 0, strict: false }
    }

    /// The first one ends the reading, as an error of serde's that knows line and column.
    pub(super) fn first_ends() -> Problems {
        Problems { list: Vec::new(), more: 0, strict: true }
    }

    /// Reports a problem, and ends the reading if it is to end.
    pub(super) fn report<E: Error>(&mut self, path: &Path<'_>, detail: &str) -> Result<(), E> {
        if self.strict {
            return Err(E::custom(detail));
        }
        self.push(path, detail);
        Ok(())
    }

    pub(super) fn push(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push_with(path, || detail.into());
    }

    /// Words the problem only if it will be listed: a document may hold a million of them.
    pub(super) fn push_with(&mut self, path: &Path<'_>, detail: impl FnOnce() -> String) {
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(Problem { pointer: path.pointer(), detail: detail() });
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Reports a value of another type than is wanted.
    pub(super) fn unwanted(&mut self, path: &Path<'_>, found: &Found<'_>, wanted: &'static str) {
        self.push(path, if matches!(found, Found::Null) && path.depth > 0 { NULL } else { wanted });
    }

    /// All that was found; the last entry says how many more there are.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        if self.more > 0 {
            self.list.push(Problem { pointer: String::new(), detail: format!("and {} more problems", self.more) });
        }
        self.list
    }
}

/// RFC 6901: `~` is `~0`, `/` is `~1`. A key of absurd length is cut, with an ellipsis.
fn push_escaped(pointer: &mut String, name: &str) {
    for (at, c) in name.chars().enumerate() {
        if at == KEY_CHARS_SHOWN {
            pointer.push('…');
            break;
        }
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// Characters of a key that a pointer repeats: twice the longest key of any contract, and small beside a request.
const KEY_CHARS_SHOWN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_beyond_the_listed_ones_are_counted_without_being_worded() {
        let mut problems = Problems::all();
        let mut worded = 0;
        for _ in 0..1_000 {
            problems.push_with(&Path::ROOT, || {
                worded += 1;
                String::new()
            });
        }
        assert_eq!(worded, PROBLEMS_MAX);
        let found = problems.finish();
        assert_eq!(found.len(), PROBLEMS_MAX + 1);
        assert_eq!(found[PROBLEMS_MAX].detail, "and 900 more problems");
    }

    #[test]
    fn pointers_escape_what_rfc_6901_escapes() {
        let (root, items) = (Path::ROOT, Path::ROOT.member("a/b~c"));
        let element = items.element(12);
        assert_eq!(root.pointer(), "");
        assert_eq!(element.member("").pointer(), "/a~1b~0c/12/");
        assert_eq!(Path::ROOT.member(&"ä".repeat(129)).pointer(), format!("/{}…", "ä".repeat(128)));
    }
}
