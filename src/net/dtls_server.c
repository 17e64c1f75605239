/* The server of dtls.h: whom a datagram is for, strangers, and the interface. */
#include "base/mem.h"
#include "base/scope.h"
#include "net/dtls_server_private.h"

static void serve(struct dtls_server *s, struct dtls_association *a, struct slice datagram,
                  bool is_alone)
{
    if (a->library != NULL) {
        dtls_library_serve(s, a, datagram);
    } else {
        dtls_own_serve(s, a, datagram, is_alone);
    }
}

/* Strangers. */

static bool is_welcome(const struct dtls_server *s, const struct net_peer *peer)
{
    return s->counts.half_open + s->counts.open < s->associations_max &&
           (s->handler.admit == NULL || s->handler.admit(s->handler.ctx, peer));
}

/* The oldest unfinished handshake goes: an honest one is over in a few round trips, so who keeps
 * them open loses them first, and nobody else is locked out meanwhile. */
static void make_room(struct dtls_server *s)
{
    while (s->counts.half_open >= s->half_open_max) {
        struct dtls_association *a =
            LIST_ENTRY(list_first(&s->half_open), struct dtls_association, node);
        dtls_association_failed(s, a, DTLS_FAILED_TIMEOUT, "too many were begun after it");
        s->counts.crowded_out++;
        dtls_association_remove(s, a);
    }
}

/* Of the random of a hello; the key is nobody else's. */
static uint64_t hash_of(const struct dtls_server *s, struct slice random)
{
    return siphash(&s->by_address.key, random);
}

/* A hello without a good cookie is answered with one and costs nothing. */
static void hear_stranger(struct dtls_server *s, const struct net_peer *peer, struct slice datagram,
                          struct slice random)
{
    if (dtls_proof_rotate(&s->keys, s->now_ms) != OK ||
        (s->spare == NULL && dtls_association_new(s, &s->spare) != OK)) {
        s->counts.refused++;
        return;
    }
    struct dtls_association *a = s->spare;
    a->library->link.peer = *peer;
    a->library->link.in = datagram;
    a->library->link.unproven = &s->unproven;
    dtls_forget_errors();
    int proven = DTLSv1_listen(a->library->link.ssl, s->listen_address);
    dtls_forget_errors();
    if (proven != 1) {
        a->library->link.in = (struct slice){0};
        s->counts.hellos++;
        return;
    }
    s->counts.cookies++;
    if (s->unproven.counters != NULL) {
        s->unproven.counters->proofs++;
    }
    a->library->link.unproven = NULL;
    s->spare = NULL;
    bool is_in = is_welcome(s, peer);
    if (is_in) {
        make_room(s);
        is_in = dtls_association_admit(s, a) == OK;
    }
    if (!is_in) {
        s->counts.refused++;
        (void)dtls_association_free(a);
        return;
    }
    a->hello = hash_of(s, random);
    dtls_library_serve(s, a, datagram);
}

static bool is_repeated_hello(const struct dtls_association *a, uint64_t hello)
{
    return a != NULL && a->hello == hello;
}

/* SPEC: RFC6347 4.2.8, an old association survives a hello until the new one is complete */
static void hear_hello(struct dtls_server *s, const struct net_peer *peer, struct dtls_place *p,
                       struct slice datagram, struct slice random)
{
    uint64_t hello = p != NULL ? hash_of(s, random) : 0;
    if (p != NULL && is_repeated_hello(p->pending, hello)) {
        dtls_library_serve(s, p->pending, datagram);
    } else if (p != NULL && is_repeated_hello(p->open, hello)) {
        s->counts.dropped++; /* the network repeated it */
    } else {
        hear_stranger(s, peer, datagram, random);
    }
}

static void server_input(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                         uint64_t now_ms)
{
    struct dtls_server *s = CONTAINER_OF(d, struct dtls_server, dtls);
    struct slice random = {0};
    s->now_ms = now_ms;
    enum dtls_kind kind = dtls_kind_of(datagram, &random);
    struct dtls_place *p = map_find(&s->by_address, net_peer_key(peer));
    if (p == NULL || kind == DTLS_KIND_HELLO) {
        unproven_open(&s->unproven, datagram.n);
    }
    if (kind == DTLS_KIND_NONE || datagram.n > DTLS_DATAGRAM_MAX) {
        s->counts.dropped++;
        if (kind == DTLS_KIND_NONE && s->handler.foreign != NULL) {
            s->handler.foreign(s->handler.ctx, peer, datagram);
        }
        return;
    }
    dtls_server_enter(s);
    if (kind == DTLS_KIND_HELLO) {
        hear_hello(s, peer, p, datagram, random);
    } else if (p == NULL) {
        s->counts.dropped++;
    } else {
        /* Sealed records do not say whose they are: the handshake tries first, and what was not
         * its own is dropped by it and read by the association it is to replace. */
        struct dtls_association *open = p->open;
        struct dtls_association *pending = p->pending;
        if (pending != NULL) {
            dtls_library_serve(s, pending, datagram);
        }
        if (open != NULL && open->state == DTLS_OPEN &&
            (kind == DTLS_KIND_SEALED || pending == NULL)) {
            serve(s, open, datagram, pending == NULL);
        }
    }
    unproven_close(&s->unproven);
    dtls_server_leave(s);
}

static struct dtls_association *find_open(const struct dtls_server *s, uint64_t id)
{
    struct dtls_association *a = map_find(&s->by_id, slice_of(&id, sizeof(id)));
    return a != NULL && a->state == DTLS_OPEN ? a : NULL;
}

static enum err server_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms)
{
    struct dtls_server *s = CONTAINER_OF(d, struct dtls_server, dtls);
    struct dtls_association *a = find_open(s, id);
    s->now_ms = now_ms;
    if (a == NULL) {
        return ERR_NOT_FOUND;
    }
    return a->library != NULL ? dtls_library_send(s, a, plain) : dtls_own_send(s, a, plain);
}

static void server_close(struct dtls *d, uint64_t id)
{
    struct dtls_server *s = CONTAINER_OF(d, struct dtls_server, dtls);
    struct dtls_association *a = map_find(&s->by_id, slice_of(&id, sizeof(id)));
    if (a == NULL) {
        return;
    }
    dtls_server_enter(s);
    if (a->state == DTLS_OPEN) {
        if (a->library != NULL) {
            dtls_link_shutdown(&a->library->link);
        } else {
            dtls_own_close(s, a);
        }
    }
    dtls_association_remove(s, a);
    dtls_server_leave(s);
}

static bool server_info(const struct dtls *d, uint64_t id, struct dtls_info *ret)
{
    const struct dtls_server *s = (const struct dtls_server *)(const void *)d;
    const struct dtls_association *a = find_open(s, id);
    if (a != NULL) {
        dtls_association_info(a, ret);
    }
    return a != NULL;
}

static uint64_t server_deadline(const struct dtls *d)
{
    const struct dtls_server *s = (const struct dtls_server *)(const void *)d;
    uint64_t first = UINT64_MAX;
    list_for_each (node, &s->half_open) {
        const struct dtls_association *a = LIST_ENTRY(node, struct dtls_association, node);
        first = a->library->give_up_at_ms < first ? a->library->give_up_at_ms : first;
        first = a->library->retransmit_at_ms < first ? a->library->retransmit_at_ms : first;
    }
    if (!list_is_empty(&s->flights)) {
        const struct dtls_association *a =
            LIST_ENTRY(list_first(&s->flights), struct dtls_association, node);
        first = a->forget_at_ms < first ? a->forget_at_ms : first;
    }
    return first;
}

/* The oldest are in front, and all are kept for the same time. */
static void forget_flights(struct dtls_server *s)
{
    while (!list_is_empty(&s->flights)) {
        struct dtls_association *a =
            LIST_ENTRY(list_first(&s->flights), struct dtls_association, node);
        if (s->now_ms < a->forget_at_ms) {
            return;
        }
        dtls_own_forget_flight(a);
    }
}

static void server_tick(struct dtls *d, uint64_t now_ms)
{
    struct dtls_server *s = CONTAINER_OF(d, struct dtls_server, dtls);
    s->now_ms = now_ms;
    dtls_server_enter(s);
    list_for_each_safe (node, next, &s->half_open) {
        struct dtls_association *a = LIST_ENTRY(node, struct dtls_association, node);
        bool over = now_ms >= a->library->give_up_at_ms;
        if (!over && now_ms >= a->library->retransmit_at_ms) {
            dtls_sent_next(&a->library->sent);
            over = DTLSv1_handle_timeout(a->library->link.ssl) < 0;
            a->library->retransmit_at_ms = dtls_link_timer(&a->library->link, now_ms);
        }
        if (over) {
            dtls_association_failed(s, a, DTLS_FAILED_TIMEOUT,
                                    "the peer stopped answering in the handshake");
            dtls_association_remove(s, a);
        }
    }
    forget_flights(s);
    dtls_server_leave(s);
}

static size_t server_turn_away(struct dtls *d)
{
    struct dtls_server *s = CONTAINER_OF(d, struct dtls_server, dtls);
    size_t n = s->counts.half_open;
    dtls_server_enter(s);
    list_for_each_safe (node, next, &s->half_open) {
        dtls_association_remove(s, LIST_ENTRY(node, struct dtls_association, node));
    }
    dtls_server_leave(s);
    return n;
}

static const struct dtls_counts *server_counts(const struct dtls *d)
{
    return &((const struct dtls_server *)(const void *)d)->counts;
}

static struct dtls *server_free(struct dtls *d)
{
    struct dtls_server *s = CONTAINER_OF(d, struct dtls_server, dtls);
    struct dtls_association *a = NULL;
    dtls_server_enter(s);
    for (size_t at = 0; (a = map_next(&s->by_id, &at)) != NULL;) {
        dtls_association_remove(s, a);
    }
    dtls_server_leave(s);
    s->spare = dtls_association_free(s->spare);
    map_done(&s->by_id);
    map_done(&s->by_address);
    BIO_ADDR_free(s->listen_address);
    s->aead = record_aead_free(s->aead);
    s->prf = prf_free(s->prf);
    SSL_CTX_free(s->ctx);
    s->tickets = tls_tickets_free(s->tickets);
    BIO_meth_free(s->method);
    dtls_proof_done(&s->keys);
    (void)mem_free(s);
    return NULL;
}

/* An SSL object shares the context that it was made with; the spare has heard nobody yet. */
static enum err server_renew(struct dtls *d, const struct dtls_server_config *c,
                             const struct dtls_handler *handler, char *ret_text)
{
    struct dtls_server *s = CONTAINER_OF(d, struct dtls_server, dtls);
    SSL_CTX *ctx = NULL;
    TRY(dtls_proof_ctx_new(c, handler->find_psk != NULL, &s->judge, ret_text, &ctx));
    SSL_CTX_free(s->ctx);
    s->ctx = ctx;
    s->spare = dtls_association_free(s->spare);
    s->handler.find_psk = handler->find_psk;
    s->judge.late_s = c->late_s;
    s->handshake_ms = c->handshake_ms != 0 ? c->handshake_ms : DTLS_HANDSHAKE_MS;
    s->keeps_openssl = c->keeps_openssl;
    return OK;
}

static const struct dtls_ops server_ops = {.input = server_input,
                                           .send = server_send,
                                           .close = server_close,
                                           .info = server_info,
                                           .deadline = server_deadline,
                                           .tick = server_tick,
                                           .turn_away = server_turn_away,
                                           .counts = server_counts,
                                           .free = server_free,
                                           .renew = server_renew};

enum err dtls_server_openssl(const struct dtls_server_config *c, const struct dtls_handler *handler,
                             char *ret_text, struct dtls **ret)
{
    struct siphash_key map_keys[2];
    ret_text[0] = '\0';
    struct dtls_server *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->dtls.ops = &server_ops;
    s->handler = *handler;
    s->unproven.counters = handler->counters;
    s->judge.clock = c->clock != NULL ? *c->clock : clock_system();
    s->judge.late_s = c->late_s;
    s->half_open_max = c->half_open_max != 0 ? c->half_open_max : DTLS_HALF_OPEN_MAX;
    s->associations_max = c->associations_max != 0 ? c->associations_max : DTLS_ASSOCIATIONS_MAX;
    s->retransmit_ms = c->retransmit_ms;
    s->handshake_ms = c->handshake_ms != 0 ? c->handshake_ms : DTLS_HANDSHAKE_MS;
    s->tickets = c->tickets != NULL ? tls_tickets_ref(c->tickets) : NULL;
    s->keeps_openssl = c->keeps_openssl;
    s->next_id = 1;
    list_init(&s->half_open);
    list_init(&s->flights);
    list_init(&s->gone);
    c->random->fill(c->random->ctx, map_keys, sizeof(map_keys));
    map_init(&s->by_address, &map_keys[0], dtls_place_key);
    map_init(&s->by_id, &map_keys[1], dtls_id_key);
    s->method = dtls_method_new();
    s->listen_address = BIO_ADDR_new();
    enum err e = s->method != NULL && s->listen_address != NULL ? OK : ERR_NOMEM;
    if (e == OK) {
        e = record_aead_new(&s->aead);
    }
    if (e == OK) {
        e = prf_new(&s->prf);
    }
    if (e == OK) {
        e = dtls_proof_init(&s->keys, c->random);
    }
    if (e == OK) {
        e = dtls_proof_ctx_new(c, s->handler.find_psk != NULL, &s->judge, ret_text, &s->ctx);
    }
    if (e != OK) {
        (void)server_free(&s->dtls);
        return e;
    }
    *ret = &s->dtls;
    return OK;
}
