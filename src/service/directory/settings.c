#include "service/directory/settings.h"

#include <assert.h>
#include <stdio.h>

#define DAY_S UINT64_C(86400)
#define MIB   (UINT64_C(1) << 20)

#define AGE_MAX_S (3650 * DAY_S)

#define FIELD(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define GLOBAL(field)      FIELD(global_settings, field)
#define ROLE(field)        FIELD(role_limits, field)

const struct setting global_setting_table[] = {
    {"packet_bytes", SETTING_BYTES, 1024, 256 * MIB, "largest packet, headers included",
     GLOBAL(limits.packet_bytes)},
    {"preauth_bytes", SETTING_BYTES, 512, MIB, "bytes read before a client is known",
     GLOBAL(limits.preauth_bytes)},
    {"preauth_seconds", SETTING_DURATION, 1, 600, "time to log in, TLS included",
     GLOBAL(limits.preauth_seconds)},
    {"dtls_preauth_seconds", SETTING_DURATION, 1, 600, "time for a DTLS handshake",
     GLOBAL(limits.dtls_seconds)},
    {"preauth_connections", SETTING_COUNT, 32, 1000000, "connections not logged in, at a time",
     GLOBAL(limits.preauth_connections)},
    {"topic_bytes", SETTING_BYTES, 16, 65535, "longest topic or filter",
     GLOBAL(limits.topic_bytes)},
    {"topic_levels", SETTING_COUNT, 1, 128, "most levels of a topic or filter",
     GLOBAL(limits.topic_levels)},
    {"filters_per_packet", SETTING_COUNT, 1, 1000, "filters in one SUBSCRIBE or UNSUBSCRIBE",
     GLOBAL(limits.filters_per_packet)},
    {"user_properties", SETTING_COUNT, 0, 1000, "user properties in one packet",
     GLOBAL(limits.user_properties)},
    {"client_id_bytes", SETTING_BYTES, 23, 65535, "longest client id",
     GLOBAL(limits.client_id_bytes)},
    {"topic_aliases", SETTING_COUNT, 0, 64, "topic aliases of a connection, each way",
     GLOBAL(limits.topic_aliases)},
    {"connect_per_second", SETTING_COUNT, 1, 100000,
     "failed or unfinished connections a second from one network (/24, /56)",
     GLOBAL(limits.connect_per_second)},
    {"connect_burst", SETTING_COUNT, 1, 1000000, "and so many at once",
     GLOBAL(limits.connect_burst)},
    {"key_updates_per_minute", SETTING_COUNT, 1, 100000, "TLS key updates on one connection",
     GLOBAL(key_updates_per_minute)},
    {"tls_ticket_expiry", SETTING_DURATION, 0, 7 * DAY_S,
     "how long a client may resume TLS by a ticket; 0: never", GLOBAL(tls_ticket_expiry_s)},
    {"signs_per_second", SETTING_COUNT, 1, 100000, "certificates that are signed in a second",
     GLOBAL(signs_per_second)},
    {"signs_burst", SETTING_COUNT, 1, 1000000, "and so many at once", GLOBAL(signs_burst)},
    {"signs_per_name", SETTING_COUNT, 1, 1000000, "certificates of one device in a minute",
     GLOBAL(signs_per_name)},
    {"keep_alive_seconds", SETTING_DURATION, 10, 65535, "longest keep-alive; MQTT 5 is told",
     GLOBAL(limits.keep_alive_seconds)},
    {"silence_seconds", SETTING_DURATION, 15, 98302, "silence after which MQTT 3.1.1 is closed",
     GLOBAL(limits.silence_seconds)},
    {"certificate_life", SETTING_DURATION, 10, 397 * DAY_S,
     "life of a device's certificate, from its making on", GLOBAL(certificate_life_s)},
    {"renewal_grace", SETTING_DURATION, 0, 365 * DAY_S,
     "how long after its end a certificate may still be renewed; 0: not at all",
     GLOBAL(limits.renewal_grace_s)},
    {"renewal_rate", SETTING_RATE, 1, 10000, "certificates renewed, of all devices",
     GLOBAL(limits.renewal_rate)},
    {"setaside_messages", SETTING_COUNT, 1, 1000000,
     "messages kept that were set aside; the oldest goes first", GLOBAL(limits.aside_messages)},
    {"setaside_bytes", SETTING_BYTES, 64 * 1024, 1024 * MIB, "and their bytes",
     GLOBAL(limits.aside_bytes)},
    {"setaside_expiry", SETTING_DURATION, 60, 365 * DAY_S, "how long each is kept",
     GLOBAL(limits.aside_seconds)},
    {"retained_total", SETTING_COUNT, 0, 100000000, "retained messages of all principals",
     GLOBAL(limits.retained_total)},
    {"retained_total_bytes", SETTING_BYTES, 0, UINT64_C(1) << 40, "and the memory they take",
     GLOBAL(limits.retained_total_bytes)},
    {"commands_per_device", SETTING_COUNT, 1, 1000,
     "commands over MQTT 5 that wait for one CoAP device", GLOBAL(limits.commands_per_device)},
    {"commands_per_asker", SETTING_COUNT, 1, 100000,
     "and of one principal that asks, on each worker", GLOBAL(limits.commands_per_asker)},
    {"command_bytes", SETTING_BYTES, MIB, 1024 * MIB, "and their bytes",
     GLOBAL(limits.command_bytes)},
    {"command_wait", SETTING_DURATION, 1, 3600, "how long one waits for its device at most",
     GLOBAL(limits.command_seconds)},
    {"registration_links", SETTING_COUNT, 1, 1024,
     "links of one device in the CoAP resource directory", GLOBAL(limits.registration_links)},
    {"registration_bytes", SETTING_BYTES, 64, 16 * 1024, "and their text",
     GLOBAL(limits.registration_bytes)},
    {"registration_lifetime", SETTING_DURATION, REGISTRATION_DEFAULT_S, 365 * DAY_S,
     "longest life of a registration there", GLOBAL(limits.registration_lifetime_s)},
    {"registration_total_bytes", SETTING_BYTES, 16 * 1024, 1024 * MIB,
     "what all registrations take; the workers have equal parts",
     GLOBAL(limits.registration_total_bytes)},
    {"memory_bytes", SETTING_SHARE, 32 * MIB, UINT64_C(1) << 46, "memory ceiling of the broker",
     GLOBAL(limits.memory_bytes)},
    {"segment_bytes", SETTING_AUTO, 2 * MIB, 1024 * MIB, "size of the store's files",
     GLOBAL(segment_bytes)},
    {"keep_bytes", SETTING_AUTO, 4 * MIB, UINT64_C(1) << 46,
     "the store is cleaned above this and twice what is alive", GLOBAL(keep_bytes)},
    {"psk_age", SETTING_DURATION, 0, AGE_MAX_S,
     "age at which a pre-shared key is reported; 0: never",
     GLOBAL(secrets.report_s[SECRET_AGE_PSK])},
    {"psk_age_refused", SETTING_DURATION, 0, AGE_MAX_S, "and at which it opens nothing; 0: never",
     GLOBAL(secrets.refuse_s[SECRET_AGE_PSK])},
    {"oscore_age", SETTING_DURATION, 0, AGE_MAX_S,
     "age at which an OSCORE secret is reported; 0: never",
     GLOBAL(secrets.report_s[SECRET_AGE_OSCORE])},
    {"oscore_age_refused", SETTING_DURATION, 0, AGE_MAX_S,
     "and at which it opens nothing; 0: never", GLOBAL(secrets.refuse_s[SECRET_AGE_OSCORE])},
    {"password_age", SETTING_DURATION, 0, AGE_MAX_S,
     "age at which a password is reported, SCRAM's too; 0: never",
     GLOBAL(secrets.report_s[SECRET_AGE_PASSWORD])},
    {"password_age_refused", SETTING_DURATION, 0, AGE_MAX_S,
     "and at which it opens nothing; 0: never", GLOBAL(secrets.refuse_s[SECRET_AGE_PASSWORD])},
    {"rotation_wait", SETTING_DURATION, 60, AGE_MAX_S,
     "how long the secret before a rotation waits for the use of the new one",
     GLOBAL(secrets.wait_s)},
};
const size_t n_global_settings = sizeof global_setting_table / sizeof *global_setting_table;

const struct setting role_setting_table[] = {
    {"connect_rate", SETTING_RATE, 1, 1000000, "connections of one principal", ROLE(connect_rate)},
    {"connect_burst", SETTING_COUNT, 1, 1000000, "and so many at once", ROLE(connect_burst)},
    {"publish_rate", SETTING_RATE, 1, 10000000, "messages published", ROLE(publish_rate)},
    {"publish_burst", SETTING_COUNT, 1, 10000000, "and so many at once", ROLE(publish_burst)},
    {"subscriptions", SETTING_COUNT, 0, 1000000, "subscriptions of a session", ROLE(subscriptions)},
    {"inflight", SETTING_COUNT, 1, 65535, "unacknowledged messages, each way", ROLE(inflight)},
    {"queue_messages", SETTING_COUNT, 0, 100000000, "messages kept for a sleeping session",
     ROLE(queue_messages)},
    {"queue_bytes", SETTING_BYTES, 0, UINT64_C(1) << 40, "and their bytes", ROLE(queue_bytes)},
    {"retained_count", SETTING_COUNT, 0, 100000000, "retained messages of a principal",
     ROLE(retained_count)},
    {"retained_bytes", SETTING_BYTES, 0, 256 * MIB, "size of each", ROLE(retained_bytes)},
    {"retained_ttl", SETTING_DURATION, 0, 365 * DAY_S,
     "life of one published without an expiry; 0: no end", ROLE(retained_ttl_s)},
    {"replay_rate", SETTING_RATE, 1, 10000000, "retained messages sent to new subscriptions",
     ROLE(replay_rate)},
    {"retained_replay", SETTING_COUNT, 0, 100000000,
     "retained messages that one new subscription may bring", ROLE(retained_replay)},
    {"session_expiry", SETTING_DURATION, 0, 365 * DAY_S, "longest life of an offline session",
     ROLE(session_expiry_s)},
    {"redeliveries", SETTING_COUNT, 1, 255, "deliveries of a message before it is set aside",
     ROLE(redeliveries)},
};
const size_t n_role_settings = sizeof role_setting_table / sizeof *role_setting_table;

struct unit {
    const char *name;
    uint64_t factor; /* for a rate: seconds that the count is for */
};

static const struct unit byte_units[] = {{"", 1},          {"B", 1},         {"KiB", 1 << 10},
                                         {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};
static const struct unit time_units[] = {{"", 1},     {"s", 1},     {"m", 60}, {"min", 60},
                                         {"h", 3600}, {"d", 86400}, {NULL, 0}};
static const struct unit rate_units[] = {{"/s", 1}, {"/min", 60}, {"/h", 3600}, {NULL, 0}};
static const struct unit count_units[] = {{"", 1}, {NULL, 0}};

static const char *form_of(enum setting_type t)
{
    switch (t) {
    case SETTING_COUNT:
        return "a whole number like 50";
    case SETTING_BYTES:
        return "a size like 512, 264KiB, 4MiB or 1GiB";
    case SETTING_AUTO:
        return "auto, or a size like 16MiB or 1GiB";
    case SETTING_SHARE:
        return "a size like 512MiB, or a share of the memory like 80%";
    case SETTING_DURATION:
        return "a time like 90s, 10m, 2h or 7d";
    case SETTING_RATE:
        return "a rate like 5/s or 120/min, whole events a second";
    }
    return "";
}

static const struct unit *units_of(enum setting_type t)
{
    switch (t) {
    case SETTING_COUNT:
        return count_units;
    case SETTING_BYTES:
    case SETTING_AUTO:
    case SETTING_SHARE:
        return byte_units;
    case SETTING_DURATION:
        return time_units;
    case SETTING_RATE:
        return rate_units;
    }
    return count_units;
}

const struct setting *setting_find(const struct setting *table, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_is(name, table[i].name)) {
            return &table[i];
        }
    }
    return NULL;
}

/* Digits from the front of *text. Twelve of them are more than any setting needs and cannot
 * overflow with any unit. */
static enum err take_number(struct slice *text, uint64_t *ret)
{
    size_t n = 0;
    uint64_t v = 0;
    while (n < text->n && text->p[n] >= '0' && text->p[n] <= '9') {
        if (n == 12) {
            return ERR_LIMIT;
        }
        v = v * 10 + (uint64_t)(text->p[n] - '0');
        n++;
    }
    if (n == 0) {
        return ERR_MALFORMED;
    }
    *text = slice_from(*text, n);
    *ret = v;
    return OK;
}

static enum err parse_value(const struct setting *s, struct slice text, uint64_t ram_bytes,
                            uint64_t *ret)
{
    uint64_t v;
    TRY(take_number(&text, &v));
    if (s->type == SETTING_SHARE && slice_is(text, "%")) {
        if (v < 1 || v > 100) {
            return ERR_LIMIT;
        }
        *ret = ram_bytes / 100 * v;
        return OK;
    }
    for (const struct unit *u = units_of(s->type); u->name != NULL; u++) {
        if (!slice_is(text, u->name)) {
            continue;
        }
        if (s->type != SETTING_RATE) {
            return __builtin_mul_overflow(v, u->factor, ret) ? ERR_LIMIT : OK;
        }
        if (v % u->factor != 0) {
            return ERR_MALFORMED;
        }
        *ret = v / u->factor;
        return OK;
    }
    return ERR_MALFORMED;
}

enum err setting_parse(const struct setting *s, struct slice text, uint64_t ram_bytes,
                       char why[SETTING_WHY_BYTES], uint64_t *ret)
{
    uint64_t v = 0;
    if (s->type == SETTING_AUTO && slice_is(text, "auto")) {
        *ret = 0;
        return OK;
    }
    enum err e = parse_value(s, text, ram_bytes, &v);
    if (e == ERR_MALFORMED) {
        snprintf(why, SETTING_WHY_BYTES, "%s must be %s", s->name, form_of(s->type));
        return e;
    }
    if (e != OK || v < s->least || v > s->most) {
        char least[SETTING_TEXT_BYTES], most[SETTING_TEXT_BYTES];
        setting_text(s, s->least, least);
        setting_text(s, s->most, most);
        snprintf(why, SETTING_WHY_BYTES, "%s must be between %s and %s", s->name, least, most);
        return ERR_LIMIT;
    }
    *ret = v;
    return OK;
}

enum err setting_apply(const struct setting *s, struct slice text, uint64_t ram_bytes,
                       char why[SETTING_WHY_BYTES], void *values)
{
    uint64_t v;
    TRY(setting_parse(s, text, ram_bytes, why, &v));
    uint8_t *field = (uint8_t *)values + s->offset;
    if (s->bytes == sizeof(uint32_t)) {
        assert(v <= UINT32_MAX);
        uint32_t narrow = (uint32_t)v;
        memcpy(field, &narrow, sizeof narrow);
    } else {
        memcpy(field, &v, sizeof v);
    }
    return OK;
}

uint64_t setting_get(const struct setting *s, const void *values)
{
    const uint8_t *field = (const uint8_t *)values + s->offset;
    uint32_t narrow;
    uint64_t wide;
    if (s->bytes == sizeof narrow) {
        memcpy(&narrow, field, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, field, sizeof wide);
    return wide;
}

void setting_text(const struct setting *s, uint64_t value, char dst[SETTING_TEXT_BYTES])
{
    const struct unit *best = &units_of(s->type)[0];
    if (s->type == SETTING_AUTO && value == 0) {
        snprintf(dst, SETTING_TEXT_BYTES, "auto");
        return;
    }
    for (const struct unit *u = best; s->type != SETTING_RATE && u->name != NULL; u++) {
        bool bare = best->name[0] == '\0';
        if (value > 0 && value % u->factor == 0 &&
            (u->factor > best->factor || (bare && u->factor == 1 && u->name[0] == 's'))) {
            best = u;
        }
    }
    uint64_t shown = s->type == SETTING_RATE ? value : value / best->factor;
    snprintf(dst, SETTING_TEXT_BYTES, "%llu%s", (unsigned long long)shown, best->name);
}

struct global_settings global_settings_preset(uint64_t ram_bytes)
{
    struct global_settings g = {
        .limits = LIMITS_DEFAULT,
        .key_updates_per_minute = 100,
        .tls_ticket_expiry_s = DAY_S,
        .signs_per_second = 100,
        .signs_burst = 1000,
        .signs_per_name = 10,
        .certificate_life_s = 90 * DAY_S,
        .secrets = {.report_s = {SECRET_AGE_REPORT_S, SECRET_AGE_REPORT_S, SECRET_AGE_REPORT_S},
                    .wait_s = SECRET_WAIT_S}};
    if (g.limits.memory_bytes == 0) {
        g.limits.memory_bytes = ram_bytes / 100 * 80;
    }
    return g;
}
