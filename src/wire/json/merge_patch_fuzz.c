#include <assert.h>
#include <stdlib.h>

#include "wire/json/merge_patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A target and a patch, cut at the first newline: what is merged is JSON of the bound that is
 * promised, and merging once more changes nothing. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t once[8192], twice[8192];
    struct slice patch = slice_of(data, n);
    bool has_patch = false;
    struct slice target = slice_cut(&patch, '\n', &has_patch);
    bool is_known = n <= 4000 && json_check(target) == OK;
    if (!has_patch || merge_patch_check(patch) != OK) {
        return 0;
    }
    target = is_known ? target : (struct slice){0};
    struct wr w = wr_into(once, target.n + patch.n + 1);
    merge_patch(target, patch, &w);
    assert(wr_ok(&w) && json_check(wr_slice(&w)) == OK);
    struct wr again = wr_into(twice, sizeof(twice));
    merge_patch(wr_slice(&w), patch, &again);
    assert(wr_ok(&again) && slice_equal(wr_slice(&w), wr_slice(&again)));
    return 0;
}
