/* A webhook: one request is out, and its answer says what is taken. */
#include "service/courier/errand_private.h"

#include "wire/http1/request.h"

enum {
    STAY_MS = 1000, /* a connection with nothing to say stays so long */
    MS = 1000
};

/* One request: all that is in `out`. */
static void ask_hook(struct courier_errand *e)
{
    const struct webhook_request request = {.url = e->sink->url,
                                            .sink = e->sink->name,
                                            .host = e->host,
                                            .secret = buf_slice(&e->secret),
                                            .first = e->first_seq,
                                            .last = e->seq,
                                            .lines = buf_slice(&e->out),
                                            .wall_ms = e->clock.wall_ms(e->clock.ctx)};
    buf_clear(&e->request);
    enum err err = webhook_request_write(&request, &e->request);
    if (err != OK) {
        errand_fail(e, "the request could not be made");
        return;
    }
    struct slice part = buf_slice(&e->request);
    err = stream_write(e->stream, e->io, &part, 1);
    if (err != OK) {
        errand_fail_stream(e, err);
        return;
    }
    buf_clear(&e->out);
    e->state = TURNING;
    e->until_ms = e->now_ms + COURIER_STALL_MS;
    errand_publish(e, e->n_waiting, 0, 0, 0);
}

static void take_answer(struct courier_errand *e, const struct webhook_answer *a)
{
    char text[COURIER_TEXT_BYTES];
    if (a->verdict == WEBHOOK_TAKEN && stream_is_blocked(e->stream)) {
        errand_fail(e, "it answered before it had read the request");
        return;
    }
    if (a->verdict == WEBHOOK_TAKEN) {
        buf_clear(&e->in);
        if (a->may_stay) {
            e->state = OPEN;
            e->until_ms = e->now_ms + STAY_MS;
        } else {
            stream_close(e->stream, e->io);
            errand_hang_up(e);
        }
        errand_mark_taken(e);
        return;
    }
    (void)snprintf(text, sizeof text, "it answered %u: %s", a->status, webhook_answer_text(a));
    errand_fail(e, text);
    /* Nothing is passed over, so what is refused stands in the way until somebody looks. */
    uint64_t least_ms = (a->verdict == WEBHOOK_REFUSED ? WEBHOOK_REFUSED_S : a->retry_after_s) * MS;
    if (least_ms > e->backoff_ms) {
        errand_wait_before_retry(e, least_ms, least_ms / ERRAND_JITTER_PART);
    }
}

/* What comes while nothing was asked is no answer. */
void errand_hear_hook(struct courier_errand *e, struct slice plain)
{
    struct webhook_answer a;
    enum err err = buf_append(&e->in, plain, WEBHOOK_ANSWER_MAX + HTTP1_HEAD_MAX);
    if (err == OK && e->state == TURNING) {
        err = webhook_answer_read(buf_slice(&e->in), &a);
    }
    if (err == OK && e->state == TURNING) {
        take_answer(e, &a);
    } else if (err != ERR_AGAIN && e->in.n > 0) {
        errand_fail(e, "it does not speak HTTP/1.1");
    }
}

void errand_turn_hook(struct courier_errand *e)
{
    if (e->out.n == 0) {
        enum err err = errand_fill(e);
        if (err != OK && err != ERR_AGAIN) {
            errand_fail(e, "the trail cannot be read");
            return;
        }
    }
    if (e->out.n > 0) {
        ask_hook(e);
    } else if (e->now_ms >= e->until_ms) {
        stream_close(e->stream, e->io);
        errand_hang_up(e);
    }
}
