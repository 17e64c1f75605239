/* tree_test - a folder that a test has made goes again, with all that is in it. */
#ifndef BASE_TREE_TEST_H
#define BASE_TREE_TEST_H

#include <ftw.h>
#include <stdio.h>

static inline int tree_remove_one(const char *path, const struct stat *st, int type,
                                  struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* tree_remove - not 0: something is left. Links are removed, not followed. */
static inline int tree_remove(const char *dir)
{
    return nftw(dir, tree_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
