#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The device in stock QEMU, driven over QMP and by a guest's own accesses.

usage: qmp_test.py --abi abi.h --plugin pvsched.so --other-version A.so --other-size B.so
                   [--accel kvm|tcg] [CHECK...]
Each check is a function below; R numbers are those of docs/specs/pvsched.rst.
"""
import argparse
import os
import sys
import tempfile
import traceback

import device_checks
import guest_checks
import migration_checks
import qemu_machine


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--abi", required=True)
    parser.add_argument("--plugin", required=True)
    parser.add_argument("--other-version", required=True)
    parser.add_argument("--other-size", required=True)
    parser.add_argument("--accel", choices=("kvm", "tcg"))
    parser.add_argument("checks", nargs="*")
    options = parser.parse_args()
    if not qemu_machine.qemu_binary():
        qemu_machine.skip("no qemu-system-x86_64 is installed")
    if options.accel == "kvm" and qemu_machine.usable_accel() != "kvm":
        qemu_machine.skip("/dev/kvm cannot be used")

    checks = device_checks.CHECKS + guest_checks.CHECKS + migration_checks.CHECKS
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory(prefix="pvsched-qmp-") as directory:
        options.directory = directory
        options.accel = options.accel or qemu_machine.usable_accel()
        options.abi = qemu_machine.read_abi(options.abi)
        print(f"accelerator: {options.accel}")
        for check in checks:
            if options.checks and check.__name__ not in options.checks:
                continue
            title = f"{check.__name__}: {check.__doc__}"
            try:
                reason = check(options)
            except Exception:
                failed += 1
                print(f"FAIL {title}\n{traceback.format_exc()}", flush=True)
                continue
            if reason:
                skipped += 1
                print(f"skip {title} ({reason})", flush=True)
            else:
                passed += 1
                print(f"ok   {title}", flush=True)
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    if failed:
        return 1
    return 77 if not passed else 0


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    sys.exit(main())
