#!/usr/bin/env python3
"""The mutation gate: bugs that hurt systems people trusted, put back in one at a time.

Each tests/mutants/NAME.patch changes the product for the worse; the unit tests it names, or the
simulator, must notice. A mutant that survives, or whose patch no longer applies, fails the run.

    tests/mutants/run.py [--part K/N] [--seeds A..B] [--jobs N] [--only SUITE] [--list] [NAME...]

The head of a patch says what is broken, which system it hurt, and where to look first:

    What: ack before the batch is on disk
    Hurt: NATS JetStream 2.12 (#7564: two minutes of acknowledged records gone with the power)
    Tests: partition_log partition sim

`Tests` are unit suites (`partition`, or with their folder where a name is taken twice:
`storage/service`) and `sim`. They are tried in that order, each is built when its turn comes, and the
first that notices ends it. Some name `sim` first: they show that the simulator finds what it is there
for. What fails without a mutant proves nothing: so each suite is run on the unchanged tree first, the
simulator's unchanged executable is kept, and a seed that a mutant fails must pass there.

What is mutated is a copy of the tree under build/mutants, built with FLAVOR=release (assertions are
on in every flavor). A new copy begins with what build/release has already.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TREE = os.path.join(ROOT, "build", "mutants", "tree")
BUILD = "build/release"
SIM = BUILD + "/tests/sim/sim"
SIM_KEPT = "build/sim_unchanged"
SUITE_SECONDS = 60  # and for a mutant ten times what the unchanged suite takes, at least this:
SUITE_SECONDS_MIN = 5
SIM_SECONDS = 120
SIM_SEEDS_FIRST = 24


class Mutant:
    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)[:-len(".patch")]
        with open(path) as file:
            text = file.read()
        head = text.split("\n--- ", 1)[0]
        fields = dict(re.findall(r"^(\w+): (.*)$", head, re.M))
        missing = {"What", "Hurt", "Tests"} - set(fields)
        if missing:
            sys.exit("%s: the head lacks %s" % (path, ", ".join(sorted(missing))))
        self.what, self.hurt, self.tests = fields["What"], fields["Hurt"], fields["Tests"].split()
        self.files = re.findall(r"^\+\+\+ b/(\S+)", text, re.M)


def run(argv, seconds=None, **more):
    return subprocess.run(argv, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, errors="replace", timeout=seconds,
                          **more)


def adopt_build():
    """A new tree begins with the objects of build/release: make judges by times, so they are kept."""
    built = os.path.join(ROOT, BUILD)
    if os.path.isdir(os.path.join(TREE, "build")) or not os.path.isdir(built):
        return False
    shutil.rmtree(TREE, ignore_errors=True)
    shutil.copytree(built, os.path.join(TREE, BUILD), symlinks=True)
    return True


def copy_tree():
    """Every tracked file whose content differs; files that are gone go. Times move only with a change,
    so that make rebuilds what it must and no more."""
    keep_times = adopt_build()
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                           stdout=subprocess.PIPE, text=True).stdout.splitlines()
    names = {n for n in names if os.path.isfile(os.path.join(ROOT, n))}
    for name in names:
        restore(name, keep_times)
    for folder, folders, files in os.walk(TREE):
        if folder == TREE:
            folders[:] = [f for f in folders if f not in ("build", ".git")]
        for file in files:
            path = os.path.join(folder, file)
            if os.path.relpath(path, TREE) not in names:
                os.remove(path)


def restore(name, keep_times=False):
    source, target = os.path.join(ROOT, name), os.path.join(TREE, name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.exists(target):
        with open(source, "rb") as a, open(target, "rb") as b:
            if a.read() == b.read():
                return
    shutil.copyfile(source, target)
    shutil.copymode(source, target)
    if keep_times:
        shutil.copystat(source, target)


def suites():
    """Unit suite -> its binaries, as tests/run names them, and with the folder before it."""
    found = {}
    for folder, _, files in os.walk(os.path.join(ROOT, "tests", "unit")):
        for file in files:
            if file.endswith("_test.c"):
                path = os.path.relpath(os.path.join(folder, file), ROOT)
                binary, name = os.path.join(BUILD, path[:-len(".c")]), file[:-len("_test.c")]
                found.setdefault(name, []).append(binary)
                found[os.path.basename(folder) + "/" + name] = [binary]
    return found


def make(targets, jobs):
    return run(["make", "--no-print-directory", "-j%d" % jobs, "FLAVOR=release", "CI=", "WERROR="] + targets)


def first_line(text, pattern):
    lines = [line for line in text.splitlines() if re.search(pattern, line)]
    return lines[0].strip() if lines else None


class Gate:
    def __init__(self, options):
        self.options = options
        self.known = suites()
        self.seconds = {}  # suite -> what it took on the unchanged tree
        self.has_sim = False

    def check_names(self, mutants):
        for mutant in mutants:
            unknown = [t for t in mutant.tests if t != "sim" and t not in self.known]
            if unknown:
                sys.exit("%s: there is no suite %s" % (mutant.path, ", ".join(unknown)))

    def targets_of(self, test):
        return [SIM] if test == "sim" else self.known[test]

    def try_suite(self, test, seconds):
        """What noticed, or None."""
        for binary in self.known[test]:
            try:
                result = run([binary], seconds)
            except subprocess.TimeoutExpired:
                return "%s (does not end)" % test
            if result.returncode != 0:
                line = (first_line(result.stdout, r"FAILED|[Aa]ssert") or
                        "exit code %d" % result.returncode)
                return line if test in line else "%s: %s" % (test, line)
        return None

    def try_sim(self):
        """What noticed, or None; most is noticed by the first few seeds."""
        first, last = (int(n) for n in self.options.seeds.split(".."))
        some = min(first + SIM_SEEDS_FIRST - 1, last)
        noticed = self.try_seeds(first, some)
        return noticed or (self.try_seeds(some + 1, last) if some < last else None)

    def try_seeds(self, first, last):
        """What noticed, or None; a seed that fails without the mutant is a problem of its own."""
        argv = [SIM, "--seeds=%d..%d" % (first, last), "--jobs=%d" % self.options.jobs]
        try:
            result = run(argv, SIM_SECONDS)
        except subprocess.TimeoutExpired:
            return "sim (does not end)"
        if result.returncode == 0:
            return None
        line = first_line(result.stdout, r"seed \d+") or "exit code %d" % result.returncode
        seed = re.search(r"seed (\d+)", line)
        if seed and run([SIM_KEPT, "--seed=" + seed.group(1)], SIM_SECONDS).returncode != 0:
            sys.exit("unchanged tree: the simulator fails seed " + seed.group(1))
        return "sim: " + line

    def prepare(self, mutants):
        """Build what they need first, and see it pass without them. False: it does not."""
        tests = sorted({t for mutant in mutants for t in mutant.tests if t != "sim"})
        # The simulator too: all its objects have to be there before the first of them changes.
        self.has_sim = any("sim" in mutant.tests for mutant in mutants)
        targets = sorted({target for t in tests for target in self.targets_of(t)})
        built = make(targets + ([SIM] if self.has_sim else []), self.options.jobs)
        if built.returncode != 0:
            sys.exit("the tree does not build:\n" + built.stdout[-3000:])
        if self.has_sim:
            shutil.copy2(os.path.join(TREE, SIM), os.path.join(TREE, SIM_KEPT))
        for test in tests:
            start = time.monotonic()
            noticed = self.try_suite(test, SUITE_SECONDS)
            self.seconds[test] = time.monotonic() - start
            if noticed:
                print("unchanged tree: %s" % noticed)
                return False
        return True

    def try_mutant(self, mutant):
        """(caught by, problem): one of them is None."""
        applied = run(["patch", "-p1", "--no-backup-if-mismatch", "-r", "-", "-i", mutant.path])
        if applied.returncode != 0:
            return None, "the patch does not apply:\n" + applied.stdout
        for test in mutant.tests:
            built = make(self.targets_of(test), self.options.jobs)
            if built.returncode != 0:
                return None, "it does not build:\n" + built.stdout[-2000:]
            noticed = (self.try_sim() if test == "sim" else
                       self.try_suite(test, max(SUITE_SECONDS_MIN, 10 * self.seconds[test])))
            if noticed:
                return noticed, None
        return None, "SURVIVED %s" % " ".join(mutant.tests)


def choose(options):
    every = [Mutant(os.path.join(HERE, f)) for f in sorted(os.listdir(HERE)) if f.endswith(".patch")]
    if options.names:
        unknown = set(options.names) - {m.name for m in every}
        if unknown:
            sys.exit("there is no mutant %s" % ", ".join(sorted(unknown)))
        return [m for m in every if m.name in options.names]
    part, parts = (int(n) for n in options.part.split("/"))
    return [m for i, m in enumerate(every) if i % parts == part % parts]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", default="0/1", help="K/N: each N-th, from the K-th on")
    parser.add_argument("--seeds", default="1..120", help="of the simulator")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", metavar="SUITE", help="try this whatever the patches name: sim, for one")
    parser.add_argument("--list", action="store_true", help="say what there is, run nothing")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    chosen = choose(options)
    if options.list:
        for mutant in chosen:
            print("%-44s %s\n%44s   hurt %s" % (mutant.name, mutant.what, "", mutant.hurt))
        return 0
    for mutant in chosen:
        mutant.tests = [options.only] if options.only else mutant.tests
    gate = Gate(options)
    gate.check_names(chosen)
    start = time.monotonic()
    copy_tree()
    if not gate.prepare(chosen):
        print("0 passed, %d failed" % len(chosen))
        return 1
    print("%-44s %.1f s" % ("the unchanged tree", time.monotonic() - start), flush=True)
    failed = 0
    for mutant in chosen:
        start = time.monotonic()
        caught, problem = gate.try_mutant(mutant)
        for file in mutant.files:
            restore(file)
        failed += caught is None
        print("%-44s %s  %.1f s" % (mutant.name, "caught by " + caught if caught else problem,
                                    time.monotonic() - start), flush=True)
    print("%d passed, %d failed" % (len(chosen) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
