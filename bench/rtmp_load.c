/* The players of bench/rtmp.py: connect, ask, read and throw away.
 *
 *     rtmp_load MODE PORT PLAYERS SECONDS SETTLE PATH     MODE: rtmp | http | slow
 *
 * Looks for "PORTHOLE-BENCH-T" and 8 bytes of CLOCK_MONOTONIC in microseconds in what the first
 * WATCHED players read, and keeps how old the stamp was. After SETTLE seconds it prints "begin",
 * SECONDS later "BYTES ALIVE MEDIAN_US P99_US FIRST_MEDIAN_US": bytes read meanwhile, players still
 * connected, delays, and the median time from asking to the first stamp. "slow" players of RTMP
 * read a quarter of the rate given in PATH's ?rate= (bytes/s). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PLAYERS 4096
#define WATCHED 20
#define MAX_DELAYS (1 << 20)
#define HANDSHAKE 1536
#define MARK "PORTHOLE-BENCH-T"

struct player {
    int fd, step;
    size_t got;
    int64_t asked_us, first_us;
    char tail[32];
    int tail_bytes;
};

static struct player players[MAX_PLAYERS];
static int64_t delays[MAX_DELAYS], firsts[MAX_PLAYERS];
static int delay_count, first_count;
static const char *path, *mode;

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void put(int fd, const void *data, size_t size) {
    if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) { perror("send"); exit(1); }
}

static size_t text(uint8_t *to, const char *value) {
    size_t size = strlen(value);
    to[0] = 2; to[1] = size >> 8; to[2] = size;
    memcpy(to + 3, value, size);
    return size + 3;
}

static size_t number(uint8_t *to, double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    to[0] = 0;
    for (int i = 0; i < 8; i++) to[1 + i] = bits >> (56 - 8 * i);
    return 9;
}

static size_t member(uint8_t *to, const char *name, const char *value) {
    size_t size = strlen(name);
    to[0] = size >> 8; to[1] = size;
    memcpy(to + 2, name, size);
    return 2 + size + text(to + 2 + size, value);
}

/* A command in chunks of 128 bytes on chunk stream 3. */
static void command(int fd, const uint8_t *body, size_t size, int stream) {
    uint8_t out[2048];
    size_t length = 0;
    uint8_t head[12] = {3, 0, 0, 0, size >> 16, size >> 8, size, 20, stream, 0, 0, 0};
    memcpy(out, head, 12);
    length = 12;
    for (size_t at = 0; at < size; at += 128) {
        size_t part = size - at < 128 ? size - at : 128;
        if (at) out[length++] = 0xc3;
        memcpy(out + length, body + at, part);
        length += part;
    }
    put(fd, out, length);
}

static void say_connect(int fd) {
    uint8_t b[512];
    size_t n = text(b, "connect");
    n += number(b + n, 1);
    b[n++] = 3;
    n += member(b + n, "app", "live");
    n += member(b + n, "tcUrl", "rtmp://127.0.0.1/live");
    memcpy(b + n, "\0\0\x09", 3);
    command(fd, b, n + 3, 0);
}

static void say_create(int fd) {
    uint8_t b[128];
    size_t n = text(b, "createStream");
    n += number(b + n, 2);
    b[n++] = 5;
    command(fd, b, n, 0);
}

static void say_play(int fd) {
    uint8_t b[256];
    size_t n = text(b, "play");
    n += number(b + n, 3);
    b[n++] = 5;
    n += text(b + n, path);
    command(fd, b, n, 1);
}

static void look(struct player *player, const char *data, size_t size, int measuring) {
    static char joined[(1 << 20) + 64];
    memcpy(joined, player->tail, player->tail_bytes);
    memcpy(joined + player->tail_bytes, data, size);
    size_t all = player->tail_bytes + size, from = 0;
    char *found;
    while ((found = memmem(joined + from, all - from, MARK, 16)) && found + 24 <= joined + all) {
        uint64_t stamp = 0;
        for (int i = 0; i < 8; i++) stamp = stamp << 8 | (uint8_t)found[16 + i];
        if (!player->first_us) {
            player->first_us = now_us();
            firsts[first_count++] = player->first_us - player->asked_us;
        }
        if (measuring && delay_count < MAX_DELAYS) delays[delay_count++] = now_us() - (int64_t)stamp;
        from = found + 24 - joined;
    }
    size_t keep = all - from < 23 ? all - from : 23;
    memcpy(player->tail, joined + all - keep, keep);
    player->tail_bytes = keep;
}

static int order(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* RTMP's steps follow what has come: the handshake, the answer to connect, that to createStream. */
static void go_on(struct player *player) {
    static const char zeros[HANDSHAKE];
    if (player->step == 0 && player->got >= 1 + 2 * HANDSHAKE) {
        put(player->fd, zeros, HANDSHAKE);
        say_connect(player->fd);
        player->step = 1, player->got = 0;
    } else if (player->step == 1 && player->got >= 190) {
        say_create(player->fd);
        player->step = 2, player->got = 0;
    } else if (player->step == 2 && player->got >= 25) {
        player->asked_us = now_us();
        say_play(player->fd);
        player->step = 3;
    }
}

int main(int argc, char **argv) {
    if (argc < 7) return 2;
    mode = argv[1];
    int port = atoi(argv[2]), count = atoi(argv[3]), is_http = !strcmp(mode, "http");
    int is_slow = !strcmp(mode, "slow");
    double seconds = atof(argv[4]), settle = atof(argv[5]);
    path = argv[6];
    static char buffer[1 << 20];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int poll = epoll_create1(0);
    for (int i = 0; i < count && i < MAX_PLAYERS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        if (is_slow) { int small = 8192; setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small); }
        if (connect(fd, (void *)&to, sizeof to)) { perror("connect"); return 1; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        players[i] = (struct player){.fd = fd, .asked_us = now_us()};
        if (is_http) {
            int size = snprintf(buffer, 512, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
            put(fd, buffer, size);
            players[i].step = 3;
        } else {
            char hello[1 + HANDSHAKE] = {3};
            put(fd, hello, sizeof hello);
        }
        fcntl(fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        if (i % 20 == 19) usleep(20000);
    }
    int64_t start = now_us(), begin = start + settle * 1e6, end = begin + seconds * 1e6;
    int64_t bytes = 0;
    int alive = count, measuring = 0;
    while (now_us() < end) {
        struct epoll_event events[512];
        int ready = epoll_wait(poll, events, 512, 50);
        if (!measuring && now_us() >= begin) { measuring = 1; puts("begin"); fflush(stdout); }
        for (int e = 0; e < ready; e++) {
            struct player *player = &players[events[e].data.u32];
            int watched = player - players < WATCHED && !is_slow;
            size_t room = is_slow && player->step == 3 ? 2048 : sizeof buffer;
            ssize_t got = recv(player->fd, buffer, room, watched || player->step < 3 ? 0 : MSG_TRUNC);
            if (got < 0 && errno == EAGAIN) continue;
            if (got <= 0) {
                epoll_ctl(poll, EPOLL_CTL_DEL, player->fd, NULL);
                close(player->fd);
                alive--;
                continue;
            }
            player->got += got;
            if (player->step < 3) { go_on(player); continue; }
            if (measuring) bytes += got;
            if (watched) look(player, buffer, got, measuring);
        }
        if (is_slow) usleep(40000);
    }
    qsort(delays, delay_count, sizeof *delays, order);
    qsort(firsts, first_count, sizeof *firsts, order);
    printf("%lld %d %lld %lld %lld\n", (long long)bytes, alive,
           (long long)(delay_count ? delays[delay_count / 2] : -1),
           (long long)(delay_count ? delays[(int)(delay_count * 0.99)] : -1),
           (long long)(first_count ? firsts[first_count / 2] : -1));
    return 0;
}
