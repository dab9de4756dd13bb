# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest: a distribution kernel, a small image, a command channel on the second serial port."""
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from image import Image  # noqa: E402
from kernels import Kernel  # noqa: E402
from testbed.qmp import Qmp  # noqa: E402
from testbed.util import Failure, Gone, connect, wait_for  # noqa: E402

# Of every guest: console on the first serial port, an oops ends it. noxsave: what an emulated host says of XSAVE
# makes a nested Linux 7 panic as it boots.
CMDLINE = "console=ttyS0 panic=-1 oops=panic mitigations=off nokaslr noxsave"
# What QEMU says when KVM cannot run a vCPU any more; QEMU lives on.
STOPPED = ("KVM internal error", "KVM: entry failed", "kvm run failed")
# What measures in the guest; each with its libraries.
PROGRAMS = ["cyclictest", "hackbench", "chrt", "taskset", "perf"]


def image(kernel: Kernel, programs=tuple(PROGRAMS), files: dict[str, Path] | None = None) -> Path:
    """The guests' initial RAM file system. `files`: path in the guest -> file here (executable)."""
    made = Image(kernel, HERE / "guest-init.sh")
    for name in programs:
        made.program(name)
    for name, path in (files or {}).items():
        made.file(name, path, 0o755)
    return made.build()


class Channel:
    """Commands to the guest's shell, one at a time."""

    def __init__(self, path: str, alive):
        self.sock = connect(path, "the guest's serial socket", 30)
        self.alive = alive  # raises when the guest is gone, returns nothing otherwise
        self.data = b""

    def close(self) -> None:
        self.sock.close()

    def line(self, end: float) -> str:
        """The next line before the time `end` (monotonic)."""
        while b"\n" not in self.data:
            left = end - time.monotonic()
            if left <= 0:
                raise Gone(f"the guest said nothing more in time; last: {self.data[-200:]!r}")
            if not select.select([self.sock], [], [], min(left, 1.0))[0]:
                self.alive()
                continue
            more = self.sock.recv(65536)
            if not more:
                wait_for("the end of a QEMU that has closed the guest's serial line", self.alive, 10)
            self.data += more
        line, self.data = self.data.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")

    def wait_ready(self, seconds: float = 180) -> None:
        """Waits until the guest's shell has begun."""
        end = time.monotonic() + seconds
        while not self.line(end).startswith("@ready"):
            pass

    def send(self, command: str) -> None:
        """Sends one command, which must be one line."""
        self.sock.sendall(command.encode() + b"\n")

    def result(self, seconds: float) -> tuple[int, str]:
        """(exit status, output) of the command that was sent."""
        end = time.monotonic() + seconds
        lines = []
        while True:
            line = self.line(end)
            # A command's last line may lack its newline.
            before, found, status = line.rpartition("@done ")
            if found:
                return int(status), "\n".join(lines + ([before] if before else []))
            lines.append(line)


class Shell:
    """What a guest with a command channel can do."""
    name: str
    channel: Channel

    def try_run(self, command: str, seconds: float = 60) -> tuple[int, str]:
        """Runs a shell command in the guest: (exit status, output)."""
        self.channel.send(command)
        return self.channel.result(seconds)

    def run(self, command: str, seconds: float = 60) -> str:
        """Output of a shell command in the guest; fails if the command does."""
        status, output = self.try_run(command, seconds)
        if status != 0:
            raise Failure(f"guest {self.name}: {command}: exit status {status}: {output[-2000:]}")
        return output


class LinuxGuest(Shell):
    """Context: a QEMU with a Linux guest that answers. Monitors: `qmp` (the test's), `qmp_path` (pvschedd's)."""

    def __init__(self, kernel: Kernel, initrd: Path, name="linux", accel="kvm", cpus=1, memory=384, plugin=None,
                 device=True, qemu="qemu-system-x86_64", append="", extra=(), incoming=None, folder=None):
        self.kernel, self.name, self.cpus = kernel, name, cpus
        self.dir = tempfile.mkdtemp(prefix=f"pvsched-{name}-", dir=folder)
        self.qmp_path = os.path.join(self.dir, "pvschedd.qmp")
        self.console = os.path.join(self.dir, "console.log")
        self.command = [qemu, "-name", name, "-accel", accel, "-cpu", "host" if accel == "kvm" else "max",
                        "-machine", "pc", "-smp", str(cpus), "-m", str(memory), "-nodefaults", "-display", "none",
                        "-no-reboot", "-kernel", kernel.vmlinux, "-initrd", str(initrd), "-append",
                        f"{CMDLINE} loglevel=5 {append}",
                        "-serial", f"file:{self.console}",
                        "-serial", f"unix:{self.dir}/channel,server=on,wait=off",
                        "-qmp", f"unix:{self.dir}/test.qmp,server=on,wait=off",
                        "-qmp", f"unix:{self.qmp_path},server=on,wait=off"]
        if plugin:
            self.command += ["-plugin", str(plugin)]
            if device:
                self.command += ["-device", "pvsched,id=pvsched0"]
        if incoming:
            self.command += ["-incoming", incoming]
        self.command += list(extra)
        self.process = self.qmp = self.channel = None
        self.booted_at = 0  # bytes of the console

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def start(self, boot_seconds: float = 180) -> None:
        """Starts QEMU; unless it waits for an incoming guest, returns when the guest answers."""
        self.launch()
        if "-incoming" not in self.command:
            self.wait_ready(boot_seconds)

    def launch(self) -> None:
        """Starts QEMU and connects to its monitor and to the guest's command channel."""
        with open(os.path.join(self.dir, "qemu.log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.qmp = Qmp(os.path.join(self.dir, "test.qmp"))
            self.channel = Channel(os.path.join(self.dir, "channel"), self.check_alive)
        except BaseException:
            self.close(keep=True)
            raise

    def wait_ready(self, seconds: float = 180) -> None:
        """Waits for the guest's shell."""
        self.channel.wait_ready(seconds)
        self.booted_at = os.path.getsize(self.console)

    def close(self, keep: bool = False) -> None:
        """Ends QEMU; its folder goes too."""
        if self.channel:
            self.channel.close()
        if self.qmp:
            self.qmp.close()
        if self.process:
            self.process.kill()
            self.process.wait()
        self.channel = self.qmp = self.process = None
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def check_alive(self) -> None:
        """Gone if it cannot answer any more."""
        if self.process.poll() is not None:
            raise Gone(f"QEMU of {self.name} ended with {self.process.returncode}: {self._tail('qemu.log')}\n"
                       f"console: {self._tail('console.log')}")
        said = self._tail("qemu.log", None)
        if any(mark in said for mark in STOPPED):
            raise Gone(f"KVM stopped the guest {self.name}: {said[:1000]}")

    def _tail(self, name: str, size: int | None = 2500) -> str:
        try:
            return Path(self.dir, name).read_text(errors="replace")[-size if size else None:]
        except OSError:
            return ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def tids(self) -> list[int]:
        """TIDs of the vCPU threads, in order of their index."""
        return [cpu["thread-id"] for cpu in sorted(self.qmp("query-cpus-fast"), key=lambda c: c["cpu-index"])]

    def oops(self) -> str:
        """What the guest's kernel complained of since it was ready (an emulated CPU has
        its own complaints before that): "" when all is well."""
        marks = ("BUG:", "WARNING:", "Oops", "general protection", "stall", "Call Trace", "refcount", "soft lockup")
        text = Path(self.console).read_bytes()[self.booted_at:].decode(errors="replace")
        return "\n".join(line for line in text.splitlines() if any(mark in line for mark in marks))


class DomainGuest(Shell):
    """The guest in a libvirt domain (testbed.domain.Domain with channel=True)."""

    def __init__(self, domain):
        self.name, self.domain = domain.name, domain
        self.channel = Channel(domain.channel, lambda: None)

    def wait_ready(self) -> None:
        """Waits for the guest's shell."""
        self.channel.wait_ready()

    def tids(self) -> list[int]:
        """TIDs of the vCPU threads, in order."""
        return self.domain.vcpu_tids()

    def close(self) -> None:
        """Closes the channel; the domain runs on."""
        self.channel.close()
