/* A finding about somebody whom no event is about. */
#include <stdarg.h>
#include <stdio.h>

#include "service/detect/detect_private.h"

void habit_tell(struct detect *d, enum detector which, struct identity *i, const char *peer,
                const char *target, uint32_t since_s, uint32_t now_s, const char *format, ...)
{
    const struct detect_who who = {.id = i->id};
    struct event e = {.wall_ms = 0};
    struct sight s = {.e = &e, .who = &who, .now_s = now_s, .n = 1, .identity = i};
    char evidence[DETECT_EVIDENCE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(evidence, sizeof(evidence), format, args);
    va_end(args);
    EVENT_TEXT(&e, peer, slice_text(peer));
    EVENT_TEXT(&e, target, slice_text(target));
    detect_tell(d, which, &i->told_s[which], &s, since_s, "%s", evidence);
}
