#include "service/pki/signer_message.h"

#include "base/mem.h"

enum { NAME_MAX_BYTES = 64 };

/* ---- parts ---- */

static enum err put_block(struct buf *b, struct slice s, size_t max)
{
    uint8_t head[4];
    struct wr w = wr_into(head, sizeof head);
    if (s.n > max) {
        return ERR_TOO_LARGE;
    }
    wr_u32(&w, (uint32_t)s.n);
    TRY(buf_append(b, wr_slice(&w), SIGNER_ANSWER_MAX));
    return buf_append(b, s, SIGNER_ANSWER_MAX);
}

static struct slice get_block(struct rd *r, size_t max)
{
    size_t n = rd_u32(r);
    if (n > max) {
        rd_fail(r, ERR_TOO_LARGE);
    }
    return rd_bytes(r, n);
}

static enum err put_number(struct buf *b, uint64_t v, size_t n)
{
    uint8_t bytes[8];
    struct wr w = wr_into(bytes, sizeof bytes);
    wr_be(&w, v, n);
    return buf_append(b, wr_slice(&w), SIGNER_ANSWER_MAX);
}

static enum err put_serial(struct buf *b, const struct authority_serial *s)
{
    return put_block(b, slice_of(s->bytes, s->n), AUTHORITY_SERIAL_BYTES);
}

static struct authority_serial get_serial(struct rd *r)
{
    struct slice bytes = get_block(r, AUTHORITY_SERIAL_BYTES);
    struct authority_serial s = {.n = (uint8_t)bytes.n};
    slice_copy(s.bytes, bytes);
    return s;
}

static struct digest get_digest(struct rd *r)
{
    struct digest d = {{0}};
    slice_copy(d.bytes, rd_bytes(r, sizeof d.bytes));
    return d;
}

/* ---- requests ---- */

bool signer_request_is_operators(enum signer_request_type t)
{
    return t == SIGNER_ENROL || t == SIGNER_ALLOW || t == SIGNER_FORGET || t == SIGNER_TOKEN_MAKE ||
           t == SIGNER_ROLL || t == SIGNER_HOST || t == SIGNER_TOKENS || t == SIGNER_TOKEN_CANCEL;
}

static enum err put_order(struct buf *b, const struct authority_order *o)
{
    TRY(put_block(b, o->name, NAME_MAX_BYTES));
    TRY(put_block(b, o->csr_der, AUTHORITY_CSR_MAX));
    TRY(put_number(b, (uint64_t)o->lifetime_ms, 8));
    TRY(put_number(b, (uint64_t)o->proof, 1));
    TRY(put_block(b, o->token, SIGNER_TEXT_MAX));
    TRY(put_block(b, o->current_der, SIGNER_CERTIFICATE_MAX));
    return put_block(b, o->chain_pem, SIGNER_CHAIN_MAX);
}

static void get_order(struct rd *r, struct authority_order *o)
{
    o->name = get_block(r, NAME_MAX_BYTES);
    o->csr_der = get_block(r, AUTHORITY_CSR_MAX);
    o->lifetime_ms = (int64_t)rd_u64(r);
    uint8_t proof = rd_u8(r);
    if (proof > AUTHORITY_BY_APPROVAL) {
        rd_fail(r, ERR_MALFORMED);
        proof = AUTHORITY_BY_OPERATOR;
    }
    o->proof = (enum authority_proof)proof;
    o->token = get_block(r, SIGNER_TEXT_MAX);
    o->current_der = get_block(r, SIGNER_CERTIFICATE_MAX);
    o->chain_pem = get_block(r, SIGNER_CHAIN_MAX);
}

static enum err put_claim(struct buf *b, const struct authority_claim *c)
{
    TRY(put_block(b, c->name, NAME_MAX_BYTES));
    TRY(put_block(b, c->pattern, SIGNER_TEXT_MAX));
    TRY(put_block(b, c->role, SIGNER_TEXT_MAX));
    TRY(put_block(b, c->attrs_json, SIGNER_TEXT_MAX));
    TRY(put_number(b, (uint64_t)c->expires_wall_ms, 8));
    return put_number(b, c->uses, 4);
}

static void get_claim(struct rd *r, struct authority_claim *c)
{
    c->name = get_block(r, NAME_MAX_BYTES);
    c->pattern = get_block(r, SIGNER_TEXT_MAX);
    c->role = get_block(r, SIGNER_TEXT_MAX);
    c->attrs_json = get_block(r, SIGNER_TEXT_MAX);
    c->expires_wall_ms = (int64_t)rd_u64(r);
    c->uses = rd_u32(r);
}

static bool is_reason(uint8_t v)
{
    return v == AUTHORITY_UNSPECIFIED || v == AUTHORITY_KEY_COMPROMISE ||
           v == AUTHORITY_SUPERSEDED || v == AUTHORITY_CESSATION || v == AUTHORITY_WITHDRAWN;
}

static enum err put_revoke(struct buf *b, const struct signer_request *q)
{
    TRY(put_block(b, q->order.name, NAME_MAX_BYTES));
    TRY(put_serial(b, &q->serial));
    return put_number(b, (uint64_t)q->reason, 1);
}

static void get_revoke(struct rd *r, struct signer_request *q)
{
    q->order.name = get_block(r, NAME_MAX_BYTES);
    q->serial = get_serial(r);
    uint8_t reason = rd_u8(r);
    if (!is_reason(reason)) {
        rd_fail(r, ERR_MALFORMED);
        reason = AUTHORITY_UNSPECIFIED;
    }
    q->reason = (enum authority_reason)reason;
}

static enum err put_enrol(struct buf *b, const struct signer_request *q)
{
    TRY(put_block(b, q->order.name, NAME_MAX_BYTES));
    TRY(put_number(b, q->has_spki ? 1 : 0, 1));
    return q->has_spki ? buf_append(b, digest_slice(&q->spki), SIGNER_ANSWER_MAX) : OK;
}

static void get_enrol(struct rd *r, struct signer_request *q)
{
    q->order.name = get_block(r, NAME_MAX_BYTES);
    uint8_t flag = rd_u8(r);
    if (flag > 1) {
        rd_fail(r, ERR_MALFORMED);
    }
    q->has_spki = flag == 1;
    if (q->has_spki) {
        q->spki = get_digest(r);
    }
}

static enum authority_roll_step get_step(struct rd *r)
{
    uint8_t step = rd_u8(r);
    if (step >= AUTHORITY_ROLL_STEPS) {
        rd_fail(r, ERR_MALFORMED);
        step = AUTHORITY_ROLL_PREPARE;
    }
    return (enum authority_roll_step)step;
}

static enum err encode_request(const struct signer_request *q, struct buf *b)
{
    TRY(put_number(b, (uint64_t)q->type, 1));
    TRY(put_number(b, q->id, 4));
    switch (q->type) {
    case SIGNER_ISSUE:
        return put_order(b, &q->order);
    case SIGNER_ISSUE_SERVER:
        return put_block(b, q->order.csr_der, AUTHORITY_CSR_MAX);
    case SIGNER_REVOKE:
        return put_revoke(b, q);
    case SIGNER_CRL:
    case SIGNER_RELOAD:
    case SIGNER_TOKENS:
        return OK;
    case SIGNER_OCSP:
        return put_block(b, q->ocsp, SIGNER_OCSP_MAX);
    case SIGNER_TOKEN_ASK:
    case SIGNER_TOKEN_CANCEL:
        return put_block(b, q->order.token, SIGNER_TEXT_MAX);
    case SIGNER_ENROL:
        return put_enrol(b, q);
    case SIGNER_ALLOW:
    case SIGNER_FORGET:
        return put_block(b, q->order.name, NAME_MAX_BYTES);
    case SIGNER_TOKEN_MAKE:
        return put_claim(b, &q->claim);
    case SIGNER_ROLL:
        return put_number(b, (uint64_t)q->step, 1);
    case SIGNER_HOST:
        return put_block(b, q->host, SIGNER_HOST_MAX);
    case SIGNER_TYPES:
        break;
    }
    return ERR_MALFORMED;
}

MUST_USE enum err signer_request_encode(const struct signer_request *q, struct buf *ret)
{
    size_t before = ret->n;
    enum err err = encode_request(q, ret);
    if (err == OK && ret->n - before > SIGNER_REQUEST_MAX) {
        err = ERR_TOO_LARGE;
    }
    ret->n = err == OK ? ret->n : before;
    return err;
}

MUST_USE enum err signer_request_decode(struct slice bytes, struct signer_request *ret)
{
    struct rd r = rd_from(bytes);
    struct signer_request q = {.type = SIGNER_CRL};
    uint8_t type = rd_u8(&r);
    q.id = rd_u32(&r);
    switch (type) {
    case SIGNER_ISSUE:
        get_order(&r, &q.order);
        break;
    case SIGNER_ISSUE_SERVER:
        q.order.csr_der = get_block(&r, AUTHORITY_CSR_MAX);
        break;
    case SIGNER_REVOKE:
        get_revoke(&r, &q);
        break;
    case SIGNER_CRL:
    case SIGNER_RELOAD:
    case SIGNER_TOKENS:
        break;
    case SIGNER_OCSP:
        q.ocsp = get_block(&r, SIGNER_OCSP_MAX);
        break;
    case SIGNER_TOKEN_ASK:
    case SIGNER_TOKEN_CANCEL:
        q.order.token = get_block(&r, SIGNER_TEXT_MAX);
        break;
    case SIGNER_ENROL:
        get_enrol(&r, &q);
        break;
    case SIGNER_ALLOW:
    case SIGNER_FORGET:
        q.order.name = get_block(&r, NAME_MAX_BYTES);
        break;
    case SIGNER_TOKEN_MAKE:
        get_claim(&r, &q.claim);
        break;
    case SIGNER_ROLL:
        q.step = get_step(&r);
        break;
    case SIGNER_HOST:
        q.host = get_block(&r, SIGNER_HOST_MAX);
        break;
    default:
        rd_fail(&r, ERR_MALFORMED);
    }
    TRY(rd_finish(&r));
    q.type = (enum signer_request_type)type;
    *ret = q;
    return OK;
}

/* ---- answers ---- */

void signer_answer_done(struct signer_answer *a)
{
    authority_certificate_done(&a->certificate);
    buf_wipe(&a->bytes);
    mem_wipe(a->token, sizeof a->token);
}

static enum err put_certificate(struct buf *b, const struct authority_certificate *c)
{
    TRY(put_block(b, buf_slice(&c->leaf_der), SIGNER_CERTIFICATE_MAX));
    TRY(put_block(b, buf_slice(&c->chain_pem), SIGNER_CHAIN_MAX));
    TRY(put_block(b, buf_slice(&c->trusted_pem), AUTHORITY_TRUSTED_MAX));
    TRY(put_block(b, buf_slice(&c->key_pem), SIGNER_TEXT_MAX));
    TRY(put_serial(b, &c->serial));
    TRY(buf_append(b, digest_slice(&c->spki), SIGNER_ANSWER_MAX));
    TRY(put_number(b, (uint64_t)c->not_before_wall_ms, 8));
    return put_number(b, (uint64_t)c->not_after_wall_ms, 8);
}

static enum err get_buf(struct rd *r, size_t max, struct buf *ret)
{
    return buf_append(ret, get_block(r, max), max);
}

static enum err get_certificate(struct rd *r, struct authority_certificate *c)
{
    TRY(get_buf(r, SIGNER_CERTIFICATE_MAX, &c->leaf_der));
    TRY(get_buf(r, SIGNER_CHAIN_MAX, &c->chain_pem));
    TRY(get_buf(r, AUTHORITY_TRUSTED_MAX, &c->trusted_pem));
    TRY(get_buf(r, SIGNER_TEXT_MAX, &c->key_pem));
    c->serial = get_serial(r);
    c->spki = get_digest(r);
    c->not_before_wall_ms = (int64_t)rd_u64(r);
    c->not_after_wall_ms = (int64_t)rd_u64(r);
    return OK;
}

static enum err encode_answer(enum signer_request_type t, const struct signer_answer *a,
                              struct buf *b)
{
    TRY(put_number(b, (uint64_t)a->err, 1));
    TRY(put_block(b, slice_text(a->why.text), WHY_BYTES));
    if (a->err != OK) {
        return OK;
    }
    switch (t) {
    case SIGNER_ISSUE:
    case SIGNER_ISSUE_SERVER:
        return put_certificate(b, &a->certificate);
    case SIGNER_CRL:
        TRY(put_number(b, (uint64_t)a->next_update_wall_ms, 8));
        return put_block(b, buf_slice(&a->bytes), SIGNER_ANSWER_MAX);
    case SIGNER_OCSP:
    case SIGNER_TOKEN_ASK:
    case SIGNER_TOKENS:
        return put_block(b, buf_slice(&a->bytes), SIGNER_ANSWER_MAX);
    case SIGNER_TOKEN_MAKE:
    case SIGNER_TOKEN_CANCEL:
        return put_block(b, slice_text(a->token), AUTHORITY_TOKEN_BYTES - 1);
    case SIGNER_REVOKE:
    case SIGNER_ENROL:
    case SIGNER_ALLOW:
    case SIGNER_FORGET:
    case SIGNER_RELOAD:
    case SIGNER_ROLL:
    case SIGNER_HOST:
    case SIGNER_TYPES:
        return OK;
    }
    return OK;
}

MUST_USE enum err signer_answer_encode(enum signer_request_type t, const struct signer_answer *a,
                                       struct buf *ret)
{
    size_t before = ret->n;
    enum err err = encode_answer(t, a, ret);
    ret->n = err == OK ? ret->n : before;
    return err;
}

static enum err decode_result(enum signer_request_type t, struct rd *r, struct signer_answer *a)
{
    switch (t) {
    case SIGNER_ISSUE:
    case SIGNER_ISSUE_SERVER:
        return get_certificate(r, &a->certificate);
    case SIGNER_CRL:
        a->next_update_wall_ms = (int64_t)rd_u64(r);
        return get_buf(r, SIGNER_ANSWER_MAX, &a->bytes);
    case SIGNER_OCSP:
    case SIGNER_TOKEN_ASK:
    case SIGNER_TOKENS:
        return get_buf(r, SIGNER_ANSWER_MAX, &a->bytes);
    case SIGNER_TOKEN_MAKE:
    case SIGNER_TOKEN_CANCEL:
        return slice_to_text(get_block(r, AUTHORITY_TOKEN_BYTES - 1), a->token, sizeof a->token)
                   ? OK
                   : ERR_MALFORMED;
    case SIGNER_REVOKE:
    case SIGNER_ENROL:
    case SIGNER_ALLOW:
    case SIGNER_FORGET:
    case SIGNER_RELOAD:
    case SIGNER_ROLL:
    case SIGNER_HOST:
    case SIGNER_TYPES:
        return OK;
    }
    return OK;
}

MUST_USE enum err signer_answer_decode(enum signer_request_type t, struct slice bytes,
                                       struct signer_answer *ret)
{
    struct rd r = rd_from(bytes);
    AUTO(signer_answer_done) struct signer_answer a = {.err = OK};
    uint8_t err = rd_u8(&r);
    if (err >= ERR_COUNT ||
        !slice_to_text(get_block(&r, WHY_BYTES - 1), a.why.text, sizeof a.why.text)) {
        rd_fail(&r, ERR_MALFORMED);
    }
    TRY(r.err);
    a.err = (enum err)err;
    if (a.err == OK) {
        TRY(decode_result(t, &r, &a));
    }
    TRY(rd_finish(&r));
    *ret = a;
    a = (struct signer_answer){.err = OK};
    return OK;
}

/* ---- pieces ---- */

void signer_piece_head(const struct signer_piece *p, uint8_t dst[SIGNER_PIECE_HEAD_BYTES])
{
    struct wr w = wr_into(dst, SIGNER_PIECE_HEAD_BYTES);
    wr_u32(&w, p->id);
    wr_u8(&w, p->is_last ? 1 : 0);
}

MUST_USE enum err signer_piece_decode(struct slice bytes, struct signer_piece *ret)
{
    struct rd r = rd_from(bytes);
    struct signer_piece p = {.id = rd_u32(&r)};
    uint8_t flag = rd_u8(&r);
    p.is_last = flag == 1;
    p.bytes = rd_rest(&r);
    TRY(rd_finish(&r));
    if (flag > 1) {
        return ERR_MALFORMED;
    }
    if (p.bytes.n > SIGNER_PIECE_MAX) {
        return ERR_TOO_LARGE;
    }
    *ret = p;
    return OK;
}
