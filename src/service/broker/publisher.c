/* May what was said still be heard? Of each publisher, what the policy in force grants it.
 * docs/ORDER.md, rule 9. */
#include "base/mem.h"
#include "core/quarantine.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"

static struct slice publisher_key(const void *value)
{
    const struct publisher *p = value;
    return slice_of(&p->id, sizeof(p->id));
}

static struct publisher *publisher_of(struct worker *w, uint64_t id)
{
    if (w->publishers.key_of == NULL) {
        map_init(&w->publishers, &w->setup.key, publisher_key);
    }
    struct publisher *p = map_find(&w->publishers, slice_of(&id, sizeof(id)));
    if (p != NULL) {
        return p;
    }
    p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return NULL;
    }
    p->id = id;
    const struct directory_entry *entry = directory_find_id(w->realm->directory, id);
    enum err err = OK;
    if (entry != NULL && entry->principal->status == PRINCIPAL_ACTIVE) {
        err = grants_new(w->realm->policy, entry->principal, &p->grants);
        p->principal = principal_ref(entry->principal);
    }
    if (p->grants != NULL) {
        grants_know(p->grants, &w->people);
    }
    if (err != OK || map_add(&w->publishers, p) != OK) {
        grants_free(p->grants);
        principal_unref(p->principal);
        mem_free(p);
        return NULL;
    }
    return p;
}

void publishers_clear(struct worker *w)
{
    size_t at = 0;
    struct publisher *p;
    while ((p = map_next(&w->publishers, &at)) != NULL) {
        grants_free(p->grants);
        principal_unref(p->principal);
        mem_free(p);
    }
    map_done(&w->publishers);
    w->publishers = (struct map){0};
}

MUST_USE enum err publisher_judge(struct worker *w, const struct msg *m)
{
    if (m->epoch == w->realm->epoch) {
        return OK;
    }
    if (m->publisher >> 63 != 0) {
        return OK; /* anonymous: its right ended with its connection, what it said then stands */
    }
    const struct publisher *p = publisher_of(w, m->publisher);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    if (p->grants == NULL) {
        return ERR_DENIED;
    }
    /* It was asked about by another name, before it came into quarantine. */
    return quarantine_is_of(p->principal, m->topic)
               ? OK
               : grants_publish(p->grants, m->topic, m->qos, m->retain, NULL);
}

const struct grants *publisher_grants(struct worker *w, uint64_t publisher)
{
    const struct publisher *p = publisher_of(w, publisher);
    return p != NULL ? p->grants : NULL;
}

bool publisher_ok(struct worker *w, const struct msg *m)
{
    return publisher_judge(w, m) == OK;
}
