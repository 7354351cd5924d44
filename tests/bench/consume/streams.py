#!/usr/bin/env python3
"""What live streams cost: idle clients (memory, CPU), fan-out (latency), filters (bytes read and sent).

Called by `tests/bench/run.sh streams [OPTION...]`. A cluster of its own on loopback with synced
replication factor 3. Ends with one table; a target that is missed makes it fail.
"""
import argparse
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "lib")]
import riacho  # noqa: E402

CLIENTS = os.path.join(riacho.BIN, "..", "tests", "bench", "consume", "stream_clients")
TICKS = os.sysconf("SC_CLK_TCK")
rows = []


def row(what, value, unit, target=None):
    rows.append((what, value, unit, target))
    mark = "" if target is None else " (target <= %g: %s)" % (target, "met" if value <= target else "MISSED")
    print("  %-58s %12.2f %s%s" % (what, value, unit, mark), flush=True)


def cpu_seconds(process):
    with open("/proc/%d/stat" % process.popen.pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Clients:
    def __init__(self, cluster, topic, count, seconds, rate, path=None):
        argv = [CLIENTS, str(cluster.gateway_ports[0]), topic, str(count), str(seconds), str(rate)]
        self.popen = subprocess.Popen(argv + ([path] if path else []), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout.readline() == "ready\n", "the clients did not begin"

    def go(self):
        out, _ = self.popen.communicate("go\n")
        assert self.popen.returncode == 0
        return json.loads(out)


def idle(cluster, count, seconds):
    """Resident memory per client and CPU, on a topic of three partitions."""
    gateway = cluster["gateway-1"]
    before = gateway.resident_kib()
    clients = Clients(cluster, "idle", count, seconds, 0)
    time.sleep(2)
    after = gateway.resident_kib()
    cpu = cpu_seconds(gateway)
    began = time.monotonic()
    said = clients.go()
    spent = (cpu_seconds(gateway) - cpu) / (time.monotonic() - began)
    assert said["lost"] == 0, said
    row("%d idle clients: resident memory of the gateway per client" % count,
        (after - before) / count, "KiB", 16)
    row("%d idle clients: CPU of the gateway (heartbeats every 15 s)" % count, 100 * spent, "% of a core")


def fan_out(cluster, count, rate, seconds):
    gateway = cluster["gateway-1"]
    clients = Clients(cluster, "fan", count, seconds, rate)
    cpu = cpu_seconds(gateway)
    began = time.monotonic()
    said = clients.go()
    spent = (cpu_seconds(gateway) - cpu) / (time.monotonic() - began)
    assert said["lost"] == 0, said
    name = "%d records/s to %d clients: " % (rate, count)
    row(name + "delivered", 100.0 * said["received"] / (said["written"] * count), "%")
    row(name + "p50", said["p50_ms"], "ms")
    row(name + "p99", said["p99_ms"], "ms")
    row(name + "CPU of the gateway", 100 * spent, "% of a core")


def sent_bytes(cluster):
    for line in cluster.get("/metrics").body.decode().splitlines():
        if line.startswith("riacho_gateway_http_sent_bytes_total"):
            return int(line.split()[1])
    return 0


def filtered(cluster, records):
    """Bytes between storage and gateway, and gateway and client, when one record in a hundred matches."""
    lines = "".join(json.dumps({"key": "k%d" % i, "value": {"n": i % 100, "text": "x" * 200}}) + "\n"
                    for i in range(1000))
    for _ in range(records // 1000):
        assert cluster.post("/v1/topics/filter/records", lines,
                            {"Content-Type": "application/x-ndjson"}).status == 200
    stored = sum(len(cluster.get("/v1/topics/filter/partitions/%d/records?offset=earliest&max_bytes=8388608"
                                 % p, headers={"Accept": "application/vnd.riacho.batch"}).body)
                 for p in range(3))
    began = time.monotonic()
    reply = cluster.get("/v1/topics/filter/stream?from=earliest&filter=$.n=7&max_records=%d"
                        % (records // 100), headers={"Accept": "application/x-ndjson"})
    took = time.monotonic() - began
    row("filter of 1 %: bytes from storage (whole batches)", stored / 1024, "KiB")
    row("filter of 1 %: bytes to the client", len(reply.body) / 1024, "KiB")
    row("filter of 1 %: records looked at", records / took, "a second")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=int, default=10000, help="idle clients")
    parser.add_argument("--clients", type=int, default=1000, help="clients of the fan-out")
    parser.add_argument("--rate", type=int, default=1000, help="its records a second")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    cluster = riacho.Cluster(transform=0, options={"gateway": [
        "--max-connections=%d" % (options.idle + options.clients + 100),
        "--max-streams=%d" % (options.idle + options.clients)]})
    cluster.start()
    try:
        for topic in ("idle", "fan", "filter"):
            cluster.create_topic(topic, partitions=3, replicas=3)
        idle(cluster, options.idle, options.seconds)
        fan_out(cluster, options.clients, options.rate, options.seconds)
        filtered(cluster, 20000)
    finally:
        cluster.stop()
    missed = [what for what, value, _, target in rows if target is not None and value > target]
    if missed:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
