"""Rows of results: printed aligned, judged against targets, kept as JSON, compared with another run."""
import json
import os

PEAK_KIB_MAX = 64 * 1024  # each service, under any of these loads
PROCESSES = ["gateway", "storage-1", "storage-2", "storage-3", "replication", "coordinator",
             "transform", "client"]
COLUMNS = "%-29s %16s %9s %9s %9s %6s  " + "%11s " * len(PROCESSES) + " %s"

SAYS = {">=": lambda value, bound: value >= bound, "<=": lambda value, bound: value <= bound,
        "<": lambda value, bound: value < bound}


class Row:
    """One result. target: {"value" or "p50_ms" or ...: (">=" or "<=" or "<", bound)}."""

    def __init__(self, name, value, unit, usage=None, target=None, errors=0, **more):
        self.name, self.value, self.unit, self.errors = name, value, unit, errors
        self.processes = usage.processes if usage else {}
        self.disturbed = usage is not None and usage.disturbed()
        if usage is not None:
            more.setdefault("seconds", usage.seconds)
            more["others_s"] = usage.others_s
        self.target = target or {}
        self.peak_kib_max = more.pop("peak_kib_max", PEAK_KIB_MAX)
        self.more = more  # p50_ms, p99_ms, p999_ms, seconds, ...

    def get(self, what):
        return self.value if what == "value" else self.more.get(what)

    def missed(self):
        """What is not as it should be, in words."""
        missed = [what for what, (sign, bound) in self.target.items()
                  if self.get(what) is None or not SAYS[sign](self.get(what), bound)]
        missed += ["memory of %s" % name for name, used in self.processes.items()
                   if used["peak_kib"] >= self.peak_kib_max]
        if self.errors:
            missed.append("errors")
        return missed

    def verdict(self):
        wanted = ", ".join("%s%s %s" % ("" if what == "value" else what + " ", sign, number(bound))
                           for what, (sign, bound) in self.target.items())
        missed = self.missed()
        if missed:
            return "%s MISSED: %s" % (wanted, ", ".join(missed))
        return wanted + " ok" if wanted else ""

    def __str__(self):
        latencies = ["%.2f" % self.more[p] if self.more.get(p) is not None else "-"
                     for p in ("p50_ms", "p99_ms", "p999_ms")]
        cost = []
        for name in PROCESSES:
            used = self.processes.get(name)
            if used is None:
                cost.append("-")
            elif used["peak_kib"]:
                cost.append("%.2f/%.0f" % (used["cpu_s"], used["peak_kib"] / 1024))
            else:
                cost.append("%.2f" % used["cpu_s"])
        line = COLUMNS % (self.name, "%s %s" % (number(self.value), self.unit), *latencies,
                          self.errors, *cost, self.verdict())
        if self.disturbed:
            line += " (disturbed: other programs used %.1f s of CPU)" % self.more["others_s"]
        return line.rstrip()

    def as_dict(self):
        return dict(self.more, name=self.name, value=self.value, unit=self.unit,
                    errors=self.errors, processes=self.processes,
                    target={what: list(rule) for what, rule in self.target.items()},
                    missed=self.missed())


def number(value):
    return "{:,.0f}".format(value) if abs(value) >= 100 else "%.3g" % value


def heading():
    short = {"replication": "replic", "coordinator": "coord", "transform": "transf"}
    titles = [short.get(name, name) for name in PROCESSES]
    return COLUMNS % ("benchmark", "throughput", "p50 ms", "p99 ms", "p99.9 ms", "errors",
                      *titles, "target") + "\n%-82s  each: CPU seconds / peak MiB" % ""


def save(path, machine, rows, options):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    whole = {"machine": machine, "options": options, "benchmarks": [row.as_dict() for row in rows]}
    with open(path + ".new", "w") as file:
        json.dump(whole, file, indent=1)
        file.write("\n")
    os.replace(path + ".new", path)


def load(path):
    with open(path) as file:
        return json.load(file)


def compare(old, machine, rows):
    """Ratios new / old, for the rows that both have."""
    before = {row["name"]: row for row in old["benchmarks"]}
    print("\nnew / old")
    for name, now, then in machine_pairs(machine, old.get("machine") or {}):
        print("%-29s %8.2f" % (name, now / then))
    print("%-29s %8s %8s %8s %8s" % ("", "value", "p50", "p99", "CPU"))
    for row in rows:
        then = before.get(row.name)
        if then is None:
            continue
        cells = [ratio(row.value, then["value"])]
        cells += [ratio(row.more.get(p), then.get(p)) for p in ("p50_ms", "p99_ms")]
        # CPU per unit of work: what was done differs where time is fixed.
        cells.append(ratio(services_cpu(row.processes) / max(row.value, 1e-9),
                           services_cpu(then["processes"]) / max(then["value"], 1e-9)))
        print("%-29s %8s %8s %8s %8s" % (row.name, *cells))


def services_cpu(processes):
    return sum(used["cpu_s"] for name, used in processes.items() if name != "client")


def ratio(now, then):
    return "%.2f" % (now / then) if now and then else "-"


def machine_pairs(now, then):
    """(name, now, then) of the baseline's figures; of latencies the median."""
    for name, value in now.items():
        other = then.get(name)
        if isinstance(value, dict):
            value, other = value.get("p50_us"), (other or {}).get("p50_us")
            name += " p50"
        if isinstance(value, (int, float)) and other:
            yield name, value, other
