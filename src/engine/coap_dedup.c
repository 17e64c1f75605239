#include "engine/coap_dedup.h"

#include <assert.h>

#include "base/mem.h"

/* Of the table an eighth stays free, so that a search is short. Behind the answers that are of use
 * there is a quarter more room than they may take, so that they are moved seldom. */
enum { NEXT_PLACES = 8, FREE_SHARE = 8, ROOM_SHARE = 4 };
enum { SEEN_STATES = 7, FOLD_BITS = 5 };

/* Before each answer that is kept. */
struct kept {
    uint16_t mid;
    uint16_t n;
    bool is_gone; /* its message id was forgotten, or its bytes had to go */
};

static uint32_t tick_of(uint64_t now_ms)
{
    return (uint32_t)(now_ms / COAP_DEDUP_TICK_MS);
}

/* ---- answers ---- */

static struct kept kept_at(const struct coap_remembered *d, uint32_t at)
{
    struct kept k;
    assert(at + sizeof(k) <= d->kept_end);
    memcpy(&k, d->kept + at, sizeof(k));
    return k;
}

static uint32_t kept_size(const struct kept *k)
{
    return (uint32_t)sizeof(*k) + k->n;
}

/* Where the answer of this message id is; kept_end: nowhere. */
static uint32_t find_kept(const struct coap_remembered *d, uint16_t mid)
{
    uint32_t at = d->kept_at;
    while (at < d->kept_end) {
        struct kept k = kept_at(d, at);
        if (k.mid == mid && !k.is_gone) {
            break;
        }
        at += kept_size(&k);
    }
    return at;
}

/* What is gone at the front is room. */
static void skip_gone(struct coap_remembered *d)
{
    while (d->kept_at < d->kept_end) {
        struct kept k = kept_at(d, d->kept_at);
        if (!k.is_gone) {
            return;
        }
        d->kept_at += kept_size(&k);
    }
    d->kept_at = d->kept_end = 0;
}

static void drop_kept(struct coap_remembered *d, uint32_t at)
{
    assert(at <
           d->kept_end); /* a KEPT entry has its bytes, and kept_bytes > 0 means there are some */
    struct kept k = kept_at(d, at);
    k.is_gone = true;
    memcpy(d->kept + at, &k, sizeof(k));
    d->kept_bytes -= k.n;
    skip_gone(d);
}

static void free_kept(struct coap_remembered *d)
{
    d->kept = mem_free(d->kept);
    d->kept_at = d->kept_end = d->kept_cap = d->kept_bytes = 0;
}

/* ---- the table ---- */

void coap_dedup_init(struct coap_dedup *d)
{
    *d = (struct coap_dedup){0};
}

static struct coap_seen *of_heap(struct coap_remembered *d)
{
    return d->seen != d->first ? d->seen : NULL;
}

static void free_seen(struct coap_remembered *d)
{
    (void)mem_free(of_heap(d));
    memset(d->first, 0, sizeof(d->first));
    d->seen = d->first;
    d->cap = COAP_DEDUP_FIRST;
    d->n = 0;
}

void coap_dedup_done(struct coap_dedup *d)
{
    if (d->all != NULL) {
        free_kept(d->all);
        free_seen(d->all);
        d->all = mem_free(d->all);
    }
}

static enum err begin(struct coap_dedup *d)
{
    d->all = mem_zalloc(sizeof(*d->all));
    if (d->all == NULL) {
        return ERR_NOMEM;
    }
    free_seen(d->all);
    return OK;
}

/* Message ids that follow each other lie far apart. */
static uint32_t home_of(uint32_t cap, uint16_t mid)
{
    enum { GOLDEN = 40503 }; /* 2^16 divided by the golden ratio */
    uint32_t mixed = (uint32_t)mid * GOLDEN & UINT16_MAX;
    return (uint32_t)((uint64_t)mixed * cap >> 16);
}

static uint32_t next_of(uint32_t cap, uint32_t i)
{
    return i + 1 < cap ? i + 1 : 0;
}

/* The place of mid, or the free one where it belongs. cap > 0. */
static struct coap_seen *place_of(struct coap_seen *seen, uint32_t cap, uint16_t mid)
{
    uint32_t i = home_of(cap, mid);
    while (seen[i].until != 0 && seen[i].mid != mid) {
        i = next_of(cap, i);
    }
    return &seen[i];
}

static struct coap_seen *find_any(const struct coap_remembered *d, uint16_t mid)
{
    struct coap_seen *s = d->n > 0 ? place_of(d->seen, d->cap, mid) : NULL;
    return s != NULL && s->until != 0 ? s : NULL;
}

struct coap_seen *coap_dedup_find(struct coap_dedup *d, uint16_t mid, uint64_t now_ms)
{
    struct coap_seen *s = d->all != NULL ? find_any(d->all, mid) : NULL;
    return s != NULL && s->until > tick_of(now_ms) ? s : NULL;
}

/* How far behind `from` the place i is, around the end. */
static uint32_t distance(uint32_t cap, uint32_t from, uint32_t i)
{
    return i >= from ? i - from : cap - from + i;
}

/* Frees place i: whatever a search would not reach any more moves towards its home. */
static void remove_at(struct coap_remembered *d, uint32_t i)
{
    for (uint32_t j = next_of(d->cap, i); d->seen[j].until != 0; j = next_of(d->cap, j)) {
        uint32_t home = home_of(d->cap, d->seen[j].mid);
        if (distance(d->cap, home, j) >= distance(d->cap, i, j)) {
            d->seen[i] = d->seen[j];
            i = j;
        }
    }
    d->seen[i] = (struct coap_seen){.until = 0};
    d->n--;
}

static void forget(struct coap_remembered *d, const struct coap_seen *s)
{
    if (s->state == COAP_SEEN_KEPT) {
        drop_kept(d, find_kept(d, s->mid));
    }
}

static void sweep(struct coap_remembered *d, uint64_t now_ms)
{
    uint32_t now = tick_of(now_ms);
    for (uint32_t i = 0; i < d->cap; i++) {
        while (d->seen[i].until != 0 && d->seen[i].until <= now) {
            forget(d, &d->seen[i]);
            remove_at(d, i); /* and another may stand here now */
        }
    }
    d->first_until = UINT32_MAX;
    for (uint32_t i = 0; i < d->cap; i++) {
        uint32_t until = d->seen[i].until;
        d->first_until = until != 0 && until < d->first_until ? until : d->first_until;
    }
    if (d->n == 0) {
        free_seen(d);
    }
    if (d->kept_bytes == 0) {
        free_kept(d);
    }
}

void coap_dedup_sweep(struct coap_dedup *d, uint64_t now_ms)
{
    if (d->all != NULL) {
        sweep(d->all, now_ms);
    }
    if (d->all != NULL && d->all->n == 0) {
        coap_dedup_done(d);
    }
}

static enum err grow(struct coap_remembered *d, uint32_t cap)
{
    struct coap_seen *seen = mem_array(cap, sizeof(*seen));
    if (seen == NULL) {
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < d->cap; i++) {
        if (d->seen[i].until != 0) {
            *place_of(seen, cap, d->seen[i].mid) = d->seen[i];
        }
    }
    (void)mem_free(of_heap(d));
    d->seen = seen;
    d->cap = cap;
    return OK;
}

static bool has_room(const struct coap_remembered *d, const struct coap_limits *limits)
{
    return d->n < limits->dedup_entries && d->n < d->cap - 1 - d->cap / FREE_SHARE;
}

static void sweep_when_due(struct coap_remembered *d, uint64_t now_ms)
{
    if (d->n > 0 && d->first_until <= tick_of(now_ms)) {
        sweep(d, now_ms);
    }
}

bool coap_dedup_is_half(struct coap_dedup *d, const struct coap_limits *limits, uint64_t now_ms)
{
    uint32_t half = limits->dedup_entries / 2;
    if (d->all != NULL && d->all->n >= half) {
        sweep_when_due(d->all, now_ms);
    }
    return (d->all != NULL ? d->all->n : 0) >= half;
}

static enum err make_room(struct coap_remembered *d, const struct coap_limits *limits,
                          uint64_t now_ms)
{
    if (has_room(d, limits)) {
        return OK;
    }
    sweep_when_due(d, now_ms);
    /* A sweep that freed little is not repeated for every message: the table grows first. */
    if (d->n * 2 <= d->cap && has_room(d, limits)) {
        return OK;
    }
    uint32_t n_most = limits->dedup_entries;
    uint32_t most = n_most + n_most / 4 + 2; /* of which n_most are no more than seven eighths */
    uint32_t cap = d->cap >= NEXT_PLACES ? d->cap * 2 : NEXT_PLACES;
    cap = cap < most ? cap : most;
    if (d->n >= n_most || cap <= d->cap) {
        return has_room(d, limits) ? OK : ERR_LIMIT;
    }
    enum err err = grow(d, cap);
    return has_room(d, limits) ? OK : err;
}

static enum err add(struct coap_remembered *d, const struct coap_limits *limits,
                    const struct coap_seen *seen, uint64_t now_ms)
{
    /* An id comes back after its lifetime: the old entry must not answer for the new one. */
    struct coap_seen *s = find_any(d, seen->mid);
    if (s == NULL) {
        TRY(make_room(d, limits, now_ms));
        s = place_of(d->seen, d->cap, seen->mid);
        d->n++;
    } else {
        forget(d, s);
    }
    *s = *seen;
    if (d->n == 1) {
        d->first_until = d->last_until = s->until;
    }
    d->first_until = s->until < d->first_until ? s->until : d->first_until;
    d->last_until = s->until > d->last_until ? s->until : d->last_until;
    return OK;
}

enum err coap_dedup_add(struct coap_dedup *d, const struct coap_limits *limits, uint16_t mid,
                        enum coap_seen_state state, uint32_t lifetime_ms, uint64_t now_ms)
{
    struct coap_seen seen = {
        .until = tick_of(now_ms + lifetime_ms) + 1, .mid = mid, .state = state & SEEN_STATES};
    if (d->all == NULL) {
        TRY(begin(d));
    }
    enum err err = add(d->all, limits, &seen, now_ms);
    if (d->all->n == 0) {
        coap_dedup_done(d);
    }
    return err;
}

/* ---- keeping ---- */

unsigned coap_dedup_fold(struct slice token)
{
    const uint32_t prime = 0x01000193, golden = 0x9e3779b1; /* FNV-1a; 2^32 by the golden ratio */
    uint32_t mixed = (uint32_t)token.n;
    for (size_t i = 0; i < token.n; i++) {
        mixed = (mixed ^ token.p[i]) * prime;
    }
    return mixed * golden >> (32 - FOLD_BITS);
}

/* The oldest answers go first; their message ids stay. */
static void evict(struct coap_remembered *d)
{
    struct kept k = kept_at(d, d->kept_at);
    struct coap_seen *s = find_any(d, k.mid);
    assert(s != NULL && s->state == COAP_SEEN_KEPT);
    s->state = COAP_SEEN_LOST;
    drop_kept(d, d->kept_at);
}

size_t coap_dedup_shed(struct coap_dedup *d)
{
    size_t n = 0;
    if (d->all != NULL) {
        for (; d->all->kept_bytes > 0; n++) {
            evict(d->all);
        }
        free_kept(d->all);
    }
    return n;
}

size_t coap_dedup_bytes(const struct coap_dedup *d)
{
    const struct coap_remembered *all = d->all;
    size_t table = all != NULL && all->seen != all->first ? all->cap * sizeof(*all->seen) : 0;
    return all != NULL ? sizeof(*all) + table + all->kept_cap : 0;
}

static bool fits_behind(const struct coap_remembered *d, uint32_t n)
{
    return d->kept_cap - d->kept_end >= n;
}

/* Makes room for n bytes more behind the last answer, by moving them to the front where that gives
 * enough for long, or else in more memory. */
static enum err make_kept_room(struct coap_remembered *d, const struct coap_limits *limits,
                               uint32_t n)
{
    uint32_t heads = 8 * (uint32_t)sizeof(struct kept);
    uint32_t most = limits->dedup_bytes + limits->dedup_bytes / ROOM_SHARE + heads;
    uint32_t used = d->kept_end - d->kept_at;
    uint32_t cap = d->kept_cap * 2 > used + n ? d->kept_cap * 2 : used + n;
    cap = cap < most ? cap : most;
    if (fits_behind(d, n)) {
        return OK;
    }
    bool is_moving = used + n <= d->kept_cap - d->kept_cap / ROOM_SHARE || d->kept_cap >= most;
    if (is_moving && d->kept_at > 0) {
        memmove(d->kept, d->kept + d->kept_at, used);
        d->kept_at = 0;
        d->kept_end = used;
    }
    if (fits_behind(d, n) || cap <= d->kept_cap) {
        return fits_behind(d, n) ? OK : ERR_LIMIT;
    }
    uint8_t *kept = mem_grow(d->kept, cap);
    if (kept == NULL) {
        return ERR_NOMEM;
    }
    d->kept = kept;
    d->kept_cap = cap;
    return fits_behind(d, n) ? OK : ERR_LIMIT;
}

static void keep(struct coap_remembered *d, const struct coap_limits *limits,
                 struct coap_seen *seen, struct slice answer)
{
    struct kept k = {.mid = seen->mid, .n = (uint16_t)answer.n};
    enum err err = ERR_LIMIT;
    forget(d, seen);
    seen->state = COAP_SEEN_LOST;
    if (answer.n == 0 || answer.n > limits->dedup_bytes || answer.n > UINT16_MAX) {
        return;
    }
    while (d->kept_bytes + answer.n > limits->dedup_bytes) {
        evict(d);
    }
    while ((err = make_kept_room(d, limits, kept_size(&k))) == ERR_LIMIT && d->kept_bytes > 0) {
        evict(d); /* small ones, which take more than their bytes */
    }
    if (err != OK) {
        return;
    }
    memcpy(d->kept + d->kept_end, &k, sizeof(k));
    slice_copy(d->kept + d->kept_end + sizeof(k), answer);
    d->kept_end += kept_size(&k);
    d->kept_bytes += k.n;
    seen->state = COAP_SEEN_KEPT;
}

void coap_dedup_keep(struct coap_dedup *d, const struct coap_limits *limits, struct coap_seen *seen,
                     struct slice answer)
{
    keep(d->all, limits, seen, answer); /* which has `seen` */
}

struct slice coap_dedup_kept(const struct coap_dedup *d, uint16_t mid)
{
    const struct coap_remembered *all = d->all;
    uint32_t at = all != NULL ? find_kept(all, mid) : 0;
    if (all == NULL || at == all->kept_end) {
        return (struct slice){0};
    }
    struct kept k = kept_at(all, at);
    return slice_of(all->kept + at + sizeof(k), k.n);
}

uint64_t coap_dedup_deadline(const struct coap_dedup *d)
{
    return d->all != NULL && d->all->n > 0 ? (uint64_t)d->all->last_until * COAP_DEDUP_TICK_MS
                                           : UINT64_MAX;
}
