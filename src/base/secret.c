#include "base/secret.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

/* The handle is on the heap; the bytes have pages of their own. */
struct secret {
    uint8_t *pages;
    size_t n, page_bytes;
};

static size_t whole_pages(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return n <= page ? page : (n + page - 1) / page * page;
}

enum err secret_new(struct slice s, struct secret **ret)
{
    AUTO(secret_autofree) struct secret *secret = mem_zalloc(sizeof *secret);
    if (secret == NULL || s.n > SIZE_MAX / 2) {
        return ERR_NOMEM;
    }
    size_t bytes = whole_pages(s.n);
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        return ERR_NOMEM;
    }
    secret->pages = pages;
    secret->page_bytes = bytes;
    secret->n = s.n;
    /* Best effort: RLIMIT_MEMLOCK is small on many machines, and a server that does not start
     * would be no safer. Before the copy, so that the bytes never sit in an unlocked page. */
    (void)mlock(pages, bytes);
    (void)madvise(pages, bytes, MADV_DONTDUMP);
    slice_copy(secret->pages, s);
    (void)mprotect(pages, bytes, PROT_READ);
    *ret = TAKE(secret);
    return OK;
}

struct secret *secret_free(struct secret *s)
{
    if (s == NULL) {
        return NULL;
    }
    if (s->pages != NULL) {
        if (mprotect(s->pages, s->page_bytes, PROT_READ | PROT_WRITE) == 0) {
            mem_wipe(s->pages, s->n);
        }
        (void)munmap(s->pages, s->page_bytes);
    }
    return mem_free(s);
}

struct slice secret_bytes(const struct secret *s)
{
    return slice_of(s->pages, s->n);
}

bool secret_equal(struct slice a, struct slice b)
{
    if (a.n != b.n) {
        return false;
    }
    /* volatile: the compiler may not leave the loop at the first difference. */
    volatile uint8_t difference = 0;
    for (size_t i = 0; i < a.n; i++) {
        difference = difference | (uint8_t)(a.p[i] ^ b.p[i]);
    }
    return difference == 0;
}

void secret_autofree(struct secret **s)
{
    *s = secret_free(*s);
}
