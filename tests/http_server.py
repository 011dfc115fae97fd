"""A fake HTTP server for the function, SNS or another service, with responses that the test sets."""

import contextlib
import http.server
import socket
import struct
import sys
import threading
from dataclasses import dataclass, field

from local.emulators import ADDRESS


@dataclass
class Request:
    path: str
    headers: dict
    body: bytes
    connection: socket.socket


@dataclass
class Server:
    url: str
    # Returns the status and the body of the response, or None to close the connection without a response.
    respond: object
    requests: list = field(default_factory=list)
    connections: list = field(default_factory=list)
    # Released when a connection is closed.
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


def reset_when_closed(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.contextmanager
def serving(respond, tls=None):
    """Serves on a free port, over TLS if `tls` is a context."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Sends head and body together. If separate, the body waits for the acknowledgement of the head.
        wbufsize = -1

        def setup(self):
            super().setup()
            server.connections.append(self.connection)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Request(self.path, dict(self.headers), body, self.connection)
            server.requests.append(request)
            response = server.respond(request)
            if response is None:
                self.close_connection = True
                return
            status, text = response
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    class HttpServer(http.server.ThreadingHTTPServer):
        def shutdown_request(self, connection):
            # Skips the shutdown of the base class, which prevents a reset.
            self.close_request(connection)
            server.closed.release()

        def handle_error(self, *connection):
            # The client was killed or has timed out.
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(*connection)

    with HttpServer((ADDRESS, 0), Handler) as listening:
        if tls:
            listening.socket = tls.wrap_socket(listening.socket, server_side=True)
        server = Server(f"http{'s' if tls else ''}://{ADDRESS}:{listening.server_port}/", respond)
        threading.Thread(target=listening.serve_forever, args=[0.01], daemon=True).start()
        yield server
        listening.shutdown()
