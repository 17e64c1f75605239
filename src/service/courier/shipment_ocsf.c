/* A record as an object of the Open Cybersecurity Schema Framework, version 1.3: which class each
 * category is, and what that class cannot do without. */
#include <inttypes.h>

#include "service/courier/shipment.h"

#define OCSF_VERSION "1.3.0"

enum {
    ACCOUNT_CHANGE = 3001,
    AUTHENTICATION = 3002,
    AUTHORIZE_SESSION = 3003,
    ENTITY_MANAGEMENT = 3004,
    NETWORK_ACTIVITY = 4001,
    API_ACTIVITY = 6003,
    APPLICATION_LIFECYCLE = 6002,
    EVENT_LOG_ACTIVITY = 1008,
    DETECTION_FINDING = 2004,
    OTHER = 99
};

/* Numbers of activities, each of its class. */
enum {
    CREATE = 1,
    UPDATE = 3, /* of an entity */
    LOGON = 1,
    NET_OPEN = 1,
    NET_CLOSE = 2,
    NET_REFUSE = 5,
    API_READ = 2,
    LOG_EXPORT = 3,
    APP_RESTART = 5
};

static const struct ocsf_row rows[EVENT_COUNT] = {
    [EVENT_connect] = {AUTHENTICATION, LOGON, false},
    [EVENT_disconnect] = {NETWORK_ACTIVITY, NET_CLOSE, false},
    [EVENT_allow] = {API_ACTIVITY, OTHER, false},
    [EVENT_tls_reject] = {NETWORK_ACTIVITY, NET_REFUSE, true},
    [EVENT_auth_fail] = {AUTHENTICATION, LOGON, true},
    [EVENT_auth_bruteforce] = {DETECTION_FINDING, CREATE, false},
    [EVENT_identity_mismatch] = {AUTHENTICATION, LOGON, true},
    [EVENT_takeover] = {AUTHENTICATION, OTHER, false},
    [EVENT_acl_deny] = {API_ACTIVITY, OTHER, true},
    [EVENT_policy_change] = {ENTITY_MANAGEMENT, UPDATE, false},
    [EVENT_revoked] = {AUTHENTICATION, LOGON, true},
    [EVENT_malformed] = {NETWORK_ACTIVITY, NET_REFUSE, true},
    [EVENT_protocol_error] = {NETWORK_ACTIVITY, NET_REFUSE, true},
    [EVENT_utf8] = {NETWORK_ACTIVITY, NET_REFUSE, true},
    [EVENT_quota] = {API_ACTIVITY, OTHER, true},
    [EVENT_rate] = {API_ACTIVITY, OTHER, true},
    [EVENT_flood] = {DETECTION_FINDING, CREATE, false},
    [EVENT_slow_client] = {NETWORK_ACTIVITY, OTHER, true},
    [EVENT_amplification] = {DETECTION_FINDING, CREATE, false},
    [EVENT_replay] = {NETWORK_ACTIVITY, NET_REFUSE, true},
    [EVENT_nonce_risk] = {DETECTION_FINDING, CREATE, false},
    [EVENT_clone] = {DETECTION_FINDING, CREATE, false},
    [EVENT_anomaly] = {DETECTION_FINDING, CREATE, false},
    [EVENT_silence] = {DETECTION_FINDING, CREATE, false},
    [EVENT_probe] = {DETECTION_FINDING, CREATE, false},
    [EVENT_wildcard] = {API_ACTIVITY, API_READ, false},
    [EVENT_will] = {NETWORK_ACTIVITY, OTHER, false},
    [EVENT_poison_message] = {DETECTION_FINDING, CREATE, false},
    [EVENT_store_integrity] = {DETECTION_FINDING, CREATE, false},
    [EVENT_store_space] = {DETECTION_FINDING, CREATE, false},
    [EVENT_audit_integrity] = {DETECTION_FINDING, CREATE, false},
    [EVENT_admin_auth] = {AUTHENTICATION, LOGON, false},
    [EVENT_admin_abuse] = {DETECTION_FINDING, CREATE, false},
    [EVENT_config_reject] = {ENTITY_MANAGEMENT, UPDATE, true},
    [EVENT_config_change] = {ENTITY_MANAGEMENT, UPDATE, false},
    [EVENT_device_change] = {ACCOUNT_CHANGE, OTHER, false},
    [EVENT_credential_issued] = {ACCOUNT_CHANGE, OTHER, false},
    [EVENT_credential_rotated] = {ACCOUNT_CHANGE, OTHER, false},
    [EVENT_credential_expiring] = {DETECTION_FINDING, CREATE, false},
    [EVENT_enrolment] = {ACCOUNT_CHANGE, CREATE, false},
    [EVENT_attestation] = {AUTHENTICATION, OTHER, false},
    [EVENT_exception] = {DETECTION_FINDING, CREATE, false},
    [EVENT_exposure] = {DETECTION_FINDING, CREATE, false},
    [EVENT_response] = {DETECTION_FINDING, OTHER, false},
    [EVENT_sink] = {EVENT_LOG_ACTIVITY, LOG_EXPORT, false},
    [EVENT_firmware] = {ENTITY_MANAGEMENT, UPDATE, false},
    [EVENT_firmware_reject] = {DETECTION_FINDING, CREATE, false},
    [EVENT_crash_recovery] = {APPLICATION_LIFECYCLE, APP_RESTART, false},
};
static const struct ocsf_row checkpoint_row = {EVENT_LOG_ACTIVITY, OTHER, false};

const struct ocsf_row *ocsf_row_of(enum event_category c)
{
    return &rows[c];
}

const char *ocsf_class_name(uint16_t class_uid)
{
    switch (class_uid) {
    case ACCOUNT_CHANGE:
        return "Account Change";
    case AUTHENTICATION:
        return "Authentication";
    case ENTITY_MANAGEMENT:
        return "Entity Management";
    case NETWORK_ACTIVITY:
        return "Network Activity";
    case API_ACTIVITY:
        return "API Activity";
    case APPLICATION_LIFECYCLE:
        return "Application Lifecycle";
    case EVENT_LOG_ACTIVITY:
        return "Event Log Activity";
    case DETECTION_FINDING:
        return "Detection Finding";
    default:
        return NULL;
    }
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void add(json_t *o, const char *name, json_t *value)
{
    (void)json_object_set_new(o, name, value); /* what is missing is noticed at the end */
}

/* "[2001:db8::1]:50123" as an endpoint; its text as a name when it is none. */
static json_t *endpoint_of(const char *peer)
{
    struct slice s = slice_text(peer);
    size_t colon = s.n;
    while (colon > 0 && s.p[colon - 1] != ':') {
        colon--;
    }
    struct slice port = slice_from(s, colon);
    struct slice ip = slice_head(s, colon > 0 ? colon - 1 : s.n);
    if (ip.n > 2 && ip.p[0] == '[' && ip.p[ip.n - 1] == ']') {
        ip = slice_from(slice_head(ip, ip.n - 1), 1);
    }
    uint32_t number = 0;
    bool good = colon > 0 && port.n > 0 && port.n <= 5 && ip.n > 0;
    for (size_t i = 0; good && i < port.n; i++) {
        good = port.p[i] >= '0' && port.p[i] <= '9';
        number = number * 10 + (uint32_t)(port.p[i] - '0');
    }
    if (!good || number > UINT16_MAX) {
        return json_pack("{s:s}", "name", peer);
    }
    return json_pack("{s:o,s:i}", "ip", json_stringn((const char *)ip.p, ip.n), "port",
                     (int)number);
}

static const char *name_of(const struct shipment *s)
{
    return strcmp(s->principal, "-") != 0 ? s->principal : s->client_id;
}

/* What a class demands. */
static void add_of_class(json_t *o, const struct ocsf_row *row, const struct shipment *s,
                         const char *title, const char *uid)
{
    switch (row->class_uid) {
    case AUTHENTICATION:
        add(o, "service", json_pack("{s:s}", "name", "Sallyport")); /* or dst_endpoint */
        /* fall through */
    case ACCOUNT_CHANGE:
        add(o, "user", json_pack("{s:s}", "name", name_of(s)));
        break;
    case ENTITY_MANAGEMENT:
        add(o, "entity", json_pack("{s:s}", "name", s->target));
        break;
    case API_ACTIVITY:
        add(o, "api", json_pack("{s:s}", "operation", title));
        add(o, "actor", json_pack("{s:{s:s}}", "user", "name", name_of(s)));
        break;
    case APPLICATION_LIFECYCLE:
        add(o, "app", json_pack("{s:s,s:s}", "name", "Sallyport", "vendor_name", "Sallyport"));
        break;
    case EVENT_LOG_ACTIVITY:
        add(o, "log_name", json_string("audit"));
        break;
    case DETECTION_FINDING:
        add(o, "finding_info", json_pack("{s:s,s:s}", "title", title, "uid", uid));
        break;
    default:
        break;
    }
}

static json_t *unmapped(const struct shipment *s, const char *category)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "category", category, "severity",
                     event_severity_name(s->severity), "principal", s->principal, "client_id",
                     s->client_id, "peer", s->peer, "listener", s->listener, "protocol",
                     s->protocol, "target", s->target);
}

enum err shipment_ocsf(const struct shipment *s, const char *host, struct buf *ret)
{
    static const int severities[] = {1, 2, 3, 4}; /* informational, low, medium, high */
    const struct ocsf_row *row = s->is_checkpoint ? &checkpoint_row : &rows[s->category];
    const char *category = s->is_checkpoint ? "checkpoint" : event_category_name(s->category);
    const char *title = s->is_checkpoint ? "signed" : event_category_meaning(s->category);
    char uid[DIGEST_HEX_BYTES] = "-";
    uint8_t *room;
    if (s->seq > 0) {
        digest_hex(&s->leaf, uid);
    }
    AUTO(json_release)
    json_t *o = json_pack(
        "{s:i,s:i,s:i,s:I,s:i,s:s,s:i,s:I,s:i,s:s,s:{s:s,s:s,s:I,s:{s:s,s:s}},s:{s:s,s:i}}",
        "category_uid", row->class_uid / 1000, "class_uid", (int)row->class_uid, "activity_id",
        (int)row->activity_id, "type_uid", (json_int_t)row->class_uid * 100 + row->activity_id,
        "severity_id", severities[s->severity], "class_name", ocsf_class_name(row->class_uid),
        "status_id", row->has_failed ? 2 : 1, "time", (json_int_t)s->wall_ms, "count",
        (int)(s->count < INT32_MAX ? s->count : INT32_MAX), "message", s->reason, "metadata",
        "version", OCSF_VERSION, "uid", uid, "sequence", (json_int_t)s->seq, "product", "name",
        "Sallyport", "vendor_name", "Sallyport", "device", "hostname", host, "type_id", 1);
    if (o == NULL) {
        return ERR_NOMEM;
    }
    if (strcmp(s->peer, "-") != 0) {
        add(o, "src_endpoint", endpoint_of(s->peer));
    } else if (row->class_uid == NETWORK_ACTIVITY || row->class_uid == API_ACTIVITY) {
        add(o, "src_endpoint", json_pack("{s:s}", "name", name_of(s))); /* they demand one */
    }
    add_of_class(o, row, s, title, uid);
    add(o, "unmapped", unmapped(s, category));
    size_t n = json_dumpb(o, NULL, 0, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (n == 0 || json_object_get(o, "unmapped") == NULL) {
        return ERR_NOMEM;
    }
    TRY(buf_room(ret, n, SIZE_MAX, &room));
    ret->n += json_dumpb(o, (char *)room, n, JSON_COMPACT | JSON_ENSURE_ASCII);
    return OK;
}
