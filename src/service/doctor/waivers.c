#include "service/doctor/waivers.h"

#include <jansson.h>

#include "base/clock.h"
#include "base/mem.h"
#include "service/doctor/lines.h"
#include "service/doctor/rules.h"

static const int64_t DAY_MS = INT64_C(86400000);
static const int64_t WALL_MS_MAX = INT64_C(253402300799999); /* the end of the year 9999 */

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void text_release(char **text)
{
    free(*text); /* the library's */
}

void waivers_done(struct waivers *w)
{
    w->items = mem_free(w->items);
    w->n = 0;
}

static enum err append(struct waivers *l, const struct waiver *w)
{
    struct waiver *items = mem_grow(l->items, (l->n + 1) * sizeof *items);
    if (items == NULL) {
        return ERR_NOMEM;
    }
    l->items = items;
    items[l->n++] = *w;
    return OK;
}

/* ---- the file ---- */

static bool read_text(const json_t *from, const char *key, char *dst, size_t cap)
{
    return slice_to_text(slice_text(json_string_value(json_object_get(from, key))), dst, cap);
}

static bool read_one(const json_t *from, struct waiver *ret)
{
    char product[WAIVER_NAME_BYTES];
    json_int_t id = json_integer_value(json_object_get(from, "id"));
    *ret =
        (struct waiver){.id = id > 0 && id <= UINT32_MAX ? (uint32_t)id : 0,
                        .made_wall_ms = json_integer_value(json_object_get(from, "made_wall_ms")),
                        .ends_wall_ms = json_integer_value(json_object_get(from, "ends_wall_ms"))};
    bool is_good = ret->id != 0 && read_text(from, "product", product, sizeof product) &&
                   read_text(from, "rule", ret->rule, sizeof ret->rule) &&
                   read_text(from, "object", ret->object, sizeof ret->object) &&
                   read_text(from, "by", ret->by, sizeof ret->by) &&
                   read_text(from, "reason", ret->reason, sizeof ret->reason);
    is_good = is_good && ret->made_wall_ms >= 0 && ret->made_wall_ms <= WALL_MS_MAX &&
              ret->ends_wall_ms >= 0 && ret->ends_wall_ms <= WALL_MS_MAX;
    return is_good && facts_product_find(slice_text(product), &ret->product) &&
           ret->reason[0] != '\0';
}

enum err waivers_read(struct slice bytes, struct waivers *ret, struct why *why)
{
    json_error_t error;
    *ret = (struct waivers){0};
    AUTO(json_release)
    json_t *root = bytes.n > WAIVERS_BYTES_MAX
                       ? NULL
                       : json_loadb((const char *)bytes.p, bytes.n, JSON_REJECT_DUPLICATES, &error);
    const json_t *list = json_object_get(root, "waivers");
    if (json_integer_value(json_object_get(root, "version")) != 1 || !json_is_array(list) ||
        json_array_size(list) > WAIVERS_MAX) {
        why_set(why, "%s does not read as a list of at most %d waivers", WAIVERS_FILE, WAIVERS_MAX);
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct waiver w;
        if (!read_one(json_array_get(list, i), &w)) {
            why_set(why, "%s: entry %zu is none that was written here", WAIVERS_FILE, i + 1);
            return ERR_CONFIG;
        }
        TRY(append(ret, &w));
    }
    return OK;
}

enum err waivers_write(const struct waivers *l, int64_t now_wall_ms, struct buf *ret)
{
    AUTO(json_release) json_t *list = json_array();
    for (size_t i = 0; i < l->n; i++) {
        const struct waiver *w = &l->items[i];
        if (now_wall_ms - w->ends_wall_ms > WAIVERS_KEPT_DAYS * DAY_MS) {
            continue;
        }
        json_t *one =
            json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:I,s:I}", "id", (json_int_t)w->id, "product",
                      facts_product_name(w->product), "rule", w->rule, "object", w->object, "by",
                      w->by, "reason", w->reason, "made_wall_ms", (json_int_t)w->made_wall_ms,
                      "ends_wall_ms", (json_int_t)w->ends_wall_ms);
        if (json_array_append_new(list, one) != 0) {
            return ERR_NOMEM;
        }
    }
    AUTO(json_release) json_t *root = json_pack("{s:i,s:O}", "version", 1, "waivers", list);
    AUTO(text_release) char *text = json_dumps(root, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    return text != NULL ? buf_append(ret, slice_text(text), WAIVERS_BYTES_MAX) : ERR_NOMEM;
}

/* ---- one ---- */

bool waiver_is_in_force(const struct waiver *w, int64_t now_wall_ms)
{
    return now_wall_ms < w->ends_wall_ms;
}

static enum err check(const struct waivers *l, const struct waiver *w, struct why *why)
{
    const struct rule *rule = rules_find(slice_text(w->rule));
    int64_t days = (w->ends_wall_ms - w->made_wall_ms) / DAY_MS;
    if (rule == NULL || rule->fix[w->product] == NULL) {
        why_set(why, "there is no rule %.60s for %s; `sallyport doctor --rules` lists them",
                w->rule, facts_product_name(w->product));
        return ERR_NOT_FOUND;
    }
    if (lines_trim(slice_text(w->reason)).n == 0) {
        why_set(why, "a waiver needs a --reason: who reads it later was not there");
        return ERR_MALFORMED;
    }
    if (w->ends_wall_ms <= w->made_wall_ms || days > WAIVERS_DAYS_MAX) {
        why_set(why, "a waiver ends on a day to come, within %d days", WAIVERS_DAYS_MAX);
        return ERR_LIMIT;
    }
    if (l->n >= WAIVERS_MAX) {
        why_set(why, "there are %d waivers already; fix what they are about, and end them",
                WAIVERS_MAX);
        return ERR_LIMIT;
    }
    return OK;
}

enum err waivers_add(struct waivers *l, const struct waiver *w, uint32_t *ret_id, struct why *why)
{
    struct waiver one = *w;
    TRY(check(l, w, why));
    one.id = 1;
    for (size_t i = 0; i < l->n; i++) {
        one.id = l->items[i].id >= one.id ? l->items[i].id + 1 : one.id;
    }
    TRY(append(l, &one));
    *ret_id = one.id;
    return OK;
}

enum err waivers_end(struct waivers *l, uint32_t id, int64_t now_wall_ms)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->items[i].id == id && waiver_is_in_force(&l->items[i], now_wall_ms)) {
            l->items[i].ends_wall_ms = now_wall_ms;
            return OK;
        }
    }
    return ERR_NOT_FOUND;
}

void waivers_apply(const struct waivers *l, enum facts_product product, int64_t now_wall_ms,
                   struct findings *findings)
{
    for (size_t i = 0; i < findings->n; i++) {
        struct finding *f = &findings->items[i];
        f->waiver = 0;
        for (size_t k = 0; k < l->n && f->waiver == 0; k++) {
            const struct waiver *w = &l->items[k];
            bool is_it = w->product == product && strcmp(w->rule, f->rule->id) == 0 &&
                         (w->object[0] == '\0' || strcmp(w->object, f->object) == 0);
            f->waiver = is_it && waiver_is_in_force(w, now_wall_ms) ? k + 1 : 0;
        }
    }
}

enum err waiver_date(struct slice text, int64_t *ret_wall_ms)
{
    int64_t year, month, day;
    bool is_shape = text.n == 10 && text.p[4] == '-' && text.p[7] == '-';
    if (!is_shape || lines_number(slice_head(text, 4), &year) != OK ||
        lines_number(slice_head(slice_from(text, 5), 2), &month) != OK ||
        lines_number(slice_from(text, 8), &day) != OK || year < 1970 || month < 1 || month > 12 ||
        day < 1 || day > 31) {
        return ERR_MALFORMED;
    }
    struct tm tm = {.tm_year = (int)year - 1900, .tm_mon = (int)month - 1, .tm_mday = (int)day};
    time_t midnight = timegm(&tm);
    if (tm.tm_mday != (int)day) { /* there is no such day in that month */
        return ERR_MALFORMED;
    }
    *ret_wall_ms = (int64_t)midnight * 1000 + DAY_MS;
    return OK;
}
