/* A file of an incident that somebody made up: it is refused, or counted; and nothing that was not
 * signed is called signed. */
#include <assert.h>

#include "service/watch/incident.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void count_wrong(void *ctx, const char *text)
{
    assert(text[0] != '\0');
    (*(unsigned *)ctx)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    AUTO(incident_check_autofree) struct incident_check *c = NULL;
    unsigned n_wrong = 0;
    struct incident_terms terms = {.ctx = &n_wrong, .wrong = count_wrong};
    enum err err = incident_check_new(&terms, &c);
    assert(err == OK);
    struct slice rest = slice_of(data, n);
    for (bool more = true; more && err == OK;) {
        struct slice line = slice_cut(&rest, '\n', &more);
        if (more || line.n > 0) {
            err = incident_check_line(c, line);
        }
    }
    struct incident_report r;
    const char *device;
    if (err == OK && incident_check_end(c, &r, &device) == OK) {
        assert(r.breaks == 0 || n_wrong > 0);
        assert(r.signed_to >= r.last || n_wrong > 0);
        assert(r.signed_to == 0 || incident_check_key(c) != NULL);
    }
    return 0;
}
