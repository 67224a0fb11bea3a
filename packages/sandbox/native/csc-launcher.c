/*
 * csc-launcher: what starts a job's processes, so that nothing of the service that asked for it goes along.
 *
 *   csc-launcher exec UID GID UMASK RLIMITS -- PROGRAM ARG…
 *       Gives itself the state of a fresh login, gives up root where UID is not "-", and becomes PROGRAM.
 *       RLIMITS: name=value,… as prlimit(1) names them; "-" for none.
 *   csc-launcher pipes COUNT
 *       Makes so many pipes, says the number of one end of each on standard output, one a line, then a dot, and waits
 *       until standard input ends: who may look into /proc/PID/fd opens both ends there. Node has no pipe(2).
 *   csc-launcher listen PORT NAMESPACE
 *       Listens in the network that it was started in, and hands the socket to its parent. See listen.c.
 *   csc-launcher serve PID [AHEAD]
 *       Starts programs for the executor PID, which must be its parent, as that asks on descriptor 3. See serve.c.
 *       AHEAD, 1 to 4: how many wait for a program at any time; by default 4.
 *
 * Trusted with root, and reads nothing but what the executor alone writes. No library beyond libc. A step that only
 * privilege can take (a better nice value, a higher hard limit) is tried; one that a job must not start without ends
 * the process with 125 and a line on standard error.
 */
#define _GNU_SOURCE
#include "launcher.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static noreturn void run(int count, char **words) {
  unsigned long mask;
  struct user user;
  struct limits limits;
  if (count < 8 || strcmp(words[6], "--") != 0 || !parse_user(words[2], words[3], &user)) usage();
  if (!parse_number(words[4], 8, 0777, &mask) || !parse_limits(words[5], &limits)) usage();
  reset_state();
  set_limits(&limits);
  umask((mode_t)mask);
  become(&user);
  run_program(words + 7, environ);
}

static int make_pipes(unsigned long count) {
  int ends[2];
  for (; count > 0; count--) {
    if (make_pipe(ends) != 0) fail("pipe");
    if (printf("%d\n", ends[0]) < 0) fail("standard output");
  }
  if (puts(".") < 0 || fflush(stdout) != 0) fail("standard output");
  char ignored;
  ssize_t got;
  do got = read(STDIN_FILENO, &ignored, 1);
  while (got > 0 || (got < 0 && errno == EINTR));
  return 0;
}

int main(int count, char **words) {
  if (count >= 2 && strcmp(words[1], "exec") == 0) run(count, words);
  unsigned long pipes;
  if (count == 3 && strcmp(words[1], "pipes") == 0 && parse_number(words[2], 10, 4096, &pipes)) return make_pipes(pipes);
  if (count == 4 && strcmp(words[1], "listen") == 0) return listen_and_hand_over(words[2], words[3]);
  if ((count == 3 || count == 4) && strcmp(words[1], "serve") == 0) serve(words[2], count == 4 ? words[3] : NULL);
  usage();
}
