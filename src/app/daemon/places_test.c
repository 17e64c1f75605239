#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/daemon/places.h"
#include "base/scope.h"
#include "net/held_port.h"

struct place {
    char path[64];
    int fd;
};

static int set_up(void **state)
{
    static struct place p;
    snprintf(p.path, sizeof p.path, "/tmp/places-test-XXXXXX");
    if (mkdtemp(p.path) == NULL) {
        return -1;
    }
    p.fd = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = &p;
    return p.fd >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const files[] = {"run/control.sock", "sub/inner", "file", "link", "hard",
                                        "sallyport.yaml"};
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        (void)unlinkat(p->fd, files[i], 0);
    }
    (void)unlinkat(p->fd, "run", AT_REMOVEDIR);
    (void)unlinkat(p->fd, "sub", AT_REMOVEDIR);
    close(p->fd);
    char beside[80];
    snprintf(beside, sizeof beside, "%s.key", p->path);
    (void)unlink(beside);
    snprintf(beside, sizeof beside, "%s.outside", p->path);
    (void)unlink(beside);
    return rmdir(p->path);
}

static bool can_connect(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = connect(fd, (const struct sockaddr *)&to, sizeof to) == 0;
    close(fd);
    return good;
}

/* An exception opens the port and its end closes it, with nothing but what the sandbox allows. */
static void test_plain_opens_and_closes(void **state)
{
    (void)state;
    struct config_listener l = {
        .name = "mqtt", .door = CONFIG_DOOR_MQTT, .bind = "127.0.0.1:0", .plain = true};
    struct boot_listener b;
    struct why why;
    int fds[BOOT_SOCKETS_MAX];
    assert_int_equal(places_listener(&l, 2, fds, &b, &why), OK);
    assert_int_equal(b.n_fds, 1);
    assert_false(b.listening);
    assert_true(b.port > 0);
    for (int round = 0; round < 3; round++) {
        assert_false(can_connect(b.port));
        assert_int_equal(held_port_open(fds[0]), OK);
        assert_true(can_connect(b.port));
        held_port_close(fds[0]);
    }
    assert_false(can_connect(b.port));
    close(fds[0]);
}

static void test_listeners(void **state)
{
    (void)state;
    struct config_listener mqtts = {
        .name = "mqtts", .door = CONFIG_DOOR_MQTT, .bind = "127.0.0.1:0"};
    struct config_listener coaps = {
        .name = "coaps", .door = CONFIG_DOOR_COAP, .bind = "127.0.0.1:0"};
    struct config_listener https = {
        .name = "https", .door = CONFIG_DOOR_HTTPS, .bind = "127.0.0.1:0"};
    struct boot_listener b;
    struct why why = {{0}};
    int fds[BOOT_SOCKETS_MAX], again[BOOT_SOCKETS_MAX];
    assert_int_equal(places_listener(&mqtts, 2, fds, &b, &why), OK);
    assert_true(b.listening && !b.udp && b.n_fds == 2);
    assert_true(can_connect(b.port));
    snprintf(https.bind, sizeof https.bind, "127.0.0.1:%u", b.port);
    https.door = CONFIG_DOOR_MQTT;
    https.plain = true;
    assert_int_equal(places_listener(&https, 1, again, &b, &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "listener https"));
    https.door = CONFIG_DOOR_HTTPS;
    assert_int_equal(places_listener(&https, 1, again, &b, &why), ERR_UNSUPPORTED);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(places_listener(&coaps, 3, fds, &b, &why), OK);
    assert_true(b.udp && b.n_fds == 3);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    coaps.auth = CONFIG_AUTH_OSCORE;
    assert_int_equal(places_listener(&coaps, 3, fds, &b, &why), OK);
    assert_true(b.udp && b.n_fds == 3);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

static void test_one_daemon(void **state)
{
    const struct place *p = *state;
    struct why why = {{0}};
    int first, second;
    assert_int_equal(places_dir(p->path, &first, &why), OK);
    assert_int_equal(places_dir(p->path, &second, &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "another daemon"));
    close(first);
    assert_int_equal(places_dir(p->path, &second, &why), OK);
    close(second);
    assert_int_equal(places_dir("/nonexistent", &second, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "sallyport init"));
}

static void test_control(void **state)
{
    const struct place *p = *state;
    struct why why = {{0}};
    struct stat st;
    int fd;
    for (int round = 0; round < 2; round++) { /* a dead daemon's socket is replaced */
        assert_int_equal(places_control(p->fd, &fd, &why), OK);
        assert_int_equal(fstatat(p->fd, "run/control.sock", &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        close(fd);
    }
    assert_int_equal(fstatat(p->fd, "run", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    (void)unlinkat(p->fd, "run/control.sock", 0);
    assert_int_equal(unlinkat(p->fd, "run", AT_REMOVEDIR), 0);
    assert_int_equal(symlinkat("/tmp", p->fd, "run"), 0);
    assert_int_equal(places_control(p->fd, &fd, &why), ERR_IO);
    assert_int_equal(unlinkat(p->fd, "run", 0), 0);
}

static bool is_same_file(int a, int b)
{
    struct stat sa, sb;
    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_ino == sb.st_ino;
}

static void test_key(void **state)
{
    const struct place *p = *state;
    struct why why = {{0}};
    char slash[80], beside[80], spare[96];
    struct places_key key;
    snprintf(slash, sizeof slash, "%s/", p->path);
    snprintf(beside, sizeof beside, "%s.key", p->path);
    assert_int_equal(places_key(slash, NULL, &key, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, beside));
    int made = open(beside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(made >= 0);
    close(made);
    assert_int_equal(places_key(slash, NULL, &key, &why), OK);
    assert_int_equal(key.source, KEY_SOURCE_FILE);
    assert_true(is_same_file(key.fd, key.spare_fd));
    close(key.fd);
    close(key.spare_fd);
    /* a rotation was interrupted */
    snprintf(spare, sizeof spare, "%s" PLACES_KEY_NEW, beside);
    made = open(spare, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(made >= 0);
    close(made);
    assert_int_equal(places_key(slash, "", &key, &why), OK);
    assert_false(is_same_file(key.fd, key.spare_fd));
    close(key.fd);
    close(key.spare_fd);
    assert_int_equal(unlink(spare), 0);
}

static unsigned owner_of(const struct place *p, const char *name)
{
    struct stat st;
    assert_int_equal(fstatat(p->fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_uid;
}

static void make_file(const struct place *p, const char *name)
{
    int fd = openat(p->fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void test_own(void **state)
{
    const struct place *p = *state;
    if (geteuid() != 0) {
        skip();
    }
    char outside[80];
    snprintf(outside, sizeof outside, "%s.outside", p->path);
    int fd = open(outside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(mkdirat(p->fd, "sub", 0700), 0);
    make_file(p, "file");
    make_file(p, "sub/inner");
    make_file(p, "sallyport.yaml");
    assert_int_equal(symlinkat(outside, p->fd, "link"), 0);
    assert_int_equal(linkat(AT_FDCWD, outside, p->fd, "hard", 0), 0);
    struct places_user user = {.uid = 65534, .gid = 65534, .is_other = true, .name = "nobody"};
    struct why why = {{0}};
    assert_int_equal(places_own(p->fd, &user, &why), OK);
    assert_int_equal(owner_of(p, "file"), 65534);
    assert_int_equal(owner_of(p, "sub/inner"), 65534);
    assert_int_equal(owner_of(p, "sallyport.yaml"), 0);
    assert_int_equal(owner_of(p, "link"), 0);
    assert_int_equal(owner_of(p, "hard"), 0); /* and so is the file outside */
    assert_int_equal(owner_of(p, "."), 0);
    assert_int_equal(places_user_find("root", &user, &why), ERR_DENIED);
    assert_int_equal(places_user_find("no-such-user-here", &user, &why), OK);
    assert_string_equal(user.name, "nobody");
    assert_non_null(strstr(why.text, "nobody"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_opens_and_closes),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test_setup_teardown(test_one_daemon, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_control, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_own, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
