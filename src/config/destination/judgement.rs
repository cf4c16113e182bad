//! What an answer means to an operation: its own conditions, and what of its destination's does not hold for it.

use super::Named;
use super::operation::{Written, WrittenJudge};
use crate::config::report::Faults;
use crate::config::{Judge, WaitHeader};
use crate::mapping::{AnswerCondition, Capture, Text};

/// Compiles it; `wait_header` is the destination's.
pub(super) fn judge(written: &WrittenJudge, wait_header: Option<&WaitHeader>, faults: &mut Faults) -> Judge {
    let mut compile = |text: &Option<Text>| text.as_ref().and_then(|text| faults.take(AnswerCondition::compile(text)));
    let duplicate_when = compile(&written.duplicate_when);
    let delivered_when = compile(&written.delivered_when);
    let rejected_when = compile(&written.rejected_when);
    let suspended_when = compile(&written.suspended_when);
    let ambiguous_when = compile(&written.ambiguous_when);
    let throttled_when = compile(&written.throttled_when);
    let retry_when = compile(&written.retry_when);
    let wait_header = written.wait_header.as_ref().or(wait_header).cloned();
    let captured = |(name, text): &(Text, Text)| Some((name.value.clone(), faults.take(Capture::compile(text))?));
    let capture = written.capture.iter().filter_map(captured).collect();
    Judge {
        duplicate_when,
        delivered_when,
        rejected_when,
        suspended_when,
        ambiguous_when,
        throttled_when,
        retry_when,
        wait_header,
        capture,
    }
}

/// Warns of an operation without `delivered_when` beside conversions that have one: such a platform refuses with a 2xx, and
/// a refund that it refused would count as delivered.
pub(super) fn hold_all(conversion: &Written<'_>, named: &[Named<'_>], faults: &mut Faults) {
    if conversion.judge.delivered_when.is_none() {
        return;
    }
    let with_a_call = named.iter().filter(|named| !named.is_misspelt && named.written.is_given());
    for Named { key, .. } in with_a_call.filter(|named| named.written.judge.delivered_when.is_none()) {
        let name = &key.value;
        let message = format!(
            "operation `{name}` has no `delivered_when`: any 2xx counts as delivered, though that of the destination \
             looks at conversions closer"
        );
        let help = format!("`delivered_when` is each operation's own: say it for `operation.{name}` too");
        faults.warn(key.span.clone(), message, help);
    }
}
