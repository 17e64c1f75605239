/* When certificates are judged, and what becomes of one whose time is over, all else being right.
 */
#include "net/tls_private.h"

/* At each verification, because contexts live for months. */
static int verify_now(X509_STORE_CTX *store, void *ctx)
{
    const struct tls_judge *judge = ctx;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_note *note = ssl != NULL ? SSL_get_app_data(ssl) : NULL;
    time_t now_s = (time_t)(judge->clock.wall_ms(judge->clock.ctx) / 1000);
    if (note != NULL) {
        note->judge = judge;
        note->judged_s = now_s;
    }
    X509_STORE_CTX_set_time(store, 0, now_s);
    return X509_verify_cert(store);
}

void tls_ctx_judge(SSL_CTX *ctx, struct tls_judge *judge)
{
    SSL_CTX_set_cert_verify_callback(ctx, verify_now, judge);
}

bool tls_takes_late(X509_STORE_CTX *store, const struct tls_note *note)
{
    struct tm tm;
    const X509 *leaf = X509_STORE_CTX_get0_cert(store);
    /* What the authority above it lacks is no matter of the device's: it stays refused. */
    if (note->judge == NULL || note->judge->late_s == 0 || leaf == NULL ||
        X509_STORE_CTX_get_error(store) != X509_V_ERR_CERT_HAS_EXPIRED ||
        X509_STORE_CTX_get_error_depth(store) != 0 ||
        ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &tm) != 1) {
        return false;
    }
    time_t end_s = timegm(&tm);
    /* Compared so that no time, however odd, overflows. */
    if (end_s < 0 || note->judged_s < end_s ||
        note->judged_s - end_s > (time_t)note->judge->late_s) {
        return false;
    }
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return true;
}
