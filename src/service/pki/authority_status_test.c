/* What the authority says of the certificates that it has signed. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/tree_test.h"
#include "security/crypto/crl_make.h"
#include "security/crypto/ocsp.h"
#include "service/pki/authority_own_private.h"
#include "service/pki/revocation.h"
#include "service/pki/status_door.h"

#define DAY_MS INT64_C(86400000)
static const int64_t now = INT64_C(1795000000000);
static const uint8_t seal[32] = "the seal of this test, 32 bytes";

struct place {
    char dir[40];
    struct disk *disk;
    struct random_source random;
    struct pki *pki, *server;
    struct pki_register *reg;
    struct authority *a;
    struct x509 *issuer;
};

static void start(struct place *p, bool is_new)
{
    struct why why = {{0}};
    uint8_t bytes[PKI_SIGNING_KEY_BYTES];
    assert_int_equal(pki_signing_key(slice_of(seal, sizeof seal), bytes), OK);
    const struct slice key = slice_of(bytes, sizeof bytes);
    const struct register_setup reg = {
        .disk = p->disk, .seal = key, .random = p->random, .now_wall_ms = now};
    const struct register_founding none = {.n_enrolled = 0};
    assert_int_equal(pki_open(p->disk, slice_of(seal, sizeof seal), &p->server, &why), OK);
    assert_int_equal(pki_open_signing(p->disk, key, &p->pki, &why), OK);
    assert_int_equal(
        is_new ? register_create(&reg, &none, &p->reg) : register_open(&reg, &p->reg, &why), OK);
    const struct authority_own_setup own = {.pki = p->pki, .reg = p->reg, .random = p->random};
    assert_int_equal(authority_own_new(&own, &p->a), OK);
}

static void stop(struct place *p)
{
    p->a = authority_free(p->a);
    p->reg = register_free(p->reg);
    p->pki = pki_free(p->pki);
    p->server = pki_free(p->server);
}

static int setup(void **state)
{
    struct place *p = test_calloc(1, sizeof *p);
    struct pki_hosts hosts = {.n = 0};
    memcpy(p->dir, "/tmp/sallyport-word-XXXXXX", sizeof "/tmp/sallyport-word-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    int fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->random = random_system();
    assert_int_equal(pki_hosts_add(&hosts, slice_text("broker.example")), OK);
    assert_int_equal(pki_init(fd, slice_of(seal, sizeof seal), &hosts, &p->random, now), OK);
    assert_int_equal(disk_system(fd, &p->disk), OK);
    start(p, true);
    struct slice trusted = pki_trusted_pem(p->pki);
    AUTO(x509_autofree) struct x509 *root = NULL;
    assert_int_equal(x509_next_pem(&trusted, &root), OK);
    assert_int_equal(x509_next_pem(&trusted, &p->issuer), OK);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    p->issuer = x509_free(p->issuer);
    stop(p);
    p->disk = p->disk->ops->free(p->disk);
    (void)tree_remove(p->dir);
    test_free(p);
    return 0;
}

static struct x509 *certificate(struct place *p, const char *name)
{
    const struct authority_order o = {.name = slice_text(name), .proof = AUTHORITY_BY_OPERATOR};
    struct authority_certificate c = {.serial = {0}};
    struct x509 *x = NULL;
    struct why why = {{0}};
    assert_int_equal(authority_enrol(p->a, slice_text(name), NULL, now, &why), OK);
    assert_int_equal(authority_issue(p->a, &o, now, &c, &why), OK);
    assert_int_equal(x509_from_der(buf_slice(&c.leaf_der), &x), OK);
    authority_certificate_done(&c);
    return x;
}

static void take_back(struct place *p, const struct x509 *x, enum authority_reason reason)
{
    struct authority_serial serial;
    assert_int_equal(authority_serial_of(x509_info(x)->serial, &serial), OK);
    assert_int_equal(authority_revoke(p->a, (struct slice){0}, &serial, reason, now), OK);
}

static enum ocsp_standing ask(struct place *p, const struct x509 *x, int64_t at)
{
    AUTO(buf_done) struct buf q = {0};
    AUTO(buf_done) struct buf answer = {0};
    struct ocsp_status s = {.standing = OCSP_UNKNOWN};
    int64_t next = 0;
    assert_int_equal(ocsp_request(x, p->issuer, &q), OK);
    assert_int_equal(authority_ocsp(p->a, buf_slice(&q), at, &answer), OK);
    assert_int_equal(ocsp_read(buf_slice(&answer), x, p->issuer, at, &s, &next), OK);
    assert_true(next > at && next <= at + AUTHORITY_OCSP_LIFE_MS);
    return s.standing;
}

static const struct crl_set *list(struct place *p, int64_t at)
{
    AUTO(buf_done) struct buf der = {0};
    AUTO(buf_done) struct buf pem = {0};
    const struct crl_set *s = NULL;
    struct why why = {{0}};
    int64_t next = 0;
    assert_int_equal(authority_crl(p->a, at, &der, &next), OK);
    assert_int_equal(crl_to_pem(buf_slice(&der), &pem), OK);
    assert_int_equal(crl_set_new(buf_slice(&pem), pki_ca_pem(p->pki), at, &s, &why), OK);
    assert_int_equal(crl_set_next_update(s), next / 1000 * 1000);
    return s;
}

static void a_life(void **state)
{
    struct place *p = *state;
    AUTO(x509_autofree) struct x509 *one = certificate(p, "meter-1");
    AUTO(x509_autofree) struct x509 *other = certificate(p, "meter-2");
    const struct crl_set *s = list(p, now);
    assert_int_equal(crl_set_count(s), 0);
    crl_set_unref(s);
    assert_int_equal(ask(p, one, now), OCSP_GOOD);
    assert_int_equal(ask(p, pki_server(p->server), now), OCSP_UNKNOWN); /* not on the register */
    take_back(p, one, AUTHORITY_KEY_COMPROMISE);
    for (int opened = 0; opened < 2; opened++) {
        /* what was answered before is not answered again */
        assert_int_equal(ask(p, one, now), OCSP_REVOKED);
        assert_int_equal(ask(p, other, now), OCSP_GOOD);
        s = list(p, now);
        assert_true(crl_set_lists(s, &x509_info(one)->id));
        assert_false(crl_set_lists(s, &x509_info(other)->id));
        crl_set_unref(s);
        stop(p);
        start(p, false);
    }
    /* a name takes all its certificates along */
    assert_int_equal(
        authority_revoke(p->a, slice_text("meter-2"), NULL, AUTHORITY_UNSPECIFIED, now), OK);
    assert_int_equal(ask(p, other, now), OCSP_REVOKED);
    s = list(p, now);
    assert_int_equal(crl_set_count(s), 2);
    crl_set_unref(s);
}

/* Signed anew when half its time is over, with a higher number; not before. */
static void freshness(void **state)
{
    struct place *p = *state;
    AUTO(buf_done) struct buf first = {0};
    AUTO(buf_done) struct buf again = {0};
    AUTO(buf_done) struct buf later = {0};
    int64_t next = 0;
    uint64_t number = register_crl_number(p->reg);
    assert_int_equal(authority_crl(p->a, now, &first, &next), OK);
    assert_int_equal(next, now + AUTHORITY_CRL_LIFE_MS);
    assert_int_equal(register_crl_number(p->reg), number + 1);
    assert_int_equal(authority_crl(p->a, now + AUTHORITY_CRL_LIFE_MS / 2 - 1, &again, &next), OK);
    assert_true(slice_equal(buf_slice(&first), buf_slice(&again)));
    assert_int_equal(next, now + AUTHORITY_CRL_LIFE_MS);
    assert_int_equal(authority_crl(p->a, now + AUTHORITY_CRL_LIFE_MS / 2, &later, &next), OK);
    assert_false(slice_equal(buf_slice(&first), buf_slice(&later)));
    assert_int_equal(register_crl_number(p->reg), number + 2);
    /* a clock that went back does not make old lists of new ones */
    buf_clear(&later);
    assert_int_equal(authority_crl(p->a, now - DAY_MS, &later, &next), OK);
    assert_int_equal(next, now - DAY_MS + AUTHORITY_CRL_LIFE_MS);
}

/* Who asks without end makes us sign so often a second, and is told to come again. */
static void bounded(void **state)
{
    struct place *p = *state;
    AUTO(x509_autofree) struct x509 *x = certificate(p, "meter-1");
    AUTO(buf_done) struct buf q = {0};
    AUTO(buf_done) struct buf answer = {0};
    const uint8_t later[] = {0x30, 0x03, 0x0a, 0x01, 0x03}, bad[] = {0x30, 0x03, 0x0a, 0x01, 0x01};
    static const uint8_t large[OCSP_REQUEST_MAX + 1];
    assert_int_equal(ocsp_request(x, p->issuer, &q), OK);
    assert_int_equal(authority_ocsp(p->a, buf_slice(&q), now, &answer), OK);
    for (unsigned i = 0; i <= 2 * AUTHORITY_OCSP_RATE; i++) {
        buf_clear(&answer);
        assert_int_equal(authority_ocsp(p->a, slice_of(&i, sizeof i), now, &answer), OK);
    }
    assert_true(slice_equal(buf_slice(&answer), slice_of(later, sizeof later)));
    /* what was signed before costs nothing and goes on */
    assert_int_equal(ask(p, x, now), OCSP_GOOD);
    buf_clear(&answer);
    assert_int_equal(authority_ocsp(p->a, slice_of(large, sizeof large), now, &answer), OK);
    assert_true(slice_equal(buf_slice(&answer), slice_of(bad, sizeof bad)));
    assert_int_equal(ask(p, p->issuer, now + 1000), OCSP_UNKNOWN); /* the root's, not ours */
}

static void as_resources(void **state)
{
    struct place *p = *state;
    struct status_question q = {.kind = STATUS_LIST_DER};
    struct status_answer der = {.max_age_s = 0}, pem = {.max_age_s = 0}, ocsp = {.max_age_s = 1};
    AUTO(buf_done) struct buf question = {0};
    assert_int_equal(status_door_answer(p->a, &q, now, &der), OK);
    assert_string_equal(der.type, "application/pkix-crl");
    q.kind = STATUS_LIST_PEM;
    assert_int_equal(status_door_answer(p->a, &q, now, &pem), OK);
    AUTO(buf_done) struct buf again = {0};
    assert_int_equal(crl_to_pem(buf_slice(&der.body), &again), OK);
    assert_true(slice_equal(buf_slice(&again), buf_slice(&pem.body)));
    assert_int_equal(ocsp_request(pki_server(p->server), p->issuer, &question), OK);
    q.kind = STATUS_OCSP;
    q.n = question.n;
    slice_copy(q.ocsp_der, buf_slice(&question));
    assert_int_equal(status_door_answer(p->a, &q, now, &ocsp), OK);
    assert_string_equal(ocsp.type, "application/ocsp-response");
    assert_true(ocsp.body.n > 100 && ocsp.max_age_s == 0);
    buf_done(&der.body);
    buf_done(&pem.body);
    buf_done(&ocsp.body);
}

/* The files of DIR/pki: what is not there is none, what is bad is named. */
static void files(void **state)
{
    struct place *p = *state;
    const struct crl_set *s = (const struct crl_set *)&now;
    struct why why = {{0}};
    struct slice ca = pki_ca_pem(p->pki);
    assert_int_equal(revocation_load(p->disk, REVOCATION_EXTRA_FILE, ca, now, &s, &why), OK);
    assert_null(s);
    assert_int_equal(revocation_load(p->disk, REVOCATION_ROOT_FILE, ca, now, &s, &why), OK);
    assert_int_equal(crl_set_count(s), 0);
    assert_true(crl_set_next_update(s) > now + 4 * 365 * DAY_MS);
    crl_set_unref(s);
    assert_int_equal(disk_save(p->disk, REVOCATION_EXTRA_FILE, slice_text("nobody")), OK);
    assert_int_equal(revocation_load(p->disk, REVOCATION_EXTRA_FILE, ca, now, &s, &why),
                     ERR_MALFORMED);
    assert_non_null(strstr(why.text, "DIR/pki/crl-extra.pem: it holds no revocation list"));
    assert_non_null(strstr(why.text, "take it away"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(a_life), CASE(freshness), CASE(bounded),
                                       CASE(as_resources), CASE(files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
