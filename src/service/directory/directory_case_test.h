/* directory_case_test - what the tests of a whole directory share; include it behind cmocka.h. */
#ifndef SERVICE_DIRECTORY_DIRECTORY_CASE_TEST_H
#define SERVICE_DIRECTORY_DIRECTORY_CASE_TEST_H

#include "base/scope.h"
#include "service/directory/directory_place_test.h"

#define TEXT(s) slice_text(s)

static inline int setup(void **state)
{
    struct test_place *p = test_calloc(1, sizeof *p);
    test_place_open(p);
    *state = p;
    return 0;
}

static inline int teardown(void **state)
{
    test_place_close(*state);
    test_free(*state);
    return 0;
}

static inline void reopen(struct test_place *p)
{
    test_place_stop(p);
    assert_int_equal(test_place_start(p), OK);
    assert_int_equal(directory_open(&p->setup, &p->d), OK);
}

static inline enum err add(struct test_place *p, const char *name,
                           const struct directory_secret *secrets, size_t n, struct why *why)
{
    const struct principal_attr attrs[] = {{"site", "lab"}};
    uint64_t id = 0;
    struct directory_order o = {.name = TEXT(name),
                                .role = TEXT("sensor"),
                                .attrs = attrs,
                                .n_attrs = 1,
                                .secrets = secrets,
                                .n_secrets = n};
    return directory_add(p->d, &o, TEST_NOW, &id, why);
}

static inline void version_done(const struct directory_version **v)
{
    *v = directory_version_unref(*v);
}
#define VERSION(p) AUTO(version_done) const struct directory_version *v = directory_current((p)->d)

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
