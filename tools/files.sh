#!/usr/bin/env bash
# files.sh PATTERN... [-- FOLDER...]: the project's files (tracked, or new and not ignored) whose
# name matches a pattern, one per line; only those under the folders if any are given.
set -euo pipefail
cd "$(dirname "$0")/.."

patterns=()
while (($# > 0)) && [[ $1 != -- ]]; do
    patterns+=("$1")
    shift
done
shift $(($# > 0 ? 1 : 0))

list() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files -co --exclude-standard -- "$@"
    else
        find "${@:-.}" -type f -not -path './build/*' | sed 's#^\./##'
    fi
}

list "$@" | sort -u | while IFS= read -r file; do
    [[ -f $file ]] || continue # deleted, not yet committed
    for pattern in "${patterns[@]}"; do
        # shellcheck disable=SC2053 # the pattern is meant to match
        if [[ $file == $pattern ]]; then
            printf '%s\n' "$file"
            break
        fi
    done
done
