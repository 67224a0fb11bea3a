/*
 * csc-confine: what a process of Node takes from itself once it has all that it needs, and before it reads what others
 * send. bwrap cannot, as it has still to become that process; Node has no call for it.
 *
 *   process.dlopen({ exports: {} }, '…/csc-confine-ARCH.node')
 *
 * Takes a system call filter from descriptor 94, a file of struct sock_filter as packages/sandbox/src/seccomp makes it, for
 * all of the process's threads, and closes it; and no other process of its user may look into it from then on. Where
 * that cannot be had the process ends with 125. Beside `syscall`, which is the libc's that Node has, it needs no library.
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FILTER = 94, FAILED = 125 };

static struct sock_filter instructions[BPF_MAXINSNS];

static int confine(void) {
  long size = syscall(SYS_pread64, FILTER, instructions, sizeof instructions, 0L);
  if (size <= 0 || size % (long)sizeof instructions[0] != 0) return -1;
  struct sock_fprog program = {(unsigned short)(size / (long)sizeof instructions[0]), instructions};
  syscall(SYS_close, FILTER);
  if (syscall(SYS_prctl, PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) != 0) return -1;
  if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) != 0) return -1;
  /* More than nothing is the thread that could not be (seccomp(2), TSYNC). */
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0 ? 0 : -1;
}

/* What Node calls of a module that it has loaded (node_api.h); it is given nothing, and gives nothing. */
__attribute__((visibility("default"))) void *napi_register_module_v1(void *environment, void *exports) {
  (void)environment;
  if (confine() != 0) syscall(SYS_exit_group, FAILED);
  return exports;
}
