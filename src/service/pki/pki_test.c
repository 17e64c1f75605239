#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/tree_test.h"
#include "security/crypto/sealed.h"
#include "security/identity/identity.h"
#include "service/pki/authority_own.h"
#include "service/pki/pki_private.h"

#define DAY_MS INT64_C(86400000)
static const int64_t now = INT64_C(1795000000000);
static const uint8_t master_bytes[32] = "the master key of this test, 32";

struct place {
    char dir[40];
    int fd;
    struct disk *disk;
    struct random_source random;
    struct slice master;
    struct pki_hosts hosts;
};

static int setup(void **state)
{
    struct place *p = test_calloc(1, sizeof *p);
    memcpy(p->dir, "/tmp/sallyport-pki-XXXXXX", sizeof "/tmp/sallyport-pki-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->fd >= 0);
    assert_int_equal(disk_system(dup(p->fd), &p->disk), OK);
    p->random = random_system();
    p->master = slice_of(master_bytes, sizeof master_bytes);
    assert_int_equal(pki_hosts_add(&p->hosts, slice_text("broker.example")), OK);
    assert_int_equal(pki_hosts_add(&p->hosts, slice_text("192.0.2.7")), OK);
    assert_int_equal(pki_hosts_add(&p->hosts, slice_text("2001:db8::7")), OK);
    assert_int_equal(pki_init(p->fd, p->master, &p->hosts, &p->random, now), OK);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    p->disk = p->disk->ops->free(p->disk);
    close(p->fd);
    (void)tree_remove(p->dir);
    test_free(p);
    return 0;
}

static struct x509 *leaf_of(struct slice chain)
{
    struct x509 *x = NULL;
    assert_int_equal(x509_next_pem(&chain, &x), OK);
    return x;
}

static void verifies(const struct pki *pki, struct slice chain, enum x509_kind kind, int64_t at,
                     enum err want)
{
    /* as a client would: only the root is trusted, the intermediate comes with the chain */
    struct slice ca = pki_ca_pem(pki);
    AUTO(x509_autofree) struct x509 *leaf = leaf_of(chain);
    AUTO(x509_autofree) struct x509 *root = leaf_of(ca);
    AUTO(buf_done) struct buf root_pem = {0};
    struct why why;
    assert_int_equal(x509_to_pem(root, &root_pem), OK);
    assert_int_equal(x509_verify(leaf, chain, buf_slice(&root_pem), kind, at, &why), want);
}

static void files(void **state)
{
    const struct place *p = *state;
    static const char *const names[] = {"pki/ca.pem", "pki/server.pem", "pki/root.sealed",
                                        "pki/intermediate.sealed", "pki/server.sealed"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct stat st;
        AUTO(buf_done) struct buf text = {0};
        assert_int_equal(fstatat(p->fd, names[i], &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(disk_load(p->disk, names[i], PKI_FILE_MAX * 2, &text), OK);
        assert_null(memmem(text.p, text.n, "PRIVATE", 7));
    }
    struct stat st;
    assert_int_equal(fstatat(p->fd, "pki", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(pki_init(p->fd, p->master, &p->hosts, &p->random, now), ERR_EXISTS);
}

static void open_signing(const struct place *p, const struct pki *pki, struct authority_files *ret)
{
    struct why why = {""};
    uint8_t key[PKI_SIGNING_KEY_BYTES];
    const struct x509_info *i = x509_info(pki_server(pki));
    const struct register_founding f = {.hosts = i->sans, .n_hosts = i->n_sans};
    AUTO(pki_register_autofree) struct pki_register *r = NULL;
    assert_int_equal(pki_signing_key(p->master, key), OK);
    const struct register_setup reg = {.disk = p->disk,
                                       .seal = slice_of(key, sizeof key),
                                       .random = p->random,
                                       .now_wall_ms = now};
    assert_int_equal(register_create(&reg, &f, &r), OK);
    const struct authority_files_setup files = {.disk = p->disk,
                                                .signing_key = slice_of(key, sizeof key),
                                                .random = p->random,
                                                .now_wall_ms = now};
    assert_int_equal(authority_files_open(&files, ret, &why), OK);
}

static void server(void **state)
{
    struct place *p = *state;
    struct why why = {""};
    AUTO(pki_autofree) struct pki *pki = NULL;
    assert_int_equal(pki_open(p->disk, p->master, &pki, &why), OK);
    verifies(pki, pki_server_chain_pem(pki), X509_KIND_SERVER, now, OK);
    verifies(pki, pki_server_chain_pem(pki), X509_KIND_CLIENT, now, ERR_AUTH);
    verifies(pki, pki_server_chain_pem(pki), X509_KIND_SERVER, now + 91 * DAY_MS, ERR_AUTH);
    assert_int_equal(pki_server_not_after(pki), now + 90 * DAY_MS);

    AUTO(x509_autofree) struct x509 *leaf = leaf_of(pki_server_chain_pem(pki));
    const struct x509_info *i = x509_info(leaf);
    assert_int_equal(i->n_sans, 3);
    assert_true(slice_is(i->sans[0].value, "broker.example"));
    assert_int_equal(i->sans[1].value.n, 4);
    assert_int_equal(i->sans[2].value.n, 16);
    char name[IDENTITY_NAME_BYTES];
    assert_int_equal(identity_from_x509(leaf, IDENTITY_ANY, name), ERR_DENIED);

    /* renewed: same names, new key, survives a restart */
    const int64_t later = now + 60 * DAY_MS;
    AUTO(authority_files_close) struct authority_files signing = {.pki = NULL};
    open_signing(p, pki, &signing);
    assert_int_equal(
        pki_renew_server(pki, signing.authority, p->disk, p->master, NULL, &p->random, later, &why),
        OK);
    verifies(pki, pki_server_chain_pem(pki), X509_KIND_SERVER, now + 91 * DAY_MS, OK);
    assert_in_range(pki_server_renew_at(pki) - later, 59 * DAY_MS, 60 * DAY_MS);
    assert_true(pki_issuer_not_after(pki) > now + 1825 * DAY_MS);
    AUTO(x509_autofree) struct x509 *renewed = leaf_of(pki_server_chain_pem(pki));
    assert_int_equal(x509_info(renewed)->n_sans, 3);
    assert_memory_not_equal(&x509_info(renewed)->spki, &i->spki, sizeof i->spki);
    AUTO(key_autofree) struct key *key = NULL;
    struct digest spki;
    assert_int_equal(key_from_pem(pki_server_key_pem(pki), &key), OK);
    assert_int_equal(key_spki_sha256(key, &spki), OK);
    assert_memory_equal(&spki, &x509_info(renewed)->spki, sizeof spki);
    AUTO(pki_autofree) struct pki *again = NULL;
    assert_int_equal(pki_open(p->disk, p->master, &again, &why), OK);
    assert_true(slice_equal(pki_server_chain_pem(pki), pki_server_chain_pem(again)));
    assert_true(slice_equal(pki_server_key_pem(pki), pki_server_key_pem(again)));
    assert_true(slice_equal(pki_ca_pem(pki), pki_ca_pem(again)));
}

/* Who serves opens no key that signs, and who signs none that serves; the root's is nobody's. */
static void each_its_own(void **state)
{
    struct place *p = *state;
    struct why why = {""};
    uint8_t key[PKI_SIGNING_KEY_BYTES];
    AUTO(pki_autofree) struct pki *serving = NULL;
    AUTO(pki_autofree) struct pki *signing = NULL;
    struct pki *none = NULL;
    assert_int_equal(pki_signing_key(p->master, key), OK);
    struct slice signing_key = slice_of(key, sizeof key);
    assert_int_equal(pki_open(p->disk, signing_key, &none, &why), ERR_CRYPTO);
    assert_int_equal(pki_open_signing(p->disk, p->master, &none, &why), ERR_CRYPTO);
    assert_int_equal(p->disk->ops->remove(p->disk, "pki/root.sealed"), OK);
    assert_int_equal(pki_upgrade(p->disk, p->master, &p->random, &why), OK);
    assert_int_equal(pki_open(p->disk, p->master, &serving, &why), OK);
    assert_int_equal(pki_open_signing(p->disk, signing_key, &signing, &why), OK);
    assert_null(serving->intermediate_key);
    assert_true(slice_equal(pki_ca_pem(serving), pki_ca_pem(signing)));
}

static enum err renewed(struct place *p, struct pki *pki, struct authority *by,
                        const struct pki_hosts *more)
{
    struct why why = {""};
    return pki_renew_server(pki, by, p->disk, p->master, more, &p->random, now, &why);
}

/* Names are the operator's to give: the authority refuses what the register does not have. */
static void more_names(void **state)
{
    struct place *p = *state;
    struct why why = {""};
    struct pki_hosts more = {.n = 0};
    AUTO(pki_autofree) struct pki *pki = NULL;
    AUTO(authority_files_close) struct authority_files signing = {.pki = NULL};
    assert_int_equal(pki_open(p->disk, p->master, &pki, &why), OK);
    open_signing(p, pki, &signing);
    assert_int_equal(pki_hosts_add(&more, slice_text("192.0.2.7")), OK); /* it has it */
    assert_int_equal(pki_hosts_add(&more, slice_text("192.0.2.8")), OK);
    assert_int_equal(pki_hosts_add(&more, slice_text("gate.example")), OK);
    assert_int_equal(renewed(p, pki, signing.authority, &more), ERR_DENIED);
    for (size_t i = 0; i < more.n; i++) {
        assert_int_equal(authority_host(signing.authority, slice_text(more.host[i]), &why), OK);
    }
    assert_int_equal(renewed(p, pki, signing.authority, &more), OK);
    AUTO(x509_autofree) struct x509 *five = leaf_of(pki_server_chain_pem(pki));
    const struct x509_info *i = x509_info(five);
    assert_int_equal(i->n_sans, 5);
    assert_true(slice_equal(i->sans[3].value, slice_of("\xc0\x00\x02\x08", 4)));
    assert_true(slice_is(i->sans[4].value, "gate.example"));
    for (more.n = 0; more.n < PKI_HOSTS_MAX - 5; more.n++) {
        (void)snprintf(more.host[more.n], PKI_HOST_BYTES, "h%zu.example", more.n);
        assert_int_equal(authority_host(signing.authority, slice_text(more.host[more.n]), &why),
                         OK);
    }
    assert_int_equal(renewed(p, pki, signing.authority, &more), OK);
    AUTO(x509_autofree) struct x509 *full = leaf_of(pki_server_chain_pem(pki));
    assert_int_equal(x509_info(full)->n_sans, PKI_HOSTS_MAX);
    more.n = 1;
    (void)snprintf(more.host[0], PKI_HOST_BYTES, "one.too.many");
    assert_int_equal(renewed(p, pki, signing.authority, &more), ERR_LIMIT);
    AUTO(x509_autofree) struct x509 *same = leaf_of(pki_server_chain_pem(pki));
    assert_memory_equal(&x509_info(same)->spki, &x509_info(full)->spki, sizeof(struct digest));
}

static void tampered(void **state)
{
    struct place *p = *state;
    const char *const path = "pki/server.sealed";
    const uint8_t other[32] = "another master key";
    struct why why = {""};
    struct pki *pki = NULL;
    assert_int_equal(pki_open(p->disk, slice_of(other, sizeof other), &pki, &why), ERR_CRYPTO);
    AUTO(buf_done) struct buf file = {0};
    assert_int_equal(disk_load(p->disk, path, PKI_FILE_MAX * 2, &file), OK);
    file.p[file.n / 2] ^= 1;
    assert_int_equal(disk_save(p->disk, path, buf_slice(&file)), OK);
    assert_int_equal(pki_open(p->disk, p->master, &pki, &why), ERR_CRYPTO);
    assert_non_null(strstr(why.text, path));
    file.p[file.n / 2] ^= 1;
    assert_int_equal(disk_save(p->disk, path, buf_slice(&file)), OK);
    /* one sealed file in the place of another */
    AUTO(buf_done) struct buf server = {0};
    AUTO(buf_done) struct buf root = {0};
    assert_int_equal(disk_load(p->disk, "pki/server.sealed", PKI_FILE_MAX * 2, &server), OK);
    assert_int_equal(disk_load(p->disk, "pki/root.sealed", PKI_FILE_MAX * 2, &root), OK);
    assert_int_equal(disk_save(p->disk, "pki/server.sealed", buf_slice(&root)), OK);
    assert_int_equal(pki_open(p->disk, p->master, &pki, &why), ERR_CRYPTO);
    assert_int_equal(disk_save(p->disk, "pki/server.sealed", buf_slice(&server)), OK);
    /* the copies for people are not trusted */
    assert_int_equal(disk_save(p->disk, "pki/ca.pem", slice_text("nonsense")), OK);
    assert_int_equal(pki_open(p->disk, p->master, &pki, &why), OK);
    assert_false(slice_is(pki_ca_pem(pki), "nonsense"));
    pki = pki_free(pki);
    /* every allocation may fail */
    for (long n = 0; n < 200; n++) {
        (void)mem_fail_after(n);
        enum err err = pki_open(p->disk, p->master, &pki, NULL);
        bool failed = mem_fail_after(-1) != 0;
        assert_int_equal(err == OK, !failed);
        pki = pki_free(pki);
        if (!failed) {
            return;
        }
    }
    fail();
}

static void hosts(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        enum err err;
    } cases[] = {
        {"localhost", OK},        {"a.b-c.example", OK},    {"*.example.org", OK},
        {"10.0.0.1", OK},         {"fe80::1", OK},          {"", ERR_MALFORMED},
        {"a..b", ERR_MALFORMED},  {"-a", ERR_MALFORMED},    {"a_b", ERR_MALFORMED},
        {"a b", ERR_MALFORMED},   {"1.2.3", ERR_MALFORMED}, {"a/b", ERR_MALFORMED},
        {"[::1]", ERR_MALFORMED}, {"a.", ERR_MALFORMED},    {"ex\xc3\xa4mple", ERR_MALFORMED},
    };
    struct pki_hosts h = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum err err = pki_hosts_add(&h, slice_text(cases[i].host));
        if (err != cases[i].err) {
            fail_msg("%s: %s", cases[i].host, err_name(err));
        }
    }
    assert_int_equal(h.n, 5);
    assert_int_equal(pki_hosts_add(&h, slice_text("localhost")), OK);
    assert_int_equal(h.n, 5);
    pki_hosts_local(&h);
    bool has_loopback = false;
    for (size_t i = 0; i < h.n; i++) {
        has_loopback = has_loopback || strcmp(h.host[i], "127.0.0.1") == 0;
    }
    assert_true(has_loopback);
    for (unsigned i = 0; h.n < PKI_HOSTS_MAX; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "h%u.example", i);
        assert_int_equal(pki_hosts_add(&h, slice_text(text)), OK);
    }
    assert_int_equal(pki_hosts_add(&h, slice_text("one.more")), ERR_LIMIT);
}

/* Opens a file under one key and seals its first n certificates under another. */
static void seal_again(const struct place *p, const char *path, const char *purpose,
                       struct slice from, struct slice to, size_t n)
{
    static const char end[] = "-----END CERTIFICATE-----\n";
    AUTO(buf_done) struct buf file = {0};
    AUTO(buf_done) struct buf sealed = {0};
    AUTO(buf_wipe) struct buf plain = {0};
    assert_int_equal(disk_load(p->disk, path, PKI_FILE_MAX * 2, &file), OK);
    assert_int_equal(sealed_open(from, purpose, buf_slice(&file), &plain), OK);
    struct slice rest = buf_slice(&plain);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *at = memmem(rest.p, rest.n, end, sizeof end - 1);
        assert_non_null(at);
        rest = slice_from(rest, (size_t)(at - rest.p) + sizeof end - 1);
    }
    assert_int_equal(sealed_make(to, purpose, &p->random,
                                 slice_head(buf_slice(&plain), plain.n - rest.n), PKI_FILE_MAX * 2,
                                 &sealed),
                     OK);
    assert_int_equal(disk_save(p->disk, path, buf_slice(&sealed)), OK);
}

/* As a former version left it: all under one key, the server's file without the root. */
static void make_former(const struct place *p, struct slice under)
{
    uint8_t key[PKI_SIGNING_KEY_BYTES];
    assert_int_equal(pki_signing_key(p->master, key), OK);
    struct slice signing = slice_of(key, sizeof key);
    seal_again(p, "pki/root.sealed", "pki root", signing, under, 1);
    seal_again(p, "pki/intermediate.sealed", "pki intermediate", signing, under, 2);
    seal_again(p, "pki/server.sealed", "pki server", p->master, under, 2);
}

/* The two former versions, each cut short behind any of its files. */
static void former_versions(void **state)
{
    const struct place *p = *state;
    static const char *const files[] = {"pki/root.sealed", "pki/intermediate.sealed",
                                        "pki/server.sealed"};
    static const uint8_t root_bytes[32] = "the root key of this keyring, 32";
    struct slice root = slice_of(root_bytes, sizeof root_bytes);
    struct why why = {{0}};
    uint8_t key[PKI_SIGNING_KEY_BYTES];
    struct buf old[COUNT_OF(files)] = {{0}};
    assert_int_equal(pki_signing_key(root, key), OK);
    make_former(p, p->master);
    AUTO(buf_done) struct buf server = {0};
    assert_int_equal(disk_load(p->disk, "pki/server.sealed", PKI_FILE_MAX, &server), OK);
    assert_int_equal(pki_reseal(p->disk, p->master, root, &p->random, &why), OK);
    assert_int_equal(disk_save(p->disk, "pki/server.sealed", buf_slice(&server)), OK);
    assert_int_equal(pki_reseal(p->disk, p->master, root, &p->random, &why), OK);
    assert_int_equal(pki_reseal(p->disk, p->master, root, &p->random, &why), OK);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        assert_int_equal(disk_load(p->disk, files[i], PKI_FILE_MAX, &old[i]), OK);
    }
    struct pki *none = NULL;
    assert_int_equal(pki_open(p->disk, root, &none, &why), ERR_MALFORMED);
    for (size_t cut = 0; cut <= COUNT_OF(files); cut++) {
        assert_int_equal(pki_upgrade(p->disk, root, &p->random, &why), OK);
        AUTO(pki_autofree) struct pki *serving = NULL;
        AUTO(pki_autofree) struct pki *signing = NULL;
        assert_int_equal(pki_open(p->disk, root, &serving, &why), OK);
        assert_int_equal(pki_open_signing(p->disk, slice_of(key, sizeof key), &signing, &why), OK);
        verifies(serving, pki_server_chain_pem(serving), X509_KIND_SERVER, now, OK);
        for (size_t i = cut; i < COUNT_OF(files); i++) { /* as if it had not come so far */
            assert_int_equal(disk_save(p->disk, files[i], buf_slice(&old[i])), OK);
        }
    }
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        buf_done(&old[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files, setup, teardown),
        cmocka_unit_test_setup_teardown(server, setup, teardown),
        cmocka_unit_test_setup_teardown(each_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(more_names, setup, teardown),
        cmocka_unit_test_setup_teardown(tampered, setup, teardown),
        cmocka_unit_test(hosts),
        cmocka_unit_test_setup_teardown(former_versions, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
