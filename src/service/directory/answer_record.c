#include "base/utf8.h"
#include "service/directory/directory_record_private.h"

static const char *const kind_names[] = {
    [ANSWER_ALERT] = "alert",           [ANSWER_THROTTLE] = "throttle",
    [ANSWER_STEP_UP] = "step-up",       [ANSWER_QUARANTINE] = "quarantine",
    [ANSWER_DISCONNECT] = "disconnect", [ANSWER_REVOKE] = "revoke",
};
_Static_assert(COUNT_OF(kind_names) == ANSWER_KINDS, "each has a name");

const char *answer_name(enum answer_kind kind)
{
    return kind < ANSWER_KINDS ? kind_names[kind] : "-";
}

bool answer_find(struct slice name, enum answer_kind *ret)
{
    for (size_t i = 0; i < COUNT_OF(kind_names); i++) {
        if (slice_is(name, kind_names[i])) {
            *ret = (enum answer_kind)i;
            return true;
        }
    }
    return false;
}

static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

static json_t *answer_to_json(const struct directory_answer *a)
{
    json_t *json = json_object();
    bool ok = set(json, "id", json_integer((json_int_t)a->id)) &&
              set(json, "kind", json_string(answer_name(a->kind))) &&
              set(json, "since", json_integer(a->since_wall_ms)) &&
              (a->until_wall_ms == DIRECTORY_ANSWER_STAYS ||
               set(json, "until", json_integer(a->until_wall_ms))) &&
              set(json, "by", json_string(a->by)) && set(json, "reason", json_string(a->reason));
    if (!ok) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *answers_to_json(const struct directory_entry *e)
{
    json_t *array = json_array();
    for (size_t i = 0; array != NULL && i < e->n_answers; i++) {
        if (json_array_append_new(array, answer_to_json(&e->answers[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static enum err answer_from_json(json_t *json, struct directory_answer *ret)
{
    struct directory_answer a = {0};
    json_int_t id = 0, since = 0, until = DIRECTORY_ANSWER_STAYS;
    const char *kind = NULL, *by = NULL, *reason = NULL;
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:I, s:s, s:I, s?I, s:s, s:s}", "id", &id, "kind",
                       &kind, "since", &since, "until", &until, "by", &by, "reason",
                       &reason) != 0 ||
        id <= 0 || !answer_find(slice_text(kind), &a.kind) || a.kind == ANSWER_ALERT ||
        !slice_to_text(slice_text(by), a.by, sizeof a.by) ||
        !slice_to_text(slice_text(reason), a.reason, sizeof a.reason)) {
        return ERR_CONFIG;
    }
    a.id = (uint64_t)id;
    a.since_wall_ms = since;
    a.until_wall_ms = until;
    *ret = a;
    return OK;
}

/* One of a kind: whoever reads them counts on it. */
enum err answers_from_json(const json_t *json, struct directory_answer ret[DIRECTORY_ANSWERS_MAX],
                           size_t *ret_n)
{
    unsigned seen = 0;
    size_t n = 0;
    if (json == NULL) {
        *ret_n = 0;
        return OK;
    }
    if (!json_is_array(json) || json_array_size(json) == 0 ||
        json_array_size(json) > DIRECTORY_ANSWERS_MAX) {
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < json_array_size(json); i++) {
        TRY(answer_from_json(json_array_get(json, i), &ret[n]));
        if ((seen & 1U << ret[n].kind) != 0) {
            return ERR_CONFIG;
        }
        seen |= 1U << ret[n++].kind;
    }
    *ret_n = n;
    return OK;
}
