/* directory_test_private - a directory in a fresh place, for the tests of this folder. */
#ifndef SERVICE_DIRECTORY_DIRECTORY_TEST_PRIVATE_H
#define SERVICE_DIRECTORY_DIRECTORY_TEST_PRIVATE_H

#include <assert.h>
#include <fcntl.h>
#include <unistd.h>

#include "service/directory/directory.h"

#define TEST_NOW     INT64_C(1795000000000)
#define TEST_DAY_MS  INT64_C(86400000)
#define TEST_HOUR_MS INT64_C(3600000)

struct test_place {
    char dir[40];
    struct directory_setup setup;
    struct directory *d;
};

static const uint8_t test_master[32] = "the master key of this test, 32";

static inline void test_place_open(struct test_place *p)
{
    *p = (struct test_place){.dir = "/tmp/sallyport-dir-XXXXXX"};
    const char *made = mkdtemp(p->dir);
    assert(made != NULL);
    enum err err = disk_system(open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), &p->setup.disk);
    assert(err == OK);
    p->setup.master = slice_of(test_master, sizeof test_master);
    p->setup.random = random_system();
    err = directory_create(&p->setup, &p->d);
    assert(err == OK);
}

static inline void test_place_close(struct test_place *p)
{
    p->d = directory_free(p->d);
    (void)!p->setup.disk->ops->remove(p->setup.disk, DIRECTORY_FILE);
    p->setup.disk = p->setup.disk->ops->free(p->setup.disk);
    (void)rmdir(p->dir);
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
    case CREDENTIAL_KINDS:
        break;
    }
    assert(err == OK);
    return s;
}

#endif
