"""A fake of Pollo's API and of the hosts of its files, over TLS."""

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
        self.url, self.port, self.responses, self.requests = f"https://localhost:{port}", port, {}, []

    def responds(self, path, *responses):
        self.responses[path.partition("?")[0]] = list(responses)
        return self.url + path

    def respond(self, request):
        self.requests.append((request.headers["Host"] + request.path, request.headers["x-api-key"]))
        assert request.headers["User-Agent"] == "pollo-webhook"
        responses = self.responses.get(request.path.partition("?")[0], [sends(404, b"{}")])
        (responses.pop(0) if len(responses) > 1 else responses[0])(request)


def sends(status, body=b"", **headers):
    """A response. `headers` can replace its Content-Length, and None omits it."""

    def respond(request):
        request.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                request.send_header(name.replace("_", "-"), str(value))
        request.end_headers()
        request.wfile.write(body)

    return respond


def chunked(body):
    return sends(200, body, Content_Length=None, Transfer_Encoding="chunked")


def reports(*generations, wrapped=False):
    body = {"taskId": "t1", "credit": 1, "generations": generations}
    return sends(200, json.dumps({"code": "SUCCESS", "message": "", "data": body} if wrapped else body).encode())


class Repeats:
    """Sends `start`, and then `part` until the client leaves, at most 64 MiB or for a minute."""

    def __init__(self, start, part, pause=0):
        self.start, self.part, self.pause, self.sent, self.client_left = start, part, pause, 0, threading.Event()

    def __call__(self, request):
        output = getattr(request, "wfile", request)
        try:
            output.write(self.start)
            for _ in range(1200 if self.pause else 2**26 // len(self.part)):
                self.sent += output.write(self.part)
                time.sleep(self.pause)
        except OSError:
            self.client_left.set()


@contextlib.contextmanager
def pollo(certificate):
    class Request(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            double.respond(self)
            self.close_connection = True

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with http.server.ThreadingHTTPServer((ADDRESS, 0), Request) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        double = Pollo(server.server_port)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield double
        server.shutdown()
