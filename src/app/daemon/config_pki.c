#include "app/daemon/config_pki.h"

enum err config_read_pki(const struct yaml_doc *doc, const struct yaml_node *n,
                         struct yaml_complaint *ret_complaint, char ret_url[X509_URL_MAX + 1])
{
    static const char *const keys[] = {"url", NULL};
    if (n == NULL) {
        return OK;
    }
    TRY(yaml_expect(doc, n, YAML_MAP, "pki", ret_complaint));
    TRY(yaml_only(doc, n, keys, "pki", ret_complaint));
    const struct yaml_node *url = yaml_find(n, "url");
    if (url == NULL || url->kind != YAML_SCALAR || !x509_url_ok(url->text) ||
        !slice_to_text(url->text, ret_url, X509_URL_MAX + 1)) {
        return yaml_complain(doc, url != NULL ? url : n, ret_complaint,
                             "pki needs a url like \"http://pki.example\": of at most %d "
                             "characters, without a / at its end; http, because https would need "
                             "the certificates that are asked about",
                             X509_URL_MAX);
    }
    return OK;
}
