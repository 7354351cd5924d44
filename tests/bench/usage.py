"""What processes cost: CPU seconds and peak resident memory, from /proc."""
import os
import resource
import time


def cpu_seconds(pid):
    """CPU time of all threads so far. schedstat counts nanoseconds; stat, in ticks of 10 ms, counts
    threads that ended too and is the fallback."""
    try:
        total = 0
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as file:
                total += int(file.read().split()[0])
        if total > 0:
            return total / 1e9
    except OSError:
        pass
    try:
        with open("/proc/%d/stat" % pid) as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def status_kib(pid, name):
    """A "Name:  123 kB" line of /proc/PID/status."""
    try:
        with open("/proc/%d/status" % pid) as file:
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def switches(pid):
    """How often its threads have slept or were put aside."""
    total = 0
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/status" % (pid, task)) as file:
                total += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
    except OSError:
        pass
    return total


def busy_seconds():
    """CPU time that all cores of the machine have spent on anything."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


class Usage:
    """with Usage({name: pid}) as usage: ...; then usage.processes[name] = {"cpu_s", "peak_kib"}.

    Children that ended meanwhile (wrk, http_read) appear as "client". others_s: CPU time of
    everything else on the machine; some of it is the kernel's work for us (journal, interrupts), but
    much of it means that the figures are not worth keeping.
    """

    def __init__(self, pids):
        self.pids = pids
        self.processes = {}

    def __enter__(self):
        for pid in self.pids.values():
            try:
                with open("/proc/%d/clear_refs" % pid, "w") as file:
                    file.write("5")  # forget the peak (VmHWM)
            except OSError:
                pass
        self.client_before = self.client()
        self.own_before = time.process_time()
        self.busy_before = busy_seconds()
        self.switches_before = {name: switches(pid) for name, pid in self.pids.items()}
        self.before = {name: cpu_seconds(pid) for name, pid in self.pids.items()}
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began
        busy = busy_seconds() - self.busy_before
        for name, pid in self.pids.items():
            self.processes[name] = {
                "cpu_s": round(cpu_seconds(pid) - self.before[name], 3),
                "peak_kib": status_kib(pid, "VmHWM"),
                "rss_kib": status_kib(pid, "VmRSS"),
                "switches": switches(pid) - self.switches_before[name],
            }
        self.processes["client"] = {"cpu_s": round(self.client() - self.client_before, 3),
                                    "peak_kib": 0, "rss_kib": 0}
        ours = sum(used["cpu_s"] for used in self.processes.values())
        ours += time.process_time() - self.own_before
        self.others_s = round(max(0.0, busy - ours), 2)
        return False

    def disturbed(self):
        return self.others_s > 0.15 * self.seconds * os.cpu_count()

    @staticmethod
    def client():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime
