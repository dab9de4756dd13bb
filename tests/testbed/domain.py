# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirt domain."""
import contextlib
import os

from .guest import Guest
from .host import apparmor, virsh
from .util import read, wait_for

NAMESPACE = "https://pvsched.org/xmlns/libvirt/domain/1.0"

METADATA = f"""<pvsched:pvsched xmlns:pvsched="{NAMESPACE}" enabled="yes">
      <pvsched:policy name="latency"/>
      <pvsched:priority policy="fifo" max="50" critical="60"/>
      <pvsched:boost critical="2" total="500" unit="ms"/>
      <pvsched:throttle duration="50" unit="ms"/>
    </pvsched:pvsched>"""


class Domain:
    """Context: a defined domain; `start()` runs it. `metadata` None: no pvsched element; `device` False: no device.
    Without `kernel` the mini guest is in it. `memory` in MiB."""

    def __init__(self, host, name, cmdline, metadata=METADATA, device=True, vcpus=1, max_vcpus=None, cpu=1,
                 emulator_cpu=0, accel=None, kernel=None, initrd=None, memory=32, channel=False):
        self.host, self.name, self.cmdline = host, name, cmdline
        self.metadata, self.device = metadata, device
        self.vcpus, self.max_vcpus = vcpus, max_vcpus or vcpus
        self.cpu, self.emulator_cpu = cpu, emulator_cpu
        self.accel = accel or host.accel
        self.kernel, self.initrd, self.memory = kernel or host.mini, initrd, memory
        # A second serial port, for a guest that takes commands by it.
        self.channel = os.path.join(host.dir, "vm", f"{name}.channel") if channel else None
        self.serial = os.path.join(host.dir, "vm", f"{name}.serial")

    def xml(self):
        commandline = ""
        if self.device:
            words = ["-plugin", self.host.plugin, "-device", "pvsched,id=pvsched0"]
            commandline = ("<qemu:commandline>" + "".join(f'<qemu:arg value="{w}"/>' for w in words) +
                           "</qemu:commandline>")
        metadata = f"<metadata>\n    {self.metadata}\n  </metadata>" if self.metadata else ""
        label = '<seclabel type="none" model="apparmor"/>' if apparmor() else ""
        pins = "".join(f'<vcpupin vcpu="{i}" cpuset="{self.cpu}"/>' for i in range(self.max_vcpus))
        initrd = f"<initrd>{self.initrd}</initrd>" if self.initrd else ""
        channel = (f'<serial type="unix"><source mode="bind" path="{self.channel}"/><target port="1"/></serial>'
                   if self.channel else "")
        kind = "kvm" if self.accel == "kvm" else "qemu"
        return f"""<domain type="{kind}" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>{self.name}</name>
  {metadata}
  <memory unit="MiB">{self.memory}</memory>
  <vcpu current="{self.vcpus}">{self.max_vcpus}</vcpu>
  <cputune>{pins}<emulatorpin cpuset="{self.emulator_cpu}"/></cputune>
  <os><type arch="x86_64" machine="pc">hvm</type>
    <kernel>{self.kernel}</kernel>{initrd}<cmdline>{self.cmdline}</cmdline></os>
  <features><acpi/><apic/></features>
  <clock offset="utc"><timer name="hpet" present="yes"/></clock>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type="usb" model="none"/>
    <serial type="unix"><source mode="bind" path="{self.serial}"/><target port="0"/></serial>
    {channel}
    <memballoon model="none"/>
  </devices>
  {label}
  {commandline}
</domain>
"""

    def __enter__(self):
        self.define()
        return self

    def __exit__(self, *_):
        self.destroy()
        virsh("undefine", self.name, check=False)
        with contextlib.suppress(OSError):
            os.unlink(self.serial)

    def define(self):
        virsh("define", "/dev/stdin", stdin=self.xml())

    def start(self, *flags):
        virsh("start", self.name, *flags)

    def destroy(self):
        if self.state() not in ("shut off", ""):
            virsh("destroy", self.name, check=False)

    def state(self):
        done = virsh("domstate", self.name, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def pid(self):
        """PID of the domain's QEMU."""
        path = f"/run/libvirt/qemu/{self.name}.pid"
        return int(wait_for("QEMU's PID", lambda: read(path, ""), 10))

    def vcpu_tids(self):
        """TIDs of the vCPU threads in order, as KVM or QEMU names them."""
        pid = self.pid()
        found = []
        for tid in os.listdir(f"/proc/{pid}/task"):
            name = read(f"/proc/{pid}/task/{tid}/comm", "")
            if name.startswith("CPU "):
                found.append((int(name.split()[1].split("/")[0]), int(tid)))
        return [tid for _, tid in sorted(found)]

    def guest(self):
        return Guest(self.serial)
