/* segment_made - a small segment on a disk in memory with all that was written to it, for this
 * folder's tests and fuzz targets. */
#ifndef STORE_SEGMENT_MADE_PRIVATE_H
#define STORE_SEGMENT_MADE_PRIVATE_H

#include "store/memdisk_private.h"
#include "store/segment.h"

enum {
    MADE_RECORDS = 64,
    MADE_BATCHES = 16,
    MADE_CONTENT = 1024,
    MADE_NUMBER = 7,
    MADE_BYTES = 16 * 1024
};

struct made_record {
    struct record_head head;
    struct place place;
    uint8_t content[MADE_CONTENT];
    size_t n;
    unsigned batch;
};

struct made {
    struct memdisk *disk;
    struct keyring *keyring;
    struct sealer *sealer;
    struct segment_head head;
    struct disk_file *file;
    struct made_record records[MADE_RECORDS];
    size_t n;
    uint32_t ends[MADE_BATCHES]; /* of batches */
    unsigned n_batches;
    uint64_t number;
};

static uint32_t made_end(const struct made *m)
{
    return m->n_batches > 0 ? m->ends[m->n_batches - 1] : SEGMENT_HEAD_BYTES;
}

/* One batch of n records; record i has sizes[i] bytes of content and the owner owners[i]. */
static void made_batch(struct made *m, size_t n, const size_t *sizes, const uint64_t *owners)
{
    AUTO(buf_done) struct buf batch = {0};
    assert(m->n + n <= MADE_RECORDS && m->n_batches < MADE_BATCHES);
    uint32_t base = made_end(m);
    struct batch_link link = {.segment = m->n_batches > 0 ? MADE_NUMBER : 0,
                              .offset = m->n_batches > 0 ? base : 0};
    for (size_t i = 0; i < n; i++) {
        struct made_record *r = &m->records[m->n++];
        unsigned flags = (i == 0 ? RECORD_FIRST : 0U) | (i == n - 1 ? RECORD_LAST : 0U);
        r->head = (struct record_head){.kind = (uint8_t)(1 + m->n % 16),
                                       .flags = (uint8_t)flags,
                                       .owner = owners[i],
                                       .number = ++m->number};
        r->n = sizes[i];
        r->batch = m->n_batches;
        for (size_t k = 0; k < r->n; k++) {
            r->content[k] = (uint8_t)(m->number * 31 + k);
        }
        struct slice content = slice_of(r->content, r->n);
        enum err e = record_seal(m->sealer, MADE_NUMBER, base, &r->head, i == 0 ? &link : NULL,
                                 slice_head(content, 5), slice_from(content, 5), &batch, &r->place);
        assert(e == OK);
        r->head.bytes = r->place.bytes;
        if (!keyring_has(m->keyring, r->head.owner)) {
            r->head.owner = 0;
        }
    }
    enum err e = m->disk->disk.ops->write_at(m->file, base, buf_slice(&batch));
    assert(e == OK);
    m->ends[m->n_batches++] = base + (uint32_t)batch.n;
}

/* An empty segment; owners 1 to 4 have keys. */
static void made_init(struct made *m, struct random_source random)
{
    static const uint8_t master[32] = {1};
    *m = (struct made){.disk = memdisk_new()};
    struct keyring_setup setup = {
        .disk = &m->disk->disk, .master = slice_of(master, sizeof master), .random = random};
    enum err e = keyring_create(&setup, &m->keyring);
    assert(e == OK);
    e = keyring_add(m->keyring, (uint64_t[]){1, 2, 3, 4}, 4);
    assert(e == OK);
    m->head = (struct segment_head){
        .number = MADE_NUMBER,
        .bytes = MADE_BYTES,
        .wall_ms = 1700000000000,
        .ids = {.session = 1, .body = 2, .retained = 3, .set_aside = 4},
    };
    random.fill(random.ctx, m->head.salt, sizeof m->head.salt);
    e = sealer_new(m->keyring, m->head.salt, &m->sealer);
    assert(e == OK);
    e = segment_create(&m->disk->disk, m->keyring, &m->head, &m->file);
    assert(e == OK);
}

static void made_done(struct made *m)
{
    if (m->file != NULL) {
        m->disk->disk.ops->close(m->file);
    }
    sealer_free(m->sealer);
    keyring_free(m->keyring);
    m->disk->disk.ops->free(&m->disk->disk);
}

/* What a scan gave. */
struct met {
    const struct made *made;
    bool is_met[MADE_RECORDS];
    unsigned n_met, n_damages;
    size_t n_strange; /* records that were never written, or come twice or in another order */
    struct damage damages[MADE_RECORDS];
    struct scan_end end;
};

static enum err met_record(void *ctx, const struct record_head *h, struct place place,
                           struct slice content)
{
    struct met *met = ctx;
    size_t i = (size_t)h->number - 1;
    const struct made_record *r = &met->made->records[i < met->made->n ? i : 0];
    bool is_ours = i < met->made->n && r->head.kind == h->kind && r->head.flags == h->flags &&
                   r->head.owner == h->owner && r->head.bytes == h->bytes &&
                   memcmp(&r->place, &place, sizeof place) == 0 &&
                   slice_equal(content, slice_of(r->content, r->n));
    for (size_t k = i; is_ours && k < met->made->n; k++) {
        is_ours = !met->is_met[k];
    }
    if (!is_ours) {
        met->n_strange++;
        return OK;
    }
    met->is_met[i] = true;
    met->n_met++;
    return OK;
}

static void met_damage(void *ctx, const struct damage *d)
{
    struct met *met = ctx;
    if (met->n_damages < MADE_RECORDS) {
        met->damages[met->n_damages] = *d;
    }
    met->n_damages++;
}

/* Opens the file anew, as a restart does. */
static enum err made_scan(struct made *m, const struct batch_link *later, struct met *ret)
{
    struct segment_head head;
    struct disk_file *f = NULL;
    struct scan_sink sink = {.ctx = ret, .record = met_record, .damage = met_damage};
    *ret = (struct met){.made = m};
    TRY(segment_open(&m->disk->disk, m->keyring, MADE_NUMBER, false, &head, &f));
    enum err e = segment_scan(m->sealer, &m->disk->disk, f, &head, later, &sink, &ret->end);
    m->disk->disk.ops->close(f);
    return e;
}

#endif
