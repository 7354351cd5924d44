#!/usr/bin/env bash
# install.sh [LIST...]: install what is missing of the packages in tools/deps/LIST.txt (default:
# build run test). Does nothing, and needs neither root nor network, when all are there.
set -euo pipefail
cd "$(dirname "$0")"

die() {
    echo "deps: $*" >&2
    exit 1
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null || [[ ! -r /etc/os-release ]]; then
    die 'this is not Debian with apt; install what tools/deps/*.txt lists in your own way'
fi
# shellcheck source=/dev/null
id=$(. /etc/os-release && echo "${ID-}") version=$(. /etc/os-release && echo "${VERSION_ID-}")
if [[ $id != debian || ($version != 12 && $version != 13) ]]; then
    die "this is ${id:-unknown} ${version:-(no version)}, and the package lists are for Debian 12 and 13"
fi

lists=("$@")
if (($# == 0)); then
    lists=(build run test)
fi

wanted=()
for list in "${lists[@]}"; do
    [[ -r $list.txt ]] || die "there is no list tools/deps/$list.txt"
    while read -r package only _; do
        case $package in '' | '#'*) continue ;; esac
        case $only in '['*']') [[ $only == "[$version]" ]] || continue ;; esac
        wanted+=("$package")
    done <"$list.txt"
done

installed=" $(dpkg-query -W -f='${db:Status-Status}:${Package} ' "${wanted[@]}" 2>/dev/null || true)"
missing=()
for package in "${wanted[@]}"; do
    if [[ $installed != *" installed:$package "* && " ${missing[*]-} " != *" $package "* ]]; then
        missing+=("$package")
    fi
done
if ((${#missing[@]} == 0)); then
    exit 0
fi

echo "deps: missing: ${missing[*]}"
root=()
if ((EUID != 0)); then
    command -v sudo >/dev/null || die 'installing packages needs root, and there is no sudo'
    root=(sudo)
fi
apt() {
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@"
}
echo "deps: installing: ${missing[*]}"
apt update || echo 'deps: apt-get update failed; going on with the lists that are here' >&2
apt install -y --no-install-recommends "${missing[@]}" ||
    die "apt-get could not install: ${missing[*]}"
