# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU with the mini guest: serial lines as events, QMP with descriptors."""
import array
import json
import mmap
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time

QEMU = "qemu-system-x86_64"
SLOT = 64


class Failure(Exception):
    """Something did not happen; the text says what."""


class Deadline:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return max(0.0, self.end - time.monotonic())

    def over(self):
        return self.left() == 0.0


class Lines:
    """Whole lines from a socket, each wait with a deadline."""

    def __init__(self, sock):
        self.sock, self.data = sock, b""

    def next(self, deadline):
        while b"\n" not in self.data:
            if not select.select([self.sock], [], [], deadline.left())[0]:
                return None
            more = self.sock.recv(65536)
            if not more:
                return None
            self.data += more
        line, self.data = self.data.split(b"\n", 1)
        return line.decode("utf-8", "replace").strip()


class Areas:
    """Guest and host area in two memfds, seen from here as two mappings."""

    def __init__(self, slots=1):
        self.size = (slots * SLOT + 4095) // 4096 * 4096
        self.fds, self.maps = [], []
        for name in ("guest", "host"):
            fd = os.memfd_create(name)
            os.ftruncate(fd, self.size)
            self.fds.append(fd)
            self.maps.append(mmap.mmap(fd, self.size))

    def intent(self, slot=0):
        return struct.unpack_from("<Q", self.maps[0], slot * SLOT)[0]

    def set_state(self, cls, flags, slot=0):
        struct.pack_into("<Q", self.maps[1], slot * SLOT, cls | (0x80 | flags) << 32)

    def wait_intent(self, test, seconds=20, slot=0):
        """The first intent word that passes test."""
        deadline = Deadline(seconds)
        while not deadline.over():
            word = self.intent(slot)
            if test(word):
                return word
            select.select([], [], [], 0.0005)
        raise Failure("intent of slot %d stays at %#x" % (slot, self.intent(slot)))

    def close(self):
        for m in self.maps:
            m.close()
        for fd in self.fds:
            os.close(fd)


class Vm:
    """One QEMU process; leaving the context ends it."""

    def __init__(self, elf, append, accel="tcg", machine="pc", smp=1, plugin=None, extra=(), serial_file=False):
        self.dir = tempfile.mkdtemp(prefix="mini")
        self.events = []
        self.socks = {}
        self.serial = os.path.join(self.dir, "serial.txt")
        args = [QEMU, "-accel", accel, "-machine", machine, "-smp", str(smp), "-m", "32", "-display", "none",
                "-vga", "none", "-nodefaults", "-no-reboot", "-kernel", elf, "-append", append, *extra]
        names = ["qmp"] if serial_file else ["qmp", "serial"]
        for name in names:
            self.socks[name] = self._listen(name)
            args += ["-chardev", "socket,id=%s,path=%s" % (name, os.path.join(self.dir, name))]
        args += ["-mon", "chardev=qmp,mode=control"]
        args += ["-serial", "file:" + self.serial if serial_file else "chardev:serial"]
        if plugin:
            args += ["-plugin", plugin, "-device", "pvsched,id=pvsched0"]
        self.log = open(os.path.join(self.dir, "stderr.txt"), "w+", encoding="utf-8")
        self.proc = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            self.lines = {}
            for name in names:
                self.lines[name] = Lines(self._accept(name))
            self._qmp_next(lambda m: "QMP" in m)
            self.qmp("qmp_capabilities")
        except Exception:
            self.close()
            raise

    def _listen(self, name):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(os.path.join(self.dir, name))
        sock.listen(1)
        return sock

    def _accept(self, name):
        listener = self.socks[name]
        if not select.select([listener], [], [], 20)[0]:
            raise Failure("QEMU did not connect %s: %s" % (name, self.stderr()))
        self.socks[name] = listener.accept()[0]
        listener.close()
        return self.socks[name]

    def stderr(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8") as f:
            return f.read().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        for sock in self.socks.values():
            sock.close()
        self.log.close()
        shutil.rmtree(self.dir)

    # --- QMP ---

    def _qmp_next(self, test):
        deadline = Deadline(20)
        while True:
            line = self.lines["qmp"].next(deadline)
            if line is None:
                raise Failure("no answer on QMP: " + self.stderr())
            message = json.loads(line)
            if test(message):
                return message

    def qmp(self, command, fd=None, **arguments):
        text = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        rights = []
        if fd is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.socks["qmp"].sendmsg([text], rights)
        answer = self._qmp_next(lambda m: "return" in m or "error" in m)
        if "error" in answer:
            raise Failure("%s: %s" % (command, answer["error"]["desc"]))
        return answer["return"]

    def get(self, prop):
        return self.qmp("qom-get", path="/machine/peripheral/pvsched0", property=prop)

    def set(self, prop, value):
        self.qmp("qom-set", path="/machine/peripheral/pvsched0", property=prop, value=value)

    def give(self, areas):
        for name, fd in zip(("gname", "hname"), areas.fds):
            self.qmp("getfd", fd=fd, fdname=name)
        self.set("areas", "gname:hname")

    # --- serial ---

    def send(self, line):
        self.socks["serial"].sendall(line.encode() + b"\n")

    def expect(self, event, seconds=60, **fields):
        """The next event of that name with these fields; others are kept in events."""
        deadline = Deadline(seconds)
        while True:
            line = self.lines["serial"].next(deadline)
            if line is None:
                raise Failure("no %s %s; last: %s; %s" % (event, fields, self.events[-2:], self.stderr()))
            if not line.startswith("{"):
                continue
            message = json.loads(line)
            self.events.append(message)
            if message["event"] == "fault":
                raise Failure("guest fault: %s" % message)
            if message["event"] == event and all(message.get(k) == v for k, v in fields.items()):
                return message

    def run(self, samples, seconds=60):
        self.send("run %d" % samples)
        return self.expect("summary", seconds)

    def wait_exit(self, seconds=20):
        try:
            return self.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure("QEMU still runs") from None


def kvm_usable():
    """Opens /dev/kvm for real; the reason why not, or None."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError as err:
        return "/dev/kvm: %s" % err.strerror
    return None
