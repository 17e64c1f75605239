/* The signer's engine, asked as the broker asks: also as one that somebody has broken into. */
#include <sys/socket.h>

#include "security/identity/identity.h"
#include "service/pki/authority_case_test.h"
#include "service/pki/authority_remote.h"
#include "service/pki/signer.h"
#include "service/pki/signer_message.h"

#define TEXT slice_text

struct desk {
    struct authority_case c;
    struct signer *signer;
};

static int setup(void **state)
{
    struct desk *d = test_calloc(1, sizeof *d);
    case_open(&d->c);
    assert_int_equal(signer_new(d->c.a, 1, &d->signer), OK);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    struct desk *d = *state;
    d->signer = signer_free(d->signer);
    case_close(&d->c);
    test_free(d);
    return 0;
}

struct asked {
    struct signer_answer answer;
    struct signer_event event;
    bool has_event;
};

static void asked_done(struct asked *a)
{
    signer_answer_done(&a->answer);
}

/* Through both codecs, as over the wire. */
static enum err ask_at(struct desk *d, enum signer_channel from, struct signer_request *q,
                       int64_t now, struct asked *ret)
{
    AUTO(buf_done) struct buf bytes = {0};
    struct signer_reply reply;
    asked_done(ret);
    *ret = (struct asked){.has_event = false};
    q->id = 77;
    assert_int_equal(signer_request_encode(q, &bytes), OK);
    assert_int_equal(signer_ask(d->signer, from, buf_slice(&bytes), 1, now, &reply), OK);
    assert_int_equal(reply.id, 77);
    assert_int_equal(signer_answer_decode(q->type, buf_slice(&reply.bytes), &ret->answer), OK);
    ret->has_event = reply.has_event;
    ret->event = reply.event;
    signer_reply_done(&reply);
    return ret->answer.err;
}

static enum err ask(struct desk *d, enum signer_channel from, struct signer_request *q,
                    struct asked *ret)
{
    return ask_at(d, from, q, case_now, ret);
}

static void a_device(void **state)
{
    struct desk *d = *state;
    AUTO(asked_done) struct asked a = {.has_event = false};
    struct signer_request enrol = {.type = SIGNER_ENROL, .order = {.name = TEXT("meter-1")}};
    struct signer_request issue = {.type = SIGNER_ISSUE, .order = {.name = TEXT("meter-1")}};
    struct signer_request allow = {.type = SIGNER_ALLOW, .order = {.name = TEXT("meter-1")}};
    assert_int_equal(ask(d, SIGNER_BROKER, &issue, &a), ERR_NOT_FOUND);
    assert_true(a.has_event && a.event.category == EVENT_enrolment);
    assert_string_equal(a.event.name, "meter-1");
    assert_non_null(strstr(a.answer.why.text, "device add"));
    assert_int_equal(ask(d, SIGNER_OPERATOR, &allow, &a), ERR_NOT_FOUND);
    assert_int_equal(ask(d, SIGNER_OPERATOR, &enrol, &a), OK);
    assert_false(a.has_event);
    assert_int_equal(ask(d, SIGNER_BROKER, &issue, &a), OK);
    assert_true(a.has_event && a.event.category == EVENT_credential_issued);
    assert_true(a.answer.certificate.key_pem.n > 0 && a.answer.certificate.leaf_der.n > 0);
    assert_int_equal(ask(d, SIGNER_BROKER, &issue, &a), ERR_AUTH);
    assert_int_equal(ask(d, SIGNER_OPERATOR, &allow, &a), OK);
    assert_int_equal(ask(d, SIGNER_BROKER, &issue, &a), OK);
    struct signer_request revoke = {.type = SIGNER_REVOKE,
                                    .order = {.name = TEXT("meter-1")},
                                    .reason = AUTHORITY_KEY_COMPROMISE};
    assert_int_equal(ask(d, SIGNER_BROKER, &revoke, &a), OK);
    assert_int_equal(ask(d, SIGNER_BROKER, &issue, &a), ERR_DENIED);
    struct signer_request forget = {.type = SIGNER_FORGET, .order = {.name = TEXT("meter-1")}};
    assert_int_equal(ask(d, SIGNER_OPERATOR, &forget, &a), OK);
}

static void tokens(void **state)
{
    struct desk *d = *state;
    AUTO(asked_done) struct asked a = {.has_event = false};
    struct signer_request make = {.type = SIGNER_TOKEN_MAKE,
                                  .claim = {.name = TEXT("meter-1"),
                                            .role = TEXT("sensor"),
                                            .expires_wall_ms = case_now + CASE_DAY_MS,
                                            .uses = 1}};
    assert_int_equal(ask(d, SIGNER_OPERATOR, &make, &a), OK);
    char token[AUTHORITY_TOKEN_BYTES];
    memcpy(token, a.answer.token, sizeof token);
    struct signer_request what = {.type = SIGNER_TOKEN_ASK, .order = {.token = TEXT(token)}};
    assert_int_equal(ask(d, SIGNER_BROKER, &what, &a), OK);
    assert_non_null(memmem(a.answer.bytes.p, a.answer.bytes.n, "\"meter-1\"", 9));
    struct signer_request issue = {
        .type = SIGNER_ISSUE,
        .order = {.name = TEXT("meter-1"), .proof = AUTHORITY_BY_TOKEN, .token = TEXT(token)}};
    assert_int_equal(ask(d, SIGNER_BROKER, &issue, &a), OK);
    assert_int_equal(ask(d, SIGNER_BROKER, &issue, &a), ERR_AUTH);
    /* another one, taken back: what is said of it has its id, and nothing of the token */
    assert_int_equal(ask(d, SIGNER_OPERATOR, &make, &a), OK);
    memcpy(token, a.answer.token, sizeof token);
    struct signer_request list = {.type = SIGNER_TOKENS};
    assert_int_equal(ask(d, SIGNER_OPERATOR, &list, &a), OK);
    assert_non_null(memmem(a.answer.bytes.p, a.answer.bytes.n, "\"meter-1\"", 9));
    struct signer_request cancel = {.type = SIGNER_TOKEN_CANCEL, .order = {.token = TEXT(token)}};
    assert_int_equal(ask(d, SIGNER_OPERATOR, &cancel, &a), OK);
    assert_true(a.has_event && a.event.category == EVENT_enrolment);
    assert_non_null(strstr(a.event.reason, a.answer.token));
    assert_null(strstr(a.event.reason, token));
    assert_int_equal(ask(d, SIGNER_BROKER, &what, &a), ERR_AUTH);
}

/* What a broker that was broken into may try. */
static void broken_broker(void **state)
{
    struct desk *d = *state;
    AUTO(asked_done) struct asked a = {.has_event = false};
    struct digest key = {{1}};
    struct signer_request trespasses[] = {
        {.type = SIGNER_ENROL, .order = {.name = TEXT("mine")}},
        {.type = SIGNER_ENROL, .order = {.name = TEXT("mine")}, .has_spki = true, .spki = key},
        {.type = SIGNER_ALLOW, .order = {.name = TEXT("old-1")}},
        {.type = SIGNER_FORGET, .order = {.name = TEXT("old-1")}},
        {.type = SIGNER_ROLL, .step = AUTHORITY_ROLL_SWITCH},
        {.type = SIGNER_HOST, .host = TEXT("bank.example")},
        {.type = SIGNER_TOKENS},
        {.type = SIGNER_TOKEN_CANCEL, .order = {.token = TEXT("0123456789abcdef")}},
        {.type = SIGNER_TOKEN_MAKE,
         .claim = {.name = TEXT("mine"), .expires_wall_ms = case_now + 1, .uses = 1}}};
    for (size_t i = 0; i < COUNT_OF(trespasses); i++) {
        assert_int_equal(ask(d, SIGNER_BROKER, &trespasses[i], &a), ERR_DENIED);
        assert_true(a.has_event && a.event.severity == SEVERITY_ALERT);
    }
    /* nobody who is enrolled, nor who is not, by any proof without one */
    AUTO(key_autofree) struct key *mine = case_key();
    for (unsigned proof = 0; proof <= AUTHORITY_BY_APPROVAL; proof++) {
        static const char *const names[] = {"old-1", "mine"};
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            AUTO(buf_done) struct buf csr = case_csr(mine, names[i], NULL, 0);
            struct signer_request q = {.type = SIGNER_ISSUE,
                                       .order = {.name = TEXT(names[i]),
                                                 .csr_der = buf_slice(&csr),
                                                 .proof = (enum authority_proof)proof,
                                                 .token = TEXT("00000-00000-00000-00000")}};
            assert_int_not_equal(ask(d, SIGNER_BROKER, &q, &a), OK);
            assert_true(a.has_event && a.answer.why.text[0] != '\0');
        }
    }
    /* no name of another, no server of another, no server by a device's template */
    const struct x509_san bank = {X509_SAN_DNS, TEXT("bank.example")};
    const struct x509_san own = {X509_SAN_DNS, TEXT("broker.example")};
    AUTO(buf_done) struct buf other = case_csr(mine, "bank.example", &bank, 1);
    AUTO(buf_done) struct buf host = case_csr(mine, "meter-1", &own, 1);
    struct signer_request server = {.type = SIGNER_ISSUE_SERVER,
                                    .order = {.csr_der = buf_slice(&other)}};
    assert_int_equal(ask(d, SIGNER_BROKER, &server, &a), ERR_DENIED);
    struct signer_request enrol = {.type = SIGNER_ENROL, .order = {.name = TEXT("meter-1")}};
    assert_int_equal(ask(d, SIGNER_OPERATOR, &enrol, &a), OK);
    struct signer_request device = {
        .type = SIGNER_ISSUE, .order = {.name = TEXT("meter-1"), .csr_der = buf_slice(&host)}};
    assert_int_equal(ask(d, SIGNER_BROKER, &device, &a), ERR_DENIED);
    /* no longer than policy, and no authority */
    device.order.csr_der = (struct slice){0};
    device.order.lifetime_ms = INT64_MAX;
    assert_int_equal(ask(d, SIGNER_BROKER, &device, &a), OK);
    assert_int_equal(a.answer.certificate.not_after_wall_ms, case_now + 90 * CASE_DAY_MS);
    AUTO(x509_autofree) struct x509 *leaf = NULL;
    assert_int_equal(x509_from_der(buf_slice(&a.answer.certificate.leaf_der), &leaf), OK);
    assert_false(x509_info(leaf)->is_ca || x509_info(leaf)->is_server);
    /* a name that would write a line into the trail is none */
    struct signer_request lines = {.type = SIGNER_ISSUE, .order = {.name = TEXT("a\nb")}};
    assert_int_equal(ask(d, SIGNER_BROKER, &lines, &a), ERR_MALFORMED);
    assert_string_equal(a.event.name, "");
}

/* A name of the server and a step of the roll-over: an operator's, and in force at once. */
static void the_operators_words(void **state)
{
    struct desk *d = *state;
    AUTO(asked_done) struct asked a = {.has_event = false};
    AUTO(key_autofree) struct key *key = case_key();
    const struct x509_san san = {X509_SAN_DNS, TEXT("gate.example")};
    AUTO(buf_done) struct buf csr = case_csr(key, "gate.example", &san, 1);
    struct signer_request server = {.type = SIGNER_ISSUE_SERVER,
                                    .order = {.csr_der = buf_slice(&csr)}};
    struct signer_request host = {.type = SIGNER_HOST, .host = TEXT("gate.example")};
    struct signer_request no_host = {.type = SIGNER_HOST, .host = TEXT("gate example")};
    assert_int_equal(ask(d, SIGNER_BROKER, &server, &a), ERR_DENIED);
    assert_int_equal(ask(d, SIGNER_OPERATOR, &no_host, &a), ERR_MALFORMED);
    assert_int_equal(ask(d, SIGNER_OPERATOR, &host, &a), OK);
    assert_int_equal(ask(d, SIGNER_OPERATOR, &host, &a), OK); /* again is fine */
    assert_int_equal(ask(d, SIGNER_BROKER, &server, &a), OK);
    size_t trusted = a.answer.certificate.trusted_pem.n;
    struct signer_request roll = {.type = SIGNER_ROLL, .step = AUTHORITY_ROLL_FINISH};
    assert_int_equal(ask(d, SIGNER_OPERATOR, &roll, &a), ERR_NOT_FOUND);
    assert_non_null(strstr(a.answer.why.text, "certs roll switch"));
    roll.step = AUTHORITY_ROLL_PREPARE;
    assert_int_equal(ask(d, SIGNER_OPERATOR, &roll, &a), OK);
    assert_int_equal(ask(d, SIGNER_BROKER, &server, &a), OK);
    assert_true(a.answer.certificate.trusted_pem.n > trusted); /* both roots from now on */
}

static void floods_and_rubbish(void **state)
{
    struct desk *d = *state;
    uint8_t rubbish[64];
    size_t n_events = 0, n_limited = 0;
    for (unsigned i = 0; i < SIGNER_ASKS_BURST + 100; i++) {
        AUTO(signer_answer_done) struct signer_answer answer = {.err = OK};
        struct signer_reply reply;
        d->c.random.fill(d->c.random.ctx, rubbish, sizeof rubbish);
        rubbish[0] = (uint8_t)(i % 16);
        assert_int_equal(signer_ask(d->signer, SIGNER_BROKER, slice_of(rubbish, i % sizeof rubbish),
                                    1, case_now, &reply),
                         OK);
        assert_int_equal(signer_answer_decode(SIGNER_CRL, buf_slice(&reply.bytes), &answer), OK);
        assert_int_not_equal(answer.err, OK);
        n_events += reply.has_event ? 1 : 0;
        n_limited += answer.err == ERR_LIMIT && strstr(answer.why.text, "times a second") != NULL;
        signer_reply_done(&reply);
    }
    assert_int_equal(n_events, SIGNER_EVENTS_BURST);
    assert_true(n_limited >= 99);
    /* an operator is still heard */
    AUTO(asked_done) struct asked a = {.has_event = false};
    struct signer_request enrol = {.type = SIGNER_ENROL, .order = {.name = TEXT("meter-1")}};
    assert_int_equal(ask(d, SIGNER_OPERATOR, &enrol, &a), OK);
}

/* Each kind: every truncation, a byte behind, each part at its limit and over it. */
static void codec(void **state)
{
    static uint8_t large[SIGNER_REQUEST_MAX];
    (void)state;
    memset(large, 'x', sizeof large);
    const struct signer_request all[] = {
        {.type = SIGNER_ISSUE,
         .id = 1,
         .order = {.name = TEXT("m"), .csr_der = TEXT("csr"), .token = TEXT("t")}},
        {.type = SIGNER_ISSUE_SERVER, .id = 2, .order = {.csr_der = TEXT("csr")}},
        {.type = SIGNER_REVOKE, .id = 3, .serial = {.n = 2, .bytes = {1, 2}}},
        {.type = SIGNER_CRL, .id = 4},
        {.type = SIGNER_OCSP, .id = 5, .ocsp = TEXT("question")},
        {.type = SIGNER_TOKEN_ASK, .id = 6, .order = {.token = TEXT("t")}},
        {.type = SIGNER_ENROL, .id = 7, .order = {.name = TEXT("m")}, .has_spki = true},
        {.type = SIGNER_ALLOW, .id = 8, .order = {.name = TEXT("m")}},
        {.type = SIGNER_FORGET, .id = 9, .order = {.name = TEXT("m")}},
        {.type = SIGNER_TOKEN_MAKE, .id = 10, .claim = {.pattern = TEXT("*"), .uses = 3}},
        {.type = SIGNER_RELOAD, .id = 11},
        {.type = SIGNER_ROLL, .id = 12, .step = AUTHORITY_ROLL_FINISH},
        {.type = SIGNER_HOST, .id = 13, .host = TEXT("h")},
        {.type = SIGNER_TOKENS, .id = 14},
        {.type = SIGNER_TOKEN_CANCEL, .id = 15, .order = {.token = TEXT("t")}}};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        AUTO(buf_done) struct buf bytes = {0};
        AUTO(buf_done) struct buf again = {0};
        struct signer_request q;
        assert_int_equal(signer_request_encode(&all[i], &bytes), OK);
        for (size_t n = 0; n < bytes.n; n++) {
            assert_int_equal(signer_request_decode(slice_of(bytes.p, n), &q), ERR_TRUNCATED);
        }
        assert_int_equal(signer_request_decode(buf_slice(&bytes), &q), OK);
        assert_int_equal(q.id, i + 1);
        assert_int_equal(signer_request_encode(&q, &again), OK);
        assert_true(slice_equal(buf_slice(&bytes), buf_slice(&again)));
        assert_int_equal(buf_append(&bytes, TEXT("x"), SIZE_MAX), OK);
        assert_int_equal(signer_request_decode(buf_slice(&bytes), &q), ERR_TRAILING);
    }
    static const struct {
        size_t offset, max;
    } parts[] = {{offsetof(struct signer_request, order.name), 64},
                 {offsetof(struct signer_request, order.csr_der), AUTHORITY_CSR_MAX},
                 {offsetof(struct signer_request, order.token), SIGNER_TEXT_MAX},
                 {offsetof(struct signer_request, order.current_der), SIGNER_CERTIFICATE_MAX},
                 {offsetof(struct signer_request, order.chain_pem), SIGNER_CHAIN_MAX}};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        for (size_t over = 0; over < 2; over++) {
            AUTO(buf_done) struct buf bytes = {0};
            struct signer_request q = {.type = SIGNER_ISSUE};
            *(struct slice *)(void *)((uint8_t *)&q + parts[i].offset) =
                slice_of(large, parts[i].max + over);
            assert_int_equal(signer_request_encode(&q, &bytes), over == 0 ? OK : ERR_TOO_LARGE);
            assert_true(over == 1 || signer_request_decode(buf_slice(&bytes), &q) == OK);
        }
    }
    for (size_t over = 0; over < 2; over++) {
        AUTO(buf_done) struct buf bytes = {0};
        const struct signer_request host = {.type = SIGNER_HOST,
                                            .host = slice_of(large, SIGNER_HOST_MAX + over)};
        assert_int_equal(signer_request_encode(&host, &bytes), over == 0 ? OK : ERR_TOO_LARGE);
    }
    const uint8_t unknown[] = {99, 0, 0, 0, 1};
    const uint8_t no_step[] = {SIGNER_ROLL, 0, 0, 0, 1, AUTHORITY_ROLL_STEPS};
    struct signer_request q;
    assert_int_equal(signer_request_decode(slice_of(unknown, sizeof unknown), &q), ERR_MALFORMED);
    assert_int_equal(signer_request_decode(slice_of(no_step, sizeof no_step), &q), ERR_MALFORMED);
    /* pieces */
    struct signer_piece p;
    static uint8_t piece[SIGNER_PIECE_HEAD_BYTES + SIGNER_PIECE_MAX + 1] = {0, 0, 0, 1, 1};
    assert_int_equal(signer_piece_decode(slice_of(piece, sizeof piece - 1), &p), OK);
    assert_int_equal(p.bytes.n, SIGNER_PIECE_MAX);
    assert_int_equal(signer_piece_decode(slice_of(piece, sizeof piece), &p), ERR_TOO_LARGE);
    assert_int_equal(signer_piece_decode(slice_of(piece, 4), &p), ERR_TRUNCATED);
    piece[4] = 2;
    assert_int_equal(signer_piece_decode(slice_of(piece, 5), &p), ERR_MALFORMED);
}

/* The client's side over a real pair: an answer in pieces, one that is too late, nobody there. */
static void remote(void **state)
{
    static const char rest[] = "the rest";
    int pair[2];
    (void)state;
    const struct random_source random = random_system();
    AUTO(authority_autofree) struct authority *a = NULL;
    AUTO(buf_done) struct buf got = {0};
    AUTO(buf_done) struct buf json = {0};
    AUTO(buf_done) struct buf bytes = {0};
    struct signer_answer answer = {.err = OK};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(authority_remote_new(pair[0], false, &random, &a), OK);
    assert_false(authority_is_operators(a));
    /* nobody answers: time is over, and the question is still there to be read */
    assert_int_equal(authority_token_ask(a, TEXT("t"), 0, &got), ERR_TIMEOUT);
    uint8_t request[256];
    ssize_t n = recv(pair[1], request, sizeof request, MSG_DONTWAIT);
    assert_true(n > 5);
    struct signer_request q;
    assert_int_equal(signer_request_decode(slice_of(request, (size_t)n), &q), OK);
    /* the answer to it comes late, then the one to the next, whose id is known, in two pieces */
    assert_int_equal(buf_append(&json, TEXT(rest), SIZE_MAX), OK);
    answer.bytes = json;
    assert_int_equal(signer_answer_encode(SIGNER_TOKEN_ASK, &answer, &bytes), OK);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t out[256];
        size_t half = bytes.n / 2;
        struct slice part = i == 1   ? slice_head(buf_slice(&bytes), half)
                            : i == 2 ? slice_from(buf_slice(&bytes), half)
                                     : TEXT("too late");
        const struct signer_piece piece = {.id = q.id + (i > 0 ? 1 : 0), .is_last = i != 1};
        signer_piece_head(&piece, out);
        slice_copy(out + SIGNER_PIECE_HEAD_BYTES, part);
        assert_true(send(pair[1], out, SIGNER_PIECE_HEAD_BYTES + part.n, MSG_NOSIGNAL) > 0);
    }
    assert_int_equal(authority_token_ask(a, TEXT("t"), 0, &got), OK);
    assert_true(slice_is(buf_slice(&got), rest));
    struct why why = {""};
    close(pair[1]);
    assert_int_equal(authority_enrol(a, TEXT("m"), NULL, 0, &why), ERR_CLOSED);
    assert_non_null(strstr(why.text, "starts it again"));
}

static void no_memory(void **state)
{
    struct desk *d = *state;
    AUTO(buf_done) struct buf bytes = {0};
    struct signer_request q = {.type = SIGNER_ISSUE, .id = 5, .order = {.name = TEXT("old-1")}};
    assert_int_equal(case_enrol(&d->c, "old-1"), OK);
    assert_int_equal(signer_request_encode(&q, &bytes), OK);
    for (long n = 0; n < 200; n++) {
        struct signer_reply reply;
        AUTO(signer_answer_done) struct signer_answer a = {.err = OK};
        (void)mem_fail_after(n);
        enum err err = signer_ask(d->signer, SIGNER_BROKER, buf_slice(&bytes), 1,
                                  case_now + n * 60000, &reply);
        (void)mem_fail_after(-1);
        if (err != OK) {
            assert_int_equal(err, ERR_NOMEM);
            continue;
        }
        assert_int_equal(signer_answer_decode(q.type, buf_slice(&reply.bytes), &a), OK);
        signer_reply_done(&reply);
        if (a.err == OK || a.err == ERR_AUTH) { /* signed now, or in a try whose answer failed */
            return;
        }
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_device, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_broker, setup, teardown),
        cmocka_unit_test_setup_teardown(the_operators_words, setup, teardown),
        cmocka_unit_test_setup_teardown(floods_and_rubbish, setup, teardown),
        cmocka_unit_test(codec),
        cmocka_unit_test(remote),
        cmocka_unit_test_setup_teardown(no_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
