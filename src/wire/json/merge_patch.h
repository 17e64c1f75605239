/*
 * merge_patch - JSON merge patches (RFC 7396) on texts.
 *
 * The result is made of pieces of both texts: a member that the patch does not name stays as it is,
 * byte for byte, so no number is rounded on the way (`text.h`). No heap; names are compared as what
 * they mean, not as they are written.
 */
#ifndef WIRE_JSON_MERGE_PATCH_H
#define WIRE_JSON_MERGE_PATCH_H

#include "wire/json/text.h"

enum {
    MERGE_PATCH_BYTES_MAX = 1024,  /* of a patch, */
    MERGE_NAMES_MAX = 64,          /* names in one object of it, */
    MERGE_TARGET_BYTES_MAX = 16384 /* and of what it is for */
};

/* merge_patch_check - json_check of a patch; ERR_LIMIT also over MERGE_NAMES_MAX, and ERR_EXISTS:
 * an object that changes something has a name twice; ERR_TOO_LARGE: over MERGE_PATCH_BYTES_MAX. */
MUST_USE enum err merge_patch_check(struct slice patch);

/*
 * merge_patch - writes what becomes of target
 *
 * target  checked by json_check, up to MERGE_TARGET_BYTES_MAX; empty: there was nothing.
 * patch   checked by merge_patch_check.
 * w       errors stick there: the result has at most a byte more than both.
 * O(names of the target * names of the patch). SPEC: RFC7396 2.
 */
void merge_patch(struct slice target, struct slice patch, struct wr *w);

#endif
