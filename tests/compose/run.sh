#!/usr/bin/env bash
# The containers of docker-compose.yml, for real: build, start, produce, derive, consume, scale, kill, restart.
# Uses the Docker engine that runs; where none does and Debian's docker.io is installed, starts one of its
# own in a temporary folder and stops it again. Where no engine can run at all it says skipped and why.
# Where no registry of images is reachable the base image is made with debootstrap.
set -u
cd "$(dirname "$0")/../.." || exit 1

work=$(mktemp -d "${TMPDIR:-/tmp}/riacho-compose-XXXXXX")
project=riachotest$$
export RIACHO_IMAGE=riacho-test
passed=0
failed=0
engine_pid=

log() { echo "compose: $*"; }

finish() {
    if [ -e "$work/up" ]; then
        compose down -v --remove-orphans > "$work/down.log" 2>&1
    fi
    if [ -n "$engine_pid" ]; then
        stop_engine
    else
        docker image rm riacho-test riacho-test-base > /dev/null 2>&1
    fi
    rm -rf --one-file-system "$work"
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
    local what=$1 began=$SECONDS
    shift
    if "$@" > "$work/check.log" 2>&1; then
        passed=$((passed + 1))
        log "ok   $what ($((SECONDS - began)) s)"
    else
        failed=$((failed + 1))
        log "FAIL $what"
        tail -n 40 "$work/check.log"
        if [ -e "$work/up" ]; then
            compose ps
            compose logs --tail=15 2>&1 | tail -n 120
        fi
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

# --- the engine --------------------------------------------------------------------------------------------

# In a mount namespace of its own, so that no mount outlives it. What it does to this machine's network is
# written down and undone.
start_engine() {
    docker info > /dev/null 2>&1 && return 0
    [ "$(id -u)" = 0 ] || skip "no Docker engine runs here, and starting one needs root"
    command -v dockerd > /dev/null || skip "no Docker engine runs here, and docker.io is not installed"
    iptables-save > "$work/iptables" 2>/dev/null || rm -f "$work/iptables"
    cat /proc/sys/net/ipv4/ip_forward > "$work/ip_forward"
    [ ! -e /sys/class/net/docker0 ] || touch "$work/had-docker0"
    export DOCKER_HOST=unix://$work/docker.sock
    unshare --mount dockerd --data-root "$work/data" --exec-root "$work/exec" -H "$DOCKER_HOST" \
        --pidfile "$work/docker.pid" > "$work/dockerd.log" 2>&1 &
    engine_pid=$!
    for _ in $(seq 300); do
        docker info > /dev/null 2>&1 && return 0
        kill -0 "$engine_pid" 2>/dev/null || break
        sleep 0.1
    done
    skip "dockerd does not start here: $(grep -iE 'error|failed' "$work/dockerd.log" | tail -n 1 | cut -c1-300)"
}

stop_engine() {
    kill "$engine_pid" 2>/dev/null
    for _ in $(seq 300); do
        kill -0 "$engine_pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "$engine_pid" 2>/dev/null
    [ -e "$work/had-docker0" ] || ip link delete docker0 2>/dev/null
    [ ! -e "$work/iptables" ] || iptables-restore < "$work/iptables"
    cat "$work/ip_forward" > /proc/sys/net/ipv4/ip_forward 2>/dev/null
}

# --- the base image ----------------------------------------------------------------------------------------

base_image() {
    export RIACHO_BASE_IMAGE=debian:bookworm-slim
    docker image inspect $RIACHO_BASE_IMAGE > /dev/null 2>&1 && return 0
    timeout 20 docker pull -q $RIACHO_BASE_IMAGE > "$work/pull.log" 2>&1 && return 0
    log "no registry of images is reachable: making the base image with debootstrap"
    command -v debootstrap > /dev/null || skip "no registry of images is reachable, and debootstrap is not installed"
    [ "$(id -u)" = 0 ] || skip "no registry of images is reachable, and debootstrap needs root"
    local mirror
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(SUITE) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 == "main" && $3 !~ /security|updates/ { print $4; exit }')
    debootstrap --variant=minbase bookworm "$work/root" ${mirror:+"$mirror"} > "$work/debootstrap.log" 2>&1 ||
        skip "debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"
    # apt inside the build must reach the mirror the way it does here: same proxy, same network.
    cp /etc/apt/apt.conf.d/*proxy* "$work/root/etc/apt/apt.conf.d/" 2>/dev/null
    [ -z "${http_proxy:-}" ] || echo "Acquire::http::Proxy \"$http_proxy\";" >> "$work/root/etc/apt/apt.conf.d/90proxy"
    # As Debian's own images do: nobody needs a half-built image after a power cut.
    echo force-unsafe-io > "$work/root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    tar -C "$work/root" -c . | docker import - riacho-test-base > /dev/null || skip "docker import failed"
    rm -rf --one-file-system "$work/root"
    export RIACHO_BASE_IMAGE=riacho-test-base RIACHO_BUILD_NETWORK=host
}

image_mib() {
    echo $(($(docker image inspect -f '{{.Size}}' "$1") / 1048576))
}

# --- the cluster -------------------------------------------------------------------------------------------

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

all_healthy() { # wanted count
    local states
    for _ in $(seq 120); do
        states=$(docker inspect -f '{{.Name}} {{.State.Health.Status}}' $(compose ps -q))
        [ "$(grep -c ' healthy$' <<< "$states")" = "$1" ] && return 0
        sleep 0.5
    done
    echo "$states"
    return 1
}

none_is_root() {
    local container
    for container in $(compose ps -q); do
        docker exec "$container" grep -q '^Uid:.10001' /proc/1/status || return 1
    done
}

riacho() { # arguments of the command line tool, run inside a gateway container
    compose exec -T --index=1 gateway riacho "$@"
}

produce() { # topic first last
    seq "$2" "$3" | sed 's/.*/{"id":&,"even":"no"}/; s/\([02468]\),"even":"no"/\1,"even":"yes"/' | riacho produce "$1" --key id
}

# So many records, each once.
counts() { # topic wanted
    local total distinct
    for _ in $(seq 150); do
        riacho consume "$1" --output value > "$work/records"
        total=$(wc -l < "$work/records") distinct=$(sort -u "$work/records" | wc -l)
        [ "$total/$distinct" = "$2/$2" ] && return 0
        sleep 0.2
    done
    echo "topic $1 has $total records, $distinct distinct ones, expected $2"
    return 1
}

reads_through_second_gateway() {
    [ "$(curl -s "$(gateway_url 2)/topics" | jq -r '. | index("numbers") != null')" = true ]
}

kill_storage() {
    compose exec -T --index=2 storage bash -c '
        for process in /proc/[0-9]*; do
            if [ "$(cat "$process/comm")" = riacho-storage ]; then kill -9 "${process#/proc/}"; fi
        done'
    sleep 1
}

# The engine takes the first port of a range that no container has, even if another program has it.
free_ports() {
    local first port
    for first in $(seq 18000 100 30000); do
        for port in $(seq "$first" $((first + 9))); do
            (exec 3<> "/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue 2
        done
        export RIACHO_HTTP_PORTS=$first-$((first + 9))
        return
    done
}

start_engine
command -v docker-compose > /dev/null || docker compose version > /dev/null 2>&1 || skip "docker-compose is not installed"
base_image
free_ports
touch "$work/up"
check "docker-compose up builds the image and starts the cluster" compose up -d
log "the image has $(image_mib "$RIACHO_IMAGE") MiB, $(image_mib "$RIACHO_BASE_IMAGE") of them Debian's base"
check "the gateway is ready" wait_ready 1
check "three storage nodes are alive" storage_alive 3
check "all seven containers are healthy" all_healthy 7
check "none of them runs as root" none_is_root
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
check "a storage process is killed" kill_storage
check "it is back by itself" storage_alive 5
check "every record is there" counts numbers 1000
check "every container restarts" compose restart -t 20
check "the gateway is ready again" wait_ready 1
check "five storage nodes are alive again" storage_alive 5
check "all ten containers are healthy again" all_healthy 10
check "every record is still there" counts numbers 1000
check "every record of the wide topic is still there" counts wide 100
check "the cluster goes down" compose down -t 20
check "and up again, on the same volumes" compose up -d --scale storage=5 --scale gateway=2
check "the new gateway is ready" wait_ready 1
check "the five storage nodes are alive" storage_alive 5
check "it goes on" produce numbers 1001 1100
check "old and new records are read back" counts numbers 1100
check "the wide topic is complete" counts wide 100
check "the derived topic goes on" counts evens 550
end
