/* kept_test - a keyring and a log in a fresh place, with the committer that a broker wants; for
 * tests. */
#ifndef SERVICE_BROKER_KEPT_TEST_H
#define SERVICE_BROKER_KEPT_TEST_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/tree_test.h"
#include "service/broker/committer.h"
#include "store/keyring.h"
#include "store/log.h"

struct kept {
    char dir[40];
    struct disk *disk;
    struct keyring *keyring;
    struct committer *committer;
    struct log *log;
};

static inline void kept_reopen(struct kept *k, unsigned n_writers, const struct clock *clock)
{
    struct why why = {{0}};
    struct log_report report;
    struct log_setup s = {.disk = k->disk,
                          .keyring = k->keyring,
                          .random = random_system(),
                          .clock = *clock,
                          .n_writers = n_writers,
                          .segment_bytes = SEGMENT_BYTES_MIN,
                          .event = committer_event,
                          .wake = committer_wake};
    assert_int_equal(committer_new(clock, &k->committer), OK);
    s.ctx = k->committer;
    enum err e = log_open(&s, &k->log, &report, &why);
    if (e != OK) {
        fail_msg("%s: %s", err_name(e), why.text);
    }
}

static inline void kept_shut(struct kept *k)
{
    k->log = log_free(k->log);
    k->committer = committer_free(k->committer);
}

static inline void kept_open(struct kept *k, unsigned n_writers, const struct clock *clock)
{
    static const uint8_t master[32] = "the master key of this test, 32";
    *k = (struct kept){.dir = "/tmp/sallyport-kept-XXXXXX"};
    assert_non_null(mkdtemp(k->dir));
    assert_int_equal(disk_system(open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), &k->disk), OK);
    struct keyring_setup s = {
        .disk = k->disk, .master = slice_of(master, sizeof master), .random = random_system()};
    assert_int_equal(keyring_create(&s, &k->keyring), OK);
    kept_reopen(k, n_writers, clock);
}

static inline void kept_close(struct kept *k)
{
    kept_shut(k);
    k->keyring = keyring_free(k->keyring);
    k->disk = k->disk->ops->free(k->disk);
    (void)tree_remove(k->dir);
}

#endif
