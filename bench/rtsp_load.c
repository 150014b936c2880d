/* The players of bench/rtsp_play.py: set up all tracks, play, read and throw away.
 *
 *     rtsp_load MODE PORT PATH PLAYERS SETTLE SECONDS
 *
 * MODE: tcp | udp. SETTLE seconds after the last has joined it prints "begin", SECONDS later one
 * line of JSON, and it stays connected until its standard input ends.
 *
 * Every picture holds "PORTHOLE-BENCH-T" and 8 bytes of CLOCK_MONOTONIC in microseconds; WATCHED
 * of the players look for it: how old it is is the delay. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PLAYERS 2048
#define MAX_TRACKS 2
#define WATCHED 20
#define FIRST_PORT 20000
#define MAX_DELAYS (1 << 20)
#define MARK "PORTHOLE-BENCH-T"

struct player {
    int fd, media[MAX_TRACKS], is_watched, is_udp;
    long long bytes;
    char session[64];
};

static struct player players[MAX_PLAYERS];
static int64_t delays[MAX_DELAYS];
static int delay_count, measuring, poll_fd;
static long long bytes;
static char buffer[1 << 20];

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void die(const char *what) { perror(what); exit(1); }

/* One request and its answer; what follows the answer in `buffer` is media and thrown away. */
static char *ask(struct player *player, const char *method, const char *url, const char *more) {
    static int cseq;
    char out[1024];
    int size = snprintf(out, sizeof out, "%s %s RTSP/1.0\r\nCSeq: %d\r\n%s%s%s%s\r\n", method, url,
                        ++cseq, *player->session ? "Session: " : "", player->session,
                        *player->session ? "\r\n" : "", more);
    if (send(player->fd, out, size, MSG_NOSIGNAL) != size) die("send");
    size_t got = 0;
    char *end = 0;
    while (!end) {
        ssize_t more_bytes = recv(player->fd, buffer + got, 65536, 0);
        if (more_bytes <= 0) die("recv");
        got += more_bytes;
        buffer[got] = 0;
        end = strstr(buffer, "\r\n\r\n");
        char *length = strcasestr(buffer, "content-length:");
        if (end && length && length < end && got < end + 4 - buffer + (size_t)atoi(length + 15)) end = 0;
    }
    if (strncmp(buffer, "RTSP/1.0 200", 12)) { fprintf(stderr, "%s: %.200s\n", method, buffer); exit(1); }
    return end + 4;
}

static void watch(int fd, struct player *player) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)(player - players) << 32 | fd};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
}

static int bind_to(int port) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), room = 4 << 20;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (bind(fd, (void *)&at, sizeof at)) die("bind");
    return fd;
}

static void join(struct player *player, int index, int port, const char *path) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char url[256], track[300], transport[200], *controls[MAX_TRACKS], *at;
    int tracks = 0, one = 1;
    player->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(player->fd, (void *)&to, sizeof to)) die("connect");
    setsockopt(player->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    snprintf(url, sizeof url, "rtsp://127.0.0.1:%d/%s", port, path);
    at = strdup(ask(player, "DESCRIBE", url, ""));
    for (at = strstr(at, "m="); at && tracks < MAX_TRACKS; tracks++) {
        controls[tracks] = strstr(at, "a=control:") + 10;
        at = strstr(controls[tracks], "\r\n");
        *at++ = 0;
        at = strstr(at, "m=");
    }
    for (int i = 0; i < tracks; i++) {
        int first = FIRST_PORT + index * 2 * MAX_TRACKS + 2 * i;
        snprintf(track, sizeof track, "%s/%s", url, controls[i]);
        if (player->is_udp) {
            player->media[i] = bind_to(first);
            bind_to(first + 1);
            snprintf(transport, sizeof transport,
                     "Transport: RTP/AVP;unicast;client_port=%d-%d\r\n", first, first + 1);
        } else
            snprintf(transport, sizeof transport,
                     "Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d\r\n", 2 * i, 2 * i + 1);
        ask(player, "SETUP", track, transport);
        char *session = strcasestr(buffer, "session:") + 8;
        while (*session == ' ') session++;
        snprintf(player->session, strcspn(session, ";\r") + 1, "%s", session);
    }
    ask(player, "PLAY", url, "");
    for (int i = 0; player->is_udp && i < tracks; i++) watch(player->media[i], player);
    watch(player->fd, player);
}

static void look(size_t size) {
    char *at = buffer, *found, *end = buffer + size;
    while ((found = memmem(at, end - at, MARK, 16)) && found + 24 <= end) {
        int64_t stamp = 0;
        for (int i = 0; i < 8; i++) stamp = stamp << 8 | (uint8_t)found[16 + i];
        if (delay_count < MAX_DELAYS) delays[delay_count++] = now_us() - stamp;
        at = found + 24;
    }
}

static int order(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    int is_udp = !strcmp(argv[1], "udp"), port = atoi(argv[2]), count = atoi(argv[4]);
    if (count > MAX_PLAYERS) return 2;
    poll_fd = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        players[i].is_udp = is_udp;
        players[i].is_watched = (i + 1) * WATCHED / count != i * WATCHED / count;
        join(&players[i], i, port, argv[3]);
    }
    int64_t begin = now_us() + atof(argv[5]) * 1e6, end = INT64_MAX, now;
    while ((now = now_us()) < end) {
        if (!measuring && now >= begin) {
            measuring = 1;
            end = now + atof(argv[6]) * 1e6;
            puts("begin");
            fflush(stdout);
        }
        struct epoll_event events[512];
        int ready = epoll_wait(poll_fd, events, 512, 20);
        for (int e = 0; e < ready; e++) {
            struct player *player = &players[events[e].data.u64 >> 32];
            int fd = events[e].data.u64 & 0xffffffff, flags = MSG_DONTWAIT;
            if (!player->is_watched && fd == player->fd) flags |= MSG_TRUNC;
            for (;;) {
                ssize_t got = recv(fd, buffer, sizeof buffer, flags);
                if (got <= 0) {
                    if (got == 0) epoll_ctl(poll_fd, EPOLL_CTL_DEL, fd, 0);
                    break;
                }
                if (!measuring) continue;
                bytes += got;
                player->bytes += got;
                if (player->is_watched) look(got);
            }
        }
    }
    int alive = 0;
    for (int i = 0; i < count; i++) alive += players[i].bytes > 0;
    qsort(delays, delay_count, sizeof *delays, order);
    printf("{\"bytes\": %lld, \"alive\": %d, \"delay_us\": %lld, \"delay_p99_us\": %lld}\n", bytes, alive,
           delay_count ? (long long)delays[delay_count / 2] : -1LL,
           delay_count ? (long long)delays[(int)(delay_count * 0.99)] : -1LL);
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
