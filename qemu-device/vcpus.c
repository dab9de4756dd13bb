/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An overlay over guest RAM splits a KVM memory slot. QEMU 8.0 and newer keep
 * the vCPUs out of the guest for that moment, TCG has no such moment, and
 * changes are made at once. Before 8.0 the RAM around is gone for a moment, and
 * a vCPU that fetches its next instruction from it dies with an internal error;
 * so there such changes are made while no vCPU runs guest code, see
 * pvsched_slots_tear().
 *
 * A guest's own register write is put off until its vCPU has left the guest,
 * and done before that vCPU's next instruction, so that the driver sees the
 * result at once. Nothing may be dropped between: see pvsched_drain_writes().
 */
#include "pvsched.h"

#include "hw/core/cpu.h"
#include "qemu/main-loop.h"

typedef struct Write {
    hwaddr addr;
    uint64_t value;
    unsigned size;
} Write;

void pvsched_drain_writes(PvschedState *s)
{
    Write *write;

    while ((write = g_queue_pop_head(&s->writes))) {
        pvsched_core_write(&s->core, write->addr, write->value, write->size);
        g_free(write);
    }
}

void pvsched_drop_writes(PvschedState *s)
{
    while (!g_queue_is_empty(&s->writes)) {
        g_free(g_queue_pop_head(&s->writes));
    }
}

/* All vCPUs are out of the guest; the big lock is not held. */
static void drain_exclusively(CPUState *cpu, run_on_cpu_data data)
{
    PvschedState *s = data.host_ptr;

    bql_lock();
    pvsched_drain_writes(s);
    object_unref(OBJECT(s));
    bql_unlock();
}

void pvsched_write_register(PvschedState *s, hwaddr addr, uint64_t value,
                            unsigned size)
{
    CPUState *cpu = current_cpu ? current_cpu : qemu_get_cpu(0);

    /* Once one write waits, the later ones queue up behind it. */
    if (pvsched_slots_tear() && cpu && runstate_is_running() &&
        (!g_queue_is_empty(&s->writes) ||
         pvsched_core_moves_ram(&s->core, addr, value, size))) {
        Write write = { addr, value, size };

        g_queue_push_tail(&s->writes, g_memdup2(&write, sizeof(write)));
        object_ref(OBJECT(s));
        async_safe_run_on_cpu(cpu, drain_exclusively, RUN_ON_CPU_HOST_PTR(s));
        return;
    }
    pvsched_core_write(&s->core, addr, value, size);
}

bool pvsched_hold_vcpus(PvschedState *s)
{
    /*
     * A vCPU thread cannot wait for the others here: two that do so deadlock.
     * That leaves a guest which ejects the device under its own driver.
     */
    if (!pvsched_slots_tear() || !runstate_is_running() || current_cpu ||
        s->core.transport == PVSCHED_TRANSPORT_NONE) {
        return false;
    }
    pause_all_vcpus();
    pvsched_drain_writes(s);
    return true;
}

void pvsched_release_vcpus(bool held)
{
    if (held) {
        resume_all_vcpus();
    }
}
