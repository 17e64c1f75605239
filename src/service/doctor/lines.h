/* lines - a text line by line, and a line word by word. */
#ifndef SERVICE_DOCTOR_LINES_H
#define SERVICE_DOCTOR_LINES_H

#include "base/err.h"
#include "base/slice.h"

struct lines {
    struct slice rest;
    uint32_t number; /* of the line that was cut last, from 1 */
};

/* lines_next - without its end and the blanks around it; false behind the last. */
bool lines_next(struct lines *l, struct slice *ret);
/* words_next - up to the next blank; *rest loses it. Empty at the end. */
struct slice words_next(struct slice *rest);
struct slice lines_trim(struct slice s);
/* lines_number - decimal digits up to 18, with '-' for negative ones. ERR_MALFORMED. */
MUST_USE enum err lines_number(struct slice s, int64_t *ret);
/* lines_flag - true or false, yes or no, on or off. ERR_MALFORMED. */
MUST_USE enum err lines_flag(struct slice s, bool *ret);
/* lines_same - equal but for the case of ASCII letters. */
bool lines_same(struct slice s, const char *text);

#endif
