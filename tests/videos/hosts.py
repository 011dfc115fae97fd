"""Pollo's API and the hosts of its files: servers of this machine with public names and addresses."""

import contextlib
import http.client
import json
import socket
import threading
import time

from local.emulators import ADDRESS


def sends(status, body=b"", **headers):
    """A response. `headers` can replace its Content-Length, and None omits it."""
    headers = {"Content_Length": len(body), **headers}
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items() if value is not None]
    return f"HTTP/1.1 {status} -\r\n{''.join(lines)}\r\n".encode() + body


def chunked(body):
    return sends(200, body, Content_Length=None, Transfer_Encoding="chunked")


def reports(*generations, **more):
    return sends(200, json.dumps({"taskId": "t1", "credit": 1, "generations": generations, **more}).encode())


class Repeats:
    """Sends `start`, and then `part` until the client leaves, at most 64 MiB or for a minute."""

    def __init__(self, start, part, pause=0):
        self.start, self.part, self.pause, self.sent, self.client_left = start, part, pause, 0, threading.Event()

    def __call__(self, connection):
        try:
            connection.sendall(self.start)
            for _ in range(1200 if self.pause else 2**26 // len(self.part)):
                connection.sendall(self.part)
                self.sent += len(self.part)
                time.sleep(self.pause)
        except OSError:
            self.client_left.set()


class Internet:
    """Replaces the lookup of names and the connections to port 443. Records what is sent there without TLS."""

    def __init__(self, patch):
        # The addresses of each name, and the port of the server at each address.
        self.names, self.servers, self.plain = {}, {}, []
        lookup, sendall = socket.getaddrinfo, socket.socket.sendall
        connect, getpeername = socket.socket.connect, socket.socket.getpeername

        def found(name, port, *arguments, **options):
            if name not in self.names:
                return lookup(name, port, *arguments, **options)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.names[name]]

        def connected(client, address):
            if address[1] != 443:
                assert address[0] == ADDRESS, "nothing leaves this machine"
                return connect(client, address)
            if address[0] not in self.servers:
                raise TimeoutError("timed out")
            connect(client, (ADDRESS, self.servers[address[0]]))

        def peer(client):
            real = getpeername(client)
            return next(((address, 443) for address, port in self.servers.items() if port == real[1]), real)

        def recorded(client, data, *flags):
            if peer(client)[1] == 443:
                self.plain.append(bytes(data))
            return sendall(client, data, *flags)

        patch(socket, "getaddrinfo", found)
        patch(socket.socket, "connect", connected)
        patch(socket.socket, "getpeername", peer)
        # ssl.SSLSocket calls this for what it does not encrypt.
        patch(socket.socket, "sendall", recorded)

    def host(self, name, address, serve):
        """Starts a host that calls `serve` with each connection, without TLS."""
        self.names[name] = [address]
        server = socket.create_server((ADDRESS, 0))
        self.servers[address] = server.getsockname()[1]

        def accept():
            while True:
                threading.Thread(target=serve, args=[server.accept()[0]], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()


class Pollo:
    """Has responses for each path: one for each request, and the last one for all further requests."""

    def __init__(self, context):
        self.context, self.responses, self.requests = context, {}, []

    def responds(self, path, *responses):
        self.responses[path.partition("?")[0]] = list(responses)
        return "https://cdn.example" + path

    def serve(self, connection):
        with contextlib.suppress(OSError, IndexError), self.context.wrap_socket(connection, server_side=True) as tls:
            reader = tls.makefile("rb")
            path, headers = reader.readline().split()[1].decode(), http.client.parse_headers(reader)
            self.requests.append((headers["Host"] + path, headers["x-api-key"]))
            responses = self.responses.get(path.partition("?")[0], [sends(404, b"{}")])
            response = responses.pop(0) if len(responses) > 1 else responses[0]
            if headers["User-Agent"] == "pollo-webhook":
                response(tls) if callable(response) else tls.sendall(response)
