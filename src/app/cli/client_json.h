/* client_json - a received message as a JSON object. */
#ifndef APP_CLI_CLIENT_JSON_H
#define APP_CLI_CLIENT_JSON_H

#include "base/err.h"
#include "wire/coap/option.h"
#include "wire/mqtt/publish.h"

#include <stdio.h>

struct client_json {
    bool payload_is_json; /* it goes in as it is; checked by client_json_is_json */
    bool pretty;
    bool is_terminal;
};

/* client_json_is_json - an empty payload counts, too: it becomes null. */
bool client_json_is_json(struct slice payload);
/* client_json_print - the members that mosquitto_sub writes: tst (local time) topic qos retain
 * payloadlen mid properties payload. Bytes that are no UTF-8 become payload_hex. Without memory
 * nothing is written. */
void client_json_print(FILE *to, const struct client_json *how, const struct mqtt_publish *m,
                       int64_t wall_ms);
/* client_json_print_own - the line of `sub --json`: time (UTC) topic qos retain bytes payload. */
void client_json_print_own(FILE *to, const struct mqtt_publish *m, int64_t wall_ms,
                           bool is_terminal);

/* client_json_print_coap - the line of `coap --json`: code, format etag max_age observe as far as m
 * has them, bytes, payload (the whole body). */
void client_json_print_coap(FILE *to, const struct coap_message *m, struct slice body,
                            bool is_terminal);

#endif
