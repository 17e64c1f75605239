#include "service/doctor/support.h"

#include <stdio.h>

#include "service/doctor/lines.h"
#include "service/doctor/waivers.h"

/* Security updates by Debian, those of its LTS team included: wiki.debian.org/LTS. */
static const struct {
    const char *codename, *last_day;
} releases[] = {
    {"buster", "2024-06-30"},
    {"bullseye", "2026-08-31"},
    {"bookworm", "2028-06-30"},
    {"trixie", "2030-06-30"},
};

/* openssl-library.org/policies/releasestrat */
static const struct {
    unsigned major, minor;
    const char *last_day;
} branches[] = {
    {3, 0, "2026-09-07"}, {3, 1, "2025-03-14"}, {3, 2, "2025-11-23"},
    {3, 3, "2026-04-09"}, {3, 4, "2026-10-22"}, {3, 5, "2030-04-08"},
};

/* KEY=value, with or without quotation marks. */
static struct slice value_of(struct slice line)
{
    struct slice value = slice_from(line, slice_find(line, '=') + 1);
    bool is_quoted = value.n >= 2 && (value.p[0] == '"' || value.p[0] == '\'') &&
                     value.p[value.n - 1] == value.p[0];
    return is_quoted ? slice_head(slice_from(value, 1), value.n - 2) : value;
}

static bool has_key(struct slice line, const char *key)
{
    size_t at = slice_find(line, '=');
    return at < line.n && slice_is(slice_head(line, at), key);
}

bool support_of_system(struct slice os_release, struct support *ret)
{
    struct lines text = {.rest = os_release};
    struct slice line, id = {0}, codename = {0};
    while (lines_next(&text, &line)) {
        id = has_key(line, "ID") ? value_of(line) : id;
        codename = has_key(line, "VERSION_CODENAME") ? value_of(line) : codename;
    }
    for (size_t i = 0; i < COUNT_OF(releases) && slice_is(id, "debian"); i++) {
        if (slice_is(codename, releases[i].codename)) {
            (void)snprintf(ret->name, sizeof ret->name, "Debian %s", releases[i].codename);
            return waiver_date(slice_text(releases[i].last_day), &ret->ends_wall_ms) == OK;
        }
    }
    return false;
}

bool support_of_openssl(unsigned major, unsigned minor, struct support *ret)
{
    for (size_t i = 0; i < COUNT_OF(branches); i++) {
        if (branches[i].major == major && branches[i].minor == minor) {
            (void)snprintf(ret->name, sizeof ret->name, "OpenSSL %u.%u", major, minor);
            return waiver_date(slice_text(branches[i].last_day), &ret->ends_wall_ms) == OK;
        }
    }
    return false;
}
