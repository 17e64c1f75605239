/* A flood of connection attempts from one /24 on the loopback: flood PORT N RATE. Each is given up
 * with a reset as soon as it was begun. Prints how many were made, and in how many seconds. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int attempt(unsigned i, unsigned short port)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(0x7f000101U + i % 250)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger reset = {1, 0};
    int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) == 0) {
        (void)connect(fd, (struct sockaddr *)&to, sizeof to);
    }
    return close(fd);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        return 2;
    }
    unsigned short port = (unsigned short)strtoul(argv[1], NULL, 10);
    unsigned n = (unsigned)strtoul(argv[2], NULL, 10), rate = (unsigned)strtoul(argv[3], NULL, 10);
    double begin = now();
    for (unsigned i = 0; i < n; i++) {
        while ((double)i > (now() - begin) * rate) {
            struct timespec brief = {0, 200000};
            nanosleep(&brief, NULL);
        }
        if (attempt(i, port) != 0) {
            perror("attempt");
            return 1;
        }
    }
    printf("%u %.3f\n", n, now() - begin);
    return 0;
}
