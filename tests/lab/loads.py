#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads the build's BPF objects, the same files, on this kernel and on those of the lab, and prints one table."""
import argparse
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
HEAD = """| kernel | libbpf | policy | event sources | programs | instructions verified | of one program | |
|---|---|---|---|---|---|---|---|"""


def main() -> int:
    """Prints the table; 1 if an object was refused on any kernel, or a kernel did not say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", action="append", help="of the lab (default: 6.1, 6.12 and 7.3)")
    parser.add_argument("--builddir", default=str(TOP / "build"), help="default: %(default)s")
    options = parser.parse_args()
    build = Path(options.builddir).resolve()
    loads = [build / "tests/bpf/load_table", build / "bpf-policy/pvsched.bpf.o", build / "bpf-policy/policies"]
    places = {os.uname().release: []}
    for kernel in options.kernel or ("6.1", "6.12", "7.3"):
        places[kernel] = [TOP / "tests/lab/run", "--kernel", kernel, "--builddir", build, "--"]
    print(HEAD, flush=True)
    failed = []
    for kernel, where in places.items():
        done = subprocess.run([str(word) for word in [*where, *loads]], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        rows = [line.strip() for line in done.stdout.splitlines() if line.startswith("| ")]
        print("\n".join(rows), flush=True)
        if done.returncode or not rows:
            failed.append(kernel)
            sys.stderr.write(f"{kernel}: exit status {done.returncode}\n{done.stdout[-2000:]}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
