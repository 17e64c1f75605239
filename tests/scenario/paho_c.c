/*
 * paho_c - a client on paho's synchronous C library, as test_a_paho_c.py asks for it. Says what
 * happened, a fact a line.
 *
 *   paho_c PHASE URL VERSION CLIENT BASE DENIED CA x509 CERT KEY
 *   paho_c PHASE URL VERSION CLIENT BASE DENIED CA password NAME PASSWORD
 *
 *   first    subscribes, publishes to itself, and is gone without DISCONNECT
 *   again    takes what the session kept, and says goodbye
 *   denied   publishes what it must not
 *   connect  only that
 */
#include <MQTTClient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_MS = 20000, TOPIC_BYTES = 256, LEVELS = 3, EACH = 3, LASTS_S = 300, EXPIRES_S = 3600 };

struct client {
    const char *url, *id, *base, *denied;
    int version;
    MQTTClient handle;
    MQTTClient_connectOptions options;
    MQTTClient_SSLOptions ssl;
    MQTTClient_willOptions will;
    char will_topic[TOPIC_BYTES];
};

static void need(int rc, const char *what)
{
    if (rc != MQTTCLIENT_SUCCESS) {
        printf("failed %s %d\n", what, rc);
        exit(1);
    }
}

static void topic_of(const struct client *c, const char *rest, char dst[TOPIC_BYTES])
{
    (void)snprintf(dst, TOPIC_BYTES, "%s/%s", c->base, rest);
}

static void put_text(MQTTProperties *p, enum MQTTPropertyCodes code, const char *text,
                     const char *value)
{
    MQTTProperty one = {.identifier = code};
    one.value.data = (MQTTLenString){(int)strlen(text), (char *)text};
    if (value != NULL) {
        one.value.value = (MQTTLenString){(int)strlen(value), (char *)value};
    }
    need(MQTTProperties_add(p, &one), "property");
}

static void put_seconds(MQTTProperties *p, enum MQTTPropertyCodes code, unsigned seconds)
{
    MQTTProperty one = {.identifier = code};
    one.value.integer4 = seconds;
    need(MQTTProperties_add(p, &one), "property");
}

/* Called for what has a reason code; the synchronous calls have no other place for it. */
static void on_published(void *context, int token, int kind, MQTTProperties *properties,
                         enum MQTTReasonCodes code)
{
    (void)token;
    (void)properties;
    if (code != MQTTREASONCODE_SUCCESS) {
        printf("%s %d by %d\n", (const char *)context, code, kind);
    }
}

static void client_init(struct client *c, char **argv)
{
    c->version = atoi(argv[3]);
    c->url = argv[2];
    c->id = argv[4];
    c->base = argv[5];
    c->denied = argv[6];
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
    create.MQTTVersion = c->version;
    need(MQTTClient_createWithOptions(&c->handle, c->url, c->id, MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                      &create),
         "create");
    if (c->version == MQTTVERSION_5) {
        need(MQTTClient_setPublished(c->handle, "denied", on_published), "setPublished");
    }
    c->options = c->version == MQTTVERSION_5
                     ? (MQTTClient_connectOptions)MQTTClient_connectOptions_initializer5
                     : (MQTTClient_connectOptions)MQTTClient_connectOptions_initializer;
    c->options.MQTTVersion = c->version;
    c->options.cleansession = c->options.cleanstart = 0;
    c->ssl = (MQTTClient_SSLOptions)MQTTClient_SSLOptions_initializer;
    c->ssl.trustStore = argv[7];
    c->ssl.enableServerCertAuth = c->ssl.verify = 1;
    c->options.ssl = &c->ssl;
    if (strcmp(argv[8], "x509") == 0) {
        c->ssl.keyStore = argv[9];
        c->ssl.privateKey = argv[10];
    } else {
        c->options.username = argv[9];
        c->options.password = argv[10];
    }
    topic_of(c, "will", c->will_topic);
    c->will = (MQTTClient_willOptions)MQTTClient_willOptions_initializer;
    c->will.topicName = c->will_topic;
    c->will.message = "gone";
    c->will.qos = 1;
    c->options.will = &c->will;
}

static int connect_now(struct client *c)
{
    int rc;
    if (c->version == MQTTVERSION_5) {
        MQTTProperties properties = MQTTProperties_initializer;
        put_seconds(&properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, LASTS_S);
        MQTTResponse r = MQTTClient_connect5(c->handle, &c->options, &properties, NULL);
        rc = r.reasonCode;
        MQTTResponse_free(r);
        MQTTProperties_free(&properties);
    } else {
        rc = MQTTClient_connect(c->handle, &c->options);
    }
    /* The library does not say it for MQTT 5; what comes then shows it. */
    if (rc == MQTTCLIENT_SUCCESS && c->version != MQTTVERSION_5) {
        printf("session %d\n", c->options.returned.sessionPresent);
    }
    return rc;
}

static void subscribe(struct client *c, const char *filter, int qos, const char *what)
{
    int granted = qos;
    if (c->version == MQTTVERSION_5) {
        MQTTResponse r = MQTTClient_subscribe5(c->handle, filter, qos, NULL, NULL);
        granted = r.reasonCode;
        MQTTResponse_free(r);
    } else {
        /* Only the call for many filters gives the code of the SUBACK back. */
        int rc = MQTTClient_subscribeMany(c->handle, 1, (char *const *)&filter, &granted);
        granted = rc == MQTTCLIENT_SUCCESS ? granted : rc;
    }
    printf("%s %d\n", what, granted);
}

/* Acknowledged when it returns OK. */
static int publish(struct client *c, const char *topic, const char *text, int qos, int retained,
                   const MQTTProperties *properties)
{
    MQTTClient_message m = MQTTClient_message_initializer;
    MQTTClient_deliveryToken token = 0;
    int rc;
    m.payload = (void *)text;
    m.payloadlen = (int)strlen(text);
    m.qos = qos;
    m.retained = retained;
    if (c->version == MQTTVERSION_5) {
        if (properties != NULL) {
            m.properties = *properties;
        }
        MQTTResponse r = MQTTClient_publishMessage5(c->handle, topic, &m, &token);
        rc = r.reasonCode;
        MQTTResponse_free(r);
    } else {
        rc = MQTTClient_publishMessage(c->handle, topic, &m, &token);
    }
    return rc == MQTTCLIENT_SUCCESS && qos > 0
               ? MQTTClient_waitForCompletion(c->handle, token, WAIT_MS)
               : rc;
}

static void say_properties(MQTTProperties *p)
{
    for (int i = 0; i < p->count; i++) {
        const MQTTProperty *one = &p->array[i];
        switch (MQTTProperty_getType(one->identifier)) {
        case MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING:
        case MQTTPROPERTY_TYPE_BINARY_DATA:
            printf(" %d=%.*s", one->identifier, one->value.data.len, one->value.data.data);
            break;
        case MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR:
            printf(" %.*s=%.*s", one->value.data.len, one->value.data.data, one->value.value.len,
                   one->value.value.data);
            break;
        default:
            break; /* the seconds that are left are another number each time */
        }
    }
}

static void receive(struct client *c, int n)
{
    for (int i = 0; i < n; i++) {
        char *topic = NULL;
        int topic_n = 0;
        MQTTClient_message *m = NULL;
        int rc = MQTTClient_receive(c->handle, &topic, &topic_n, &m, WAIT_MS);
        if (m == NULL) {
            need(rc != MQTTCLIENT_SUCCESS ? rc : MQTTCLIENT_FAILURE, "receive");
            return;
        }
        printf("got %s %d %d %.*s", topic, m->qos, m->retained, m->payloadlen,
               (const char *)m->payload);
        say_properties(&m->properties);
        printf("\n");
        MQTTClient_freeMessage(&m);
        MQTTClient_free(topic);
    }
}

static void retained(struct client *c)
{
    char topic[TOPIC_BYTES];
    MQTTProperties p = MQTTProperties_initializer;
    topic_of(c, "kept", topic);
    put_text(&p, MQTTPROPERTY_CODE_CONTENT_TYPE, "text/plain", NULL);
    put_text(&p, MQTTPROPERTY_CODE_RESPONSE_TOPIC, topic, NULL);
    put_text(&p, MQTTPROPERTY_CODE_CORRELATION_DATA, "that one", NULL);
    put_text(&p, MQTTPROPERTY_CODE_USER_PROPERTY, "unit", "C");
    put_text(&p, MQTTPROPERTY_CODE_USER_PROPERTY, "unit", "K");
    put_seconds(&p, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, EXPIRES_S);
    need(publish(c, topic, "warm", 1, 1, &p), "retained");
    subscribe(c, topic, 1, "granted");
    receive(c, 1);
    need(publish(c, topic, "", 1, 1, NULL), "clear");
    receive(c, 1);
    MQTTProperties_free(&p);
}

static void first(struct client *c)
{
    char topic[TOPIC_BYTES], text[32];
    need(connect_now(c), "connect");
    topic_of(c, "in/#", topic);
    subscribe(c, topic, 2, "granted");
    for (int qos = 0; qos < LEVELS; qos++) {
        (void)snprintf(text, sizeof(text), "in/%d", qos);
        topic_of(c, text, topic);
        for (int i = 1; i <= EACH; i++) {
            (void)snprintf(text, sizeof(text), "%d-%d", qos, i);
            need(publish(c, topic, text, qos, 0, NULL), "publish");
        }
    }
    receive(c, LEVELS * EACH);
    retained(c);
    subscribe(c, c->denied, 1, "subscription");
    (void)fflush(stdout);
    _exit(0);
}

static void again(struct client *c)
{
    need(connect_now(c), "connect");
    receive(c, 2);
    need(MQTTClient_disconnect(c->handle, WAIT_MS), "disconnect");
}

static void denied(struct client *c)
{
    need(connect_now(c), "connect");
    for (int qos = 1; qos < LEVELS; qos++) {
        int rc = publish(c, c->denied, "no", qos, 0, NULL);
        if (rc != MQTTCLIENT_SUCCESS) {
            printf("publish %d\n", rc);
            return;
        }
    }
    need(MQTTClient_disconnect(c->handle, WAIT_MS), "disconnect");
}

int main(int argc, char **argv)
{
    struct client c = {0};
    MQTTClient_init_options init = MQTTClient_init_options_initializer;
    if (argc != 11) {
        return 2;
    }
    init.do_openssl_init = 1;
    MQTTClient_global_init(&init);
    client_init(&c, argv);
    if (strcmp(argv[1], "first") == 0) {
        first(&c);
    } else if (strcmp(argv[1], "again") == 0) {
        again(&c);
    } else if (strcmp(argv[1], "denied") == 0) {
        denied(&c);
    } else {
        printf("connect %d\n", connect_now(&c));
    }
    MQTTClient_destroy(&c.handle);
    return 0;
}
