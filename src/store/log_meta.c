/*
 * The log's own entry: whether it was closed in order, the wall time, the highest ids. One at the
 * begin of each segment and one a minute while there is traffic; the newest counts. A segment is
 * removed only when a newer one has it, so ids outlive the records that they were given to.
 */
#include "base/rd.h"
#include "store/log_private.h"

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

struct store_ids store_ids_max(struct store_ids a, struct store_ids b)
{
    return (struct store_ids){.session = greater(a.session, b.session),
                              .body = greater(a.body, b.body),
                              .retained = greater(a.retained, b.retained),
                              .set_aside = greater(a.set_aside, b.set_aside)};
}

struct store_ids log_ids(const struct log *l)
{
    return store_ids_max(l->ids, index_ids(l->index));
}

MUST_USE enum err log_meta_chunk(struct log *l, bool is_closed, struct chunk **ret)
{
    AUTO(chunk_autofree) struct chunk *c = NULL;
    TRY(chunk_new(&c));
    c->writer = LOG_OWN;
    uint8_t head[JOURNAL_HEAD_MAX], body[LOG_META_BYTES];
    struct wr h = wr_into(head, sizeof head), b = wr_into(body, sizeof body);
    TRY(journal_entry_head(JOURNAL_ENTRY, LOG_TABLE, LOG_TABLE_ID, &h));
    struct store_ids ids = log_ids(l);
    wr_u8(&b, is_closed ? 1 : 0);
    wr_u64(&b, (uint64_t)l->setup.clock.wall_ms(l->setup.clock.ctx));
    wr_u64(&b, ids.session);
    wr_u64(&b, ids.body);
    wr_u64(&b, ids.retained);
    wr_u64(&b, ids.set_aside);
    TRY(chunk_add(c, JOURNAL_ENTRY, 0, wr_slice(&h), wr_slice(&b)));
    *ret = TAKE(c);
    return OK;
}

bool log_meta_read(enum journal_kind kind, struct slice content, struct log_meta *ret)
{
    struct journal_entry e;
    if (kind != JOURNAL_ENTRY || journal_entry_read(kind, content, &e) != OK ||
        e.table != LOG_TABLE) {
        return false;
    }
    struct rd r = rd_from(e.content);
    struct log_meta m = {.is_closed = rd_u8(&r) == 1};
    m.wall_ms = (int64_t)rd_u64(&r);
    m.ids.session = rd_u64(&r);
    m.ids.body = rd_u64(&r);
    m.ids.retained = rd_u64(&r);
    m.ids.set_aside = rd_u64(&r);
    if (rd_finish(&r) != OK) {
        return false;
    }
    *ret = m;
    return true;
}
