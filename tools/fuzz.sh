#!/usr/bin/env bash
# fuzz.sh BUILD_FOLDER SECONDS BINARY...: run libFuzzer targets one after the other. Finds go to
# BUILD_FOLDER/corpus/NAME and crashes to BUILD_FOLDER/crashes; tests/fuzz/corpus/NAME, if there is
# one, is read and never written.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$1 seconds=$2
shift 2

# clang 14's sanitizers do not survive the address randomization of newer kernels.
calm=()
if setarch -R true 2>/dev/null; then
    calm=(setarch -R)
fi

failed=0
for binary in "$@"; do
    name=$(basename "$binary")
    name=${name%_fuzz}
    corpora=("$build/corpus/$name")
    if [[ -d tests/fuzz/corpus/$name ]]; then
        corpora+=("tests/fuzz/corpus/$name")
    fi
    mkdir -p "$build/corpus/$name" "$build/crashes"
    echo "fuzz: $name, $seconds s"
    if ! "${calm[@]}" "$binary" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="$build/crashes/$name-" \
        "${corpora[@]}"; then
        echo "fuzz: $name FAILED; to see it again: $binary $build/crashes/$name-..." >&2
        failed=1
    fi
done
exit $failed
