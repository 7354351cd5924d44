#!/usr/bin/env bash
# format.sh [--check] [FOLDER...]: clang-format 14, and no other, on every C file that is not
# generated. Another version formats differently, so without 14 this says so and changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=apply
if [[ ${1-} == --check ]]; then
    mode=check
    shift
fi

tool=
for candidate in clang-format-14 clang-format; do
    if "$candidate" --version 2>/dev/null | grep -q 'version 14\.'; then
        tool=$candidate
        break
    fi
done
if [[ -z $tool ]]; then
    found=$(clang-format --version 2>/dev/null || echo 'no clang-format')
    echo "format: skipped: clang-format 14 decides, and this machine has $found"
    exit 0
fi

mapfile -t files < <(tools/files.sh '*.[ch]' -- "$@" | grep -v '^schemas/gen/' || true)
if ((${#files[@]} == 0)); then
    exit 0
fi
if [[ $mode == apply ]]; then
    "$tool" -i "${files[@]}"
else
    # The first place of each file is enough.
    "$tool" --dry-run --Werror --ferror-limit=1 "${files[@]}" 2>&1 |
        sed -n 's/^\([^:]*:[0-9]*\):.*clang-format-violations.*/\1: not formatted (`make format`)/p' |
        sort -u -t: -k1,1 | { ! grep . >&2; }
fi
