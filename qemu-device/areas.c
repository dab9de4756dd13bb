/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pair of areas: descriptors in, two RAM regions out. */
#include "pvsched.h"

#include "qapi/error.h"

#include <sys/mman.h>

static void *map_area(int fd, uint64_t size, bool writable, const char *which,
                      Error **errp)
{
    struct stat st;
    void *ptr;

    if (fstat(fd, &st) < 0) {
        error_setg_errno(errp, errno, "cannot look at the %s area", which);
        return NULL;
    }
    /* mmap lets a file be mapped beyond its end, and faults later. */
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < size) {
        error_setg(errp,
                   "the %s area has %" PRId64 " bytes, %" PRIu64 " are needed",
                   which, (int64_t)st.st_size, size);
        return NULL;
    }
    /* The device never writes to the host area, so read access is enough. */
    ptr = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ,
               MAP_SHARED, fd, 0);
    if (ptr == MAP_FAILED && !writable) {
        ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (ptr == MAP_FAILED) {
        error_setg_errno(errp, errno,
                         "cannot map the %s area, it must be a "
                         "mmapable BPF array of at least %" PRIu64 " bytes",
                         which, size);
        return NULL;
    }
    return ptr;
}

PvschedAreas *pvsched_areas_new(int guest_fd, int host_fd, uint64_t size,
                                Error **errp)
{
    void *guest_ptr = map_area(guest_fd, size, true, "guest", errp);
    void *host_ptr;
    PvschedAreas *areas;

    if (!guest_ptr) {
        return NULL;
    }
    host_ptr = map_area(host_fd, size, false, "host", errp);
    if (!host_ptr) {
        munmap(guest_ptr, size);
        return NULL;
    }

    areas = PVSCHED_AREAS(object_new(TYPE_PVSCHED_AREAS));
    areas->guest_ptr = guest_ptr;
    areas->host_ptr = host_ptr;
    areas->size = size;
    /*
     * Not vmstate_register_ram(): the pages are the host's and must not
     * migrate.
     */
    memory_region_init_ram_ptr(&areas->guest, OBJECT(areas),
                               "pvsched-guest-area", size, guest_ptr);
    memory_region_init_ram_ptr(&areas->host, OBJECT(areas), "pvsched-host-area",
                               size, host_ptr);
    memory_region_set_readonly(&areas->host, true);
    return areas;
}

static void areas_finalize(Object *obj)
{
    PvschedAreas *areas = PVSCHED_AREAS(obj);

    if (areas->guest_ptr) {
        munmap(areas->guest_ptr, areas->size);
        munmap(areas->host_ptr, areas->size);
    }
}

const TypeInfo pvsched_areas_info = {
    .name = TYPE_PVSCHED_AREAS,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(PvschedAreas),
    .instance_finalize = areas_finalize,
};

bool pvsched_install_areas(PvschedState *s, PvschedAreas *areas)
{
    bool held = pvsched_hold_vcpus(s);
    PvschedAreas *old = s->areas;

    if (areas && !DEVICE(s)->realized) {
        pvsched_release_vcpus(held);
        object_unref(OBJECT(areas));
        return false;
    }
    if (old && !areas) {
        /* Out of the guest's sight first: its own pages reappear. */
        pvsched_core_set_areas(&s->core, false);
    }
    /* One transaction: the guest never sees a moment without areas. */
    memory_region_transaction_begin();
    if (old) {
        memory_region_del_subregion(&s->window[PVSCHED_GUEST], &old->guest);
        memory_region_del_subregion(&s->window[PVSCHED_HOST], &old->host);
    }
    if (areas) {
        memory_region_add_subregion(&s->window[PVSCHED_GUEST], 0,
                                    &areas->guest);
        memory_region_add_subregion(&s->window[PVSCHED_HOST], 0, &areas->host);
    }
    s->areas = areas;
    memory_region_transaction_commit();
    if (areas) {
        pvsched_core_set_areas(&s->core, true);
    }
    pvsched_release_vcpus(held);
    if (old) {
        object_unref(OBJECT(old));
    }
    return true;
}
