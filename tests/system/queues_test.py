#!/usr/bin/env python3
"""Point to point through any gateway: locks, late acks, order per key, dead letters, delays."""
import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import main, running, wait_for  # noqa: E402


def path(group, what="", topic="t"):
    return "/v1/queues/%s/%s%s" % (topic, urllib.parse.quote(group, safe=""), what)


def receive(cluster, group, gateway=0, topic="t", **query):
    return cluster.post(path(group, "/receive", topic) + "?" + urllib.parse.urlencode(query),
                        gateway=gateway)


def records(cluster, group, gateway=0, topic="t", **query):
    reply = receive(cluster, group, gateway, topic, **query)
    assert reply.status == 200, reply
    return reply.json()["records"]


def say(cluster, group, verb, locks, gateway=0, topic="t", **body):
    return cluster.post(path(group, "/" + verb, topic), dict(body, locks=locks), gateway=gateway)


def put(cluster, group, topic="t", **settings):
    return cluster.request("PUT", path(group, "", topic), settings)


def describe(cluster, group, gateway=0, topic="t"):
    reply = cluster.get(path(group, "", topic), gateway=gateway)
    assert reply.status == 200, reply
    return reply.json()


def produce(cluster, count, partitions, topic="t", first=0, key=None):
    for n in range(first, first + count):
        headers = {"Riacho-Key": key(n)} if key else {}
        reply = cluster.post("/v1/topics/%s/partitions/%d/records" % (topic, n % partitions),
                             str(n), headers=headers)
        assert reply.status == 200, reply


def a_record_goes_to_one_consumer_and_is_acknowledged():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=2)
        produce(cluster, 10, 2)
        first = receive(cluster, "g", 0, max_records=4).json()
        second = records(cluster, "g", 1, max_records=100)
        assert len(first["records"]) == 4 and len(second) == 6, (first, second)
        assert sorted(r["value"] for r in first["records"] + second) == list(range(10))
        assert all(r["deliveries"] == 1 and r["locked_until"] > 0 for r in second), second
        assert records(cluster, "g") == []
        seen = describe(cluster, "g", 1)
        assert (seen["locked"], seen["lag"], seen["ready"]) == (10, 10, 0), seen
        # All of an answer by one lock, others one by one; through another gateway.
        done = say(cluster, "g", "ack", first["locks"], 1)
        assert done.status == 200 and done.json() == {"done": 1, "failed": 0}, done
        done = say(cluster, "g", "ack", [r["lock"] for r in second], 0)
        assert done.status == 200 and done.json()["done"] == 6, done
        seen = describe(cluster, "g")
        assert (seen["locked"], seen["lag"]) == (0, 0), seen
        # A second ack is no silent success.
        again = say(cluster, "g", "ack", first["locks"])
        assert again.status == 409 and again.json()["error"]["code"] == "late", again
        assert "finished already" in again.json()["locks"][0]["error"]["message"], again


def a_late_ack_is_a_conflict_and_the_record_is_delivered_again():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=1)
        produce(cluster, 2, 1)
        mine = records(cluster, "g", lock_ms=1000)
        assert len(mine) == 2
        again = records(cluster, "g", 1, wait_ms=10000, max_records=1)
        assert [(r["value"], r["deliveries"]) for r in again] == [(0, 2)], again
        late = say(cluster, "g", "ack", [mine[0]["lock"]])
        assert late.status == 409, late
        assert late.json()["locks"][0]["lock"] == mine[0]["lock"], late
        rest = records(cluster, "g")
        mixed = say(cluster, "g", "ack", [again[0]["lock"], mine[1]["lock"], rest[0]["lock"]])
        assert mixed.status == 207, mixed
        assert [e["status"] for e in mixed.json()["locks"]] == ["done", "late", "done"], mixed
        # Extending keeps it.
        produce(cluster, 1, 1, first=2)
        kept = records(cluster, "g", lock_ms=1000)
        longer = say(cluster, "g", "extend", [kept[0]["lock"]], lock_ms=20000)
        assert longer.status == 200, longer
        assert longer.json()["locks"][0]["locked_until"] > kept[0]["locked_until"], longer
        time.sleep(1.5)
        assert records(cluster, "g") == []
        assert say(cluster, "g", "ack", kept[0]["lock"]).status == 200


def an_ack_while_the_coordinator_is_away_is_said_again():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=1)
        assert put(cluster, "g", lock_ms=600000).status == 201
        produce(cluster, 4, 1)
        got = []
        wait_for(lambda: got.extend(records(cluster, "g")) or len(got) == 4, "all records")
        coordinator = cluster["coordinator"]
        pause = lambda: os.kill(coordinator.popen.pid, signal.SIGSTOP)
        go_on = lambda: os.kill(coordinator.popen.pid, signal.SIGCONT)
        for leave, come_back in ((pause, go_on), (coordinator.kill, coordinator.start)):
            locks = [got.pop()["lock"], got.pop()["lock"]]
            leave()
            reply = say(cluster, "g", "ack", locks)
            assert reply.status == 503 and reply.json()["error"]["outcome"] == "unknown", reply
            come_back()
            # The first one may arrive yet: it counts once, whichever it is.
            reply = wait_for(lambda: said_by(cluster, locks), "another answer")
            if reply.status == 409:
                assert all(lock["finished"] for lock in reply.json()["locks"]), reply
            reply = say(cluster, "g", "ack", locks, 1)
            assert reply.status == 409 and reply.json()["done"] == 0, reply
            assert all((lock["status"], lock["finished"]) == ("late", True)
                       for lock in reply.json()["locks"]), reply
        assert describe(cluster, "g")["lag"] == 0


def said_by(cluster, locks):
    reply = say(cluster, "g", "ack", locks, 1)
    assert reply.status in (200, 409, 503), reply
    return reply if reply.status != 503 else None


def a_parked_receive_is_answered_when_something_is_ready():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=3)
        assert records(cluster, "g") == []
        answers = []

        def wait(gateway):
            began = time.monotonic()
            answers.append((records(cluster, "g", gateway, wait_ms=15000),
                            time.monotonic() - began))

        thread = threading.Thread(target=wait, args=(1,))
        thread.start()
        time.sleep(0.3)
        produce(cluster, 1, 3, first=2)
        thread.join(30)
        assert [r["value"] for r in answers[0][0]] == [2] and answers[0][1] < 10, answers
        # So is one that waits for what another consumer gives back.
        thread = threading.Thread(target=wait, args=(0,))
        thread.start()
        time.sleep(0.3)
        back = say(cluster, "g", "nack", [answers[0][0][0]["lock"]], delay_ms=0)
        assert back.status == 200, back
        thread.join(30)
        assert [r["deliveries"] for r in answers[1][0]] == [2] and answers[1][1] < 10, answers


def records_of_a_key_keep_their_order_under_nacks():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=2)
        made = put(cluster, "g", order="key", max_deliveries=100)
        assert made.status == 201 and made.json()["order"] == "key", made
        count, keys = 60, 5
        # All records of a key are in one partition.
        produce(cluster, count, 2, key=lambda n: "k%d" % (n % 2 + 2 * (n // 2 % keys)))
        put(cluster, "counted", order="key")
        first = records(cluster, "counted", max_records=100, wait_ms=5000)
        seen = describe(cluster, "counted")
        assert seen["locked"] == len(first) > 0 and seen["held"] == seen["waiting"] > 0, seen
        assert seen["locked"] + seen["held"] + seen["ready"] == count, seen
        finished, nacked, out, lock = [], set(), {}, threading.Lock()
        problems = []

        def consume(gateway):
            while len(finished) < count and not problems:
                for r in records(cluster, "g", gateway, max_records=4, wait_ms=500):
                    with lock:
                        if r["key"] in out:
                            problems.append(("two of a key at a time", r, out[r["key"]]))
                        out[r["key"]] = r["offset"]
                    time.sleep(0.002)
                    with lock:
                        del out[r["key"]]
                        again = r["value"] % 4 == 0 and r["value"] not in nacked
                        nacked.add(r["value"])
                        if not again:
                            finished.append((r["key"], r["value"]))
                    verb = "nack" if again else "ack"
                    reply = say(cluster, "g", verb, [r["lock"]], gateway,
                                **({"delay_ms": 50} if again else {}))
                    if reply.status != 200:
                        problems.append(reply)

        threads = [threading.Thread(target=consume, args=(g,)) for g in (0, 1, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        assert not problems, problems
        assert len(finished) == count, len(finished)
        for key in set(k for k, _ in finished):
            values = [v for k, v in finished if k == key]
            assert values == sorted(values), (key, values)


def letters_of(cluster, topic):
    reply = cluster.get("/v1/topics/%s/partitions/0/records?offset=0" % topic)
    return [r["value"] for r in reply.json()["records"]] if reply.status == 200 else []


def settings_are_of_the_group_but_each_topic_has_its_own_dead_letters():
    with running(gateways=1, transform=0) as cluster:
        for topic, status in (("qa", 201), ("qb", 200)):
            cluster.create_topic(topic, partitions=1)
            made = put(cluster, "w", topic, max_deliveries=1)
            assert made.status == status, made
            assert made.json()["dead_letter_topic"] == topic + ".w.dead", made
            assert topic in made.json()["topics"], made
            assert cluster.post("/v1/topics/%s/records" % topic, '"%s"' % topic).status == 200
            got = records(cluster, "w", topic=topic, wait_ms=5000)
            assert say(cluster, "w", "reject", [got[0]["lock"]], topic=topic).status == 200
        made = put(cluster, "w", "qb", lock_ms=5000)
        assert made.json()["topics"] == ["qb", "qa"], made
        for topic in ("qa", "qb"):
            wait_for(lambda name=topic: letters_of(cluster, name + ".w.dead") == [name],
                     "the letter of " + topic)


def dead_letters_keep_the_record_and_are_put_back():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=2)
        made = put(cluster, "a/b", max_deliveries=2, retry_ms=[0])
        assert made.status == 201, made
        dead_topic = made.json()["dead_letter_topic"]
        assert dead_topic.startswith("t.a_b-") and dead_topic.endswith(".dead"), made
        assert put(cluster, "a/b", lock_ms=5000).status == 200
        reply = cluster.post("/v1/topics/t/partitions/1/records", "poison",
                             headers={"Riacho-Key": "k", "Riacho-Header-Mine": "kept",
                                      "Riacho-Timestamp": "1700000000000"})
        assert reply.status == 200, reply
        for n in (1, 2):
            got = records(cluster, "a/b", n % 2, wait_ms=5000)
            assert [r["deliveries"] for r in got] == [n], got
            assert say(cluster, "a/b", "nack", got[0]["lock"]).status == 200
        assert records(cluster, "a/b") == []  # whoever receives next buries it

        def letters():
            reply = cluster.get("/v1/topics/%s/partitions/1/records?offset=0" % dead_topic)
            return reply.status == 200 and reply.json()["records"]

        letter = wait_for(letters, "the dead letter")[0]
        assert (letter["key"], letter["value"]) == ("k", "poison"), letter
        assert letter["timestamp"] == 1700000000000, letter
        headers = letter["headers"]
        assert headers["mine"] == "kept" and headers["riacho-dead-topic"] == "t", headers
        assert headers["riacho-dead-partition"] == "1" and headers["riacho-dead-offset"] == "0"
        assert headers["riacho-dead-group"] == "a/b", headers
        assert headers["riacho-dead-deliveries"] == "2" and headers["riacho-dead-reason"], headers
        wait_for(lambda: describe(cluster, "a/b")["lag"] == 0, "it to be buried")

        # Rejected ones go at once, nobody has to receive.
        cluster.post("/v1/topics/t/partitions/1/records", "bad")
        got = records(cluster, "a/b", wait_ms=5000)
        assert say(cluster, "a/b", "reject", got[0]["lock"], reason="unreadable: x").status == 200
        wait_for(lambda: len(letters()) == 2, "the rejected one")
        assert letters()[1]["headers"]["riacho-dead-reason"] == "unreadable: x", letters()
        wait_for(lambda: describe(cluster, "a/b")["lag"] == 0, "it to be buried, too")

        def redrive(**body):
            reply = cluster.post(path("a/b", "/redrive"), body)
            assert reply.status == 200, reply
            return reply.json()

        dry = redrive(dry_run=True, filter={"reason": "unreadable"})
        assert (dry["looked_at"], dry["matched"], dry["put_back"]) == (2, 1, 0), dry
        assert redrive(cursor=dry["cursor"], dry_run=True)["looked_at"] == 0
        assert redrive(filter={"key": "nobody's"})["matched"] == 0
        one = redrive(filter={"reason": "unreadable"}, rate=10)
        assert (one["matched"], one["put_back"], one["retry_after_ms"]) == (1, 1, 100), one
        back = records(cluster, "a/b", wait_ms=5000)
        assert [(r["partition"], r["value"], r.get("headers", {})) for r in back] == [(1, "bad", {})], back
        assert say(cluster, "a/b", "ack", back[0]["lock"]).status == 200
        rest = redrive()
        assert (rest["looked_at"], rest["put_back"]) == (1, 1), rest
        assert redrive()["looked_at"] == 0
        back = records(cluster, "a/b", wait_ms=5000)
        assert [(r["key"], r.get("headers", {})) for r in back] == [("k", {"mine": "kept"})], back


def the_dead_of_a_queue_that_nobody_reads_any_more_are_buried():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=2)
        assert put(cluster, "g", max_deliveries=1, lock_ms=1000).status == 201
        produce(cluster, 20, 2)
        got = []
        wait_for(lambda: got.extend(records(cluster, "g")) or len(got) == 20, "all to be received")
        # The consumer is gone, and so is the gateway that it used; the coordinator was away, too.
        cluster["gateway-1"].kill()
        cluster["coordinator"].restart()
        wait_for(lambda: describe(cluster, "g", 1)["lag"] == 0, "all to be buried", 60)
        letters = [r["value"] for partition in range(2) for r in cluster.get(
            "/v1/topics/t.g.dead/partitions/%d/records?offset=0" % partition, gateway=1).json()["records"]]
        assert sorted(letters) == list(range(20)), letters
        seen = describe(cluster, "g", 1)
        assert (seen["dead"], seen["locked"], seen["waiting"]) == (0, 0, 0), seen


def a_record_is_delivered_at_its_time_to_queues_only():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=1)
        began = time.time()
        reply = cluster.post("/v1/topics/t/records", "later",
                             headers={"Riacho-Deliver-After-Ms": "2500"})
        assert reply.status == 200, reply
        at = int((began + 2.5) * 1000)
        lines = '{"value":"now"}\n{"value":"also later","deliver_at":%d}\n' % at
        reply = cluster.post("/v1/topics/t/records", lines,
                             headers={"Content-Type": "application/x-ndjson"})
        assert reply.status == 200, reply
        stream = cluster.get("/v1/groups/s/records?topics=t").json()["records"]
        assert [r["value"] for r in stream] == ["later", "now", "also later"], stream
        assert int(stream[0]["headers"]["riacho-deliver-at"]) >= at, stream
        now = records(cluster, "g", wait_ms=5000)
        assert [r["value"] for r in now] == ["now"], now
        later = []
        while len(later) < 2:
            later += records(cluster, "g", 1, wait_ms=10000)
        assert time.time() - began >= 2.5, later
        assert sorted(r["value"] for r in later) == ["also later", "later"], later
        assert all(r["deliveries"] == 1 for r in later), later
        for headers, status in (({"Riacho-Deliver-After-Ms": str(31 * 24 * 3600 * 1000)}, 400),
                                ({"Riacho-Deliver-At": "tomorrow"}, 400),
                                ({"Riacho-Deliver-At": "2020-01-01T00:00:00Z"}, 200)):
            reply = cluster.post("/v1/topics/t/records", "x", headers=headers)
            assert reply.status == status, (headers, reply)


def bad_calls_are_clear_errors():
    with running(gateways=1, transform=0) as cluster:
        cluster.create_topic("t", partitions=1)
        cluster.create_topic("u", partitions=1)
        produce(cluster, 2, 1)
        got = records(cluster, "g")
        for body, status in (({}, 400), ({"locks": []}, 400), ({"locks": ["x"]}, 400),
                             ({"locks": [got[0]["lock"][:-2]]}, 400), ({"locks": [7]}, 400),
                             ({"locks": ["x"] * 1001}, 400), ({"locks": "", "more": 1}, 400)):
            reply = cluster.post(path("g", "/ack"), body)
            assert reply.status in (status, 422), (body, reply)
        assert cluster.post(path("other", "/ack"), {"lock": got[0]["lock"]}).status == 400
        assert cluster.post(path("g", "/ack", "u"), {"lock": got[0]["lock"]}).status == 400
        for query in ({"max_records": 1001}, {"lock_ms": 1}, {"lock_ms": 13 * 3600 * 1000},
                      {"wait_ms": 10 ** 9}, {"odd": 1}):
            assert receive(cluster, "g", **query).status == 400, query
        assert say(cluster, "g", "nack", got[0]["lock"], delay_ms=-5).status == 400
        assert say(cluster, "g", "nack", got[0]["lock"], delay_ms=32 * 86400000).status == 400
        assert put(cluster, "g", dead_letter_topic="t").status == 400
        assert put(cluster, "g", max_deliveries=1001).status == 400
        assert put(cluster, "g", order="age").status == 400
        assert put(cluster, "nobody", topic="none").status == 404
        assert cluster.get("/v1/groups/g/records?topics=t").status == 409
        assert cluster.get(path("nobody")).status == 404
        assert cluster.post(path("nobody", "/redrive"), {}).status == 404
        # What was refused has changed nothing.
        assert say(cluster, "g", "ack", [r["lock"] for r in got]).status == 200
        assert cluster.request("DELETE", path("g")).status == 204
        assert cluster.get(path("g")).status == 404


def the_command_line_works_on_queues():
    with running(gateways=1, transform=0) as cluster:
        cluster.create_topic("t", partitions=1)
        produce(cluster, 4, 1)
        out = cluster.cli("queue", "set", "t", "g", "--max-deliveries", "1", "--retry-ms", "0,5")
        assert b"1 deliveries" in out.stdout and b"t.g.dead" in out.stdout, out
        lines = cluster.cli("queue", "receive", "t", "g", "--max", "2").stdout.splitlines()
        got = [json.loads(line) for line in lines]
        assert [r["value"] for r in got] == [0, 1], got
        cluster.cli("queue", "ack", "t", "g", got[0]["lock"])
        assert cluster.cli("queue", "ack", "t", "g", got[0]["lock"], check=False).returncode == 1
        cluster.cli("queue", "extend", "t", "g", got[1]["lock"], "--lock-ms", "5000")
        cluster.cli("queue", "nack", "t", "g", got[1]["lock"], "--delay-ms=0")
        lines = cluster.cli("queue", "receive", "t", "g", "--wait-ms=3000", "--ack").stdout
        assert [json.loads(line)["value"] for line in lines.splitlines()] == [2, 3], lines
        wait_for(lambda: describe(cluster, "g")["lag"] == 0, "the dead one to be buried")
        dry = cluster.cli("queue", "redrive", "t", "g", "--dry-run").stdout
        assert b"looked at 1 dead letters, 1 match, 0 put back" in dry, dry
        done = cluster.cli("queue", "redrive", "t", "g", "--rate", "100").stdout
        assert b"1 match, 1 put back" in done, done
        table = cluster.cli("queue", "describe", "t", "g").stdout
        assert b"READY" in table and b"order none" in table, table
        assert b"g" in cluster.cli("queue", "list").stdout
        assert cluster.cli("queue", "receive", "t", check=False).returncode == 2
        cluster.cli("queue", "delete", "t", "g", "--force")
        assert cluster.cli("queue", "describe", "t", "g", check=False).returncode == 1


class Consumer(threading.Thread):
    """Works until it is told to stop: some records are nacked, some forgotten, most done."""

    def __init__(self, cluster, group, gateways):
        super().__init__(daemon=True)
        self.cluster, self.group, self.gateways = cluster, group, gateways
        self.done, self.unknown, self.errors, self.late, self.calls = [], [], 0, 0, 0
        self.halt = threading.Event()

    def run(self):
        while not self.halt.is_set():
            self.calls += 1
            gateway = self.calls % self.gateways
            try:
                got = records(self.cluster, self.group, gateway, max_records=20, wait_ms=300,
                              lock_ms=2000)
            except (OSError, http.client.HTTPException, AssertionError):
                self.errors += 1
                time.sleep(0.02)
                continue
            for r in got:
                self.work(r, gateway)

    def work(self, r, gateway):
        if r["value"] % 50 == 7:
            return  # as if it died: until its last delivery has failed
        try:
            reply = say(self.cluster, self.group, "ack", r["lock"], gateway)
        except (OSError, http.client.HTTPException):
            self.unknown.append(r["value"])
            return
        if reply.status == 200:
            self.done.append(r["value"])
        elif reply.status == 409:
            self.late += 1
        else:
            self.unknown.append(r["value"])


def nothing_is_lost_while_gateways_die_and_bury():
    count, partitions = 600, 3
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=partitions)
        assert put(cluster, "g", max_deliveries=2, retry_ms=[0]).status == 201
        consumers = [Consumer(cluster, "g", 2) for _ in range(3)]
        for consumer in consumers:
            consumer.start()
        for n in range(5):
            produce(cluster, count // 5, partitions, first=n * count // 5)
            cluster["gateway-2"].restart()

        def finished():
            seen = describe(cluster, "g")
            return seen["lag"] == 0

        for _ in range(6):
            time.sleep(1)
            cluster["gateway-2"].restart()
        wait_for(finished, "every record to be finished", 120)
        for consumer in consumers:
            consumer.halt.set()
        for consumer in consumers:
            consumer.join(30)
        done = [v for c in consumers for v in c.done]
        unknown = [v for c in consumers for v in c.unknown]
        assert len(done) == len(set(done)), "a record was acknowledged twice"
        dead = []
        for partition in range(partitions):
            reply = cluster.get("/v1/topics/t.g.dead/partitions/%d/records?offset=0&max_bytes=8000000"
                                % partition)
            dead += [(int(r["headers"]["riacho-dead-partition"]),
                      int(r["headers"]["riacho-dead-offset"]), r["value"])
                     for r in reply.json()["records"]]
        buried = set(v for _, _, v in dead)
        assert set(done) | buried | set(unknown) == set(range(count)), \
            set(range(count)) - set(done) - buried - set(unknown)
        assert set(v for v in range(count) if v % 50 == 7) <= buried, buried
        # What was acknowledged is not dead as well.
        assert not set(done) & buried, set(done) & buried
        assert any(c.errors for c in consumers), "no call met a dead gateway"


if __name__ == "__main__":
    main([
        a_record_goes_to_one_consumer_and_is_acknowledged,
        a_late_ack_is_a_conflict_and_the_record_is_delivered_again,
        an_ack_while_the_coordinator_is_away_is_said_again,
        a_parked_receive_is_answered_when_something_is_ready,
        records_of_a_key_keep_their_order_under_nacks,
        settings_are_of_the_group_but_each_topic_has_its_own_dead_letters,
        dead_letters_keep_the_record_and_are_put_back,
        the_dead_of_a_queue_that_nobody_reads_any_more_are_buried,
        a_record_is_delivered_at_its_time_to_queues_only,
        bad_calls_are_clear_errors,
        the_command_line_works_on_queues,
        nothing_is_lost_while_gateways_die_and_bury,
    ])
