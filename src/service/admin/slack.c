#include "service/admin/slack.h"

/* Negative: some of what is in use has no page yet. */
static int64_t beyond(uint64_t resident, uint64_t used)
{
    return (int64_t)resident - (int64_t)used;
}

bool slack_is_due(struct slack *s, uint64_t resident, uint64_t used)
{
    int64_t kept = beyond(resident, used);
    if (!s->is_known || kept < s->kept_bytes) {
        slack_trimmed(s, resident, used);
    }
    return kept >= s->kept_bytes + SLACK_WORTH_BYTES;
}

void slack_trimmed(struct slack *s, uint64_t resident, uint64_t used)
{
    s->kept_bytes = beyond(resident, used);
    s->is_known = true;
}
