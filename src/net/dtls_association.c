/* The tables of the DTLS server: how associations come, open and go. */
#include "base/mem.h"
#include "base/scope.h"
#include "net/dtls_server_private.h"

struct slice dtls_place_key(const void *value)
{
    const struct dtls_place *p = value;
    return net_peer_key(&p->address);
}

struct slice dtls_id_key(const void *value)
{
    const struct dtls_association *a = value;
    return slice_of(&a->id, sizeof(a->id));
}

struct dtls_library *dtls_library_free(struct dtls_library *l)
{
    if (l != NULL) {
        dtls_link_done(&l->link);
        buf_wipe(&l->sent.flight);
    }
    return mem_free(l);
}

struct dtls_association *dtls_association_free(struct dtls_association *a)
{
    if (a != NULL) {
        a->library = dtls_library_free(a->library);
        dtls_taken_done(&a->taken);
        a->cert = mem_free(a->cert);
    }
    return mem_free(a);
}

AUTOFREE(dtls_association, dtls_association_free)

enum err dtls_association_new(struct dtls_server *s, struct dtls_association **ret)
{
    AUTO(dtls_association_autofree) struct dtls_association *a = mem_zalloc(sizeof(*a));
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->library = mem_zalloc(sizeof(*a->library));
    if (a->library == NULL) {
        return ERR_NOMEM;
    }
    struct dtls_link *link = &a->library->link;
    a->library->claim.keys = &s->keys;
    link->claim = &a->library->claim;
    TRY(dtls_link_init(link, s->ctx, s->method, &s->handler, s->retransmit_ms));
    *ret = TAKE(a);
    return OK;
}

void dtls_server_enter(struct dtls_server *s)
{
    s->depth++;
    dtls_forget_errors();
}

void dtls_server_leave(struct dtls_server *s)
{
    s->depth--;
    dtls_forget_errors();
    while (s->depth == 0 && !list_is_empty(&s->gone)) {
        struct dtls_association *a =
            LIST_ENTRY(list_first(&s->gone), struct dtls_association, node);
        list_unlink(&a->node);
        (void)dtls_association_free(a);
    }
}

void dtls_association_remove(struct dtls_server *s, struct dtls_association *a)
{
    if (a->state == DTLS_GONE) {
        return;
    }
    if (a->state == DTLS_OPEN) {
        s->counts.open--;
        dtls_own_forget_flight(a);
    } else {
        s->counts.half_open--;
        list_unlink(&a->node);
    }
    a->state = DTLS_GONE;
    (void)map_remove(&s->by_id, dtls_id_key(a));
    struct dtls_place *p = a->place;
    p->open = p->open == a ? NULL : p->open;
    p->pending = p->pending == a ? NULL : p->pending;
    if (p->open == NULL && p->pending == NULL) {
        (void)map_remove(&s->by_address, dtls_place_key(p));
        (void)mem_free(p);
    }
    a->place = NULL;
    list_append(&s->gone, &a->node);
}

static enum err find_place(struct dtls_server *s, const struct net_peer *peer,
                           struct dtls_place **ret)
{
    struct dtls_place *p = map_find(&s->by_address, net_peer_key(peer));
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

enum err dtls_association_admit(struct dtls_server *s, struct dtls_association *a)
{
    struct dtls_place *p = NULL;
    a->id = s->next_id++;
    TRY(map_add(&s->by_id, a));
    if (find_place(s, &a->library->link.peer, &p) != OK) {
        (void)map_remove(&s->by_id, dtls_id_key(a));
        return ERR_NOMEM;
    }
    struct dtls_association *before = p->pending;
    p->pending = a;
    a->place = p;
    a->state = DTLS_HANDSHAKING;
    a->library->give_up_at_ms = s->now_ms + s->handshake_ms;
    a->library->link.sent = s->keeps_openssl ? NULL : &a->library->sent;
    list_append(&s->half_open, &a->node);
    s->counts.half_open++;
    if (before != NULL) {
        dtls_association_remove(s, before);
    }
    return OK;
}

void dtls_association_failed(struct dtls_server *s, struct dtls_association *a,
                             enum dtls_failure why, const char *text)
{
    struct dtls_library *l = a->library;
    if (!l->failure_told) {
        l->failure_told = true;
        s->counts.failed++;
        struct tls_refusal how = tls_refusal_of(&l->link.note, text);
        s->handler.failed(s->handler.ctx, &l->link.peer, why,
                          slice_of(l->claim.identity, l->claim.identity_n), &how);
    }
}

void dtls_association_info(const struct dtls_association *a, struct dtls_info *ret)
{
    *ret = (struct dtls_info){.id = a->id,
                              .peer = a->place->address,
                              .peer_cert = slice_of(a->cert, a->cert_n),
                              .cipher = a->cipher,
                              .is_resumed = a->is_resumed,
                              .plain_max = a->plain_max};
}

/* What is told of it as long as it lives, whoever runs its records. */
static enum err remember_peer(struct dtls_association *a)
{
    const struct dtls_library *l = a->library;
    SSL *ssl = l->link.ssl;
    X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert != NULL) {
        struct buf der = {0};
        TRY(tls_cert_der(cert, &der));
        a->cert = der.p;
        a->cert_n = (uint32_t)der.n;
    }
    a->cipher = SSL_get_cipher_name(ssl);
    a->is_resumed = SSL_session_reused(ssl) == 1;
    a->plain_max = dtls_link_plain_max(&l->link);
    return OK;
}

static void tell_opened(struct dtls_server *s, const struct dtls_association *a,
                        const struct dtls_claim *claim)
{
    struct dtls_info info;
    dtls_association_info(a, &info);
    if (claim->used_psk) {
        info.psk_identity = slice_of(claim->identity, claim->identity_n);
        info.psk_credential = claim->credential;
    }
    s->handler.opened(s->handler.ctx, &info);
}

void dtls_association_open(struct dtls_server *s, struct dtls_association *a)
{
    if (remember_peer(a) != OK) {
        dtls_association_failed(s, a, DTLS_FAILED_PROTOCOL, "no memory for who the peer is");
        dtls_association_remove(s, a);
        return;
    }
    struct dtls_place *p = a->place;
    struct dtls_association *before = p->open;
    p->open = a;
    p->pending = NULL;
    list_unlink(&a->node);
    a->library->link.note.established = true;
    a->state = DTLS_OPEN;
    s->counts.half_open--;
    s->counts.open++;
    s->counts.opened++;
    const struct dtls_claim claim = a->library->claim;
    dtls_own_take(s, a);
    if (a->library == NULL) {
        s->counts.taken++;
    }
    if (before != NULL) {
        uint64_t id = before->id;
        dtls_association_remove(s, before);
        s->handler.closed(s->handler.ctx, id, ERR_EXISTS);
    }
    if (a->state == DTLS_OPEN) {
        tell_opened(s, a, &claim);
    }
}
