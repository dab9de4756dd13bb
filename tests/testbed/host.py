# SPDX-License-Identifier: GPL-2.0-or-later
"""The host around a VM: staged files, /dev/kvm, libvirtd, the hook."""
import contextlib
import glob
import grp
import os
import shutil
import signal
import stat
import subprocess
import tempfile

from .util import Failure, Skip, read, run, wait_for

URI = "qemu:///system"
HOOK_DIR = "/etc/libvirt/hooks/qemu.d"


def virsh(*args, check=True, stdin=None):
    """virsh on the system's libvirt; returns its output."""
    done = run("virsh", "-q", "-c", URI, *args, check=check, stdin=stdin)
    return done.stdout.strip() if check else done


class Build:
    """Where the parts of a build are."""

    def __init__(self, top):
        def part(*names):
            path = os.path.join(os.path.abspath(top), *names)
            if not os.path.exists(path):
                raise Failure(f"{path} is missing: run scripts/build")
            return path

        self.top = os.path.abspath(top)
        self.plugin = part("qemu-device", "pvsched.so")
        self.mini = part("guest", "mini", "mini.elf")
        self.daemon = part("libvirt-hook", "daemon", "pvschedd")
        self.ctl = part("libvirt-hook", "ctl", "pvschedctl")
        self.hook = part("libvirt-hook", "hook", "pvsched-hook")
        self.guardian = part("libvirt-hook", "sched", "pvsched-guardian")
        self.bpf = part("bpf-policy", "pvsched.bpf.o")
        self.scheduler = part("bpf-policy", "scheduler.bpf.o")
        self.policies = part("bpf-policy", "policies")
        source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self.schema = os.path.join(source, "xml-schemas", "pvsched-domain-1.0.rng")


class Host(contextlib.ExitStack):
    """Context: a libvirt host with the hook in place. All it changes is undone at the end."""

    def __init__(self, build, say=print):
        super().__init__()
        self.build, self.say = build, say
        self.dir = self.libvirtd = None
        self.accel = "tcg"
        self.accel_reason = ""

    def __enter__(self):
        super().__enter__()
        try:
            if os.geteuid() != 0:
                raise Skip("libvirt, /dev/kvm and BPF need root")
            self._stage()
            self._kvm()
            self._libvirtd()
            return self
        except BaseException:
            self.close()
            raise

    def _stage(self):
        # QEMU runs as another user, who may not be able to read the build folder.
        self.dir = tempfile.mkdtemp(prefix="pvsched-", dir="/var/tmp")
        self.callback(shutil.rmtree, self.dir, True)
        os.chmod(self.dir, 0o755)
        self.plugin = shutil.copy(self.build.plugin, self.dir)
        self.mini = shutil.copy(self.build.mini, self.dir)
        os.mkdir(os.path.join(self.dir, "vm"))
        os.chmod(os.path.join(self.dir, "vm"), 0o777)
        for path in (self.plugin, self.mini):
            os.chmod(path, 0o755)

    def _kvm(self):
        path = "/dev/kvm"
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError as error:
            self.accel_reason = f"{path}: {error.strerror}"
            return
        self.accel = "kvm"
        before = os.stat(path)
        try:
            kvm = grp.getgrnam("kvm").gr_gid
        except KeyError:
            return
        if before.st_gid != kvm or not before.st_mode & stat.S_IWGRP:
            self.callback(os.chmod, path, stat.S_IMODE(before.st_mode))
            self.callback(os.chown, path, before.st_uid, before.st_gid)
            os.chown(path, -1, kvm)
            os.chmod(path, 0o660)

    def _libvirtd(self):
        if virsh("uri", check=False).returncode == 0:
            self.say("libvirtd runs already: using it")
            return
        for name in ("virtlogd", "libvirtd"):
            self._start(name)
        wait_for("libvirtd answers", lambda: virsh("uri", check=False).returncode == 0, 30, 0.1)

    def _start(self, name):
        log = open(os.path.join(self.dir, name + ".log"), "w", encoding="utf-8")
        self.callback(log.close)
        child = subprocess.Popen([f"/usr/sbin/{name}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
        self.callback(self._stop, child)
        if name == "libvirtd":
            self.libvirtd = child
        self.say(f"started {name} (PID {child.pid})")

    @staticmethod
    def _stop(child):
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def restart_libvirtd(self):
        """Ends and starts the libvirtd that this context started."""
        if not self.libvirtd:
            raise Skip("libvirtd was running before: it is not ours to restart")
        self._stop(self.libvirtd)
        self._start("libvirtd")
        wait_for("libvirtd answers", lambda: virsh("uri", check=False).returncode == 0, 30, 0.1)

    def install_hook(self, socket):
        """Puts a hook in place that talks to `socket`, until this context ends."""
        self.enter_context(self.hook(socket))

    @contextlib.contextmanager
    def hook(self, socket):
        """Context: a hook that talks to `socket`."""
        made = []
        folder = HOOK_DIR
        while not os.path.isdir(folder):
            made.append(folder)
            folder = os.path.dirname(folder)
        os.makedirs(HOOK_DIR, exist_ok=True)
        path = os.path.join(HOOK_DIR, f"50-pvsched-{os.path.basename(self.dir)}")
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(f'#!/bin/sh\nexec {self.build.hook} --socket {socket} "$@"\n')
            os.chmod(path, 0o755)
            self.reload_libvirtd()
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            for item in made:
                with contextlib.suppress(OSError):
                    os.rmdir(item)
            self.reload_libvirtd()

    def reload_libvirtd(self):
        """libvirtd looks for hooks when it starts and at SIGHUP only."""
        pid = self.libvirtd.pid if self.libvirtd and self.libvirtd.poll() is None else None
        if pid is None:
            pid = int(read("/run/libvirtd.pid", "0") or 0)
        if pid:
            os.kill(pid, signal.SIGHUP)


def apparmor():
    """Whether AppArmor confines QEMU here: libvirt's profile is loaded."""
    return "libvirtd" in read("/sys/kernel/security/apparmor/profiles", "")


def qemu_version():
    return run("qemu-system-x86_64", "--version").stdout.split("\n")[0]


def bpf_objects():
    """Names and ids of pvsched's maps, programs and links in the kernel."""
    import json
    found = set()
    if not shutil.which("bpftool") and not glob.glob("/usr/sbin/bpftool"):
        raise Skip("bpftool is not installed")
    names = {"vcpus", "apics", "limits", "mailboxes", "stats", "ring", "guest_areas", "host_areas", "pvsched.bss",
             "pvsched_guest", "pvsched_host"}
    for kind in ("map", "prog"):
        for item in json.loads(run("bpftool", "-j", kind, "show").stdout or "[]"):
            name = item.get("name", "")
            if kind == "map" and name in names or kind == "prog" and name in ("control", "sched_switch", "evaluate"):
                found.add(f"{kind} {item['id']} {name}")
    return found
