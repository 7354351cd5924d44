#!/usr/bin/env python3
"""Disks that are full, on small file systems of their own: records are refused before anything is
written, reads go on, and all is well again when there is space, without a restart. And a node that
lost one of its disks."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import Cluster, Producer, check_history, main, running, wait_for  # noqa: E402

TMPFS_BYTES = 32 << 20
RESERVE_BYTES = TMPFS_BYTES // 20  # --disk-reserve is at most 5 % of the disk


class small_disks(running):
    """The data folders of these nodes are file systems of TMPFS_BYTES."""

    def __init__(self, nodes, **options):
        super().__init__(**options)
        self.nodes, self.mounts = nodes, []

    def __enter__(self):
        self.cluster = Cluster(**self.options)
        try:
            for node in self.nodes:
                path = self.cluster.path(node)
                os.mkdir(path)
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % TMPFS_BYTES, "riacho-test",
                                path], check=True, capture_output=True)
                self.mounts.append(path)
            self.cluster.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self.cluster

    def __exit__(self, kind, error, trace):
        try:
            return super().__exit__(kind, error, trace)
        finally:
            for path in self.mounts:
                subprocess.run(["umount", "-l", path], check=False)
            if kind is None:
                subprocess.run(["rm", "-rf", self.cluster.dir], check=False)


class two_folders(running):
    """storage-1 keeps its logs in two folders."""

    def __enter__(self):
        self.cluster = Cluster(**self.options)
        process, path = self.cluster["storage-1"], self.cluster.path("storage-1")
        os.mkdir(path)
        process.argv = ["--data-dir=%s/a,%s/b" % (path, path) if a.startswith("--data-dir=") else a
                        for a in process.argv]
        try:
            self.cluster.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self.cluster


def can_mount():
    """Why not, or None."""
    if os.geteuid() != 0:
        return "mounting needs root"
    path = "/tmp/riacho-mount-%d" % os.getpid()
    os.mkdir(path)
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "riacho-test", path],
                              capture_output=True, check=False)
        if done.returncode != 0:
            return "cannot mount a tmpfs: %s" % done.stderr.decode().strip()
        subprocess.run(["umount", path], check=True)
        return None
    finally:
        os.rmdir(path)


def leave_free(cluster, node, free):
    """A file of somebody else's takes all of the node's disk but `free` bytes."""
    path = os.path.join(cluster.path(node), "ballast")
    st = os.statvfs(cluster.path(node))
    size = st.f_bavail * st.f_frsize - free
    subprocess.run(["fallocate", "-l", str(size), path], check=True)
    return path


def is_refused_for_space(reply):
    if reply.status == 503:
        return b"no_space" in reply.body or b"disk" in reply.body
    entry = reply.json()["offsets"][0] if reply.status == 200 else {}
    return entry.get("error_code") == 50003


def a_full_disk_refuses_serves_reads_and_heals():
    # The gateway repeats what was refused for so long.
    options = {"gateway": ["--request-timeout-ms=2000"]}
    with small_disks(["storage-1"], storage=1, options=options) as cluster:
        cluster.create_topic("load", partitions=1, replicas=1)
        before = Producer(cluster, "load", "before")
        before.start()
        wait_for(lambda: len(before.acked) > 50, "acknowledgements")
        before.finish()
        ballast = leave_free(cluster, "storage-1", RESERVE_BYTES // 2)
        refused = []

        def is_refused():  # the file system is asked once a second
            refused.append("k-%d" % time.time_ns())
            return is_refused_for_space(
                cluster.produce_v2("load", [{"key": "k", "value": refused[-1]}], timeout=120))

        wait_for(is_refused, "the full disk to be noticed")
        check_history(cluster, "load", [before])
        os.unlink(ballast)
        wait_for(lambda: cluster.produce_v2("load", [{"key": "after", "value": "after-000000"}])
                 .json()["offsets"][0].get("error_code") is None, "room again", 40)
        values = [r["value"] for r in cluster.read_partition("load", 0)]
        assert refused[-1] not in values and "after-000000" in values, values[-3:]
        assert cluster["storage-1"].alive()


def in_sync(cluster):
    return [p["isr"] for p in cluster.get("/v1/topics/load").json()["partitions"]]


def a_follower_with_a_full_disk_leaves_and_returns():
    with small_disks(["storage-1"]) as cluster:
        cluster.create_topic("load", partitions=3, **{"min.insync.replicas": "2",
                                                      "replica.lag.time.max.ms": "1000"})
        node = next(p["node_id"] for p in cluster.get("/v1/cluster").json()["processes"]
                    if p["address"].endswith(":%d" % cluster.storage_ports["storage-1"]))
        producers = [Producer(cluster, "load", "p%d" % n) for n in range(4)]
        for producer in producers:
            producer.start()
        wait_for(lambda: sum(len(p.acked) for p in producers) > 100, "acknowledgements")
        ballast = leave_free(cluster, "storage-1", RESERVE_BYTES // 4)
        led_elsewhere = [p["partition"] for p in
                         cluster.get("/v1/topics/load").json()["partitions"] if p["leader"] != node]

        def has_left():
            for p in led_elsewhere:
                reply = cluster.produce_v2("load", [{"key": "f", "value": "f-%d" % time.time_ns(),
                                                     "partition": p}])
                assert reply.status == 200, reply
            return all(node not in in_sync(cluster)[p] for p in led_elsewhere)

        wait_for(has_left, "the full node to leave the in-sync sets it follows in", 40)
        os.unlink(ballast)
        wait_for(lambda: all(len(isr) == 3 for isr in in_sync(cluster)),
                 "every replica to be in sync again", 60)
        for producer in producers:
            producer.finish()
        wait_for(lambda: all(len(isr) == 3 for isr in in_sync(cluster)), "every replica in sync", 60)
        check_history(cluster, "load", producers)


def replica_folders(path):
    return [name for name in os.listdir(path) if len(name) > 36] if os.path.isdir(path) else []


def a_lost_disk_takes_only_its_own_replicas():
    with two_folders() as cluster:
        path, process = cluster.path("storage-1"), cluster["storage-1"]
        cluster.create_topic("load", partitions=6, **{"min.insync.replicas": "2"})
        producers = [Producer(cluster, "load", "p%d" % n) for n in range(4)]
        for producer in producers:
            producer.start()
        wait_for(lambda: sum(len(p.acked) for p in producers) > 200, "acknowledgements")
        assert len(replica_folders(path + "/a")) == len(replica_folders(path + "/b")) == 3
        process.kill()
        os.rename(path + "/b", path + "/lost")
        os.mkdir(path + "/b")
        process.start()
        wait_for(lambda: sorted(len(isr) for isr in in_sync(cluster)) == [2, 2, 2, 3, 3, 3],
                 "what is on the other disk to be in sync", 60)
        before = sum(len(p.acked) for p in producers)
        wait_for(lambda: sum(len(p.acked) for p in producers) > before + 200, "acknowledgements", 40)
        assert not os.listdir(path + "/b"), "something was written to an empty mount point"

        process.stop()
        process.argv.append("--forget-missing-dirs=true")
        process.start()
        wait_for(lambda: all(len(isr) == 3 for isr in in_sync(cluster)),
                 "every replica to be in sync again", 60)
        for producer in producers:
            producer.finish()
        wait_for(lambda: all(len(isr) == 3 for isr in in_sync(cluster)), "every replica in sync", 60)
        check_history(cluster, "load", producers)
        assert len(replica_folders(path + "/a")) + len(replica_folders(path + "/b")) == 6


if __name__ == "__main__":
    reason = can_mount()
    tests = [a_lost_disk_takes_only_its_own_replicas]
    if reason is None:
        tests += [
            a_full_disk_refuses_serves_reads_and_heals,
            a_follower_with_a_full_disk_leaves_and_returns,
        ]
    else:
        print("full disks are skipped: %s" % reason)
    main(tests)
