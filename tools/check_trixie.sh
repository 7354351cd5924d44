#!/usr/bin/env bash
# check_trixie.sh [BUILD_FOLDER]: build the project's files and run the unit tests on Debian 13, in a
# chroot made with debootstrap and kept in BUILD_FOLDER/trixie-root. The mirror is the one this
# machine's apt uses. Needs root (or sudo), debootstrap and git.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$(realpath -m "${1:-build}")
root=$build/trixie-root

die() {
    echo "check-trixie: $*" >&2
    exit 1
}

if ((EUID != 0)); then
    command -v sudo >/dev/null || die 'a chroot needs root, and there is no sudo'
    exec sudo --preserve-env=http_proxy,https_proxy,no_proxy "$0" "$build"
fi
for tool in debootstrap git; do
    command -v "$tool" >/dev/null || die "needs $tool: apt-get install $tool"
done

mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(SUITE) $(REPO_URI)' \
    'Created-By: Packages' | awk '$1 == "Debian" && $2 == "main" && $3 !~ /security|updates/ { print $4; exit }')
[[ -n $mirror ]] || die 'the apt sources of this machine name no Debian mirror (run apt-get update)'

# A root that was not finished is not reused.
if [[ ! -e $root/.complete ]]; then
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    debootstrap --variant=minbase --include=git,make,ca-certificates trixie "$root" "$mirror"
    touch "$root/.complete"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"

mounted=
finish() {
    [[ -z $mounted ]] || umount "$root/proc"
}
trap finish EXIT
if ! mountpoint -q "$root/proc"; then
    mount -t proc proc "$root/proc"
    mounted=1
fi

rm -rf "$root/src"
mkdir "$root/src"
# New files that git does not ignore count, deleted ones do not, as in tools/files.sh.
git -c safe.directory='*' ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
    if [[ -e $file ]]; then
        printf '%s\0' "$file"
    fi
done | tar --null --files-from=- --create | tar --extract --directory "$root/src" --no-same-owner

inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        chroot "$root" /bin/bash -euc "$1"
}
inside 'cd /src && make deps && make -j"$(nproc)" everything && make run-unit'
