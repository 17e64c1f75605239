#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "core/trie.h"

static const struct siphash_key KEY = {.k0 = 1, .k1 = 2};
static struct slab slab;

static struct trie_node *add(struct trie *t, const char *path)
{
    struct trie_node *node = NULL;
    assert_int_equal(trie_add(t, slice_text(path), &node), OK);
    node->value = node;
    return node;
}

static struct trie_node *child(const struct trie *t, const struct trie_node *parent,
                               const char *level)
{
    return trie_child(t, parent, slice_text(level), trie_level_hash(t, slice_text(level)));
}

static void drop(struct trie *t, struct trie_node *node)
{
    node->value = NULL;
    trie_prune(t, node);
}

/* In front of its siblings, behind them, beside the other one, and gone. */
static void test_wild_children(void **state)
{
    (void)state;
    struct trie t;
    slab_init(&slab);
    trie_init(&t, &KEY, &slab);
    struct trie_node *front = add(&t, "a/+"), *beside = add(&t, "a/#"), *plain = add(&t, "a/b");
    struct trie_node *first = add(&t, "c/d"), *behind = add(&t, "c/#"), *last = add(&t, "c/+");
    struct trie_node *a = child(&t, &t.root, "a"), *c = child(&t, &t.root, "c");
    assert_ptr_equal(trie_plus(&t, a), front);
    assert_ptr_equal(trie_multi(&t, a), beside);
    assert_ptr_equal(trie_plus(&t, c), last);
    assert_ptr_equal(trie_multi(&t, c), behind);
    assert_null(trie_plus(&t, plain));
    assert_null(trie_multi(&t, first));
    drop(&t, front);
    assert_null(trie_plus(&t, a));
    assert_ptr_equal(trie_multi(&t, a), beside);
    drop(&t, beside);
    assert_null(trie_multi(&t, a));
    assert_ptr_equal(child(&t, a, "b"), plain);
    trie_done(&t);
    slab_done(&slab);
}

static void test_shape(void **state)
{
    (void)state;
    struct trie t;
    slab_init(&slab);
    trie_init(&t, &KEY, &slab);
    assert_null(child(&t, &t.root, "a"));
    struct trie_node *abc = add(&t, "a/b/c"), *ab = add(&t, "a/b"), *plus = add(&t, "a/+"),
                     *multi = add(&t, "#"), *empty = add(&t, "//");
    assert_int_equal(t.n_nodes, 8);
    struct trie_node *a = child(&t, &t.root, "a");
    assert_ptr_equal(child(&t, a, "b"), ab);
    assert_ptr_equal(child(&t, ab, "c"), abc);
    assert_ptr_equal(trie_plus(&t, a), plus);
    assert_ptr_equal(trie_multi(&t, &t.root), multi);
    assert_null(child(&t, &t.root, "b"));
    assert_ptr_equal(trie_parent(&t, trie_parent(&t, empty)), child(&t, &t.root, ""));
    assert_ptr_equal(add(&t, "a/b"), ab);

    static const char *const ORDER[] = {"a", "b", "c", "+", "#", "", "", ""};
    size_t n = 0;
    for (struct trie_node *at = trie_after(&t, &t.root, &t.root, true); at != NULL;
         at = trie_after(&t, &t.root, at, true)) {
        assert_true(slice_is(trie_level(at), ORDER[n]));
        n++;
    }
    assert_int_equal(n, COUNT_OF(ORDER));
    assert_ptr_equal(trie_after(&t, &t.root, a, false), multi);
    assert_null(trie_after(&t, a, plus, true));

    static const char *const PATHS[] = {"a", "a/b", "a/b/c", "a/+", "#", "//"};
    for (size_t i = 0; i < COUNT_OF(PATHS); i++) {
        struct trie_node *node = trie_find(&t, slice_text(PATHS[i]));
        uint8_t path[8];
        assert_non_null(node);
        assert_int_equal(trie_path_n(&t, node), strlen(PATHS[i]));
        trie_path(&t, node, strlen(PATHS[i]), path);
        assert_memory_equal(path, PATHS[i], strlen(PATHS[i]));
    }
    assert_null(trie_find(&t, slice_text("a/b/d")));
    assert_null(trie_find(&t, slice_text("b/b")));
    assert_null(trie_find(&t, slice_text("a/b/c/d")));

    drop(&t, ab); /* has a child: stays */
    assert_int_equal(t.n_nodes, 8);
    drop(&t, abc); /* takes its parent along */
    assert_int_equal(t.n_nodes, 6);
    drop(&t, plus);
    drop(&t, multi);
    assert_null(trie_multi(&t, &t.root));
    drop(&t, empty);
    assert_int_equal(t.n_nodes, 0);
    trie_done(&t);
    slab_done(&slab);
}

static void test_many(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    static struct trie_node *nodes[MANY];
    struct trie t;
    char path[32];
    slab_init(&slab);
    trie_init(&t, &KEY, &slab);
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "x/%d/%d", i % 50, i);
        nodes[i] = add(&t, path);
    }
    assert_int_equal(t.n_nodes, 1 + 50 + MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "x/%d/%d", i % 50, i);
        assert_ptr_equal(add(&t, path), nodes[i]);
    }
    for (int i = 0; i < MANY; i += 2) {
        drop(&t, nodes[i]);
    }
    assert_int_equal(t.n_nodes, 1 + 25 + MANY / 2);
    trie_done(&t);
    slab_done(&slab); /* what is left goes with it */
}

/* The table of a tree that was large becomes small; without memory for that it stays. */
static void test_fits_again(void **state)
{
    enum { MANY = 20000, LEFT = 10 };
    static struct trie_node *nodes[MANY];
    char path[32];
    (void)state;
    struct trie t;
    slab_init(&slab);
    trie_init(&t, &KEY, &slab);
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(path, sizeof path, "a/%zu", i);
        nodes[i] = add(&t, path);
    }
    size_t large = t.n_buckets;
    assert_true(large >= MANY);
    for (size_t i = MANY - 1; i >= LEFT; i--) {
        mem_fail_after(i < MANY / 4 && i > MANY / 32 ? 0 : -1);
        drop(&t, nodes[i]);
        mem_fail_after(-1);
        if (i > MANY / 32) {
            assert_int_equal(t.n_buckets, large);
        }
    }
    assert_true(t.n_buckets <= 1024);
    for (size_t i = 0; i < LEFT; i++) {
        (void)snprintf(path, sizeof path, "%zu", i);
        assert_ptr_equal(child(&t, child(&t, &t.root, "a"), path), nodes[i]);
    }
    trie_done(&t);
    slab_done(&slab);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct trie t;
    struct trie_node *node = NULL;
    slab_init(&slab);
    trie_init(&t, &KEY, &slab);
    for (long n = 0; n < 5; n++) { /* the table, numbers of chunks and three nodes */
        mem_fail_after(n);
        assert_int_equal(trie_add(&t, slice_text("a/b/c"), &node), ERR_NOMEM);
        assert_int_equal(t.n_nodes, 0);
        trie_done(&t);
        slab_done(&slab);
    }
    assert_int_equal(trie_add(&t, slice_text("a/b/c"), &node), OK);
    /* A table that cannot grow is slower, not an error. */
    char path[16];
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "%d", i);
        mem_fail_after(t.n_nodes == 16 ? 0 : -1);
        add(&t, path);
    }
    assert_int_equal(mem_fail_after(-1), 0);
    assert_non_null(child(&t, &t.root, "99"));
    trie_done(&t);
    slab_done(&slab);
}

/* The longest level that lies in its node, one less, one more, and the longest there is. */
static void test_long_levels(void **state)
{
    (void)state;
    static const size_t LENGTHS[] = {TRIE_LEVEL_MOST - 1, TRIE_LEVEL_MOST, TRIE_LEVEL_MOST + 1,
                                     UINT16_MAX};
    static uint8_t text[UINT16_MAX + 4], back[UINT16_MAX + 4];
    struct trie t;
    uint64_t before = mem_used();
    slab_init(&slab);
    trie_init(&t, &KEY, &slab);
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < COUNT_OF(LENGTHS); i++) {
        size_t n = LENGTHS[i];
        struct trie_node *node = NULL, *below = NULL;
        text[n - 1] = 'y';
        for (long at = 0; at < 2; at++) {
            mem_fail_after(at);
            if (trie_add(&t, slice_of(text, n), &node) == OK) {
                trie_prune(&t, node);
            }
        }
        (void)mem_fail_after(-1);
        assert_int_equal(t.n_nodes, 0);
        assert_int_equal(trie_add(&t, slice_of(text, n), &node), OK);
        assert_true(slice_equal(trie_level(node), slice_of(text, n)));
        assert_ptr_equal(trie_find(&t, slice_of(text, n)), node);
        assert_null(trie_find(&t, slice_of(text, n - 1)));
        text[n] = '/';
        assert_int_equal(trie_add(&t, slice_of(text, n + 2), &below), OK);
        text[n] = 'x';
        assert_ptr_equal(trie_parent(&t, below), node);
        assert_int_equal(trie_path_n(&t, below), n + 2);
        trie_path(&t, below, n + 2, back);
        assert_memory_equal(back, text, n);
        assert_int_equal(back[n], '/');
        if (i % 2 == 0) {
            trie_prune(&t, below);
            assert_int_equal(t.n_nodes, 0);
        } else {
            trie_done(&t);
        }
        text[n - 1] = 'x';
    }
    trie_done(&t);
    slab_done(&slab);
    assert_int_equal(mem_used(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),       cmocka_unit_test(test_many),
        cmocka_unit_test(test_long_levels), cmocka_unit_test(test_fits_again),
        cmocka_unit_test(test_no_memory),   cmocka_unit_test(test_wild_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
