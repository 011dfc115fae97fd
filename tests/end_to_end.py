"""The compiled function under the Lambda emulator, with an emulator of SNS and SQS behind it: `make test`."""

import base64
import contextlib
import http.server
import json
import os
import re
import shlex
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

from local import emulators
from local.emulators import KEY, PATIENCE, TOOLS, Broken
from operate.pollo import NOBODYS_KEY, Webhook, key_bytes
from tests.certificate import self_signed_certificate
from tests.leaks import leaks

CHECKOUT = Path(__file__).resolve().parent.parent

SUCCESS = b'{"taskId":"cm9ap1d4e0001","status":"succeed"}'
FAILURE = b'{"taskId":"cm9ap1d4e0001","status":"failed"}'


def setUpModule():
    global binary, sns
    binary = emulators.binary()
    emulator = emulators.sns()
    sns = emulator.__enter__()
    unittest.addModuleCleanup(emulator.__exit__, None, None, None)


@contextlib.contextmanager
def bare_sns(context=None):
    """An SNS that accepts everything, over TLS if there is a `context`. Gives its address and its connections."""
    connections = []

    class Sns(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            self.closed = threading.Event()
            connections.append(self)

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            answer = b"<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def shutdown_request(self, request):
            # Without the usual shutdown, which would end a connection that is to be reset.
            self.close_request(request)
            for connection in connections:
                if connection.connection is request:
                    connection.closed.set()

        def handle_error(self, *_):
            pass  # A client that does not trust it hangs up.

    with Server(("127.0.0.1", 0), Sns) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", connections
        server.shutdown()


@contextlib.contextmanager
def presenting(chain):
    """A server that presents these certificates, and as many bytes instead of a signature: as much of TLS 1.2 as a client
    reads before it judges them. Gives its address."""

    def vector(length, *parts):
        content = b"".join(parts)
        return len(content).to_bytes(length) + content

    def message(kind, *parts):
        return bytes([kind]) + vector(3, *parts)

    random, tls_1_2 = bytes(32), b"\3\3"
    ecdhe_rsa_aes_128_gcm, x25519, rsa_pss_sha256 = b"\xc0\x2f", b"\0\x1d", b"\x08\x04"
    flight = [
        message(2, tls_1_2, random, vector(1), ecdhe_rsa_aes_128_gcm, b"\0"),
        message(11, vector(3, *(vector(3, certificate) for certificate in chain))),
        message(12, b"\3", x25519, vector(1, bytes([9] * 32)), rsa_pss_sha256, vector(2, bytes(256))),
        message(14),
    ]

    class Hello(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(65_536)
            for part in flight:
                self.request.sendall(b"\x16" + tls_1_2 + vector(2, part))
            self.request.recv(65_536)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def metrics():
    """The names of the template's metrics and the patterns of the lines that each counts."""
    filters = [
        r["Properties"] for r in emulators.template()["Resources"].values() if r["Type"] == "AWS::Logs::MetricFilter"
    ]
    return {filter["MetricTransformations"][0]["MetricName"]: filter["FilterPattern"] for filter in filters}


def counts(pattern, line):
    """Whether CloudWatch would count `line`: as much of its filter pattern syntax as the template makes use of."""

    def holds(term):
        field, operator, operand = term.groups()
        value = line.get(field)
        if operator == "=":
            return str(value == json.loads(operand))
        return str(isinstance(value, int | float) and value >= float(operand))

    expression = re.sub(r'\$\.(\w+) (?:(=)(?= ")|>=) ("\w+"|\d+)', holds, pattern.strip().strip("{}"))
    expression = expression.replace("||", "or")
    if not re.fullmatch(r"(True|False|or| )+", expression):
        raise AssertionError(f"a part of this pattern is not understood here: {pattern}")
    return eval(expression)


class EndToEnd(unittest.TestCase):
    def setUp(self):
        # A topic and a queue for each test, named after it.
        self.name = self.id().rpartition(".test_")[2][:40]

    def start(self, **environment):
        environment = {
            "WEBHOOK_TOLERANCE_SECONDS": "300",
            "AWS_SECRET_ACCESS_KEY": "secret/of+the+role",
            "AWS_SESSION_TOKEN": "token/of+the+role",
            **environment,
        }
        started = emulators.function(binary, sns, **environment)
        self.function = started.__enter__()
        # Of each function of each test, once it has ended.
        self.addCleanup(self.assert_nothing_leaked, self.function)
        self.addCleanup(started.__exit__, None, None, None)
        return self.function

    def assert_nothing_leaked(self, function):
        """In all that the function has written and answered, there is no key and no signature."""
        for text in function.written:
            self.assertEqual(leaks(text, function.environment), [], text)

    def start_with_queue(self, suffix="", **environment):
        topic = sns.topic(self.name + suffix)
        self.queue = sns.subscribed_queue(topic, self.name + suffix)
        return self.start(SNS_TOPIC_ARN=topic, **environment)

    def send(self, webhook):
        """Sends `webhook`. Gives the answer's status, its body and the line in the log."""
        status, headers, body = self.function.send(webhook)
        line = self.only_line()
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(line["httpStatus"], status)
        return status, json.loads(body), line

    def only_line(self):
        """The one line that a request has left."""
        line = json.loads(self.function.log())
        self.assertEqual(self.function.log_lines(), [])
        self.assertRegex(line["requestId"], "^[0-9a-f-]{36}$")
        return line

    def invoke(self, file):
        """Hands over an event as the README does. Gives the function's response."""
        command = [
            *[TOOLS / "cargo-lambda", "lambda", "invoke", "-A", "127.0.0.1", "-P", str(self.function.emulator.port)],
            *["pollo-webhook", "--data-file", file],
        ]
        invoked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(invoked.returncode, 0, invoked.stderr)
        self.function.written.append(invoked.stdout)
        return json.loads(invoked.stdout)

    def test_a_webhook_comes_out_of_the_queues_whose_filters_it_passes(self):
        topic = sns.topic(self.name)
        everything = sns.subscribed_queue(topic, "everything")
        failed = sns.subscribed_queue(topic, "failed", FilterPolicy='{"status":["failed"]}')
        videos = sns.subscribed_queue(
            topic, "videos", FilterPolicyScope="MessageBody", FilterPolicy='{"generations":{"url":[{"exists":true}]}}'
        )
        self.start(SNS_TOPIC_ARN=topic)
        video = b'{"taskId":"t 1","status":"succeed","generations":[{"url":"https://videos.example.com/1.mp4"}]}'
        for body, passed in [
            (SUCCESS, [everything]),
            (FAILURE, [everything, failed]),
            (video, [everything, videos]),
        ]:
            webhook = Webhook(body, KEY)
            status, answer, line = self.send(webhook)
            self.assertEqual((status, line["result"]), (200, "published"))
            self.assertEqual(answer, {"messageId": line["messageId"]})
            outcome = json.loads(body)
            attributes = {
                "status": outcome["status"],
                "taskId": outcome["taskId"],
                "webhookId": webhook.id,
                "webhookTimestamp": webhook.timestamp,
            }
            for queue in [everything, failed, videos]:
                expected = [(body.decode(), attributes)] if queue in passed else []
                self.assertEqual(queue.take(), expected, queue.name)

    def test_a_body_arrives_byte_for_byte_as_text_and_as_base64(self):
        self.start_with_queue()
        body = '{ "status":\t"succeed",\r\n "taskId": "é \\u00e9 😀", "n": 1.50e+1 }\n'.encode()
        for content_type in ["application/json", "text/plain", "application/octet-stream"]:
            status, _, _ = self.send(Webhook(body, KEY, content_type=content_type))
            self.assertEqual(status, 200)
            self.assertEqual([body for body, _ in self.queue.take()], [body.decode()])

    def test_a_fifo_topic_takes_each_outcome_once(self):
        self.start_with_queue(suffix=".fifo")
        for body in [SUCCESS, SUCCESS, FAILURE, SUCCESS]:
            self.assertEqual(self.send(Webhook(body, KEY))[0], 200)
        self.assertEqual([body for body, _ in self.queue.take()], [SUCCESS.decode(), FAILURE.decode()])

    def test_what_is_not_pollos_is_refused_and_not_published(self):
        self.start_with_queue()
        now = int(time.time())
        for webhook, expected in [
            (Webhook(SUCCESS, NOBODYS_KEY), (401, "signature_mismatch")),
            (Webhook(SUCCESS, KEY, timestamp=str(now - 600)), (401, "timestamp_outside_tolerance")),
            (Webhook(SUCCESS, KEY, timestamp=str(now + 600)), (401, "timestamp_outside_tolerance")),
            (Webhook(SUCCESS, KEY, timestamp="soon"), (400, "timestamp_unreadable")),
            (Webhook(SUCCESS, KEY, id=""), (400, "header_missing")),
            (Webhook(b"[]", KEY), (422, "not_an_outcome")),
            (Webhook(SUCCESS + b" " * 1_048_576, KEY), (413, "too_large")),
        ]:
            status, answer, line = self.send(webhook)
            self.assertEqual((status, line["result"]), expected)
            self.assertEqual(list(answer), ["error"])
        status, headers, _ = self.function.request("GET")
        self.assertEqual((status, headers["Allow"]), (405, "POST"))
        self.assertEqual(self.queue.take(), [])

    def test_a_publish_that_fails_is_answered_503(self):
        with self.subTest("there is no such topic"):
            self.start(SNS_TOPIC_ARN="arn:aws:sns:us-east-1:123456789012:gone")
            status, headers, _ = self.function.send(Webhook(SUCCESS, KEY))
            self.assertEqual((status, headers["Retry-After"]), (503, "30"))
            line = json.loads(self.function.log())
            self.assertEqual((line["level"], line["result"], line["code"]), ("ERROR", "not_published", "NotFound"))
        with self.subTest("there is no SNS"):
            self.name += "_2"
            with socket.socket() as nobody:
                # Bound, and not listening: nobody else gets the port, and a connection is refused.
                nobody.bind(("127.0.0.1", 0))
                self.start_with_queue(AWS_ENDPOINT_URL_SNS=f"http://127.0.0.1:{nobody.getsockname()[1]}")
                status, answer, line = self.send(Webhook(SUCCESS, KEY))
            self.assertEqual((status, line["result"]), (503, "not_published"))
            self.assertEqual(list(answer), ["error"])
            self.assertEqual(self.queue.take(), [])

    def test_each_sample_event_gets_the_expected_response(self):
        self.start_with_queue(WEBHOOK_TOLERANCE_SECONDS="0")
        for file, expected in json.loads((CHECKOUT / "events/expected.json").read_text()).items():
            status = expected.get("statusWithoutTolerance", expected["status"])
            self.assertEqual(self.invoke(CHECKOUT / "events" / file)["statusCode"], status, file)
            self.assertEqual(json.loads(self.function.log())["httpStatus"], status, file)
            self.assertEqual(len(self.queue.take()), 1 if status == 200 else 0, file)

    def test_each_line_is_counted_by_the_metrics_that_are_meant_for_it(self):
        self.start_with_queue()
        now = int(time.time())
        unreadable = json.loads((CHECKOUT / "events/succeed.json").read_text())
        unreadable["headers"]["x-webhook-id"] = "\ufffe"
        # What SNS can take, without room for the attributes.
        too_large = SUCCESS.ljust(1_048_576)
        lines = []
        for send in [
            lambda: self.function.send(Webhook(SUCCESS, KEY)),
            lambda: self.function.send(Webhook(SUCCESS, KEY, id="")),
            lambda: self.function.invoke(json.dumps(unreadable)),
            lambda: self.function.send(Webhook(SUCCESS, KEY, timestamp="soon")),
            lambda: self.function.send(Webhook(SUCCESS, NOBODYS_KEY)),
            lambda: self.function.send(Webhook(SUCCESS, KEY, timestamp=str(now - 600))),
            lambda: self.function.request("GET"),
            lambda: self.function.send(Webhook(too_large, NOBODYS_KEY)),
            lambda: self.function.send(Webhook(too_large, KEY)),
            lambda: self.function.send(Webhook(b"[]", KEY)),
        ]:
            send()
            lines.append(json.loads(self.function.log()))
        self.start(SNS_TOPIC_ARN="arn:aws:sns:us-east-1:123456789012:gone").send(Webhook(SUCCESS, KEY))
        lines.append(json.loads(self.function.log()))

        patterns = metrics()
        counted = [
            (line["result"], sorted(name for name, pattern in patterns.items() if counts(pattern, line)))
            for line in lines
        ]
        self.assertEqual(
            counted,
            [
                ("published", ["Published", "SnsMilliseconds"]),
                ("header_missing", ["Unverified"]),
                ("header_unreadable", ["Unverified"]),
                ("timestamp_unreadable", ["AuthenticRejected"]),
                ("signature_mismatch", ["Unverified"]),
                ("timestamp_outside_tolerance", ["AuthenticRejected"]),
                ("method_not_allowed", []),
                ("signature_mismatch", ["Unverified"]),
                ("too_large", ["AuthenticRejected"]),
                ("not_an_outcome", ["AuthenticRejected"]),
                ("not_published", ["NotPublished", "SnsMilliseconds"]),
            ],
        )
        # What each metric looks at is really there: without it, the line is not counted.
        for name, pattern in patterns.items():
            for field in re.findall(r"\$\.(\w+)", pattern):
                seen = [line for line in lines if counts(pattern, line) and field in line]
                self.assertNotEqual(seen, [], f"{field} of {name} is in no line")
                others = [{key: value for key, value in line.items() if key != field} for line in seen]
                self.assertTrue(any(not counts(pattern, line) for line in others), f"{name} does not look at {field}")

    def test_the_smoke_test_tells_a_function_that_works_from_one_that_does_not(self):
        self.start_with_queue()
        for key, expected, words in [
            (KEY, 0, ["Signed with key 1: 200", "Forged: 401", "The function works."]),
            (f"{KEY},{NOBODYS_KEY}", 1, ["Signed with key 2: 401", "The key is not one of the function's"]),
        ]:
            tried = subprocess.run(
                [sys.executable, "-m", "operate.smoke"],
                cwd=CHECKOUT,
                env={**os.environ, "WEBHOOK_SECRET": key, "URL": self.function.url, "STACK": "", "YES": "1"},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            self.assertEqual(tried.returncode, expected, tried)
            for word in words:
                self.assertIn(word, tried.stdout + tried.stderr)
        self.assertEqual([json.loads(body)["status"] for body, _ in self.queue.take()], ["succeed", "succeed"])

    def test_the_curl_command_of_the_example_sign_is_taken(self):
        self.start_with_queue()
        sign = ["cargo", "run", "--quiet", "--locked", "--example", "sign", "--", "curl", self.function.url]
        for options, expected in [([], 200), (["--status", "failed"], 200), (["--tampered"], 401), (["--stale"], 401)]:
            environment = {**os.environ, "WEBHOOK_SECRET": KEY}
            command = subprocess.check_output([*sign, *options], cwd=CHECKOUT, env=environment, text=True)
            words = shlex.split(command)
            self.assertEqual(words[:4], ["curl", "-sS", "-i", self.function.url])
            headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
            body = words[words.index("--data-raw") + 1].encode()
            self.assertEqual(self.function.request("POST", body, headers)[0], expected, options)
            self.assertEqual(json.loads(self.function.log())["httpStatus"], expected)
            self.assertEqual(len(self.queue.take()), 1 if expected == 200 else 0)

    def test_a_broken_setting_stops_the_start_with_one_line_that_names_it(self):
        for variable, value in [
            ("WEBHOOK_SECRET", ""),
            ("WEBHOOK_SECRET", "p4ss word%"),
            ("WEBHOOK_SECRET", "changeme"),
            ("SNS_TOPIC_ARN", "p4ss word%"),
            ("WEBHOOK_TOLERANCE_SECONDS", "p4ss word%"),
            ("AWS_ENDPOINT_URL_SNS", "p4ss word%"),
            ("AWS_ENDPOINT_URL", "p4ss word%"),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("SSL_CERT_FILE", "/p4ss word%"),
        ]:
            with self.subTest(variable), self.assertRaisesRegex(Broken, variable):
                self.start(**{variable: value}).request("GET")
            self.assertNotEqual(self.function.process.wait(), 0)
            environment = {**self.function.environment, variable: value}
            ended = subprocess.run([binary], env=environment, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(ended.stderr, "")
            [line] = [json.loads(line) for line in ended.stdout.splitlines()]
            self.assertEqual((line["level"], line["result"]), ("ERROR", "not_configured"))
            self.assertRegex(line["detail"], rf"^{variable}: .* \(expected .*\)$")
            self.assertNotIn("p4ss", ended.stdout)

    def test_a_panic_on_one_event_ends_neither_the_process_nor_in_silence(self):
        self.start_with_queue()
        event = json.loads((CHECKOUT / "events/base64-body.json").read_text())
        event["body"] = "p4ss word%"  # Not Base64: a dependency panics on it, before any code of ours.
        status, _, body = self.function.invoke(json.dumps(event))
        self.assertNotEqual(status, 200)
        self.assertNotIn("p4ss", body)
        text = self.function.log()
        line = json.loads(text)
        self.assertEqual((line["level"], line["result"]), ("ERROR", "panic"))
        self.assertRegex(line["location"], r"\.rs:\d+:\d+$")
        self.assertRegex(line["requestId"], "^[0-9a-f-]{36}$")
        self.assertNotIn("p4ss", text)
        self.assertEqual(self.send(Webhook(SUCCESS, KEY))[0], 200)
        self.assertIsNone(self.function.process.poll())

    def test_an_event_that_is_none_leaves_one_line_that_does_not_repeat_it(self):
        self.start_with_queue()
        broken = json.loads((CHECKOUT / "events/succeed.json").read_text())
        broken["headers"]["x-webhook-id"] = "p4ss\nword"
        for event in [broken, {}, "p4ss"]:
            status, _, body = self.function.invoke(json.dumps(event))
            self.assertNotEqual(status, 200)
            self.assertNotIn("p4ss", body)
            text = self.function.log()
            self.assertNotIn("p4ss", text)
            self.assertEqual(json.loads(text)["level"], "ERROR")
        self.assertEqual(self.send(Webhook(SUCCESS, KEY))[0], 200)
        self.assertEqual(len(self.queue.take()), 1)

    def test_a_key_or_a_signature_that_is_written_would_be_seen(self):
        signature = Webhook(SUCCESS, KEY).headers()["X-Webhook-Signature"]
        environment = {"WEBHOOK_SECRET": f"{NOBODYS_KEY},{KEY}", "AWS_SECRET_ACCESS_KEY": "secret/of+the+role"}
        raw = key_bytes(KEY)
        for leak in [KEY, raw.hex(), str(list(raw)), repr(raw), signature, "secret/of+the+role", "c3e1f0a9" * 8]:
            self.assertNotEqual(leaks(f'{{"result":"published","detail":"{leak}"}}', environment), [], leak)
        self.assertEqual(leaks('{"result":"published","webhookId":"msg_1"}', environment), [])

    @unittest.skipUnless(sys.platform == "linux", "only Linux shows a process's memory as a file")
    def test_its_memory_holds_a_key_in_its_environment_alone(self):
        # Of several lengths, because a shorter one is overwritten sooner where it was left behind.
        for length in [32, 64, 300]:
            key = base64.b64encode(os.urandom(length)).decode()
            self.start(WEBHOOK_SECRET=key, SNS_TOPIC_ARN=sns.topic(self.name))
            self.assertEqual(self.send(Webhook(SUCCESS, key))[0], 200)
            # The environment lies on the stack, where Linux puts it. An allocator writes over the start of what is
            # freed, so that a piece from the end is looked for.
            self.assertEqual(self.memory_with(key.encode()[-30:-8]), ["[stack]"], length)
            self.assertEqual(self.memory_with(key_bytes(key)[-20:-4]), [], length)

    def memory_with(self, piece):
        """The parts of the function's memory that hold `piece`."""
        found = []
        process = f"/proc/{self.function.process.pid}"
        with open(f"{process}/maps") as maps, open(f"{process}/mem", "rb") as memory:
            for line in maps:
                addresses, access, _, _, _, *name = line.split()
                # The kernel's own pages cannot be read, and hold nothing of the process.
                if "r" in access and not "".join(name).startswith(("[vvar", "[vsyscall")):
                    start, end = [int(address, 16) for address in addresses.split("-")]
                    memory.seek(start)
                    found += ["".join(name)] * memory.read(end - start).count(piece)
        return found

    def test_one_connection_to_sns_serves_all_webhooks(self):
        with bare_sns() as (address, connections):
            self.start(AWS_ENDPOINT_URL_SNS=f"http://{address}")
            for _ in range(3):
                self.assertEqual(self.send(Webhook(SUCCESS, KEY))[0], 200)
        self.assertEqual(len(connections), 1)

    def test_a_connection_that_died_while_the_function_was_frozen_costs_no_webhook(self):
        """Lambda freezes a function between events, and thaws it minutes later."""
        for how in ["closed", "reset"]:
            with self.subTest(how), bare_sns() as (address, connections):
                self.start(AWS_ENDPOINT_URL_SNS=f"http://{address}")
                self.assertEqual(self.send(Webhook(SUCCESS, KEY))[0], 200)
                self.function.process.send_signal(signal.SIGSTOP)
                dead = connections[0].connection
                if how == "reset":
                    dead.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Ends the thread that reads it, which closes it.
                dead.shutdown(socket.SHUT_RD)
                connections[0].closed.wait(PATIENCE)
                self.function.process.send_signal(signal.SIGCONT)
                self.assertEqual(self.send(Webhook(SUCCESS, KEY))[0], 200)
                self.assertEqual(len(connections), 2)

    @unittest.skipUnless(sys.platform == "linux", "libfaketime is looked for where Linux has it")
    def test_it_accepts_amazons_chains_and_no_others_that_the_system_trusts(self):
        """The chains that aws.amazon.com and letsencrypt.org had in August 2026, from a server that has not their keys. TLS
        verifies the chain first and then the name, so the name is what fails where the chain is accepted."""
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        self.assertNotEqual(libraries, [], "libfaketime is missing: apt-get install faketime")
        then = {"LD_PRELOAD": str(libraries[0]), "FAKETIME": "@2026-08-12 12:00:00", "DONT_FAKE_MONOTONIC": "1"}
        for owner, detail in [("amazon", "not valid for name"), ("lets-encrypt", "UnknownIssuer")]:
            pem = (CHECKOUT / f"tests/vectors/chains/{owner}.pem").read_text()
            chain = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", pem, re.DOTALL)
            with presenting([ssl.PEM_cert_to_DER_cert(certificate) for certificate in chain]) as address:
                self.start(AWS_ENDPOINT_URL_SNS=f"https://{address}", WEBHOOK_TOLERANCE_SECONDS="0", **then)
                status, _, line = self.send(Webhook(SUCCESS, KEY))
            self.assertEqual((status, line["code"]), (503, "DispatchFailure"))
            self.assertIn(detail, line["detail"], owner)

    def test_it_trusts_amazons_roots_alone_unless_others_are_named(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        trusted, key = self_signed_certificate(Path(folder.name))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(trusted, key)
        with bare_sns(context) as (address, _):
            self.start(AWS_ENDPOINT_URL_SNS=f"https://{address}")
            status, _, line = self.send(Webhook(SUCCESS, KEY))
            self.assertEqual((status, line["code"]), (503, "DispatchFailure"))
            self.assertIn("certificate", line["detail"])
            for variable, named in [("SSL_CERT_FILE", trusted), ("SSL_CERT_DIR", folder.name)]:
                self.start(AWS_ENDPOINT_URL_SNS=f"https://{address}", **{variable: str(named)})
                self.assertEqual(self.send(Webhook(SUCCESS, KEY))[0], 200, variable)

    def test_cargo_lambda_reads_the_local_settings(self):
        port = emulators.free_port()
        with emulators.emulator(
            "Lambda", port, [*emulators.LAMBDA, "--env-file", emulators.LOCAL_ENV, "-P", port]
        ) as part:
            part.check()


if __name__ == "__main__":
    unittest.main(verbosity=2)
