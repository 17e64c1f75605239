/* Certificates that devices renew over MQTT: decided by the authority, registered, and told when
 * every worker knows. */
#include "service/admin/renewals.h"

#include "base/mem.h"
#include "service/admin/admin_private.h"

enum {
    BATCH_MAX = 64,     /* signed between two looks at everything else */
    BATCH_EVERY_MS = 50 /* a new realm is work for every worker */
};

struct renewals {
    struct renewal *told[BATCH_MAX]; /* by themselves: what is decided, and waits for the workers */
    size_t n;
    uint64_t epoch;      /* that every worker must decide by before */
    uint64_t next_at_ms; /* the next batch */
};

enum err renewals_new(struct renewals **ret)
{
    *ret = mem_zalloc(sizeof(**ret));
    return *ret != NULL ? OK : ERR_NOMEM;
}

struct renewals *renewals_free(struct renewals *r)
{
    if (r != NULL) {
        for (size_t i = 0; i < r->n; i++) {
            renewal_free(r->told[i]);
        }
        mem_free(r);
    }
    return NULL;
}

static void certificate_release(struct authority_certificate *c)
{
    authority_certificate_done(c);
}

/* Signed, and in the directory as soon as the batch is. */
static enum err decide(struct admin *a, struct renewal *r, int64_t now_wall_ms)
{
    AUTO(certificate_release) struct authority_certificate made = {0};
    struct authority_order order = {.name = slice_text(r->name),
                                    .csr_der = buf_slice(&r->csr),
                                    .proof = AUTHORITY_BY_RENEWAL,
                                    .current_der = buf_slice(&r->current)};
    TRY(authority_issue(a->setup.authority, &order, now_wall_ms, &made, &r->why));
    struct directory_renewal row = {.name = order.name,
                                    .by = r->credential,
                                    .spki = made.spki,
                                    .serial = authority_serial_plain(&made.serial),
                                    .expires_wall_ms = made.not_after_wall_ms};
    TRY(directory_renew(a->setup.directory, &row, now_wall_ms, &r->why));
    return buf_append(&r->chain, buf_slice(&made.chain_pem), PKI_FILE_MAX);
}

static void report(struct admin *a, const struct renewal *r)
{
    struct event e = event_make(EVENT_credential_rotated);
    e.protocol = EVENT_PROTOCOL_mqtt;
    EVENT_TEXT(&e, principal, slice_text(r->name));
    event_reason(&e, "%s renewed its certificate%s; the one before stays until the new one is used",
                 r->name, r->is_late ? " in the renewal lane, after its end" : "");
    admin_event(a, &e);
}

static void take_batch(struct admin *a, struct renewals *q)
{
    int64_t now_wall_ms = admin_wall_ms(a);
    struct renewal *r;
    directory_begin(a->setup.directory);
    while (q->n < BATCH_MAX && (r = broker_next_renewal(a->setup.broker)) != NULL) {
        q->told[q->n++] = r;
        r->result = decide(a, r, now_wall_ms);
        if (r->result != OK && r->why.text[0] == '\0') {
            why_set(&r->why, "the server cannot do it now (%s); try again in a minute",
                    err_name(r->result));
        }
    }
    enum err err = directory_commit(a->setup.directory);
    if (err != OK) {
        directory_rollback(a->setup.directory);
    }
    for (size_t i = 0; i < q->n; i++) {
        r = q->told[i];
        if (err != OK && r->result == OK) {
            buf_done(&r->chain);
            r->result = err;
            why_set(&r->why,
                    "the disk of the server refused (%s): nothing changed; try again later",
                    err_name(err));
        } else if (r->result == OK) {
            report(a, r);
        }
    }
}

/* Who is told comes back at once, maybe to another worker: it must be known there. */
static void tell(struct admin *a, struct renewals *q)
{
    while (q->n > 0 && broker_renewed(a->setup.broker, q->told[q->n - 1]) == OK) {
        q->n--;
    }
}

uint64_t admin_renew(struct admin *a, uint64_t now_ms)
{
    struct renewals *q = a->renewals;
    if (a->setup.authority == NULL) {
        return UINT64_MAX;
    }
    if (q->n == 0 && now_ms >= q->next_at_ms) {
        take_batch(a, q);
        if (q->n > 0) {
            AUTO(admin_version_release)
            const struct directory_version *v = directory_current(a->setup.directory);
            q->epoch = directory_version_epoch(v);
            q->next_at_ms = now_ms + BATCH_EVERY_MS;
            admin_push_realm(a);
        }
    }
    if (q->n > 0 && broker_realm_epoch(a->setup.broker) >= q->epoch) {
        tell(a, q);
    }
    if (q->n > 0) {
        return now_ms + ADMIN_POLL_MS;
    }
    return now_ms < q->next_at_ms ? q->next_at_ms : UINT64_MAX;
}

uint32_t renewals_grace_s(const struct admin *a)
{
    return a->edition != NULL ? a->edition->limits.renewal_grace_s : a->setup.renewal_grace_s;
}

int64_t renewals_until(const struct admin *a, const struct directory_entry *e,
                       const struct credential *c, int64_t now_wall_ms)
{
    int64_t until = 0;
    bool is_newest = false;
    for (size_t i = 0; i < e->n_credentials; i++) {
        bool is_certificate = e->credentials[i]->kind == CREDENTIAL_X509;
        is_newest = is_certificate ? e->credentials[i] == c : is_newest;
    }
    if (!is_newest || credential_is_live(c, now_wall_ms) ||
        e->principal->status != PRINCIPAL_ACTIVE) {
        return 0;
    }
    until = c->expires_wall_ms + (int64_t)renewals_grace_s(a) * 1000;
    return now_wall_ms <= until ? until : 0;
}
