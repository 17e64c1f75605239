/* Revocation lists: published when something changes, and said when they are late. */
#include "service/admin/revoking.h"

#include "base/mem.h"
#include "security/crypto/crl_make.h"
#include "service/admin/admin_test_private.h"
#include "service/pki/revocation.h"

static size_t n_alerts(struct home *p, const char *word)
{
    size_t n = 0;
    struct answer a = ask(p, "alerts", NULL);
    for (size_t i = 0; i < json_array_size(a.lines); i++) {
        n += strstr(text_of(json_array_get(a.lines, i), "reason"), word) != NULL ? 1 : 0;
    }
    answer_done(&a);
    return n;
}

/* A certificate that the authority gave, of somebody whom the directory does not know. */
static struct authority_serial issue(struct home *p, const char *name)
{
    const struct authority_order o = {.name = slice_text(name), .proof = AUTHORITY_BY_OPERATOR};
    struct authority_certificate c = {.serial = {0}};
    struct why why;
    int64_t now = test_wall_ms(NULL);
    assert_int_equal(authority_enrol(p->signing.authority, slice_text(name), NULL, now, &why), OK);
    assert_int_equal(authority_issue(p->signing.authority, &o, now, &c, &why), OK);
    struct authority_serial serial = c.serial;
    authority_certificate_done(&c);
    return serial;
}

/* So much later that it is time to look at lists again. */
static void look(struct home *p, unsigned times)
{
    (void)admin_keep_lists(p->admin, test_mono_ms(NULL) + UINT64_C(600000) * times);
}

static size_t published(struct home *p)
{
    const struct crl_set *s = NULL;
    struct why why = {{0}};
    assert_int_equal(
        revocation_load(p->disk, REVOCATION_FILE, pki_ca_pem(p->pki), test_wall_ms(NULL), &s, &why),
        OK);
    size_t n = s != NULL ? crl_set_count(s) : SIZE_MAX;
    crl_set_unref(s);
    return n;
}

static uint64_t epoch_of(struct home *p)
{
    const struct directory_version *v = directory_current(p->directory);
    uint64_t epoch = directory_version_epoch(v);
    directory_version_unref(v);
    return epoch;
}

static void what_is_revoked_is_published(void **state)
{
    struct home *p = *state;
    uint64_t epoch = epoch_of(p);
    struct authority_serial serial = issue(p, "meter-1");
    assert_int_equal(admin_publish_list(p->admin), OK);
    assert_int_equal(published(p), 0);
    assert_int_equal(epoch_of(p), epoch); /* nobody is named: nobody is looked at again */
    assert_int_equal(authority_revoke(p->signing.authority, (struct slice){0}, &serial,
                                      AUTHORITY_KEY_COMPROMISE, test_wall_ms(NULL)),
                     OK);
    assert_int_equal(admin_publish_list(p->admin), OK);
    assert_int_equal(published(p), 1);
    assert_int_equal(epoch_of(p), epoch + 1); /* every door looks again at who is there */
    assert_int_equal(admin_publish_list(p->admin), OK);
    assert_int_equal(epoch_of(p), epoch + 1);
}

/* The whole fleet is not locked out because a list is late; somebody is told. */
static void a_list_past_its_time_is_told(void **state)
{
    struct home *p = *state;
    const struct crl_set *s = NULL;
    struct why why = {{0}};
    assert_int_equal(revocation_load(p->disk, REVOCATION_ROOT_FILE, pki_ca_pem(p->pki),
                                     test_wall_ms(NULL), &s, &why),
                     OK);
    admin_set_extra(p->admin, s);
    crl_set_unref(s);
    look(p, 1);
    assert_int_equal(n_alerts(p, "past its time"), 0);
    __atomic_store_n(&p->shift_ms, INT64_C(6) * 366 * 86400 * 1000, __ATOMIC_RELAXED);
    look(p, 2);
    look(p, 3);
    assert_int_equal(n_alerts(p, "past its time"), 1);
    assert_int_equal(count_events(p, "revoked", "nobody else. Put a newer one there"), 1);
    admin_set_extra(p->admin, NULL);
    look(p, 4);
    assert_int_equal(n_alerts(p, "past its time"), 0);
}

static struct disk_ops broken_ops;

static enum err no_rename(struct disk *d, const char *from, const char *to)
{
    (void)d, (void)from, (void)to;
    return ERR_IO;
}

/* A list that cannot be saved binds here all the same; the alert lasts until it can. */
static void a_list_that_cannot_be_saved(void **state)
{
    struct home *p = *state;
    struct authority_serial serial = issue(p, "meter-1");
    look(p, 1);
    const struct disk_ops *good = p->disk->ops;
    assert_int_equal(authority_revoke(p->signing.authority, (struct slice){0}, &serial,
                                      AUTHORITY_UNSPECIFIED, test_wall_ms(NULL)),
                     OK);
    broken_ops = *good;
    broken_ops.rename = no_rename;
    p->disk->ops = &broken_ops;
    look(p, 2);
    p->disk->ops = good;
    assert_int_equal(crl_set_count(p->admin->lists.own), 1);
    assert_int_equal(published(p), 0);
    assert_int_equal(n_alerts(p, "could not be signed, put on record or saved"), 1);
    look(p, 3);
    assert_int_equal(published(p), 1);
    assert_int_equal(n_alerts(p, "could not be signed"), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(what_is_revoked_is_published),
                                       CASE(a_list_past_its_time_is_told),
                                       CASE(a_list_that_cannot_be_saved)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
