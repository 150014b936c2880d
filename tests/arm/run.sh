#!/bin/bash
# The real ARM packages, made from nothing and run on an emulated processor: build-arm.sh, install.sh
# into a bare Debian root, and a stream out of it whose segment this machine's ffprobe reads.
# usage: run.sh [arm64] [armhf]      needs root, a network, and what it names if it is missing
set -euo pipefail

say() { printf '== %4d s  %s\n' "$SECONDS" "$*"; }
fail() { printf 'arm: %s\n' "$*" >&2 && exit 1; }

[ "$(id -u)" = 0 ] || fail "only root can make a Debian root: sudo $0"
command -v mmdebstrap qemu-aarch64-static update-binfmts ffmpeg zstd >/dev/null ||
    fail "apt-get install --no-install-recommends mmdebstrap qemu-user-static binfmt-support ffmpeg zstd"
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable

repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
[ $# -gt 0 ] || set -- arm64 armhf

# One component of the main suite: the others are not complete for every architecture everywhere.
mirror=$({ cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true; } |
    sed -n 's/^URIs: *//p;s/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' | sed -n 1p)
apt-config dump Acquire >"$work/apt.conf"
say "the packages"
"$repository/build-arm.sh" --output "$work/dist" "$@"

# Both processors get a file to show: the 32-bit libav has no H.264 encoder.
ffmpeg -v error -f lavfi -i testsrc2=s=320x180:r=15 -f lavfi -i sine=r=48000 -t 12 -c:v libx264 \
    -preset veryfast -g 15 -pix_fmt yuv420p -c:a aac "$work/clip.mp4"

for arch; do
    root=$work/root-$arch
    # The emulator's default processor checks pointers in a way that makes it nine times slower.
    case $arch in arm64) cpu=cortex-a72 ;; armhf) cpu=cortex-a15 ;; esac
    say "$arch: a bare root"
    mmdebstrap --quiet --mode=root --variant=extract --architectures="$arch" \
        --include=python3,ca-certificates,libc-bin,dash,coreutils,base-files,base-passwd,util-linux,libstdc++6,libgcc-s1,systemd \
        --aptopt="$work/apt.conf" --aptopt='Apt::Install-Recommends "false"' \
        trixie "$root" "deb $mirror trixie main"
    mkdir "$work/$arch"
    tar -C "$work/$arch" --strip-components=1 --zstd -xf "$work"/dist/porthole-*-"$arch".tar.zst
    echo "root:x:0:0:root:/root:/bin/sh" >"$root/etc/passwd"
    echo "root:x:0:" >"$root/etc/group"
    "$work/$arch/install.sh" --root "$root"
    install -D -m 644 "$work/clip.mp4" "$root/srv/clip.mp4"
    run_porthole() { # ARGUMENT… : as the service would be
        exec unshare --mount --pid --fork --kill-child --propagation private \
            sh -euc 'root=$1; shift; mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
                exec chroot "$root" "$@"' sh "$root" \
            env -i QEMU_CPU=$cpu PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
            setpriv --reuid=porthole --regid=porthole --clear-groups \
            env STATE_DIRECTORY=/var/lib/porthole /opt/porthole/bin/porthole "$@"
    }
    (run_porthole version)
    (run_porthole check)
    source=file:/srv/clip.mp4
    [ "$arch" = armhf ] || source=pattern:
    say "$arch: serve $source"
    # Anything this slow is late all the time; here it counts that the bytes are right.
    python3 "$repository/tests/fresh/watch.py" --keep "$work/$arch.mp4" -- bash -c "
        $(declare -f run_porthole); root=$root cpu=$cpu
        run_porthole run --source $source --set 'http.listen=[\"127.0.0.1:0\"]' \
            --set 'rtmp.listen=[\"127.0.0.1:0\"]' --set 'rtsp.listen=[]' --set camera.open=60s \
            --set camera.stall=30s --set stream.live/camera.video.width=320 \
            --set stream.live/camera.video.height=180 --set stream.live/camera.video.fps=10"
    ffprobe -v error -count_frames -show_entries stream=codec_name,width,height,nb_read_frames \
        -of compact "$work/$arch.mp4" | tee "$work/probe"
    grep -q 'codec_name=h264|width=320|height=180|nb_read_frames=[1-9]' "$work/probe"
    grep -q 'codec_name=aac' "$work/probe"
done
say "the packages work on: $*"
