/* What one client may take away from all others. */
#include "service/doctor/rules_private.h"

enum { PACKET_MOST = 16 << 20, QUEUE_MOST = 100000, EXPIRY_MOST_S = 90 * 86400 };

/* How it was set, for the evidence. */
static const char *how(const struct facts_value *v)
{
    return v->at.line == 0 ? " (the default)" : "";
}

/* 0 or more than `most` is no bound worth the name. */
static enum err judge_bound(const struct rule *self, const struct facts *f, struct findings *ret,
                            enum facts_number which, int64_t most, const char *what)
{
    const struct facts_value *v = &f->numbers[which];
    if (!v->is_known || (v->n > 0 && v->n <= most)) {
        return OK;
    }
    return v->n == 0 ? findings_add(ret, self, v->at, what, "%s: no bound%s", what, how(v))
                     : findings_add(ret, self, v->at, what, "%s: up to %lld%s", what,
                                    (long long)v->n, how(v));
}

static enum err connections(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->connections.is_known && l->connections.n == 0) {
            TRY(findings_add(ret, self, l->connections.at, listener_word(l),
                             "listener %s takes any number of connections%s", listener_word(l),
                             how(&l->connections)));
        }
    }
    return OK;
}

static enum err packet(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_bound(self, f, ret, FACTS_PACKET_BYTES, PACKET_MOST, "bytes of a packet");
}

static enum err queue(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_bound(self, f, ret, FACTS_QUEUE_MESSAGES, QUEUE_MOST, "messages in a queue");
}

static enum err queue_bytes(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_bound(self, f, ret, FACTS_QUEUE_BYTES, INT64_MAX, "bytes in a queue");
}

static enum err inflight(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_bound(self, f, ret, FACTS_INFLIGHT, QUEUE_MOST, "messages under way");
}

static enum err expiry(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_bound(self, f, ret, FACTS_SESSION_EXPIRY_S, EXPIRY_MOST_S,
                       "seconds that a session waits for its client");
}

static enum err retained(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_bound(self, f, ret, FACTS_RETAINED, INT64_MAX, "retained messages");
}

const struct rule limit_rules[] = {
    {"limit-connections",
     SEVERITY_MEDIUM,
     "connections without a bound",
     "One machine that opens them takes all descriptors and memory, and the others stay out.",
     {"h i", "5.9", "conf", "I9"},
     {NULL, "max_connections 1000", "listeners.tcp.default.max_connections = 10000",
      "listeners.tcp.max_connections = 10000"},
     connections},
    {"limit-packet",
     SEVERITY_MEDIUM,
     "packets of any size",
     "A single packet of 256 MiB is held in memory once for each who gets it.",
     {"h", "5.9 5.13", "conf", "I9"},
     {"limits: { packet_bytes: 264KiB }    # in sallyport.yaml", "max_packet_size 1048576",
      "mqtt.max_packet_size = 1MB", "mqtt.max_packet_size = 1MB"},
     packet},
    {"limit-queue",
     SEVERITY_MEDIUM,
     "queues without a bound",
     "A client that never comes back collects messages until memory is out.",
     {"h", "5.9", "conf", "I9"},
     {"role_limits: { queue_messages: 1000 }    # in sallyport.yaml", "max_queued_messages 1000",
      "mqtt.max_mqueue_len = 1000", "mqtt.max_mqueue_len = 2048"},
     queue},
    {"limit-queue-bytes",
     SEVERITY_LOW,
     "queues bounded by messages only",
     "A thousand large messages for each of a thousand sleepers are more than the machine has.",
     {"h", "5.9", "conf", "I9"},
     {"role_limits: { queue_bytes: 4MiB }    # in sallyport.yaml", "max_queued_bytes 4194304", NULL,
      NULL},
     queue_bytes},
    {"limit-inflight",
     SEVERITY_LOW,
     "any number of messages under way",
     "A client that never acknowledges holds all of them.",
     {"h", "5.9", "conf", "I9"},
     {NULL, "max_inflight_messages 20", "mqtt.max_inflight = 32", NULL},
     inflight},
    {"limit-expiry",
     SEVERITY_LOW,
     "sessions without an end",
     "Whoever connects once under each of a million ids leaves a million sessions for good.",
     {"g h", "5.9 5.11", "conf", "I9"},
     {NULL, "persistent_client_expiration 7d", "mqtt.session_expiry_interval = 7d", NULL},
     expiry},
    {"limit-retained",
     SEVERITY_LOW,
     "retained messages without a bound",
     "One client can leave as many as memory holds, and each newcomer gets all of them.",
     {"g h", "5.9 5.11", "conf", "I9"},
     {"limits: { retained_total: 1000000 }    # in sallyport.yaml",
      "retain_available false    # mosquitto has no quota: only where no topic is retained",
      "retainer.max_retained_messages = 100000\nretainer.msg_expiry_interval = 30d", NULL},
     retained},
    {.id = NULL}};
