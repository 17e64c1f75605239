/* The roll-over of the authority: who verifies whom after each step, and steps that were
 * interrupted. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/tree_test.h"
#include "service/pki/authority_own.h"
#include "service/pki/pki_private.h"

#define DAY_MS INT64_C(86400000)
static const int64_t now = INT64_C(1795000000123);
static const uint8_t root_key_bytes[32] = "the keyring's root of this test.";
static const struct slice root_key = {root_key_bytes, sizeof root_key_bytes};

struct place {
    char dir[40];
    int fd;
    struct disk *disk;
    struct random_source random;
    uint8_t seal[PKI_SIGNING_KEY_BYTES];
    struct authority_files signer;
    struct buf root_before, device_before; /* what a client of before trusts; one's chain */
};

static struct slice seal_of(const struct place *p)
{
    return slice_of(p->seal, sizeof p->seal);
}

static struct pki *reopened(const struct place *p)
{
    struct pki *pki = NULL;
    struct why why = {""};
    assert_int_equal(pki_open(p->disk, root_key, &pki, &why), OK);
    return pki;
}

static void issue(const struct place *p, const char *name, struct buf *ret)
{
    AUTO(key_autofree) struct key *key = NULL;
    AUTO(x509_autofree) struct x509 *x = NULL;
    AUTO(pki_autofree) struct pki *pki = NULL;
    struct why why = {""};
    char uri[64];
    (void)snprintf(uri, sizeof uri, "urn:sallyport:device:%s", name);
    struct x509_san san = {X509_SAN_URI, slice_text(uri)};
    assert_int_equal(pki_open_signing(p->disk, seal_of(p), &pki, &why), OK);
    assert_int_equal(key_generate(&key), OK);
    struct pki_template t = {.kind = X509_KIND_CLIENT,
                             .common_name = slice_text(name),
                             .sans = &san,
                             .n_sans = 1,
                             .subject = key};
    assert_int_equal(pki_sign(pki, &t, &p->random, now, &x, ret), OK);
}

/* Who signs reads its files anew, and then who serves asks for a certificate. */
static void follow(struct place *p)
{
    struct why why = {""};
    AUTO(pki_autofree) struct pki *pki = reopened(p);
    assert_int_equal(authority_reload(p->signer.authority, &why), OK);
    assert_int_equal(
        pki_renew_server(pki, p->signer.authority, p->disk, root_key, NULL, &p->random, now, &why),
        OK);
}

static void open_signer(struct place *p)
{
    struct why why = {""};
    AUTO(pki_autofree) struct pki *pki = reopened(p);
    AUTO(pki_register_autofree) struct pki_register *r = NULL;
    const struct x509_info *i = x509_info(pki_server(pki));
    const struct register_founding f = {.hosts = i->sans, .n_hosts = i->n_sans};
    const struct register_setup reg = {
        .disk = p->disk, .seal = seal_of(p), .random = p->random, .now_wall_ms = now};
    const struct authority_files_setup files = {
        .disk = p->disk, .signing_key = seal_of(p), .random = p->random, .now_wall_ms = now};
    assert_int_equal(register_create(&reg, &f, &r), OK);
    assert_int_equal(authority_files_open(&files, &p->signer, &why), OK);
}

static int setup(void **state)
{
    struct place *p = test_calloc(1, sizeof *p);
    struct pki_hosts hosts = {.n = 0};
    memcpy(p->dir, "/tmp/sallyport-roll-XXXXXX", sizeof "/tmp/sallyport-roll-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(disk_system(dup(p->fd), &p->disk), OK);
    p->random = random_system();
    assert_int_equal(pki_hosts_add(&hosts, slice_text("broker.example")), OK);
    assert_int_equal(pki_init(p->fd, root_key, &hosts, &p->random, now - DAY_MS), OK);
    assert_int_equal(pki_signing_key(root_key, p->seal), OK);
    open_signer(p);
    AUTO(pki_autofree) struct pki *pki = reopened(p);
    assert_int_equal(buf_append(&p->root_before, pki_roots_pem(pki), PKI_FILE_MAX), OK);
    issue(p, "of-before", &p->device_before);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    authority_files_close(&p->signer);
    buf_done(&p->root_before);
    buf_done(&p->device_before);
    p->disk = p->disk->ops->free(p->disk);
    close(p->fd);
    (void)tree_remove(p->dir);
    test_free(p);
    return 0;
}

static enum err verify(struct slice chain, struct slice trusted, enum x509_kind kind)
{
    struct x509 *x = NULL;
    struct slice rest = chain;
    struct why why = {""};
    assert_int_equal(x509_next_pem(&rest, &x), OK);
    enum err err = x509_verify(x, rest, trusted, kind, now, &why);
    x509_free(x);
    return err;
}

static size_t n_certificates(struct slice pem)
{
    size_t n = 0;
    struct x509 *x = NULL;
    while (x509_next_pem(&pem, &x) == OK) {
        x = x509_free(x);
        n++;
    }
    return n;
}

static void switch_and_renew(struct place *p)
{
    struct why why = {""};
    assert_int_equal(pki_roll_switch(p->disk, seal_of(p), &p->random, now, &why), OK);
    follow(p);
}

static void everybody_is_let_in_until_the_end(void **state)
{
    struct place *p = *state;
    struct why why = {""};
    AUTO(buf_done) struct buf device = {0};
    AUTO(buf_done) struct buf both_roots = {0};
    AUTO(buf_done) struct buf new_root = {0};

    assert_int_equal(pki_roll_prepare(p->disk, seal_of(p), &p->random, now, &why), OK);
    follow(p);
    AUTO(pki_autofree) struct pki *prepared = reopened(p);
    assert_int_equal(pki_roll_of(prepared).stage, PKI_ROLL_PREPARED);
    assert_true(pki_roll_of(prepared).is_root);
    assert_int_equal(pki_roll_of(prepared).prepared_at_wall_ms, now - now % 1000);
    assert_int_equal(n_certificates(pki_roots_pem(prepared)), 2);
    assert_true(slice_has_prefix(pki_roots_pem(prepared), buf_slice(&p->root_before)));
    assert_int_equal(buf_append(&both_roots, pki_roots_pem(prepared), PKI_FILE_MAX), OK);
    assert_int_equal(
        buf_append(&new_root, slice_from(pki_roots_pem(prepared), p->root_before.n), PKI_FILE_MAX),
        OK);
    assert_int_equal(pki_roll_prepare(p->disk, seal_of(p), &p->random, now, &why), ERR_EXISTS);

    switch_and_renew(p);
    AUTO(pki_autofree) struct pki *switched = reopened(p);
    struct pki_roll roll = pki_roll_of(switched);
    assert_int_equal(roll.stage, PKI_ROLL_SWITCHED);
    assert_true(roll.is_root);
    assert_int_equal(roll.switched_at_wall_ms, now);
    assert_int_equal(roll.prepared_at_wall_ms, now - now % 1000);
    issue(p, "of-now", &device);
    /* clients of before, and with a bundle of meanwhile: both verify the server */
    struct slice server = pki_server_chain_pem(switched);
    assert_int_equal(verify(server, buf_slice(&p->root_before), X509_KIND_SERVER), OK);
    assert_int_equal(verify(server, buf_slice(&both_roots), X509_KIND_SERVER), OK);
    assert_true(slice_has_prefix(pki_roots_pem(switched), buf_slice(&p->root_before)));
    assert_int_equal(n_certificates(pki_roots_pem(switched)), 2);
    /* the server lets in both */
    struct slice trust = pki_ca_pem(switched);
    assert_int_equal(verify(buf_slice(&p->device_before), trust, X509_KIND_CLIENT), OK);
    assert_int_equal(verify(buf_slice(&device), trust, X509_KIND_CLIENT), OK);
    assert_int_equal(pki_roll_switch(p->disk, seal_of(p), &p->random, now, &why), ERR_EXISTS);
    assert_int_equal(pki_roll_prepare(p->disk, seal_of(p), &p->random, now, &why), ERR_EXISTS);

    assert_int_equal(pki_roll_finish(p->disk, seal_of(p), &p->random, &why), OK);
    follow(p);
    AUTO(pki_autofree) struct pki *last = reopened(p);
    assert_int_equal(pki_roll_of(last).stage, PKI_ROLL_NONE);
    assert_true(slice_equal(pki_roots_pem(last), buf_slice(&new_root)));
    server = pki_server_chain_pem(last);
    assert_int_equal(verify(server, buf_slice(&p->root_before), X509_KIND_SERVER), ERR_AUTH);
    assert_int_equal(verify(server, buf_slice(&both_roots), X509_KIND_SERVER), OK);
    assert_int_equal(verify(server, buf_slice(&new_root), X509_KIND_SERVER), OK);
    trust = pki_ca_pem(last);
    assert_int_equal(verify(buf_slice(&p->device_before), trust, X509_KIND_CLIENT), ERR_AUTH);
    assert_int_equal(verify(buf_slice(&device), trust, X509_KIND_CLIENT), OK);
    assert_int_equal(faccessat(p->fd, PKI_FILE_FORMER_ROOT, F_OK, 0), -1);
    assert_int_equal(faccessat(p->fd, PKI_FILE_NEXT_ROOT, F_OK, 0), -1);
    assert_int_equal(pki_roll_finish(p->disk, seal_of(p), &p->random, &why), ERR_NOT_FOUND);
    assert_int_equal(pki_roll_prepare(p->disk, seal_of(p), &p->random, now, &why),
                     OK); /* the next one */
}

static void the_intermediate_alone(void **state)
{
    struct place *p = *state;
    struct why why = {""};
    switch_and_renew(p);
    AUTO(pki_autofree) struct pki *switched = reopened(p);
    assert_int_equal(pki_roll_of(switched).stage, PKI_ROLL_SWITCHED);
    static const char *const damaged[] = {"", "x", "17", "9999999999999999999999999\n"};
    for (size_t i = 0; i < COUNT_OF(damaged); i++) {
        assert_int_equal(disk_save(p->disk, PKI_FILE_SWITCHED, slice_text(damaged[i])), OK);
        AUTO(pki_autofree) struct pki *late = reopened(p);
        assert_int_equal(pki_roll_of(late).switched_at_wall_ms, now - now % 1000 + 1000);
    }
    assert_false(pki_roll_of(switched).is_root);
    assert_true(slice_equal(pki_roots_pem(switched), buf_slice(&p->root_before)));
    assert_int_equal(
        verify(pki_server_chain_pem(switched), buf_slice(&p->root_before), X509_KIND_SERVER), OK);
    assert_int_equal(verify(buf_slice(&p->device_before), pki_ca_pem(switched), X509_KIND_CLIENT),
                     OK);
    assert_int_equal(pki_roll_finish(p->disk, seal_of(p), &p->random, &why), OK);
    follow(p);
    AUTO(pki_autofree) struct pki *last = reopened(p);
    /* its chain shows the former intermediate, whose root is trusted: it is let in by its chain */
    struct slice leaf = buf_slice(&p->device_before);
    struct x509 *x = NULL;
    AUTO(buf_done) struct buf alone = {0};
    assert_int_equal(x509_next_pem(&leaf, &x), OK);
    assert_int_equal(x509_to_pem(x, &alone), OK);
    x = x509_free(x);
    assert_int_equal(verify(buf_slice(&alone), pki_ca_pem(last), X509_KIND_CLIENT), ERR_AUTH);
}

static void copy_file(const struct place *p, const char *path, struct buf *ret)
{
    assert_int_equal(disk_load(p->disk, path, 2 * PKI_FILE_MAX, ret), OK);
}

/* The files as a crash between any two writes of a switch leaves them. */
static void an_interrupted_switch_is_done_again(void **state)
{
    struct place *p = *state;
    struct why why = {""};
    AUTO(buf_done) struct buf intermediate = {0};
    AUTO(buf_done) struct buf root = {0};
    AUTO(buf_done) struct buf next = {0};
    assert_int_equal(pki_roll_prepare(p->disk, seal_of(p), &p->random, now, &why), OK);
    copy_file(p, PKI_FILE_INTERMEDIATE, &intermediate);
    copy_file(p, PKI_FILE_ROOT, &root);
    copy_file(p, PKI_FILE_NEXT_ROOT, &next);
    for (int written = 1; written <= 4; written++) {
        switch_and_renew(p);
        assert_int_equal(disk_save(p->disk, PKI_FILE_NEXT_ROOT, buf_slice(&next)), OK);
        if (written < 3) {
            assert_int_equal(disk_save(p->disk, PKI_FILE_INTERMEDIATE, buf_slice(&intermediate)),
                             OK);
        }
        if (written < 2) {
            assert_int_equal(disk_save(p->disk, PKI_FILE_ROOT, buf_slice(&root)), OK);
        }
        follow(p);
        AUTO(pki_autofree) struct pki *pki = reopened(p);
        assert_int_equal(verify(buf_slice(&p->device_before), pki_ca_pem(pki), X509_KIND_CLIENT),
                         OK);
        assert_int_equal(
            verify(pki_server_chain_pem(pki), buf_slice(&p->root_before), X509_KIND_SERVER), OK);
        assert_int_equal(n_certificates(pki_roots_pem(pki)), 2);
        if (written >= 3) {
            assert_int_equal(pki_roll_of(pki).stage, PKI_ROLL_SWITCHED);
            break;
        }
        assert_int_equal(pki_roll_of(pki).stage, PKI_ROLL_PREPARED);
    }
    assert_int_equal(pki_roll_finish(p->disk, seal_of(p), &p->random, &why), OK);
    follow(p);
    AUTO(pki_autofree) struct pki *last = reopened(p);
    assert_int_equal(pki_roll_of(last).stage, PKI_ROLL_NONE);
    assert_int_equal(n_certificates(pki_roots_pem(last)), 1);
}

static void without_the_roots_file(void **state)
{
    struct place *p = *state;
    struct why why = {""};
    assert_int_equal(p->disk->ops->remove(p->disk, PKI_FILE_ROOT), OK);
    AUTO(buf_done) struct buf device = {0};
    issue(p, "still", &device); /* it signs and serves without */
    follow(p);
    assert_int_equal(pki_roll_prepare(p->disk, seal_of(p), &p->random, now, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "put the root's file back"));
    assert_int_equal(pki_roll_switch(p->disk, seal_of(p), &p->random, now, &why), ERR_NOT_FOUND);
    AUTO(pki_autofree) struct pki *same = reopened(p);
    assert_int_equal(pki_roll_of(same).stage, PKI_ROLL_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everybody_is_let_in_until_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(the_intermediate_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(an_interrupted_switch_is_done_again, setup, teardown),
        cmocka_unit_test_setup_teardown(without_the_roots_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
