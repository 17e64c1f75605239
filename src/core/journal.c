#include "core/journal.h"

bool journal_adds(enum journal_kind kind)
{
    switch (kind) {
    case JOURNAL_BODY:
    case JOURNAL_INBOUND:
    case JOURNAL_SUB:
    case JOURNAL_SET_ASIDE:
    case JOURNAL_ENTRY:
        return true;
    /* It stands on a body that was taken: refusing it now would break the promise half-way. */
    case JOURNAL_DELIVER:
    /* Falling asleep and taking a will back are written as these too. A session has one of each, so
     * what they can add is bounded by the sessions that the roles allow. */
    case JOURNAL_SESSION:
    case JOURNAL_WILL:
    case JOURNAL_ACK:
    case JOURNAL_DROP:
    case JOURNAL_RECEIVED:
    case JOURNAL_TRIED:
    case JOURNAL_RELEASED:
    case JOURNAL_SESSION_END:
    case JOURNAL_UNSUB:
    case JOURNAL_SET_ASIDE_END:
    case JOURNAL_ENTRY_END:
    case JOURNAL_KIND_END:
        return false;
    }
    return false;
}
