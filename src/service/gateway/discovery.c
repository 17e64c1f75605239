/* /.well-known/core: what this principal may use, as links. SPEC: RFC6690, RFC7252 7.2. */
#include "service/enrol/est.h"
#include "service/gateway/door_private.h"
#include "wire/coap/link.h"

enum {
    LIST_BYTES = 1024,  /* of links: what surely fits one datagram */
    FILTERS_MAX = 4,    /* parts of the query that are looked at */
    LOOK_AT_MAX = 1024, /* retained messages that one request may look at */
    HREF_BYTES = 512
};

struct listing {
    struct association *a;
    struct wr w;
    struct coap_link_filter filters[FILTERS_MAX];
    size_t n_filters;
    size_t n_seen;
    char text[LIST_BYTES];
};

static bool is_wanted(const struct listing *list, const struct coap_link *l)
{
    for (size_t i = 0; i < list->n_filters; i++) {
        if (!coap_link_matches(&list->filters[i], l)) {
            return false;
        }
    }
    return true;
}

static bool is_listed(const struct listing *list, struct slice href)
{
    struct slice rest = wr_slice(&list->w);
    while (rest.n > 0) {
        rest = slice_from(rest, slice_find(rest, '<') + 1);
        if (slice_has_prefix(rest, href) && rest.n > href.n && rest.p[href.n] == '>') {
            return true;
        }
    }
    return false;
}

/* A link that does not fit is left out; a shorter one behind it may still fit. */
static void add(struct listing *list, const struct coap_link *l)
{
    struct wr before = list->w;
    if (!is_wanted(list, l) || is_listed(list, l->href)) {
        return;
    }
    coap_link_write(&list->w, l);
    if (!wr_ok(&list->w)) {
        list->w = before;
    }
}

static void add_topic(struct listing *list, struct slice topic)
{
    struct association *a = list->a;
    struct coap_door *d = a->door;
    const struct grants *g = &a->account->grants;
    char href[HREF_BYTES];
    struct coap_link link = {.rt = slice_text("sallyport.topic")};
    bool may_get = grants_subscribe(g, topic, NULL) == OK;
    bool may_put = grants_publish(g, topic, 0, false, NULL) == OK;
    if ((!may_get && !may_put) || !door_path_write(topic, href, sizeof(href), &link.href)) {
        return;
    }
    link.obs = may_get;
    link.iface = slice_text(may_get ? (may_put ? "sub pub" : "sub") : "pub");
    const struct msg *m =
        may_get ? worker_retained(d->setup.worker, list->a->account, topic, d->now_ms) : NULL;
    uint16_t format = m != NULL ? value_format(m) : UINT16_MAX;
    if (format != UINT16_MAX) {
        link.ct[0] = format;
        link.n_ct = 1;
    }
    add(list, &link);
}

static void on_exact_grant(void *ctx, enum policy_action action, struct slice filter, bool is_exact)
{
    (void)action; /* add_topic asks for both */
    if (is_exact) {
        add_topic(ctx, filter);
    }
}

static bool on_retained(void *ctx, const struct msg *m)
{
    struct listing *list = ctx;
    add_topic(list, m->topic);
    return ++list->n_seen < LOOK_AT_MAX;
}

/* A wildcard names no resource; what is retained below it does. */
static void on_wide_grant(void *ctx, enum policy_action action, struct slice filter, bool is_exact)
{
    struct listing *list = ctx;
    struct coap_door *d = list->a->door;
    if (!is_exact && action == POLICY_SUBSCRIBE && list->n_seen < LOOK_AT_MAX) {
        worker_retained_each(d->setup.worker, list->a->account, filter, d->now_ms, on_retained,
                             list);
    }
}

/* The resource directory, as far as it is granted. SPEC: RFC9176 4.3 */
static void add_directory(struct listing *list)
{
    static const struct {
        const char *href, *rt;
        unsigned method;
    } ways[] = {{ENROL_PATH, "core.rd", METHOD_POST},
                {LOOKUP_RESOURCES, "core.rd-lookup-res", METHOD_GET},
                {LOOKUP_ENDPOINTS, "core.rd-lookup-ep", METHOD_GET}};
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        struct coap_link link = {.href = slice_text(ways[i].href),
                                 .rt = slice_text(ways[i].rt),
                                 .ct = {COAP_FORMAT_LINK},
                                 .n_ct = 1};
        if (grants_resource(&list->a->account->grants, link.href, ways[i].method, NULL) == OK) {
            add(list, &link);
        }
    }
}

/* Last, where they cost others no room: who looks for them says so (rt=ace.est*). What it
 * would be refused is not listed for it. SPEC: RFC9148 4.1 */
static void add_est(struct listing *list)
{
    const struct est_short *s;
    size_t at = 0;
    while ((s = est_short_next(&at)) != NULL) {
        char href[16];
        struct coap_link link = {.rt = slice_text(s->rt), .n_ct = 1};
        (void)snprintf(href, sizeof(href), "/est/%s", s->name);
        link.href = slice_text(href);
        switch (s->operation) {
        case EST_CSRATTRS:
            link.ct[0] = COAP_FORMAT_CSRATTRS;
            break;
        case EST_SERVERKEYGEN:
            link.ct[0] = COAP_FORMAT_MULTIPART;
            break;
        case EST_CACERTS:
        case EST_SIMPLEENROLL:
        case EST_SIMPLEREENROLL:
            link.ct[0] = COAP_FORMAT_PKCS7_CERTS;
            link.ct[link.n_ct++] = COAP_FORMAT_PKIX_CERT;
            break;
        case EST_OPERATIONS:
            break;
        }
        if (est_offers(list->a, s)) {
            add(list, &link);
        }
    }
}

static bool read_query(const struct request *rq, struct listing *list)
{
    struct coap_options it = coap_options_from(rq->m->options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        if (o.number != COAP_OPTION_URI_QUERY) {
            continue;
        }
        if (list->n_filters == FILTERS_MAX ||
            coap_link_filter_from(o.value, &list->filters[list->n_filters]) != OK) {
            return false;
        }
        list->n_filters++;
    }
    return true;
}

static void answer_list(const struct request *rq, const struct listing *list)
{
    uint8_t block[8];
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct coap_answer answer = {.code = COAP_CONTENT, .payload = wr_slice(&list->w)};
    coap_option_add_uint(&o, COAP_OPTION_CONTENT_FORMAT, COAP_FORMAT_LINK);
    if (coap_option_writer_done(&o, &answer.options) == OK) {
        (void)answer_send(&rq->asker, &answer);
    }
}

void discovery_serve(const struct request *rq)
{
    struct association *a = rq->asker.a;
    struct listing list = {.a = a};
    struct coap_link self = {
        .href = slice_text("/.well-known/core"), .ct = {COAP_FORMAT_LINK}, .n_ct = 1};
    list.w = wr_into(list.text, sizeof(list.text));
    if (rq->m->code != COAP_GET) {
        request_refuse(rq, EVENT_protocol_error, COAP_METHOD_NOT_ALLOWED, "it takes GET",
                       "the list of resources takes GET");
    } else if (a->account->is_closed) {
        request_refuse(rq, EVENT_revoked, COAP_FORBIDDEN, "not granted",
                       "the principal is not active any more");
    } else if (!bucket_take(&a->reads, 1, a->door->now_ms)) {
        struct decision why = {.limit = LIMIT_replay_rate,
                               .rule = "it reads faster than replay_rate of its role"};
        request_refuse_by_passage(rq, ERR_QUOTA, &why,
                                  bucket_wait_ms(&a->reads, 1, a->door->now_ms));
    } else if (rq->asker.has_accept && rq->asker.accept != COAP_FORMAT_LINK) {
        (void)answer_text(&rq->asker, COAP_NOT_ACCEPTABLE, "the list is in link format, 40");
    } else if (!read_query(rq, &list)) {
        request_refuse(rq, EVENT_malformed, COAP_BAD_REQUEST, "a query is like rt=sallyport.*",
                       "the query is no filter of links");
    } else {
        add(&list, &self);
        if (!a->account->principal->is_late) { /* nothing of it is open to it */
            add_directory(&list);
            grants_each(&a->account->grants, on_exact_grant, &list);
            grants_each(&a->account->grants, on_wide_grant, &list);
        }
        add_est(&list);
        answer_list(rq, &list);
    }
}
