/*
 * Reading a segment. What is found goes into a batch first; it is handed on when the batch is known
 * to have been whole:
 *   - it came undamaged from RECORD_FIRST to RECORD_LAST, or
 *   - a record of a later batch stands behind it: that was written only after this one was synced,
 *   - or the first batch of the next segment says that this one was committed.
 * Otherwise it is the end of an opening that was cut off, and none of it counts.
 */
#include "base/mem.h"
#include "store/segment_private.h"

enum { WINDOW_BYTES = 256 * 1024, SECTOR_BYTES = 512, HEAD_MAX = 36 };

/* A record or a damage of the batch that is gathered. */
struct piece {
    bool is_damage;
    struct damage damage; /* place and head also for a record */
    size_t at, n;         /* its content in plain */
};

struct scan {
    struct sealer *sealer;
    struct disk *disk;
    struct disk_file *file;
    const struct scan_sink *sink;
    uint32_t number;
    uint32_t end;       /* of what the file has */
    uint32_t written;   /* behind it are zeros; at most end */
    uint32_t committed; /* what the next segment says; UINT32_MAX: nobody does */
    struct buf window;
    uint32_t window_at;
    struct place unread; /* around all that could not be read */

    struct piece *pieces;
    size_t n_pieces, cap_pieces;
    struct buf plain;
    bool is_first_seen, is_last_seen, is_broken;
    uint32_t batch_end;

    struct scan_end done;
};

static void scan_done(struct scan *s)
{
    buf_wipe(&s->plain);
    buf_done(&s->window);
    mem_free(s->pieces);
}

/* ---- bytes ---- */

/* Sector by sector, where a piece at once does not work. What cannot be read is zeros. */
static size_t read_around(struct scan *s, uint32_t at, uint8_t *dst, size_t n)
{
    for (size_t done = 0; done < n; done += SECTOR_BYTES) {
        size_t part = n - done < SECTOR_BYTES ? n - done : SECTOR_BYTES;
        size_t got = 0;
        if (s->disk->ops->read_at(s->file, at + done, dst + done, part, &got) == OK) {
            memset(dst + done + got, 0, part - got);
            continue;
        }
        memset(dst + done, 0, part);
        uint32_t from = at + (uint32_t)done;
        if (s->unread.bytes == 0) {
            s->unread = (struct place){.segment = s->number, .offset = from};
        }
        if (from < s->unread.offset) {
            s->unread.bytes += s->unread.offset - from;
            s->unread.offset = from;
        }
        if (from + part > s->unread.offset + s->unread.bytes) {
            s->unread.bytes = (uint32_t)(from + part - s->unread.offset);
        }
    }
    return n;
}

/* n bytes at `at`, fewer at the end of the file. Borrowed until the next call. */
static enum err window(struct scan *s, uint32_t at, size_t n, struct slice *ret)
{
    size_t there = s->end - at;
    n = n < there ? n : there;
    if (at < s->window_at || at + n > s->window_at + s->window.n) {
        uint8_t *room = NULL;
        size_t useful = at < s->written ? s->written - at : 0;
        size_t want = useful < WINDOW_BYTES ? useful : WINDOW_BYTES;
        size_t got = 0;
        want = want > n ? want : n;
        buf_clear(&s->window);
        TRY(buf_room(&s->window, want, SIZE_MAX, &room));
        if (s->disk->ops->read_at(s->file, at, room, want, &got) != OK) {
            got = read_around(s, at, room, want);
        }
        memset(room + got, 0, want - got); /* somebody cut the file just now */
        s->window.n = want;
        s->window_at = at;
    }
    *ret = slice_head(slice_from(buf_slice(&s->window), at - s->window_at), n);
    return OK;
}

/* What of a window may hold anything: reading more would make the kernel keep pages of zeros. */
static size_t window_of(const struct scan *s, uint32_t at)
{
    return s->written - at < WINDOW_BYTES ? s->written - at : WINDOW_BYTES;
}

/* Most of a file may never have been written; this is much faster than a look at each place. */
static bool is_zeros(struct slice s)
{
    return s.n == 0 || (s.p[0] == 0 && memcmp(s.p, s.p + 1, s.n - 1) == 0);
}

/* The next record header from `from` on; s->end: there is none. */
static enum err next_record(struct scan *s, uint32_t from, uint32_t *ret)
{
    struct record_found r;
    struct slice chunk = {0};
    for (uint32_t at = from; at < s->written; at += (uint32_t)(chunk.n - chunk.n % RECORD_ALIGN)) {
        size_t left = at >= s->window_at && at - s->window_at < s->window.n
                          ? s->window.n - (at - s->window_at)
                          : 0;
        /* First what was read already: else each of many damages would read a window anew. */
        TRY(window(s, at, left > 2 * (size_t)HEAD_MAX ? left : window_of(s, at), &chunk));
        bool is_empty = is_zeros(chunk);
        for (size_t i = 0; !is_empty && i + RECORD_HEAD_BYTES <= chunk.n; i += RECORD_ALIGN) {
            if (record_find(s->sealer, s->number, at + (uint32_t)i,
                            slice_head(slice_from(chunk, i), HEAD_MAX), &r)) {
                *ret = at + (uint32_t)i;
                return OK;
            }
        }
        if (at + chunk.n >= s->written || chunk.n <= HEAD_MAX) {
            break;
        }
        chunk.n -= HEAD_MAX; /* a header may lie across two pieces */
    }
    *ret = s->end;
    return OK;
}

/* Behind the last byte of [from, end) that is not zero; `from` when all are. */
static enum err last_byte(struct scan *s, uint32_t from, uint32_t *ret)
{
    struct slice chunk = {0};
    uint32_t last = from;
    for (uint32_t at = from; at < s->written; at += (uint32_t)chunk.n) {
        TRY(window(s, at, window_of(s, at), &chunk));
        for (size_t i = is_zeros(chunk) ? 0 : chunk.n; i > 0; i--) {
            if (chunk.p[i - 1] != 0) {
                last = at + (uint32_t)i;
                break;
            }
        }
    }
    *ret = last;
    return OK;
}

/* ---- the batch ---- */

static void batch_clear(struct scan *s)
{
    s->n_pieces = 0;
    buf_clear(&s->plain);
    s->is_first_seen = s->is_last_seen = s->is_broken = false;
}

static enum err batch_hand_on(struct scan *s)
{
    for (size_t i = 0; i < s->n_pieces; i++) {
        const struct piece *p = &s->pieces[i];
        if (p->is_damage) {
            s->sink->damage(s->sink->ctx, &p->damage);
        } else {
            struct slice content = slice_head(slice_from(buf_slice(&s->plain), p->at), p->n);
            TRY(s->sink->record(s->sink->ctx, &p->damage.head, p->damage.place, content));
        }
    }
    if (s->n_pieces > 0) {
        s->done.offset = s->batch_end;
    }
    batch_clear(s);
    return OK;
}

static enum err piece_add(struct scan *s, struct piece **ret)
{
    if (s->n_pieces == s->cap_pieces) {
        size_t cap = s->cap_pieces > 0 ? s->cap_pieces * 2 : 64;
        struct piece *grown = mem_grow(s->pieces, cap * sizeof *grown);
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        s->pieces = grown;
        s->cap_pieces = cap;
    }
    *ret = &s->pieces[s->n_pieces++];
    **ret = (struct piece){.at = s->plain.n};
    return OK;
}

static void report_skipped(struct scan *s, uint32_t from, uint32_t to)
{
    struct damage d = {
        .what = DAMAGE_HEAD,
        .place = {.segment = s->number, .offset = from, .bytes = to - from},
    };
    s->sink->damage(s->sink->ctx, &d);
}

static enum err piece_add_skipped(struct scan *s, uint32_t from, uint32_t to)
{
    struct piece *p = NULL;
    TRY(piece_add(s, &p));
    p->is_damage = true;
    p->damage.what = DAMAGE_HEAD;
    p->damage.place = (struct place){.segment = s->number, .offset = from, .bytes = to - from};
    s->is_broken = true;
    s->batch_end = to;
    return OK;
}

static enum err piece_add_record(struct scan *s, uint32_t at, const struct record_found *r)
{
    struct piece *p = NULL;
    struct slice bytes = {0};
    uint8_t *room = NULL;
    TRY(window(s, at, r->head.bytes, &bytes));
    TRY(buf_room(&s->plain, r->head.bytes, SIZE_MAX, &room));
    TRY(piece_add(s, &p));
    p->damage.head = r->head;
    p->damage.place = (struct place){.segment = s->number, .offset = at, .bytes = r->head.bytes};
    enum err e = bytes.n == r->head.bytes
                     ? record_open(s->sealer, s->number, at, r, bytes, room, &p->n)
                     : ERR_CRYPTO; /* the file is cut here */
    if (e == OK) {
        s->plain.n += p->n;
    } else if (e == ERR_CRYPTO || e == ERR_NOT_FOUND) {
        p->is_damage = true;
        p->damage.what = e == ERR_CRYPTO ? DAMAGE_CONTENT : DAMAGE_ERASED;
        s->is_broken = s->is_broken || e == ERR_CRYPTO;
    } else {
        return e;
    }
    s->batch_end = at + (uint32_t)bytes.n;
    return OK;
}

/* A record whose header stands, behind `skipped_from` (or at once: skipped_from == at). */
static enum err record_met(struct scan *s, uint32_t skipped_from, uint32_t at,
                           const struct record_found *r)
{
    bool is_first = (r->head.flags & RECORD_FIRST) != 0;
    bool is_last = (r->head.flags & RECORD_LAST) != 0;
    if (is_first || s->is_last_seen) {
        TRY(batch_hand_on(s)); /* this record is of a later one */
    }
    if (skipped_from != at) {
        if (is_first) {
            report_skipped(s, skipped_from, at);
        } else {
            TRY(piece_add_skipped(s, skipped_from, at));
        }
    }
    s->is_first_seen = s->is_first_seen || is_first;
    TRY(piece_add_record(s, at, r));
    if (r->head.number > s->done.last_number) {
        s->done.last_number = r->head.number;
    }
    s->is_last_seen = is_last;
    if (is_last && s->is_first_seen && !s->is_broken && s->batch_end <= s->committed) {
        return batch_hand_on(s);
    }
    return OK;
}

/* ---- the whole ---- */

/* A segment is reserved at once and filled in its time: most of the newest was never written, and
 * is not read. Before anything is read, for that may count as written. */
static uint32_t written_of(const struct scan *s)
{
    uint64_t n = s->end;
    if (s->disk->ops->written_to == NULL || s->disk->ops->written_to(s->file, &n) != OK) {
        return s->end;
    }
    return n < s->end ? (uint32_t)n : s->end;
}

static enum err records_read(struct scan *s)
{
    struct slice head = {0};
    struct record_found r;
    for (uint32_t at = SEGMENT_HEAD_BYTES; at < s->end;) {
        uint32_t from = at;
        TRY(window(s, at, HEAD_MAX, &head));
        if (!record_find(s->sealer, s->number, at, head, &r)) {
            TRY(next_record(s, at + RECORD_ALIGN, &at));
            if (at >= s->end) {
                break;
            }
            TRY(window(s, at, HEAD_MAX, &head));
            if (!record_find(s->sealer, s->number, at, head, &r)) {
                return ERR_IO; /* it was there a moment ago */
            }
        }
        TRY(record_met(s, from, at, &r));
        at = r.head.bytes < s->end - at ? at + r.head.bytes : s->end;
    }
    return OK;
}

/* What is left when the last header was met. */
static enum err tail_read(struct scan *s, const struct segment_head *h)
{
    bool is_told = s->committed != UINT32_MAX;
    if (s->n_pieces > 0 && is_told && s->pieces[0].damage.place.offset < s->committed) {
        TRY(batch_hand_on(s));
    }
    batch_clear(s);
    if (is_told && s->done.offset < s->committed) {
        report_skipped(s, s->done.offset, s->committed);
        s->done.offset = s->committed;
    }
    uint32_t last = s->done.offset;
    if (s->done.offset < s->end) {
        TRY(last_byte(s, s->done.offset, &last));
    }
    s->done.torn_bytes = last - s->done.offset;
    uint32_t unread_end = s->unread.offset + s->unread.bytes;
    if (unread_end > s->done.offset) {
        struct damage d = {.what = DAMAGE_HEAD, .place = s->unread};
        s->sink->damage(s->sink->ctx, &d);
    }
    uint32_t whole = (uint32_t)h->bytes;
    uint32_t behind = s->done.offset > s->end ? s->done.offset : s->end;
    if (behind < whole) {
        report_skipped(s, behind, whole);
    }
    return OK;
}

enum err segment_scan(struct sealer *s, struct disk *d, struct disk_file *f,
                      const struct segment_head *h, const struct batch_link *later,
                      const struct scan_sink *sink, struct scan_end *ret)
{
    uint64_t size = 0;
    TRY(d->ops->size(f, &size));
    AUTO(scan_done)
    struct scan scan = {
        .sealer = s,
        .disk = d,
        .file = f,
        .sink = sink,
        .number = h->number,
        .end = (uint32_t)(size < h->bytes ? size : h->bytes),
        .committed = UINT32_MAX,
        .done = {.offset = SEGMENT_HEAD_BYTES},
    };
    scan.written = written_of(&scan);
    if (later != NULL) {
        uint32_t told = later->segment == h->number ? later->offset : 0;
        scan.committed = told < h->bytes ? told : (uint32_t)h->bytes;
    }
    if (h->bad.bytes > 0) {
        struct damage bad = {.what = DAMAGE_HEAD, .place = h->bad};
        sink->damage(sink->ctx, &bad);
    }
    TRY(records_read(&scan));
    TRY(tail_read(&scan, h));
    *ret = scan.done;
    return OK;
}

enum err segment_first_link(struct sealer *s, struct disk *d, struct disk_file *f,
                            const struct segment_head *h, struct batch_link *ret)
{
    uint8_t head[HEAD_MAX];
    struct record_found r;
    size_t n = 0;
    TRY(d->ops->read_at(f, SEGMENT_HEAD_BYTES, head, sizeof head, &n));
    if (!record_find(s, h->number, SEGMENT_HEAD_BYTES, slice_of(head, n), &r) ||
        (r.head.flags & RECORD_FIRST) == 0) {
        return ERR_NOT_FOUND;
    }
    *ret = r.link;
    return OK;
}
