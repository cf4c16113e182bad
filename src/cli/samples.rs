//! The conversions that the demo sends, and what must become of each. The last two repeat the first, and take it back.

/// A conversion and the state it must end in, in the order thrad, impact, scaleo, trackdesk, dsp.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) body: &'static str,
    /// What the relay answers: `accepted` or `duplicate`.
    pub(super) answer: &'static str,
    pub(super) states: [(&'static str, &'static str); 5],
}

/// As little as all five take, for trying by hand.
pub(super) const SHORT: Sample = Sample {
    name: "short",
    body: include_str!("samples/short.json"),
    answer: "accepted",
    states: everywhere("delivered"),
};

pub(super) const SAMPLES: [Sample; 6] = [
    Sample {
        name: "purchase with items",
        body: include_str!("samples/purchase.json"),
        answer: "accepted",
        states: everywhere("delivered"),
    },
    Sample {
        name: "lead",
        body: include_str!("samples/lead.json"),
        answer: "accepted",
        // Three of them take one event type each, and it is the purchase.
        states: [
            ("thrad", "delivered"),
            ("impact", "skipped"),
            ("scaleo", "skipped"),
            ("trackdesk", "skipped"),
            ("dsp", "delivered"),
        ],
    },
    Sample {
        name: "purchase without click ids",
        body: include_str!("samples/without-clicks.json"),
        answer: "accepted",
        states: [
            ("thrad", "skipped"),
            ("impact", "delivered"),
            ("scaleo", "skipped"),
            ("trackdesk", "skipped"),
            ("dsp", "delivered"),
        ],
    },
    Sample {
        name: "purchase without consent",
        body: include_str!("samples/no-consent.json"),
        answer: "accepted",
        states: everywhere("withheld"),
    },
    Sample {
        name: "the first purchase again",
        body: include_str!("samples/purchase.json"),
        answer: "duplicate",
        states: everywhere("delivered"),
    },
    Sample {
        name: "refund of the first purchase",
        body: include_str!("samples/refund.json"),
        answer: "accepted",
        // Two of the platforms document no call for it.
        states: [
            ("thrad", "unsupported"),
            ("impact", "delivered"),
            ("scaleo", "delivered"),
            ("trackdesk", "delivered"),
            ("dsp", "unsupported"),
        ],
    },
];

const fn everywhere(state: &'static str) -> [(&'static str, &'static str); 5] {
    [("thrad", state), ("impact", state), ("scaleo", state), ("trackdesk", state), ("dsp", state)]
}
