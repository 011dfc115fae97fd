"""An HTTP server that records each request and responds as it is told."""

import contextlib
import http.server
import threading
from dataclasses import dataclass, field


@dataclass
class Request:
    path: str
    headers: dict
    body: bytes


@dataclass
class HttpDouble:
    url: str
    # Gives the status and the body of the response to a Request.
    respond: object
    requests: list = field(default_factory=list)


@contextlib.contextmanager
def serving(respond):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Request(self.path, dict(self.headers), body)
            double.requests.append(request)
            status, text = double.respond(request)
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        double = HttpDouble(f"http://127.0.0.1:{server.server_port}/", respond)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield double
        server.shutdown()
