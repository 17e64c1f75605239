/*
 * slack - when to give memory back. The allocator keeps what was freed, so after a burst the
 * process would stay as large as it was at its height. Pure: numbers in, a decision out.
 */
#ifndef SERVICE_ADMIN_SLACK_H
#define SERVICE_ADMIN_SLACK_H

#include <stdbool.h>
#include <stdint.h>

/* So much more than what a trim could not give back is worth the next one, which makes threads that
 * allocate wait for it. */
enum {
    SLACK_WORTH_BYTES = 2 << 20,
    SLACK_TRIES = 4 /* live traffic lies between what is free, and moves on */
};

struct slack {
    int64_t kept_bytes; /* resident less in use, when it was least or a trim had just been */
    unsigned n_tries;   /* trims since it was last little enough */
    bool is_known;
};

/* slack_is_due - resident and in use, in bytes, as of now: is a trim worth it? After one, say
 * slack_trimmed: what SLACK_TRIES of them could not give back is no reason for another. */
bool slack_is_due(struct slack *s, uint64_t resident, uint64_t used);
void slack_trimmed(struct slack *s, uint64_t resident, uint64_t used);

#endif
