#!/usr/bin/env bash
# check.sh [FOLDER...]: everything about the tree that no test notices. Runs all parts and says which
# failed. CC and CHECK_FLAGS come from the Makefile.
set -euo pipefail
cd "$(dirname "$0")/.."

: "${CC:=gcc}" "${CHECK_FLAGS:=-std=c11 -I. -D_GNU_SOURCE}"
export CC CHECK_FLAGS
folders=("$@")
failed=()

part() {
    local name=$1
    shift
    if "$@"; then
        echo "check: $name ok"
    else
        echo "check: $name FAILED" >&2
        failed+=("$name")
    fi
}

generated_code_is_current() {
    python3 tools/schemagen.py --check
}

# Through an including unit: a header that is the main file warns about its own #pragma once.
one_header_compiles() {
    local flags
    eval "flags=($CHECK_FLAGS)" # written for a shell: the version is quoted
    printf '#include "%s"\ntypedef int check_unit;\n' "$1" |
        $CC "${flags[@]}" -fsyntax-only -x c - ||
        { echo "$1: does not compile alone" >&2; return 1; }
}
export -f one_header_compiles

headers_compile_alone() {
    tools/files.sh '*.h' -- "${folders[@]}" |
        xargs -r -P "$(nproc)" -I{} bash -c 'one_header_compiles {}'
}

scripts_parse() {
    local file first bad=0
    while IFS= read -r file; do
        first=
        IFS= read -r first <"$file" 2>/dev/null || true
        if [[ $file == *.sh || $first =~ ^'#!'.*(bash|/sh) ]]; then
            bash -n "$file" || bad=1
            [[ -x $file ]] || { echo "$file: not executable" >&2; bad=1; }
        fi
    done < <(tools/files.sh '*.sh' '.ci/*' 'tests/*' 'tools/*' -- "${folders[@]}")
    return $bad
}

# The folder this tree is developed in must not leak into it. Brackets: this line is a file, too.
paths_are_relative() {
    ! tools/files.sh '*' -- "${folders[@]}" | tr '\n' '\0' |
        xargs -0 -r grep -nIE '(^|[^[:alnum:]_.~/{}-])/wor[k](/|$|[^[:alnum:]_-])' -- /dev/null
}

part format tools/format.sh --check "${folders[@]}"
part layers tools/check_layers.sh "${folders[@]}"
part 'sizes and purposes' tools/check_files.py "${folders[@]}"
part 'generated code' generated_code_is_current
part 'headers compile alone' headers_compile_alone
part 'shell scripts parse' scripts_parse
part 'no absolute paths' paths_are_relative
part 'links of the documents' tools/check_links.py "${folders[@]}"

if ((${#failed[@]} > 0)); then
    echo "check: ${#failed[@]} failed: ${failed[*]}" >&2
    exit 1
fi
