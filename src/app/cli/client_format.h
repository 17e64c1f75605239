/* client_format - one received message as a line: sub -F. */
#ifndef APP_CLI_CLIENT_FORMAT_H
#define APP_CLI_CLIENT_FORMAT_H

#include "app/cli/cli.h"
#include "wire/mqtt/publish.h"

/* client_format_check - NULL when the format is right, else the part that is not. */
const char *client_format_check(const char *format);

/*
 * client_format_print - writes one message; no line end is added
 *
 * %t topic  %p payload  %x payload in hex  %q QoS  %r retain  %l payload bytes  %m packet id
 * %C content type  %R response topic  %D correlation data  %E expiry  %S subscription identifiers
 * %P user properties  %I time (ISO 8601)  %U time (Unix)  %j JSON  %%; \n \t \r \0 \\
 *
 * is_terminal  escape what a terminal could take for a command
 */
void client_format_print(FILE *to, const char *format, const struct mqtt_publish *m,
                         int64_t wall_ms, bool is_terminal);

/* client_payload_print - the payload alone, escaped for a terminal. */
void client_payload_print(FILE *to, struct slice payload, bool is_terminal);

#endif
