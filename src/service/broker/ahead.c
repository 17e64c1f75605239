/* What the next messages, and the next connections of a dirty pass, will touch is asked for ahead.
 * Hints: what is read here is judged where it is taken. */
#include "base/fetch.h"
#include "service/broker/conn_private.h"
#include "service/broker/worker_private.h"
#include "wire/mqtt/fixed.h"

/* ---- messages of one read ---- */

/* The session of who seems to get a message: its first line was asked for with the filters. */
static const struct session *session_of(const struct subscriber *s)
{
    return s != NULL && s->kind == SUBSCRIBER_SESSION ? (const struct session *)(const void *)s
                                                      : NULL;
}

static void fetch_sessions(const struct worker *w, struct subscriber *const *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct session *s = session_of(to[i]);
        if (s != NULL) {
            fetch(s, sizeof(*s));
        }
    }
    for (size_t i = 0; i < n; i++) {
        const struct session *s = session_of(to[i]);
        const struct conn *c = s != NULL ? conn_find(w, s->conn) : NULL;
        if (s != NULL) {
            fetch(s->queue, sizeof(*s->queue));
        }
        if (c != NULL) {
            fetch(&c->dirty, sizeof(c->dirty));
            fetch(&c->backlog_bytes, sizeof(c->backlog_bytes));
        }
    }
}

size_t ahead_input(const struct worker *w, struct slice in)
{
    struct slice topics[FILTERS_AHEAD], body;
    struct subscriber *to[FILTERS_AHEAD];
    struct mqtt_fixed f;
    size_t n = 0;
    if (!filters_are_many(w->filters)) {
        return 0;
    }
    while (n < FILTERS_AHEAD && mqtt_packet_cut(&in, w->packet_most, NULL, &f, &body) == OK) {
        struct rd r = rd_from(body);
        if (f.type == MQTT_PUBLISH) {
            topics[n++] = rd_block16(&r);
        }
    }
    if (n > 1) {
        filters_ahead(w->filters, topics, n, to);
        fetch_sessions(w, to, n);
    }
    return in.n;
}

/* ---- connections of a dirty pass ---- */

/* The k-th behind n, or NULL. */
static const struct conn *behind(const struct worker *w, const struct list_node *n, unsigned k)
{
    for (; k > 0 && n != &w->dirty.head; k--) {
        n = n->next;
    }
    return n != &w->dirty.head ? LIST_ENTRY(n, struct conn, dirty) : NULL;
}

/* Each step stands on what the one before has brought, for the connection before it in the list. */
void ahead_output(const struct worker *w, const struct list_node *first)
{
    enum { TRANSPORT_BYTES = 320 }; /* what is looked at of a link, and of the stream in it */
    const struct conn *near = behind(w, first, 1), *far = behind(w, first, 2);
    if (far != NULL) {
        fetch(far, sizeof(*far));
        fetch(far->transport, TRANSPORT_BYTES);
        fetch(far->engine, 128);
        fetch(far->session, sizeof(*far->session));
    }
    if (near != NULL && near->session != NULL) {
        fetch(near->session->queue, sizeof(*near->session->queue));
    }
}
