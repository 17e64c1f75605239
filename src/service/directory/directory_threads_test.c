/* Readers use and release versions while the writer makes new ones; for the thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/ring.h"
#include "service/directory/directory_place_test.h"

enum { READERS = 2, ROUNDS = 300 };

struct reader {
    struct ring ring; /* versions, one reference each; NULL: the end */
    pthread_t thread;
    size_t n_seen, n_wrong;
};

static void *read_versions(void *arg)
{
    struct reader *r = arg;
    for (;;) {
        const struct directory_version *v = NULL;
        if (!ring_pop(&r->ring, &v)) {
            continue;
        }
        if (v == NULL) {
            return NULL;
        }
        r->n_seen++;
        struct directory_live live =
            directory_live(v, slice_text("kept"), CREDENTIAL_PSK, TEST_NOW);
        uint8_t key[PSK_KEY_MAX];
        size_t n = 0;
        if (live.n == 0 || credential_psk(live.credentials[0], key, &n) != OK || n != 24) {
            r->n_wrong++;
        } else {
            credential_used(live.credentials[0], TEST_NOW);
        }
        directory_version_unref(v);
    }
}

static void push(struct reader *r, const struct directory_version *v)
{
    while (ring_push(&r->ring, &v) == ERR_AGAIN) {
    }
}

static enum err add(struct directory *d, const char *name, unsigned secret)
{
    char t[64];
    struct directory_secret s = test_secret(CREDENTIAL_PSK, secret, t);
    struct directory_order o = {
        .name = slice_text(name), .role = slice_text("sensor"), .secrets = &s, .n_secrets = 1};
    uint64_t id = 0;
    return directory_add(d, &o, TEST_NOW, &id, NULL);
}

static void readers_and_writer(void **state)
{
    (void)state;
    struct test_place p;
    struct reader readers[READERS] = {0};
    test_place_open(&p);
    assert_int_equal(add(p.d, "kept", 1), OK);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(ring_init(&readers[i].ring, sizeof(void *), 16), OK);
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_versions, &readers[i]), 0);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        enum err err =
            round % 2 == 0 ? add(p.d, "other", 2) : directory_remove(p.d, slice_text("other"));
        assert_int_equal(err, OK);
        for (size_t i = 0; i < READERS; i++) {
            push(&readers[i], directory_current(p.d));
        }
    }
    test_place_close(&p); /* readers may still hold versions */
    for (size_t i = 0; i < READERS; i++) {
        push(&readers[i], NULL);
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_int_equal(readers[i].n_seen, ROUNDS);
        assert_int_equal(readers[i].n_wrong, 0);
        ring_done(&readers[i].ring);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers_and_writer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
