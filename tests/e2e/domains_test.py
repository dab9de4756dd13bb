#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Domains through virsh: with and without the element, broken, required, changed while running, many times."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed.attr import attributes, policy, threads  # noqa: E402
from testbed.checks import check, main, say  # noqa: E402
from testbed.domain import METADATA, NAMESPACE, Domain  # noqa: E402
from testbed.figures import percentile  # noqa: E402
from testbed.host import bpf_objects, virsh  # noqa: E402
from testbed.load import Hogs  # noqa: E402
from testbed.static import rt_groups  # noqa: E402
from testbed.util import read, wait_for  # noqa: E402

NAME = "pvsched-test-domains"
BROKEN = f"""<pvsched xmlns="{NAMESPACE}" required="%s"><priority max="120"/></pvsched>"""


def rss_kib(pid):
    return int(next(l for l in read(f"/proc/{pid}/status").splitlines() if l.startswith("VmRSS")).split()[1])


def without_element(bench):
    """A VM without pvsched element starts and is not touched."""
    with Domain(bench.host, NAME, "scenario=ping", metadata=None, device=False) as domain:
        domain.start()
        with domain.guest() as guest:
            guest.ready()
        check(bench.daemon.vm(NAME) is None, "pvschedd has a session for it")
        check(NAME not in bench.daemon.log(), "pvschedd spoke of it")


def broken_metadata(bench):
    """A wrong element: the VM starts with a warning, or is refused with required="yes"; both say what helps."""
    helps = ("max", "120", "0 to 98")
    with Domain(bench.host, NAME, "scenario=ping", metadata=BROKEN % "no", device=False) as domain:
        domain.start()
        check(domain.state() == "running", "the VM did not start")
        log = wait_for("the warning", lambda: next((l for l in bench.daemon.log().splitlines()
                                                    if NAME in l and all(h in l for h in helps)), None), 10)
        say("log: " + log)
    with Domain(bench.host, NAME, "scenario=ping", metadata=BROKEN % "yes", device=False) as domain:
        done = virsh("start", NAME, check=False)
        check(done.returncode != 0, "the VM started although pvsched is required and its element wrong")
        check(all(h in done.stderr for h in helps), f"virsh does not say what helps: {done.stderr}")
        say("virsh: " + done.stderr.strip().splitlines()[-1])


def daemon_not_running(bench):
    """pvschedd is down: VMs start, and it picks them up when it comes."""
    bench.daemon.stop()
    try:
        with Domain(bench.host, NAME, "scenario=busy areas=wait") as domain:
            domain.start()
            check(domain.state() == "running", "the VM did not start")
            bench.daemon.start()
            bench.daemon.wait_active(NAME, device=True)
    finally:
        if bench.daemon.process.poll() is not None:
            bench.daemon.start()


def introspection(bench):
    """The device through virsh qemu-monitor-command: descriptions, features on both sides, status, counters."""
    def qmp(command, **arguments):
        text = json.dumps({"execute": command, "arguments": arguments})
        return json.loads(virsh("qemu-monitor-command", NAME, text))["return"]

    with Domain(bench.host, NAME, "scenario=busy areas=wait wait=yes") as domain:
        domain.start()
        with domain.guest() as guest:
            guest.ready()
            bench.daemon.wait_active(NAME, device=True)
            described = {p["name"]: p.get("description") for p in qmp("device-list-properties", typename="pvsched")}
            values = {}
            for item in qmp("qom-list", path="/machine/peripheral/pvsched0"):
                if item["name"] in described and item["name"] not in ("addr", "areas", "policy"):
                    values[item["name"]] = qmp("qom-get", path="/machine/peripheral/pvsched0", property=item["name"])
            for name in ("host-features", "guest-features", "driver-status", "transport", "gpa", "generation",
                         "guest-errors", "slots"):
                check(described.get(name), f"property {name} has no description")
                check(name in values, f"qom-get does not show {name}")
                say(f"{name} = {values[name]}  ({described[name]})")
            check(values["guest-features"] & values["host-features"] == values["guest-features"] != 0,
                  "the guest's features are no part of the host's")


def limits_change_live(bench):
    """virsh metadata --live and --edit style changes count at once; the VM's session stays."""
    def set_live(element):
        virsh("metadata", NAME, NAMESPACE, "--live", "--key", "pvsched", "--set", element)

    with Domain(bench.host, NAME, "scenario=rogue areas=wait") as domain:
        domain.start()
        with domain.guest() as guest:
            guest.ready()
        bench.daemon.wait_active(NAME, device=True)
        tid = domain.vcpu_tids()[0]
        with Hogs(domain.cpu):
            wait_for("a boost", lambda: policy(tid) == os.SCHED_FIFO, 20, 0.0005)
            set_live('<pvsched><priority policy="rr" max="7" critical="11"/></pvsched>')
            wait_for("the new limits", lambda: bench.daemon.vm(NAME)["limits"]["rt_critical"] == 11, 10)
            wait_for("a boost with them", lambda: policy(tid) == os.SCHED_RR and
                     os.sched_getparam(tid).sched_priority == 11, 20, 0.0005)
            set_live('<pvsched><priority max="120"/></pvsched>')  # wrong: the old limits stay
            wait_for("the warning", lambda: "120" in bench.daemon.log(), 10)
            check(bench.daemon.vm(NAME)["limits"]["rt_critical"] == 11, "a wrong element changed the limits")
            set_live('<pvsched enabled="no"/>')
            wait_for("the baseline", lambda: policy(tid) == os.SCHED_OTHER and
                     bench.daemon.vm(NAME) is None, 10, 0.01)
            set_live("<pvsched/>")
            wait_for("boosts go on", lambda: policy(tid) == os.SCHED_FIFO, 20, 0.0005)


def vcpus_come_and_go(bench):
    """virsh setvcpus --live: a new vCPU is found; vCPUs excluded by the element are left alone."""
    metadata = METADATA.replace("</pvsched:pvsched>", '<pvsched:vcpu id="1" enabled="no"/></pvsched:pvsched>')
    with Domain(bench.host, NAME, "scenario=busy areas=wait", metadata=metadata, vcpus=2, max_vcpus=3) as domain:
        domain.start()
        vm = bench.daemon.wait_active(NAME, device=True)
        check([v["registered"] for v in vm["vcpus"]] == [True, False], f"vCPUs: {vm['vcpus']}")
        virsh("setvcpus", NAME, "3", "--live")
        wait_for("the third vCPU", lambda: len([v for v in bench.daemon.vm(NAME)["vcpus"] if v["registered"]]) == 2, 20,
                 0.1)


def hot_plugged_device(bench):
    """device_add over QMP into a running VM: the agentless session gets its areas."""
    # The plugin alone: the device type is known, no device is there.
    class PluginOnly(Domain):
        def xml(self):
            return super().xml().replace('<qemu:arg value="-device"/><qemu:arg value="pvsched,id=pvsched0"/>', "")

    with PluginOnly(bench.host, NAME, "scenario=busy") as domain:
        domain.start()
        vm = bench.daemon.wait_active(NAME)
        check(not vm["device"]["present"], "there is a device already")
        add = {"execute": "device_add", "arguments": {"driver": "pvsched", "id": "pvsched0"}}
        virsh("qemu-monitor-command", NAME, json.dumps(add))
        bench.daemon.wait_active(NAME, device=True)


def many_times(bench):
    """Start and stop, again and again: nothing is left, pvschedd does not grow."""
    objects, starts, sizes = None, [], []
    descriptors = None
    with Domain(bench.host, NAME, "scenario=idle areas=wait") as domain:
        for number in range(bench.options.repeat):
            begin = time.monotonic()
            domain.start()
            starts.append((time.monotonic() - begin) * 1000)
            bench.daemon.wait_active(NAME, device=True)
            groups = rt_groups(domain.vcpu_tids()[0])[:1]
            domain.destroy()
            wait_for("the session's end", lambda: bench.daemon.vm(NAME) is None, 10, 0.01)
            sizes.append(rss_kib(bench.daemon.pid))
            if number == 0:  # what pvschedd itself has, once warm
                wait_for("areas are freed", lambda: not [o for o in bpf_objects() if "pvsched_" in o], 10, 0.05)
                objects = bpf_objects()
                descriptors = len(os.listdir(f"/proc/{bench.daemon.pid}/fd"))
    wait_for("the kernel's objects are as after the first time", lambda: bpf_objects() == objects, 10, 0.05)
    check(len(os.listdir(f"/proc/{bench.daemon.pid}/fd")) <= descriptors, "pvschedd has more open files than before")
    for group in groups:
        check(read(f"{group}/cpu.rt_runtime_us") == "0", f"{group} keeps real-time run time")
    say(f"{len(starts)} starts: p50 {percentile(starts, .5):.0f} ms, p99 {percentile(starts, .99):.0f} ms; "
        f"pvschedd {sizes[0]} KiB after the first, {sizes[len(sizes) // 2]} half-way, {sizes[-1]} after the last")
    check(sizes[-1] - sizes[len(sizes) // 2] <= 1024, f"pvschedd grows: {sizes[::max(1, len(sizes) // 10)]} KiB")


def plain_qemu(bench):
    """A QEMU without libvirt is served through pvschedctl attach and let go by detach."""
    import subprocess
    path = os.path.join(bench.host.dir, "plain.qmp")
    machine = ["-machine", f"pc,accel={bench.host.accel}", "-m", "32", "-display", "none", "-nodefaults"]
    qemu = subprocess.Popen(["qemu-system-x86_64", *machine, "-kernel", bench.host.mini, "-append", "scenario=rogue",
                             "-qmp", f"unix:{path},server=on,wait=off", "-plugin", bench.host.plugin, "-device",
                             "pvsched,id=pvsched0"], stdin=subprocess.DEVNULL)
    try:
        wait_for("QMP", lambda: os.path.exists(path), 10)
        baselines = {t: attributes(t) for t in threads(qemu.pid)}
        bench.daemon.ctl("attach", "--qmp", path, "--name", "plain")
        vm = bench.daemon.wait_active("plain", device=True)
        with Hogs(0), Hogs(1):
            wait_for("a boost", lambda: policy(vm["vcpus"][0]["tid"]) == os.SCHED_FIFO, 20, 0.0005)
        bench.daemon.ctl("detach", "--qmp", path)
        wait_for("the session's end", lambda: bench.daemon.vm("plain") is None, 10)
        left = {t: attributes(t) for t, a in baselines.items() if attributes(t) not in (a, None)}
        check(not left, f"threads are not at their baselines: {left}")
        check(qemu.poll() is None, "QEMU did not survive detach")
    finally:
        qemu.kill()
        qemu.wait()


main([without_element, broken_metadata, daemon_not_running, introspection, limits_change_live, vcpus_come_and_go,
      hot_plugged_device, plain_qemu, many_times],
     lambda parser: parser.add_argument("--repeat", type=int, default=10, help="starts and stops"))
