#include "service/watch/spool.h"

#include <assert.h>

#include "base/differ.h"
#include "base/mem.h"

/* Before each line: its length, the length of what lies there, when it came, in milliseconds after
 * the first one of its block (which holds as long as this number has room). */
enum { HEAD_BYTES = 2 + 2 + 4 };

struct spool_block {
    struct list_node node;
    uint64_t first;    /* number of its first line */
    uint64_t since_ms; /* when that came */
    size_t n_lines, used, cap;
    uint8_t bytes[];
};

struct packed {
    size_t n;
    struct slice bytes;
    uint32_t later_ms;
};

_Static_assert((int)TRAIL_LINE_MAX <= (int)DIFFER_TEXT_MAX, "each line can be written");

void spool_init(struct spool *s)
{
    *s = (struct spool){.next = SPOOL_AT_FIRST, .first = SPOOL_AT_FIRST};
    list_init(&s->blocks);
}

static struct spool_block *oldest_block(const struct spool *s)
{
    return LIST_ENTRY(s->blocks.head.next, struct spool_block, node);
}

/* There is one. */
static struct spool_block *newest_block(const struct spool *s)
{
    return LIST_ENTRY(s->blocks.head.prev, struct spool_block, node);
}

static void block_free(struct spool *s, struct spool_block *b)
{
    if (s->read_block == b) {
        s->read_block = NULL;
        s->read_number = 0;
    }
    list_unlink(&b->node);
    mem_free(b);
}

void spool_done(struct spool *s)
{
    while (!list_is_empty(&s->blocks)) {
        block_free(s, oldest_block(s));
    }
    s->first = s->next;
}

/* ---- lines in, lines out ---- */

static enum err block_add(struct spool *s, size_t line_n, uint64_t now_ms)
{
    size_t need = HEAD_BYTES + differ_most(line_n);
    size_t cap = SPOOL_BLOCK_BYTES - sizeof(struct spool_block);
    cap = need > cap ? need : cap;
    struct spool_block *b = mem_alloc(sizeof(*b) + cap);
    if (b == NULL) {
        return ERR_NOMEM;
    }
    *b = (struct spool_block){.first = s->next, .since_ms = now_ms, .cap = cap};
    list_append(&s->blocks, &b->node);
    s->last.n = 0; /* a block is read without the one before */
    return OK;
}

static bool has_room(const struct spool *s, size_t line_n, uint64_t now_ms)
{
    if (list_is_empty(&s->blocks)) {
        return false;
    }
    const struct spool_block *b = newest_block(s);
    return b->cap - b->used >= HEAD_BYTES + differ_most(line_n) &&
           now_ms - b->since_ms <= UINT32_MAX;
}

enum err spool_push(struct spool *s, struct slice line, uint64_t now_ms)
{
    assert(line.n > 0 && line.n <= TRAIL_LINE_MAX);
    if (!has_room(s, line.n, now_ms)) {
        TRY(block_add(s, line.n, now_ms));
    }
    struct spool_block *b = newest_block(s);
    struct wr w = wr_into(b->bytes, b->cap);
    w.at = b->used + HEAD_BYTES;
    differ_write(&w, slice_of(s->last.bytes, s->last.n), line);
    size_t end = w.at;
    w.at = b->used;
    wr_u16(&w, (uint16_t)line.n);
    wr_u16(&w, (uint16_t)(end - b->used - HEAD_BYTES));
    wr_u32(&w, (uint32_t)(now_ms - b->since_ms));
    assert(wr_ok(&w));
    b->used = end;
    b->n_lines++;
    slice_copy(s->last.bytes, line);
    s->last.n = line.n;
    if (s->first == s->next) {
        s->first_at = 0;
    }
    s->next++;
    return OK;
}

/* What lies at `at`; returns where it ends. */
static size_t packed_at(const struct spool_block *b, size_t at, struct packed *ret)
{
    struct rd r = rd_from(slice_of(b->bytes, b->used));
    (void)rd_bytes(&r, at);
    ret->n = rd_u16(&r);
    size_t n = rd_u16(&r);
    ret->later_ms = rd_u32(&r);
    ret->bytes = rd_bytes(&r, n);
    assert(rd_ok(&r));
    return r.at;
}

/* ---- reading ---- */

/* To before the first line of the block that has this number. */
static void seek(struct spool *s, uint64_t number)
{
    struct spool_block *b = newest_block(s);
    while (b->first > number) {
        b = LIST_ENTRY(b->node.prev, struct spool_block, node);
    }
    s->read_block = b;
    s->read_end = 0;
    s->read_number = b->first - 1;
    s->read.n = 0;
}

static void read_next(struct spool *s)
{
    struct packed p;
    uint8_t line[TRAIL_LINE_MAX];
    if (s->read_number + 1 == s->read_block->first + s->read_block->n_lines) {
        s->read_block = LIST_ENTRY(s->read_block->node.next, struct spool_block, node);
        s->read_end = 0;
        s->read.n = 0;
    }
    s->read_end = packed_at(s->read_block, s->read_end, &p);
    assert(p.n <= sizeof line);
    enum err err = differ_read(p.bytes, slice_of(s->read.bytes, s->read.n), line, p.n);
    assert(err == OK);
    (void)err;
    slice_copy(s->read.bytes, slice_of(line, p.n));
    s->read.n = p.n;
    s->read_number++;
}

struct slice spool_read(struct spool *s, uint64_t number)
{
    assert(number >= s->first && number < s->next);
    bool is_near = s->read_block != NULL && s->read_number <= number && number - s->read_number < 2;
    if (!is_near) {
        seek(s, number);
    }
    while (s->read_number < number) {
        read_next(s);
    }
    return slice_of(s->read.bytes, s->read.n);
}

/* ---- the oldest ---- */

size_t spool_oldest(const struct spool *s, uint64_t *ret_since_ms)
{
    struct packed p;
    assert(s->first < s->next);
    const struct spool_block *b = oldest_block(s);
    (void)packed_at(b, s->first_at, &p);
    *ret_since_ms = b->since_ms + p.later_ms;
    return p.n;
}

void spool_drop(struct spool *s)
{
    struct packed p;
    assert(s->first < s->next);
    struct spool_block *b = oldest_block(s);
    s->first_at = packed_at(b, s->first_at, &p);
    s->first++;
    if (s->first == b->first + b->n_lines) {
        block_free(s, b);
        s->first_at = 0;
    }
}
