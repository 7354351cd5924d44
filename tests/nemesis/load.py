"""Clients of the cluster, and the history of what they did and saw, in the format of tests/sim/README.md.

A value is "vPRODUCER.NUMBER" and padding, so that a record found anywhere says who sent it.
"""
import http.client
import json
import random
import socket
import threading
import time

NETWORK_ERRORS = (OSError, http.client.HTTPException)
REQUEST_S = 15  # the gateway answers after 10


class History:
    def __init__(self):
        self.zero, self.lines, self.lock = time.monotonic(), [], threading.Lock()
        self.partitions = []  # index = number: (topic, partition)
        self.producers = 0
        self.counts = {}

    def partition(self, topic, number):
        with self.lock:
            if (topic, number) not in self.partitions:
                self.partitions.append((topic, number))
            return self.partitions.index((topic, number))

    def now(self):
        return time.monotonic() - self.zero

    def add(self, kind, text, weight=1, at=None):
        with self.lock:
            self.lines.append("%.6f %s %s" % (self.now() if at is None else at, kind, text))
            self.counts[kind] = self.counts.get(kind, 0) + weight

    def add_producer(self, idempotent):
        with self.lock:
            number = self.producers
            self.producers += 1
        self.add("PRODUCER", "producer=%d idempotent=%s" % (number, "yes" if idempotent else "no"))
        return number

    def save(self, path):
        with self.lock, open(path, "w") as out:
            out.write("\n".join(self.lines) + "\n")


class Client(threading.Thread):
    """One connection at a time to one of the gateways; another one after an error."""

    def __init__(self, cluster, seed):
        super().__init__(daemon=True)
        self.cluster, self.random, self.halt = cluster, random.Random(seed), threading.Event()
        self.found = False  # its topic: a gateway may hear of it a moment after another
        self.connection, self.error, self.leader_epoch = None, None, None

    def hang_up(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def ask(self, method, path, body=None, headers=None):
        """A reply, or None and whether the request may have arrived."""
        try:
            if self.connection is None:
                gateway = self.random.randrange(len(self.cluster.gateway_hosts))
                self.connection = self.cluster.connect(gateway, REQUEST_S)
                self.connection.connect()
                self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except NETWORK_ERRORS:
            self.hang_up()
            return None, False
        try:
            self.connection.request(method, path, body, headers or {})
            reply = self.connection.getresponse()
            content = reply.read()
        except NETWORK_ERRORS:
            self.hang_up()
            return None, True
        if reply.status == 404 and not self.found:
            self.hang_up()
            self.halt.wait(0.05)
            return None, False
        self.found = self.found or (reply.status == 200 and "/topics/" in path)
        if reply.status >= 500 or reply.getheader("Connection") == "close":
            self.hang_up()
        self.leader_epoch = reply.getheader("Riacho-Leader-Epoch")
        return (reply.status, content), True

    def run(self):
        try:
            while not self.halt.is_set():
                self.turn()
        except Exception as error:  # shown by the harness: a client must not end by itself
            self.error = error
            raise
        finally:
            self.hang_up()


class Producer(Client):
    """Writes one partition, in order. An idempotent one repeats a request whose outcome is unknown until
    it is known; a plain one goes on to the next."""

    def __init__(self, cluster, history, topic, partition, seed, idempotent, pause=0.01):
        super().__init__(cluster, seed)
        self.history, self.topic, self.number = history, topic, partition
        self.partition = history.partition(topic, partition)
        self.idempotent, self.pause = idempotent, pause
        self.producer = history.add_producer(idempotent)
        self.value, self.sequence, self.identity = 0, 0, None
        self.open = None  # (first value, count): on its way, perhaps again
        self.unresolved = False  # an attempt at it had an unknown outcome
        self.last_ack, self.last_offset, self.said = None, -1, "nothing yet"

    def values(self, first, count):
        return "producer=%d partition=%d values=%d.%d+%d" % (
            self.producer, self.partition, self.producer, first, count)

    def body(self, first, count):
        pad = random.Random(self.producer * 1000003 + first)  # the same bytes at each attempt
        lines = [json.dumps({"value": "v%d.%d %s" % (self.producer, first + i,
                                                   "x" * pad.choice((0, 20, 200, 2000))),
                             "value_encoding": "text"}) for i in range(count)]
        return "\n".join(lines).encode()

    def get_identity(self):
        reply, _ = self.ask("POST", "/v1/producer-ids", b"", {})
        if reply is not None and reply[0] == 200:
            found = json.loads(reply[1])
            self.identity = (found["producer_id"], found["producer_epoch"])

    def turn(self):
        if self.idempotent and self.identity is None:
            self.get_identity()
            if self.identity is None:
                self.halt.wait(0.1)
            return
        if self.open is None:
            # What is not idempotent might be stored in parts.
            count = self.random.choice((1, 1, 1, 2, 5)) if self.idempotent else 1
            self.open, self.unresolved = (self.value, count), False
            self.value += count
        self.send(*self.open)

    def send(self, first, count):
        headers = {"Content-Type": "application/x-ndjson"}
        if self.idempotent:
            headers.update({"Producer-Id": str(self.identity[0]),
                            "Producer-Epoch": str(self.identity[1]),
                            "Producer-Seq": str(self.sequence)})
        what = self.values(first, count)
        self.history.add("SEND", what, count)
        reply, sent = self.ask(
            "POST", "/v1/topics/%s/partitions/%d/records" % (self.topic, self.number),
            self.body(first, count), headers)
        if reply is not None and reply[0] == 200:
            self.on_stored(what, count, json.loads(reply[1]))
            self.halt.wait(self.random.random() * 2 * self.pause)
            return
        self.said = "no answer" if reply is None else reply[1][:200].decode()
        outcome = "unknown" if sent else "not_stored"
        if reply is not None:
            answer = json.loads(reply[1])
            assert reply[0] in (429, 500, 503), (reply, what)
            outcome = answer["error"].get("outcome", "missing")
            assert outcome in ("not_stored", "unknown"), (reply, what)
        self.on_error(what, count, outcome == "unknown")
        self.halt.wait(0.02 + self.random.random() * 0.05)

    def on_stored(self, what, count, answer):
        records = answer["records"] if "records" in answer else [answer]
        offsets = [r["offset"] for r in records]
        assert len(offsets) == count and all(
            offset == offsets[0] + i for i, offset in enumerate(offsets)), (what, answer)
        self.history.add("ACK", "%s offset=%d" % (what, offsets[0]), count)
        self.open, self.last_ack, self.last_offset = None, time.monotonic(), offsets[-1]
        self.sequence += count

    def on_error(self, what, count, unknown):
        if unknown and self.idempotent:
            self.unresolved = True
            return  # it is asked again
        if self.unresolved:
            return  # this attempt was not stored; an earlier one may have been
        self.history.add("UNKNOWN" if unknown else "FAIL", what, count)
        self.open = None

    def finish(self):
        """After the run: what is still open stays unknown."""
        if self.open is not None and self.idempotent:
            self.history.add("UNKNOWN", self.values(*self.open), self.open[1])
            self.open = None


class Reader(Client):
    """Reads one partition from its start, as far as it goes."""

    def __init__(self, cluster, history, reader, topic, partition, seed):
        super().__init__(cluster, seed)
        self.history, self.reader, self.topic, self.number = history, reader, topic, partition
        self.partition = history.partition(topic, partition)
        self.offset, self.watermark = 0, None

    def turn(self):
        reply, _ = self.ask("GET", "/v1/topics/%s/partitions/%d/records?offset=%d&wait_ms=1000"
                            "&max_bytes=65536" % (self.topic, self.number, self.offset))
        if reply is None or reply[0] != 200:
            assert reply is None or reply[0] in (429, 500, 503), (reply, self.offset)
            self.halt.wait(0.1)
            return
        answer = json.loads(reply[1])
        records, watermark = answer["records"], answer["high_watermark"]
        told = "" if watermark is None else " epoch=%s watermark=%d" % (self.leader_epoch, watermark)
        at = self.history.now()
        lines = ["%.6f FETCH reader=%d partition=%d offset=%d records=%d%s" % (
            at, self.reader, self.partition, self.offset, len(records), told)]
        lines += ["%.6f READ reader=%d partition=%d offset=%d value=%s" % (
            at, self.reader, self.partition, r["offset"], r["value"].split(" ")[0][1:])
            for r in records]
        if records or watermark != self.watermark:
            with self.history.lock:  # in one piece, as the format wants it
                self.history.lines += lines
                self.history.counts["READ"] = self.history.counts.get("READ", 0) + len(records)
        self.offset, self.watermark = answer["next_offset"], watermark
        self.halt.wait(0.02)
