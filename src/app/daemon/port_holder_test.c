#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/daemon/port_holder.h"
#include "base/tree_test.h"
#include "net/listener.h"

/* A /proc of our own: four tables, two processes. */
struct proc {
    char path[64];
    int fd;
};

static void write_file(const struct proc *p, const char *name, const char *text)
{
    int fd = openat(p->fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

#define HEAD                                                                                       \
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  inode\n"
#define TAIL " 00000000:00000000 00:00000000 00000000     0        0 "
#define NONE "00000000000000000000000000000000"

static int set_up(void **state)
{
    static struct proc p;
    (void)snprintf(p.path, sizeof p.path, "/tmp/port-holder-test-XXXXXX");
    if (mkdtemp(p.path) == NULL) {
        return -1;
    }
    p.fd = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = &p;
    static const char *const folders[] = {"net", "7", "7/fd", "812", "812/fd"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        assert_int_equal(mkdirat(p.fd, folders[i], 0700), 0);
    }
    write_file(&p, "net/tcp",
               HEAD "   0: 0100007F:22B3 0100007F:9999 01" TAIL "41 1\n" /* a connection */
                    "   1: 0100007F:22B3 00000000:0000 0A" TAIL "42 1\n"
                    "   2: 00000000:22B4 00000000:0000 0A" TAIL "43 1\n"
                    "   3: nonsense\n\n");
    write_file(&p, "net/tcp6",
               HEAD "   0: 00000000000000000000000001000000:22B5 " NONE ":0000 0A" TAIL "44 1\n"
                    "   1: " NONE ":22B6 " NONE ":0000 0A" TAIL "45 1\n");
    write_file(&p, "net/udp", HEAD "   0: 0100007F:1634 00000000:0000 07" TAIL "46 2 0 0\n");
    write_file(&p, "7/comm", "init\n");
    write_file(&p, "812/comm", "mos\033[2Jq\"uitto\n");
    for (unsigned i = 41; i <= 46; i++) {
        char link[32], target[32];
        (void)snprintf(link, sizeof link, "%s/fd/%u", i == 43 ? "7" : "812", i);
        (void)snprintf(target, sizeof target, "socket:[%u]", i);
        assert_int_equal(symlinkat(target, p.fd, link), 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    const struct proc *p = *state;
    close(p->fd);
    return tree_remove(p->path);
}

static const char *holder(const struct proc *p, const char *where, bool is_udp)
{
    static char text[PORT_HOLDER_BYTES];
    struct net_peer at;
    assert_int_equal(net_peer_parse(slice_text(where), &at), OK);
    return port_holder(p->fd, &at, is_udp, text) ? text : "-";
}

static void names_the_process(void **state)
{
    const char *mosquitto = "mos\\x1b[2Jq\\x22uitto (process 812)";
    const struct {
        const char *where;
        bool is_udp;
        const char *who;
    } rows[] = {
        {"127.0.0.1:8883", false, mosquitto},
        {"0.0.0.0:8883", false, mosquitto},
        {"[::]:8883", false, mosquitto},
        {"127.0.0.2:8883", false, "-"},
        {"127.0.0.1:39321", false, "-"}, /* 0x9999: a client's */
        {"127.0.0.1:8884", false, "init (process 7)"},
        {"[::1]:8885", false, mosquitto},
        {"127.0.0.1:8885", false, "-"},
        {"127.0.0.1:8886", false, mosquitto},
        {"127.0.0.1:8887", false, "-"},
        {"127.0.0.1:5684", true, mosquitto},
        {"127.0.0.1:5684", false, "-"},
        {"127.0.0.1:8883", true, "-"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(holder(*state, rows[i].where, rows[i].is_udp), rows[i].who);
    }
}

static void says_when_it_cannot_tell(void **state)
{
    const struct proc *p = *state;
    assert_int_equal(unlinkat(p->fd, "812/fd/42", 0), 0);
    assert_string_equal(holder(p, "127.0.0.1:8883", false), "-");
    assert_int_equal(unlinkat(p->fd, "812/comm", 0), 0);
    assert_string_equal(holder(p, "127.0.0.1:5684", true), "a program (process 812)");
    struct proc none = {.fd = -1};
    assert_string_equal(holder(&none, "127.0.0.1:5684", true), "-");
}

/* The kernel's own tables, and this process. */
static void finds_ourselves(void **state)
{
    (void)state;
    char want[64], where[NET_PEER_TEXT_BYTES];
    struct proc here = {.fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    (void)snprintf(want, sizeof want, "(process %d)", (int)getpid());
    static const char *const places[] = {"127.0.0.1:0", "[::]:0"};
    for (size_t i = 0; i < 4; i++) {
        int fd = -1;
        struct net_peer at;
        struct slice place = slice_text(places[i / 2]);
        bool is_udp = i % 2 == 0;
        assert_int_equal(is_udp ? net_listen_udp(place, 1, &fd) : net_listen_tcp(place, 1, &fd),
                         OK);
        assert_int_equal(net_local(fd, &at), OK);
        net_peer_text(&at, where);
        assert_non_null(strstr(holder(&here, where, is_udp), want));
        close(fd);
    }
    close(here.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_the_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_when_it_cannot_tell, set_up, tear_down),
        cmocka_unit_test(finds_ourselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
