"""Hosts with public names and addresses, which are servers of this machine."""

import socket
import threading

from local.emulators import ADDRESS


class Internet:
    """Replaces the lookup of names and the connections to port 443."""

    def __init__(self, patch, port):
        # The addresses of each name, and the port of the server at each address.
        self.names = {"pollo.ai": ["8.8.8.8"], "cdn.example": ["9.9.9.9"]}
        self.servers = {"8.8.8.8": port, "9.9.9.9": port}
        self.peers, self.plain = {}, []
        lookup, connect, getpeername = socket.getaddrinfo, socket.socket.connect, socket.socket.getpeername

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
        patch(socket.socket, "connect", connected)
        patch(socket.socket, "getpeername", peer)
        # ssl.SSLSocket calls these for what it does not encrypt.
        for name in ["send", "sendall"]:
            patch(socket.socket, name, recorded(getattr(socket.socket, name)))

    def listens(self, address, serve):
        """A server of cdn.example that passes its first connection to `serve`, without TLS."""

        def accept():
            with server, server.accept()[0] as connection:
                serve(connection.makefile("rwb", 0))

        server = socket.create_server((ADDRESS, 0))
        self.names["cdn.example"], self.servers[address] = [address], server.getsockname()[1]
        threading.Thread(target=accept, daemon=True).start()
