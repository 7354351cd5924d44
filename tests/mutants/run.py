#!/usr/bin/env python3
"""The mutation gate: bugs that hurt systems people trusted, put back in one at a time.

Each tests/mutants/NAME.patch changes the product for the worse; the unit tests it names and the
simulator must notice. A mutant that survives, or whose patch no longer applies, fails the run.

    tests/mutants/run.py [--part K/N] [--seeds A..B] [--jobs N] [--list] [NAME...]

The head of a patch says what is broken, which system it hurt, and where to look first:

    What: ack before the batch is on disk
    Hurt: NATS JetStream 2.12 (#7564: two minutes of acknowledged records gone with the power)
    Tests: partition_log partition sim

`Tests` are unit suites, tried in that order, and `sim`. What is mutated is a copy of the tree under
build/mutants, built with FLAVOR=release (assertions are on in every flavor).
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
SUITE_SECONDS = 40
SIM_SECONDS = 240


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


def copy_tree():
    """Every tracked file whose content differs; files that are gone go. Times move only with a change,
    so that make rebuilds what it must and no more."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                           stdout=subprocess.PIPE, text=True).stdout.splitlines()
    names = [n for n in names if os.path.isfile(os.path.join(ROOT, n))]
    for name in names:
        restore(name)
    for folder, folders, files in os.walk(TREE):
        if folder == TREE:
            folders[:] = [f for f in folders if f not in ("build", ".git")]
        for file in files:
            path = os.path.join(folder, file)
            if os.path.relpath(path, TREE) not in set(names):
                os.remove(path)


def restore(name):
    source, target = os.path.join(ROOT, name), os.path.join(TREE, name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.exists(target):
        with open(source, "rb") as a, open(target, "rb") as b:
            if a.read() == b.read():
                return
    shutil.copyfile(source, target)
    shutil.copymode(source, target)


def suites():
    """Unit suite -> its binaries, as tests/run names them."""
    found = {}
    for folder, _, files in os.walk(os.path.join(ROOT, "tests", "unit")):
        for file in files:
            if file.endswith("_test.c"):
                path = os.path.relpath(os.path.join(folder, file), ROOT)
                found.setdefault(file[:-len("_test.c")], []).append(
                    os.path.join(BUILD, path[:-len(".c")]))
    return found


def targets_of(tests, known):
    targets = []
    for test in tests:
        if test == "sim":
            targets.append(BUILD + "/tests/sim/sim")
        elif test in known:
            targets += known[test]
        else:
            sys.exit("there is no suite %s" % test)
    return targets


def make(targets, jobs):
    return run(["make", "--no-print-directory", "-j%d" % jobs, "FLAVOR=release"] + targets)


def last_line(text, pattern):
    lines = [line for line in text.splitlines() if re.search(pattern, line)]
    return lines[0].strip() if lines else None


def try_test(test, known, seeds, jobs):
    """What noticed, or None."""
    if test == "sim":
        argvs = [[BUILD + "/tests/sim/sim", "--seeds=" + seeds, "--jobs=%d" % jobs]]
    else:
        argvs = [[binary] for binary in known[test]]
    for argv in argvs:
        try:
            result = run(argv, SIM_SECONDS if test == "sim" else SUITE_SECONDS)
        except subprocess.TimeoutExpired:
            return "%s (does not end)" % test
        if result.returncode != 0:
            line = last_line(result.stdout, r"FAILED|seed \d+|assert|Assert") or "exit code %d" % result.returncode
            return line if test in line else "%s: %s" % (test, line)
    return None


def try_mutant(mutant, known, options):
    """(caught by, problem): one of them is None."""
    applied = run(["patch", "-p1", "--no-backup-if-mismatch", "-r", "-", "-i", mutant.path])
    if applied.returncode != 0:
        return None, "the patch does not apply:\n" + applied.stdout
    built = make(targets_of(mutant.tests, known), options.jobs)
    if built.returncode != 0:
        return None, "it does not build:\n" + built.stdout[-2000:]
    for test in mutant.tests:
        noticed = try_test(test, known, options.seeds, options.jobs)
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
    parser.add_argument("--seeds", default="1..300", help="of the simulator")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true", help="say what there is, run nothing")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    chosen = choose(options)
    if options.list:
        for mutant in chosen:
            print("%-34s %s\n%34s   hurt %s" % (mutant.name, mutant.what, "", mutant.hurt))
        return 0
    known = suites()
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    copy_tree()
    built = make(targets_of(tests, known), options.jobs)
    if built.returncode != 0:
        sys.exit("the tree does not build:\n" + built.stdout[-3000:])
    for test in tests:  # what fails without a mutant proves nothing
        noticed = try_test(test, known, options.seeds, options.jobs)
        if noticed:
            print("unchanged tree: %s" % noticed)
            print("0 passed, %d failed" % len(chosen))
            return 1
    failed = 0
    for mutant in chosen:
        start = time.monotonic()
        caught, problem = try_mutant(mutant, known, options)
        for file in mutant.files:
            restore(file)
        failed += caught is None
        print("%-34s %s  %.1f s" % (mutant.name, "caught by " + caught if caught else problem,
                                    time.monotonic() - start), flush=True)
    print("%d passed, %d failed" % (len(chosen) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
