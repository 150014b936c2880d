#!/bin/bash
# A camera of the kernel for real: the virtual camera driver vivid on an emulated board, with the
# package that build-arm.sh makes installed on it as a service. Every raw format, a change of rate,
# controls, pictures that are lost, unplugging and replugging; what comes out is decoded here.
# usage: vivid.sh [arm64|armhf]       needs root and what it names if it is missing
#   On armhf the packages have no H.264 encoder, so there the formats and controls are looked at.
#   A machine that is busy otherwise makes the board too slow: leave it alone for the five minutes.
#   BOARD_CACHE (~/.cache/porthole-board) keeps Debian's root, which takes ten minutes to make.
set -euo pipefail

say() { printf '== %4d s  %s\n' "$SECONDS" "$*"; }
fail() { printf 'vivid: %s\n' "$*" >&2 && exit 1; }

arch=${1:-arm64}
case $arch in arm64) cpu=cortex-a72 ;; armhf) cpu=cortex-a15 ;; *) fail "arm64 or armhf" ;; esac
[ "$(id -u)" = 0 ] || fail "only root can make a Debian root: sudo $0"
command -v mmdebstrap qemu-aarch64-static arch-test qemu-system-aarch64 qemu-system-arm ffprobe mke2fs \
    update-binfmts >/dev/null || fail "apt-get install --no-install-recommends mmdebstrap arch-test" \
    "qemu-user-static binfmt-support qemu-system-arm ffmpeg e2fsprogs"
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable

here=$(cd "$(dirname "$0")" && pwd)
cache=${BOARD_CACHE:-$HOME/.cache/porthole-board}
mkdir -p "$cache"
work=$(mktemp -d)
qemu=
finish() {
    [ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap finish EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
board() { timeout 320 python3 "$here/ask.py" "$agent_port"; } # script on standard input
log() { board <<<"journalctl -u porthole -o cat --no-pager"; }

# -- the board -------------------------------------------------------------------------------------

[ -d "$cache/root-$arch" ] || { say "Debian for $arch, once" && "$here/make_root.sh" "$arch" "$cache/root-$arch"; }
say "the package, installed into it"
root=$work/root
cp -a --reflink=auto "$cache/root-$arch" "$root"
"$here/../../build-arm.sh" --tree "$work/tree" "$arch" >/dev/null
"$work/tree/install.sh" --root "$root" >/dev/null 2>&1
# No Python of its version need be here: the board's own, emulated, compiles what is read at each start.
QEMU_CPU=$cpu chroot "$root" python3 -m compileall -q -j 2 /opt/porthole/lib
cp "$here/agent.py" "$here/formats.py" "$root/root/"
install -D -m 644 /dev/stdin "$root/etc/porthole/porthole.toml" <<'TOML'
[camera] # an emulated board is slow to begin
open = "60s"
[[stream]]
name = "live/camera"
source = "v4l2:auto"
[stream.video]
width = 320
height = 180
fps = 15
bitrate = "300k"
keyframe = "1s"
adapt = false
TOML
cp "$root"/boot/vmlinuz-* "$work/vmlinuz"
cp "$root"/boot/initrd.img-* "$work/initrd"
mke2fs -q -t ext4 -L root -d "$root" "$work/disk" 1500M >/dev/null
rm -rf --one-file-system "$root"

agent_port=$(free_port) http_port=$(free_port)
net=user,id=n0,hostfwd=tcp:127.0.0.1:$agent_port-:9000,hostfwd=tcp:127.0.0.1:$http_port-:8080
common=(-smp 2 -m 1024 -accel 'tcg,thread=multi' -display none -monitor none -no-reboot
    -serial "file:$work/console" -kernel "$work/vmlinuz" -initrd "$work/initrd"
    -append 'root=LABEL=root rw console=ttyAMA0 net.ifnames=0 audit=0 loglevel=4 systemd.show_status=0'
    -drive "file=$work/disk,if=none,id=d0,format=raw" -netdev "$net")
case $arch in
arm64) emulator=(qemu-system-aarch64 -M virt -cpu $cpu -device 'virtio-blk-pci,drive=d0'
    -device 'virtio-net-pci,netdev=n0,romfile=' -device virtio-rng-pci) ;;
armhf) emulator=(qemu-system-arm -M 'virt,highmem=off' -cpu $cpu -device 'virtio-blk-device,drive=d0'
    -device 'virtio-net-device,netdev=n0' -device virtio-rng-device) ;;
esac
"${emulator[@]}" "${common[@]}" &
qemu=$!
say "the board boots"
for _ in $(seq 100); do
    kill -0 "$qemu" 2>/dev/null || fail "the emulator has ended"
    answer=$(board <<<'uname -mr' 2>/dev/null) && break || sleep 3
done
[ -n "$answer" ] || { tail -n 20 "$work/console" && fail "it did not boot within 300 s"; }
say "$answer"

# -- formats ---------------------------------------------------------------------------------------

say "without a camera"
board <<<'porthole cameras' | tee "$work/seen"
grep -q 'no camera is found' "$work/seen"

say "every raw format of both APIs (vivid offers neither MJPEG nor H.264)"
board <<'END'
systemctl stop porthole
modprobe vivid n_devs=2 multiplanar=1,2 no_error_inj=0
udevadm settle
cd /root && PYTHONPATH=/opt/porthole/lib python3 formats.py /dev/video0 /dev/video4
rmmod vivid
END

say "one camera"
board <<'END' | tee "$work/seen"
modprobe vivid n_devs=1 no_error_inj=0
udevadm settle
porthole cameras
END
link=/dev/v4l/by-path/platform-vivid.0-video-index0
grep -qF "source = \"v4l2:$link\"" "$work/seen"
[ "$arch" = arm64 ] || { say "the camera layer works on $arch" && exit; }

# -- the service -----------------------------------------------------------------------------------

playlist=http://127.0.0.1:$http_port/live/camera.m3u8
frames() { # SECONDS : how many pictures a player decodes of so many seconds, and their size
    timeout 240 ffprobe -v error -live_start_index -1 -read_intervals "%+$1" -select_streams v -count_frames \
        -show_entries stream=codec_name,width,height,nb_read_frames -of csv=p=0 "$playlist" | tail -n 1
}
plays() { # LEAST : until a player decodes so many pictures of 4 s; a cut in the stream ends what it counts
    for _ in $(seq 10); do
        shown=$(frames 4)
        [[ ! $shown =~ ^h264,320,180,([0-9]+) ]] || [ "${BASH_REMATCH[1]}" -lt "$1" ] || {
            say "a player sees: $shown"
            return
        }
    done
    log | tail -n 20
    fail "a player sees only: $shown"
}
measured() { board <<<'porthole camera show camera --json' | python3 -c '
import json, sys
camera = json.load(sys.stdin)["camera"]
print(*(camera.get(key) for key in sys.argv[1:]))' "$@"; }
until_seen() { # WORDS SECONDS : in the service's log
    for _ in $(seq "$2"); do log | grep -qF "$1" && return || sleep 1; done
    log | tail -n 20
    fail "not seen in the log within $2 s: $1"
}

say "the installed service, in its sandbox, with v4l2:auto"
board <<<'systemctl start porthole; systemctl show -P User -P DevicePolicy porthole | xargs'
until_seen 'is live' 90
plays 30

say "another rate"
board <<<'porthole camera set camera fps=5'
sleep 4
plays 10
measured fps measured_fps | tee "$work/seen"
python3 -c 'import sys; assert 4 < float(sys.argv[2]) < 6, sys.argv' $(cat "$work/seen")
board <<<'porthole camera set camera fps=15'

say "controls"
board <<'END'
porthole camera set camera brightness=200 test_pattern='100% Red'
v4l2-ctl -d /dev/video0 -C brightness,test_pattern | tee /tmp/seen
grep -q 'brightness: 200' /tmp/seen && grep -q '100% Red' /tmp/seen
! porthole camera set camera brightness=999 contrast=1 2>/tmp/refusal
cat /tmp/refusal
grep -q '0 to 255' /tmp/refusal
v4l2-ctl -d /dev/video0 -C contrast | grep -q 128
END

say "half the pictures lost in the camera, one damaged, one fatal error of the driver"
board <<'END'
v4l2-ctl -d /dev/video0 -c percentage_of_dropped_buffers=50
sleep 4
v4l2-ctl -d /dev/video0 -c percentage_of_dropped_buffers=0
v4l2-ctl -d /dev/video0 -c inject_v4l2_buf_flag_error=1
sleep 1
v4l2-ctl -d /dev/video0 -c inject_fatal_streaming_error=1
END
until_seen 'streams anew after an input/output error' 10
plays 30

say "unplugged and plugged in again"
workers() { log | grep -c 'worker starts'; }
before=$(workers)
board <<'END'
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
ls /dev/video0 2>&1 || true
sleep 2
echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
END
sleep 4
plays 30
[ "$(workers)" = "$before" ] || fail "it took another worker"
board <<<"v4l2-ctl -d $link -C brightness | grep -q 200" # what was set is set again

say "unplugged for 20 s"
board <<'END'
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
sleep 20
echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
END
for _ in $(seq 40); do [ "$(measured state 2>/dev/null)" = live ] && break || sleep 1; done
sleep 5
plays 30
log | grep -F 'unplugged' | tail -n 3

say "what the service said"
log | tail -n 40
[ "$(board <<<'systemctl show -P NRestarts porthole')" = 0 ] || fail "the service was restarted"
board <<'END'
for pid in $(cat /sys/fs/cgroup/system.slice/porthole.service/cgroup.procs); do
    grep -H VmRSS /proc/$pid/status
done
END
say "the kernel's camera works on $arch"
