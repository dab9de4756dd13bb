# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's host: a virtual machine, emulated, in which KVM works."""
import fcntl
import math
import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import userland
from image import Image
from kernels import Kernel

HERE = Path(__file__).resolve().parent
# AMD's KVM: SVM is what QEMU's emulation offers.
BOOT_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]
# Before 8.1 a CPU that QEMU emulates may run code that another has patched meanwhile: kernels patch theirs, and oops.
QEMU_USERLAND = "qemu-11.1"
KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_GET_TSC_KHZ = 0xAE01, 0xAE41, 0xAEA3
HZ = 250  # of Debian's kernels
TIMED_OUT = 124  # exit status, as timeout(1) has it
DIED = 125  # the host's kernel panicked, the emulator ended, or both were silent for too long
LOGS = ("console.log", "output.log", "qemu.log")


def tsc_khz(icount: int | None) -> int:
    """Of an emulated CPU's time-stamp counter: this machine's, or nanoseconds where instructions make the time. 0 where
    this machine's is not known."""
    if icount is not None:
        return 1000000
    try:
        kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return 0
    machine = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    vcpu = fcntl.ioctl(machine, KVM_CREATE_VCPU, 0)
    khz = fcntl.ioctl(vcpu, KVM_GET_TSC_KHZ, 0)
    for descriptor in (vcpu, machine, kvm):
        os.close(descriptor)
    return khz


def tsc_parameters(khz: int) -> str:
    """What tells the host's kernel its clock: calibrating it against emulated timers fails, now and then for good."""
    return f"tsc_early_khz={khz} tsc=reliable clocksource=tsc lpj={khz * 1000 // HZ}" if khz else ""


class LabHost:
    """One host, booted for one command. `folder` gets console.log, output.log and what the command leaves in
    /run/lab/results, which is a share: it outlives the host. With `keep` what lies there already stays. With `icount`
    an instruction takes 2^icount ns of its time, whatever this machine does meanwhile."""

    def __init__(self, kernel: Kernel, builddir: Path, folder: Path, smp: str = "2", memory: int = 4096,
                 keep: bool = False, icount: int | None = None):
        self.kernel, self.builddir, self.folder = kernel, builddir, folder
        self.smp, self.memory, self.icount = smp, memory, icount
        share = folder / "share"
        for path in folder.iterdir() if folder.exists() else ():
            if path.is_dir() and not path.is_symlink():
                if not (keep and path == share):
                    shutil.rmtree(path)
            else:
                path.unlink()
        (share / "results").mkdir(parents=True, exist_ok=True)

    def run(self, command: list[str], seconds: float, silence: float = math.inf) -> int:
        """Boots, runs the command in the source tree's root, shows its output; returns its exit
        status, or TIMED_OUT, or DIED. One that says nothing for `silence` seconds has died too."""
        self._prepare(" ".join(shlex.quote(word) for word in command))
        with open(self.folder / "output.log", "wb") as log, open(self.folder / "qemu.log", "wb") as warnings:
            machine = subprocess.Popen(self._qemu("stdio"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=warnings)
            try:
                ended = self._follow(machine, log, time.monotonic() + seconds, silence)
            finally:
                machine.kill()
                machine.wait()
        return ended if ended == TIMED_OUT else self._status()

    def run_again(self, command: list[str], seconds: float, reboots: int, silence: float = math.inf) -> int:
        """As run(), and boots a host that died once more, so often at most, all within `seconds`. The logs of those
        that died are in died-1, died-2..."""
        end = time.monotonic() + seconds
        for boot in range(reboots + 1):
            ended = self.run(command, end - time.monotonic(), silence)
            if ended != DIED or boot == reboots:
                break
            aside = self.folder / f"died-{boot + 1}"
            aside.mkdir()
            for name in LOGS:
                if (self.folder / name).exists():
                    (self.folder / name).rename(aside / name)
            print(f"lab: the emulated host died: boot {boot + 2} of at most {reboots + 1}", flush=True)
        return ended

    def shell(self) -> int:
        """Boots an interactive shell on this terminal."""
        self._prepare("setsid --ctty bash --login -i")
        with open(self.folder / "qemu.log", "wb") as warnings:
            subprocess.run(self._qemu("stdio"), stderr=warnings, check=False)
        return self._status()

    def output(self) -> bytes:
        """What the command wrote."""
        path = self.folder / "output.log"
        return path.read_bytes().replace(b"\r", b"") if path.exists() else b""

    def _prepare(self, command: str) -> None:
        share = self.folder / "share"
        (share / "status").unlink(missing_ok=True)
        (share / "modules").write_text(str(Path(self.kernel.modules).parent), encoding="ascii")
        (share / "enter").write_text(f"""# Runs in the lab's host.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=${{TERM:-vt100}} LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1
export PVSCHED_BUILD={shlex.quote(str(self.builddir))} PVSCHED_LAB_KERNEL={self.kernel.name}
export PVSCHED_LAB_ICOUNT={"" if self.icount is None else self.icount}
cd {shlex.quote(str(HERE.parents[1]))}
modprobe -d /run/modules kvm-amd || echo 'lab host: kvm-amd does not load' >&2
chgrp kvm /dev/kvm && chmod 660 /dev/kvm
# libvirt's private /dev lacks /dev/kvm where /dev was moved as here.
echo 'namespaces = []' >>/etc/libvirt/qemu.conf
[ -e /sys/module/kvm/parameters/enable_virt_at_load ] || python3 tests/lab/hold_kvm.py &
{command}
echo $? >/run/lab/status
""", encoding="utf-8")

    def _qemu(self, output: str) -> list[str]:
        image = Image(self.kernel, HERE / "host-init.sh")
        for name in BOOT_MODULES:
            image.module(name)
        share = "local,security_model=none,multidevs=remap"
        clock = ["-accel", "tcg,thread=multi"] if self.icount is None else [
            "-accel", "tcg,thread=single", "-icount", f"shift={self.icount},sleep=off"]
        plugin = self.builddir / "tests/lab/emulator/lab-vmrun.so"
        return [*self._program(), *clock, "-plugin", str(plugin), "-cpu", "EPYC", "-smp", self.smp,
                "-m", str(self.memory), "-nodefaults", "-display", "none", "-no-reboot",
                "-kernel", self.kernel.vmlinux, "-initrd", str(image.build()),
                "-append", "console=ttyS0 loglevel=6 mitigations=off panic=-1 oops=panic softlockup_panic=1 "
                f"watchdog_thresh=30 {tsc_parameters(tsc_khz(self.icount))}",
                "-fsdev", f"{share},id=root,path=/,readonly=on",
                "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
                "-fsdev", f"{share},id=lab,path={self.folder}/share",
                "-device", "virtio-9p-pci,fsdev=lab,mount_tag=lab",
                "-device", "virtio-rng-pci",
                "-serial", f"file:{self.folder}/console.log", "-serial", output]

    def _program(self) -> list[str]:
        """The words that run Debian 13's QEMU with its own libraries."""
        root = userland.fetch(QEMU_USERLAND).root
        return [f"{root}/lib64/ld-linux-x86-64.so.2", "--library-path", f"{root}/usr/lib/x86_64-linux-gnu",
                f"{root}/usr/bin/qemu-system-x86_64", "-L", f"{root}/usr/share/qemu", "-L", f"{root}/usr/share/seabios"]

    def _follow(self, machine: subprocess.Popen, log, deadline: float, silence: float) -> int:
        """Until it ends: TIMED_OUT, or 0 when its status tells."""
        out = machine.stdout.fileno()
        os.set_blocking(out, False)
        heard = time.monotonic()
        while True:
            if time.monotonic() > deadline:
                print("lab: the time limit is over", file=sys.stderr, flush=True)
                return TIMED_OUT
            if not select.select([out], [], [], 1)[0]:
                if time.monotonic() - heard > silence:
                    print(f"lab: the host has said nothing for {silence:.0f} s", file=sys.stderr, flush=True)
                    return 0
                continue
            heard = time.monotonic()
            data = os.read(out, 65536)
            if not data:
                return 0
            log.write(data)
            log.flush()
            sys.stdout.buffer.write(data.replace(b"\r\n", b"\n"))
            sys.stdout.buffer.flush()

    def _status(self) -> int:
        path = self.folder / "share" / "status"
        if not path.exists():
            console = self.folder / "console.log"
            tail = console.read_text(errors="replace")[-1500:] if console.exists() else ""
            print(f"lab: the host died; its console ends with:\n{tail}", file=sys.stderr)
            return DIED
        return int(path.read_text(encoding="ascii"))
