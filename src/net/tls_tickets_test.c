/* Which tickets are taken, and which lead to a full handshake. */
#include "base/heap_test.h"
#include "net/stream_duo_test.h"
#include "net/tls_private.h"

enum { LIFE_S = 1200, LIFE_MS = LIFE_S * 1000, HALF_MS = LIFE_MS / 2, SKEW_MS = 300 * 1000 };
enum {
    IDLE_GROWTH_MAX = 4096 /* of a connection that was given a ticket; a record takes 16 KiB */
};

/* The wall clock of a test: the machine's, and some. */
static int64_t wall_of(void *ctx)
{
    const int64_t *ahead_ms = ctx;
    struct clock machine = clock_system();
    return machine.wall_ms(machine.ctx) + *ahead_ms;
}

struct place {
    int64_t ahead_ms;
    struct clock clock;
    struct tls_tickets *tickets;
    struct tls_server_config server;
    bool client_has_cert;
    uint64_t client_options;
    unsigned n_again;               /* tickets more */
    unsigned lives;                 /* of LIFE_S */
    struct ssl_session_st *session; /* the client's */
};

static struct tls_tickets *make_tickets(const struct place *p)
{
    struct tls_tickets_setup s = {.life_s = LIFE_S, .clock = p->clock, .random = random_system()};
    struct tls_tickets *t = NULL;
    assert_int_equal(tls_tickets_new(&s, &t), OK);
    return t;
}

static void place_open(struct place *p)
{
    *p = (struct place){.clock = clock_system(), .client_has_cert = true, .lives = 1};
    p->clock.wall_ms = wall_of;
    p->clock.ctx = &p->ahead_ms;
    p->tickets = make_tickets(p);
    p->server = (struct tls_server_config){.chain_pem = test_cert_pem(&certs[SERVER]),
                                           .key_pem = test_key_pem(&certs[SERVER]),
                                           .client_ca_pem = test_cert_pem(&certs[CA]),
                                           .client_cert_required = true,
                                           .allow_tls12 = true,
                                           .clock = &p->clock,
                                           .tickets = p->tickets,
                                           .name = "mqtts"};
}

static void place_close(struct place *p)
{
    p->session = stream_session_free(p->session);
    p->tickets = tls_tickets_free(p->tickets);
}

static struct tls *client_of(const struct place *p)
{
    struct tls_client_config c = {
        .ca_pem = test_cert_pem(&certs[CA]), .host = "localhost", .takes_tickets = true};
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    if (p->client_has_cert) {
        c.chain_pem = test_cert_pem(&certs[CLIENT]);
        c.key_pem = test_key_pem(&certs[CLIENT]);
    }
    assert_int_equal(tls_client_new(&c, text, &t), OK);
    (void)SSL_CTX_set_options(tls_ctx(t), p->client_options);
    return t;
}

struct visit {
    bool is_offered, is_resumed;
    enum err err; /* the server's */
    enum tls_verify verify;
};

static struct visit visit(struct place *p)
{
    struct duo d = {0};
    struct visit v = {0};
    char text[TLS_TEXT_BYTES];
    int fds[2];
    struct tls *client = client_of(p), *server = NULL;
    AUTO(buf_done) struct buf cert = {0};
    AUTO(buf_done) struct buf own = {0};
    assert_int_equal(tls_server_new(&p->server, text, &server), OK);
    socket_pair(fds);
    assert_int_equal(stream_io_new(&d.client.io), OK);
    assert_int_equal(stream_io_new(&d.server.io), OK);
    assert_int_equal(stream_new(fds[0], STREAM_CLIENT, client, &d.client.s), OK);
    assert_int_equal(stream_new(fds[1], STREAM_SERVER, server, &d.server.s), OK);
    (void)tls_free(client);
    (void)tls_free(server);
    assert_int_equal(stream_resume(d.client.s, p->session), OK);
    assert_int_equal(stream_start(d.client.s, d.client.io), OK);
    v.is_offered = stream_offers_ticket(d.server.s, d.server.io);
    for (int i = 0; i < 10; i++) {
        duo_turn(&d);
    }
    assert_false(stream_offers_ticket(d.server.s, d.server.io));
    if (d.server.err == OK && stream_ticket_ms(d.server.s) != 0) {
        assert_null(stream_session(d.client.s)); /* none comes by itself */
        assert_int_equal(stream_ticket_ms(d.server.s), HALF_MS * p->lives);
        for (unsigned i = 0; i < 1 + p->n_again; i++) {
            size_t before = heap_in_use();
            assert_int_equal(stream_give_ticket(d.server.s, d.server.io), OK);
            assert_true(heap_in_use() < before + IDLE_GROWTH_MAX);
            duo_turn(&d);
        }
        assert_int_equal(write_text(&d.server, slice_text("and goes on")), OK);
        duo_turn(&d);
        assert_got(&d.client, slice_text("and goes on"));
    }
    v.err = d.server.err;
    v.verify = stream_verify(d.server.s);
    v.is_resumed = stream_is_resumed(d.server.s);
    if (v.err == OK) {
        assert_true(stream_is_established(d.server.s) && stream_is_established(d.client.s));
        assert_int_equal(stream_is_resumed(d.client.s), v.is_resumed);
        /* Who it is, a resumed session knows as well. */
        enum err err = peer_der(&d.server, &cert);
        assert_int_equal(err, p->client_has_cert ? OK : ERR_NOT_FOUND);
        if (err == OK) {
            assert_int_equal(tls_cert_der(certs[CLIENT].x509, &own), OK);
            assert_true(slice_equal(buf_slice(&cert), buf_slice(&own)));
        }
        struct ssl_session_st *next = stream_session(d.client.s);
        if (next != NULL) {
            p->session = stream_session_free(p->session);
            p->session = next;
        }
    }
    duo_done(&d);
    return v;
}

static void assert_full(struct place *p)
{
    struct visit v = visit(p);
    assert_int_equal(v.err, OK);
    assert_false(v.is_resumed);
}

static void assert_resumes(struct place *p)
{
    struct visit v = visit(p);
    assert_int_equal(v.err, OK);
    assert_true(v.is_resumed);
    assert_true(v.is_offered);
}

static const uint64_t versions[] = {0, SSL_OP_NO_TLSv1_3};

/* Each case with TLS 1.3 and with 1.2, by a client that has a ticket. */
static void in_both(void (*story)(struct place *p))
{
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        struct place p;
        place_open(&p);
        p.client_options = versions[i];
        assert_full(&p);
        assert_non_null(p.session);
        story(&p);
        place_close(&p);
    }
}

static void resumes(struct place *p)
{
    assert_resumes(p);
    assert_resumes(p);
    p->n_again = 2;
    assert_resumes(p);
    assert_resumes(p);
}

static void test_resumes(void **state)
{
    (void)state;
    in_both(resumes);
}

static void without_certificate(struct place *p)
{
    p->session = stream_session_free(p->session);
    p->client_has_cert = false;
    p->server.client_cert_required = false;
    assert_full(p);
    assert_resumes(p);
    /* The same listener that requires one now: the ticket does not stand in for it. */
    p->server.client_cert_required = true;
    struct visit v = visit(p);
    assert_int_equal(v.err, ERR_AUTH);
    assert_false(v.is_resumed);
}

static void test_without_certificate(void **state)
{
    (void)state;
    in_both(without_certificate);
}

static void elsewhere(struct place *p)
{
    struct ssl_session_st *mine = p->session;
    struct tls_server_config here = p->server;
    p->session = NULL;
    assert_full(p); /* so that mine is offered again and again, unchanged */
    p->session = stream_session_free(p->session);
    struct tls_server_config others[] = {here, here, here};
    AUTO(buf_done) struct buf two_cas = {0};
    assert_int_equal(buf_append(&two_cas, test_cert_pem(&certs[CA]), SIZE_MAX), OK);
    assert_int_equal(buf_append(&two_cas, test_cert_pem(&certs[FOREIGN_CA]), SIZE_MAX), OK);
    others[0].name = "wss";
    others[1].client_ca_pem = buf_slice(&two_cas);
    others[2].chain_pem = test_cert_pem(&certs[SELF]);
    others[2].key_pem = test_key_pem(&certs[SELF]);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        p->server = others[i];
        assert_int_equal(SSL_SESSION_up_ref(mine), 1);
        p->session = mine;
        struct visit v = visit(p);
        assert_false(v.is_resumed);
        assert_true(v.is_offered); /* it opens, and is not taken */
        /* The client does not trust the last one: it gets to see it. */
        assert_int_equal(v.err == OK, i < 2);
        p->session = stream_session_free(p->session);
    }
    p->server = here;
    p->session = mine;
    assert_resumes(p); /* a new struct tls with the same terms, as after a reload */
}

static void test_elsewhere(void **state)
{
    (void)state;
    in_both(elsewhere);
}

/* The client's session with one bit of its ticket turned. */
static void flip(struct place *p, size_t at)
{
    const unsigned char *ticket = NULL;
    size_t n = 0;
    uint8_t *der = NULL;
    SSL_SESSION_get0_ticket(p->session, &ticket, &n);
    int der_n = i2d_SSL_SESSION(p->session, &der);
    assert_true(der_n > 0 && at < n);
    uint8_t *there = memmem(der, (size_t)der_n, ticket, n);
    assert_non_null(there);
    there[at] ^= 1;
    const uint8_t *read = der;
    SSL_SESSION *flipped = d2i_SSL_SESSION(NULL, &read, der_n);
    assert_non_null(flipped);
    OPENSSL_free(der);
    p->session = stream_session_free(p->session);
    p->session = flipped;
}

static void flipped(struct place *p)
{
    static const size_t places[] = {0, 15, 16, 31, 32, 100, 250}; /* name, iv, sealed */
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        flip(p, places[i]);
        struct visit v = visit(p);
        assert_int_equal(v.err, OK);
        assert_false(v.is_resumed || v.is_offered);
    }
    const unsigned char *ticket = NULL;
    size_t n = 0;
    SSL_SESSION_get0_ticket(p->session, &ticket, &n);
    flip(p, n - 1);
    assert_full(p);
    assert_resumes(p);
}

static void test_flipped(void **state)
{
    (void)state;
    in_both(flipped);
}

/* However often it is renewed, a ticket ends with the life of the first one. */
static void ends(struct place *p)
{
    p->ahead_ms = HALF_MS;
    assert_resumes(p);
    p->ahead_ms = LIFE_MS - 10 * 1000;
    assert_resumes(p);
    p->ahead_ms = LIFE_MS;
    assert_full(p);
    assert_resumes(p);
    p->ahead_ms = 0; /* given in the future by now, further than clocks are off */
    assert_full(p);
}

static void test_ends(void **state)
{
    (void)state;
    in_both(ends);
}

/* The certificates of these tests end an hour from now; tickets live for long. */
static void ends_with_certificate(struct place *p)
{
    struct tls_tickets_setup s = {
        .life_s = 6 * LIFE_S, .clock = p->clock, .random = random_system()};
    p->lives = 6;
    p->tickets = tls_tickets_free(p->tickets);
    assert_int_equal(tls_tickets_new(&s, &p->tickets), OK);
    p->server.tickets = p->tickets;
    assert_full(p);
    p->ahead_ms = 3500 * 1000;
    assert_resumes(p);
    p->ahead_ms = 3700 * 1000;
    struct visit v = visit(p);
    assert_false(v.is_resumed);
    assert_int_equal(v.err, ERR_AUTH);
    assert_int_equal(v.verify, TLS_VERIFY_EXPIRED); /* the words of a full handshake */
}

static void test_ends_with_certificate(void **state)
{
    (void)state;
    in_both(ends_with_certificate);
}

static void test_extended_master_secret(void **state)
{
    (void)state;
    struct place p;
    place_open(&p);
    p.client_options = SSL_OP_NO_TLSv1_3 | SSL_OP_NO_EXTENDED_MASTER_SECRET;
    assert_full(&p);
    assert_non_null(p.session);
    assert_full(&p); /* SPEC: RFC7627 5.3 */
    place_close(&p);
}

static void test_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        struct place p;
        place_open(&p);
        p.client_options = versions[i];
        p.server.tickets = NULL;
        assert_full(&p);
        assert_null(p.session);
        place_close(&p);
    }
}

/* ---- keys ---- */

static void rotated(struct place *p)
{
    bool changed = true;
    assert_int_equal(tls_tickets_rotate(p->tickets, &changed), OK);
    assert_false(changed);
    p->ahead_ms = HALF_MS;
    assert_int_equal(tls_tickets_rotate(p->tickets, &changed), OK);
    assert_true(changed);
    assert_resumes(p); /* by a former key; the next ticket is of the newest */
    assert_int_equal(tls_tickets_rotate(p->tickets, &changed), OK);
    assert_false(changed);
    /* Everything that key opened has ended. */
    p->ahead_ms = HALF_MS + LIFE_MS + HALF_MS + SKEW_MS;
    struct visit v = visit(p);
    assert_false(v.is_offered || v.is_resumed);
    assert_int_equal(v.err, OK);
}

static void test_rotated(void **state)
{
    (void)state;
    in_both(rotated);
}

static void test_clock_set_back(void **state)
{
    (void)state;
    struct place p;
    bool changed = false;
    place_open(&p);
    p.ahead_ms = -SKEW_MS - 60 * 1000;
    assert_int_equal(tls_tickets_rotate(p.tickets, &changed), OK);
    assert_true(changed);
    place_close(&p);
}

static void saved(struct place *p)
{
    AUTO(buf_wipe) struct buf keys = {0};
    bool changed = false;
    p->ahead_ms = HALF_MS;
    assert_int_equal(tls_tickets_rotate(p->tickets, &changed), OK);
    assert_int_equal(tls_tickets_save(p->tickets, &keys), OK);
    p->tickets = tls_tickets_free(p->tickets); /* a restart */
    p->tickets = make_tickets(p);
    p->server.tickets = p->tickets;
    assert_false(visit(p).is_resumed);
    assert_int_equal(tls_tickets_load(p->tickets, buf_slice(&keys)), OK);
    p->session = stream_session_free(p->session);
    assert_full(p);
    assert_resumes(p);
    for (size_t n = 0; n < keys.n; n++) {
        struct slice cut = slice_head(buf_slice(&keys), n);
        assert_int_equal(tls_tickets_load(p->tickets, cut), ERR_MALFORMED);
    }
    assert_int_equal(buf_append(&keys, slice_text("x"), SIZE_MAX), OK);
    assert_int_equal(tls_tickets_load(p->tickets, buf_slice(&keys)), ERR_TRAILING);
    assert_resumes(p); /* and nothing changed */
}

static void test_saved(void **state)
{
    (void)state;
    in_both(saved);
}

/* The ticket of before a restart is good behind it, unless the keys are too old by then. */
static void survives(struct place *p)
{
    AUTO(buf_wipe) struct buf keys = {0};
    assert_int_equal(tls_tickets_save(p->tickets, &keys), OK);
    for (int i = 0; i < 2; i++) {
        p->tickets = tls_tickets_free(p->tickets);
        p->ahead_ms = i == 0 ? 0 : LIFE_MS + HALF_MS + SKEW_MS + 1000;
        p->tickets = make_tickets(p);
        p->server.tickets = p->tickets;
        assert_int_equal(tls_tickets_load(p->tickets, buf_slice(&keys)), OK);
        struct visit v = visit(p);
        assert_int_equal(v.is_resumed, i == 0);
        assert_int_equal(v.is_offered, i == 0);
    }
}

static void test_survives(void **state)
{
    (void)state;
    in_both(survives);
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        uint32_t life_s;
        enum err err;
    } cases[] = {{0, ERR_CONFIG},
                 {1, OK},
                 {TLS_TICKETS_LIFE_S_MAX, OK},
                 {TLS_TICKETS_LIFE_S_MAX + 1, ERR_CONFIG}};
    uint8_t counts[] = {0, TLS_TICKET_KEYS + 1};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tls_tickets_setup s = {
            .life_s = cases[i].life_s, .clock = clock_system(), .random = random_system()};
        struct tls_tickets *t = NULL;
        assert_int_equal(tls_tickets_new(&s, &t), cases[i].err);
        if (t != NULL) {
            for (size_t k = 0; k < COUNT_OF(counts); k++) {
                assert_int_equal(tls_tickets_load(t, slice_of(&counts[k], 1)), ERR_MALFORMED);
            }
            assert_false(tls_tickets_open(t, (struct slice){0}));
        }
        (void)tls_tickets_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_without_certificate),
        cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_ends_with_certificate),
        cmocka_unit_test(test_extended_master_secret),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_rotated),
        cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_saved),
        cmocka_unit_test(test_survives),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
