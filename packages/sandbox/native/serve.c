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
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
  MOST_DESCRIPTORS = 1024,
  MOST_JOB_BYTES = 4 << 20,
  MOST_WORDS = 1 << 18,
  MOST_PIPES = 64,
  /* How long the end waits for killed children, in tenths of a second. */
  PATIENCE = 50,
};

/* What the executor says. RUN: start what its descriptor `job` describes, in the group that its descriptor `group` is,
   or -1. KILL: SIGKILL. PIPES: make `job` of them, to be opened below this process's /proc/PID/fd (Node has no pipe(2)).
   DROP: they were opened. */
enum { RUN = 1, KILL = 2, PIPES = 3, DROP = 4 };
struct request {
  uint32_t kind, id;
  int32_t job, group;
};

/* What it is told. READY: `a` is the version, `b` whether it can make network namespaces. TAKEN: process `a` has what it needs, and is about to become the program.
   ENDED: with exit code `a`, or -1 and by signal `b`; `c` is why it never was that program, or 0. REFUSED: nothing was
   begun, for `c`. PIPE: one end of one is `a`, or there is no more of them for -1. */
enum { READY = 1, TAKEN = 2, ENDED = 3, REFUSED = 4, PIPE = 5 };
struct event {
  uint32_t kind, id;
  int32_t a, b, c;
};

/* What a child says to this process before it is the program: an errno, or 0 for TAKEN. */
struct word {
  int32_t error;
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

static pid_t executor;
static int executor_fd = -1;
static pid_t self;
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

/* ---- a child, until it is the program ---- */

static int child_link = -1;

static void tell_parent(int error) {
  struct word word = {error};
  send(child_link, &word, sizeof word, MSG_NOSIGNAL);
}

/* The signal is for the end of the parent's thread, and does not come for one that has ended already. */
static void die_with_parent(void) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("parent death signal");
  if (getppid() != self) _exit(FAILED);
}

/* Where another process's descriptors may not be taken (ptrace(2): Yama, a container's filter), what they stand for is
   opened again in the same way, as anybody may who may look at it. */
static int reopen(int number) {
  char path[64], text[256];
  snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", executor, number);
  int info = open(path, O_RDONLY | O_CLOEXEC);
  if (info < 0) return -1;
  ssize_t length = read(info, text, sizeof text - 1);
  close(info);
  text[length > 0 ? length : 0] = '\0';
  char *flags = strstr(text, "flags:");
  if (flags == NULL) return -1;
  int same = O_ACCMODE | O_PATH | O_DIRECTORY | O_APPEND;
  snprintf(path, sizeof path, "/proc/%d/fd/%d", executor, number);
  return open(path, ((int)strtoul(flags + 6, NULL, 8) & same) | O_CLOEXEC | O_NOCTTY);
}

/* One of the executor's descriptors, or -1. */
static int take(int number) {
  int fd = (int)syscall(SYS_pidfd_getfd, executor_fd, number, 0);
  return fd >= 0 || (errno != EPERM && errno != ENOSYS) ? fd : reopen(number);
}

struct words {
  char **at;
  size_t count, next;
};

static char *next_word(struct words *words) {
  if (words->next >= words->count) usage();
  return words->at[words->next++];
}

/* A job's text: words that each end with a NUL. */
static struct words read_words(int job) {
  struct stat about;
  int fd = take(job);
  if (fd < 0 || fstat(fd, &about) != 0) fail("job");
  if (!S_ISREG(about.st_mode) || about.st_size <= 0 || about.st_size > MOST_JOB_BYTES) usage();
  size_t size = (size_t)about.st_size, count = 0;
  char *text = malloc(size);
  if (text == NULL) fail("memory");
  if (pread(fd, text, size, 0) != about.st_size) fail("job");
  close(fd);
  if (text[size - 1] != '\0') usage();
  for (size_t at = 0; at < size; at++) count += text[at] == '\0';
  if (count > MOST_WORDS) usage();
  char **words = calloc(count + 1, sizeof *words);
  if (words == NULL) fail("memory");
  for (size_t word = 0, at = 0; word < count; word++, at += strlen(text + at) + 1) words[word] = text + at;
  return (struct words){words, count, 0};
}

/* Where this process came from, once it has a network of its own, with nothing in it but a loopback device that is up. */
static int home_net = -1;

static int make_net(void) {
  struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0 || unshare(CLONE_NEWNET) != 0) {
    close_fd(&home);
    return -1;
  }
  home_net = home;
  int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int done = any < 0 ? -1 : ioctl(any, SIOCSIFFLAGS, &loopback);
  close_fd(&any);
  return done;
}

/* "own": a network that no other program has or had; "-": the launcher's. */
static void choose_net(const char *which) {
  if (strcmp(which, "own") == 0) {
    if (home_net < 0 && make_net() != 0) fail("network namespace");
  } else if (strcmp(which, "-") != 0) {
    usage();
  } else if (home_net >= 0 && setns(home_net, CLONE_NEWNET) != 0) {
    fail("network namespace");
  }
  close_fd(&home_net);
}

static int parse_descriptor(const char *text) { return (int)parse_number(text, 10, MOST_DESCRIPTORS * 64); }

/* "-", or numbers with commas, of cgroup files that are to be written "0" to: of version 1, where that is cheap. */
static void join_groups(char *list) {
  if (strcmp(list, "-") == 0) return;
  for (char *entry = strtok(list, ","); entry != NULL; entry = strtok(NULL, ",")) {
    int fd = take(parse_descriptor(entry));
    if (fd < 0 || write(fd, "0", 1) != 1) fail("cgroup");
    close(fd);
  }
}

/* Above all numbers that the program gets something at. */
static int lift(int fd, int base) {
  if (fd >= base) return fd;
  int lifted = fcntl(fd, F_DUPFD_CLOEXEC, base);
  if (lifted < 0) fail("descriptor");
  close(fd);
  return lifted;
}

/* "FROM>TO,…": the executor's numbers, and those that the program has them at. All that is not named is closed by exec. */
static void place_descriptors(char *list) {
  static int from[MOST_DESCRIPTORS], to[MOST_DESCRIPTORS];
  int count = 0, base = 3;
  for (char *entry = strtok(list, ","); entry != NULL; entry = strtok(NULL, ","), count++) {
    char *second = strchr(entry, '>');
    if (second == NULL || count == MOST_DESCRIPTORS) usage();
    *second++ = '\0';
    from[count] = parse_descriptor(entry);
    to[count] = parse_descriptor(second);
    if (to[count] >= base) base = to[count] + 1;
  }
  child_link = lift(child_link, base);
  executor_fd = lift(executor_fd, base);
  if (home_net >= 0) home_net = lift(home_net, base);
  for (int at = 0; at < count; at++) {
    int fd = take(from[at]);
    if (fd < 0) fail("descriptor");
    from[at] = lift(fd, base);
  }
  /* 0 and 1 are /dev/null here, and 2 is the executor's own. */
  for (int number = 0; number < 3; number++) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0 || dup2(fd, number) < 0) fail("/dev/null");
    if (fd > 2) close(fd);
  }
  for (int at = 0; at < count; at++)
    if (dup2(from[at], to[at]) < 0) fail("descriptor");
  for (int at = 0; at < count; at++) close(from[at]);
}

static noreturn void become_program(int job) {
  struct words words = read_words(job);
  place_descriptors(next_word(&words));
  join_groups(next_word(&words));
  choose_net(next_word(&words));
  tell_parent(0);
  char *uid = next_word(&words), *gid = next_word(&words);
  umask((mode_t)parse_number(next_word(&words), 8, 0777));
  set_limits(next_word(&words));
  become(uid, gid);
  /* Other ids have cleared it (prctl(2)). */
  die_with_parent();
  if (chdir("/") != 0) fail("/");
  size_t variables = parse_number(next_word(&words), 10, MOST_WORDS);
  if (variables >= words.count - words.next) usage();
  char **program = words.at + words.next + variables;
  char **environment = calloc(variables + 1, sizeof *environment);
  if (environment == NULL) fail("memory");
  memcpy(environment, words.at + words.next, variables * sizeof *environment);
  run_program(program, environment);
}

static noreturn void be_child(int link, const struct request *given) {
  struct request request;
  child_link = link;
  on_failure = tell_parent;
  die_with_parent();
  close(CONTROL);
  /* An end that stayed open here would keep a reader from its end of file. */
  drop_pipes();
  for (int at = 0; at < MOST_CHILDREN; at++) {
    if (children[at].state == FREE) continue;
    close_fd(&children[at].pidfd);
    close_fd(&children[at].link);
  }
  setsid();
  reset_state();
  if (given != NULL) become_program(given->job);
  /* Most jobs need one. One that could not be made leaves nothing that waits: another child is made for the job. */
  if (can_make_net && make_net() != 0) _exit(FAILED);
  if (recv(link, &request, sizeof request, 0) != sizeof request) _exit(0);
  become_program(request.job);
}

/* ---- this process ---- */

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
    be_child(link[1], given);
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
  int group = take(number);
  if (group < 0) return NULL;
  struct child *child = make_child(group, request);
  int error = errno;
  close(group);
  errno = error;
  return child;
}

static void begin(const struct request *request) {
  struct child *child = request->group >= 0 ? begin_in(request->group, request) : hand_to_waiting(request);
  if (child == NULL && request->group < 0) child = make_child(-1, request);
  if (child == NULL) {
    tell(REFUSED, request->id, 0, 0, errno);
    return;
  }
  child->state = STARTING;
  child->id = request->id;
}

static void fork_ahead(void) {
  int waiting = 0, used = 0;
  for (int at = 0; at < MOST_CHILDREN; at++) {
    waiting += children[at].state == WAITING;
    used += children[at].state != FREE;
  }
  while (waiting < AHEAD && used++ < MOST_CHILDREN / 2 && make_child(-1, NULL) != NULL) waiting++;
}

static void send_kill(const struct child *child) { syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0); }

static void kill_id(uint32_t id) {
  for (int at = 0; at < MOST_CHILDREN; at++)
    if ((children[at].state == STARTING || children[at].state == RUNNING) && children[at].id == id)
      send_kill(&children[at]);
}

static void make_pipes(uint32_t id, int count) {
  drop_pipes();
  for (; count > 0 && pipe_end_count < 2 * MOST_PIPES; count--) {
    if (pipe2(pipe_ends + pipe_end_count, O_CLOEXEC) != 0) break;
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
  if (request.kind == RUN) begin(&request), fork_ahead();
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
  snprintf(path, sizeof path, "/proc/self/task/%d/children", self);
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
  if (getppid() != executor) told_to_end = 1;
}

static void follow_executor(const char *pid) {
  executor = (pid_t)parse_number(pid, 10, INT_MAX);
  struct sigaction action = {.sa_handler = on_terminate};
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  if (sigaction(SIGTERM, &action, NULL) != 0 || sigprocmask(SIG_BLOCK, &terminate, NULL) != 0) fail("signals");
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) fail("parent death signal");
  if (getppid() != executor) _exit(0);
  executor_fd = (int)syscall(SYS_pidfd_open, executor, 0);
  if (executor_fd < 0) fail("pidfd");
}

/* Whether the executor's descriptors can be had in either way. */
static void try_taking(void) {
  char path[64], target[PATH_MAX];
  int fd = (int)syscall(SYS_pidfd_getfd, executor_fd, 0, 0);
  if (fd >= 0) {
    close(fd);
    return;
  }
  snprintf(path, sizeof path, "/proc/%d/fd/0", executor);
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

void serve(const char *pid) {
  self = getpid();
  follow_executor(pid);
  /* What the executor was started with, and could not keep from its children. executor_fd comes after. */
  int kept = fcntl(executor_fd, F_DUPFD_CLOEXEC, 4);
  syscall(SYS_close_range, 4, kept - 1, 0);
  syscall(SYS_close_range, kept + 1, ~0U, 0);
  executor_fd = kept;
  if (fcntl(CONTROL, F_SETFD, FD_CLOEXEC) != 0) fail("control");
  try_taking();
  can_make_net = try_net();
  fork_ahead();
  tell(READY, 0, VERSION, can_make_net, 0);
  while (wait_and_act(-1)) {
  }
  end();
}
