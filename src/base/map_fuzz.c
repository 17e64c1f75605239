#include "base/map.h"

#include <assert.h>

#include "base/mem.h"
#include "base/scope.h"

/* Every byte is an operation on one of 64 keys; an array of flags is the model. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { N_KEYS = 64 };

static struct slice key_of(const void *value)
{
    return slice_of(value, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct siphash_key key = {11, 22};
    uint8_t values[N_KEYS];
    bool is_in[N_KEYS] = {false};
    size_t n_in = 0;
    AUTO(map_done) struct map m = {0};
    map_init(&m, &key, key_of);
    for (size_t i = 0; i < n; i++) {
        size_t k = data[i] % N_KEYS;
        values[k] = (uint8_t)k;
        struct slice wanted = slice_of(&values[k], 1);
        assert(map_find(&m, wanted) == (is_in[k] ? &values[k] : NULL));
        if (data[i] & 0x80) {
            assert(map_remove(&m, wanted) == (is_in[k] ? &values[k] : NULL));
            n_in -= is_in[k] ? 1 : 0;
            is_in[k] = false;
            continue;
        }
        bool may_fail = (data[i] & 0x40) != 0;
        (void)mem_fail_after(may_fail ? 0 : -1);
        enum err e = map_add(&m, &values[k]);
        bool failed = mem_fail_after(-1) != 0;
        assert(e == (is_in[k] ? ERR_EXISTS : failed ? ERR_NOMEM : OK));
        n_in += e == OK ? 1 : 0;
        is_in[k] = is_in[k] || e == OK;
        assert(m.n == n_in);
    }
    size_t n_walked = 0;
    const uint8_t *value = NULL;
    for (size_t at = 0; (value = map_next(&m, &at)) != NULL; n_walked++) {
        assert(is_in[*value]);
    }
    assert(n_walked == n_in);
    return 0;
}
