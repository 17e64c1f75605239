/*
 * detector - which detectors there are: name, category of the events they raise, what they say, and
 * what a person can do about it. Declared once: alerts, the trail and docs/DETECTORS.md show these
 * words.
 */
#ifndef SERVICE_DETECT_DETECTOR_H
#define SERVICE_DETECT_DETECTOR_H

#include "base/event.h"

/* X(name, category, what it sees, suggested answer) */
#define DETECTORS(X)                                                                               \
    X(two_places, clone, "one identity lives in two places",                                       \
      "Find both devices; `sallyport device rotate NAME --now` shuts the copy out")                \
    X(ping_pong, takeover, "two clients take one session from each other",                         \
      "Look for a second client with this name, or one that reconnects without need; give each "   \
      "its own name")                                                                              \
    X(personality, anomaly, "a device comes as another program than before: notice",               \
      "If it is no new firmware: `sallyport device rotate NAME --now` shuts a copy out")           \
    X(login_source, auth_bruteforce, "one network tries logins",                                   \
      "Block the network, or name who may come in `from` of the listener")                         \
    X(login_name, auth_bruteforce, "many try to log in as one device",                             \
      "Rotate its secret, better to a certificate: `sallyport device rotate NAME`")                \
    X(login_spray, auth_bruteforce, "many networks try many names",                                \
      "Narrow `from` of the listener; move devices from passwords to certificates")                \
    X(probing, probe, "somebody looks for topics that are not its own",                            \
      "Read the acl_deny events of it; if it is not its firmware: `sallyport device disable "      \
      "NAME`")                                                                                     \
    X(wide_filter, wildcard, "somebody listens, or wants to, far beyond its own topics",           \
      "Give its role the filters that it needs: `sallyport policy explain`")                       \
    X(command_write, anomaly, "somebody who gives no commands writes to command topics",           \
      "Look who is behind it; `sallyport device disable NAME` stops it")                           \
    X(will_storm, will, "wills of one device come again and again",                                \
      "Look at its connection; a delay of the will (MQTT 5) spares the others")                    \
    X(will_fleet, will, "wills of many devices come again and again, from many networks",          \
      "Look who breaks connections: a radio, a provider, the server itself")                       \
    X(outage, will, "wills of many devices at once: notice",                                       \
      "Look at the network that it names; delays of the wills (MQTT 5) spare the others")          \
    X(replay_burst, replay, "messages come again that were taken before",                          \
      "Look at the network between; a device that lost its state: `sallyport device rotate NAME`") \
    X(reflection, amplification, "requests under forged addresses",                                \
      "Let the router drop forged sources; name who may come in `from` of the listener")           \
    X(certificate_key, identity_mismatch, "a certificate of a name, with a key that is not its",   \
      "Find out who had it signed; revoke it: `sallyport certs revoke`")                           \
    X(revoked_use, revoked, "a revoked or disabled device keeps trying",                           \
      "Take it off the network; its secret may be in other hands")                                 \
    X(impersonation, identity_mismatch, "somebody claims identities that are not its own",         \
      "Correct its client id; if it is not a mistake: `sallyport device disable NAME`")            \
    X(retained_flood, flood, "one device fills the retained messages",                             \
      "`sallyport retained list` and `retained purge`; lower `retained_bytes` of its role")        \
    X(qos2_hoard, quota, "one device opens QoS 2 messages and does not end them",                  \
      "Look at its client; lower `inflight` of its role")                                          \
    X(faster, anomaly, "a device speaks much more often than it did and than its peers do",        \
      "Look what it sends and since when; `sallyport device disable NAME` stops it")               \
    X(size_drift, anomaly, "its payloads are of another size than before, and than its peers'",    \
      "Compare its firmware with its peers'; `sallyport device disable NAME` stops it")            \
    X(silent_device, silence, "a device that spoke regularly says nothing, and its peers do",      \
      "Look at its power and its network; `sallyport device show NAME` has its last refusal")      \
    X(new_topic, anomaly, "a device writes to a topic that none of its role has used",             \
      "If it is no new firmware, narrow the publish grants of its role")                           \
    X(new_network, anomaly, "a device of a role that does not move is somewhere else",             \
      "Find out whether it was moved; `from` of the listener says who may come")                   \
    X(clock_skew, anomaly, "a device's clock is wrong, by the times of its SenML readings",        \
      "Set its clock: NTP or SNTP from a source that you trust, and look at its battery")

enum detector {
#define X(name, category, what, answer) DETECTOR_##name,
    DETECTORS(X)
#undef X
        DETECTOR_COUNT
};

struct detector_words {
    const char *name;
    enum event_category category;
    const char *what, *answer;
};

/* detector_words - of d below DETECTOR_COUNT; static. */
const struct detector_words *detector_words(enum detector d);
/* detector_is_notice - what it sees happens to honest devices, too: it is written down, and nobody
 * is alarmed. */
bool detector_is_notice(enum detector d);

#endif
