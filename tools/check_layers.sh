#!/usr/bin/env bash
# Who may include whom. A lower layer never names a higher one, services never name each other, and
# each third-party library has its adapter files. Also: root-relative includes, #pragma once.
set -euo pipefail
cd "$(dirname "$0")/.."

# header                files that may include it; tests may include all
confined='
^nng/               ^common/net_(link|source)\.c$
^(isa-l[./]|isal/)  ^common/crc\.c$
^jsmn               ^common/json\.c$
^sqlite3            ^services/coordinator/[^/]*_db\.c$|^services/transform/sql_[^/]*\.c$
^microhttpd         ^services/gateway/http(_reply\.c|_internal\.h|\.c)$
^curl/              ^services/cli/[^/]*http[^/]*\.c$
^jansson            ^services/(gateway|cli|transform|coordinator)/
^CUnit/             ^tests/
'

mapfile -t files < <(tools/files.sh '*.[ch]' -- "$@")
if ((${#files[@]} == 0)); then
    exit 0
fi

# The table goes in through the environment: awk -v would eat its backslashes.
CONFINED=$confined awk '
    function complain(why) {
        printf "%s:%d: %s\n", FILENAME, FNR, why
        bad = 1
    }
    # common <- schemas <- services/shared <- one service; tests see all.
    function allowed(target,    t, f) {
        split(target, t, "/")
        split(FILENAME, f, "/")
        if (f[1] == "tests") {
            return t[1] ~ /^(common|schemas|services|tests)$/
        }
        if (t[1] == "common") {
            return 1
        }
        if (t[1] == "schemas") {
            return f[1] == "schemas" || f[1] == "services"
        }
        return t[1] == "services" && f[1] == "services" && (t[2] == "shared" || t[2] == f[2])
    }
    BEGIN {
        rows = split(ENVIRON["CONFINED"], row, "\n")
        for (i = 1; i <= rows; i++) {
            if (split(row[i], cell, " ") == 2) {
                header[++count] = cell[1]
                home[count] = cell[2]
            }
        }
    }
    FNR == 1 {
        once[FILENAME] = 0
    }
    /^[[:space:]]*#[[:space:]]*pragma[[:space:]]+once/ {
        once[FILENAME] = 1
    }
    /^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]/ {
        quoted = $0 ~ /^[^<]*"/
        target = $0
        sub(/^[^"<]*["<]/, "", target)
        sub(/[">].*/, "", target)
        if (target ~ /(^|\/)\.\.\//) {
            complain("\"../\" in an include: write it from the root of the tree")
        } else if (quoted && !allowed(target)) {
            complain("may not include \"" target "\"")
        }
        for (i = 1; i <= count; i++) {
            if (target ~ header[i] && FILENAME !~ home[i] && FILENAME !~ /^tests\//) {
                complain("may not include <" target ">: its home is " home[i])
            }
        }
    }
    END {
        for (file in once) {
            if (file ~ /\.h$/ && !once[file]) {
                print file ": no #pragma once"
                bad = 1
            }
        }
        exit bad
    }' "${files[@]}"
