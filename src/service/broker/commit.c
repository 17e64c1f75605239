/* Who waits for the journal: tokens (several places must commit), and pending actions (one position
 * of our own). docs/ORDER.md, rules 7 and 8. */
#include <assert.h>

#include "base/mem.h"
#include "service/broker/aside_private.h"
#include "service/broker/commit_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/record_private.h"
#include "service/broker/subscribe_private.h"
#include "service/broker/worker_private.h"

/* ---- tokens ---- */

static struct token *token_find(struct worker *w, uint64_t token)
{
    uint32_t slot = (uint32_t)token;
    if (slot == 0 || slot > w->n_tokens) {
        return NULL;
    }
    struct token *t = &w->tokens[slot - 1];
    return t->n_open > 0 && t->generation == token >> 32 ? t : NULL;
}

MUST_USE enum err token_new(struct worker *w, const struct token *t, uint64_t *ret)
{
    if (w->free_token == 0) {
        uint32_t cap = w->n_tokens > 0 ? w->n_tokens * 2 : 256;
        struct token *grown = mem_grow(w->tokens, cap * sizeof(*grown));
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        w->tokens = grown;
        for (uint32_t i = cap; i > w->n_tokens; i--) {
            grown[i - 1] =
                (struct token){.ask = w->free_token}; /* while free, ask links the list */
            w->free_token = i;
        }
        w->n_tokens = cap;
    }
    uint32_t slot = w->free_token;
    struct token *place = &w->tokens[slot - 1];
    uint32_t generation = place->generation + 1;
    w->free_token = place->ask;
    *place = *t;
    place->generation = generation;
    place->n_open = 1;
    *ret = (uint64_t)generation << 32 | slot;
    return OK;
}

struct token *token_of_publish(struct worker *w, uint64_t session, uint16_t packet_id)
{
    for (uint32_t i = 0; i < w->n_tokens; i++) {
        struct token *t = &w->tokens[i];
        if (t->n_open > 0 && t->session == session && t->packet_id == packet_id) {
            return t;
        }
    }
    return NULL;
}

void token_open(struct worker *w, uint64_t token, uint32_t n)
{
    struct token *t = token_find(w, token);
    assert(t != NULL);
    t->n_open += n;
}

static void answer(struct worker *w, uint64_t conn, uint32_t ask)
{
    struct conn *c = conn_find(w, conn);
    if (c != NULL && c->phase == CONN_OPEN) {
        bool has_waited = mqtt_server_awaits_answer(c->engine);
        mqtt_server_answer(c->engine, ask, MQTT_SUCCESS);
        if (has_waited && !mqtt_server_awaits_answer(c->engine)) {
            mqtt_server_listen(c->engine, w->now_ms);
        }
        conn_mark_dirty(w, c);
        if (mqtt_server_is_closing(c->engine)) {
            conn_close(w, c, MQTT_SERVER_BUSY); /* it had no memory for the answer */
        }
    }
}

static void token_release(struct worker *w, uint64_t token, struct token *t)
{
    t->n_open = 0;
    t->ask = w->free_token;
    w->free_token = (uint32_t)token;
}

bool token_close_if_alone(struct worker *w, uint64_t token)
{
    struct token *t = token_find(w, token);
    assert(t != NULL);
    if (t->n_open == 1) {
        token_release(w, token, t);
        return true;
    }
    t->n_open--;
    return false;
}

void token_drop(struct worker *w, uint64_t token)
{
    struct token *t = token_find(w, token);
    if (t != NULL) {
        token_release(w, token, t);
    }
}

static struct session *session_of_id(const struct worker *w, uint64_t id)
{
    size_t at = 0;
    const struct account *a;
    while ((a = map_next(&w->accounts, &at)) != NULL) {
        size_t session_at = 0;
        struct session *s;
        while ((s = session_set_next(&a->sessions, &session_at)) != NULL) {
            if (s->id == id) {
                return s;
            }
        }
    }
    return NULL;
}

/* The client sends it again on its next connection; its packet id must be new then. */
void token_fail(struct worker *w, uint64_t token)
{
    struct token *t = token_find(w, token);
    if (t == NULL) {
        return;
    }
    struct token failed = *t;
    token_release(w, token, t);
    struct session *s = failed.session != 0 ? session_of_id(w, failed.session) : NULL;
    uint64_t lsn;
    if (s != NULL && session_inbound_remove(s, failed.packet_id) && s->subscriber.is_durable &&
        record_packet(w, JOURNAL_RELEASED, s, failed.packet_id, &lsn) != OK) {
        count_add(&counts(w)->dropped_memory, 1);
    }
    struct conn *c = failed.kind == TOKEN_ANSWER ? conn_find(w, failed.conn) : NULL;
    if (c != NULL) {
        conn_close(w, c, MQTT_SERVER_BUSY);
    }
}

void token_close_one(struct worker *w, uint64_t token)
{
    struct token *t = token_find(w, token);
    if (t == NULL || --t->n_open > 0) {
        return;
    }
    struct token done = *t;
    token_release(w, token, t);
    switch (done.kind) {
    case TOKEN_ANSWER:
        answer(w, done.conn, done.ask);
        break;
    case TOKEN_DOOR:
        if (done_add(w, done.cookie) != OK) {
            count_add(&counts(w)->dropped_memory, 1);
        }
        break;
    }
}

MUST_USE enum err done_add(struct worker *w, uint64_t cookie)
{
    if (w->done_n == w->done_cap) {
        size_t cap = w->done_cap > 0 ? w->done_cap * 2 : 64;
        uint64_t *grown = mem_grow(w->done, cap * sizeof(*grown));
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        w->done = grown;
        w->done_cap = cap;
    }
    w->done[w->done_n++] = cookie;
    return OK;
}

bool worker_next_done(struct worker *w, unsigned door, uint64_t *ret_cookie)
{
    for (size_t i = w->done_at; i < w->done_n; i++) {
        if (w->done[i] >> WORKER_DOOR_SHIFT == door) {
            *ret_cookie = w->done[i];
            w->done[i] = w->done[w->done_at++]; /* no order between different requests */
            return true;
        }
    }
    if (w->done_at == w->done_n) {
        w->done_at = w->done_n = 0;
    }
    return false;
}

/* ---- pending actions ---- */

static struct pending *pending_at(const struct worker *w, size_t i)
{
    return &w->pending[(w->pending_at + i) & (w->pending_cap - 1)];
}

MUST_USE enum err pending_reserve(struct worker *w, size_t n)
{
    if (w->pending_cap - w->pending_n < n) {
        size_t cap = w->pending_cap > 0 ? w->pending_cap : 1024;
        while (cap - w->pending_n < n) {
            cap *= 2;
        }
        struct pending *grown = mem_array(cap, sizeof(*grown));
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        for (size_t i = 0; i < w->pending_n; i++) {
            grown[i] = *pending_at(w, i);
        }
        mem_free(w->pending);
        w->pending = grown;
        w->pending_cap = cap;
        w->pending_at = 0;
    }
    return OK;
}

MUST_USE enum err pending_add(struct worker *w, const struct pending *p)
{
    TRY(pending_reserve(w, 1));
    *pending_at(w, w->pending_n) = *p;
    w->pending_n++;
    if (p->lsn > w->called_lsn) {
        w->call_at_ms = w->now_ms;
    }
    return OK;
}

static void pending_run(struct worker *w, const struct pending *p)
{
    switch (p->action) {
    case PENDING_TOKEN:
        token_close_one(w, p->id);
        break;
    case PENDING_REMOTE: {
        struct wmsg m = {.kind = WMSG_TOKEN, .token = p->id};
        if (outbox_push(w, p->worker, &m) != OK) {
            /* Without memory the publisher is not acknowledged; it repeats on a new connection. */
            count_add(&counts(w)->dropped_memory, 1);
        }
        break;
    }
    case PENDING_ANSWER:
        answer(w, p->id, p->ask);
        break;
    case PENDING_BARRIER: {
        struct wmsg m = {.id = p->id, .from = (uint16_t)w->setup.index};
        barrier_acked(w, &m);
        break;
    }
    case PENDING_WAKE: {
        struct conn *c = conn_find(w, p->id);
        if (c != NULL) {
            conn_mark_dirty(w, c);
        }
        break;
    }
    }
}

bool commits_are_due(const struct worker *w)
{
    return w->pending_n > 0 && pending_at(w, 0)->lsn <= w->committed;
}

void commits_run(struct worker *w)
{
    w->committed = journal_committed(w->setup.journal);
    while (commits_are_due(w)) {
        struct pending p = *pending_at(w, 0);
        w->pending_at = (w->pending_at + 1) & (w->pending_cap - 1);
        w->pending_n--;
        pending_run(w, &p);
    }
    asks_run(w);
}
