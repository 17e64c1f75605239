/* A client's certificate whose time is over: what is taken all the same, and what never is. */
#include "base/random.h"
#include "base/scope.h"
#include "net/stream_duo_test.h"
#include "net/tls_private.h"

enum { GRACE_S = 7200, HOUR_S = 3600 };

enum extra {
    SOON,         /* ends in ten minutes */
    LATE,         /* ended an hour ago */
    LATE_PURPOSE, /* so, and made for servers */
    LATE_FOREIGN, /* so, and of another authority */
    LATE_SELF,
    MIDDLE, /* an authority below the root */
    LATE_MIDDLE,
    BELOW,      /* a good one below it */
    BELOW_LATE, /* a good one below the one that has ended */
    LATE_BELOW, /* an ended one below the good one */
    BOTH,       /* an ended one below the ended one */
    LATE_ROOT,
    OF_LATE_ROOT,
    N_EXTRA
};

static struct test_cert extra[N_EXTRA];

static int make_extra(void **state)
{
    const char *c = "clientAuth";
    const struct test_cert_spec specs[N_EXTRA] = {
        [SOON] = {"soon", &certs[CA], NULL, c, false, false, -HOUR_S, HOUR_S / 6},
        [LATE] = {"late", &certs[CA], NULL, c, false, false, -2 * HOUR_S, -HOUR_S},
        [LATE_PURPOSE] = {"lp", &certs[CA], NULL, "serverAuth", false, false, -2 * HOUR_S, -HOUR_S},
        [LATE_FOREIGN] = {"lf", &certs[FOREIGN_CA], NULL, c, false, false, -2 * HOUR_S, -HOUR_S},
        [LATE_SELF] = {"ls", NULL, NULL, c, false, false, -2 * HOUR_S, -HOUR_S},
        [MIDDLE] = {.name = "middle", .issuer = &certs[CA], .ca = true},
        [LATE_MIDDLE] = {"lm", &certs[CA], NULL, NULL, true, false, -2 * HOUR_S, -HOUR_S},
        [BELOW] = {.name = "below", .issuer = &extra[MIDDLE], .eku = c},
        [BELOW_LATE] = {.name = "bl", .issuer = &extra[LATE_MIDDLE], .eku = c},
        [LATE_BELOW] = {"lb", &extra[MIDDLE], NULL, c, false, false, -2 * HOUR_S, -HOUR_S},
        [BOTH] = {"both", &extra[LATE_MIDDLE], NULL, c, false, false, -2 * HOUR_S, -HOUR_S},
        [LATE_ROOT] = {"root", NULL, NULL, NULL, true, false, -2 * HOUR_S, -HOUR_S},
        [OF_LATE_ROOT] = {.name = "olr", .issuer = &extra[LATE_ROOT], .eku = c},
    };
    assert_int_equal(make_certs(state), 0);
    for (size_t i = 0; i < N_EXTRA; i++) {
        test_cert_make(&extra[i], &specs[i]);
    }
    return 0;
}

static int drop_extra(void **state)
{
    for (size_t i = 0; i < N_EXTRA; i++) {
        test_cert_done(&extra[i]);
    }
    return drop_certs(state);
}

/* A clock that is moved by hand; the machine's else. */
static int64_t ahead_ms;

static int64_t moved_wall_ms(void *ctx)
{
    struct clock system = clock_system();
    (void)ctx;
    return system.wall_ms(system.ctx) + ahead_ms;
}

static struct tls *taking_server(const struct tls_server_config *more)
{
    struct clock moved = clock_system();
    struct buf all = {0};
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    moved.wall_ms = moved_wall_ms;
    assert_int_equal(buf_append(&all, test_cert_pem(&certs[CA]), SIZE_MAX), OK);
    assert_int_equal(buf_append(&all, test_cert_pem(&extra[LATE_ROOT]), SIZE_MAX), OK);
    struct tls_server_config c = *more;
    c.chain_pem = test_cert_pem(&certs[SERVER]);
    c.key_pem = test_key_pem(&certs[SERVER]);
    c.client_ca_pem = buf_slice(&all);
    c.clock = &moved;
    assert_int_equal(tls_server_new(&c, text, &t), OK);
    buf_done(&all);
    return t;
}

static struct tls *client_with(const struct test_cert *own, const struct test_cert *above,
                               bool takes_tickets)
{
    struct buf chain = {0};
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    assert_int_equal(buf_append(&chain, test_cert_pem(own), SIZE_MAX), OK);
    if (above != NULL) {
        assert_int_equal(buf_append(&chain, test_cert_pem(above), SIZE_MAX), OK);
    }
    struct tls_client_config c = {.ca_pem = test_cert_pem(&certs[CA]),
                                  .host = "localhost",
                                  .chain_pem = buf_slice(&chain),
                                  .key_pem = test_key_pem(own),
                                  .takes_tickets = takes_tickets};
    assert_int_equal(tls_client_new(&c, text, &t), OK);
    buf_done(&chain);
    return t;
}

static void turns(struct duo *d)
{
    for (int k = 0; k < 10; k++) {
        duo_turn(d);
    }
}

static enum tls_verify verdict(const struct test_cert *own, const struct test_cert *above,
                               uint32_t late_s, bool old_tls)
{
    struct duo d;
    struct tls_server_config c = {.late_s = late_s, .allow_tls12 = old_tls};
    struct tls *client = client_with(own, above, false);
    if (old_tls) {
        assert_int_equal(SSL_CTX_set_max_proto_version(tls_ctx(client), TLS1_2_VERSION), 1);
    }
    duo_init(&d, client, taking_server(&c));
    turns(&d);
    enum tls_verify v = stream_verify(d.server.s);
    assert_int_equal(v == TLS_VERIFY_OK, d.server.err == OK);
    assert_int_equal(v == TLS_VERIFY_OK, stream_is_ready(d.server.s));
    duo_done(&d);
    return v;
}

static void what_is_taken_and_what_is_not(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const struct test_cert *own, *above;
        enum tls_verify with_grace, without;
    } cases[] = {
        {"a good one", &certs[CLIENT], NULL, TLS_VERIFY_OK, TLS_VERIFY_OK},
        {"its time is over", &extra[LATE], NULL, TLS_VERIFY_OK, TLS_VERIFY_EXPIRED},
        {"below an authority that is good", &extra[LATE_BELOW], &extra[MIDDLE], TLS_VERIFY_OK,
         TLS_VERIFY_EXPIRED},
        {"for servers", &extra[LATE_PURPOSE], NULL, TLS_VERIFY_WRONG_PURPOSE,
         TLS_VERIFY_WRONG_PURPOSE},
        {"of a foreign authority", &extra[LATE_FOREIGN], NULL, TLS_VERIFY_UNKNOWN_CA,
         TLS_VERIFY_UNKNOWN_CA},
        {"of nobody", &extra[LATE_SELF], NULL, TLS_VERIFY_SELF_SIGNED, TLS_VERIFY_SELF_SIGNED},
        {"not yet", &certs[FUTURE], NULL, TLS_VERIFY_NOT_YET_VALID, TLS_VERIFY_NOT_YET_VALID},
        {"the authority between has ended", &extra[BELOW_LATE], &extra[LATE_MIDDLE],
         TLS_VERIFY_EXPIRED, TLS_VERIFY_EXPIRED},
        {"both have ended", &extra[BOTH], &extra[LATE_MIDDLE], TLS_VERIFY_EXPIRED,
         TLS_VERIFY_EXPIRED},
        {"the root has ended", &extra[OF_LATE_ROOT], NULL, TLS_VERIFY_EXPIRED, TLS_VERIFY_EXPIRED},
    };
    ahead_ms = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (int old_tls = 0; old_tls < 2; old_tls++) {
            enum tls_verify with = verdict(cases[i].own, cases[i].above, GRACE_S, old_tls != 0);
            enum tls_verify without = verdict(cases[i].own, cases[i].above, 0, old_tls != 0);
            if (with != cases[i].with_grace || without != cases[i].without) {
                fail_msg("%s: %s and %s", cases[i].name, tls_verify_name(with),
                         tls_verify_name(without));
            }
        }
    }
}

/* The grace is counted from the end, by the clock that counts. */
static void the_grace_ends(void **state)
{
    (void)state;
    enum { SLACK_S = 60 }; /* of this test */
    int64_t left_s = GRACE_S - HOUR_S;
    ahead_ms = (left_s - SLACK_S) * 1000;
    assert_int_equal(verdict(&extra[LATE], NULL, GRACE_S, false), TLS_VERIFY_OK);
    ahead_ms = (left_s + SLACK_S) * 1000;
    assert_int_equal(verdict(&extra[LATE], NULL, GRACE_S, false), TLS_VERIFY_EXPIRED);
    /* One that is not over is judged as ever, and a clock far back takes nobody as late. */
    ahead_ms = -(int64_t)3 * HOUR_S * 1000;
    assert_int_equal(verdict(&extra[LATE], NULL, GRACE_S, false), TLS_VERIFY_NOT_YET_VALID);
    ahead_ms = 0;
}

/* A ticket from before the end leads, behind it, to a full handshake: who it is and how long its
 * certificate lasts is looked at again. */
static void tickets_end_with_the_certificate(void **state)
{
    (void)state;
    struct tls_tickets *tickets = NULL;
    struct tls_tickets_setup setup = {
        .life_s = 86400, .clock = clock_system(), .random = random_system()};
    setup.clock.wall_ms = moved_wall_ms;
    ahead_ms = 0;
    assert_int_equal(tls_tickets_new(&setup, &tickets), OK);
    struct tls_server_config c = {.late_s = GRACE_S, .tickets = tickets, .name = "here"};
    struct duo d;
    duo_init(&d, client_with(&extra[SOON], NULL, true), taking_server(&c));
    turns(&d);
    assert_int_equal(stream_give_ticket(d.server.s, d.server.io), OK);
    turns(&d);
    struct ssl_session_st *session = stream_session(d.client.s);
    assert_non_null(session);
    duo_done(&d);
    static const struct {
        int64_t ahead_ms;
        bool resumes;
    } cases[] = {{0, true}, {(int64_t)HOUR_S / 3 * 1000, false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int fds[2];
        socket_pair(fds);
        d = (struct duo){0};
        struct tls *client = client_with(&extra[SOON], NULL, true);
        struct tls *server = taking_server(&c);
        ahead_ms = cases[i].ahead_ms;
        assert_int_equal(stream_io_new(&d.client.io), OK);
        assert_int_equal(stream_io_new(&d.server.io), OK);
        assert_int_equal(stream_new(fds[0], STREAM_CLIENT, client, &d.client.s), OK);
        assert_int_equal(stream_new(fds[1], STREAM_SERVER, server, &d.server.s), OK);
        (void)tls_free(client);
        (void)tls_free(server);
        assert_int_equal(stream_resume(d.client.s, session), OK);
        d.client.err = stream_start(d.client.s, d.client.io);
        turns(&d);
        assert_int_equal(d.server.err, OK);
        assert_int_equal(stream_is_resumed(d.server.s), cases[i].resumes);
        duo_done(&d);
    }
    (void)stream_session_free(session);
    tickets = tls_tickets_free(tickets);
    ahead_ms = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_taken_and_what_is_not),
                                       cmocka_unit_test(the_grace_ends),
                                       cmocka_unit_test(tickets_end_with_the_certificate)};
    return cmocka_run_group_tests(tests, make_extra, drop_extra);
}
