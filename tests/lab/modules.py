# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux guest driver, built for the lab's kernels, each with its own compiler.

As a program: modules.py KERNEL... prints the path of each module.
"""
import argparse
import hashlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from debian import MIRROR, cache_dir, locked
from kernels import SUITES, Kernel, fetch

TOP = Path(__file__).resolve().parents[2]
SOURCES = TOP / "guest" / "linux"
HEADER = TOP / "include" / "pvsched" / "abi.h"

# What builds a module in a Debian 13: its gcc 14, pahole for the module's BTF.
TRIXIE_PACKAGES = ["gcc-14", "make", "pahole", "libelf1t64", "zlib1g"]


def build(kernel: Kernel) -> Path:
    """pvsched.ko for this kernel, made anew only when a source has changed.

    RuntimeError with the compiler's output if it fails, or warns.
    """
    folder = cache_dir() / "modules" / f"{kernel.name}-{_digest(kernel)}"
    module = folder / "pvsched.ko"
    with locked(folder):
        if module.exists():
            return module
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        cc, root = ("gcc-14", _trixie()) if kernel.compiler == "trixie" else ("gcc-12", None)
        make = ["make", "-s", "-C", str(SOURCES), f"KDIR={kernel.headers}", f"O={folder}", f"CC={cc}", "W=1"]
        done = subprocess.run(_inside(root, make, folder) if root else make, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        ours = [line for line in done.stdout.splitlines() if line.startswith(str(folder)) and "warning:" in line]
        if done.returncode != 0 or ours:
            module.unlink(missing_ok=True)
            raise RuntimeError(f"pvsched.ko for {kernel.release}: {done.stdout.strip()[-3000:]}")
    return module


def _digest(kernel: Kernel) -> str:
    digest = hashlib.sha256(kernel.release.encode())
    for path in sorted([*SOURCES.glob("*.[ch]"), SOURCES / "Kbuild", SOURCES / "Makefile", HEADER]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _trixie() -> Path:
    """A folder with a Debian 13 that can compile; made once."""
    root = cache_dir() / "compiler-trixie"
    with locked(root):
        if not root.exists():
            print("lab: making a Debian 13 with a compiler", file=sys.stderr, flush=True)
            new = root.with_name(root.name + ".new")
            shutil.rmtree(new, ignore_errors=True)
            done = subprocess.run(["debootstrap", "--variant=minbase", f"--include={','.join(TRIXIE_PACKAGES)}",
                                   "trixie", str(new), MIRROR], text=True, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode != 0:
                raise RuntimeError(f"debootstrap trixie: {done.stdout.strip()[-1000:]}")
            new.rename(root)
    return root


def _inside(root: Path, command: list[str], output: Path) -> list[str]:
    """The command in that Debian, with our paths; its mounts are gone when it ends."""
    script = ["set -e", f"mount -t proc proc {root}/proc"]
    for path in (TOP, cache_dir() / "kernels", output):
        inside = shlex.quote(f"{root}{path}")
        script += [f"mkdir -p {inside}", f"mount --bind {shlex.quote(str(path))} {inside}"]
    script.append(f"exec chroot {root} {shlex.join(command)}")
    return ["unshare", "--mount", "sh", "-c", "\n".join(script)]


def main() -> None:
    """Prints the modules of the kernels that were named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="*", default=list(SUITES), help=", ".join(SUITES))
    for name in parser.parse_args().version:
        print(build(fetch(name)))


if __name__ == "__main__":
    main()
