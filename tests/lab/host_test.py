#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's host that dies, with a shell in place of the emulator: booted again, its results kept, within the limit."""
import contextlib
import io
import os
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

from lab.evaluation.cases import main  # noqa: E402
from vm import DIED, TIMED_OUT, LabHost  # noqa: E402

COUNT = "echo boot >>share/results/boots; n=$(wc -l <share/results/boots); echo boot $n; echo booting >console.log; "
END = "echo 0 >share/status"


class ShellHost(LabHost):
    """The command is what the emulator does, in the host's folder."""

    def _prepare(self, command):
        self.command = command.strip("'")
        (self.folder / "share" / "status").unlink(missing_ok=True)

    def _qemu(self, output):
        return ["sh", "-c", f"cd '{self.folder}'; exec 3>&1; {self.command}"]


class Cases(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()), "7.3")

    def host(self, keep=True):
        return ShellHost(SimpleNamespace(name="7.3"), Path("/nowhere"), self.folder, keep=keep)

    def run_again(self, script, seconds=60, reboots=5, silence=60, host=None):
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.redirect_stderr(io.StringIO()):
            return (host or self.host()).run_again([script], seconds, reboots, silence)

    def boots(self):
        return (self.folder / "share/results/boots").read_text(encoding="ascii").count("boot")

    def test_it_is_booted_again_until_the_command_ends(self):
        self.assertEqual(self.run_again(COUNT + f"[ $n -lt 3 ] || {END}"), 0)
        self.assertEqual(self.boots(), 3)
        for number, folder in enumerate(("died-1", "died-2", "."), 1):
            self.assertEqual((self.folder / folder / "output.log").read_text(encoding="ascii"), f"boot {number}\n")
            self.assertTrue((self.folder / folder / "console.log").exists())

    def test_so_often_at_most(self):
        self.assertEqual(self.run_again(COUNT, reboots=2), DIED)
        self.assertEqual(self.boots(), 3)

    def test_a_command_that_fails_has_ended(self):
        self.assertEqual(self.run_again(COUNT + "echo 3 >share/status"), 3)
        self.assertEqual(self.boots(), 1)

    def test_the_status_of_the_host_before_does_not_count(self):
        host = self.host()
        self.assertEqual(self.run_again(COUNT + END, host=host), 0)
        self.assertEqual(self.run_again(COUNT, reboots=0, host=host), DIED)

    def test_all_boots_share_the_time_limit(self):
        host, real, given = self.host(), LabHost.run, []
        host.run = lambda command, seconds, silence: given.append(seconds) or real(host, command, seconds, silence)
        self.assertEqual(self.run_again(COUNT + "sleep 0.3", seconds=50, reboots=2, host=host), DIED)
        self.assertLessEqual(given[0], 50)
        self.assertTrue(all(a - b >= 0.3 for a, b in zip(given, given[1:])), given)

    def test_the_time_limit(self):
        self.assertEqual(self.run_again(COUNT + "sleep 60", seconds=1), TIMED_OUT)
        self.assertEqual(self.boots(), 1)

    def test_a_silent_host_has_died(self):
        self.assertEqual(self.run_again(COUNT + f"[ $n -gt 1 ] && {END} || sleep 60", silence=1), 0)
        self.assertEqual(self.boots(), 2)

    def test_results_are_kept_from_run_to_run_where_asked(self):
        self.run_again(COUNT, reboots=1)
        self.run_again(COUNT + END)
        self.assertEqual(self.boots(), 3)
        self.assertFalse((self.folder / "died-1").exists())
        self.run_again(COUNT + END, host=self.host(keep=False))
        self.assertEqual(self.boots(), 1)


if __name__ == "__main__":
    main(__name__)
