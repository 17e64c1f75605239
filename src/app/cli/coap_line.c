#include "app/cli/coap_line.h"

#include <stdarg.h>

#include "base/log.h"
#include "base/scope.h"

enum { SAID_BYTES = 640 };

int coap_line_new(struct cli *cli, const struct coap_ask *ask, const struct coap_line_owner *owner,
                  struct coap_line **ret)
{
    struct coap_line base = {.cli = cli,
                             .ask = ask,
                             .owner = *owner,
                             .clock = clock_system(),
                             .random = random_system(),
                             .code = COAP_LINE_GO_ON};
    base.active_ms = coap_line_now(&base);
    bool is_stream = ask->carrier == COAP_BY_TLS || ask->carrier == COAP_BY_WEBSOCKET;
    return is_stream ? coap_by_tls_new(&base, ret) : coap_datagrams_new(&base, ret);
}

struct coap_line *coap_line_free(struct coap_line *l)
{
    return l != NULL ? l->ops->free(l) : NULL;
}

uint64_t coap_line_now(const struct coap_line *l)
{
    return l->clock.mono_ms(l->clock.ctx);
}

void coap_line_fail(struct coap_line *l, const char *format, ...)
{
    char text[SAID_BYTES];
    va_list args;
    if (l->code != COAP_LINE_GO_ON) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    l->code = cli_fail(l->cli, "%s", text);
}

void coap_line_trace(const struct coap_line *l, const char *way, const char *start,
                     const struct coap_message *m)
{
    char code[COAP_CODE_TEXT_BYTES];
    if (!l->ask->is_traced) {
        return;
    }
    const char *name = coap_code_name(m->code);
    coap_code_text(m->code, code);
    fprintf(l->cli->err, "%s%s%s %s%s%s", way, start[0] != '\0' ? " " : "", start, code,
            name != NULL ? " " : "", name != NULL ? name : "");
    if (start[0] != '\0') {
        fprintf(l->cli->err, " id %u", (unsigned)m->mid);
    }
    fprintf(l->cli->err, ", %zu bytes of payload, options", m->payload.n);
    struct coap_options it = coap_options_from(m->options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        fprintf(l->cli->err, " %u", (unsigned)o.number);
    }
    fputc('\n', l->cli->err);
}
