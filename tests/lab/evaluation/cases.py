# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs unittest cases as the test runner counts them: a last line "N passed, N failed, N skipped"."""
import sys
import unittest


def main(module):
    """Runs all cases of a module, given by name, and exits: 0, 1, or 77 when all were skipped."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[module])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    failed = len({case.id().split(" ")[0] for case, _ in result.failures + result.errors}
                 | {case.id() for case in result.unexpectedSuccesses})
    skipped = len(result.skipped)
    passed = max(result.testsRun - failed - skipped, 0)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0 if passed else 77)
