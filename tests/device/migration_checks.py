# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of what a migration carries, and of what it leaves behind."""
import json
import os
import re
import struct

from device_checks import expect, machine
from guest_checks import GPA, Driver
from qemu_machine import Area, wait_for


def saved_core(path):
    """Name, size and length of each member of pvsched/core, as the stream describes itself."""
    with open(path, "rb") as stream:
        data = stream.read()
    begin = [m.start() for m in re.finditer(rb'\{"(configuration|page_size)"', data)][-1]
    described = json.JSONDecoder().raw_decode(data[begin:].decode("latin-1"))[0]
    device = next(d for d in described["devices"] if d["name"].endswith("/pvsched"))
    core = next(f for f in device["fields"] if f["name"] == "saved")["struct"]
    return [(f["name"], f["size"], f.get("array_len", 1)) for f in core["fields"]]


# Every QEMU's stream has these, in this order: a member lost is a state lost.
SAVED_CORE = [*((name, 8, 1) for name in ("host_features", "guest_features", "gpa", "doorbells")),
              *((name, 4, 1) for name in ("slots", "driver_status", "transport", "result", "generation")),
              ("errors", 4, 16)]


def migrates(o):
    """saved with areas in use; restored without them, driver told, areas given anew"""
    path = os.path.join(o.directory, "state")
    guest, host, guest2, host2 = (Area("memfd", 4096) for _ in range(4))
    a = o.abi
    for transport, base in ((a["TRANSPORT_GPA"], GPA), (a["TRANSPORT_BAR"], None)):
        with machine(o) as source:
            d = Driver(o, source)
            source.give_areas(guest.fd, host.fd)
            source.set("policy", "latency:1")
            expect(d.start(transport, GPA), a["RESULT_OK"])
            d.write("MAGIC", 0)
            generation = source.get("generation")
            source.store(base or d.areas, 0x42)
            regs, areas = d.regs, d.areas
            source.qmp("stop")
            source.qmp("migrate", uri=f"exec:cat > {path}")
            state = wait_for("saved", lambda: source.qmp("query-migrate")["status"] in
                             ("completed", "failed") and source.qmp("query-migrate"))
            expect(state["status"], "completed", str(state))
        expect(saved_core(path), SAVED_CORE, "stream")
        with machine(o, extra=["-incoming", f"exec:cat {path}"]) as vm:
            wait_for("restored", lambda: vm.qmp("query-status")["status"] not in ("inmigrate",))
            expect((vm.get("driver-status"), vm.get("host-status"), vm.get("areas"), vm.get("policy")),
                   (0xF, 0, "", ""), "destination")
            expect((vm.get("transport-result"), vm.get("generation"), vm.get("guest-errors-read-only")),
                   ("waiting", generation + 1, 1), "destination")
            vm.qmp("cont")
            host2.put(0x99)
            vm.give_areas(guest2.fd, host2.fd)
            expect(vm.load(regs + a["REG_TRANSPORT_RESULT"]), a["RESULT_OK"])
            vm.store(base or areas, 0x43)
            expect((guest2.word(), vm.load((base or areas) + 4096), guest.word()), (0x43, 0x99, 0x42))
        with machine(o, device="pvsched,id=pv0,slots=3", extra=["-incoming", "defer"]) as vm:
            vm.qmp("migrate-incoming", uri=f"exec:cat {path}")
            vm.process.wait(timeout=60)
            if "number of slots differs" not in vm.output():
                raise AssertionError(f"QEMU says {vm.output()!r}")


def migrates_live(o):
    """a running guest moves to another QEMU and goes on; its own pages come along (R14)"""
    a = o.abi
    guest, host, guest2, host2 = (Area("memfd", 4096) for _ in range(4))
    incoming = "unix:" + os.path.join(o.directory, "live")
    with machine(o) as source, machine(o, extra=["-incoming", incoming]) as vm:
        d = Driver(o, source)
        source.give_areas(guest.fd, host.fd)
        vm.give_areas(guest2.fd, host2.fd)
        source.ram[GPA:GPA + 4] = struct.pack("<I", 0x0BAD)
        expect(d.start(a["TRANSPORT_GPA"], GPA), a["RESULT_OK"])
        source.store(GPA, 0x42)
        source.store(d.regs + a["REG_DOORBELL"], 0, count=7)
        wait_for("the rings are counted", lambda: source.get("doorbells") == 7)
        generation = source.get("generation")
        source.qmp("migrate", uri=incoming)
        wait_for("moved", lambda: source.qmp("query-migrate").get("status") in ("completed", "failed"))
        wait_for("the guest runs", lambda: vm.qmp("query-status")["status"] == "running")
        expect((vm.get("driver-status"), vm.get("transport-result"), vm.get("doorbells")), (0xF, "ok", 7))
        expect(vm.get("generation"), generation + 1, "the arrival")
        host2.put(0x77)
        vm.store(GPA, 0x43)
        expect((guest2.word(), vm.load(GPA + 4096), guest.word()), (0x43, 0x77, 0x42), "the destination's areas")
        vm.store(d.regs + a["REG_DRIVER_STATUS"], 0)
        expect(vm.load(GPA), 0x0BAD, "the guest's own page")


CHECKS = [migrates, migrates_live]
