/* quality_private - is it guessable at a glance? Shared by passwords and PSKs; runs only when a
 * secret is created. */
#ifndef SECURITY_PASSWORD_QUALITY_PRIVATE_H
#define SECURITY_PASSWORD_QUALITY_PRIVATE_H

#include "base/slice.h"

/* quality_is_pattern - fewer than six different bytes, a short piece repeated, or a run that only
 * counts up or down. */
bool quality_is_pattern(struct slice s);
/* quality_is_common - a well-known word or two, whatever digits and signs are around them. */
bool quality_is_common(struct slice s);
/* quality_is_made_of - the name, whatever the case, with at most three further bytes. */
bool quality_is_made_of(struct slice s, struct slice name);

#endif
