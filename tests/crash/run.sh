#!/usr/bin/env bash
# run.sh BUILD [OPTION...]: journals a storage node and recovers images of its disk; see README.md.
# Options go to images. From the environment: CRASH_SEED (the workload's, 1), CRASH_DIR (kept
# afterwards; else a temporary folder).
set -euo pipefail
cd "$(dirname "$0")/../.."

build=${1:?usage: run.sh BUILD [OPTION...]}
shift
folder=${CRASH_DIR-}
if [[ -z $folder ]]; then
    folder=$(mktemp -d "${TMPDIR:-/tmp}/riacho_crash_XXXXXX")
    trap 'rm -rf "$folder"' EXIT
fi
mkdir -p "$folder"
folder=$(realpath "$folder")
rm -rf "$folder/data" "$folder/journal"

"$build/tests/crash/workload" --program="$build/bin/riacho-storage" \
    --preload="$(realpath "$build/tests/crash/preload.so")" \
    --dir="$folder/data" --journal="$folder/journal" --seed="${CRASH_SEED:-1}"
"$build/tests/crash/images" --journal="$folder/journal" "$@"
