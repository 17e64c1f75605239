/*
 * event - everything that happens, in one form: what the audit trail, alerts, counters and
 * detectors are fed with.
 *
 * An event is a value of fixed size, so that it crosses rings without an allocation; text is cut to
 * its field (with a final "~" when cut) and is escaped where it leaves the process, not here.
 */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include "base/slice.h"

/* X(name, default severity, one line of meaning). The names are a contract; the order is not. */
#define EVENT_CATEGORIES(X)                                                                        \
    X(connect, INFO, "a client or peer was admitted")                                              \
    X(disconnect, INFO, "a connection or association ended")                                       \
    X(allow, INFO, "an action was allowed (sampled)")                                              \
    X(tls_reject, WARNING, "a TLS or DTLS handshake was refused")                                  \
    X(auth_fail, WARNING, "credentials were missing or wrong")                                     \
    X(auth_bruteforce, ALERT, "many failed logins from one source or for one name")                \
    X(identity_mismatch, WARNING, "a principal claimed an identity that is not its own")           \
    X(takeover, NOTICE, "a new connection of the same principal took a session over")              \
    X(acl_deny, WARNING, "an action outside the grants was refused")                               \
    X(policy_change, NOTICE, "the policy in force changed")                                        \
    X(revoked, WARNING, "a revoked or disabled principal tried to act, or was cut off")            \
    X(malformed, WARNING, "bytes that do not decode")                                              \
    X(protocol_error, WARNING, "a packet that is not allowed in this state")                       \
    X(utf8, WARNING, "text that is not well-formed UTF-8")                                         \
    X(quota, WARNING, "a quota or limit of a principal was reached")                               \
    X(rate, WARNING, "a rate limit was reached")                                                   \
    X(flood, ALERT, "a source floods")                                                             \
    X(slow_client, WARNING, "a client reads or writes too slowly")                                 \
    X(amplification, WARNING, "requests whose source addresses seem forged, to hit others")        \
    X(replay, WARNING, "a repeated message was refused")                                           \
    X(nonce_risk, ALERT, "a nonce could repeat")                                                   \
    X(clone, ALERT, "one identity seems to live in two places")                                    \
    X(anomaly, WARNING, "behaviour outside the baseline")                                          \
    X(silence, WARNING, "a device that should speak is silent")                                    \
    X(probe, WARNING, "somebody looks for what is there")                                          \
    X(wildcard, NOTICE, "a wide wildcard was granted or asked for")                                \
    X(will, NOTICE, "a will was published after an ungraceful end")                                \
    X(poison_message, ALERT, "a message was set aside after repeated failures")                    \
    X(store_integrity, ALERT, "a stored record did not verify")                                    \
    X(store_space, ALERT, "the disk is full or nearly so")                                         \
    X(audit_integrity, ALERT, "the audit trail does not verify")                                   \
    X(admin_auth, NOTICE, "an administrator logged in or failed to")                               \
    X(admin_abuse, ALERT, "an administrator's session misbehaves")                                 \
    X(config_reject, WARNING, "a configuration or policy was refused; the old stays")              \
    X(config_change, NOTICE, "the configuration in force changed")                                 \
    X(device_change, NOTICE, "a principal was added, changed or removed")                          \
    X(credential_issued, NOTICE, "a credential was issued")                                        \
    X(credential_rotated, NOTICE, "a credential was replaced")                                     \
    X(credential_expiring, WARNING, "a credential nears its end or has passed it")                 \
    X(enrolment, NOTICE, "a device enrolled or tried to")                                          \
    X(attestation, NOTICE, "a device's attestation was judged")                                    \
    X(exception, ALERT, "a weakening is in force, began or ended")                                 \
    X(exposure, ALERT, "something is reachable or open that should not be")                        \
    X(response, NOTICE, "an automatic response began, ended or was undone")                        \
    X(sink, WARNING, "an alert or export sink fails or recovered")                                 \
    X(firmware, NOTICE, "a firmware release or roll-out step")                                     \
    X(firmware_reject, ALERT, "a firmware image or manifest was refused")                          \
    X(crash_recovery, ALERT, "a part ended unexpectedly and was restarted")

enum event_category {
#define X(name, severity, meaning) EVENT_##name,
    EVENT_CATEGORIES(X)
#undef X
        EVENT_COUNT
};

enum event_severity { SEVERITY_INFO, SEVERITY_NOTICE, SEVERITY_WARNING, SEVERITY_ALERT };

enum event_protocol {
    EVENT_PROTOCOL_none,
    EVENT_PROTOCOL_mqtt,
    EVENT_PROTOCOL_coap,
    EVENT_PROTOCOL_https,
    EVENT_PROTOCOL_control,
    EVENT_PROTOCOL_metrics
};

struct event {
    int64_t wall_ms; /* stamped by the service thread when 0 */
    enum event_category category;
    enum event_severity severity;
    enum event_protocol protocol;
    uint32_t count;  /* 1; more when repeats were folded */
    bool is_claimed; /* principal is only who the peer says it is: nothing proved it */
    bool is_unasked; /* the principal did nothing now: a message of another met it, or a policy */
    bool is_foreign_key; /* it showed a certificate of ours for a key that is not its own */
    char principal[66];
    char client_id[66];
    char peer[56]; /* "[2001:db8::1]:50123" */
    char listener[34];
    char target[130]; /* topic, filter, path or object */
    char reason[258]; /* what happened, why, and the safe fix */
};

/* event_make - a zeroed event of this category with its default severity and count 1. */
struct event event_make(enum event_category c);
/* event_text - copies s into one of the char fields, cut to fit (a final '~' says so); NUL bytes
 * become '?'. */
void event_text(char *field, size_t cap, struct slice s);
#define EVENT_TEXT(event, field, s) event_text((event)->field, sizeof((event)->field), (s))
/* event_reason - formats the reason, cut to fit. */
void event_reason(struct event *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *event_category_name(enum event_category c);
const char *event_category_meaning(enum event_category c);
const char *event_severity_name(enum event_severity s);
const char *event_protocol_name(enum event_protocol p);
/* event_category_find - by name; false when there is none. */
bool event_category_find(struct slice name, enum event_category *ret);

#endif
