/* Connections: bytes under way in both directions, in pieces, lost when the connection is cut. */
#include "base/mem.h"
#include "service/broker/lent_output_test.h"
#include "sim.h"

enum { LINK_BYTES_MAX = 1 << 20, OUTPUT_BYTES = 2048 };

struct sim_link *sim_link_new(struct sim *s, uint8_t client)
{
    struct sim_link *l = s->n_links < SIM_LINKS_MAX ? mem_zalloc(sizeof(*l)) : NULL;
    if (l == NULL) {
        return NULL;
    }
    l->id = s->n_links + 1;
    l->client = client;
    l->worker = -1;
    l->will = -1;
    l->opened_at = s->tick;
    s->links[s->n_links++] = l;
    return l;
}

void sim_link_free(struct sim_link *l)
{
    if (l != NULL) {
        buf_done(&l->up);
        buf_done(&l->down);
        buf_done(&l->tap);
        mem_free(l->marks);
        mem_free(l->owed);
        mem_free(l);
    }
}

static void append(struct sim *s, struct buf *b, struct slice bytes)
{
    if (buf_append(b, bytes, LINK_BYTES_MAX) != OK) {
        sim_fail(s, "-", "the simulator is out of memory");
    }
}

void sim_link_put(struct sim *s, struct sim_link *l, struct slice packet, struct sim_mark mark)
{
    if (l->marks_n == l->marks_cap) {
        l->marks_cap = l->marks_cap > 0 ? l->marks_cap * 2 : 16;
        struct sim_mark *grown = mem_grow(l->marks, l->marks_cap * sizeof(*grown));
        if (grown == NULL) {
            sim_fail(s, "-", "the simulator is out of memory");
            return;
        }
        l->marks = grown;
    }
    append(s, &l->up, packet);
    l->put_total += packet.n;
    mark.end = l->put_total;
    l->marks[l->marks_n++] = mark;
}

/* The model is told before the worker: what the worker does with a packet happens inside the call.
 */
void sim_link_feed(struct sim *s, struct sim_link *l, size_t n)
{
    if (l->worker < 0 || l->is_over || l->is_cut || n > l->up.n || n == 0) {
        return;
    }
    struct worker *w = s->workers[l->worker];
    sim_say(s, "link", "%u: %zu bytes of client %u to worker %d", l->id, n, l->client, l->worker);
    l->up_total += n;
    while (l->marks_at < l->marks_n && l->marks[l->marks_at].end <= l->up_total) {
        model_fed(s, l, &l->marks[l->marks_at++]);
    }
    AUTO(buf_done) struct buf bytes = {0};
    append(s, &bytes, slice_head(buf_slice(&l->up), n));
    buf_drop(&l->up, n);
    sim_trouble_tend(s);
    sim_memory_begin(s);
    worker_input(w, l->conn, buf_slice(&bytes), s->now_ms);
    sim_memory_end(s);
    model_held(s, l);
}

static void tap(struct sim *s, struct sim_link *l, struct slice bytes)
{
    append(s, &l->tap, bytes);
    struct slice in = buf_slice(&l->tap);
    struct slice body;
    struct mqtt_fixed fixed;
    enum err err;
    while ((err = mqtt_packet_cut(&in, LINK_BYTES_MAX, NULL, &fixed, &body)) == OK) {
        tap_packet(s, l, (unsigned)l->worker, &fixed, body);
    }
    if (err != ERR_AGAIN) {
        sim_fail(s, "-", "link %u: what left the worker is no packet: %s", l->id, err_name(err));
    }
    buf_drop(&l->tap, l->tap.n - in.n);
}

static void give_back(struct sim *s, struct sim_link *l, const char *why)
{
    sim_say(s, "link", "%u: over at worker %d (%s)", l->id, l->worker, why);
    struct worker *w = s->workers[l->worker];
    uint64_t conn = l->conn;
    worker_gone(w, conn, why, s->now_ms);
    if (worker_transport(w, conn) != NULL) {
        sim_fail(s, "-", "link %u: the connection outlives worker_gone", l->id);
    }
    l->is_over = true;
    l->worker = -1;
    model_held(s, l);
    model_over(s, l);
}

/* What a driver does with a dirty connection: one write, then the end if it has come. */
void sim_link_pump(struct sim *s, struct sim_link *l)
{
    uint8_t out[OUTPUT_BYTES];
    if (l->worker < 0 || l->is_over) {
        return;
    }
    struct worker *w = s->workers[l->worker];
    if (l->is_cut) {
        give_back(s, l, "the connection was lost");
        return;
    }
    if (l->is_blocked) {
        return;
    }
    size_t cap = sim_chance(s, 35) ? 200 + sim_below(s, 56) : sizeof(out); /* a long message fits */
    sim_memory_begin(s);
    /* Of every second link payloads are lent: what leaves is the same. */
    size_t n = lent_output(w, l->conn, out, cap, l->id % 2 == 0 ? 1 : SIZE_MAX, s->now_ms);
    sim_memory_end(s);
    if (n > 0) {
        sim_say(s, "worker", "%d: %zu bytes on link %u", l->worker, n, l->id);
        tap(s, l, slice_of(out, n));
        append(s, &l->down, slice_of(out, n));
    }
    if (worker_is_finished(w, l->conn)) {
        give_back(s, l, "closed by the server");
    }
}

void sim_link_cut(struct sim *s, struct sim_link *l)
{
    sim_say(s, "link", "%u: cut, %zu bytes up and %zu down are lost", l->id, l->up.n, l->down.n);
    l->is_cut = true;
    buf_clear(&l->up);
    buf_clear(&l->down);
    sim_client_lost(s, l);
}

/* A driver learns sooner or later that the client has gone. */
void sim_link_reap(struct sim *s, struct sim_link *l)
{
    if (l->is_cut && !l->is_over && l->worker >= 0) {
        give_back(s, l, "the connection was lost");
    }
}

void sim_link_receive(struct sim *s, struct sim_link *l, size_t n)
{
    if (l->is_cut) {
        return;
    }
    /* Whole packets within n bytes; what is cut off waits for the next piece. */
    struct slice in = slice_head(buf_slice(&l->down), n);
    size_t had = in.n;
    bool is_all = had == l->down.n;
    struct slice body;
    struct mqtt_fixed fixed;
    while (!l->is_cut && mqtt_packet_cut(&in, LINK_BYTES_MAX, NULL, &fixed, &body) == OK) {
        sim_client_take(s, l, &fixed, body);
    }
    if (!l->is_cut) {
        buf_drop(&l->down, had - in.n);
    }
    /* A client that did not read was given up in the middle of a packet: the rest never comes. */
    if (l->is_over && is_all && !l->is_cut) {
        sim_say(s, "client", "%u: the server closed link %u", l->client, l->id);
        l->is_cut = true;
        buf_clear(&l->down);
        sim_client_lost(s, l);
    }
}
