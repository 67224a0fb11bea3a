/* What parse_job makes of any bytes, for libFuzzer, which goes by the branches that they reach. `make fuzz` builds it with
   sanitizers; they see what is read or written beside the text, and this what must hold of what it says. */
#include "../../../packages/sandbox/native/launcher.h"
#include <stdlib.h>
#include <string.h>

static void must(int holds) {
  if (!holds) abort();
}

static size_t count_strings(char **strings, const char *text, size_t size) {
  size_t count = 0;
  for (; strings[count] != NULL; count++) {
    must(strings[count] >= text && strings[count] < text + size);
    must(memchr(strings[count], '\0', (size_t)(text + size - strings[count])) != NULL);
  }
  return count;
}

static void check(const struct job *job, const char *text, size_t size) {
  must(job->descriptor_count <= MOST_DESCRIPTORS && job->group_count <= MOST_GROUPS);
  for (size_t at = 0; at < job->descriptor_count; at++) {
    must(job->from[at] >= 0 && job->from[at] <= MOST_DESCRIPTOR);
    must(job->to[at] >= 0 && job->to[at] <= MOST_DESCRIPTOR);
  }
  for (size_t at = 0; at < job->group_count; at++) must(job->groups[at] >= 0 && job->groups[at] <= MOST_DESCRIPTOR);
  must(job->limits.count <= MOST_LIMITS && job->umask <= 0777);
  must(!job->user.is_other || (job->user.uid != (uid_t)-1 && job->user.gid != (gid_t)-1));
  count_strings(job->environment, text, size);
  must(count_strings(job->program, text, size) > 0);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
  static struct job job;
  /* Of just that size, so that a byte beside it is seen. */
  char *text = malloc(size == 0 ? 1 : size);
  if (text == NULL) abort();
  memcpy(text, bytes, size);
  if (parse_job(text, size, &job)) {
    check(&job, text, size);
    free(job.words);
  }
  free(text);
  return 0;
}
