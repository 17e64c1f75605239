#include "net/dtls.h"

#include <sys/time.h>

#include "base/mem.h"
#include "base/rd.h"
#include "base/scope.h"
#include "net/dtls_private.h"

enum {
    VERSION_MAJOR = 0xfe,
    HANDSHAKE_HEADER_REST = 11, /* behind the type */
    IP_UDP_BYTES = 48,          /* IPv6 and UDP headers */
    WAIT_MAX_US = 60 * 1000 * 1000
};

enum dtls_kind dtls_kind_of(struct slice datagram, struct slice *ret_random)
{
    struct rd r = rd_from(datagram);
    uint8_t type = rd_u8(&r);
    uint8_t major = rd_u8(&r);
    (void)rd_u8(&r);
    uint16_t epoch = rd_u16(&r);
    (void)rd_be(&r, 6);
    struct rd body = rd_sub(&r, rd_u16(&r));
    if (ret_random != NULL) {
        *ret_random = (struct slice){0};
    }
    if (!rd_ok(&body) || type < DTLS_CHANGE_CIPHER || type > DTLS_APPLICATION ||
        major != VERSION_MAJOR) {
        return DTLS_KIND_NONE;
    }
    if (epoch != 0) {
        return DTLS_KIND_SEALED;
    }
    if (type != DTLS_HANDSHAKE || rd_u8(&body) != DTLS_CLIENT_HELLO) {
        return DTLS_KIND_PLAIN;
    }
    (void)rd_bytes(&body, HANDSHAKE_HEADER_REST);
    (void)rd_u16(&body);
    struct slice random = rd_bytes(&body, DTLS_RANDOM_BYTES);
    if (ret_random != NULL && rd_ok(&body)) {
        *ret_random = random;
    }
    return rd_ok(&body) ? DTLS_KIND_HELLO : DTLS_KIND_NONE;
}

/* The BIO: whole datagrams, one at a time. */

static int bio_read(BIO *b, char *dst, int size)
{
    struct dtls_link *link = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (link->in.n == 0 || size <= 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    struct slice taken = slice_head(link->in, (size_t)size);
    memcpy(dst, taken.p, taken.n);
    if (!link->peek) {
        link->in = (struct slice){0}; /* as recv does: what does not fit is gone */
    }
    return (int)taken.n;
}

static int bio_write(BIO *b, const char *src, int size)
{
    struct dtls_link *link = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (link->sent != NULL && size > 0) {
        dtls_sent_note(link->sent, slice_of(src, (size_t)size));
    }
    /* What may not leave is lost, as on any network. */
    bool may = link->unproven == NULL || unproven_may_say(link->unproven, (size_t)size);
    if (size > 0 && may) {
        link->handler->transmit(link->handler->ctx, &link->peer, slice_of(src, (size_t)size));
    }
    return size;
}

static long bio_ctrl(BIO *b, int what, long number, void *pointer)
{
    (void)pointer;
    struct dtls_link *link = BIO_get_data(b);
    switch (what) {
    case BIO_CTRL_DGRAM_SET_PEEK_MODE:
        link->peek = number != 0;
        return 1;
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT:
        return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
        return DTLS_MTU - IP_UDP_BYTES;
    case BIO_CTRL_DGRAM_GET_MTU_OVERHEAD:
        return IP_UDP_BYTES;
    default:
        return 0;
    }
}

BIO_METHOD *dtls_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "datagram");
    if (m != NULL && BIO_meth_set_read(m, bio_read) == 1 && BIO_meth_set_write(m, bio_write) == 1 &&
        BIO_meth_set_ctrl(m, bio_ctrl) == 1) {
        return m;
    }
    BIO_meth_free(m);
    return NULL;
}

/* OpenSSL asks for the next wait, in microseconds; 0 means the first. */
static unsigned next_wait(SSL *ssl, unsigned last_us)
{
    struct tls_note *note = SSL_get_app_data(ssl);
    const struct dtls_link *link = CONTAINER_OF(note, struct dtls_link, note);
    if (last_us == 0) {
        return link->retransmit_ms * 1000;
    }
    return last_us < WAIT_MAX_US / 2 ? last_us * 2 : WAIT_MAX_US;
}

enum err dtls_link_init(struct dtls_link *link, SSL_CTX *ctx, const BIO_METHOD *method,
                        const struct dtls_handler *handler, uint32_t retransmit_ms)
{
    link->handler = handler;
    link->retransmit_ms = retransmit_ms != 0 ? retransmit_ms : DTLS_RETRANSMIT_MS;
    link->ssl = SSL_new(ctx);
    if (link->ssl == NULL) {
        return ERR_NOMEM;
    }
    BIO *b = BIO_new(method);
    if (b == NULL) {
        return ERR_NOMEM;
    }
    BIO_set_data(b, link);
    BIO_set_init(b, 1);
    SSL_set_bio(link->ssl, b, b);
    if (SSL_set_app_data(link->ssl, &link->note) != 1 ||
        SSL_set_mtu(link->ssl, DTLS_MTU - IP_UDP_BYTES) == 0) {
        return ERR_CRYPTO;
    }
    DTLS_set_timer_cb(link->ssl, next_wait);
    return OK;
}

void dtls_link_done(struct dtls_link *link)
{
    SSL_free(link->ssl);
    link->ssl = NULL;
    tls_note_done(&link->note);
}

uint64_t dtls_link_timer(struct dtls_link *link, uint64_t now_ms)
{
    struct timeval left = {0};
    if (DTLSv1_get_timeout(link->ssl, &left) != 1) {
        return UINT64_MAX;
    }
    /* At least one: OpenSSL reads another clock, and must not be asked again and again. */
    return now_ms + (uint64_t)left.tv_sec * 1000 + (uint64_t)left.tv_usec / 1000 + 1;
}

enum dtls_failure dtls_link_failure(struct dtls_link *link, const char *peer, char *text)
{
    return tls_judge(link->ssl, &link->note, peer, text) == ERR_AUTH ? DTLS_FAILED_CERTIFICATE
                                                                     : DTLS_FAILED_PROTOCOL;
}

enum err dtls_ctx_new(bool server, bool has_cert, bool has_psk, SSL_CTX **ret)
{
    /* CCM8 needs security level 0 from OpenSSL 3.5 on. What the level would guard is fixed by
     * other means: the suites by this list, curves, signatures and key sizes by tls_ctx_common.
     * No TCP listener shares this context. */
    static const char *const suites[2][2] = {
        {NULL, "PSK-AES128-GCM-SHA256:PSK-AES128-CCM8:ECDHE-PSK-CHACHA20-POLY1305:@SECLEVEL=0"},
        {"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0",
         "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-CCM8:PSK-AES128-GCM-SHA256:"
         "PSK-AES128-CCM8:ECDHE-PSK-CHACHA20-POLY1305:@SECLEVEL=0"}};
    const char *list = suites[has_cert ? 1 : 0][has_psk ? 1 : 0];
    if (list == NULL) {
        return ERR_CONFIG;
    }
    AUTO(dtls_ctx_release)
    SSL_CTX *ctx = SSL_CTX_new(server ? DTLS_server_method() : DTLS_client_method());
    if (ctx == NULL) {
        return ERR_NOMEM;
    }
    TRY(tls_ctx_common(ctx));
    SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU | (server ? SSL_OP_COOKIE_EXCHANGE : 0));
    if (SSL_CTX_set_min_proto_version(ctx, DTLS1_2_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, DTLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, list) != 1) {
        return ERR_CRYPTO;
    }
    *ret = TAKE(ctx);
    return OK;
}

uint16_t dtls_link_plain_max(const struct dtls_link *link)
{
    enum { SMALLEST = 512 }; /* by TLSEXT_max_fragment_length_512, and doubled by each one above */
    const SSL_SESSION *session = SSL_get_session(link->ssl);
    unsigned asked = session != NULL ? SSL_SESSION_get_max_fragment_length(session) : 0;
    unsigned most =
        asked == TLSEXT_max_fragment_length_DISABLED || asked > TLSEXT_max_fragment_length_4096
            ? DTLS_PLAIN_MAX
            : (unsigned)SMALLEST << (asked - TLSEXT_max_fragment_length_512);
    return (uint16_t)(most < DTLS_PLAIN_MAX ? most : DTLS_PLAIN_MAX);
}

enum err dtls_link_send(struct dtls_link *link, struct slice plain)
{
    if (plain.n > dtls_link_plain_max(link)) {
        return ERR_TOO_LARGE;
    }
    dtls_forget_errors();
    /* The server gives the record buffers back between datagrams, and OpenSSL's DTLS writes without
     * a look at whether they are there. */
    if (SSL_alloc_buffers(link->ssl) != 1) {
        dtls_forget_errors();
        return ERR_NOMEM;
    }
    if (plain.n > 0 && SSL_write(link->ssl, plain.p, (int)plain.n) != (int)plain.n) {
        dtls_forget_errors();
        return ERR_CRYPTO;
    }
    return OK;
}

void dtls_link_shutdown(struct dtls_link *link)
{
    dtls_forget_errors();
    if (SSL_alloc_buffers(link->ssl) == 1) {
        (void)SSL_shutdown(link->ssl); /* a lost close_notify is the network's right */
    }
    dtls_forget_errors();
}

/* The interface. */

void dtls_input(struct dtls *d, const struct net_peer *peer, struct slice datagram, uint64_t now_ms)
{
    d->ops->input(d, peer, datagram, now_ms);
}

enum err dtls_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms)
{
    return d->ops->send(d, id, plain, now_ms);
}

void dtls_close(struct dtls *d, uint64_t id)
{
    d->ops->close(d, id);
}

bool dtls_info(const struct dtls *d, uint64_t id, struct dtls_info *ret)
{
    return d->ops->info(d, id, ret);
}

uint64_t dtls_deadline(const struct dtls *d)
{
    return d->ops->deadline(d);
}

void dtls_tick(struct dtls *d, uint64_t now_ms)
{
    d->ops->tick(d, now_ms);
}

size_t dtls_turn_away(struct dtls *d)
{
    return d->ops->turn_away != NULL ? d->ops->turn_away(d) : 0;
}

const struct dtls_counts *dtls_counts(const struct dtls *d)
{
    return d->ops->counts(d);
}

struct dtls *dtls_free(struct dtls *d)
{
    return d != NULL ? d->ops->free(d) : NULL;
}

enum err dtls_renew(struct dtls *d, const struct dtls_server_config *c,
                    const struct dtls_handler *handler, char *ret_text)
{
    ret_text[0] = '\0';
    return d->ops->renew != NULL ? d->ops->renew(d, c, handler, ret_text) : OK;
}
