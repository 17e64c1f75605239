/*
 * index_private - the index's own structures.
 *
 * Everything with a key lies in a table and in the slab, so a warm index allocates nothing for a
 * message; where there are many of something, it is named by the slab's 32 bits. A body is known by
 * id, a waiting delivery by (session, seq): eight seqs share a page. Everything else of a session,
 * set-aside messages and entries are parts, known by the keyed hash of their name.
 */
#ifndef STORE_INDEX_PRIVATE_H
#define STORE_INDEX_PRIVATE_H

#include "base/list.h"
#include "base/mem.h"
#include "base/slab.h"
#include "store/index.h"

enum item_flags {
    ITEM_ALIVE = 1,
    ITEM_HELD = 2,    /* somebody outside has the pointer */
    ITEM_FORCED = 4,  /* dead or not, it is written: an older record on disk needs the answer */
    ITEM_COVERS = 8,  /* an older record of this name is on disk */
    ITEM_LINGER = 16, /* DELIVER: nothing open, but its body owes */
    ITEM_MARKER = 32, /* BODY: a retained clear */
    ITEM_KNOWN = 64,  /* BODY: its record was seen */
    ITEM_OWED = 128   /* BODY: its record on disk says that somebody has it still to come */
};

struct item {
    struct place place;
    uint8_t kind, flags;
    uint16_t number; /* INBOUND: packet id; ENTRY: table */
};

/* What a table can hold begins with its key. */
struct keyed {
    uint64_t key;
};

struct deliver;
struct topic;

struct body {
    uint64_t key; /* id */
    struct item item;
    uint64_t unanswered; /* bits of workers whose DELIVER is still to come */
    uint32_t topic;      /* that it is the retained one of, or lost in and was not placed yet */
    uint32_t lingering;  /* the first deliver */
    uint32_t n_open;     /* entries that need the content */
    uint32_t n_delivers;
};

struct topic {
    uint64_t key; /* hash of the name */
    uint64_t number;
    uint32_t winner;        /* body */
    uint32_t loser_segment; /* the newest with a lower number that came later; 0: none */
    uint32_t n_losers;      /* bodies that point here and are not placed */
};

struct deliver {
    struct item item;
    struct body *body;
    union {
        uint64_t n_open; /* entries not settled */
        uint32_t next;   /* ITEM_LINGER: deliver */
    };
};

enum { PAGE_SEQS = 8 };
enum slot_flags { SLOT_QOS = 3, SLOT_RETAIN = 4, SLOT_RECEIVED = 8 };

/* One waiting delivery. */
struct slot {
    struct deliver *deliver; /* NULL: none */
    uint32_t id;             /* subscription id; n_ids > 1: where index.many has them */
    uint16_t n_ids;
    uint8_t flags, n_tries;
};

struct owner;

struct page {
    uint64_t key; /* mixed of session and `at`: not unique */
    struct owner *owner;
    uint64_t at; /* seq / PAGE_SEQS */
    struct list_node node;
    uint32_t n_used;
    struct slot slots[PAGE_SEQS];
};

/* SESSION (not in the table), SUB, WILL, INBOUND, SET_ASIDE, ENTRY. */
struct part {
    uint64_t key; /* hash of the name */
    struct item item;
    struct owner *owner; /* NULL: of no session */
    struct list_node node;
    uint64_t id; /* of a SET_ASIDE or ENTRY */
};

/* A session. */
struct owner {
    uint64_t key; /* id */
    uint64_t next_seq;
    struct part *record; /* NULL: not seen, or lost */
    struct list parts, pages;
};

/* Open addressing with linear steps; removal closes the gap. A slot has the name of an object in
 * the slab; 0: none. */
struct table {
    struct slab *slab;
    uint32_t *slots;
    size_t n, n_slots;
};

struct load {
    uint32_t segment;
    uint64_t bytes;
};

struct had {
    uint64_t body, session;
};

union many {
    uint32_t *ids;
    size_t next_free;
};

struct index {
    struct siphash_key key;
    bool is_complete;
    struct slab slab; /* of all of them */
    struct table bodies, topics, owners, parts, pages;
    struct load *loads; /* by segment */
    size_t n_loads, loads_cap, last_load;
    uint64_t living;
    union many *many; /* arrays of subscription ids */
    size_t n_many, many_cap;
    size_t many_free; /* 1 + the first free place; 0: none */
    struct had *had;  /* while it is not complete, then sorted */
    size_t n_had, had_cap;
    size_t n_markers; /* topics whose winner is a clear */
    struct store_ids ids;
};

/* ---- index_table.c ---- */

/* object_get - n bytes of the slab, zeroed; NULL. */
void *object_get(struct index *x, size_t n);

/* table_at - where a search for key begins; the table has slots. The upper bits of the product lay
 * keys that follow each other far apart. */
static inline size_t table_at(const struct table *t, uint64_t key)
{
    return (size_t)((key * 0x9e3779b97f4a7c15U >> 32) * t->n_slots >> 32);
}
static inline size_t table_behind(const struct table *t, size_t at)
{
    return at + 1 < t->n_slots ? at + 1 : 0;
}
/* table_slot - what lies in a slot; NULL: nothing. */
static inline struct keyed *table_slot(const struct table *t, size_t at)
{
    return slab_at(t->slab, t->slots[at]);
}
/* table_room - one more can be added without an allocation. */
MUST_USE enum err table_room(struct table *t);
void table_add(struct table *t, struct keyed *k);
void table_remove(struct table *t, const struct keyed *k);
struct keyed *table_find(const struct table *t, uint64_t key);

/* Bytes of a segment, which begins before its first one. The reserve is made when a record is
 * applied, so that placing cannot fail: it is enough for the segments that are begun until the next
 * one, when there is nothing but cleaning. */
MUST_USE enum err load_reserve(struct index *x);
void load_begin(struct index *x, uint32_t segment);
void load_change(struct index *x, struct place place, bool is_more);

/* ---- index_body.c ---- */

/* item_set_alive - counts it when it is placed. */
void item_set_alive(struct index *x, struct item *i, bool is_alive);
struct body *body_find(const struct index *x, uint64_t id);
static inline struct topic *body_topic(const struct index *x, const struct body *b)
{
    return slab_at(&x->slab, b->topic);
}
/* body_make - an empty one that waits for its record. NULL: no memory. */
struct body *body_make(struct index *x, uint64_t id);
/* body_update - alive or not, after anything about it changed. May free it. */
void body_update(struct index *x, struct body *b);
void body_free_unused(struct index *x, struct body *b);
bool body_is_owing(const struct index *x, const struct body *b);
/* body_owes - what its record on disk has as owed. */
void body_owes(struct body *b, uint64_t owed);
MUST_USE enum err body_apply(struct index *x, struct slice content, struct place place,
                             struct item **ret_item);
/* body_placed - it lies somewhere: a loser tells its topic. Then body_update. */
void body_placed(struct index *x, struct body *b);
void body_forget(struct index *x, struct body *b); /* its record is lost */
void deliver_die(struct index *x, struct deliver *d);
/* deliver_idle - the last entry was settled. */
void deliver_idle(struct index *x, struct deliver *d);

/* ---- index_session.c ---- */

struct owner *owner_find(const struct index *x, uint64_t id);
/* owner_begin - the session, made when it is not there. NULL: no memory. */
struct owner *owner_begin(struct index *x, uint64_t id);
/* owner_need - the session, made when records may come before it; *ret NULL: it has ended. */
MUST_USE enum err owner_need(struct index *x, uint64_t id, struct owner **ret);
void owner_end(struct index *x, struct owner *o);
struct slot *slot_find(const struct index *x, const struct owner *o, uint64_t seq,
                       struct page **ret_page);
void slot_settle(struct index *x, struct page *p, struct slot *s);
const uint32_t *slot_ids(const struct index *x, const struct slot *s);
MUST_USE enum err deliver_apply(struct index *x, struct slice content, struct place place,
                                struct item **ret_item);
uint64_t part_key(const struct index *x, enum journal_kind kind, uint64_t a, struct slice name);
void part_die(struct index *x, struct part *p);

#endif
