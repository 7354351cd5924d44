#!/usr/bin/env python3
"""A load balancer as simple as one can be: each TCP connection goes to the next backend that takes it.

    round_robin.py BACKEND_PORT...

Listens on a port of loopback that the kernel chooses and prints it. Knows nothing of HTTP and of
health: a backend that refuses is passed over, one that dies takes its connections with it. A process
of its own, so that it does not share an interpreter with the clients. Ends with its standard input.
"""
import asyncio
import os
import socket
import subprocess
import sys

CHUNK = 256 * 1024


class RoundRobin:
    """with RoundRobin(ports) as proxy: ... proxy.port"""

    def __init__(self, ports):
        self.ports = ports

    def __enter__(self):
        self.popen = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__)] + [str(p) for p in self.ports],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.popen.stdout.readline())
        return self

    def __exit__(self, *_):
        self.popen.stdin.close()
        self.popen.wait(20)
        self.popen.stdout.close()
        return False


class Balancer:
    def __init__(self, ports):
        self.ports, self.turn = ports, 0

    async def dial(self):
        for _ in self.ports:
            port = self.ports[self.turn % len(self.ports)]
            self.turn += 1
            try:
                return await asyncio.open_connection("127.0.0.1", port, limit=CHUNK)
            except OSError:
                continue
        return None

    async def serve(self, reader, writer):
        backend = await self.dial()
        if backend is None:
            writer.transport.abort()
            return
        there = asyncio.ensure_future(pump(reader, backend[1]))
        back = asyncio.ensure_future(pump(backend[0], writer))
        # Whichever side ends first: nobody here closes one direction only.
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for task, end in ((there, backend[1]), (back, writer)):
            task.cancel()
            end.close()


async def pump(reader, writer):
    try:
        while True:
            data = await reader.read(CHUNK)
            if not data:
                return
            writer.write(data)
            await writer.drain()
    except OSError:
        return


async def balance(ports):
    balancer = Balancer(ports)
    server = await asyncio.start_server(balancer.serve, "127.0.0.1", 0, limit=CHUNK,
                                        family=socket.AF_INET, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(balance([int(port) for port in sys.argv[1:]]))
