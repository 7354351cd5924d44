"""A cluster of real processes, each in a network namespace of its own."""
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import riacho  # noqa: E402

OPEN_SEGMENTS = 16  # few, so that files are closed and opened all the time
COORDINATOR_PORT, STORAGE_PORT, GATEWAY_PORT = 9100, 9111, 8080


class Process(riacho.Process):
    """One that knows whether it is meant to be running."""

    def __init__(self, cluster, name, argv):
        super().__init__(cluster, name, argv)
        self.wanted, self.paused, self.started = False, False, 0

    def start(self):
        self.wanted, self.started = True, time.monotonic()
        super().start()

    def kill(self):
        self.wanted = False
        super().kill()

    def stop(self, timeout=20):
        self.wanted = False
        return super().stop(timeout)

    def has_died(self):
        return self.wanted and not self.alive()


class NetCluster(riacho.Cluster):
    def __init__(self, net, disk_mib, storage=3, replication=2, gateways=2):
        """disk_mib: of each storage node, a tmpfs."""
        self.net, self.disk_mib = net, disk_mib
        self.dir = tempfile.mkdtemp(prefix="riacho-nemesis-")
        self.processes, self.gateway_hosts = {}, []
        self.gateway_names = []
        host = net.add("coordinator")
        self.coordinator_address = "tcp://%s:%d" % (host, COORDINATOR_PORT)
        self.add("coordinator", "riacho-coordinator", "--listen=" + self.coordinator_address,
                 "--data-dir=" + self.path("coordinator"))
        for n in range(1, storage + 1):
            self.add_storage(n)
        for n in range(1, replication + 1):
            self.add_replication(n)
        for n in range(1, gateways + 1):
            self.add_gateway(n)

    def add(self, name, program, *argv):
        process = Process(self, name, ["ip", "netns", "exec", name,
                                       os.path.join(riacho.BIN, program), *argv])
        self.processes[name] = process
        return process

    def add_storage(self, n):
        name = "storage-%d" % n
        host = self.net.add(name)
        os.makedirs(self.path(name), exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % self.disk_mib, "none",
                        self.path(name)], check=True)
        return self.add(name, "riacho-storage", "--listen=tcp://%s:%d" % (host, STORAGE_PORT),
                        "--coordinator=" + self.coordinator_address,
                        "--open-segments=%d" % OPEN_SEGMENTS,
                        "--data-dir=" + os.path.join(self.path(name), "data"))

    def add_replication(self, n):
        name = "replication-%d" % n
        self.net.add(name)
        return self.add(name, "riacho-replication", "--coordinator=" + self.coordinator_address)

    def add_gateway(self, n):
        name = "gateway-%d" % n
        host = self.net.add(name)
        process = self.add(name, "riacho-gateway", "--coordinator=" + self.coordinator_address,
                           "--http-listen=%s:%d" % (host, GATEWAY_PORT),
                           "--request-timeout-ms=10000")
        self.gateway_hosts.append(host)
        self.gateway_names.append(name)
        self.url = "http://%s:%d" % (self.gateway_hosts[0], GATEWAY_PORT)
        return process

    def names(self, role):
        return sorted(name for name in self.processes if name.startswith(role))

    def connect(self, gateway, timeout):
        return http.client.HTTPConnection(self.gateway_hosts[gateway], GATEWAY_PORT,
                                          timeout=timeout * riacho.PATIENCE)

    def request(self, method, path, body=None, headers=None, gateway=0, timeout=60):
        connection = self.connect(gateway, timeout)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
                headers = dict({"Content-Type": "application/json"}, **(headers or {}))
            if isinstance(body, str):
                body = body.encode()
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return riacho.Reply(reply.status, dict((k.lower(), v) for k, v in reply.getheaders()),
                                reply.read())
        finally:
            connection.close()
