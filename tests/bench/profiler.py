"""Where the time goes: perf over all processes of the cluster while a benchmark runs."""
import collections
import os
import shutil
import signal
import subprocess

FREQUENCY = 997
LINES_MAX = 40


class Profiler:
    """with Profiler(wanted, name, pids, out): ...; leaves OUT/profile/NAME.txt: shares of the CPU time
    of all processes by process, by thread and library, and by function."""

    def __init__(self, wanted, name, pids, out):
        self.wanted = wanted and pids and shutil.which("perf")
        self.pids = pids
        self.data = os.path.join(out, "profile", name + ".perf")
        self.text = os.path.join(out, "profile", name + ".txt")

    def __enter__(self):
        if self.wanted:
            os.makedirs(os.path.dirname(self.data), exist_ok=True)
            self.perf = subprocess.Popen(
                ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY), "-o", self.data,
                 "-p", ",".join(str(pid) for pid in self.pids.values())],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        if self.wanted:
            self.perf.send_signal(signal.SIGINT)
            self.perf.wait(60)
            script = subprocess.run(
                ["perf", "script", "-i", self.data, "-F", "comm,pid,tid,ip,sym,dso"],
                capture_output=True, text=True, errors="replace")
            os.unlink(self.data)
            with open(self.text, "w") as text:
                write(text, self.samples(script.stdout))
        return False

    def samples(self, script):
        """(process, thread's name, library, function) of each sample."""
        names = {pid: name for name, pid in self.pids.items()}
        for line in script.splitlines():
            # "comm  pid/tid  address symbol (dso)"; comm and symbol may have spaces
            head, _, dso = line.rpartition(" (")
            words = head.split()
            at = next((i for i, word in enumerate(words) if "/" in word), None)
            if at is None:
                continue
            pid, tid = words[at].split("/")
            thread = "loop" if pid == tid else " ".join(words[:at])
            yield (names.get(int(pid), pid), "pool" if thread.startswith("riacho") else thread,
                   "kernel" if "kernel" in dso else os.path.basename(dso.rstrip(")")),
                   " ".join(words[at + 2:]))


def write(text, samples):
    samples = list(samples)
    group = [(process.split("-")[0], *rest) for process, *rest in samples]
    for title, keys in (
            ("process", [(s[0],) for s in samples]),
            ("process, thread", [s[:2] for s in group]),
            ("library", [(s[2],) for s in group]),
            ("process, thread, library", [s[:3] for s in group]),
            ("process, function, not the kernel's", [(s[0], s[3], s[2]) for s in group
                                                     if s[2] != "kernel"]),
            ("process, function of the kernel", [(s[0], s[3]) for s in group if s[2] == "kernel"])):
        text.write("\nshare of %d samples, by %s\n" % (len(samples), title))
        for key, count in collections.Counter(keys).most_common(LINES_MAX):
            text.write("%6.2f %%  %s\n" % (100 * count / len(samples), "  ".join(key)))
