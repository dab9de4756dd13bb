#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Prepare the header tree of the installed QEMU: exact Debian source, patched,
# configured, generated headers built. The tree's path is the last line on
# stdout; everything else goes to stderr.
set -euo pipefail

# QEMU 11's configure wants pip, setuptools and wheel as well.
packages=(build-essential ca-certificates dpkg-dev libfdt-dev libglib2.0-dev
          libpixman-1-dev meson ninja-build pkg-config python3 python3-pip
          python3-setuptools python3-venv python3-wheel qemu-system-x86
          zlib1g-dev)

usage() {
  cat <<USAGE
usage: headers.sh [--source FOLDER] [DIRECTORY]
           prepare the tree of the installed QEMU in DIRECTORY
       headers.sh --packages
           print the Debian packages this script needs
  --source FOLDER   the unpacked and patched source of exactly the installed
                    QEMU, for one that apt cannot fetch
default DIRECTORY: \${XDG_CACHE_HOME:-/var/cache}/pvsched/qemu-VERSION
USAGE
}

die() { echo "headers.sh: $*" >&2; exit 1; }
note() { echo "headers.sh: $*" >&2; }

source=
case "${1-}" in
  --packages) printf '%s\n' "${packages[@]}"; exit 0 ;;
  --source) source=$(realpath -e "${2:?--source needs a folder}"); shift 2 ;;
  -h|--help) usage; exit 0 ;;
  -*) usage >&2; exit 2 ;;
esac
[ $# -le 1 ] || { usage >&2; exit 2; }

for tool in apt-get dpkg-query dpkg-source gcc make meson ninja pkg-config python3; do
  command -v "$tool" >/dev/null ||
    die "$tool is missing: apt-get install ${packages[*]}"
done

version=$(dpkg-query -W -f='${source:Version}' qemu-system-x86 2>/dev/null) && [ -n "$version" ] ||
  die "package qemu-system-x86 is not installed, so there is no QEMU to match"
cache=${1:-${XDG_CACHE_HOME:-/var/cache}/pvsched/qemu-${version#*:}}
mkdir -p "$cache" || die "cannot create $cache"
cache=$(cd "$cache" && pwd)
tree=$cache/tree
stamp=$cache/ready

# Two builds that ask at once must not unpack over one another.
exec 9>"$cache/lock"
flock 9

# The stamp names the version and this script: a change of either starts over.
key="$version $(sha256sum <"${BASH_SOURCE[0]}" | cut -c1-16)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ] && [ -d "$tree/build" ]; then
  echo "$tree"
  exit 0
fi
rm -rf "$stamp" "$tree" "$cache/apt" "$cache/source"
mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial" "$cache/source"
log=$cache/log
: >"$log"

run() { # run WHAT COMMAND...: one sentence and the log's end when it fails
  local what=$1
  shift
  note "$what"
  "$@" >>"$log" 2>&1 9>&- || {
    tail -n 15 "$log" >&2
    die "$what failed, the whole output is in $log"
  }
}

# Mirrors, proxies and keys are the system's; its lists and caches stay as they are.
fetch_source() {
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed=
  [ ! -r "$keyring" ] || signed="[signed-by=$keyring] "
  apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' \
      'Created-By: Packages' 2>/dev/null |
    awk -F'|' -v signed="$signed" \
      '$1 ~ /^Debian( Backports)?$/ { print "deb-src " signed $2, $3, $4 }' |
    sort -u >"$cache/apt/sources.list"
  [ -s "$cache/apt/sources.list" ] ||
    die "apt knows no Debian mirror: run apt-get update first"
  {
    apt-config dump | grep -E '^(Acquire|APT::Architecture)' || true
    cat <<CONF
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "$cache/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$cache/apt";
Dir::State::status "/dev/null";
Dir::Cache "$cache/apt";
APT::Sandbox::User "$(id -un)";
CONF
  } >"$cache/apt/apt.conf"
  export APT_CONFIG=$cache/apt/apt.conf

  run "reading the source lists" apt-get -q update
  cd "$cache/source"
  run "fetching the source qemu $version (the mirrors keep only current versions: upgrade qemu-system-x86 if it is gone)" \
    apt-get -q --download-only --only-source source "qemu=$version"
  run "unpacking with Debian's patches" dpkg-source --no-check --no-copy -x ./qemu_*.dsc "$tree"
}

copy_source() {
  local found
  found=$(dpkg-parsechangelog -l "$source/debian/changelog" -S Version) ||
    die "$source is no unpacked Debian source"
  [ "$found" = "$version" ] || die "$source is QEMU $found, installed is $version"
  run "copying $source" cp -a "$source" "$tree"
}

if [ -n "$source" ]; then copy_source; else fetch_source; fi
mkdir -p "$tree/build"
cd "$tree/build"
# Nothing comes from Python's package index; 7.2 knows no such option and asks nobody.
offline=()
! ../configure --help | grep -q -e '--disable-download' || offline=(--disable-download)
# Debian's own python3 and meson, not one that a developer put before them.
run "configuring" env PATH=/usr/bin:/bin:/usr/sbin:/sbin ../configure "${offline[@]}" \
  --target-list=x86_64-softmmu --without-default-features --enable-system \
  --enable-kvm --enable-tcg --enable-modules --enable-plugins \
  --enable-fdt=system --disable-install-blobs --disable-docs --disable-tools \
  --disable-werror --disable-guest-agent
ninja -t targets all 2>>"$log" |
  sed -n 's/^\([^ ]*\.h\): CUSTOM_COMMAND.*/\1/p' |
  grep -E '^(qapi|trace)/|^config-poison\.h$|^qemu-version\.h$' >"$cache/generated" || true
mapfile -t generated <"$cache/generated"
[ "${#generated[@]}" -gt 0 ] || die "no generated headers known to ninja, see $tree/build"
run "generating ${#generated[@]} headers" ninja "${generated[@]}"

cd "$cache"
# Firmware sources and tests are near half of the tree and have no header for us.
rm -rf "$cache/apt" "$cache/source" "$cache/generated" "$tree/roms" "$tree/tests"
echo "$key" >"$stamp"
echo "$tree"
