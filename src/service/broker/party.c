/* Whose the bytes of a link are: the worker's, for MQTT, a CoAP door's, or an HTTP door's. */
#include "service/broker/driver_private.h"

/* Every worker has one for each CoAP entrance. */
static struct coap_door *door_of(const struct link *l)
{
    const struct driver *d = l->driver;
    for (size_t i = 0; i < d->n_ports; i++) {
        if (d->ports[i].entrance->entrance.index == l->entrance->entrance.index) {
            return d->ports[i].door;
        }
    }
    return NULL;
}

/* NULL: another party. */
static struct coap_stream *coap_of(const struct link *l)
{
    return l->is_http ? NULL : l->coap;
}

static struct http_conn *http_of(const struct link *l)
{
    return l->is_http ? l->http : NULL;
}

static enum err accept_coap(struct link *l, const struct net_peer *peer, uint64_t until_ms)
{
    struct coap_door *door = door_of(l);
    struct coap_caller caller = {.peer = peer,
                                 .transport = l,
                                 .form =
                                     l->entrance->ws != NULL ? COAP_TCP_FRAMED : COAP_TCP_STREAM,
                                 .until_ms = until_ms};
    if (door == NULL) {
        return ERR_DENIED;
    }
    TRY(coap_stream_open(door, &caller, l->driver->now_ms, &l->coap));
    l->conn = UINT64_MAX; /* no worker has this one */
    return OK;
}

static enum err accept_http(struct link *l, const struct net_peer *peer, uint64_t until_ms)
{
    struct http_door *door = http_ports_door(l->driver, l->entrance->entrance.index);
    if (door == NULL) {
        return ERR_DENIED;
    }
    TRY(http_conn_open(door, peer, l, until_ms, l->driver->now_ms, &l->http));
    l->is_http = true;
    l->conn = UINT64_MAX;
    return OK;
}

bool party_judges(struct link *l, const struct x509 *x)
{
    if (http_of(l) != NULL) {
        http_conn_present(l->http, x);
    }
    return http_of(l) != NULL;
}

bool party_is_mqtt(const struct link *l)
{
    return l->coap == NULL; /* nor the other one: they have one place */
}

enum err party_accept(struct link *l, const struct net_peer *peer, uint64_t until_ms)
{
    struct driver *d = l->driver;
    if (l->entrance->entrance.is_stream) {
        return accept_coap(l, peer, until_ms);
    }
    if (l->entrance->entrance.is_enrol || l->entrance->entrance.is_metrics) {
        return accept_http(l, peer, until_ms);
    }
    TRY(worker_accept(d->worker, &l->entrance->entrance, link_peer(l), l, d->now_ms, &l->conn));
    worker_hurry(d->worker, l->conn, until_ms);
    return OK;
}

void party_present(struct link *l, struct slice name, const struct x509_info *cert)
{
    if (coap_of(l) != NULL) {
        coap_stream_present(l->coap, name, &cert->spki, &cert->id, stream_version(link_stream(l)),
                            stream_cipher(link_stream(l)));
        coap_stream_certificate_ends(l->coap, cert->not_after_wall_ms);
    } else {
        worker_present(l->driver->worker, l->conn, name, &cert->spki, &cert->id);
        worker_certificate_ends(l->driver->worker, l->conn, cert->not_after_wall_ms);
    }
}

void party_resumed(struct link *l)
{
    if (coap_of(l) != NULL) {
        coap_stream_resumed(l->coap);
    } else if (http_of(l) != NULL) {
        http_conn_resumed(l->http);
    } else {
        worker_resumed(l->driver->worker, l->conn);
    }
}

/* Message by message; the last piece may go on in the next read. */
static void input_frames(struct link *l, struct slice plain)
{
    size_t n = 0, from = 0;
    const uint32_t *ends = stream_message_ends(link_stream(l), &n);
    for (size_t i = 0; i < n; i++) {
        struct slice piece = slice_from(slice_head(plain, ends[i]), from);
        coap_stream_piece(l->coap, piece, true, l->driver->now_ms);
        from = ends[i];
    }
    if (from < plain.n) {
        coap_stream_piece(l->coap, slice_from(plain, from), false, l->driver->now_ms);
    }
}

void party_input(struct link *l, struct slice plain)
{
    if (coap_of(l) != NULL && stream_is_upgraded(link_stream(l))) {
        input_frames(l, plain);
    } else if (coap_of(l) != NULL) {
        coap_stream_input(l->coap, plain, l->driver->now_ms);
    } else if (http_of(l) != NULL) {
        http_conn_input(l->http, plain, l->driver->now_ms);
    } else {
        worker_input(l->driver->worker, l->conn, plain, l->driver->now_ms);
    }
}

bool party_wants_input(const struct link *l)
{
    if (http_of(l) != NULL) {
        return http_conn_wants_input(l->http);
    }
    return coap_of(l) != NULL ? coap_stream_wants_input(l->coap)
                              : worker_wants_input(l->driver->worker, l->conn);
}

size_t party_output(struct link *l, uint8_t *dst, size_t cap, struct lending *lending)
{
    if (http_of(l) != NULL) {
        return http_conn_output(l->http, dst, cap, l->driver->now_ms);
    }
    return coap_of(l) != NULL
               ? coap_stream_output(l->coap, dst, cap, l->driver->now_ms)
               : worker_output(l->driver->worker, l->conn, dst, cap, lending, l->driver->now_ms);
}

bool party_is_dirty(const struct link *l)
{
    return party_is_mqtt(l) && worker_is_dirty(l->driver->worker, l->conn);
}

bool party_put_off(struct link *l)
{
    return party_is_mqtt(l) && worker_put_off(l->driver->worker, l->conn);
}

void party_backlog(struct link *l, size_t n)
{
    if (coap_of(l) != NULL) {
        coap_stream_backlog(l->coap, n);
    } else if (http_of(l) == NULL) {
        worker_backlog(l->driver->worker, l->conn, n);
    }
}

bool party_is_known(const struct link *l)
{
    if (http_of(l) != NULL) {
        return http_conn_is_known(l->http);
    }
    return coap_of(l) != NULL ? coap_stream_is_known(l->coap)
                              : worker_is_known(l->driver->worker, l->conn);
}

bool party_is_finished(const struct link *l)
{
    if (http_of(l) != NULL) {
        return http_conn_is_finished(l->http);
    }
    if (coap_of(l) != NULL && !stream_is_ready(link_stream(l))) {
        return coap_stream_has_ended(l->coap); /* there is no way yet for its last words */
    }
    return coap_of(l) != NULL ? coap_stream_is_finished(l->coap)
                              : worker_is_finished(l->driver->worker, l->conn);
}

bool party_has_left(const struct link *l)
{
    return party_is_mqtt(l) && worker_has_left(l->driver->worker, l->conn);
}

bool party_is_shed(const struct link *l)
{
    if (http_of(l) != NULL) {
        return http_conn_is_shed(l->http);
    }
    return coap_of(l) != NULL ? coap_stream_is_shed(l->coap)
                              : worker_is_shed(l->driver->worker, l->conn);
}

void party_gone(struct link *l, const char *why)
{
    if (coap_of(l) != NULL) {
        coap_stream_gone(l->coap, why, l->driver->now_ms);
        l->coap = NULL;
    } else if (http_of(l) != NULL) {
        http_conn_gone(l->http);
        l->http = NULL;
    } else if (l->conn != 0) {
        worker_gone(l->driver->worker, l->conn, why, l->driver->now_ms);
    }
}
