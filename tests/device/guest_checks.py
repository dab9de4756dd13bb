# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the device from the guest's side: each access is a vCPU's own."""
import os
import re
import struct
from pathlib import Path

from device_checks import expect, machine
from qemu_machine import RAM_SIZE, Area, wait_for

GPA = 0x200000  # a page of the guest that nothing else uses


class Driver:
    """A driver's steps, with the register names of abi.h."""

    def __init__(self, o, vm):
        self.abi, self.vm = o.abi, vm
        vm.wait_guest()
        slot = vm.pci()["slot"]
        # Memory decoding on, as a driver's pci_enable_device() does.
        vm.config(slot, 4, vm.config(slot, 4) & 0xFFFF | 0x6)
        self.slot, self.regs, self.areas = slot, vm.bar(0), vm.bar(2)

    def read(self, name):
        return self.vm.load(self.regs + self.abi["REG_" + name])

    def write(self, name, value):
        self.vm.store(self.regs + self.abi["REG_" + name], value)

    def negotiate(self, features=None):
        a = self.abi
        self.write("DRIVER_STATUS", 0)
        self.write("DRIVER_STATUS", a["DRIVER_ACKNOWLEDGE"])
        self.write("DRIVER_STATUS", a["DRIVER_ACKNOWLEDGE"] | a["DRIVER_DRIVER"])
        self.write("GUEST_FEATURES", a["F_ALL"] if features is None else features)
        status = a["DRIVER_ACKNOWLEDGE"] | a["DRIVER_DRIVER"] | a["DRIVER_FEATURES_OK"]
        self.write("DRIVER_STATUS", status)
        return self.read("DRIVER_STATUS") == status

    def start(self, transport, gpa=0):
        """All steps; returns the transport's result."""
        if not self.negotiate():
            raise AssertionError("features were refused")
        self.write("GPA", gpa)
        self.write("TRANSPORT", transport)
        result = self.read("TRANSPORT_RESULT")
        self.write("DRIVER_STATUS", self.read("DRIVER_STATUS") | self.abi["DRIVER_OK"])
        return result


def registers_seen_by_guest(o):
    """a vCPU reads the registers' reset values and the property shows its faults (R2, R4)"""
    with machine(o, smp="2") as vm:
        d, a = Driver(o, vm), o.abi
        wanted = {"MAGIC": a["MAGIC"], "VERSION": 1 << 16, "HOST_FEATURES": 0xFF, "GUEST_FEATURES": 0,
                  "DRIVER_STATUS": 0, "HOST_STATUS": 0, "GENERATION": 0, "NR_SLOTS": 2, "SLOT_SIZE": 64,
                  "AREA_SIZE": 4096, "GUEST_AREA": 0, "HOST_AREA": 4096, "TRANSPORT": 0,
                  "TRANSPORT_RESULT": 0, "GPA": 0, "POLICY_VERSION": 0, "POLICY_ACCEPT": 0,
                  "GUEST_ERRORS": 0, "POLICY_NAME": 0, "DOORBELL": 0}
        expect({name: d.read(name) for name in wanted}, wanted)
        d.write("MAGIC", 1)
        vm.store(d.regs + 0x3FC, 1)
        d.write("DRIVER_STATUS", 0x40)
        vm.qmp.hmp(f"xp /1bx {d.regs:#x}")
        vm.store(d.areas, 1)
        expect({k: vm.get("guest-errors" + k) for k in ("", "-read-only", "-unknown", "-status", "-width",
                                                        "-area")},
               {"": 5, "-read-only": 1, "-unknown": 1, "-status": 1, "-width": 1, "-area": 1})
        expect(d.read("GUEST_ERRORS"), 5)


def bar_transport(o):
    """BAR2 is zero until all is agreed, then it is the host's pages; reset clears (R6, R8)"""
    for kind in ("memfd", "bpf"):
        try:
            guest, host, guest2, host2 = (Area(kind, 4096) for _ in range(4))
        except OSError as error:
            return f"only memfd areas: bpf() says {error}"
        with machine(o) as vm:
            d, a = Driver(o, vm), o.abi
            host.put(0x11110001)
            vm.give_areas(guest.fd, host.fd)
            vm.store(d.areas, 0xBAD)
            expect((vm.load(d.areas), vm.load(d.areas + 4096), guest.word()), (0, 0, 0), "before")
            d.write("TRANSPORT", a["TRANSPORT_BAR"])
            expect(d.read("TRANSPORT_RESULT"), a["RESULT_NOT_NEGOTIATED"])
            expect(d.start(a["TRANSPORT_BAR"]), a["RESULT_OK"])
            vm.store(d.areas + 64, 0xCAFE)
            expect((guest.word(64), vm.load(d.areas + 64)), (0xCAFE, 0xCAFE), "guest area")
            expect(vm.load(d.areas + 4096), 0x11110001, "host area")
            vm.store(d.areas + 4096, 0xBAD)
            expect((host.word(), vm.load(d.areas + 4096)), (0x11110001, 0x11110001), "host area is read-only")
            host2.put(0x22220002)
            vm.give_areas(guest2.fd, host2.fd)
            vm.store(d.areas + 64, 0xBEEF)
            expect((guest.word(64), guest2.word(64), vm.load(d.areas + 4096)), (0xCAFE, 0xBEEF, 0x22220002),
                   "replaced while mapped")
            vm.set("areas", "")
            expect((d.read("TRANSPORT_RESULT"), d.read("HOST_STATUS"), vm.load(d.areas + 4096)),
                   (a["RESULT_WAITING"], 0, 0), "taken back")
            vm.give_areas(guest2.fd, host2.fd)
            expect((d.read("TRANSPORT_RESULT"), vm.load(d.areas + 64)), (a["RESULT_OK"], 0xBEEF), "given again")
            d.write("DRIVER_STATUS", 0)
            expect((guest2.word(64), vm.load(d.areas + 4096), d.read("TRANSPORT"), d.read("GUEST_FEATURES")),
                   (0, 0, 0, 0), "driver reset")


def gpa_transport(o):
    """the areas lie over the guest's own pages, which come back untouched (R7)"""
    for kind in ("memfd", "bpf"):
        try:
            guest, host = Area(kind, 4096), Area(kind, 4096)
        except OSError as error:
            return f"only memfd areas: bpf() says {error}"
        with machine(o) as vm:
            d, a = Driver(o, vm), o.abi
            own = b"own pages" * 100
            vm.ram[GPA:GPA + len(own)] = vm.ram[GPA + 4096:GPA + 4096 + len(own)] = own
            expect(d.start(a["TRANSPORT_GPA"], GPA), a["RESULT_WAITING"])
            expect(vm.load(GPA), struct.unpack("<I", own[:4])[0], "no areas yet")
            host.put(0x33330003)
            vm.give_areas(guest.fd, host.fd)
            expect(d.read("TRANSPORT_RESULT"), a["RESULT_OK"])
            vm.store(GPA + 128, 0xFACE)
            vm.store(GPA + 4096, 0xBAD)
            expect((guest.word(128), vm.load(GPA + 4096), host.word()), (0xFACE, 0x33330003, 0x33330003))
            expect(vm.load(d.areas + 4096), 0, "not in BAR2 as well")
            tree = vm.qmp.hmp("info mtree -f")
            for name in ("pvsched-guest-area", "pvsched-host-area"):
                line = [x for x in tree.splitlines() if name in x]
                if not any(f"{GPA >> 12:x}" in x or f"{(GPA >> 12) + 1:x}" in x for x in line):
                    raise AssertionError(f"info mtree shows {name} as {line}")
            vm.store(d.regs + a["REG_GPA"], GPA + 0x10000)
            vm.store(d.regs + a["REG_GPA"] + 4, 0)
            expect((d.read("TRANSPORT_RESULT"), vm.load(GPA + 0x10080)), (a["RESULT_OK"], 0xFACE), "moved")
            expect(vm.load(GPA), struct.unpack("<I", own[:4])[0], "moved away")
            d.write("DRIVER_STATUS", d.read("DRIVER_STATUS") | a["DRIVER_FAILED"])
            expect(vm.load(GPA + 0x10080), 0, "a failed driver has its pages back")
            expect(vm.ram[GPA:GPA + len(own)], own, "own page")
            expect(vm.ram[GPA + 4096:GPA + 4096 + len(own)], own, "own second page")


def overlay_under_running_vcpus(o):
    """another vCPU runs from the memory slot that the overlay splits, and goes on (R7)"""
    with machine(o) as vm:
        d, a = Driver(o, vm), o.abi
        guest, host = Area("memfd", 4096), Area("memfd", 4096)
        vm.ram[0x90000:0x90006] = bytes.fromhex("ff060070" "ebfa")  # again: incw 0x7000; jmp again
        for icr in (0x000C4500, 0x000C4690):  # INIT, then start-up at 0x90000, all but self
            vm.store(0xFEE00300, icr)

        def counter():
            return struct.unpack_from("<H", vm.ram, 0x7000)[0]

        def moves_on():
            before = counter()
            wait_for("the other vCPU runs", lambda: counter() != before)

        moves_on()
        vm.give_areas(guest.fd, host.fd)
        expect(d.start(a["TRANSPORT_GPA"], 0x80000), a["RESULT_OK"])
        for i in range(30):
            gpa = 0x80000 + i % 2 * 0x4000
            d.write("GPA", gpa)
            vm.store(d.regs + a["REG_GPA"] + 4, 0)
            expect(d.read("TRANSPORT_RESULT"), a["RESULT_OK"], "moved")
            vm.store(gpa + 64, i)
            expect(guest.word(64), i, "the store after the move")
            if i % 3 == 0:
                vm.set("areas", "")
                expect(d.read("TRANSPORT_RESULT"), a["RESULT_WAITING"])
            vm.give_areas(guest.fd, host.fd)
            moves_on()
        expect(vm.qmp("query-status")["status"], "running")
        expect(vm.get("guest-errors"), 0)


def gpa_faults(o):
    """an address that is misaligned, wraps, or is not RAM is refused and counted (R7)"""
    with machine(o, machine="pc", extra=["-device", "VGA"]) as vm:
        d, a = Driver(o, vm), o.abi
        guest, host = Area("memfd", 4096), Area("memfd", 4096)
        vm.give_areas(guest.fd, host.fd)
        vga = next(x for b in vm.qmp("query-pci") for x in b["devices"] if x["class_info"]["class"] == 0x300)
        framebuffer = next(r["address"] for r in vga["regions"] if r["bar"] == 0)
        expect(d.start(a["TRANSPORT_BAR"]), a["RESULT_OK"])
        bad = {"zero": 0, "misaligned": GPA + 64, "end of RAM": RAM_SIZE - 4096, "hole": RAM_SIZE,
               "own registers": d.regs, "own areas": d.areas, "video memory": framebuffer,
               "firmware": 0xFFFF0000, "wraps": 0xFFFFFFFFFFFFF000, "far": 1 << 60}
        for count, (what, gpa) in enumerate(bad.items(), 1):
            d.write("TRANSPORT", a["TRANSPORT_NONE"])
            d.write("GPA", gpa)
            vm.store(d.regs + a["REG_GPA"] + 4, gpa >> 32)
            d.write("TRANSPORT", a["TRANSPORT_GPA"])
            expect((d.read("TRANSPORT_RESULT"), vm.get("guest-errors-gpa")), (a["RESULT_BAD_GPA"], count), what)
            expect(vm.get("gpa"), gpa, what)
        expect(vm.get("transport-result"), "bad-gpa")
        d.write("TRANSPORT", 77)
        expect((vm.get("transport-result"), vm.get("transport")), ("unknown-transport", "none"))


def policy_negotiated(o):
    """the driver reads and accepts a policy; a change voids the acceptance (R5)"""
    with machine(o) as vm:
        d = Driver(o, vm)
        vm.set("policy", "latency:3")
        name = b"".join(struct.pack("<I", vm.load(d.regs + o.abi["REG_POLICY_NAME"] + i)) for i in range(0, 32, 4))
        expect(name.rstrip(b"\0"), b"latency")
        expect(d.read("POLICY_VERSION"), 3)
        d.write("POLICY_ACCEPT", 2)
        expect((vm.get("policy-accept"), vm.get("guest-errors-policy")), (0, 1))
        d.write("POLICY_ACCEPT", 3)
        expect(vm.get("policy-accept"), 3)
        vm.set("policy", "other:3")
        expect((vm.get("policy-accept"), d.read("POLICY_ACCEPT")), (0, 0))


def doorbell_counts(o):
    """each ring of a vCPU is counted, through the ioeventfd, and is no error (R2, R12)"""
    with machine(o) as vm:
        d = Driver(o, vm)
        vm.store(d.regs + o.abi["REG_DOORBELL"], 5, count=100)
        wait_for("100 rings are counted", lambda: vm.get("doorbells") == 100)
        expect(vm.get("guest-errors"), 0)


def doorbell_wakes_nobody(o):
    """a ring does not wake QEMU's main thread, which would cost the vCPU that rings more than the exit (R12)"""
    rings = 300
    with machine(o) as vm:
        d = Driver(o, vm)
        status = Path(f"/proc/{vm.process.pid}/task/{vm.process.pid}/status")

        def slept():
            return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.M)[1])

        woken = 0
        for _ in range(rings):
            before = slept()
            vm.store(d.regs + o.abi["REG_DOORBELL"], 5)
            woken += slept() > before
        if woken > rings / 3:
            raise AssertionError(f"QEMU's main thread was woken by {woken} of {rings} rings")
        expect(vm.get("doorbells"), rings)


def interrupt_on_change(o):
    """MSI-X vector 0 is raised at each change, once the driver is ready (R5)"""
    with machine(o) as vm:
        d, a = Driver(o, vm), o.abi
        header = vm.config(d.slot, 0x34) & 0xFF
        while vm.config(d.slot, header) & 0xFF != 0x11:
            header = vm.config(d.slot, header) >> 8 & 0xFF
        vm.config(d.slot, header, vm.config(d.slot, header) | 1 << 31)  # enable; the vector stays masked
        table, pending = vm.bar(1), vm.bar(1) + (vm.config(d.slot, header + 8) & ~7)
        vm.set("policy", "p:1")
        expect(vm.load(pending), 0, "no driver, no interrupt")
        expect(d.start(a["TRANSPORT_BAR"]), a["RESULT_WAITING"])
        vm.set("policy", "p:2")
        expect(vm.load(pending), 1, "pending bit of vector 0")
        vm.store(table, 0xFEE00000)
        vm.store(table + 12, 0)  # unmasking delivers it
        expect(vm.load(pending), 0)
        vm.store(table + 12, 1)
        vm.qmp("stop")
        vm.set("policy", "p:3")
        vm.qmp("cont")
        expect(vm.load(pending), 1, "a change while stopped arrives when it runs")


def slot_table_follows_hotplug(o):
    """the table says the CPU id of each slot and shows a vCPU plugged later (R2)"""
    with machine(o, smp="1,maxcpus=4,sockets=2,cores=2", device="pvsched,id=pv0,slots=5") as vm:
        d = Driver(o, vm)

        def table():
            return [vm.load(d.regs + o.abi["REG_SLOT_TABLE"] + 4 * i) for i in range(6)]

        none = o.abi["NO_CPU"]
        expect(table(), [0, none, none, none, none, none])
        cpus = [c for c in vm.qmp("query-hotpluggable-cpus") if "qom-path" not in c]
        last = max(cpus, key=lambda c: (c["props"]["socket-id"], c["props"]["core-id"]))
        vm.qmp("device_add", driver=last["type"], id="cpu3", **{
            k.replace("-", "_"): v for k, v in last["props"].items()})
        # device_add's slot is the CPU's index among the possible ones
        wait_for("the new vCPU shows", lambda: table()[3] == 3)
        expect(table(), [0, none, none, 3, none, none])


def system_reset_resets(o):
    """a machine reset is a driver reset: overlay gone, guest area zeroed (R4)"""
    with machine(o) as vm:
        d, a = Driver(o, vm), o.abi
        guest, host = Area("memfd", 4096), Area("memfd", 4096)
        vm.give_areas(guest.fd, host.fd)
        expect(d.start(a["TRANSPORT_GPA"], GPA), a["RESULT_OK"])
        vm.store(GPA, 0x77)
        expect(guest.word(), 0x77)
        vm.qmp("system_reset")
        wait_for("the driver's state is gone", lambda: vm.get("driver-status") == 0)
        expect((guest.word(), vm.get("transport"), vm.get("host-status"), vm.get("generation")),
               (0, "none", 1, 1))
        expect("pvsched-guest-area" in vm.qmp.hmp("info mtree -f"), False, "no overlay")


def hotplug_and_unplug(o):
    """plugged into a running guest, used, and unplugged with the guest's eject"""
    with machine(o, device=None) as vm:
        vm.wait_guest()
        guest, host = Area("memfd", 4096, "hot"), Area("memfd", 4096, "hot")
        descriptors = len(os.listdir(f"/proc/{vm.process.pid}/fd"))
        for base in (0xFE000000, 0xFE100000):
            vm.qmp("device_add", driver="pvsched", id="pv0", addr="0x5")
            vm.config(5, 0x10, base)
            vm.config(5, 0x14, base + 0x1000)
            vm.config(5, 0x18, base + 0x2000)
            vm.config(5, 0x1C, 0)
            vm.config(5, 4, 6)
            d = Driver(o, vm)
            vm.give_areas(guest.fd, host.fd)
            expect(d.start(o.abi["TRANSPORT_GPA"], GPA), o.abi["RESULT_OK"])
            vm.store(GPA, 0x55)
            expect(guest.word(), 0x55)
            vm.qmp("device_del", id="pv0")
            vm.out(0xAE10, 0)  # ACPI PCI hot-plug: bus 0,
            vm.out(0xAE08, 1 << 5)  # eject slot 5
            vm.qmp.wait_event("DEVICE_DELETED")
            expect(guest.word(), 0, "guest area is cleared")
            expect(vm.load(GPA), 0, "the guest's own page is back")
        wait_for("nothing stays mapped",
                 lambda: "pvsched-test-hot" not in open(f"/proc/{vm.process.pid}/maps").read())
        wait_for("descriptors are closed",
                 lambda: len(os.listdir(f"/proc/{vm.process.pid}/fd")) <= descriptors)


CHECKS = [registers_seen_by_guest, bar_transport, gpa_transport, overlay_under_running_vcpus,
          gpa_faults, policy_negotiated, doorbell_counts, doorbell_wakes_nobody,
          interrupt_on_change, slot_table_follows_hotplug, system_reset_resets, hotplug_and_unplug]
