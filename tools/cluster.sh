#!/usr/bin/env bash
# A local cluster on loopback: 1 coordinator, 3 storage, 1 replication, 1 transform, 1 gateway.
#   tools/cluster.sh up | down | reset | status
# Binaries come from RIACHO_BIN (default build/release/bin), data goes to RIACHO_VAR (default var).
# Ports: gateway RIACHO_HTTP_PORT (8080), the others from RIACHO_BASE_PORT (9100) on. RIACHO_DEMO=0 leaves
# the demonstration of the first start out.
set -u
cd "$(dirname "$0")/.." || exit 1

bin=$(realpath -m "${RIACHO_BIN:-build/release/bin}")
var=${RIACHO_VAR:-var}
http_port=${RIACHO_HTTP_PORT:-8080}
base=${RIACHO_BASE_PORT:-9100}
url=http://127.0.0.1:$http_port
coordinator=tcp://127.0.0.1:$base
processes="coordinator storage-1 storage-2 storage-3 replication transform gateway"
export no_proxy="127.0.0.1${no_proxy:+,$no_proxy}" # nothing here is asked through a proxy

fail() {
    echo "riacho: $*" >&2
    exit 1
}

# Running means: the pid we wrote down is alive and is a program of ours. A process id is used again one day,
# and a dead process that nobody has waited for is still in /proc.
pid_of() { # process
    local pid
    pid=$(cat "$var/run/$1.pid" 2>/dev/null) || return 1
    awk '$1 == "Name:" { name = $2 } $1 == "State:" { state = $2 }
        END { exit !(name ~ /^riacho-/ && state != "Z") }' "/proc/$pid/status" 2>/dev/null && echo "$pid"
}

# Why a process ended, for whoever has to do something about it: its last error, or what it printed before it
# had a log; without time, level and tag.
last_words() { # process
    local line
    line=$(tail -n 20 "$var/log/$1.log" 2>/dev/null | grep -vE '^[[:space:]]*$|Z (warn|info|debug) ' | tail -n 1)
    line=$(printf '%s\n' "$line" | sed -E 's/^[0-9T:.-]+Z error [a-z_.]+ (reason=)?//; s/^"(.*)"$/\1/')
    echo "${line:-it does not say why} (log: $var/log/$1.log)"
}

port_in_use() { # port
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

start() { # process program options...
    local name=$1 program=$2
    shift 2
    pid_of "$name" >/dev/null && return 0
    # setsid: the cluster outlives the terminal. It and the shell that forks it only exec, so the process
    # id is the program's own.
    setsid "$bin/$program" --log-level="${RIACHO_LOG_LEVEL:-info}" "$@" \
        >> "$var/log/$name.log" 2>&1 < /dev/null &
    echo $! > "$var/run/$name.pid"
}

check_programs() {
    local program
    for program in riacho riacho-coordinator riacho-storage riacho-replication riacho-transform riacho-gateway; do
        [ -x "$bin/$program" ] || fail "$bin/$program is missing; 'make up' builds it"
    done
}

# A folder that cannot be written would show up as seven different errors later.
check_var() {
    local folder
    mkdir -p "$var/run" "$var/log" 2>/dev/null
    for folder in "$var" "$var/run" "$var/log"; do
        [ -d "$folder" ] && [ -w "$folder" ] ||
            fail "user $(id -un) cannot write to $folder/; give yourself the right, or choose another folder with RIACHO_VAR"
    done
    for folder in "$var"/coordinator "$var"/storage-[123] "$var"/log/*.log; do
        [ ! -e "$folder" ] || [ -w "$folder" ] ||
            fail "user $(id -un) cannot write to $folder, which $(stat -c %U "$folder") made; start it as that user, or choose another folder with RIACHO_VAR"
    done
}

start_all() {
    start coordinator riacho-coordinator --listen="$coordinator" --data-dir="$var/coordinator"
    for n in 1 2 3; do
        start storage-$n riacho-storage --listen="tcp://127.0.0.1:$((base + 10 + n))" \
            --coordinator="$coordinator" --data-dir="$var/storage-$n"
    done
    start replication riacho-replication --coordinator="$coordinator"
    start transform riacho-transform --coordinator="$coordinator" \
        --listen="tcp://127.0.0.1:$((base + 30))"
    start gateway riacho-gateway --coordinator="$coordinator" --http-listen="127.0.0.1:$http_port"
}

alive_storage() {
    curl -s --max-time 2 "$url/v1/cluster" | grep -c '"role":"storage".*"alive":true'
}

ports() { # one line each: process port
    printf '%s\n' "coordinator $base" "storage-1 $((base + 11))" "storage-2 $((base + 12))" \
        "storage-3 $((base + 13))" "transform $((base + 30))" "gateway $http_port"
}

check_ports() {
    local name port
    while read -r name port; do
        pid_of "$name" >/dev/null || ! port_in_use "$port" ||
            fail "port $port on 127.0.0.1, which $name needs, is in use; stop the program that listens there, or choose others with RIACHO_HTTP_PORT and RIACHO_BASE_PORT"
    done < <(ports)
}

# Everybody listens, the gateway says it is ready, and all storage nodes are heard: a topic that is made now
# finds three.
is_ready() {
    local name port
    while read -r name port; do
        port_in_use "$port" || return 1
    done < <(ports)
    [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "$url/readyz")" = 200 ] &&
        [ "$(alive_storage)" -ge 3 ]
}

wait_ready() {
    local deadline=$((SECONDS + 20)) name why
    until is_ready; do
        for name in $processes; do
            # Until it has become the program it is a shell, which is alive, too.
            if ! pid_of "$name" >/dev/null && ! kill -0 "$(cat "$var/run/$name.pid")" 2>/dev/null; then
                why=$(last_words "$name")
                # What ran before stays: one process that cannot come back is no reason to stop the others.
                [ "$ran_before" != 0 ] || stop_all
                fail "$name did not start: $why"
            fi
        done
        if [ $SECONDS -ge $deadline ]; then
            fail "the cluster is not ready after 20 s, the gateway says: $(curl -s --max-time 2 "$url/readyz"); logs are in $var/log; 'make down' stops it"
        fi
        sleep 0.05
    done
}

running_count() {
    local name count=0
    for name in $processes; do
        pid_of "$name" >/dev/null && count=$((count + 1))
    done
    echo $count
}

stop_all() {
    local name pid deadline
    for name in gateway transform replication storage-1 storage-2 storage-3 coordinator; do
        pid=$(pid_of "$name") || continue
        kill -TERM "$pid" 2>/dev/null ||
            fail "user $(id -un) cannot stop $name (pid $pid), which $(stat -c %U "/proc/$pid") runs"
    done
    deadline=$((SECONDS + 15))
    for name in $processes; do
        while pid=$(pid_of "$name"); do
            if [ $SECONDS -ge $deadline ]; then
                echo "riacho: $name (pid $pid) does not stop; killing it (its data is safe)" >&2
                kill -KILL "$pid"
            fi
            sleep 0.05
        done
        rm -f "$var/run/$name.pid"
    done
}

now_ms() {
    echo $(($(date +%s%N) / 1000000))
}

# Shows each command before it runs, so that what is printed can be typed again.
say() {
    if [ -t 1 ]; then
        printf '\n\033[1m$ %s\033[0m\n' "$*"
    else
        printf '\n$ %s\n' "$*"
    fi
    bash -o pipefail -c "$*" || fail "the demonstration failed at: $*"
}

# Positions are committed about once a second; what is shown shall be complete.
wait_derived() {
    for _ in $(seq 50); do
        riacho transform describe big --json | grep -m 1 '"lag"' | grep -q ' 0,' && return
        sleep 0.1
    done
}

demonstrate() {
    command -v dpkg-query >/dev/null || fail "the demonstration reads dpkg's package list and there is no dpkg-query here; the cluster is running at $url"
    export PATH="$bin:$PATH" RIACHO_GATEWAY=$url
    local fmt='{"package":"${Package}","version":"${Version}","section":"${Section}","installed_size":${Installed-Size}}\n'
    dpkg-query -W -f "$fmt" > "$var/packages.ndjson"
    echo
    echo "A demonstration on this machine's own package list ($(wc -l < "$var/packages.ndjson") packages in $var/packages.ndjson):"
    say "riacho topic create packages --partitions 3 --replicas 3"
    say "riacho produce packages --key package $var/packages.ndjson"
    say "riacho transform create \"CREATE STREAM big AS SELECT key, value->>'package' AS package, value->>'installed_size' AS size FROM packages WHERE value->>'installed_size' > 10000\""
    say "riacho consume packages --from beginning --max 3"
    wait_derived
    say "riacho consume big --from beginning --max 5 --output value"
    say "riacho transform describe big"
    say "riacho topic list"
    cat <<EOF

The cluster runs: $url (data and logs in $var/). Try:
  export PATH="$bin:\$PATH"$([ "$url" = http://127.0.0.1:8080 ] || echo " RIACHO_GATEWAY=$url")
  curl -s $url/topics
  curl -s -X POST $url/v1/topics/packages/records -H 'Riacho-Key: me' -d '{"package":"me","installed_size":20000}'
  riacho consume big --follow
  riacho cluster
  make down     stop it and keep the data;   make reset   stop it and wipe $var/
EOF
}

case ${1:-} in
up)
    command -v curl >/dev/null || fail "curl is missing; run 'make deps'"
    ran_before=$(running_count)
    if [ "$ran_before" = 7 ]; then
        echo "riacho: the cluster is running already at $url; nothing was changed"
        exit 0
    fi
    check_programs
    check_var
    check_ports
    began=$(now_ms)
    start_all
    wait_ready
    echo "riacho: ready after $(($(now_ms) - began)) ms at $url (1 coordinator, 3 storage, 1 replication, 1 transform, 1 gateway)"
    if [ "${RIACHO_DEMO:-1}" = 1 ] && [ "$ran_before" = 0 ] && [ ! -e "$var/demonstrated" ]; then
        demonstrate
        touch "$var/demonstrated"
    fi
    ;;
down)
    [ "$(running_count)" = 0 ] && echo "riacho: nothing is running" && exit 0
    stop_all
    echo "riacho: stopped; the data stays in $var/"
    ;;
reset)
    stop_all
    # Only what a cluster makes: a mistyped RIACHO_VAR must not cost anybody a folder.
    rm -rf "$var"/coordinator "$var"/storage-[0-9]* "$var"/run "$var"/log "$var"/packages.ndjson "$var"/demonstrated
    rmdir "$var" 2>/dev/null
    echo "riacho: stopped and wiped $var/"
    ;;
status)
    for name in $processes; do
        printf '%-12s %s\n' "$name" "$(pid_of "$name" || echo stopped)"
    done
    ;;
*)
    echo "usage: tools/cluster.sh up|down|reset|status" >&2
    exit 2
    ;;
esac
