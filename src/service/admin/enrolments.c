/* Who wants a certificate: from the workers to the decision and back. */
#include "base/mem.h"
#include "service/admin/renewals.h"
#include "service/admin/revoking.h"

enum { ENROLMENTS_A_TICK = 32 };

static void on_event(void *ctx, const struct event *e)
{
    admin_event(ctx, e);
}

static bool has_role(void *ctx, struct slice role)
{
    const struct admin *a = ctx;
    return a->policy != NULL && policy_has_role(a->policy, role);
}

static uint32_t grace_s(void *ctx)
{
    return renewals_grace_s(ctx);
}

enum err admin_enrol_begin(struct admin *a)
{
    struct enrol_setup setup = {.authority = a->setup.authority,
                                .directory = a->setup.directory,
                                .makers = a->setup.makers,
                                .ctx = a,
                                .event = on_event,
                                .has_role = has_role,
                                .grace_s = grace_s};
    list_init(&a->enrolled);
    if (a->setup.authority == NULL || a->setup.pki == NULL) {
        return OK;
    }
    setup.ca_pem = pki_ca_pem(a->setup.pki);
    return enrol_new(&setup, &a->enrol);
}

void admin_enrol_end(struct admin *a)
{
    struct list_node *n;
    while (a->enrolled.head.next != NULL && (n = list_first(&a->enrolled)) != NULL) {
        list_unlink(n);
        enrolment_free(LIST_ENTRY(n, struct enrolment, node));
    }
    a->enrol = enrol_free(a->enrol);
}

/* A certificate without the rest is one all the same: what fails here is left out. */
static void describe(struct admin *a, struct enrolment *e)
{
    AUTO(bundle_done) struct bundle bundle = {0};
    AUTO(admin_json_release) json_t *files = NULL;
    struct provision p = admin_provision(a);
    if (provision_describe(&p, slice_text(e->name), buf_slice(&e->chain_pem), &bundle, NULL) !=
            OK ||
        bundle_to_json(&bundle, &files) != OK) {
        return;
    }
    size_t n = json_dumpb(files, NULL, 0, JSON_COMPACT);
    uint8_t *room;
    if (n > 0 && buf_room(&e->bundle_json, n, BUNDLE_FILE_MAX, &room) == OK) {
        e->bundle_json.n = json_dumpb(files, (char *)room, n, JSON_COMPACT);
    }
}

static bool decide_all(struct admin *a, uint64_t now_ms)
{
    struct enrolment *e;
    bool has_changed = false;
    for (unsigned n = 0;
         n < ENROLMENTS_A_TICK && (e = broker_next_enrolment(a->setup.broker)) != NULL; n++) {
        if (e->want == ENROLMENT_STATUS) {
            admin_answer_status(a, e);
        } else if (a->enrol == NULL) {
            e->result = ENROLMENT_BUSY;
            why_set(&e->why, "this server has no authority that signs");
        } else {
            bool is_change = enrol_decide(a->enrol, e, now_ms, admin_wall_ms(a));
            has_changed = has_changed || is_change;
            e->epoch = is_change ? UINT64_MAX : 0; /* known below */
            if (e->result == ENROLMENT_ISSUED) {
                describe(a, e);
            }
        }
        e->until_ms = now_ms + ADMIN_REALM_WAIT_MS;
        list_append(&a->enrolled, &e->node);
    }
    return has_changed;
}

bool admin_enrol(struct admin *a, uint64_t now_ms)
{
    if (decide_all(a, now_ms)) {
        admin_push_realm(a);
    }
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    uint64_t everywhere = broker_realm_epoch(a->setup.broker);
    list_for_each_safe (n, next, &a->enrolled) {
        struct enrolment *e = LIST_ENTRY(n, struct enrolment, node);
        e->epoch = e->epoch == UINT64_MAX ? directory_version_epoch(v) : e->epoch;
        if (everywhere < e->epoch && now_ms < e->until_ms) {
            continue;
        }
        list_unlink(n);
        if (broker_enrolled(a->setup.broker, e) != OK) {
            list_append(&a->enrolled, n); /* its worker's ring is full: with the next tick */
            break;
        }
    }
    return !list_is_empty(&a->enrolled);
}
