"""What goes with what, where a schema cannot say it."""

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    """A key stands for one conversion, not for a batch of several."""
    is_batch = isinstance(case.body, list) and len(case.body) > 1
    return not (is_batch and "Idempotency-Key" in (case.headers or {}))
