/* The question, and its rows. */
#include "service/broker/aside.h"

#include "base/mem.h"

const char *aside_fate_text(enum aside_fate f)
{
    switch (f) {
    case ASIDE_STAYS:
    case ASIDE_REPLAYED:
    case ASIDE_DROPPED:
        return "";
    case ASIDE_NO_SESSION:
        return "the session it was for is gone: it ended, or was begun anew. Publish the message "
               "again if it still matters, and drop this one";
    case ASIDE_CLOSED:
        return "the device it is for is not active. Enable it first, or drop the message";
    case ASIDE_EXPIRED:
        return "the message expired, as its publisher asked. Drop it";
    case ASIDE_PUBLISHER_DENIED:
        return "under the policy in force its publisher may not say it any more. Drop it, or see "
               "`policy explain`";
    case ASIDE_SUBSCRIBER_DENIED:
        return "under the policy in force the device may not subscribe to its topic any more. Drop "
               "it, or see `policy explain`";
    case ASIDE_QUEUE_FULL:
        return "the queue of the session is full. Wait until the client has read, or raise "
               "queue_messages or queue_bytes of its role";
    case ASIDE_STORE_REFUSES:
        return "the store takes nothing now; see `alerts`, and ask again";
    case ASIDE_NO_MEMORY:
        return "there was no memory for it; ask again";
    }
    return "";
}

MUST_USE enum err aside_ask_new(enum aside_verb verb, struct aside_ask **ret)
{
    struct aside_ask *a = mem_zalloc(sizeof(*a));
    if (a == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&a->refs, 1);
    a->verb = verb;
    *ret = a;
    return OK;
}

struct aside_ask *aside_ask_ref(struct aside_ask *a)
{
    (void)atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

struct aside_ask *aside_ask_unref(struct aside_ask *a)
{
    if (a != NULL && atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < a->n_rows; i++) {
            msg_unref(a->rows[i].msg);
        }
        mem_free(a->rows);
        mem_free(a);
    }
    return NULL;
}

bool aside_ask_is_done(const struct aside_ask *a)
{
    return atomic_load_explicit(&a->is_done, memory_order_acquire);
}
