# SPDX-License-Identifier: GPL-2.0-or-later
"""A pvschedd of the build tree with its own configuration, run directory and socket."""
import json
import os
import signal
import subprocess

from .util import Failure, connect, run, wait_for, write


class Daemon:
    """Context: a running pvschedd. `pid`, `ctl()`, `status()`, `kill()`, `start()` again."""

    def __init__(self, host, libvirt="qemu:///system", settings=""):
        self.host = host
        self.run_dir = os.path.join(host.dir, "run")
        self.socket = os.path.join(self.run_dir, "pvschedd.sock")
        self.keys = os.path.join(host.dir, "keys")  # of those who may sign policies; not made here
        self.config = os.path.join(host.dir, "pvschedd.conf")
        self.log_path = os.path.join(host.dir, "pvschedd.log")
        self.process = None
        os.makedirs(self.run_dir, 0o755, exist_ok=True)
        build = host.build
        write(self.config, f"""[daemon]
run_dir={self.run_dir}
socket={self.socket}
schema={build.schema}
[policy]
bpf_object={build.bpf}
policies={build.policies}
keys={self.keys}
guardian={build.guardian}
scheduler={build.scheduler}
[libvirt]
uri={libvirt}
[log]
target=stderr
{settings}""")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        with open(self.log_path, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen([self.host.build.daemon, "--config", self.config],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("pvschedd answers", self._answers, 180, 0.02)

    def _answers(self):
        if self.process.poll() is not None:
            raise Failure(f"pvschedd ended with {self.process.returncode}: {self.log()[-2000:]}")
        return self.ctl("status", "--json", check=False).returncode == 0

    def stop(self):
        """An orderly stop: every thread is at its baseline afterwards."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failure("pvschedd did not stop within 30 s") from None

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)

    def reap(self):
        self.process.wait(10)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def ctl(self, *args, check=True):
        """pvschedctl on this daemon; patient, since in the lab all is slow."""
        if check and self.process.poll() is not None:
            raise Failure(f"pvschedd has ended with {self.process.returncode}")
        return run(self.host.build.ctl, "--socket", self.socket, "--timeout", "100", *args, check=check)

    def connect(self):
        """A connection to the control socket: a line of JSON each way."""
        return connect(self.socket, "pvschedd listens", 10)

    def status(self):
        return json.loads(self.ctl("status", "--json").stdout)

    def vm(self, name):
        """Status of one VM, or None."""
        return next((vm for vm in self.status()["vms"] if vm["name"] == name), None)

    def wait_active(self, name, device=None, seconds=30):
        """Waits for the VM's session (and, if asked, its device); returns its status."""
        def ready():
            vm = self.vm(name)
            if not vm or vm["state"] != "active" or not any(v.get("registered") for v in vm["vcpus"]):
                return None
            if device and not vm["device"].get("provided"):
                return None
            return vm

        return wait_for(f"pvschedd serves {name}", ready, seconds, 0.05)
