"""Runs a function between Lambda's Runtime API and SNS over TLS, both played by this program on one thread."""

import contextlib
import json
import os
import re
import selectors
import socket
import ssl
import subprocess
import time
from pathlib import Path

import trustme

CHECKOUT = Path(__file__).parent.parent
ADDRESS = "127.0.0.1"
PATIENCE_SECONDS = 60

# These make a function of each language trust the certificate of this SNS. The shipped function runs without them.
TRUST = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")

PUBLISHED = b"<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"


def event(name):
    return json.loads((CHECKOUT / f"events/{name}.json").read_text())


def settings():
    """The variables with which a function accepts the sample events."""
    return dict(re.findall(r'^(\w+)="?([^"\n]+)', (CHECKOUT / "events/local.env").read_text(), re.MULTILINE))


def output(*command):
    return subprocess.check_output(command, text=True).strip()


class Function(contextlib.ExitStack):
    """A running function. The end of the `with` block ends it."""

    def __init__(self, *command, trust=TRUST, **variables):
        super().__init__()
        self.selector = self.enter_context(selectors.DefaultSelector())
        self.api, self.sns = [self.enter_context(socket.create_server((ADDRESS, 0))) for _ in range(2)]
        for listening in (self.api, self.sns):
            self.selector.register(listening, selectors.EVENT_READ)
        authority = trustme.CA()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(ADDRESS).configure_cert(self.tls)
        certificate = self.enter_context(authority.cert_pem.tempfile())
        environment = settings() | dict.fromkeys(trust, certificate) | variables
        environment |= {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": f"{ADDRESS}:{self.api.getsockname()[1]}",
            "AWS_ENDPOINT_URL_SNS": f"https://{ADDRESS}:{self.sns.getsockname()[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": "pollo-webhook",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_SESSION_TOKEN": "local",
        }
        self.started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, close_fds=False)
        self.process = self.enter_context(process)
        self.callback(process.kill)
        self.sns_connections = 0
        # The connection on which the function waits for an event.
        self.waiting = None

    def wait_until_ready(self):
        if not self.waiting:
            self.waiting, _ = self.next_call("/invocation/next")

    def invoke(self, event, status, **headers):
        """Sends `event` once the function asks for one. Raises unless the function responds with `status`."""
        headers |= {"Lambda-Runtime-Aws-Request-Id": "5b3f4f0e-0000-4000-8000-000000000000"}
        headers |= {"Lambda-Runtime-Deadline-Ms": "9999999999999"}
        self.wait_until_ready()
        self.waiting.sendall(response(json.dumps(event).encode(), headers))
        self.waiting = None
        connection, body = self.next_call("/response")
        connection.sendall(response(b"", {}))
        if json.loads(body)["statusCode"] != status:
            raise SystemExit(f"Instead of a response with status {status}: {body}")

    def next_call(self, expected):
        """Serves SNS until the function calls the Runtime API. Returns the connection and the body."""
        while ready := self.selector.select(PATIENCE_SECONDS):
            for key, _ in ready:
                if key.fileobj in (self.api, self.sns):
                    self.accept(key.fileobj)
                elif not (request := read_request(key.data)):
                    self.selector.unregister(key.fileobj)
                elif isinstance(key.fileobj, ssl.SSLSocket):
                    key.fileobj.sendall(response(PUBLISHED, {}))
                elif request[0].endswith(expected):
                    return key.fileobj, request[1]
                else:
                    raise SystemExit(f"Instead of a call of {expected}: {request}")
        ended = self.process.poll()
        raise SystemExit(f"No call of the function for {PATIENCE_SECONDS} seconds. Its exit status: {ended}")

    def accept(self, listening):
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        if listening is self.sns:
            self.sns_connections += 1
            connection = self.tls.wrap_socket(connection, server_side=True)
        self.enter_context(connection)
        self.selector.register(connection, selectors.EVENT_READ, connection.makefile("rb"))

    def memory(self, name):
        """In KiB: `VmHWM` is the peak, `RssAnon` the current memory without pages of files."""
        return int(re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def page_faults(self):
        """Those for which Linux read no file: the tenth field, after a name that can contain blanks."""
        return int(Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()[7])

    def processor_microseconds(self):
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1000


def read_request(file):
    """The path and the body of the next request, or None if the connection was closed."""
    first, length = file.readline(), 0
    while line := file.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return (first.split()[1].decode(), file.read(length)) if first else None


def response(body, headers):
    lines = ["HTTP/1.1 200 OK", *map(": ".join, headers.items()), f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body
