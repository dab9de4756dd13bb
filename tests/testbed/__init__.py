# SPDX-License-Identifier: GPL-2.0-or-later
"""Testbed: see README.md."""
