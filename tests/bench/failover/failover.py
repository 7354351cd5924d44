#!/usr/bin/env python3
"""What the death, the pause and the restart of a storage node cost; see docs/design/008-failover.md.

Called by `make bench-failover` and `tests/bench/run.sh failover [OPTION...] [PART...]`. Each part gets
a cluster of its own on loopback (1 coordinator, 3 storage, 1 replication, 1 gateway) and empty data
folders. Ends with one table; a target that is missed makes it fail.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "..", "lib")]
import riacho  # noqa: E402

import loads  # noqa: E402
from loads import Failed  # noqa: E402

GROUP_SIZE = 25  # partitions that one request of the probe writes
RECORDS_PER_SECOND = 500  # of the probe, over all partitions
VALUE_SIZE = 100
SETTLE_S = 120
POLL_S = 0.1  # between two looks at thousands of partitions
GIB = 1 << 30
BODY_RECORDS = 1000
BODY_VALUE = 1000
COOL_S = 10  # after the last fault, memory and descriptors are back
MEMORY_FACTOR, MEMORY_MIB = 1.25, 8  # what a process may have more then: times that before, and that much
DESCRIPTORS = 16


def say(text):
    print("  " + text, flush=True)


class Table:
    """Rows of (what, value, unit, target): the target is the largest (<=) or smallest (>=) value."""

    def __init__(self):
        self.rows = []

    def add(self, what, value, unit, sign=None, bound=None):
        ok = None if sign is None else value <= bound if sign == "<=" else value >= bound
        self.rows.append((what, value, unit, sign, bound, ok))
        say(self.line(self.rows[-1]))

    @staticmethod
    def line(row):
        what, value, unit, sign, bound, ok = row
        target = "" if sign is None else "%s %g" % (sign, bound)
        return "%-62s %12s %-8s %-9s %s" % (
            what, "{:,.0f}".format(value) if abs(value) >= 100 else "%.3g" % value, unit, target,
            "" if ok is None else "ok" if ok else "MISSED")

    def missed(self):
        return [row[0] for row in self.rows if row[5] is False]

    def show(self):
        print("\n%-62s %12s %-8s %s" % ("", "value", "", "target"))
        for row in self.rows:
            print(self.line(row))


def quantile(values, per_cent):
    """The smallest value that so many per cent do not exceed."""
    return sorted(values)[(len(values) * per_cent + 99) // 100 - 1]


# ---- the cluster ----

class running:
    """with running() as cluster: ..., in a folder that goes away."""

    def __enter__(self):
        self.cluster = riacho.Cluster(transform=0)
        try:
            self.cluster.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self.cluster

    def __exit__(self, kind, error, trace):
        for process in self.cluster.processes.values():
            if process.alive():
                process.popen.send_signal(signal.SIGCONT)
        failed = self.cluster.stop()
        if kind is None and not failed:
            shutil.rmtree(self.cluster.dir, ignore_errors=True)
        else:
            say("data and logs are kept in %s %s" % (self.cluster.dir, "; ".join(failed)))
        return False


def partitions_of(cluster, topic):
    """As the gateway knows them. (The description under /v1 asks every leader for its offsets: that
    would be load, and waits for the dead.)"""
    parts = cluster.get("/topics/%s/partitions" % topic).json()
    return [{"partition": p["partition"], "leader": p["leader"],
             "replicas": [r["broker"] for r in p["replicas"]],
             "isr": [r["broker"] for r in p["replicas"] if r["in_sync"]]} for p in parts]


def node_ids(cluster):
    """{process name: node id} by the addresses."""
    seen = cluster.get("/v1/cluster").json()["processes"]
    by_port = {p["address"].rsplit(":", 1)[1]: p["node_id"] for p in seen if p["role"] == "storage"}
    return {name: by_port[str(port)] for name, port in cluster.storage_ports.items()}


def in_sync(cluster, topic):
    time.sleep(POLL_S)
    return all(p["leader"] >= 0 and len(p["isr"]) == len(p["replicas"])
               for p in partitions_of(cluster, topic))


def leads_as_preferred(cluster, topic):
    time.sleep(POLL_S)
    return all(p["leader"] == p["replicas"][0] for p in partitions_of(cluster, topic))


def settle(cluster, topic):
    """Everybody in sync, preferred leaders back. Returns whether they came back."""
    riacho.wait_for(lambda: in_sync(cluster, topic), "every replica to be in sync", SETTLE_S)
    try:
        riacho.wait_for(lambda: leads_as_preferred(cluster, topic), "preferred leaders", 20)
    except AssertionError:
        return False
    return True


def create_topic(cluster, name, partitions, **config):
    config.setdefault("min.insync.replicas", "2")
    try:
        cluster.create_topic(name, partitions, 3, **config)
    except AssertionError as error:  # too slow to be answered: it comes all the same
        say("creating the topic: %s" % error)
    riacho.wait_for(lambda: len(partitions_of(cluster, name)) == partitions, "the topic", SETTLE_S)
    settle(cluster, name)


def cost_of(cluster):
    """{process: (resident KiB, open descriptors)}."""
    return {name: process.cost() for name, process in cluster.processes.items()}


def wait_for_log(process, tag, skip, timeout=120):
    """Seconds on the wall until the process has logged `tag` behind the first `skip` bytes."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with open(process.log, "rb") as log:
            log.seek(skip)
            if tag in log.read():
                return
        if not process.alive():
            raise Failed("%s ended" % process.name)
        time.sleep(0.005)
    raise Failed("%s is not ready after %d s" % (process.name, timeout))


def start_timed(process):
    """Seconds from exec to ready."""
    skip = os.path.getsize(process.log)
    began = time.monotonic()
    process.start()
    wait_for_log(process, b"storage.ready", skip)
    return time.monotonic() - began


# ---- the probe ----

class Probe:
    """write_probe over every partition of a topic, in groups that share a leader."""

    def __init__(self, cluster, topic, records_per_second):
        self.cluster, self.topic = cluster, topic
        partitions = partitions_of(cluster, topic)
        self.period_ms = max(20, 1000 * len(partitions) // records_per_second)
        tool = os.path.join(os.path.dirname(riacho.BIN), "tests", "bench", "failover",
                            "write_probe")
        self.popen = subprocess.Popen(
            [tool, "127.0.0.1", str(cluster.gateway_ports[0]), topic, str(VALUE_SIZE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        by_leader = {}
        for p in partitions:
            by_leader.setdefault(p["leader"], []).append(p["partition"])
        for leader, numbers in by_leader.items():
            for i in range(0, len(numbers), GROUP_SIZE):
                self.tell("group %d %s" % (leader, " ".join(map(str, numbers[i:i + GROUP_SIZE]))))
        self.tell("go %d" % self.period_ms)

    def tell(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def ask(self, line):
        self.tell(line)
        answer = self.popen.stdout.readline()
        if not answer:
            raise Failed("write_probe ended with %r" % self.popen.wait())
        return json.loads(answer)

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(10)


# ---- parts ----

def fault_rounds(bench, cluster, topic, partitions, sig, costs):
    """Fault after fault, each storage node in turn. Returns the answers of the probe; adds to costs what the
    processes have when every partition is written again, and when every replica is in sync again."""
    ids = node_ids(cluster)
    answers = []
    began = time.monotonic()
    probe = Probe(cluster, topic, bench.rate)
    try:
        time.sleep(3 * probe.period_ms / 1000)
        steady = probe.ask("stats")
        say("%d partitions written %d times a second, steady: p50 %.1f p99 %.1f max %.1f ms" % (
            partitions, bench.rate, steady["p50_ms"], steady["p99_ms"], steady["max_ms"]))
        for i in range(bench.rounds):
            victim = "storage-%d" % (1 + i % 3)
            process = cluster[victim]
            answer = probe.ask("fault %d %d %d" % (process.popen.pid, sig, ids[victim]))
            say("%s of %s: its %d partitions are written again after p50 %.0f p99 %.0f max %.0f ms; "
                "the others p99 %.0f max %.0f ms; %d errors" % (
                    signal.Signals(sig).name, victim, answer["hit"]["count"],
                    answer["hit"]["p50_ms"], answer["hit"]["p99_ms"], answer["hit"]["max_ms"],
                    answer["others"]["p99_ms"], answer["others"]["max_ms"], answer["errors"]))
            answers.append(answer)
            costs.append(cost_of(cluster))
            if sig == signal.SIGSTOP:
                process.popen.send_signal(signal.SIGCONT)
            else:
                process.popen.wait()
                process.start()
            came_back = settle(cluster, topic)
            costs.append(cost_of(cluster))
            if not came_back:
                probe.close()  # other leaders than before: other groups
                probe = Probe(cluster, topic, bench.rate)
            time.sleep(bench.pause_s)
    finally:
        probe.close()
    say("%d faults took %.0f s" % (len(answers), time.monotonic() - began))
    return answers


def add_fault_rows(bench, what, answers, aim_s):
    all_max = [max(a["hit"]["max_ms"], a["others"]["max_ms"]) / 1000 for a in answers]
    bench.table.add(what + ", median partition of the node", quantile(
        [a["hit"]["p50_ms"] / 1000 for a in answers], 50), "s")
    bench.table.add(what + ", every partition: p50", quantile(all_max, 50), "s", "<=", aim_s)
    bench.table.add(what + ", every partition: p99", quantile(all_max, 99), "s", "<=", 2)
    bench.table.add(what + ", every partition: max of %d" % len(answers), max(all_max), "s",
                    "<=", 2)
    bench.table.add(what + ", requests that failed", sum(a["errors"] for a in answers), "", "<=", 0)


def faults(bench, partitions):
    with running() as cluster:
        create_topic(cluster, "load", partitions)
        warm = Probe(cluster, "load", bench.rate)
        time.sleep(2 * warm.period_ms / 1000 + 2)
        warm.close()
        before, during = cost_of(cluster), []
        # A pause is noticed when the session is over, a death when the connection breaks.
        for sig, name, aim_s in ((signal.SIGKILL, "kill -9", 1), (signal.SIGSTOP, "SIGSTOP", 1.6)):
            answers = fault_rounds(bench, cluster, "load", partitions, sig, during)
            add_fault_rows(bench, "%d partitions: %s" % (partitions, name), answers, aim_s)
        time.sleep(COOL_S)
        add_cost_rows(bench, partitions, before, during, cost_of(cluster))


def add_cost_rows(bench, partitions, before, during, after):
    """What a process has more at the end than at the beginning; the worst of them."""
    for name in before:
        most = [max(cost[name][i] for cost in during) for i in (0, 1)]
        say("%-14s before: %6.1f MiB %5d descriptors; most: %6.1f MiB %5d; %d s after: %6.1f MiB %5d"
            % (name, before[name][0] / 1024, before[name][1], most[0] / 1024, most[1], COOL_S,
               after[name][0] / 1024, after[name][1]))
    growth = max((after[n][0] - MEMORY_FACTOR * before[n][0]) / 1024 for n in before)
    bench.table.add("%d partitions: memory beyond %g times that before" % (
        partitions, MEMORY_FACTOR), growth, "MiB", "<=", MEMORY_MIB)
    growth = max(after[n][1] - before[n][1] for n in before)
    bench.table.add("%d partitions: descriptors beyond those before" % partitions, growth, "",
                    "<=", DESCRIPTORS)


def faults_1000(bench):
    faults(bench, bench.partitions[0])


def faults_5000(bench):
    faults(bench, bench.partitions[1])


def fill(cluster, topic, size):
    body = loads.numbered_body(BODY_RECORDS, BODY_VALUE)
    gateway = loads.Gateway("127.0.0.1", cluster.gateway_ports[0])
    loads.fill(gateway, topic, body, max(4, size // (BODY_RECORDS * BODY_VALUE)))


def restarts(bench):
    """A node with a large log: ended cleanly, and killed while it was written."""
    gib = bench.log_size / GIB
    with running() as cluster:
        create_topic(cluster, "load", 6)
        fill(cluster, "load", bench.log_size)
        riacho.wait_for(lambda: in_sync(cluster, "load"), "every replica to be in sync", SETTLE_S)
        node = cluster["storage-2"]
        node.stop(60)
        bench.table.add("restart of a clean node with %.2g GiB of log" % gib, start_timed(node), "s",
                        "<=", 1)
        settle(cluster, "load")
        failures = []
        writer = threading.Thread(target=fill_until_killed, args=(cluster, failures))
        writer.start()
        time.sleep(1)
        node.kill()
        seconds = start_timed(node)
        writer.join()
        if failures:
            raise Failed(failures[0])
        bench.table.add("restart after kill -9 with %.2g GiB of log" % gib, seconds, "s", "<=",
                        5 * max(1, gib))
        settle(cluster, "load")


def many_restarts(bench):
    """A node with many small logs: ended cleanly, and killed while they were written."""
    partitions = bench.partitions[1]
    with running() as cluster:
        create_topic(cluster, "load", partitions)
        node, ids = cluster["storage-2"], node_ids(cluster)
        probe = Probe(cluster, "load", bench.rate)
        time.sleep(2 * probe.period_ms / 1000 + 2)
        probe.ask("fault %d %d %d" % (node.popen.pid, signal.SIGKILL, ids["storage-2"]))
        probe.close()
        node.popen.wait()
        bench.table.add("restart after kill -9 with %d logs" % partitions, start_timed(node), "s",
                        "<=", 5)
        settle(cluster, "load")
        node.stop(60)
        bench.table.add("restart of a clean node with %d logs" % partitions, start_timed(node), "s",
                        "<=", 5)
        settle(cluster, "load")


def fill_until_killed(cluster, failures):
    try:
        fill(cluster, "load", 64 << 20)
    except (Failed, OSError) as error:
        failures.append(str(error))


def steady(bench, cluster):
    gateway = loads.Gateway("127.0.0.1", cluster.gateway_ports[0])
    return loads.wrk(gateway, "load", bench.seconds, connections=16, records=1, size=100,
                     kind="json", keys=1000)


def paused_follower(bench):
    """Latency of produce with all nodes, and with one that is stopped and out of the in-sync sets."""
    with running() as cluster:
        create_topic(cluster, "load", 6)
        steady(bench, cluster)  # warm
        whole = steady(bench, cluster)
        process, stopped = cluster["storage-3"], node_ids(cluster)["storage-3"]
        process.popen.send_signal(signal.SIGSTOP)
        riacho.wait_for(lambda: all(stopped not in p["isr"] for p in partitions_of(cluster, "load")),
                        "the stopped node to leave the in-sync sets", 60)
        time.sleep(1)
        without = steady(bench, cluster)
        process.popen.send_signal(signal.SIGCONT)
        settle(cluster, "load")
    bench.table.add("produce p99 with all nodes", whole["p99_ms"], "ms")
    bench.table.add("produce p99 with one follower stopped", without["p99_ms"], "ms", "<=",
                    round(1.2 * whole["p99_ms"] + 2, 1))
    bench.table.add("produce requests per second with all nodes", whole["requests"] /
                    whole["seconds"], "req/s")
    bench.table.add("produce requests per second with one follower stopped", without["requests"] /
                    without["seconds"], "req/s")


def log_bytes(path):
    """Allocated bytes of the record files below a data folder."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            if name.endswith(".log"):
                try:
                    total += os.stat(os.path.join(folder, name)).st_size
                except OSError:
                    pass
    return total


def catch_up(bench):
    """A node that missed a lot comes back: how fast it catches up, and what traffic feels of it."""
    with running() as cluster:
        create_topic(cluster, "load", 6)
        steady(bench, cluster)
        before = steady(bench, cluster)
        node = cluster["storage-3"]
        node.stop(60)
        fill(cluster, "load", bench.catch_up_size)
        missed = log_bytes(cluster.path("storage-1")) - log_bytes(cluster.path("storage-3"))
        alone = timed_catch_up(cluster, node)
        bench.table.add("catch-up of %d MiB, nothing else running" % (missed >> 20),
                        missed / alone / 1e6, "MB/s")
        node.stop(60)
        fill(cluster, "load", bench.catch_up_size)
        result = []
        load = threading.Thread(target=lambda: result.append(steady(bench, cluster)))
        load.start()
        time.sleep(0.5)
        missed = log_bytes(cluster.path("storage-1")) - log_bytes(cluster.path("storage-3"))
        beside = timed_catch_up(cluster, node)
        load.join()
        bench.table.add("catch-up of %d MiB beside running traffic" % (missed >> 20),
                        missed / beside / 1e6, "MB/s")
    if not result:
        raise Failed("the load beside the catch-up failed")
    bench.table.add("produce p99 before", before["p99_ms"], "ms")
    bench.table.add("produce p99 during catch-up", result[0]["p99_ms"], "ms", "<=",
                    round(2 * before["p99_ms"] + 10, 1))
    bench.table.add("produce requests per second during catch-up, of those before",
                    100 * (result[0]["requests"] / result[0]["seconds"]) /
                    (before["requests"] / before["seconds"]), "%")


def timed_catch_up(cluster, node):
    riacho.wait_for(lambda: not in_sync(cluster, "load"), "the node to have left", 20)
    start_timed(node)
    began = time.monotonic()
    riacho.wait_for(lambda: in_sync(cluster, "load"), "the node to catch up", 600)
    return time.monotonic() - began


PARTS = {"faults-1000": faults_1000, "faults-5000": faults_5000, "restart": restarts,
         "restart-many": many_restarts,
         "paused-follower": paused_follower, "catch-up": catch_up}


class Bench:
    def __init__(self, options):
        self.table = Table()
        self.partitions = (50, 100) if options.quick else (1000, 5000)
        self.rounds = options.rounds or (2 if options.quick else 20)
        self.rate = options.rate
        self.pause_s = 0.5 if options.quick else 2
        self.log_size = (64 << 20) if options.quick else GIB
        self.catch_up_size = (64 << 20) if options.quick else (512 << 20)
        self.seconds = 3 if options.quick else 15


def parse_options():
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh failover", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="of: " + ", ".join(PARTS))
    parser.add_argument("--quick", action="store_true",
                        help="50 and 100 partitions, two faults each, small logs: does it work?")
    parser.add_argument("--rounds", type=int, help="faults of each kind (20)")
    parser.add_argument("--rate", type=int, default=RECORDS_PER_SECOND,
                        help="records per second over all partitions (%d)" % RECORDS_PER_SECOND)
    parser.add_argument("--out", default="build/bench", help="folder of the cluster's data")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error("there is no part %s" % part)
    return options


def main():
    options = parse_options()
    data = os.path.join(os.path.abspath(options.out), "failover")
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data)
    tempfile.tempdir = data
    bench = Bench(options)
    failed = []
    for name in options.parts or PARTS:
        print(name, flush=True)
        try:
            PARTS[name](bench)
        except (Failed, AssertionError, OSError, subprocess.SubprocessError) as error:
            failed.append(name)
            print("  FAILED: %s" % error, flush=True)
    bench.table.show()
    missed = bench.table.missed()
    if failed or missed:
        sys.exit("failover: failed: %s; missed: %s" % (", ".join(failed) or "none",
                                                       ", ".join(missed) or "none"))


if __name__ == "__main__":
    main()
