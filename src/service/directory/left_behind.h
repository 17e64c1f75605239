/* left_behind - who would be shut out if the former authority were trusted no more. */
#ifndef SERVICE_DIRECTORY_LEFT_BEHIND_H
#define SERVICE_DIRECTORY_LEFT_BEHIND_H

#include "service/directory/directory_version.h"

enum { LEFT_BEHIND_NAMED = 5 };

struct left_behind {
    size_t n;
    const struct directory_entry *first[LEFT_BEHIND_NAMED]; /* borrowed from the version */
};

/*
 * left_behind_find - active principals whose newest live certificate is older than switched_at
 * (the former authority signed it), or who verify us by TLS and got nothing since prepared_at (they
 * do not have the new root). prepared_at 0: the root stays. O(principals).
 */
struct left_behind left_behind_find(const struct directory_version *v, int64_t prepared_at_wall_ms,
                                    int64_t switched_at_wall_ms, int64_t now_wall_ms);

#endif
