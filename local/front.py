"""The URL of a local run, for tunnels too: passes every request to the function, and nothing to the rest of the emulator.

On its own port, the emulator of Lambda also serves Invoke and the runtime API, to web pages too (CORS): whoever reaches
that port can take webhooks and respond to Pollo in the function's place.
"""

import contextlib
import threading

import urllib3
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from local.emulators import ADDRESS, PATIENCE, URL_PATH

# A function URL's limit.
MAX_BODY_BYTES = 6 * 1024 * 1024

# Each connection has its own (RFC 9110, section 7.6.1), so they are not passed on in either direction.
OF_ONE_HOP = {
    *["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"],
    *["content-length", "date", "expect", "host"],
}


class Quiet(WSGIRequestHandler):
    # Sends head and body together. If separate, the body waits until the client acknowledges the head.
    wbufsize = -1

    def log_request(self, *_):
        """Logs nothing: the function's log has each request."""


@contextlib.contextmanager
def serving(application, port=0):
    """Serves a WSGI application on `port`, or on a free one. Yields the URL."""
    server = make_server(ADDRESS, port, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{ADDRESS}:{server.port}/"
    finally:
        server.shutdown()
        server.server_close()


def front(port, lambda_port):
    """Serves the front port, and passes requests to the emulator of Lambda."""
    emulator = urllib3.HTTPConnectionPool(ADDRESS, lambda_port, timeout=PATIENCE, retries=False, maxsize=10)

    @Request.application
    def application(request):
        request.max_content_length = MAX_BODY_BYTES
        headers = {name: value for name, value in request.headers if name.lower() not in OF_ONE_HOP}
        # The function ignores path and query, so neither is passed on.
        body = request.get_data()
        try:
            received = emulator.request(request.method, URL_PATH, body=body, headers=headers, redirect=False)
        except (urllib3.exceptions.HTTPError, ValueError):
            return Response("The function did not respond.\n", 502)
        # Without the emulator's permissions for web pages (CORS).
        names = {name for name in received.headers if not name.lower().startswith(("access-control-", "vary"))}
        passed = {name: received.headers[name] for name in names if name.lower() not in OF_ONE_HOP}
        return Response(received.data, received.status, passed)

    return serving(application, port)
