/*
 * client_format - how a received message is printed: payload, format string (-F), JSON.
 *
 * What is received is a stranger's: on a terminal control bytes are shown, never obeyed.
 */
#ifndef APP_CLI_CLIENT_FORMAT_H
#define APP_CLI_CLIENT_FORMAT_H

#include "app/cli/cli.h"
#include "base/err.h"
#include "wire/mqtt/publish.h"

enum { CLIENT_FORMAT_WIDTH_MAX = 10000 };

/* client_format_check - NULL when the format is right, else the part that is not. */
const char *client_format_check(const char *format);

struct client_print {
    const char *format; /* checked */
    bool is_terminal;
    bool pretty;   /* JSON over several lines */
    bool own_json; /* the line of --json instead of the format */
};

/* client_print_read - out of -F, -v, --pretty and --json. CLI_DONE, or CLI_USAGE after a message.
 */
int client_print_read(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                      bool with_topic, struct client_print *ret);

/*
 * client_format_print - writes one message; no line end is added
 *
 * %t topic  %p payload  %x %X payload in hex  %q QoS  %r retain  %l payload bytes  %m packet id
 * %C content type  %R response topic  %D correlation data  %E expiry  %F payload format
 * %S subscription identifiers  %A topic alias  %P user properties  %I time (ISO 8601, local)
 * %U time (Unix)  %j JSON  %J JSON with a payload that is JSON  %%
 * @X as strftime's %X in local time, @N nanoseconds, @@
 * \n \t \r \v \a \e \0 \\
 *
 * Between % and the letter: 0 and - (zeros, left aligned), a least width, and for C, I, R and t a
 * greatest one behind a dot.
 *
 * ERR_MALFORMED  %J, and the payload is no JSON: nothing was written
 */
MUST_USE enum err client_format_print(FILE *to, const struct client_print *how,
                                      const struct mqtt_publish *m, int64_t wall_ms);

/* client_payload_print - the payload alone, escaped for a terminal. */
void client_payload_print(FILE *to, struct slice payload, bool is_terminal);

#endif
