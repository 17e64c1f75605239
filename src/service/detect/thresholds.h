/*
 * thresholds - every number by which a detector decides, each declared once: name, value, unit,
 * meaning. docs/DETECTORS.md shows the same table; tests/scenario/test_m_detect.py holds the two
 * together.
 *
 * A window of W seconds is kept as two halves that follow each other: what comes within W is always
 * seen as one, what comes within two W may be.
 */
#ifndef SERVICE_DETECT_THRESHOLDS_H
#define SERVICE_DETECT_THRESHOLDS_H

#include <stdint.h>

/* X(name, value, unit, meaning) */
#define DETECT_THRESHOLDS(X)                                                                       \
    X(again_s, 600, "s", "the same finding about the same one is told again after so long")        \
    X(short_window_s, 60, "s", "window of floods and storms")                                      \
    X(long_window_s, 300, "s", "window of refusals that an honest device does not repeat")         \
    X(places_window_s, 600, "s", "window of places and of sources that try one name")              \
    X(clone_returns, 6, "returns",                                                                 \
      "takeovers by a place that was left before: one identity in two places")                     \
    X(clone_turn_s, 20, "s",                                                                       \
      "a return so soon after it had spoken from there: no device roams so")                       \
    X(clone_turn_points, 2, "returns", "what such a return weighs")                                \
    X(self_points, 2, "points",                                                                    \
      "another program: version, client id, will weigh 2; keep-alive, a setting 1")                \
    X(self_returns, 3, "returns", "to how it came before, from another address: two programs")     \
    X(self_window_s, 86400, "s", "window of such returns")                                         \
    X(takeovers, 10, "takeovers", "of one client in a short window: ping-pong")                    \
    X(source_failures, 30, "failures", "failed logins from one network in a short window")         \
    X(source_names, 8, "names", "different names that fail from one network in a short window")    \
    X(name_failures, 30, "failures", "failed logins for one device in a short window")             \
    X(name_sources, 6, "networks", "networks that fail at one device in a places window")          \
    X(spray_names, 30, "names of 64",                                                              \
      "different names that fail anywhere in a places window, as bits of a sketch: about 40")      \
    X(spray_sources, 10, "networks", "from so many networks")                                      \
    X(probe_targets, 10, "topics", "different topics refused to one device in a short window")     \
    X(probe_asks, 20, "requests", "requests of one network for what is not there")                 \
    X(wildcard_points, 12, "points", "wide filters asked for in a long window")                    \
    X(wildcard_refused, 4, "points", "what a refused wide filter weighs; a granted one weighs 1")  \
    X(command_refusals, 3, "refusals", "command topics refused to one device in a long window")    \
    X(wills, 8, "wills", "of one device in a short window")                                        \
    X(fleet_devices, 10, "devices", "whose wills are published in a short window: an outage")      \
    X(fleet_again, 3, "wills", "of each of them, on average: a storm")                             \
    X(fleet_percent, 60, "%", "more from one network than from others: that network's outage")     \
    X(replays, 20, "messages", "repeated messages refused in a short window")                      \
    X(amplification, 100, "requests", "under one forged network in a short window")                \
    X(certificate_misuse, 3, "logins",                                                             \
      "with a valid certificate of a name whose key is another one, in a long window")             \
    X(revoked_uses, 5, "logins", "of one revoked or disabled device in a long window")             \
    X(impersonations, 5, "claims", "of identities that are not its own in a long window")          \
    X(learn_s, 3600, "s", "so long a device, and its role, is only learned from")                  \
    X(learn_periods, 8, "periods", "and as many of its periods")                                   \
    X(drift_octaves, 3, "octaves", "messages come faster than is usual: 3 are eight times")        \
    X(size_octaves, 2, "octaves", "payloads are larger or smaller than is usual")                  \
    X(drift_mads, 8, "deviations", "and by so many mean deviations of its own")                    \
    X(drift_s, 30, "s", "for which faster messages must go on")                                    \
    X(drift_samples, 3, "samples", "in a row that must say the same")                              \
    X(adopt_s, 3600, "s", "then the new period or size is what is usual")                          \
    X(peers_percent, 20, "%", "of its role that do the same: then it is nobody's misdeed")         \
    X(peers_least, 3, "devices", "but not fewer than so many")                                     \
    X(silence_s, 3600, "s", "no shorter silence counts")                                           \
    X(silence_octaves, 3, "octaves", "nor one of less than eight usual periods")                   \
    X(silence_longest, 2, "times", "nor one of less than twice its longest before")                \
    X(silence_confirm_s, 600, "s", "it must go on: to see whether its peers are silent, too")      \
    X(together_s, 120, "s",                                                                        \
      "devices that fell silent within it, and their periods, are one outage")                     \
    X(retained, 500, "messages", "retained by one device in a short window")                       \
    X(held_ids, 64, "packet ids", "of QoS 2 that a device opens and does not release")             \
    X(held_s, 10, "s", "for so long")                                                              \
    X(move_confirm_s, 600, "s", "a new network is told when no other of its role moves meanwhile") \
    X(move_hours, 1000, "device-hours",                                                            \
      "of its role for each lone change of network: it does not roam")                             \
    X(topic_hours, 1000, "device-hours", "of its role before a topic that none has used is told")  \
    X(clock_ahead_s, 300, "s", "its newest reading is of so much later: its clock is ahead")       \
    X(clock_back_s, 300, "s",                                                                      \
      "its readings are older by more than one before: its clock went back")                       \
    X(clock_behind_s, 86400, "s", "its newest reading is older, with none before: it is behind")   \
    X(clock_samples, 3, "samples", "in a row that must say back or behind, else it is a backlog")  \
    X(clock_confirm_s, 300, "s", "for which they must go on")                                      \
    X(clock_steady_s, 60, "s",                                                                     \
      "by no more they may differ: a clock runs on, a backlog is caught up")                       \
    X(clock_gap_s, 3600, "s", "of two that follow each other: who speaks less often is not judged")

struct detect_thresholds {
#define X(name, value, unit, meaning) uint32_t name;
    DETECT_THRESHOLDS(X)
#undef X
};

#define DETECT_THRESHOLDS_DEFAULT                                                                  \
    {                                                                                              \
        DETECT_THRESHOLDS(DETECT_THRESHOLD_VALUE)                                                  \
    }
#define DETECT_THRESHOLD_VALUE(name, value, unit, meaning) .name = (value),

#endif
