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
  fail("csc-launcher exec UID GID UMASK RLIMITS -- PROGRAM ARG…, pipes COUNT, or serve PID");
}

unsigned long parse_number(const char *text, int base, unsigned long most) {
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, base);
  if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value > most) usage();
  return value;
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
} limits[] = {
    /* What the kernel gives its first process; RLIM_NLIMITS stands for "no default: only what is asked for". */
    {"as", RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY},
    {"core", RLIMIT_CORE, 0, 0},
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
enum { LIMITS = sizeof limits / sizeof limits[0] };

static void reset_limits(void) {
  for (size_t at = 0; at < LIMITS; at++) {
    struct rlimit now, wanted = {limits[at].soft, limits[at].hard};
    if (setrlimit(limits[at].resource, &wanted) == 0) continue;
    /* Without privilege a hard limit stays, and bounds the soft one. */
    if (getrlimit(limits[at].resource, &now) != 0) continue;
    if (wanted.rlim_max > now.rlim_max) wanted.rlim_max = now.rlim_max;
    if (wanted.rlim_cur > wanted.rlim_max) wanted.rlim_cur = wanted.rlim_max;
    setrlimit(limits[at].resource, &wanted);
  }
}

static void set_limit(char *entry) {
  char *value = strchr(entry, '=');
  if (value == NULL) usage();
  *value++ = '\0';
  for (size_t at = 0; at < LIMITS; at++) {
    if (strcmp(limits[at].name, entry) != 0) continue;
    rlim_t most = parse_number(value, 10, ULONG_MAX);
    struct rlimit wanted = {most, most};
    if (setrlimit(limits[at].resource, &wanted) != 0) fail(entry);
    return;
  }
  usage();
}

void set_limits(char *list) {
  reset_limits();
  if (strcmp(list, "-") == 0) return;
  for (char *entry = strtok(list, ","); entry != NULL; entry = strtok(NULL, ",")) set_limit(entry);
}

void become(const char *uid_text, const char *gid_text) {
  if (strcmp(uid_text, "-") == 0) return;
  /* (uid_t)-1 would mean "as it is" (setresuid(2)). */
  uid_t uid = parse_number(uid_text, 10, UINT_MAX - 1);
  gid_t gid = parse_number(gid_text, 10, UINT_MAX - 1);
  if (setgroups(0, NULL) != 0) fail("groups");
  if (setresgid(gid, gid, gid) != 0) fail("group");
  if (setresuid(uid, uid, uid) != 0) fail("user");
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
