/* What the parts of csc-launcher share: csc-launcher.c (the commands), state.c (what a process is), job.c (what a job says),
   child.c (a process until it is a program), serve.c (the process that starts them). */
#ifndef CSC_LAUNCHER_H
#define CSC_LAUNCHER_H
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/resource.h>
#include <sys/types.h>

/* The exit codes of env(1) and nice(1). */
enum { FAILED = 125, NOT_RUNNABLE = 126, NOT_FOUND = 127 };

/* Told errno before `fail` ends a process; NULL where nobody asks. */
extern void (*on_failure)(int error);

/* A line on standard error with errno's meaning, and the end with 125. */
noreturn void fail(const char *what);
/* `fail` for what was said wrongly. */
noreturn void usage(void);
/* A number without sign or spaces, of `most` at most; 0 where the text is none. */
int parse_number(const char *text, int base, unsigned long most, unsigned long *number);

/* ---- state.c ---- */

enum { MOST_LIMITS = 32 };
struct limits {
  size_t count;
  int resource[MOST_LIMITS];
  rlim_t value[MOST_LIMITS];
};
/* name=value,… as prlimit(1) names them, or "-" for none; 0 where the list, which it changes, is none. */
int parse_limits(char *list, struct limits *limits);

struct user {
  int is_other;
  uid_t uid;
  gid_t gid;
};
/* "-" for both: as it is. 0 where the texts are no ids. */
int parse_user(const char *uid, const char *gid, struct user *user);

/* Signals, scheduling and OOM score as at a fresh login. */
void reset_state(void);
/* Limits as at a fresh login, then these. */
void set_limits(const struct limits *limits);
/* Gives up all groups, and root. */
void become(const struct user *user);
/* exec, or the exit code of env(1) with a line on standard error. */
noreturn void run_program(char **words, char **environment);

/* ---- job.c ---- */

enum { MOST_DESCRIPTORS = 1024, MOST_DESCRIPTOR = 65536, MOST_GROUPS = 32, MOST_JOB_BYTES = 4 << 20, MOST_WORDS = 1 << 18 };

/* Descriptors are the executor's, but for `to`. */
struct job {
  size_t descriptor_count, group_count;
  int from[MOST_DESCRIPTORS], to[MOST_DESCRIPTORS];
  /* Files of cgroups that are to be written "0" to: of version 1, where that is cheap. */
  int groups[MOST_GROUPS];
  /* A network that no other program has or had; else the launcher's. */
  int has_own_net;
  struct user user;
  mode_t umask;
  struct limits limits;
  /* Both end with NULL, and are of views of the text. They lie in `words`, which is the caller's to free. */
  char **environment, **program, **words;
};
/* Reads all of a job's text, which it changes and which must outlive the job, before anything of it is done.
   0 where it is wrong, or where there is no memory for it. */
int parse_job(char *text, size_t size, struct job *job);

/* ---- child.c ---- */

/* What the executor says. RUN: start what its descriptor `job` describes, in the group that its descriptor `group` is,
   or -1. KILL: SIGKILL. PIPES: make `job` of them, to be opened below this process's /proc/PID/fd (Node has no pipe(2)).
   DROP: they were opened. */
enum { RUN = 1, KILL = 2, PIPES = 3, DROP = 4 };
struct request {
  uint32_t kind, id;
  int32_t job, group;
};

/* What a child says to the launcher before it is the program: an errno, or 0 once it has what the job names. */
struct word {
  int32_t error;
};

/* The executor, and the launcher, which is the parent of all children. */
struct parents {
  pid_t executor;
  int executor_fd;
  pid_t launcher;
};

/* One of the executor's descriptors, or -1. */
int take(const struct parents *parents, int number);
/* Takes this process into a network of its own, with nothing in it but a loopback device that is up; -1 where it cannot. */
int make_net(void);
/* Becomes the program of the job given, or of the one that is sent on `link`. */
noreturn void be_child(const struct parents *parents, int link, const struct request *given, int with_net);

/* ---- listen.c ---- */

/* 0, or the end with 125. */
int listen_and_hand_over(const char *port, const char *network);

/* ---- serve.c ---- */

/* As pipe(2), closed by exec. As root it holds as much as the executor reads at once of a command that says a lot; what others
   may have in all of their pipes together is little (pipe-user-pages-soft, pipe(7)), and theirs hold what a pipe does. */
int make_pipe(int ends[2]);
/* Serves one executor, which is this process's parent, until it is gone. */
noreturn void serve(const char *executor, const char *ahead);
#endif
