/* The places of a worker's connections, by handle, and which of them have something to send. */
#include <assert.h>

#include "base/mem.h"
#include "service/broker/conn_private.h"
#include "service/broker/login_private.h"
#include "service/broker/replay_private.h"
#include "service/broker/worker_private.h"

enum { SLOT_BITS = 24, SLOTS_MAX = 1 << 20 };

struct conn *conn_find(const struct worker *w, uint64_t handle)
{
    size_t slot = (size_t)(handle & (((uint64_t)1 << SLOT_BITS) - 1));
    struct conn *c = slot < w->n_slots ? w->conns[slot] : NULL;
    return c != NULL && handle != 0 && c->handle == handle ? c : NULL;
}

bool conn_is_taken_back(const struct worker *w, const struct conn *c)
{
    return c->login->shown != NULL && realm_revokes(w->realm, &c->login->shown->cert_id);
}

static enum err slot_take(struct worker *w, size_t *ret)
{
    for (size_t i = 0; w->n_conns < w->n_slots && i < w->n_slots; i++) {
        size_t slot = (w->next_generation + i) % w->n_slots;
        if (w->conns[slot] == NULL) {
            *ret = slot;
            return OK;
        }
    }
    size_t n = w->n_slots > 0 ? w->n_slots * 2 : 64;
    if (n > SLOTS_MAX) {
        return ERR_LIMIT;
    }
    struct conn **grown = mem_grow(w->conns, n * sizeof(struct conn *));
    if (grown == NULL) {
        return ERR_NOMEM;
    }
    memset(grown + w->n_slots, 0, (n - w->n_slots) * sizeof(struct conn *));
    *ret = w->n_slots;
    w->conns = grown;
    w->n_slots = n;
    return OK;
}

MUST_USE enum err conn_new(struct worker *w, const struct entrance *entrance, const char *peer,
                           void *transport, struct conn **ret)
{
    size_t slot = 0;
    TRY(slot_take(w, &slot));
    struct conn *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return ERR_NOMEM;
    }
    w->next_generation++;
    c->handle = (uint64_t)w->next_generation << SLOT_BITS | slot;
    c->phase = CONN_GATE;
    c->entrance = entrance;
    c->transport = transport;
    login_put(c, NULL);
    c->peer = peer;
    w->conns[slot] = c;
    w->n_conns++;
    count_add(&counts(w)->connections_mqtt, 1);
    count_add(&counts(w)->connections_at[entrance->index], 1);
    *ret = c;
    return OK;
}

/* Frees the slot and everything but the session, which conn_release_session has dealt with. */
void conn_forget(struct worker *w, struct conn *c)
{
    assert(c->session == NULL && c->account == NULL);
    wheel_cancel(&w->conn_wheel, &c->timer);
    list_unlink(&c->dirty);
    list_unlink(&c->paused);
    replays_forget(w, c, NULL);
    w->conns[c->handle & (((uint64_t)1 << SLOT_BITS) - 1)] = NULL;
    w->n_conns--;
    count_sub(&counts(w)->connections_mqtt, 1);
    count_sub(&counts(w)->connections_at[c->entrance->index], 1);
    mqtt_gate_free(c->gate);
    mqtt_server_free(c->engine);
    login_free(c->login);
    buf_free(c->unread);
    mem_free(c);
}

struct slice conn_client_id(const struct conn *c)
{
    if (c->session != NULL) {
        return session_client_id(c->session);
    }
    return c->gate != NULL ? mqtt_gate_client_id(c->gate) : (struct slice){0};
}

void conn_mark_dirty(struct worker *w, struct conn *c)
{
    if (!list_is_linked(&c->dirty)) {
        list_append(&w->dirty, &c->dirty);
    }
}

uint64_t worker_next_dirty(struct worker *w)
{
    struct list_node *n = list_first(&w->dirty);
    if (n == NULL) {
        worker_handover(w); /* what output has settled */
        w->fanned_bytes = 0;
        return 0;
    }
    ahead_output(w, n);
    list_unlink(n);
    return LIST_ENTRY(n, struct conn, dirty)->handle;
}

bool worker_is_light(const struct worker *w)
{
    return w->fanned_bytes < WORKER_LIGHT_BYTES;
}

bool worker_is_full(const struct worker *w)
{
    return w->fanned_bytes >= WORKER_FULL_BYTES;
}

uint64_t worker_n_wide(const struct worker *w)
{
    return w->n_wide;
}

void worker_rest(struct worker *w, uint64_t until_ms)
{
    w->rest_until_ms = until_ms;
}

bool worker_is_dirty(const struct worker *w, uint64_t conn)
{
    const struct conn *c = conn_find(w, conn);
    return c != NULL && list_is_linked(&c->dirty);
}

bool worker_put_off(struct worker *w, uint64_t conn)
{
    struct conn *c = conn_find(w, conn);
    if (c != NULL) {
        conn_mark_dirty(w, c);
    }
    return c != NULL;
}

bool worker_is_calm(const struct worker *w)
{
    return list_is_empty(&w->dirty) && w->pending_n == 0;
}
