/* The newest time that a pack tells. SPEC: RFC8428 4.5.3. */
#include "engine/senml_private.h"

/* From here on a time is one of the calendar; below it is so many seconds from now. */
static const double absolute_s = 1 << 28;
static const double last_s = 253402300799.0; /* of the year 9999: no clock says more */

static bool is_told(const struct senml_record *r)
{
    return !r->is_empty && r->has_time && r->time >= absolute_s && r->time <= last_s;
}

bool senml_newest(enum senml_form form, struct slice pack, int64_t *ret_ms)
{
    const char *ignored;
    struct senml_record r;
    double newest_s = 0;
    if (senml_check(form, pack, SENML_PACK, &ignored) != OK) {
        return false;
    }
    struct senml_reader s = senml_read(form, pack, SENML_PACK);
    while (senml_next(&s, &r) == OK) {
        newest_s = is_told(&r) && r.time > newest_s ? r.time : newest_s;
    }
    *ret_ms = (int64_t)(newest_s * 1000);
    return newest_s > 0;
}
