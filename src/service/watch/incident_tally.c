#include "service/watch/incident_tally.h"

#include <string.h>

#include "base/clock.h"

void incident_tally_done(struct incident_tally *t)
{
    json_decref(t->categories);
    json_decref(t->peers);
    json_decref(t->targets);
}

enum err incident_tally_init(struct incident_tally *t)
{
    *t = (struct incident_tally){json_object(), json_object(), json_object()};
    return t->categories != NULL && t->peers != NULL && t->targets != NULL ? OK : ERR_NOMEM;
}

static enum err count(json_t *names, const char *name, json_int_t n)
{
    if (json_object_get(names, name) == NULL && json_object_size(names) >= INCIDENT_NAMES_MAX) {
        name = "others";
    }
    json_int_t before = json_integer_value(json_object_get(names, name));
    json_int_t sum = n > 0 && before > INT64_MAX - n ? INT64_MAX : before + n;
    return json_object_set_new(names, name, json_integer(sum)) == 0 ? OK : ERR_NOMEM;
}

static const char *text_of(const json_t *event, const char *member)
{
    const char *text = json_string_value(json_object_get(event, member));
    return text != NULL ? text : "-";
}

/* Without its port: every connection has another one. */
static void address_of(const char *peer, char *dst, size_t cap)
{
    struct slice all = slice_text(peer);
    size_t n = all.n;
    while (n > 0 && all.p[n - 1] >= '0' && all.p[n - 1] <= '9') {
        n--;
    }
    bool has_port = n > 1 && n < all.n && all.p[n - 1] == ':' &&
                    (all.p[n - 2] == ']' || memchr(all.p, ':', n - 1) == NULL);
    struct slice address = slice_head(all, has_port ? n - 1 : all.n);
    (void)slice_to_text(slice_head(address, cap - 1), dst, cap);
}

enum err incident_tally_add(struct incident_tally *t, const json_t *event)
{
    char address[128];
    const json_t *times = json_object_get(event, "count");
    json_int_t n = json_integer_value(times);
    if (!json_is_object(event) || !json_is_integer(times) || n < 1) {
        return ERR_MALFORMED;
    }
    address_of(text_of(event, "peer"), address, sizeof address);
    TRY(count(t->categories, text_of(event, "category"), n));
    TRY(strcmp(address, "-") != 0 ? count(t->peers, address, n) : OK);
    const char *target = text_of(event, "target");
    return strcmp(target, "-") != 0 ? count(t->targets, target, n) : OK;
}

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* The name as a word of its own; a dot behind it may end a sentence. */
static bool has_word(const char *text, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = strstr(text, name); at != NULL; at = strstr(at + 1, name)) {
        bool begins = at == text || !is_name_byte(at[-1]);
        bool ends = !is_name_byte(at[n]) || (at[n] == '.' && !is_name_byte(at[n + 1]));
        if (begins && ends) {
            return true;
        }
    }
    return false;
}

bool incident_is_about(const json_t *event, const char *device)
{
    return strcmp(text_of(event, "principal"), device) == 0 ||
           strcmp(text_of(event, "client_id"), device) == 0 ||
           has_word(text_of(event, "target"), device) || has_word(text_of(event, "reason"), device);
}

static json_t *time_json(uint64_t events, int64_t wall_ms)
{
    char text[CLOCK_ISO8601_BYTES];
    clock_iso8601(wall_ms, text);
    return events > 0 ? json_string(text) : json_null();
}

json_t *incident_end_line(const struct incident_tally *t, const struct incident_report *r)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:o,s:o,s:O,s:O,s:O}", "end", (json_int_t)r->last, "events",
                     (json_int_t)r->events, "left_out", (json_int_t)r->left_out, "unproven",
                     (json_int_t)r->older, "first", time_json(r->events, r->first_ms), "last",
                     time_json(r->events, r->last_ms), "categories", t->categories, "peers",
                     t->peers, "targets", t->targets);
}
