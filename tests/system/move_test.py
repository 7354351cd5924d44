#!/usr/bin/env python3
"""Nodes that are added, drained and removed under load; leaders that are forced. Nothing that was
acknowledged is lost, and data goes only from nodes that were told so."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import Producer, check_history, main, running, wait_for  # noqa: E402


def start_load(cluster, topic, count=3):
    producers = [Producer(cluster, topic, "p%d" % n) for n in range(count)]
    for producer in producers:
        producer.start()
    wait_for(lambda: sum(len(p.acked) for p in producers) > 50, "the first acknowledgements", 40)
    return producers


def finish_load(cluster, topic, producers):
    before = sum(len(p.acked) for p in producers)
    wait_for(lambda: sum(len(p.acked) for p in producers) > before + 20, "the load to go on", 40)
    for producer in producers:
        producer.finish()
    wait_in_sync(cluster, topic)
    stored = check_history(cluster, topic, producers)
    assert stored >= sum(len(p.acked) for p in producers)


def partitions(cluster, topic):
    return cluster.get("/v1/topics/" + topic).json()["partitions"]


def wait_in_sync(cluster, topic):
    wait_for(lambda: all(len(p["isr"]) == len(p["replicas"]) for p in partitions(cluster, topic)),
             "every replica to be in sync", 60)


def nodes(cluster):
    return {n["node_id"]: n for n in cluster.get("/v1/nodes").json()["nodes"]}


def folders(cluster, name):
    """Partition folders in a node's data folder; node numbers are given in order of arrival."""
    return [f for f in os.listdir(cluster.path(name)) if os.path.isdir(cluster.path(name + "/" + f))]


def process_of(cluster, node_id):
    """The name of the process that is this node."""
    address = nodes(cluster)[node_id]["address"]
    port = int(address.rsplit(":", 1)[1])
    return next(name for name, p in cluster.storage_ports.items() if p == port)


def all_replicas(cluster, topic):
    return [n for p in partitions(cluster, topic) for n in p["replicas"]]


def drain_and_remove_under_load():
    with running(storage=4) as cluster:
        cluster.create_topic("load", partitions=8, **{"min.insync.replicas": "2"})
        producers = start_load(cluster, "load")
        victim = all_replicas(cluster, "load")[0]
        name = process_of(cluster, victim)
        refused = cluster.request("DELETE", "/v1/nodes/%d" % victim)
        assert refused.status == 409 and b"drain it first" in refused.body, refused
        planned = cluster.cli("node", "drain", str(victim), "--dry-run").stdout.decode()
        assert "new replicas" in planned, planned
        assert not nodes(cluster)[victim]["draining"]
        cluster.cli("node", "drain", str(victim))
        wait_for(lambda: nodes(cluster)[victim]["replicas"] == 0, "the node to be empty", 60)
        wait_for(lambda: not folders(cluster, name), "the dropped data to be gone", 20)
        refused = cluster.request("DELETE", "/v1/nodes/%d" % victim)
        assert refused.status == 409 and b"stop it first" in refused.body, refused
        cluster[name].stop()
        wait_for(lambda: cluster.request("DELETE", "/v1/nodes/%d" % victim).status == 200,
                 "the node to be removed", 20)
        assert victim not in all_replicas(cluster, "load")
        finish_load(cluster, "load", producers)
        # It is told why it may not come back.
        cluster[name].start()
        assert cluster[name].popen.wait(20) != 0
        with open(cluster[name].log) as log:
            assert "was removed" in log.read()
        cluster[name].popen = None  # it ended as it should


def a_new_node_gets_its_share_though_the_coordinator_dies():
    with running(storage=4, options={"coordinator": ["--moves-max=2"]}) as cluster:
        late = cluster["storage-4"]
        assert late.stop() == 0
        wait_for(lambda: [n for n in nodes(cluster).values() if n["state"] != "active"],
                 "the stopped node to be noticed")
        cluster.create_topic("load", partitions=12, **{"min.insync.replicas": "2"})
        producers = start_load(cluster, "load")
        late.start()
        wait_for(lambda: all(n["state"] == "active" for n in nodes(cluster).values()),
                 "the node to be back")
        empty = next(i for i, n in nodes(cluster).items() if n["replicas"] == 0)
        assert "nothing to move" not in cluster.cli("rebalance", "--dry-run").stdout.decode()
        cluster.cli("rebalance")
        wait_for(lambda: nodes(cluster)[empty]["replicas"] > 0, "the first moves", 40)
        cluster["coordinator"].restart()
        wait_for(lambda: nodes(cluster)[empty]["replicas"] == 9 and
                 not cluster.get("/v1/moves").json()["moves"], "the node to have its share", 90)
        wait_for(lambda: not cluster.get("/v1/rebalance").json()["rebalancing"],
                 "the end of rebalancing", 60)
        finish_load(cluster, "load", producers)
        counts = [n["replicas"] for n in nodes(cluster).values()]
        assert counts == [9] * 4, counts


def a_move_is_called_off():
    with running(storage=4) as cluster:
        cluster.create_topic("load", partitions=1, **{"min.insync.replicas": "2"})
        producers = start_load(cluster, "load", 1)
        before = partitions(cluster, "load")[0]["replicas"]
        other = next(n for n in nodes(cluster) if n not in before)
        name = process_of(cluster, other)
        cluster[name].popen.send_signal(19)  # it cannot catch up
        target = [other] + before[1:]
        try:
            reply = cluster.post("/v1/moves", {"moves": [
                {"topic": "load", "partition": 0, "target": target}]})
            assert reply.status == 204, reply
            assert partitions(cluster, "load")[0]["target"] == target
            reply = cluster.post("/v1/moves", {"moves": [
                {"topic": "load", "partition": 0, "target": []}]})
            assert reply.status == 204, reply
        finally:
            cluster[name].popen.send_signal(18)
        assert partitions(cluster, "load")[0]["replicas"] == before
        wait_for(lambda: not folders(cluster, name), "what was begun to be gone", 20)
        finish_load(cluster, "load", producers)


def a_forced_leader_is_announced_and_remembered():
    with running(storage=3) as cluster:
        cluster.create_topic("t", partitions=1, **{"min.insync.replicas": "2"})
        for n in range(10):
            assert cluster.produce_v2("t", [{"value": "kept-%d" % n}]).status == 200
        wait_in_sync(cluster, "t")
        leader = partitions(cluster, "t")[0]["leader"]
        others = [n for n in partitions(cluster, "t")[0]["replicas"] if n != leader]
        lagging = others[0]
        names = {n: process_of(cluster, n) for n in [leader] + others}
        cluster[names[lagging]].kill()
        wait_for(lambda: lagging not in partitions(cluster, "t")[0]["isr"], "it to be missed")
        for n in range(5):
            assert cluster.produce_v2("t", [{"value": "lost-%d" % n}]).status == 200
        # Both that have everything are gone for good.
        cluster[names[leader]].kill()
        cluster[names[others[1]]].kill()
        wait_for(lambda: partitions(cluster, "t")[0]["leader"] is None, "nobody to lead")
        cluster[names[lagging]].start()
        wait_for(lambda: nodes(cluster)[lagging]["state"] == "active" and
                 nodes(cluster)[lagging]["bytes"] is not None, "the last one to be back")
        time.sleep(1)
        assert partitions(cluster, "t")[0]["leader"] is None  # never by itself
        refused = cluster.cli("topic", "elect", "t", "--partition=0", "--node=%d" % lagging,
                              check=False)
        assert refused.returncode == 1, refused
        said = cluster.cli("topic", "elect", "t", "--partition=0", "--node=%d" % lagging,
                           "--force", check=False)
        assert said.returncode == 1 and b"--yes" in said.stderr, said
        assert b"2 replicas do not answer" in said.stdout, said
        assert partitions(cluster, "t")[0]["leader"] is None
        cluster.cli("topic", "elect", "t", "--partition=0", "--node=%d" % lagging, "--force",
                    "--yes")
        wait_for(lambda: partitions(cluster, "t")[0]["leader"] == lagging, "the forced leader")
        assert "a leader was forced" in cluster.cli("topic", "describe", "t").stdout.decode()
        cluster[names[leader]].start()
        cluster[names[others[1]]].start()
        wait_in_sync(cluster, "t")
        values = [r["value"] for r in cluster.read_partition("t", 0)]
        assert values[:10] == ["kept-%d" % n for n in range(10)], values


main([drain_and_remove_under_load, a_new_node_gets_its_share_though_the_coordinator_dies,
      a_move_is_called_off, a_forced_leader_is_announced_and_remembered])
