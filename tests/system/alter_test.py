#!/usr/bin/env python3
"""Settings and partitions of a topic change while it is written and read."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import Producer, main, running, wait_for  # noqa: E402


def put(cluster, topic, partition=0, value="x"):
    return cluster.post("/v1/topics/%s/partitions/%d/records" % (topic, partition), value)


def durability_of_the_next_ack(cluster, topic):
    reply = put(cluster, topic)
    assert reply.status == 200, reply
    return reply.json()["durability"]


def an_ack_names_the_durability_it_was_given_under():
    with running() as cluster:
        cluster.create_topic("t", 1, 3)
        assert durability_of_the_next_ack(cluster, "t") == "synced"
        out = cluster.cli("topic", "alter", "t", "--set", "durability=relaxed", "--set", "delivery=queue")
        assert b"durability=relaxed" in out.stdout, out.stdout
        # The leader has it with its metadata, a moment later.
        wait_for(lambda: durability_of_the_next_ack(cluster, "t") == "relaxed", "a relaxed ack", 10)
        cluster.cli("topic", "alter", "t", "--unset", "durability")
        wait_for(lambda: durability_of_the_next_ack(cluster, "t") == "synced", "a synced ack", 10)
        config = cluster.get("/v1/topics/t").json()["config"]
        assert config["durability"] == "synced" and config["delivery"] == "queue", config


def a_minimum_that_is_raised_refuses_and_lowered_takes_again():
    # The gateway tries a refused produce again for as long as a request may take.
    with running(options={"gateway": ["--request-timeout-ms=3000"]}) as cluster:
        cluster.create_topic("t", 1, 3)
        cluster["storage-3"].kill()
        isr = lambda: len(cluster.get("/v1/topics/t").json()["partitions"][0]["isr"])  # noqa: E731
        wait_for(lambda: put(cluster, "t").status == 200 and isr() == 2, "two replicas in sync", 30)
        cluster.cli("topic", "alter", "t", "--set", "min.insync.replicas=3")

        def refused():
            reply = cluster.post("/v1/topics/t/partitions/0/records", "x", timeout=60)
            return reply.status == 503 and reply.json()["error"]["code"] == "not_enough_replicas"
        wait_for(refused, "a produce to be refused", 60)
        cluster.cli("topic", "alter", "t", "--set", "min.insync.replicas=2")
        wait_for(lambda: put(cluster, "t").status == 200, "a produce to be taken", 30)


def partitions_are_added_under_load():
    with running() as cluster:
        cluster.create_topic("t", 2, 3)
        producers = [Producer(cluster, "t", "k%d" % i) for i in range(3)]
        for producer in producers:
            producer.start()
        wait_for(lambda: all(len(p.acked) > 20 for p in producers), "some records", 30)
        dry = cluster.request("PATCH", "/v1/topics/t?dry_run=true", {"partitions": 5}).json()
        assert len(dry["partitions"]) == 5 and dry["partitions"][4]["leader"] is None, dry
        assert len(cluster.get("/v1/topics/t").json()["partitions"]) == 2
        reply = cluster.request("PATCH", "/v1/topics/t", {"partitions": 5, "config": {"segment.bytes": 65536}})
        assert reply.status == 200 and len(reply.json()["partitions"]) == 5, reply
        before = [len(p.acked) for p in producers]
        for partition in range(5):
            wait_for(lambda: put(cluster, "t", partition, json.dumps("new-%d" % partition)).status == 200,
                     "partition %d to take records" % partition, 30)
        wait_for(lambda: all(len(p.acked) > n + 20 for p, n in zip(producers, before)), "more", 30)
        for producer in producers:
            producer.finish()
            assert not producer.errors, producer.errors[:3]
        stored = cluster.read_topic("t")
        assert all(len(records) > 0 for records in stored.values()), {p: len(r) for p, r in stored.items()}
        values = {p: {r["offset"]: r["value"] for r in records} for p, records in stored.items()}
        for producer in producers:
            for partition, offset, value in producer.acked:
                assert values[partition][offset] == value, (partition, offset, value)


def what_cannot_be_is_refused_and_changes_nothing():
    with running() as cluster:
        cluster.create_topic("t", 2, 3)
        for argv, text in [
                (["--set", "min.insync.replicas=4"], b"min.insync.replicas"),
                (["--set", "cleanup.policy=compact"], b"cleanup.policy"),
                (["--set", "nonsense=1"], b"nonsense"),
                (["--set", "delivery=queue", "--set", "segment.bytes=1"], b"segment.bytes"),
                (["--partitions", "1"], b"partition")]:
            done = cluster.cli("topic", "alter", "t", *argv, check=False)
            assert done.returncode == 1 and text in done.stderr, (argv, done)
        assert cluster.cli("topic", "alter", "t", check=False).returncode == 2
        assert cluster.cli("topic", "alter", "u", "--set", "delivery=queue", check=False).returncode == 1
        out = cluster.cli("topic", "alter", "t", "--set", "delivery=queue", "--dry-run")
        assert b"would be changed" in out.stdout and b"delivery=queue" in out.stdout, out.stdout
        described = cluster.get("/v1/topics/t").json()
        assert described["config"]["delivery"] == "stream" and len(described["partitions"]) == 2


if __name__ == "__main__":
    main([
        an_ack_names_the_durability_it_was_given_under,
        a_minimum_that_is_raised_refuses_and_lowered_takes_again,
        partitions_are_added_under_load,
        what_cannot_be_is_refused_and_changes_nothing,
    ])
