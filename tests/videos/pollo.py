"""A fake of Pollo's API and of the hosts of its files, over TLS."""

import contextlib
import http.server
import json
import ssl
import threading
import time

from local.emulators import ADDRESS, PATIENCE


class Pollo:
    """Has responses for each path: one for each request, and the last one for all further requests."""

    def __init__(self, port):
        self.url, self.port, self.responses = f"https://localhost:{port}", port, {}
        # Host and path of each request, and its headers.
        self.requests, self.headers = [], []

    def responds(self, path, *responses):
        self.responses[path.partition("?")[0]] = list(responses)
        return self.url + path

    def respond(self, handler):
        self.requests.append(handler.headers["Host"] + handler.path)
        self.headers.append(handler.headers)
        responses = self.responses.get(handler.path.partition("?")[0]) or [sends(404, b'{"code":"NOT_FOUND"}')]
        (responses.pop(0) if len(responses) > 1 else responses[0])(handler)


def sends(status, body=b"", **headers):
    """A response. `headers` can replace its Content-Length, and None omits it."""
    headers = {"Content_Length": len(body), **headers}

    def respond(handler):
        handler.send_response(status)
        for name, value in headers.items():
            if value is not None:
                handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def chunked(body):
    return sends(200, body, Content_Length=None, Transfer_Encoding="chunked")


def reports(*generations, wrapped=False):
    body = {"taskId": "t1", "credit": 1, "generations": generations}
    return sends(200, json.dumps({"code": "SUCCESS", "message": "", "data": body} if wrapped else body).encode())


class Repeats:
    """Sends `start`, and then `part` until the client leaves. Counts the sent bytes."""

    def __init__(self, start, part, pause=0):
        self.start, self.part, self.pause = start, part, pause
        self.sent, self.left = 0, threading.Event()

    def __call__(self, handler):
        end = time.monotonic() + PATIENCE
        try:
            handler.wfile.write(self.start)
            while time.monotonic() < end:
                handler.wfile.write(self.part)
                self.sent += len(self.part)
                time.sleep(self.pause)
        except OSError:
            self.left.set()


@contextlib.contextmanager
def pollo(certificate):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            double.respond(self)
            self.close_connection = True

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with http.server.ThreadingHTTPServer((ADDRESS, 0), Handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        double = Pollo(server.server_port)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield double
        server.shutdown()
