#include "app/daemon/port_holder.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/log.h"
#include "base/scope.h"

enum {
    LINE_BYTES = 512, /* a line of the kernel's table has about 180 */
    NUMBER_BYTES = 24,
    LINK_BYTES = 64,
    NAME_BYTES = 64,
    TCP_LISTENS = 0x0a
};

static void close_stream(FILE **f)
{
    if (*f != NULL) {
        (void)fclose(*f);
    }
}

static void close_folder(DIR **d)
{
    if (*d != NULL) {
        (void)closedir(*d);
    }
}

static FILE *open_stream(int at_fd, const char *path)
{
    int fd = openat(at_fd, path, O_RDONLY | O_CLOEXEC);
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (f == NULL && fd >= 0) {
        (void)close(fd);
    }
    return f;
}

static DIR *open_folder(int at_fd, const char *path)
{
    int fd = openat(at_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL && fd >= 0) {
        (void)close(fd);
    }
    return d;
}

/* ---- the kernel's table of sockets ---- */

static struct slice next_word(struct slice *line)
{
    bool more = true;
    struct slice word = {0};
    while (more && word.n == 0) {
        word = slice_cut(line, ' ', &more);
    }
    return word;
}

static uint64_t number(struct slice text, int base)
{
    char copy[NUMBER_BYTES];
    return slice_to_text(text, copy, sizeof copy) ? strtoull(copy, NULL, base) : 0;
}

/* "0100007F:1F90": each four bytes of the address as a number of this machine. */
static bool read_local(struct slice text, struct net_peer *ret)
{
    bool more = false;
    struct slice address = slice_cut(&text, ':', &more);
    struct net_peer p = {.port = (uint32_t)number(text, 16)};
    size_t n = address.n / 8;
    if (!more || (n != 1 && n != 4) || address.n % 8 != 0) {
        return false;
    }
    if (n == 1) {
        memset(p.address + 10, 0xff, 2);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t four = (uint32_t)number(slice_head(slice_from(address, 8 * i), 8), 16);
        memcpy(p.address + sizeof p.address - 4 * (n - i), &four, sizeof four);
    }
    *ret = p;
    return true;
}

static bool is_any(const struct net_peer *p)
{
    static const uint8_t none[16];
    size_t begin = net_peer_is_v4(p) ? 12 : 0;
    return memcmp(p->address + begin, none, sizeof none - begin) == 0;
}

static bool overlap(const struct net_peer *a, const struct net_peer *b)
{
    return a->port == b->port &&
           (is_any(a) || is_any(b) || memcmp(a->address, b->address, sizeof a->address) == 0);
}

/* The inode of a socket at this address; 0: this line is not about one. */
static uint64_t inode_of(struct slice line, const struct net_peer *at, bool is_udp)
{
    struct net_peer local;
    (void)next_word(&line);
    struct slice where = next_word(&line);
    (void)next_word(&line); /* the other end */
    uint64_t state = number(next_word(&line), 16);
    for (int i = 0; i < 5; i++) {
        (void)next_word(&line); /* queues, timer, retransmissions, user, timeout */
    }
    bool is_it = read_local(where, &local) && (is_udp || state == TCP_LISTENS);
    return is_it && overlap(at, &local) ? number(next_word(&line), 10) : 0;
}

static uint64_t find_inode(int proc_fd, const char *table, const struct net_peer *at, bool is_udp)
{
    char line[LINE_BYTES];
    uint64_t inode = 0;
    AUTO(close_stream) FILE *f = open_stream(proc_fd, table);
    while (f != NULL && inode == 0 && fgets(line, sizeof line, f) != NULL) {
        inode = inode_of(slice_text(line), at, is_udp);
    }
    return inode;
}

/* ---- whose it is ---- */

static bool has_socket(int proc_fd, const char *pid, uint64_t inode)
{
    char path[NUMBER_BYTES + 8], want[LINK_BYTES], link[LINK_BYTES];
    (void)snprintf(path, sizeof path, "%.20s/fd", pid);
    int n_want = snprintf(want, sizeof want, "socket:[%" PRIu64 "]", inode);
    AUTO(close_folder) DIR *d = open_folder(proc_fd, path);
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof link);
        if (n == n_want && memcmp(link, want, (size_t)n) == 0) {
            return true;
        }
    }
    return false;
}

static void name_of(int proc_fd, const char *pid, char dst[NAME_BYTES])
{
    char path[NUMBER_BYTES + 8], line[NAME_BYTES] = "";
    (void)snprintf(path, sizeof path, "%.20s/comm", pid);
    AUTO(close_stream) FILE *f = open_stream(proc_fd, path);
    if (f == NULL || fgets(line, sizeof line, f) == NULL) {
        (void)snprintf(line, sizeof line, "a program");
    }
    size_t n = strcspn(line, "\n");
    log_escape(line, n, dst, NAME_BYTES);
}

bool port_holder(int proc_fd, const struct net_peer *at, bool is_udp, char dst[PORT_HOLDER_BYTES])
{
    uint64_t inode = find_inode(proc_fd, is_udp ? "net/udp" : "net/tcp", at, is_udp);
    if (inode == 0) {
        inode = find_inode(proc_fd, is_udp ? "net/udp6" : "net/tcp6", at, is_udp);
    }
    AUTO(close_folder) DIR *d = inode == 0 ? NULL : open_folder(proc_fd, ".");
    for (const struct dirent *e = d == NULL ? NULL : readdir(d); e != NULL; e = readdir(d)) {
        if (isdigit((unsigned char)e->d_name[0]) && has_socket(proc_fd, e->d_name, inode)) {
            char name[NAME_BYTES];
            name_of(proc_fd, e->d_name, name);
            (void)snprintf(dst, PORT_HOLDER_BYTES, "%s (process %.20s)", name, e->d_name);
            return true;
        }
    }
    return false;
}
