#include "base/event.h"

#include <assert.h>
#include <stdarg.h>

#include "base/wr.h"

static const struct {
    const char *name, *meaning;
    enum event_severity severity;
} categories[EVENT_COUNT] = {
#define X(name_, severity_, meaning_)                                                              \
    [EVENT_##name_] = {.name = #name_, .meaning = (meaning_), .severity = SEVERITY_##severity_},
    EVENT_CATEGORIES(X)
#undef X
};

struct event event_make(enum event_category c)
{
    assert(c < EVENT_COUNT);
    return (struct event){.category = c, .severity = categories[c].severity, .count = 1};
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

void event_text(char *field, size_t cap, struct slice s)
{
    if (cap == 0) {
        return;
    }
    bool is_cut = s.n >= cap;
    size_t n = s.n;
    if (is_cut) {
        n = cap >= 2 ? cap - 2 : 0;
        while (n > 0 && is_continuation(s.p[n])) {
            n--; /* never half a character */
        }
    }
    if (n > 0) {
        memcpy(field, s.p, n);
    }
    for (char *nul = n > 0 ? memchr(field, '\0', n) : NULL; nul != NULL;
         nul = memchr(nul, '\0', (size_t)(field + n - nul))) {
        *nul = '?';
    }
    if (is_cut && cap >= 2) {
        field[n++] = '~';
    }
    field[n] = '\0';
}

/* Texts and nothing to be formatted, as in the events of every connection. */
static bool has_texts_alone(const char *format)
{
    for (const char *p = strchr(format, '%'); p != NULL; p = strchr(p + 2, '%')) {
        if (p[1] != 's') {
            return false;
        }
    }
    return true;
}

/* What the formatter of the library would do with such a format, at a tenth of its price. */
static struct slice join_texts(char *dst, size_t cap, const char *format, va_list args)
{
    struct wr w = wr_into((uint8_t *)dst, cap);
    for (const char *at = format; *at != '\0';) {
        bool is_text = *at == '%';
        struct slice piece =
            is_text ? slice_text(va_arg(args, const char *)) : slice_of(at, strcspn(at, "%"));
        wr_bytes(&w, slice_head(piece, wr_left(&w)));
        at += is_text ? 2 : piece.n;
    }
    return wr_slice(&w);
}

void event_reason(struct event *e, const char *format, ...)
{
    char text[2 * sizeof e->reason]; /* longer than the field, so that a cut is seen and marked */
    struct slice made = {0};
    va_list args;
    va_start(args, format);
    if (has_texts_alone(format)) {
        made = join_texts(text, sizeof(text), format, args);
    } else if (vsnprintf(text, sizeof text, format, args) >= 0) {
        made = slice_text(text);
    }
    va_end(args);
    EVENT_TEXT(e, reason, made);
}

const char *event_category_name(enum event_category c)
{
    assert(c < EVENT_COUNT);
    return categories[c].name;
}

const char *event_category_meaning(enum event_category c)
{
    assert(c < EVENT_COUNT);
    return categories[c].meaning;
}

const char *event_severity_name(enum event_severity s)
{
    switch (s) {
    case SEVERITY_INFO:
        return "info";
    case SEVERITY_NOTICE:
        return "notice";
    case SEVERITY_WARNING:
        return "warning";
    case SEVERITY_ALERT:
        return "alert";
    }
    return "unknown";
}

const char *event_protocol_name(enum event_protocol p)
{
    switch (p) {
    case EVENT_PROTOCOL_none:
        return "none";
    case EVENT_PROTOCOL_mqtt:
        return "mqtt";
    case EVENT_PROTOCOL_coap:
        return "coap";
    case EVENT_PROTOCOL_https:
        return "https";
    case EVENT_PROTOCOL_control:
        return "control";
    case EVENT_PROTOCOL_metrics:
        return "metrics";
    }
    return "unknown";
}

bool event_category_find(struct slice name, enum event_category *ret)
{
    for (unsigned c = 0; c < EVENT_COUNT; c++) {
        if (slice_is(name, categories[c].name)) {
            *ret = (enum event_category)c;
            return true;
        }
    }
    return false;
}
