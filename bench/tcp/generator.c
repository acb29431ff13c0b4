/*
 * generator: HTTP clients for the bench tcp. Each of --connections asks for --path, one request at
 * a time, and checks every response: status 200, the length --bytes, and every byte of the body
 * (byte i is 'a' + i % 23). With --fresh 1 each request has a connection of its own, which the
 * server closes.
 *
 * Closed loop (--rate 0): the next request goes out when the last response is complete. Open loop:
 * request k of all is due at k / rate, on connection k modulo their number; when that one is still
 * busy it goes out late, but its latency counts from when it was due, so that a director that makes
 * clients wait cannot hide it (no coordinated omission). The loop sleeps until the next one is due,
 * to the nanosecond as far as the kernel can, and takes no CPU from the server beside it.
 *
 * Output, a line each: "begin" after --lead seconds of traffic, "end" --seconds later (what happens
 * on the two lines' instants is the caller's), then, once all that was due is answered, JSON:
 * responses and bytes that came between the two, seconds between them, faults by kind, and the
 * latencies of what came (closed loop) or was due (open loop) between them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../support/generator.h"
#include "histogram.h"

enum {
  PERIOD = 23,
  BUFFER_BYTES = 256 << 10,
  HEAD_MOST = 2048,
  REQUEST_MOST = 512,
  CONNECTIONS_MAX = 10000,
  EVENTS = 256,
  SECONDS_MAX = 600,
};

static const uint64_t SECOND = 1000000000;
/* So long after the end an answer may come that was due before it. */
static const uint64_t DRAIN_NS = 10 * 1000000000ULL;
/* Closed connections are given so long between looks at the clock. */
static const uint64_t IDLE_NS = 100 * 1000000ULL;

struct parameters {
  struct sockaddr_in server;
  const char *path;
  uint32_t connections;
  uint64_t bytes;
  int isFresh;
  double lead, seconds, rate; /* rate: requests per second of all connections, 0 = closed loop */
};

enum state { IDLE, CONNECTING, HEAD, BODY, GONE };

struct connection {
  int fd;
  enum state state;
  uint64_t number;    /* requests begun */
  uint64_t since;     /* when the current one was due, or begun */
  uint64_t bodyBytes; /* of the current response, so far */
  uint32_t headBytes;
  char head[HEAD_MOST + 1];
};

enum fault { REFUSED, RESET, CLOSED_EARLY, WRONG, UNANSWERED, FAULTS };
static const char *const FAULT_NAMES[FAULTS] = {"refused", "reset", "closedEarly", "wrong",
                                               "unanswered"};

struct run {
  struct parameters given;
  struct connection *connections;
  int epoll;
  char request[REQUEST_MOST];
  uint32_t requestBytes, alive;
  uint64_t turn;              /* open loop: the request that is due next */
  uint64_t start, begin, end; /* of traffic, of what counts */
  uint64_t responses, bytes, faults[FAULTS];
  struct histogram latencies;
  char pattern[BUFFER_BYTES + PERIOD], buffer[BUFFER_BYTES];
};

static int isOpenLoop(const struct run *run) { return run->given.rate > 0; }

/* When a request is due in the open loop; they are numbered over all connections. */
static uint64_t dueAt(const struct run *run, uint64_t number) {
  return run->start + (uint64_t)((double)number / run->given.rate * 1e9);
}

static void drop(struct connection *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
}

/* A connection with a fault is not opened again: the run has failed, and says by what. */
static void fault(struct run *run, struct connection *c, enum fault kind) {
  run->faults[kind]++;
  drop(c);
  c->state = GONE;
  run->alive--;
}

static void faultFromErrno(struct run *run, struct connection *c) {
  if (errno != ECONNREFUSED && errno != ECONNRESET && errno != EPIPE) fail("socket");
  fault(run, c, errno == ECONNREFUSED ? REFUSED : RESET);
}

static void watch(struct run *run, struct connection *c, int operation, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(run->epoll, operation, c->fd, &event)) fail("epoll_ctl");
}

static void sendRequest(struct run *run, struct connection *c) {
  c->state = HEAD;
  c->headBytes = 0;
  c->bodyBytes = 0;
  ssize_t sent = send(c->fd, run->request, run->requestBytes, MSG_NOSIGNAL);
  if (sent < 0) faultFromErrno(run, c);
  else if (sent != run->requestBytes) fail("a request did not fit into an empty socket");
}

static void openConnection(struct run *run, struct connection *c) {
  int one = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) fail("socket");
  if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)) fail("TCP_NODELAY");
  c->state = CONNECTING;
  const struct sockaddr *server = (const struct sockaddr *)&run->given.server;
  if (connect(c->fd, server, sizeof run->given.server) && errno != EINPROGRESS) {
    faultFromErrno(run, c);
    return;
  }
  watch(run, c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void onConnected(struct run *run, struct connection *c) {
  int error = 0;
  socklen_t bytes = sizeof error;
  if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &bytes)) fail("SO_ERROR");
  if (error == 0) {
    watch(run, c, EPOLL_CTL_MOD, EPOLLIN);
    sendRequest(run, c);
    return;
  }
  errno = error;
  faultFromErrno(run, c);
}

/* Begins the connection's next request. */
static void begin(struct run *run, struct connection *c, uint64_t since) {
  c->since = since;
  c->number++;
  if (c->fd >= 0) sendRequest(run, c);
  else openConnection(run, c);
}

/* Begins what may begin now. */
static void goOn(struct run *run, struct connection *c, uint64_t time) {
  if (c->state != IDLE) return;
  if (!isOpenLoop(run)) {
    if (time < run->end) begin(run, c, time);
    return;
  }
  uint64_t index = (uint64_t)(c - run->connections);
  uint64_t due = dueAt(run, c->number * run->given.connections + index);
  if (due <= time && due < run->end) begin(run, c, due);
}

static void onResponse(struct run *run, struct connection *c) {
  uint64_t time = nowNs(), counted = isOpenLoop(run) ? c->since : time;
  if (time >= run->begin && time < run->end) run->responses++;
  if (counted >= run->begin && counted < run->end) {
    histogramAdd(&run->latencies, time - c->since);
  }
  if (run->given.isFresh) drop(c);
  c->state = IDLE;
  goOn(run, c, time);
}

/* The head is complete: is it what was asked for? */
static int isRight(const struct run *run, const char *head) {
  if (strncmp(head, "HTTP/1.1 200 ", 13) != 0) return 0;
  const char *length = strcasestr(head, "\r\nContent-Length:");
  return length != NULL && strtoull(length + 17, NULL, 10) == run->given.bytes;
}

/* False when it is more, or other, than what must come. */
static int takeBody(struct run *run, struct connection *c, const char *data, size_t bytes) {
  if (bytes > run->given.bytes - c->bodyBytes) return 0;
  if (memcmp(data, run->pattern + c->bodyBytes % PERIOD, bytes) != 0) return 0;
  c->bodyBytes += bytes;
  return 1;
}

/* Copies what belongs to the head. Returns where the body begins, or NULL: not yet, or a fault. */
static const char *takeHead(struct run *run, struct connection *c, size_t bytes) {
  size_t room = HEAD_MOST - c->headBytes, before = c->headBytes;
  size_t taken = bytes < room ? bytes : room;
  memcpy(c->head + before, run->buffer, taken);
  c->headBytes += (uint32_t)taken;
  c->head[c->headBytes] = 0;
  const char *end = strstr(c->head, "\r\n\r\n");
  if (end == NULL && c->headBytes < HEAD_MOST) return NULL;
  if (end == NULL || !isRight(run, c->head)) {
    fault(run, c, WRONG);
    return NULL;
  }
  c->state = BODY;
  return run->buffer + (end + 4 - c->head - (ptrdiff_t)before);
}

static void onData(struct run *run, struct connection *c) {
  ssize_t count = recv(c->fd, run->buffer, BUFFER_BYTES, 0);
  if (count < 0) {
    if (errno != EAGAIN) faultFromErrno(run, c);
    return;
  }
  int isOver = c->state == BODY && c->bodyBytes == run->given.bytes;
  if (count == 0) {
    if (run->given.isFresh && isOver) onResponse(run, c);
    else fault(run, c, CLOSED_EARLY);
    return;
  }
  const char *data = run->buffer;
  if (c->state == HEAD) data = takeHead(run, c, (size_t)count);
  if (data == NULL) return;
  size_t bytes = (size_t)(run->buffer + count - data);
  if (c->state != BODY || isOver || !takeBody(run, c, data, bytes)) {
    fault(run, c, WRONG);
    return;
  }
  uint64_t time = nowNs();
  if (time >= run->begin && time < run->end) run->bytes += bytes;
  if (!run->given.isFresh && c->bodyBytes == run->given.bytes) onResponse(run, c);
}

/*
 * Begins what is due, turn by turn; a connection that is still busy begins when it is done. Returns
 * when the next turn is due.
 */
static uint64_t beginDue(struct run *run, uint64_t time) {
  for (;; run->turn++) {
    struct connection *c = &run->connections[run->turn % run->given.connections];
    uint64_t due = dueAt(run, run->turn);
    if (due > time) return due;
    goOn(run, c, time);
  }
}

static void wait(struct run *run, uint64_t until, uint64_t time) {
  struct epoll_event events[EVENTS];
  uint64_t left = until > time ? until - time : 0;
  struct timespec timeout = {(time_t)(left / SECOND), (long)(left % SECOND)};
  int count = epoll_pwait2(run->epoll, events, EVENTS, &timeout, NULL);
  if (count < 0 && errno != EINTR) fail("epoll_pwait2");
  for (int at = 0; at < count; at++) {
    struct connection *c = events[at].data.ptr;
    if (c->state == CONNECTING) onConnected(run, c);
    else if (c->state == IDLE) fault(run, c, CLOSED_EARLY); /* the server has nothing to say */
    else if (c->state != GONE) onData(run, c);
  }
}

static uint32_t countBusy(const struct run *run) {
  uint32_t busy = 0;
  for (uint32_t at = 0; at < run->given.connections; at++) {
    enum state state = run->connections[at].state;
    if (state != IDLE && state != GONE) busy++;
  }
  return busy;
}

/* Tells of the two instants between which everything counts, once each. */
static void tell(const struct run *run, uint64_t time, int *told) {
  if (*told == 0 && time >= run->begin) *told += puts("begin") >= 0;
  if (*told == 1 && time >= run->end) *told += puts("end") >= 0;
}

static void generate(struct run *run) {
  int told = 0;
  run->start = nowNs();
  run->begin = run->start + (uint64_t)(run->given.lead * 1e9);
  run->end = run->begin + (uint64_t)(run->given.seconds * 1e9);
  if (!isOpenLoop(run)) {
    for (uint32_t at = 0; at < run->given.connections; at++) {
      goOn(run, &run->connections[at], run->start);
    }
  }
  while (run->alive > 0) {
    uint64_t time = nowNs(), until = time + IDLE_NS;
    tell(run, time, &told);
    if (isOpenLoop(run)) {
      uint64_t due = beginDue(run, time);
      if (due < until && due < run->end) until = due;
    }
    if (time >= run->end && (countBusy(run) == 0 || time >= run->end + DRAIN_NS)) break;
    uint64_t boundary = told == 0 ? run->begin : run->end;
    if (boundary > time && boundary < until) until = boundary;
    wait(run, until, time);
  }
  tell(run, run->end, &told);
  run->faults[UNANSWERED] = countBusy(run);
}

static void print(const struct run *run) {
  printf("{\"responses\":%llu,\"bytes\":%llu,\"seconds\":%.9f,\"faults\":{",
         (unsigned long long)run->responses, (unsigned long long)run->bytes, run->given.seconds);
  for (int kind = 0; kind < FAULTS; kind++) {
    printf("%s\"%s\":%llu", kind ? "," : "", FAULT_NAMES[kind],
           (unsigned long long)run->faults[kind]);
  }
  printf("},\"max\":%llu,\"latencies\":", (unsigned long long)run->latencies.max);
  histogramPrint(&run->latencies);
  printf("}\n");
}

static struct parameters parse(int argc, char **argv) {
  static const struct option options[] = {
      {"address", 1, 0, 'a'}, {"port", 1, 0, 'p'},        {"path", 1, 0, 'u'},
      {"bytes", 1, 0, 'b'},   {"connections", 1, 0, 'c'}, {"fresh", 1, 0, 'f'},
      {"rate", 1, 0, 'r'},    {"lead", 1, 0, 'l'},        {"seconds", 1, 0, 't'},
      {0}};
  struct parameters p = {.server = {.sin_family = AF_INET}, .path = "/"};
  p.connections = 1;
  for (int index, letter; (letter = getopt_long(argc, argv, "", options, &index)) != -1;) {
    if (letter == '?') exit(2);
    const char *name = options[index].name;
    if (letter == 'a' && inet_pton(AF_INET, optarg, &p.server.sin_addr) != 1)
      refuse(name, optarg, "an IPv4 address");
    if (letter == 'p') p.server.sin_port = htons((uint16_t)parseNumber(name, optarg, 1, 65535));
    if (letter == 'u') p.path = optarg;
    if (letter == 'b') p.bytes = (uint64_t)parseNumber(name, optarg, 1, 1e12);
    if (letter == 'c') p.connections = (uint32_t)parseNumber(name, optarg, 1, CONNECTIONS_MAX);
    if (letter == 'f') p.isFresh = parseNumber(name, optarg, 0, 1) > 0;
    if (letter == 'r') p.rate = parseNumber(name, optarg, 0, 1e7);
    if (letter == 'l') p.lead = parseNumber(name, optarg, 0, SECONDS_MAX);
    if (letter == 't') p.seconds = parseNumber(name, optarg, 0.001, SECONDS_MAX);
  }
  if (p.server.sin_port == 0) refuse("port", "", "left out: it is needed");
  if (p.bytes == 0) refuse("bytes", "", "left out: it is needed");
  return p;
}

static struct run *prepare(const struct parameters *given) {
  struct run *run = calloc(1, sizeof *run);
  if (!run) fail("memory");
  run->given = *given;
  run->alive = given->connections;
  run->connections = calloc(given->connections, sizeof *run->connections);
  if (!run->connections) fail("memory for the connections");
  for (uint32_t at = 0; at < given->connections; at++) run->connections[at].fd = -1;
  for (size_t at = 0; at < sizeof run->pattern; at++) run->pattern[at] = (char)('a' + at % PERIOD);
  int bytes = snprintf(run->request, REQUEST_MOST, "GET %s HTTP/1.1\r\nHost: xvs\r\n%s\r\n",
                       given->path, given->isFresh ? "Connection: close\r\n" : "");
  if (bytes >= REQUEST_MOST) refuse("path", given->path, "short enough");
  run->requestBytes = (uint32_t)bytes;
  run->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (run->epoll < 0) fail("epoll_create1");
  return run;
}

int main(int argc, char **argv) {
  struct parameters given = parse(argc, argv);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_TIMERSLACK, 1UL); /* nanoseconds that a sleep may take longer */
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct run *run = prepare(&given);
  generate(run);
  print(run);
  return 0;
}
