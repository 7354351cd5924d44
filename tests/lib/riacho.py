"""A real cluster of real processes for system tests: start, kill, restart, talk HTTP.

Standard library only. Everything listens on loopback at ports of its own (Ports); data lives in
a temporary folder that goes away with a passing test and is kept (its path printed) with a failing one.
"""
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse

BIN = os.environ.get("RIACHO_BIN", os.path.abspath("build/debug/bin"))
# How much slower than a quiet machine a test may be before it fails.
PATIENCE = float(os.environ.get("RIACHO_TEST_PATIENCE", "1"))


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "HTTP %d %r" % (self.status, self.body[:300])


class Ports:
    """Ports that are this process's own: a block of them, for as long as it holds the block's first.
    They are, if there is room, not of those that the kernel gives to connections, so that the port of
    a process that is down for a while is still free when it comes back, whatever runs beside."""
    FIRST, END, BLOCK = 10000, 17500, 250

    def __init__(self):
        self.holders, self.rest = [], None
        self.first, self.end = self.window()

    def window(self):
        with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
            first, last = map(int, f.read().split())
        if first >= self.END or last < self.FIRST:
            return self.FIRST, self.END
        if first - 1024 >= 10 * self.BLOCK:
            return max(1024, first - (self.END - self.FIRST)), first
        if 65535 - last >= 10 * self.BLOCK:
            return last + 1, 65536
        return self.FIRST, self.END

    def take(self, count):
        taken = []
        while len(taken) < count:
            port = next(self.rest, None) if self.rest else None
            if port is None:
                self.next_block()
            elif is_free(port):
                taken.append(port)
        return taken

    def next_block(self):
        """Those that are used up stay ours: something may listen there still."""
        blocks = list(range(self.first, self.end - self.BLOCK + 1, self.BLOCK))
        random.shuffle(blocks)
        for first in blocks:
            holder = socket.socket()
            try:
                holder.bind(("127.0.0.1", first))
            except OSError:
                holder.close()
                continue
            self.holders.append(holder)
            self.rest = iter(range(first + 1, first + self.BLOCK))
            return
        raise AssertionError("every block of ports is taken")


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


PORTS = Ports()


def wait_for(condition, what, timeout=20.0):
    """Returns the first true value of condition(); fails naming `what` after the time-out."""
    deadline = time.monotonic() + timeout * PATIENCE
    last = None
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
        except (OSError, http.client.HTTPException, AssertionError, KeyError, ValueError) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError("timed out waiting for %s%s" % (what, ": %s" % last if last else ""))


class Process:
    def __init__(self, cluster, name, argv):
        self.name, self.argv, self.popen = name, argv, None
        self.log = os.path.join(cluster.dir, name + ".log")

    def start(self):
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(
                self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def kill(self):
        """kill -9 and reap."""
        self.popen.kill()
        self.popen.wait()

    def hears_sigterm(self):
        """It blocks the signal, to be told of it (or is dead). Before that it would die of it."""
        with open("/proc/%d/status" % self.popen.pid) as status:
            for line in status:
                if line.startswith("SigBlk:"):
                    return int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1 == 1
        return True

    def terminate(self):
        """SIGTERM, as soon as it is up far enough to end cleanly."""
        wait_for(lambda: not self.alive() or self.hears_sigterm(), self.name + " to take signals", 20)
        if self.alive():
            self.popen.send_signal(signal.SIGTERM)

    def stop(self, timeout=20):
        self.terminate()
        return self.popen.wait(timeout * PATIENCE)

    def restart(self, how="kill"):
        getattr(self, how)()
        self.start()

    def resident_kib(self):
        with open("/proc/%d/status" % self.popen.pid) as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0

    def cost(self):
        """(resident KiB, open descriptors); nothing if it has ended."""
        try:
            return self.resident_kib(), len(os.listdir("/proc/%d/fd" % self.popen.pid))
        except OSError:
            return 0, 0


class Cluster:
    def __init__(self, storage=3, replication=1, transform=1, gateways=1, options=None):
        self.dir = tempfile.mkdtemp(prefix="riacho-test-")
        options = options or {}
        ports = PORTS.take(1 + storage + transform + gateways)
        take = iter(ports).__next__
        self.processes = {}
        coordinator = "tcp://127.0.0.1:%d" % take()
        self.coordinator_address = coordinator
        self.add("coordinator", "riacho-coordinator", "--listen=" + coordinator,
                 "--data-dir=" + self.path("coordinator"), *options.get("coordinator", []))
        self.storage_ports = {}
        for n in range(1, storage + 1):
            port = take()
            self.storage_ports["storage-%d" % n] = port
            self.add("storage-%d" % n, "riacho-storage", "--listen=tcp://127.0.0.1:%d" % port,
                     "--coordinator=" + coordinator, "--data-dir=" + self.path("storage-%d" % n),
                     *options.get("storage", []))
        for n in range(1, replication + 1):
            self.add("replication-%d" % n, "riacho-replication", "--coordinator=" + coordinator,
                     *options.get("replication", []))
        for n in range(1, transform + 1):
            self.add("transform-%d" % n, "riacho-transform", "--coordinator=" + coordinator,
                     "--listen=tcp://127.0.0.1:%d" % take(), *options.get("transform", []))
        self.gateway_ports = []
        for n in range(1, gateways + 1):
            port = take()
            self.gateway_ports.append(port)
            self.add("gateway-%d" % n, "riacho-gateway", "--coordinator=" + coordinator,
                     "--http-listen=127.0.0.1:%d" % port, *options.get("gateway", []))
        self.url = "http://127.0.0.1:%d" % self.gateway_ports[0]

    def path(self, name):
        return os.path.join(self.dir, name)

    def add(self, name, program, *argv):
        process = Process(self, name, [os.path.join(BIN, program)] + list(argv))
        self.processes[name] = process
        return process

    def __getitem__(self, name):
        return self.processes[name]

    def start(self):
        for process in self.processes.values():
            process.start()
        self.wait_ready()
        return self

    def wait_ready(self, timeout=30):
        storage = sum(1 for name in self.processes if name.startswith("storage"))

        def ready():
            if self.get("/readyz").status != 200:
                return False
            seen = self.get("/v1/cluster").json()
            alive = [p for p in seen["processes"] if p["role"] == "storage" and p["alive"]]
            return len(alive) >= storage

        wait_for(ready, "the cluster to be ready", timeout)

    def stop(self):
        """End every process; those that had not died before must end cleanly. The coordinator is last:
        storage nodes hand over to it, and without it they wait before they give that up."""
        coordinator = self.processes["coordinator"]
        others = [p for p in self.processes.values() if p is not coordinator]
        return self.end(others) + self.end([coordinator])

    def end(self, processes):
        """SIGTERM to all at once. Returns what did not end as it should."""
        for process in processes:
            if process.alive():
                process.terminate()
        deadline = time.monotonic() + 20 * PATIENCE
        failed = []
        for process in processes:
            if process.popen is None:
                continue
            try:
                status = process.popen.wait(max(0.1, deadline - time.monotonic()))
                if status not in (0, -signal.SIGKILL):
                    failed.append("%s ended with %d" % (process.name, status))
            except subprocess.TimeoutExpired:
                process.kill()
                failed.append("%s did not stop" % process.name)
        return failed

    # ---- HTTP ----

    def request(self, method, path, body=None, headers=None, gateway=0, timeout=60):
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.gateway_ports[gateway], timeout=timeout * PATIENCE
        )
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
                headers = dict({"Content-Type": "application/json"}, **(headers or {}))
            if isinstance(body, str):
                body = body.encode()
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return Reply(reply.status, dict((k.lower(), v) for k, v in reply.getheaders()),
                         reply.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body=None, headers=None, **more):
        return self.request("POST", path, body, headers, **more)

    def create_topic(self, name, partitions=3, replicas=3, **config):
        reply = self.post("/v1/topics", {"name": name, "partitions": partitions,
                                         "replicas": replicas, "config": config})
        assert reply.status in (200, 201), reply
        return reply.json()

    def produce_v2(self, topic, records, kind="json", **more):
        return self.post("/topics/" + urllib.parse.quote(topic), json.dumps({"records": records}),
                         {"Content-Type": "application/vnd.kafka.%s.v2+json" % kind}, **more)

    def read_partition(self, topic, partition, offset=0, **query):
        """Every record from offset to the end as it is now. The end is asked for on its own: right after
        a restart a leader may not know yet how far the log is committed, and makes that call wait."""
        ends = self.get("/v1/topics/%s/partitions/%d/offsets" % (
            urllib.parse.quote(topic), partition))
        assert ends.status == 200, ends
        end = ends.json()["high_watermark"]
        records = []
        while offset < end:
            query.update(offset=offset, max_bytes=1 << 20)
            reply = self.get("/v1/topics/%s/partitions/%d/records?%s" % (
                urllib.parse.quote(topic), partition, urllib.parse.urlencode(query)))
            assert reply.status == 200, reply
            page = reply.json()
            records += page["records"]
            assert page["records"], "nothing at %d below the end %d" % (offset, end)
            offset = page["next_offset"]
        return records

    def read_topic(self, topic):
        """{partition: records} of the whole topic."""
        described = self.get("/v1/topics/" + urllib.parse.quote(topic))
        assert described.status == 200, described
        return {p["partition"]: self.read_partition(topic, p["partition"])
                for p in described.json()["partitions"]}

    def cli(self, *argv, stdin=None, check=True, timeout=60):
        done = subprocess.run([os.path.join(BIN, "riacho"), "--gateway=" + self.url] + list(argv),
                              input=stdin, capture_output=True, timeout=timeout * PATIENCE)
        if check:
            assert done.returncode == 0, (argv, done.returncode, done.stderr.decode())
        return done


class Producer(threading.Thread):
    """One client that sends unique values in order to one key until told to stop.

    acked: values the cluster acknowledged; unknown: values whose fate it left open. A value that
    ended in neither is sent again, so acked is in sending order.
    """

    def __init__(self, cluster, topic, name, gateway=0):
        super().__init__(daemon=True)
        self.cluster, self.topic, self.key, self.gateway = cluster, topic, name, gateway
        self.acked, self.unknown, self.errors = [], [], []
        self.acked_at = []  # when, on the monotonic clock
        self.halt = threading.Event()

    def run(self):
        sequence = 0
        while not self.halt.is_set():
            value = "%s-%06d" % (self.key, sequence)
            sequence += 1
            try:
                reply = self.cluster.produce_v2(
                    self.topic, [{"key": self.key, "value": value}], gateway=self.gateway)
            except (OSError, http.client.HTTPException) as error:
                self.unknown.append(value)
                self.errors.append(repr(error))
                time.sleep(0.02)
                continue
            entry = reply.json()["offsets"][0] if reply.status == 200 else None
            if entry is not None and entry.get("error_code") is None:
                self.acked.append((entry["partition"], entry["offset"], value))
                self.acked_at.append(time.monotonic())
            else:
                self.unknown.append(value)
                self.errors.append(repr(reply))
                time.sleep(0.02)

    def gap_since(self, moment):
        """Seconds of the longest wait for an acknowledgement that ended after the moment."""
        times = list(self.acked_at)
        gaps = [b - a for a, b in zip(times, times[1:]) if b > moment]
        return max(gaps, default=time.monotonic() - moment)

    def finish(self):
        self.halt.set()
        self.join(90 * PATIENCE)
        assert not self.is_alive(), "a producer hangs"


def check_history(cluster, topic, producers):
    """The promises: acked is there at its offset, once, in order; nothing that was never sent."""
    stored = {}
    order = {}
    for partition, records in cluster.read_topic(topic).items():
        assert [r["offset"] for r in records] == list(range(len(records))), "offsets have holes"
        for record in records:
            value = record["value"]
            assert value not in stored, "stored twice: %s" % value
            stored[value] = (partition, record["offset"])
            order.setdefault(record["key"], []).append(value)
    for producer in producers:
        for partition, offset, value in producer.acked:
            assert value in stored, "acknowledged and lost: %s" % value
            assert stored[value] == (partition, offset), "moved: %s" % value
        sent = set(v for _, _, v in producer.acked) | set(producer.unknown)
        mine = order.get(producer.key, [])
        assert set(mine) <= sent, "a record nobody sent"
        acked = set(v for _, _, v in producer.acked)
        kept = [v for v in mine if v in acked]
        assert kept == sorted(kept), "order broken for %s" % producer.key
    return len(stored)


def main(tests):
    """Run the module's tests (all, or those named on the command line); print the closing line."""
    chosen = [t for t in tests if len(sys.argv) == 1 or t.__name__ in sys.argv[1:]]
    passed = failed = 0
    for test in chosen:
        began = time.monotonic()
        try:
            test()
            passed += 1
            print("ok   %s %.1f s" % (test.__name__, time.monotonic() - began), flush=True)
        except Exception:
            failed += 1
            print("FAIL %s" % test.__name__, flush=True)
            traceback.print_exc(file=sys.stdout)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not chosen else 0)


class running:
    """with running(storage=3) as cluster: ... — logs are shown and kept when the body fails."""

    def __init__(self, **options):
        self.options = options

    def __enter__(self):
        self.cluster = Cluster(**self.options)
        try:
            self.cluster.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self.cluster

    def __exit__(self, kind, error, trace):
        failed = self.cluster.stop()
        if kind is None and not failed:
            shutil.rmtree(self.cluster.dir, ignore_errors=True)
            return False
        print("data and logs are kept in %s" % self.cluster.dir)
        for process in self.cluster.processes.values():
            try:
                with open(process.log, errors="replace") as log:
                    lines = log.readlines()[-15:]
            except OSError:
                continue
            print("--- %s\n%s" % (process.name, "".join(lines)), end="")
        if kind is None:
            raise AssertionError("; ".join(failed))
        return False
