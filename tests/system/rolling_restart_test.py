#!/usr/bin/env python3
"""Every process but the gateway is ended by SIGTERM and started again, one after the other, under
load: no request fails, and nobody waits long. Prints the longest wait: on a quiet machine it should
stay below 200 ms for storage nodes."""
import http.client
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import PATIENCE, Producer, check_history, main, running, wait_for  # noqa: E402

PARTITIONS = 6
GAP_MAX_S = 2.0


class SteadyProducer(Producer):
    """Writes to one partition over one connection, and remembers its longest waits."""

    def __init__(self, cluster, topic, partition):
        super().__init__(cluster, topic, "p%d" % partition)
        self.path = "/topics/%s/partitions/%d" % (topic, partition)
        self.gaps = []  # (seconds between two acknowledgements, when)

    def run(self):
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.cluster.gateway_ports[0], timeout=60 * PATIENCE)
        headers = {"Content-Type": "application/vnd.kafka.json.v2+json"}
        sequence, last = 0, time.monotonic()
        while not self.halt.is_set():
            value = "%s-%06d" % (self.key, sequence)
            sequence += 1
            body = json.dumps({"records": [{"key": self.key, "value": value}]})
            try:
                connection.request("POST", self.path, body, headers)
                reply = connection.getresponse()
                text = reply.read()
            except (OSError, http.client.HTTPException) as error:
                self.unknown.append(value)
                self.errors.append(repr(error))
                connection.close()
                continue
            entry = json.loads(text)["offsets"][0] if reply.status == 200 else None
            if entry is None or entry["error_code"] is not None:
                self.unknown.append(value)
                self.errors.append("%d %r" % (reply.status, text[:300]))
            else:
                self.acked.append((entry["partition"], entry["offset"], value))
                now = time.monotonic()
                self.gaps.append((now - last, now))
                last = now
            time.sleep(0.005)
        connection.close()

    def longest_since(self, began):
        return max((gap for gap, at in self.gaps if at >= began), default=0)


def all_in_sync(cluster):
    parts = cluster.get("/topics/load/partitions").json()
    return all(p["leader"] >= 0 and all(r["in_sync"] for r in p["replicas"]) for p in parts)


def roll(cluster, producers, victims):
    """End and start each, under the load. Returns the longest gap of any partition."""
    worst = 0
    for victim in victims:
        wait_for(lambda: all_in_sync(cluster), "every replica to be in sync", 60)
        began = time.monotonic()
        status = cluster[victim].stop()
        stopped = time.monotonic()
        assert status == 0, "%s ended with %d" % (victim, status)
        cluster[victim].start()
        wait_for(lambda: all_in_sync(cluster), "every replica to be in sync", 60)
        settled = {p.key: len(p.acked) for p in producers}
        wait_for(lambda: all(len(p.acked) > settled[p.key] + 20 for p in producers),
                 "every partition to be written after %s" % victim, 60)
        longest = max(p.longest_since(began) for p in producers)
        print("     %s: stopped in %.0f ms, longest gap %.0f ms" % (
            victim, 1000 * (stopped - began), 1000 * longest), flush=True)
        worst = max(worst, longest)
    return worst


def under_load(victims, **options):
    with running(transform=0, **options) as cluster:
        cluster.create_topic("load", partitions=PARTITIONS, **{"min.insync.replicas": "2"})
        producers = [SteadyProducer(cluster, "load", p) for p in range(PARTITIONS)]
        wait_for(lambda: all_in_sync(cluster), "the topic", 30)
        for producer in producers:
            producer.start()
        try:
            wait_for(lambda: all(len(p.acked) > 50 for p in producers), "acknowledgements", 40)
            worst = roll(cluster, producers, victims)
        finally:
            for producer in producers:
                producer.finish()
        errors = [e for p in producers for e in p.errors]
        assert not errors, "%d requests failed, the first: %s" % (len(errors), errors[0])
        stored = check_history(cluster, "load", producers)
        assert stored == sum(len(p.acked) for p in producers)
        assert worst < GAP_MAX_S * PATIENCE, "a partition was not written for %.2f s" % worst


def storage_nodes_are_restarted_in_turn():
    under_load(["storage-1", "storage-2", "storage-3"] * 2)


def replication_workers_are_restarted_in_turn():
    under_load(["replication-1", "replication-2"] * 2, replication=2)


def the_coordinator_is_restarted():
    under_load(["coordinator"] * 2)


if __name__ == "__main__":
    main([
        storage_nodes_are_restarted_in_turn,
        replication_workers_are_restarted_in_turn,
        the_coordinator_is_restarted,
    ])
