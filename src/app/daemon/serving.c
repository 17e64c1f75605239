#include "app/daemon/serving.h"

#include <assert.h>

#include "base/mem.h"
#include "security/crypto/x509_certs.h"

/* Who enrols knows the fingerprint of the root at most, so it is shown that. Manufacturers may
 * speak for clients here and nowhere else; without tickets nothing of it gets elsewhere. An ended
 * certificate gets in by late_s whoever signed it; who decides renews our own only. */
static void enrol_terms(const struct serving *s, struct tls_server_config *c)
{
    c->chain_pem = buf_slice(&s->enrol_chain_pem);
    c->client_ca_pem = buf_slice(&s->enrol_ca_pem);
    c->client_cert_required = false;
    c->alpn = "http/1.1";
    c->tickets = NULL;
}

static enum err fill_enrol(struct serving *s, const struct serving_setup *setup)
{
    struct slice ca = buf_slice(&s->ca_pem);
    AUTO(x509_autofree) struct x509 *root = NULL;
    TRY(x509_next_pem(&ca, &root));
    TRY(buf_append(&s->enrol_chain_pem, buf_slice(&s->chain_pem), 2 * PKI_FILE_MAX));
    TRY(x509_to_pem(root, &s->enrol_chain_pem));
    TRY(buf_append(&s->enrol_ca_pem, buf_slice(&s->ca_pem), 2 * PKI_FILE_MAX));
    for (size_t i = 0; setup->makers != NULL && i < setup->makers->n; i++) {
        TRY(buf_append(&s->enrol_ca_pem, buf_slice(&setup->makers->maker[i].ca_pem), SIZE_MAX));
    }
    return x509_certs_make(buf_slice(&s->ca_pem), &s->cacerts);
}

static enum err open_tls(struct serving *s, const struct config_listener *l, struct tls **ret,
                         struct why *why)
{
    char text[TLS_TEXT_BYTES];
    bool by_cert = (l->auth & CONFIG_AUTH_X509) != 0;
    struct tls_server_config c = {
        .chain_pem = buf_slice(&s->chain_pem),
        .key_pem = buf_slice(&s->key_pem),
        .client_ca_pem = by_cert ? buf_slice(&s->ca_pem) : (struct slice){0},
        .client_cert_required = l->auth == CONFIG_AUTH_X509,
        .spare_browsers = l->websocket,
        .allow_tls12 = l->tls_min == CONFIG_TLS_1_2,
        .key_updates_per_minute = s->config.settings.key_updates_per_minute,
        /* A browser offers nothing else for a WebSocket. */
        .alpn = l->websocket || l->door == CONFIG_DOOR_METRICS ? "http/1.1"
                : l->tcp                                       ? "coap"
                                                               : NULL,
        .clock = &s->clock,
        .late_s = s->config.settings.limits.renewal_grace_s,
        .tickets = s->tickets,
        .name = l->name,
        .staple = s->staple,
    };
    if (l->door == CONFIG_DOOR_ENROL) {
        enrol_terms(s, &c);
    }
    enum err err = tls_server_new(&c, text, ret);
    if (err != OK) {
        why_set(why, "TLS of listener %s: %s", l->name, text);
    }
    return err;
}

static void set_dtls(struct serving *s, const struct config_listener *l,
                     struct dtls_server_config *ret)
{
    *ret = (struct dtls_server_config){
        .random = s->random,
        .clock = &s->clock,
        .late_s = s->config.settings.limits.renewal_grace_s,
        .tickets = s->tickets,
        .name = l->name,
        .handshake_ms = s->config.settings.limits.dtls_seconds * 1000,
        .keeps_openssl = l->openssl_records,
    };
    if ((l->auth & CONFIG_AUTH_X509) != 0) {
        ret->chain_pem = buf_slice(&s->chain_pem);
        ret->key_pem = buf_slice(&s->key_pem);
        ret->client_ca_pem = buf_slice(&s->ca_pem);
    }
}

static const struct ws_rules *set_websocket(struct serving *s, const struct config_listener *l)
{
    struct ws_rules *rules = &s->ws[s->edition.n_entrances];
    struct slice *origins = s->origins[s->edition.n_entrances];
    for (size_t i = 0; i < l->n_origins; i++) {
        origins[i] = slice_text(l->origins[i]);
    }
    *rules = (struct ws_rules){.path = slice_text(l->path),
                               .origins = origins,
                               .n_origins = l->n_origins,
                               .is_coap = l->door == CONFIG_DOOR_COAP,
                               .frame_max = s->config.settings.limits.packet_bytes};
    return rules;
}

/* What the edition before has said of public addresses is no news again. */
static void set_perimeter(struct serving *s, const struct config_listener *l,
                          const struct serving *before)
{
    struct perimeter *p = &s->perimeters[s->edition.n_entrances];
    p->from = l->from;
    if (before != NULL) {
        const struct perimeter *old = &before->perimeters[s->edition.n_entrances];
        atomic_init(&p->exposure_due_ms,
                    atomic_load_explicit(&old->exposure_due_ms, memory_order_relaxed));
    }
}

static enum err add_entrance(struct serving *s, const struct boot_listener *b,
                             const struct config_listener *l, const struct serving *before,
                             struct why *why)
{
    struct driver_entrance *e = &s->entrances[s->edition.n_entrances];
    bool is_coap = l->door == CONFIG_DOOR_COAP;
    e->entrance.is_enrol = l->door == CONFIG_DOOR_ENROL;
    e->entrance.is_metrics = l->door == CONFIG_DOOR_METRICS;
    e->entrance.is_open = e->entrance.is_metrics && l->plain;
    e->entrance.protocol = is_coap                  ? EVENT_PROTOCOL_coap
                           : e->entrance.is_enrol   ? EVENT_PROTOCOL_https
                           : e->entrance.is_metrics ? EVENT_PROTOCOL_metrics
                                                    : EVENT_PROTOCOL_mqtt;
    e->entrance.cacerts = buf_slice(&s->cacerts);
    e->entrance.is_stream = is_coap && !b->udp;
    e->entrance.auth_x509 = (l->auth & CONFIG_AUTH_X509) != 0 && !l->plain;
    e->entrance.auth_password = (l->auth & CONFIG_AUTH_PASSWORD) != 0;
    e->entrance.auth_token = (l->auth & CONFIG_AUTH_TOKEN) != 0;
    e->entrance.auth_psk = (l->auth & CONFIG_AUTH_PSK) != 0;
    e->entrance.is_plain = l->plain && !e->entrance.is_metrics;
    e->entrance.is_oscore = l->auth == CONFIG_AUTH_OSCORE;
    e->entrance.takes_v31 = l->mqtt_3_1;
    e->entrance.hears_groups = l->multicast.n_groups > 0;
    e->entrance.is_moved = l->moved != CONFIG_STAYS;
    e->entrance.is_moved_for_good = l->moved == CONFIG_MOVED_PERMANENTLY;
    e->entrance.index = (unsigned)s->edition.n_entrances;
    EVENT_TEXT(&e->entrance, segment, slice_text(l->segment));
    EVENT_TEXT(&e->entrance, name, slice_text(l->name));
    set_perimeter(s, l, before);
    e->perimeter = &s->perimeters[s->edition.n_entrances];
    e->is_udp = b->udp;
    e->fds = s->fds[s->edition.n_entrances];
    e->n_fds = b->n_fds;
    e->ws = l->websocket ? set_websocket(s, l) : NULL;
    for (unsigned k = 0; k < b->n_fds; k++) {
        s->fds[s->edition.n_entrances][k] = b->first_fd + (int)k;
    }
    for (unsigned k = 0; b->asks && k < b->n_fds; k++) {
        s->ask_fds[s->edition.n_entrances][k] = b->first_fd + (int)(b->n_fds + k);
        e->ask_fds = s->ask_fds[s->edition.n_entrances];
        e->proxy = &s->config.proxy;
    }
    if (b->udp && !e->entrance.is_oscore) {
        set_dtls(s, l, &s->dtls[s->edition.n_entrances]);
        e->dtls = &s->dtls[s->edition.n_entrances];
    } else if (!b->udp && !l->plain) {
        TRY(open_tls(s, l, &s->tls[s->edition.n_entrances], why));
        e->tls = s->tls[s->edition.n_entrances];
    }
    s->edition.n_entrances++;
    return OK;
}

/* ---- trying ---- */

static void no_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    (void)ctx, (void)to, (void)datagram;
}

static enum err no_psk(void *ctx, struct slice identity, uint8_t *key, size_t *ret_n,
                       uint64_t *ret_credential)
{
    (void)ctx, (void)identity, (void)key, (void)ret_n, (void)ret_credential;
    return ERR_NOT_FOUND;
}

/* The workers make their DTLS servers themselves: one that nobody uses shows that they can. */
static enum err try_dtls(const struct driver_entrance *e, struct why *why)
{
    struct dtls_handler handler = {.transmit = no_transmit,
                                   .find_psk = e->entrance.auth_psk ? no_psk : NULL};
    struct dtls *dtls = NULL;
    char text[TLS_TEXT_BYTES];
    enum err err = dtls_server_openssl(e->dtls, &handler, text, &dtls);
    if (err != OK) {
        why_set(why, "DTLS of listener %s: %s", e->entrance.name, text);
    }
    dtls_free(dtls);
    return err;
}

/* ---- life ---- */

static void serving_free(struct serving *s)
{
    for (size_t i = 0; i < CONFIG_LISTENERS_MAX; i++) {
        s->tls[i] = tls_free(s->tls[i]);
    }
    buf_done(&s->chain_pem);
    buf_wipe(&s->key_pem);
    buf_done(&s->ca_pem);
    buf_done(&s->enrol_chain_pem);
    buf_done(&s->enrol_ca_pem);
    buf_done(&s->cacerts);
    mem_free(s);
}

static void release(const struct edition *e)
{
    serving_free((struct serving *)(uintptr_t)e); /* its first member; nobody else has it */
}

static enum err fill(struct serving *s, const struct serving_setup *setup, struct why *why)
{
    TRY(buf_append(&s->chain_pem, pki_server_chain_pem(setup->pki), PKI_FILE_MAX));
    TRY(buf_append(&s->key_pem, pki_server_key_pem(setup->pki), PKI_FILE_MAX));
    TRY(buf_append(&s->ca_pem, pki_ca_pem(setup->pki), 2 * PKI_FILE_MAX));
    TRY(fill_enrol(s, setup));
    for (size_t i = 0; i < setup->boot->n_listeners; i++) {
        const struct boot_listener *b = &setup->boot->listeners[i];
        const struct config_listener *l = config_listener_find(&s->config, b->name);
        assert(l != NULL);
        TRY(add_entrance(s, b, l, setup->before, why));
        if (s->entrances[i].dtls != NULL) {
            TRY(try_dtls(&s->entrances[i], why));
        }
    }
    return OK;
}

MUST_USE enum err serving_new(const struct serving_setup *setup, const struct serving **ret,
                              struct why *why)
{
    struct serving *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->config = *setup->config;
    s->clock = setup->clock;
    s->random = setup->random;
    s->tickets = setup->tickets;
    s->staple = setup->staple;
    s->edition = (struct edition){.number = setup->number,
                                  .limits = s->config.settings.limits,
                                  .server_reference = slice_text(s->config.server_reference),
                                  .entrances = s->entrances,
                                  .release = release};
    atomic_init(&s->edition.refs, 1);
    enum err err = fill(s, setup, why);
    if (err != OK) {
        serving_free(s);
        return err;
    }
    *ret = s;
    return OK;
}

const struct serving *serving_unref(const struct serving *s)
{
    if (s != NULL) {
        (void)edition_unref(&s->edition);
    }
    return NULL;
}
