# SPDX-License-Identifier: GPL-2.0-or-later
"""What the Linux guest's driver costs (scripts/bench --guest): the time and the instructions of each hook, by the
program of guest/linux/tests/hooks, and its bytes in the module for the newest kernel that the lab has prepared."""
import argparse
import os
import re
import subprocess
import sys
import time

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path[:0] = [os.path.join(TOP, "tests"), os.path.join(TOP, "tests", "lab")]

import debian  # noqa: E402
import kernels  # noqa: E402
import modules  # noqa: E402
from testbed import figures  # noqa: E402

PROGRAM = os.path.join("guest", "linux", "tests", "hooks", "guest-hooks-bench")

# What the program measures -> the function in the module. The vectors of the local APIC have copies of the same code.
SYMBOLS = {"sched_switch": "on_switch", "sched_wakeup": "on_wakeup", "sched_wakeup_remote": "on_wakeup",
           "sched_migrate_task": "on_migrate", "irq_handler_entry": "on_irq_entry", "irq_handler_exit": "on_irq_exit",
           "softirq_entry": "on_softirq_entry", "softirq_exit": "on_softirq_exit", "nmi_first": "nmi_first",
           "nmi_last": "nmi_last", "preempt_disable": "on_preempt_disable", "preempt_enable": "on_preempt_enable",
           "user_enter": "on_user_enter", "pvs_store": "pvs_store"}
# What hooks call when a task is urgent.
CALLED = ("pvs_woken", "pvs_migrated", "pvs_current_fields", "read_task", "pvs_task_is_told")


def output(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def sizes():
    """The kernel's release and {function: bytes} of its module; of no kernel if none is prepared."""
    for name in kernels.SUITES:  # newest first
        if (debian.cache_dir() / "kernels" / name / "kernel.json").exists():
            kernel = kernels.fetch(name)
            lines = output("nm", "-S", "--defined-only", str(modules.build(kernel))).splitlines()
            found = [line.split() for line in lines]
            return kernel.release, {f[3]: int(f[1], 16) for f in found if len(f) == 4 and f[2] in "tT"}
    print("bench: no kernel is prepared (tests/lab/kernels.py 7.3): no sizes", file=sys.stderr)
    return None, {}


def times(program, rounds):
    """[(hook, need, stores, instructions, {median, worst})] in the program's order."""
    rows = [line.split() for line in output(program, str(rounds)).splitlines() if not line.startswith("#")]
    return [(r[0], r[1], int(r[2]), int(r[3]), {"median": float(r[4]), "worst": float(r[5])}) for r in rows]


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"model name\s*:\s*(.+)", file.read())
    return found[1] if found else "unknown"


def table(result):
    yield f"{'hook':<20} {'bytes':>5}   {'unchanged: instructions, ns (worst)':>36}   {'changed':>24}"
    yield f"{'empty function':<20} {'':>5}   {cell({'instructions': 1, 'ns': result['empty_ns']}):>36}"
    for hook in result["hooks"]:
        yield (f"{hook['hook']:<20} {hook['bytes'] or '-':>5}   {cell(hook['unchanged']):>36}   "
               f"{cell(hook['changed']):>24}")


def cell(found):
    return f"{found['instructions']}, {found['ns']['median']} ({found['ns']['worst']})" if found else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--builddir", required=True)
    parser.add_argument("--json")
    parser.add_argument("--rounds", type=int, default=101)
    options = parser.parse_args()
    measured = times(os.path.join(options.builddir, PROGRAM), options.rounds)
    release, size = sizes()
    hooks = {}
    for name, need, _, instructions, ns in measured[1:]:
        hook = hooks.setdefault(name, {"hook": name, "bytes": size.get(SYMBOLS[name]), "unchanged": None,
                                       "changed": None})
        hook[need] = {"instructions": instructions, "ns": ns}
    result = {"kind": "guest-hooks", "command": "scripts/bench --guest --json FILE", "date": time.strftime("%Y-%m-%d"),
              "processor": processor(), "module_kernel": release, "rounds": options.rounds,
              "empty_ns": measured[0][4], "hooks": list(hooks.values()),
              "called": {name: size[name] for name in CALLED if name in size}}
    print("The driver's sources as native code in user space, called in a loop: without the tracepoint's own cost.")
    print(f"Bytes in the module for Linux {release}.")
    print(*table(result), sep="\n")
    figures.save(result, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
