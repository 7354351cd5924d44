#!/usr/bin/env python3
"""What consuming as one of a group or of a queue costs; see docs/design/010-consuming.md.

Called by `tests/bench/run.sh consume [OPTION...] [PART...]`. Each part gets a cluster of its own on
loopback (1 coordinator, 3 storage, 1 replication, 1 gateway; churn: 2 gateways) and topics with synced
replication factor 3. A line for each figure: value, latencies, CPU seconds of each process and its peak
memory, and beside it what other programs took of the machine meanwhile. A target that is missed makes
it fail.
"""
import argparse
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "..", "lib")]
import riacho  # noqa: E402

import loads  # noqa: E402
from loads import Failed  # noqa: E402
from report import SAYS, number  # noqa: E402
from usage import Usage  # noqa: E402

TOOL = os.path.join(os.path.dirname(riacho.BIN), "tests", "bench", "consume", "group_clients")
BODY_RECORDS = 1000
READ_PARTITIONS = 16
MANY_PARTITIONS = 1000
POLL_PERIOD_MS = 10
CHURN_PARTITIONS = 32
CHURN_GROUPS = 4
CHURN_SESSION_MS = 1000
PROCESSES = ["gateway-1", "gateway-2", "storage-1", "storage-2", "storage-3", "replication-1",
             "coordinator", "client"]


class running:
    """with running() as cluster: ..., in a folder that goes away."""

    def __init__(self, **options):
        self.options = options

    def __enter__(self):
        self.cluster = riacho.Cluster(transform=0, **self.options)
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
        else:
            print("  data and logs are kept in %s %s" % (self.cluster.dir, "; ".join(failed)))
        return False


class Bench:
    def __init__(self, options):
        self.options, self.seconds, self.missed = options, options.seconds, []

    def add(self, what, value, unit, usage=None, result=None, **targets):
        """targets: figure or p50_ms or p99_ms = (sign, bound)."""
        result = result or {}
        seen = dict(result, figure=value)
        verdicts = []
        for name, (sign, bound) in targets.items():
            fine = SAYS[sign](seen[name], bound)
            verdicts.append("%s%s %g %s" % ("" if name == "figure" else name + " ", sign, bound,
                                            "ok" if fine else "MISSED"))
            if not fine:
                self.missed.append(what)
        if result.get("errors"):
            self.missed.append(what)
            verdicts.append("%d ERRORS" % result["errors"])
        print("%-44s %12s %-9s %s" % (what, number(value), unit, "; ".join(verdicts)))
        if "p50_ms" in result:
            print("%46s p50 %.2f, p99 %.2f, p99.9 %.2f ms; %d calls in %.1f s" % (
                "", result["p50_ms"], result["p99_ms"], result["p999_ms"], result["calls"],
                result["seconds"]))
        if usage is not None:
            print("%46s CPU s / peak MiB: %s; others: %.1f s in %.1f s; load %.1f" % (
                "", ", ".join(self.cost(usage)), usage.others_s, usage.seconds, os.getloadavg()[0]))
        sys.stdout.flush()

    @staticmethod
    def cost(usage):
        for name in PROCESSES:
            used = usage.processes.get(name)
            if used is not None:
                yield "%s %.2f" % (name, used["cpu_s"]) + (
                    "/%.0f" % (used["peak_kib"] / 1024) if used["peak_kib"] else "")


def usage_of(cluster):
    return Usage({name: process.popen.pid for name, process in cluster.processes.items()})


def clients(cluster, mode, topic, group, seconds, *more):
    return loads.run_tool([TOOL, mode, str(cluster.gateway_ports[0]), topic, group, str(seconds)]
                          + [str(word) for word in more], seconds + 90)


def fill(cluster, topic, records, size):
    loads.fill(loads.Gateway("127.0.0.1", cluster.gateway_ports[0]), topic,
               loads.numbered_body(BODY_RECORDS, size), max(1, records // BODY_RECORDS))


def in_sync(cluster, topic):
    seen = cluster.get("/topics/%s/partitions" % topic).json()
    return all(p["leader"] >= 0 and all(r["in_sync"] for r in p["replicas"]) for p in seen)


def create(cluster, topic, partitions, **config):
    config.setdefault("min.insync.replicas", "2")
    cluster.create_topic(topic, partitions, 3, **config)
    riacho.wait_for(lambda: in_sync(cluster, topic), "the topic", 120)


# ---- stream groups ----

def read(bench):
    """A topic that is in the page cache, read by one group after the other."""
    with running() as cluster:
        for size, records in ((1000, 200000), (100, 1000000)):
            topic = "t%d" % size
            create(cluster, topic, READ_PARTITIONS)
            fill(cluster, topic, records, size)
            for accept, name, partitions in ((loads.RAW, "raw", 1), (loads.JSON, "json", 4)):
                for consumers in (1, 8):
                    with usage_of(cluster) as usage:
                        result = clients(cluster, "read", topic, "%s-%d" % (name, consumers),
                                         bench.seconds, consumers, accept,
                                         min(partitions, READ_PARTITIONS // consumers), 1 << 20)
                    bench.add("group read, %d B, %s, %d consumers" % (size, name, consumers),
                              result["bytes"] / result["seconds"] / 1e6, "MB/s", usage, result)


def small(bench):
    """Calls that bring one record each: what a call costs."""
    with running() as cluster:
        create(cluster, "t", READ_PARTITIONS)
        fill(cluster, "t", 100000, 100)
        for consumers in (1, 8):
            with usage_of(cluster) as usage:
                result = clients(cluster, "read", "t", "small-%d" % consumers, bench.seconds, consumers,
                                 loads.RAW, 1, 1)
            bench.add("group read, one batch a call, %d consumers" % consumers,
                      result["calls"] / result["seconds"], "calls/s", usage, result)


def poll(bench):
    """From before the publishing call to the answer of a long poll that was parked."""
    with running() as cluster:
        for partitions in (1, 6):
            create(cluster, "p%d" % partitions, partitions)
            clients(cluster, "poll", "p%d" % partitions, "warm", 1, POLL_PERIOD_MS)
            with usage_of(cluster) as usage:
                result = clients(cluster, "poll", "p%d" % partitions, "g", bench.seconds,
                                 POLL_PERIOD_MS)
            if result["records"] < 0.9 * result["started"] - 2:
                raise Failed("%d of %d records came" % (result["records"], result["started"]))
            bench.add("publish to receive, parked, %d partitions" % partitions, result["p50_ms"],
                      "ms p50", usage, result, p50_ms=("<=", 3), p99_ms=("<=", 15))
            print("%46s of it until the write is acknowledged: p50 %.2f, p99 %.2f ms" % (
                "", result["publishing_p50_ms"], result["publishing_p99_ms"]), flush=True)


class Member:
    """Reads with its cursor and knows which partitions it was given records of."""

    def __init__(self, cluster, name):
        self.cluster, self.name, self.cursor = cluster, name, None

    def read_all(self, wanted, seconds=30):
        """Until it was given records of so many partitions. Returns the seconds it took, and the first
        answer's."""
        seen = set()
        began = time.monotonic()
        first_s = None
        while len(seen) < wanted:
            query = {"topics": "t", "member": self.name, "max_partitions": 64, "wait_ms": 1000,
                     "session_ms": 60000}
            if self.cursor:
                query["after"] = self.cursor
            reply = self.cluster.post("/v1/groups/g/records", query)
            if reply.status != 200:
                raise Failed("reading as %s: %r" % (self.name, reply))
            page = reply.json()
            first_s = first_s or time.monotonic() - began
            seen.update(p["partition"] for p in page["partitions"])
            self.cursor = page["cursor"]
            if time.monotonic() - began > seconds:
                raise Failed("%s has read %d of %d partitions in %d s" % (
                    self.name, len(seen), wanted, seconds))
        reply = self.cluster.post("/v1/groups/g/commit",
                                  {"cursor": self.cursor, "member": self.name})
        if reply.status != 200:
            raise Failed("the commit of %s: %r" % (self.name, reply))
        self.cursor = None
        return time.monotonic() - began, first_s


def a_record_each(cluster):
    records = [{"partition": p, "value": p} for p in range(MANY_PARTITIONS)]
    reply = cluster.produce_v2("t", records)
    if reply.status != 200 or any(o.get("offset") is None for o in reply.json()["offsets"]):
        raise Failed("a record for each partition: %r" % reply)


def rebalance(bench):
    """A group with 1,000 partitions, each with records: a second member joins, and leaves. Done when
    each partition's records have been given to the member that has it now."""
    with running() as cluster:
        create(cluster, "t", MANY_PARTITIONS)
        a, b = Member(cluster, "a"), Member(cluster, "b")
        a_record_each(cluster)
        took, _ = a.read_all(MANY_PARTITIONS)
        bench.add("1,000 partitions: a first member reads each", took, "s")
        joins, leaves, firsts = [], [], []
        for _ in range(bench.options.rounds):
            a_record_each(cluster)
            with usage_of(cluster) as join_usage:
                took, first_s = b.read_all(MANY_PARTITIONS // 2)
            joins.append(took)
            firsts.append(first_s)
            a.read_all(MANY_PARTITIONS // 2)
            a_record_each(cluster)
            began = time.monotonic()
            left = cluster.request("DELETE", "/v1/groups/g/members/b")
            if left.status != 204:
                raise Failed("leaving: %r" % left)
            a.read_all(MANY_PARTITIONS)
            leaves.append(time.monotonic() - began)
        bench.add("1,000 partitions: join, the new member reads 500", max(joins), "s", join_usage,
                  figure=("<", 1))
        bench.add("1,000 partitions: join, its first answer", max(firsts), "s")
        bench.add("1,000 partitions: leave, the other reads 1,000", max(leaves), "s", None,
                  figure=("<", 1))


def churn(bench):
    """Members that come and go, half of them without a word."""
    with running(gateways=2) as cluster:
        create(cluster, "t", CHURN_PARTITIONS)
        fill(cluster, "t", 10000, 100)
        quarter = max(2, bench.options.churn_seconds // 4)
        names = ("coordinator", "gateway-1", "storage-1")
        memory = []
        for part in range(4):
            with usage_of(cluster) as usage:
                result = clients(cluster, "churn", "t", "c", quarter, bench.options.churn_rate,
                                 CHURN_GROUPS, CHURN_SESSION_MS)
            memory.append([cluster[name].resident_kib() for name in names])
            bench.add("churn, part %d of 4: members came" % (part + 1), result["started"], "members",
                      usage, result)
            print("%46s resident KiB: %s" % ("", ", ".join(
                "%s %d" % pair for pair in zip(names, memory[-1]))), flush=True)
        for i, name in enumerate(names):
            bench.add("churn: memory of %s, last part's growth" % name,
                      (memory[3][i] - memory[1][i]) / 1024, "MiB", None, figure=("<=", 4))
        time.sleep(2 * CHURN_SESSION_MS / 1000)
        left = 0
        for n in range(CHURN_GROUPS):
            cluster.get("/v1/groups/c-%d/records?topics=t&member=last" % n)
            left += len(cluster.get("/v1/groups/c-%d" % n).json()["members"]) - 1
        bench.add("churn: members that are left when all are gone", left, "", None, figure=("<=", 0))
        size = sum(os.path.getsize(os.path.join(folder, name))
                   for folder, _, files in os.walk(cluster.path("coordinator")) for name in files)
        bench.add("churn: the coordinator's files", size / 1048576, "MiB", None, figure=("<=", 32))


# ---- queues ----

def queue(bench):
    """Records received and acknowledged, one call each for a batch."""
    with running() as cluster:
        for order, consumers_of in (("none", {100: 8, 1: 32}), ("key", {100: 8, 1: 32})):
            topic = "q-" + order
            create(cluster, topic, 6)
            fill(cluster, topic, bench.options.queue_records, 100)
            for batch, consumers in consumers_of.items():
                group = "g%d" % batch
                opened = cluster.request("PUT", "/v1/queues/%s/%s" % (topic, group),
                                         {"order": order, "lock_ms": 30000})
                if opened.status not in (200, 201):
                    raise Failed("opening a queue: %r" % opened)
                with usage_of(cluster) as usage:
                    result = clients(cluster, "queue", topic, group, bench.seconds, consumers, batch)
                target = {} if order == "key" else {"figure": (">=", 20000 if batch == 100 else 3000)}
                bench.add("queue, order %s, by %d, %d consumers" % (order, batch, consumers),
                          result["records"] / result["seconds"], "records/s", usage, result, **target)


PARTS = {"read": read, "small": small, "poll": poll, "rebalance": rebalance, "churn": churn,
         "queue": queue}


def main():
    parser = argparse.ArgumentParser(description="Parts: %s (all by default)." % ", ".join(PARTS))
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--seconds", type=int, default=8, help="of each load (8)")
    parser.add_argument("--rounds", type=int, default=3, help="of joining and leaving (3)")
    parser.add_argument("--churn-seconds", type=int, default=60)
    parser.add_argument("--churn-rate", type=int, default=334, help="members a second (334)")
    parser.add_argument("--queue-records", type=int, default=400000)
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error("there is no part %s" % unknown[0])
    bench, failed = Bench(options), []
    for part in options.parts or PARTS:
        try:
            PARTS[part](bench)
        except (Failed, AssertionError, OSError, subprocess.SubprocessError) as error:
            failed.append(part)
            print("%s FAILED: %s" % (part, error), flush=True)
    if bench.missed:
        print("MISSED: " + "; ".join(bench.missed))
    if failed:
        sys.exit("failed: " + " ".join(failed))
    if bench.missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
