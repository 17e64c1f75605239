/* why - one sentence for the person who must act: what is wrong and the safe fix. Filled beside an
 * error, never instead of one. */
#ifndef BASE_WHY_H
#define BASE_WHY_H

#include <stdarg.h>
#include <stdio.h>

enum { WHY_BYTES = 320 };

struct why {
    char text[WHY_BYTES];
};

/* why_set - formats the sentence, cut to fit. why may be NULL: nobody asked. Never pass a secret.
 */
__attribute__((format(printf, 2, 3))) static inline void why_set(struct why *why,
                                                                 const char *format, ...)
{
    if (why != NULL) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(why->text, sizeof why->text, format, args);
        va_end(args);
    }
}

#endif
