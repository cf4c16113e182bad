//! Panics that are expected: on some damage sled makes one where it should return an error. What runs in [`caught`] ends in
//! words then; whoever reports panics asks [`is_expected`], and says nothing of these.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is caught by the queue and told in words: a hook need not report it.
#[must_use]
pub fn is_expected() -> bool {
    EXPECTED.get()
}

/// What it returns, or what it panicked with. What it has in hand then must not be used again.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    let before = EXPECTED.replace(true);
    let ran = catch_unwind(AssertUnwindSafe(run));
    EXPECTED.set(before);
    ran.map_err(|payload| said(payload.as_ref()))
}

/// The message in one line, cut.
fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&'static str>().copied()).unwrap_or("without a word");
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(MESSAGE_CHARS_MAX).collect()
}

/// Enough to look it up in sled's source; it may show keys.
const MESSAGE_CHARS_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_is_expected_only_there() {
        assert!(!is_expected());
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| -> () { panic!("as it stands") }), Err("as it stands".to_owned()));
        assert_eq!(caught(|| -> () { panic!("{}\nmore", "x".repeat(500)) }), Err("x".repeat(160)));
        assert_eq!(caught(|| -> () { std::panic::panic_any(7) }), Err("without a word".to_owned()));
        let within = caught(|| (caught(is_expected), is_expected()));
        assert_eq!(within, Ok((Ok(true), true)));
        assert!(!is_expected());
    }
}
