"""What the function stores, retries and logs."""

import gzip
import json
import queue
import time

import pytest
from moto.s3.models import S3Backend
from moto.sqs.models import SQSBackend

from local.emulators import PATIENCE
from tests.videos.conftest import SIGNED, VIDEO
from tests.videos.hosts import Repeats, chunked, reports, sends

API, LEGACY = "/api/platform/v1/generation/t1/status", "/api/platform/generation/t1/status"
PART = 8 * 1024 * 1024
PAGE = b"<html>" * 100_000


@pytest.fixture
def video(pollo):
    """The URL of a video that can be downloaded."""
    return pollo.responds("/a/b.MP4" + SIGNED, sends(200, VIDEO))


def test_each_file_is_stored_once_byte_for_byte(subscriber, pollo, receives, video):
    stored, generations = {"t1/g1.mp4": VIDEO}, [{"id": "g1", "url": video}]
    types = {"png": "image/png", "mp3": "audio/mpeg", "bin": "binary/octet-stream", "x.download": None, "": ""}
    for number, (suffix, kind) in enumerate(types.items(), 1):
        url = pollo.responds(f"/a%20b/{number}.{suffix}", sends(200, suffix.encode() + b"1", Content_Type=kind))
        generations.append({"videoUrl": url.replace("%20", " ") + SIGNED})
        stored[f"t1/{number}.{suffix if kind else 'bin'}"] = suffix.encode() + b"1"
    generations += [{"id": "g.", "status": "failed"}, {"id": "g5", "mediaType": "text", "url": None}]
    line = {"result": "stored", "taskId": "t1", "failed": ["t1/g%2E"], "skipped": ["t1/g5"]}
    assert receives(*generations) == {**line, "objects": list(stored), "present": []}
    assert subscriber.objects() == stored
    assert subscriber.s3.head_object(Bucket=subscriber.bucket, Key="t1/1.png")["ContentType"] == "image/png"
    assert receives(*generations) == {**line, "objects": [], "present": list(stored)}
    assert len(pollo.requests) == len(stored)


def test_an_outcome_without_media_is_done(receives):
    assert receives({"status": "failed"}, {"mediaType": "text"})["result"] == "nothing_to_store"


@pytest.mark.parametrize("path", [API, LEGACY], ids=["v1", "legacy"])
@pytest.mark.parametrize("form", ["bare", "envelope", "result"])
def test_missing_urls_are_requested_from_the_api(pollo, receives, video, path, form):
    generations = [{"id": "g1", "status": "succeed", "videoUrl" if form == "result" else "url": video}]
    forms = {"bare": reports(*generations), "envelope": reports(data={"generations": generations})}
    pollo.responds(path, forms.get(form) or reports(result=generations))
    assert receives()["objects"] == ["t1/g1.mp4"]
    asked = [API] if path == API else [API, LEGACY]
    assert pollo.requests == [*[("pollo.ai" + path, "key-1") for path in asked], (video.removeprefix("https://"), None)]
    assert receives({"id": "g1", "status": "processing"})["present"] == ["t1/g1.mp4"]


PAGES = ["text/html", "Text/HTML; charset=utf-8", "application/json", "application/problem+json", "application/xml"]
EXPIRED = {str(status): sends(status) for status in [403, 404, 410]}
EXPIRED |= {kind: sends(200, PAGE, Content_Type=kind) for kind in PAGES}
EXPIRED |= {"to a page": sends(302, Location="/page")}


@pytest.mark.parametrize("expired", EXPIRED.values(), ids=EXPIRED)
def test_an_expired_url_is_replaced_by_one_from_the_api(subscriber, pollo, receives, video, expired):
    pollo.responds("/page", sends(200, PAGE, Content_Type="text/html"))
    image, link = pollo.responds("/1.png", sends(200, b"1")), pollo.responds("/g2.mp4" + SIGNED, expired)
    generations = [{"id": "g1", "url": image}, {"id": "g2", "url": link}]
    assert receives(*generations)["reason"].startswith("t1/g2: the host responds ")
    pollo.responds(API, reports({"id": "g1", "url": image}, {"id": "g2", "url": video}))
    line = receives(*generations)
    assert (line["objects"], line["present"]) == (["t1/g2.mp4"], ["t1/g1.png"])
    assert subscriber.objects() == {"t1/g1.png": b"1", "t1/g2.mp4": VIDEO}


NOT_POLLO = "is not from Pollo's API, but from a server in front of it"
REFUSED = {
    "Pollo's API responds 404": sends(404, b"{}"),
    "Pollo's API responds 401": sends(401, b'{"code":"UNAUTHORIZED"}'),
    "Pollo's API responds 302": sends(302, b"{}", Location="https://cdn.example/a/b.MP4"),
    "a response 403 is not from Pollo's API, but from a server in front of it": sends(403, PAGE),
    "IncompleteRead": sends(200, b'{"generations":[]}', Content_Length=100),
    "too many bytes": Repeats(b"HTTP/1.1 200 OK\r\n\r\n{", b" " * 65536),
    "there are no generations": sends(200, b'{"code":"NOT_FOUND","message":"no such task"}'),
    "t1/g1: it has no URL yet": reports({"id": "g1", "status": "processing", "url": "https://cdn.example/"}),
}


@pytest.mark.parametrize(("reason", "response"), REFUSED.items(), ids=REFUSED)
def test_a_failed_request_to_the_api_is_retried(subscriber, pollo, receives, video, reason, response):
    pollo.responds(API, response)
    assert reason in receives()["reason"]
    assert {(path.partition("/")[0], key) for path, key in pollo.requests} == {("pollo.ai", "key-1")}
    subscriber.secrets.put_secret_value(SecretId=subscriber.secret, SecretString="key-2")
    pollo.responds(API, reports({"id": "g1", "status": "succeed", "url": video}))
    assert receives(attempt=2)["objects"] == ["t1/g1.mp4"]
    assert pollo.requests[-2][1] == "key-2"


def test_a_key_is_neither_required_nor_logged(subscriber, receives):
    subscriber.secrets.put_secret_value(SecretId=subscriber.secret, SecretString="key-1\nkey-2")
    assert receives()["reason"] == "ValueError"
    subscriber.load(API_KEY_SECRET_ARN="")
    assert receives()["reason"] == "there is no key of Pollo's API"


BROKEN = {
    "206": sends(206, VIDEO),
    "longer than MAX_BYTES": sends(200, VIDEO, Content_Length=len(VIDEO) + 1),
    "shorter by a part": sends(200, VIDEO[:PART], Content_Length=len(VIDEO)),
    "small and shorter": sends(200, b"x", Content_Length=2),
    "empty": sends(200),
    "without length": sends(200, VIDEO, Content_Length=None),
    "two lengths": sends(200, VIDEO, Content_Length=f"{len(VIDEO)}, 1"),
    "Brotli": sends(200, b"1", Content_Encoding="br"),
    "transfer gzip": sends(200, gzip.compress(b"1"), Transfer_Encoding="gzip, chunked"),
    "large chunk": chunked(b"9c4001\r\n%bx\r\n0\r\n\r\n" % VIDEO),
    "no last chunk": chunked(b"9c4000\r\n%b\r\n" % VIDEO),
    "chunk cut": chunked(b"9c4000\r\n%b" % VIDEO[:-1]),
    "chunk shorter than told": chunked(b"9c4000\r\n%b\r\n0\r\n\r\n" % VIDEO[1:]),
    "size no number": chunked(b"x\r\n%b" % VIDEO),
    "short negative chunk": chunked(b"-1\r\nx\r\n0\r\n\r\n"),
    "negative chunk": Repeats(chunked(b"-1\r\n"), bytes(65536)),
    "endless chunk": Repeats(chunked(b"f" * 15 + b"\r\n"), bytes(65536)),
    "endless size": Repeats(chunked(b""), b"1" * 65536),
    "endless headers": Repeats(b"HTTP/1.1 200 OK\r\nx: ", b"1" * 65536),
    "endless interim responses": Repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    "no HTTP": b"\0" * 100,
    "header without colon": b"HTTP/1.1 200 OK\r\nx\r\nContent-Length: 1\r\n\r\n1",
    "private": sends(302, Location="https://10.0.0.1/"),
    "slow body": Repeats(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x", 0.05),
    "slow interim responses": Repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    "no URL": sends(302, Location="https://cdn.example:99999/" + SIGNED),
}


@pytest.mark.parametrize("response", BROKEN.values(), ids=BROKEN)
def test_a_broken_download_stores_nothing_and_is_retried(subscriber, internet, pollo, receives, response):
    internet.host("private.example", "10.0.0.1", pollo.serve)
    url = pollo.responds("/video" + SIGNED, *[response] * 4)
    subscriber.seconds = 1 if getattr(response, "pause", 0) else 60
    line = receives({"id": "g1", "url": url})
    assert (line["result"], line["objects"], subscriber.objects()) == ("retry", [], {})
    assert not isinstance(response, Repeats) or response.client_left.wait(PATIENCE)
    subscriber.seconds = 60
    pollo.responds("/video", chunked(b"9c4000\r\n%b\r\n0\r\n\r\n" % VIDEO))
    assert receives({"id": "g1", "url": url})["objects"] == ["t1/g1.bin"]
    assert subscriber.objects() == {"t1/g1.bin": VIDEO}


def test_the_deadline_ends_a_handshake(subscriber, internet, receives):
    # The begin of a long ServerHello.
    drip = Repeats(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03", b"x", 0.05)
    internet.host("cdn.example", "9.9.9.9", drip)
    subscriber.seconds = 1
    assert receives({"id": "g1", "url": "https://cdn.example/"})["result"] == "retry"
    assert drip.client_left.wait(PATIENCE)
    # 20 bytes each second.
    assert drip.sent < 200


def test_nothing_is_requested_after_the_deadline(subscriber, pollo, receives, video):
    subscriber.seconds = 0
    for generations in [[], [{"id": "g1", "url": video}]]:
        assert "the time is up" in receives(*generations)["reason"]
    assert pollo.requests == []


def test_whatever_can_be_stored_is_stored(subscriber, pollo, receives, video, monkeypatch):
    monkeypatch.setattr(subscriber.module, "READ_SECONDS", 2)
    responses = [sends(200, Content_Length=len(VIDEO) + 1), sends(404), lambda _: time.sleep(5)]
    urls = [pollo.responds(f"/{number}", response) for number, response in enumerate(responses)]
    line = receives(*[{"id": f"g{number}", "url": url} for number, url in enumerate([*urls, 5, video])])
    assert subscriber.objects() == {"t1/g4.mp4": VIDEO}
    large, expired, silent, unusable = [reason for reason in line["reason"].split("; ") if "Pollo" not in reason]
    assert (large, unusable) == ("t1/g0: a file has more than 10240000 bytes", "t1/g3: TypeError")
    assert expired.startswith("t1/g1: the host responds 404") and "Read timed out" in silent


@pytest.mark.parametrize("ids", [["g", "g"], [1, "1"], [None, "0"]], ids=str)
def test_generations_with_one_name_are_not_stored_over_each_other(receives, video, ids):
    line = receives(*[{"id": id, "url": video} for id in [*ids, "other"]])
    assert (line["result"], line["objects"]) == ("retry", ["t1/other.mp4"])
    assert "no id of its own" in line["reason"]


def test_up_to_three_redirects_are_followed(pollo, receives, video):
    hops = [pollo.responds(f"/{n}", sends(302, Location=f"/{n + 1}")) for n in range(3)]
    pollo.responds("/3", sends(302, Location=video))
    assert receives({"id": "g1", "url": hops[1]})["objects"] == ["t1/g1.bin"]
    assert receives({"id": "g2", "url": hops[0]})["reason"].startswith("t1/g2: the host responds 302")
    http = video.replace("https", "http")
    for url in [http, pollo.responds("/http", sends(302, Location=http))]:
        assert receives({"id": "g2", "url": url})["reason"].startswith("t1/g2: a URL is not https")


IPV4 = "127.0.0.1 10.1.2.3 172.16.0.1 192.168.0.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 240.0.0.1"
IPV6 = "::1 :: fe80::1%1 fec0::1 fd00:ec2::254 ff02::1 2001:db8::1 2001::1"
# IPv6 addresses that contain a private IPv4 address.
EMBEDDED = "::ffff:10.0.0.1 ::10.0.0.1 64:ff9b::a00:1 64:ff9b:1::a00:1 2002:a00:1::"


@pytest.mark.parametrize("address", f"{IPV4} {IPV6} {EMBEDDED}".split())
def test_a_private_address_receives_nothing(internet, receives, address):
    received = queue.Queue()
    internet.host("cdn.example", address, lambda connection: received.put(connection.recv(1)))
    assert "which is not public" in receives({"url": "https://cdn.example/"})["reason"]
    assert received.get(timeout=PATIENCE) == b""


@pytest.mark.parametrize("address", ["9.9.9.9", "2606:4700::1111"])
def test_the_next_address_is_tried(internet, pollo, receives, video, address):
    internet.host("cdn.example", address, pollo.serve)
    internet.names["cdn.example"].insert(0, "8.8.4.4")
    assert receives({"id": "g1", "url": video})["objects"] == ["t1/g1.mp4"]


def test_other_certificates_are_rejected(subscriber, internet, receives, video):
    internet.names["other.example"] = ["9.9.9.9"]
    assert "Hostname mismatch" in receives({"url": "https://other.example/"})["reason"]
    subscriber.load(SSL_CERT_FILE="/dev/null", SSL_CERT_DIR="/dev/null")
    assert "unable to get local issuer" in receives({"url": video})["reason"]


def test_ids_are_escaped_in_object_keys_and_api_paths(subscriber, pollo, receives, video):
    pollo.responds("/api/platform/v1/generation/%2E%2E%2Fa%3F/status", reports({"id": "../b", "url": video}))
    assert receives(taskId="../a?")["objects"] == ["%2E%2E%2Fa%3F/%2E%2E%2Fb.mp4"]
    assert subscriber.objects() == {"%2E%2E%2Fa%3F/%2E%2E%2Fb.mp4": VIDEO}


def test_each_retry_waits_twice_as_long_up_to_an_hour(receives, monkeypatch):
    waits = []
    monkeypatch.setattr(
        SQSBackend, "change_message_visibility", lambda *_, visibility_timeout, **__: waits.append(visibility_timeout)
    )
    for attempt in [1, 2, 3, 8]:
        assert receives(body="[]", attempt=attempt)["reason"] == "TypeError"
    assert waits == [60, 120, 240, 3600]


@pytest.mark.parametrize(("kind", "failed"), [("", ["t1"]), (".fifo", ["t1", "t2"])], ids=["standard", "fifo"])
def test_nothing_after_a_failure_in_a_fifo_queue_is_processed(subscriber, pollo, video, kind, failed):
    records = {}
    for task, url in {"t0": video, "t1": pollo.responds("/lost", sends(500)), "t2": video}.items():
        outcome = {"taskId": task, "generations": [{"id": "g", "url": url}]}
        records[task] = subscriber.record(json.dumps(outcome), kind=kind)
    response = subscriber.module.handler({"Records": list(records.values())}, subscriber)
    assert response == {"batchItemFailures": [{"itemIdentifier": records[task]["messageId"]} for task in failed]}
    assert set(subscriber.objects()) == {f"{task}/g.mp4" for task in records if task not in failed}


@pytest.mark.parametrize("size", [6, len(VIDEO)], ids=["one part", "two parts"])
def test_only_one_of_two_concurrent_deliveries_stores_a_file(subscriber, pollo, receives, size):
    def is_overtaken(connection):
        subscriber.s3.put_object(Bucket=subscriber.bucket, Key="t1/g1.bin", Body=b"first")
        connection.sendall(sends(200, VIDEO[:size]))

    url = pollo.responds("/video", is_overtaken)
    assert "(PreconditionFailed)" in receives({"id": "g1", "url": url})["reason"]
    assert receives({"id": "g1", "url": url})["present"] == ["t1/g1.bin"]
    assert subscriber.objects() == {"t1/g1.bin": b"first"}


def test_a_download_waits_for_the_upload(subscriber, pollo, receives, monkeypatch):
    video, upload, sent = Repeats(chunked(b"8000000\r\n"), bytes(65536)), S3Backend.upload_part, []

    def uploads(*part, **more):
        time.sleep(0.3)
        sent.append(video.sent)
        return upload(*part, **more)

    monkeypatch.setattr(S3Backend, "upload_part", uploads)
    subscriber.load(MAX_BYTES=str(6 * PART))
    receives({"id": "g1", "url": pollo.responds("/video", video)})
    # The buffers of the connection have less than two parts.
    assert [part for part, bytes in enumerate(sent) if bytes > (part + 3) * PART] == []
    assert len(sent) > 3
