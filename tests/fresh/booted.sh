#!/bin/bash
# Runs at boot beside the installed service, in its real sandbox; the verdict is the last line of
# booted.log.
exec >/root/booted.log 2>&1
trap 'systemctl poweroff' EXIT
set -euo pipefail
trap 'echo "line $LINENO failed"; journalctl -b -u porthole --no-pager | tail -n 40' ERR

base=http://127.0.0.1:8080/
get() { # PATH [KEY]
    python3 -c 'import sys, urllib.request as u
print(u.urlopen(u.Request(sys.argv[1], headers={"Authorization": "Bearer " + sys.argv[2]}), timeout=9).read().decode())' \
        "$base$1" "${2-}"
}

until journalctl -b -u porthole | grep -q 'listening on http'; do sleep 0.2; done
python3 /root/watch.py $base
health=$(get healthz)
echo "$health"
[[ $health == *'"status":"ok"'* ]]
key=$(porthole user add ops --allow api 2>/dev/null)
get api/v1/versions "$key"
[ "$(stat -c '%U %a' /var/lib/porthole /var/lib/porthole/accounts.json | xargs)" = \
    "porthole 700 porthole 600" ]
systemctl reload porthole
server=$(systemctl show -P MainPID porthole)
[ "$(stat -c %U "/proc/$server")" = porthole ]
grep -H VmRSS "/proc/$server/status"

echo "-- killed, and back by itself"
systemctl kill --signal=KILL porthole
until [ "$(systemctl show -P NRestarts porthole)" = 1 ] && systemctl -q is-active porthole; do sleep 0.2; done
until python3 /root/watch.py $base 2>/dev/null; do sleep 0.5; done

echo "-- stopped within its deadline"
systemctl stop porthole
[ "$(systemctl show -P Result porthole)" = success ]
systemd-analyze security --threshold=20 --no-pager porthole.service | tail -n 1
journalctl -b -u porthole -p warning --no-pager -q
echo "all as it should be"
