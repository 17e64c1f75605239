/*
 * settings - every number an operator can set, declared once: name, type, bounds, meaning.
 *
 * sallyport.yaml has the global ones under `limits` and what roles start with under `role_limits`;
 * policy.yaml overrides the latter in a role's `limits`. Their defaults are those of core/limits.h.
 * The configuration reader, the policy reader, `init --set` and the written sallyport.yaml all work
 * from these two tables.
 */
#ifndef SERVICE_DIRECTORY_SETTINGS_H
#define SERVICE_DIRECTORY_SETTINGS_H

#include "base/err.h"
#include "base/slice.h"
#include "core/limits.h"
#include "service/directory/secret_ages.h"

enum setting_type {
    SETTING_COUNT,    /* "50" */
    SETTING_BYTES,    /* "264KiB", "4MiB", "1GiB", or plain bytes */
    SETTING_AUTO,     /* bytes, or "auto", which is held as 0 */
    SETTING_SHARE,    /* bytes, or "80%" of the machine's memory */
    SETTING_DURATION, /* "90s", "10m", "2h", "7d", or plain seconds; held in seconds */
    SETTING_RATE      /* "5/s", "120/min"; held in whole events a second */
};

struct global_settings {
    struct limits limits;
    uint32_t key_updates_per_minute;
    uint32_t tls_ticket_expiry_s;                           /* 0: no tickets */
    uint32_t signs_per_second, signs_burst, signs_per_name; /* certificates; the last a minute */
    uint32_t certificate_life_s;                            /* of devices */
    uint64_t segment_bytes, keep_bytes; /* of the store; 0: as the disk allows */
    struct secret_ages secrets;
};

struct setting {
    const char *name;
    enum setting_type type;
    uint64_t least, most;
    const char *meaning;
    size_t offset, bytes; /* of the unsigned field in its struct */
};

/* Rows describe struct global_settings and struct role_limits. */
extern const struct setting global_setting_table[];
extern const size_t n_global_settings;
extern const struct setting role_setting_table[];
extern const size_t n_role_settings;

/* setting_find - by name, or NULL. */
const struct setting *setting_find(const struct setting *table, size_t n, struct slice name);

enum { SETTING_WHY_BYTES = 160, SETTING_TEXT_BYTES = 32 };

/* setting_parse - text as a value of this setting. ram_bytes is what a share is a share of.
 * ERR_MALFORMED when it does not read, ERR_LIMIT outside least..most; why then says what is
 * allowed, in words. */
MUST_USE enum err setting_parse(const struct setting *s, struct slice text, uint64_t ram_bytes,
                                char why[SETTING_WHY_BYTES], uint64_t *ret);
/* setting_apply - the same, stored into values (the struct that the table describes). */
MUST_USE enum err setting_apply(const struct setting *s, struct slice text, uint64_t ram_bytes,
                                char why[SETTING_WHY_BYTES], void *values);
/* setting_get - the value held in values. */
uint64_t setting_get(const struct setting *s, const void *values);
/* setting_text - value as a person would write it ("264KiB"); setting_parse reads it back. */
void setting_text(const struct setting *s, uint64_t value, char dst[SETTING_TEXT_BYTES]);

/* global_settings_preset - every global setting at its default. */
struct global_settings global_settings_preset(uint64_t ram_bytes);

#endif
