#include "service/doctor/source.h"

#include <stdio.h>

#include "base/mem.h"

void source_entries_done(struct source_entry **entries)
{
    *entries = mem_free(*entries);
}

enum err source_place(const char *from, struct slice named, char dst[SOURCE_PATH_BYTES])
{
    const char *slash = strrchr(from, '/');
    int n = slash != NULL && named.n > 0 && named.p[0] != '/'
                ? snprintf(dst, SOURCE_PATH_BYTES, "%.*s/%.*s", (int)(slash - from), from,
                           SLICE_ARG(named))
                : snprintf(dst, SOURCE_PATH_BYTES, "%.*s", SLICE_ARG(named));
    return n > 0 && n < SOURCE_PATH_BYTES && slice_find(named, 0) == named.n ? OK : ERR_TOO_LARGE;
}
