#include "app/cli/client_progress.h"

#include <unistd.h>

enum { SECOND_MS = 1000 };

void client_progress_init(struct client_progress *p, FILE *to, bool asked, bool may_last)
{
    *p = (struct client_progress){.told_at_ms = UINT64_MAX};
    p->is_terminal = isatty(fileno(to)) == 1;
    p->to = asked || (may_last && p->is_terminal) ? to : NULL;
}

void client_progress_start(struct client_progress *p, uint64_t now_ms)
{
    p->told_at_ms = now_ms;
}

void client_progress_count(struct client_progress *p, size_t bytes)
{
    p->n++;
    p->bytes += bytes;
}

uint64_t client_progress_deadline(const struct client_progress *p)
{
    return p->to == NULL || p->told_at_ms == UINT64_MAX ? UINT64_MAX : p->told_at_ms + SECOND_MS;
}

static void tell(struct client_progress *p, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms - p->told_at_ms;
    uint64_t rate = passed_ms > 0 ? (p->n - p->told_n) * SECOND_MS / passed_ms : 0;
    fprintf(p->to, "%s%llu messages, %llu bytes, %llu/s, %zu not acknowledged yet%s",
            p->is_terminal ? "\r\x1b[K" : "", (unsigned long long)p->n,
            (unsigned long long)p->bytes, (unsigned long long)rate, p->n_unacknowledged,
            p->is_terminal ? "" : "\n");
    (void)fflush(p->to);
    p->has_told = true;
    p->told_n = p->n;
    p->told_at_ms = now_ms;
}

void client_progress_tick(struct client_progress *p, size_t n_unacknowledged, uint64_t now_ms)
{
    p->n_unacknowledged = n_unacknowledged;
    if (client_progress_deadline(p) <= now_ms) {
        tell(p, now_ms);
    }
}

void client_progress_end(struct client_progress *p, bool is_done, uint64_t now_ms)
{
    if (p->to == NULL || p->told_at_ms == UINT64_MAX || (p->is_terminal && !p->has_told)) {
        return;
    }
    p->n_unacknowledged = is_done ? 0 : p->n_unacknowledged;
    tell(p, now_ms);
    if (p->is_terminal) {
        fputc('\n', p->to);
    }
}
