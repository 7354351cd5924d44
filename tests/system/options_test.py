#!/usr/bin/env python3
"""Options: the documentation is what the programs say; bad options and data folders stop the start with
one sentence that names them."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from riacho import BIN, PATIENCE, PORTS, main, running  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SERVICES = ["gateway", "storage", "replication", "coordinator", "transform"]


def run(program, *argv, env=None, timeout=20):
    return subprocess.run([os.path.join(BIN, program)] + list(argv), capture_output=True,
                          timeout=timeout * PATIENCE, env=dict(os.environ, **(env or {})))


def documented_options_are_the_programs_own():
    written = open(os.path.join(ROOT, "docs", "options.md"), "rb").read()
    made = subprocess.run([os.path.join(ROOT, "tools", "options.sh"), BIN], capture_output=True,
                          check=True).stdout
    assert made == written, "docs/options.md is out of date: run make options"


def unknown_option_is_named():
    for service in SERVICES:
        done = run("riacho-" + service, "--no-such-thing=1")
        assert done.returncode == 2 and b"no-such-thing" in done.stderr, (service, done)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def bad_value_names_option_and_rule():
    for argv, env, words in (
        (["--log-level=loud"], {}, [b"log-level", b"debug"]),
        ([], {"RIACHO_LOG_LEVEL": "loud"}, [b"LOG_LEVEL", b"debug"]),
        (["--log-level"], {}, [b"log-level"]),
    ):
        done = run("riacho-coordinator", *argv, env=env)
        assert done.returncode == 2, done
        for word in words:
            assert word in done.stderr, (word, done.stderr)


def version_and_help_end_with_0():
    for program in ["riacho-" + s for s in SERVICES] + ["riacho"]:
        for option in ("--version", "--help"):
            done = run(program, option)
            assert done.returncode == 0 and done.stdout, (program, option, done)


def one_sentence(done, *words):
    """The start failed, and one line on stderr says what and what to do about it."""
    assert done.returncode == 1, done
    lines = done.stderr.decode().splitlines()
    assert any(all(word in line for word in words) for line in lines), (words, lines)


def a_data_folder_in_use_or_unusable_stops_the_start():
    with running(storage=1, transform=0) as cluster:
        port, other = PORTS.take(2)
        coordinator = "--coordinator=" + cluster.coordinator_address
        one_sentence(run("riacho-storage", coordinator, "--listen=tcp://127.0.0.1:%d" % port,
                         "--data-dir=" + cluster.path("storage-1")), "in use", "storage-1")
        one_sentence(run("riacho-coordinator", "--listen=tcp://127.0.0.1:%d" % port,
                         "--data-dir=" + cluster.path("coordinator")), "in use", "coordinator")
        used = cluster.coordinator_address
        with tempfile.TemporaryDirectory() as folder:
            one_sentence(run("riacho-coordinator", "--listen=" + used, "--data-dir=" + folder),
                         "in use")
        one_sentence(run("riacho-storage", coordinator, "--listen=tcp://127.0.0.1:%d" % port,
                         "--data-dir=/proc/nowhere"), "/proc/nowhere")
        # Another cluster's folder.
        with running(storage=1, transform=0) as stranger:
            stranger["storage-1"].stop()
            one_sentence(run("riacho-storage", coordinator, "--listen=tcp://127.0.0.1:%d" % other,
                             "--data-dir=" + stranger.path("storage-1")), "cluster")


if __name__ == "__main__":
    main([
        documented_options_are_the_programs_own,
        unknown_option_is_named,
        bad_value_names_option_and_rule,
        version_and_help_end_with_0,
        a_data_folder_in_use_or_unusable_stops_the_start,
    ])
