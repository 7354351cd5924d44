"""The nemesis: from a seed, what goes wrong, when, and for how long. One fault at a time, or two."""
import http.client
import os
import random
import signal
import time

from cluster import riacho

# Those of OPTIONAL want code that may not be there yet: --with=KIND.
ALWAYS = ("kill", "kill-some", "pause", "restart", "split", "one-way", "ring", "cut-off", "scale",
          "fill", "move", "flip", "flip-tail")
OPTIONAL = ()
SETTLED_S = 5  # a process catches signals
MARKED_S = 3  # what was written has been synced and is below the checkpoint's mark
WEIGHTS = {"kill": 5, "kill-some": 1, "pause": 4, "restart": 2, "split": 3, "one-way": 3, "ring": 1,
           "cut-off": 2, "scale": 2, "fill": 2, "flip": 2, "flip-tail": 1,
           "move": 3}


class Fault:
    def __init__(self, kind, text, undo, until):
        self.kind, self.text, self.undo, self.until = kind, text, undo, until


class Nemesis:
    def __init__(self, cluster, seed, kinds, say, on_scale):
        self.cluster, self.random, self.kinds, self.say = cluster, random.Random(seed), kinds, say
        self.on_scale, self.active, self.counts, self.scaled = on_scale, [], {}, set()
        self.damaged = None  # the node whose bits are flipped
        self.draining = set()  # node numbers; until everything heals
        self.full = {}  # node: until when it may refuse to start for lack of space

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.end_due()
            if len(self.active) < (2 if self.random.random() < 0.3 else 1):
                self.begin()
            pause_until = min(end, time.monotonic() + self.random.uniform(0.2, 1.5))
            while time.monotonic() < pause_until:
                self.end_due()
                self.check_processes()
                time.sleep(0.02)

    def check_processes(self):
        died = [p for p in self.cluster.processes.values() if p.has_died()]
        for process in list(died):
            # On a full disk it may say that it cannot start; then it is started again, as by a supervisor.
            if process.popen.returncode == 1 and self.full.get(process.name, 0) > time.monotonic():
                self.say("start %s again" % process.name)
                process.start()
                died.remove(process)
        assert not died, "ended by themselves: %s" % ", ".join(
            "%s with %d" % (p.name, p.popen.returncode) for p in died)

    def end_due(self, all_of_them=False):
        for fault in list(self.active):
            if all_of_them or fault.until <= time.monotonic():
                self.active.remove(fault)
                fault.undo()
                self.say("end   %s" % fault.text)

    def heal(self):
        self.end_due(all_of_them=True)
        for node in sorted(self.draining):
            riacho.wait_for(lambda: self.ask("DELETE", "/v1/nodes/%d/drain" % node) is not None,
                            "the end of draining node %d" % node)
        self.draining.clear()

    def begin(self):
        kinds = sorted(self.kinds)
        kind = self.random.choices(kinds, [WEIGHTS[k] for k in kinds])[0]
        if any(f.kind == kind for f in self.active):
            return
        made = getattr(self, "do_" + kind.replace("-", "_"))()
        if made is None:
            return
        text, undo = made
        fault = Fault(kind, text, undo, time.monotonic() + self.random.choice((0.3, 1, 2, 4, 7)))
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.active.append(fault)
        self.say("begin %s" % text)

    # ---- processes ----

    def running(self, prefix=""):
        """Untouched ones: a process suffers one fault at a time."""
        return [p for name, p in sorted(self.cluster.processes.items())
                if name.startswith(prefix) and p.alive() and not p.paused]

    def do_kill(self):
        victims = self.running()
        if not victims:
            return None
        victim = self.random.choice(victims)
        victim.kill()
        return "kill -9 %s" % victim.name, victim.start

    def do_kill_some(self):
        victims = [p for p in self.running() if self.random.random() < 0.5]
        for victim in victims:
            victim.kill()
        return ("kill -9 %s" % " ".join(p.name for p in victims),
                lambda: [p.start() for p in victims]) if victims else None

    def do_pause(self):
        victims = self.running()
        if not victims:
            return None
        victim = self.random.choice(victims)
        victim.popen.send_signal(signal.SIGSTOP)
        victim.paused = True

        def resume():
            victim.paused = False
            victim.popen.send_signal(signal.SIGCONT)
        return "pause %s" % victim.name, resume

    def do_restart(self):
        """A clean end and a start, with nothing in between. Not of one that may not have begun to listen to
        signals yet."""
        victims = [p for p in self.running() if time.monotonic() > p.started + SETTLED_S]
        if not victims:
            return None
        victim = self.random.choice(victims)
        status = victim.stop(30)
        victim.start()
        assert status == 0, "%s ended with %d after SIGTERM" % (victim.name, status)
        return "restart %s" % victim.name, lambda: None

    # ---- the network ----

    def partition(self, text, pairs):
        if self.cluster.net.blocked or not pairs:
            return None
        self.cluster.net.block(pairs)
        return text, lambda: self.cluster.net.block([])

    def names(self):
        return sorted(self.cluster.net.addresses)

    def do_split(self):
        names = self.names()
        side = set(self.random.sample(names, self.random.randint(1, len(names) - 1)))
        return self.partition("split %s from the others" % " ".join(sorted(side)), [
            (a, b) for a in names for b in names if (a in side) != (b in side)])

    def do_one_way(self):
        sender, receiver = self.random.sample(self.names(), 2)
        return self.partition("no way from %s to %s" % (sender, receiver), [(sender, receiver)])

    def do_ring(self):
        """Each sees its two neighbours only."""
        names = self.names()
        self.random.shuffle(names)
        count = len(names)
        return self.partition("ring %s" % " ".join(names), [
            (a, b) for i, a in enumerate(names) for k, b in enumerate(names)
            if a != b and (i - k) % count not in (1, count - 1)])

    def do_cut_off(self):
        victim = self.random.choice(self.names())
        return self.partition("cut off %s" % victim, [
            pair for other in self.names() if other != victim
            for pair in ((victim, other), (other, victim))])

    # ---- size ----

    def do_scale(self):
        roles = [r for r in ("gateway", "replication", "storage") if r not in self.scaled]
        if not roles:
            return None
        role = self.random.choice(roles)
        self.scaled.add(role)
        number = len(self.cluster.names(role)) + 1
        process = getattr(self.cluster, "add_" + role)(number)
        process.start()
        self.on_scale(role)
        return "add %s" % process.name, lambda: None

    def ask(self, method, path):
        """The answer as JSON; None if there is none, or no good one."""
        gateway = self.random.randrange(len(self.cluster.gateway_hosts))
        try:
            reply = self.cluster.request(method, path, b"", gateway=gateway, timeout=5)
            return reply.json() if reply.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None

    def do_move(self):
        """Replicas on their way: evened out, no more evened out, or all of a node's."""
        how = self.random.choice(("begin", "begin", "stop", "drain"))
        if how != "drain":
            done = self.ask("POST" if how == "begin" else "DELETE", "/v1/rebalance")
            return ("rebalance: %s" % how, lambda: None) if done else None
        nodes = self.ask("GET", "/v1/nodes")
        if nodes is None or self.draining:
            return None
        node = self.random.choice([n["node_id"] for n in nodes["nodes"]])
        if len(nodes["nodes"]) < 4 or self.ask("POST", "/v1/nodes/%d/drain" % node) is None:
            return None
        self.draining.add(node)
        return "drain node %d" % node, lambda: None

    # ---- disks ----

    def do_fill(self):
        name = self.random.choice(self.cluster.names("storage"))
        path = os.path.join(self.cluster.path(name), "filler")
        with open(path, "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"\0" * 65536)
            except OSError:
                pass
        self.full[name] = time.monotonic() + 3600

        def undo():
            os.unlink(path)
            self.full[name] = time.monotonic() + 2
        return "fill the disk of %s" % name, undo

    def do_flip(self):
        return self.flip_some(MARKED_S)

    def do_flip_tail(self):
        return self.flip_some(0)

    def flip_some(self, age):
        """Bits of a stopped node's files, never of two nodes: a minority. Only files that were left alone for
        so long: damage of the last second before a crash looks like an unsynced tail."""
        self.damaged = self.damaged or self.random.choice(self.cluster.names("storage"))
        victims = [p for p in self.running("storage") if p.name == self.damaged]
        if not victims:
            return None
        victim = victims[0]
        victim.kill()
        flips = [self.flip(victim.name, age) for _ in range(self.random.randint(1, 5))]
        victim.start()
        return "flip bits of %s: %s" % (victim.name, ", ".join(filter(None, flips))), lambda: None

    def flip(self, name, age):
        files = []
        for folder, _, names in sorted(os.walk(self.cluster.path(name))):
            files += [os.path.join(folder, n) for n in sorted(names)
                      if n.endswith((".log", ".index", ".timeindex", ".producers"))]
        files = [f for f in files if os.path.getsize(f) > 0 and
                 os.path.getmtime(f) <= time.time() - age]
        if not files:
            return None
        path = self.random.choice(files)
        at = self.random.randrange(os.path.getsize(path))
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << self.random.randrange(8)]))
        return "%s at %d" % ("/".join(path.split("/")[-2:])[-40:], at)
