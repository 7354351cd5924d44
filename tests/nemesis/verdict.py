"""After the run: the replicas' logs as they are on disk, against each other and against the history."""
import glob
import os
import struct
import subprocess


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at


def records_of(batch):
    """(offset, value) of each record: docs/formats/record-batch.md."""
    base, count, at = struct.unpack_from(">q", batch)[0], struct.unpack_from(">i", batch, 57)[0], 61
    for _ in range(count):
        size, at = varint(batch, at)
        end = at + size
        at += 1
        _, at = varint(batch, at)
        delta, at = varint(batch, at)
        key_size, at = varint(batch, at)
        at += max(0, key_size)
        value_size, at = varint(batch, at)
        yield base + delta, batch[at:at + value_size]
        at = end


class Log:
    """One replica's: batches by their base offset."""

    def __init__(self, folder):
        self.batches = {}
        for path in sorted(glob.glob(os.path.join(folder, "*.log"))):
            with open(path, "rb") as file:
                data = file.read()
            at = 0
            while at + 61 <= len(data):
                base, length = struct.unpack_from(">qi", data, at)
                self.batches[base] = data[at:at + 12 + length]
                at += 12 + length

    def records(self):
        for base in sorted(self.batches):
            yield from records_of(self.batches[base])


class Verdict:
    def __init__(self, cluster, history, damaged):
        """damaged: name of the node whose files the nemesis has changed, or None. What nobody has read since is
        still damaged, so its files are no witness."""
        self.cluster, self.history, self.damaged, self.logs = cluster, history, damaged, {}

    def read_logs(self, described):
        """described: {topic: its description, from before the nodes were stopped}."""
        for number, (topic, partition) in enumerate(self.history.partitions):
            info = described[topic]["partitions"][partition]
            assert info["partition"] == partition
            sound = [n for n in info["replicas"] if self.cluster.node_names[n] != self.damaged]
            if info["leader"] not in sound:
                info = dict(info, leader=sound[0])
            for node in sound:
                folder = os.path.join(self.cluster.path(self.cluster.node_names[node]), "data",
                                      "%s-%d" % (described[topic]["id"], partition))
                self.logs[number, node] = (Log(folder), info)

    def add_to_history(self):
        for (number, node), (log, info) in sorted(self.logs.items()):
            records = list(log.records())
            start = records[0][0] if records else 0
            at = self.history.now()
            with self.history.lock:
                self.history.lines.append(
                    "%.6f REPLICA node=%d partition=%d offset=%d records=%d watermark=%d leader=%s "
                    "in-sync=%s" % (at, node, number, start, len(records), info["high_watermark"],
                                    "yes" if info["leader"] == node else "no",
                                    "yes" if node in info["isr"] else "no"))
                self.history.lines += [
                    "%.6f RECORD node=%d partition=%d offset=%d value=%s" % (
                        at, node, number, offset, value.split(b" ")[0][1:].decode())
                    for offset, value in records]

    def check_replicas(self):
        """The same bytes at the same offset on every replica, and nothing missing below the watermark."""
        batches = 0
        for number in range(len(self.history.partitions)):
            logs = {node: log for (n, node), (log, _) in self.logs.items() if n == number}
            end = next(info["high_watermark"] for (n, _), (_, info) in self.logs.items() if n == number)
            first = min(logs)
            for node, log in logs.items():
                for base in sorted(set(log.batches) | set(logs[first].batches)):
                    assert base >= end or log.batches.get(base) == logs[first].batches.get(base), \
                        "%s: nodes %d and %d differ at offset %d" % (
                            self.history.partitions[number], first, node, base)
                    batches += 1
                offsets = [offset for offset, _ in log.records() if offset < end]
                assert offsets == list(range(end)), "node %d has holes in %s" % (
                    node, self.history.partitions[number])
        return batches

    def check_history(self, checker, path):
        """By the simulator's checker, if it is built."""
        self.history.save(path)
        if os.access(checker, os.X_OK):
            done = subprocess.run([checker, path], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout.strip().splitlines()[-1]
        check_plainly(self.history)
        return "without %s: acknowledged, failed, twice, order" % checker


def check_plainly(history):
    """The rules that need nothing but the leader's log and the answers."""
    acked, failed, stored, leader = {}, set(), {}, None
    for line in history.lines:
        words = line.split()
        found = dict(w.split("=", 1) for w in words[2:] if "=" in w)
        if words[1] in ("ACK", "FAIL"):
            first, count = found["values"].split("+")
            producer, number = first.split(".")
            for i in range(int(count)):
                value = "%s.%d" % (producer, int(number) + i)
                if words[1] == "ACK":
                    acked[value] = (found["partition"], int(found["offset"]) + i)
                else:
                    failed.add(value)
        elif words[1] == "REPLICA":
            leader = found["leader"] == "yes"
        elif words[1] == "RECORD" and leader:
            assert found["value"] not in stored, "stored twice: %s" % found["value"]
            stored[found["value"]] = (found["partition"], int(found["offset"]))
    for value, place in acked.items():
        assert stored.get(value) == place, "acknowledged at %s, is at %s: %s" % (
            place, stored.get(value), value)
    assert not failed & set(stored), "failed and stored: %s" % sorted(failed & set(stored))[:5]
    last = {}
    for value in sorted(acked, key=lambda value: acked[value]):  # what is unknown may come late
        producer, number = value.split(".")
        assert int(number) > last.get(producer, -1), "out of order: %s" % value
        last[producer] = int(number)
