"""A fake of Pollo's API and of the hosts of its videos, over TLS."""

import contextlib
import http.server
import json
import ssl
import threading
import time

from local.emulators import ADDRESS


class Pollo:
    """Has responses for each path: one for each request, and the last one for all further requests."""

    def __init__(self, port):
        self.url, self.responses, self.requests, self.keys = f"https://localhost:{port}", {}, [], []

    def responds(self, path, *responses):
        self.responses[path.partition("?")[0]] = list(responses)
        return self.url + path

    def respond(self, handler):
        self.requests.append(handler.path)
        self.keys.append(handler.headers["x-api-key"])
        responses = self.responses[handler.path.partition("?")[0]]
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


def reports(*generations, wrapped=False):
    body = {"taskId": "t1", "credit": 1, "generations": generations}
    return sends(200, json.dumps({"code": "SUCCESS", "message": "", "data": body} if wrapped else body).encode())


def drips(handler):
    """Sends a byte now and then, and never ends the response."""
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.05)


@contextlib.contextmanager
def pollo(certificate):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            double.respond(self)

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
