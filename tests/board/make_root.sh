#!/bin/bash
# A Debian root with its kernel for an emulated board, once for all runs. usage: make_root.sh arm64|armhf FOLDER
set -euo pipefail

arch=$1 root=$2
case $arch in arm64) kernel=arm64 cpu=cortex-a72 ;; armhf) kernel=armmp cpu=cortex-a15 ;; esac
export QEMU_CPU=$cpu # the default one checks pointers in a way that makes it nine times slower

mirror=$({ cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true; } |
    sed -n 's/^URIs: *//p;s/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' | sed -n 1p)
apt_conf=$(mktemp)
trap 'rm -f "$apt_conf"' EXIT
apt-config dump Acquire >"$apt_conf"

rm -rf --one-file-system "$root.new"
# Only the modules that find the root: a ramdisk with all of them takes minutes to unpack.
mmdebstrap --quiet --mode=root --variant=minbase --architectures="$arch" \
    --include="linux-image-$kernel,systemd-sysv,udev,kmod,python3,iproute2,ca-certificates" \
    --include=libstdc++6,libgcc-s1,libasound2t64,v4l-utils,initramfs-tools,e2fsprogs \
    --aptopt="$apt_conf" --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/bin/py3compile' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"
        echo MODULES=list >"$1/etc/initramfs-tools/conf.d/board"
        printf "%s\n" virtio_pci virtio_mmio virtio_blk virtio_net ext4 >"$1/etc/initramfs-tools/modules"' \
    trixie "$root.new" "deb $mirror trixie main"

cat >"$root.new/etc/systemd/system/agent.service" <<'UNIT'
[Service]
ExecStart=/usr/bin/python3 /root/agent.py
Restart=always
[Install]
WantedBy=multi-user.target
UNIT
mkdir -p "$root.new/etc/systemd/network"
printf '[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' \
    >"$root.new/etc/systemd/network/board.network"
wants=$root.new/etc/systemd/system/multi-user.target.wants
ln -sf ../agent.service "$wants/agent.service"
ln -sf /usr/lib/systemd/system/systemd-networkd.service "$wants/systemd-networkd.service"
echo 'LABEL=root / ext4 defaults 0 1' >"$root.new/etc/fstab"
mv "$root.new" "$root"
