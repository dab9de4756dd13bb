# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock QEMU under test: QMP, a guest that does what it is told, areas.

The guest is 64 bytes of 32-bit code behind a multiboot header. It polls a
mailbox in its RAM and makes the store, load or port access asked for there;
its RAM is a file that the test maps. So each register access comes from a
real vCPU, and the test reads the guest's own pages without QEMU's help.
"""
import array
import ctypes
import json
import mmap
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

DEADLINE = 90.0  # seconds for anything to become true
RAM_SIZE = 32 << 20
MAILBOX = 0x101000
HELLO = 0x600D
OP_STORE, OP_LOAD, OP_OUT, OP_IN = 1, 2, 3, 4

#   mov $0x101000,%esi; movl $0x600d,16(%esi)
#   wait:  pause; mov (%esi),%ebx; test %ebx,%ebx; jz wait
#          mov 4(%esi),%edx; mov 8(%esi),%eax; mov 12(%esi),%ecx
#          dec %ebx; jz w; dec %ebx; jz r; dec %ebx; jz o; in %dx,%eax; jmp store
#   w:     mov %eax,(%edx); dec %ecx; jnz w; jmp done
#   o:     out %eax,%dx; jmp done
#   r:     mov (%edx),%eax
#   store: mov %eax,8(%esi)
#   done:  movl $0,(%esi); jmp wait
CODE = bytes.fromhex(
    "be00101000c746100d600000f3908b1e85db74f88b56048b46088b4e0c4b"
    "74094b74104b740aedeb0c89024975fbeb08efeb058b02894608c7060000"
    "0000ebcc")


def guest_image():
    load = 0x100000
    magic, flags = 0x1BADB002, 0x00010000
    header = struct.pack("<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, load,
                         load, load + 32 + len(CODE), load + 0x2000, load + 32)
    return header + CODE


def read_abi(path):
    """PVSCHED_* integers of abi.h, so that the test repeats none of them."""
    abi = {}
    for name, text in re.findall(r"#define PVSCHED_(\w+)[ \t]+([^\n/]+)", open(path).read()):
        text = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)(?:u|ull)?\b", r"\1", text.strip())
        if re.fullmatch(r"[\s()0-9a-fA-Fx<|+-]+", text):
            abi[name] = eval(text)  # digits and operators only, see the pattern
    return abi


def wait_for(what, condition, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {deadline:.0f} s")
        time.sleep(0.001)


class QmpError(Exception):
    pass


class Qmp:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(path)
        self.file = self.sock.makefile("r")
        self.events = []
        self._read()
        self("qmp_capabilities")

    def _read(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("QEMU closed the monitor")
        return json.loads(line)

    def __call__(self, command, fds=(), **arguments):
        request = {"execute": command}
        if arguments:
            request["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([json.dumps(request).encode() + b"\n"], ancillary)
        while True:
            reply = self._read()
            if "event" in reply:
                self.events.append(reply)
            elif "error" in reply:
                raise QmpError(reply["error"]["desc"])
            else:
                return reply["return"]

    def hmp(self, line):
        return self("human-monitor-command", command_line=line)

    def wait_event(self, name):
        while not any(e["event"] == name for e in self.events):
            reply = self._read()
            if "event" in reply:
                self.events.append(reply)
        self.events = [e for e in self.events if e["event"] != name]


class Machine:
    """One QEMU process; a context manager that leaves nothing behind."""

    count = 0

    def __init__(self, directory, plugin, device="pvsched,id=pv0", machine="pc", accel="tcg",
                 smp="2", extra=()):
        Machine.count += 1
        base = os.path.join(directory, f"vm{Machine.count}")
        image = base + ".img"
        with open(image, "wb") as f:
            f.write(guest_image())
        self.ram_file = open(base + ".ram", "w+b")
        self.ram_file.truncate(RAM_SIZE)
        self.ram = mmap.mmap(self.ram_file.fileno(), RAM_SIZE)
        args = [qemu_binary(), "-nodefaults", "-display", "none", "-accel", accel, "-smp", smp,
                "-machine", f"{machine},memory-backend=ram", "-m", str(RAM_SIZE >> 20),
                "-object", f"memory-backend-file,id=ram,size={RAM_SIZE},share=on,mem-path={base}.ram",
                "-kernel", image, "-qmp", f"unix:{base}.qmp,server=on,wait=off",
                "-plugin", plugin]
        args += ["-device", device] if device else []
        self.log = open(base + ".log", "w+")
        self.process = subprocess.Popen(args + list(extra), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        self.qmp_path = base + ".qmp"
        self.qmp = None

    def __enter__(self):
        try:
            wait_for("QMP socket", self._connect)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _connect(self):
        if self.process.poll() is not None:
            raise ConnectionError(f"QEMU ended: {self.output()}")
        try:
            self.qmp = Qmp(self.qmp_path)
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.qmp:
            self.qmp.file.close()
            self.qmp.sock.close()
        self.log.close()
        self.ram.close()
        self.ram_file.close()

    def output(self):
        self.log.seek(0)
        return self.log.read().strip()

    def wait_guest(self):
        wait_for("guest code runs", lambda: self._word(16) == HELLO)

    # --- what the guest does ---

    def _word(self, offset):
        return struct.unpack_from("<I", self.ram, MAILBOX + offset)[0]

    def _do(self, op, address, value=0, count=1):
        struct.pack_into("<III", self.ram, MAILBOX + 4, address, value & 0xFFFFFFFF, count)
        struct.pack_into("<I", self.ram, MAILBOX, op)
        wait_for(f"guest operation {op} at {address:#x}", lambda: self._word(0) == 0)
        return self._word(8)

    def store(self, address, value, count=1):
        self._do(OP_STORE, address, value, count)

    def load(self, address):
        return self._do(OP_LOAD, address)

    def out(self, port, value):
        self._do(OP_OUT, port, value)

    def config(self, slot, offset, value=None):
        """Configuration space of bus 0, slot's function 0."""
        self.out(0xCF8, 0x80000000 | slot << 11 | offset)
        if value is None:
            return self._do(OP_IN, 0xCFC)
        return self.out(0xCFC, value)

    # --- the device ---

    def pci(self, qdev_id="pv0"):
        def find(devices):
            for device in devices:
                if device["qdev_id"] == qdev_id:
                    return device
                below = find(device.get("pci_bridge", {}).get("devices", []))
                if below:
                    return below
            return None
        return find([d for bus in self.qmp("query-pci") for d in bus["devices"]])

    def bar(self, number):
        return next(r["address"] for r in self.pci()["regions"] if r["bar"] == number)

    def get(self, name, qdev_id="pv0"):
        return self.qmp("qom-get", path=f"/machine/peripheral/{qdev_id}", property=name)

    def set(self, name, value, qdev_id="pv0"):
        self.qmp("qom-set", path=f"/machine/peripheral/{qdev_id}", property=name, value=value)

    def give_areas(self, guest_fd, host_fd, names=("g", "h")):
        self.qmp("getfd", fds=(guest_fd,), fdname=names[0])
        self.qmp("getfd", fds=(host_fd,), fdname=names[1])
        self.set("areas", ":".join(names))


class Area:
    """Pages to hand over: a memfd as a stand-in, or a real BPF array."""

    def __init__(self, kind, size, name="area"):
        self.fd = memfd(name, size) if kind == "memfd" else bpf_array(size)
        self.map = mmap.mmap(self.fd, size)

    def word(self, offset=0):
        return struct.unpack_from("<I", self.map, offset)[0]

    def put(self, value, offset=0):
        struct.pack_into("<I", self.map, offset, value)

    def close(self):
        self.map.close()
        os.close(self.fd)


def memfd(name, size):
    fd = os.memfd_create(f"pvsched-test-{name}")
    os.truncate(fd, size)
    return fd


def bpf_array(size, flags=1 << 10):  # BPF_F_MMAPABLE
    """bpf(BPF_MAP_CREATE) of an array with 64-byte elements; OSError if refused."""
    if os.uname().machine != "x86_64":
        raise OSError("the system call number is known for x86_64 only")
    libc = ctypes.CDLL(None, use_errno=True)
    attr = ctypes.create_string_buffer(struct.pack("<5I", 2, 4, 64, size // 64, flags), 72)
    fd = libc.syscall(321, 0, attr, 72)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def qemu_binary():
    return os.environ.get("PVSCHED_QEMU") or shutil.which("qemu-system-x86_64")


def usable_accel():
    """kvm if this process can really make a VM with it, else tcg."""
    try:
        with open("/dev/kvm", "r+b", buffering=0) as kvm:
            import fcntl
            os.close(fcntl.ioctl(kvm, 0xAE01, 0))  # KVM_CREATE_VM
            return "kvm"
    except OSError:
        return "tcg"


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)
