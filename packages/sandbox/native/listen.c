/*
 * csc-launcher listen PORT NAMESPACE: the socket that a job's way to its proxy begins at.
 *
 * Started in the network namespace of a sandbox, which must be NAMESPACE (as readlink(1) says it), it listens on 127.0.0.1
 * and hands the socket to its parent, a Node.js, over the channel that Node gives to children of its own
 * (NODE_CHANNEL_FD; lib/internal/child_process.js, "NODE_HANDLE"). It reads nothing.
 */
#define _GNU_SOURCE
#include "launcher.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How often the loopback device is waited for, which comes up a moment after its namespace, and for how long each time. */
enum { ATTEMPTS = 400, PAUSE_NS = 5000000, BACKLOG = 511 };

static void check_namespace(const char *expected) {
  char now[64];
  ssize_t length = readlink("/proc/self/ns/net", now, sizeof now - 1);
  if (length < 0) fail("network namespace");
  now[length] = '\0';
  errno = ESTALE;
  if (strcmp(now, expected) != 0) fail("it came into another network namespace");
}

static int listen_at(uint16_t port) {
  struct sockaddr_in place = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct timespec pause = {0, PAUSE_NS};
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0) fail("socket");
  for (int attempt = 0; bind(fd, (struct sockaddr *)&place, sizeof place) != 0; attempt++) {
    if (errno != EADDRNOTAVAIL || attempt == ATTEMPTS) fail("it cannot listen");
    nanosleep(&pause, NULL);
  }
  if (listen(fd, BACKLOG) != 0) fail("it cannot listen");
  return fd;
}

static void hand_over(int channel, int fd) {
  static char line[] = "{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":{\"listening\":true}}\n";
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof fd)];
  } control = {0};
  struct iovec text = {line, sizeof line - 1};
  struct msghdr message = {
      .msg_iov = &text, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  if (sendmsg(channel, &message, MSG_NOSIGNAL) != (ssize_t)text.iov_len) fail("channel");
}

int listen_and_hand_over(const char *port, const char *namespace) {
  const char *channel_text = getenv("NODE_CHANNEL_FD");
  unsigned long channel, number;
  if (channel_text == NULL || !parse_number(channel_text, 10, 65535, &channel)) usage();
  if (!parse_number(port, 10, 65535, &number)) usage();
  check_namespace(namespace);
  hand_over((int)channel, listen_at((uint16_t)number));
  return 0;
}
