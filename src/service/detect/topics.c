/* Topics that a device had not used, and nobody of its role either. */
#include "service/detect/detect_private.h"

static bool has(const uint32_t *list, size_t n, uint32_t x)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i] == x) {
            return true;
        }
    }
    return false;
}

/* One more of the role uses it; returns how many do. */
static unsigned propose(struct role *r, uint32_t shape)
{
    for (size_t i = 0; i < CANDIDATES_MAX; i++) {
        if (r->candidate[i].n > 0 && r->candidate[i].shape == shape) {
            return ++r->candidate[i].n;
        }
    }
    size_t at = r->next_candidate++ % CANDIDATES_MAX;
    r->candidate[at].shape = shape;
    r->candidate[at].n = 1;
    return 1;
}

void topics_see(struct detect *d, struct identity *i, const struct detect_sample *s, uint32_t now_s)
{
    struct habits *h = &i->habits;
    struct role *r = role_of(d, i);
    if (s->is_many || h->n_topics == HABIT_TOPICS_MAX || has(h->topic, h->n_topics, s->topic)) {
        return;
    }
    h->topic[h->n_topics++] = s->topic;
    if (r->n_shapes == SHAPES_MAX || has(r->shape, r->n_shapes, s->shape)) {
        return;
    }
    bool is_command = topic_gives_commands(slice_text(s->text));
    bool is_new = is_learned(d, h, now_s) && now_s - r->first_s >= d->t.learn_s &&
                  (is_command || role_hours(r, now_s) >= d->t.topic_hours);
    if (!is_new || propose(r, s->shape) >= CANDIDATE_ADOPTED) {
        r->shape[r->n_shapes++] = s->shape;
        return;
    }
    habit_tell(d, is_command ? DETECTOR_command_write : DETECTOR_new_topic, i, "", s->text, now_s,
               now_s, "first message to '%.40s', and none of %u of its role has used one like it",
               s->text, r->n_members);
}
