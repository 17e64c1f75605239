#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/daemon/porter.h"
#include "base/scope.h"
#include "base/tree_test.h"

static void test_what_the_broker_may_have(void **state)
{
    static const struct {
        struct porter_request q;
        bool may;
    } cases[] = {
        {{.op = PORTER_OPEN, .path = "sallyport.yaml"}, true},
        {{.op = PORTER_OPEN, .path = "trust/keys.json"}, true},
        {{.op = PORTER_OPEN, .path = "scribes"}, true},
        {{.op = PORTER_OPEN, .path = "scribe"}, false},
        {{.op = PORTER_OPEN, .path = "scribe/secret"}, false},
        {{.op = PORTER_OPEN, .path = "store/../scribe/secret"}, false},
        {{.op = PORTER_OPEN, .path = "./scribe/secret"}, false},
        {{.op = PORTER_OPEN, .path = "/etc/passwd"}, false},
        {{.op = PORTER_OPEN, .path = "../x"}, false},
        {{.op = PORTER_OPEN, .path = "a//b"}, false},
        {{.op = PORTER_OPEN, .mode = PORTER_WRITES, .path = "sallyport.yaml"}, false},
        {{.op = PORTER_OPEN, .mode = PORTER_WRITES, .path = "policy.yaml"}, true},
        {{.op = PORTER_OPEN, .mode = PORTER_APPENDS, .path = "keyring"}, true},
        {{.op = PORTER_OPEN, .mode = PORTER_WRITES | PORTER_CREATES, .path = "keyring.new"}, true},
        {{.op = PORTER_OPEN, .mode = PORTER_CREATES, .path = "other"}, false},
        {{.op = PORTER_OPEN, .mode = PORTER_WRITES, .path = "audit/00000001.sealed"}, false},
        {{.op = PORTER_OPEN, .mode = PORTER_WRITES, .path = "courier/siem"}, false},
        {{.op = PORTER_OPEN, .mode = PORTER_WRITES, .path = "waivers.json"}, false},
        {{.op = PORTER_OPEN, .mode = PORTER_WRITES, .path = "waivers-told.json"}, true},
        {{.op = PORTER_REMOVE, .path = "audit/00000001.sealed"}, false},
        {{.op = PORTER_REMOVE, .path = "tickets.sealed.new"}, true},
        {{.op = PORTER_RENAME, .path = "keyring.new", .to = "keyring"}, true},
        {{.op = PORTER_RENAME, .path = "keyring.new", .to = "audit/00000001.sealed"}, false},
        {{.op = PORTER_RENAME, .path = "scribe/secret", .to = "keyring"}, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (porter_may(&cases[i].q) != cases[i].may) {
            fail_msg("%s", cases[i].q.path);
        }
    }
}

static void test_messages(void **state)
{
    (void)state;
    const struct porter_request sent = {
        .id = 7, .op = PORTER_RENAME, .path = "keyring.new", .to = "keyring"};
    uint8_t bytes[PORTER_REQUEST_BYTES_MAX + 1];
    struct porter_request got;
    size_t n, m;
    assert_int_equal(porter_request_encode(&sent, bytes, sizeof bytes, &n), OK);
    assert_int_equal(porter_request_decode(slice_of(bytes, n), &got), OK);
    assert_int_equal(got.id, 7);
    assert_string_equal(got.path, sent.path);
    assert_string_equal(got.to, sent.to);
    for (size_t cut = 0; cut < n; cut++) {
        assert_int_equal(porter_request_decode(slice_of(bytes, cut), &got), ERR_TRUNCATED);
        assert_int_equal(porter_request_encode(&sent, bytes, cut, &m), ERR_SPACE);
    }
    assert_int_equal(porter_request_encode(&sent, bytes, sizeof bytes, &n), OK);
    bytes[n] = 0;
    assert_int_equal(porter_request_decode(slice_of(bytes, n + 1), &got), ERR_TRAILING);
    bytes[4] = 9;
    assert_int_equal(porter_request_decode(slice_of(bytes, n), &got), ERR_MALFORMED);
    bytes[4] = PORTER_REMOVE; /* with a second name */
    assert_int_equal(porter_request_decode(slice_of(bytes, n), &got), ERR_MALFORMED);
}

/* ---- both ends ---- */

struct house {
    int fd, dir_fd;
};

static void *supervisor(void *arg)
{
    const struct house *h = arg;
    const struct places_user user = {.is_other = false};
    char byte;
    while (recv(h->fd, &byte, 1, MSG_PEEK) > 0) {
        porter_answer(h->fd, h->dir_fd, &user);
    }
    return NULL;
}

static void test_both_ends(void **state)
{
    (void)state;
    char place[] = "/tmp/sallyport-porter-XXXXXX";
    int pair[2];
    pthread_t thread;
    struct porter *p;
    assert_non_null(mkdtemp(place));
    struct house h = {.dir_fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    assert_int_equal(mkdirat(h.dir_fd, "scribe", 0700), 0);
    assert_int_equal(symlinkat("scribe", h.dir_fd, "link"), 0);
    int secret = openat(h.dir_fd, "scribe/secret", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(secret >= 0);
    (void)close(secret);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    h.fd = pair[0];
    assert_int_equal(pthread_create(&thread, NULL, supervisor, &h), 0);
    assert_int_equal(porter_new(pair[1], &p), OK);
    struct disk_porter door = porter_door(p);
    int fd = door.open(door.ctx, "keyring.new", O_RDWR | O_CREAT | O_EXCL);
    assert_true(fd > 0 && write(fd, "x", 1) == 1);
    (void)close(fd);
    assert_int_equal(door.open(door.ctx, "keyring.new", O_RDWR | O_CREAT | O_EXCL), -EEXIST);
    assert_int_equal(door.rename(door.ctx, "keyring.new", "keyring"), 0);
    fd = door.open(door.ctx, "keyring", O_RDONLY);
    assert_true(fd > 0 && write(fd, "x", 1) == -1);
    (void)close(fd);
    assert_int_equal(door.open(door.ctx, "gone", O_RDONLY), -ENOENT);
    assert_int_equal(door.open(door.ctx, "scribe/secret", O_RDONLY), -EACCES);
    assert_true(door.open(door.ctx, "link/secret", O_RDONLY) < 0);
    assert_int_equal(door.open(door.ctx, "scribe", O_RDONLY), -EACCES);
    assert_int_equal(door.remove(door.ctx, "scribe/secret"), -EACCES);
    assert_int_equal(door.remove(door.ctx, "keyring"), 0);
    (void)close(pair[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    porter_free(p);
    (void)close(pair[0]);
    (void)close(h.dir_fd);
    (void)tree_remove(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_the_broker_may_have),
                                       cmocka_unit_test(test_messages),
                                       cmocka_unit_test(test_both_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
