/*
 * porter - opens, renames and removes for the broker the few files that lie in DIR itself: its
 * sandbox lets it into folders of DIR, not into DIR, or the trail and the scribe's secret would be
 * in it, too (Landlock rules hold for all below a directory).
 *
 * It sits in the supervisor. What may be written is a list of names; read may be what is not the
 * scribe's. One request, one datagram each way, in network byte order; a descriptor comes with the
 * answer to an OPEN:
 *
 *   broker -> supervisor   id u32, op u8, mode u8, path, to (u16 and bytes each)
 *   supervisor -> broker   id u32, error number u32
 */
#ifndef APP_DAEMON_PORTER_H
#define APP_DAEMON_PORTER_H

#include "app/daemon/places.h"
#include "base/disk.h"

enum { PORTER_PATH_BYTES = 256, PORTER_REQUEST_BYTES_MAX = 4 + 1 + 1 + 2 * (2 + 255) };

enum porter_op { PORTER_OPEN = 1, PORTER_RENAME, PORTER_REMOVE };
/* of OPEN */
enum { PORTER_WRITES = 1, PORTER_APPENDS = 2, PORTER_CREATES = 4 };

struct porter_request {
    uint32_t id;
    enum porter_op op;
    uint8_t mode;
    char path[PORTER_PATH_BYTES], to[PORTER_PATH_BYTES]; /* to: of RENAME, else empty */
};

MUST_USE enum err porter_request_encode(const struct porter_request *q, void *dst, size_t cap,
                                        size_t *ret_n);
/* porter_request_decode - the whole of bytes. ERR_TRUNCATED, ERR_TRAILING, ERR_MALFORMED. */
MUST_USE enum err porter_request_decode(struct slice bytes, struct porter_request *ret);
/* porter_may - whether the broker may have that. */
bool porter_may(const struct porter_request *q);

/* porter_answer - the supervisor's: one request that waits at fd, about DIR. Never waits. */
void porter_answer(int fd, int dir_fd, const struct places_user *user);

/* The broker's end. */
struct porter;
/* porter_new - fd is borrowed for life. ERR_NOMEM, ERR_IO. */
MUST_USE enum err porter_new(int fd, struct porter **ret);
struct porter *porter_free(struct porter *p);
/* porter_door - for disk_system_with. Any thread. */
struct disk_porter porter_door(struct porter *p);

#endif
