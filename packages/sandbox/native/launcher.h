/* What the parts of csc-launcher share: csc-launcher.c (the commands), state.c (what a process is), serve.c. */
#ifndef CSC_LAUNCHER_H
#define CSC_LAUNCHER_H
#include <stdnoreturn.h>

/* The exit codes of env(1) and nice(1). */
enum { FAILED = 125, NOT_RUNNABLE = 126, NOT_FOUND = 127 };

/* Told errno before `fail` ends a process; NULL where nobody asks. */
extern void (*on_failure)(int error);

/* A line on standard error with errno's meaning, and the end with 125. */
noreturn void fail(const char *what);
/* `fail` for what was said wrongly. */
noreturn void usage(void);
unsigned long parse_number(const char *text, int base, unsigned long most);

/* Signals, scheduling and OOM score as at a fresh login. */
void reset_state(void);
/* Limits as at a fresh login, then those of the list: name=value,… or "-". Changes the list. */
void set_limits(char *list);
/* "-" for both: as it is. Gives up all groups. */
void become(const char *uid, const char *gid);
/* exec, or the exit code of env(1) with a line on standard error. */
noreturn void run_program(char **words, char **environment);

/* Serves one executor, which is this process's parent, until it is gone. */
noreturn void serve(const char *executor);
#endif
