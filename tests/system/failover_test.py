#!/usr/bin/env python3
"""A storage node is killed, paused or ended under load: others lead at once, its return costs nothing,
and nothing acknowledged is lost, moved or doubled. Prints how long each client had to wait."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import PATIENCE, Producer, check_history, main, running, wait_for  # noqa: E402

TOPIC, PARTITIONS, GAP_S_MAX = "load", 6, 5.0
SETTLING_S = 3.0  # a coordinator fences nobody before


def partitions(cluster):
    return cluster.get("/v1/topics/" + TOPIC).json()["partitions"]


def leaders(cluster):
    return [p["leader"] for p in partitions(cluster)]


def node_ids(cluster):
    """{name of the process: node id}"""
    seen = cluster.get("/v1/cluster").json()["processes"]
    by_port = {p["address"].rsplit(":", 1)[1]: p["node_id"] for p in seen if p["role"] == "storage"}
    return {name: by_port[str(port)] for name, port in cluster.storage_ports.items()}


def wait_acked(producers, count, what):
    """Until each of them has so many acknowledgements more than now."""
    before = [len(p.acked) for p in producers]
    wait_for(lambda: all(len(p.acked) >= n + count for p, n in zip(producers, before)), what, 40)


def wait_at_home(cluster):
    """Every replica in sync, every partition led by its preferred leader."""
    def at_home():
        return all(len(p["isr"]) == len(p["replicas"]) and p["leader"] == p["replicas"][0]
                   for p in partitions(cluster))
    wait_for(at_home, "preferred leaders to be back", 40)


class under_load:
    """with under_load(running(...)) as (cluster, producers): a topic that clients write to."""

    def __init__(self, run):
        self.run = run

    def __enter__(self):
        self.cluster = self.run.__enter__()
        self.cluster.create_topic(TOPIC, partitions=PARTITIONS, **{"min.insync.replicas": "2"})
        self.producers = [Producer(self.cluster, TOPIC, "p%d" % n) for n in range(8)]
        for producer in self.producers:
            producer.start()
        time.sleep(SETTLING_S)
        return self.cluster, self.producers

    def __exit__(self, kind, error, trace):
        try:
            for producer in self.producers:
                producer.finish()
            if kind is None:
                wait_at_home(self.cluster)
                check_history(self.cluster, TOPIC, self.producers)
        except BaseException:
            self.run.__exit__(*sys.exc_info())
            raise
        return self.run.__exit__(kind, error, trace)


def strike(cluster, producers, victim, fault, node):
    """Do it, wait until everybody writes again; the longest that anybody had to wait, in seconds."""
    wait_acked(producers, 10, "acknowledgements before " + fault.__name__)
    began = time.monotonic()
    fault(cluster[victim])
    wait_for(lambda: node not in leaders(cluster), "others to lead for " + victim, 20)
    led_after = time.monotonic() - began
    wait_acked(producers, 10, "acknowledgements after " + fault.__name__)
    gap = max(p.gap_since(began) for p in producers)
    print("     %s %s: others lead after %.2f s, longest wait of a client %.2f s"
          % (fault.__name__, victim, led_after, gap), flush=True)
    assert gap < GAP_S_MAX * PATIENCE, "a client had to wait for %.1f s" % gap
    return gap


def kill(process):
    process.kill()


def pause(process):
    process.popen.send_signal(signal.SIGSTOP)


def killed_nodes_have_successors_at_once():
    with under_load(running(gateways=1)) as (cluster, producers):
        nodes = node_ids(cluster)
        for victim in ("storage-1", "storage-2", "storage-3"):
            strike(cluster, producers, victim, kill, nodes[victim])
            cluster[victim].start()
            wait_at_home(cluster)


def paused_nodes_have_successors_at_once_and_wake_up_harmless():
    with under_load(running(gateways=1)) as (cluster, producers):
        nodes = node_ids(cluster)
        for victim in ("storage-1", "storage-2", "storage-3"):
            strike(cluster, producers, victim, pause, nodes[victim])
            cluster[victim].popen.send_signal(signal.SIGCONT)
            wait_at_home(cluster)


def a_coordinator_that_stood_still_blames_nobody():
    with under_load(running(gateways=1)) as (cluster, producers):
        before = [(p["leader"], p["leader_epoch"], sorted(p["isr"])) for p in partitions(cluster)]
        pause(cluster["coordinator"])
        time.sleep(SETTLING_S)
        cluster["coordinator"].popen.send_signal(signal.SIGCONT)
        wait_acked(producers, 100, "acknowledgements after the coordinator's pause")
        after = [(p["leader"], p["leader_epoch"], sorted(p["isr"])) for p in partitions(cluster)]
        assert before == after, "%r became %r" % (before, after)


if __name__ == "__main__":
    main([killed_nodes_have_successors_at_once,
          paused_nodes_have_successors_at_once_and_wake_up_harmless,
          a_coordinator_that_stood_still_blames_nobody])
