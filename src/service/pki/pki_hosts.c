#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include "service/pki/pki_private.h"

bool pki_host_address(const char *host, struct pki_address *ret)
{
    struct pki_address a = {0};
    if (inet_pton(AF_INET, host, a.bytes) == 1) {
        a.n = 4;
    } else if (inet_pton(AF_INET6, host, a.bytes) == 1) {
        a.n = 16;
    } else {
        return false;
    }
    *ret = a;
    return true;
}

/* SPEC: RFC1123 2.1; a leading "*." as in RFC6125 6.4.3 */
static bool is_dns_name(struct slice host)
{
    if (slice_has_prefix(host, slice_text("*."))) {
        host = slice_from(host, 2);
    }
    bool more = true;
    bool only_digits = true;
    while (more) {
        struct slice label = slice_cut(&host, '.', &more);
        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-') {
            return false;
        }
        only_digits = true; /* the last label decides: 1.2.3 is no name */
        for (size_t i = 0; i < label.n; i++) {
            uint8_t c = label.p[i];
            bool is_digit = c >= '0' && c <= '9';
            if (!is_digit && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-') {
                return false;
            }
            only_digits = only_digits && is_digit;
        }
    }
    return !only_digits;
}

enum err pki_hosts_add(struct pki_hosts *h, struct slice host)
{
    char text[PKI_HOST_BYTES];
    struct pki_address address;
    if (host.n == 0 || !slice_to_text(host, text, sizeof text)) {
        return ERR_MALFORMED;
    }
    if (!pki_host_address(text, &address) && !is_dns_name(host)) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < h->n; i++) {
        if (slice_is(host, h->host[i])) {
            return OK;
        }
    }
    if (h->n == PKI_HOSTS_MAX) {
        return ERR_LIMIT;
    }
    memcpy(h->host[h->n++], text, sizeof text);
    return OK;
}

/* What cannot be named in a certificate is left out: nobody can reach us under it with TLS. */
static void add_quietly(struct pki_hosts *h, const char *host)
{
    if (pki_hosts_add(h, slice_text(host)) != OK) {
        return;
    }
}

static void add_interface(struct pki_hosts *h, const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN];
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        if (inet_ntop(AF_INET, &in.sin_addr, text, sizeof text) != NULL &&
            (ntohl(in.sin_addr.s_addr) >> 16) != 0xa9fe) {
            add_quietly(h, text);
        }
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        if (!IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) &&
            inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text) != NULL) {
            add_quietly(h, text);
        }
    }
}

void pki_hosts_local(struct pki_hosts *h)
{
    char name[PKI_HOST_BYTES] = "";
    add_quietly(h, "localhost");
    add_quietly(h, "127.0.0.1");
    add_quietly(h, "::1");
    if (gethostname(name, sizeof name - 1) == 0 && name[0] != '\0') {
        char local[sizeof name + sizeof ".local"];
        bool more = false;
        struct slice rest = slice_text(name);
        struct slice first = slice_cut(&rest, '.', &more);
        add_quietly(h, name);
        (void)snprintf(local, sizeof local, "%.*s.local", SLICE_ARG(first));
        add_quietly(h, local);
    }
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) {
        return;
    }
    for (const struct ifaddrs *a = all; a != NULL; a = a->ifa_next) {
        if (a->ifa_addr != NULL && (a->ifa_flags & IFF_UP) != 0) {
            add_interface(h, a->ifa_addr);
        }
    }
    freeifaddrs(all);
}
