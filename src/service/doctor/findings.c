#include "service/doctor/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "service/doctor/rules.h"

static size_t count_of(const struct findings *l, const struct rule *rule)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        n += l->items[i].rule == rule;
    }
    return n;
}

enum err findings_add(struct findings *l, const struct rule *rule, struct facts_place at,
                      const char *object, const char *format, ...)
{
    if (l->n == FINDINGS_MAX || count_of(l, rule) == FINDINGS_PER_RULE) {
        l->n_more++;
        return OK;
    }
    struct finding *items = mem_grow(l->items, (l->n + 1) * sizeof *items);
    if (items == NULL) {
        return ERR_NOMEM;
    }
    l->items = items;
    struct finding *f = &items[l->n++];
    *f = (struct finding){.rule = rule, .at = at};
    facts_shown(f->object, sizeof f->object, slice_text(object));
    va_list args;
    va_start(args, format);
    (void)vsnprintf(f->evidence, sizeof f->evidence, format, args);
    va_end(args);
    return OK;
}

static int compare(const void *a, const void *b)
{
    const struct finding *x = a, *y = b;
    if (x->rule->severity != y->rule->severity) {
        return x->rule->severity > y->rule->severity ? -1 : 1;
    }
    if (x->rule != y->rule) {
        return strcmp(x->rule->id, y->rule->id);
    }
    if (x->at.file != y->at.file) {
        return x->at.file < y->at.file ? -1 : 1;
    }
    if (x->at.line != y->at.line) {
        return x->at.line < y->at.line ? -1 : 1;
    }
    return strcmp(x->object, y->object);
}

void findings_sort(struct findings *l)
{
    if (l->n > 1) {
        qsort(l->items, l->n, sizeof l->items[0], compare);
    }
}

static bool is_plain_name(const char *s)
{
    size_t n = strlen(s);
    bool is_good = n > 0 && n < FACTS_PATH - 16 && s[0] != '-';
    for (size_t i = 0; i < n && is_good; i++) {
        bool is_letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z');
        is_good = is_letter || (s[i] >= '0' && s[i] <= '9') || strchr("._-/@", s[i]) != NULL;
    }
    return is_good;
}

void finding_fix(const struct finding *f, enum facts_product product, char dst[FINDING_FIX_BYTES])
{
    const char *name = is_plain_name(f->object) ? f->object : "NAME";
    const char *from = f->rule->fix[product];
    size_t n = 0;
    dst[0] = '\0';
    for (const char *at = strstr(from, "{}"); at != NULL && n < FINDING_FIX_BYTES;
         at = strstr(from, "{}")) {
        n += (size_t)snprintf(dst + n, FINDING_FIX_BYTES - n, "%.*s%s", (int)(at - from), from,
                              name);
        from = at + strlen("{}");
    }
    if (n < FINDING_FIX_BYTES) {
        (void)snprintf(dst + n, FINDING_FIX_BYTES - n, "%s", from);
    }
}

void findings_done(struct findings *l)
{
    l->items = mem_free(l->items);
    l->n = 0;
    l->n_more = 0;
}

const char *severity_name(enum severity s)
{
    switch (s) {
    case SEVERITY_LOW:
        return "low";
    case SEVERITY_MEDIUM:
        return "medium";
    case SEVERITY_HIGH:
        return "high";
    case SEVERITY_CRITICAL:
        return "critical";
    }
    return "?";
}
