# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Shared by the scripts of this folder: source it first. Sets `top` to the
# root of the source tree.

# Debian's own tools, not those that a developer put before them.
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export PATH LC_ALL=C.UTF-8
umask 022 # pvschedd takes no policy that others can write to

# shellcheck disable=SC2034  # used by the scripts that source this
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
self=${0##*/}

note() { echo "$self: $*" >&2; }
die() { note "$*"; exit 1; }
