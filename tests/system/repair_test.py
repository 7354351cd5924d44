#!/usr/bin/env python3
"""Bad sectors, lost files: a stopped node's files are damaged in every way we know, and after its
start it has, byte for byte, what the others have."""
import glob
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import main, running, wait_for  # noqa: E402

PARTITIONS = 3
ROUNDS = 26
VALUE = 60 * 1000
SEED = 20
STORAGE = ["--scrub-period=1", "--scrub-rate=1000"]


def fill(cluster, round_count, start=0):
    """Records of 60 kB: several segments of 1 MiB in each partition. Returns {offset of p: value}."""
    acked = {p: {} for p in range(PARTITIONS)}
    for n in range(start, start + round_count):
        for partition in range(PARTITIONS):
            value = "%d-%d-" % (partition, n) + "x" * VALUE
            reply = cluster.produce_v2(
                "load", [{"key": "k", "value": value, "partition": partition}])
            assert reply.status == 200, reply
            entry = reply.json()["offsets"][0]
            assert entry.get("error_code") is None, entry
            acked[partition][entry["offset"]] = value
    return acked


def folder(cluster, node, partition):
    found = glob.glob(os.path.join(cluster.path(node), "*-%d" % partition))
    assert len(found) == 1, found
    return found[0]


def files(cluster, node, partition, suffix):
    return sorted(glob.glob(os.path.join(folder(cluster, node, partition), "*" + suffix)))


def content(cluster, node, partition):
    """The batches of a replica: where one file ends and the next begins is its own affair."""
    data = b""
    for path in files(cluster, node, partition, ".log"):
        with open(path, "rb") as log:
            data += log.read()
    return data


def flip(rand, path, low=0.0, high=1.0):
    with open(path, "r+b") as file:
        size = os.path.getsize(path)
        at = int(size * (low + (high - low) * rand.random()))
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << rand.randrange(8)]))


def node_id(cluster, node):
    with open(cluster[node].log, errors="replace") as log:
        ids = [line.split("node=")[1].split()[0] for line in log if "storage.registered" in line]
    return int(ids[-1])


def partitions_led(cluster, node):
    """Numbers of the partitions: those that the node leads, then the others."""
    described = cluster.get("/v1/topics/load").json()["partitions"]
    led = [p["partition"] for p in described if p["leader"] == node_id(cluster, node)]
    return led + [p for p in range(PARTITIONS) if p not in led]


def fill_to_checkpoint(cluster, node, acked):
    """What is stored now is known to have been synced, by the node's next life, too."""
    path = os.path.join(cluster.path(node), "checkpoint")
    now = time.time()
    merge(acked, fill(cluster, 1, ROUNDS * 5))
    wait_for(lambda: os.path.exists(path) and os.path.getmtime(path) > now, "a checkpoint", 20)


def logged(cluster, node, text):
    with open(cluster[node].log, errors="replace") as log:
        return sum(1 for line in log if text in line)


def wait_identical(cluster, nodes):
    def identical():
        for partition in range(PARTITIONS):
            if len({content(cluster, node, partition) for node in nodes}) != 1:
                return False
        return True
    wait_for(identical, "the replicas to be identical", 60)


def check_stored(cluster, acked):
    for partition, records in cluster.read_topic("load").items():
        values = {r["offset"]: r["value"] for r in records}
        for offset, value in acked[partition].items():
            assert values[offset] == value, "record %d-%d is not what was written" % (
                partition, offset)


def merge(acked, more):
    for partition in acked:
        acked[partition].update(more[partition])


def start_and_compare(cluster, victim, acked):
    nodes = ["storage-1", "storage-2", "storage-3"]
    cluster[victim].start()
    cluster.wait_ready()
    merge(acked, fill(cluster, 2, ROUNDS * 10))
    wait_identical(cluster, nodes)
    check_stored(cluster, acked)


def every_kind_of_file_damage_is_repaired():
    rand = random.Random(SEED)
    with running(options={"storage": STORAGE}) as cluster:
        cluster.create_topic("load", partitions=PARTITIONS, **{
            "min.insync.replicas": "2", "segment.bytes": "1048576"})
        acked = fill(cluster, ROUNDS)
        wait_identical(cluster, ["storage-1", "storage-2", "storage-3"])
        victim = "storage-2"
        cluster[victim].stop()
        os.unlink(os.path.join(cluster.path(victim), "scrub"))  # a pass begins with the start
        # 0: bits in a sealed segment whose index still stands: only the scrub, or a reader, meets them.
        logs = files(cluster, victim, 0, ".log")
        assert len(logs) > 1, logs
        flip(rand, logs[0], 0.2, 0.4)
        flip(rand, logs[0], 0.6, 0.8)
        # 1: a segment is gone, and the indexes and snapshots of the others rot.
        logs = files(cluster, victim, 1, ".log")
        os.unlink(logs[0])
        for suffix in (".index", ".timeindex", ".producers"):
            for path in files(cluster, victim, 1, suffix):
                flip(rand, path)
        # 2: a segment lost its end, and its index.
        logs = files(cluster, victim, 2, ".log")
        os.truncate(logs[0], os.path.getsize(logs[0]) * 2 // 3)
        os.unlink(logs[0][:-len(".log")] + ".index")
        start_and_compare(cluster, victim, acked)
        wait_for(lambda: logged(cluster, victim, "storage.repaired") >= 4, "four repairs", 60)
        assert logged(cluster, victim, "storage.index_rebuilt") > 0
        for node in ("storage-1", "storage-3"):
            assert logged(cluster, node, "storage.log_damaged") == 0
        # It is whole for its next life, too.
        cluster[victim].stop()
        before = logged(cluster, victim, "storage.log_damaged")
        start_and_compare(cluster, victim, acked)
        assert logged(cluster, victim, "storage.log_damaged") == before


def damage_below_a_kill_is_no_tail():
    rand = random.Random(SEED + 1)
    with running(options={"storage": STORAGE}) as cluster:
        cluster.create_topic("load", partitions=PARTITIONS, **{
            "min.insync.replicas": "2", "segment.bytes": "1048576"})
        acked = fill(cluster, ROUNDS)
        wait_identical(cluster, ["storage-1", "storage-2", "storage-3"])
        victim = "storage-3"
        fill_to_checkpoint(cluster, victim, acked)
        one, two, three = partitions_led(cluster, victim)
        cluster[victim].kill()
        # The last segments have no index yet. A leader that lost its end would have to be replaced.
        flip(rand, files(cluster, victim, one, ".log")[-1], 0.1, 0.3)
        last = files(cluster, victim, two, ".log")[-1]
        os.truncate(last, os.path.getsize(last) // 2)
        os.unlink(files(cluster, victim, three, ".log")[-1])
        start_and_compare(cluster, victim, acked)
        assert logged(cluster, victim, "storage.log_damaged") >= 1
        for node in ("storage-1", "storage-2"):
            assert logged(cluster, node, "storage.log_damaged") == 0


if __name__ == "__main__":
    main([every_kind_of_file_damage_is_repaired, damage_below_a_kill_is_no_tail])
