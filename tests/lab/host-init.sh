#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
# First process of the lab's host: the machine's root file system, read-only
# under a layer of RAM, is the root; then the command of the share "lab" runs.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
fail() { echo "lab host: $*" >/dev/console; poweroff -f; }
while read -r module; do
  insmod "/modules/$module" || fail "module $module does not load"
done </modules/order

options=trans=virtio,version=9p2000.L,msize=524288
mkdir -p /lower /layer /root
mount -t 9p -o "$options,ro,cache=loose" root /lower || fail "no root share"
mount -t tmpfs -o size=60% layer /layer
mkdir -p /layer/upper /layer/work
mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work overlay /root ||
  fail "no overlay"
root=/root
for name in proc sys dev; do mount --move "/$name" "$root/$name"; done
for name in tmp run var/tmp; do mount -t tmpfs tmpfs "$root/$name"; done
mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/run/lock" "$root/run/lab"
mount -t devpts devpts "$root/dev/pts"
ln -s /proc/self/fd "$root/dev/fd"
for name in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${name#*:}" "$root/dev/${name%:*}"; done
mount -t tmpfs shm "$root/dev/shm"
mount -t tracefs tracefs "$root/sys/kernel/tracing"
mount -t debugfs debugfs "$root/sys/kernel/debug"
mount -t bpf bpf "$root/sys/fs/bpf"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t 9p -o "$options" lab "$root/run/lab" || fail "no share for results"
mkdir -p "$root/run/modules/lib"
hostname lab
ip link set lo up
# What depends on the CPU is loaded by name later: modprobe -d /run/modules.
ln -s "$(cat "$root/run/lab/modules")" "$root/run/modules/lib/modules"

chroot "$root" /bin/bash /run/lab/enter <"$root/dev/ttyS1" >"$root/dev/ttyS1" 2>&1
sync
poweroff -f
