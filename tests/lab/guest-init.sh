#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
# First process of a Linux guest: runs the lines that come over the second
# serial port and answers each with its output and "@done STATUS".
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root LD_LIBRARY_PATH=/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
hostname guest
ip link set lo up
while read -r module; do insmod "/modules/$module"; done </modules/order
stty -F /dev/ttyS1 raw -echo
# Not in the first process: orphans end there, and their end interrupts a read.
(
  exec </dev/ttyS1 >/dev/ttyS1 2>&1
  echo "@ready $(uname -r)"
  while read -r line; do
    sh -c "$line" </dev/null
    echo "@done $?"
  done
) &
agent=$!
while kill -0 "$agent" 2>/dev/null; do wait "$agent"; done
poweroff -f
