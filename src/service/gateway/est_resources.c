/* Enrolment over CoAP, as far as it is there: our authority's certificates, and what a request
 * should look like. SPEC: RFC9148 4.1, 4.3, 5.1, 5.2 */
#include "service/enrol/est.h"
#include "service/gateway/door_private.h"

static void answer_der(const struct request *rq, uint16_t format, struct slice der)
{
    uint8_t block[8];
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct coap_answer answer = {.code = COAP_CONTENT, .payload = der};
    coap_option_add_uint(&o, COAP_OPTION_CONTENT_FORMAT, format);
    if (coap_option_writer_done(&o, &answer.options) == OK) {
        (void)answer_send(&rq->asker, &answer);
    }
}

static bool find(const struct request *rq, uint16_t *ret_format, struct slice *ret_der)
{
    if (slice_is(rq->path.text, "crts")) {
        *ret_format = COAP_FORMAT_PKCS7_CERTS;
        *ret_der = rq->asker.a->door->setup.entrance->cacerts;
        return ret_der->n > 0;
    }
    *ret_format = COAP_FORMAT_CSRATTRS;
    *ret_der = est_csr_attributes();
    return slice_is(rq->path.text, "att");
}

static bool is_elsewhere(struct slice name)
{
    static const char *const names[] = {"sen", "sren", "skg", "skc"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (slice_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

void est_serve(const struct request *rq)
{
    struct association *a = rq->asker.a;
    uint16_t format = 0;
    struct slice der = {0};
    if (a->account->is_closed) {
        request_refuse(rq, EVENT_revoked, COAP_FORBIDDEN, "not granted",
                       "the principal is not active any more");
    } else if (is_elsewhere(rq->path.text)) {
        request_refuse(
            rq, EVENT_protocol_error, COAP_NOT_IMPLEMENTED,
            "certificates are given over HTTPS: simpleenroll, simplereenroll",
            "EST over CoAP has crts and att here; a device enrols and renews over HTTPS, "
            "at the enrol listener");
    } else if (!find(rq, &format, &der)) {
        (void)answer_text(&rq->asker, COAP_NOT_FOUND, "EST over CoAP has crts and att");
    } else if (rq->m->code != COAP_GET) {
        request_refuse(rq, EVENT_protocol_error, COAP_METHOD_NOT_ALLOWED, "it takes GET",
                       "this resource of EST takes GET");
    } else if (!bucket_take(&a->reads, 1, a->door->now_ms)) {
        struct decision why = {.rule = "it reads faster than replay_rate of its role"};
        request_refuse_by_passage(rq, ERR_QUOTA, &why,
                                  bucket_wait_ms(&a->reads, 1, a->door->now_ms));
    } else if (rq->asker.has_accept && rq->asker.accept != format) {
        (void)answer_text(&rq->asker, COAP_NOT_ACCEPTABLE,
                          format == COAP_FORMAT_PKCS7_CERTS ? "it is in content format 281"
                                                            : "it is in content format 285");
    } else {
        answer_der(rq, format, der);
    }
}
