#!/usr/bin/env bash
# A local cluster on loopback: 1 coordinator, 3 storage, 1 replication, 1 transform, 1 gateway.
#   tools/cluster.sh up | down | reset | status
# Binaries come from RIACHO_BIN (default build/release/bin), data goes to RIACHO_VAR (default var).
# Ports: gateway RIACHO_HTTP_PORT (8080), the others from RIACHO_BASE_PORT (9100) on.
set -u
cd "$(dirname "$0")/.." || exit 1

bin=${RIACHO_BIN:-build/release/bin}
var=${RIACHO_VAR:-var}
http_port=${RIACHO_HTTP_PORT:-8080}
base=${RIACHO_BASE_PORT:-9100}
url=http://127.0.0.1:$http_port
coordinator=tcp://127.0.0.1:$base
processes="coordinator storage-1 storage-2 storage-3 replication transform gateway"

fail() {
    echo "riacho: $*" >&2
    exit 1
}

# Running means: the pid we wrote down is alive and is still our program.
pid_of() { # process
    local pid
    pid=$(cat "$var/run/$1.pid" 2>/dev/null) || return 1
    case "$(readlink "/proc/$pid/exe" 2>/dev/null)" in
    */riacho-*) echo "$pid" ;;
    *) return 1 ;;
    esac
}

port_in_use() { # port
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

start() { # process program options...
    local name=$1 program=$2
    shift 2
    pid_of "$name" >/dev/null && return 0
    [ -x "$bin/$program" ] || fail "$bin/$program is missing; run 'make release' first"
    # setsid: the cluster outlives the terminal. exec: the pid written down is the program's own.
    setsid bash -c 'echo $$ > "$1"; shift; exec "$@"' _ "$var/run/$name.pid" \
        "$bin/$program" --log-level="${RIACHO_LOG_LEVEL:-info}" "$@" \
        >> "$var/log/$name.log" 2>&1 < /dev/null &
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

# Every process must live and the gateway must say it is ready.
wait_ready() {
    local deadline=$((SECONDS + 20)) name
    until [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "$url/readyz")" = 200 ]; do
        sleep 0.05
        for name in $processes; do
            if [ -s "$var/run/$name.pid" ] && ! pid_of "$name" >/dev/null; then
                # The shell that execs the program may not have got that far yet.
                sleep 0.3
                pid_of "$name" >/dev/null && continue
                local why
                why=$(grep -v '^$' "$var/log/$name.log" | tail -n 1)
                stop_all
                fail "$name did not start: ${why:-see $var/log/$name.log}"
            fi
        done
        if [ $SECONDS -ge $deadline ]; then
            fail "the cluster is not ready after 20 s: $(curl -s --max-time 2 "$url/readyz"); logs are in $var/log"
        fi
    done
}

check_ports() {
    local port
    for port in "$http_port" "$base" $((base + 11)) $((base + 12)) $((base + 13)) $((base + 30)); do
        port_in_use "$port" && fail "port $port on 127.0.0.1 is in use; stop the program that listens there, or choose others with RIACHO_HTTP_PORT and RIACHO_BASE_PORT"
    done
    return 0
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
        pid=$(pid_of "$name") && kill -TERM "$pid" 2>/dev/null
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
    printf '\n\033[1m$ %s\033[0m\n' "$*"
    bash -o pipefail -c "$*" || fail "the demonstration failed at: $*"
}

demonstrate() {
    command -v dpkg-query >/dev/null || fail "the demonstration reads dpkg's package list and there is no dpkg-query here; the cluster is running at $url"
    export PATH="$PWD/$bin:$PATH" RIACHO_GATEWAY=$url
    local fmt='{"package":"${Package}","version":"${Version}","section":"${Section}","installed_size":${Installed-Size}}\n'
    dpkg-query -W -f "$fmt" > "$var/packages.ndjson"
    echo
    echo "A demonstration on this machine's own package list ($(wc -l < "$var/packages.ndjson") packages in $var/packages.ndjson):"
    say "riacho topic create packages --partitions 3 --replicas 3"
    say "riacho produce packages --key package $var/packages.ndjson"
    say "riacho transform create \"CREATE STREAM big AS SELECT key, value->>'package' AS package, value->>'installed_size' AS size FROM packages WHERE value->>'installed_size' > 10000\""
    say "riacho consume packages --from beginning --max 3"
    say "riacho consume big --from beginning --max 5 --follow --output value"
    say "riacho transform describe big"
    say "riacho topic list"
    cat <<EOF

The cluster runs: $url (data and logs in $var/). Try:
  export PATH="\$PWD/$bin:\$PATH"
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
    if [ "$(running_count)" = 7 ]; then
        echo "riacho: the cluster is running already at $url; nothing was changed"
        exit 0
    fi
    [ "$(running_count)" = 0 ] && check_ports
    mkdir -p "$var/run" "$var/log" 2>/dev/null || fail "cannot write to $var/; give yourself the right or set RIACHO_VAR"
    [ -w "$var/run" ] || fail "cannot write to $var/run; give yourself the right or set RIACHO_VAR"
    began=$(now_ms)
    start_all
    wait_ready
    echo "riacho: ready after $(($(now_ms) - began)) ms at $url (1 coordinator, 3 storage, 1 replication, 1 transform, 1 gateway)"
    if [ "${RIACHO_DEMO:-1}" = 1 ] && [ ! -e "$var/demonstrated" ]; then
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
