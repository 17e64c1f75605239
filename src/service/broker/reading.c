#include "service/broker/reading.h"

#include "base/mem.h"

MUST_USE enum err reading_new(unsigned worker, uint64_t conn, uint64_t seq, const struct msg *husk,
                              struct reading **ret)
{
    struct reading *r = mem_zalloc(sizeof(*r));
    if (r == NULL) {
        return ERR_NOMEM;
    }
    r->worker = worker;
    r->conn = conn;
    r->seq = seq;
    r->husk = msg_ref(husk);
    r->result = ERR_NOMEM;
    *ret = r;
    return OK;
}

struct reading *reading_free(struct reading *r)
{
    if (r != NULL) {
        msg_unref(r->husk);
        msg_unref(r->whole);
        mem_free(r);
    }
    return NULL;
}

void reading_done(struct reading *r, enum err result, struct slice props, struct slice payload)
{
    r->result = result;
    if (result == OK) {
        r->result = msg_whole(r->husk, props, payload, &r->whole);
    }
}

void reading_do(struct reading *r, struct log *log)
{
    struct buf scratch = {0};
    struct journal_body body = {0};
    enum err err = log_body(log, r->husk->body_id, &scratch, &body);
    reading_done(r, err, body.m.props, body.m.payload);
    buf_wipe(&scratch);
}
