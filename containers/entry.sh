#!/usr/bin/env bash
# Entry point of the image: riacho-entry PROGRAM OPTIONS...
# Storage containers share one volume and are interchangeable: each takes the first folder in it that no
# other one holds, so that data survives `down` and `up` and any scaling. The lock is an inherited file
# descriptor; it is free again the moment the process is gone.
# Who listens on every interface tells the others the address that its container has at the moment.
set -eu
program=$1
shift

case $program in
riacho-storage)
    for slot in $(seq 1 1000); do
        exec 9>> "/var/lib/riacho/storage-$slot.lock"
        if flock --nonblock 9; then
            exec riacho-storage --data-dir="/var/lib/riacho/storage-$slot" --listen=tcp://0.0.0.0:9111 "$@"
        fi
    done
    echo "riacho-storage: no free data folder among 1000" >&2
    exit 1
    ;;
riacho-transform)
    exec riacho-transform --listen=tcp://0.0.0.0:9130 "$@"
    ;;
*)
    exec "$program" "$@"
    ;;
esac
