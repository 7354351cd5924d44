#!/usr/bin/env python3
"""Confluent REST Proxy v2 consumers, call by call, with every call at another gateway than the one
before: create, subscribe, assign, poll, commit, seek, delete, and each error that they have."""
import base64
import http.client
import json
import os
import socket
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import main, running, wait_for  # noqa: E402

V2 = "application/vnd.kafka.v2+json"
JSON = "application/vnd.kafka.json.v2+json"
BINARY = "application/vnd.kafka.binary.v2+json"
GATEWAYS = 2


class Client:
    """Sends each call to the next gateway. A gateway that is dead is passed over."""

    def __init__(self, cluster, alternate=True):
        self.cluster, self.calls, self.alternate = cluster, 0, alternate

    def call(self, method, path, body=None, accept=V2, kind=V2, **headers):
        self.calls += self.alternate
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["Accept"] = accept
        if body is not None:
            headers["Content-Type"] = kind
            body = body if isinstance(body, str) else json.dumps(body)
        return self.cluster.request(method, path, body, headers, gateway=self.calls % GATEWAYS)

    def create(self, group, expect=200, **settings):
        settings = {name.replace("__", "."): value for name, value in settings.items()}
        reply = self.call("POST", "/consumers/" + urllib.parse.quote(group, safe=""), settings)
        assert reply.status == expect, reply
        return Instance(self, reply) if expect == 200 else reply


class Instance:
    def __init__(self, client, reply):
        self.client, made = client, reply.json()
        assert set(made) == {"instance_id", "base_uri"}, made
        self.name = made["instance_id"]
        self.base_uri = made["base_uri"]
        self.path = urllib.parse.urlsplit(self.base_uri).path

    def call(self, method, below, body=None, **more):
        return self.client.call(method, self.path + below, body, **more)

    def subscribe(self, *topics):
        reply = self.call("POST", "/subscription", {"topics": list(topics)})
        assert (reply.status, reply.body) == (204, b""), reply

    def assignments(self):
        reply = self.call("GET", "/assignments")
        assert reply.status == 200, reply
        return [(p["topic"], p["partition"]) for p in reply.json()["partitions"]]

    def poll(self, accept=JSON, **query):
        below = "/records" + ("?" + urllib.parse.urlencode(query) if query else "")
        reply = self.call("GET", below, accept=accept)
        assert reply.status == 200, reply
        assert reply.headers["content-type"] == accept, reply.headers
        return reply.json()

    def poll_all(self, count, **query):
        """Polls until `count` records have come."""
        records = []
        wait_for(lambda: records.extend(self.poll(**query)) or len(records) >= count,
                 "%d records" % count)
        assert len(records) == count, records
        return records

    def commit(self, offsets=None):
        reply = self.call("POST", "/offsets", None if offsets is None else {"offsets": offsets})
        assert reply.status == 200, reply
        return reply.json()

    def committed(self, *partitions, topic="t"):
        reply = self.call("POST", "/offsets:list", {
            "partitions": [{"topic": topic, "partition": p} for p in partitions]})
        assert reply.status == 200, reply
        return {o["partition"]: o["offset"] for o in reply.json()["offsets"]}

    def delete(self):
        reply = self.call("DELETE", "")
        assert (reply.status, reply.body) == (204, b""), reply


def is_error(reply, status, code, text=""):
    """The body has the two fields and no others."""
    assert reply.status == status, reply
    assert reply.headers["content-type"] == V2, reply.headers
    body = reply.json()
    assert set(body) == {"error_code", "message"}, body
    assert body["error_code"] == code, body
    assert text in body["message"], body
    return True


def produce(cluster, values, partition=0, topic="t", kind="json"):
    reply = cluster.post(
        "/topics/%s/partitions/%d" % (topic, partition),
        json.dumps({"records": [{"value": v} for v in values]}),
        {"Content-Type": "application/vnd.kafka.%s.v2+json" % kind})
    assert reply.status == 200, reply
    assert all(o["error_code"] is None for o in reply.json()["offsets"]), reply


def values(records):
    return [r["value"] for r in records]


def start(cluster, partitions=1, name="t"):
    """Every gateway knows the topic."""
    cluster.create_topic(name, partitions=partitions)
    for gateway in range(GATEWAYS):
        wait_for(lambda: cluster.get("/topics/" + name, gateway=gateway).status == 200, "the topic")


def instances_are_made_and_ended():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        drawn = client.create("g")
        assert drawn.name.startswith("rest-consumer-"), drawn.name
        port = cluster.gateway_ports[client.calls % GATEWAYS]
        assert drawn.base_uri == "http://127.0.0.1:%d/consumers/g/instances/%s" % (
            port, drawn.name), drawn.base_uri
        named = client.create("g", name="one", format="JSON", auto__offset__reset="earliest")
        assert named.name == "one"
        assert "/consumers/g/instances/one" in named.base_uri
        is_error(client.create("g", 409, name="one"), 409, 40902)
        # Strimzi's spelling, native types, an odd name, a trailing slash, Confluent's strings.
        odd = client.call("POST", "/consumers/a%2Fb%20c/", {
            "id": "x/y z", "format": "binary", "enable.auto.commit": False,
            "fetch.min.bytes": 1, "consumer.request.timeout.ms": "2000",
            "isolation.level": "read_committed"}, kind="application/json")
        assert odd.status == 200, odd
        assert "/consumers/a%2Fb%20c/instances/x%2Fy%20z" in odd.json()["base_uri"], odd
        assert Instance(client, odd).assignments() == []
        proxied = client.call("POST", "/consumers/g", {}, X_Forwarded_Proto="https",
                              X_Forwarded_Host="api.example.com, inner", X_Forwarded_Prefix="/k/")
        assert proxied.json()["base_uri"].startswith(
            "https://api.example.com/k/consumers/g/instances/"), proxied
        assert client.call("POST", "/consumers/g").status == 200  # no body at all
        named.delete()
        is_error(named.call("DELETE", ""), 404, 40403)
        assert client.create("g", name="one").name == "one"


def creating_is_refused_with_confluents_numbers():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)

        def refused(body, status, code, kind=V2):
            return is_error(client.call("POST", "/consumers/g", body, kind=kind), status, code)

        for format in ("avro", "jsonschema", "protobuf", "text", 7):
            refused({"format": format}, 422, 422)
        refused({"auto.offset.reset": "sometimes"}, 422, 42204)
        refused({"auto.commit.enable": "maybe"}, 422, 42204)
        refused({"fetch.min.bytes": "many"}, 422, 42204)
        refused({"fetch.min.bytes": "-2"}, 400, 40001)
        refused({"fetch.min.bytes": 10000001}, 400, 40001)
        refused({"consumer.request.timeout.ms": -1}, 400, 40001)
        refused({"name": "a;epoch=3"}, 422, 42204)
        refused({"name": ""}, 400, 400)
        refused({"unknown": 1}, 422, 422)
        refused("{", 400, 400)
        refused("[]", 422, 422)
        refused("{}", 415, 415, kind="text/plain")
        is_error(client.call("PUT", "/consumers/g", "{}"), 405, 405)
        is_error(client.call("GET", "/consumers/g/instances"), 404, 404)
        is_error(client.call("POST", "/consumers/g", "{}", accept="image/png"), 406, 406)
        # Nobody there.
        for method, below, body in (
                ("DELETE", "", None), ("GET", "/subscription", None), ("GET", "/assignments", None),
                ("POST", "/subscription", {"topics": ["t"]}), ("DELETE", "/subscription", None),
                ("POST", "/assignments", {"partitions": []}), ("GET", "/records", None),
                ("POST", "/offsets", None), ("GET", "/offsets", {"partitions": []}),
                ("POST", "/positions", {"offsets": []}), ("POST", "/positions/end", {}),
                ("POST", "/positions/beginning", {})):
            for group in ("g", "nobody"):
                path = "/consumers/%s/instances/none%s" % (group, below)
                is_error(client.call(method, path, body), 404, 40403)


def polls_give_what_was_produced_in_both_formats():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster)
        reply = cluster.produce_v2("t", [{"key": "k", "value": {"a": [1, "é"]}}, {"value": None}])
        assert reply.status == 200, reply
        assert cluster.post("/v1/topics/t/records", "not json", {
            "Riacho-Key": "q", "Riacho-Header-h": "1"}).status == 200
        consumer = client.create("g", format="json", auto__offset__reset="earliest")
        is_error(consumer.call("GET", "/records", accept=JSON), 409, 40903)  # reads nothing yet
        consumer.subscribe("t")
        # The first poll has everything: nothing is joined meanwhile.
        first, none, odd = consumer.poll()
        assert {k: first[k] for k in ("topic", "partition", "offset", "key", "value")} == {
            "topic": "t", "partition": 0, "offset": 0, "key": "k", "value": {"a": [1, "é"]}}, first
        assert none["value"] is None and none["key"] is None and none["offset"] == 1, none
        assert odd["value"] == base64.b64encode(b"not json").decode(), odd
        assert odd["value_encoding"] == "base64", odd
        assert consumer.poll(timeout=50) == []
        binary = client.create("h", auto__offset__reset="earliest", format="binary")
        binary.subscribe("t")
        page = binary.poll(accept=BINARY, extras="false")
        assert set(page[0]) == {"topic", "partition", "offset", "key", "value"}, page
        assert json.loads(base64.b64decode(page[0]["value"])) == {"a": [1, "é"]}, page
        assert base64.b64decode(page[0]["key"]) == b'"k"' and page[1]["value"] is None, page
        for accept in (V2, "application/json", "application/vnd.kafka+json"):
            binary.poll(accept=accept, timeout=0)  # no format means base64
        for one, accept in ((consumer, BINARY), (binary, JSON), (consumer, "application/json"),
                            (consumer, "application/vnd.kafka.avro.v2+json"), (binary, "image/png")):
            is_error(one.call("GET", "/records", accept=accept), 406, 40601)
        ranked = consumer.call("GET", "/records?timeout=0", accept=BINARY + ";q=1, " + JSON + ";q=0.1")
        assert ranked.headers["content-type"] == JSON, ranked.headers
        is_error(consumer.call("GET", "/records?timeout=soon", accept=JSON), 400, 400)
        is_error(consumer.call("GET", "/records?wait=1", accept=JSON), 400, 400)


def an_answer_has_at_least_one_record_and_the_limit_bounds_the_commit():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster)
        produce(cluster, ["x" * 100, "y" * 100, "z"])
        consumer = client.create("g", format="json", auto__offset__reset="earliest",
                                 auto__commit__enable="false")
        consumer.subscribe("t")
        for expected in ("x" * 100, "y" * 100):
            assert values(consumer.poll(max_bytes=10)) == [expected]
        # An empty commit covers what was delivered, not what was read with it.
        assert consumer.commit() == [
            {"topic": "t", "partition": 0, "consumed": 1, "committed": 1}]
        assert consumer.committed(0) == {0: 2}
        consumer.delete()
        again = client.create("g", format="json", auto__commit__enable=False)
        again.subscribe("t")
        assert values(again.poll()) == ["z"]
        # Not committed: whoever comes next has it again.
        again.delete()
        third = client.create("g", format="json", auto__commit__enable=False)
        third.subscribe("t")
        assert values(third.poll()) == ["z"]


def a_poll_waits_for_records_and_for_enough_of_them():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster)
        consumer = client.create("g", format="json", auto__offset__reset="latest",
                                 consumer__request__timeout__ms="20000")
        produce(cluster, ["before"])
        consumer.subscribe("t")
        produce(cluster, ["after the subscription"])  # and before the first poll
        assert values(consumer.poll()) == ["after the subscription"]
        answers = []
        thread = threading.Thread(target=lambda: answers.append(consumer.poll()))
        thread.start()
        time.sleep(0.3)
        assert not answers
        produce(cluster, ["one"])
        thread.join(30)
        assert values(answers[0]) == ["one"], answers
        began = time.monotonic()
        assert consumer.poll(timeout=300) == []
        assert 0.25 < time.monotonic() - began < 15
        greedy = client.create("h", format="json", auto__offset__reset="earliest",
                               fetch__min__bytes=1000, consumer__request__timeout__ms=20000)
        greedy.subscribe("t")
        thread = threading.Thread(target=lambda: answers.append(greedy.poll()))
        thread.start()
        time.sleep(0.3)
        assert len(answers) == 1
        produce(cluster, ["x" * 1500])
        thread.join(30)
        assert len(answers[1]) == 4, answers[1]


def offsets_mean_what_they_mean_to_confluent():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster, partitions=2)
        start(cluster, name="u")
        produce(cluster, list(range(10)))
        consumer = client.create("g", format="json", auto__offset__reset="earliest",
                                 auto__commit__enable="false")
        consumer.subscribe("t")
        assert consumer.committed(0, 1) == {}
        at = {"topic": "t", "partition": 0}
        done = consumer.commit([dict(at, offset="4", metadata="note")])
        assert done == [dict(at, consumed=4, committed=4)], done
        listed = consumer.call("GET", "/offsets", {"partitions": [at]})
        assert listed.json() == {"offsets": [dict(at, offset=5, metadata="note")]}, listed
        assert consumer.call("GET", "/offsets?topic=t&partition=0,1").json() == listed.json()
        assert consumer.committed(0, 1) == {0: 5}
        # Pandaproxy's name of the list; the same again; async.
        again = consumer.call("POST", "/offsets?async=true", {"partitions": [dict(at, offset=4)]})
        assert again.status == 200, again
        is_error(consumer.call("POST", "/offsets", {"offsets": [dict(at, offset=3)]}), 409, 40903)
        is_error(consumer.call("POST", "/offsets", {"offsets": [dict(at, offset=99)]}), 400, 40002)
        is_error(consumer.call("POST", "/offsets", {"offsets": [{"topic": "no", "partition": 0,
                                                                 "offset": 1}]}), 404, 40401)
        is_error(consumer.call("POST", "/offsets", {"offsets": [{"topic": "t", "partition": 2,
                                                                 "offset": 1}]}), 404, 40402)
        is_error(consumer.call("POST", "/offsets", {"offsets": [dict(at, offset=-1)]}), 422, 422)
        is_error(consumer.call("POST", "/offsets", {"offsets": [at]}), 422, 422)
        is_error(consumer.call("POST", "/offsets", {"offsets": {}}), 422, 422)
        is_error(consumer.call("POST", "/offsets", "{"), 400, 400)
        is_error(consumer.call("GET", "/offsets"), 404, 40402)
        is_error(consumer.call("GET", "/offsets?topic=t&partition=7"), 404, 40402)
        is_error(consumer.call("GET", "/offsets?topic=no&partition=0"), 404, 40401)
        assert values(consumer.poll()) == list(range(5, 10))
        assert consumer.commit() == [dict(at, consumed=9, committed=9)]
        assert consumer.committed(0) == {0: 10}
        # The same position is where /v1 goes on, and what it shows.
        described = cluster.get("/v1/groups/g").json()
        assert [p["position"] for p in described["partitions"] if p["partition"] == 0] == [10]


def seeking_moves_what_comes_next_only():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster, partitions=2)
        produce(cluster, list(range(10)))
        at = {"topic": "t", "partition": 0}
        consumer = client.create("g", format="json", auto__offset__reset="earliest",
                                 auto__commit__enable="false")
        is_error(consumer.call("POST", "/positions", {"offsets": [dict(at, offset=1)]}), 409, 40903)
        consumer.subscribe("t")
        # Before the first poll, too.
        assert consumer.call("POST", "/positions", {"offsets": [dict(at, offset=7)]}).status == 204
        assert values(consumer.poll()) == [7, 8, 9]
        assert consumer.call("POST", "/positions/beginning", {"partitions": [at]}).status == 204
        assert values(consumer.poll()) == list(range(10))
        assert consumer.call("POST", "/positions/end", {"partitions": [at]}).status == 204
        assert consumer.poll(timeout=50) == []
        assert consumer.committed(0) == {}
        future = {"timestamps": [dict(at, timestamp="2999-01-01T00:00:00Z")]}
        assert consumer.call("POST", "/positions", future).status == 204
        assert consumer.poll(timeout=50) == []
        past = {"timestamps": [dict(at, timestamp="2001-02-03T04:05:06.789+01:00")]}
        assert consumer.call("POST", "/positions", past).status == 204
        assert len(consumer.poll()) == 10
        is_error(consumer.call("POST", "/positions", {"offsets": [dict(at, offset=11)]}), 400, 40002)
        is_error(consumer.call("POST", "/positions", {"offsets": []}), 422, 422)
        is_error(consumer.call("POST", "/positions", {"timestamps": [dict(at, timestamp="now")]}),
                 422, 422)
        is_error(consumer.call("POST", "/positions/end", {"partitions": [
            {"topic": "t", "partition": 9}]}), 404, 40402)


def subscriptions_exclude_each_other():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster, partitions=2)
        start(cluster, name="u")
        consumer = client.create("g", format="json", auto__offset__reset="earliest")
        for body in ({}, {"topics": []}, {"topics": "t"}, {"topics": [1]}, {"topic_pattern": 1},
                     {"topic_pattern": "("}, {"topic_pattern": "(a)\\1"}, {"x": 1},
                     {"topic_pattern": "a" * 300}, {"topic_pattern": "((a{9}){9}){9}"}):
            is_error(consumer.call("POST", "/subscription", body), 422, 422)
        is_error(consumer.call("POST", "/subscription", {"topics": ["no"]}), 404, 40401)
        is_error(consumer.call("POST", "/subscription", {"topics": ["t"], "topic_pattern": "t"}),
                 409, 40903)
        consumer.subscribe("t", "u")
        told = consumer.call("GET", "/subscription").json()
        assert sorted(told["topics"]) == ["t", "u"], told
        assert sorted(map(str, told["partitions"])) == ["{'t': [0, 1]}", "{'u': [0]}"], told
        assert sorted(consumer.assignments()) == [("t", 0), ("t", 1), ("u", 0)]
        consumer.subscribe("u")
        assert consumer.assignments() == [("u", 0)]
        own = {"partitions": [{"topic": "t", "partition": 1}]}
        is_error(consumer.call("POST", "/assignments", own), 409, 40903)
        is_error(consumer.call("POST", "/subscription", {"topic_pattern": ".*"}), 409, 40903)
        assert consumer.call("DELETE", "/subscription").status == 204
        assert consumer.call("GET", "/subscription").json()["topics"] == []
        assert consumer.assignments() == []
        assert consumer.call("POST", "/assignments", own).status == 204
        assert consumer.assignments() == [("t", 1)]
        produce(cluster, ["other"], partition=0)
        produce(cluster, ["mine"], partition=1)
        assert values(consumer.poll()) == ["mine"]
        is_error(consumer.call("POST", "/subscription", {"topics": ["t"]}), 409, 40903)
        is_error(consumer.call("POST", "/assignments", {"partitions": [
            {"topic": "t", "partition": 5}]}), 404, 40402)
        is_error(consumer.call("POST", "/assignments", {}), 422, 422)
        assert consumer.call("POST", "/assignments", {"partitions": []}).status == 204
        assert consumer.call("POST", "/subscription", {"topic_pattern": "t|new-\\d+"}).status == 204
        assert sorted(consumer.assignments()) == [("t", 0), ("t", 1)]
        start(cluster, name="new-12")
        start(cluster, name="new-x")
        produce(cluster, ["fresh"], topic="new-12")
        records = []
        wait_for(lambda: records.extend(consumer.poll(timeout=200)) or "fresh" in values(records),
                 "the new topic's record")
        assert sorted(consumer.call("GET", "/subscription").json()["topics"]) == ["new-12", "t"]


def a_topic_made_anew_under_a_subscribed_name_is_read_from_the_reset_policys_place():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster)
        start(cluster, name="other")
        consumer = client.create("g", format="json", auto__offset__reset="earliest")
        consumer.subscribe("t", "other")
        produce(cluster, ["old-0", "old-1"])
        assert values(consumer.poll_all(2)) == ["old-0", "old-1"]
        assert cluster.request("DELETE", "/v1/topics/t").status == 204
        assert consumer.poll(timeout=0) == []  # nothing is there, and that is no error
        told = consumer.call("GET", "/subscription").json()
        assert sorted(told["topics"]) == ["other", "t"], told
        wait_for(lambda: cluster.post("/v1/topics", {"name": "t", "partitions": 1, "replicas": 1})
                 .status in (200, 201), "the topic's name")
        produce(cluster, ["new-0"])
        produce(cluster, ["beside"], topic="other")
        assert sorted(values(consumer.poll_all(2))) == ["beside", "new-0"]
        assert [(p["partition"], p["committed"]) for p in consumer.commit()
                if p["topic"] == "t"] == [(0, 0)]
        assert ("t", 0) in consumer.assignments()


def what_a_poll_delivered_is_committed_by_the_next_one():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster)
        produce(cluster, [0, 1, 2])
        consumer = client.create("g", format="json", auto__offset__reset="earliest")
        consumer.subscribe("t")
        assert values(consumer.poll()) == [0, 1, 2]
        assert consumer.committed(0) == {}
        produce(cluster, [3])
        assert values(consumer.poll()) == [3]
        assert consumer.committed(0) == {0: 3}
        consumer.delete()  # as a client that closes
        other = client.create("g", format="json", auto__offset__reset="earliest")
        assert other.committed(0) == {0: 4}
        other.subscribe("t")
        assert other.poll(timeout=50) == []


def two_instances_divide_the_partitions():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster, partitions=4)
        settings = dict(format="json", auto__offset__reset="earliest", auto__commit__enable=False)
        one = client.create("g", **settings)
        one.subscribe("t")
        assert len(one.assignments()) == 4
        for p in range(4):
            produce(cluster, [p * 10, p * 10 + 1], partition=p)
        assert len(one.poll_all(8)) == 8
        one.commit()
        before = set(one.assignments())
        two = client.create("g", **settings)
        two.subscribe("t")
        first, second = set(one.assignments()), set(two.assignments())
        assert len(first) == len(second) == 2 and not first & second, (first, second)
        assert first < before
        for p in range(4):
            produce(cluster, [p], partition=p)
        seen = {}
        for consumer, mine in ((one, first), (two, second)):
            seen[consumer] = consumer.poll_all(2)
            assert set((r["topic"], r["partition"]) for r in seen[consumer]) == mine
        is_error(two.call("POST", "/offsets", {"offsets": [
            {"topic": "t", "partition": p, "offset": 2} for _, p in first]}), 409, 40903)
        two.commit()
        two.delete()
        assert set(one.assignments()) == before
        # What the other one had committed does not come again.
        assert one.poll(timeout=100) == []


def a_name_is_taken_over_and_the_former_owner_is_fenced():
    with running(gateways=GATEWAYS, transform=0,
                 options={"gateway": ["--consumer-timeout-ms=4000"]}) as cluster:
        client = Client(cluster)
        start(cluster)
        produce(cluster, ["a", "b"])
        settings = dict(name="w", format="json", auto__offset__reset="earliest",
                        auto__commit__enable=False)
        old = client.create("g", **settings)
        old.subscribe("t")
        assert values(old.poll()) == ["a", "b"]
        is_error(client.create("g", 409, **settings), 409, 40902)
        new = client.create("g", take__over=True, **settings)
        assert new.base_uri != old.base_uri
        for method, below, body in (("GET", "/records", None), ("POST", "/offsets", None),
                                    ("GET", "/subscription", None), ("DELETE", "", None)):
            is_error(old.call(method, below, body, accept=V2), 404, 40403, "taken over")
        assert new.assignments() == []
        new.subscribe("t")
        assert values(new.poll()) == ["a", "b"]  # nothing was committed
        new.commit()
        # Its owner dies: after the session the name is nobody's, without a flag. Asking for it
        # does not keep the dead one alive.
        asked = {name.replace("__", "."): value for name, value in settings.items()}

        def free():
            reply = client.call("POST", "/consumers/g", asked)
            return reply if reply.status == 200 else is_error(reply, 409, 40902) and None

        revived = Instance(client, wait_for(free, "the name to be free"))
        is_error(new.call("GET", "/records"), 404, 40403)
        revived.subscribe("t")
        assert revived.poll(timeout=100) == []
        assert revived.committed(0) == {0: 2}
        # Calls keep it alive.
        for _ in range(10):
            time.sleep(0.5)
            revived.poll(timeout=0)


def an_instance_outlives_its_gateways():
    """Each call at another gateway, one of which is killed between two calls; the coordinator
    dies, too."""
    count = 300
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster, partitions=3)
        consumer = client.create("g", format="json", auto__offset__reset="earliest",
                                 auto__commit__enable=False)
        consumer.subscribe("t")
        for p in range(3):
            produce(cluster, [p * 1000 + n for n in range(count // 3)], partition=p)
        seen = []
        for n in range(1000):
            if len(set(seen)) == count:
                break
            if n % 4 == 0:
                cluster["gateway-%d" % (1 + n // 4 % GATEWAYS)].restart()
            if n % 20 == 10:
                cluster["coordinator"].restart()
            try:
                page = consumer.call("GET", "/records?max_bytes=60", accept=JSON)
                assert page.status in (200, 503), page
                seen += values(page.json()) if page.status == 200 else []
                committed = consumer.call("POST", "/offsets")
                assert committed.status in (200, 503), committed
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
        assert len(set(seen)) == count, len(set(seen))
        # Each partition's records came in order; again only what no commit had reached.
        for p in range(3):
            first = list(dict.fromkeys(v for v in seen if v // 1000 == p))
            assert first == sorted(first), first
        wait_for(lambda: consumer.call("POST", "/offsets").status == 200, "the last commit")
        for gateway in range(GATEWAYS):
            wait_for(lambda: cluster.get("/readyz", gateway=gateway).status == 200, "both gateways")
        assert consumer.committed(0, 1, 2) == {p: count // 3 for p in range(3)}
        assert consumer.poll(timeout=50) == []


def an_answer_that_did_not_arrive_delivers_nothing():
    with running(gateways=GATEWAYS, transform=0) as cluster:
        client = Client(cluster)
        start(cluster)
        for n in range(8):
            produce(cluster, ["%d" % n + "x" * 900000])
        consumer = client.create("g", format="json", auto__offset__reset="earliest",
                                 auto__commit__enable=False)
        consumer.subscribe("t")
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        connection.connect(("127.0.0.1", cluster.gateway_ports[0]))
        connection.sendall(("GET %s/records?max_bytes=8000000 HTTP/1.1\r\nHost: a\r\nAccept: "
                                 "%s\r\n\r\n" % (consumer.path, JSON)).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.close()  # in the middle
        assert consumer.commit() == []
        assert consumer.committed(0) == {}
        assert values(consumer.poll(max_bytes=10))[0][0] == "0"
        # HEAD would deliver records, and show them to nobody.
        assert consumer.call("HEAD", "/records", accept=JSON).status == 405
        assert values(consumer.poll(max_bytes=10))[0][0] == "1"


main([
    instances_are_made_and_ended,
    creating_is_refused_with_confluents_numbers,
    polls_give_what_was_produced_in_both_formats,
    an_answer_has_at_least_one_record_and_the_limit_bounds_the_commit,
    a_poll_waits_for_records_and_for_enough_of_them,
    offsets_mean_what_they_mean_to_confluent,
    seeking_moves_what_comes_next_only,
    subscriptions_exclude_each_other,
    a_topic_made_anew_under_a_subscribed_name_is_read_from_the_reset_policys_place,
    what_a_poll_delivered_is_committed_by_the_next_one,
    two_instances_divide_the_partitions,
    a_name_is_taken_over_and_the_former_owner_is_fenced,
    an_instance_outlives_its_gateways,
    an_answer_that_did_not_arrive_delivers_nothing,
])
