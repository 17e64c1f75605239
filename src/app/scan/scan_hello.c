#include "app/scan/scan_hello.h"

#include "base/scope.h"

enum {
    RECORD_ALERT = 21,
    RECORD_HANDSHAKE = 22,
    CLIENT_HELLO = 1,
    SERVER_HELLO = 2,
    HELLO_VERIFY_REQUEST = 3,
    RANDOM_BYTES = 32,
    KEY_BYTES = 32,
    EXTENSION_NAME = 0,
    EXTENSION_GROUPS = 10,
    EXTENSION_POINTS = 11,
    EXTENSION_SIGNATURES = 13,
    EXTENSION_VERSIONS = 43,
    EXTENSION_KEY_SHARE = 51,
    GROUP_X25519 = 0x001d
};

/* ---- ours ---- */

/* A length of `bytes` bytes that is known when what follows is written. */
static size_t open_length(struct wr *w, size_t bytes)
{
    wr_be(w, 0, bytes);
    return w->at;
}

static void close_length(struct wr *w, size_t from, size_t bytes)
{
    if (wr_ok(w)) {
        struct wr back = wr_into(w->base + (from - bytes), bytes);
        wr_be(&back, w->at - from, bytes);
    }
}

static void put_random(struct wr *w, const struct random_source *random, size_t n)
{
    uint8_t *p = wr_reserve(w, n);
    if (p != NULL) {
        random->fill(random->ctx, p, n);
    }
}

static void put_list(struct wr *w, uint16_t type, const uint16_t *values, size_t n)
{
    wr_u16(w, type);
    wr_u16(w, (uint16_t)(2 * n + 2));
    wr_u16(w, (uint16_t)(2 * n));
    for (size_t i = 0; i < n; i++) {
        wr_u16(w, values[i]);
    }
}

static void put_name(struct wr *w, const char *host)
{
    wr_u16(w, EXTENSION_NAME);
    size_t all = open_length(w, 2), list = open_length(w, 2);
    wr_u8(w, 0); /* a host name */
    wr_block16(w, slice_text(host));
    close_length(w, list, 2);
    close_length(w, all, 2);
}

static void put_tls13(struct wr *w, const struct random_source *random)
{
    wr_u16(w, EXTENSION_VERSIONS);
    wr_u16(w, 3);
    wr_u8(w, 2);
    wr_u16(w, SCAN_TLS13);
    wr_u16(w, EXTENSION_KEY_SHARE);
    wr_u16(w, 2 + 4 + KEY_BYTES);
    wr_u16(w, 4 + KEY_BYTES);
    wr_u16(w, GROUP_X25519);
    wr_u16(w, KEY_BYTES);
    put_random(w, random, KEY_BYTES); /* a public key to which nobody has the other half */
}

static void put_extensions(struct wr *w, const struct scan_hello *h,
                           const struct random_source *random)
{
    static const uint16_t groups[] = {GROUP_X25519, 0x0017, 0x0018, 0x0019};
    static const uint16_t signatures[] = {0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805,
                                          0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201};
    size_t all = open_length(w, 2);
    if (h->host != NULL) {
        put_name(w, h->host);
    }
    put_list(w, EXTENSION_GROUPS, groups, COUNT_OF(groups));
    wr_u16(w, EXTENSION_POINTS);
    wr_be(w, 0x00020100, 4); /* one format, uncompressed */
    put_list(w, EXTENSION_SIGNATURES, signatures, COUNT_OF(signatures));
    if (h->version == SCAN_TLS13) {
        put_tls13(w, random);
    }
    close_length(w, all, 2);
}

static void put_body(struct wr *w, const struct scan_hello *h, const struct random_source *random)
{
    bool is_dtls = h->version == SCAN_DTLS12;
    wr_u16(w, h->version == SCAN_TLS13 ? SCAN_TLS12 : h->version);
    put_random(w, random, RANDOM_BYTES);
    wr_u8(w, 0); /* no session */
    if (is_dtls) {
        wr_u8(w, 0); /* no cookie: is one asked for? */
    }
    size_t suites = open_length(w, 2);
    for (size_t i = 0; i < h->n_suites; i++) {
        wr_u16(w, h->suites[i]);
    }
    close_length(w, suites, 2);
    wr_u16(w, 0x0100); /* no compression */
    put_extensions(w, h, random);
}

enum err scan_hello_encode(const struct scan_hello *h, const struct random_source *random,
                           struct wr *w)
{
    bool is_dtls = h->version == SCAN_DTLS12;
    wr_u8(w, RECORD_HANDSHAKE);
    wr_u16(w, is_dtls ? 0xfeff : SCAN_TLS10);
    if (is_dtls) {
        wr_u64(w, 0); /* epoch and number */
    }
    size_t record = open_length(w, 2);
    wr_u8(w, CLIENT_HELLO);
    size_t body = open_length(w, 3), fragment = 0;
    if (is_dtls) {
        wr_u16(w, 0);   /* the first message */
        wr_be(w, 0, 3); /* from its first byte */
        fragment = open_length(w, 3);
        body = fragment; /* what the length counts begins behind the fragment's own */
    }
    put_body(w, h, random);
    close_length(w, body, 3);
    if (is_dtls && wr_ok(w)) {
        struct wr whole = wr_into(w->base + (fragment - 11), 3);
        wr_be(&whole, w->at - fragment, 3);
    }
    close_length(w, record, 2);
    return w->err;
}

/* ---- theirs ---- */

static void read_extensions(struct rd *r, struct scan_hello_answer *a)
{
    struct rd all = rd_sub(r, rd_u16(r));
    while (rd_left(&all) > 0) {
        uint16_t type = rd_u16(&all);
        struct rd one = rd_from(rd_block16(&all));
        if (type == EXTENSION_VERSIONS) {
            a->version = rd_u16(&one);
            rd_fail(&all, one.err);
        }
    }
    rd_fail(r, all.err);
}

static void read_server_hello(struct rd *r, struct scan_hello_answer *a)
{
    a->version = rd_u16(r);
    (void)rd_bytes(r, RANDOM_BYTES);
    (void)rd_bytes(r, rd_u8(r)); /* session */
    a->suite = rd_u16(r);
    (void)rd_u8(r); /* compression */
    if (rd_left(r) > 0) {
        read_extensions(r, a);
    }
}

static enum err read_handshake(struct rd *r, bool is_dtls, struct scan_hello_answer *a)
{
    uint8_t type = rd_u8(r);
    size_t n = (size_t)rd_be(r, 3);
    if (is_dtls) {
        (void)rd_u16(r);
        size_t at = (size_t)rd_be(r, 3);
        n = (size_t)rd_be(r, 3);
        if (at != 0) {
            return ERR_MALFORMED;
        }
    }
    struct rd body = rd_sub(r, n);
    if (type == HELLO_VERIFY_REQUEST && is_dtls) {
        a->kind = SCAN_HELLO_VERIFY;
        a->version = rd_u16(&body);
        return body.err;
    }
    if (type != SERVER_HELLO) {
        return ERR_MALFORMED;
    }
    a->kind = SCAN_HELLO_SERVER;
    read_server_hello(&body, a);
    return body.err;
}

enum err scan_hello_decode(struct slice bytes, bool is_dtls, struct scan_hello_answer *ret)
{
    struct rd r = rd_from(bytes);
    struct scan_hello_answer a = {0};
    uint8_t type = rd_u8(&r);
    uint8_t major = rd_u8(&r);
    (void)rd_u8(&r);
    if (is_dtls) {
        (void)rd_u64(&r);
    }
    size_t n = rd_u16(&r);
    /* The first byte decides: who speaks something else is not waited for. */
    if (bytes.n > 0 && type != RECORD_ALERT && type != RECORD_HANDSHAKE) {
        return ERR_MALFORMED;
    }
    if (bytes.n > 1 && major != (is_dtls ? 0xfe : 3)) {
        return ERR_MALFORMED;
    }
    if (rd_ok(&r) && n > SCAN_HELLO_ANSWER_MAX - 5) {
        return ERR_TOO_LARGE;
    }
    if (!rd_ok(&r) || rd_left(&r) < n) {
        return is_dtls ? ERR_TRUNCATED : ERR_AGAIN;
    }
    struct rd record = rd_sub(&r, n);
    if (type == RECORD_ALERT) {
        a.kind = SCAN_HELLO_ALERT;
        (void)rd_u8(&record);
        a.alert = rd_u8(&record);
        TRY(record.err);
    } else {
        TRY(read_handshake(&record, is_dtls, &a));
    }
    *ret = a;
    return OK;
}
