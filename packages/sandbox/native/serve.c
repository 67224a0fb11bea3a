/*
 * csc-launcher serve: the process that starts programs for one executor. docs/launcher.md has its protocol.
 *
 * A program's process is there before it is asked for: a few children wait, each at a socket of its own, in the state
 * of a fresh login. One that is sent a job takes the executor's descriptors that the job names, joins the job's
 * cgroups, gives up root and becomes the program. With cgroups of version 2, where joining takes many milliseconds and
 * being made inside does not, the child is made in the group instead (clone3(2), CLONE_INTO_CGROUP).
 *
 * Nothing outlives anything: children are killed when this process ends (PR_SET_PDEATHSIG), and this one kills its
 * children and ends when the executor does, of which both the socket's end and a signal tell. What loses its parent
 * below it (a sandbox whose bwrap was killed) becomes its child, and is killed.
 */
#define _GNU_SOURCE
#include "launcher.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

enum {
  VERSION = 1,
  CONTROL = 3,
  AHEAD = 4,
  MOST_CHILDREN = 512,
  MOST_PIPES = 64,
  PIPE_BYTES = 256 * 1024,
  /* How long the end waits for killed children, in tenths of a second. */
  PATIENCE = 50,
};

/* What the executor is told. READY: `a` is the version, `b` whether it can make network namespaces. TAKEN: process `a` has what it needs, and is about to become the program.
   ENDED: with exit code `a`, or -1 and by signal `b`; `c` is why it never was that program, or 0. REFUSED: nothing was
   begun, for `c`. PIPE: one end of one is `a`, or there is no more of them for -1. */
enum { READY = 1, TAKEN = 2, ENDED = 3, REFUSED = 4, PIPE = 5 };
struct event {
  uint32_t kind, id;
  int32_t a, b, c;
};

enum state { FREE, WAITING, STARTING, RUNNING, ORPHAN };
static struct child {
  enum state state;
  uint32_t id;
  pid_t pid;
  int pidfd;
  /* Ends when the child is the program; -1 from then on. */
  int link;
  int error;
} children[MOST_CHILDREN];

static struct parents parents = {.executor_fd = -1};
static volatile sig_atomic_t told_to_end;
static int can_make_net;

/* Both ends of each, until they are dropped. */
static int pipe_ends[2 * MOST_PIPES];
static int pipe_end_count;

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void drop_pipes(void) {
  while (pipe_end_count > 0) close(pipe_ends[--pipe_end_count]);
}

/* Of what the launcher has open, a child keeps its own link and the executor's pidfd. */
static noreturn void become_child(int link, const struct request *given) {
  close(CONTROL);
  /* An end that stayed open here would keep a reader from its end of file. */
  drop_pipes();
  for (int at = 0; at < MOST_CHILDREN; at++) {
    if (children[at].state == FREE) continue;
    close_fd(&children[at].pidfd);
    close_fd(&children[at].link);
  }
  be_child(&parents, link, given, can_make_net);
}

static void tell(uint32_t kind, uint32_t id, int a, int b, int c) {
  struct event event = {kind, id, a, b, c};
  /* Of a fixed size well below what a socket holds; an executor that does not read holds up nobody but itself. */
  send(CONTROL, &event, sizeof event, MSG_NOSIGNAL);
}

static struct child *find_free(void) {
  for (int at = 0; at < MOST_CHILDREN; at++)
    if (children[at].state == FREE) return &children[at];
  errno = EAGAIN;
  return NULL;
}

/* The beginning of struct clone_args of linux/sched.h, which does not go together with sched.h. */
struct clone_arguments {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
enum { INTO_CGROUP_BIT = 33 };

static pid_t fork_into(int group) {
  if (group < 0) return fork();
  struct clone_arguments arguments = {
      .flags = 1ULL << INTO_CGROUP_BIT, .exit_signal = SIGCHLD, .cgroup = (uint64_t)group};
  return (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
}

/* Makes one that waits, or with `given` one that begins at once. NULL and errno where none can be had. */
static struct child *make_child(int group, const struct request *given) {
  struct child *child = find_free();
  int link[2];
  if (child == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) != 0) return NULL;
  pid_t pid = fork_into(group);
  if (pid == 0) {
    close(link[0]);
    become_child(link[1], given);
  }
  int error = errno;
  close(link[1]);
  int pidfd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
  if (pidfd < 0) {
    if (pid > 0) error = errno, kill(pid, SIGKILL), waitpid(pid, NULL, 0);
    close(link[0]);
    errno = error;
    return NULL;
  }
  *child = (struct child){.state = WAITING, .pid = pid, .pidfd = pidfd, .link = link[0]};
  return child;
}

static struct child *hand_to_waiting(const struct request *request) {
  for (int at = 0; at < MOST_CHILDREN; at++) {
    struct child *child = &children[at];
    if (child->state != WAITING) continue;
    if (send(child->link, request, sizeof *request, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof *request) return child;
    /* Somebody has killed it: its pidfd will say so. */
    child->state = ORPHAN;
  }
  return NULL;
}

static struct child *begin_in(int number, const struct request *request) {
  int group = take(&parents, number);
  if (group < 0) return NULL;
  struct child *child = make_child(group, request);
  int error = errno;
  close(group);
  errno = error;
  return child;
}

/* Whether fewer children wait than should, and whether none did when it was asked for one. */
static int is_short, was_empty;

static void begin(const struct request *request) {
  struct child *child = request->group >= 0 ? begin_in(request->group, request) : hand_to_waiting(request);
  if (child == NULL && request->group < 0) {
    was_empty = 1;
    child = make_child(-1, request);
  }
  is_short = 1;
  if (child == NULL) {
    tell(REFUSED, request->id, 0, 0, errno);
    return;
  }
  child->state = STARTING;
  child->id = request->id;
}

/* How many children wait; fewer for an executor that ends after one run. */
static int ahead = AHEAD;

static void fork_ahead(void) {
  int waiting = 0, used = 0;
  for (int at = 0; at < MOST_CHILDREN; at++) {
    waiting += children[at].state == WAITING;
    used += children[at].state != FREE;
  }
  while (waiting < ahead && used++ < MOST_CHILDREN / 2 && make_child(-1, NULL) != NULL) waiting++;
  is_short = was_empty = 0;
}

/* A fork takes the time, and locks of the kernel, that a child needs which is on its way to its program: so it is done once
   there is no such one, or where it is late as it is. */
static void make_up(void) {
  if (!is_short) return;
  int on_its_way = 0;
  for (int at = 0; at < MOST_CHILDREN; at++) {
    enum state state = children[at].state;
    on_its_way |= (state == STARTING || state == RUNNING) && children[at].link >= 0;
  }
  if (was_empty || !on_its_way) fork_ahead();
}

static void send_kill(const struct child *child) { syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0); }

static void kill_id(uint32_t id) {
  for (int at = 0; at < MOST_CHILDREN; at++)
    if ((children[at].state == STARTING || children[at].state == RUNNING) && children[at].id == id)
      send_kill(&children[at]);
}

int make_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) return -1;
  if (geteuid() == 0) fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES);
  return 0;
}

static void make_pipes(uint32_t id, int count) {
  drop_pipes();
  for (; count > 0 && pipe_end_count < 2 * MOST_PIPES; count--) {
    if (make_pipe(pipe_ends + pipe_end_count) != 0) break;
    tell(PIPE, id, pipe_ends[pipe_end_count], 0, 0);
    pipe_end_count += 2;
  }
  tell(PIPE, id, -1, 0, 0);
}

/* False where the executor has said, or sent, its last. */
static int serve_requests(void) {
  static struct request request;
  static size_t filled;
  ssize_t got = recv(CONTROL, (char *)&request + filled, sizeof request - filled, MSG_DONTWAIT);
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  if (got == 0) return 0;
  filled += (size_t)got;
  if (filled < sizeof request) return 1;
  filled = 0;
  if (request.kind == RUN) begin(&request);
  else if (request.kind == KILL) kill_id(request.id);
  else if (request.kind == PIPES) make_pipes(request.id, request.job);
  else if (request.kind == DROP) drop_pipes();
  else return 0;
  return 1;
}

static void hear(struct child *child) {
  struct word word;
  while (child->link >= 0) {
    ssize_t got = recv(child->link, &word, sizeof word, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got != sizeof word) {
      close_fd(&child->link);
    } else if (word.error != 0) {
      child->error = word.error;
    } else if (child->state == STARTING) {
      child->state = RUNNING;
      tell(TAKEN, child->id, child->pid, 0, 0);
    }
  }
}

/* Kills and adopts what has become this process's child by losing its parent. */
static void adopt_orphans(void) {
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", parents.launcher);
  int list = open(path, O_RDONLY | O_CLOEXEC);
  if (list < 0) return;
  ssize_t length = read(list, text, sizeof text - 1);
  close(list);
  text[length > 0 ? length : 0] = '\0';
  for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
    pid_t pid = atoi(word);
    int known = 0;
    for (int at = 0; at < MOST_CHILDREN; at++) known |= children[at].state != FREE && children[at].pid == pid;
    if (known) continue;
    struct child *child = find_free();
    int pidfd = child == NULL ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) continue;
    *child = (struct child){.state = ORPHAN, .pid = pid, .pidfd = pidfd, .link = -1};
    send_kill(child);
  }
}

static void reap(struct child *child) {
  siginfo_t info = {0};
  if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) != 0 && errno == EINTR) return;
  if (info.si_pid == 0 && errno != ECHILD) return;
  if (child->state == STARTING || child->state == RUNNING) {
    hear(child);
    int exited = info.si_code == CLD_EXITED;
    tell(ENDED, child->id, exited ? info.si_status : -1, exited ? 0 : info.si_status, child->error);
  }
  int waited = child->state == WAITING;
  close_fd(&child->pidfd);
  close_fd(&child->link);
  child->state = FREE;
  if (!waited) adopt_orphans();
}

/* Waits for something to happen; true where the executor is there and may ask for more. */
static int wait_and_act(int timeout_ms) {
  struct pollfd polled[1 + 2 * MOST_CHILDREN];
  struct child *whose[1 + 2 * MOST_CHILDREN];
  nfds_t count = 1;
  polled[0] = (struct pollfd){.fd = timeout_ms < 0 ? CONTROL : -1, .events = POLLIN};
  for (int at = 0; at < MOST_CHILDREN; at++) {
    struct child *child = &children[at];
    if (child->state == FREE) continue;
    int fds[] = {child->pidfd, child->state == STARTING || child->state == RUNNING ? child->link : -1};
    for (int which = 0; which < 2; which++) {
      if (fds[which] < 0) continue;
      whose[count] = child;
      polled[count++] = (struct pollfd){.fd = fds[which], .events = POLLIN};
    }
  }
  struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
  sigset_t none;
  sigemptyset(&none);
  if (ppoll(polled, count, timeout_ms < 0 ? NULL : &timeout, &none) < 0) return errno == EINTR && !told_to_end;
  for (nfds_t at = 1; at < count; at++) {
    if (polled[at].revents == 0) continue;
    if (polled[at].fd == whose[at]->link) hear(whose[at]);
    else if (polled[at].fd == whose[at]->pidfd) reap(whose[at]);
  }
  return timeout_ms < 0 && !told_to_end && (polled[0].revents == 0 || serve_requests());
}

static int any_left(void) {
  for (int at = 0; at < MOST_CHILDREN; at++)
    if (children[at].state != FREE) return 1;
  return 0;
}

static noreturn void end(void) {
  for (int round = 0; round < PATIENCE; round++) {
    for (int at = 0; at < MOST_CHILDREN; at++)
      if (children[at].state != FREE) send_kill(&children[at]);
    adopt_orphans();
    if (!any_left()) break;
    wait_and_act(100);
  }
  _exit(0);
}

/* Sent by the kernel when the executor's thread has ended, and by whoever else may; only the former counts. */
static void on_terminate(int number) {
  (void)number;
  if (getppid() != parents.executor) told_to_end = 1;
}

static void follow_executor(const char *pid) {
  unsigned long executor;
  if (!parse_number(pid, 10, INT_MAX, &executor)) usage();
  parents.executor = (pid_t)executor;
  parents.launcher = getpid();
  struct sigaction action = {.sa_handler = on_terminate};
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  if (sigaction(SIGTERM, &action, NULL) != 0 || sigprocmask(SIG_BLOCK, &terminate, NULL) != 0) fail("signals");
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) fail("parent death signal");
  if (getppid() != parents.executor) _exit(0);
  parents.executor_fd = (int)syscall(SYS_pidfd_open, parents.executor, 0);
  if (parents.executor_fd < 0) fail("pidfd");
}

/* Whether the executor's descriptors can be had in either way. */
static void try_taking(void) {
  char path[64], target[PATH_MAX];
  int fd = (int)syscall(SYS_pidfd_getfd, parents.executor_fd, 0, 0);
  if (fd >= 0) {
    close(fd);
    return;
  }
  snprintf(path, sizeof path, "/proc/%d/fd/0", parents.executor);
  if (readlink(path, target, sizeof target) < 0) fail("the executor's descriptors");
}

/* Tried in a process of its own, as this one is to stay where it is. */
static int try_net(void) {
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) _exit(make_net() == 0 ? 0 : 1);
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0;
}

void serve(const char *pid, const char *most) {
  if (most != NULL) ahead = most[0] >= '1' && most[0] < '0' + AHEAD && most[1] == 0 ? most[0] - '0' : AHEAD;
  follow_executor(pid);
  /* What the executor was started with, and could not keep from its children. Its pidfd comes after. */
  int kept = fcntl(parents.executor_fd, F_DUPFD_CLOEXEC, 4);
  syscall(SYS_close_range, 4, kept - 1, 0);
  syscall(SYS_close_range, kept + 1, ~0U, 0);
  parents.executor_fd = kept;
  if (fcntl(CONTROL, F_SETFD, FD_CLOEXEC) != 0) fail("control");
  try_taking();
  can_make_net = try_net();
  fork_ahead();
  tell(READY, 0, VERSION, can_make_net, 0);
  while (wait_and_act(-1)) make_up();
  end();
}
