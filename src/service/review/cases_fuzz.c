#include <assert.h>

#include "service/directory/policy_yaml.h"
#include "service/review/cases.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void count(void *ctx, const struct case_result *r)
{
    size_t *seen = ctx;
    assert(r->line > 0 && r->rule[0] != '\0');
    (*seen)++;
}

/* Any bytes are tests or a complaint with a place; every test of a file that reads has an answer.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    AUTO(cases_autofree) struct cases *c = NULL;
    struct yaml_complaint complaint = {{0}};
    const struct policy *policy = NULL;
    size_t seen = 0;
    enum err e = cases_read(slice_of(data, n), "f", &complaint, &c);
    assert(e == OK || (e == ERR_CONFIG && strncmp(complaint.text, "f:", 2) == 0));
    if (e == OK) {
        e = policy_yaml_read(slice_text(policy_yaml_default()), "p", NULL, &complaint, &policy);
        assert(e == OK);
        e = cases_run(c, policy, count, &seen);
        assert(e == OK && seen == cases_count(c));
    }
    (void)policy_unref(policy);
    return 0;
}
