#!/usr/bin/env bash
# The containers of docker-compose.yml, for real: build, start, produce, derive, consume, scale, restart.
# Uses the Docker engine that runs; where none does and Debian's docker.io is installed, starts one of its
# own in a temporary folder and stops it again. Where no engine can run at all it says skipped and why.
# Where no registry of images is reachable the base image is made with debootstrap.
set -u
cd "$(dirname "$0")/../.." || exit 1

work=$(mktemp -d "${TMPDIR:-/tmp}/riacho-compose-XXXXXX")
project=riachotest$$
passed=0
failed=0
engine_pid=

log() { echo "compose: $*"; }

finish() {
    if [ -e "$work/up" ]; then
        compose down -v --remove-orphans > "$work/down.log" 2>&1
    fi
    if [ -n "$engine_pid" ]; then
        kill "$engine_pid" 2>/dev/null
        for _ in $(seq 200); do
            kill -0 "$engine_pid" 2>/dev/null || break
            sleep 0.1
        done
    fi
    rm -rf --one-file-system "$work" 2>/dev/null
}
trap finish EXIT

skip() {
    log "skipped: $*"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}

end() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
}

# check "what is true" command...: later checks depend on earlier ones, so the first failure ends it.
check() {
    local what=$1
    shift
    if "$@" > "$work/check.log" 2>&1; then
        passed=$((passed + 1))
        log "ok   $what"
    else
        failed=$((failed + 1))
        log "FAIL $what"
        tail -n 40 "$work/check.log"
        [ -e "$work/up" ] && compose logs --tail=15 2>&1 | tail -n 100
        end
    fi
}

compose() {
    if command -v docker-compose > /dev/null; then
        docker-compose -p "$project" "$@"
    else
        docker compose -p "$project" "$@"
    fi
}

start_engine() {
    docker info > /dev/null 2>&1 && return 0
    [ "$(id -u)" = 0 ] || skip "no Docker engine runs here and starting one needs root"
    command -v dockerd > /dev/null || skip "no Docker engine runs here and docker.io is not installed"
    export DOCKER_HOST=unix://$work/docker.sock
    dockerd --data-root "$work/data" --exec-root "$work/exec" -H "$DOCKER_HOST" \
        --pidfile "$work/docker.pid" > "$work/dockerd.log" 2>&1 &
    engine_pid=$!
    for _ in $(seq 300); do
        docker info > /dev/null 2>&1 && return 0
        kill -0 "$engine_pid" 2>/dev/null || break
        sleep 0.1
    done
    skip "dockerd does not start here: $(grep -iE 'error|failed' "$work/dockerd.log" | tail -n 1 | cut -c1-300)"
}

base_image() {
    docker image inspect debian:bookworm-slim > /dev/null 2>&1 && return 0
    timeout 60 docker pull -q debian:bookworm-slim > "$work/pull.log" 2>&1 && return 0
    log "no registry of images is reachable: making the base image with debootstrap"
    command -v debootstrap > /dev/null || skip "no registry of images is reachable and debootstrap is not installed"
    local mirror
    mirror=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^http/) { print $i; exit } }
                  $1 == "URIs:" { print $2; exit }' \
        /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
    debootstrap --variant=minbase bookworm "$work/root" ${mirror:+"$mirror"} > "$work/debootstrap.log" 2>&1 ||
        skip "debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"
    cp /etc/apt/apt.conf.d/*proxy* "$work/root/etc/apt/apt.conf.d/" 2>/dev/null
    tar -C "$work/root" -c . | docker import - riacho-test-base > /dev/null || return 1
    export RIACHO_BASE_IMAGE=riacho-test-base RIACHO_BUILD_NETWORK=host
}

gateway_url() { # container number
    echo "http://$(compose port --index="$1" gateway 8080 | sed 's/0\.0\.0\.0/127.0.0.1/')"
}

wait_ready() { # gateway number
    local url
    for _ in $(seq 600); do
        url=$(gateway_url "$1") && [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "$url/readyz")" = 200 ] && return 0
        sleep 0.1
    done
    curl -s --max-time 2 "$url/readyz"
    return 1
}

storage_alive() { # wanted count
    for _ in $(seq 600); do
        [ "$(curl -s "$(gateway_url 1)/v1/cluster" | jq '[.processes[] | select(.role == "storage" and .alive)] | length')" = "$1" ] && return 0
        sleep 0.1
    done
    curl -s "$(gateway_url 1)/v1/cluster"
    return 1
}

riacho() { # arguments of the command line tool, run inside a gateway container
    compose exec -T --index=1 gateway riacho "$@"
}

produce() { # topic first last
    seq "$2" "$3" | sed 's/.*/{"id":&,"even":"no"}/; s/\([02468]\),"even":"no"/\1,"even":"yes"/' | riacho produce "$1" --key id
}

counts() { # topic wanted
    local found
    for _ in $(seq 300); do
        found=$(riacho consume "$1" --output value | sort -u | wc -l)
        [ "$found" = "$2" ] && return 0
        sleep 0.2
    done
    echo "topic $1 has $found distinct records, expected $2"
    return 1
}

reads_through_second_gateway() {
    [ "$(curl -s "$(gateway_url 2)/topics" | jq -r '. | index("numbers") != null')" = true ]
}

start_engine
command -v docker-compose > /dev/null || docker compose version > /dev/null 2>&1 || skip "docker-compose is not installed"
base_image
check "the image builds" compose build
touch "$work/up"
check "docker-compose up starts the cluster" compose up -d
check "the gateway is ready" wait_ready 1
check "three storage nodes are alive" storage_alive 3
check "a topic with three replicas is created" riacho topic create numbers --partitions 3 --replicas 3
check "a transform is created" riacho transform create "CREATE STREAM evens AS SELECT key, value->>'id' AS id FROM numbers WHERE value->>'even' = 'yes'"
check "a thousand records are produced" produce numbers 1 1000
check "every record is read back" counts numbers 1000
check "the derived topic follows" counts evens 500
check "storage grows to five and gateways to two" compose up -d --no-recreate --scale storage=5 --scale gateway=2
check "five storage nodes are alive" storage_alive 5
check "the second gateway is ready" wait_ready 2
check "the second gateway knows the topic" reads_through_second_gateway
check "a topic with five replicas is created" riacho topic create wide --partitions 2 --replicas 5
check "it takes records" produce wide 1 100
check "every container restarts" compose restart -t 20
check "the gateway is ready again" wait_ready 1
check "five storage nodes are alive again" storage_alive 5
check "every record is still there" counts numbers 1000
check "every record of the wide topic is still there" counts wide 100
check "it goes on" produce numbers 1001 1100
check "the new records are read back" counts numbers 1100
check "the derived topic goes on" counts evens 550
end
