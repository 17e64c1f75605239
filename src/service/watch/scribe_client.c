#include "service/watch/scribe_client.h"

#include "base/mem.h"
#include "service/watch/spool.h"

enum { ANSWERS_A_TURN = 64, ROUNDS_A_TURN = 4, PAUSE_MS = 50, TRIM_BYTES = 1024 * 1024 };

struct scribe_client {
    struct scribe_link link;
    struct clock clock;
    uint64_t run;
    struct spool lines;
    uint64_t to_send; /* number of the next line that is sent; at most lines.next */
    size_t bytes, flight_bytes;
    size_t most_bytes; /* since nothing waited */
    bool is_welcome;
    bool has_met; /* some scribe has said something */
    uint64_t retry_at_ms, hello_at_ms, heard_at_ms;
    uint64_t restarts;
    uint32_t id;
    uint8_t datagram[SCRIBE_DATAGRAM_MAX];
};

static uint64_t now_ms(const struct scribe_client *c)
{
    return c->clock.mono_ms(c->clock.ctx);
}

static uint64_t n_lines(const struct scribe_client *c)
{
    return c->lines.next - c->lines.first;
}

static bool has_unsent(const struct scribe_client *c)
{
    return c->to_send < c->lines.next;
}

/* ---- what the scribe has ---- */

static void rewind_to_oldest(struct scribe_client *c)
{
    c->to_send = c->lines.first;
    c->flight_bytes = 0;
}

static void drop_oldest(struct scribe_client *c)
{
    uint64_t since_ms;
    size_t n = spool_oldest(&c->lines, &since_ms);
    if (c->lines.first < c->to_send) {
        c->flight_bytes -= n;
    } else {
        c->to_send = c->lines.first + 1;
    }
    spool_drop(&c->lines);
    c->bytes -= n;
}

static void settle(struct scribe_client *c, uint64_t last)
{
    while (n_lines(c) > 0 && c->lines.first <= last) {
        drop_oldest(c);
    }
    if (n_lines(c) == 0) {
        if (c->most_bytes >= TRIM_BYTES) {
            mem_trim(); /* what a storm of events took is not the heap's any more */
        }
        c->most_bytes = 0;
    }
}

static void on_welcome(struct scribe_client *c, const struct scribe_answer *a)
{
    bool is_mine = a->run == c->run;
    if (is_mine) {
        settle(c, a->last);
    }
    c->is_welcome = is_mine && a->last + 1 >= c->lines.first;
    rewind_to_oldest(c);
}

static void on_refusal(struct scribe_client *c, const struct scribe_answer *a)
{
    c->is_welcome = c->is_welcome && a->run == c->run && a->last + 1 >= c->lines.first;
    rewind_to_oldest(c);
    c->retry_at_ms = now_ms(c) + SCRIBE_RETRY_MS;
}

static void on_answer(struct scribe_client *c, const struct scribe_answer *a)
{
    c->heard_at_ms = now_ms(c);
    /* It begins with this word: whoever said something before was another one, welcome or not. */
    c->restarts += c->has_met && a->type == SCRIBE_BEGUN ? 1 : 0;
    c->has_met = true;
    if (a->type == SCRIBE_WELCOME || a->type == SCRIBE_BEGUN) {
        on_welcome(c, a);
        return;
    }
    if (a->run == c->run && a->last < c->lines.next) {
        settle(c, a->last);
    }
    if (a->type == SCRIBE_REFUSED || (a->type == SCRIBE_ACK && a->code != OK)) {
        on_refusal(c, a);
    }
}

/* One answer; DONE goes to who asked. ERR_AGAIN: there is none. */
static enum err receive(struct scribe_client *c, unsigned wait_ms, struct scribe_answer *ret)
{
    size_t n;
    struct scribe_answer a;
    TRY(c->link.receive(c->link.ctx, wait_ms, c->datagram, &n));
    TRY(scribe_answer_decode(slice_of(c->datagram, n), &a));
    if (a.type != SCRIBE_DONE) {
        on_answer(c, &a);
    }
    *ret = a;
    return OK;
}

/* ---- sending ---- */

static enum err send_request(struct scribe_client *c, const struct scribe_request *q)
{
    uint8_t bytes[32]; /* not APPEND */
    size_t n;
    TRY(scribe_request_encode(q, bytes, sizeof bytes, &n));
    return c->link.send(c->link.ctx, slice_of(bytes, n));
}

static void say_hello(struct scribe_client *c, uint64_t now)
{
    const struct scribe_request q = {.type = SCRIBE_HELLO, .run = c->run, .first = c->lines.first};
    if (now < c->hello_at_ms) {
        return;
    }
    c->hello_at_ms = now + SCRIBE_RETRY_MS;
    c->heard_at_ms = now;
    if (send_request(c, &q) != OK) {
        return; /* it is said again */
    }
}

/* As many lines as one message takes, from `to_send` on. */
static void pack(struct scribe_client *c, struct wr *w, unsigned *ret_n, size_t *ret_bytes)
{
    unsigned n = 0;
    size_t bytes = 0;
    while (c->to_send + n < c->lines.next && n < SCRIBE_LINES_MAX) {
        struct slice line = spool_read(&c->lines, c->to_send + n);
        if (wr_left(w) < 2 + line.n) {
            break;
        }
        wr_block16(w, line);
        bytes += line.n;
        n++;
    }
    *ret_n = n;
    *ret_bytes = bytes;
}

static enum err send_some(struct scribe_client *c)
{
    uint8_t lines[SCRIBE_DATAGRAM_MAX - SCRIBE_APPEND_HEAD_BYTES];
    struct scribe_request q = {.type = SCRIBE_APPEND, .run = c->run, .first = c->to_send};
    struct wr w = wr_into(lines, sizeof lines);
    size_t bytes;
    size_t n;
    pack(c, &w, &q.n, &bytes);
    q.lines = wr_slice(&w);
    TRY(scribe_request_encode(&q, c->datagram, sizeof c->datagram, &n));
    TRY(c->link.send(c->link.ctx, slice_of(c->datagram, n)));
    c->to_send += q.n;
    c->flight_bytes += bytes;
    return OK;
}

static void send_all(struct scribe_client *c)
{
    uint64_t now = now_ms(c);
    if (!c->is_welcome) {
        say_hello(c, now);
        return;
    }
    if (c->flight_bytes > 0 && now - c->heard_at_ms >= SCRIBE_SILENCE_MS) {
        say_hello(c, now);
        return;
    }
    while (has_unsent(c) && c->flight_bytes < SCRIBE_FLIGHT_BYTES && now >= c->retry_at_ms) {
        bool is_first = c->flight_bytes == 0;
        if (send_some(c) != OK) {
            c->retry_at_ms = now + SCRIBE_RETRY_MS;
        }
        c->heard_at_ms = is_first ? now : c->heard_at_ms;
    }
}

static unsigned take_answers(struct scribe_client *c)
{
    struct scribe_answer a;
    unsigned n = 0;
    while (n < ANSWERS_A_TURN && receive(c, 0, &a) == OK) {
        n++;
    }
    return n;
}

void scribe_client_turn(struct scribe_client *c)
{
    for (unsigned i = 0; i < ROUNDS_A_TURN; i++) {
        if (take_answers(c) == 0 && i > 0) {
            return;
        }
        send_all(c);
    }
}

uint64_t scribe_client_deadline(const struct scribe_client *c)
{
    if (!c->is_welcome) {
        return c->hello_at_ms;
    }
    uint64_t silence = c->flight_bytes > 0 ? c->heard_at_ms + SCRIBE_SILENCE_MS : UINT64_MAX;
    bool may_send = has_unsent(c) && c->flight_bytes < SCRIBE_FLIGHT_BYTES;
    return may_send && c->retry_at_ms < silence ? c->retry_at_ms : silence;
}

/* ---- the spool ---- */

enum err scribe_client_push(struct scribe_client *c, struct slice line)
{
    if (line.n == 0 || line.n > TRAIL_LINE_MAX) {
        return ERR_TOO_LARGE;
    }
    if (n_lines(c) >= SCRIBE_SPOOL_LINES || c->bytes + line.n > SCRIBE_SPOOL_BYTES) {
        return ERR_SPACE;
    }
    TRY(spool_push(&c->lines, line, now_ms(c)));
    c->bytes += line.n;
    c->most_bytes = c->bytes > c->most_bytes ? c->bytes : c->most_bytes;
    return OK;
}

bool scribe_client_finish(struct scribe_client *c)
{
    unsigned pauses = 0;
    scribe_client_turn(c);
    while (n_lines(c) > 0 && pauses < SCRIBE_FINISH_MS / PAUSE_MS) {
        struct scribe_answer a;
        enum err err = receive(c, PAUSE_MS, &a);
        pauses += err == OK ? 0 : 1;
        if (err == ERR_CLOSED || err == ERR_IO) {
            break;
        }
        scribe_client_turn(c);
    }
    return n_lines(c) == 0;
}

/* ---- asking ---- */

static enum err await_done(struct scribe_client *c, uint64_t until_ms, struct anchor *ret)
{
    for (;;) {
        struct scribe_answer a;
        uint64_t now = now_ms(c);
        if (now >= until_ms) {
            return ERR_TIMEOUT;
        }
        enum err err = receive(c, (unsigned)(until_ms - now), &a);
        if (err == ERR_AGAIN) {
            return ERR_TIMEOUT;
        }
        TRY(err);
        if (a.type == SCRIBE_DONE && a.id == c->id) {
            TRY(a.code);
            return anchor_decode(a.text, ret);
        }
        send_all(c);
    }
}

enum err scribe_client_ask(struct scribe_client *c, enum scribe_type what, struct anchor *ret)
{
    uint64_t until_ms = now_ms(c) + SCRIBE_WAIT_MS;
    unsigned pauses = 0;
    scribe_client_turn(c);
    while (!c->is_welcome || has_unsent(c)) {
        struct scribe_answer a;
        enum err err = receive(c, PAUSE_MS, &a);
        if (err != OK && err != ERR_AGAIN) {
            return err;
        }
        pauses += err == OK ? 0 : 1;
        if (pauses >= SCRIBE_WAIT_MS / PAUSE_MS) {
            return ERR_TIMEOUT;
        }
        send_all(c);
    }
    const struct scribe_request q = {.type = what, .id = ++c->id};
    TRY(send_request(c, &q));
    return await_done(c, until_ms, ret);
}

/* ---- life ---- */

struct scribe_client_state scribe_client_state(const struct scribe_client *c)
{
    uint64_t since_ms = now_ms(c);
    if (n_lines(c) > 0) {
        (void)spool_oldest(&c->lines, &since_ms);
    }
    return (struct scribe_client_state){.pending = n_lines(c),
                                        .restarts = c->restarts,
                                        .is_behind = now_ms(c) - since_ms >= SCRIBE_BEHIND_MS,
                                        .has_room = n_lines(c) <= SCRIBE_SPOOL_LINES / 2 &&
                                                    c->bytes <= SCRIBE_SPOOL_BYTES / 2};
}

enum err scribe_client_new(const struct scribe_link *link, const struct clock *clock,
                           const struct random_source *random, struct scribe_client **ret)
{
    struct scribe_client *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->link = *link;
    c->clock = *clock;
    c->run = random_u64(random) | 1;
    spool_init(&c->lines);
    c->to_send = c->lines.next;
    *ret = c;
    return OK;
}

struct scribe_client *scribe_client_free(struct scribe_client *c)
{
    if (c == NULL) {
        return NULL;
    }
    spool_done(&c->lines);
    return mem_free(c);
}
