"""Hosts with public names and addresses, which are servers of this machine."""

import socket

from local.emulators import ADDRESS


class Internet:
    """Replaces the lookup of names and the connections to port 443. `patch` is setattr, or a monkeypatch's."""

    def __init__(self, patch, port):
        # The addresses of each name, and the port of the server at each address.
        self.names = {"pollo.ai": ["8.8.8.8"], "cdn.example": ["9.9.9.9"]}
        self.servers = {"8.8.8.8": port, "9.9.9.9": port}
        self.peers, self.plain = {}, []
        lookup, connect, getpeername, send, sendall = (
            socket.getaddrinfo,
            *[getattr(socket.socket, name) for name in ["connect", "getpeername", "send", "sendall"]],
        )

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
            self.peers[client.getsockname()] = address

        def peer(client):
            real = getpeername(client)
            return self.peers.get(client.getsockname(), real) if real[1] in self.servers.values() else real

        def recorded(send):
            def recorded(client, data, *flags):
                if getpeername(client)[1] in self.servers.values():
                    self.plain.append(bytes(data))
                return send(client, data, *flags)

            return recorded

        patch(socket, "getaddrinfo", found)
        # ssl.SSLSocket calls the last two for what it does not encrypt.
        for name, method in {
            "connect": connected,
            "getpeername": peer,
            "send": recorded(send),
            "sendall": recorded(sendall),
        }.items():
            patch(socket.socket, name, method)
