# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of the RFC "Dynamic vcpu priority management in kvm", that ours stand beside. Microseconds."""

MODES = ("vanilla", "dynamic", "static")

# (where, load, figure) -> interval -> vanilla, dynamic, static
LATENCY = {
    ("guest", "busy", "avg_us"): {500: (887, 21, 25), 1000: (6335, 45, 38)},
    ("guest", "busy", "max_us"): {500: (216835, 13978, 1728), 1000: (199575, 70651, 1537)},
    ("host", "busy", "avg_us"): {500: (6, 6, 7), 1000: (11, 11, 14)},
    ("host", "busy", "max_us"): {500: (2075, 2114, 2447), 1000: (1886, 1285, 27104)},
    ("guest", "idle", "avg_us"): {500: (9, 9, 10), 1000: (34, 35, 35)},
    ("guest", "idle", "max_us"): {500: (1577, 1433, 140), 1000: (6649, 765, 204)},
}

# load -> buffer in ms -> glitches under vanilla, dynamic
AUDIO = {
    "busy": {2: (1365, 67), 4: (524, 23), 10: (25, 24)},
    "idle": {2: (20, 4), 4: (3, 1), 10: (0, 0)},
}
