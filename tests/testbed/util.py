# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors, waiting, running commands."""
import contextlib
import os
import socket
import subprocess
import time


class Skip(Exception):
    """It cannot run here; the text says why. Exit status 77."""


class Failure(Exception):
    """Something went wrong; the text says what."""


class Gone(Failure):
    """A guest has died, or does not answer."""


def wait_for(what, test, seconds=20.0, step=0.005):
    """Returns test()'s first true value; fails naming `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds:g} s")
        time.sleep(step)


def connect(path, what, seconds):
    """A stream socket connected to the UNIX socket at `path`, once somebody listens there."""
    sock = socket.socket(socket.AF_UNIX)

    def connected():
        try:
            sock.connect(path)
            return True
        except OSError:
            return False

    try:
        wait_for(what, connected, seconds, 0.02)
    except BaseException:
        sock.close()
        raise
    return sock


def run(*args, check=True, stdin=None, timeout=120):
    """Runs a command; returns the finished process with text output."""
    done = subprocess.run([str(a) for a in args], input=stdin, text=True, capture_output=True, timeout=timeout,
                          check=False)
    if check and done.returncode:
        raise Failure(f"{' '.join(map(str, args))}: exit status {done.returncode}: {done.stderr.strip()}")
    return done


def read(path, default=None):
    """Content of a small file, stripped."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        if default is None:
            raise
        return default


def thread_seconds(tid):
    """Time of a thread on a CPU so far."""
    return int(read(f"/proc/{tid}/schedstat").split()[0]) / 1e9


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(str(text))


@contextlib.contextmanager
def setting(path, value):
    """Context: a value in a file of the kernel's."""
    before = read(path)
    write(path, value)
    try:
        yield
    finally:
        write(path, before)


def alive(pid):
    """Whether the process runs (a zombie does not)."""
    stat = read(f"/proc/{pid}/stat", "")
    return bool(stat) and stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def processes(name):
    """PIDs of the processes whose executable's name is `name`."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.path.basename(os.readlink(f"/proc/{entry}/exe")).split(" ")[0] == name:
                    found.append(int(entry))
            except OSError:
                continue
    return found
