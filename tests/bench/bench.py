#!/usr/bin/env python3
"""Measure a cluster of real processes on this machine; see run.sh and docs/design/005-performance.md.

Each benchmark gets a cluster of its own (1 coordinator, 3 storage, 1 replication, 1 transform,
1 gateway) on loopback with empty data folders, so that one cannot disturb the next.
"""
import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import riacho  # noqa: E402

import catchup  # noqa: E402
import loads  # noqa: E402
import report  # noqa: E402
from loads import Failed  # noqa: E402
from profiler import Profiler  # noqa: E402
from report import Row  # noqa: E402
from usage import Usage, status_kib  # noqa: E402

PARTITIONS = 6
KEYS = 1000
IDLE_KIB_MAX = 16 * 1024
MACHINE_STEP_MS = 1000

# name: connections, records per request, bytes per value, format, target, what differs
PRODUCE = {
    "produce-16x1x100-json": (16, 1, 100, "json",
                              {"value": (">=", 4000), "p99_ms": ("<=", 15)}, {}),
    "produce-64x1x1000-json": (64, 1, 1000, "json", {"value": (">=", 8000)}, {}),
    "produce-256x1x100-json": (256, 1, 100, "json", {}, {}),
    "produce-16x100x100-json": (16, 100, 100, "json", {}, {}),
    "produce-16x100x1000-binary": (16, 100, 1000, "binary", {"value": (">=", 60000)}, {}),
    "produce-1x1x100-json": (1, 1, 100, "json", {"p50_ms": ("<=", 2)}, {}),
    "crowd-16x1x100-json": (16, 1, 100, "json", {}, {"crowd": 1000}),
    "crowd6-16x1x100-json": (16, 1, 100, "json", {}, {"crowd": 6000}),
    "onekey-16x1x100-json": (16, 1, 100, "json", {}, {"keys": 1}),
    "onekey-64x1x1000-json": (64, 1, 1000, "json", {}, {"keys": 1}),
    "relaxed-1x1x100-json": (1, 1, 100, "json", {}, {"durability": "relaxed"}),
    "relaxed-16x1x100-json": (16, 1, 100, "json", {}, {"durability": "relaxed"}),
    "relaxed-64x1x1000-json": (64, 1, 1000, "json", {}, {"durability": "relaxed"}),
    "relaxed-16x100x1000-binary": (16, 100, 1000, "binary", {}, {"durability": "relaxed"}),
    "rf1-1x1x100-json": (1, 1, 100, "json", {}, {"replicas": 1}),
    "rf1-16x1x100-json": (16, 1, 100, "json", {}, {"replicas": 1}),
    "rf1-64x1x1000-json": (64, 1, 1000, "json", {}, {"replicas": 1}),
    "rf1-16x100x1000-binary": (16, 100, 1000, "binary", {}, {"replicas": 1}),
}


class Bench:
    """What every benchmark needs: options, the current cluster, the rows so far."""

    def __init__(self, options):
        self.options = options
        self.seconds = options.seconds
        self.tools = os.path.join(os.path.dirname(riacho.BIN), "tests", "bench")
        self.rows = []
        self.cluster = None

    @contextlib.contextmanager
    def running(self):
        """A fresh cluster; None if --url names a server that runs already."""
        if self.options.url:
            parts = urllib.parse.urlsplit(self.options.url)
            self.gateway = loads.Gateway(parts.hostname, parts.port or 80)
            yield None
            return
        self.cluster = riacho.Cluster()
        keep = True
        try:
            self.cluster.start()
            self.gateway = loads.Gateway("127.0.0.1", self.cluster.gateway_ports[0])
            yield self.cluster
            keep = False
        finally:
            failed = self.cluster.stop()
            if failed or keep:
                print("data and logs are kept in %s %s" % (self.cluster.dir, "; ".join(failed)))
            else:
                shutil.rmtree(self.cluster.dir, ignore_errors=True)
            self.cluster = None

    def pids(self):
        """Short names: one replication worker, one gateway, one transform worker."""
        if self.cluster is None:
            return {}
        return {name if name.startswith("storage") else name.split("-")[0]: process.popen.pid
                for name, process in self.cluster.processes.items()}

    @contextlib.contextmanager
    def measured(self, name):
        """Writes of what came before go to the disk first; the profiler, if wanted, runs along."""
        os.sync()
        pids = self.pids()
        with Profiler(self.options.profile, name, pids, self.options.out):
            with Usage(pids) as usage:
                yield usage

    def create_topic(self, name, replicas=3, durability="synced"):
        if self.cluster is not None:
            config = {"min.insync.replicas": str(min(2, replicas)), "durability": durability}
            self.cluster.create_topic(name, PARTITIONS, replicas, **config)
            return name
        return self.options.topic

    def add(self, row):
        self.rows.append(row)
        print(row, flush=True)


def produce(bench, name):
    connections, records, size, kind, target, differs = PRODUCE[name]
    load = dict(connections=connections, records=records, size=size, kind=kind,
                keys=differs.get("keys", KEYS))
    with bench.running():
        topic = bench.create_topic("bench", replicas=differs.get("replicas", 3),
                                   durability=differs.get("durability", "synced"))
        crowd(bench, differs.get("crowd", 0))
        loads.wrk(bench.gateway, topic, 1, **load)  # warm: connections, leaders, producer ids
        time.sleep(0.3)
        before = bench.gateway.stored(topic)
        with bench.measured(name) as usage:
            result = loads.wrk(bench.gateway, topic, bench.seconds, **load)
        stored = bench.gateway.stored(topic) - before
    good = result["requests"] - result["statuses"]
    missing = max(0, good * records - stored)
    bench.add(Row(name, good * records / result["seconds"], "rec/s" if records > 1 else "req/s",
                  usage, target, result["statuses"] + result["transport"] + missing,
                  **latencies(result)))


def crowd(bench, partitions):
    """Partitions that nobody writes to."""
    if partitions and bench.cluster:
        bench.cluster.create_topic("crowd", partitions)
        last = "/topics/crowd/partitions/%d/offsets" % (partitions - 1)
        riacho.wait_for(lambda: bench.cluster.get(last).status == 200, "the partitions", 60)
        time.sleep(2)


def latencies(result):
    return {name: result[name] for name in ("p50_ms", "p99_ms", "p999_ms", "seconds")}


def read(bench, _):
    """Raw batches and JSON, of 1000-byte and of 100-byte records."""
    with bench.running():
        for size, mib, raw_target, json_target in (
                (1000, 256, {"value": (">=", 250)}, {"value": (">=", 40)}),
                (100, 64, {}, {})):
            topic = bench.create_topic("read%d" % size)
            per_request = 200000 // size
            requests = (mib << 20) // (per_request * size)
            loads.fill(bench.gateway, topic, loads.numbered_body(per_request, size), requests)
            for accept, suffix, target in ((loads.RAW, "raw", raw_target),
                                           (loads.JSON, "json", json_target)):
                name = "read-%d-%s" % (size, suffix)
                with bench.measured(name) as usage:
                    result = loads.http_read(bench.tools, bench.gateway, topic, PARTITIONS,
                                             bench.options.readers, bench.seconds, accept,
                                             bench.options.max_bytes)
                bench.add(Row(name, result["bytes"] / result["seconds"] / 1e6, "MB/s",
                              usage, target, result["errors"], **latencies(result)))


TRANSFORM_SQL = "CREATE STREAM %s AS SELECT key, value FROM %s WHERE value->>'n' = 0"
TRANSFORM_BODY_RECORDS = 2000


def transform(bench, name):
    """Records that are there already: from the creation of the filter to its last output."""
    records = int(bench.options.millions * 1e6) // TRANSFORM_BODY_RECORDS * TRANSFORM_BODY_RECORDS
    with bench.running():
        bench.create_topic("source")
        loads.fill(bench.gateway, "source", loads.numbered_body(TRANSFORM_BODY_RECORDS, 100),
                   records // TRANSFORM_BODY_RECORDS)
        with bench.measured(name) as usage:
            began = time.monotonic()
            create_transform(bench)
            first, ended = follow(bench, records // 10, began)
        tasks = bench.gateway.get_json("/v1/transforms/kept").get("tasks", [])
    errors = sum(task.get("errors", 0) for task in tasks)
    bench.add(Row(name, records / (ended - began), "rec/s", usage,
                  {"value": (">=", 100000)}, errors, seconds=ended - began,
                  first_output_s=first - began, records=records))


def create_transform(bench):
    reply = bench.cluster.post("/v1/transforms", {"sql": TRANSFORM_SQL % ("kept", "source")})
    if reply.status not in (200, 201):
        raise Failed("creating the transform: %r" % reply)


def follow(bench, expected, began, stall=30):
    """Times of the first and of the last output; fails when nothing moves for `stall` seconds."""
    first, seen, moved = None, 0, time.monotonic()
    while True:
        try:
            count = bench.gateway.stored("kept")
        except Failed:  # the topic is being created
            count = 0
        now = time.monotonic()
        if count > seen:
            seen, moved = count, now
            first = first or now
        if seen >= expected:
            if seen > expected:
                raise Failed("the transform wrote %d records, not %d" % (seen, expected))
            return first, now
        if now - moved > stall:
            raise Failed("the transform stands at %d of %d after %.0f s"
                         % (seen, expected, now - began))
        time.sleep(0.05)


def transform_live(bench, name):
    """The filter runs while the source is being produced as fast as 16 connections can."""
    with bench.running():
        bench.create_topic("source")
        body = loads.numbered_body(TRANSFORM_BODY_RECORDS, 100)
        create_transform(bench)
        loads.fill(bench.gateway, "source", body, 20)
        follow(bench, 20 * TRANSFORM_BODY_RECORDS // 10, time.monotonic())
        before = bench.gateway.stored("source")
        requests = 0
        with bench.measured(name) as usage:
            began = time.monotonic()
            while time.monotonic() - began < bench.seconds:
                loads.fill(bench.gateway, "source", body, 50)
                requests += 50
            produced_s = time.monotonic() - began
            produced = requests * TRANSFORM_BODY_RECORDS
            behind = produced - (bench.gateway.stored("kept") * 10 - before)
            _, ended = follow(bench, (before + produced) // 10, began)
    bench.add(Row(name, produced / (ended - began), "rec/s", usage, {},
                  seconds=ended - began, produced_per_s=produced / produced_s,
                  behind_at_end=behind, catch_up_s=ended - began - produced_s))


def ready(bench, name):
    """From the first process's start to a gateway that is ready: the slowest of three."""
    worst = 0
    for _ in range(3):
        began = time.monotonic()
        with bench.running():
            worst = max(worst, time.monotonic() - began)
    bench.add(Row(name, worst, "s", None, {"value": ("<", 3)}))


def idle(bench, name):
    """CPU of all processes together, and the memory of each, with a topic and a transform."""
    with bench.running():
        bench.create_topic("source")
        create_transform(bench)
        loads.fill(bench.gateway, "source", loads.numbered_body(10, 100), 10)
        time.sleep(3)
        with bench.measured(name) as usage:
            time.sleep(bench.options.idle_seconds)
    usage.processes["client"]["cpu_s"] = 0
    total = sum(used["cpu_s"] for used in usage.processes.values())
    bench.add(Row(name, 100 * total / usage.seconds, "% of a core", usage,
                  {"value": ("<", 1)}, peak_kib_max=IDLE_KIB_MAX))


def rpc(bench, _):
    """Our messages between two processes, without a cluster."""
    subprocess.run([os.path.join(bench.tools, "net_bench"), "1"], check=True)


def state_machine(bench, name, tool, unit):
    """What the coordinator's state machine does alone, without the service."""
    folder = tempfile.mkdtemp()
    try:
        figures = loads.run_tool([os.path.join(bench.tools, tool), folder,
                                  str(1000 * min(bench.seconds, 4))], 120)
    finally:
        shutil.rmtree(folder)
    for case, figure in figures.items():
        bench.add(Row(name + "." + case, figure["per_s"], unit + "/s", None, {},
                      cpu_us=figure["cpu_us"], bytes_per_op=figure["bytes"]))
        print("%-29s %16d B written, %.1f us of CPU, per %s" % (
            "", figure["bytes"], figure["cpu_us"], unit), flush=True)


def groups(bench, _):
    """Operations on consumer groups."""
    state_machine(bench, "groups", "group_bench", "op")


def queues(bench, _):
    """Records of queues, received and acknowledged."""
    state_machine(bench, "queues", "queue_bench", "record")


def machine_baseline(bench):
    """What the machine itself can do, with nothing else running."""
    folder = tempfile.mkdtemp()
    try:
        figures = loads.run_tool([os.path.join(bench.tools, "machine_bench"), folder,
                                  str(MACHINE_STEP_MS)], 60)
    finally:
        shutil.rmtree(folder)
    figures["cores"] = os.cpu_count()
    one, three = figures["fdatasync"], figures["fdatasync_3_files"]
    ping = figures["tcp_ping_pong"]
    print("machine: %d cores; append 1000 B + fdatasync p50 %d p99 %d us, three files at once "
          "p50 %d p99 %d us; synced writes %d MB/s; TCP ping-pong p50 %d p99 %d us (%d/s); "
          "memcpy %d MB/s; CRC-32C %d MB/s" % (
              figures["cores"], one["p50_us"], one["p99_us"], three["p50_us"], three["p99_us"],
              figures["synced_write_mb_s"], ping["p50_us"], ping["p99_us"], ping["per_s"],
              figures["memcpy_mb_s"], figures["crc32c_mb_s"]), flush=True)
    return figures


BENCHMARKS = dict({"ready": ready, "idle": idle}, **{name: produce for name in PRODUCE})
BENCHMARKS.update({"read": read, "transform": transform, "transform-live": transform_live, "groups": groups,
                   "queues": queues})
# Not run unless named.
MORE = {"rpc": rpc, "catchup": catchup.catchup}


def parse_options():
    parser = argparse.ArgumentParser(
        description="Benchmarks: %s (all of them by default); %s." % (
            ", ".join(BENCHMARKS), ", ".join(MORE)))
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK",
                        help="names, or beginnings of names")
    parser.add_argument("--seconds", type=int, default=8, help="of each benchmark (8)")
    parser.add_argument("--idle-seconds", type=int, default=10)
    parser.add_argument("--millions", type=float, default=4,
                        help="records for the transform, in millions (4)")
    parser.add_argument("--readers", type=int, default=6, help="connections that read (6)")
    parser.add_argument("--stop-seconds", type=int, default=20,
                        help="catchup: so long a follower is stopped (20)")
    parser.add_argument("--catch-up-mb", type=float, default=10,
                        help="catchup: MB/s that are written meanwhile (10)")
    parser.add_argument("--max-bytes", type=int, default=1 << 20, help="of a page read (1 MiB)")
    parser.add_argument("--out", default="build/bench",
                        help="folder of results.json, profiles and the cluster's data (build/bench)")
    parser.add_argument("--compare", metavar="FILE", help="print ratios to an earlier results.json")
    parser.add_argument("--profile", action="store_true",
                        help="perf record every process (Debian: linux-perf); slows what it measures")
    parser.add_argument("--url", help="produce to a server that runs already instead of a cluster")
    parser.add_argument("--topic", default="bench", help="with --url: an existing topic")
    options = parser.parse_args()
    known = list(BENCHMARKS) + list(MORE)
    chosen = []
    for word in options.benchmarks or list(BENCHMARKS):
        found = [word] if word in known else [name for name in known if name.startswith(word)]
        if not found:
            parser.error("there is no benchmark %s" % word)
        chosen += [name for name in found if name not in chosen]
    options.benchmarks = chosen
    return options


def main():
    options = parse_options()
    options.out = os.path.abspath(options.out)
    data = os.path.join(options.out, "data")
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data)
    tempfile.tempdir = data  # where tests/lib/riacho.py puts a cluster
    bench = Bench(options)
    failed = []
    machine = machine_baseline(bench)
    print(report.heading(), flush=True)
    for name in options.benchmarks:
        try:
            (BENCHMARKS.get(name) or MORE[name])(bench, name)
        except (Failed, AssertionError, OSError, subprocess.SubprocessError) as error:
            failed.append(name)
            print("%-29s FAILED: %s" % (name, error), flush=True)
    results = os.path.join(options.out, "results.json")
    old = report.load(options.compare) if options.compare else None  # may be the file written next
    report.save(results, machine, bench.rows, {"seconds": options.seconds})
    missed = [row.name for row in bench.rows if row.missed()]
    print("\n%d rows in %s; %s" % (len(bench.rows), os.path.relpath(results),
                                   "MISSED: " + " ".join(missed) if missed else "no target missed"))
    if old:
        report.compare(old, machine, bench.rows)
    if failed:
        sys.exit("bench: failed: " + " ".join(failed))


if __name__ == "__main__":
    main()
