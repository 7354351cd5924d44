#!/usr/bin/env python3
"""`riacho consume --follow`: goes on when its gateway dies, and leaves nothing behind when it ends."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import BIN, PATIENCE, main, running, wait_for  # noqa: E402


class Tool:
    """`riacho consume ARGUMENTS...` with all gateways; its output in a file, or read by `reader`."""

    def __init__(self, cluster, *arguments, reader=None):
        self.path = cluster.path("out")
        self.errors = cluster.path("err")
        gateways = ",".join("http://127.0.0.1:%d" % port for port in cluster.gateway_ports)
        with open(self.path, "wb") as out, open(self.errors, "wb") as err:
            self.popen = subprocess.Popen(
                [os.path.join(BIN, "riacho"), "--gateway=" + gateways, "consume",
                 "--output=value", *arguments],
                stdout=subprocess.PIPE if reader else out, stderr=err)
            self.reader = None
            if reader:
                self.reader = subprocess.Popen(reader, stdin=self.popen.stdout, stdout=out)
                self.popen.stdout.close()

    def values(self):
        with open(self.path, "rb") as file:
            return [int(line) for line in file.read().splitlines(True) if line.endswith(b"\n")]

    def said(self):
        with open(self.errors, "rb") as file:
            return file.read().decode()

    def stop(self, how=signal.SIGINT):
        self.popen.send_signal(how)
        assert self.popen.wait(20 * PATIENCE) == 0, self.said()


def produce(cluster, first, count, gateway=0):
    for n in range(first, first + count):
        reply = cluster.post("/v1/topics/t/records", str(n), gateway=gateway)
        assert reply.status == 200, reply


def group(cluster):
    reply = cluster.get("/v1/groups/g")
    assert reply.status == 200, reply
    return reply.json()


def leases(cluster):
    return [p["lease"] for p in group(cluster)["partitions"] if p["lease"]]


def a_named_member_leaves_when_it_is_told_to_stop():
    with running(gateways=1, transform=0) as cluster:
        cluster.create_topic("t", partitions=2)
        for n, how in enumerate((signal.SIGINT, signal.SIGTERM)):
            produce(cluster, 10 * n, 10)
            tool = Tool(cluster, "t", "--group=g", "--member=m1", "--follow")
            wait_for(lambda: len(tool.values()) == 10, "its records")
            assert [m["name"] for m in group(cluster)["members"]] == ["m1"]
            tool.stop(how)
            seen = group(cluster)
            assert seen["members"] == [] and seen["lag"] == 0 and leases(cluster) == [], seen


def what_nobody_reads_is_given_back():
    with running(gateways=1, transform=0) as cluster:
        cluster.create_topic("t", partitions=1)
        produce(cluster, 0, 5)
        for more in ((), ("--member=m1",)):
            tool = Tool(cluster, "t", "--group=g", "--follow", *more, reader=["head", "-3"])
            assert tool.reader.wait(20 * PATIENCE) == 0
            produce(cluster, 5, 5)
            tool.popen.wait(30 * PATIENCE)
            assert len(tool.values()) == 3, tool.values()
            seen = group(cluster)
            assert seen["members"] == [] and leases(cluster) == [], seen


def the_next_gateway_is_gone_on_with(*arguments):
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=2)
        produce(cluster, 0, 10)
        tool = Tool(cluster, "t", "--follow", *arguments)
        wait_for(lambda: sorted(tool.values()) == list(range(10)), "what was there")
        cluster["gateway-1"].kill()
        produce(cluster, 10, 10, gateway=1)
        wait_for(lambda: set(tool.values()) == set(range(20)), "the rest", 60)
        cluster["gateway-2"].kill()
        wait_for(lambda: "going on at another gateway" in tool.said(), "that it says so", 30)
        assert tool.popen.poll() is None
        cluster["gateway-2"].start()
        wait_for(lambda: cluster.get("/readyz", gateway=1).status == 200, "the gateway")
        produce(cluster, 20, 10, gateway=1)
        wait_for(lambda: set(tool.values()) == set(range(30)), "after it came back", 60)
        tool.stop()


def a_topic_is_followed_through_gateways_that_die():
    the_next_gateway_is_gone_on_with()


def a_group_is_followed_through_gateways_that_die():
    the_next_gateway_is_gone_on_with("--group=g")


def a_definite_error_ends_it():
    with running(gateways=2, transform=0) as cluster:
        cluster.create_topic("t", partitions=1)
        produce(cluster, 0, 3)
        for more in (("--group=g",), ()):
            tool = Tool(cluster, "t", "--follow", *more)
            wait_for(lambda: len(tool.values()) == 3, "its records")
            assert cluster.request("DELETE", "/v1/topics/t").status == 204
            assert tool.popen.wait(30 * PATIENCE) == 1, tool.said()
            cluster.create_topic("t", partitions=1)
            produce(cluster, 0, 3)
        tool = Tool(cluster, "none", "--follow", "--group=g")
        assert tool.popen.wait(30 * PATIENCE) == 1 and "does not exist" in tool.said()


if __name__ == "__main__":
    main([
        a_named_member_leaves_when_it_is_told_to_stop,
        what_nobody_reads_is_given_back,
        a_topic_is_followed_through_gateways_that_die,
        a_group_is_followed_through_gateways_that_die,
        a_definite_error_ends_it,
    ])
