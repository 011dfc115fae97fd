"""`make reconcile`, with a double of Pollo's API."""

import json
import time

import pytest
from werkzeug import Response

from tests.operate.conftest import API_KEY, KEY, OTHER_KEY, Double, is_signed, line
from tests.operate.test_replay import ago, tasks

SUCCEEDED = {"id": "g1", "status": "succeed", "url": "https://a/1.mp4", "mediaType": "video", "failMsg": None}
FAILED = {"id": "g2", "status": "failed", "failMsg": "no such image ü"}
UNKNOWN = Response('{"code":"NOT_FOUND","message":"no such task"}', 404)


def answer(task, *generations):
    return {"taskId": task, "credit": 1.25, "generations": generations}


class Pollo(Double):
    """Pollo's API. `v1` and `legacy` are the responses by task: JSON, or a whole response."""

    def __init__(self, httpserver):
        super().__init__(httpserver, "/api", self.answer)
        self.v1, self.legacy = {}, {}

    def answer(self, request):
        assert request.headers["x-api-key"] == API_KEY
        assert request.headers["User-Agent"].startswith("pollo-webhook")
        base, task = request.path.removeprefix("/api").removesuffix("/status").rsplit("/", 1)
        response = {"/v1/generation": self.v1, "/generation": self.legacy}[base].get(task, UNKNOWN)
        return response if isinstance(response, Response) else Response(json.dumps(response))

    @property
    def asked(self):
        return [request.path.removeprefix("/api") for request in self.requests]


@pytest.fixture
def pollo(httpserver, stack):
    pollo = Pollo(httpserver)
    stack.environment["POLLO_API_URL"] = f"{pollo.url}/"
    return pollo


def reconcile(stack, *task_ids, **environment):
    """Reconciles these tasks, or without any the tasks of the log."""
    settings = {"TASKS": "-", "stdin": "\n".join(task_ids)} if task_ids else {}
    return stack.run("reconcile", **settings, **environment)


def test_an_outcome_that_never_arrived_is_sent_as_what_pollo_says(stack, function, pollo):
    pollo.v1["t1"] = answer("t1", SUCCEEDED, FAILED)
    printed = reconcile(stack, "t1", WEBHOOK_SECRET=f"{KEY} {OTHER_KEY}")
    assert "\nt1    succeed  not in the log  0      -    -                -\n" in printed
    assert f"Warning: {stack.topic} has no confirmed subscription." in printed
    assert printed.endswith("\nt1  succeed  published, message id 5b9f6a2e-0001\nPublished 1 of 1.\n")
    assert pollo.asked == ["/v1/generation/t1/status"]
    [request] = function.requests
    body = {"taskId": "t1", "status": "succeed", "generations": [SUCCEEDED, FAILED]}
    assert function.bodies == [json.dumps(body, separators=(",", ":")).encode()]
    assert is_signed(request)
    assert abs(int(request.headers["X-Webhook-Timestamp"]) - time.time()) < 60
    assert request.headers["X-Webhook-Id"] == "reconciled-t1"


def test_dry_needs_no_key_of_the_function_and_sends_nothing(stack, function, pollo):
    pollo.v1["t1"] = answer("t1", SUCCEEDED)
    assert "\nt1    succeed " in reconcile(stack, "t1", DRY="1", WEBHOOK_SECRET=None)
    assert function.requests == []


def test_a_result_that_is_not_published_exits_with_1(stack, function, pollo):
    pollo.v1["t1"] = answer("t1", SUCCEEDED)
    function.respond = lambda _: Response("", 413)
    assert reconcile(stack, "t1", exits=1).endswith("\nPublished 0 of 1.\n")


def test_tasks_are_read_from_a_file_once_each_and_published_ones_are_not_asked_for(stack, function, pollo, tmp_path):
    stack.has_logged(line("published", "t2"), ago=13 * 86_400)
    pollo.v1 |= {task: answer(task, SUCCEEDED) for task in ["t1", "t2", "動 画?1", "smoke-1"]}
    (tmp_path / "tasks").write_text("\ufefft1\n\n  t1\t\r\nt2\nsmoke-1\n動 画?1")
    assert "2 of 4 tasks were published, or are smoke tests." in reconcile(stack, TASKS=f"{tmp_path}/tasks")
    assert pollo.asked == ["/v1/generation/t1/status", "/v1/generation/動 画?1/status"]
    assert [json.loads(body)["taskId"] for body in function.bodies] == ["t1", "動 画?1"]
    assert function.requests[1].headers["X-Webhook-Id"] == "reconciled-%E5%8B%95%20%E7%94%BB%3F1"


def test_without_tasks_it_asks_for_what_the_log_shows_without_a_body(stack, function, pollo):
    pollo.v1 |= {task: answer(task, FAILED) for task in ["t1", "t2", "t3", "t4", "t5"]}
    stack.has_logged(
        line("not_published", "t1", "failed", bodyBytes=40_000),
        line("not_published", "t2", body="{}"),
        line("not_published", "t3", body="**", bodySha256="0"),
        line("not_published", "t4", bodyBytes=40_000, webhookTimestamp=ago(400_000)),
        line("too_large", "t5", bodyBytes=40_000),
        line("not_an_outcome", None, None, bodyBytes=40_000),
        line("published", "t5", "succeed"),
    )
    printed = reconcile(stack)
    assert tasks(printed) == ["t1", "t3"]
    assert [request.headers["X-Webhook-Id"] for request in function.requests] == ["reconciled-t1", "reconciled-t3"]
    assert printed.endswith("\nPublished 2 of 2.\n")


def test_a_second_run_sends_nothing(stack, function, pollo):
    pollo.v1["t1"] = answer("t1", SUCCEEDED)
    stack.has_logged(line("not_published", bodyBytes=40_000))
    reconcile(stack)
    stack.has_logged(line("published", webhook_id="reconciled-t1"), ago=1)
    for task_ids in [[], ["t1"]]:
        assert "Nothing to send" in reconcile(stack, *task_ids)
        assert (len(function.requests), len(pollo.asked)) == (1, 1)
    reconcile(stack, "t1", AGAIN="1")
    assert len(function.requests) == 2


def test_a_task_has_ended_with_its_last_generation_and_failed_if_all_have(stack, function, pollo):
    pollo.v1 |= {
        "t1": answer("t1", FAILED, FAILED),
        "t2": answer("t2", FAILED, SUCCEEDED),
        "t3": answer("t3", SUCCEEDED, {"status": "processing"}),
        "t4": answer("t4", FAILED, {"status": "waiting"}),
    }
    assert "\nt3  still running\nt4  still running\n" in reconcile(stack, "t1", "t2", "t3", "t4")
    assert [json.loads(body)["status"] for body in function.bodies] == ["failed", "succeed"]


@pytest.mark.parametrize(
    "legacy",
    [
        {"code": "SUCCESS", "message": "success", "data": answer("t1", SUCCEEDED)},
        {"taskId": "t1", "result": [{"status": "succeed", "videoUrl": "https://a/1.mp4"}]},
    ],
)
@pytest.mark.parametrize("v1", [UNKNOWN, Response("<html>", 404)])
def test_the_legacy_api_is_asked_if_version_1_does_not_know_the_task(stack, function, pollo, v1, legacy):
    pollo.v1["t1"], pollo.legacy["t1"] = v1, legacy
    reconcile(stack, "t1")
    assert json.loads(function.bodies[0])["generations"][0]["url"] == "https://a/1.mp4"
    assert pollo.asked == ["/v1/generation/t1/status", "/generation/t1/status"]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (UNKNOWN, "404, Pollo does not know the task"),
        (Response("<!DOCTYPE html>\x1b[31m Just a moment...", 403), "403, and not a response of Pollo's API"),
        (Response("", 302, headers={"Location": "/api/v1/generation/t2/status"}), "302, and not a response"),
        (Response(json.dumps(answer("t1", {**SUCCEEDED, "text": "x" * 5_000_000}))), "200, and not a response"),
        (Response(json.dumps(answer("t1", SUCCEEDED)), 500), "500, a response that this command does not understand"),
        ({"taskId": "t1", "result": []}, "200, a response that this command does not understand"),
        (answer("t2", SUCCEEDED), "200, a response that this command does not understand"),
        (answer("t1", {"status": ["succeed"]}), "200, a response that this command does not understand"),
        ({"taskId": "t1", "generations": 5}, "200, a response that this command does not understand"),
    ],
)
def test_a_task_that_pollo_does_not_name_is_told_and_the_others_are_sent(stack, function, pollo, response, reason):
    pollo.v1 |= {"t1": response, "t2": answer("t2", SUCCEEDED)}
    printed = reconcile(stack, "t1", "t2", exits=1)
    assert f"\nt1  unknown: {reason}" in printed
    assert printed.endswith("\nPublished 1 of 1.\n")


def test_an_api_that_cannot_be_reached_is_told(stack):
    printed = reconcile(stack, "t1", exits=1, POLLO_API_URL="http://127.0.0.1:1")
    assert "t1  unknown: http://127.0.0.1:1/v1/generation/t1/status cannot be reached: " in printed


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_api_key_is_told_once(stack, pollo, status):
    pollo.v1["t1"] = Response('{"code":"UNAUTHORIZED"}', status)
    printed = reconcile(stack, "t1", "t2", "t3", exits=1)
    assert f"t1  unknown: {status}, Pollo's API rejects POLLO_API_KEY: stopped\n" in printed
    assert len(pollo.asked) == 1


@pytest.mark.parametrize(("retry_after", "waited"), [("7", 7), ("100000", 60), ("9" * 5000, 5), (None, 5)])
def test_it_waits_for_pollos_limit_of_requests(stack, function, pollo, monkeypatch, retry_after, waited):
    waits = []
    monkeypatch.setattr("operate.reconcile.time.sleep", waits.append)
    limited = [Response("<html>", 429, headers={"Retry-After": retry_after} if retry_after else {}), UNKNOWN]
    pollo.respond = lambda request: limited.pop(0) if limited else pollo.answer(request)
    pollo.legacy["t1"] = answer("t1", SUCCEEDED)
    assert f"Pollo's limit of requests is reached: waiting for {waited} seconds" in reconcile(stack, "t1")
    assert (waits, len(function.requests)) == ([waited], 1)
    pollo.respond = lambda _: Response("", 429)
    printed = reconcile(stack, "t1", "t2", exits=1)
    assert "t1  unknown: 429, Pollo's limit of requests is still reached: stopped\n" in printed
    assert len(waits) == 5
