#include "service/admin/control.h"

#include <stdarg.h>

static void json_release(json_t **j)
{
    json_decref(*j);
}

static bool is_verb(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
              c == '_')) {
            return false;
        }
    }
    return n > 0 && n < CONTROL_VERB_BYTES;
}

static enum err load_object(struct slice line, size_t limit, json_t **ret)
{
    if (line.n > limit) {
        return ERR_TOO_LARGE;
    }
    json_t *root = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return ERR_MALFORMED;
    }
    *ret = root;
    return OK;
}

enum err control_request_decode(struct slice line, struct control_request *ret)
{
    AUTO(json_release) json_t *root = NULL;
    TRY(load_object(line, CONTROL_REQUEST_MAX, &root));
    json_t *verb = json_object_get(root, "verb");
    json_t *args = json_object_get(root, "args");
    size_t members = (verb != NULL ? 1u : 0u) + (args != NULL ? 1u : 0u);
    if (!json_is_string(verb) || (args != NULL && !json_is_object(args)) ||
        json_object_size(root) != members ||
        !is_verb(json_string_value(verb), json_string_length(verb))) {
        return ERR_MALFORMED;
    }
    struct control_request r = {.args = args != NULL ? json_incref(args) : json_object()};
    if (r.args == NULL) {
        return ERR_NOMEM;
    }
    memcpy(r.verb, json_string_value(verb), json_string_length(verb));
    *ret = r;
    return OK;
}

void control_request_done(struct control_request *r)
{
    json_decref(r->args);
    r->args = NULL;
}

static enum err append_json(const json_t *j, size_t limit, struct buf *ret)
{
    size_t n = json_dumpb(j, NULL, 0, JSON_COMPACT);
    if (n == 0) {
        return ERR_NOMEM;
    }
    uint8_t *room;
    TRY(buf_room(ret, n + 1, limit, &room));
    if (json_dumpb(j, (char *)room, n, JSON_COMPACT) != n) {
        return ERR_NOMEM;
    }
    room[n] = '\n';
    ret->n += n + 1;
    return OK;
}

enum err control_request_encode(const char *verb, const json_t *args, struct buf *ret)
{
    AUTO(json_release) json_t *root = json_pack("{s:s}", "verb", verb);
    if (root == NULL ||
        (args != NULL && json_object_set_new(root, "args", json_deep_copy(args)) != 0)) {
        return ERR_NOMEM;
    }
    return append_json(root, CONTROL_REQUEST_MAX, ret);
}

const char *control_arg_text(const struct control_request *r, const char *name)
{
    return json_string_value(json_object_get(r->args, name));
}

bool control_arg_flag(const struct control_request *r, const char *name)
{
    return json_is_true(json_object_get(r->args, name));
}

int64_t control_arg_number(const struct control_request *r, const char *name, int64_t fallback)
{
    const json_t *j = json_object_get(r->args, name);
    return json_is_integer(j) ? json_integer_value(j) : fallback;
}

void control_reply_done(struct control_reply *r)
{
    buf_wipe(&r->bytes); /* a bundle may have passed */
}

enum err control_line(struct control_reply *r, json_t *line)
{
    AUTO(json_release) json_t *owned = line;
    if (owned == NULL) {
        return ERR_NOMEM;
    }
    return append_json(owned, CONTROL_ANSWER_MAX, &r->bytes);
}

enum err control_text(struct control_reply *r, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return control_line(r, json_pack("{s:s}", "text", text));
}

enum err control_finish(struct control_reply *r, int exit_code, const char *format, ...)
{
    char text[1024] = "";
    if (format != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
    }
    AUTO(json_release) json_t *line = json_pack("{s:b,s:i}", "done", 1, "exit", exit_code);
    if (line == NULL) {
        return ERR_NOMEM;
    }
    if (text[0] != '\0') {
        json_t *error = json_string(text);
        if (error == NULL) { /* cut in the middle of a character, or not text at all */
            error = json_string("the reason cannot be shown");
        }
        if (json_object_set_new(line, "error", error) != 0) {
            return ERR_NOMEM;
        }
    }
    TRY(append_json(line, CONTROL_ANSWER_MAX, &r->bytes));
    r->is_done = true;
    r->is_streaming = false;
    return OK;
}

static void request_release(struct control_request *r)
{
    control_request_done(r);
}

enum err control_dispatch(const struct control_verb *table, size_t n, void *ctx, struct slice line,
                          uint64_t token, struct control_reply *reply)
{
    AUTO(request_release) struct control_request request = {0};
    enum err e = control_request_decode(line, &request);
    if (e != OK) {
        return control_finish(reply, 1, "the request does not read: %s", err_name(e));
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(table[i].name, request.verb) != 0) {
            continue;
        }
        e = table[i].handle(ctx, &request, token, reply);
        if (e != OK && !reply->is_done) {
            return control_finish(reply, 1, "%s failed: %s", request.verb, err_name(e));
        }
        return OK;
    }
    return control_finish(reply, 1, "this daemon does not know \"%s\"", request.verb);
}

enum err control_cut(struct slice *in, struct slice *ret_line)
{
    size_t at = slice_find(*in, '\n');
    if (at > CONTROL_REQUEST_MAX) {
        return ERR_TOO_LARGE;
    }
    if (at == in->n) {
        return ERR_AGAIN;
    }
    *ret_line = slice_head(*in, at);
    *in = slice_from(*in, at + 1);
    return OK;
}

enum err control_answer_decode(struct slice line, struct control_answer *ret)
{
    AUTO(json_release) json_t *root = NULL;
    TRY(load_object(line, CONTROL_ANSWER_MAX, &root));
    struct control_answer a = {
        .is_done = json_is_true(json_object_get(root, "done")),
        .error = json_string_value(json_object_get(root, "error")),
        .text = json_string_value(json_object_get(root, "text")),
    };
    if (a.is_done) {
        const json_t *code = json_object_get(root, "exit");
        if (!json_is_integer(code) || json_integer_value(code) < 0 ||
            json_integer_value(code) > 2) {
            return ERR_MALFORMED;
        }
        a.exit_code = (int)json_integer_value(code);
    }
    a.line = TAKE(root);
    *ret = a;
    return OK;
}

void control_answer_done(struct control_answer *a)
{
    json_decref(a->line);
    a->line = NULL;
}
