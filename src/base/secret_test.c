#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"

static void holds_a_copy(void **state)
{
    (void)state;
    uint8_t key[5000];
    memset(key, 0x5a, sizeof key);
    static const size_t sizes[] = {0, 1, 32, 4095, 4096, 4097, 5000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        AUTO(secret_autofree) struct secret *s = NULL;
        assert_int_equal(secret_new(slice_of(key, sizes[i]), &s), OK);
        assert_true(slice_equal(secret_bytes(s), slice_of(key, sizes[i])));
        assert_true(sizes[i] == 0 || secret_bytes(s).p != key);
    }
    assert_null(secret_free(NULL));
}

/* The flags of the mapping that holds p, as the kernel reports them ("dd": not dumped). */
static void vm_flags_of(const void *p, char *flags, size_t cap)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    assert_non_null(f);
    char line[512];
    bool is_here = false;
    flags[0] = '\0';
    while (fgets(line, sizeof line, f) != NULL) {
        char *end = NULL;
        uintptr_t from = (uintptr_t)strtoull(line, &end, 16);
        if (end != line && *end == '-') {
            uintptr_t to = (uintptr_t)strtoull(end + 1, NULL, 16);
            is_here = (uintptr_t)p >= from && (uintptr_t)p < to;
        }
        if (is_here && strncmp(line, "VmFlags:", 8) == 0) {
            assert_true(slice_to_text(slice_text(line + 8), flags, cap));
        }
    }
    (void)fclose(f);
}

static void stays_out_of_core_dumps_and_is_read_only(void **state)
{
    (void)state;
    AUTO(secret_autofree) struct secret *s = NULL;
    assert_int_equal(secret_new(slice_text("hunter2"), &s), OK);
    char flags[256];
    vm_flags_of(secret_bytes(s).p, flags, sizeof flags);
    assert_non_null(strstr(flags, " dd"));
    assert_null(strstr(flags, " wr"));
}

static void no_memory_leaves_nothing(void **state)
{
    (void)state;
    struct secret *s = NULL;
    (void)mem_fail_after(0);
    assert_int_equal(secret_new(slice_text("x"), &s), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_null(s);
}

static void equality_sees_every_bit(void **state)
{
    (void)state;
    uint8_t a[33];
    uint8_t b[33];
    memset(a, 0xc3, sizeof a);
    memset(b, 0xc3, sizeof b);
    assert_true(secret_equal(slice_of(a, 33), slice_of(b, 33)));
    assert_true(secret_equal((struct slice){0}, (struct slice){0}));
    assert_false(secret_equal(slice_of(a, 32), slice_of(b, 33)));
    for (size_t bit = 0; bit < 8 * sizeof b; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(secret_equal(slice_of(a, 33), slice_of(b, 33)));
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_a_copy),
        cmocka_unit_test(stays_out_of_core_dumps_and_is_read_only),
        cmocka_unit_test(no_memory_leaves_nothing),
        cmocka_unit_test(equality_sees_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
