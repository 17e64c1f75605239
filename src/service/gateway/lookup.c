/* Who asks the resource directory sees what it may command by the policy, and what is its own.
 * SPEC: RFC9176 6. What it may not see leaves no trace in an answer, whatever it filters for. */
#include "base/mem.h"
#include "core/flow.h"
#include "service/broker/roster.h"
#include "service/gateway/door_private.h"
#include "service/gateway/link_set.h"
#include "wire/coap/uri.h"

enum {
    FILTERS_MAX = 8,
    ANSWER_BYTES = 64 * 1024, /* more is asked for in pages */
    LINKS_PER_READ = 16,      /* looked at for one read of replay_rate */
    KEPT_MS = 60000,          /* to be fetched in blocks */
    QUESTION_BYTES = 1200,
    TOPIC_BYTES = COAP_URI_BYTES + PRINCIPAL_NAME_MAX + 32
};

struct lookup {
    struct association *a;
    bool is_for_endpoints;
    bool may_command; /* somebody, at least */
    size_t n_filters;
    struct coap_link_filter filters[FILTERS_MAX];
    bool has_page, has_count;
    uint64_t page, count;
    uint64_t n_found, n_looked;
    struct wr w;
};

/* ---- the question ---- */

static bool is_number(struct slice text, uint64_t *ret)
{
    enum { DIGITS_MAX = 9 };
    uint64_t n = 0;
    for (size_t i = 0; i < text.n && i < DIGITS_MAX + 1; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        n = n * 10 + (text.p[i] - '0');
    }
    *ret = n;
    return text.n > 0 && text.n <= DIGITS_MAX;
}

static bool read_part(struct lookup *l, struct slice part)
{
    struct slice page = slice_text("page="), count = slice_text("count=");
    if (slice_has_prefix(part, page)) {
        bool is_first = !l->has_page;
        l->has_page = true;
        return is_first && is_number(slice_from(part, page.n), &l->page);
    }
    if (slice_has_prefix(part, count)) {
        bool is_first = !l->has_count;
        l->has_count = true;
        return is_first && is_number(slice_from(part, count.n), &l->count) && l->count > 0;
    }
    return l->n_filters < FILTERS_MAX &&
           coap_link_filter_from(part, &l->filters[l->n_filters++]) == OK;
}

static bool read_query(struct lookup *l, struct slice options)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_URI_QUERY && o.value.n > 0 && !read_part(l, o.value)) {
            return false;
        }
    }
    return l->has_count || !l->has_page; /* SPEC: RFC9176 6.2 */
}

/* ---- what may be seen ---- */

static void on_grant(void *ctx, enum policy_action action, struct slice filter, bool is_exact)
{
    struct lookup *l = ctx;
    (void)is_exact;
    if (action == POLICY_PUBLISH && slice_has_prefix(filter, slice_text("$coap/"))) {
        l->may_command = true;
    }
}

/* By one method or another: what no command can name, only its owner sees. */
static bool may_command(const struct lookup *l, const struct principal *p, struct slice href)
{
    static const char *const methods[] = {"GET",    "FETCH", "PUT",   "POST",
                                          "DELETE", "PATCH", "iPATCH"};
    static const struct topic_limits any = {UINT32_MAX, UINT32_MAX};
    const struct account *a = l->a->account;
    uint8_t path[COAP_URI_BYTES];
    char topic[TOPIC_BYTES];
    struct wr w = wr_into(path, sizeof(path));
    if (!link_set_topic(href, &w)) {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        struct wr t = wr_into(topic, sizeof(topic));
        wr_bytes(&t, slice_text("$coap/"));
        wr_bytes(&t, slice_text(p->name));
        wr_u8(&t, '/');
        wr_bytes(&t, slice_text(methods[i]));
        wr_bytes(&t, slice_text(w.at > 0 ? "/" : ""));
        wr_bytes(&t, wr_slice(&w));
        struct slice name = wr_slice(&t);
        if (!wr_ok(&t) || topic_name_check(name, &any) != OK) {
            return false;
        }
        if (grants_publish(&a->grants, name, 0, false, NULL) == OK &&
            policy_lets_flow(grants_policy(&a->grants), a->segment, flow_segment_of(p), name)) {
            return true;
        }
    }
    return false;
}

static bool may_see(struct lookup *l, const struct principal *p, struct slice href)
{
    return p->id == l->a->account->principal->id || (l->may_command && may_command(l, p, href));
}

/* ---- filters ---- */

static struct slice joined(struct slice base, struct slice ref, char *dst, size_t cap)
{
    struct wr w = wr_into(dst, cap);
    wr_bytes(&w, base);
    wr_bytes(&w, ref);
    return wr_slice(&w);
}

static struct slice anchor_of(struct slice attributes)
{
    struct coap_link_attribute a;
    while (coap_link_attribute_next(&attributes, &a)) {
        if (slice_is(a.name, "anchor")) {
            return a.value;
        }
    }
    return (struct slice){0};
}

static bool link_matches(const struct coap_link_filter *f, const struct registration *r,
                         const struct coap_link_item *link)
{
    char text[ENROL_BASE_BYTES + COAP_URI_BYTES];
    if (slice_is(f->name, "href")) {
        return coap_link_filter_takes(f, joined(r->base, link->href, text, sizeof(text)));
    }
    if (slice_is(f->name, "anchor")) {
        struct slice anchor = anchor_of(link->attributes);
        return anchor.n > 0 &&
               coap_link_filter_takes(f, joined(r->base, anchor, text, sizeof(text)));
    }
    return coap_link_attributes_match(f, link->attributes);
}

static const char *sector_of(const struct principal *p)
{
    return principal_attr(p, slice_text(PRINCIPAL_SEGMENT));
}

static bool endpoint_matches(const struct coap_link_filter *f, const struct principal *p,
                             const struct registration *r)
{
    char href[sizeof(ENROL_PATH) + PRINCIPAL_NAME_MAX + 1];
    (void)snprintf(href, sizeof(href), ENROL_PATH "/%s", p->name);
    struct {
        const char *name;
        struct slice value;
    } own[] = {{"ep", slice_text(p->name)},
               {"d", slice_text(sector_of(p))},
               {"base", r->base},
               {"rt", slice_text("core.rd-ep")},
               {"href", slice_text(href)}};
    for (size_t i = 0; i < COUNT_OF(own); i++) {
        if (slice_is(f->name, own[i].name) && coap_link_filter_takes(f, own[i].value)) {
            return true;
        }
    }
    return coap_link_attributes_match(f, r->attributes);
}

/* One bit for each filter that the endpoint meets by itself. */
static unsigned met_by_endpoint(const struct lookup *l, const struct principal *p,
                                const struct registration *r)
{
    unsigned met = 0;
    for (size_t i = 0; i < l->n_filters; i++) {
        met |= endpoint_matches(&l->filters[i], p, r) ? 1U << i : 0;
    }
    return met;
}

static unsigned met_by_link(const struct lookup *l, const struct registration *r,
                            const struct coap_link_item *link)
{
    unsigned met = 0;
    for (size_t i = 0; i < l->n_filters; i++) {
        met |= link_matches(&l->filters[i], r, link) ? 1U << i : 0;
    }
    return met;
}

/* ---- the answer ---- */

/* Is this one on the page? *ret_more false: nothing behind it is. */
static bool is_on_page(struct lookup *l, bool *ret_more)
{
    uint64_t at = l->n_found++;
    uint64_t from = l->page * l->count;
    *ret_more = !l->has_count || at + 1 < from + l->count;
    return !l->has_count || (at >= from && at < from + l->count);
}

static void write_attributes(struct wr *w, struct slice attributes, struct slice base)
{
    struct coap_link_attribute a;
    while (coap_link_attribute_next(&attributes, &a)) {
        bool is_anchor = slice_is(a.name, "anchor");
        const char *quote = a.quoted || is_anchor ? "\"" : "";
        wr_u8(w, ';');
        wr_bytes(w, a.name);
        if (a.has_value) {
            wr_u8(w, '=');
            wr_bytes(w, slice_text(quote));
            wr_bytes(w, is_anchor ? base : (struct slice){0});
            wr_bytes(w, a.value);
            wr_bytes(w, slice_text(quote));
        }
    }
}

static void write_resource(struct lookup *l, const struct registration *r,
                           const struct coap_link_item *link)
{
    struct wr *w = &l->w;
    wr_bytes(w, slice_text(w->at > 0 ? ",<" : "<"));
    wr_bytes(w, r->base);
    wr_bytes(w, link->href);
    wr_u8(w, '>');
    write_attributes(w, link->attributes, r->base);
}

static void write_endpoint(struct lookup *l, const struct principal *p,
                           const struct registration *r)
{
    struct wr *w = &l->w;
    wr_bytes(w, slice_text(w->at > 0 ? ",<" ENROL_PATH "/" : "<" ENROL_PATH "/"));
    wr_bytes(w, slice_text(p->name));
    wr_u8(w, '>');
    coap_link_attribute_write(w, "ep", slice_text(p->name));
    coap_link_attribute_write(w, "d", slice_text(sector_of(p)));
    coap_link_attribute_write(w, "base", r->base);
    coap_link_attribute_write(w, "rt", slice_text("core.rd-ep"));
    write_attributes(w, r->attributes, (struct slice){0});
}

static bool on_resources(struct lookup *l, const struct principal *p, const struct registration *r)
{
    const unsigned all = (1U << l->n_filters) - 1;
    unsigned met = met_by_endpoint(l, p, r);
    struct coap_link_reader it = coap_link_reader_from(r->links);
    struct coap_link_item link;
    bool has_more = true;
    while (has_more && coap_link_next(&it, &link)) {
        l->n_looked++;
        if ((met | met_by_link(l, r, &link)) == all && may_see(l, p, link.href) &&
            is_on_page(l, &has_more)) {
            write_resource(l, r, &link);
        }
    }
    return has_more && wr_ok(&l->w);
}

/* SPEC: RFC9176 6.2: each criterion by the endpoint or by one of its links; by those that are seen.
 */
static bool on_endpoint(struct lookup *l, const struct principal *p, const struct registration *r)
{
    const unsigned all = (1U << l->n_filters) - 1;
    unsigned met = met_by_endpoint(l, p, r);
    bool is_seen = p->id == l->a->account->principal->id;
    struct coap_link_reader it = coap_link_reader_from(r->links);
    struct coap_link_item link;
    bool has_more = true;
    while ((!is_seen || met != all) && coap_link_next(&it, &link)) {
        unsigned by_link = met_by_link(l, r, &link);
        l->n_looked++;
        if ((!is_seen || (met | by_link) != met) && may_see(l, p, link.href)) {
            is_seen = true;
            met |= by_link;
        }
    }
    if (is_seen && met == all && is_on_page(l, &has_more)) {
        write_endpoint(l, p, r);
    }
    return has_more && wr_ok(&l->w);
}

static bool on_registration(void *ctx, const struct principal *p, const struct registration *r)
{
    struct lookup *l = ctx;
    return l->is_for_endpoints ? on_endpoint(l, p, r) : on_resources(l, p, r);
}

/* Who may command nobody sees itself at most, and costs no more than that. */
static void look(struct lookup *l)
{
    struct association *a = l->a;
    struct coap_door *d = a->door;
    const struct principal *self = a->account->principal;
    grants_each(&a->account->grants, on_grant, l);
    if (l->may_command) {
        roster_each(d->setup.worker, d->now_ms, on_registration, l);
    } else {
        const struct registration *own = roster_find(d->setup.worker, self, d->now_ms);
        if (own != NULL) {
            (void)on_registration(l, self, own);
        }
    }
    uint64_t dear = l->n_looked / LINKS_PER_READ, left = a->reads.millis / 1000;
    (void)bucket_take(&a->reads, (uint32_t)(dear < left ? dear : left), d->now_ms);
}

static void answer(const struct request *rq, struct slice text)
{
    const struct coap_door *d = rq->asker.a->door;
    uint8_t block[24], etag[ETAG_BYTES];
    struct coap_answer answer = {.code = COAP_CONTENT, .payload = text};
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct wr tag = wr_into(etag, sizeof(etag));
    wr_u64(&tag, siphash(&d->setup.key, answer.payload));
    coap_option_add(&o, COAP_OPTION_ETAG, wr_slice(&tag));
    coap_option_add_uint(&o, COAP_OPTION_CONTENT_FORMAT, COAP_FORMAT_LINK);
    if (coap_option_writer_done(&o, &answer.options) == OK) {
        (void)answer_send(&rq->asker, &answer);
    }
}

/* ---- what is fetched in blocks ---- */

/* 0: too long a question, which nothing is kept for. */
static uint64_t question_of(const struct request *rq)
{
    uint8_t bytes[QUESTION_BYTES];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct coap_options it = coap_options_from(rq->m->options);
    struct coap_option o;
    wr_block16(&w, rq->path.text);
    while (coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_URI_QUERY) {
            wr_block16(&w, o.value);
        }
    }
    return wr_ok(&w) ? siphash(&rq->asker.a->door->setup.key, wr_slice(&w)) | 1 : 0;
}

/* Of one text, and without walking the directory for each block of it. */
static const struct kept_lookup *kept(const struct request *rq)
{
    const struct association *a = rq->asker.a;
    const struct coap_door *d = a->door;
    uint64_t question = question_of(rq);
    bool is_rest = rq->asker.has_block2 && rq->asker.block2.number > 0;
    for (size_t i = 0; is_rest && i < LOOKUPS_KEPT; i++) {
        const struct kept_lookup *k = &d->lookups[i];
        if (k->text.n > 0 && k->association == a->id && k->question == question &&
            k->epoch == d->epoch && d->now_ms < k->until_ms) {
            return k;
        }
    }
    return NULL;
}

/* In the place of its last one, or of the oldest of all. Without memory the directory is walked
 * again for the next block. */
static void keep(const struct request *rq, struct slice text)
{
    const struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    struct kept_lookup *k = &d->lookups[0];
    for (size_t i = 0; i < LOOKUPS_KEPT; i++) {
        bool is_own = d->lookups[i].association == a->id;
        if (is_own || d->lookups[i].until_ms < k->until_ms) {
            k = &d->lookups[i];
        }
        if (is_own) {
            break;
        }
    }
    buf_done(&k->text);
    *k = (struct kept_lookup){.association = a->id,
                              .question = question_of(rq),
                              .epoch = d->epoch,
                              .until_ms = d->now_ms + KEPT_MS};
    if (k->question != 0 && buf_append(&k->text, text, ANSWER_BYTES) != OK) {
        count_add(&d->setup.counters->dropped_memory, 1);
    }
}

size_t lookups_drop(struct coap_door *d)
{
    size_t n = 0;
    for (size_t i = 0; i < LOOKUPS_KEPT; i++) {
        n += d->lookups[i].text.n > 0 ? 1 : 0;
        buf_done(&d->lookups[i].text);
        d->lookups[i] = (struct kept_lookup){.text = {0}};
    }
    return n;
}

/* ---- the whole ---- */

static void answer_found(const struct request *rq, const struct lookup *l)
{
    struct slice text = wr_slice(&l->w);
    if (!wr_ok(&l->w)) {
        request_refuse(rq, EVENT_quota, COAP_BAD_REQUEST,
                       "more than 64 KiB: filter, or ask for pages with count and page",
                       "a lookup found more than 64 KiB of links: filter, or ask for pages with "
                       "count and page");
        return;
    }
    if (rq->asker.has_block2 ? text.n > coap_block_bytes(rq->asker.block2.szx)
                             : text.n > talk_whole_max(rq->asker.a)) {
        keep(rq, text);
    }
    answer(rq, text);
}

static void serve(const struct request *rq, struct lookup *l)
{
    struct association *a = rq->asker.a;
    if (rq->m->code != COAP_GET) {
        request_refuse(rq, EVENT_protocol_error, COAP_METHOD_NOT_ALLOWED, "a lookup takes GET",
                       "a lookup takes GET");
        return;
    }
    if (!bucket_take(&a->reads, 1, a->door->now_ms)) {
        count_limit(a->door->setup.counters, LIMIT_replay_rate);
        request_refuse_rate(rq, EVENT_rate, bucket_wait_ms(&a->reads, 1, a->door->now_ms),
                            "it reads faster than replay_rate of its role");
        return;
    }
    if (rq->asker.has_accept && rq->asker.accept != COAP_FORMAT_LINK) {
        (void)answer_text(&rq->asker, COAP_NOT_ACCEPTABLE, "a lookup gives link format, 40");
        return;
    }
    if (!read_query(l, rq->m->options)) {
        request_refuse(rq, EVENT_malformed, COAP_BAD_REQUEST,
                       "a query is like rt=light*, count=10 and page=0; 8 filters at most",
                       "the query of a lookup is none");
        return;
    }
    const struct kept_lookup *k = kept(rq);
    if (k != NULL) {
        answer(rq, buf_slice(&k->text));
        return;
    }
    uint8_t *text = mem_alloc(ANSWER_BYTES);
    if (text == NULL) {
        request_refuse_unavailable(&rq->asker);
        return;
    }
    l->w = wr_into(text, ANSWER_BYTES);
    look(l);
    answer_found(rq, l);
    mem_free(text);
}

bool lookup_serve(const struct request *rq)
{
    struct lookup l = {.a = rq->asker.a,
                       .is_for_endpoints = slice_is(rq->path.text, LOOKUP_ENDPOINTS)};
    if (!l.is_for_endpoints && !slice_is(rq->path.text, LOOKUP_RESOURCES)) {
        return false;
    }
    serve(rq, &l);
    return true;
}
