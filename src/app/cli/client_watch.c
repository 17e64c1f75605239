#include "app/cli/client_watch.h"

#include "base/scope.h"

enum { LINE_BYTES = 4096 };

static enum err row_of(struct client_watch *w, struct slice topic, size_t *ret)
{
    size_t at = 0;
    while (at < w->n && !slice_equal(buf_slice(&w->topics[at]), topic)) {
        at++;
    }
    if (at == w->n) {
        if (w->n == CLIENT_WATCH_ROWS) {
            return ERR_LIMIT;
        }
        TRY(buf_append(&w->topics[at], topic, UINT16_MAX));
        w->n++;
    }
    *ret = at;
    return OK;
}

static void close_file(FILE **f)
{
    if (*f != NULL) {
        (void)fclose(*f);
    }
}

enum err client_watch_print(struct client_watch *w, FILE *to, const struct client_print *how,
                            const struct mqtt_publish *m, int64_t wall_ms)
{
    size_t row = 0;
    bool is_first = w->n == 0;
    enum err err = row_of(w, m->topic, &row);
    if (err == ERR_LIMIT) {
        w->n_hidden++;
        return OK;
    }
    TRY(err);
    /* Into memory first: what does not fit on a line is cut, and a line end is the end. */
    char line[LINE_BYTES] = "";
    AUTO(close_file) FILE *text = fmemopen(line, sizeof(line), "w");
    if (text == NULL) {
        return ERR_NOMEM;
    }
    TRY(client_format_print(text, how, m, wall_ms));
    (void)fflush(text);
    line[strcspn(line, "\n")] = '\0';
    fprintf(to, "%s\x1b[%zu;1H\x1b[?7l%s\x1b[K\x1b[?7h", is_first ? "\x1b[2J" : "", row + 1, line);
    return OK;
}

void client_watch_end(struct client_watch *w, FILE *to)
{
    if (w->n > 0) {
        fprintf(to, "\x1b[%zu;1H\n", w->n);
    }
    if (w->n_hidden > 0) {
        fprintf(to, "%zu messages of other topics: more than %d topics came\n", w->n_hidden,
                (int)CLIENT_WATCH_ROWS);
    }
}

void client_watch_done(struct client_watch *w)
{
    for (size_t i = 0; i < w->n; i++) {
        buf_done(&w->topics[i]);
    }
}
