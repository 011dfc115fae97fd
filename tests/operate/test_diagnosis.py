"""Finds the cause of a failed smoke test in the log."""

import pytest

from operate.diagnosis import cause
from tests.operate.test_unpublished import line

ARCHITECTURE = "built for another architecture than the function has"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("RequestId: 8f0f2f86 Error: fork/exec /var/task/bootstrap: exec format error", ARCHITECTURE),
        (
            "INIT_REPORT Init Duration: 1.57 ms\tPhase: init\tStatus: error\tError Type: Runtime.InvalidEntrypoint",
            ARCHITECTURE,
        ),
        (
            '{"type":"platform.initReport","record":{"status":"error","errorType":"Runtime.InvalidEntrypoint"}}',
            ARCHITECTURE,
        ),
        (line("not_configured", detail="SNS_TOPIC_ARN: no"), "The function does not start: SNS_TOPIC_ARN: no"),
        (line("panic", location="src/lib.rs:1:1"), "The function panicked at src/lib.rs:1:1."),
        (
            line("not_published", "smoke-1", code="NotFound", detail="no such topic"),
            "SNS did not accept the message: NotFound: no such topic. docs/operations.md explains the code.",
        ),
    ],
)
def test_finds_the_cause_in_a_log_line(message, expected):
    assert expected in cause(message, "smoke-1")


@pytest.mark.parametrize(
    "message",
    [
        line("not_published", "smoke-2"),
        line("published", "smoke-1"),
        line("signature_mismatch"),
        "START RequestId: 8f0f2f86-6c1f-4b8e-9d3f-4b3f2c1d0e9a Version: $LATEST",
        '{"type":"platform.report","record":{"status":"success"}}',
    ],
)
def test_ignores_a_log_line_without_a_cause(message):
    assert cause(message, "smoke-1") is None
