/* Certificates that are asked for over CoAP: what is handed in, what becomes of the answer, and
 * that nothing is asked twice or left behind. Who decides is played by the test. */
#include "service/enrol/est.h"
#include "service/broker/enrolment.h"
#include "service/gateway/door_bench_test.h"
#include "service/gateway/door_private.h"

enum { ASKED_MAX = 8, SZX_64 = 2, SZX_256 = 4, MORE = 8, CERTS = 1300, LEAF = 600, KEY = 138 };

static struct enrolment *asked[ASKED_MAX];
static size_t n_asked;
static enum err enrol_says;
static uint8_t pattern[10000];

static enum err on_enrol(void *ctx, struct enrolment *e)
{
    (void)ctx;
    if (enrol_says != OK) {
        enrolment_free(e);
        return enrol_says;
    }
    assert_true(n_asked < ASKED_MAX);
    asked[n_asked++] = e;
    return OK;
}

static bool info_with_certificate(const struct dtls *d, uint64_t id, struct dtls_info *ret)
{
    (void)d;
    *ret = (struct dtls_info){.id = id, .peer_cert = slice_text("a certificate")};
    return true;
}

static struct dtls_ops with_certificates;

static int open_bench(void **state)
{
    assert_int_equal(fortress_open(state), 0);
    struct fortress *f = *state;
    with_certificates = fake_ops;
    with_certificates.info = info_with_certificate;
    n_asked = 0;
    enrol_says = OK;
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (uint8_t)(i + i / 251);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        f->doors[i]->setup.enrol = on_enrol;
        f->fakes[i].dtls.ops = &with_certificates;
    }
    return 0;
}

static int close_bench(void **state)
{
    while (n_asked > 0) {
        enrolment_free(asked[--n_asked]);
    }
    return fortress_close(state);
}

/* An association by a certificate, as far as the door sees. */
static void comes(struct fortress *f, uint64_t id, const char *name)
{
    assert_true(link_device(f, 0, id, name));
    struct association *a = association_find(f->doors[0], id);
    struct digest *shown = mem_alloc(sizeof(*shown));
    assert_non_null(shown);
    assert_int_equal(digest_sha256(slice_text(name), shown), OK);
    a->cert_id = shown;
}

static struct ask a_csr(const char *path, struct slice csr)
{
    struct ask a = {ASK(COAP_CON, COAP_POST, path)};
    a.format = COAP_FORMAT_PKCS10;
    a.payload = csr;
    return a;
}

static void give(struct buf *b, size_t n)
{
    assert_int_equal(buf_append(b, slice_of(pattern, n), SIZE_MAX), OK);
}

/* What was handed in last comes back as this. */
static void decides(struct fortress *f, enum enrolment_result result, const char *why)
{
    assert_true(n_asked > 0);
    struct enrolment *e = asked[--n_asked];
    e->result = result;
    if (result == ENROLMENT_ISSUED) {
        give(&e->certs_der, CERTS);
        give(&e->leaf_der, LEAF);
        give(&e->chain_pem, 100);
        if (e->want == ENROLMENT_PAIR) {
            give(&e->key_der, KEY);
        }
    } else {
        why_set(&e->why, "%s", why);
        e->retry_after_s = 7;
    }
    struct wmsg m = {.kind = WMSG_ENROLLED, .enrolment = e};
    assert_int_equal(ring_push(&f->service[0], &m), OK);
    turns(f);
}

static struct coap_message rest_of(struct fortress *f, uint64_t id, const char *path,
                                   uint32_t number, unsigned szx)
{
    struct ask a = {ASK(COAP_CON, COAP_POST, path)};
    a.block2 = (int)(number << 4 | szx);
    return asks(f, 0, id, &a);
}

/* ---- what works ---- */

/* SPEC: RFC9148 4.4, 4.7: acknowledged first, answered when it is decided. SPEC: RFC7252 5.2.2 */
static void the_answer_comes_later(void **state)
{
    struct fortress *f = *state;
    comes(f, 1, "dev1");
    struct ask a = a_csr("/.well-known/est/sren", slice_of(pattern, 300));
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_EMPTY);
    assert_int_equal(n_asked, 1);
    const struct enrolment *e = asked[0];
    assert_int_equal(e->want, ENROLMENT_AGAIN);
    assert_int_equal(e->protocol, EVENT_PROTOCOL_coap);
    assert_string_equal(e->listener, "coaps");
    assert_int_equal(e->secret[0], 0);
    assert_true(slice_equal(buf_slice(&e->csr_der), slice_of(pattern, 300)));
    assert_true(slice_is(buf_slice(&e->current_der), "a certificate"));
    pass(f, 1000);
    assert_true(f->fakes[0].n_sent > 0); /* the empty acknowledgement */
    forget_sent(f);
    decides(f, ENROLMENT_ISSUED, NULL);
    struct coap_message m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_CHANGED); /* SPEC: RFC9148 4.5 */
    assert_int_equal(m.type, COAP_CON);
    assert_true(m.token.n == 1 && m.token.p[0] == a.token);
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_PKCS7_CERTS);
    assert_int_equal(option_of(&m, COAP_OPTION_BLOCK2), MORE | COAP_BLOCK_SZX_MAX);
    assert_true(slice_equal(m.payload, slice_of(pattern, COAP_BLOCK_BYTES_MAX)));
    m = rest_of(f, 1, "/.well-known/est/sren", 1, COAP_BLOCK_SZX_MAX);
    EXPECT_CODE(m, COAP_CHANGED);
    assert_true(slice_equal(
        m.payload, slice_of(pattern + COAP_BLOCK_BYTES_MAX, CERTS - COAP_BLOCK_BYTES_MAX)));
    EXPECT_CODE(rest_of(f, 1, "/.well-known/est/sren", 2, COAP_BLOCK_SZX_MAX), COAP_BAD_REQUEST);
    EXPECT_CODE(rest_of(f, 1, "/est/sen", 1, COAP_BLOCK_SZX_MAX), COAP_REQUEST_INCOMPLETE);
    assert_int_equal(atomic_load(&f->counters[0].renewals_ok), 1);
}

/* SPEC: RFC9148 4.3: by Accept. */
static void formats(void **state)
{
    struct fortress *f = *state;
    comes(f, 1, "dev1");
    struct ask a = a_csr("/est/sen", slice_of(pattern, 300));
    a.accept = COAP_FORMAT_PKIX_CERT;
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_EMPTY);
    assert_int_equal(asked[0]->want, ENROLMENT_FIRST);
    forget_sent(f);
    decides(f, ENROLMENT_ISSUED, NULL);
    struct coap_message m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_CHANGED);
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_PKIX_CERT);
    assert_int_equal(m.payload.n, LEAF);
    a.accept = COAP_FORMAT_PKCS7_CERTS; /* the same certificate, as it is wanted now */
    m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_CHANGED);
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_PKCS7_CERTS);
    assert_int_equal(n_asked, 0);
}

/* SPEC: RFC9148 4.6: as large each way as the client's own blocks. SPEC: RFC7959 3.3 */
static void in_blocks(void **state)
{
    enum { N = 600, SIZE = 256 };
    struct fortress *f = *state;
    comes(f, 1, "dev1");
    for (uint32_t i = 0; i * SIZE < N; i++) {
        bool has_more = (i + 1) * SIZE < N;
        struct ask a =
            a_csr("/est/sren", slice_of(pattern + i * SIZE, has_more ? SIZE : N - i * SIZE));
        a.block1 = (int)(i << 4 | (has_more ? MORE : 0U) | SZX_256);
        struct coap_message m = asks(f, 0, 1, &a);
        EXPECT_CODE(m, has_more ? COAP_CONTINUE : COAP_EMPTY);
    }
    assert_int_equal(n_asked, 1);
    assert_true(slice_equal(buf_slice(&asked[0]->csr_der), slice_of(pattern, N)));
    forget_sent(f);
    decides(f, ENROLMENT_ISSUED, NULL);
    struct coap_message m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_CHANGED);
    assert_int_equal(option_of(&m, COAP_OPTION_BLOCK1), 2 << 4 | SZX_256);
    assert_int_equal(option_of(&m, COAP_OPTION_BLOCK2), MORE | SZX_256);
    assert_int_equal(m.payload.n, SIZE);
    m = rest_of(f, 1, "/est/sren", CERTS / 64, SZX_64); /* it may become smaller yet */
    EXPECT_CODE(m, COAP_CHANGED);
    assert_true(slice_equal(m.payload, slice_of(pattern + CERTS / 64 * 64, CERTS % 64)));
}

/* ---- once ---- */

static void a_repetition_is_not_signed_twice(void **state)
{
    struct fortress *f = *state;
    comes(f, 1, "dev1");
    struct ask a = a_csr("/est/sren", slice_of(pattern, 300));
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_EMPTY);
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_EMPTY); /* the same token, another message id */
    a.token = 9;
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_EMPTY);
    assert_int_equal(n_asked, 1);
    struct ask other = a_csr("/est/sren", slice_of(pattern, 301));
    struct coap_message m = asks(f, 0, 1, &other);
    EXPECT_CODE(m, COAP_UNAVAILABLE);
    assert_true(option_of(&m, COAP_OPTION_MAX_AGE) < 60);
    forget_sent(f);
    decides(f, ENROLMENT_ISSUED, NULL);
    m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_CHANGED);
    assert_int_equal(m.token.p[0], 9);
    m = next_sent(f, 0, 1);
    assert_int_equal(m.type, COAP_RST); /* nobody else waits */
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CHANGED);
    assert_int_equal(n_asked, 0);
    EXPECT_CODE(asks(f, 0, 1, &other), COAP_EMPTY);
    assert_int_equal(n_asked, 1);
    assert_int_equal(atomic_load(&f->counters[0].renewals_ok), 1);
}

/* Told to come again; what is decided later is there for it then. SPEC: RFC9148 4.7 */
static void a_decision_that_takes_long(void **state)
{
    struct fortress *f = *state;
    comes(f, 1, "dev1");
    struct ask a = a_csr("/est/sren", slice_of(pattern, 300));
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_EMPTY);
    assert_true(coap_door_deadline(f->doors[0]) <= f->now_ms + 15000);
    pass(f, 1000);
    forget_sent(f);
    pass(f, 14001);
    struct coap_message m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_UNAVAILABLE);
    assert_true(option_of(&m, COAP_OPTION_MAX_AGE) < 600);
    assert_non_null(find_event(f, EVENT_quota));
    forget_sent(f);
    decides(f, ENROLMENT_ISSUED, NULL);
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CHANGED);
    assert_int_equal(n_asked, 0);
    pass(f, 121000);
    assert_int_equal(f->doors[0]->n_wishes, 0);
    EXPECT_CODE(rest_of(f, 1, "/est/sren", 1, COAP_BLOCK_SZX_MAX), COAP_REQUEST_INCOMPLETE);
}

static void the_association_ends_first(void **state)
{
    struct fortress *f = *state;
    comes(f, 1, "dev1");
    struct ask a = a_csr("/est/sren", slice_of(pattern, 300));
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_EMPTY);
    door_enter(f->doors[0], f->now_ms);
    association_close(association_find(f->doors[0], 1), "the test ends it");
    door_leave(f->doors[0]);
    forget_sent(f);
    decides(f, ENROLMENT_ISSUED, NULL);
    assert_int_equal(f->fakes[0].n_sent, 0);
    assert_int_equal(f->doors[0]->n_wishes, 0);
    comes(f, 2, "dev1"); /* and one that nobody answers */
    EXPECT_CODE(asks(f, 0, 2, &a), COAP_EMPTY);
    door_enter(f->doors[0], f->now_ms);
    association_close(association_find(f->doors[0], 2), "the test ends it");
    door_leave(f->doors[0]);
    pass(f, 16000);
    assert_int_equal(f->doors[0]->n_wishes, 0);
}

/* ---- keys that are made here ---- */

/* SPEC: RFC9148 4.8 */
static void a_key_is_not_kept(void **state)
{
    static const struct {
        const char *path;
        size_t certs;
    } cases[] = {{"/est/skg", CERTS}, {"/est/skc", LEAF}};
    struct fortress *f = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t n = 1 + 3 + 2 + KEY + 3 + 3 + cases[i].certs;
        comes(f, 1 + i, "dev1");
        struct ask a = a_csr(cases[i].path, slice_of(pattern, 300));
        EXPECT_CODE(asks(f, 0, 1 + i, &a), COAP_EMPTY);
        assert_int_equal(asked[0]->want, ENROLMENT_PAIR);
        forget_sent(f);
        decides(f, ENROLMENT_ISSUED, NULL);
        struct coap_message m = next_sent(f, 0, 1 + i);
        EXPECT_CODE(m, COAP_CHANGED);
        assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_MULTIPART);
        assert_int_equal(m.payload.p[0], 0x84);
        if (n > COAP_BLOCK_BYTES_MAX) {
            assert_int_equal(f->doors[0]->n_wishes, 1);
            m = rest_of(f, 1 + i, cases[i].path, 1, COAP_BLOCK_SZX_MAX);
            EXPECT_CODE(m, COAP_CHANGED);
            assert_int_equal(m.payload.n, n - COAP_BLOCK_BYTES_MAX);
        } else {
            assert_int_equal(m.payload.n, n);
        }
        assert_int_equal(f->doors[0]->n_wishes, 0);
    }
}

/* ---- refusals ---- */

static void what_was_decided_in_codes(void **state)
{
    static const struct {
        enum enrolment_result result;
        uint8_t code;
        bool has_age;
    } cases[] = {{ENROLMENT_WAITS, COAP_UNAVAILABLE, true}, /* SPEC: RFC9148 4.5, 4.7 */
                 {ENROLMENT_BUSY, COAP_UNAVAILABLE, true},
                 {ENROLMENT_TOO_MANY, COAP_TOO_MANY_REQUESTS, true},
                 {ENROLMENT_UNPROVEN, COAP_UNAUTHORIZED, false},
                 {ENROLMENT_REFUSED, COAP_FORBIDDEN, false},
                 {ENROLMENT_MALFORMED, COAP_BAD_REQUEST, false}};
    struct fortress *f = *state;
    comes(f, 1, "dev1");
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        struct ask a = a_csr("/est/sren", slice_of(pattern, 300));
        bool is_told = i % 2 == 1;
        size_t before = f->n_events;
        EXPECT_CODE(asks(f, 0, 1, &a), COAP_EMPTY);
        forget_sent(f);
        asked[0]->is_told = is_told;
        decides(f, cases[i / 2].result, "words");
        struct coap_message m = next_sent(f, 0, 1);
        EXPECT_CODE(m, cases[i / 2].code);
        assert_true(slice_is(m.payload, "words"));
        assert_int_equal(option_of(&m, COAP_OPTION_MAX_AGE), cases[i / 2].has_age ? 7 : UINT32_MAX);
        assert_int_equal(f->n_events - before, is_told ? 0 : 1); /* one, whoever says it */
        assert_int_equal(f->doors[0]->n_wishes, 0);
    }
    assert_int_equal(atomic_load(&f->counters[0].renewals_later), 3);
    assert_int_equal(atomic_load(&f->counters[0].renewals_refused), 6);
}

static void what_is_not_even_asked(void **state)
{
    static const struct {
        const char *name, *path;
        uint8_t method;
        int format, accept;
        size_t n;
        uint8_t code;
    } cases[] = {
        {"a GET", "/est/sren", COAP_GET, -1, -1, 0, COAP_METHOD_NOT_ALLOWED},
        {"a PUT", "/est/sen", COAP_PUT, 286, -1, 300, COAP_METHOD_NOT_ALLOWED},
        {"no format", "/est/sen", COAP_POST, -1, -1, 300, COAP_UNSUPPORTED_FORMAT},
        {"PEM, perhaps", "/est/sen", COAP_POST, 0, -1, 300, COAP_UNSUPPORTED_FORMAT},
        {"wants text", "/est/sren", COAP_POST, 286, 0, 300, COAP_NOT_ACCEPTABLE},
        {"wants a pair", "/est/sren", COAP_POST, 286, 62, 300, COAP_NOT_ACCEPTABLE},
        {"wants no pair", "/est/skg", COAP_POST, 286, 281, 300, COAP_NOT_ACCEPTABLE},
        {"a label", "/est/label/sren", COAP_POST, 286, -1, 300, COAP_NOT_FOUND},
        {"the long name", "/est/simpleenroll", COAP_POST, 286, -1, 300, COAP_NOT_FOUND},
        {"POST of what is read", "/est/att", COAP_POST, 286, -1, 300, COAP_METHOD_NOT_ALLOWED},
    };
    struct fortress *f = *state;
    comes(f, 1, "dev1");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct ask a = {ASK(COAP_CON, cases[i].method, cases[i].path)};
        a.format = cases[i].format;
        a.accept = cases[i].accept;
        a.payload = slice_of(pattern, cases[i].n);
        struct coap_message m = asks(f, 0, 1, &a);
        if (m.code != cases[i].code) {
            fail_msg("%s: %u", cases[i].name, (unsigned)m.code);
        }
    }
    assert_int_equal(n_asked, 0);
    assert_int_equal(f->doors[0]->n_wishes, 0);
}

/* SPEC: RFC9148 3: by a certificate, or not at all. */
static void who_came_by_a_key(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask a = a_csr("/est/sen", slice_of(pattern, 300));
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_UNAUTHORIZED);
    assert_non_null(find_event(f, EVENT_enrolment));
    a.payload = slice_of(pattern, 64);
    a.block1 = MORE | SZX_64; /* before anything is carried here */
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_UNAUTHORIZED);
    assert_int_equal(coap_bodies_count(&f->doors[0]->bodies), 0);
    /* and who has lost its own on the way */
    f->fakes[0].dtls.ops = &fake_ops;
    comes(f, 2, "dev2");
    a = a_csr("/est/sren", slice_of(pattern, 300));
    EXPECT_CODE(asks(f, 0, 2, &a), COAP_FORBIDDEN);
    assert_int_equal(n_asked, 0);
    assert_int_equal(f->doors[0]->n_wishes, 0);
}

static void bounds(void **state)
{
    struct fortress *f = *state;
    struct coap_door *d = f->doors[0];
    comes(f, 1, "dev1");
    struct ask a = a_csr("/est/sren", slice_of(pattern, 300));
    enrol_says = ERR_AGAIN;
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_UNAVAILABLE);
    enrol_says = ERR_UNSUPPORTED;
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_FORBIDDEN);
    enrol_says = OK;
    d->setup.enrol = NULL;
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_FORBIDDEN);
    d->setup.enrol = on_enrol;
    assert_int_equal(d->n_wishes, 0);
    d->n_wishes = 256; /* of others, none of them decided */
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_UNAVAILABLE);
    d->n_wishes = 0;
    /* larger than any request for a certificate */
    struct coap_message m = {.code = COAP_EMPTY};
    uint32_t number = 0;
    do {
        struct ask part = a_csr("/est/sren", slice_of(pattern, COAP_BLOCK_BYTES_MAX));
        part.block1 = (int)(number++ << 4 | MORE | COAP_BLOCK_SZX_MAX);
        m = asks(f, 0, 1, &part);
    } while (m.code == COAP_CONTINUE && number < 20);
    EXPECT_CODE(m, COAP_REQUEST_TOO_LARGE);
    assert_int_equal(number, ENROLMENT_CSR_MAX / COAP_BLOCK_BYTES_MAX + 1);
    /* what is kept goes first when memory is short */
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_EMPTY);
    assert_int_equal(est_shed(d), 0);
    decides(f, ENROLMENT_ISSUED, NULL);
    assert_int_equal(est_shed(d), 1);
    EXPECT_CODE(rest_of(f, 1, "/est/sren", 1, COAP_BLOCK_SZX_MAX), COAP_REQUEST_INCOMPLETE);
    /* a role's rate of publishes is that of its wishes */
    unsigned n = 0;
    do {
        a.payload = slice_of(pattern, 300 + n);
        m = asks(f, 0, 1, &a);
        if (m.code == COAP_EMPTY) {
            decides(f, ENROLMENT_REFUSED, "no");
        }
    } while (m.code == COAP_EMPTY && ++n < 100);
    EXPECT_CODE(m, COAP_TOO_MANY_REQUESTS);
    assert_true(n < 40 && option_of(&m, COAP_OPTION_MAX_AGE) > 0);
}

static void without_memory(void **state)
{
    struct fortress *f = *state;
    comes(f, 1, "dev1");
    for (int at = 0; at < 12; at++) {
        struct ask a = a_csr("/est/sren", slice_of(pattern, 300 + (size_t)at));
        forget_sent(f);
        (void)mem_fail_after(at);
        send_ask(f, 0, 1, &a);
        (void)mem_fail_after(-1);
        pass(f, 1000);
        if (n_asked > 0) {
            decides(f, ENROLMENT_REFUSED, "no");
        }
        assert_int_equal(f->doors[0]->n_wishes, 0);
    }
}

/* ---- what is listed ---- */

/* SPEC: RFC9148 4.1 */
static void discovery(void **state)
{
    struct fortress *f = *state;
    struct ask a = {ASK(COAP_CON, COAP_GET, "/.well-known/core")};
    a.query = "rt=ace.est*";
    comes(f, 1, "dev1");
    struct coap_message m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(slice_is(m.payload, "</est/crts>;rt=\"ace.est.crts\";ct=\"281 287\","
                                    "</est/sen>;rt=\"ace.est.sen\";ct=\"281 287\","
                                    "</est/sren>;rt=\"ace.est.sren\";ct=\"281 287\","
                                    "</est/att>;rt=\"ace.est.att\";ct=285,"
                                    "</est/skg>;rt=\"ace.est.skg\";ct=62,"
                                    "</est/skc>;rt=\"ace.est.skc\";ct=62"));
    assert_true(link_device(f, 0, 2, "dev2"));
    m = asks(f, 0, 2, &a);
    assert_true(slice_is(m.payload, "</est/crts>;rt=\"ace.est.crts\";ct=\"281 287\","
                                    "</est/att>;rt=\"ace.est.att\";ct=285"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_bench, close_bench)
    const struct CMUnitTest tests[] = {TEST(the_answer_comes_later),
                                       TEST(formats),
                                       TEST(in_blocks),
                                       TEST(a_repetition_is_not_signed_twice),
                                       TEST(a_decision_that_takes_long),
                                       TEST(the_association_ends_first),
                                       TEST(a_key_is_not_kept),
                                       TEST(what_was_decided_in_codes),
                                       TEST(what_is_not_even_asked),
                                       TEST(who_came_by_a_key),
                                       TEST(bounds),
                                       TEST(without_memory),
                                       TEST(discovery)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
