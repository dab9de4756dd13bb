/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Properties: `areas` and `policy` are the host's controls over QMP, the
 * others show what the device sees. Each has a description.
 */
#include "pvsched.h"

#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/cutils.h"

/* --- areas --- */

static char *get_areas(Object *obj, Error **errp)
{
    PvschedState *s = PVSCHED(obj);

    return g_strdup(s->areas_names ? s->areas_names : "");
}

/* Both descriptors leave the monitor, also when only one of them exists. */
static bool take_fds(const char *guest, const char *host, int fds[2],
                     Error **errp)
{
    Monitor *mon = monitor_cur();

    if (!mon) {
        error_setg(errp, "areas can be set over QMP only, after getfd");
        return false;
    }
    fds[PVSCHED_GUEST] = monitor_get_fd(mon, guest, errp);
    fds[PVSCHED_HOST] =
        monitor_get_fd(mon, host, fds[PVSCHED_GUEST] < 0 ? NULL : errp);
    return fds[PVSCHED_GUEST] >= 0 && fds[PVSCHED_HOST] >= 0;
}

static void set_areas(Object *obj, const char *value, Error **errp)
{
    PvschedState *s = PVSCHED(obj);
    g_auto(GStrv) names = g_strsplit(value, ":", -1);
    int fds[PVSCHED_NR_AREAS] = { -1, -1 };
    PvschedAreas *areas = NULL;

    if (!DEVICE(obj)->realized) {
        error_setg(errp, "areas can be set on a plugged device only");
        return;
    }
    if (*value == '\0') {
        object_ref(obj);
        pvsched_install_areas(s, NULL);
        g_clear_pointer(&s->areas_names, g_free);
        object_unref(obj);
        return;
    }
    if (g_strv_length(names) != 2 || !*names[0] || !*names[1]) {
        error_setg(errp, "areas are GUESTFD:HOSTFD, two names given to getfd, "
                         "or empty");
        return;
    }
    if (take_fds(names[0], names[1], fds, errp)) {
        areas = pvsched_areas_new(fds[PVSCHED_GUEST], fds[PVSCHED_HOST],
                                  pvsched_core_area_size(&s->core), errp);
    }
    for (int i = 0; i < PVSCHED_NR_AREAS; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (!areas) {
        return;
    }
    object_ref(obj);
    if (pvsched_install_areas(s, areas)) {
        g_free(s->areas_names);
        s->areas_names = g_strdup(value);
    } else {
        error_setg(errp, "the guest ejected the device");
    }
    object_unref(obj);
}

/* --- policy --- */

static char *get_policy(Object *obj, Error **errp)
{
    PvschedState *s = PVSCHED(obj);

    if (!s->core.policy_version) {
        return g_strdup("");
    }
    return g_strdup_printf("%.*s:%u", PVSCHED_POLICY_NAME_LEN,
                           s->core.policy_name, s->core.policy_version);
}

static void set_policy(Object *obj, const char *value, Error **errp)
{
    PvschedState *s = PVSCHED(obj);
    const char *colon = strrchr(value, ':');
    g_autofree char *name = g_strndup(value, colon ? colon - value : 0);
    unsigned version = 0;

    if (!DEVICE(obj)->realized) {
        error_setg(errp, "a policy can be set on a plugged device only");
        return;
    }
    if (*value &&
        (!colon || !g_ascii_isdigit(colon[1]) ||
         qemu_strtoui(colon + 1, NULL, 10, &version) < 0 || version == 0)) {
        name[0] = '\0';
        version = 1; /* refused below, with the one sentence there is */
    }
    if (!pvsched_core_set_policy(&s->core, name, version)) {
        error_setg(errp,
                   "a policy is NAME:VERSION, up to %d characters of "
                   "A-Za-z0-9._- and a number from 1 to 4294967295, or empty",
                   PVSCHED_POLICY_NAME_LEN - 1);
    }
}

/* --- what can be seen --- */

typedef enum { FIELD_U32, FIELD_U64, FIELD_STR } FieldType;

typedef struct Field {
    const char *name;
    FieldType type;
    const char *description;
    uint64_t (*number)(const PvschedCore *c);
    const char *(*text)(const PvschedCore *c);
} Field;

static uint64_t abi_version(const PvschedCore *c)
{
    return PVSCHED_VERSION;
}

#define MEMBER(member)                                 \
    static uint64_t get_##member(const PvschedCore *c) \
    {                                                  \
        return c->member;                              \
    }

MEMBER(host_features)
MEMBER(guest_features)
MEMBER(driver_status)
MEMBER(gpa)
MEMBER(generation)
MEMBER(doorbells)
MEMBER(policy_accept)

static uint64_t host_status(const PvschedCore *c)
{
    return pvsched_core_host_status(c);
}

static uint64_t guest_errors(const PvschedCore *c)
{
    return pvsched_core_errors(c);
}

static const char *transport(const PvschedCore *c)
{
    return pvsched_transport_name(c->transport);
}

static const char *transport_result(const PvschedCore *c)
{
    return pvsched_result_name(c->result);
}

static const Field fields[] = {
    { "abi-version", FIELD_U32, "contract version, major << 16 | minor",
      abi_version, NULL },
    { "host-features", FIELD_U64, "feature bits offered to the driver",
      get_host_features, NULL },
    { "guest-features", FIELD_U64, "feature bits the driver chose",
      get_guest_features, NULL },
    { "driver-status", FIELD_U32,
      "acknowledge 1, driver 2, driver-ok 4, "
      "features-ok 8, failed 128",
      get_driver_status, NULL },
    { "host-status", FIELD_U32, "areas present 1, policy attached 2",
      host_status, NULL },
    { "transport", FIELD_STR, "none, bar or gpa, as the driver chose", NULL,
      transport },
    { "transport-result", FIELD_STR,
      "none, ok, waiting, not-negotiated, "
      "bad-gpa or unknown-transport",
      NULL, transport_result },
    { "gpa", FIELD_U64, "guest-physical address the driver wrote", get_gpa,
      NULL },
    { "generation", FIELD_U32, "steps with each change by the host",
      get_generation, NULL },
    { "doorbells", FIELD_U64, "doorbell rings since the device was made",
      get_doorbells, NULL },
    { "policy-accept", FIELD_U32, "policy version the driver accepted, 0: none",
      get_policy_accept, NULL },
    { "area-size", FIELD_U64, "bytes that each area must have",
      pvsched_core_area_size, NULL },
    { "guest-errors", FIELD_U32, "protocol errors of the guest, all kinds",
      guest_errors, NULL },
};

/* Indexed by PvschedGuestError. */
static const struct {
    const char *name;
    const char *description;
} error_kinds[PVSCHED_ERR_COUNT] = {
    [PVSCHED_ERR_WIDTH] = { "guest-errors-width",
                            "accesses that are not aligned 4 or 8 bytes" },
    [PVSCHED_ERR_UNKNOWN] = { "guest-errors-unknown",
                              "writes where no register is" },
    [PVSCHED_ERR_READ_ONLY] = { "guest-errors-read-only",
                                "writes to read-only registers" },
    [PVSCHED_ERR_STATUS] = { "guest-errors-status",
                             "writes that break the driver status protocol" },
    [PVSCHED_ERR_FEATURES] = { "guest-errors-features",
                               "features not offered, or changed too late" },
    [PVSCHED_ERR_TRANSPORT] = { "guest-errors-transport",
                                "transports unknown or not negotiated" },
    [PVSCHED_ERR_GPA] = { "guest-errors-gpa", "addresses that are misaligned, "
                                              "wrap, or are not RAM" },
    [PVSCHED_ERR_POLICY] = { "guest-errors-policy",
                             "acceptances of a policy version that is not "
                             "current" },
    [PVSCHED_ERR_AREA] = { "guest-errors-area",
                           "writes to BAR2 where no area is shown" },
};

static void get_u32(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    const Field *field = opaque;
    uint32_t value = field->number(&PVSCHED(obj)->core);

    visit_type_uint32(v, name, &value, errp);
}

static void get_u64(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    PvschedState *s = PVSCHED(obj);
    const Field *field = opaque;
    uint64_t value;

    pvsched_count_rings(s);
    value = field->number(&s->core);
    visit_type_uint64(v, name, &value, errp);
}

static void get_str(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    const Field *field = opaque;
    g_autofree char *value = g_strdup(field->text(&PVSCHED(obj)->core));

    visit_type_str(v, name, &value, errp);
}

static void get_error_kind(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    uint32_t value = PVSCHED(obj)->core.errors[GPOINTER_TO_UINT(opaque)];

    visit_type_uint32(v, name, &value, errp);
}

static void add_field(ObjectClass *klass, const Field *field)
{
    static const struct {
        const char *type;
        ObjectPropertyAccessor *get;
    } types[] = {
        [FIELD_U32] = { "uint32", get_u32 },
        [FIELD_U64] = { "uint64", get_u64 },
        [FIELD_STR] = { "str", get_str },
    };

    object_class_property_add(klass, field->name, types[field->type].type,
                              types[field->type].get, NULL, NULL,
                              (void *)field);
    object_class_property_set_description(klass, field->name,
                                          field->description);
}

void pvsched_class_add_properties(ObjectClass *klass)
{
    object_class_property_add_str(klass, "areas", get_areas, set_areas);
    object_class_property_set_description(
        klass, "areas",
        "guest and host area as GUESTFD:HOSTFD, names given to getfd; empty "
        "takes them back");
    object_class_property_add_str(klass, "policy", get_policy, set_policy);
    object_class_property_set_description(
        klass, "policy", "attached policy as NAME:VERSION; empty detaches it");
    object_class_property_set_description(
        klass, "slots",
        "number of vCPU slots, 1..512; default: the machine's maxcpus");

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        add_field(klass, &fields[i]);
    }
    for (unsigned i = 0; i < PVSCHED_ERR_COUNT; i++) {
        object_class_property_add(klass, error_kinds[i].name, "uint32",
                                  get_error_kind, NULL, NULL,
                                  GUINT_TO_POINTER(i));
        object_class_property_set_description(klass, error_kinds[i].name,
                                              error_kinds[i].description);
    }
}
