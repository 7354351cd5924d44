#!/usr/bin/env python3
"""Bad input: a clear error that names the field and the rule, bounded memory, and the process lives."""
import json
import os
import random
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import main, running, wait_for  # noqa: E402

V2 = {"Content-Type": "application/vnd.kafka.json.v2+json"}
BINARY = {"Content-Type": "application/vnd.kafka.binary.v2+json"}


def expect(reply, status, code=None, *words):
    assert reply.status == status, (status, reply)
    body = reply.json()
    error = body.get("error", body)
    message = error["message"]
    if code is not None:
        assert body.get("error_code", error.get("code")) == code, (code, reply)
    for word in words:
        assert str(word) in message, (word, message)
    return message


def v2_errors_have_the_documented_codes():
    with running(transform=0) as cluster:
        cluster.create_topic("t", partitions=2)
        expect(cluster.get("/topics/nope"), 404, 40401)
        expect(cluster.get("/topics/t/partitions/7"), 404, 40402)
        expect(cluster.produce_v2("nope", [{"value": 1}]), 404, 40401)
        expect(cluster.post("/topics/t", "{}", {"Content-Type": "text/plain"}), 415, 415)
        expect(cluster.post("/topics/t", '{"records":[{"value":1}]}',
                            dict(V2, Accept="image/png")), 406, 406)
        expect(cluster.post("/topics/t", '{"records":[{"value":1}', V2), 422, None, "23")
        expect(cluster.post("/topics/t", '{"records":[]}', V2), 422, 422, "records")
        expect(cluster.post("/topics/t", '{"records":7}', V2), 422, 422, "records")
        expect(cluster.post("/topics/t", '{}', V2), 422, 422, "records")
        expect(cluster.post("/topics/t", '{"records":[{"value":"*"}]}', BINARY), 422, None,
               "base64")
        expect(cluster.post("/nowhere", "x"), 404)
        expect(cluster.request("PUT", "/topics/t", "x"), 405)
        assert cluster.produce_v2("t", [{"value": 1}]).status == 200


def v1_errors_name_field_and_rule():
    with running(transform=1) as cluster:
        cluster.create_topic("t", partitions=2)
        topics = "/v1/topics"
        expect(cluster.post(topics, {"name": "t"}), 409)
        expect(cluster.post(topics, {"name": "a/b"}), 400, None, "name")
        expect(cluster.post(topics, {"name": "x" * 201}), 400, None, "name", 200)
        expect(cluster.post(topics, {"name": ".."}), 400, None, "name")
        expect(cluster.post(topics, {}), 400, None, "name")
        expect(cluster.post(topics, {"name": "u", "partitions": 0}), 400, None, "partition")
        expect(cluster.post(topics, {"name": "u", "replicas": 9}), 400, None, "9", "3")
        expect(cluster.post(topics, {"name": "u", "config": {"colour": "red"}}), 400, None,
               "colour")
        expect(cluster.post(topics, {"name": "u", "config": {"cleanup.policy": "compact"}}), 400,
               None, "cleanup.policy")
        expect(cluster.post(topics, {"name": "u", "surprise": 1}), 400, None, "surprise")
        expect(cluster.post(topics, "{", {"Content-Type": "application/json"}), 422)
        expect(cluster.get("/v1/topics/nope"), 404)
        records = "/v1/topics/t/partitions/0/records"
        assert cluster.post(records, "one").status == 200
        expect(cluster.get(records + "?offset=-1"), 400, None, "offset")
        expect(cluster.get(records + "?offset=99"), 400, None, "0", "1")
        expect(cluster.get(records + "?offset=x"), 400, None, "offset")
        expect(cluster.get(records + "?offset=0&max_bytes=x"), 400, None, "max_bytes")
        expect(cluster.get("/v1/topics/t/partitions/9/records?offset=0"), 404)
        expect(cluster.get(records + "?offset=0", headers={"Accept": "image/png"}), 406)
        for sql, word in (("SELECT 1", "CREATE STREAM"),
                          ("CREATE STREAM s AS SELECT nope FROM t", "nope"),
                          ("CREATE STREAM s AS SELECT random() AS r FROM t", "random"),
                          ("CREATE STREAM s AS SELECT count(*) AS n FROM t GROUP BY key", ""),
                          ("CREATE STREAM s AS SELECT key, value FROM missing", "missing"),
                          ("CREATE STREAM s AS SELECT key, value FROM t; DROP TABLE t", "")):
            reply = cluster.post("/v1/transforms", {"sql": sql})
            assert reply.status in (400, 404), (sql, reply)
            assert word in reply.json()["error"]["message"], (sql, reply)
        expect(cluster.get("/v1/transforms/nope"), 404)


def too_large_is_refused_before_it_is_read():
    with running(transform=0, replication=1) as cluster:
        cluster.create_topic("t", partitions=1)
        before = cluster["gateway-1"].resident_kib()
        with socket.create_connection(("127.0.0.1", cluster.gateway_ports[0])) as s:
            s.sendall(b"POST /topics/t HTTP/1.1\r\nHost: x\r\nContent-Type: "
                      b"application/vnd.kafka.json.v2+json\r\nContent-Length: 99999999999"
                      b"\r\n\r\n")
            s.settimeout(20)
            assert b"413" in s.recv(4096).split(b"\r\n")[0]
        record = json.dumps({"records": [{"value": "x" * (9 << 20)}]})
        reply = cluster.post("/topics/t", record, V2)
        assert reply.status == 413 or reply.json()["offsets"][0]["error_code"] is not None, reply
        assert cluster.produce_v2("t", [{"value": 1}]).status == 200
        assert cluster["gateway-1"].resident_kib() - before < 200 * 1024


def too_few_in_sync_replicas_say_so():
    with running(transform=0, options={"gateway": ["--request-timeout-ms=3000"]}) as cluster:
        cluster.create_topic("t", partitions=1, replicas=3,
                             **{"min.insync.replicas": "3", "replica.lag.time.max.ms": "1000"})
        assert cluster.produce_v2("t", [{"value": 1}]).status == 200
        leader = cluster.get("/v1/topics/t").json()["partitions"][0]["leader"]
        nodes = {p["node_id"]: p["address"] for p in
                 cluster.get("/v1/cluster").json()["processes"] if p["role"] == "storage"}
        follower = next(name for name, port in cluster.storage_ports.items()
                        if not nodes[leader].endswith(":%d" % port))
        cluster[follower].kill()

        def shrunk():
            cluster.produce_v2("t", [{"value": 2}], timeout=40)
            return len(cluster.get("/v1/topics/t").json()["partitions"][0]["isr"]) < 3
        wait_for(shrunk, "the dead follower to leave the in-sync set", 60)
        reply = cluster.post("/v1/topics/t/records", "x", timeout=60)
        assert reply.status == 503 and "retry-after" in reply.headers, reply
        error = reply.json()["error"]
        assert "replicas" in error["message"] and error["outcome"] == "not_stored", reply
        cluster[follower].start()
        wait_for(lambda: cluster.produce_v2("t", [{"value": 3}]).json()["offsets"][0]["error_code"]
                 is None, "produce to work again", 40)


def garbage_on_every_port_is_ignored():
    rng = random.Random(7)
    with running() as cluster:
        cluster.create_topic("t", partitions=1)
        addresses = [p["address"] for p in cluster.get("/v1/cluster").json()["processes"]]
        ports = [int(a.rsplit(":", 1)[1]) for a in addresses if a] + list(cluster.gateway_ports)
        ports.append(int(cluster.coordinator_address.rsplit(":", 1)[1]))
        sp = b"\x00SP\x00\x00\x30\x00\x00"  # a request socket's greeting
        for port in sorted(set(ports)):
            for _ in range(20):
                junk = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 400)))
                for data in (junk, sp + junk, sp + (len(junk)).to_bytes(8, "big") + junk,
                             sp + b"\x7f" + b"\xff" * 7 + junk,
                             sp + (4 + len(junk)).to_bytes(8, "big") + b"\x80\0\0\1" + junk):
                    try:
                        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
                            s.sendall(data)
                    except OSError:
                        pass
        for process in cluster.processes.values():
            assert process.alive(), process.name
        assert cluster.produce_v2("t", [{"value": 1}]).status == 200


def ten_thousand_connections_end_in_503_and_not_in_death():
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = 3000
    if hard != resource.RLIM_INFINITY and hard < want + 500:
        want = hard - 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(want + 500, hard if hard > 0 else want + 500),
                                                hard))
    with running(transform=0, storage=1,
                 options={"gateway": ["--max-connections=1000"]}) as cluster:
        cluster.create_topic("t", partitions=1, replicas=1)
        sockets = []
        refused = 0
        for _ in range(want):
            try:
                s = socket.create_connection(("127.0.0.1", cluster.gateway_ports[0]), timeout=5)
                sockets.append(s)
            except OSError:
                refused += 1
        answered = 0
        for s in sockets[-20:]:
            try:
                s.settimeout(5)
                s.sendall(b"GET /topics HTTP/1.1\r\nHost: x\r\n\r\n")
                answered += b" 503 " in s.recv(200)
            except OSError:
                pass
        assert answered > 0, "nobody was told 503 (%d refused)" % refused
        assert cluster["gateway-1"].alive()
        assert cluster["gateway-1"].resident_kib() < 256 * 1024 * 3
        for s in sockets:
            s.close()
        wait_for(lambda: cluster.get("/topics").status == 200, "service after the flood", 30)


def slow_and_half_open_clients_are_dropped():
    with running(transform=0, storage=1,
                 options={"gateway": ["--idle-timeout-ms=1000"]}) as cluster:
        with socket.create_connection(("127.0.0.1", cluster.gateway_ports[0])) as s:
            s.sendall(b"POST /topics/t HTTP/1.1\r\nHost: x\r\nContent-Le")
            s.settimeout(15)
            began = time.monotonic()
            try:
                while s.recv(4096):
                    pass
            except ConnectionError:
                pass
            assert time.monotonic() - began < 14, "a half-sent request is never dropped"


if __name__ == "__main__":
    main([
        v2_errors_have_the_documented_codes,
        v1_errors_name_field_and_rule,
        too_large_is_refused_before_it_is_read,
        too_few_in_sync_replicas_say_so,
        garbage_on_every_port_is_ignored,
        ten_thousand_connections_end_in_503_and_not_in_death,
        slow_and_half_open_clients_are_dropped,
    ])
