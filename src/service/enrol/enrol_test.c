/* Who gets a certificate: every proof against a real authority and directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/tree_test.h"
#include "security/crypto/x509_request.h"
#include "service/admin/authority_place.h"
#include "service/directory/directory.h"
#include "service/enrol/enrol.h"
#include "service/pki/pki.h"

static const uint8_t seal[32] = "the seal of this test, 32 bytes";

struct home {
    char dir[40];
    struct disk *disk;
    struct random_source random;
    struct directory *directory;
    struct pki *pki;
    struct authority_files signing;
    struct authority *authority; /* of it */
    struct enrol *enrol;
    unsigned n_events[EVENT_COUNT];
    uint64_t now_ms;
    int64_t wall_ms;
};

static void on_event(void *ctx, const struct event *e)
{
    struct home *h = ctx;
    h->n_events[e->category]++;
}

static bool has_role(void *ctx, struct slice role)
{
    (void)ctx;
    return slice_is(role, "sensor");
}

enum { GRACE_S = 30 * 86400 };

static uint32_t grace_s(void *ctx)
{
    (void)ctx;
    return GRACE_S;
}

static int open_home(void **state)
{
    static struct home h;
    struct pki_hosts hosts = {0};
    struct why why = {{0}};
    struct clock c = clock_system();
    h = (struct home){.random = random_system(), .now_ms = 1000, .wall_ms = c.wall_ms(c.ctx)};
    (void)snprintf(h.dir, sizeof h.dir, "/tmp/sallyport-enrol-XXXXXX");
    assert_non_null(mkdtemp(h.dir));
    int fd = open(h.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(disk_system(fd, &h.disk), OK);
    assert_int_equal(pki_hosts_add(&hosts, slice_text("localhost")), OK);
    assert_int_equal(pki_init(fd, slice_of(seal, 32), &hosts, &h.random, h.wall_ms), OK);
    assert_int_equal(pki_open(h.disk, slice_of(seal, 32), &h.pki, &why), OK);
    struct directory_setup directory = {.random = h.random};
    assert_int_equal(directory_create(&directory, &h.directory), OK);
    uint8_t key[PKI_SIGNING_KEY_BYTES];
    const struct authority_place place = {.disk = h.disk,
                                          .root = slice_of(seal, 32),
                                          .random = h.random,
                                          .now_wall_ms = h.wall_ms,
                                          .pki = h.pki,
                                          .directory = h.directory};
    assert_int_equal(authority_place_prepare(&place, &why), OK);
    assert_int_equal(pki_signing_key(slice_of(seal, 32), key), OK);
    const struct authority_files_setup files = {.disk = h.disk,
                                                .signing_key = slice_of(key, sizeof key),
                                                .random = h.random,
                                                .now_wall_ms = h.wall_ms};
    assert_int_equal(authority_files_open(&files, &h.signing, &why), OK);
    h.authority = h.signing.authority;
    struct enrol_setup setup = {.authority = h.authority,
                                .directory = h.directory,
                                .ca_pem = pki_ca_pem(h.pki),
                                .ctx = &h,
                                .event = on_event,
                                .has_role = has_role,
                                .grace_s = grace_s};
    assert_int_equal(enrol_new(&setup, &h.enrol), OK);
    *state = &h;
    return 0;
}

static int close_home(void **state)
{
    struct home *h = *state;
    enrol_free(h->enrol);
    authority_files_close(&h->signing);
    directory_free(h->directory);
    pki_free(h->pki);
    h->disk->ops->free(h->disk);
    (void)tree_remove(h->dir);
    return 0;
}

/* ---- a client ---- */

struct client {
    struct key *key;
    const char *name, *token, *peer;
    struct buf leaf_der; /* of the connection */
    enum enrolment_want want;
};

static struct client a_client(const char *name)
{
    struct client c = {.name = name, .peer = "192.0.2.7:1000"};
    assert_int_equal(key_generate(&c.key), OK);
    return c;
}

static void client_done(struct client *c)
{
    c->key = key_free(c->key);
    buf_done(&c->leaf_der);
}

/* Takes what was given as the certificate of the next connection. */
static enum enrolment_result ask(struct home *h, struct client *c)
{
    AUTO(enrolment_autofree) struct enrolment *e = NULL;
    assert_int_equal(enrolment_new(&e), OK);
    e->want = c->want;
    assert_int_equal(net_peer_parse(slice_text(c->peer), &e->peer), OK);
    (void)slice_to_text(slice_text(c->token), e->secret, sizeof e->secret);
    assert_int_equal(x509_request_make(c->key, slice_text(c->name), NULL, 0, &e->csr_der), OK);
    assert_int_equal(buf_append(&e->current_der, buf_slice(&c->leaf_der), ENROLMENT_CERT_MAX), OK);
    bool has_changed = enrol_decide(h->enrol, e, h->now_ms, h->wall_ms);
    assert_true((e->result == ENROLMENT_ISSUED) == (e->certs_der.n > 0));
    assert_true((e->result == ENROLMENT_ISSUED) == (e->why.text[0] == '\0'));
    assert_true(!has_changed || e->result == ENROLMENT_ISSUED);
    assert_true((e->key_der.n > 0) == (e->result == ENROLMENT_ISSUED && c->want == ENROLMENT_PAIR));
    if (e->result == ENROLMENT_ISSUED) {
        buf_done(&c->leaf_der);
        c->leaf_der = e->leaf_der;
        e->leaf_der = (struct buf){0};
    }
    return e->result;
}

static void make_token(struct home *h, const char *name, const char *pattern,
                       char ret[AUTHORITY_TOKEN_BYTES])
{
    struct why why = {{0}};
    struct authority_claim c = {.name = slice_text(name),
                                .pattern = slice_text(pattern),
                                .role = slice_text("sensor"),
                                .attrs_json = slice_text("{\"site\":\"lab\"}"),
                                .expires_wall_ms = h->wall_ms + 3600000,
                                .uses = 1};
    assert_int_equal(authority_token_make(h->authority, &c, h->wall_ms, ret, &why), OK);
}

static const char *attr_of(const struct home *h, const char *name, const char *key, char dst[64])
{
    const struct directory_version *v = directory_current(h->directory);
    const struct directory_entry *e = directory_find(v, slice_text(name));
    const char *value = e != NULL ? principal_attr(e->principal, slice_text(key)) : NULL;
    (void)snprintf(dst, 64, "%s", value != NULL ? value : "-");
    directory_version_unref(v);
    return dst;
}

static size_t n_credentials(const struct home *h, const char *name)
{
    const struct directory_version *v = directory_current(h->directory);
    size_t n = directory_find(v, slice_text(name))->n_credentials;
    directory_version_unref(v);
    return n;
}

/* ---- tests ---- */

static void by_token(void **state)
{
    struct home *h = *state;
    char token[AUTHORITY_TOKEN_BYTES], text[64];
    AUTO(client_done) struct client c = a_client("m-1");
    make_token(h, "m-1", NULL, token);
    c.token = token;
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED);
    assert_string_equal(attr_of(h, "m-1", "site", text), "lab");
    assert_string_equal(attr_of(h, "m-1", "role", text), "sensor");
    AUTO(client_done) struct client again = a_client("m-1");
    again.token = token;
    assert_int_equal(ask(h, &again), ENROLMENT_UNPROVEN); /* it works once */
    make_token(h, NULL, "v-*", token);
    again.name = "w-1";
    assert_int_equal(ask(h, &again), ENROLMENT_REFUSED); /* and is not used up by another name */
    again.name = "v-1";
    assert_int_equal(ask(h, &again), ENROLMENT_ISSUED);
}

static void a_key_is_one_device_s(void **state)
{
    struct home *h = *state;
    char token[AUTHORITY_TOKEN_BYTES], text[64];
    AUTO(client_done) struct client c = a_client("k-1");
    make_token(h, "k-1", NULL, token);
    c.token = token;
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED);
    make_token(h, "k-2", NULL, token);
    c.name = "k-2";
    assert_int_equal(ask(h, &c), ENROLMENT_REFUSED);
    assert_string_equal(attr_of(h, "k-2", "role", text), "-");
}

static void a_pair_is_made_here(void **state)
{
    struct home *h = *state;
    char token[AUTHORITY_TOKEN_BYTES];
    AUTO(client_done) struct client c = a_client("p-1");
    c.want = ENROLMENT_PAIR;
    assert_int_equal(ask(h, &c), ENROLMENT_UNPROVEN); /* for nobody who proves nothing */
    make_token(h, "p-1", NULL, token);
    c.token = token;
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED);
}

static void by_renewal(void **state)
{
    struct home *h = *state;
    char token[AUTHORITY_TOKEN_BYTES];
    AUTO(client_done) struct client c = a_client("r-1");
    make_token(h, "r-1", NULL, token);
    c.token = token;
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED);
    c.token = NULL;
    c.want = ENROLMENT_AGAIN;
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED); /* with the key it had */
    assert_int_equal(n_credentials(h, "r-1"), 1);
    key_free(c.key);
    assert_int_equal(key_generate(&c.key), OK);
    c.name = "r-2";
    assert_int_equal(ask(h, &c), ENROLMENT_REFUSED);
    c.name = "r-1";
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED);
    assert_int_equal(n_credentials(h, "r-1"), 2); /* the old one stays */
    assert_int_equal(directory_revoke(h->directory, slice_text("r-1"), slice_text("lost")), OK);
    key_free(c.key);
    assert_int_equal(key_generate(&c.key), OK);
    assert_int_equal(ask(h, &c), ENROLMENT_REFUSED);
}

static int64_t end_of(const struct client *c)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    assert_int_equal(x509_from_der(buf_slice(&c->leaf_der), &x), OK);
    return x509_info(x)->not_after_wall_ms;
}

/* Enrolled by a token, and about to renew with a new key. */
static struct client to_renew(struct home *h, const char *name)
{
    char token[AUTHORITY_TOKEN_BYTES];
    struct client c = a_client(name);
    make_token(h, name, NULL, token);
    c.token = token;
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED);
    c.token = NULL;
    c.want = ENROLMENT_AGAIN;
    key_free(c.key);
    assert_int_equal(key_generate(&c.key), OK);
    return c;
}

/* Asks by this certificate again, whatever came of it before. */
static enum enrolment_result ask_by(struct home *h, struct client *c, const struct buf *leaf_der)
{
    buf_done(&c->leaf_der);
    assert_int_equal(buf_append(&c->leaf_der, buf_slice(leaf_der), ENROLMENT_CERT_MAX), OK);
    return ask(h, c);
}

static void use_newest(const struct home *h, const char *name)
{
    const struct directory_version *v = directory_current(h->directory);
    const struct directory_entry *e = directory_find(v, slice_text(name));
    credential_used(e->credentials[e->n_credentials - 1], h->wall_ms);
    directory_version_unref(v);
}

static void ended_within_grace(void **state)
{
    struct home *h = *state;
    AUTO(client_done) struct client c = to_renew(h, "e-1");
    AUTO(buf_done) struct buf old = {0};
    assert_int_equal(buf_append(&old, buf_slice(&c.leaf_der), ENROLMENT_CERT_MAX), OK);
    h->wall_ms = end_of(&c);
    c.name = "e-2";
    assert_int_equal(ask(h, &c), ENROLMENT_REFUSED);
    c.name = "e-1";
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED);
    assert_true(end_of(&c) > h->wall_ms);
    assert_int_equal(n_credentials(h, "e-1"), 2);
    /* the answer was lost, and what it brought goes */
    key_free(c.key);
    assert_int_equal(key_generate(&c.key), OK);
    assert_int_equal(ask_by(h, &c, &old), ENROLMENT_ISSUED);
    assert_int_equal(n_credentials(h, "e-1"), 2);
    /* the new one came: the old one is no way back */
    use_newest(h, "e-1");
    key_free(c.key);
    assert_int_equal(key_generate(&c.key), OK);
    assert_int_equal(ask_by(h, &c, &old), ENROLMENT_REFUSED);
}

static void ended_at_the_grace(void **state)
{
    struct home *h = *state;
    AUTO(client_done) struct client c = to_renew(h, "e-3");
    int64_t last = end_of(&c) + (int64_t)GRACE_S * 1000;
    h->wall_ms = last + 1;
    assert_int_equal(ask(h, &c), ENROLMENT_REFUSED);
    h->wall_ms = last;
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED);
}

static void ended_and_replaced(void **state)
{
    struct home *h = *state;
    AUTO(client_done) struct client c = to_renew(h, "e-4");
    struct directory_secret secret = {
        .kind = CREDENTIAL_X509, .expires_wall_ms = end_of(&c) * 2, .spki = {{7}}};
    assert_int_equal(
        directory_rotate(h->directory, slice_text("e-4"), &secret, 1000, h->wall_ms, NULL), OK);
    h->wall_ms = end_of(&c);
    assert_int_equal(ask(h, &c), ENROLMENT_REFUSED);
}

static void ended_and_revoked(void **state)
{
    struct home *h = *state;
    AUTO(client_done) struct client c = to_renew(h, "e-5");
    AUTO(client_done) struct client off = to_renew(h, "e-6");
    assert_int_equal(directory_revoke(h->directory, slice_text("e-5"), slice_text("lost")), OK);
    assert_int_equal(directory_disable(h->directory, slice_text("e-6"), slice_text("")), OK);
    h->wall_ms = end_of(&off);
    assert_int_equal(ask(h, &c), ENROLMENT_REFUSED);
    assert_int_equal(ask(h, &off), ENROLMENT_REFUSED);
}

static void guesses(void **state)
{
    struct home *h = *state;
    char good[AUTHORITY_TOKEN_BYTES];
    AUTO(client_done) struct client c = a_client("g-1");
    make_token(h, "g-1", NULL, good);
    c.peer = "198.51.100.1:5";
    c.token = "00000-00000-00000-00000";
    for (unsigned i = 0; i < ENROL_WRONG_MAX; i++) {
        assert_int_equal(ask(h, &c), ENROLMENT_UNPROVEN);
    }
    assert_int_equal(h->n_events[EVENT_auth_bruteforce], 1);
    c.token = good;
    c.peer = "198.51.100.200:6"; /* the same network */
    assert_int_equal(ask(h, &c), ENROLMENT_TOO_MANY);
    assert_int_equal(h->n_events[EVENT_auth_bruteforce], 1);
    c.peer = "198.51.101.1:6"; /* another one */
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED);
    c.token = "00000-00000-00000-00000";
    c.peer = "198.51.100.1:5";
    h->now_ms += ENROL_WRONG_MS - 1;
    assert_int_equal(ask(h, &c), ENROLMENT_TOO_MANY);
    h->now_ms++;
    assert_int_equal(ask(h, &c), ENROLMENT_UNPROVEN);
}

static uint64_t id_of(const struct home *h, const char *name)
{
    size_t at = 0;
    const struct enrol_waiting *w;
    while ((w = enrol_next(h->enrol, &at)) != NULL) {
        if (strcmp(w->name, name) == 0 && w->state == ENROL_PENDING) {
            return w->id;
        }
    }
    return 0;
}

static enum err approve(struct home *h, uint64_t id, const char *role)
{
    struct why why = {{0}};
    enum err err = enrol_approve(h->enrol, id, slice_text(role), NULL, 0, true, h->wall_ms, &why);
    size_t at = 0;
    const struct enrol_waiting *w;
    while (err == OK && (w = enrol_next(h->enrol, &at)) != NULL) {
        if (w->id == id) { /* what the operator's channel does */
            err = authority_enrol(h->authority, slice_text(w->name), &w->spki, h->wall_ms, &why);
        }
    }
    return err != OK
               ? err
               : enrol_approve(h->enrol, id, slice_text(role), NULL, 0, false, h->wall_ms, &why);
}

static void by_a_person(void **state)
{
    struct home *h = *state;
    AUTO(client_done) struct client c = a_client("q-1");
    AUTO(client_done) struct client thief = a_client("q-1");
    assert_int_equal(ask(h, &c), ENROLMENT_WAITS);
    assert_int_equal(ask(h, &c), ENROLMENT_WAITS);
    uint64_t id = id_of(h, "q-1");
    assert_int_equal(approve(h, id, "nobody"), ERR_MALFORMED);
    assert_int_equal(approve(h, id + 7, "sensor"), ERR_NOT_FOUND);
    assert_int_equal(approve(h, id, "sensor"), OK);
    assert_int_equal(ask(h, &thief), ENROLMENT_WAITS); /* another key is another request */
    assert_int_equal(ask(h, &c), ENROLMENT_ISSUED);
    assert_int_equal(approve(h, id_of(h, "q-1"), "sensor"), ERR_EXISTS);
    assert_int_equal(enrol_reject(h->enrol, id_of(h, "q-1")), OK);
    assert_int_equal(ask(h, &thief), ENROLMENT_REFUSED);
}

static void the_queue_is_bounded(void **state)
{
    struct home *h = *state;
    char name[16], peer[32];
    size_t n = 0, at = 0;
    for (unsigned i = 0; i <= ENROL_QUEUE_PREFIX_MAX; i++) {
        AUTO(client_done) struct client c = a_client(name);
        (void)snprintf(name, sizeof name, "b-%u", i);
        c.peer = "203.0.113.9:1";
        assert_int_equal(ask(h, &c), i < ENROL_QUEUE_PREFIX_MAX ? ENROLMENT_WAITS : ENROLMENT_BUSY);
    }
    for (unsigned i = ENROL_QUEUE_PREFIX_MAX; i <= ENROL_QUEUE_MAX; i++) {
        AUTO(client_done) struct client c = a_client(name);
        (void)snprintf(name, sizeof name, "c-%u", i);
        (void)snprintf(peer, sizeof peer, "10.1.%u.1:1", i % 256);
        c.peer = peer;
        assert_int_equal(ask(h, &c), i < ENROL_QUEUE_MAX ? ENROLMENT_WAITS : ENROLMENT_BUSY);
    }
    while (enrol_next(h->enrol, &at) != NULL) {
        n++;
    }
    assert_int_equal(n, ENROL_QUEUE_MAX);
    h->now_ms += ENROL_QUEUE_MS; /* nobody asked again */
    AUTO(client_done) struct client c = a_client("late-1");
    assert_int_equal(ask(h, &c), ENROLMENT_WAITS);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_home, close_home)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(by_token),           CASE(a_key_is_one_device_s), CASE(a_pair_is_made_here),
        CASE(by_renewal),         CASE(ended_within_grace),    CASE(ended_at_the_grace),
        CASE(ended_and_replaced), CASE(ended_and_revoked),     CASE(guesses),
        CASE(by_a_person),        CASE(the_queue_is_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
