// SPDX-License-Identifier: GPL-2.0
/*
 * An empty program for each event source: the daemon loads and attaches them
 * one by one to learn which this kernel gives, by really using them.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>

#include "sources.h"

char LICENSE[] SEC("license") = "GPL";

#define PVS_PROBE(kind, name) \
	SEC(#kind "/" #name)  \
	int name(void *ctx)   \
	{                     \
		return 0;     \
	}

PVS_SOURCES(PVS_PROBE)
