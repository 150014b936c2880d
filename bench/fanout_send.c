/* The yardstick of bench/fanout.py: the least that a sender in C does. Accepts viewers; for each
 * command "run INTERVAL_US DURATION_US\n" on stdin it joins the tags that fall due per interval and
 * sends the buffer to every viewer, then prints "CPU_US SENT_BYTES".
 *
 *     fanout_send VIEWERS TAGS_FILE      (prints its port first)
 *
 * TAGS_FILE: records of u32 offset_us, u32 size_bytes, repeating every second. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_VIEWERS 4096
#define MAX_BATCH (8 << 20)

struct tag { uint32_t offset_us, size_bytes; };
struct viewer { int fd; char *rest; size_t rest_bytes; };

static struct tag tags[4096];
static struct viewer viewers[MAX_VIEWERS];
static char batch[MAX_BATCH];

static int64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void sleep_until(int64_t due_ns) {
    struct timespec t = {due_ns / 1000000000LL, due_ns % 1000000000LL};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* What the socket does not take is kept and sent before the next batch, which is left out. */
static size_t send_to(struct viewer *viewer, const char *data, size_t size) {
    const char *from = viewer->rest ? viewer->rest : data;
    size_t left = viewer->rest ? viewer->rest_bytes : size;
    ssize_t sent = send(viewer->fd, from, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) sent = 0;
    if ((size_t)sent == left) {
        free(viewer->rest);
        viewer->rest = NULL;
    } else {
        char *rest = malloc(left - sent);
        memcpy(rest, from + sent, left - sent);
        free(viewer->rest);
        viewer->rest = rest;
        viewer->rest_bytes = left - sent;
    }
    return sent;
}

int main(int argc, char **argv) {
    int count = argc > 2 ? atoi(argv[1]) : 0;
    FILE *file = count > 0 && count <= MAX_VIEWERS ? fopen(argv[2], "rb") : NULL;
    if (!file) return 1;
    int tag_count = fread(tags, sizeof tags[0], 4096, file);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, lowat = 128 << 10;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (void *)&address, length) || listen(listener, 4096)) return 1;
    getsockname(listener, (void *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        viewers[i].fd = accept(listener, NULL, NULL);
        setsockopt(viewers[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(viewers[i].fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat);
    }
    long interval_us, duration_us;
    while (scanf(" run %ld %ld", &interval_us, &duration_us) == 2) {
        int64_t cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID), sent_bytes = 0;
        int64_t start_ns = now_ns(CLOCK_MONOTONIC);
        int index = 0;
        int64_t second_us = 0;
        for (int64_t at_us = interval_us; at_us <= duration_us; at_us += interval_us) {
            sleep_until(start_ns + at_us * 1000);
            size_t size = 0;
            while (second_us + tags[index].offset_us < at_us) {
                uint32_t tag_bytes = tags[index].size_bytes;
                int64_t stamp_ns = start_ns + (second_us + tags[index].offset_us) * 1000;
                if (size + tag_bytes > MAX_BATCH) return 1;
                memcpy(batch + size, &tag_bytes, 4);
                memcpy(batch + size + 4, &stamp_ns, 8);
                size += tag_bytes;
                if (++index == tag_count) index = 0, second_us += 1000000;
            }
            for (int i = 0; i < count; i++) sent_bytes += send_to(&viewers[i], batch, size);
        }
        printf("%lld %lld\n", (long long)(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns) / 1000,
               (long long)sent_bytes);
        fflush(stdout);
    }
    return 0;
}
