//! Test conversions: an operation that takes them must look at `test`, or the platform counts them.

use super::operation::Written;
use crate::config::TestConversions;
use crate::config::report::Faults;

/// Warns of an operation that takes test conversions, and of which no condition and no part of the request reads `test`.
pub(super) fn told(name: &str, test: TestConversions, written: &Written<'_>, faults: &mut Faults) {
    if test == TestConversions::Skip || written.reads_test() {
        return;
    }
    let message = format!(
        "operation `{name}` takes test conversions (`test = \"carry\"`), and nothing of it reads `test`: they are sent as \
         real ones"
    );
    let own = if name == "conversion" { String::new() } else { format!("operation.{name}.") };
    let help =
        format!("`{own}test = \"skip\"` skips them; the platform's own switch is a line as `map.is_test = \"test\"`");
    faults.warn(written.span.clone(), message, help);
}
