/* Requests that never become one of the gateway's: what the engine refused by itself leaves a
 * trace, and what only a proxy might carry on is refused where this is none. */
#include "service/gateway/door_private.h"
#include "service/gateway/proxy.h"

/* Why it was refused with 4.02 or 5.05. */
static void explain_option(const struct association *a, const struct coap_message *m,
                           struct event *ret)
{
    struct topic_limits any = {UINT32_MAX, UINT32_MAX};
    uint8_t text[DOOR_PATH_BYTES];
    struct door_path path;
    struct slice ignored;
    const char *why;
    if (coap_options_find(m->options, COAP_OPTION_PROXY_URI, &ignored) ||
        coap_options_find(m->options, COAP_OPTION_PROXY_SCHEME, &ignored)) {
        *ret = association_event(a, EVENT_probe);
        event_reason(ret, "a request was refused with 5.05: it was to go on to another server, and "
                          "this is no proxy");
        return;
    }
    bool is_utf8 = door_path_read(m->options, &any, text, &path, &why) != ERR_UTF8;
    *ret = association_event(a, is_utf8 ? EVENT_protocol_error : EVENT_utf8);
    event_reason(ret, "a request was refused with 4.02: %s",
                 is_utf8 ? "it carries a critical option that is not known here" : why);
}

static void report(struct association *a, const struct coap_counters *before, struct slice datagram,
                   const struct coap_message *message)
{
    const struct coap_counters *now = &a->door->counts;
    struct coap_message m;
    struct event e;
    bool is_read = message != NULL;
    if (a->stream == NULL && now->malformed != before->malformed) {
        e = association_event(a, EVENT_malformed);
        event_reason(&e,
                     "a datagram of %zu bytes is no CoAP message, or out of place; it was "
                     "refused or passed over, the association stays",
                     datagram.n);
    } else if (now->overflow != before->overflow) {
        e = association_event(a, EVENT_rate);
        event_reason(&e, "too many requests at a time, or remembered: one was refused with 4.29. "
                         "Let it wait for its answers");
        count_add(&a->door->setup.counters->refused_rate, 1);
    } else if (now->unserved != before->unserved) {
        e = association_event(a, EVENT_quota);
        event_reason(&e, "a request was refused with 5.03: memory is at memory_bytes. Look at "
                         "`sallyport alerts`, or raise memory_bytes");
        count_add(&a->door->setup.counters->refused_memory, 1);
    } else if (now->bad_method != before->bad_method) {
        e = association_event(a, EVENT_protocol_error);
        event_reason(&e, "a request was refused with 4.05: its method is not known here");
    } else if (now->bad_option != before->bad_option &&
               (is_read || coap_message_decode(datagram, COAP_ENDPOINT_TOKEN_MAX, &m) == OK)) {
        explain_option(a, is_read ? message : &m, &e);
    } else {
        return;
    }
    door_report(a->door, &e);
}

/* For every message, so that what an event takes is not looked at for nothing. */
void association_report_refused(struct association *a, const struct coap_counters *before,
                                struct slice datagram, const struct coap_message *message)
{
    const struct coap_counters *now = &a->door->counts;
    if (now->malformed != before->malformed || now->overflow != before->overflow ||
        now->unserved != before->unserved || now->bad_method != before->bad_method ||
        now->bad_option != before->bad_option) {
        report(a, before, datagram, message);
    }
}

/* SPEC: RFC7252 5.4.1: a NON is passed over */
void association_refuse_unknown(struct association *a, struct coap_event *ev)
{
    struct coap_door *d = a->door;
    struct coap_answer answer = {.code = COAP_BAD_OPTION};
    if (ev->kind != COAP_EVENT_REQUEST || ev->unknown == 0 || proxy_takes(a, ev->m.options)) {
        return;
    }
    if (ev->unknown == COAP_OPTION_PROXY_URI || ev->unknown == COAP_OPTION_PROXY_SCHEME) {
        answer.code = COAP_PROXYING_NOT_SUPPORTED;
    }
    d->counts.bad_option++;
    ev->kind = COAP_EVENT_NONE;
    enum err err = ev->m.type == COAP_CON
                       ? coap_endpoint_respond(a->endpoint, ev->id, &answer, d->now_ms)
                       : coap_endpoint_drop(a->endpoint, ev->id, d->now_ms);
    (void)err; /* without memory it ends by itself, later */
}
