#include <assert.h>

#include "service/admin/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static enum err echo(void *ctx, const struct control_request *request, uint64_t token,
                     struct control_reply *reply)
{
    (void)ctx;
    (void)token;
    TRY(control_line(reply, json_deep_copy(request->args)));
    return control_finish(reply, 0, NULL);
}

/* Every line gets exactly one final answer, which the client's side reads. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct control_verb verbs[] = {{"echo", echo}};
    struct slice in = slice_of(data, n), line;
    while (control_cut(&in, &line) == OK) {
        struct control_reply reply = {0};
        if (control_dispatch(verbs, 1, NULL, line, 1, &reply) == OK) {
            assert(reply.is_done);
            struct slice out = buf_slice(&reply.bytes), answer;
            bool done = false;
            while (out.n > 0) {
                assert(!done && control_cut(&out, &answer) == OK);
                struct control_answer a = {0};
                done = control_answer_decode(answer, &a) == OK && a.is_done;
                control_answer_done(&a);
            }
        }
        control_reply_done(&reply);
    }
    return 0;
}
