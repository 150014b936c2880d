/* The players of bench/rtmp.py: connect, ask, read and throw away.
 *
 *     rtmp_load MODE PORT PATH PLAYERS SLOW SLOW_BYTES_PER_S JOINS_PER_S SETTLE SECONDS
 *
 * MODE: rtmp | http. PLAYERS read what comes; SLOW more read no faster than SLOW_BYTES_PER_S and
 * are spread among them. All join one after the other, JOINS_PER_S of them a second. SETTLE seconds
 * after the last has joined it prints "begin", SECONDS later one line of JSON, and it stays
 * connected until its standard input ends.
 *
 * Every picture holds "PORTHOLE-BENCH-T" and 8 bytes of CLOCK_MONOTONIC in microseconds. Players
 * look for it until they have found one: that is their first picture. WATCHED of them, spread over
 * the order of joining, go on looking: how old the stamp was is the delay, and how long none came
 * the gap. Alive is who is connected and, if not slow, has seen a picture. */
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

#define MAX_PLAYERS 8192
#define WATCHED 20
#define SLOW_TURN_US 20000
#define CONNECTING -1
#define PLAYING 3 /* steps between: how far RTMP's conversation is */
#define MAX_DELAYS (1 << 20)
#define HANDSHAKE 1536
#define MARK "PORTHOLE-BENCH-T"

struct player {
    int fd, step, is_slow, is_watched;
    size_t got;
    int64_t asked_us, first_us, newest_us, taken_bytes;
    char tail[32];
    int tail_bytes;
};

static struct player players[MAX_PLAYERS];
static int64_t delays[MAX_DELAYS], firsts[MAX_PLAYERS];
static int delay_count, first_count, poll_fd, is_http, measuring;
static int64_t longest_gap_us, bytes, slow_bytes;
static const char *path;
static char buffer[1 << 20];

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

static void gap(struct player *player, int64_t now) {
    int64_t since = now - player->newest_us;
    if (measuring && player->newest_us && since > longest_gap_us) longest_gap_us = since;
}

static void look(struct player *player, const char *data, size_t size) {
    static char joined[(1 << 20) + 64];
    memcpy(joined, player->tail, player->tail_bytes);
    memcpy(joined + player->tail_bytes, data, size);
    size_t all = player->tail_bytes + size, from = 0;
    char *found;
    while ((found = memmem(joined + from, all - from, MARK, 16)) && found + 24 <= joined + all) {
        int64_t stamp = 0, now = now_us();
        for (int i = 0; i < 8; i++) stamp = stamp << 8 | (uint8_t)found[16 + i];
        if (!player->first_us) firsts[first_count++] = now - player->asked_us;
        else gap(player, now);
        if (!player->first_us) player->first_us = now;
        player->newest_us = now;
        if (measuring && player->is_watched && delay_count < MAX_DELAYS)
            delays[delay_count++] = now - stamp;
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

static long long at(const int64_t *sorted, int count, double share) {
    return count ? sorted[(int)(share * count)] : -1;
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
        player->step = PLAYING;
    }
}

static void listen_to(struct player *player, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = player};
    epoll_ctl(poll_fd, operation, player->fd, &event);
}

static void join(struct player *player, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, small = 8192, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (player->is_slow) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS) { perror("connect"); exit(1); }
    player->fd = fd;
    player->step = CONNECTING;
    listen_to(player, EPOLL_CTL_ADD, EPOLLOUT);
}

static void greet(struct player *player) {
    int paced = is_http && player->is_slow;
    listen_to(player, paced ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, EPOLLIN);
    if (is_http) {
        player->asked_us = now_us();
        int size = snprintf(buffer, 512, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
        put(player->fd, buffer, size);
        player->step = PLAYING;
    } else {
        char hello[1 + HANDSHAKE] = {3};
        put(player->fd, hello, sizeof hello);
        player->step = 0;
    }
}

static void leave(struct player *player) {
    if (player->fd >= 0) close(player->fd);
    player->fd = -1;
}

static void take(struct player *player, size_t room) {
    int looks = player->is_watched || (!player->first_us && !player->is_slow);
    int keeps = looks || player->step < PLAYING;
    if (player->step == CONNECTING) { greet(player); return; }
    ssize_t got = recv(player->fd, buffer, room, keeps ? 0 : MSG_TRUNC);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { leave(player); return; }
    player->got += got;
    if (player->step < PLAYING) {
        go_on(player);
        if (player->step == PLAYING && player->is_slow) listen_to(player, EPOLL_CTL_DEL, 0);
        return;
    }
    player->taken_bytes += got;
    if (measuring) *(player->is_slow ? &slow_bytes : &bytes) += got;
    if (looks) look(player, buffer, got);
}

/* Who reads slowly takes what its rate has allowed since it asked, and no more. */
static void take_slowly(struct player *player, double bytes_per_s, int64_t now) {
    if (player->fd < 0 || player->step < PLAYING) return;
    int64_t allowed = bytes_per_s * (now - player->asked_us) / 1e6 - player->taken_bytes;
    int64_t room = sizeof buffer;
    if (allowed > 0) take(player, allowed < room ? allowed : room);
}

/* Whether the one at `index` is among `of` that are spread evenly over `all`. */
static int is_turn(int index, int of, int all) {
    return (int64_t)(index + 1) * of / all != (int64_t)index * of / all;
}

static void choose(int count, int slow) {
    int fast = 0;
    for (int i = 0; i < count + slow; i++) {
        players[i].fd = -1;
        players[i].is_slow = is_turn(i, slow, count + slow);
        if (!players[i].is_slow)
            players[i].is_watched = is_turn(fast++, count < WATCHED ? count : WATCHED, count);
    }
}

static void report(int all) {
    int alive = 0, slow_alive = 0;
    for (int i = 0; i < all; i++) {
        if (players[i].is_watched) gap(&players[i], now_us());
        if (players[i].fd < 0) continue;
        if (players[i].is_slow) slow_alive++;
        else if (players[i].first_us) alive++;
    }
    qsort(delays, delay_count, sizeof *delays, order);
    qsort(firsts, first_count, sizeof *firsts, order);
    printf("{\"bytes\": %lld, \"alive\": %d, \"slow_bytes\": %lld, \"slow_alive\": %d,"
           " \"delay_us\": %lld, \"delay_p99_us\": %lld, \"first_us\": %lld,"
           " \"first_p99_us\": %lld, \"gap_us\": %lld}\n",
           (long long)bytes, alive, (long long)slow_bytes, slow_alive,
           at(delays, delay_count, 0.5), at(delays, delay_count, 0.99),
           at(firsts, first_count, 0.5), at(firsts, first_count, 0.99), (long long)longest_gap_us);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 10) return 2;
    is_http = !strcmp(argv[1], "http");
    path = argv[3];
    int port = atoi(argv[2]), count = atoi(argv[4]), slow = atoi(argv[5]), all = count + slow;
    double slow_rate = atof(argv[6]), joins_per_s = atof(argv[7]);
    if (all > MAX_PLAYERS) return 2;
    choose(count, slow);
    poll_fd = epoll_create1(0);
    int64_t start = now_us(), begin = INT64_MAX, end = INT64_MAX, turn = start, now;
    int joined = 0;
    while ((now = now_us()) < end) {
        for (; joined < all && now >= start + joined * 1e6 / joins_per_s; joined++)
            join(&players[joined], port);
        if (joined == all && begin == INT64_MAX) begin = now + atof(argv[8]) * 1e6;
        if (slow && now >= turn) {
            for (int i = 0; i < joined; i++)
                if (players[i].is_slow) take_slowly(&players[i], slow_rate, now);
            turn = now + SLOW_TURN_US;
        }
        if (!measuring && now >= begin) {
            measuring = 1;
            end = now + atof(argv[9]) * 1e6;
            puts("begin");
            fflush(stdout);
        }
        struct epoll_event events[512];
        int ready = epoll_wait(poll_fd, events, 512, joined < all || slow ? 1 : 20);
        for (int e = 0; e < ready; e++) take(events[e].data.ptr, sizeof buffer);
    }
    report(all);
    while (getchar() != EOF) {}
    return 0;
}
