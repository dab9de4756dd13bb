# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux guest driver, built for the lab's kernels, each with its own compiler.

As a program: modules.py KERNEL... prints the path of each module.
"""
import argparse
import hashlib
import shutil
import subprocess
from pathlib import Path

import userland
from debian import cache_dir, locked
from kernels import SUITES, Kernel, fetch

TOP = Path(__file__).resolve().parents[2]
SOURCES = TOP / "guest" / "linux"
HEADERS = [TOP / "include" / "pvsched" / name for name in ("abi.h", "placement.h")]

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
        make = ["make", "-s", "-C", str(SOURCES), f"KDIR={kernel.headers}", f"O={folder}", "W=1", "CC=gcc-12"]
        if kernel.compiler == "trixie":
            make[-1] = "CC=gcc-14"
            make = userland.fetch("trixie").command(*make, readonly=(TOP, cache_dir() / "kernels"), writable=(folder,))
        done = subprocess.run(make, env=userland.environment(), text=True, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        ours = [line for line in done.stdout.splitlines() if line.startswith(str(folder)) and "warning:" in line]
        if done.returncode != 0 or ours:
            module.unlink(missing_ok=True)
            raise RuntimeError(f"pvsched.ko for {kernel.release}: {done.stdout.strip()[-3000:]}")
    return module


def _digest(kernel: Kernel) -> str:
    digest = hashlib.sha256(kernel.release.encode())
    for path in sorted([*SOURCES.glob("*.[ch]"), SOURCES / "Kbuild", SOURCES / "Makefile", *HEADERS]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def main() -> None:
    """Prints the modules of the kernels that were named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="*", default=list(SUITES), help=", ".join(SUITES))
    for name in parser.parse_args().version:
        print(build(fetch(name)))


if __name__ == "__main__":
    main()
