# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds an empty KVM VM, so that the end of the last real one does not turn virtualization off.

Before Linux 6.12 (kvm.enable_virt_at_load) KVM switches SVM off on every CPU then, and under
emulation a CPU has been seen not to answer the interrupt that asks for it.
"""
import fcntl
import os
import signal

KVM_CREATE_VM = 0xAE01

held = fcntl.ioctl(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC), KVM_CREATE_VM, 0)
signal.pause()
