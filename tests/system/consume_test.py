#!/usr/bin/env python3
"""Consuming behind a load balancer while gateways die: nothing lost, nothing twice without a reason.

RIACHO_CONSUME_RECORDS says how many records (100,000 for groups and 40,000 for queues; the million that
is promised takes minutes).
"""
import http.client
import json
import os
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import PATIENCE, main, running, wait_for  # noqa: E402
from round_robin import RoundRobin  # noqa: E402

RECORDS = int(os.environ.get("RIACHO_CONSUME_RECORDS", "100000"))
QUEUE_RECORDS = int(os.environ.get("RIACHO_CONSUME_RECORDS", "40000"))
PARTITIONS = 8
KEYS = 1000
BODY_RECORDS = 1000
BEHIND = 3  # gateways behind the balancer; one more, which lives, takes the records
WRITER = 3
DEAD_S = 0.3
KILL_EVERY_S = 2
FORGET_EVERY = 10  # answers: one consumer of each group loses what it was given, as if it had died
LEASE_MS = 3000
WRITE_S = 15 + RECORDS / 20000  # long enough to see many gateways die
SECONDS = max(120, RECORDS / 1000)


class Writer(threading.Thread):
    """Record n of a key has the value {"k": key, "n": n}, each written once; four of a key in a row."""

    def __init__(self, cluster, topic, records):
        super().__init__(daemon=True)
        self.cluster, self.topic, self.records = cluster, topic, records
        self.error = None

    def run(self):
        try:
            began = time.monotonic()
            for first in range(0, self.records, BODY_RECORDS):
                time.sleep(max(0, began + WRITE_S * first / self.records - time.monotonic()))
                lines = [json.dumps(self.record(i))
                         for i in range(first, min(first + BODY_RECORDS, self.records))]
                reply = self.cluster.post("/v1/topics/%s/records" % self.topic, "\n".join(lines),
                                          {"Content-Type": "application/x-ndjson"}, gateway=WRITER)
                assert reply.status == 200, reply
        except Exception as error:
            self.error = error

    @staticmethod
    def record(i):
        key = i // 4 % KEYS
        return {"key": "k%d" % key, "value": {"k": key, "n": i // (4 * KEYS) * 4 + i % 4}}

    def finish(self):
        self.join(SECONDS * PATIENCE)
        assert not self.is_alive(), "the writer hangs"
        if self.error:
            raise self.error


class Delivery:
    """A range of a partition that somebody was given by a call that began `at` that time. It is clean
    if the first call that committed it succeeded, the commit counted, and all within the lease."""

    def __init__(self, first, end, at):
        self.first, self.end, self.at, self.clean, self.settled = first, end, at, True, False


class Group:
    """What the consumers of one group were given, judged as it comes.

    reach: everything below was delivered. A consumer notes what it was given before it commits it, so
    nobody can be given a record above `reach`, whoever dies. committed: the position, as far as a
    client was told.
    """

    def __init__(self, name):
        self.name = name
        self.lock = threading.Lock()
        self.reach = [0] * PARTITIONS
        self.committed = [0] * PARTITIONS
        self.next_of_key = [0] * KEYS
        self.deliveries = [[] for _ in range(PARTITIONS)]
        self.wrong = []
        self.duplicates = 0

    def delivered(self, page, committed_before, at):
        """Returns {partition: Delivery}."""
        by_partition = {}
        for record in page["records"]:
            by_partition.setdefault(record["partition"], []).append(record)
        given = {}
        with self.lock:
            for partition, records in by_partition.items():
                given[partition] = self.one_partition(partition, records,
                                                      committed_before[partition], at)
        return given

    def one_partition(self, partition, records, committed_before, at):
        offsets = [r["offset"] for r in records]
        first, end, reach = offsets[0], offsets[-1] + 1, self.reach[partition]
        if offsets != list(range(first, end)):
            self.wrong.append("partition %d: not in order, or a gap: %s" % (partition, offsets))
        if first > reach:
            self.wrong.append("partition %d: %d before %d was delivered" % (
                partition, first, reach))
        if first < committed_before:
            self.wrong.append("partition %d: %d again, below the position %d" % (
                partition, first, committed_before))
        for record in records[max(0, reach - first):]:
            key, n = record["value"]["k"], record["value"]["n"]
            if n != self.next_of_key[key]:
                self.wrong.append("key %d: %d came when it was the turn of %d" % (
                    key, n, self.next_of_key[key]))
            self.next_of_key[key] = n + 1
        self.duplicates += max(0, min(end, reach) - first)
        self.reach[partition] = max(reach, end)
        delivery = Delivery(first, end, at)
        self.deliveries[partition].append(delivery)
        return delivery

    def settled(self, given, lost):
        """A call that committed `given` was answered; `lost`: partitions whose commit did not count."""
        with self.lock:
            for partition, delivery in given.items():
                delivery.settled = True
                if time.monotonic() - delivery.at > LEASE_MS / 1000:
                    delivery.clean = False
                if partition in lost:
                    delivery.clean = False
                else:
                    self.committed[partition] = max(self.committed[partition], delivery.end)

    def check_duplicates(self):
        """What came twice was lost to one of the two: no record is in two clean deliveries."""
        for partition, deliveries in enumerate(self.deliveries):
            reach = 0
            for delivery in sorted((d for d in deliveries if d.clean and d.settled),
                                   key=lambda d: d.first):
                assert delivery.first >= reach, (
                    "group %s, partition %d: %d to %d came again though nothing had failed" % (
                        self.name, partition, delivery.first, min(reach, delivery.end)))
                reach = delivery.end


class Consumer(threading.Thread):
    """Follows its cursor. A call that fails is repeated as it was. A forgetful one starts afresh now and
    then without its cursor: what it was given comes again when the lease is over."""

    def __init__(self, cluster, group, topic, proxy, member=None, forgetful=False):
        super().__init__(daemon=True)
        self.cluster, self.group, self.proxy, self.forgetful = cluster, group, proxy, forgetful
        self.query = dict({"member": member} if member else {}, topics=topic, wait_ms=1000,
                          lease_ms=LEASE_MS, max_records=1000, max_partitions=4)
        self.failed = self.answers = 0
        self.error = None
        self.halt = threading.Event()

    def run(self):
        cursor, given = None, {}
        try:
            while not self.halt.is_set():
                committed, at = list(self.group.committed), time.monotonic()
                page = self.call("GET", "records?" + urllib.parse.urlencode(
                    dict(self.query, after=cursor) if cursor else self.query), given)
                if page is not None:
                    self.group.settled(given, set(p["partition"] for p in page["lost"]))
                    cursor, given = page["cursor"], self.group.delivered(page, committed, at)
                    self.answers += 1 if given else 0
                    if given and self.forgetful and self.answers % FORGET_EVERY == 0:
                        cursor, given = None, {}
            if cursor:
                self.commit(cursor, given)
        except Exception as error:
            self.error = error

    def commit(self, cursor, given):
        deadline = time.monotonic() + 30 * PATIENCE
        while time.monotonic() < deadline:
            done = self.call("POST", "commit", given, {"cursor": cursor})
            if done is not None:
                self.group.settled(given, set(p["partition"] for p in done["lost"]))
                return
        raise AssertionError("the last commit of a consumer was never answered")

    def call(self, method, path, given, body=None):
        """The answer, or None: what it should have committed is not clean any more."""
        try:
            reply = self.cluster.request(method, "/v1/groups/%s/%s" % (self.group.name, path), body,
                                         gateway=self.proxy)
            if reply.status == 200:
                return reply.json()
            if method == "POST" and reply.status == 409:
                return {"lost": [{"partition": partition} for partition in given]}
            # 503, 504 and the like; anything else means that the test is wrong.
            assert reply.status >= 500, reply
        except (OSError, http.client.HTTPException):
            pass
        self.failed += 1
        for delivery in given.values():
            delivery.clean = False
        time.sleep(0.02)
        return None

    def finish(self):
        self.halt.set()
        self.join(90 * PATIENCE)
        assert not self.is_alive(), "a consumer hangs"
        if self.error:
            raise self.error


class Queue:
    """What became of the records of one queue, judged as it comes.

    acked: those that somebody was told are finished. tried: of each key, how many of its records
    somebody has begun to acknowledge; with order by key the next one is not handed out before.
    """

    def __init__(self, name, order):
        self.name, self.order = name, order
        self.lock = threading.Lock()
        self.acked = [bytearray(QUEUE_RECORDS) for _ in range(PARTITIONS)]
        self.count = 0
        self.tried = [0] * KEYS
        self.wrong = []
        self.again = self.late = 0

    def delivered(self, records, acked_before):
        """acked_before: how many were acknowledged of each partition when the call began."""
        with self.lock:
            for record in records:
                partition, offset = record["partition"], record["offset"]
                key, n = record["value"]["k"], record["value"]["n"]
                self.again += record["deliveries"] > 1
                if acked_before[partition][offset]:
                    self.wrong.append("partition %d: %d was delivered after its acknowledgement" % (
                        partition, offset))
                if self.order == "key" and n > self.tried[key]:
                    self.wrong.append("key %d: %d was delivered before %d was finished" % (
                        key, n, self.tried[key]))

    def trying(self, records):
        with self.lock:
            for record in records:
                key, n = record["value"]["k"], record["value"]["n"]
                self.tried[key] = max(self.tried[key], n + 1)

    def answered(self, records, statuses, repeated):
        """One status for each record: done, late, or finished (already)."""
        with self.lock:
            for record, status in zip(records, statuses):
                partition, offset = record["partition"], record["offset"]
                if status == "late" or (status == "finished" and not repeated):
                    self.late += 1
                elif status not in ("done", "finished"):
                    self.wrong.append("partition %d: %d: %s" % (partition, offset, status))
                elif self.acked[partition][offset]:
                    self.wrong.append("partition %d: %d was acknowledged twice" % (
                        partition, offset))
                else:
                    self.acked[partition][offset] = 1
                    self.count += 1

    def snapshot(self):
        with self.lock:
            return [bytes(partition) for partition in self.acked]


class Worker(threading.Thread):
    """Receives and acknowledges. A forgetful one drops what it was given now and then."""

    def __init__(self, cluster, queue, topic, proxy, forgetful=False):
        super().__init__(daemon=True)
        self.cluster, self.queue, self.proxy, self.forgetful = cluster, queue, proxy, forgetful
        self.path = "/v1/queues/%s/%s/" % (topic, queue.name)
        self.failed = self.answers = 0
        self.error = None
        self.halt = threading.Event()

    def run(self):
        try:
            while not self.halt.is_set():
                before = self.queue.snapshot()
                reply = self.call("receive", {"max_records": 300, "wait_ms": 1000})
                if reply is None:
                    continue
                records = reply.json()["records"]
                self.queue.delivered(records, before)
                self.answers += 1 if records else 0
                if records and not (self.forgetful and self.answers % FORGET_EVERY == 0):
                    self.acknowledge(records)
        except Exception as error:
            self.error = error

    def acknowledge(self, records):
        """Until it is answered: whose answer was lost may be finished already."""
        repeated = False
        self.queue.trying(records)
        while True:
            reply = self.call("ack", {"locks": [r["lock"] for r in records]})
            if reply is not None:
                break
            repeated = True
        if reply.status == 200:
            statuses = ["done"] * len(records)
        else:
            statuses = [self.status_of(entry) for entry in reply.json()["locks"]]
        self.queue.answered(records, statuses, repeated)

    @staticmethod
    def status_of(entry):
        if entry["status"] == "late" and "finished already" in entry["error"]["message"]:
            return "finished"
        return entry["status"]

    def call(self, verb, body):
        try:
            reply = self.cluster.post(self.path + verb, body, gateway=self.proxy)
            if reply.status in (200, 207, 409):
                return reply
            assert reply.status >= 500, reply
        except (OSError, http.client.HTTPException):
            pass
        self.failed += 1
        time.sleep(0.02)
        return None

    def finish(self):
        self.halt.set()
        self.join(90 * PATIENCE)
        assert not self.is_alive(), "a worker hangs"
        if self.error:
            raise self.error


class Killer(threading.Thread):
    """Kills one gateway after the other, and starts it again."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.kills = cluster, 0
        self.halt = threading.Event()

    def run(self):
        while not self.halt.wait(KILL_EVERY_S):
            gateway = self.cluster["gateway-%d" % (1 + self.kills % BEHIND)]
            gateway.kill()
            self.kills += 1
            time.sleep(DEAD_S)
            gateway.start()

    def finish(self):
        self.halt.set()
        self.join(20)


def high_watermarks(cluster, topic):
    return [cluster.get("/v1/topics/%s/partitions/%d/offsets" % (topic, p),
                        gateway=WRITER).json()["high_watermark"] for p in range(PARTITIONS)]


def every_record_comes_to_each_group_while_gateways_die():
    with running(gateways=BEHIND + 1, transform=0) as cluster, \
            RoundRobin(cluster.gateway_ports[:BEHIND]) as balancer:
        cluster.gateway_ports.append(balancer.port)
        proxy = len(cluster.gateway_ports) - 1
        cluster.create_topic("t", partitions=PARTITIONS, **{"min.insync.replicas": 2})
        named, free = Group("named"), Group("free")
        consumers = [Consumer(cluster, named, "t", proxy, "m%d" % i, i == 0) for i in range(3)]
        consumers += [Consumer(cluster, free, "t", proxy, None, i == 0) for i in range(3)]
        writer, killer = Writer(cluster, "t", RECORDS), Killer(cluster)
        began = time.monotonic()
        for thread in consumers + [writer, killer]:
            thread.start()
        writer.finish()
        written_s = time.monotonic() - began
        ends = high_watermarks(cluster, "t")
        assert sum(ends) == RECORDS, ends

        def all_delivered():
            for thread in consumers:
                if thread.error:
                    return True
            return killer.kills >= BEHIND and all(
                group.wrong or group.committed == ends for group in (named, free))

        wait_for(all_delivered, "every record to be delivered and committed", SECONDS)
        killer.finish()
        for consumer in consumers:
            consumer.finish()
        took = time.monotonic() - began
        for group in (named, free):
            assert not group.wrong, (group.name, len(group.wrong), group.wrong[:5])
            assert group.reach == ends, (group.name, group.reach, ends)
            assert sum(group.next_of_key) == RECORDS
            group.check_duplicates()
            seen = cluster.get("/v1/groups/" + group.name, gateway=WRITER).json()
            assert seen["lag"] == 0, (group.name, seen)
            assert group.duplicates > 0, "nothing came again to %s, forgetful as it is" % group.name
        assert sum(c.failed for c in consumers) > 0, "no call met a dead gateway"
        print("     %d records written in %.1f s, all with both groups after %.1f s; %d gateways "
              "killed, %d calls failed, %d and %d records came again" % (
                  RECORDS, written_s, took, killer.kills, sum(c.failed for c in consumers),
                  named.duplicates, free.duplicates), flush=True)


def every_record_of_a_queue_is_acknowledged_once_while_gateways_die():
    with running(gateways=BEHIND + 1, transform=0) as cluster, \
            RoundRobin(cluster.gateway_ports[:BEHIND]) as balancer:
        cluster.gateway_ports.append(balancer.port)
        proxy = len(cluster.gateway_ports) - 1
        cluster.create_topic("t", partitions=PARTITIONS, **{"min.insync.replicas": 2})
        queues = [Queue("plain", "none"), Queue("keyed", "key")]
        for queue in queues:
            made = cluster.request("PUT", "/v1/queues/t/" + queue.name, {
                "order": queue.order, "lock_ms": LEASE_MS, "max_deliveries": 1000}, gateway=WRITER)
            assert made.status in (200, 201), made
        workers = [Worker(cluster, queue, "t", proxy, i == 0) for queue in queues for i in range(3)]
        writer, killer = Writer(cluster, "t", QUEUE_RECORDS), Killer(cluster)
        began = time.monotonic()
        for thread in workers + [writer, killer]:
            thread.start()
        writer.finish()
        assert sum(high_watermarks(cluster, "t")) == QUEUE_RECORDS

        def all_acknowledged():
            return any(w.error for w in workers) or (killer.kills >= BEHIND and all(
                queue.wrong or queue.count == QUEUE_RECORDS for queue in queues))

        wait_for(all_acknowledged, "every record to be acknowledged", SECONDS)
        killer.finish()
        for worker in workers:
            worker.finish()
        took = time.monotonic() - began
        for queue in queues:
            assert not queue.wrong, (queue.name, len(queue.wrong), queue.wrong[:5])
            assert queue.again > 0, "nothing came again to %s, forgetful as it is" % queue.name
            seen = cluster.get("/v1/queues/t/" + queue.name, gateway=WRITER).json()
            assert (seen["lag"], seen["dead"]) == (0, 0), (queue.name, seen)
        assert sum(w.failed for w in workers) > 0, "no call met a dead gateway"
        print("     %d records acknowledged in both queues after %.1f s; %d gateways killed, %d calls "
              "failed, %s records came again, %s acks were late" % (
                  QUEUE_RECORDS, took, killer.kills, sum(w.failed for w in workers),
                  " and ".join(str(q.again) for q in queues),
                  " and ".join(str(q.late) for q in queues)), flush=True)


if __name__ == "__main__":
    main([
        every_record_comes_to_each_group_while_gateways_die,
        every_record_of_a_queue_is_acknowledged_once_while_gateways_die,
    ])
