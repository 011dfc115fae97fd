"""The hosts that the function reaches: servers of this machine that appear under public names and addresses."""

import contextlib
import socket
import threading

from local.emulators import ADDRESS


class Internet:
    """Replaces the lookup of names, and the addresses of connections to port 443. Nothing leaves the machine.

    `patch` is `setattr` or that of a monkeypatch.
    """

    def __init__(self, patch, port):
        # The addresses of each host, and the port of the server at each address. None is a dead address.
        self.hosts, self.servers = {"pollo.ai": ["8.8.8.8"], "cdn.example": ["9.9.9.9"]}, {"8.8.8.8": port, "9.9.9.9": port}
        self.plain, self.peers = [], {}
        lookup, connect, peer = socket.getaddrinfo, socket.socket.connect, socket.socket.getpeername

        def resolves(host, port, *arguments, **options):
            if host not in self.hosts:
                return lookup(host, port, *arguments, **options)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.hosts[host]]

        def connects(connection, address):
            if address[1] != 443:
                assert address[0] == ADDRESS, address
                return connect(connection, address)
            if not self.servers.get(address[0]):
                raise TimeoutError("timed out")
            connect(connection, (ADDRESS, self.servers[address[0]]))
            self.peers[connection.getsockname()] = address

        def peer_of(connection):
            real = peer(connection)
            return self.peers.get(connection.getsockname(), real) if real[1] in self.servers.values() else real

        def records(name):
            send = getattr(socket.socket, name)

            def sends(connection, data, *flags):
                with contextlib.suppress(OSError):
                    if peer(connection)[1] in self.servers.values():
                        self.plain.append(bytes(data))
                return send(connection, data, *flags)

            patch(socket.socket, name, sends)

        patch(socket, "getaddrinfo", resolves)
        patch(socket.socket, "connect", connects)
        patch(socket.socket, "getpeername", peer_of)
        # ssl.SSLSocket calls these only for what it does not encrypt.
        records("send")
        records("sendall")


@contextlib.contextmanager
def listener(serve):
    """The port of a server that calls `serve` with its first connection, before any TLS."""
    with socket.create_server((ADDRESS, 0)) as server:

        def accept():
            with contextlib.suppress(OSError), server.accept()[0] as connection:
                serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(1)
