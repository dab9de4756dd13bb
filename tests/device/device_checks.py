# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the device from the host's side: loading, properties, areas,
policy, plugging, descriptors."""
import os
import subprocess

from qemu_machine import (Area, Machine, QmpError, bpf_array, memfd, qemu_binary, wait_for)

PROPERTIES = """abi-version area-size areas doorbells driver-status generation gpa guest-errors
    guest-errors-area guest-errors-features guest-errors-gpa guest-errors-policy guest-errors-read-only
    guest-errors-status guest-errors-transport guest-errors-unknown guest-errors-width guest-features
    host-features host-status policy policy-accept slots transport transport-result""".split()


def machine(o, **kwargs):
    kwargs.setdefault("accel", o.accel)
    return Machine(o.directory, o.plugin, **kwargs)


def expect(actual, wanted, what=""):
    if actual != wanted:
        raise AssertionError(f"{what}: {actual!r} instead of {wanted!r}")


def expect_error(text, action):
    try:
        action()
    except QmpError as error:
        if text not in str(error):
            raise AssertionError(f"error {error!s}, wanted one with '{text}'") from None
        return
    raise AssertionError(f"no error, wanted one with '{text}'")


def loads_in_stock_qemu(o):
    """the plugin brings the device into an unpatched QEMU (R1)"""
    for kind, bus in (("pc", ""), ("q35", ""), ("q35", ",bus=rp")):
        extra = ["-device", "pcie-root-port,id=rp,chassis=1"] if bus else []
        args = ["-device", "pvsched,id=pv0" + bus]
        with machine(o, machine=kind, device=None, extra=extra + args) as vm:
            device = wait_for("firmware finds the device", vm.pci)
            expect(device["id"], {"vendor": 0x1AF4, "device": 0x10F5,
                                  "subsystem-vendor": 0x1AF4, "subsystem": 0x1100}, kind)
            expect(device["class_info"]["class"], 0x0880, "class")
            bars = {r["bar"]: (r["size"], r.get("mem_type_64"), r.get("prefetch"))
                    for r in device["regions"]}
            expect(bars, {0: (4096, False, False), 1: (4096, False, False), 2: (8192, True, True)}, kind)
            expect(vm.get("abi-version"), o.abi["VERSION_MAJOR"] << 16, "abi-version")
            expect(vm.get("host-features"), o.abi["F_ALL"], "host-features")


def properties_described(o):
    """each property has a description, in both lists (R16)"""
    with machine(o) as vm:
        for command in ("device-list-properties", "qom-list-properties"):
            listed = {p["name"]: p.get("description") for p in vm.qmp(command, typename="pvsched")}
            missing = [p for p in PROPERTIES if not listed.get(p)]
            expect(missing, [], command)
        names = [p["name"] for p in vm.qmp("qom-list", path="/machine/peripheral/pv0")]
        expect([p for p in PROPERTIES if p not in names], [], "qom-list")
        for name in PROPERTIES:
            vm.get(name)
            if name not in ("areas", "policy"):
                expect_error("", lambda n=name: vm.set(n, 1))


def slots_follow_machine(o):
    """slots default to maxcpus; areas follow; out of range is refused"""
    for smp, given, slots, size in (("1,maxcpus=3", "", 3, 4096), ("2", ",slots=65", 65, 8192),
                                    ("2", ",slots=512", 512, 32768)):
        with machine(o, smp=smp, device="pvsched,id=pv0" + given) as vm:
            expect((vm.get("slots"), vm.get("area-size")), (slots, size))
            bar = [r for r in vm.pci()["regions"] if r["bar"] == 2][0]
            expect(bar["size"], 2 * size, "BAR2")
    with machine(o, device=None) as vm:
        expect_error("not in 1..512", lambda: vm.qmp("device_add", driver="pvsched", slots=513))


def area_kinds():
    """memfd always; a BPF array where this process may create one."""
    try:
        os.close(bpf_array(4096))
        return ["memfd", "bpf"], None
    except OSError as error:
        return ["memfd"], f"only memfd areas: bpf() says {error}"


def areas_in_and_out(o):
    """areas come, are replaced and go; the generation steps each time (R5)"""
    kinds, reason = area_kinds()
    for kind in kinds:
        with machine(o) as vm:
            areas = [Area(kind, 4096) for _ in range(4)]
            expect((vm.get("areas"), vm.get("host-status"), vm.get("generation")), ("", 0, 0))
            vm.give_areas(areas[0].fd, areas[1].fd)
            expect((vm.get("areas"), vm.get("host-status"), vm.get("generation")), ("g:h", 1, 1))
            vm.give_areas(areas[2].fd, areas[3].fd, ("g2", "h2"))
            expect((vm.get("areas"), vm.get("host-status"), vm.get("generation")), ("g2:h2", 1, 2))
            vm.set("areas", "")
            expect((vm.get("areas"), vm.get("host-status"), vm.get("generation")), ("", 0, 3))
            vm.set("areas", "")
            expect(vm.get("generation"), 3, "taking back nothing")
            for area in areas:
                area.close()
    return reason


def area_errors(o):
    """a bad descriptor is one sentence, and the areas before stay in force (R8)"""
    with machine(o, device="pvsched,id=pv0,slots=100") as vm:
        good = [Area("memfd", 8192), Area("memfd", 8192)]
        small = memfd("small", 4096)
        pipe = os.pipe()
        readonly = os.open(f"/proc/self/fd/{good[0].fd}", os.O_RDONLY)
        vm.give_areas(good[0].fd, good[1].fd)
        for value in ("x", ":", "a:", ":b", "a:b:c", "::"):
            expect_error("GUESTFD:HOSTFD", lambda v=value: vm.set("areas", v))
        expect_error("'nothere' has not been found", lambda: vm.set("areas", "nothere:alsonot"))
        vm.qmp("getfd", fds=(good[0].fd,), fdname="one")
        expect_error("'two' has not been found", lambda: vm.set("areas", "one:two"))
        expect_error("'one' has not been found", lambda: vm.set("areas", "one:two"))
        expect_error("guest area has 4096 bytes, 8192 are needed",
                     lambda: vm.give_areas(small, good[1].fd))
        expect_error("host area has 4096 bytes, 8192 are needed",
                     lambda: vm.give_areas(good[0].fd, small))
        expect_error("cannot map the guest area", lambda: vm.give_areas(pipe[0], good[1].fd))
        expect_error("cannot map the host area", lambda: vm.give_areas(good[0].fd, pipe[1]))
        expect_error("cannot map the guest area", lambda: vm.give_areas(readonly, good[1].fd))
        expect((vm.get("areas"), vm.get("generation")), ("g:h", 1), "previous areas")
        vm.give_areas(good[0].fd, readonly)  # reading is all the host area needs
        expect(vm.get("generation"), 2, "read-only host area")
        for fd in (small, readonly, *pipe):
            os.close(fd)
        for area in good:
            area.close()


def bpf_area_errors(o):
    """BPF arrays that are too small or not mmapable are refused (R8)"""
    kinds, reason = area_kinds()
    if "bpf" not in kinds:
        return reason
    with machine(o, device="pvsched,id=pv0,slots=100") as vm:
        fds = [bpf_array(8192), bpf_array(4096), bpf_array(8192, flags=0)]
        expect_error("cannot map the guest area", lambda: vm.give_areas(fds[1], fds[0]))
        expect_error("cannot map the host area", lambda: vm.give_areas(fds[0], fds[2]))
        vm.give_areas(fds[0], fds[0])
        expect(vm.get("host-status"), 1)
        for fd in fds:
            os.close(fd)


def policy_property(o):
    """a policy comes and goes, bad ones are refused, equal ones change nothing (R5)"""
    with machine(o) as vm:
        vm.set("policy", "latency:7")
        expect((vm.get("policy"), vm.get("host-status"), vm.get("generation")), ("latency:7", 2, 1))
        vm.set("policy", "latency:7")
        expect(vm.get("generation"), 1, "equal policy")
        for value in ("x", "x:", ":1", "x:0", "x:-1", "x:1 ", "x:4294967296", "a b:1", "a" * 32 + ":1", ":"):
            expect_error("a policy is NAME:VERSION", lambda v=value: vm.set("policy", v))
        expect(vm.get("policy"), "latency:7")
        vm.set("policy", "a" * 31 + ":4294967295")
        vm.set("policy", "")
        expect((vm.get("policy"), vm.get("host-status"), vm.get("generation")), ("", 0, 3))


def refuses_other_qemu(o):
    """another QEMU's plugin, options and a second copy are refused in a sentence"""
    cases = (([o.other_version], "built for QEMU 0.0.1"),
             ([o.other_size], "a pci-device has"),
             ([o.plugin, "file=" + os.path.join(o.directory, "copy.so")], "is given twice"),
             ([o.plugin + ",x=y"], "unknown plugin option 'x=y'"))
    with open(o.plugin, "rb") as src, open(os.path.join(o.directory, "copy.so"), "wb") as dst:
        dst.write(src.read())
    for plugins, sentence in cases:
        args = [a for p in plugins for a in ("-plugin", p)]
        done = subprocess.run([qemu_binary(), "-M", "none", "-display", "none", "-nodefaults", *args],
                              capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        expect(done.returncode, 1, f"exit code of {plugins}: {done.stderr}")
        if sentence not in done.stderr:
            raise AssertionError(f"{done.stderr!r} has no '{sentence}'")


def no_leak_in_replacements(o):
    """200 replacements leave no descriptor and no mapping behind in QEMU"""
    with machine(o) as vm:
        pid = vm.process.pid
        areas = [Area("memfd", 4096, "leak") for _ in range(2)]

        def mappings():
            return open(f"/proc/{pid}/maps").read().count("pvsched-test-leak")

        vm.give_areas(areas[0].fd, areas[1].fd)
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        for i in range(200):
            vm.give_areas(areas[i % 2].fd, areas[(i + 1) % 2].fd)
            expect_error("not been found", lambda: vm.set("areas", "q:r"))
        expect(vm.get("generation"), 201)
        wait_for("descriptors are closed",
                 lambda: len(os.listdir(f"/proc/{pid}/fd")) <= descriptors)
        wait_for("old areas are unmapped", lambda: mappings() == 2)
        vm.set("areas", "")
        wait_for("all areas are unmapped", lambda: mappings() == 0)
        for area in areas:
            area.close()


def unplug_before_guest(o):
    """a device the guest has not powered up is unplugged at once, areas and all (R15)"""
    with machine(o, machine="q35", device=None,
                 extra=["-device", "pcie-root-port,id=rp,chassis=1", "-S", "-global",
                        "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]) as vm:
        area = Area("memfd", 4096, "plug")
        descriptors = len(os.listdir(f"/proc/{vm.process.pid}/fd"))
        for _ in range(3):
            vm.qmp("device_add", driver="pvsched", id="pv0", bus="rp")
            vm.give_areas(area.fd, area.fd)
            vm.set("policy", "latency:1")
            vm.qmp("device_del", id="pv0")
            vm.qmp.wait_event("DEVICE_DELETED")
        wait_for("nothing stays mapped",
                 lambda: "pvsched-test-plug" not in open(f"/proc/{vm.process.pid}/maps").read())
        wait_for("descriptors are closed",
                 lambda: len(os.listdir(f"/proc/{vm.process.pid}/fd")) <= descriptors)
        area.close()


CHECKS = [loads_in_stock_qemu, properties_described, slots_follow_machine, areas_in_and_out, area_errors,
          bpf_area_errors, policy_property, refuses_other_qemu, no_leak_in_replacements, unplug_before_guest]
