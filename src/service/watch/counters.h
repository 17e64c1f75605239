/*
 * counters - the numbers that `metrics` shows, each declared once: name, type, meaning. Every
 * worker has its own set, written by its thread alone and read by the service thread, so a count
 * costs one plain addition.
 */
#ifndef SERVICE_WATCH_COUNTERS_H
#define SERVICE_WATCH_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/event.h"
#include "core/limits.h"
#include "service/watch/turn_time.h"

/* X(field, Prometheus name, label or "", type, meaning). Type: counter, gauge; microseconds: a
 * counter shown in seconds; elsewhere: shown otherwise than by a line of its own. */
#define COUNTERS(X)                                                                                \
    X(connections_mqtt, "connections", "door=\"mqtt\"", elsewhere,                                 \
      "open connections and associations")                                                         \
    X(connections_coap, "connections", "door=\"coap\"", elsewhere, "")                             \
    X(connections_enrol, "connections", "door=\"enrol\"", elsewhere, "")                           \
    X(connections_metrics, "connections", "door=\"metrics\"", elsewhere, "")                       \
    X(sessions, "sessions", "", gauge, "sessions, awake and asleep")                               \
    X(subscriptions, "subscriptions", "", gauge, "subscriptions of all sessions and observers")    \
    X(retained_messages, "retained_messages", "", gauge, "retained messages")                      \
    X(retained_bytes, "retained_bytes", "", gauge, "bytes charged for retained messages")          \
    X(queued_messages, "queued_messages", "", gauge, "deliveries that wait or are unacknowledged") \
    X(queued_bytes, "queued_bytes", "", gauge, "bytes charged for them")                           \
    X(aside_messages, "set_aside_messages", "", gauge,                                             \
      "messages that were set aside and are kept")                                                 \
    X(aside_bytes, "set_aside_bytes", "", gauge, "bytes charged for them")                         \
    X(received_qos0, "messages_total", "direction=\"in\",qos=\"0\"", counter, "messages")          \
    X(received_qos1, "messages_total", "direction=\"in\",qos=\"1\"", counter, "")                  \
    X(received_qos2, "messages_total", "direction=\"in\",qos=\"2\"", counter, "")                  \
    X(sent_qos0, "messages_total", "direction=\"out\",qos=\"0\"", counter, "")                     \
    X(sent_qos1, "messages_total", "direction=\"out\",qos=\"1\"", counter, "")                     \
    X(sent_qos2, "messages_total", "direction=\"out\",qos=\"2\"", counter, "")                     \
    X(dropped_queue, "dropped_total", "reason=\"queue\"", counter, "deliveries dropped")           \
    X(dropped_size, "dropped_total", "reason=\"size\"", counter, "")                               \
    X(dropped_expired, "dropped_total", "reason=\"expired\"", counter, "")                         \
    X(dropped_policy, "dropped_total", "reason=\"policy\"", counter, "")                           \
    X(dropped_segment, "dropped_total", "reason=\"segment\"", counter, "")                         \
    X(dropped_memory, "dropped_total", "reason=\"memory\"", counter, "")                           \
    X(dropped_ring, "dropped_total", "reason=\"ring\"", counter, "")                               \
    X(dropped_asleep, "dropped_total", "reason=\"asleep\"", counter, "")                           \
    X(dropped_pressure, "dropped_total", "reason=\"pressure\"", counter, "")                       \
    X(dropped_store, "dropped_total", "reason=\"store\"", counter, "")                             \
    X(set_aside, "dropped_total", "reason=\"set_aside\"", counter, "")                             \
    X(handshakes_ok, "handshakes_total", "result=\"ok\"", counter, "TLS and DTLS handshakes")      \
    X(handshakes_failed, "handshakes_total", "result=\"failed\"", counter, "")                     \
    X(handshakes_resumed, "handshakes_resumed_total", "", counter,                                 \
      "of the TLS handshakes that were ok, those by a ticket")                                     \
    X(tickets, "tls_tickets_total", "", counter, "tickets given to TLS 1.3 clients")               \
    X(refused_limit, "refusals_total", "reason=\"limit\"", counter, "refusals by a named limit")   \
    X(refused_rate, "refusals_total", "reason=\"rate\"", counter, "")                              \
    X(refused_quota, "refusals_total", "reason=\"quota\"", counter, "")                            \
    X(refused_denied, "refusals_total", "reason=\"denied\"", counter, "")                          \
    X(refused_version, "refusals_total", "reason=\"version\"", counter, "")                        \
    X(refused_store, "refusals_total", "reason=\"store\"", counter, "")                            \
    X(refused_from, "refusals_total", "reason=\"from\"", counter, "")                              \
    X(refused_prefix, "refusals_total", "reason=\"prefix\"", counter, "")                          \
    X(refused_preauth, "refusals_total", "reason=\"preauth\"", counter, "")                        \
    X(refused_memory, "refusals_total", "reason=\"memory\"", counter, "")                          \
    X(refused_stale, "refusals_total", "reason=\"freshness\"", counter, "")                        \
    X(refused_revoked, "revoked_refused_total", "", counter,                                       \
      "logins with a certificate that is revoked")                                                 \
    X(strangers, "strangers", "", gauge, "TCP connections that have not logged in yet")            \
    X(handshakes_waiting, "handshakes_waiting", "", gauge, "connections that wait for their turn") \
    X(admission_us, "admission_seconds_total", "", microseconds,                                   \
      "time spent on TLS handshakes and tickets")                                                  \
    X(accept_pauses, "accept_pauses_total", "", counter, "no descriptor for a new connection")     \
    X(shed_slow, "shed_total", "who=\"slow_client\"", counter,                                     \
      "connections closed because of the memory ceiling")                                          \
    X(shed_strangers, "shed_total", "who=\"stranger\"", counter, "")                               \
    X(spilled, "spilled_total", "", counter,                                                       \
      "deliveries whose body left memory, to wait on disk alone")                                  \
    X(read_back, "read_back_total", "", counter, "bodies that came back from there")               \
    X(coap_in_bytes, "coap_unproven_in_bytes_total", "", counter, "from unproven addresses")       \
    X(coap_out_bytes, "coap_unproven_out_bytes_total", "", counter, "to unproven addresses")       \
    X(commands_waiting, "commands_waiting", "", gauge, "commands for CoAP devices that wait")      \
    X(commands_answered, "commands_total", "result=\"answered\"", counter,                         \
      "commands for CoAP devices, by how they ended")                                              \
    X(commands_timeout, "commands_total", "result=\"timeout\"", counter, "")                       \
    X(commands_failed, "commands_total", "result=\"failed\"", counter, "")                         \
    X(commands_refused, "commands_total", "result=\"refused\"", counter, "")                       \
    X(registrations, "registrations", "", gauge, "devices in the resource directory")              \
    X(renewals_ok, "renewals_total", "result=\"ok\"", counter,                                     \
      "certificates that devices have renewed, by how it ended")                                   \
    X(renewals_later, "renewals_total", "result=\"later\"", counter, "")                           \
    X(renewals_refused, "renewals_total", "result=\"refused\"", counter, "")                       \
    X(proxy_requests, "proxy_requests_total", "result=\"asked\"", counter,                         \
      "CoAP requests for other servers")                                                           \
    X(proxy_refused, "proxy_requests_total", "result=\"refused\"", counter, "")                    \
    X(proxy_cached, "proxy_requests_total", "result=\"cached\"", counter, "")                      \
    X(proxy_silent, "proxy_requests_total", "result=\"silent\"", counter, "")                      \
    X(proxy_strays, "proxy_strays_total", "", counter,                                             \
      "datagrams that came to the proxy from where nothing was asked")                             \
    X(coap_unproven, "coap_unproven_datagrams_total", "", counter, "from unproven addresses")      \
    X(coap_withheld, "coap_unproven_withheld_total", "", counter,                                  \
      "answers to them that did not leave: over three bytes for one")                              \
    X(coap_proofs, "coap_proofs_total", "", counter, "addresses that have proven themselves")      \
    X(journal_records, "journal_records_total", "", counter, "records appended")                   \
    X(turns, "turns_total", "", counter, "turns of the workers")                                   \
    X(turn_us, "turn_seconds", "", elsewhere, "time spent in turns")                               \
    X(reads, "socket_reads_total", "", counter, "receive calls")                                   \
    X(writes, "socket_writes_total", "", counter, "send calls")

enum { COUNTERS_LISTENERS_MAX = 16 };

struct counters {
#define X(field, name, label, type, meaning) _Atomic uint64_t field;
    COUNTERS(X)
#undef X
    _Atomic uint64_t connections_at[COUNTERS_LISTENERS_MAX]; /* by entrance.index */
    _Atomic uint64_t refused_by[LIMIT_COUNT];
    struct turn_time turn_time; /* shown for each worker alone */
    _Atomic uint64_t
        coap_worst_per_mille; /* of one datagram; the largest of all workers is shown */
    uint8_t apart[64];        /* the next worker's are in no cache line of these */
};

/* One thread writes a counter, so load and store suffice: no locked instruction. */
static inline void count_add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void count_sub(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) - n,
                          memory_order_relaxed);
}

static inline void count_set(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, n, memory_order_relaxed);
}

/* count_limit - a refusal by this bound, beside its place in refusals_total. */
static inline void count_limit(struct counters *c, enum limit_name limit)
{
    count_add(&c->refused_by[limit], limit != LIMIT_none ? 1 : 0);
}

static inline void count_most(_Atomic uint64_t *c, uint64_t n)
{
    if (n > atomic_load_explicit(c, memory_order_relaxed)) {
        count_set(c, n);
    }
}

#endif
