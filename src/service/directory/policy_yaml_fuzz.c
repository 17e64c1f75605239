#include <assert.h>

#include "service/directory/policy_yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Any bytes are a policy or a complaint with a place. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct yaml_complaint complaint = {{0}};
    const struct policy *policy = NULL;
    enum err e = policy_yaml_read(slice_of(data, n), "f", NULL, &complaint, &policy);
    assert(e == OK || (e == ERR_CONFIG && strncmp(complaint.text, "f:", 2) == 0));
    assert((e == OK) == (policy != NULL));
    (void)policy_unref(policy);
    return 0;
}
