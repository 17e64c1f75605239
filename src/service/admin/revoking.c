#include "service/admin/revoking.h"

#include "security/crypto/crl_make.h"
#include "security/crypto/ocsp.h"
#include "service/pki/revocation.h"
#include "service/pki/status_door.h"

enum {
    LISTS_LOOK_MS = 60 * 1000, /* the authority signs anew when half a list's time is over */
    LISTS_AGAIN_MS = 250       /* between two while the directory changes, or after a failure */
};

#define HELD_OWN   "revocation list not published"
#define HELD_EXTRA "revocation list past its time"

/* ---- an operator's ---- */

void admin_set_extra(struct admin *a, const struct crl_set *extra)
{
    const struct crl_set *old = a->lists.extra;
    a->lists.extra = extra != NULL ? crl_set_ref(extra) : NULL;
    crl_set_unref(old);
    a->lists_at_ms = 0;
}

/* What it names stays revoked; what it would name by now is not known. */
static void watch_extra(struct admin *a)
{
    struct event e = event_make(EVENT_revoked);
    int64_t next = a->lists.extra != NULL ? crl_set_next_update(a->lists.extra) : INT64_MAX;
    bool is_past = next <= admin_wall_ms(a);
    char ended[CLOCK_ISO8601_BYTES];
    if (is_past == a->is_extra_past) {
        return;
    }
    a->is_extra_past = is_past;
    if (!is_past) {
        (void)alerts_release(&a->alerts, HELD_EXTRA);
        return;
    }
    clock_iso8601(next, ended);
    e.severity = SEVERITY_ALERT;
    EVENT_TEXT(&e, target, slice_text(REVOCATION_EXTRA_FILE));
    event_reason(&e,
                 "a revocation list in DIR/" REVOCATION_EXTRA_FILE " is past its time (%s): it "
                 "still shuts out whom it names, and nobody else. Put a newer one there and reload",
                 ended);
    admin_hold(a, HELD_EXTRA, &e);
}

/* ---- our own ---- */

void admin_lists_begin(struct admin *a)
{
    struct why ignored;
    admin_set_extra(a, a->setup.extra);
    if (revocation_load(a->setup.disk, REVOCATION_FILE, pki_ca_pem(a->setup.pki), admin_wall_ms(a),
                        &a->lists.own, &ignored) != OK) {
        a->lists.own = NULL; /* a copy: the authority says it again at once */
    }
}

void admin_lists_end(struct admin *a)
{
    a->lists.own = crl_set_unref(a->lists.own);
    a->lists.extra = crl_set_unref(a->lists.extra);
    buf_done(&a->own_list_der);
}

static bool names_the_same(const struct crl_set *a, const struct crl_set *b)
{
    /* Entries only come and, years later, go: equal numbers of both at once do not happen between
     * two looks. */
    return a != NULL && b != NULL && crl_set_count(a) == crl_set_count(b);
}

/* Takes der. */
static enum err take_list(struct admin *a, struct buf *der)
{
    AUTO(buf_done) struct buf pem = {0};
    const struct crl_set *fresh = NULL;
    struct why ignored;
    uint64_t epoch;
    TRY(crl_to_pem(buf_slice(der), &pem));
    TRY(crl_set_new(buf_slice(&pem), pki_ca_pem(a->setup.pki), admin_wall_ms(a), &fresh, &ignored));
    bool is_news =
        !names_the_same(fresh, a->lists.own) && (crl_set_count(fresh) > 0 || a->lists.own != NULL);
    /* Only a realm of another epoch makes every door look again at who is there. */
    enum err err = is_news ? directory_policy_changed(a->setup.directory, &epoch) : OK;
    if (err != OK) {
        crl_set_unref(fresh);
        return err;
    }
    crl_set_unref(a->lists.own);
    a->lists.own = fresh;
    if (is_news) {
        admin_push_realm(a);
    }
    TRY(disk_save(a->setup.disk, REVOCATION_FILE, buf_slice(&pem)));
    buf_done(&a->own_list_der);
    a->own_list_der = *der;
    *der = (struct buf){0};
    return OK;
}

enum err admin_publish_list(struct admin *a)
{
    AUTO(buf_done) struct buf der = {0};
    int64_t next = 0;
    TRY(authority_crl(a->setup.authority, admin_wall_ms(a), &der, &next));
    return slice_equal(buf_slice(&der), buf_slice(&a->own_list_der)) ? OK : take_list(a, &der);
}

/* ---- the word that is stapled ---- */

static enum err staple(struct admin *a, int64_t *ret_until_wall_ms)
{
    const struct x509 *leaf = pki_server(a->setup.pki);
    struct slice chain = pki_server_chain_pem(a->setup.pki);
    AUTO(x509_autofree) struct x509 *first = NULL;
    AUTO(x509_autofree) struct x509 *issuer = NULL;
    AUTO(buf_done) struct buf question = {0};
    AUTO(buf_done) struct buf answer = {0};
    struct ocsp_status status;
    int64_t now = admin_wall_ms(a);
    TRY(x509_next_pem(&chain, &first));
    TRY(x509_next_pem(&chain, &issuer));
    TRY(ocsp_request(leaf, issuer, &question));
    TRY(authority_ocsp(a->setup.authority, buf_slice(&question), now, &answer));
    TRY(ocsp_read(buf_slice(&answer), leaf, issuer, now, &status, ret_until_wall_ms));
    return status.standing == OCSP_GOOD
               ? tls_staple_set(a->setup.staple, &x509_info(leaf)->id, buf_slice(&answer))
               : ERR_DENIED;
}

/* Nobody is refused for want of it; the former word stays until it ends. */
static void keep_staple(struct admin *a)
{
    int64_t until = 0, now = admin_wall_ms(a);
    const struct digest *id = &x509_info(pki_server(a->setup.pki))->id;
    bool is_its = slice_equal(digest_slice(id), digest_slice(&a->stapled));
    if (a->setup.staple == NULL || (is_its && now < a->staple_again_wall_ms)) {
        return;
    }
    if (staple(a, &until) == OK) {
        a->stapled = *id;
        a->staple_again_wall_ms = now + (until - now) / 2;
    }
}

/* ---- now and then ---- */

static void say_failed(struct admin *a, enum err err)
{
    struct event e = event_make(EVENT_revoked);
    e.severity = SEVERITY_ALERT;
    EVENT_TEXT(&e, target, slice_text(REVOCATION_FILE));
    event_reason(&e,
                 "the revocation list could not be signed, put on record or saved (%s). Devices "
                 "that were revoked are refused here all the same; who reads DIR/" REVOCATION_FILE
                 " does not hear of them. It is tried again",
                 err_name(err));
    admin_hold(a, HELD_OWN, &e);
}

static void publish(struct admin *a)
{
    enum err err = admin_publish_list(a);
    bool failed = err != OK;
    if (failed && !a->is_list_failing) {
        say_failed(a, err);
    } else if (!failed && a->is_list_failing) {
        admin_release(a, HELD_OWN);
    }
    a->is_list_failing = failed;
}

uint64_t admin_keep_lists(struct admin *a, uint64_t now_ms)
{
    if (a->setup.authority == NULL) {
        return UINT64_MAX;
    }
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    bool has_changed = directory_version_epoch(v) != a->lists_epoch;
    if (now_ms < a->lists_at_ms && !(has_changed && now_ms >= a->lists_soon_ms)) {
        return has_changed && a->lists_soon_ms < a->lists_at_ms ? a->lists_soon_ms : a->lists_at_ms;
    }
    a->lists_epoch = directory_version_epoch(v);
    a->lists_soon_ms = now_ms + LISTS_AGAIN_MS;
    publish(a);
    keep_staple(a);
    watch_extra(a);
    a->lists_at_ms = now_ms + (a->is_list_failing ? 10 * LISTS_AGAIN_MS : LISTS_LOOK_MS);
    return a->lists_at_ms;
}

/* ---- to whom asks ---- */

void admin_answer_status(struct admin *a, struct enrolment *e)
{
    struct status_question q = {.kind = (enum status_kind)e->status_kind};
    struct status_answer said = {.max_age_s = 0};
    q.n = e->csr_der.n < sizeof q.ocsp_der ? e->csr_der.n : sizeof q.ocsp_der;
    slice_copy(q.ocsp_der, slice_head(buf_slice(&e->csr_der), q.n));
    e->result = ENROLMENT_BUSY;
    if (a->setup.authority != NULL &&
        status_door_answer(a->setup.authority, &q, admin_wall_ms(a), &said) == OK) {
        e->result = ENROLMENT_ISSUED;
        e->type = said.type;
        e->certs_der = said.body;
    }
}
