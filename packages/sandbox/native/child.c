/* A child of the launcher, until it is a job's program. */
#define _GNU_SOURCE
#include "launcher.h"
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int parent_link = -1;

static void tell_parent(int error) {
  struct word word = {error};
  send(parent_link, &word, sizeof word, MSG_NOSIGNAL);
}

/* The signal is for the end of the parent's thread, and does not come for one that has ended already. */
static void die_with_parent(const struct parents *parents) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("parent death signal");
  if (getppid() != parents->launcher) _exit(FAILED);
}

/* Where another process's descriptors may not be taken (ptrace(2): Yama, a container's filter), what they stand for is
   opened again in the same way, as anybody may who may look at it. */
static int reopen(pid_t executor, int number) {
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

int take(const struct parents *parents, int number) {
  int fd = (int)syscall(SYS_pidfd_getfd, parents->executor_fd, number, 0);
  return fd >= 0 || (errno != EPERM && errno != ENOSYS) ? fd : reopen(parents->executor, number);
}

static void read_job(const struct parents *parents, int number, struct job *job) {
  struct stat about;
  int fd = take(parents, number);
  if (fd < 0 || fstat(fd, &about) != 0) fail("job");
  if (!S_ISREG(about.st_mode) || about.st_size <= 0 || about.st_size > MOST_JOB_BYTES) usage();
  char *text = malloc((size_t)about.st_size);
  if (text == NULL) fail("memory");
  if (pread(fd, text, (size_t)about.st_size, 0) != about.st_size) fail("job");
  close(fd);
  if (!parse_job(text, (size_t)about.st_size, job)) usage();
}

/* Where this process came from, once it has a network of its own. */
static int home_net = -1;

int make_net(void) {
  struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0) return -1;
  if (unshare(CLONE_NEWNET) != 0) {
    close(home);
    return -1;
  }
  home_net = home;
  int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (any < 0) return -1;
  int done = ioctl(any, SIOCSIFFLAGS, &loopback);
  close(any);
  return done;
}

static void choose_net(int own) {
  if (own && home_net < 0 && make_net() != 0) fail("network namespace");
  if (!own && home_net >= 0 && setns(home_net, CLONE_NEWNET) != 0) fail("network namespace");
  if (home_net >= 0) close(home_net);
  home_net = -1;
}

static void join_groups(const struct parents *parents, const struct job *job) {
  for (size_t at = 0; at < job->group_count; at++) {
    int fd = take(parents, job->groups[at]);
    if (fd < 0 || write(fd, "0", 1) != 1) fail("cgroup");
    close(fd);
  }
}

/* Above all numbers that the program gets something at. */
static int lift(int fd, int base) {
  if (fd < 0 || fd >= base) return fd;
  int lifted = fcntl(fd, F_DUPFD_CLOEXEC, base);
  if (lifted < 0) fail("descriptor");
  close(fd);
  return lifted;
}

/* All that is not named is closed by exec. */
static void place_descriptors(struct parents *parents, const struct job *job) {
  static int taken[MOST_DESCRIPTORS];
  int base = 3;
  for (size_t at = 0; at < job->descriptor_count; at++)
    if (job->to[at] >= base) base = job->to[at] + 1;
  parent_link = lift(parent_link, base);
  parents->executor_fd = lift(parents->executor_fd, base);
  home_net = lift(home_net, base);
  for (size_t at = 0; at < job->descriptor_count; at++) {
    int fd = take(parents, job->from[at]);
    if (fd < 0) fail("descriptor");
    taken[at] = lift(fd, base);
  }
  /* 0 and 1 are /dev/null here, and 2 is the executor's own. */
  for (int number = 0; number < 3; number++) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0 || dup2(fd, number) < 0) fail("/dev/null");
    if (fd > 2) close(fd);
  }
  for (size_t at = 0; at < job->descriptor_count; at++)
    if (dup2(taken[at], job->to[at]) < 0) fail("descriptor");
  for (size_t at = 0; at < job->descriptor_count; at++) close(taken[at]);
}

static noreturn void become_program(struct parents parents, int number) {
  static struct job job;
  read_job(&parents, number, &job);
  place_descriptors(&parents, &job);
  join_groups(&parents, &job);
  choose_net(job.has_own_net);
  tell_parent(0);
  umask(job.umask);
  set_limits(&job.limits);
  become(&job.user);
  /* Other ids have cleared it (prctl(2)). */
  die_with_parent(&parents);
  if (chdir("/") != 0) fail("/");
  run_program(job.program, job.environment);
}

void be_child(const struct parents *parents, int link, const struct request *given, int with_net) {
  struct request request;
  parent_link = link;
  on_failure = tell_parent;
  die_with_parent(parents);
  setsid();
  reset_state();
  if (given != NULL) become_program(*parents, given->job);
  /* Most jobs need one. One that could not be made leaves nothing that waits: another child is made for the job. */
  if (with_net && make_net() != 0) _exit(FAILED);
  if (recv(link, &request, sizeof request, 0) != sizeof request) _exit(0);
  become_program(*parents, request.job);
}
