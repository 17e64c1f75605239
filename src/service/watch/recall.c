#include "service/watch/recall.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

struct entry {
    struct list_node node; /* the one longest quiet first */
    char principal[66];
    struct recalled recalled;
};

struct recall {
    struct map by_name;
    struct list order;
    struct recalled_refusal nameless[RECALL_NAMELESS_MAX]; /* wall_ms 0: free */
};

static struct slice name_of(const void *value)
{
    const struct entry *e = value;
    return slice_text(e->principal);
}

enum err recall_new(const struct random_source *random, struct recall **ret)
{
    struct recall *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    struct siphash_key key = {random_u64(random), random_u64(random)};
    map_init(&r->by_name, &key, name_of);
    list_init(&r->order);
    *ret = r;
    return OK;
}

static void forget(struct recall *r, struct entry *e)
{
    list_unlink(&e->node);
    (void)map_remove(&r->by_name, name_of(e));
    mem_free(e);
}

struct recall *recall_free(struct recall *r)
{
    if (r == NULL) {
        return NULL;
    }
    for (struct list_node *n = list_first(&r->order); n != NULL; n = list_first(&r->order)) {
        forget(r, LIST_ENTRY(n, struct entry, node));
    }
    map_done(&r->by_name);
    return mem_free(r);
}

static struct entry *entry_for(struct recall *r, const char *principal)
{
    struct entry *e = map_find(&r->by_name, slice_text(principal));
    if (e != NULL) {
        list_unlink(&e->node);
        list_append(&r->order, &e->node);
        return e;
    }
    if (r->by_name.n >= RECALL_MAX) {
        forget(r, LIST_ENTRY(list_first(&r->order), struct entry, node));
    }
    e = mem_zalloc(sizeof *e);
    if (e == NULL) {
        return NULL;
    }
    EVENT_TEXT(e, principal, slice_text(principal));
    if (map_add(&r->by_name, e) != OK) {
        return mem_free(e);
    }
    list_append(&r->order, &e->node);
    return e;
}

static bool is_refusal(const struct event *e)
{
    return e->severity >= SEVERITY_WARNING && e->protocol != EVENT_PROTOCOL_control;
}

static void keep(struct recalled_refusal *k, const struct event *e)
{
    *k = (struct recalled_refusal){
        .wall_ms = e->wall_ms, .category = e->category, .is_claimed = e->is_claimed};
    EVENT_TEXT(k, peer, slice_text(e->peer));
    EVENT_TEXT(k, target, slice_text(e->target));
    EVENT_TEXT(k, reason, slice_text(e->reason));
}

void recall_note(struct recall *r, const struct event *e)
{
    bool is_seen = e->category == EVENT_connect || e->category == EVENT_disconnect;
    if (e->principal[0] == '\0' || (!is_seen && !is_refusal(e))) {
        return;
    }
    struct entry *entry = entry_for(r, e->principal);
    if (entry == NULL) {
        return;
    }
    struct recalled *k = &entry->recalled;
    if (is_seen) {
        k->seen_wall_ms = e->wall_ms;
        EVENT_TEXT(k, peer, slice_text(e->peer));
    }
    if (is_refusal(e)) {
        keep(&k->refusal, e);
        if (!e->is_claimed) {
            k->proven = k->refusal;
        }
    }
}

const struct recalled *recall_find(const struct recall *r, struct slice principal)
{
    const struct entry *e = map_find(&r->by_name, principal);
    return e != NULL ? &e->recalled : NULL;
}

/* ---- without a name ---- */

/* "address" of "address:port". */
static struct slice host_of(struct slice peer)
{
    size_t end = peer.n;
    for (size_t i = 0; i < peer.n; i++) {
        end = peer.p[i] == ':' ? i : end;
    }
    return slice_head(peer, end);
}

void recall_note_nameless(struct recall *r, const struct event *e)
{
    struct slice host = host_of(slice_text(e->peer));
    if (!is_refusal(e) || host.n == 0) {
        return;
    }
    struct recalled_refusal *row = &r->nameless[0];
    for (size_t i = 0; i < RECALL_NAMELESS_MAX; i++) {
        struct recalled_refusal *k = &r->nameless[i];
        if (k->wall_ms != 0 && slice_equal(host_of(slice_text(k->peer)), host)) {
            row = k;
            break;
        }
        row = k->wall_ms < row->wall_ms ? k : row;
    }
    keep(row, e);
}

const struct recalled_refusal *recall_nameless(const struct recall *r, struct slice peer)
{
    const struct recalled_refusal *newest = NULL;
    struct slice host = host_of(peer);
    for (size_t i = 0; i < RECALL_NAMELESS_MAX; i++) {
        const struct recalled_refusal *k = &r->nameless[i];
        bool fits =
            k->wall_ms != 0 && (host.n == 0 || slice_equal(host_of(slice_text(k->peer)), host));
        if (fits && (newest == NULL || k->wall_ms > newest->wall_ms)) {
            newest = k;
        }
    }
    return newest;
}
