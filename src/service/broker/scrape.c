#include "service/broker/scrape.h"

#include "base/mem.h"
#include "service/broker/worker_private.h"

enum err scrape_new(struct scrape **ret)
{
    struct scrape *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    *ret = s;
    return OK;
}

struct scrape *scrape_free(struct scrape *s)
{
    if (s != NULL) {
        buf_done(&s->text);
        mem_free(s);
    }
    return NULL;
}

void scraped_arrived(struct worker *w, struct scrape *s)
{
    list_append(&w->scraped, &s->node);
}

struct scrape *worker_next_scraped(struct worker *w, unsigned door)
{
    list_for_each (node, &w->scraped) {
        struct scrape *s = LIST_ENTRY(node, struct scrape, node);
        if (s->door == door) {
            list_unlink(&s->node);
            return s;
        }
    }
    return NULL;
}

void scraped_clear(struct worker *w)
{
    struct list_node *n;
    while (w->scraped.head.next != NULL && (n = list_first(&w->scraped)) != NULL) {
        list_unlink(n);
        scrape_free(LIST_ENTRY(n, struct scrape, node));
    }
}
