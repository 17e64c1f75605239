#include "security/crypto/crl.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>

#include "base/mem.h"
#include "security/crypto/x509_private.h"

struct crl_set {
    atomic_uint refs;
    int64_t next_update_wall_ms;
    size_t n;
    struct digest id[]; /* sorted */
};

static void crl_autofree(X509_CRL **crl)
{
    X509_CRL_free(*crl);
}

static void list_of_crls_autofree(STACK_OF(X509_CRL) * *lists)
{
    sk_X509_CRL_pop_free(*lists, X509_CRL_free);
}

static enum err read_lists(struct slice pem, STACK_OF(X509_CRL) * ret)
{
    AUTO(crypto_bio_autofree) BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (bio == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    for (;;) {
        AUTO(crl_autofree)
        X509_CRL *crl = PEM_read_bio_X509_CRL(bio, NULL, crypto_no_passphrase, NULL);
        if (crl == NULL) {
            break;
        }
        if (sk_X509_CRL_push(ret, crl) <= 0) {
            return crypto_fail(ERR_NOMEM);
        }
        crl = NULL; /* the stack has it */
    }
    bool is_end = ERR_GET_LIB(ERR_peek_last_error()) == ERR_LIB_PEM &&
                  ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    return crypto_fail(is_end && sk_X509_CRL_num(ret) > 0 ? OK : ERR_MALFORMED);
}

/* ---- is it a list of ours, and whole? ---- */

static enum err check_signer(X509_CRL *crl, struct slice authorities_pem, struct why *why)
{
    struct x509 *x = NULL;
    bool is_ours = false;
    enum err err = OK;
    while (!is_ours && (err = x509_next_pem(&authorities_pem, &x)) == OK) {
        EVP_PKEY *key = X509_get0_pubkey(x->cert);
        is_ours = X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(x->cert)) == 0 &&
                  key != NULL && X509_CRL_verify(crl, key) == 1;
        x = x509_free(x);
    }
    if (err != OK && err != ERR_NOT_FOUND) {
        return err;
    }
    if (!is_ours) {
        why_set(why, "it holds a revocation list that no authority of this fortress has signed");
    }
    return crypto_fail(is_ours ? OK : ERR_AUTH);
}

static bool has_critical(X509_CRL *crl)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    bool has = X509_CRL_get_ext_by_critical(crl, 1, -1) >= 0;
    for (int i = 0; !has && i < sk_X509_REVOKED_num(entries); i++) {
        has = X509_REVOKED_get_ext_by_critical(sk_X509_REVOKED_value(entries, i), 1, -1) >= 0;
    }
    return has;
}

static enum err check_list(X509_CRL *crl, struct slice authorities_pem, int64_t now_wall_ms,
                           struct crl_set *s, struct why *why)
{
    int64_t from = 0, next = INT64_MAX;
    TRY(check_signer(crl, authorities_pem, why));
    if (has_critical(crl)) {
        why_set(why, "it holds a revocation list with a critical extension (a delta, or a list of "
                     "some certificates alone): put the authority's whole list there");
        return ERR_MALFORMED;
    }
    TRY(x509_time(X509_CRL_get0_lastUpdate(crl), &from));
    if (X509_CRL_get0_nextUpdate(crl) != NULL) {
        TRY(x509_time(X509_CRL_get0_nextUpdate(crl), &next));
    }
    if (from > now_wall_ms + CRL_CLOCK_SKEW_MS) {
        why_set(why, "it holds a revocation list that begins in the future: is a clock wrong?");
        return ERR_EXPIRED;
    }
    s->next_update_wall_ms = next < s->next_update_wall_ms ? next : s->next_update_wall_ms;
    return OK;
}

/* ---- what it names ---- */

static enum err add_entries(X509_CRL *crl, struct crl_set *s)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) {
        const X509_REVOKED *r = sk_X509_REVOKED_value(entries, i);
        TRY(x509_id(X509_CRL_get_issuer(crl), X509_REVOKED_get0_serialNumber(r), &s->id[s->n]));
        s->n++;
    }
    return OK;
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct digest));
}

static size_t count_entries(STACK_OF(X509_CRL) * lists)
{
    size_t n = 0;
    for (int i = 0; i < sk_X509_CRL_num(lists); i++) {
        STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(sk_X509_CRL_value(lists, i));
        n += entries != NULL ? (size_t)sk_X509_REVOKED_num(entries) : 0;
    }
    return n;
}

static enum err fill(struct crl_set *s, STACK_OF(X509_CRL) * lists, struct slice authorities_pem,
                     int64_t now_wall_ms, struct why *why)
{
    for (int i = 0; i < sk_X509_CRL_num(lists); i++) {
        TRY(check_list(sk_X509_CRL_value(lists, i), authorities_pem, now_wall_ms, s, why));
        TRY(add_entries(sk_X509_CRL_value(lists, i), s));
    }
    qsort(s->id, s->n, sizeof(s->id[0]), by_bytes);
    return OK;
}

enum err crl_set_new(struct slice lists_pem, struct slice authorities_pem, int64_t now_wall_ms,
                     const struct crl_set **ret, struct why *why)
{
    AUTO(list_of_crls_autofree) STACK_OF(X509_CRL) *lists = sk_X509_CRL_new_null();
    if (lists == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    if (lists_pem.n > CRL_FILE_MAX) {
        return ERR_TOO_LARGE;
    }
    enum err err = lists_pem.n > 0 ? read_lists(lists_pem, lists) : ERR_MALFORMED;
    if (err != OK) {
        why_set(why, "it holds no revocation list (PEM, X509 CRL), or one that cannot be read");
        return err;
    }
    size_t n = count_entries(lists);
    if (n > CRL_ENTRIES_MAX) {
        why_set(why, "it revokes more than %d certificates", (int)CRL_ENTRIES_MAX);
        return ERR_LIMIT;
    }
    struct crl_set *s = mem_zalloc(sizeof(*s) + n * sizeof(s->id[0]));
    if (s == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&s->refs, 1);
    s->next_update_wall_ms = INT64_MAX;
    err = fill(s, lists, authorities_pem, now_wall_ms, why);
    if (err != OK) {
        mem_free(s);
        return err;
    }
    *ret = s;
    return OK;
}

/* The count is the one mutable word of a shared immutable object. */
static atomic_uint *refs_of(const struct crl_set *s)
{
    return (atomic_uint *)(uintptr_t)&s->refs;
}

const struct crl_set *crl_set_ref(const struct crl_set *s)
{
    atomic_fetch_add_explicit(refs_of(s), 1, memory_order_relaxed);
    return s;
}

const struct crl_set *crl_set_unref(const struct crl_set *s)
{
    if (s != NULL && atomic_fetch_sub_explicit(refs_of(s), 1, memory_order_acq_rel) == 1) {
        mem_free((void *)(uintptr_t)s);
    }
    return NULL;
}

bool crl_set_lists(const struct crl_set *s, const struct digest *id)
{
    return s != NULL && s->n > 0 && bsearch(id, s->id, s->n, sizeof(s->id[0]), by_bytes) != NULL;
}

size_t crl_set_count(const struct crl_set *s)
{
    return s->n;
}

int64_t crl_set_next_update(const struct crl_set *s)
{
    return s->next_update_wall_ms;
}
