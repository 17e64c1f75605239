/* directory_place_test - a directory in a fresh place, for tests of this folder and of those that
 * use it. */
#ifndef SERVICE_DIRECTORY_DIRECTORY_PLACE_TEST_H
#define SERVICE_DIRECTORY_DIRECTORY_PLACE_TEST_H

#include <assert.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/tree_test.h"
#include "service/directory/directory.h"

#define TEST_NOW     INT64_C(1795000000000)
#define TEST_DAY_MS  INT64_C(86400000)
#define TEST_HOUR_MS INT64_C(3600000)

struct test_place {
    char dir[40];
    struct disk *disk;
    struct directory_setup setup;
    struct log_report report; /* of the last opening */
    struct directory *d;
};

static const uint8_t test_master[32] = "the master key of this test, 32";

/* The log tries again a second after trouble: tests do not wait for it. */
static uint64_t test_shift_ms;

static inline uint64_t test_mono_ms(void *ctx)
{
    struct clock c = clock_system();
    (void)ctx;
    return c.mono_ms(c.ctx) + test_shift_ms;
}

static inline void test_event(void *ctx, const struct event *e)
{
    (void)ctx;
    (void)e;
}

/* Keyring and log: made, or opened. */
static inline enum err test_place_start(struct test_place *p)
{
    struct keyring_setup k = {.disk = p->disk,
                              .master = slice_of(test_master, sizeof test_master),
                              .random = random_system()};
    struct why why = {""};
    p->setup.random = k.random;
    enum err err = keyring_open(&k, &p->setup.keyring);
    if (err == ERR_NOT_FOUND) {
        err = keyring_create(&k, &p->setup.keyring);
    }
    TRY(err);
    struct log_setup l = {.disk = p->disk,
                          .keyring = p->setup.keyring,
                          .random = k.random,
                          .clock = clock_system(),
                          .segment_bytes = 2 << 20,
                          .event = test_event};
    l.clock.mono_ms = test_mono_ms;
    return log_open(&l, &p->setup.log, &p->report, &why);
}

static inline void test_place_stop(struct test_place *p)
{
    p->d = directory_free(p->d);
    p->setup.log = log_free(p->setup.log);
    p->setup.keyring = keyring_free(p->setup.keyring);
}

/* A place without a directory. */
static inline void test_place_make(struct test_place *p)
{
    *p = (struct test_place){.dir = "/tmp/sallyport-dir-XXXXXX"};
    const char *made = mkdtemp(p->dir);
    assert(made != NULL);
    enum err err = disk_system(open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), &p->disk);
    assert(err == OK);
}

static inline void test_place_open(struct test_place *p)
{
    test_place_make(p);
    enum err err = test_place_start(p);
    assert(err == OK);
    err = directory_create(&p->setup, &p->d);
    assert(err == OK);
}

static inline void test_place_close(struct test_place *p)
{
    test_place_stop(p);
    p->disk = p->disk->ops->free(p->disk);
    (void)tree_remove(p->dir);
}

/* A distinct and sufficient secret of each kind for any n. */
static inline struct directory_secret test_secret(enum credential_kind kind, unsigned n,
                                                  char text[64])
{
    struct directory_secret s = {.kind = kind, .expires_wall_ms = CREDENTIAL_NEVER};
    (void)snprintf(text, 64, "Zk3vQ8mT1xWr7bLp%08x", n);
    enum err err = OK;
    switch (kind) {
    case CREDENTIAL_X509:
        err = digest_sha256(slice_text(text), &s.spki);
        break;
    case CREDENTIAL_PASSWORD:
    case CREDENTIAL_SCRAM:
        /* the generated form, whose hash is cheap */
        memcpy(text, "sp1_abcdefghijklmnopqrstuvwxyz", 31);
        for (size_t i = 0; i < 6; i++) {
            text[10 + i] = (char)('a' + (n >> 4 * i & 15));
        }
        s.password = slice_text(text);
        break;
    case CREDENTIAL_PSK:
        s.psk = slice_text(text);
        break;
    case CREDENTIAL_OSCORE: {
        struct oscore_secret *oscore = (struct oscore_secret *)text;
        uint64_t seed = n;
        struct random_source random = random_seeded(&seed);
        oscore_secret_generate(&random, OSCORE_KID_MAX, oscore);
        s.oscore = oscore;
        break;
    }
    case CREDENTIAL_KINDS:
        break;
    }
    assert(err == OK);
    return s;
}

#endif
