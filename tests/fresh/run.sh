#!/bin/bash
# A stranger's first minutes: a clean Debian with git, make and python3, a fresh clone of what is
# committed here, `make setup`, `make run`, and a playlist that plays; then the .deb and the
# installer, and the service in a booted system; with --tests `make test` too.
# usage: run.sh [--suite trixie] [--tests] [--keep]      needs root and a network
#
# The clean root takes its package sources, proxies and certificates from this machine at run time;
# secrets among them are mounted read-only for the time of the run and never copied.
set -euo pipefail

suite=bookworm
tests=
keep=
limit_s=900
while [ $# -gt 0 ]; do
    case $1 in
    --suite) suite=$2 && shift ;;
    --tests) tests=yes && limit_s=2400 ;;
    --keep) keep=yes ;;
    --inside) inside=yes && shift && break ;;
    *) sed -n 2,5p "$0" >&2 && exit 64 ;;
    esac
    shift
done
say() { printf '== %4d s  %s\n' "$SECONDS" "$*"; }
fail() { printf 'fresh: %s\n' "$*" >&2 && exit 1; }

# -- second part: inside its own mount and process namespace, with the root in $1 ------------------

if [ -n "${inside-}" ]; then
    root=$1 repository=$2 tests=$3
    give() { # HOST_PATH PLACE_IN_ROOT : read-only
        [ -e "$1" ] || return 0
        mkdir -p "$root$(dirname "$2")"
        if [ -d "$1" ]; then mkdir -p "$root$2"; else touch "$root$2"; fi
        mount --bind "$1" "$root$2"
        mount -o remount,bind,ro "$root$2"
    }
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    give /etc/resolv.conf /etc/resolv.conf
    give /etc/hosts /etc/hosts
    give /etc/pip.conf /etc/pip.conf
    give "$HOME/.config/pip" /root/.config/pip
    give "$HOME/.npmrc" /root/.npmrc
    give /etc/apt/auth.conf.d /etc/apt/auth.conf.d
    give "$repository" /run/repository

    # What tells clients about proxies, indexes and certificates; nothing else of our environment.
    environment=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 CI=true
        GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*')
    while IFS= read -r name; do
        value=${!name}
        case $name in
        *_proxy | *_PROXY | npm_config_* | NPM_CONFIG_* | PIP_*) ;;
        SSL_CERT_FILE | *_CA_BUNDLE | NODE_EXTRA_CA_CERTS) ;;
        *) continue ;;
        esac
        if [ -f "$value" ]; then # a certificate bundle: at a place no package writes to
            give "$value" "/run/host/$name"
            value=/run/host/$name
        fi
        environment+=("$name=$value")
    done < <(compgen -e)
    in_root() { env -i "${environment[@]}" chroot "$root" /bin/sh -euc "$1"; }

    say "clone"
    in_root 'git clone -q /run/repository /root/porthole; cd /root/porthole; git log --oneline -1'
    say "make setup"
    in_root 'cd /root/porthole; make setup'
    in_root '/root/porthole/.venv/bin/porthole version'
    [ -d "$root/root/porthole/appliance/web/vendor" ] || fail "the pages' JavaScript is not there"

    say "make run"
    python3 "$repository/tests/fresh/watch.py" -- \
        env -i "${environment[@]}" chroot "$root" make -C /root/porthole run \
        'SET=http.listen=["127.0.0.1:0"] rtmp.listen=["127.0.0.1:0"] rtsp.listen=["127.0.0.1:0"]'
    say "make run, again, with no network at all"
    python3 "$repository/tests/fresh/watch.py" --only-start 2 -- \
        unshare --net env -i "${environment[@]}" chroot "$root" make -C /root/porthole run \
        'SET=http.listen=["0.0.0.0:0"] rtmp.listen=["0.0.0.0:0"] rtsp.listen=["0.0.0.0:0"]'

    say "the .deb: installed, run, purged"
    in_root 'apt-get -q install -y --no-install-recommends systemd systemd-sysv dbus >/dev/null 2>&1
        cd /root/porthole
        ./build-arm.sh --python "$(python3 -c "import sys; print(\"3.%d\" % sys.version_info[1])")" amd64
        apt-get -q install -y ./dist/*.deb >/dev/null 2>&1
        porthole version
        apt-get -q purge -y porthole >/dev/null 2>&1
        [ ! -e /opt/porthole ] && [ ! -e /etc/porthole ] && [ ! -e /var/lib/porthole ]'
    say "the installer, twice"
    in_root 'cd /root/porthole; firmware-scripts/install.sh; firmware-scripts/install.sh
        porthole check; porthole user list'

    if [ -n "$tests" ]; then
        say "make test"
        in_root 'cd /root/porthole; make test'
    fi
    exit
fi

# -- first part: the clean root --------------------------------------------------------------------

[ "$(id -u)" = 0 ] || fail "only root can make a Debian root: sudo $0"
command -v mmdebstrap systemd-nspawn >/dev/null ||
    fail "mmdebstrap and systemd-nspawn are needed: apt-get install mmdebstrap systemd-container"
repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap '[ -n "$keep" ] && echo "kept: $work" || rm -rf --one-file-system "$work"' EXIT

# This machine's own sources, for the suite that is asked for.
here=$(. /etc/os-release && echo "$VERSION_CODENAME")
sed "s/\b$here\b/$suite/g; s/\b$here-/$suite-/g" /etc/apt/sources.list.d/debian.sources \
    >"$work/debian.sources" 2>/dev/null ||
    sed "s/\b$here\b/$suite/g" /etc/apt/sources.list >"$work/debian.list"
apt-config dump Acquire >"$work/apt.conf"

say "a clean $suite"
mmdebstrap --quiet --variant=minbase --include=git,make,python3 --aptopt="$work/apt.conf" \
    "$suite" "$work/root" "$work"/debian.*
cp "$work/apt.conf" "$work/root/etc/apt/apt.conf.d/00as-on-the-host"

timeout --foreground --kill-after=10 "$limit_s" \
    unshare --mount --pid --fork --kill-child --propagation private \
    "$0" --inside "$work/root" "$repository" "$tests"

say "the service in a booted system"
root=$work/root
cp "$repository/tests/fresh/booted.sh" "$repository/tests/fresh/watch.py" "$root/root/"
cat >"$root/etc/systemd/system/booted.service" <<'END'
[Unit]
After=porthole.service
[Service]
Type=oneshot
ExecStart=/root/booted.sh
END
ln -s ../booted.service "$root/etc/systemd/system/multi-user.target.wants/"
timeout --kill-after=10 180 systemd-nspawn --quiet --register=no --keep-unit --boot \
    --directory="$root" --private-network --resolv-conf=off --link-journal=no \
    </dev/null >"$work/console.log" 2>&1 || true
cat "$root/root/booted.log" 2>/dev/null || tail -n 40 "$work/console.log"
grep -qx 'all as it should be' "$root/root/booted.log" || fail "the service is not as it should be"
say "all of it works in a clean $(. "$root/etc/os-release" && echo "$PRETTY_NAME")"
