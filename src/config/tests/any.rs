//! What holds of any text as a routes.toml: a right one torn, and its pieces in any order.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::presets::ALL;
use super::*;

const WORKED: &str = include_str!("../../../routes.toml");
const FULL: &str = include_str!("../../../tests/presets/routes.toml");

/// Lines of right and broken configurations.
fn lines() -> Vec<&'static str> {
    let broken = [
        include_str!("../../../tests/config/broken/02-wrong-types.toml"),
        include_str!("../../../tests/config/broken/07-conflicting-targets.toml"),
        include_str!("../../../tests/config/broken/08-many.toml"),
    ];
    let presets = super::super::presets().iter().filter(|(name, _)| *name != "impact").map(|(_, text)| *text);
    broken.into_iter().chain(presets).chain([HEAD, WORKED]).flat_map(str::lines).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_torn_configuration_is_refused_where_it_is_wrong(
        text in select(vec![WORKED, FULL]), from: Index, length in 0_usize..12, put in "\\PC{0,3}|\"|\\[|=|\\{|\\$\\{env:SECRET\\}",
    ) {
        let letters: Vec<char> = text.chars().collect();
        let from = from.index(letters.len());
        let (before, rest) = letters.split_at(from);
        let after = rest.get(length..).unwrap_or_default();
        let torn: String = before.iter().copied().chain(put.chars()).chain(after.iter().copied()).collect();
        laws::any_text(&torn, std::path::Path::new("/nonexistent"));
    }

    #[test]
    fn lines_in_any_order_are_refused_where_they_are_wrong(picked in vec(select(lines()), 0..12)) {
        laws::any_text(&with(&picked.join("\n")), std::path::Path::new("/nonexistent"));
        laws::any_text(&picked.join("\n"), std::path::Path::new("/nonexistent"));
    }
}

#[test]
fn a_right_configuration_keeps_the_laws() {
    laws::any_text(FULL, std::path::Path::new("/nonexistent"));
    laws::any_text(&with(ALL), std::path::Path::new("/nonexistent"));
}
