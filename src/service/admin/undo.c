#include "service/admin/undo.h"

#include <inttypes.h>

#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"
#include "core/journal_record.h"
#include "security/crypto/sealed.h"
#include "store/keyring.h"

enum {
    SALT_BYTES = 32,
    PART_MAX = 32 * 1024 * 1024,
    RECORD_MAX = 1024 * 1024, /* a message: packet_bytes bounds it far below */
    PATH_BYTES = 48
};

static const char DIR_NAME[] = "undo";
static const char PURPOSE[] = "retained undo";

static void path_of(uint64_t id, unsigned part, char dst[PATH_BYTES])
{
    (void)snprintf(dst, PATH_BYTES, "%s/%" PRIu64 ".%u", DIR_NAME, id, part);
}

/* ---- which are there ---- */

struct found {
    uint64_t ids[UNDO_KEPT + 2]; /* the newest, oldest first; each once */
    uint64_t oldest;             /* of those that did not fit; 0: all did */
    size_t n;
};

static void found_add(struct found *f, uint64_t id)
{
    size_t at = f->n;
    while (at > 0 && f->ids[at - 1] > id) {
        at--;
    }
    if (at > 0 && f->ids[at - 1] == id) {
        return;
    }
    if (f->n == COUNT_OF(f->ids)) {
        uint64_t out = at == 0 ? id : f->ids[0];
        f->oldest = f->oldest == 0 || out < f->oldest ? out : f->oldest;
        if (at == 0) {
            return;
        }
        memmove(&f->ids[0], &f->ids[1], (at - 1) * sizeof f->ids[0]);
        f->ids[at - 1] = id;
        return;
    }
    memmove(&f->ids[at + 1], &f->ids[at], (f->n - at) * sizeof f->ids[0]);
    f->ids[at] = id;
    f->n++;
}

static void on_file(void *ctx, const char *name)
{
    uint64_t id = 0;
    size_t i = 0;
    while (name[i] >= '0' && name[i] <= '9' && i < 18) {
        id = id * 10 + (uint64_t)(name[i++] - '0');
    }
    if (name[i] == '.' && id > 0) {
        found_add(ctx, id);
    }
}

static struct found look(const struct admin_setup *s)
{
    struct found f = {0};
    enum err ignored = s->disk->ops->list(s->disk, DIR_NAME, on_file, &f);
    (void)ignored; /* before the first purge there is no such place */
    return f;
}

static uint64_t now_s(const struct admin_setup *s)
{
    int64_t wall_ms = s->clock.wall_ms(s->clock.ctx);
    return wall_ms > 0 ? (uint64_t)wall_ms / 1000 : 1;
}

void undo_drop(const struct admin_setup *s, uint64_t id)
{
    /* From the end: what a crash leaves begins with part 1 and is found again. */
    char path[PATH_BYTES];
    unsigned n = 0;
    struct disk_file *f = NULL;
    for (path_of(id, 1, path); s->disk->ops->open(s->disk, path, DISK_READ, &f) == OK;
         path_of(id, n + 1, path)) {
        s->disk->ops->close(f);
        n++;
    }
    for (; n > 0; n--) {
        path_of(id, n, path);
        enum err ignored = s->disk->ops->remove(s->disk, path);
        (void)ignored; /* the next sweep finds it */
    }
}

bool undo_has(const struct admin_setup *s, uint64_t id)
{
    char path[PATH_BYTES];
    struct disk_file *f = NULL;
    path_of(id, 1, path);
    if (s->disk->ops->open(s->disk, path, DISK_READ, &f) != OK) {
        return false;
    }
    s->disk->ops->close(f);
    return true;
}

void undo_sweep(const struct admin_setup *s)
{
    struct found f = look(s);
    while (f.oldest != 0) {
        undo_drop(s, f.oldest);
        uint64_t was = f.oldest;
        f = look(s);
        if (f.oldest == was) {
            return; /* the disk does not let it go */
        }
    }
    uint64_t now = now_s(s);
    for (size_t i = 0; i < f.n; i++) {
        if (f.ids[i] + UNDO_DAY_S <= now) {
            undo_drop(s, f.ids[i]);
        }
    }
}

enum err undo_begin(const struct admin_setup *s, uint64_t *ret)
{
    TRY(s->disk->ops->make_dir(s->disk,
                               DIR_NAME)); /* the daemon's own is there: its sandbox makes none */
    undo_sweep(s);
    struct found f = look(s);
    uint64_t id = now_s(s);
    for (size_t i = 0; i + UNDO_KEPT <= f.n; i++) {
        undo_drop(s, f.ids[i]);
    }
    *ret = f.n > 0 && f.ids[f.n - 1] >= id ? f.ids[f.n - 1] + 1 : id;
    return OK;
}

/* ---- one message ---- */

/* Monotonic time means nothing to who reads it later. */
static int64_t expires_wall_ms(const struct admin_setup *s, const struct msg *m)
{
    uint64_t now_ms = s->clock.mono_ms(s->clock.ctx);
    int64_t left = m->expires_at_ms > now_ms ? (int64_t)(m->expires_at_ms - now_ms) : 0;
    return m->expires_at_ms == UINT64_MAX ? INT64_MAX : s->clock.wall_ms(s->clock.ctx) + left;
}

static enum err msg_write(const struct admin_setup *s, const struct msg *m, struct buf *ret)
{
    uint8_t bytes[JOURNAL_HEAD_MAX];
    struct wr head = wr_into(bytes, sizeof bytes);
    struct journal_body b = {.id = 1, /* a record has one */
                             .m = {.publisher = m->publisher,
                                   .number = m->number,
                                   .expires_wall_ms = expires_wall_ms(s, m),
                                   .segment = m->segment,
                                   .content_format = m->content_format,
                                   .qos = m->qos,
                                   .retain = true,
                                   .is_utf8 = m->is_utf8,
                                   .topic = m->topic,
                                   .props = m->props,
                                   .payload = m->payload}};
    TRY(journal_body_head(&b, &head));
    TRY(buf_append(ret, wr_slice(&head), RECORD_MAX));
    return buf_append(ret, slice_of(m->bytes, m->topic.n + m->props.n + m->payload.n), RECORD_MAX);
}

static enum err msg_read(const struct admin_setup *s, struct slice record, struct msg **ret)
{
    struct journal_body b;
    struct msg *m = NULL;
    TRY(journal_body_read(record, &b));
    if (b.m.topic.n == 0 || b.m.payload.n == 0) {
        return ERR_MALFORMED;
    }
    TRY(msg_new(b.m.topic, b.m.props, b.m.payload, &m));
    int64_t left = b.m.expires_wall_ms - s->clock.wall_ms(s->clock.ctx);
    m->qos = b.m.qos;
    m->retain = true;
    m->is_utf8 = b.m.is_utf8;
    m->publisher = b.m.publisher;
    m->segment = b.m.segment;
    m->content_format = b.m.content_format;
    if (b.m.expires_wall_ms != INT64_MAX) {
        m->expires_at_ms = s->clock.mono_ms(s->clock.ctx) + (left > 0 ? (uint64_t)left : 0);
    }
    *ret = m;
    return OK;
}

/* ---- a part ---- */

static void bytes_release(struct buf *b)
{
    buf_wipe(b);
}

/* The owner whose key opens it: that of the anonymous is the log's own, as in the log. */
static uint64_t owner_of(const struct msg *m)
{
    return m->publisher >> 63 != 0 ? 0 : m->publisher;
}

static enum err seal_one(const struct admin_setup *s, const uint8_t salt[SALT_BYTES],
                         const struct msg *m, struct buf *ret)
{
    uint8_t key[KEYRING_KEY_BYTES];
    uint8_t head[12];
    AUTO(bytes_release) struct buf plain = {0};
    AUTO(bytes_release) struct buf sealed = {0};
    TRY(keyring_record_key(s->keyring, owner_of(m), salt, key));
    enum err err = msg_write(s, m, &plain);
    if (err == OK) {
        err = sealed_make(slice_of(key, sizeof key), PURPOSE, &s->random, buf_slice(&plain),
                          RECORD_MAX, &sealed);
    }
    mem_wipe(key, sizeof key);
    TRY(err);
    struct wr w = wr_into(head, sizeof head);
    wr_u64(&w, owner_of(m));
    wr_u32(&w, (uint32_t)sealed.n);
    TRY(buf_append(ret, wr_slice(&w), PART_MAX));
    return buf_append(ret, buf_slice(&sealed), PART_MAX);
}

enum err undo_save(const struct admin_setup *s, uint64_t id, unsigned part, struct msg *const *msgs,
                   size_t n, size_t *ret_kept)
{
    uint8_t salt[SALT_BYTES];
    char path[PATH_BYTES];
    size_t kept = 0;
    AUTO(bytes_release) struct buf plain = {0};
    AUTO(bytes_release) struct buf file = {0};
    if (part > UNDO_PARTS_MAX) {
        return ERR_LIMIT;
    }
    s->random.fill(s->random.ctx, salt, sizeof salt);
    TRY(buf_append(&plain, slice_of(salt, sizeof salt), PART_MAX));
    for (size_t i = 0; i < n; i++) {
        enum err err = seal_one(s, salt, msgs[i], &plain);
        if (err != ERR_NOT_FOUND) {
            TRY(err);
            kept++;
        }
    }
    TRY(sealed_make(keyring_root(s->keyring), PURPOSE, &s->random, buf_slice(&plain), PART_MAX,
                    &file));
    path_of(id, part, path);
    TRY(disk_save(s->disk, path, buf_slice(&file)));
    *ret_kept = kept;
    return OK;
}

static enum err open_one(const struct admin_setup *s, const uint8_t *salt, struct rd *r,
                         struct msg **ret)
{
    uint8_t key[KEYRING_KEY_BYTES];
    AUTO(bytes_release) struct buf plain = {0};
    uint64_t owner = rd_u64(r);
    struct slice sealed = rd_bytes(r, rd_u32(r));
    if (r->err != OK) {
        return r->err;
    }
    TRY(keyring_record_key(s->keyring, owner, salt, key));
    enum err err = sealed_open(slice_of(key, sizeof key), PURPOSE, sealed, &plain);
    mem_wipe(key, sizeof key);
    TRY(err);
    return msg_read(s, buf_slice(&plain), ret);
}

static enum err open_all(const struct admin_setup *s, struct slice plain, struct msg **msgs,
                         size_t cap, size_t *n)
{
    struct rd r = rd_from(plain);
    struct slice salt = rd_bytes(&r, SALT_BYTES);
    while (r.err == OK && rd_left(&r) > 0) {
        struct msg *m = NULL;
        enum err err = *n < cap ? open_one(s, salt.p, &r, &m) : ERR_LIMIT;
        if (err != ERR_NOT_FOUND) {
            TRY(err);
            msgs[(*n)++] = m;
        }
    }
    return rd_finish(&r);
}

enum err undo_load(const struct admin_setup *s, uint64_t id, unsigned part, struct msg **msgs,
                   size_t cap, size_t *ret_n)
{
    char path[PATH_BYTES];
    AUTO(bytes_release) struct buf file = {0};
    AUTO(bytes_release) struct buf plain = {0};
    size_t n = 0;
    *ret_n = 0;
    path_of(id, part, path);
    TRY(disk_load(s->disk, path, PART_MAX + SEALED_OVERHEAD_BYTES, &file));
    TRY(sealed_open(keyring_root(s->keyring), PURPOSE, buf_slice(&file), &plain));
    enum err err = open_all(s, buf_slice(&plain), msgs, cap, &n);
    for (; err != OK && n > 0; n--) {
        msg_unref(msgs[n - 1]);
    }
    TRY(err);
    *ret_n = n;
    return OK;
}
