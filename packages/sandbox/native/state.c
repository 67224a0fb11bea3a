/* What a process is given before it becomes a program: the state of a fresh login, limits, and whom it runs as. */
#define _GNU_SOURCE
#include "launcher.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

void (*on_failure)(int error);

void fail(const char *what) {
  int error = errno;
  dprintf(STDERR_FILENO, "csc-launcher: %s: %s\n", what, strerror(error));
  if (on_failure != NULL) on_failure(error);
  _exit(FAILED);
}

void usage(void) {
  errno = EINVAL;
  fail("csc-launcher exec UID GID UMASK RLIMITS -- PROGRAM ARG…, pipes COUNT, listen PORT NAMESPACE, or serve PID");
}

int parse_number(const char *text, int base, unsigned long most, unsigned long *number) {
  char *end;
  errno = 0;
  *number = strtoul(text, &end, base);
  return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && *number <= most;
}

/* The kernel's own call: libc keeps two signals to itself, and an ignored one of them would stay ignored. */
static void reset_signals(void) {
  struct {
    void *handler;
    unsigned long flags;
    void *restorer;
    unsigned long mask;
  } by_default = {0};
  unsigned long none = 0;
  for (int number = 1; number <= 64; number++)
    syscall(SYS_rt_sigaction, number, &by_default, NULL, sizeof none);
  if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none) != 0) fail("signal mask");
}

/* ioprio_set(2) has no wrapper: 1 is the process, and 0 is no class of its own, so that nice says it. */
static void reset_scheduling(void) {
  struct sched_param none = {0};
  sched_setscheduler(0, SCHED_OTHER, &none);
  setpriority(PRIO_PROCESS, 0, 0);
  syscall(SYS_ioprio_set, 1, 0, 0);
  prctl(PR_SET_TIMERSLACK, 50000UL, 0, 0, 0);
  personality(PER_LINUX);
}

/* Jobs go before the executor when the host itself runs out of memory. */
static void prefer_for_oom_kill(void) {
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "500", 3) != 3) { /* Only root may make it less than it is. */
  }
  close(fd);
}

static const struct {
  const char *name;
  int resource;
  rlim_t soft, hard;
} known[] = {
    /* What the kernel gives its first process. */
    {"as", RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY},
    /* By 1 none is dumped, by 0 core_pattern may still name a program that gets it (core(5)). */
    {"core", RLIMIT_CORE, 1, 1},
    {"cpu", RLIMIT_CPU, RLIM_INFINITY, RLIM_INFINITY},
    {"data", RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY},
    {"fsize", RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY},
    {"locks", RLIMIT_LOCKS, RLIM_INFINITY, RLIM_INFINITY},
    {"memlock", RLIMIT_MEMLOCK, 8 << 20, 8 << 20},
    {"msgqueue", RLIMIT_MSGQUEUE, 819200, 819200},
    {"nice", RLIMIT_NICE, 0, 0},
    {"nofile", RLIMIT_NOFILE, 1024, 524288},
    {"rss", RLIMIT_RSS, RLIM_INFINITY, RLIM_INFINITY},
    {"rtprio", RLIMIT_RTPRIO, 0, 0},
    {"rttime", RLIMIT_RTTIME, RLIM_INFINITY, RLIM_INFINITY},
    {"stack", RLIMIT_STACK, 8 << 20, RLIM_INFINITY},
    /* The number of processes is counted by user: without a limit of the plan it is a cgroup's to bound. */
    {"nproc", RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY},
};
enum { KNOWN = sizeof known / sizeof known[0] };

static void reset_limits(void) {
  for (size_t at = 0; at < KNOWN; at++) {
    struct rlimit now, wanted = {known[at].soft, known[at].hard};
    if (setrlimit(known[at].resource, &wanted) == 0) continue;
    /* Without privilege a hard limit stays, and bounds the soft one. */
    if (getrlimit(known[at].resource, &now) != 0) continue;
    if (wanted.rlim_max > now.rlim_max) wanted.rlim_max = now.rlim_max;
    if (wanted.rlim_cur > wanted.rlim_max) wanted.rlim_cur = wanted.rlim_max;
    setrlimit(known[at].resource, &wanted);
  }
}

static int parse_limit(char *entry, struct limits *limits) {
  unsigned long most;
  char *value = strchr(entry, '=');
  if (value == NULL || limits->count == MOST_LIMITS) return 0;
  *value++ = '\0';
  if (!parse_number(value, 10, ULONG_MAX, &most)) return 0;
  for (size_t at = 0; at < KNOWN; at++) {
    if (strcmp(known[at].name, entry) != 0) continue;
    limits->resource[limits->count] = known[at].resource;
    limits->value[limits->count++] = most;
    return 1;
  }
  return 0;
}

int parse_limits(char *list, struct limits *limits) {
  limits->count = 0;
  if (strcmp(list, "-") == 0) return 1;
  for (char *entry = strtok(list, ","); entry != NULL; entry = strtok(NULL, ","))
    if (!parse_limit(entry, limits)) return 0;
  return 1;
}

void set_limits(const struct limits *limits) {
  reset_limits();
  for (size_t at = 0; at < limits->count; at++) {
    struct rlimit wanted = {limits->value[at], limits->value[at]};
    if (setrlimit(limits->resource[at], &wanted) != 0) fail("limit");
  }
}

int parse_user(const char *uid_text, const char *gid_text, struct user *user) {
  unsigned long uid, gid;
  *user = (struct user){0};
  if (strcmp(uid_text, "-") == 0) return strcmp(gid_text, "-") == 0;
  /* (uid_t)-1 would mean "as it is" (setresuid(2)). */
  if (!parse_number(uid_text, 10, UINT_MAX - 1, &uid) || !parse_number(gid_text, 10, UINT_MAX - 1, &gid)) return 0;
  *user = (struct user){1, (uid_t)uid, (gid_t)gid};
  return 1;
}

void become(const struct user *user) {
  if (!user->is_other) return;
  if (setgroups(0, NULL) != 0) fail("groups");
  if (setresgid(user->gid, user->gid, user->gid) != 0) fail("group");
  if (setresuid(user->uid, user->uid, user->uid) != 0) fail("user");
}

void reset_state(void) {
  reset_signals();
  reset_scheduling();
  prefer_for_oom_kill();
}

void run_program(char **words, char **environment) {
  execve(words[0], words, environment);
  int error = errno;
  dprintf(STDERR_FILENO, "csc-launcher: %s: %s\n", words[0], strerror(error));
  if (on_failure != NULL) on_failure(error);
  _exit(error == ENOENT ? NOT_FOUND : NOT_RUNNABLE);
}
