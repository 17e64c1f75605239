#include "app/daemon/porter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"
#include "service/admin/admin.h"
#include "service/doctor/waivers.h"
#include "service/pki/ticket_file.h"
#include "service/watch/trail.h"
#include "store/keyring.h"

enum { WAIT_MS = 5000, MODE_ALL = PORTER_WRITES | PORTER_APPENDS | PORTER_CREATES };

/* ---- messages ---- */

enum err porter_request_encode(const struct porter_request *q, void *dst, size_t cap, size_t *ret_n)
{
    struct wr w = wr_into(dst, cap);
    wr_u32(&w, q->id);
    wr_u8(&w, (uint8_t)q->op);
    wr_u8(&w, q->mode);
    wr_block16(&w, slice_text(q->path));
    wr_block16(&w, slice_text(q->to));
    return wr_done(&w, ret_n);
}

enum err porter_request_decode(struct slice bytes, struct porter_request *ret)
{
    struct rd r = rd_from(bytes);
    struct porter_request q = {.id = rd_u32(&r)};
    uint8_t op = rd_u8(&r);
    q.mode = rd_u8(&r);
    bool has_path = slice_to_text(rd_block16(&r), q.path, sizeof q.path);
    bool has_to = slice_to_text(rd_block16(&r), q.to, sizeof q.to);
    TRY(rd_finish(&r));
    bool is_op = op >= PORTER_OPEN && op <= PORTER_REMOVE;
    if (!is_op || !has_path || !has_to || q.path[0] == '\0' || q.mode > MODE_ALL ||
        (op != PORTER_OPEN && q.mode != 0) || (op == PORTER_RENAME) != (q.to[0] != '\0')) {
        return ERR_MALFORMED;
    }
    q.op = (enum porter_op)op;
    *ret = q;
    return OK;
}

/* ---- what the broker may have ---- */

/* Of DIR itself; each with a .new while it is saved. */
static bool may_write(const char *path)
{
    static const char *const names[] = {KEYRING_FILE,       ADMIN_POLICY_FILE,   TICKET_FILE,
                                        "directory.sealed", ADMIN_RESTORED_FILE, WAIVERS_TOLD_FILE};
    static const char seen[] = ADMIN_RESTORED_FILE ".seen";
    static const char suffix[] = ".new";
    struct slice name = slice_text(path);
    size_t n = sizeof suffix - 1;
    if (name.n > n && slice_is(slice_from(name, name.n - n), suffix)) {
        name = slice_head(name, name.n - n);
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (slice_is(name, names[i])) {
            return true;
        }
    }
    return slice_is(name, seen);
}

/* Below DIR, through no "..", and not in the scribe's folder. */
static bool may_read(const char *path)
{
    struct slice rest = slice_text(path);
    bool more = true;
    for (bool is_first = true; more; is_first = false) {
        struct slice part = slice_cut(&rest, '/', &more);
        if (part.n == 0 || slice_is(part, ".") || slice_is(part, "..") ||
            (is_first && slice_is(part, TRAIL_OWN_DIR))) {
            return false;
        }
    }
    return true;
}

bool porter_may(const struct porter_request *q)
{
    if (q->op == PORTER_OPEN && q->mode == 0) {
        return may_read(q->path);
    }
    return may_write(q->path) && (q->op != PORTER_RENAME || may_write(q->to));
}

/* ---- the supervisor's side ---- */

/* Folder by folder, through no link. */
static int open_below(int dir_fd, const char *path, int flags)
{
    struct slice rest = slice_text(path);
    int at = dir_fd;
    for (;;) {
        char name[PORTER_PATH_BYTES];
        bool more;
        (void)slice_to_text(slice_cut(&rest, '/', &more), name, sizeof name);
        int folder = more ? O_RDONLY | O_DIRECTORY : flags;
        int next = openat(at, name, folder | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
        int failed = errno;
        if (at != dir_fd) {
            (void)close(at);
        }
        errno = failed;
        if (next < 0 || !more) {
            return next;
        }
        at = next;
    }
}

static int open_for(int dir_fd, const struct porter_request *q, const struct places_user *user)
{
    int flags = (q->mode & PORTER_APPENDS) != 0  ? O_RDWR | O_APPEND
                : (q->mode & PORTER_WRITES) != 0 ? O_RDWR
                                                 : O_RDONLY;
    bool creates = (q->mode & PORTER_CREATES) != 0;
    int fd = open_below(dir_fd, q->path, flags | (creates ? O_CREAT | O_EXCL : 0));
    struct stat st;
    bool good = fd >= 0 && fstat(fd, &st) == 0;
    if (good && !S_ISREG(st.st_mode)) {
        good = false;
        errno = EACCES;
    }
    if (good && creates && user->is_other) {
        good = fchown(fd, user->uid, user->gid) == 0;
    }
    if (!good && fd >= 0) {
        int failed = errno;
        (void)close(fd);
        errno = failed;
    }
    return good ? fd : -1;
}

/* The number of the error, 0: it is done; *ret_fd -1: there is none. */
static int carry_out(const struct porter_request *q, int dir_fd, const struct places_user *user,
                     int *ret_fd)
{
    *ret_fd = -1;
    if (!porter_may(q)) {
        return EACCES;
    }
    switch (q->op) {
    case PORTER_OPEN:
        *ret_fd = open_for(dir_fd, q, user);
        return *ret_fd >= 0 ? 0 : errno;
    case PORTER_RENAME:
        return renameat(dir_fd, q->path, dir_fd, q->to) == 0 ? 0 : errno;
    case PORTER_REMOVE:
        return unlinkat(dir_fd, q->path, 0) == 0 ? 0 : errno;
    }
    return EINVAL;
}

union room {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static void send_answer(int fd, uint32_t id, int error, int opened)
{
    uint8_t bytes[8];
    union room room = {.bytes = {0}};
    struct wr w = wr_into(bytes, sizeof bytes);
    wr_u32(&w, id);
    wr_u32(&w, (uint32_t)error);
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (opened >= 0) {
        m.msg_control = room.bytes;
        m.msg_controllen = sizeof room.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof opened);
        memcpy(CMSG_DATA(c), &opened, sizeof opened);
    }
    (void)sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void porter_answer(int fd, int dir_fd, const struct places_user *user)
{
    uint8_t bytes[PORTER_REQUEST_BYTES_MAX + 1];
    struct porter_request q;
    int opened;
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n <= 0 || porter_request_decode(slice_of(bytes, (size_t)n), &q) != OK) {
        return;
    }
    int error = carry_out(&q, dir_fd, user, &opened);
    send_answer(fd, q.id, error, opened);
    if (opened >= 0) {
        (void)close(opened);
    }
}

/* ---- the broker's side ---- */

struct porter {
    int fd;
    pthread_mutex_t lock;
    uint32_t id;
};

/* The descriptor, 0, or the negative number of an error; of another request: -EAGAIN. */
static int receive_answer(const struct porter *p, uint32_t id)
{
    uint8_t bytes[8];
    union room room = {.bytes = {0}};
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = room.bytes,
                       .msg_controllen = sizeof room.bytes};
    int opened = 0;
    ssize_t n = recvmsg(p->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n != (ssize_t)sizeof bytes) {
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? -EAGAIN : -EIO;
    }
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof opened)) {
        memcpy(&opened, CMSG_DATA(c), sizeof opened);
    }
    struct rd r = rd_from(slice_of(bytes, sizeof bytes));
    bool is_mine = rd_u32(&r) == id;
    uint32_t error = rd_u32(&r);
    if (opened > 0 && (!is_mine || error != 0)) {
        (void)close(opened);
    }
    return !is_mine ? -EAGAIN : error == 0 ? opened : error < INT32_MAX ? -(int)error : -EIO;
}

static int ask_locked(struct porter *p, struct porter_request *q)
{
    uint8_t bytes[PORTER_REQUEST_BYTES_MAX];
    size_t n;
    q->id = ++p->id;
    if (porter_request_encode(q, bytes, sizeof bytes, &n) != OK) {
        return -ENAMETOOLONG;
    }
    if (send(p->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        return -EIO;
    }
    for (;;) {
        struct pollfd polled = {.fd = p->fd, .events = POLLIN};
        int ready = poll(&polled, 1, WAIT_MS);
        if (ready == 0 || (ready < 0 && errno != EINTR)) {
            return -EIO;
        }
        int answer = ready > 0 ? receive_answer(p, q->id) : -EAGAIN;
        if (answer != -EAGAIN) {
            return answer;
        }
    }
}

static int ask(struct porter *p, enum porter_op op, uint8_t mode, const char *path, const char *to)
{
    struct porter_request q = {.op = op, .mode = mode};
    if (!slice_to_text(slice_text(path), q.path, sizeof q.path) ||
        !slice_to_text(slice_text(to), q.to, sizeof q.to)) {
        return -ENAMETOOLONG;
    }
    (void)pthread_mutex_lock(&p->lock);
    int answer = ask_locked(p, &q);
    (void)pthread_mutex_unlock(&p->lock);
    return answer;
}

static int ask_open(void *ctx, const char *path, int flags)
{
    unsigned mode = ((flags & O_APPEND) != 0           ? PORTER_APPENDS
                     : (flags & O_ACCMODE) != O_RDONLY ? PORTER_WRITES
                                                       : 0) |
                    ((flags & O_CREAT) != 0 ? PORTER_CREATES : 0);
    return ask(ctx, PORTER_OPEN, (uint8_t)mode, path, "");
}

static int ask_rename(void *ctx, const char *from, const char *to)
{
    return ask(ctx, PORTER_RENAME, 0, from, to);
}

static int ask_remove(void *ctx, const char *path)
{
    return ask(ctx, PORTER_REMOVE, 0, path, "");
}

struct disk_porter porter_door(struct porter *p)
{
    return (struct disk_porter){
        .ctx = p, .open = ask_open, .rename = ask_rename, .remove = ask_remove};
}

enum err porter_new(int fd, struct porter **ret)
{
    struct porter *p = mem_zalloc(sizeof *p);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    p->fd = fd;
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        mem_free(p);
        return ERR_IO;
    }
    *ret = p;
    return OK;
}

struct porter *porter_free(struct porter *p)
{
    if (p == NULL) {
        return NULL;
    }
    (void)pthread_mutex_destroy(&p->lock);
    return mem_free(p);
}
