#!/usr/bin/env python3
"""A cluster of real processes in network namespaces, under load, with a nemesis; see README.md.

    nemesis.py [--seconds=60] [--seed=N] [--only=kill,pause] [--keep] [--checker=PROGRAM]
"""
import argparse
import os
import random
import shutil
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import faults  # noqa: E402
import net  # noqa: E402
from cluster import OPEN_SEGMENTS, NetCluster, riacho  # noqa: E402
from load import History, Producer, Reader  # noqa: E402
from verdict import Verdict  # noqa: E402

HEALED_S = 15  # promise 7
SETTLE_S = 60  # until every replica is in sync again
# What a process may have more in the end: memory, times that before and MiB beyond; descriptors.
WARM_S, COOL_S = 2, 10
MEMORY_FACTOR, MEMORY_MIB, DESCRIPTORS = 1.25, 16, 16 + OPEN_SEGMENTS
# Several times what the load writes, and small enough to be filled by the nemesis.
DISK_MIB, DISK_MIB_PER_S = 128, 1
TOPICS = (("load", 4, {}), ("rolls", 2, {"segment.bytes": "65536"}))


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1000000)
    parser.add_argument("--with", dest="more", default="", help="of: " + ",".join(faults.OPTIONAL))
    parser.add_argument("--only", default="", help="these faults and no others")
    parser.add_argument("--keep", action="store_true", help="data, logs and history stay")
    parser.add_argument("--checker", default="build/debug/tests/sim/check_history")
    return parser.parse_args()


class Run:
    def __init__(self, chosen):
        self.chosen, self.passed, self.failed = chosen, 0, 0
        self.random = random.Random(chosen.seed)
        self.cluster = NetCluster(net.Net(), int(DISK_MIB + DISK_MIB_PER_S * chosen.seconds))
        self.history = History()
        self.clients, self.readers = [], 0
        kinds = set(filter(None, chosen.only.split(","))) or set(faults.ALWAYS)
        kinds |= set(filter(None, chosen.more.split(",")))
        self.nemesis = faults.Nemesis(self.cluster, chosen.seed, kinds, self.say, self.on_scale)

    def say(self, text):
        print("%7.2f %s" % (self.history.now(), text), flush=True)

    # ---- load ----

    def add_topic(self, name, partitions, config):
        self.cluster.create_topic(name, partitions=partitions, replicas=3,
                                  **{"min.insync.replicas": "2", "replica.lag.time.max.ms": "3000",
                                     **config})
        for partition in range(partitions):
            for idempotent in (True, True, False) if partition == 0 else (True,):
                self.start(Producer(self.cluster, self.history, name, partition,
                                    self.random.random(), idempotent))
            self.start(Reader(self.cluster, self.history, self.readers, name, partition,
                              self.random.random()))
            self.readers += 1

    def start(self, client):
        self.clients.append(client)
        client.start()

    def on_scale(self, role):
        """A new storage node is given something to do, if the cluster is able to."""
        if role == "storage":
            try:
                self.add_topic("late", 2, {})
            except Exception as error:  # the nemesis may have everything down
                self.say("no topic for the new node: %r" % error)

    def producers(self):
        return [c for c in self.clients if isinstance(c, Producer)]

    # ---- steps ----

    def test(self, name, step):
        """One line of the result."""
        try:
            said = step()
            self.passed += 1
            print("ok   %s%s" % (name, ": %s" % said if said else ""), flush=True)
            return True
        except Exception:
            self.failed += 1
            print("FAIL %s" % name, flush=True)
            traceback.print_exc(file=sys.stdout)
            return False

    def under_faults(self):
        try:
            self.nemesis.run(self.chosen.seconds)
        finally:
            self.nemesis.heal()
            self.healed = time.monotonic()
        counts = ", ".join("%s %d" % item for item in sorted(self.nemesis.counts.items()))
        return "%s; acknowledged %d, unknown %d, failed %d" % (
            counts, self.history.counts.get("ACK", 0), self.history.counts.get("UNKNOWN", 0),
            self.history.counts.get("FAIL", 0))

    def accepts_again(self):
        """Every partition, within the promised time since the last fault ended."""
        for topic, partition in list(self.history.partitions):
            producers = [p for p in self.producers()
                         if p.idempotent and (p.topic, p.number) == (topic, partition)]
            left = self.healed + HEALED_S * riacho.PATIENCE - time.monotonic()

            def is_written():
                self.nemesis.check_processes()
                assert any(p.last_ack is not None and p.last_ack > self.healed for p in producers), \
                    "; ".join(p.said for p in producers)
                return True
            riacho.wait_for(is_written, "%s/%d to be written" % (topic, partition),
                            max(0.1, left) / riacho.PATIENCE)
            readers = [c for c in self.clients if isinstance(c, Reader) and
                       (c.topic, c.number) == (topic, partition)]
            end = max(p.last_offset for p in producers)
            riacho.wait_for(lambda: all(r.offset > end for r in readers),
                            "%s/%d to be read up to %d" % (topic, partition, end),
                            max(0.1, left) / riacho.PATIENCE)
        self.nemesis.check_processes()
        return "in %.1f s" % (time.monotonic() - self.healed)

    def clients_did_not_break(self):
        for client in self.clients:
            client.halt.set()
        for client in self.clients:
            client.join(60 * riacho.PATIENCE)
            assert not client.is_alive(), "a client hangs"
        for client in self.producers():
            client.finish()
        errors = [repr(c.error) for c in self.clients if c.error is not None]
        assert not errors, "\n".join(errors)

    def describe(self):
        topics = sorted(set(topic for topic, _ in self.history.partitions))
        described = {topic: self.cluster.get("/v1/topics/" + topic).json() for topic in topics}
        for topic in described.values():
            for p in topic["partitions"]:
                if sorted(p["isr"]) != sorted(p["replicas"]) or p["high_watermark"] is None:
                    return None
        moves = self.cluster.get("/v1/moves")
        if moves.status == 200 and moves.json()["moves"]:
            return None
        return described

    def gets_in_sync(self):
        self.described = riacho.wait_for(self.describe, "every replica to be in sync", SETTLE_S)
        nodes = self.cluster.get("/v1/cluster").json()["processes"]
        hosts = {host: name for name, host in self.cluster.net.addresses.items()}
        self.cluster.node_names = {
            p["node_id"]: hosts[p["address"].split("//")[1].split(":")[0]]
            for p in nodes if p["role"] == "storage"}

    def costs(self):
        return {name: process.cost() for name, process in self.cluster.processes.items()}

    def too_much(self, before):
        """What has not come back, of processes that there were before; those that were restarted, too."""
        after, said = self.costs(), []
        for name, (kib, descriptors) in before.items():
            if after[name][0] > MEMORY_FACTOR * kib + MEMORY_MIB * 1024 and "asan" not in riacho.BIN:
                said.append("%s: %d KiB, before %d" % (name, after[name][0], kib))
            if after[name][1] > descriptors + DESCRIPTORS:
                said.append("%s: %d descriptors, before %d" % (name, after[name][1], descriptors))
        return said

    def gives_back(self):
        """The clients are gone, and nothing is under way any more."""
        deadline = time.monotonic() + COOL_S * riacho.PATIENCE
        while self.too_much(self.before) and time.monotonic() < deadline:
            time.sleep(0.5)
        said = self.too_much(self.before)
        assert not said, "; ".join(said)
        after = self.costs()
        return "at most %.1f MiB and %d descriptors more than before" % (
            max(after[n][0] - self.before[n][0] for n in self.before) / 1024,
            max(after[n][1] - self.before[n][1] for n in self.before))

    def stops(self):
        for process in self.cluster.processes.values():
            process.wanted = False
        failed = self.cluster.stop()
        assert not failed, "; ".join(failed)

    def verdict(self):
        verdict = Verdict(self.cluster, self.history, self.nemesis.damaged)
        verdict.read_logs(self.described)
        verdict.add_to_history()
        self.test("replicas are equal", lambda: "%d batches" % verdict.check_replicas())
        self.test("history", lambda: verdict.check_history(
            self.chosen.checker, os.path.join(self.cluster.dir, "history.txt")))

    def run(self):
        try:
            self.cluster.start()
            for name, partitions, config in TOPICS:
                self.add_topic(name, partitions, config)
            time.sleep(WARM_S)
            self.before = self.costs()
            self.test("under faults", self.under_faults)
            self.test("accepts again", self.accepts_again)
            self.test("clients get answers", self.clients_did_not_break)
            in_sync = self.test("gets in sync", self.gets_in_sync)
            self.test("gives back", self.gives_back)
            if self.test("stops", self.stops) and in_sync:
                self.verdict()
        finally:
            self.cluster.stop()


def show_ends(cluster):
    for process in cluster.processes.values():
        try:
            with open(process.log, errors="replace") as log:
                print("--- %s\n%s" % (process.name, "".join(log.readlines()[-12:])), end="")
        except OSError:
            pass


def main():
    chosen = options()
    try:
        net.enter(riacho.BIN)
        run = Run(chosen)
    except net.Unavailable as error:
        print("nemesis: skipped: %s\n0 passed, 0 failed, 1 skipped" % error)
        return 0
    print("seed %d, %g s" % (chosen.seed, chosen.seconds), flush=True)
    try:
        run.run()
    except Exception:
        run.failed += 1
        traceback.print_exc(file=sys.stdout)
    if run.failed or chosen.keep:
        if run.failed:
            show_ends(run.cluster)
        print("logs and history are in %s" % run.cluster.dir)
    else:
        shutil.rmtree(run.cluster.dir, ignore_errors=True)
    print("%d passed, %d failed" % (run.passed, run.failed))
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
