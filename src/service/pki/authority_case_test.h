/* authority_case_test - an authority in a fresh place, and requests of devices. */
#ifndef SERVICE_PKI_AUTHORITY_CASE_TEST_H
#define SERVICE_PKI_AUTHORITY_CASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/tree_test.h"
#include "security/crypto/x509_request.h"
#include "service/pki/authority_own.h"

#define CASE_DAY_MS INT64_C(86400000)
static const int64_t case_now = INT64_C(1795000000000);
static const uint8_t case_seal[32] = "the seal of this test, 32 bytes";

struct authority_case {
    char dir[40];
    int fd;
    struct disk *disk;
    struct pki *pki, *server;
    struct pki_register *reg;
    struct authority *a;
    struct random_source random;
    struct authority_own_setup setup;
};

static inline void case_open(struct authority_case *c)
{
    struct why why = {""};
    struct slice root = slice_of(case_seal, sizeof case_seal);
    uint8_t key[PKI_SIGNING_KEY_BYTES];
    assert_int_equal(pki_signing_key(root, key), OK);
    struct slice seal = slice_of(key, sizeof key);
    memcpy(c->dir, "/tmp/sallyport-aut-XXXXXX", sizeof "/tmp/sallyport-aut-XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    c->fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(disk_system(dup(c->fd), &c->disk), OK);
    c->random = random_system();
    struct pki_hosts hosts = {0};
    assert_int_equal(pki_hosts_add(&hosts, slice_text("broker.example")), OK);
    assert_int_equal(pki_hosts_add(&hosts, slice_text("192.0.2.7")), OK);
    assert_int_equal(pki_init(c->fd, root, &hosts, &c->random, case_now), OK);
    assert_int_equal(pki_open(c->disk, root, &c->server, &why), OK);
    assert_int_equal(pki_open_signing(c->disk, seal, &c->pki, &why), OK);
    const struct x509_info *server = x509_info(pki_server(c->server));
    const struct slice old[] = {slice_text("old-1")};
    const struct register_setup reg = {
        .disk = c->disk, .seal = seal, .random = c->random, .now_wall_ms = case_now};
    const struct register_founding f = {
        .enrolled = old, .n_enrolled = 1, .hosts = server->sans, .n_hosts = server->n_sans};
    assert_int_equal(register_create(&reg, &f, &c->reg), OK);
    c->setup = (struct authority_own_setup){
        .pki = c->pki, .reg = c->reg, .random = c->random, .disk = c->disk};
    assert_int_equal(authority_own_new(&c->setup, &c->a), OK);
}

static inline void case_close(struct authority_case *c)
{
    c->a = authority_free(c->a);
    c->reg = register_free(c->reg);
    c->pki = pki_free(c->pki);
    c->server = pki_free(c->server);
    c->disk = c->disk->ops->free(c->disk);
    close(c->fd);
    (void)tree_remove(c->dir);
}

static inline int case_setup(void **state)
{
    struct authority_case *c = test_calloc(1, sizeof *c);
    case_open(c);
    *state = c;
    return 0;
}

static inline int case_teardown(void **state)
{
    case_close(*state);
    test_free(*state);
    return 0;
}

/* A request; cn NULL: as a device named so asks. */
static inline struct buf case_csr(const struct key *key, const char *cn,
                                  const struct x509_san *sans, size_t n)
{
    struct buf csr = {0};
    assert_int_equal(x509_request_make(key, slice_text(cn), sans, n, &csr), OK);
    return csr;
}

static inline struct key *case_key(void)
{
    struct key *key = NULL;
    assert_int_equal(key_generate(&key), OK);
    return key;
}

static inline enum err case_enrol(struct authority_case *c, const char *name)
{
    struct why why = {""};
    return authority_enrol(c->a, slice_text(name), NULL, case_now, &why);
}

#endif
