/* What the authority says of the certificates it has signed: one list of all that are revoked, and
 * answers about single ones. */
#include "base/mem.h"
#include "security/crypto/crl_make.h"
#include "security/crypto/ocsp.h"
#include "service/pki/authority_own_private.h"
#include "service/pki/pki_private.h"

/* ---- the list ---- */

static size_t count_revoked(const struct pki_register *r)
{
    const struct register_issued *i;
    size_t at = 0, n = 0;
    while ((i = register_issued_next(r, &at)) != NULL) {
        n += i->revoked_wall_ms != 0 ? 1 : 0;
    }
    return n;
}

static void entries_release(struct crl_entry **e)
{
    *e = mem_free(*e);
}

static enum err make_list(struct authority_own *a, int64_t now_wall_ms, struct buf *ret)
{
    const struct pki_register *r = a->setup.reg;
    size_t n = count_revoked(r), at = 0;
    AUTO(entries_release) struct crl_entry *entries = mem_array(n + 1, sizeof *entries);
    struct crl_order order = {.issuer = a->setup.pki->intermediate,
                              .issuer_key = a->setup.pki->intermediate_key,
                              .now_wall_ms = now_wall_ms,
                              .next_update_wall_ms = now_wall_ms + AUTHORITY_CRL_LIFE_MS,
                              .entries = entries};
    const struct register_issued *i;
    if (entries == NULL) {
        return ERR_NOMEM;
    }
    while ((i = register_issued_next(r, &at)) != NULL) {
        if (i->revoked_wall_ms != 0) {
            entries[order.n++] = (struct crl_entry){.serial = authority_serial_plain(&i->serial),
                                                    .reason = i->reason,
                                                    .at_wall_ms = i->revoked_wall_ms};
        }
    }
    TRY(register_crl_next(a->setup.reg, &order.number));
    return crl_make(&order, ret);
}

static bool is_list_good(const struct authority_own *a, int64_t now_wall_ms)
{
    const struct authority_word *w = &a->word;
    return w->crl_der.n > 0 && w->revision == register_revision(a->setup.reg) &&
           w->issuer == a->setup.pki->intermediate && now_wall_ms >= w->made_wall_ms &&
           now_wall_ms < w->made_wall_ms + AUTHORITY_CRL_LIFE_MS / 2;
}

enum err authority_own_crl(struct authority_own *a, int64_t now_wall_ms, struct buf *ret_der,
                           int64_t *ret_next_update_wall_ms)
{
    struct authority_word *w = &a->word;
    if (!is_list_good(a, now_wall_ms)) {
        struct buf fresh = {0};
        enum err err = make_list(a, now_wall_ms, &fresh);
        if (err != OK) {
            buf_done(&fresh);
            return err;
        }
        buf_done(&w->crl_der);
        w->crl_der = fresh;
        w->revision = register_revision(a->setup.reg);
        w->issuer = a->setup.pki->intermediate;
        w->made_wall_ms = now_wall_ms;
    }
    TRY(buf_append(ret_der, buf_slice(&w->crl_der), CRL_FILE_MAX));
    *ret_next_update_wall_ms = w->made_wall_ms + AUTHORITY_CRL_LIFE_MS;
    return OK;
}

/* ---- answers ---- */

static enum err look(void *ctx, struct slice bytes, struct ocsp_status *ret)
{
    const struct authority_own *a = ctx;
    struct authority_serial serial;
    struct serial plain;
    *ret = (struct ocsp_status){.standing = OCSP_UNKNOWN};
    if (serial_from(bytes, &plain) != OK) {
        return OK; /* longer than any of ours */
    }
    TRY(authority_serial_of(serial_slice(&plain), &serial));
    const struct register_issued *i = register_issued_find(a->setup.reg, &serial);
    if (i == NULL) {
        return OK;
    }
    ret->standing = OCSP_GOOD;
    if (i->revoked_wall_ms != 0) {
        *ret = (struct ocsp_status){
            .standing = OCSP_REVOKED, .reason = i->reason, .revoked_wall_ms = i->revoked_wall_ms};
    }
    return OK;
}

static bool is_answer_good(const struct authority_own *a, const struct authority_answer *kept,
                           const struct digest *question, int64_t now_wall_ms)
{
    return kept->der.n > 0 && slice_equal(digest_slice(&kept->question), digest_slice(question)) &&
           kept->revision == register_revision(a->setup.reg) && now_wall_ms >= kept->made_wall_ms &&
           now_wall_ms < kept->made_wall_ms + AUTHORITY_OCSP_LIFE_MS / 4;
}

/* Signing is what costs: a stranger makes us do it so often and not more. */
static enum err sign_answer(struct authority_own *a, struct slice request_der, int64_t now_wall_ms,
                            struct buf *ret_der)
{
    const struct ocsp_signer signer = {.issuer = a->setup.pki->intermediate,
                                       .issuer_key = a->setup.pki->intermediate_key,
                                       .now_wall_ms = now_wall_ms,
                                       .next_update_wall_ms = now_wall_ms + AUTHORITY_OCSP_LIFE_MS,
                                       .ctx = a,
                                       .look = look};
    if (!bucket_take(&a->word.answers, 1, now_wall_ms > 0 ? (uint64_t)now_wall_ms : 0)) {
        return ocsp_refuse(OCSP_TRY_LATER, ret_der);
    }
    enum err err = ocsp_answer(&signer, request_der, ret_der);
    return err == OK ? OK : ocsp_refuse(OCSP_INTERNAL, ret_der);
}

enum err authority_own_ocsp(struct authority_own *a, struct slice request_der, int64_t now_wall_ms,
                            struct buf *ret_der)
{
    struct digest question;
    if (request_der.n > OCSP_REQUEST_MAX) {
        return ocsp_refuse(OCSP_MALFORMED, ret_der);
    }
    TRY(digest_sha256(request_der, &question));
    struct authority_answer *kept = &a->word.kept[question.bytes[0] % AUTHORITY_ANSWERS_KEPT];
    if (is_answer_good(a, kept, &question, now_wall_ms)) {
        return buf_append(ret_der, buf_slice(&kept->der), SIZE_MAX);
    }
    size_t before = ret_der->n;
    TRY(sign_answer(a, request_der, now_wall_ms, ret_der));
    struct slice answer = slice_from(buf_slice(ret_der), before);
    enum { UNSIGNED_MAX = 16 };
    if (answer.n > UNSIGNED_MAX && !ocsp_request_has_nonce(request_der)) {
        buf_clear(&kept->der);
        if (buf_append(&kept->der, answer, OCSP_RESPONSE_MAX) == OK) {
            kept->question = question;
            kept->revision = register_revision(a->setup.reg);
            kept->made_wall_ms = now_wall_ms;
        }
    }
    return OK;
}

void authority_word_init(struct authority_word *w)
{
    bucket_init(&w->answers, AUTHORITY_OCSP_RATE, 2 * AUTHORITY_OCSP_RATE, 0);
}

void authority_word_done(struct authority_word *w)
{
    buf_done(&w->crl_der);
    for (size_t i = 0; i < AUTHORITY_ANSWERS_KEPT; i++) {
        buf_done(&w->kept[i].der);
    }
}
