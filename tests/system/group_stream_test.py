#!/usr/bin/env python3
"""Groups' live streams over real processes: members that share partitions through two gateways, one
of which is killed in the middle; a client that goes away and what is left for the next one."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import PATIENCE, main, running, wait_for  # noqa: E402
from stream_test import TOPIC, Reader, make_topic, produce  # noqa: E402


def last_id(reply):
    assert reply.status == 200, reply
    return [line[4:] for line in reply.body.decode().splitlines() if line.startswith("id: ")][-1]


def stream(cluster, gateway=0, group="g", **query):
    path = "/v1/groups/%s/stream?topics=%s" % (group, TOPIC)
    for name, value in query.items():
        path += "&%s=%s" % (name, value)
    reader = Reader(cluster, "earliest", gateway=gateway, path=path)
    reader.start()
    assert reader.opened.wait(20 * PATIENCE), "no beginning"
    return reader


def partitions_of(cluster, group="g", gateway=0):
    return cluster.get("/v1/groups/" + group, gateway=gateway).json()["partitions"]


def offsets_of(readers):
    return sorted((r["partition"], r["offset"]) for reader in readers for r in reader.records)


def log_of(cluster, partitions):
    return [(p, r["offset"]) for p in range(partitions) for r in cluster.read_partition(TOPIC, p)]


def is_committed(cluster, gateway=0):
    return all(p["lag"] == 0 for p in partitions_of(cluster, gateway=gateway))


def two_members_share_and_a_killed_gateway_costs_no_record():
    with running(gateways=2) as cluster:
        make_topic(cluster, partitions=6)
        readers = [stream(cluster, i, member="m%d" % i, lease_ms=3000) for i in range(2)]
        for first in range(0, 600, 50):
            produce(cluster, 50, first)
        wait_for(lambda: len(set(offsets_of(readers))) == 600, "600 records", 30)
        wait_for(lambda: all(len(r.records) > 0 for r in readers), "both to have some")
        cluster["gateway-2"].kill()
        for first in range(600, 1200, 50):
            produce(cluster, 50, first)
        wait_for(lambda: len(set(offsets_of(readers))) == 1200, "all records", 60)
        assert readers[1].openings >= 2, "it has come back"
        wait_for(lambda: is_committed(cluster), "all to be committed")
        for reader in readers:
            reader.finish()
        assert sorted(set(offsets_of(readers))) == log_of(cluster, 6)


def who_goes_away_leaves_nothing_leased_and_nothing_is_repeated():
    with running(gateways=2) as cluster:
        make_topic(cluster, partitions=3)
        produce(cluster, 100)
        first = stream(cluster, 0, lease_ms=600000)
        wait_for(lambda: len(first.records) == 100, "the records")
        wait_for(lambda: is_committed(cluster), "all to be committed")
        first.finish()
        second = stream(cluster, 1, lease_ms=600000)
        produce(cluster, 100, 100)
        wait_for(lambda: len(second.records) == 100, "the others, long before the lease's end")
        second.finish()
        assert offsets_of([first, second]) == log_of(cluster, 3)


def a_client_that_commits_itself_keeps_its_stream_and_the_next_one_gets_the_rest():
    with running(gateways=2) as cluster:
        make_topic(cluster, partitions=1)
        produce(cluster, 20)
        first = stream(cluster, 0, ack="cursor")
        wait_for(lambda: len(first.records) == 20, "the records")
        reply = cluster.post("/v1/groups/g/commit", {"cursor": first.last_id, "keep": True}, gateway=1)
        assert reply.status == 200, reply
        assert partitions_of(cluster)[0]["position"] == 20
        produce(cluster, 5, 20)
        wait_for(lambda: len(first.records) == 25, "more, without a repeat")
        first.finish()
        second = stream(cluster, 1, ack="cursor")
        wait_for(lambda: len(second.records) == 5, "what was not committed")
        second.finish()
        assert second.records[0]["offset"] == 20, second.records
        assert [r["offset"] for r in first.records] == list(range(25))


def a_client_that_commits_itself_may_do_so_when_its_stream_has_ended():
    with running(gateways=2) as cluster:
        make_topic(cluster, partitions=1)
        produce(cluster, 20)
        path = "/v1/groups/g/stream?topics=%s&ack=cursor&max_records=5" % TOPIC
        cursor = last_id(cluster.get(path))
        wait_for(lambda: partitions_of(cluster)[0]["lease"] is None, "the lease to be given back")
        reply = cluster.post("/v1/groups/g/commit", {"cursor": cursor}, gateway=1)
        assert reply.status == 200, reply
        assert partitions_of(cluster)[0]["position"] == 5
        # Whoever comes back with the last cursor commits it, too, and goes on behind it.
        cursor = last_id(cluster.get(path, gateway=1))
        wait_for(lambda: partitions_of(cluster)[0]["lease"] is None, "the lease to be given back")
        back = cluster.get(path, headers={"Last-Event-ID": cursor})
        assert b'"offset":10,' in back.body and b'"offset":9,' not in back.body, back
        assert partitions_of(cluster)[0]["position"] == 10


def a_gateway_that_knows_nothing_yet_lets_a_stream_wait():
    """A browser takes any status but 200 for final."""
    with running(gateways=2) as cluster:
        make_topic(cluster, partitions=1)
        produce(cluster, 5)
        cluster["gateway-2"].kill()
        cluster["coordinator"].kill()
        cluster["gateway-2"].start()
        wait_for(lambda: listens(cluster, 1), "the gateway to listen")
        path = "/v1/groups/g/stream?topics=%s" % TOPIC
        reader = Reader(cluster, "earliest", gateway=1, path=path)
        reader.start()
        # Nothing is answered, so nothing can be waited for: it would be refused in this time.
        assert not reader.opened.wait(2), "begun without a cluster"
        assert reader.refused is None and reader.gateway == 1, "it was refused"
        cluster["coordinator"].start()
        wait_for(lambda: len(reader.records) == 5, "the records", 30)
        assert reader.openings == 1 and reader.gateway == 1, "it was refused"
        reader.finish()


def cursor_of_both(cluster):
    """A slow leader's records come later: then it is tried again."""
    cursors = []

    def read():
        path = "/v1/groups/g/records?topics=%s,gone&wait_ms=5000" % TOPIC
        answer = cluster.get(path).json()
        if {p["topic"] for p in answer["partitions"]} == {TOPIC, "gone"}:
            cursors.append(answer["cursor"])
        elif answer["partitions"]:
            cluster.post("/v1/groups/g/release", {"cursor": answer["cursor"]})
        return bool(cursors)

    wait_for(read, "records of both topics", 30)
    return cursors[0]


def a_stream_tells_once_what_its_cursor_has_of_a_deleted_topic():
    with running(gateways=2) as cluster:
        make_topic(cluster, partitions=1)
        cluster.create_topic("gone", partitions=1)
        produce(cluster, 5)
        assert cluster.post("/v1/topics/gone/records", b"1").status == 200
        cursor = cursor_of_both(cluster)
        assert cluster.request("DELETE", "/v1/topics/gone").status == 204
        path = "/v1/groups/g/stream?topics=%s&max_ms=1000&heartbeat_ms=250" % TOPIC
        wait_for(lambda: cluster.get("/v1/topics/gone", gateway=1).status == 404, "it to be gone")
        back = cluster.get(path, headers={"Last-Event-ID": cursor}, gateway=1)
        assert back.status == 200 and back.body.count(b"event: lost\n") == 1, back.body
        assert b'data: {"topic":"gone","topic_id":"' in back.body, back.body
        assert b'"reason":"topic_deleted","partition":0,"position":null}' in back.body, back.body
        assert [p["position"] for p in partitions_of(cluster)] == [5], "the rest is committed"
        again = cluster.get(path, headers={"Last-Event-ID": last_id(back)})
        assert again.body.count(b"event: lost\n") == 0, again.body


def listens(cluster, gateway):
    try:
        return cluster.get("/healthz", gateway=gateway).status == 200
    except OSError:
        return False


if __name__ == "__main__":
    main([two_members_share_and_a_killed_gateway_costs_no_record,
          who_goes_away_leaves_nothing_leased_and_nothing_is_repeated,
          a_client_that_commits_itself_keeps_its_stream_and_the_next_one_gets_the_rest,
          a_client_that_commits_itself_may_do_so_when_its_stream_has_ended,
          a_stream_tells_once_what_its_cursor_has_of_a_deleted_topic,
          a_gateway_that_knows_nothing_yet_lets_a_stream_wait])
