#!/bin/bash
# Builds what a board installs: for each architecture a .deb and a relocatable tarball in dist/,
# with SHA256SUMS. Needs no ARM machine, no compiler and no emulation: the Python packages come as
# wheels, pinned by hash in firmware-scripts/wheels/, and our own part is architecture-free.
# The same commit gives the same bytes (SOURCE_DATE_EPOCH, by default the commit's time).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
python_version=3.13
output=$here/dist
requirements=
tree_only=
lock=
architectures=()

usage() {
    cat <<END
usage: build-arm.sh [OPTION]… [ARCHITECTURE]…

ARCHITECTURE is a Debian one: arm64 (64-bit boards), armhf (32-bit, ARMv7 and later) or amd64;
arm64 and armhf if none is named.

  --python 3.13          the device's Python: 3.13 for Debian 13, 3.11 for Debian 12
  --output FOLDER        where the artefacts go (dist/)
  --tree FOLDER          leave only the unpacked tree there; for one architecture
  --requirements FILE    take these packages instead of the locked ones (pip's format)
  --lock                 resolve pyproject.toml anew for all architectures, write the lock, stop
END
}

fail() { # LINE…
    printf 'build-arm.sh: %s\n' "$1" >&2
    shift
    for line; do printf '  %s\n' "$line" >&2; done
    exit 1
}

say() { printf '%6d s  %s\n' "$SECONDS" "$*"; }

while [ $# -gt 0 ]; do
    case $1 in
    --python | --output | --tree | --requirements)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
        --python) python_version=$2 ;;
        --output) output=$2 ;;
        --tree) tree_only=$2 ;;
        --requirements) requirements=$2 ;;
        esac
        shift
        ;;
    --lock) lock=yes ;;
    -h | --help) usage && exit ;;
    arm64 | armhf | amd64) architectures+=("$1") ;;
    *) usage >&2 && fail "$1 is neither an option nor an architecture" ;;
    esac
    shift
done
[[ $python_version =~ ^3\.[0-9]+$ ]] || fail "--python takes a version such as 3.13"
[ ${#architectures[@]} -gt 0 ] || architectures=(arm64 armhf)
[ -z "$tree_only" ] || [ ${#architectures[@]} = 1 ] || fail "--tree takes one architecture"

tag=cp${python_version/./}
locked=$here/firmware-scripts/wheels/$tag.txt

# Any Python with pip will do; it only fetches and unpacks.
for python in "$here/.venv/bin/python" python3; do
    ! "$python" -m pip --version >/dev/null 2>&1 || break
    python=
done
[ -n "$python" ] || fail "pip is missing; \`make setup\` makes an environment that has it."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$here/appliance/__init__.py")
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || echo 315532800)}

# -- wheels ----------------------------------------------------------------------------------------

# cffi has no wheel for 32-bit ARM; the .deb depends on Debian's instead, whose part in C is enough.
without_wheel() { # ARCHITECTURE
    [ "$1" != armhf ] || echo 'cffi pycparser'
}

leave_out() { # LOCK NAME… : the lock without these packages
    local file=$1
    shift
    awk -v names=" $* " '/^[^ ]/ { split($1, pin, "=="); out = index(names, " " pin[1] " ") } !out' "$file"
}

wheel_arch() {
    case $1 in arm64) echo aarch64 ;; armhf) echo armv7l ;; amd64) echo x86_64 ;; esac
}

# Every manylinux tag that the device's libc satisfies must be named: pip does not infer them.
platforms() { # ARCHITECTURE
    local minor newest=36
    [ "$python_version" = 3.11 ] || newest=41
    echo "--platform manylinux2014_$(wheel_arch "$1")"
    for ((minor = 17; minor <= newest; minor++)); do
        echo "--platform manylinux_2_${minor}_$(wheel_arch "$1")"
    done
}

download() { # ARCHITECTURE FOLDER PIP_ARGUMENT…
    local arch=$1 folder=$2 log=$work/pip-$1.log
    shift 2
    # shellcheck disable=SC2046  # a list of options
    "$python" -m pip download --quiet --no-input --progress-bar off --disable-pip-version-check \
        --only-binary=:all: --implementation cp --python-version "$python_version" \
        --abi "$tag" --abi abi3 --abi none $(platforms "$arch") --dest "$folder" "$@" \
        >"$log" 2>&1 || {
        tail -n 12 "$log" >&2
        fail "the wheels for $arch could not be fetched (above: what pip said)." \
            "Without a network nothing can be built. A hash that does not match means that a" \
            "package was changed after $locked was written: find out why before --lock."
    }
}

ranges() { # pyproject.toml's own dependencies and those of the features a device uses
    "$python" - "$here/pyproject.toml" <<'PYTHON'
import sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
extras = project["optional-dependencies"]
print(*project["dependencies"], *extras["capture"], *extras["webrtc"], sep="\n")
PYTHON
}

pins() { # FOLDER : the versions of the wheels in it
    find "$1" -name '*.whl' -printf '%f\n' | sed -E 's/^([^-]+)-([^-]+)-.*/\1==\2/; s/_/-/g' |
        tr '[:upper:]' '[:lower:]' | sort
}

write_lock() {
    local arch
    ranges >"$work/ranges.txt"
    for arch in arm64 amd64; do
        say "resolving for $arch, Python $python_version"
        download "$arch" "$work/lock-$arch" -r "$work/ranges.txt"
    done
    say "the same versions for armhf"
    pins "$work/lock-arm64" >"$work/pins.txt"
    # shellcheck disable=SC2046  # a list of names
    leave_out "$work/pins.txt" $(without_wheel armhf) >"$work/pins-armhf.txt"
    download armhf "$work/lock-armhf" --no-deps -r "$work/pins-armhf.txt"
    "$python" - "$work"/lock-a* >"$work/lock.txt" <<'PYTHON'
import hashlib, pathlib, sys
pins = {}
for folder in sys.argv[1:]:
    for wheel in pathlib.Path(folder).glob("*.whl"):
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        pins.setdefault(f"{name.lower().replace('_', '-')}=={version}", set()).add(digest)
names = [pin.split("==")[0] for pin in pins]
if len(set(names)) < len(names):
    sys.exit("the architectures get different versions: " + ", ".join(sorted(pins)))
print("# Written by build-arm.sh --lock: what a device gets, for arm64, armhf and amd64.")
for pin in sorted(pins):
    print(pin, *(f"    --hash=sha256:{digest}" for digest in sorted(pins[pin])), sep=" \\\n")
PYTHON
    mkdir -p "$(dirname "$locked")"
    mv "$work/lock.txt" "$locked"
    say "wrote $locked"
}

fetch() { # ARCHITECTURE
    if [ -n "$requirements" ]; then
        download "$1" "$work/wheels-$1" -r "$requirements"
    elif [ -e "$locked" ]; then
        # shellcheck disable=SC2046  # a list of names
        leave_out "$locked" $(without_wheel "$1") >"$work/locked-$1.txt"
        download "$1" "$work/wheels-$1" --no-deps --require-hashes -r "$work/locked-$1.txt"
    else
        fail "there is no $locked; build-arm.sh --python $python_version --lock writes it."
    fi
}

# -- the tree --------------------------------------------------------------------------------------

unpack_and_check() { # ARCHITECTURE LIB
    "$python" - "$1" "$work/wheels-$1" "$2" <<'PYTHON'
import pathlib, struct, sys, zipfile

arch, wheels, lib = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
# ELF e_machine and class; armhf also promises the hard-float calling convention (e_flags 0x400)
machine, bits = {"arm64": (183, 2), "armhf": (40, 1), "amd64": (62, 2)}[arch]

for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(lib)
sources = {".pyi", ".pyx", ".pxd", ".c", ".h"}  # of no use at run time
faults, found = [], 0
for path in sorted(lib.rglob("*")):
    if not path.is_file() or path.is_symlink():
        continue
    if path.suffix in sources:
        path.unlink()
        continue
    head = path.open("rb").read(40)
    if head[:4] != b"\x7fELF":
        continue
    found += 1
    if head[4] != bits or struct.unpack_from("<H", head, 18)[0] != machine:
        faults.append(f"{path.relative_to(lib)} is not for {arch}")
    elif arch == "armhf" and not struct.unpack_from("<I", head, 36)[0] & 0x400:
        faults.append(f"{path.relative_to(lib)} is soft-float")
if not list(lib.glob("aiohttp/_http_parser*.so")):
    faults.append("aiohttp comes without its compiled HTTP parser")
sys.exit("\n".join(faults) if faults else print(f"          {found} binaries, all for {arch}"))
PYTHON
}

copy_own() { # TREE ARCHITECTURE
    mkdir -p "$1/bin" "$1/lib" "$1/share"
    (cd "$here" && find appliance -type f ! -path '*/__pycache__/*' ! -path 'appliance/web/vendor.sh' \
        ! -path 'appliance/web/package*.json' ! -path 'appliance/web/.npmrc' -print0 |
        tar -c --null -T -) | tar -x -C "$1/lib"
    cat >"$1/bin/porthole" <<'LAUNCHER'
#!/bin/sh
# Runs the appliance from wherever its tree lies, with the system's Python.
tree=$(dirname "$(dirname "$(readlink -f "$0")")")
export PYTHONPATH="$tree/lib" PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1
exec /usr/bin/python3 -m appliance "$@"
LAUNCHER
    cp "$here/firmware-scripts/install.sh" "$1/"
    cp "$here/LICENSE" "$here/README.md" "$here/CHANGELOG.md" "$1/share/"
    cp "$here/conf/porthole.toml" "$here/systemd/porthole.service" \
        "$here/systemd/porthole.sysusers" "$here/firmware-scripts/porthole" "$1/share/"
    echo "$python_version" >"$1/share/python-version"
    echo "$2" >"$1/share/architecture"
}

# Modes and times that depend on nothing but the commit.
normalise() { # FOLDER
    find "$1" -type d -exec chmod 755 {} +
    find "$1" -type f -exec chmod 644 {} +
    find "$1" -path '*/bin/porthole' -exec chmod 755 {} +
    find "$1" -name install.sh -exec chmod 755 {} +
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

build_tree() { # ARCHITECTURE TREE
    say "$1: wheels for Python $python_version"
    fetch "$1"
    say "$1: tree"
    copy_own "$2" "$1"
    unpack_and_check "$1" "$2/lib" || fail "these would not run on $1."
    rm -rf "$2/lib/bin" # pip's console scripts of the dependencies
    normalise "$2"
}

# -- artefacts -------------------------------------------------------------------------------------

pack_tar() { # NAME : the tree $work/NAME
    local packed
    if command -v zstd >/dev/null; then packed=$1.tar.zst; else packed=$1.tar.gz; fi
    say "$packed"
    tar -C "$work" --sort=name --format=gnu --numeric-owner --owner=0 --group=0 \
        --mtime="@$SOURCE_DATE_EPOCH" -cf - "$1" |
        case $packed in *.zst) zstd -q -12 -T1 ;; *) gzip -9 -n ;; esac >"$output/$packed"
    built+=("$packed")
}

pack_deb() { # NAME ARCHITECTURE
    local deb=porthole_${version}_py${python_version}_$2.deb root=$work/deb-$2 share=$work/$1/share
    local depends="python3 (>= $python_version), python3 (<< 3.$((${python_version#3.} + 1)))"
    depends+=", libstdc++6, libgcc-s1, systemd"
    [ -z "$(without_wheel "$2")" ] || depends+=", python3-cffi-backend"
    command -v dpkg-deb >/dev/null || {
        say "no .deb: dpkg-deb is missing"
        return
    }
    say "$deb"
    mkdir -p "$root"/{DEBIAN,opt,etc/porthole,usr/bin,usr/lib/systemd/system,usr/lib/sysusers.d}
    cp -r "$work/$1" "$root/opt/porthole"
    rm "$root/opt/porthole/install.sh"
    cp "$share/porthole.toml" "$root/etc/porthole/"
    cp "$share/porthole" "$root/usr/bin/porthole"
    cp "$share/porthole.service" "$root/usr/lib/systemd/system/"
    cp "$share/porthole.sysusers" "$root/usr/lib/sysusers.d/porthole.conf"
    cat >"$root/DEBIAN/control" <<END
Package: porthole
Version: $version
Architecture: $2
Maintainer: Porthole contributors <porthole@localhost>
Section: video
Priority: optional
Installed-Size: $(du -sk --apparent-size "$root/opt" | cut -f1)
Depends: $depends
Recommends: libasound2t64 | libasound2
Suggests: python3-picamera2
Description: streaming appliance for ARM cameras
 Serves the board's cameras to browsers and players on the network.
END
    echo /etc/porthole/porthole.toml >"$root/DEBIAN/conffiles"
    cp "$here"/firmware-scripts/deb/* "$root/DEBIAN/"
    normalise "$root"
    chmod 755 "$root"/DEBIAN/p* "$root/usr/bin/porthole"
    dpkg-deb --root-owner-group -Zzstd -z12 --threads-max=1 --build "$root" "$output/$deb" >/dev/null
    built+=("$deb")
}

if [ -n "$lock" ]; then
    write_lock
    exit
fi

[ -d "$here/appliance/web/vendor" ] ||
    fail "the pages' JavaScript is missing: \`make setup\` installs it (it needs npm)."

if [ -n "$tree_only" ]; then
    [ ! -e "$tree_only" ] || fail "$tree_only exists already."
    build_tree "${architectures[0]}" "$work/tree"
    mv "$work/tree" "$tree_only"
    exit
fi

mkdir -p "$output"
built=()
for arch in "${architectures[@]}"; do
    name=porthole-$version-py$python_version-$arch
    build_tree "$arch" "$work/$name"
    pack_tar "$name"
    pack_deb "$name" "$arch"
    rm -rf "$work"/*"$arch"
done
(cd "$output" && sha256sum "${built[@]}" >SHA256SUMS)
say "done:"
(cd "$output" && du -h --apparent-size "${built[@]}" SHA256SUMS)
