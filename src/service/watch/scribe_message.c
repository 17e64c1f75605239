#include "service/watch/scribe_message.h"

/* ---- requests ---- */

enum err scribe_request_encode(const struct scribe_request *q, void *dst, size_t cap, size_t *ret_n)
{
    struct wr w = wr_into(dst, cap);
    wr_u8(&w, (uint8_t)q->type);
    if (q->type == SCRIBE_HELLO || q->type == SCRIBE_APPEND) {
        wr_u64(&w, q->run);
        wr_u64(&w, q->first);
    } else {
        wr_u32(&w, q->id);
    }
    if (q->type == SCRIBE_APPEND) {
        wr_u16(&w, (uint16_t)q->n);
        wr_bytes(&w, q->lines);
    }
    return wr_done(&w, ret_n);
}

struct slice scribe_next_line(struct rd *lines)
{
    return rd_block16(lines);
}

static void decode_append(struct rd *r, struct scribe_request *q)
{
    q->n = rd_u16(r);
    if (rd_ok(r) && (q->n == 0 || q->n > SCRIBE_LINES_MAX)) {
        rd_fail(r, ERR_LIMIT);
    }
    struct rd lines = *r;
    for (unsigned i = 0; i < q->n && rd_ok(r); i++) {
        struct slice line = rd_block16(r);
        if (rd_ok(r) && (line.n == 0 || line.n > TRAIL_LINE_MAX)) {
            rd_fail(r, ERR_LIMIT);
        }
    }
    if (rd_ok(r)) {
        q->lines = rd_bytes(&lines, r->at - lines.at);
    }
}

/* Numbers count on: what is near the end of them would begin anew. */
static void read_run(struct rd *r, struct scribe_request *q)
{
    q->run = rd_u64(r);
    q->first = rd_u64(r);
    if (rd_ok(r) && (q->run == 0 || q->first == 0 || q->first > UINT64_MAX / 2)) {
        rd_fail(r, ERR_MALFORMED);
    }
}

enum err scribe_request_decode(struct slice bytes, struct scribe_request *ret)
{
    struct scribe_request q = {.type = SCRIBE_HELLO};
    if (bytes.n > SCRIBE_DATAGRAM_MAX) {
        return ERR_TOO_LARGE;
    }
    struct rd r = rd_from(bytes);
    uint8_t type = rd_u8(&r);
    switch (type) {
    case SCRIBE_HELLO:
        read_run(&r, &q);
        break;
    case SCRIBE_APPEND:
        read_run(&r, &q);
        decode_append(&r, &q);
        break;
    case SCRIBE_ANCHOR:
    case SCRIBE_ROLL_KEY:
    case SCRIBE_FLUSH:
        q.id = rd_u32(&r);
        break;
    default:
        rd_fail(&r, ERR_MALFORMED);
    }
    TRY(rd_finish(&r));
    q.type = (enum scribe_type)type;
    *ret = q;
    return OK;
}

/* ---- answers ---- */

enum err scribe_answer_encode(const struct scribe_answer *a, void *dst, size_t cap, size_t *ret_n)
{
    struct wr w = wr_into(dst, cap);
    wr_u8(&w, (uint8_t)a->type);
    if (a->type == SCRIBE_DONE) {
        wr_u32(&w, a->id);
        wr_u8(&w, (uint8_t)a->code);
        wr_block16(&w, a->text);
        return wr_done(&w, ret_n);
    }
    wr_u64(&w, a->run);
    wr_u64(&w, a->last);
    if (a->type == SCRIBE_ACK) {
        wr_u8(&w, (uint8_t)a->code);
    }
    return wr_done(&w, ret_n);
}

static enum err read_code(struct rd *r)
{
    uint8_t code = rd_u8(r);
    if (code >= ERR_COUNT) {
        rd_fail(r, ERR_MALFORMED);
        return OK;
    }
    return (enum err)code;
}

enum err scribe_answer_decode(struct slice bytes, struct scribe_answer *ret)
{
    struct scribe_answer a = {.code = OK};
    struct rd r = rd_from(bytes);
    uint8_t type = rd_u8(&r);
    switch (type) {
    case SCRIBE_WELCOME:
    case SCRIBE_BEGUN:
    case SCRIBE_REFUSED:
    case SCRIBE_ACK:
        a.run = rd_u64(&r);
        a.last = rd_u64(&r);
        a.code = type == SCRIBE_ACK ? read_code(&r) : OK;
        break;
    case SCRIBE_DONE:
        a.id = rd_u32(&r);
        a.code = read_code(&r);
        a.text = rd_block16(&r);
        if (a.text.n > ANCHOR_BYTES_MAX) {
            rd_fail(&r, ERR_LIMIT);
        }
        break;
    default:
        rd_fail(&r, ERR_MALFORMED);
    }
    TRY(rd_finish(&r));
    a.type = (enum scribe_type)type;
    *ret = a;
    return OK;
}
