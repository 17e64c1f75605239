#include "core/passage.h"

#include <stdarg.h>

#include "core/flow.h"

__attribute__((format(printf, 3, 4))) static enum err refuse(struct decision *ret, enum err e,
                                                             const char *format, ...)
{
    if (ret != NULL) {
        ret->err = e;
        ret->limit = LIMIT_none;
        va_list args;
        va_start(args, format);
        vsnprintf(ret->rule, sizeof ret->rule, format, args);
        va_end(args);
    }
    return e;
}

/* By a bound that has a name. */
static enum err over(struct decision *ret, enum limit_name limit, enum err e)
{
    if (ret != NULL) {
        ret->limit = limit;
    }
    return e;
}

static enum err allow(struct decision *ret)
{
    if (ret != NULL) {
        ret->err = OK;
        ret->limit = LIMIT_none;
        ret->rule[0] = '\0';
    }
    return OK;
}

/* Nothing passes, whatever its role grants. */
static bool is_shut(const struct account *a)
{
    return a->is_closed || a->principal->is_late;
}

static enum err refuse_closed(const struct account *a, struct decision *ret)
{
    if (a->principal->is_late && !a->is_closed) {
        return refuse(ret, ERR_DENIED,
                      "the certificate of %s has ended: it may renew it and do nothing else. "
                      "Publish a CSR to $sallyport/renew, POST it to /est/sren over CoAP, or "
                      "`sallyport device rotate %s`",
                      a->principal->name, a->principal->name);
    }
    if (a->is_stale) {
        return refuse(ret, ERR_DENIED,
                      "the rights of %s could not be renewed for want of memory; the server tries "
                      "again",
                      a->principal->name);
    }
    if ((a->principal->answers & PRINCIPAL_SHUT_OUT) != 0 &&
        a->principal->own_status == PRINCIPAL_ACTIVE) {
        return refuse(ret, ERR_DENIED,
                      "%s is shut out by a response; `sallyport respond list` says why and until "
                      "when, `respond undo` ends it",
                      a->principal->name);
    }
    switch (a->principal->status) {
    case PRINCIPAL_DISABLED:
        return refuse(ret, ERR_DENIED, "%s is disabled; `device enable` lets it in again",
                      a->principal->name);
    case PRINCIPAL_REVOKED:
        return refuse(ret, ERR_DENIED, "%s is revoked; it needs a new identity",
                      a->principal->name);
    case PRINCIPAL_ACTIVE:
        break;
    }
    return refuse(ret, ERR_DENIED, "%s was removed", a->principal->name);
}

enum err passage_connect(struct account *a, struct slice client_id, uint64_t now_ms,
                         struct decision *ret)
{
    if (a->is_closed) {
        return refuse_closed(a, ret);
    }
    if (!grants_client_id_ok(&a->grants, client_id)) {
        return refuse(ret, ERR_DENIED,
                      "client id '%.*s' is not one that role %s gives to %s; connect with its own "
                      "or set client_id in policy.yaml",
                      SLICE_ARG(slice_head(client_id, 40)), a->principal->role, a->principal->name);
    }
    if (!account_take(a, ACCOUNT_CONNECTS, 1, now_ms)) {
        return over(
            ret, LIMIT_connect_rate,
            refuse(ret, ERR_QUOTA,
                   "%s connects too often (connect_rate %u/s); let it wait before it retries",
                   a->principal->name, (unsigned)account_rate(a, ACCOUNT_CONNECTS)));
    }
    return allow(ret);
}

enum err passage_will(struct account *a, struct slice topic, uint8_t qos,
                      enum passage_retain retain, size_t payload_bytes, struct decision *ret)
{
    if (is_shut(a)) {
        return refuse_closed(a, ret);
    }
    if (slice_has_prefix(topic, slice_text(PASSAGE_ALERTS))) {
        return refuse(ret, ERR_DENIED,
                      "what is below " PASSAGE_ALERTS " is the server's own: who is granted it may "
                      "subscribe, and nobody publishes there");
    }
    /* Asked twice only when refused: allowed messages pay for no explanation. */
    if (grants_publish(&a->grants, topic, qos, retain != RETAIN_NO, NULL) != OK) {
        return grants_publish(&a->grants, topic, qos, retain != RETAIN_NO, ret);
    }
    if (retain == RETAIN_NO || payload_bytes == 0) {
        return allow(ret);
    }
    const struct role_limits *l = grants_limits(&a->grants);
    if (payload_bytes > l->retained_bytes) {
        return over(ret, LIMIT_retained_bytes,
                    refuse(ret, ERR_TOO_LARGE,
                           "a retained message of %zu bytes is over retained_bytes %u of role %s",
                           payload_bytes, (unsigned)l->retained_bytes, a->principal->role));
    }
    if (retain == RETAIN_FULL) {
        return over(
            ret, LIMIT_retained_total,
            refuse(ret, ERR_QUOTA,
                   "the server retains all that it may (retained_total, retained_total_bytes); "
                   "`sallyport retained list --by principal` says whose it is"));
    }
    if (retain == RETAIN_NEW && a->n_retained >= l->retained_count) {
        return over(
            ret, LIMIT_retained_count,
            refuse(ret, ERR_QUOTA,
                   "%s has %u retained messages already (retained_count of role %s); clear some",
                   a->principal->name, (unsigned)a->n_retained, a->principal->role));
    }
    return allow(ret);
}

enum err passage_publish(struct account *a, struct slice topic, uint8_t qos,
                         enum passage_retain retain, size_t payload_bytes, uint64_t now_ms,
                         struct decision *ret)
{
    TRY(passage_will(a, topic, qos, retain, payload_bytes, ret));
    if (!bucket_take(&a->publishes, 1, now_ms)) {
        return over(ret, LIMIT_publish_rate,
                    refuse(ret, ERR_QUOTA,
                           "%s publishes faster than publish_rate %u/s of role %s%s",
                           a->principal->name, (unsigned)a->publishes.rate, a->principal->role,
                           (a->principal->answers & PRINCIPAL_THROTTLED) != 0
                               ? "; it is throttled, see `sallyport respond list`"
                               : ""));
    }
    return allow(ret);
}

enum err passage_subscribe(struct account *a, const struct session *s, struct slice filter,
                           bool is_new, struct decision *ret)
{
    if (is_shut(a)) {
        return refuse_closed(a, ret);
    }
    if (grants_subscribe(&a->grants, filter, NULL) != OK) {
        return grants_subscribe(&a->grants, filter, ret); /* only a no has to be explained */
    }
    uint32_t most = grants_limits(&a->grants)->subscriptions;
    if (is_new && s != NULL && s->subscriber.n_subs >= most) {
        return over(ret, LIMIT_subscriptions,
                    refuse(ret, ERR_QUOTA,
                           "the session of %s has %u subscriptions (subscriptions of role %s); "
                           "unsubscribe from some",
                           a->principal->name, (unsigned)most, a->principal->role));
    }
    return OK;
}

enum err passage_deliver(struct account *a, struct sub *sub, struct decision *ret)
{
    if (a->is_stale) {
        return refuse(ret, ERR_NOMEM, "the rights of %s could not be renewed yet",
                      a->principal->name);
    }
    if (is_shut(a)) {
        return refuse_closed(a, ret);
    }
    if (sub->epoch == a->epoch) {
        return allow(ret);
    }
    TRY(grants_subscribe(&a->grants, sub_filter(sub), ret));
    sub->epoch = a->epoch;
    return OK;
}

enum err passage_hear(const struct account *a, const struct msg *m)
{
    if (m->segment == a->segment || m->publisher == PASSAGE_SERVER) {
        return OK;
    }
    if (a->is_quarantined) {
        return ERR_DENIED;
    }
    bool passes = policy_lets_flow(grants_policy(&a->grants), m->segment, a->segment, m->topic);
    return passes ? OK : ERR_DENIED;
}

enum err passage_segment(const struct account *a, const char *segment, struct decision *ret)
{
    const char *own = principal_attr(a->principal, slice_text(PRINCIPAL_SEGMENT));
    if (strcmp(own, segment) != 0) {
        return refuse(ret, ERR_DENIED,
                      "%s belongs to segment %.32s, this listener to %.32s; let it use a listener "
                      "of its own segment",
                      a->principal->name, own, segment);
    }
    return allow(ret);
}

enum err passage_resource(struct account *a, struct slice path, unsigned method,
                          struct decision *ret)
{
    if (is_shut(a)) {
        return refuse_closed(a, ret);
    }
    if (a->is_quarantined) {
        return refuse(ret, ERR_DENIED, "%s is in quarantine; `sallyport respond list` says why",
                      a->principal->name);
    }
    return grants_resource(&a->grants, path, method, ret);
}
