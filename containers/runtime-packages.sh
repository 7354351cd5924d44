#!/usr/bin/env bash
# The Debian packages that own the shared libraries of the given programs, one per line. Their names
# differ between Debian versions (libcurl4, libcurl4t64), so they are found and not written down.
set -euo pipefail
ldd "$@" | awk '/=> \// { print $3 }' | sort -u | while read -r library; do
    # dpkg knows a file by the path it was shipped under, with or without /usr in front.
    for path in "$library" "$(readlink -f "$library")" "/usr$library" "${library#/usr}"; do
        dpkg-query -S "$path" 2>/dev/null && break
    done
done | cut -d: -f1 | sort -u
