#!/usr/bin/env bash
# A machine with systemd and cgroup v2, for QEMU without KVM.
#
#   guest.sh        makes sure of CACHE/{vmlinuz,initrd,disk.img} and prints CACHE
#
# The kernel is Debian's for clouds, unpacked and not installed; the disk is a Debian with systemd (mmdebstrap), on which
# agent.sh runs what comes over a virtio port. With "systemd.unified_cgroup_hierarchy=0" on its command line it is a
# machine with cgroup v1. CACHE is ${TUTTI_CACHE:-/var/cache/tutti}/guest-<hash of these scripts>.
set -euo pipefail
shopt -s inherit_errexit

SUITE=bookworm
DISK_SIZE=2G
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# In the initrd: what reaches the disk and the agent's port. In the order in which they need one another.
MODULES=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk virtio_console)
# On the disk beside those: file systems, links, packet filters.
MODULE_FOLDERS=(fs/overlayfs fs/fuse block net lib crypto drivers/virtio drivers/block drivers/char drivers/net)

say() { printf '%s\n' "$*" >&2; }

main() {
  local root cache
  root=${TUTTI_CACHE:-/var/cache/tutti}
  cache=$root/guest-$(cat "$HERE"/*.sh "$HERE"/*.service | sha256sum | cut -c1-12)
  mkdir -p "$root"
  exec 9>"$root/guest.lock"
  flock 9
  if [ ! -d "$cache" ]; then
    WORK=$(mktemp -d "$root/work.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    build >&2
    rm -rf "$root"/guest-????????????
    mv "$WORK/out" "$cache"
  fi
  printf '%s\n' "$cache"
}

build() {
  say "guest: making a machine for QEMU (about a minute)"
  cd "$WORK"
  mkdir out
  kernel
  initrd
  disk
}

# kernel unpacks Debian's kernel: VERSION, out/vmlinuz, kernel/lib/modules/VERSION.
kernel() {
  local package
  newest() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9]\)/\1/p' | head -1 || true; }
  package=$(newest)
  [ -n "$package" ] || { apt-get update >"$WORK/apt.log" 2>&1 && package=$(newest); } # no lists of packages yet
  [ -n "$package" ] || { say "guest: apt knows no linux-image-cloud-amd64; run apt-get update"; return 1; }
  apt-get download "$package" 2>"$WORK/apt.log" || { cat "$WORK/apt.log"; return 1; }
  dpkg-deb -x "$package"_*.deb kernel
  VERSION=${package#linux-image-}
  cp "kernel/boot/vmlinuz-$VERSION" out/vmlinuz
}

initrd() {
  local module file
  mkdir -p initrd/{bin,dev,root}
  install "$(command -v busybox)" initrd/bin/busybox
  for module in "${MODULES[@]}"; do
    file=$(find "kernel/lib/modules/$VERSION" -name "$module.ko")
    [ -n "$file" ] || { say "guest: the kernel has no module $module"; return 1; }
    install -m 644 "$file" "initrd/$module.ko"
  done
  cat >initrd/init <<END
#!/bin/busybox sh
export PATH=/bin
busybox mount -t devtmpfs dev /dev
for m in ${MODULES[*]}; do busybox insmod /\$m.ko; done
busybox mount -t ext4 /dev/vda /root
busybox mount --move /dev /root/dev
exec busybox switch_root /root /sbin/init
END
  chmod 755 initrd/init
  (cd initrd && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >out/initrd
}

disk() {
  local tree=disk folder unit
  mmdebstrap --quiet --variant=essential --skip=output/dev \
    --include=systemd-sysv,dbus,libpam-systemd,iproute2,iptables,procps,kmod,busybox-static,apparmor \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --aptopt='Apt::Install-Recommends "false"' \
    "$SUITE" $tree
  mkdir -p "$tree/lib/modules/$VERSION/kernel" $tree/opt/tutti
  for folder in "${MODULE_FOLDERS[@]}"; do
    mkdir -p "$tree/lib/modules/$VERSION/kernel/$folder"
    cp -r "kernel/lib/modules/$VERSION/kernel/$folder/." "$tree/lib/modules/$VERSION/kernel/$folder/"
  done
  cp "kernel/lib/modules/$VERSION"/modules.{order,builtin,builtin.modinfo} "$tree/lib/modules/$VERSION/"
  chroot $tree depmod "$VERSION"

  echo guest >$tree/etc/hostname
  echo '127.0.0.1 localhost guest' >$tree/etc/hosts
  : >$tree/etc/resolv.conf
  : >$tree/etc/fstab
  install -m 755 "$HERE/agent.sh" $tree/usr/local/sbin/agent
  install -m 644 "$HERE/agent.service" $tree/etc/systemd/system/agent.service
  mkdir -p $tree/etc/systemd/{journald.conf.d,logind.conf.d,system.conf.d}
  printf '[Journal]\nStorage=volatile\nForwardToConsole=no\n' >$tree/etc/systemd/journald.conf.d/guest.conf
  # The strictest that an administrator can set: what belongs to a session ends with it.
  printf '[Login]\nKillUserProcesses=yes\n' >$tree/etc/systemd/logind.conf.d/guest.conf
  chroot $tree systemctl --quiet enable agent.service
  for unit in getty@tty1.service serial-getty@ttyS0.service e2scrub_reap.service e2scrub_all.timer fstrim.timer dpkg-db-backup.timer \
    systemd-pstore.service systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-tmpfiles-clean.timer; do
    ln -sfn /dev/null "$tree/etc/systemd/system/$unit"
  done
  sha256sum <<<guest | cut -c1-32 >$tree/etc/machine-id # without one systemd asks the first questions of a new installation
  rm -rf $tree/var/cache/* $tree/var/lib/apt/lists/*
  truncate -s $DISK_SIZE out/disk.img
  PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -E lazy_itable_init=0 -d $tree out/disk.img
}

main "$@"
