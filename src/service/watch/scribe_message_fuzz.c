#include <assert.h>

#include "service/watch/scribe_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What is read can be written, as it was; the lines of a request are all of its bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t again[SCRIBE_DATAGRAM_MAX];
    size_t m;
    struct scribe_request q;
    struct scribe_answer a;
    struct slice bytes = slice_of(data, n);
    if (scribe_request_decode(bytes, &q) == OK) {
        enum err err = scribe_request_encode(&q, again, sizeof again, &m);
        assert(err == OK && slice_equal(slice_of(again, m), bytes));
        struct rd lines = rd_from(q.lines);
        for (unsigned i = 0; i < q.n; i++) {
            struct slice line = scribe_next_line(&lines);
            assert(line.n > 0 && line.n <= TRAIL_LINE_MAX);
        }
        assert(rd_finish(&lines) == OK);
    }
    if (scribe_answer_decode(bytes, &a) == OK) {
        enum err err = scribe_answer_encode(&a, again, sizeof again, &m);
        assert(err == OK && slice_equal(slice_of(again, m), bytes));
    }
    return 0;
}
