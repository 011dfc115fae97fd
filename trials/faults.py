"""An SNS that is slow and fails: a proxy between the function and the emulator of SNS."""

import contextlib
import enum
import http.client
import http.server
import os
import socket
import struct
import sys
import threading
import time
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

from local.emulators import ADDRESS, PATIENCE

# Seconds that each call takes longer than the emulator needs.
LATENCY = 0.01


class Fault(enum.Enum):
    REFUSED = "answered 503, and not taken"
    RESET = "the connection is reset, and it is not taken"
    HANGS = "never answered, and not taken"
    ANSWERED_500 = "taken, and answered 500"
    UNANSWERED = "taken, and the connection is closed without an answer"


# The faults in which SNS has the message, and the function does not know.
TAKEN = [Fault.ANSWERED_500, Fault.UNANSWERED]


@contextlib.contextmanager
def proxy(sns, policy, taken=lambda message: None):
    """A proxy in front of `sns`. `policy` gives the fault of a call, or None, by the bytes of its message, before
    anything is forwarded; `taken` is told them once SNS has the message, before the function hears of it."""
    port = urlsplit(sns.url).port

    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body leave together: apart, the second waits for the receipt of the first.
        wbufsize = -1

        def do_POST(self):
            call = self.rfile.read(int(self.headers["Content-Length"]))
            message = parse_qs(call.decode())["Message"][0].encode()
            time.sleep(LATENCY)
            fault = policy(message)
            if fault is Fault.REFUSED:
                self.answer(503, b"")
            elif fault is Fault.RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
                self.close_connection = True
            elif fault is Fault.HANGS:
                # Until the function hangs up.
                self.connection.recv(1)
                self.close_connection = True
            else:
                status, answer = self.forward(call)
                taken(message)
                if fault is Fault.ANSWERED_500:
                    self.answer(500, b"")
                elif fault is Fault.UNANSWERED:
                    self.close_connection = True
                else:
                    self.answer(status, answer)

        def forward(self, call):
            connection = http.client.HTTPConnection(ADDRESS, port, timeout=PATIENCE)
            with contextlib.closing(connection):
                connection.request("POST", self.path, call, dict(self.headers))
                answer = connection.getresponse()
                return answer.status, answer.read()

        def answer(self, status, body):
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *call):
            # A function that was killed, or that waits no longer, has hung up.
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(*call)

    with Server((ADDRESS, 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield SimpleNamespace(url=f"http://{ADDRESS}:{server.server_port}")
        server.shutdown()
