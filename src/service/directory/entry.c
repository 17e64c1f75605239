#include "base/mem.h"
#include "service/directory/directory_version_private.h"

static struct directory_entry *counted(const struct directory_entry *e)
{
    return (struct directory_entry *)(uintptr_t)e;
}

void answers_apply(struct principal *p, struct answer_list answers)
{
    p->status = p->own_status;
    p->answers = 0;
    p->step_up = 0;
    for (size_t i = 0; i < answers.n; i++) {
        switch (answers.items[i].kind) {
        case ANSWER_THROTTLE:
            p->answers |= PRINCIPAL_THROTTLED;
            break;
        case ANSWER_STEP_UP:
            p->answers |= PRINCIPAL_STEPPED_UP;
            p->step_up = answers.items[i].id;
            break;
        case ANSWER_QUARANTINE:
            p->answers |= PRINCIPAL_QUARANTINED;
            break;
        case ANSWER_DISCONNECT:
        case ANSWER_REVOKE:
            p->answers |= PRINCIPAL_SHUT_OUT;
            p->status = p->own_status == PRINCIPAL_ACTIVE ? PRINCIPAL_DISABLED : p->own_status;
            break;
        case ANSWER_ALERT:
        case ANSWER_KINDS:
            break;
        }
    }
}

static enum err copy_answers(struct directory_entry *e, struct answer_list answers)
{
    struct directory_answer *copy = NULL;
    if (answers.n > 0) {
        copy = mem_alloc(answers.n * sizeof *copy);
        if (copy == NULL) {
            return ERR_NOMEM;
        }
        memcpy(copy, answers.items, answers.n * sizeof *copy);
    }
    e->answers = copy;
    e->n_answers = answers.n;
    return OK;
}

enum err entry_new(const struct principal *principal, int64_t created_wall_ms, struct slice reason,
                   struct answer_list answers, const struct credential *const *credentials,
                   size_t n, const struct directory_entry **ret)
{
    struct directory_entry *e = mem_zalloc(sizeof *e + n * sizeof e->credentials[0]);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    if (!slice_to_text(reason, e->reason, sizeof e->reason)) {
        mem_free(e);
        return ERR_MALFORMED;
    }
    enum err err = copy_answers(e, answers);
    if (err != OK) {
        mem_free(e);
        return err;
    }
    atomic_init(&e->refs, 1);
    e->principal = principal_ref(principal);
    e->created_wall_ms = created_wall_ms;
    e->n_credentials = n;
    for (size_t i = 0; i < n; i++) {
        e->credentials[i] = credential_ref(credentials[i]);
    }
    *ret = e;
    return OK;
}

const struct directory_entry *entry_ref(const struct directory_entry *e)
{
    atomic_fetch_add_explicit(&counted(e)->refs, 1, memory_order_relaxed);
    return e;
}

const struct directory_entry *entry_unref(const struct directory_entry *e)
{
    if (e != NULL && atomic_fetch_sub_explicit(&counted(e)->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < e->n_credentials; i++) {
            credential_unref(e->credentials[i]);
        }
        principal_unref(e->principal);
        mem_free((void *)(uintptr_t)e->answers);
        mem_free(counted(e));
    }
    return NULL;
}
