#!/usr/bin/env bash
# run.sh [OPTIONS] [BENCHMARK...]: measure a cluster of release binaries on this machine. Called by
# `make bench`; `tests/bench/run.sh --help` lists options and benchmarks. The method, and what was
# found, is in docs/design/005-performance.md. `run.sh failover [OPTION...]` measures what the loss of
# a node costs (`make bench-failover`), `run.sh streams [OPTION...]` what live streams cost, `run.sh
# consume [OPTION...] [PART...]` what groups and queues cost.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools/deps/install.sh bench || {
    echo 'bench: install what tools/deps/bench.txt lists, then run this again' >&2
    exit 1
}
: "${RIACHO_BIN:=$PWD/build/release/bin}"
export RIACHO_BIN PYTHONDONTWRITEBYTECODE=1
if [ "${1:-}" = failover ]; then
    shift
    exec python3 tests/bench/failover/failover.py "$@"
fi
if [ "${1:-}" = streams ]; then
    shift
    exec python3 tests/bench/consume/streams.py "$@"
fi
if [ "${1:-}" = consume ]; then
    shift
    exec python3 tests/bench/consume/groups.py "$@"
fi
exec python3 tests/bench/bench.py "$@"
