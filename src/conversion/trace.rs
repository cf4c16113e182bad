//! The trace that a request belongs to: W3C Trace Context, `traceparent`.

use std::fmt;

/// A `traceparent` that is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

impl TraceParent {
    /// Reads the header's value (W3C Trace Context §3.2): version `00` to the letter, of later ones what `00` has. What is
    /// not valid is no trace.
    pub fn parse(text: &str) -> Option<TraceParent> {
        let fixed = text.get(..LEN)?;
        let is_known = fixed.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
        let mut parts = fixed.split('-');
        let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_whole = match version {
            "ff" => false,
            "00" => text.len() == LEN,
            _ => matches!(text.as_bytes().get(LEN), None | Some(b'-')),
        };
        let mut trace = TraceParent { trace_id: [0; 16], parent_id: [0; 8], flags: 0 };
        let mut flag = [0];
        hex::decode_to_slice(trace_id, &mut trace.trace_id).ok()?;
        hex::decode_to_slice(parent_id, &mut trace.parent_id).ok()?;
        hex::decode_to_slice(flags, &mut flag).ok()?;
        [trace.flags] = flag;
        let is_named = trace.trace_id != [0; 16] && trace.parent_id != [0; 8];
        (is_known && version.len() == 2 && is_whole && is_named).then_some(trace)
    }

    /// A trace whose ids were drawn by who begins it. An id of zeros is none.
    pub fn new(trace_id: [u8; 16], parent_id: [u8; 8], is_sampled: bool) -> Option<TraceParent> {
        let is_named = trace_id != [0; 16] && parent_id != [0; 8];
        is_named.then_some(TraceParent { trace_id, parent_id, flags: u8::from(is_sampled) })
    }

    /// Whether who named it records it (the flag `sampled`, §3.2.2.5.1).
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same, recorded or not.
    #[must_use]
    pub fn with_sampled(self, is_sampled: bool) -> TraceParent {
        TraceParent { flags: (self.flags & !SAMPLED) | u8::from(is_sampled), ..self }
    }

    /// The ids of the trace and of the span.
    pub fn ids(&self) -> ([u8; 16], [u8; 8]) {
        (self.trace_id, self.parent_id)
    }

    /// The same trace, with another span as the parent; the eight bytes of zero are none, and leave it as it is.
    #[must_use]
    pub fn with_parent(self, parent_id: [u8; 8]) -> TraceParent {
        let parent_id = if parent_id == [0; 8] { self.parent_id } else { parent_id };
        TraceParent { parent_id, ..self }
    }

    /// The trace alone, as it is searched for.
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace_id)
    }

    /// From [`TraceParent::to_bytes`].
    pub fn from_bytes(bytes: [u8; TraceParent::BYTES]) -> TraceParent {
        let (mut trace_id, mut parent_id) = ([0; 16], [0; 8]);
        trace_id.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        parent_id.iter_mut().zip(bytes.iter().skip(16)).for_each(|(to, from)| *to = *from);
        TraceParent { trace_id, parent_id, flags: bytes[24] }
    }

    /// Trace, parent, flags.
    pub fn to_bytes(self) -> [u8; TraceParent::BYTES] {
        let mut bytes = [0; TraceParent::BYTES];
        let parts = self.trace_id.into_iter().chain(self.parent_id).chain([self.flags]);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        bytes
    }

    /// What it is kept in.
    pub const BYTES: usize = 25;
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of the flags only the two that are known are passed on (§3.2.2.5).
        write!(f, "00-{}-{}-{:02x}", hex::encode(self.trace_id), hex::encode(self.parent_id), self.flags & KNOWN_FLAGS)
    }
}

/// Of version 00.
const LEN: usize = 55;
const SAMPLED: u8 = 0b01;
/// Sampled, and (level 2) a random trace id.
const KNOWN_FLAGS: u8 = 0b11;

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_valid_is_kept_and_what_is_not_is_none() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let read = TraceParent::parse(text);
            assert_eq!(read.map(|trace| trace.to_string()).as_deref(), expected, "{text}");
            if let Some(trace) = read {
                assert_eq!(TraceParent::from_bytes(trace.to_bytes()), trace);
            }
        }
        check(GIVEN, Some(GIVEN));
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", Some(&GIVEN.replace("-01", "-00")));
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", Some(&GIVEN.replace("-01", "-03")));
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some(GIVEN));
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-says", Some(GIVEN));
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what", None);
        check("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", None);
        check("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", None);
        check("00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01", None);
        check("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-00", None);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bä-1", None);
        check("", None);
    }

    #[test]
    fn another_parent_leaves_the_trace() {
        let trace = TraceParent::parse(GIVEN).unwrap();
        assert_eq!(trace.with_parent([1; 8]).to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0101010101010101-01");
        assert_eq!(trace.with_parent([0; 8]), trace);
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn a_trace_that_begins_here_is_written_as_one_that_came() {
        let (trace_id, parent_id) = TraceParent::parse(GIVEN).unwrap().ids();
        let written = |is_sampled| TraceParent::new(trace_id, parent_id, is_sampled).map(|trace| trace.to_string());
        assert_eq!(written(true).as_deref(), Some(GIVEN));
        assert_eq!(written(false), Some(GIVEN.replace("-01", "-00")));
        for (text, is_sampled) in [("-00", false), ("-01", true), ("-02", false), ("-ff", true)] {
            assert_eq!(TraceParent::parse(&GIVEN.replace("-01", text)).unwrap().is_sampled(), is_sampled, "{text}");
        }
        let other = TraceParent::parse(&GIVEN.replace("-01", "-02")).unwrap().with_sampled(true);
        assert_eq!(other.to_string(), GIVEN.replace("-01", "-03"));
        assert_eq!(other.with_sampled(false).to_string(), GIVEN.replace("-01", "-02"));
        assert_eq!(
            (TraceParent::new([0; 16], parent_id, true), TraceParent::new(trace_id, [0; 8], true)),
            (None, None)
        );
    }
}
