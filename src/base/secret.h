/*
 * secret - bytes that must not leak: kept out of swap and core dumps, wiped on release, compared in
 * constant time, never printed.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/err.h"
#include "base/slice.h"

struct secret;

/* secret_new - takes a copy of s. ERR_NOMEM. */
MUST_USE enum err secret_new(struct slice s, struct secret **ret);
struct secret *secret_free(struct secret *s);
struct slice secret_bytes(const struct secret *s);
/* secret_equal - constant time in the contents; the lengths may show. */
bool secret_equal(struct slice a, struct slice b);

void secret_autofree(struct secret **s);

#endif
