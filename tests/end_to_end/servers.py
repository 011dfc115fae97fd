"""Servers in place of SNS: one that accepts everything, and one that only presents a certificate."""

import contextlib
import http.server
import socketserver
import threading

from local.emulators import ADDRESS


@contextlib.contextmanager
def accepting(context=None):
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
            response = b"<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

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

    with Server((ADDRESS, 0), Sns) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{ADDRESS}:{server.server_port}", connections
        server.shutdown()


@contextlib.contextmanager
def presenting(chain):
    """A server that presents these certificates, and zeros instead of a signature: as much of TLS 1.2 as a client reads
    before it judges them. Gives its address."""

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

    with socketserver.ThreadingTCPServer((ADDRESS, 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{ADDRESS}:{server.server_address[1]}"
        server.shutdown()
