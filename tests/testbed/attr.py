# SPDX-License-Identifier: GPL-2.0-or-later
"""Scheduling attributes of threads, as the kernel tells them (sched_getattr, timer slack)."""
import ctypes
import os

from .util import read

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_SCHED_GETATTR = 315  # x86-64


class SchedAttr(ctypes.Structure):
    """struct sched_attr of sched_getattr(2)."""
    _fields_ = [("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64),
                ("nice", ctypes.c_int32), ("priority", ctypes.c_uint32), ("runtime", ctypes.c_uint64),
                ("deadline", ctypes.c_uint64), ("period", ctypes.c_uint64), ("util_min", ctypes.c_uint32),
                ("util_max", ctypes.c_uint32)]


def attributes(tid):
    """All attributes of a thread and its timer slack as a dict, or None if it is gone."""
    attr = SchedAttr(size=ctypes.sizeof(SchedAttr))
    if _libc.syscall(_SYS_SCHED_GETATTR, tid, ctypes.byref(attr), ctypes.sizeof(attr), 0) != 0:
        return None
    out = {name: getattr(attr, name) for name, _ in SchedAttr._fields_ if name != "size"}
    out["timer_slack_ns"] = int(read(f"/proc/{tid}/timerslack_ns", "0") or 0)
    return out


def threads(pid):
    """TIDs of a process."""
    try:
        return sorted(int(t) for t in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return []


def policy(tid):
    """SCHED_* number of a thread, -1 if it is gone."""
    try:
        return os.sched_getscheduler(tid) & ~os.SCHED_RESET_ON_FORK
    except OSError:
        return -1
