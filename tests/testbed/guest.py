# SPDX-License-Identifier: GPL-2.0-or-later
"""The mini guest's serial line: events in, commands out (guest/mini/README.md)."""
import json
import select
import time

from .util import Failure, connect


class Guest:
    """Context: a connection to the guest. Every wait has a deadline."""

    def __init__(self, path):
        self.data = b""
        self.tsc_khz = None
        self.sock = connect(path, "the guest's serial socket", 20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def event(self, *names, seconds=60):
        """The next event of one of these names; others before it are dropped."""
        end = time.monotonic() + seconds
        while True:
            while b"\n" in self.data:
                line, self.data = self.data.split(b"\n", 1)
                at = line.find(b"{")  # firmware may have printed before it
                if at < 0:
                    continue
                try:
                    event = json.loads(line[at:])
                except ValueError:
                    continue
                if event.get("event") == "ready":
                    self.tsc_khz = event["tsc_khz"]
                if event.get("event") in names:
                    return event
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise Failure(f"the guest did not say {' or '.join(names)} within {seconds} s")
            more = self.sock.recv(65536)
            if not more:
                raise Failure("the guest's serial line was closed")
            self.data += more

    def drain(self):
        """Drops what has come. A guest prints byte by byte: some 280 bytes fill the socket, and then it waits."""
        self.data = b""
        while select.select([self.sock], [], [], 0)[0]:
            if not self.sock.recv(65536):
                raise Failure("the guest's serial line was closed")

    def ready(self, seconds=60):
        return self.event("ready", seconds=seconds)

    def send(self, command):
        self.sock.sendall(command.encode() + b"\n")

    def round(self, samples, seconds=120):
        """Runs one round; returns (latencies in microseconds, the guest's summary). The guest must print=each."""
        self.send(f"run {samples}")
        values = []
        while True:
            event = self.event("lat", "summary", "error", seconds=seconds)
            if event["event"] == "error":
                raise Failure(f"the guest refused the round: {event['text']}")
            if event["event"] == "summary":
                return values, event
            values += [ticks * 1000.0 / self.tsc_khz for ticks in event["tsc"]]
