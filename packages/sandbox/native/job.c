/* What a job's text says: words that each end with a NUL, as docs/launcher.md has them. Nothing is done here. */
#define _GNU_SOURCE
#include "launcher.h"
#include <stdlib.h>
#include <string.h>

struct words {
  char **at;
  size_t count, next;
};

/* The words, with room for one NULL more within and one behind. */
static int cut_words(char *text, size_t size, struct words *words) {
  size_t count = 0;
  if (size == 0 || size > MOST_JOB_BYTES || text[size - 1] != '\0') return 0;
  for (size_t at = 0; at < size; at++) count += text[at] == '\0';
  if (count > MOST_WORDS) return 0;
  *words = (struct words){calloc(count + 2, sizeof *words->at), count, 0};
  if (words->at == NULL) return 0;
  for (size_t word = 0, at = 0; word < count; word++, at += strlen(text + at) + 1) words->at[word] = text + at;
  return 1;
}

/* An empty one, which nothing takes, where there is no more. */
static char *next_word(struct words *words) {
  static char none[1];
  return words->next < words->count ? words->at[words->next++] : none;
}

static int parse_descriptor(const char *text, int *descriptor) {
  unsigned long number;
  if (!parse_number(text, 10, MOST_DESCRIPTOR, &number)) return 0;
  *descriptor = (int)number;
  return 1;
}

/* "FROM>TO,…": the executor's numbers, and those that the program has them at. */
static int parse_descriptors(char *list, struct job *job) {
  for (char *entry = strtok(list, ","); entry != NULL; entry = strtok(NULL, ","), job->descriptor_count++) {
    char *second = strchr(entry, '>');
    if (second == NULL || job->descriptor_count == MOST_DESCRIPTORS) return 0;
    *second++ = '\0';
    if (!parse_descriptor(entry, &job->from[job->descriptor_count])) return 0;
    if (!parse_descriptor(second, &job->to[job->descriptor_count])) return 0;
  }
  return 1;
}

/* "-", or numbers with commas. */
static int parse_groups(char *list, struct job *job) {
  if (strcmp(list, "-") == 0) return 1;
  for (char *entry = strtok(list, ","); entry != NULL; entry = strtok(NULL, ",")) {
    if (job->group_count == MOST_GROUPS || !parse_descriptor(entry, &job->groups[job->group_count])) return 0;
    job->group_count++;
  }
  return 1;
}

static int parse_net(const char *which, struct job *job) {
  job->has_own_net = strcmp(which, "own") == 0;
  return job->has_own_net || strcmp(which, "-") == 0;
}

static int parse_umask(const char *text, struct job *job) {
  unsigned long mask;
  if (!parse_number(text, 8, 0777, &mask)) return 0;
  job->umask = (mode_t)mask;
  return 1;
}

/* How many variables, they themselves, the program's path and its arguments. */
static int parse_program(struct words *words, struct job *job) {
  unsigned long variables;
  if (!parse_number(next_word(words), 10, MOST_WORDS, &variables)) return 0;
  if (variables >= words->count - words->next) return 0;
  char **rest = words->at + words->next;
  size_t arguments = words->count - words->next - variables;
  memmove(rest + variables + 1, rest + variables, arguments * sizeof *rest);
  rest[variables] = NULL;
  job->environment = rest;
  job->program = rest + variables + 1;
  return 1;
}

static int parse_words(struct words *words, struct job *job) {
  if (!parse_descriptors(next_word(words), job) || !parse_groups(next_word(words), job)) return 0;
  if (!parse_net(next_word(words), job)) return 0;
  char *uid = next_word(words), *gid = next_word(words);
  if (!parse_user(uid, gid, &job->user) || !parse_umask(next_word(words), job)) return 0;
  return parse_limits(next_word(words), &job->limits) && parse_program(words, job);
}

int parse_job(char *text, size_t size, struct job *job) {
  struct words words;
  memset(job, 0, sizeof *job);
  if (!cut_words(text, size, &words)) return 0;
  if (!parse_words(&words, job)) {
    free(words.at);
    return 0;
  }
  job->words = words.at;
  return 1;
}
