#include "service/admin/slack.h"

/* Negative: some of what is in use has no page yet. */
static int64_t beyond(uint64_t resident, uint64_t used)
{
    return (int64_t)resident - (int64_t)used;
}

static void settle(struct slack *s, int64_t kept)
{
    s->kept_bytes = kept;
    s->n_tries = 0;
    s->is_known = true;
}

bool slack_is_due(struct slack *s, uint64_t resident, uint64_t used)
{
    int64_t kept = beyond(resident, used);
    if (!s->is_known || kept < s->kept_bytes) {
        settle(s, kept);
    }
    if (kept < s->kept_bytes + SLACK_WORTH_BYTES) {
        s->n_tries = 0;
        return false;
    }
    return true;
}

void slack_trimmed(struct slack *s, uint64_t resident, uint64_t used)
{
    if (++s->n_tries >= SLACK_TRIES) {
        settle(s, beyond(resident, used));
    }
}
