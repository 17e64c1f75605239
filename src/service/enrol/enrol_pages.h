/*
 * enrol_pages - the enrolment door over HTTPS, of one worker and entrance: EST for who has no
 * certificate yet, or wants a new one (http_pages of service/broker/http_conn.h). No
 * administration. What is to be decided leaves as an enrolment and comes back by
 * worker_next_enrolled. The authority's certificates and what a request should look like are
 * answered here: strangers cost the service thread nothing before they send a request.
 */
#ifndef SERVICE_ENROL_ENROL_PAGES_H
#define SERVICE_ENROL_ENROL_PAGES_H

#include "engine/http_server.h"

/* Where `enrol join` finds what EST does not say. */
#define ENROL_PAGES_BUNDLE "/.well-known/sallyport/bundle"

enum {
    ENROL_PAGES_LIST_MAX = HTTP_ANSWER_MAX - 1024 /* bytes of a revocation list that is given */
};

#endif
