"""Where the time goes: perf over all processes of the cluster while a benchmark runs."""
import os
import shutil
import signal
import subprocess

FREQUENCY = 499


class Profiler:
    """with Profiler(wanted, name, pids, out): ...; leaves OUT/profile/NAME.txt."""

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
        if not self.wanted:
            return False
        self.perf.send_signal(signal.SIGINT)
        self.perf.wait(60)
        with open(self.text, "w") as text:
            text.write("".join("%7d %s\n" % (pid, name) for name, pid in self.pids.items()))
            text.flush()
            for sort in ("pid", "pid,comm", "pid,dso", "pid,sym"):
                subprocess.run(["perf", "report", "-i", self.data, "--stdio", "--percent-limit",
                                "0.4", "--sort", sort], stdout=text, stderr=subprocess.DEVNULL)
        os.unlink(self.data)
        return False
