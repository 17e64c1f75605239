/* What the directory keeps, what it erases, and what damage cannot do. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/directory/directory_case_test.h"

static struct disk_ops broken_ops; /* the disk's own, but for some */

static enum err no_append(struct disk_file *f, struct slice s)
{
    (void)f;
    (void)s;
    return ERR_SPACE;
}

static enum err no_write(struct disk_file *f, uint64_t at, struct slice s)
{
    (void)f;
    (void)at;
    (void)s;
    return ERR_IO;
}

/* Writing and appending fail; the keyring and the log say how. */
static const struct disk_ops *break_disk(struct test_place *p)
{
    const struct disk_ops *good = p->disk->ops;
    broken_ops = *good;
    broken_ops.append = no_append;
    broken_ops.write_at = no_write;
    p->disk->ops = &broken_ops;
    return good;
}

static void mend_disk(struct test_place *p, const struct disk_ops *good)
{
    p->disk->ops = good;
    test_shift_ms += 10000;
}

static void broken_disk(void **state)
{
    struct test_place *p = *state;
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    AUTO(version_done) const struct directory_version *before = directory_current(p->d);
    const struct disk_ops *good = break_disk(p);
    assert_int_not_equal(add(p, "b", NULL, 0, NULL), OK);
    assert_int_not_equal(directory_remove(p->d, TEXT("a")), OK);
    assert_int_not_equal(directory_revoke(p->d, TEXT("a"), TEXT("stolen")), OK);
    directory_begin(p->d);
    assert_int_equal(add(p, "c", NULL, 0, NULL), OK);
    assert_int_not_equal(directory_commit(p->d), OK);
    assert_int_equal(directory_erase_due(p->d), 0);
    VERSION(p);
    assert_ptr_equal(v, before);
    mend_disk(p, good);
    assert_int_equal(directory_commit(p->d), OK); /* the batch stayed open */
    assert_int_equal(directory_remove(p->d, TEXT("c")), OK);
    reopen(p);
    AUTO(version_done) const struct directory_version *after = directory_current(p->d);
    assert_int_equal(directory_version_count(after), 1);
    assert_int_equal(directory_find(after, TEXT("a"))->principal->status, PRINCIPAL_ACTIVE);
    assert_int_equal(add(p, "b", NULL, 0, NULL), OK);
}

/* A save that failed and comes to the disk all the same, after the next one forgot it. */
static void late_save(void **state)
{
    struct test_place *p = *state;
    struct directory_exception_order o = {.listener = TEXT("mqtt"),
                                          .reason = TEXT("why"),
                                          .allow = DIRECTORY_ALLOW_PLAINTEXT,
                                          .for_ms = TEST_HOUR_MS};
    uint64_t id = 0;
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    assert_int_equal(add(p, "b", NULL, 0, NULL), OK);
    const struct disk_ops *good = break_disk(p);
    directory_begin(p->d);
    assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    assert_int_equal(directory_disable(p->d, TEXT("b"), TEXT("")), OK);
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &id, NULL), OK);
    assert_int_not_equal(directory_commit(p->d), OK);
    directory_rollback(p->d);
    mend_disk(p, good);
    const struct log_change late[] = {{.table = JOURNAL_TABLE_PRINCIPAL, .id = 1, .is_end = true},
                                      {.table = JOURNAL_TABLE_PRINCIPAL, .id = 2, .is_end = true}};
    assert_int_equal(log_save(p->setup.log, late, 2), OK);
    assert_int_equal(add(p, "c", NULL, 0, NULL), OK); /* writes them as they are */
    reopen(p);
    VERSION(p);
    assert_int_equal(directory_version_count(v), 3);
    assert_int_equal(directory_find(v, TEXT("b"))->principal->status, PRINCIPAL_ACTIVE);
    assert_int_equal(directory_damage(p->d)->missing + directory_damage(p->d)->exceptions, 0);
}

/* Role and gateway are the principal's own, so they are on record with it and outlive the gateway.
 */
static void role_and_gateway(void **state)
{
    struct test_place *p = *state;
    struct why why = {{0}};
    assert_int_equal(add(p, "gw", NULL, 0, NULL), OK);
    assert_int_equal(add(p, "d", NULL, 0, NULL), OK);
    assert_int_equal(directory_assign(p->d, TEXT("d"), TEXT("gw"), NULL), OK);
    assert_int_equal(directory_set_role(p->d, TEXT("d"), TEXT("lamp"), NULL), OK);
    assert_int_equal(directory_disable(p->d, TEXT("d"), TEXT("why")), OK);
    assert_int_equal(directory_assign(p->d, TEXT("d"), TEXT("d"), &why), ERR_DENIED);
    assert_int_equal(directory_assign(p->d, TEXT("d"), TEXT("nobody"), &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "no gateway nobody"));
    assert_int_equal(directory_assign(p->d, TEXT("nobody"), TEXT("gw"), NULL), ERR_NOT_FOUND);
    assert_int_equal(directory_set_role(p->d, TEXT("d"), TEXT("a b"), NULL), ERR_MALFORMED);
    reopen(p);
    VERSION(p);
    const struct directory_entry *e = directory_find(v, TEXT("d"));
    assert_int_equal(e->principal->gateway, directory_find(v, TEXT("gw"))->principal->id);
    assert_string_equal(e->principal->role, "lamp");
    assert_string_equal(e->reason, "why");
    assert_int_equal(e->principal->status, PRINCIPAL_DISABLED);
    /* Another of the same name is another gateway. */
    assert_int_equal(directory_remove(p->d, TEXT("gw")), OK);
    assert_int_equal(add(p, "gw", NULL, 0, NULL), OK);
    AUTO(version_done) const struct directory_version *after = directory_current(p->d);
    assert_int_not_equal(directory_find(after, TEXT("d"))->principal->gateway,
                         directory_find(after, TEXT("gw"))->principal->id);
    assert_int_equal(directory_assign(p->d, TEXT("d"), TEXT(""), NULL), OK);
    assert_int_equal(directory_revoke(p->d, TEXT("gw"), TEXT("stolen")), OK);
    assert_int_equal(directory_assign(p->d, TEXT("d"), TEXT("gw"), NULL), ERR_DENIED);
    assert_int_equal(directory_revoke(p->d, TEXT("d"), TEXT("stolen")), OK);
    assert_int_equal(directory_assign(p->d, TEXT("d"), TEXT(""), NULL), ERR_DENIED);
    assert_int_equal(directory_set_role(p->d, TEXT("d"), TEXT("lamp"), NULL), ERR_DENIED);
}

/* A rotation whose bundle was lost is taken back; what was there before keeps its overlap. */
static void withdrawal(void **state)
{
    struct test_place *p = *state;
    char t[3][64];
    struct directory_secret s[3];
    const int64_t later = TEST_NOW + TEST_DAY_MS;
    for (unsigned i = 0; i < 3; i++) {
        s[i] = test_secret(CREDENTIAL_PSK, 700 + i, t[i]);
    }
    assert_int_equal(directory_withdraw(p->d, TEXT("a"), 0), ERR_NOT_FOUND);
    assert_int_equal(add(p, "a", &s[0], 1, NULL), OK);
    assert_int_equal(directory_rotate(p->d, TEXT("a"), &s[1], TEST_HOUR_MS, later, NULL), OK);
    VERSION(p);
    assert_int_equal(directory_withdraw(p->d, TEXT("a"), later + 1), OK);
    AUTO(version_done) const struct directory_version *same = directory_current(p->d);
    assert_ptr_equal(same, v); /* there were none */
    assert_int_equal(directory_withdraw(p->d, TEXT("a"), later), OK);
    assert_int_equal(directory_rotate(p->d, TEXT("a"), &s[2], TEST_HOUR_MS, later + 5, NULL), OK);
    AUTO(version_done) const struct directory_version *after = directory_current(p->d);
    struct directory_live live = directory_live(after, TEXT("a"), CREDENTIAL_PSK, later + 6);
    assert_int_equal(live.n, 2);
    assert_int_equal(live.credentials[0]->created_wall_ms, later + 5);
    assert_int_equal(live.credentials[1]->created_wall_ms, TEST_NOW);
    assert_int_equal(live.credentials[1]->expires_wall_ms, later + TEST_HOUR_MS);
    /* What somebody has used has arrived. */
    credential_used(live.credentials[0], later + 7);
    assert_int_equal(directory_withdraw(p->d, TEXT("a"), later), OK);
    AUTO(version_done) const struct directory_version *last = directory_current(p->d);
    assert_ptr_equal(last, after);
}

static void there_is_one(void **state)
{
    struct test_place *p = *state;
    struct directory *none = NULL;
    assert_int_equal(directory_create(&p->setup, &none), ERR_EXISTS);
}

static void there_is_none(void **state)
{
    (void)state;
    struct test_place p;
    struct directory *none = NULL;
    test_place_make(&p);
    assert_int_equal(test_place_start(&p), OK);
    assert_int_equal(directory_open(&p.setup, &none), ERR_NOT_FOUND);
    test_place_close(&p);
}

static void removed_is_erased(void **state)
{
    struct test_place *p = *state;
    char t[64];
    struct directory_secret s = test_secret(CREDENTIAL_PSK, 1, t);
    assert_int_equal(add(p, "a", &s, 1, NULL), OK);
    assert_int_equal(add(p, "b", NULL, 0, NULL), OK);
    assert_true(keyring_has(p->setup.keyring, 1) && keyring_has(p->setup.keyring, 2));
    assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    assert_int_equal(directory_erase_due(p->d), 1);
    assert_true(keyring_has(p->setup.keyring, 1)); /* workers may still write for it */
    assert_int_equal(directory_erase(p->d), OK);
    assert_int_equal(directory_erase_due(p->d), 0);
    assert_false(keyring_has(p->setup.keyring, 1));
    assert_true(keyring_has(p->setup.keyring, 2));
    /* a crash before the erasure: the next opening finishes it */
    assert_int_equal(directory_remove(p->d, TEXT("b")), OK);
    reopen(p);
    assert_false(keyring_has(p->setup.keyring, 2));
    assert_int_equal(add(p, "c", NULL, 0, NULL), OK);
    VERSION(p);
    assert_int_equal(directory_find(v, TEXT("c"))->principal->id, 3);
}

static void erasing_is_tried_again(void **state)
{
    struct test_place *p = *state;
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    const struct disk_ops *good = break_disk(p);
    assert_int_not_equal(directory_erase(p->d), OK);
    assert_int_equal(directory_erase_due(p->d), 1);
    mend_disk(p, good);
    reopen(p);
    assert_int_equal(directory_erase_due(p->d), 0);
    assert_false(keyring_has(p->setup.keyring, 1));
}

/* A key whose addition never became an entry. */
static void keys_of_nobody(void **state)
{
    struct test_place *p = *state;
    const uint64_t ids[] = {1, 3};
    assert_int_equal(keyring_add(p->setup.keyring, ids, 2), OK);
    reopen(p);
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    VERSION(p);
    assert_int_equal(directory_find(v, TEXT("a"))->principal->id, 4);
}

static void uses_are_kept(void **state)
{
    struct test_place *p = *state;
    char t[64];
    struct directory_secret s = test_secret(CREDENTIAL_PSK, 1, t);
    assert_int_equal(add(p, "a", &s, 1, NULL), OK);
    {
        VERSION(p);
        credential_used(directory_find(v, TEXT("a"))->credentials[0], TEST_NOW + 7);
    }
    assert_int_equal(directory_keep_uses(p->d), OK);
    reopen(p);
    VERSION(p);
    const struct credential *c = directory_find(v, TEXT("a"))->credentials[0];
    assert_int_equal(atomic_load(&c->used_wall_ms), TEST_NOW + 7);
    assert_int_equal(c->kept_wall_ms, TEST_NOW + 7);
}

/* ---- damage: the log gives an older entry, or none ---- */

struct copy {
    struct buf text;
    uint8_t table;
    uint64_t id;
};

static enum err take_copy(void *ctx, uint64_t id, struct slice content)
{
    struct copy *c = ctx;
    return id == c->id ? buf_append(&c->text, content, 1 << 20) : OK;
}

static struct copy copy_of(struct test_place *p, uint8_t table, uint64_t id)
{
    struct copy c = {.table = table, .id = id};
    assert_int_equal(log_entries(p->setup.log, table, take_copy, &c), OK);
    return c;
}

/* As if what was written since had been damaged. */
static void put_back(struct test_place *p, struct copy *c)
{
    struct log_change change = {
        .table = c->table, .id = c->id, .is_end = c->text.n == 0, .content = buf_slice(&c->text)};
    change.owner = c->table == JOURNAL_TABLE_PRINCIPAL ? c->id : 0;
    assert_int_equal(log_save(p->setup.log, &change, 1), OK);
    buf_wipe(&c->text);
    reopen(p);
}

static void revoked_stays_out(void **state)
{
    struct test_place *p = *state;
    char t[64];
    struct directory_secret s = test_secret(CREDENTIAL_X509, 1, t);
    assert_int_equal(add(p, "a", &s, 1, NULL), OK);
    assert_int_equal(add(p, "b", NULL, 0, NULL), OK);
    struct copy old = copy_of(p, JOURNAL_TABLE_PRINCIPAL, 1);
    assert_int_equal(directory_revoke(p->d, TEXT("a"), TEXT("stolen")), OK);
    put_back(p, &old);
    {
        VERSION(p);
        const struct directory_entry *e = NULL;
        assert_int_equal(directory_login_x509(v, TEXT("a"), &s.spki, TEST_NOW, &e, NULL),
                         ERR_DENIED);
        assert_int_equal(e->principal->status, PRINCIPAL_DISABLED);
        assert_int_equal(directory_damage(p->d)->stale, 1);
        assert_string_equal(directory_damage(p->d)->first, "a");
        assert_int_equal(directory_find(v, TEXT("b"))->principal->status, PRINCIPAL_ACTIVE);
    }
    assert_int_equal(directory_enable(p->d, TEXT("a"), NULL), OK);
    reopen(p);
    assert_int_equal(directory_damage(p->d)->stale, 0);
}

static void removed_stays_out(void **state)
{
    struct test_place *p = *state;
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    struct copy old = copy_of(p, JOURNAL_TABLE_PRINCIPAL, 1);
    assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    put_back(p, &old); /* also its key is there yet */
    VERSION(p);
    assert_int_equal(directory_version_count(v), 0);
    assert_int_equal(directory_damage(p->d)->returned, 1);
    assert_false(keyring_has(p->setup.keyring, 1));
}

static void lost_entry(void **state)
{
    struct test_place *p = *state;
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    assert_int_equal(add(p, "b", NULL, 0, NULL), OK);
    struct copy none = {.table = JOURNAL_TABLE_PRINCIPAL, .id = 2};
    put_back(p, &none);
    VERSION(p);
    assert_int_equal(directory_version_count(v), 1);
    assert_int_equal(directory_damage(p->d)->missing, 1);
    assert_true(keyring_has(p->setup.keyring, 2)); /* a backup may have the entry */
}

/* What a worker or the cleaner had in hand when the key went. */
static void late_record(void **state)
{
    struct test_place *p = *state;
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    struct copy entry = copy_of(p, JOURNAL_TABLE_PRINCIPAL, 1);
    assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    assert_int_equal(directory_erase(p->d), OK);
    put_back(p, &entry);
    assert_int_equal(p->report.damaged, 0);
    assert_true(p->report.erased > 0);
    entry = copy_of(p, JOURNAL_TABLE_PRINCIPAL, 1);
    assert_int_equal(entry.text.n, 0);
}

/* An old copy of the store with today's keyring. */
static void old_copy(void **state)
{
    struct test_place *p = *state;
    assert_int_equal(add(p, "a", NULL, 0, NULL), OK);
    assert_int_equal(add(p, "b", NULL, 0, NULL), OK);
    struct copy page = copy_of(p, JOURNAL_TABLE_META, UINT64_C(1) << 32);
    assert_int_equal(directory_remove(p->d, TEXT("a")), OK);
    assert_int_equal(directory_erase(p->d), OK);
    put_back(p, &page);
    const struct directory_damage none = {0};
    assert_memory_equal(directory_damage(p->d), &none, sizeof none);
    VERSION(p);
    assert_null(directory_find(v, TEXT("a")));
    assert_non_null(directory_find(v, TEXT("b")));
}

/* Without the head, or with an older one, numbers are not given out again. */
static void old_head(void **state)
{
    struct test_place *p = *state;
    for (size_t i = 0; i < 2; i++) {
        char name[] = {'a', (char)('0' + i), '\0'};
        struct copy head = {.table = JOURNAL_TABLE_META, .id = 1};
        if (i == 1) {
            head = copy_of(p, JOURNAL_TABLE_META, 1);
        }
        assert_int_equal(add(p, name, NULL, 0, NULL), OK);
        put_back(p, &head);
        assert_int_equal(directory_damage(p->d)->head, i == 0 ? 1 : 0);
        VERSION(p);
        uint64_t epoch = directory_version_epoch(v);
        assert_int_equal(epoch, directory_find(v, TEXT(name))->principal->epoch);
        assert_int_equal(add(p, "next", NULL, 0, NULL), OK);
        AUTO(version_done) const struct directory_version *after = directory_current(p->d);
        assert_true(directory_find(after, TEXT("next"))->principal->id >
                    directory_find(after, TEXT(name))->principal->id);
        assert_int_equal(directory_remove(p->d, TEXT("next")), OK);
    }
}

static void ended_exception_stays_ended(void **state)
{
    struct test_place *p = *state;
    uint64_t id = 0;
    struct directory_exception_order o = {.listener = TEXT("mqtt"),
                                          .reason = TEXT("why"),
                                          .allow = DIRECTORY_ALLOW_PLAINTEXT,
                                          .for_ms = TEST_HOUR_MS};
    assert_int_equal(directory_exception_add(p->d, &o, TEST_NOW, &id, NULL), OK);
    struct copy old = copy_of(p, JOURNAL_TABLE_EXCEPTION, id);
    assert_int_equal(directory_exception_end(p->d, id), OK);
    put_back(p, &old);
    VERSION(p);
    size_t n = 0;
    (void)directory_exceptions(v, &n);
    assert_int_equal(n, 0);
    assert_int_equal(directory_damage(p->d)->exceptions, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(broken_disk),
        CASE(late_save),
        CASE(removed_is_erased),
        CASE(erasing_is_tried_again),
        CASE(keys_of_nobody),
        CASE(uses_are_kept),
        CASE(revoked_stays_out),
        CASE(removed_stays_out),
        CASE(lost_entry),
        CASE(late_record),
        CASE(old_copy),
        CASE(old_head),
        CASE(ended_exception_stays_ended),
        CASE(role_and_gateway),
        CASE(withdrawal),
        CASE(there_is_one),
        cmocka_unit_test(there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
