/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tags: what an administrator says of a VM, a vCPU, a thread or a cgroup, as
 * one integer that policies see (pvs_policy_event.tag). The names below are
 * known everywhere; an administrator's own are in pvschedd.conf, [tags], with
 * integers from PVS_TAG_OWN_MIN on, so that a policy can be compiled against
 * them. docs/design/tags.md is the text to this header.
 */
#ifndef PVSCHED_TAGS_H
#define PVSCHED_TAGS_H

#define PVS_TAG_NONE 0u
#define PVS_TAG_FOREGROUND 1u /* background ones give way to it */
#define PVS_TAG_BACKGROUND 2u /* gives way to foreground ones */
#define PVS_TAG_OWN_MIN 16u
#define PVS_TAG_MAX 65535u

/* Name and integer; of two names for one integer the first is shown. */
#define PVS_TAGS(X)                         \
	X("none", PVS_TAG_NONE)             \
	X("foreground", PVS_TAG_FOREGROUND) \
	X("background", PVS_TAG_BACKGROUND) \
	X("online", PVS_TAG_FOREGROUND)     \
	X("offline", PVS_TAG_BACKGROUND)

#endif /* PVSCHED_TAGS_H */
