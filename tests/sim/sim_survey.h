/* sim_survey - what the log gives back after a restart, against what the tap knows was promised. */
#ifndef SIM_SIM_SURVEY_H
#define SIM_SIM_SURVEY_H

#include "store/log.h"

struct sim;

enum {
    SURVEY_SESSIONS_MAX = 64,
    SURVEY_SUBS_MAX = 512,
    SURVEY_PACKETS_MAX = 1024,
    SURVEY_DELIVERIES_MAX = 8192,
    SURVEY_BODIES_MAX = 4096
};

struct sim_survey {
    struct sim *sim;
    uint64_t highest_number; /* of a retained message */
    size_t n_sessions, n_subs, n_packets, n_deliveries, n_bodies, n_owing;
    struct survey_session {
        uint64_t id;
        unsigned client;
        uint32_t expiry_s;
        int64_t asleep_wall_ms; /* INT64_MAX: it was awake */
        int will;               /* -1: none */
        uint32_t will_delay_s;
    } sessions[SURVEY_SESSIONS_MAX];
    struct survey_sub {
        uint64_t session;
        unsigned filter;
        uint8_t qos;
    } subs[SURVEY_SUBS_MAX];
    struct survey_packet {
        uint64_t session;
        uint16_t packet_id;
    } packets[SURVEY_PACKETS_MAX];
    struct survey_delivery {
        uint64_t session, seq, body;
        bool is_received;
    } deliveries[SURVEY_DELIVERIES_MAX];
    struct survey_body {
        uint64_t id;
        int pub;
        unsigned topic;
        bool is_retained;
    } bodies[SURVEY_BODIES_MAX];
    uint64_t owing[SURVEY_BODIES_MAX]; /* bodies that some worker has not answered for */
};

/* sim_survey_take - reads all of the log; the caller frees it. NULL: it could not, and a rule is
 * broken. */
struct sim_survey *sim_survey_take(struct sim *s, struct log *log);
/* sim_survey_compare - everything that was committed is there, nothing that was ended; what was
 * neither is settled by what is found, and the tap knows it from then on. */
void sim_survey_compare(struct sim *s, struct sim_survey *found);
/* survey_is_gone - is the owner of this session removed, and its key erased? */
bool survey_is_gone(const struct sim *s, uint64_t sid);
/* sim_survey_session - the session of this client, NULL: none. The newest of two: the end of the
 * other was not taken on a bad day. */
const struct survey_session *sim_survey_session(const struct sim_survey *found, unsigned client);

#endif
