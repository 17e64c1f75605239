/*
 * limits - every bound of the server as named numbers. The configuration table (app/daemon/config)
 * fills them; the defaults here are what an empty configuration gives.
 */
#ifndef CORE_LIMITS_H
#define CORE_LIMITS_H

#include <stdint.h>

/* Of a registration; SPEC: RFC9176 5 has the second. */
enum { REGISTRATION_LEAST_S = 60, REGISTRATION_DEFAULT_S = 90000 };

/* The bounds by which something is refused, by their names in sallyport.yaml and policy.yaml: each
 * has a counter. What bounds otherwise (shortens, slows down, drops) has one of its own. */
#define LIMIT_NAMES(X)                                                                             \
    X(packet_bytes)                                                                                \
    X(preauth_bytes)                                                                               \
    X(preauth_seconds)                                                                             \
    X(preauth_connections)                                                                         \
    X(connect_per_second)                                                                          \
    X(topic_bytes)                                                                                 \
    X(topic_levels)                                                                                \
    X(filters_per_packet)                                                                          \
    X(user_properties)                                                                             \
    X(client_id_bytes)                                                                             \
    X(connect_rate)                                                                                \
    X(publish_rate)                                                                                \
    X(subscriptions)                                                                               \
    X(queue_messages)                                                                              \
    X(queue_bytes)                                                                                 \
    X(retained_bytes)                                                                              \
    X(retained_count)                                                                              \
    X(retained_total)                                                                              \
    X(retained_replay)                                                                             \
    X(replay_rate)                                                                                 \
    X(commands_per_device)                                                                         \
    X(commands_per_asker)                                                                          \
    X(command_bytes)                                                                               \
    X(registration_bytes)                                                                          \
    X(registration_total_bytes)                                                                    \
    X(renewal_rate)

enum limit_name {
    LIMIT_none, /* no bound by a name, or none that is known */
#define X(name) LIMIT_##name,
    LIMIT_NAMES(X)
#undef X
        LIMIT_COUNT
};

/* Process-wide bounds. */
struct limits {
    uint32_t packet_bytes;       /* one MQTT packet or reassembled CoAP body, headers included */
    uint32_t preauth_bytes;      /* all a stranger may send before it is known */
    uint32_t preauth_seconds;    /* in all, TLS handshake included */
    uint32_t dtls_seconds;       /* the same for a DTLS peer */
    uint32_t topic_bytes;        /* topic names and filters */
    uint32_t topic_levels;       /* separators + 1 */
    uint32_t filters_per_packet; /* SUBSCRIBE and UNSUBSCRIBE */
    uint32_t user_properties;    /* in one packet */
    uint32_t client_id_bytes;
    uint32_t topic_aliases;      /* of one MQTT 5 connection, in each direction; at most 64 */
    uint32_t connect_per_second; /* failed and unfinished handshakes, per source prefix */
    uint32_t connect_burst;
    uint32_t preauth_connections;     /* not logged in, at a time, of all listeners */
    uint32_t keep_alive_seconds;      /* longest; 0 or more than this: MQTT 5 is told this one */
    uint32_t silence_seconds;         /* after which MQTT 3.1.1, which cannot be told, is closed */
    uint32_t renewal_grace_s;         /* for which a certificate may be renewed after its end */
    uint32_t renewal_rate;            /* renewals a second, in all; the workers have equal parts */
    uint32_t aside_messages;          /* messages set aside, in all; the workers have equal parts */
    uint32_t aside_seconds;           /* for which one is kept */
    uint32_t retained_total;          /* retained messages of all principals */
    uint32_t commands_per_device;     /* that wait for one CoAP device */
    uint32_t commands_per_asker;      /* of one principal, on each worker */
    uint32_t command_seconds;         /* for which one waits at most */
    uint64_t command_bytes;           /* of all that wait; the workers have equal parts */
    uint32_t registration_links;      /* of one device in the resource directory */
    uint32_t registration_bytes;      /* and their text */
    uint32_t registration_lifetime_s; /* the longest; none is below REGISTRATION_LEAST_S */
    uint64_t registration_total_bytes; /* of all devices; the workers have equal parts */
    uint64_t aside_bytes;              /* what those set aside cost */
    uint64_t retained_total_bytes;     /* the memory the retained ones take */
    uint64_t memory_bytes;             /* ceiling for the process; 0 = 80 % of what there is */
};

#define LIMITS_DEFAULT                                                                             \
    {                                                                                              \
        .packet_bytes = 264 * 1024, .preauth_bytes = 8 * 1024, .preauth_seconds = 10,              \
        .dtls_seconds = 60, .topic_bytes = 256, .topic_levels = 16, .filters_per_packet = 8,       \
        .user_properties = 64, .client_id_bytes = 64, .topic_aliases = 16,                         \
        .connect_per_second = 20, .connect_burst = 200, .preauth_connections = 1024,               \
        .keep_alive_seconds = 1200, .silence_seconds = 1800, .renewal_grace_s = 30 * 86400,        \
        .renewal_rate = 50, .aside_messages = 1000, .aside_seconds = 30 * 86400,                   \
        .retained_total = 1000000, .commands_per_device = 16, .commands_per_asker = 64,            \
        .command_seconds = 60, .command_bytes = 8 * 1024 * 1024, .registration_links = 64,         \
        .registration_bytes = 8 * 1024, .registration_lifetime_s = 30 * 86400,                     \
        .registration_total_bytes = 8 * 1024 * 1024, .aside_bytes = 16 * 1024 * 1024,              \
        .retained_total_bytes = 512 * 1024 * 1024, .memory_bytes = 0                               \
    }

/* Bounds of one principal, by role. */
struct role_limits {
    uint32_t connect_rate, connect_burst; /* per second */
    uint32_t publish_rate, publish_burst; /* messages per second */
    uint32_t subscriptions;               /* per session */
    uint32_t inflight;                    /* unacknowledged QoS > 0 messages, each way */
    uint32_t queue_messages;              /* per session */
    uint64_t queue_bytes;
    uint32_t retained_count;  /* per principal */
    uint32_t retained_bytes;  /* each */
    uint32_t retained_ttl_s;  /* of one that is published without an expiry; 0: it has none */
    uint32_t replay_rate;     /* retained messages per second to the subscriptions of a principal */
    uint32_t retained_replay; /* the most that one new subscription may bring */
    uint32_t session_expiry_s;
    uint32_t redeliveries;
};

#define ROLE_LIMITS_DEFAULT                                                                        \
    {                                                                                              \
        .connect_rate = 1, .connect_burst = 20, .publish_rate = 100, .publish_burst = 200,         \
        .subscriptions = 50, .inflight = 20, .queue_messages = 1000,                               \
        .queue_bytes = 4 * 1024 * 1024, .retained_count = 100, .retained_bytes = 64 * 1024,        \
        .replay_rate = 200, .retained_replay = 100000, .session_expiry_s = 7 * 86400,              \
        .redeliveries = 5                                                                          \
    }

/* A role with `kind: service` starts here. */
#define ROLE_LIMITS_SERVICE                                                                        \
    {                                                                                              \
        .connect_rate = 20, .connect_burst = 200, .publish_rate = 50000, .publish_burst = 100000,  \
        .subscriptions = 5000, .inflight = 1000, .queue_messages = 100000,                         \
        .queue_bytes = 256 * 1024 * 1024, .retained_count = 50000, .retained_bytes = 256 * 1024,   \
        .replay_rate = 20000, .retained_replay = 1000000, .session_expiry_s = 7 * 86400,           \
        .redeliveries = 50                                                                         \
    }

#endif
