#include "service/doctor/rules_private.h"

static const struct rule *const families[] = {transport_rules, identity_rules, access_rules,
                                              limit_rules,     keeping_rules,  life_rules,
                                              machine_rules};

const struct rule *rules_next(size_t *at)
{
    size_t left = (*at)++;
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        for (const struct rule *r = families[i]; r->id != NULL; r++) {
            if (left-- == 0) {
                return r;
            }
        }
    }
    return NULL;
}

const struct rule *rules_find(struct slice id)
{
    size_t at = 0;
    const struct rule *r = rules_next(&at);
    while (r != NULL && !slice_is(id, r->id)) {
        r = rules_next(&at);
    }
    return r;
}

enum err rules_judge(const struct facts *f, struct findings *ret)
{
    *ret = (struct findings){0};
    size_t at = 0;
    for (const struct rule *r = rules_next(&at); r != NULL; r = rules_next(&at)) {
        if (r->fix[f->product] != NULL) {
            TRY(r->judge(r, f, ret));
        }
    }
    findings_sort(ret);
    return OK;
}
