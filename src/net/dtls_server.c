/* The server of dtls.h with OpenSSL's own record layer: its associations and whom a datagram is
 * for. What a client has to prove is dtls_proof.c. */
#include <openssl/err.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rd.h"
#include "base/scope.h"
#include "engine/oscore_context.h"
#include "net/dtls_private.h"

enum { RANDOM_BYTES = 32, CONTENT_CHANGE_CIPHER = 20, SEQUENCE_BYTES = 6 };

enum state { HANDSHAKING, OPEN, GONE };

/* What is known about one address. It exists while it has an association. */
struct place {
    struct net_peer address;
    struct association *open;    /* lives on while a new handshake from there is unfinished */
    struct association *pending; /* the newest handshake */
};

struct association {
    struct dtls_link link;
    struct dtls_claim claim;
    struct server *server;
    struct place *place;   /* NULL while it is the spare */
    struct list_node node; /* in half_open, or in gone */
    enum state state;
    uint64_t id;
    uint64_t give_up_at_ms, retransmit_at_ms, heard_at_ms;
    uint64_t n_read;              /* plaintext datagrams */
    uint8_t random[RANDOM_BYTES]; /* of the client's hello: tells a repeated one from a new one */
    bool saw_change, saw_sealed;  /* of the client's last flight */
    bool failure_told;
    /* Of records that were opened: the library keeps a window of its own, but says nothing. */
    struct oscore_window window;
    struct buf cert;
};

struct server {
    struct dtls dtls;
    struct dtls_handler handler;
    SSL_CTX *ctx;
    BIO_METHOD *method;
    BIO_ADDR *listen_address; /* what DTLSv1_listen insists on; unused */
    struct tls_judge judge;
    struct tls_tickets *tickets; /* NULL: none */
    size_t half_open_max, associations_max;
    uint32_t retransmit_ms, handshake_ms;
    struct map by_address, by_id;
    struct list half_open, gone; /* gone: freed when no callback is on the stack */
    unsigned depth;
    struct association *spare; /* answers hellos of strangers; becomes an association */
    uint64_t next_id, now_ms;
    struct dtls_proof_keys keys;
    struct unproven unproven;
    struct dtls_counts counts;
    uint8_t plain[DTLS_DATAGRAM_MAX];
};

static struct slice place_key(const void *value)
{
    const struct place *p = value;
    return net_peer_key(&p->address);
}

static struct slice id_key(const void *value)
{
    const struct association *a = value;
    return slice_of(&a->id, sizeof(a->id));
}

/* Birth and death of associations. */

static struct association *association_free(struct association *a)
{
    if (a != NULL) {
        dtls_link_done(&a->link);
        buf_done(&a->cert);
    }
    return mem_free(a);
}

AUTOFREE(association, association_free)

static enum err association_new(struct server *s, struct association **ret)
{
    AUTO(association_autofree) struct association *a = mem_zalloc(sizeof(*a));
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->server = s;
    a->claim.keys = &s->keys;
    a->link.claim = &a->claim;
    TRY(dtls_link_init(&a->link, s->ctx, s->method, &s->handler, s->retransmit_ms));
    *ret = TAKE(a);
    return OK;
}

static void enter(struct server *s)
{
    s->depth++;
    ERR_clear_error();
}

static void leave(struct server *s)
{
    s->depth--;
    ERR_clear_error();
    while (s->depth == 0 && !list_is_empty(&s->gone)) {
        struct association *a = LIST_ENTRY(list_first(&s->gone), struct association, node);
        list_unlink(&a->node);
        (void)association_free(a);
    }
}

/* Out of all tables; the memory goes when the outermost call returns. */
static void remove_association(struct server *s, struct association *a)
{
    if (a->state == GONE) {
        return;
    }
    if (a->state == OPEN) {
        s->counts.open--;
    } else {
        s->counts.half_open--;
        list_unlink(&a->node);
    }
    a->state = GONE;
    (void)map_remove(&s->by_id, id_key(a));
    struct place *p = a->place;
    p->open = p->open == a ? NULL : p->open;
    p->pending = p->pending == a ? NULL : p->pending;
    if (p->open == NULL && p->pending == NULL) {
        (void)map_remove(&s->by_address, place_key(p));
        (void)mem_free(p);
    }
    a->place = NULL;
    list_append(&s->gone, &a->node);
}

static enum err find_place(struct server *s, const struct net_peer *peer, struct place **ret)
{
    struct place *p = map_find(&s->by_address, net_peer_key(peer));
    if (p == NULL) {
        p = mem_zalloc(sizeof(*p));
        if (p == NULL) {
            return ERR_NOMEM;
        }
        p->address = *peer;
        if (map_add(&s->by_address, p) != OK) {
            (void)mem_free(p);
            return ERR_NOMEM;
        }
    }
    *ret = p;
    return OK;
}

/* The spare has heard a proven hello: it becomes the newest handshake of its address. */
static enum err admit(struct server *s, struct association *a)
{
    struct place *p = NULL;
    a->id = s->next_id++;
    TRY(map_add(&s->by_id, a));
    if (find_place(s, &a->link.peer, &p) != OK) {
        (void)map_remove(&s->by_id, id_key(a));
        return ERR_NOMEM;
    }
    struct association *before = p->pending;
    p->pending = a;
    a->place = p;
    a->state = HANDSHAKING;
    a->give_up_at_ms = s->now_ms + s->handshake_ms;
    list_append(&s->half_open, &a->node);
    s->counts.half_open++;
    if (before != NULL) {
        remove_association(s, before);
    }
    return OK;
}

static void tell_failure(struct association *a, enum dtls_failure why, const char *text)
{
    const struct dtls_handler *h = &a->server->handler;
    if (!a->failure_told) {
        a->failure_told = true;
        a->server->counts.failed++;
        struct tls_refusal how = tls_refusal_of(&a->link.note, text);
        h->failed(h->ctx, &a->link.peer, why, slice_of(a->claim.identity, a->claim.identity_n),
                  &how);
    }
}

static void fill_info(const struct association *a, struct dtls_info *ret)
{
    *ret = (struct dtls_info){
        .id = a->id,
        .peer = a->link.peer,
        .psk_identity = slice_of(a->claim.identity, a->claim.used_psk ? a->claim.identity_n : 0),
        .psk_credential = a->claim.used_psk ? a->claim.credential : 0,
        .peer_cert = buf_slice(&a->cert),
        .cipher = SSL_get_cipher_name(a->link.ssl),
        .is_resumed = SSL_session_reused(a->link.ssl) == 1,
        .plain_max = dtls_link_plain_max(&a->link),
        .heard_at_ms = a->heard_at_ms};
}

/* The handshake is over: this association replaces an older one of the same address. */
static void open_association(struct server *s, struct association *a)
{
    X509 *cert = SSL_get0_peer_certificate(a->link.ssl);
    if (cert != NULL && tls_cert_der(cert, &a->cert) != OK) {
        tell_failure(a, DTLS_FAILED_PROTOCOL, "no memory for the certificate");
        remove_association(s, a);
        return;
    }
    struct place *p = a->place;
    struct association *before = p->open;
    p->open = a;
    p->pending = NULL;
    list_unlink(&a->node);
    a->link.note.established = true;
    a->state = OPEN;
    a->heard_at_ms = s->now_ms;
    s->counts.half_open--;
    s->counts.open++;
    s->counts.opened++;
    if (before != NULL) {
        uint64_t id = before->id;
        remove_association(s, before);
        s->handler.closed(s->handler.ctx, id, ERR_EXISTS);
    }
    if (a->state == OPEN) {
        struct dtls_info info;
        fill_info(a, &info);
        s->handler.opened(s->handler.ctx, &info);
    }
}

/* Serving one association. */

static bool waits(const struct association *a, int result)
{
    int why = SSL_get_error(a->link.ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static void step_handshake(struct server *s, struct association *a)
{
    int result = SSL_do_handshake(a->link.ssl);
    if (result == 1) {
        open_association(s, a);
    } else if (!waits(a, result)) {
        char text[TLS_TEXT_BYTES];
        enum dtls_failure why = dtls_link_failure(&a->link, "client", text);
        tell_failure(a, why, text);
        remove_association(s, a);
    } else {
        a->retransmit_at_ms = dtls_link_timer(&a->link, s->now_ms);
    }
}

static void read_all(struct server *s, struct association *a)
{
    while (a->state == OPEN) {
        int n = SSL_read(a->link.ssl, s->plain, sizeof(s->plain));
        if (n > 0) {
            a->heard_at_ms = s->now_ms;
            a->n_read++;
            s->handler.received(s->handler.ctx, a->id, slice_of(s->plain, (size_t)n));
        } else if (waits(a, n)) {
            return;
        } else {
            bool orderly = SSL_get_error(a->link.ssl, n) == SSL_ERROR_ZERO_RETURN;
            remove_association(s, a);
            s->handler.closed(s->handler.ctx, a->id, orderly ? OK : ERR_PROTOCOL);
        }
    }
}

/* Which records of the client's last flight are in here. */
static void note_records(struct association *a, struct slice datagram)
{
    struct rd r = rd_from(datagram);
    while (rd_left(&r) > 0) {
        uint8_t type = rd_u8(&r);
        (void)rd_u16(&r);
        uint16_t epoch = rd_u16(&r);
        (void)rd_be(&r, SEQUENCE_BYTES);
        (void)rd_block16(&r);
        if (rd_ok(&r)) {
            a->saw_change |= type == CONTENT_CHANGE_CIPHER && epoch == 0;
            a->saw_sealed |= epoch > 0;
        }
    }
}

/* DTLS drops what does not open without a word, so a wrong key looks like silence. The operator
 * hears of it: the whole last flight is there, and its Finished did not open. The association is
 * left alone, because a stranger can forge an unreadable record. */
static void suspect_key(struct association *a)
{
    if (a->state != HANDSHAKING || !a->claim.used_psk || !a->saw_change || !a->saw_sealed) {
        return;
    }
    if (a->claim.identity_known) {
        tell_failure(a, DTLS_FAILED_KEY,
                     "the pre-shared key of this identity is another one here: give the device its "
                     "own key again");
    } else {
        tell_failure(a, DTLS_FAILED_IDENTITY,
                     "no device has this PSK identity: add it, or correct the device's identity");
    }
}

/* The number of a sealed record; false: the datagram begins with another one. */
static bool sealed_number(struct slice datagram, uint64_t *ret)
{
    struct rd r = rd_from(datagram);
    (void)rd_be(&r, 3); /* type, version */
    uint16_t epoch = rd_u16(&r);
    *ret = rd_be(&r, SEQUENCE_BYTES);
    return rd_ok(&r) && epoch > 0;
}

/* Reads what a datagram brought to an open association, and tells when it was there before. */
static void read_sealed(struct server *s, struct association *a, struct slice datagram)
{
    uint64_t number = 0;
    uint64_t n_before = a->n_read, id = a->id;
    bool is_sealed = sealed_number(datagram, &number);
    read_all(s, a);
    if (!is_sealed || a->state != OPEN) {
        return;
    }
    if (a->n_read == n_before) {
        bool is_repeated = a->window.is_known && !oscore_window_is_fresh(&a->window, number);
        if (is_repeated && s->handler.replayed != NULL) {
            s->handler.replayed(s->handler.ctx, id);
        }
    } else {
        a->window.is_known = true;
        (void)!oscore_window_take(&a->window, number);
    }
}

static void serve(struct server *s, struct association *a, struct slice datagram)
{
    if (SSL_alloc_buffers(a->link.ssl) != 1) {
        return; /* as if the datagram had been lost; without them an alert inside SSL_read would
                   crash */
    }
    enter(s);
    a->link.in = datagram;
    if (a->state == HANDSHAKING) {
        step_handshake(s, a);
        if (a->claim.used_psk && a->state == HANDSHAKING) {
            note_records(a, datagram);
            suspect_key(a);
        }
    }
    read_sealed(s, a, datagram);
    a->link.in = (struct slice){0};
    if (a->state == OPEN) {
        (void)SSL_free_buffers(a->link.ssl); /* refuses when something is in them: fine */
    }
    leave(s);
}

/* Strangers. */

static bool is_welcome(const struct server *s, const struct net_peer *peer)
{
    return s->counts.half_open + s->counts.open < s->associations_max &&
           (s->handler.admit == NULL || s->handler.admit(s->handler.ctx, peer));
}

/* The oldest unfinished handshake goes: an honest one is over in a few round trips, so who keeps
 * them open loses them first, and nobody else is locked out meanwhile. */
static void make_room(struct server *s)
{
    while (s->counts.half_open >= s->half_open_max) {
        struct association *a = LIST_ENTRY(list_first(&s->half_open), struct association, node);
        tell_failure(a, DTLS_FAILED_TIMEOUT, "too many were begun after it");
        s->counts.crowded_out++;
        remove_association(s, a);
    }
}

/* A hello without a good cookie is answered with one and costs nothing. */
static void hear_stranger(struct server *s, const struct net_peer *peer, struct slice datagram,
                          struct slice random)
{
    dtls_proof_rotate(&s->keys, s->now_ms);
    if (s->spare == NULL && association_new(s, &s->spare) != OK) {
        s->counts.refused++;
        return;
    }
    struct association *a = s->spare;
    a->link.peer = *peer;
    a->link.in = datagram;
    a->link.unproven = &s->unproven;
    ERR_clear_error();
    int proven = DTLSv1_listen(a->link.ssl, s->listen_address);
    ERR_clear_error();
    if (proven != 1) {
        a->link.in = (struct slice){0};
        s->counts.hellos++;
        return;
    }
    s->counts.cookies++;
    if (s->unproven.counters != NULL) {
        s->unproven.counters->proofs++;
    }
    a->link.unproven = NULL;
    s->spare = NULL;
    bool is_in = is_welcome(s, peer);
    if (is_in) {
        make_room(s);
        is_in = admit(s, a) == OK;
    }
    if (!is_in) {
        s->counts.refused++;
        (void)association_free(a);
        return;
    }
    memcpy(a->random, random.p, sizeof(a->random));
    serve(s, a, datagram);
}

static bool is_repeated_hello(const struct association *a, struct slice random)
{
    return a != NULL && slice_equal(slice_of(a->random, sizeof(a->random)), random);
}

/* SPEC: RFC6347 4.2.8, an old association survives a hello until the new one is complete */
static void hear_hello(struct server *s, const struct net_peer *peer, struct place *p,
                       struct slice datagram, struct slice random)
{
    if (p != NULL && is_repeated_hello(p->pending, random)) {
        serve(s, p->pending, datagram);
    } else if (p != NULL && is_repeated_hello(p->open, random)) {
        s->counts.dropped++; /* the network repeated it */
    } else {
        hear_stranger(s, peer, datagram, random);
    }
}

static void server_input(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                         uint64_t now_ms)
{
    struct server *s = CONTAINER_OF(d, struct server, dtls);
    struct slice random = {0};
    s->now_ms = now_ms;
    enum dtls_kind kind = dtls_kind_of(datagram, &random);
    struct place *p = map_find(&s->by_address, net_peer_key(peer));
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
    enter(s);
    if (kind == DTLS_KIND_HELLO) {
        hear_hello(s, peer, p, datagram, random);
    } else if (p == NULL) {
        s->counts.dropped++;
    } else {
        /* Sealed records do not say whose they are: the handshake tries first, and what was not
         * its own is dropped by it and read by the association it is to replace. */
        struct association *open = p->open;
        struct association *pending = p->pending;
        if (pending != NULL) {
            serve(s, pending, datagram);
        }
        if (open != NULL && open->state == OPEN && (kind == DTLS_KIND_SEALED || pending == NULL)) {
            serve(s, open, datagram);
        }
    }
    unproven_close(&s->unproven);
    leave(s);
}

static struct association *find_open(const struct server *s, uint64_t id)
{
    struct association *a = map_find(&s->by_id, slice_of(&id, sizeof(id)));
    return a != NULL && a->state == OPEN ? a : NULL;
}

static enum err server_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms)
{
    struct server *s = CONTAINER_OF(d, struct server, dtls);
    struct association *a = find_open(s, id);
    s->now_ms = now_ms;
    if (a == NULL) {
        return ERR_NOT_FOUND;
    }
    enum err err = dtls_link_send(&a->link, plain);
    if (s->depth == 0) {
        (void)SSL_free_buffers(a->link.ssl); /* as after a datagram that came */
    }
    return err;
}

static void server_close(struct dtls *d, uint64_t id)
{
    struct server *s = CONTAINER_OF(d, struct server, dtls);
    struct association *a = map_find(&s->by_id, slice_of(&id, sizeof(id)));
    if (a == NULL) {
        return;
    }
    enter(s);
    if (a->state == OPEN) {
        dtls_link_shutdown(&a->link);
    }
    remove_association(s, a);
    leave(s);
}

static bool server_info(const struct dtls *d, uint64_t id, struct dtls_info *ret)
{
    const struct server *s = (const struct server *)(const void *)d;
    const struct association *a = find_open(s, id);
    if (a != NULL) {
        fill_info(a, ret);
    }
    return a != NULL;
}

static uint64_t server_deadline(const struct dtls *d)
{
    const struct server *s = (const struct server *)(const void *)d;
    uint64_t first = UINT64_MAX;
    list_for_each (node, &s->half_open) {
        const struct association *a = LIST_ENTRY(node, struct association, node);
        first = a->give_up_at_ms < first ? a->give_up_at_ms : first;
        first = a->retransmit_at_ms < first ? a->retransmit_at_ms : first;
    }
    return first;
}

static void server_tick(struct dtls *d, uint64_t now_ms)
{
    struct server *s = CONTAINER_OF(d, struct server, dtls);
    s->now_ms = now_ms;
    enter(s);
    list_for_each_safe (node, next, &s->half_open) {
        struct association *a = LIST_ENTRY(node, struct association, node);
        bool over = now_ms >= a->give_up_at_ms;
        if (!over && now_ms >= a->retransmit_at_ms) {
            over = DTLSv1_handle_timeout(a->link.ssl) < 0;
            a->retransmit_at_ms = dtls_link_timer(&a->link, now_ms);
        }
        if (over) {
            tell_failure(a, DTLS_FAILED_TIMEOUT, "the peer stopped answering in the handshake");
            remove_association(s, a);
        }
    }
    leave(s);
}

static size_t server_turn_away(struct dtls *d)
{
    struct server *s = CONTAINER_OF(d, struct server, dtls);
    size_t n = s->counts.half_open;
    enter(s);
    list_for_each_safe (node, next, &s->half_open) {
        remove_association(s, LIST_ENTRY(node, struct association, node));
    }
    leave(s);
    return n;
}

static const struct dtls_counts *server_counts(const struct dtls *d)
{
    return &((const struct server *)(const void *)d)->counts;
}

static struct dtls *server_free(struct dtls *d)
{
    struct server *s = CONTAINER_OF(d, struct server, dtls);
    struct association *a = NULL;
    enter(s);
    for (size_t at = 0; (a = map_next(&s->by_id, &at)) != NULL;) {
        remove_association(s, a);
    }
    leave(s);
    s->spare = association_free(s->spare);
    map_done(&s->by_id);
    map_done(&s->by_address);
    BIO_ADDR_free(s->listen_address);
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
    struct server *s = CONTAINER_OF(d, struct server, dtls);
    SSL_CTX *ctx = NULL;
    TRY(dtls_proof_ctx_new(c, handler->find_psk != NULL, &s->judge, ret_text, &ctx));
    SSL_CTX_free(s->ctx);
    s->ctx = ctx;
    s->spare = association_free(s->spare);
    s->handler.find_psk = handler->find_psk;
    s->judge.late_s = c->late_s;
    s->handshake_ms = c->handshake_ms != 0 ? c->handshake_ms : DTLS_HANDSHAKE_MS;
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
    struct server *s = mem_zalloc(sizeof(*s));
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
    s->next_id = 1;
    list_init(&s->half_open);
    list_init(&s->gone);
    c->random->fill(c->random->ctx, map_keys, sizeof(map_keys));
    dtls_proof_init(&s->keys, c->random);
    map_init(&s->by_address, &map_keys[0], place_key);
    map_init(&s->by_id, &map_keys[1], id_key);
    s->method = dtls_method_new();
    s->listen_address = BIO_ADDR_new();
    enum err e = s->method != NULL && s->listen_address != NULL ? OK : ERR_NOMEM;
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
