# SPDX-License-Identifier: GPL-2.0-or-later
"""The evaluation with Linux guests: what is measured, how it is read, what is judged. `tests` must be in sys.path."""
