/* The writers' side: records gather in a chunk of the writer's own, a handover moves the chunk. */
#include <assert.h>

#include "base/mem.h"
#include "store/log_private.h"

enum {
    CHUNK_FRAMES = 64,
    CHUNK_BYTES_KEPT = 1024 * 1024, /* a chunk that grew above it is not kept for the next one */
    SPARE_CHUNKS = 64
};

/* ---- chunks ---- */

MUST_USE enum err chunk_new(struct chunk **ret)
{
    struct chunk *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    *ret = c;
    return OK;
}

struct chunk *chunk_free(struct chunk *c)
{
    if (c != NULL) {
        buf_wipe(&c->bytes);
        mem_free(c->frames);
        mem_free(c);
    }
    return NULL;
}

void chunks_push(struct chunks *q, struct chunk *c)
{
    c->next = NULL;
    if (q->last != NULL) {
        q->last->next = c;
    } else {
        q->first = c;
    }
    q->last = c;
}

struct chunk *chunks_pop(struct chunks *q)
{
    struct chunk *c = q->first;
    if (c != NULL) {
        q->first = c->next;
        q->last = q->first != NULL ? q->last : NULL;
        c->next = NULL;
    }
    return c;
}

static uint64_t sealed_bytes(size_t content)
{
    uint64_t n = RECORD_HEAD_BYTES + content + RECORD_TAG_BYTES;
    return (n + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

static enum err frames_room(struct chunk *c)
{
    if (c->n_frames < c->cap_frames) {
        return OK;
    }
    size_t cap = c->cap_frames == 0 ? CHUNK_FRAMES : 2 * c->cap_frames;
    struct frame *grown = mem_grow(c->frames, cap * sizeof *grown);
    if (grown == NULL) {
        return ERR_NOMEM;
    }
    c->frames = grown;
    c->cap_frames = cap;
    return OK;
}

MUST_USE enum err chunk_add(struct chunk *c, enum journal_kind kind, uint64_t owner,
                            struct slice head, struct slice body)
{
    size_t n = head.n + body.n, before = c->bytes.n;
    if (n > RECORD_CONTENT_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(frames_room(c));
    TRY(buf_append(&c->bytes, head, UINT32_MAX));
    enum err err = buf_append(&c->bytes, body, UINT32_MAX);
    if (err != OK) {
        c->bytes.n = before;
        return err;
    }
    c->frames[c->n_frames++] = (struct frame){
        .owner = owner, .at = (uint32_t)before, .n = (uint32_t)n, .kind = (uint8_t)kind};
    c->sealed_bytes += sealed_bytes(n);
    c->n_acks += kind == JOURNAL_ACK ? 1 : 0;
    c->has_other = c->has_other || !journal_is_traffic(kind, head);
    return OK;
}

/* Contents of a chunk are strangers' messages, in plain: they are overwritten by the next ones, and
 * wiped when the chunk goes. */
void log_chunk_done(struct log *l, struct chunk *c)
{
    c->n_frames = 0;
    c->sealed_bytes = 0;
    c->n_acks = 0;
    c->has_other = false;
    buf_clear(&c->bytes);
    (void)pthread_mutex_lock(&l->inbox);
    bool is_kept = l->n_spare_chunks < SPARE_CHUNKS && c->bytes.cap <= CHUNK_BYTES_KEPT;
    if (is_kept) {
        c->next = l->spare_chunks;
        l->spare_chunks = c;
        l->n_spare_chunks++;
    }
    (void)pthread_mutex_unlock(&l->inbox);
    if (!is_kept) {
        chunk_free(c);
    }
}

/* ---- a writer ---- */

static struct writer *writer_of(struct journal *j)
{
    return (struct writer *)(void *)j;
}

static enum err admit(const struct writer *w, enum journal_kind kind, uint64_t more)
{
    struct log *l = w->log;
    uint64_t own = more + (w->open != NULL ? w->open->sealed_bytes : 0);
    uint64_t bytes = own + atomic_load_explicit(&l->outstanding, memory_order_relaxed);
    /* The last eighth of a handover is for what stands on the records before it. */
    if (own > (journal_adds(kind) ? l->handover_max / 8 * 7 : l->handover_max)) {
        return ERR_SPACE;
    }
    if (!journal_adds(kind)) {
        /* What settles is taken on top of what adds, but memory has an end too. */
        return bytes > 2 * l->setup.lag_bytes + l->handover_max ? ERR_SPACE : OK;
    }
    enum err refusal = (enum err)atomic_load_explicit(&l->refusal, memory_order_relaxed);
    if (refusal != OK) {
        return refusal;
    }
    bool fits = bytes <= l->setup.lag_bytes &&
                bytes <= atomic_load_explicit(&l->room, memory_order_relaxed);
    return fits ? OK : ERR_SPACE;
}

/* Half of the room is for what each writer has that was not handed over, in equal parts; so nobody
 * is refused between this answer and a handover. A message that is larger than its part waits until
 * little else does. */
static bool has_room_for(const struct writer *w, uint64_t more)
{
    const struct log *l = w->log;
    uint64_t own = w->open != NULL ? w->open->sealed_bytes : 0;
    uint64_t all = own + atomic_load_explicit(&l->outstanding, memory_order_relaxed);
    uint64_t room = atomic_load_explicit(&l->room, memory_order_relaxed);
    uint64_t most = room < l->setup.lag_bytes ? room : l->setup.lag_bytes;
    if (all == 0 && room >= l->handover_max) {
        return true; /* it can never have more */
    }
    bool is_own_full = own > 0 && (own + more) * 2 * l->n_writers > most;
    uint64_t counted = more < most / 4 ? more : most / 4;
    return !is_own_full && all + counted <= most / 2 && all + more <= most;
}

static enum journal_lag writer_lag(const struct journal *j, uint64_t bytes)
{
    const struct writer *w = (const struct writer *)(const void *)j;
    struct log *l = w->log;
    uint64_t more = sealed_bytes(bytes);
    if (atomic_load_explicit(&l->is_short, memory_order_relaxed) ||
        more > l->handover_max / 8 * 7 || has_room_for(w, more)) {
        return JOURNAL_KEEPS_UP;
    }
    uint64_t since_ms = atomic_load_explicit(&l->moved_ms, memory_order_relaxed);
    return log_now_ms(l) < since_ms + JOURNAL_STALL_S * 1000 ? JOURNAL_BEHIND
                                                             : JOURNAL_STANDS_STILL;
}

static enum err open_chunk(struct writer *w)
{
    struct log *l = w->log;
    (void)pthread_mutex_lock(&l->inbox);
    struct chunk *c = l->spare_chunks;
    if (c != NULL) {
        l->spare_chunks = c->next;
        l->n_spare_chunks--;
    }
    (void)pthread_mutex_unlock(&l->inbox);
    if (c == NULL) {
        TRY(chunk_new(&c));
    }
    c->next = NULL;
    c->writer = w->index;
    w->open = c;
    return OK;
}

static enum err writer_append(struct journal *j, enum journal_kind kind, uint64_t owner,
                              struct slice head, struct slice body, uint64_t *ret_lsn)
{
    struct writer *w = writer_of(j);
    TRY(admit(w, kind, sealed_bytes(head.n + body.n)));
    if (w->open == NULL) {
        TRY(open_chunk(w));
    }
    TRY(chunk_add(w->open, kind, owner, head, body));
    w->open->last_lsn = ++w->lsn;
    *ret_lsn = w->lsn;
    return OK;
}

static enum err writer_admits(const struct journal *j)
{
    return admit((const struct writer *)(const void *)j, JOURNAL_BODY, 0);
}

static void writer_handover(struct journal *j, bool is_awaited)
{
    struct writer *w = writer_of(j);
    struct log *l = w->log;
    struct chunk *c = w->open != NULL && w->open->n_frames > 0 ? TAKE(w->open) : NULL;
    if (c == NULL && !is_awaited) {
        return;
    }
    if (c != NULL) {
        c->handed_us = l->setup.clock.mono_us(l->setup.clock.ctx);
        if (atomic_fetch_add_explicit(&l->outstanding, c->sealed_bytes, memory_order_relaxed) ==
            0) {
            atomic_store_explicit(&l->moved_ms, c->handed_us / 1000, memory_order_relaxed);
        }
    }
    (void)pthread_mutex_lock(&l->inbox);
    if (c != NULL) {
        chunks_push(&l->handed, c);
        l->last_handover_us = c->handed_us;
    }
    bool must_wake = is_awaited && !l->is_called && l->handed.first != NULL;
    l->is_called = l->is_called || must_wake;
    (void)pthread_mutex_unlock(&l->inbox);
    if (must_wake && l->setup.wake != NULL) {
        l->setup.wake(l->setup.ctx);
    }
}

static uint64_t writer_committed(const struct journal *j)
{
    const struct writer *w = (const struct writer *)(const void *)j;
    return atomic_load_explicit(&w->committed, memory_order_acquire);
}

const struct journal_ops log_journal_ops = {.append = writer_append,
                                            .admits = writer_admits,
                                            .lag = writer_lag,
                                            .handover = writer_handover,
                                            .committed = writer_committed};

struct journal *log_writer(struct log *l, unsigned i)
{
    assert(i < l->n_writers);
    return &l->writers[i].journal;
}
