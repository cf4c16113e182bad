//! Did you mean: the known word that a misspelt one probably is. The schema, the mapping language and the configuration
//! all suggest through it, so that a slip is met alike everywhere.

use std::cmp::Reverse;

/// The nearest of some words, without regard to case, if one is near enough to be meant: at least three of five
/// characters right, or else the one that begins alike for longest. Of equally near ones the first, of those that begin
/// alike the shortest.
pub(crate) fn nearest<S: AsRef<str>>(word: &str, known: impl Iterator<Item = S>) -> Option<S> {
    let word: String = word.chars().take(COMPARED_CHARS_MAX).collect::<String>().to_lowercase();
    let mut near: Option<(usize, S)> = None;
    let mut alike: Option<((usize, Reverse<usize>), S)> = None;
    for candidate in known {
        let other = candidate.as_ref().to_lowercase();
        let distance = strsim::damerau_levenshtein(&word, &other);
        let length = word.chars().count().max(other.chars().count());
        let begun = word.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
        if distance.saturating_mul(5) <= length.saturating_mul(2) {
            if near.as_ref().is_none_or(|(least, _)| distance < *least) {
                near = Some((distance, candidate));
            }
        } else if begun >= BEGUN_CHARS_MIN {
            let likeness = (begun, Reverse(other.len()));
            if alike.as_ref().is_none_or(|(most, _)| likeness > *most) {
                alike = Some((likeness, candidate));
            }
        }
    }
    near.map(|(_, candidate)| candidate).or(alike.map(|(_, candidate)| candidate))
}

/// Characters of a misspelt word that are compared: longer than any key, and cheap however long the word is.
const COMPARED_CHARS_MAX: usize = 64;
/// `max_pending` begins like `max_pending_bytes`, `retries` like `retry`; a letter or two begin anything.
const BEGUN_CHARS_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::nearest;

    #[track_caller]
    fn check(word: &str, known: &[&str], expected: Option<&str>) {
        assert_eq!(nearest(word, known.iter().copied()), expected, "{word}");
    }

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        check("curency", &["value", "currency"], Some("currency"));
        check("orderId", &["order_id", "order"], Some("order_id"));
        check("uper", &["lower", "upper"], Some("upper"));
        check("max_pending", &["path", "max_pending_bytes"], Some("max_pending_bytes"));
        check("retries", &["rate", "retry_when", "retry"], Some("retry"));
        check("count", &["concat", "path"], None);
        check("price", &["profile"], None);
        check("", &["a", "value"], None);
        check(&"x".repeat(100_000), &["value"], None);
    }

    #[test]
    fn of_equally_near_words_the_first_is_taken() {
        check("cat", &["bat", "rat"], Some("bat"));
    }
}
