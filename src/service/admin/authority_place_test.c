#include "service/admin/admin_test_private.h"

static void open_again(struct home *p)
{
    authority_files_close(&p->signing);
    open_signing(p);
}

static void add_device(struct home *p, const char *name, bool has_certificate)
{
    struct directory_secret secret = {.kind = CREDENTIAL_X509,
                                      .expires_wall_ms = test_wall_ms(NULL) + 86400000};
    struct directory_order order = {.name = slice_text(name),
                                    .role = slice_text("sensor"),
                                    .secrets = &secret,
                                    .n_secrets = has_certificate ? 1 : 0};
    uint64_t id = 0;
    assert_int_equal(digest_sha256(slice_text(name), &secret.spki), OK);
    assert_int_equal(directory_add(p->directory, &order, test_wall_ms(NULL), &id, NULL), OK);
}

/* A data directory of a former version: who has a certificate is enrolled, once. */
static void enrols_once(void **state)
{
    struct home *p = *state;
    struct why why = {{0}};
    add_device(p, "with", true);
    add_device(p, "without", false);
    add_device(p, "gone", true);
    assert_int_equal(directory_revoke(p->directory, slice_text("gone"), slice_text("lost")), OK);
    assert_int_equal(p->disk->ops->remove(p->disk, REGISTER_FILE), OK);
    open_again(p);
    add_device(p, "later", true);
    for (int round = 0; round < 2; round++) {
        const struct register_name *n = register_name_find(p->signing.reg, slice_text("with"));
        assert_true(n != NULL && n->state == REGISTER_ENROLLED && n->is_migrated && !n->is_open);
        n = register_name_find(p->signing.reg, slice_text("gone"));
        assert_true(n != NULL && n->state == REGISTER_REVOKED);
        assert_null(register_name_find(p->signing.reg, slice_text("without")));
        assert_null(register_name_find(p->signing.reg, slice_text("later")));
        const struct x509_san own = {X509_SAN_DNS, slice_text("localhost")};
        assert_true(register_has_host(p->signing.reg, &own));
        open_again(p);
    }
    /* and damage is no reason to begin anew */
    const struct authority_place place = {.disk = p->disk, .pki = p->pki};
    assert_int_equal(disk_save(p->disk, REGISTER_FILE, slice_text("rubbish")), OK);
    assert_int_equal(authority_place_prepare(&place, &why), OK);
    struct buf file = {0};
    assert_int_equal(disk_load(p->disk, REGISTER_FILE, 100, &file), OK);
    buf_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(enrols_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
