#!/usr/bin/env python3
"""First light: real input goes through produce, derive, consume and the command line."""
import json
import os
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import main, running, wait_for  # noqa: E402

FORMAT = ('{"package":"${Package}","version":"${Version}","section":"${Section}",'
          '"installed_size":${Installed-Size}}\n')
SQL = ("CREATE STREAM big AS SELECT key, value->>'package' AS package, "
       "value->>'installed_size' AS size FROM packages WHERE value->>'installed_size' > 10000")


def packages():
    """What dpkg knows of this machine: the real input. Packages without a size have no valid line."""
    out = subprocess.run(["dpkg-query", "-W", "-f", FORMAT], capture_output=True, check=True).stdout
    lines = []
    for line in out.decode().splitlines():
        try:
            json.loads(line)
            lines.append(line)
        except ValueError:
            pass
    assert len(lines) > 50
    return lines


def expected_big(lines):
    """The derived stream as sqlite3 itself computes it from the same file."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE packages(key, value)")
    db.executemany("INSERT INTO packages VALUES(?, ?)",
                   [(json.loads(line)["package"], line) for line in lines])
    query = SQL[SQL.index("SELECT"):]
    return sorted((key, package, size) for key, package, size in db.execute(query))


def produced_with_the_command_line_is_read_back_and_derived():
    lines = packages()
    with running() as cluster:
        cluster.cli("topic", "create", "packages", "--partitions", "3", "--replicas", "3")
        cluster.cli("produce", "packages", "--key", "package",
                    stdin=("\n".join(lines) + "\n").encode())
        stored = cluster.read_topic("packages")
        values = [r["value"] for records in stored.values() for r in records]
        assert sorted(json.dumps(v, sort_keys=True) for v in values) == sorted(
            json.dumps(json.loads(line), sort_keys=True) for line in lines)
        assert all(len(records) > 0 for records in stored.values()), "keys do not spread"

        reply = cluster.post("/v1/transforms", {"sql": SQL})
        assert reply.status in (200, 201), reply
        expected = expected_big(lines)

        def derived():
            found = sorted((r["key"], r["value"]["package"], r["value"]["size"])
                           for records in cluster.read_topic("big").values() for r in records)
            return found if len(found) >= len(expected) else None

        assert wait_for(derived, "the derived topic") == expected

        out = cluster.cli("consume", "big", "--from", "beginning", "--output", "value").stdout
        assert len(out.decode().splitlines()) == len(expected)


def keys_go_where_kafka_puts_them():
    with running() as cluster:
        cluster.create_topic("keyed", partitions=6)
        # murmur2 of Kafka's Java client, positive, modulo 6.
        for key, partition in (("21", (-973932308 & 0x7FFFFFFF) % 6),
                               ("foobar", (-790332482 & 0x7FFFFFFF) % 6),
                               ("abc", 479470107 % 6)):
            reply = cluster.produce_v2("keyed", [{"key": key, "value": 1}])
            assert reply.status == 200, reply
            # The json format stores a key as its JSON text, quotes and all, as the REST proxy does.
            entry = reply.json()["offsets"][0]
            assert entry["error_code"] is None, reply
            raw = cluster.post("/v1/topics/keyed/records", "x", {"Riacho-Key": key})
            assert raw.status == 200 and raw.json()["partition"] == partition, (key, raw)


def retry_of_an_idempotent_produce_is_stored_once():
    with running(gateways=2) as cluster:
        cluster.create_topic("once", partitions=1)
        producer = cluster.post("/v1/producer-ids").json()["producer_id"]
        headers = {"Producer-Id": str(producer), "Producer-Epoch": "0", "Producer-Seq": "0",
                   "Riacho-Partition": "0"}
        first = cluster.post("/v1/topics/once/records", "hello", headers)
        again = cluster.post("/v1/topics/once/records", "hello", headers, gateway=1)
        assert first.status == 200 and again.status == 200, (first, again)
        assert first.json()["offset"] == again.json()["offset"]
        headers["Producer-Seq"] = "5"
        gap = cluster.post("/v1/topics/once/records", "gap", headers)
        assert gap.status == 409, gap
        assert len(cluster.read_partition("once", 0)) == 1


def a_made_up_producer_id_never_meets_the_platforms_own():
    """A client that picked id 1 was once told "duplicate" for what a gateway had written under it."""
    with running(transform=0) as cluster:
        cluster.create_topic("ids", partitions=1)
        assert cluster.post("/v1/topics/ids/records", "plain").json()["offset"] == 0
        for picked in ("1", "2"):
            reply = cluster.post("/v1/topics/ids/records", "picked " + picked, {
                "Producer-Id": picked, "Producer-Epoch": "0", "Producer-Seq": "0",
                "Riacho-Partition": "0"})
            assert reply.status == 200 and not reply.json().get("duplicate"), reply
        assert len(cluster.read_partition("ids", 0)) == 3
        reply = cluster.post("/v1/topics/ids/records", "x", {
            "Producer-Id": str(1 << 62), "Producer-Epoch": "0", "Producer-Seq": "0",
            "Riacho-Partition": "0"})
        assert reply.status == 400, reply


def raw_bodies_keep_bytes_key_headers_and_time():
    with running() as cluster:
        cluster.create_topic("raw", partitions=1)
        body = bytes(range(256))
        reply = cluster.post("/v1/topics/raw/records", body, {
            "Riacho-Key": "k", "Riacho-Header-Trace": "abc", "Riacho-Timestamp": "1700000000000",
            "Content-Type": "application/octet-stream"})
        assert reply.status == 200, reply
        record = cluster.read_partition("raw", 0)[0]
        assert record["timestamp"] == 1700000000000 and record["key"] == "k", record
        import base64
        assert base64.b64decode(record["value"]) == body, record


if __name__ == "__main__":
    main([
        produced_with_the_command_line_is_read_back_and_derived,
        keys_go_where_kafka_puts_them,
        retry_of_an_idempotent_produce_is_stored_once,
        a_made_up_producer_id_never_meets_the_platforms_own,
        raw_bodies_keep_bytes_key_headers_and_time,
    ])
