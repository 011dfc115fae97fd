"""`make replay`, with a log as the function writes it."""

import re
import subprocess
import time

import pytest

from operate import log
from operate.terminal import Failure
from tests.http_server import serving
from tests.operate.conftest import KEY, OTHER_KEY, signature, verifies
from tests.operate.test_unpublished import line

VIDEO = '{"taskId":"t1","status":"succeed",\r\n "generations":[{"url":"https:\\/\\/a/ü"}], "n":1.50}\n'
UTC = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def shown(printed):
    """The rows of the table in `printed`, each as a list of cells without the times."""
    rows = [row for row in printed.splitlines() if re.search(f"{UTC}  {UTC}|LAST TRY", row)]
    return [re.split(" {2,}", re.sub(f" *{UTC}  {UTC}", "", row)) for row in rows]


def test_an_unpublished_outcome_is_sent_unchanged_with_a_new_signature(stack, function):
    stack.has_logged(*[line("not_published", body=VIDEO, webhook_id="msg_2abc", code="InternalError")] * 11)
    status, printed = stack.run("replay", YES="1")
    assert shown(printed)[1:] == [["t1", "succeed", "not_published (InternalError)", "11"]]
    assert "\nt1  succeed  published, message id 5b9f6a2e-0001\n" in printed
    assert printed.endswith("Published 1 of 1.\n")
    assert status == 0
    [request] = function.requests
    assert request.body == VIDEO.encode()
    assert request.headers["X-Webhook-Id"] == "msg_2abc"
    assert abs(int(request.headers["X-Webhook-Timestamp"]) - time.time()) < 60
    assert request.headers["X-Webhook-Signature"] == signature(KEY, request.headers, request.body)
    assert request.headers["Content-Type"] == "application/octet-stream"


def test_only_unpublished_outcomes_are_replayed_and_the_oldest_first(stack, function):
    stack.has_logged(
        line("not_published", "t1", body="1"),
        line("timestamp_outside_tolerance", "t2", body="2"),
        line("timestamp_unreadable", "t3", "failed", body="3"),
        "START RequestId: 8f0f2f86-6c1f-4b8e-9d3f-4b3f2c1d0e9a Version: $LATEST",
        line("not_an_outcome", None, None, "msg_4", bodyBase64="/w=="),
        line("signature_mismatch", "t5", body="5"),
        line("not_published", "smoke-1", body="6"),
        line("published", "t1"),
    )
    status, printed = stack.run("replay", YES="1")
    assert shown(printed) == [
        ["TASK", "STATUS", "REASON", "TRIES", "FIRST TRY (UTC)", "LAST TRY (UTC)"],
        ["t2", "succeed", "timestamp_outside_tolerance", "1"],
        ["t3", "failed", "timestamp_unreadable", "1"],
        ["webhook msg_4", "-", "not_an_outcome", "1"],
    ]
    assert [request.body for request in function.requests] == [b"2", b"3", b"\xff"]
    assert (status, printed.splitlines()[-1]) == (0, "Published 3 of 3.")


def test_dry_sends_nothing_and_needs_no_key(stack, function):
    stack.has_logged(line("not_published", body=VIDEO))
    status, printed = stack.run("replay", DRY="1", WEBHOOK_SECRET=None)
    assert shown(printed)[1:] == [["t1", "succeed", "not_published", "1"]]
    assert (status, function.requests) == (0, [])


def test_the_table_shows_the_first_and_last_try_in_utc(stack):
    stack.has_logged(line("not_published", body=VIDEO), ago=7200)
    stack.has_logged(line("not_published", body=VIDEO), ago=3600)
    ran = subprocess.run(
        **stack.process("replay", DRY="1", TZ="Asia/Tokyo"), capture_output=True, timeout=60, check=True
    )
    [tries] = re.findall(f" 2 +({UTC})  ({UTC})", ran.stdout)
    for text, ago in zip(tries, [7200, 3600], strict=True):
        assert text in [time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - ago - late)) for late in range(60)]


def test_nothing_to_replay_exits_with_0(stack, function):
    stack.has_logged(line("not_published", body=VIDEO), line("published"))
    status, printed = stack.run("replay")
    assert "Nothing to replay" in printed
    assert (status, function.requests) == (0, [])


@pytest.mark.parametrize(("since", "found"), [("30m", 0), ("2h", 1), ("1d", 1), (None, 1)])
def test_since_limits_how_far_back_the_log_is_read(stack, since, found):
    stack.has_logged(line("not_published", body=VIDEO), ago=3600)
    _, printed = stack.run("replay", DRY="1", SINCE=since)
    assert len(shown(printed)[1:]) == found


def test_every_page_of_the_log_is_read(stack):
    others = [line("published", f"other-{number}") for number in range(10_000)]
    stack.has_logged(line("not_published", "t1"), *others, line("published", "t1"), line("not_published", "t2"))
    _, printed = stack.run("replay", DRY="1")
    assert [row[0] for row in shown(printed)[1:]] == ["t2"]


def test_reading_the_log_has_a_time_limit(stack, monkeypatch):
    monkeypatch.setattr(log, "READING_SECONDS", -1)
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Failure, match="set a shorter SINCE"):
        list(log.read_log(stack.group, 0))


def test_replay_signs_with_the_first_key(stack, function):
    stack.has_logged(line("not_published", body=VIDEO))
    assert stack.run("replay", YES="1", WEBHOOK_SECRET=f"{KEY}\n{OTHER_KEY}")[0] == 0
    status, printed = stack.run("replay", YES="1", WEBHOOK_SECRET=f"{OTHER_KEY},{KEY}")
    assert "401" in printed
    assert status == 1


def test_url_replaces_the_url_of_the_stack(stack, function):
    stack.has_logged(line("not_published", body=VIDEO))
    with serving(verifies) as other:
        assert stack.run("replay", YES="1", URL=f"{other.url}stage?a=b")[0] == 0
        assert ([request.path for request in other.requests], function.requests) == (["/stage?a=b"], [])


@pytest.mark.parametrize("webhook_id", [None, "é", "a\nb"])
def test_a_webhook_id_that_is_no_valid_header_is_replaced(stack, function, webhook_id):
    stack.has_logged(line("not_published", body=VIDEO, webhook_id=webhook_id))
    assert stack.run("replay", YES="1")[0] == 0
    assert re.fullmatch(r"msg_\d+", function.requests[0].headers["X-Webhook-Id"])


def test_a_rejected_outcome_is_reported_and_the_others_are_sent(stack, function):
    stack.has_logged(
        line("not_an_outcome", "t1", "paused", body="[]"),
        line("not_published", "t2", body=VIDEO),
    )
    rejected = 422, b'{"error":"not a task outcome: status is neither succeed nor failed"}'
    function.respond = lambda request: rejected if request.body == b"[]" else verifies(request)
    status, printed = stack.run("replay", YES="1")
    assert '\nt1  paused  not published: 422 {"error":"not a task outcome' in printed
    assert "The deployed function does not accept it as a task outcome." in printed
    assert "\nt2  succeed  published" in printed
    assert (status, printed.splitlines()[-1]) == (1, "Published 1 of 2.")


@pytest.mark.parametrize(
    ("status", "sent"),
    [(401, 1), (403, 1), (404, 1), (429, 3), (500, 3), (502, 3), (503, 3), (422, 5), (200, 5), (302, 5)],
)
def test_failures_with_a_common_cause_stop_the_replay(stack, function, status, sent):
    stack.has_logged(*[line("not_published", f"t{number}", body=VIDEO) for number in range(5)])
    function.respond = lambda _: (status, b"")
    ended, printed = stack.run("replay", YES="1")
    assert printed.count(f"not published: {status}") == len(function.requests) == sent
    assert (f"Stopped: {5 - sent} more were not sent" in printed) == (sent < 5)
    assert (ended, printed.splitlines()[-1]) == (1, "Published 0 of 5.")


def test_failures_that_are_not_consecutive_do_not_stop_the_replay(stack, function):
    stack.has_logged(*[line("not_published", f"t{number}", body=VIDEO) for number in range(6)])
    responses = iter([503, 503, 200, 503, 503, 200])
    function.respond = lambda _: (next(responses), b'{"messageId":"5b9f6a2e-0001"}')
    assert stack.run("replay", YES="1")[1].splitlines()[-1] == "Published 2 of 6."


def test_an_outcome_without_a_logged_body_is_listed_but_not_sent(stack, function):
    stack.has_logged(line("too_large", "t1"), line("not_published", "t2", body=VIDEO))
    status, printed = stack.run("replay", YES="1")
    assert [row[0] for row in shown(printed)[1:]] == ["t1", "t2"]
    assert (
        "The log has no body of t1, because it keeps none over 262,144 bytes. This cannot be replayed: ask" in printed
    )
    assert len(function.requests) == 1
    assert (status, printed.splitlines()[-1]) == (1, "Published 1 of 2.")


def test_control_characters_in_a_task_id_are_escaped(stack):
    stack.has_logged(line("not_an_outcome", "t\x1b[31m1", "\x07", body="{}"))
    _, printed = stack.run("replay", DRY="1")
    assert shown(printed)[1][:2] == [r"'t\x1b[31m1'", r"'\x07'"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://127.0.0.1:99999/", "http://[::1/", "http://a..b/"])
def test_an_unreachable_url_is_reported(stack, url):
    stack.has_logged(line("not_published", body=VIDEO))
    status, printed = stack.run("replay", YES="1", URL=url)
    assert f"t1  succeed  {url} cannot be reached: " in printed
    assert (status, printed.splitlines()[-1]) == (1, "Published 0 of 1.")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("AccessDeniedException", "The AWS credentials lack a permission for FilterLogEvents: User: operator is not"),
        ("ExpiredTokenException", "AWS rejects the credentials (ExpiredTokenException): User: operator is not"),
        ("ResourceNotFoundException", "There is no log group /aws/lambda/"),
        ("LimitExceededException", "AWS reports an error: An error occurred (LimitExceededException)"),
    ],
)
def test_a_log_that_cannot_be_read_is_reported(stack, function, code, sentence):
    rejected = f'{{"__type":"{code}","message":"User: operator is not authorized to perform: logs:FilterLogEvents"}}'
    with serving(lambda _: (400, rejected.encode())) as logs:
        status, printed = stack.run("replay", YES="1", AWS_ENDPOINT_URL_CLOUDWATCH_LOGS=logs.url)
    assert sentence in printed
    assert (status, function.requests) == (1, [])


def test_a_stack_that_is_not_pollo_webhook_is_reported(stack):
    del stack.outputs["WebhookUrl"]
    status, printed = stack.run("replay", YES="1")
    assert "(CREATE_COMPLETE) has no output WebhookUrl: it is not a deployed pollo-webhook." in printed
    assert status == 1
