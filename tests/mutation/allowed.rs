//! Mutants that are no others: what they say is the same by another word, or is said elsewhere too. Each with the reason.

use super::mutants::Mutant;

/// Mutants that may survive.
pub(super) struct Allowed {
    pub(super) presets: &'static [&'static str],
    /// The key; after `*`, how it ends.
    pub(super) key: &'static str,
    /// [`Mutant::change`].
    pub(super) changes: &'static [&'static str],
    /// Why it is the same.
    #[expect(dead_code, reason = "it is read by people")]
    pub(super) why: &'static str,
}

impl Allowed {
    pub(super) fn is(&self, mutant: &Mutant, text: &str) -> bool {
        let key = mutant.key();
        let is_there = self.key.strip_prefix('*').map_or(key == self.key, |end| key.ends_with(end));
        is_there && self.changes.contains(&mutant.change(text).as_str())
    }
}

/// Of a preset.
pub(super) fn allowed(preset: &str) -> Vec<&'static Allowed> {
    ALLOWED.iter().filter(|allowed| allowed.presets.contains(&preset)).collect()
}

const ALLOWED: &[Allowed] = &[
    Allowed {
        presets: &["dsp"],
        key: "outputs.order_id.required",
        changes: &["without required = true,", "true → false"],
        why: "it is what deduplicates, and so has to be there in any case",
    },
    Allowed {
        presets: &["impact"],
        key: "outputs.OrderId.required",
        changes: &["without required = true,", "true → false"],
        why: "likewise",
    },
    Allowed {
        presets: &["scaleo"],
        key: "*on_ambiguous",
        changes: &["without on_ambiguous = \"dead_letter\"", "on_ambiguous → on_unmappable"],
        why: "the default of what has no slot, and of what cannot be mapped; it is said for who reads the preset",
    },
    Allowed {
        presets: &["trackdesk", "trackdesk-get"],
        key: "*_when",
        changes: &["contains → matches"],
        why: "the words hold no sign of a pattern: as one they find themselves",
    },
    Allowed {
        presets: &["thrad", "scaleo", "trackdesk", "trackdesk-get"],
        key: "*_when",
        changes: &["lower → email_canonical"],
        why: "of what is no address it makes the same",
    },
    Allowed {
        presets: &["impact", "scaleo"],
        key: "*rejected_when",
        changes: &["< → <=", "300 → 301", "300 → 300.5"],
        why: "a 300 is rejected whatever it says",
    },
    Allowed {
        presets: &["thrad", "scaleo", "trackdesk", "dsp"],
        key: "*body",
        changes: &["without body = \"json\""],
        why: "JSON is the default, and is said for who reads the preset",
    },
    Allowed {
        presets: &["trackdesk-get"],
        key: "operation.refund.body",
        changes: &["without body = \"json\""],
        why: "likewise",
    },
    Allowed {
        presets: &["trackdesk", "dsp"],
        key: "method",
        changes: &["without method = \"POST\""],
        why: "POST is the default of a body, and no destination can do without the body: nested fields fit no query",
    },
    Allowed {
        presets: &["impact", "trackdesk", "trackdesk-get", "scaleo"],
        key: "*.when",
        changes: &["item.sku → item.name"],
        why: "`each(…)` asks whether there is an item: by which of its fields is one",
    },
    Allowed {
        presets: &["impact", "trackdesk", "trackdesk-get", "scaleo"],
        key: "*.when",
        changes: &["'item' → 'itemx'", "'item' → 'tem'"],
        why: "likewise: any text stands for an item without that field",
    },
    Allowed {
        presets: &["trackdesk", "trackdesk-get"],
        key: "outputs.couponCodes[]",
        changes: &["couponCodes[] → couponCodes"],
        why: "an array by its name is the same as one by its type",
    },
    Allowed {
        presets: &["trackdesk", "trackdesk-get"],
        key: "outputs.couponCodes[].type",
        changes: &["array → any"],
        why: "likewise: whatever stands there, `[]` makes an array of it",
    },
    Allowed {
        presets: &["trackdesk-get"],
        key: "outputs.couponCodes[].unmapped",
        changes: &["without unmapped = \"not documented for GET\","],
        why: "why a field is not sent is for people, and a test of its own holds that it is said",
    },
    Allowed {
        presets: &["impact"],
        key: "*outputs.ActionId.unmapped",
        changes: &["without unmapped = \"event type and order name the action\","],
        why: "likewise",
    },
    Allowed {
        presets: &["impact"],
        key: "*outputs.ItemSubTotalDelta{i2}.unmapped",
        changes: &["without unmapped = \"a repeat would add to it\","],
        why: "likewise",
    },
    Allowed {
        presets: &["scaleo"],
        key: "map.gender",
        changes: &["trim → email_canonical", "lower → email_canonical"],
        why: "of what is no address it makes the same, and an address is no gender",
    },
];
