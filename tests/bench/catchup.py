"""catchup: what a follower that was away costs running traffic, and how fast it comes back.

Two topics on the same three nodes: `bulk` is filled at a steady rate, so that a log grows to catch up
with; `probe` gets one record at a time from a few connections, whose latencies are what is measured.
One storage node is stopped (SIGSTOP) for a while. Phases: before; stopped (from the moment that a
probe was answered again: the stall until the follower has left the in-sync set is a figure of its
own); catching up (from SIGCONT until every replica of both topics is in sync again); after.
"""
import http.client
import json
import signal
import threading
import time

from loads import Failed
from report import Row

PARTITIONS = 6
BULK_RECORDS, BULK_SIZE = 100, 1000
PROBES = 4
HEADERS = {"Content-Type": "application/vnd.kafka.json.v2+json"}


class Load(threading.Thread):
    """One connection in a closed loop, at most `per_second` requests; (end, seconds) of each."""

    def __init__(self, gateway, topic, body, per_second=None):
        super().__init__(daemon=True)
        self.gateway, self.path, self.body = gateway, "/topics/" + topic, body
        self.pause = 1 / per_second if per_second else 0
        self.done, self.errors, self.halt = [], 0, threading.Event()

    def run(self):
        connection = http.client.HTTPConnection(self.gateway.host, self.gateway.port, timeout=120)
        due = time.monotonic()
        while not self.halt.is_set():
            began = time.monotonic()
            try:
                connection.request("POST", self.path, self.body, HEADERS)
                reply = connection.getresponse()
                text = reply.read()
                self.errors += reply.status != 200 or b'"offset":null' in text
            except (OSError, http.client.HTTPException):
                self.errors += 1
                connection.close()
            self.done.append((time.monotonic(), time.monotonic() - began))
            due = max(due + self.pause, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))
        connection.close()


def quantiles(loads, begin, end):
    """(count, p50, p99, max) in ms of what was asked for and answered between the two moments."""
    took = sorted(seconds for load in loads for at, seconds in list(load.done)
                  if begin <= at - seconds and at <= end)
    if not took:
        raise Failed("no probe was answered in a phase")
    return (len(took), took[len(took) // 2] * 1e3,
            took[min(len(took) - 1, int(len(took) * 0.99))] * 1e3, took[-1] * 1e3)


def in_sync(cluster, topic):
    reply = cluster.get("/v1/topics/" + topic)
    return reply.status == 200 and all(len(p["isr"]) == 3 for p in reply.json()["partitions"])


def wait_in_sync(cluster, timeout):
    deadline = time.monotonic() + timeout
    while not (in_sync(cluster, "bulk") and in_sync(cluster, "probe")):
        if time.monotonic() > deadline:
            raise Failed("the follower is not back in sync after %d s" % timeout)
        time.sleep(0.05)
    return time.monotonic()


def start(bench):
    config = {"min.insync.replicas": "2", "replica.lag.time.max.ms": "1000"}
    for topic in ("bulk", "probe"):
        bench.cluster.create_topic(topic, PARTITIONS, 3, **config)
    record = {"value": "x" * BULK_SIZE}
    bulk = json.dumps({"records": [record] * BULK_RECORDS}).encode()
    rate = bench.options.catch_up_mb * 1e6 / (BULK_RECORDS * BULK_SIZE)
    loads = [Load(bench.gateway, "bulk", bulk, rate)]
    for n in range(PROBES):
        body = json.dumps({"records": [{"key": "k%d" % n, "value": "x" * 100}]}).encode()
        loads.append(Load(bench.gateway, "probe", body, 100))
    for load in loads:
        load.start()
    return loads[0], loads[1:]


def catchup(bench, name):
    options = bench.options
    with bench.running():
        bulk, probes = start(bench)
        time.sleep(3)
        marks = [time.monotonic()]
        time.sleep(bench.seconds)
        stopped = bench.cluster["storage-3"].popen
        marks.append(time.monotonic())
        stopped.send_signal(signal.SIGSTOP)
        try:
            time.sleep(options.stop_seconds)
            away = sum(1 for at, _ in list(bulk.done) if at >= marks[1])
        finally:
            stopped.send_signal(signal.SIGCONT)
        marks.append(time.monotonic())
        marks.append(wait_in_sync(bench.cluster, 300))
        time.sleep(bench.seconds)
        marks.append(time.monotonic())
        for load in [bulk] + probes:
            load.halt.set()
        for load in [bulk] + probes:
            load.join(150)
    stall = max((s for p in probes for at, s in p.done if marks[1] <= at <= marks[2]), default=0)
    marks[1:2] = [marks[1], marks[1] + stall + 0.5]
    megabytes = away * BULK_RECORDS * BULK_SIZE / 1e6
    speed = megabytes / (marks[4] - marks[3])
    errors = bulk.errors + sum(p.errors for p in probes)
    print("%s: %.0f MB behind, in sync again after %.1f s; longest stall when it stopped %.1f s"
          % (name, megabytes, marks[4] - marks[3], stall))
    for phase, begin, end in (("before", marks[0], marks[1]), ("stopped", marks[2], marks[3]),
                              ("catching-up", marks[3], marks[4]), ("after", marks[4], marks[5])):
        count, p50, p99, worst = quantiles(probes, begin, end)
        bench.add(Row("%s-%s" % (name, phase), speed if phase == "catching-up" else
                      count / (end - begin), "MB/s" if phase == "catching-up" else "req/s",
                      None, {}, errors if phase == "after" else 0, p50_ms=p50, p99_ms=p99,
                      max_ms=worst, seconds=end - begin))
