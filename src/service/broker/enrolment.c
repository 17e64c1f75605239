#include "service/broker/enrolment.h"

#include "base/mem.h"
#include "service/broker/worker_private.h"

enum err enrolment_new(struct enrolment **ret)
{
    struct enrolment *e = mem_zalloc(sizeof *e);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    *ret = e;
    return OK;
}

struct enrolment *enrolment_free(struct enrolment *e)
{
    if (e != NULL) {
        buf_done(&e->csr_der);
        buf_done(&e->current_der);
        buf_done(&e->certs_der);
        buf_done(&e->leaf_der);
        buf_done(&e->chain_pem);
        buf_done(&e->bundle_json);
        buf_wipe(&e->key_der);
        mem_wipe(e->secret, sizeof e->secret);
        mem_free(e);
    }
    return NULL;
}

void enrolled_arrived(struct worker *w, struct enrolment *e)
{
    list_append(&w->enrolled, &e->node);
}

struct enrolment *worker_next_enrolled(struct worker *w, unsigned door)
{
    list_for_each (node, &w->enrolled) {
        struct enrolment *e = LIST_ENTRY(node, struct enrolment, node);
        if (e->door == door) {
            list_unlink(&e->node);
            return e;
        }
    }
    return NULL;
}

void enrolled_clear(struct worker *w)
{
    struct list_node *n;
    while (w->enrolled.head.next != NULL && (n = list_first(&w->enrolled)) != NULL) {
        list_unlink(n);
        enrolment_free(LIST_ENTRY(n, struct enrolment, node));
    }
}
