#!/usr/bin/env bash
# Makes a root disk of this machine's distribution and provisions it as a node's, in FOLDER: build-root.sh FOLDER CODENAME
#
# Taken from FOLDER: project/ (a checkout), sources/ (PACKAGE_SOURCES), files/ (what emulation needs), apt.list.
# Packages are kept in packages/. It makes root.img, vmlinuz and initrd.img. Run it as root in a mount namespace of its own.
set -euo pipefail

folder=$1 codename=$2
root=$folder/root build=/run/build # in the root, while it is built
install -d "$folder/packages"

# What an image of a cloud brings, and an agent to look into the machine with.
# shellcheck disable=SC2016 # $1 is the hook's
mmdebstrap --variant=minbase \
  --include=ca-certificates,cloud-init,dbus,iproute2,kmod,linux-image-cloud-amd64,needrestart,openssh-server,qemu-guest-agent,sudo,systemd-sysv,udev \
  --setup-hook='install -d "$1/var/cache/apt/archives"' \
  --setup-hook="sync-in '$folder/packages' /var/cache/apt/archives" \
  --customize-hook="sync-out /var/cache/apt/archives '$folder/packages'" \
  "$codename" "$root" - <"$folder/apt.list"

cp -r "$folder/files/." "$root"
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp "$folder"/packages/*.deb "$root/var/cache/apt/archives"
keep=$root/etc/apt/apt.conf.d/99keep
echo "DPkg::Pre-Invoke {\"cp --no-clobber /var/cache/apt/archives/*.deb $build/packages/ 2>/dev/null || true\";};" >"$keep"
install -d "$root$build"
mount -t tmpfs tmpfs "$root$build" # a file system of its own, which the report of the root's space leaves out
cp -r "$folder/project" "$folder/sources" "$root$build"
install -d "$root$build/packages"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"

chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
  NEEDRESTART_SUSPEND=1 WITH_GPU=0 WITH_CLOUDWATCH=0 PACKAGE_SOURCES=$build/sources "$build/project/image/provision/provision.sh" --this-machine
chroot "$root" systemctl enable systemd-networkd.service

cp --update "$root$build"/packages/*.deb "$folder/packages" || true # none, if there was nothing to fetch
umount --lazy "$root/dev"
umount "$root/proc" "$root/sys" "$root$build"
rm -r "$keep" "$root$build" "$root/etc/resolv.conf"
mv "$root"/boot/vmlinuz-* "$folder/vmlinuz"
mv "$root"/boot/initrd.img-* "$folder/initrd.img"
mkfs.ext4 -q -d "$root" "$folder/root.img" 4G
rm -rf "$root"
