/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integer types for BPF programs, without the kernel's headers. */
#ifndef PVSCHED_BPF_TYPES_H
#define PVSCHED_BPF_TYPES_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
#define PVSCHED_ABI_TYPES

#endif /* PVSCHED_BPF_TYPES_H */
