#!/bin/sh
# Installs Porthole as a service on this Debian or Raspberry Pi OS machine, or into an image's root.
# From a checkout it builds the tree first (build-arm.sh, which needs pip and a network); from an
# unpacked porthole-….tar.zst it takes that. Run again, it updates and leaves the configuration.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=
start=yes

usage() {
    cat <<END
usage: install.sh [--root FOLDER] [--no-start]

  --root FOLDER   install into the root of an image; nothing in it is run
  --no-start      enable the service, but do not start it now
END
}

fail() { # LINE…
    printf 'install.sh: %s\n' "$1" >&2
    shift
    for line; do printf '  %s\n' "$line" >&2; done
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --root)
        [ $# -ge 2 ] || fail "--root needs a folder"
        root=$(cd "$2" 2>/dev/null && pwd) || fail "there is no folder $2"
        shift
        ;;
    --no-start) start= ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && fail "$1 is not an option" ;;
    esac
    shift
done
[ "$root" != / ] || root=
[ "$(id -u)" = 0 ] || fail "only root can install a service: sudo $0"

# -- what the machine is ---------------------------------------------------------------------------

[ -e "$root/etc/debian_version" ] || fail "${root:-this machine} is not Debian or Raspberry Pi OS."
python_version=$(readlink "$root/usr/bin/python3" | sed -n 's/^.*python\(3\.[0-9]*\)$/\1/p') || true
[ -n "$python_version" ] || fail "python3 is missing there: apt-get install python3"
for library in libstdc++.so.6 libgcc_s.so.1; do
    [ -n "$(find "$root/usr/lib" "$root/lib" -name "$library" -print -quit 2>/dev/null)" ] ||
        fail "$library is missing there: apt-get install libstdc++6 libgcc-s1"
done
[ -e "$root/lib/systemd/systemd" ] || fail "systemd is missing there: apt-get install systemd"
# What its programs are made for, whatever the kernel is: the machine field of an ELF header.
case $(od -An -tu2 -j18 -N2 "$root/usr/bin/python$python_version" | tr -d ' ') in
183) architecture=arm64 ;;
40) architecture=armhf ;;
62) architecture=amd64 ;;
*) fail "its processor is none of arm64, armhf and amd64." ;;
esac

# -- the tree --------------------------------------------------------------------------------------

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
if [ -d "$here/lib/appliance" ]; then
    tree=$here
    made_for=$(cat "$tree/share/python-version" "$tree/share/architecture" | xargs)
    [ "$made_for" = "$python_version $architecture" ] ||
        fail "this package is for Python and architecture $made_for," \
            "${root:-this machine} has $python_version $architecture."
else
    work=$(mktemp -d)
    tree=$work/tree
    "$here/../build-arm.sh" --python "$python_version" --tree "$tree" "$architecture"
fi

# -- files -----------------------------------------------------------------------------------------

# Copied beside the old tree and swapped by renaming: a power cut leaves the one or the other.
opt=$root/opt/porthole
rm -rf "$opt.new" "$opt.old"
mkdir -p "$opt.new"
cp -r "$tree/bin" "$tree/lib" "$tree/share" "$opt.new/"
chown -R 0:0 "$opt.new"

# The service may write nothing into /opt, so Python's compiled form is made now. It is the same on
# every architecture, hence for an image any Python of the same version will do.
for python in /usr/bin/python3 python3 "python$python_version"; do
    compiles=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || true
    [ "$compiles" != "$python_version" ] || break
done
if [ "$compiles" = "$python_version" ]; then
    "$python" -m compileall -q -s "$opt.new" -p /opt/porthole --invalidation-mode unchecked-hash \
        "$opt.new/lib" || fail "the Python files do not compile."
else
    echo "note: no Python $python_version here to compile with; each start takes seconds longer." >&2
fi
[ ! -e "$opt" ] || mv "$opt" "$opt.old"
mv "$opt.new" "$opt"
rm -rf "$opt.old"

share=$opt/share
install -D -m 755 "$share/porthole" "$root/usr/bin/porthole"
install -D -m 644 "$share/porthole.service" "$root/usr/lib/systemd/system/porthole.service"
install -D -m 644 "$share/porthole.sysusers" "$root/usr/lib/sysusers.d/porthole.conf"
if [ ! -e "$root/etc/porthole/porthole.toml" ]; then
    install -D -m 644 "$share/porthole.toml" "$root/etc/porthole/porthole.toml"
elif ! cmp -s "$share/porthole.toml" "$root/etc/porthole/porthole.toml"; then
    echo "note: /etc/porthole/porthole.toml is yours and stays; /opt/porthole/share has the new one."
fi

# -- user and service ------------------------------------------------------------------------------

command -v systemd-sysusers >/dev/null && command -v systemctl >/dev/null ||
    fail "systemd-sysusers and systemctl are needed here: apt-get install systemd"
systemd-sysusers ${root:+"--root=$root"} porthole.conf
owner=$(sed -n 's/^porthole:[^:]*:\([0-9]*\):\([0-9]*\):.*/\1:\2/p' "$root/etc/passwd")
install -d -m 700 "$root/var/lib/porthole"
chown -R "$owner" "$root/var/lib/porthole" # `make run` as root may have left its own files there
systemctl ${root:+"--root=$root"} --quiet enable porthole.service

if [ -n "$root" ]; then
    echo "Porthole is installed in $root; it starts when the image boots."
elif [ ! -d /run/systemd/system ]; then
    echo "Porthole is installed; systemd does not run here, so it starts at the next boot."
elif [ -n "$start" ]; then
    systemctl daemon-reload
    systemctl restart porthole.service
    echo "Porthole runs: http://$(hostname):8080/ (journalctl -u porthole shows what it says)"
else
    systemctl daemon-reload
    echo "Porthole is installed: systemctl start porthole"
fi
