#!/usr/bin/env python3
"""Live streams over real processes: what curl shows, resuming through another gateway when one is
killed, leaders that die, a topic that is deleted, and the end of a gateway."""
import http.client
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import BIN, PATIENCE, main, running, wait_for  # noqa: E402
import json  # noqa: E402

TOPIC = "live"


class Reader(threading.Thread):
    """A client with EventSource's manners: it comes back, through the next gateway, with the last id."""

    def __init__(self, cluster, start="latest", topic=TOPIC, gateway=0, path=None):
        super().__init__(daemon=True)
        # Heartbeats let finish() come through soon.
        self.path = (path or "/v1/topics/%s/stream?" % topic) + "&from=%s&heartbeat_ms=500" % start
        self.cluster, self.gateway = cluster, gateway
        self.records, self.events, self.openings, self.last_id = [], [], 0, None
        self.refused, self.failed = None, None
        self.halt = threading.Event()
        self.opened = threading.Event()

    def run(self):
        while not self.halt.is_set() and self.refused is None:
            try:
                self.read_until_it_ends()
            except (OSError, http.client.HTTPException):
                pass
            except Exception as error:
                self.failed = error
                return
            self.gateway = (self.gateway + 1) % len(self.cluster.gateway_ports)
            time.sleep(0.05)

    def read_until_it_ends(self):
        headers = {"Accept": "text/event-stream"}
        if self.last_id is not None:
            headers["Last-Event-ID"] = self.last_id
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.cluster.gateway_ports[self.gateway], timeout=30 * PATIENCE)
        try:
            connection.request("GET", self.path, None, headers)
            reply = connection.getresponse()
            if reply.status != 200:
                body = reply.read()
                if reply.status != 503:
                    self.refused = (reply.status, body)
                return
            self.openings += 1
            event = {}
            while not self.halt.is_set():
                line = reply.readline()
                if not line:
                    return
                line = line.decode().rstrip("\n")
                if line == "":
                    self.take(event)
                    event = {}
                elif not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    event[name] = value
        finally:
            connection.close()

    def take(self, event):
        if "id" in event:
            self.last_id = event["id"]
            self.opened.set()
        if "data" not in event:
            return
        data = json.loads(event["data"])
        if "event" in event:
            self.events.append((event["event"], data))
        else:
            self.records.append(data)

    def finish(self):
        self.halt.set()
        self.join(60 * PATIENCE)
        assert self.failed is None, self.failed


def make_topic(cluster, **more):
    cluster.create_topic(TOPIC, **more)
    for gateway in range(len(cluster.gateway_ports)):
        wait_for(lambda: cluster.get("/v1/topics/" + TOPIC, gateway=gateway).status == 200,
                 "the topic everywhere")


def produce(cluster, count, first=0, key=None, gateway=0):
    lines = "".join(json.dumps({"key": key or "k%d" % (i % 50), "value": {"i": i}}) + "\n"
                    for i in range(first, first + count))
    reply = cluster.post("/v1/topics/%s/records" % TOPIC, lines,
                         {"Content-Type": "application/x-ndjson"}, gateway=gateway)
    assert reply.status == 200, reply


def check_whole(reader, cluster, count):
    """Each record once, in the order of its partition, exactly as the log has them."""
    seen = {}
    for record in reader.records:
        offsets = seen.setdefault(record["partition"], [])
        assert record["offset"] == len(offsets), \
            "partition %d: %d came where %d was due" % (record["partition"], record["offset"], len(offsets))
        offsets.append(record["value"]["i"])
    assert len(reader.records) == count, (len(reader.records), count)
    for partition, values in seen.items():
        stored = [r["value"]["i"] for r in cluster.read_partition(TOPIC, partition)]
        assert values == stored


def records_come_as_they_are_stored():
    with running(gateways=1) as cluster:
        make_topic(cluster)
        reader = Reader(cluster)
        reader.start()
        assert reader.opened.wait(20 * PATIENCE), "no beginning"
        for i in range(10):
            produce(cluster, 10, 10 * i)
        wait_for(lambda: len(reader.records) == 100, "all records")
        check_whole(reader, cluster, 100)
        reader.finish()
        lines = cluster.get("/v1/topics/%s/stream?from=earliest&max_records=100" % TOPIC,
                            headers={"Accept": "application/x-ndjson"})
        lines = [json.loads(line) for line in lines.body.splitlines()]
        assert len([line for line in lines if "offset" in line]) == 100
        assert lines[-1]["end"] == {"reason": "max_records"} and lines[-1]["cursor"]
        none = cluster.get("/v1/topics/%s/stream?max_ms=300&after=%s" % (TOPIC, lines[-1]["cursor"]),
                           headers={"Accept": "application/x-ndjson"})
        assert b"offset" not in none.body, none
        few = cluster.get("/v1/topics/%s/stream?from=earliest&max_ms=500&filter=$.i%%3C7&filter=key!=k3"
                          % TOPIC, headers={"Accept": "application/x-ndjson"})
        got = sorted(json.loads(line)["value"]["i"] for line in few.body.splitlines() if b"offset" in line)
        assert got == [0, 1, 2, 4, 5, 6], got


def a_killed_gateway_costs_a_reader_nothing():
    with running(gateways=2) as cluster:
        make_topic(cluster, partitions=6)
        readers = [Reader(cluster, "earliest", gateway=n % 2) for n in range(6)]
        for reader in readers:
            reader.start()
        count = 0
        for turn in range(4):
            victim = "gateway-%d" % (turn % 2 + 1)
            other = (turn + 1) % 2
            for _ in range(20):
                produce(cluster, 50, count, gateway=other)
                count += 50
            cluster[victim].kill()
            for _ in range(20):
                produce(cluster, 50, count, gateway=other)
                count += 50
            cluster[victim].start()
            wait_for(lambda: cluster.get("/readyz", gateway=turn % 2).status == 200, "the gateway")
        for reader in readers:
            wait_for(lambda: len(reader.records) >= count, "all records", 60)
            reader.finish()
            check_whole(reader, cluster, count)
        cuts = sum(reader.openings - 1 for reader in readers)
        assert cuts >= 6, "hardly a reader was cut off: %d" % cuts
        print("     %d records to each of 6 readers, cut off %d times in all" % (count, cuts))


def the_end_of_a_gateway_and_of_leaders_costs_a_reader_nothing():
    with running(gateways=2) as cluster:
        make_topic(cluster, partitions=6, **{"min.insync.replicas": "2"})
        reader = Reader(cluster)
        reader.start()
        assert reader.opened.wait(20 * PATIENCE), "no beginning"
        produce(cluster, 500, 0, gateway=1)
        cluster["storage-2"].kill()
        produce(cluster, 500, 500, gateway=1)
        status = cluster["gateway-1"].stop()
        assert status == 0, status
        cluster["storage-2"].start()
        produce(cluster, 500, 1000, gateway=1)
        wait_for(lambda: len(reader.records) >= 1500, "all records", 60)
        assert ("end", {"reason": "shutting_down"}) in reader.events, reader.events
        cluster["gateway-1"].start()
        wait_for(lambda: cluster.get("/readyz").status == 200, "the gateway")
        reader.finish()
        check_whole(reader, cluster, 1500)


def a_deleted_topic_is_told():
    with running(gateways=2) as cluster:
        make_topic(cluster)
        reader = Reader(cluster, "earliest")
        reader.start()
        produce(cluster, 10)
        wait_for(lambda: len(reader.records) == 10, "the records")
        assert cluster.request("DELETE", "/v1/topics/" + TOPIC).status == 204
        wait_for(lambda: reader.refused is not None, "the reader to be refused")
        assert reader.events[-1][1]["error"]["code"] == "topic_deleted", reader.events
        assert reader.refused[0] == 404, reader.refused
        make_topic(cluster)
        back = cluster.get("/v1/topics/%s/stream?after=%s" % (TOPIC, reader.last_id), gateway=1)
        assert back.status == 410 and b"stale_cursor" in back.body, back
        reader.finish()


class Tool:
    """`riacho stream ARGUMENTS...` with both gateways, its output in a file."""

    def __init__(self, cluster, name, *arguments):
        self.path = cluster.path(name)
        self.errors = cluster.path(name + ".err")
        gateways = ",".join("http://127.0.0.1:%d" % port for port in cluster.gateway_ports)
        with open(self.path, "wb") as out, open(self.errors, "wb") as err:
            self.popen = subprocess.Popen([os.path.join(BIN, "riacho"), "--gateway=" + gateways, "stream",
                                           *arguments], stdout=out, stderr=err)

    def records(self):
        with open(self.path, "rb") as file:
            return [json.loads(line) for line in file.read().splitlines(True) if line.endswith(b"\n")]

    def said(self):
        with open(self.errors, "rb") as file:
            return file.read().decode()

    def interrupt(self):
        self.popen.send_signal(signal.SIGINT)
        assert self.popen.wait(20 * PATIENCE) == 0, self.said()


def the_tool_goes_on_at_another_gateway_and_from_its_file():
    with running(gateways=2) as cluster:
        make_topic(cluster)
        produce(cluster, 100)
        arguments = (TOPIC, "--from", "beginning", "--resume", cluster.path("where"))
        first = Tool(cluster, "first", *arguments)
        wait_for(lambda: len(first.records()) == 100, "what was there")
        cluster["gateway-1"].kill()
        produce(cluster, 100, 100, gateway=1)
        wait_for(lambda: len(first.records()) == 200, "the rest, through the other gateway", 30)
        assert "going on at another gateway" in first.said(), first.said()
        cluster["gateway-1"].start()
        wait_for(lambda: cluster.get("/readyz").status == 200, "the gateway")
        status = cluster["gateway-2"].stop()
        assert status == 0, status
        produce(cluster, 100, 200)
        wait_for(lambda: len(first.records()) == 300, "the rest, through the first again", 30)
        first.interrupt()
        produce(cluster, 50, 300)
        second = Tool(cluster, "second", *arguments)
        wait_for(lambda: len(second.records()) == 50, "what came meanwhile")
        second.interrupt()
        reader = Reader(cluster)
        reader.records = first.records() + second.records()
        check_whole(reader, cluster, 350)
        few = cluster.cli("stream", TOPIC, "--from=beginning", "--filter=$.i<7", "--filter", "key!=k3",
                          "--max=6", "--output=value").stdout
        assert sorted(json.loads(line)["i"] for line in few.splitlines()) == [0, 1, 2, 4, 5, 6], few
        wrong = cluster.cli("stream", TOPIC, "--filter=key", check=False)
        assert wrong.returncode == 1 and b"at character 4" in wrong.stderr, wrong


def the_tool_as_one_of_a_group_commits_what_it_printed():
    with running(gateways=2) as cluster:
        make_topic(cluster)
        produce(cluster, 100)
        tool = Tool(cluster, "tool", TOPIC, "--group", "g")

        def lag():
            return cluster.get("/v1/groups/g", gateway=1).json()["lag"]

        wait_for(lambda: len(tool.records()) == 100, "what was there")
        wait_for(lambda: lag() == 0, "a commit while it runs")
        cluster["gateway-1"].kill()
        produce(cluster, 100, 100, gateway=1)
        wait_for(lambda: len({(r["partition"], r["offset"]) for r in tool.records()}) == 200,
                 "the rest, through the other gateway", 60)
        tool.interrupt()
        group = cluster.get("/v1/groups/g", gateway=1).json()
        assert group["lag"] == 0, group
        assert all(p["lease"] is None for p in group["partitions"]), group


if __name__ == "__main__":
    main([records_come_as_they_are_stored, a_killed_gateway_costs_a_reader_nothing,
          the_end_of_a_gateway_and_of_leaders_costs_a_reader_nothing, a_deleted_topic_is_told,
          the_tool_goes_on_at_another_gateway_and_from_its_file,
          the_tool_as_one_of_a_group_commits_what_it_printed])
