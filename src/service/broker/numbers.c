#include "service/broker/numbers.h"

#include "base/mem.h"
#include "service/broker/commit_private.h"
#include "service/broker/record_private.h"
#include "service/broker/worker_private.h"

enum { BASE_ID = 0 }; /* no principal has it */

struct counter {
    uint64_t principal, next;
};

static struct slice counter_key(const void *value)
{
    const struct counter *c = value;
    return slice_of(&c->principal, sizeof(c->principal));
}

void numbers_init(struct numbers *n, const struct siphash_key *key)
{
    *n = (struct numbers){0};
    map_init(&n->next, key, counter_key);
}

void numbers_done(struct numbers *n)
{
    struct counter *c;
    size_t at = 0;
    while ((c = map_next(&n->next, &at)) != NULL) {
        mem_free(c);
    }
    map_done(&n->next);
}

static struct slice content_of(uint64_t number, uint8_t dst[8])
{
    struct wr w = wr_into(dst, 8);
    wr_u64(&w, number);
    return wr_slice(&w);
}

static enum err number_of(struct slice content, uint64_t *ret)
{
    struct rd r = rd_from(content);
    uint64_t number = rd_u64(&r);
    TRY(rd_finish(&r));
    *ret = number;
    return OK;
}

static enum err counter_add(struct numbers *n, uint64_t principal, uint64_t next,
                            struct counter **ret)
{
    struct counter *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return ERR_NOMEM;
    }
    *c = (struct counter){principal, next};
    enum err err = map_add(&n->next, c);
    if (err != OK) {
        mem_free(c);
        return err;
    }
    *ret = c;
    return OK;
}

struct load {
    struct numbers *numbers;
    bool (*is_ours)(const void *ctx, uint64_t principal);
    const void *ctx;
};

static enum err take_entry(void *ctx, uint64_t id, struct slice content)
{
    const struct load *l = ctx;
    struct counter *c = NULL;
    uint64_t number = 0;
    TRY(number_of(content, &number));
    if (id == BASE_ID) {
        l->numbers->base = number;
        return OK;
    }
    bool is_ours = l->is_ours == NULL || l->is_ours(l->ctx, id);
    return is_ours ? counter_add(l->numbers, id, number, &c) : OK;
}

enum err numbers_load(struct numbers *n, struct log *log,
                      bool (*is_ours)(const void *ctx, uint64_t principal), const void *ctx)
{
    struct load l = {n, is_ours, ctx};
    return log_entries(log, JOURNAL_TABLE_NUMBERS, take_entry, &l);
}

static struct counter *counter_of(const struct numbers *n, uint64_t principal)
{
    return map_find(&n->next, slice_of(&principal, sizeof(principal)));
}

uint64_t numbers_first(const struct numbers *n, uint64_t principal)
{
    const struct counter *c = counter_of(n, principal);
    return c != NULL && c->next > n->base ? c->next : n->base;
}

static enum err find_base(void *ctx, uint64_t id, struct slice content)
{
    uint64_t *base = ctx;
    return id == BASE_ID ? number_of(content, base) : OK;
}

enum err numbers_leap(struct log *log)
{
    uint8_t bytes[8];
    uint64_t base = 0;
    TRY(log_entries(log, JOURNAL_TABLE_NUMBERS, find_base, &base));
    struct log_change change = {.table = JOURNAL_TABLE_NUMBERS,
                                .id = BASE_ID,
                                .content = content_of(base + NUMBERS_LEAP, bytes)};
    return log_save(log, &change, 1);
}

enum err worker_numbers(struct worker *w, uint64_t principal, uint64_t cookie, uint64_t *ret_first)
{
    struct counter *c = counter_of(&w->numbers, principal);
    struct token t = {.kind = TOKEN_DOOR, .cookie = cookie};
    uint64_t token, lsn;
    uint8_t bytes[8];
    if (c == NULL) {
        TRY(counter_add(&w->numbers, principal, 0, &c));
    }
    uint64_t first = numbers_first(&w->numbers, principal);
    if (first > NUMBERS_END - NUMBERS_BLOCK) {
        return ERR_LIMIT;
    }
    TRY(pending_reserve(w, 1));
    TRY(token_new(w, &t, &token));
    enum err err = record_numbers(w, principal, content_of(first + NUMBERS_BLOCK, bytes), &lsn);
    if (err == OK) {
        struct pending p = {.lsn = lsn, .action = PENDING_TOKEN, .id = token};
        err = pending_add(w, &p);
    }
    if (err != OK) {
        token_drop(w, token);
        return err;
    }
    c->next = first + NUMBERS_BLOCK;
    *ret_first = first;
    return OK;
}
