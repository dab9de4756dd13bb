# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP connection of a test's own. pvschedd has another one: a monitor serves one client."""
import array
import json
import select
import socket
import time

from .util import Failure, Gone, connect


class Qmp:
    """Context: commands as calls, events kept until somebody waits for them."""

    def __init__(self, path, seconds=30):
        self.sock = connect(path, f"QMP at {path}", seconds)
        self.data = b""
        self.events = []
        self._next(lambda m: "QMP" in m, seconds)
        self("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def __call__(self, command, seconds=60, fds=(), **arguments):
        """Runs a command; returns what it returned, fails with QEMU's sentence."""
        message = json.dumps({"execute": command, "arguments": {k.replace("_", "-"): v for k, v in arguments.items()}})
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([message.encode() + b"\n"], ancillary)
        answer = self._next(lambda m: "return" in m or "error" in m, seconds)
        if "error" in answer:
            raise Failure(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def wait_event(self, *names, seconds=60):
        """The next event of one of these names, those before it included."""
        end = time.monotonic() + seconds
        while True:
            for event in self.events:
                if event["event"] in names:
                    self.events.remove(event)
                    return event
            self.events.append(self._next(lambda m: "event" in m, end - time.monotonic()))

    def _next(self, wanted, seconds):
        end = time.monotonic() + seconds
        while True:
            while b"\n" in self.data:
                line, self.data = self.data.split(b"\n", 1)
                message = json.loads(line)
                if wanted(message):
                    return message
                if "event" in message:
                    self.events.append(message)
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise Gone(f"QMP said nothing within {seconds:g} s")
            more = self.sock.recv(65536)
            if not more:
                raise Gone("QEMU closed its monitor")
            self.data += more
