#!/usr/bin/env python3
"""Consuming as one of a group through any gateway: nothing lost, order kept, whoever dies."""
import http.client
import os
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import main, running, wait_for  # noqa: E402


def read(cluster, group, gateway=0, after=None, **query):
    query.setdefault("topics", "t")
    if after:
        query["after"] = after
    return cluster.get("/v1/groups/%s/records?%s" % (
        urllib.parse.quote(group, safe=""), urllib.parse.urlencode(query)), gateway=gateway)


def produce(cluster, count, partitions, topic="t", first=0):
    """Value n goes to partition n modulo partitions."""
    for n in range(first, first + count):
        reply = cluster.post("/v1/topics/%s/partitions/%d/records" % (topic, n % partitions), str(n))
        assert reply.status == 200, reply


class Consumer(threading.Thread):
    """Consumes with the last answer's cursor, each call at the next gateway. A call that fails is
    repeated with the same cursor: what it may have leased comes back after the lease."""

    def __init__(self, cluster, group, gateways, **query):
        super().__init__(daemon=True)
        self.cluster, self.group, self.gateways, self.query = cluster, group, gateways, query
        self.seen = []  # (partition, offset, value), in the order of the answers
        self.answers = []  # (when, [(partition, offset)])
        self.lost, self.errors, self.calls = [], [], 0
        self.halt = threading.Event()

    def run(self):
        cursor = None
        while not self.halt.is_set():
            self.calls += 1
            try:
                reply = read(self.cluster, self.group, self.calls % self.gateways, cursor,
                             wait_ms=500, lease_ms=2000, max_records=20, **self.query)
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                time.sleep(0.02)
                continue
            if reply.status != 200:
                self.errors.append(repr(reply))
                time.sleep(0.05)
                continue
            page = reply.json()
            self.seen += [(r["partition"], r["offset"], r["value"]) for r in page["records"]]
            self.answers.append((time.monotonic(),
                                 [(r["partition"], r["offset"]) for r in page["records"]]))
            self.lost += page["lost"]
            cursor = page["cursor"]
        if cursor:
            wait_for(lambda: self.cluster.post("/v1/groups/%s/commit" % self.group,
                                               {"cursor": cursor}).status in (200, 409),
                     "the last commit")

    def finish(self):
        self.halt.set()
        self.join(60)
        assert not self.is_alive(), "a consumer hangs"


def check_order(consumers):
    """Within an answer a partition's records ascend without a gap; and the first deliveries of all
    consumers together ascend in each partition, since one lease of it is out at a time."""
    answers = sorted((at, answer) for consumer in consumers for at, answer in consumer.answers)
    for _, answer in answers:
        for partition in set(p for p, _ in answer):
            offsets = [o for p, o in answer if p == partition]
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), offsets
    for consumer in consumers:
        highest = {}
        for _, answer in consumer.answers:
            for partition in set(p for p, _ in answer):
                first = min(o for p, o in answer if p == partition)
                # Never past what somebody has finished: a gap is what another one had meanwhile.
                others = set(o for c in consumers for _, a in c.answers for p, o in a
                             if p == partition)
                assert set(range(highest.get(partition, 0), first)) <= others, (partition, first)
                highest[partition] = max(o for p, o in answer if p == partition) + 1


def one_consumer_follows_its_cursor_through_any_gateway():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=2)
        produce(cluster, 10, 2)
        first = read(cluster, "g", 0, max_records=3)
        assert first.status == 200, first
        page = first.json()
        assert len(page["records"]) == 3, page
        assert first.headers["riacho-cursor"] == page["cursor"]
        seen = [(r["partition"], r["offset"]) for r in page["records"]]
        cursor = page["cursor"]
        while page["records"]:
            page = read(cluster, "g", len(seen) % 2, cursor, max_records=3).json()
            assert page["lost"] == []
            seen += [(r["partition"], r["offset"]) for r in page["records"]]
            cursor = page["cursor"]
        assert sorted(seen) == [(p, o) for p in range(2) for o in range(5)], seen
        assert len(seen) == 10, seen
        for partition in range(2):
            offsets = [o for p, o in seen if p == partition]
            assert offsets == sorted(offsets), seen
        # What was committed through one gateway is known to the other; nobody has to be there.
        assert read(cluster, "g", 1).json()["records"] == []
        assert len(read(cluster, "another", 1).json()["records"]) == 10
        late = read(cluster, "late", 0, **{"from": "latest"}).json()
        assert late["records"] == []
        produce(cluster, 2, 2, first=10)
        assert len(read(cluster, "late", 1).json()["records"]) == 2


def a_parked_call_is_answered_when_a_record_comes():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=3)
        assert read(cluster, "g").json()["records"] == []
        answers = []

        def wait(gateway):
            began = time.monotonic()
            page = read(cluster, "g", gateway, wait_ms=5000).json()
            answers.append((time.monotonic() - began, page))

        threads = [threading.Thread(target=wait, args=(g,)) for g in (0, 0, 1)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        produce(cluster, 1, 3, first=1)
        wait_for(lambda: answers, "an answer")
        took, page = answers[0]
        assert [r["value"] for r in page["records"]] == [1], page
        assert took < 4, took
        # The record is leased: the others go on waiting, until it is given back.
        time.sleep(0.3)
        assert len(answers) == 1, answers
        back = cluster.post("/v1/groups/g/release", {"cursor": page["cursor"]}, gateway=1)
        assert back.status == 200 and len(back.json()["released"]) == 1, back
        wait_for(lambda: len(answers) == 2, "the next one")
        assert [r["value"] for r in answers[1][1]["records"]] == [1], answers
        done = cluster.post("/v1/groups/g/commit", {"cursor": answers[1][1]["cursor"]})
        assert done.status == 200 and done.json()["lost"] == [], done
        for thread in threads:
            thread.join(20)
        assert answers[2][1]["records"] == [], answers


def two_consumers_lose_nothing_while_gateways_and_the_coordinator_die():
    count, partitions = 1200, 4
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=partitions)
        consumers = [Consumer(cluster, "g", 2), Consumer(cluster, "g", 2)]
        for consumer in consumers:
            consumer.start()
        for n in range(6):
            produce(cluster, count // 6, partitions, first=n * count // 6)
            cluster["gateway-2"].restart()
            if n % 2 == 1:
                cluster["coordinator"].restart()

        def all_seen():
            values = set(v for c in consumers for _, _, v in c.seen)
            return len(values) == count

        wait_for(all_seen, "every record to be delivered", 60)
        for consumer in consumers:
            consumer.finish()
        assert any(c.errors for c in consumers), "no call met a dead gateway"
        check_order(consumers)
        described = cluster.get("/v1/groups/g").json()
        assert described["lag"] == 0 and described["lag_seconds"] == 0, described
        assert read(cluster, "g", 0).json()["records"] == []


def a_position_is_where_it_was_after_the_coordinator_died():
    with running(gateways=1, transform=0) as cluster:
        cluster.create_topic("t", partitions=1)
        produce(cluster, 5, 1)
        page = read(cluster, "g").json()
        assert len(page["records"]) == 5
        cluster["coordinator"].restart()
        done = cluster.post("/v1/groups/g/commit", {"cursor": page["cursor"]})
        assert done.status == 200, done
        assert done.json()["committed"][0]["position"] == 5, done
        cluster["coordinator"].restart()
        assert wait_for(lambda: read(cluster, "g"), "an answer").json()["records"] == []


def named_members_share_the_partitions():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=4)
        produce(cluster, 40, 4)
        assert len(read(cluster, "g", 0, member="a", lease_ms=1000).json()["partitions"]) == 4
        b = wait_for(lambda: read(cluster, "g", 1, member="b", wait_ms=3000).json()["partitions"],
                     "b's share")
        assert len(b) == 2, b
        # A consumer without a name would starve.
        nameless = read(cluster, "g", 0)
        assert nameless.status == 409, nameless
        for member in "ab":
            left = cluster.request("DELETE", "/v1/groups/g/members/" + member)
            assert left.status == 204, left
        gone = cluster.request("DELETE", "/v1/groups/g/members/a")
        assert gone.status == 404, gone


def operators_see_and_reset_a_group():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=2)
        produce(cluster, 6, 2)
        page = read(cluster, "a/b", max_records=2, max_partitions=1).json()
        time.sleep(1.2)
        path = "/v1/groups/a%2Fb"
        seen = cluster.get(path, gateway=1).json()
        assert seen["mode"] == "stream" and seen["lag"] == 6, seen
        assert 1 <= seen["lag_seconds"] < 60, seen
        held = [p for p in seen["partitions"] if p["lease"]]
        assert len(held) == 1 and 0 < held[0]["lease"]["left_ms"] <= 30000, seen
        listed = cluster.get("/v1/groups?limit=1").json()
        assert [g["group"] for g in listed["groups"]] == ["a/b"] and listed["next"] is None, listed

        refused = cluster.post(path + "/reset", {"to": "latest"})
        assert refused.status == 409, refused
        dry = cluster.post(path + "/reset", {"to": "latest", "dry_run": True, "force": True})
        assert dry.status == 200 and dry.json()["dry_run"], dry
        assert cluster.get(path).json()["lag"] == 6
        done = cluster.post(path + "/reset", {"to": "latest", "force": True}, gateway=1)
        assert [(p["from"], p["to"]) for p in done.json()["partitions"]] == [(0, 3), (0, 3)], done
        assert cluster.get(path).json()["lag"] == 0
        # The lease is void: what its holder says counts no more.
        late = cluster.post(path + "/commit", {"cursor": page["cursor"]})
        assert late.status == 409 and late.json()["error"]["code"] == "lost", late
        for body, status in (({"offset": 4}, 400), ({"topics": ["t"], "partitions": [2],
                             "to": "latest"}, 404), ({}, 400), ({"to": "nowhere"}, 400)):
            assert cluster.post(path + "/reset", body).status == status, body
        one = cluster.post(path + "/reset", {"topics": "t", "partitions": [1], "offset": 1})
        assert [(p["partition"], p["to"]) for p in one.json()["partitions"]] == [(1, 1)], one
        by_time = cluster.post(path + "/reset", {"timestamp": 1, "topics": ["t"]})
        assert [p["to"] for p in by_time.json()["partitions"]] == [0, 0], by_time
        assert cluster.request("DELETE", path).status == 204
        assert cluster.get(path).status == 404
        assert cluster.request("DELETE", path).status == 404


def the_command_line_consumes_as_one_of_a_group():
    with running(gateways=1, transform=0) as cluster:
        cluster.create_topic("t", partitions=2)
        cluster.create_topic("u", partitions=1)
        produce(cluster, 4, 2)
        cluster.post("/v1/topics/u/records", "plain text")
        out = cluster.cli("consume", "t,u", "--group", "g", "--max", "3", "--output", "value").stdout
        out += cluster.cli("consume", "t,u", "--group=g", "--output=value").stdout
        assert sorted(out.decode().split("\n")) == ["", "0", "1", "2", "3", "plain text"], out
        assert cluster.cli("consume", "t,u", "--group", "g").stdout == b""
        assert b"stream" in cluster.cli("group", "list").stdout
        table = cluster.cli("group", "describe", "g").stdout.decode()
        assert "lag 0" in table and "0.0 s" in table, table
        cluster.cli("group", "reset", "g", "--to", "earliest", "--topic", "t", "--dry-run")
        cluster.cli("group", "reset", "g", "--to", "earliest", "--topic", "t")
        assert len(cluster.cli("consume", "t,u", "--group", "g").stdout.splitlines()) == 4
        assert cluster.cli("group", "reset", "g", "--to", "soon", check=False).returncode == 2
        cluster.cli("group", "delete", "g")
        assert cluster.cli("group", "describe", "g", check=False).returncode == 1


def wrong_cursors_and_positions_are_clear_errors():
    with running(gateways=1, transform=0) as cluster:
        cluster.create_topic("t", partitions=1)
        produce(cluster, 3, 1)
        odd = "g/ \u00e9%"
        page = read(cluster, odd).json()
        assert len(page["records"]) == 3
        assert read(cluster, "other", after=page["cursor"]).status == 400
        assert cluster.request("HEAD", "/v1/groups/g/records?topics=t").status == 405
        assert read(cluster, odd, after=page["cursor"][:-3]).status == 400
        assert read(cluster, odd, after=page["cursor"]).json()["lost"] == []
        assert cluster.request("DELETE", "/v1/topics/t").status in (200, 204)
        cluster.create_topic("t", partitions=1)
        stale = read(cluster, odd, after=page["cursor"])
        assert stale.status == 410 and stale.json()["error"]["code"] == "stale_cursor", stale
        produce(cluster, 1, 1)
        assert len(read(cluster, odd).json()["records"]) == 1


def what_was_read_of_living_topics_is_committed_when_another_was_deleted():
    with running(gateways=1, transform=0) as cluster:
        cluster.create_topic("a", partitions=1)
        cluster.create_topic("b", partitions=1)
        for topic in ("a", "b"):
            assert cluster.post("/v1/topics/%s/records" % topic, "1").status == 200
        page = cluster.get("/v1/groups/g/records?topics=a,b&wait_ms=5000").json()
        assert sorted(p["topic"] for p in page["partitions"]) == ["a", "b"], page
        assert cluster.request("DELETE", "/v1/topics/b").status in (200, 204)
        done = cluster.post("/v1/groups/g/commit", {"cursor": page["cursor"]})
        assert done.status == 200, done
        assert done.json()["committed"] == [{"topic": "a", "partition": 0, "position": 1}], done
        lost = done.json()["lost"]
        assert [(l["topic"], l["reason"]) for l in lost] == [("b", "topic_deleted")], done
        again = cluster.get("/v1/groups/g/records?topics=a&after=" + page["cursor"])
        assert again.status == 200 and again.json()["lost"] == lost, again


def values_are_refused_and_taken_alike_everywhere():
    with running(gateways=1, transform=0) as cluster:
        cluster.create_topic("t", partitions=1)
        headers = {"Riacho-Timestamp": "1700000000000"}
        assert cluster.post("/v1/topics/t/records", "1", headers=headers).status == 200
        for time in (1700000000000, "1700000000000", "2023-11-14T22:13:20Z"):
            reply = cluster.post("/v1/groups/g/reset", {
                "timestamp": time, "create": True, "topics": ["t"]})
            assert reply.status == 200 and reply.json()["partitions"][0]["to"] == 0, reply
        reply = cluster.post("/v1/groups/g/reset", {"timestamp": "soon"})
        assert reply.status == 400 and "RFC 3339" in reply.json()["error"]["message"], reply
        # The delivery time as a header like any other.
        late = str(10 ** 17 - 1)
        reply = cluster.post("/v1/topics/t/records", "1",
                             headers={"Riacho-Header-riacho-deliver-at": late})
        assert reply.status == 400 and "30 days" in reply.json()["error"]["message"], reply
        line = '{"value":1,"headers":{"riacho-deliver-at":"%s"}}'
        typed = {"Content-Type": "application/x-ndjson"}
        reply = cluster.post("/v1/topics/t/records", line % late, headers=typed)
        assert reply.status == 422 and "30 days" in reply.json()["error"]["message"], reply
        assert cluster.post("/v1/topics/t/records", line % 5, headers=typed).status == 200
        # A delay of 30 days, and a commit's body that is too large, which is no record.
        path = "/v1/queues/t/q"
        made = cluster.request("PUT", path, {"retry_ms": [0, 2592000000]})
        assert made.status == 201 and made.json()["retry_ms"] == [0, 2592000000], made
        assert cluster.get(path).json()["retry_ms"] == [0, 2592000000]
        reply = cluster.post("/v1/groups/g/commit", {"cursor": "x" * 70000})
        assert reply.status == 413 and "outcome" not in reply.json()["error"], reply
        for command in ("topic", "group", "queue", "consume", "transform", "node"):
            out = cluster.cli(command, "--help").stdout.decode()
            assert out.startswith("usage: riacho") and "\n  %s " % command in out, out


if __name__ == "__main__":
    main([
        one_consumer_follows_its_cursor_through_any_gateway,
        a_parked_call_is_answered_when_a_record_comes,
        two_consumers_lose_nothing_while_gateways_and_the_coordinator_die,
        a_position_is_where_it_was_after_the_coordinator_died,
        named_members_share_the_partitions,
        operators_see_and_reset_a_group,
        the_command_line_consumes_as_one_of_a_group,
        wrong_cursors_and_positions_are_clear_errors,
        what_was_read_of_living_topics_is_committed_when_another_was_deleted,
        values_are_refused_and_taken_alike_everywhere,
    ])
