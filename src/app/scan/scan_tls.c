/* Versions and suites by hellos made by hand; the certificate by one handshake that is finished. */
#include "app/scan/scan_hello.h"
#include "app/scan/scan_look.h"
#include "net/stream.h"

/* By IANA's numbers. */
static const uint16_t suites_13[] = {0x1301, 0x1302, 0x1303, 0x1304};
static const uint16_t suites_common[] = {0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0x009e,
                                         0x009f, 0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc027,
                                         0x009c, 0x009d, 0x002f, 0x0035, 0x003c, 0x003d, 0x000a};
static const uint16_t suites_plain[] = {0x0001, 0x0002, 0x003b, 0xc006, 0xc010};
static const uint16_t suites_nobody[] = {0x0018, 0x001b, 0x0034, 0x003a, 0x006c, 0x006d,
                                         0x00a6, 0x00a7, 0xc016, 0xc017, 0xc018, 0xc019};
static const uint16_t suites_broken[] = {0x0003, 0x0004, 0x0005, 0x0006, 0x0008, 0x0009, 0x000a,
                                         0x0014, 0x0015, 0x0016, 0xc007, 0xc008, 0xc011, 0xc012};
static const uint16_t suites_kept_key[] = {0x009c, 0x009d, 0x002f, 0x0035, 0x003c,
                                           0x003d, 0xc09c, 0xc09d, 0xc0a0, 0xc0a1};
static const uint16_t suites_cbc[] = {0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024,
                                      0xc027, 0xc028, 0x0033, 0x0039, 0x0067, 0x006b,
                                      0x002f, 0x0035, 0x003c, 0x003d};

/* Everything of 1.2 that is asked for when the server's own list is looked for. */
static const uint16_t suites_12[] = {
    0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0xccaa, 0x009e, 0x009f, 0xc0ac, 0xc0ad, 0xc0ae,
    0xc0af, 0xc09c, 0xc09d, 0xc09e, 0xc09f, 0xc0a0, 0xc0a1, 0xc009, 0xc00a, 0xc013, 0xc014, 0xc023,
    0xc024, 0xc027, 0xc028, 0x0033, 0x0039, 0x0067, 0x006b, 0x009c, 0x009d, 0x002f, 0x0035, 0x003c,
    0x003d, 0x000a, 0x0016, 0x0005, 0x0004, 0xc007, 0xc008, 0xc011, 0xc012, 0x0041, 0x0084, 0xc05c,
    0xc05d, 0xc060, 0xc061, 0x0001, 0x0002, 0x003b, 0x0018, 0x0034, 0x003a, 0x00a6, 0x00a7, 0xc018};

#define SUITES(list) list, COUNT_OF(list)

static const struct {
    const char *name;
    uint16_t version;
    const uint16_t *suites;
    size_t n_suites;
} terms[SCAN_TERMS_COUNT] = {
    [SCAN_TERMS_TLS10] = {"TLS 1.0", SCAN_TLS10, SUITES(suites_common)},
    [SCAN_TERMS_TLS11] = {"TLS 1.1", SCAN_TLS11, SUITES(suites_common)},
    [SCAN_TERMS_TLS12] = {"TLS 1.2", SCAN_TLS12, SUITES(suites_common)},
    [SCAN_TERMS_TLS13] = {"TLS 1.3", SCAN_TLS13, SUITES(suites_13)},
    [SCAN_TERMS_PLAIN] = {"NULL suites", SCAN_TLS12, SUITES(suites_plain)},
    [SCAN_TERMS_NOBODY] = {"anonymous suites", SCAN_TLS12, SUITES(suites_nobody)},
    [SCAN_TERMS_BROKEN] = {"broken suites", SCAN_TLS12, SUITES(suites_broken)},
    [SCAN_TERMS_KEPT_KEY] = {"RSA key exchange", SCAN_TLS12, SUITES(suites_kept_key)},
    [SCAN_TERMS_CBC] = {"CBC suites", SCAN_TLS12, SUITES(suites_cbc)},
};

/* ERR_AGAIN: nobody can say. ERR_MALFORMED: this is no TLS. */
static enum err ask(struct scan_net *net, const struct scan_door *door,
                    const struct scan_hello *hello, struct scan_hello_answer *ret)
{
    uint8_t bytes[SCAN_HELLO_BYTES];
    struct wr w = wr_into(bytes, sizeof(bytes));
    TRY(scan_hello_encode(hello, &net->random, &w));
    AUTO(scan_link_autofree) struct scan_link *l = NULL;
    enum err err = scan_link_open(net, door, SCAN_TO_SOCKET, &l);
    if (err == OK) {
        err = scan_link_send(l, wr_slice(&w));
    }
    uint64_t until = scan_net_until(net, net->probe_ms);
    while (err == OK) {
        err = scan_link_receive(l, until);
        if (err != OK) {
            /* A server that ends the connection without an alert has refused as well. */
            return err == ERR_CLOSED && l->n_received == 0 ? ERR_DENIED : ERR_AGAIN;
        }
        enum err read = scan_hello_decode(buf_slice(&l->in), false, ret);
        if (read != ERR_AGAIN) {
            return read == OK ? OK : ERR_MALFORMED;
        }
    }
    return ERR_AGAIN;
}

/* The server takes one of what is offered; that is offered no more, until it takes none. */
static void list_suites(struct scan_net *net, const struct scan_door *door, uint16_t version,
                        struct scan_tls_seen *t)
{
    bool is_13 = version == SCAN_TLS13;
    uint16_t left[COUNT_OF(suites_12)];
    size_t n = is_13 ? COUNT_OF(suites_13) : COUNT_OF(suites_12), at = 0;
    memcpy(left, is_13 ? suites_13 : suites_12, n * sizeof(left[0]));
    net->tell(net->ctx, door, is_13 ? "suites of TLS 1.3" : "suites of TLS 1.2");
    while (n > 0 && t->n_suites < SCAN_SUITES_MAX && !scan_net_is_over(net)) {
        struct scan_hello hello = {
            .version = version, .suites = left, .n_suites = n, .host = scan_net_name(net)};
        struct scan_hello_answer a = {0};
        if (ask(net, door, &hello, &a) != OK || a.kind != SCAN_HELLO_SERVER ||
            a.version != version) {
            return;
        }
        for (at = 0; at < n && left[at] != a.suite; at++) {
        }
        if (at == n) {
            return; /* it takes what was not offered: whatever it is, it is no list */
        }
        left[at] = left[--n];
        t->suites[t->n_suites++] =
            (struct scan_suite){version, a.suite, tls_look_suite(net->tls, a.suite)};
    }
}

static void look_at_certificate(struct scan_net *net, const struct scan_door *door,
                                struct scan_tls_seen *ret)
{
    AUTO(scan_link_autofree) struct scan_link *l = NULL;
    /* A server that wants a certificate of ours ends the handshake behind its own. */
    enum err ignored = scan_link_open(net, door, SCAN_TO_TLS, &l);
    (void)ignored;
    ret->has_certificate = l != NULL && tls_look_at(l->stream, &ret->certificate) == OK;
}

void scan_look_tls(struct scan_net *net, const struct scan_door *door, struct scan_door_seen *ret)
{
    struct scan_tls_seen *t = &ret->tls;
    bool speaks = false;
    for (size_t i = 0; i < SCAN_TERMS_COUNT && !scan_net_is_over(net); i++) {
        struct scan_hello hello = {.version = terms[i].version,
                                   .suites = terms[i].suites,
                                   .n_suites = terms[i].n_suites,
                                   .host = scan_net_name(net)};
        struct scan_hello_answer a = {0};
        net->tell(net->ctx, door, terms[i].name);
        enum err err = ask(net, door, &hello, &a);
        if (err == ERR_MALFORMED) {
            ret->state = SCAN_FOREIGN;
            return;
        }
        speaks = speaks || err == OK;
        bool is_taken = err == OK && a.kind == SCAN_HELLO_SERVER && a.version == hello.version;
        t->terms[i] = is_taken ? SCAN_YES : err == OK || err == ERR_DENIED ? SCAN_NO : SCAN_UNKNOWN;
        t->suite[i] = a.suite;
    }
    ret->state = speaks ? SCAN_OPEN : SCAN_FOREIGN;
    static const struct {
        enum scan_terms terms;
        uint16_t version;
    } lists[] = {{SCAN_TERMS_TLS13, SCAN_TLS13}, {SCAN_TERMS_TLS12, SCAN_TLS12}};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (t->terms[lists[i].terms] == SCAN_YES) {
            list_suites(net, door, lists[i].version, t);
        }
    }
    if (speaks) {
        net->tell(net->ctx, door, "certificate");
        look_at_certificate(net, door, t);
    }
}
