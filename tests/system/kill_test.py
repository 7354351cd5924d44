#!/usr/bin/env python3
"""kill -9 and restart of each service in turn under load: nothing acknowledged is lost, nothing is
stored twice, order is kept; a derived topic counts each input once."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import Producer, check_history, main, running, wait_for  # noqa: E402

SQL = "CREATE STREAM copy AS SELECT key, value AS value FROM load"


def under_load(victims, rounds, transform=False):
    with running(gateways=2) as cluster:
        cluster.create_topic("load", partitions=3, **{"min.insync.replicas": "2"})
        if transform:
            assert cluster.post("/v1/transforms", {"sql": SQL}).status in (200, 201)
        # Producers write through the gateway that is not killed.
        producers = [Producer(cluster, "load", "p%d" % n, gateway=1) for n in range(4)]
        for producer in producers:
            producer.start()
        try:
            for _ in range(rounds):
                for victim in victims:
                    before = sum(len(p.acked) for p in producers)
                    wait_for(lambda: sum(len(p.acked) for p in producers) > before + 20,
                             "acknowledgements before killing %s" % victim, 40)
                    cluster[victim].kill()
                    time.sleep(0.2)
                    cluster[victim].start()
            before = sum(len(p.acked) for p in producers)
            wait_for(lambda: sum(len(p.acked) for p in producers) > before + 20,
                     "acknowledgements after the last restart", 40)
        finally:
            for producer in producers:
                producer.finish()
        cluster.wait_ready()
        wait_all_in_sync(cluster, "load")
        stored = check_history(cluster, "load", producers)
        assert stored >= sum(len(p.acked) for p in producers)
        if transform:
            check_copy(cluster, stored)


def wait_all_in_sync(cluster, topic):
    def full():
        parts = cluster.get("/v1/topics/" + topic).json()["partitions"]
        return all(len(p["isr"]) == len(p["replicas"]) for p in parts)
    wait_for(full, "every replica to be in sync", 40)


def check_copy(cluster, count):
    """The derived topic is the source, record by record."""
    def copied():
        total = sum(len(r) for r in cluster.read_topic("copy").values())
        return total if total >= count else None
    total = wait_for(copied, "the derived topic to catch up (%d records)" % count, 60)
    assert total == count, "derived %d of %d records" % (total, count)
    source, derived = cluster.read_topic("load"), cluster.read_topic("copy")
    by_key = {}
    for records in source.values():
        for record in records:
            by_key.setdefault(record["key"], []).append(record["value"])
    for records in derived.values():
        for record in records:
            assert by_key[record["key"]].pop(0) == record["value"], "derived out of order"
    assert not any(by_key.values())


def storage_nodes_die_in_turn():
    under_load(["storage-1", "storage-2", "storage-3"], 2)


def replication_and_coordinator_die_in_turn():
    under_load(["replication-1", "coordinator"], 3)


def gateway_dies_in_turn():
    under_load(["gateway-1"], 2)


def transform_counts_each_input_once_whatever_dies():
    under_load(["transform-1", "storage-2", "transform-1", "replication-1", "coordinator",
                "storage-1"], 1, transform=True)


def everything_dies_at_once():
    with running() as cluster:
        cluster.create_topic("load", partitions=3)
        producers = [Producer(cluster, "load", "p%d" % n) for n in range(3)]
        for producer in producers:
            producer.start()
        wait_for(lambda: sum(len(p.acked) for p in producers) > 200, "acknowledgements", 40)
        for process in cluster.processes.values():
            process.popen.kill()
        for process in cluster.processes.values():
            process.popen.wait()
        for producer in producers:
            producer.finish()
        for process in cluster.processes.values():
            process.start()
        cluster.wait_ready()
        wait_all_in_sync(cluster, "load")
        check_history(cluster, "load", producers)


def a_second_replication_worker_does_no_harm():
    with running(replication=2) as cluster:
        cluster.create_topic("load", partitions=4)
        producers = [Producer(cluster, "load", "p%d" % n) for n in range(3)]
        for producer in producers:
            producer.start()
        for _ in range(3):
            for victim in ("replication-1", "replication-2"):
                time.sleep(0.5)
                cluster[victim].restart()
        before = sum(len(p.acked) for p in producers)
        wait_for(lambda: sum(len(p.acked) for p in producers) > before + 20, "progress", 40)
        for producer in producers:
            producer.finish()
        wait_all_in_sync(cluster, "load")
        check_history(cluster, "load", producers)


if __name__ == "__main__":
    main([
        storage_nodes_die_in_turn,
        replication_and_coordinator_die_in_turn,
        gateway_dies_in_turn,
        transform_counts_each_input_once_whatever_dies,
        everything_dies_at_once,
        a_second_replication_worker_does_no_harm,
    ])
