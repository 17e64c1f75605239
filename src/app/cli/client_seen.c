#include "app/cli/client_seen.h"

enum seen_verdict seen_count(struct seen *s, uint64_t number)
{
    if (number >= s->next) {
        uint64_t ahead = number - s->next + 1;
        s->bits = ahead < SEEN_BITS ? s->bits << ahead | 1 : 1;
        s->next = number + 1;
        return SEEN_NEW;
    }
    uint64_t back = s->next - 1 - number;
    if (back >= SEEN_BITS || (s->bits >> back & 1) != 0) {
        return SEEN_AGAIN;
    }
    s->bits |= UINT64_C(1) << back;
    return SEEN_LATE;
}
