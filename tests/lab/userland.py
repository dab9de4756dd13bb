# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian userlands in folders, for programs that the running system does not have.

As a program: userland.py NAME [COMMAND...] runs a command in a userland, or prints its
folder; it is made when it is not there yet. A command sees a read-only root of its own,
the system's /dev and /sys, private /proc, /tmp and /run, and ends with its last mount
and process when its caller does.
"""
import argparse
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from debian import KEYRING, MIRROR, Suite, cache_dir, locked

TOP = Path(__file__).resolve().parents[2]
# What a userland has besides the packages that qemu-device/headers.sh names, QEMU aside.
# libelf and pahole are for kernel modules, see modules.py.
TOOLS = ["cpputest", "gcc-multilib", "libelf1t64", "pahole", "procps", "util-linux"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a userland is made: a Debian release, or another userland and packages of a suite."""
    release: str
    base: str = ""
    suite: str = ""
    packages: tuple[str, ...] = ()
    proof: str = "usr/bin/gcc"  # what is there when the userland is whole


RECIPES = {
    "trixie": Recipe("trixie"),
    "qemu-10.0": Recipe("trixie", "trixie", "trixie", ("qemu-system-x86",), "usr/bin/qemu-system-x86_64"),
    "qemu-11.1": Recipe("trixie", "trixie", "trixie-backports", ("qemu-system-x86",),
                        "usr/bin/qemu-system-x86_64"),
}

# Run by sh in the new namespaces: ROOT WRITABLE-ROOT NUMBER-OF-BINDS (MODE FOLDER)... COMMAND...
# The mount points are made before the root becomes read-only.
ENTER = """
root=$1 keep=$2 binds=$3; shift 3
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
for folder in tmp run; do mount -t tmpfs -o nosuid,nodev tmpfs "$root/$folder"; done
while [ "$binds" -gt 0 ]; do
  mkdir -p "$root$2"
  mount --bind "$2" "$root$2"
  [ "$1" = rw ] || mount -o remount,bind,ro "$root$2"
  shift 2
  binds=$((binds - 1))
done
mount -o remount,bind,ro "$root/sys"
[ "$keep" = rw ] || mount -o remount,bind,ro "$root"
exec chroot "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$@"
"""


@dataclasses.dataclass(frozen=True)
class Userland:
    """A folder with a Debian system in it."""
    name: str
    root: Path

    def command(self, *command: object, readonly: tuple = (), writable: tuple = (), cwd: object = "/",
                change: bool = False) -> list[str]:
        """The words that run a command in it, by subprocess. Folders of the system are seen
        at the same path, readonly ones first; change: the command may write to the userland."""
        binds = [("ro", Path(f).resolve()) for f in readonly] + [("rw", Path(f).resolve()) for f in writable]
        return ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
                "sh", "-euc", ENTER, "enter", str(self.root), "rw" if change else "ro", str(len(binds)),
                *(str(word) for bind in binds for word in bind), str(cwd), *map(str, command)]

    def run(self, *command: object, env: dict | None = None, **kwargs) -> None:
        """Runs a command in it, its output on stderr; RuntimeError with what it said if it fails."""
        done = subprocess.run(self.command(*command, **kwargs), env=environment(env), text=True, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise RuntimeError(f"userland {self.name}: {' '.join(map(str, command))}: "
                               f"{done.stdout.strip()[-2000:]}")

    def version(self, package: str) -> str:
        """The installed version of a package, "" when it is not installed."""
        done = subprocess.run(["dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "-W", "-f${Version}", package],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return done.stdout if done.returncode == 0 else ""


def environment(more: dict | None = None) -> dict:
    """The environment of a command in a userland: nothing of the caller's but the proxies."""
    kept = {k: v for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy", "no_proxy", "term")}
    return {**kept, "PATH": PATH, "HOME": "/tmp", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
            **(more or {})}


def fetch(name: str, anew: bool = False) -> Userland:
    """The userland of this name. Made unless a whole one is cached; anew: in any case."""
    if name not in RECIPES:
        raise LookupError(f"userland {name}: there are {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    folder = cache_dir() / "userlands" / name
    stamp = folder.with_name(f".{name}.stamp")
    key = hashlib.sha256(repr((recipe, _packages(), MIRROR)).encode()).hexdigest()
    with locked(folder):
        whole = stamp.exists() and stamp.read_text(encoding="ascii") == key and (folder / recipe.proof).exists()
        if anew or not whole:
            print(f"lab: making userland {name}", file=sys.stderr, flush=True)
            stamp.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            _make(Userland(name, folder), recipe, anew)
            stamp.write_text(key, encoding="ascii")
    return Userland(name, folder)


def offered(name: str, package: str) -> str:
    """The version of a package that a new userland of this name would get."""
    suite = Suite(RECIPES[name].suite or RECIPES[name].release)
    suite.update()
    return suite.version(package)


def _packages() -> list[str]:
    """What building the device needs, by the list that its own script has."""
    done = subprocess.run(["bash", TOP / "qemu-device/headers.sh", "--packages"], check=True, text=True,
                          stdout=subprocess.PIPE)
    return sorted(p for p in done.stdout.split() + TOOLS if not p.startswith("qemu-system"))


def _make(userland: Userland, recipe: Recipe, anew: bool) -> None:
    root = userland.root
    if recipe.base:
        base = fetch(recipe.base, anew)
        subprocess.run(["cp", "-a", "--reflink=auto", base.root, root], check=True)
        packages, suite = list(recipe.packages), recipe.suite
    else:
        _bootstrap(root, recipe.release)
        packages, suite = _packages(), recipe.release
    sources = [f"deb [signed-by={KEYRING}] {MIRROR} {s} main\n" for s in dict.fromkeys((recipe.release, suite))]
    (root / "etc/apt/sources.list").write_text("".join(sources), encoding="ascii")
    if Path("/etc/resolv.conf").exists():
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    apt = ("apt-get", "-q", "-y", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0")
    userland.run(*apt, "update", change=True)
    userland.run(*apt, "--no-install-recommends", "-t", suite, "install", *packages, change=True)
    userland.run("apt-get", "clean", change=True)


def _bootstrap(root: Path, release: str) -> None:
    keyring = [f"--keyring={KEYRING}"] if KEYRING.exists() else []
    command = ["debootstrap", "--variant=minbase", *keyring, "--include=ca-certificates", release, root, MIRROR]
    done = subprocess.run(command, env=environment(), text=True, check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise RuntimeError(f"debootstrap {release}: {done.stdout.strip()[-2000:]}")
    policy = root / "usr/sbin/policy-rc.d"  # no package starts a daemon
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)


def main() -> None:
    """Prints the folder of a userland, or runs a command in it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--anew", action="store_true", help="make it from nothing")
    parser.add_argument("--readonly", action="append", default=[], metavar="FOLDER", help="seen at the same path")
    parser.add_argument("--writable", action="append", default=[], metavar="FOLDER", help="the same, and writable")
    parser.add_argument("name", choices=list(RECIPES))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    userland = fetch(options.name, options.anew)
    if not options.command:
        print(userland.root)
        return
    words = userland.command(*options.command, readonly=options.readonly, writable=options.writable)
    sys.exit(subprocess.run(words, env=environment(), check=False).returncode)


if __name__ == "__main__":
    main()
