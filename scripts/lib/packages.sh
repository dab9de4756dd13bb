# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The Debian 12 packages that this project needs, by purpose: the only list.
# packages_of PURPOSE... prints them, one a line, without repeats.
# shellcheck disable=SC2034  # the lists are read by name

# Compilers, and the headers of everything that is linked.
packages_build=(
  build-essential gcc-multilib # gcc -m32 for the mini guest
  clang llvm                   # the BPF object
  meson ninja-build pkg-config python3
  libbpf-dev libelf-dev libglib2.0-dev libssl-dev libsystemd-dev libvirt-dev libxml2-dev
  libcli11-dev libfmt-dev libspdlog-dev nlohmann-json3-dev
  cpputest
  # The QEMU that is installed, and what configuring its source needs.
  qemu-system-x86
  ca-certificates dpkg-dev libfdt-dev libpixman-1-dev zlib1g-dev
  python3-pip python3-setuptools python3-venv python3-wheel
)

# A libvirt host: for the e2e tier and the demonstration.
packages_host=(
  libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu
  libvirt-daemon-system qemu-system-x86 qemu-utils seabios
  bpftool # shows what is left in the kernel
  iproute2 procps python3 util-linux
)

packages_test=(
  "${packages_host[@]}"
  libxml2-utils # xmllint checks the schema's corpus a second way
  linux-perf    # perf bench sched pipe
  openssl       # signs a policy
)

packages_demo=("${packages_host[@]}")

# The lab: a KVM host in a virtual machine, Linux guests in it, their kernels.
packages_lab=(
  "${packages_host[@]}"
  busybox-static cpio kmod zstd # the initramfs of host and guests
  debootstrap # a Debian 13 userland: newer QEMU, compilers of newer kernels
  build-essential libelf1 pahole # modules
  linux-perf rt-tests stress-ng # measured load
)

packages_check=(clang-format git mandoc python3 shellcheck)

packages_package=(debhelper lintian)

packages_purposes=(build test demo lab check package)

packages_of() {
  local purpose
  for purpose in "$@"; do
    local -n list="packages_$purpose"
    printf '%s\n' "${list[@]}"
  done | sort -u
}
