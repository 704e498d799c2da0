/* Shared by the test programs: counted checks, and checks of calls that must be refused. */
#ifndef CHECK_H
#define CHECK_H

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kv.h"

/* How long a test waits for an event that must happen. */
#define WAIT_LIMIT_MS 20000

/* How long a program may run, also under valgrind. */
#define DEADLINE_SECONDS 240

static int passed, failed;
static char dir[256];

static inline void check_at(int line, int good, const char *what) {
    if (good) {
        passed++;
    } else {
        failed++;
        printf("FAILED line %d: %s\n", line, what);
    }
}

#define CHECK(good) check_at(__LINE__, (good), #good)

/* Checks that `call` returns the code `want` and a message that contains `words`. The last
 * argument of the call is &error. */
#define REFUSED(want, words, call)                                                                  \
    do {                                                                                            \
        kv_error *error = NULL;                                                                     \
        kv_code code = (call);                                                                      \
        refused_at(__LINE__, #call, code, error, want, words);                                      \
        kv_error_free(error);                                                                       \
    } while (0)

static inline void refused_at(int line, const char *what, kv_code code, const kv_error *error, kv_code want,
                              const char *words) {
    if (code == want && kv_error_code(error) == want && strstr(kv_error_message(error), words)) {
        passed++;
    } else {
        failed++;
        printf("FAILED line %d: %s: %s \"%s\", expected %s and \"%s\"\n", line, what, kv_strerror(code),
               kv_error_message(error), kv_strerror(want), words);
    }
}

static inline int is_text(kv_bytes b, const char *text) {
    return b.len == strlen(text) && memcmp(b.data, text, b.len) == 0;
}

static inline void put(const kv_db *db, const char *key, const char *value, int64_t lease) {
    kv_put_options options = KV_PUT_OPTIONS_INIT;
    options.lease = lease;
    CHECK(kv_put(db, kv_str(key), kv_str(value), &options, NULL, NULL) == KV_OK);
}

/* The number of keys with a prefix; -1 if the read fails. */
static inline int64_t count(const kv_db *db, const char *prefix) {
    kv_range_options options = KV_RANGE_OPTIONS_INIT;
    kv_range_response *result = NULL;
    int64_t keys = -1;
    options.count_only = KV_YES;
    if (!kv_range(db, kv_prefix(kv_str(prefix)), &options, &result, NULL)) keys = kv_range_response_count(result);
    kv_range_response_free(result);
    return keys;
}

/* A number of the status; -1 if it is absent. */
static inline int64_t status_number(const kv_db *db, int32_t name) {
    kv_status *status = NULL;
    int64_t number = -1;
    if (!kv_status_get(db, &status, NULL)) kv_status_number(status, name, &number);
    kv_status_free(status);
    return number;
}

/* The revision of an error; -1 if it has none. */
static inline int64_t error_revision(const kv_error *error) {
    int64_t revision = -1;
    kv_error_revision(error, &revision);
    return revision;
}

/* A store in memory, with this clock or the system's. */
static inline kv_db *memory(const kv_clock *clock) {
    kv_options options = KV_OPTIONS_INIT;
    kv_db *db = NULL;
    options.clock = clock;
    CHECK(kv_open(":memory:", &options, &db, NULL) == KV_OK);
    return db;
}

/* A child process that runs `work` and ends with the status that it returns; it inherits no open
 * store. */
static inline pid_t child(int (*work)(int ready, int go), int *ready, int *go) {
    int up[2], down[2];
    pid_t pid;
    if (pipe(up) || pipe(down)) exit(2);
    fflush(stdout);
    pid = fork();
    if (pid < 0) exit(2);
    if (pid == 0) {
        close(up[0]);
        close(down[1]);
        _exit(work(up[1], down[0]));
    }
    close(up[1]);
    close(down[0]);
    *ready = up[0];
    *go = down[1];
    return pid;
}

static inline int ended_with(pid_t pid) {
    int status = -1;
    if (waitpid(pid, &status, 0) != pid) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void byte_to(int fd) {
    if (write(fd, "!", 1) != 1) exit(2);
}

static inline void byte_from(int fd) {
    char byte;
    if (read(fd, &byte, 1) != 1) exit(2);
}

/* Creates the folder of a program and stores its path in `dir`. SIGALRM ends a program that runs
 * too long. */
static inline void make_dir(const char *name) {
    const char *at = getenv("TMPDIR");
    alarm(DEADLINE_SECONDS);
    snprintf(dir, sizeof dir, "%s/libkv-%s-%d", at ? at : "/tmp", name, (int)getpid());
    if (mkdir(dir, 0700)) exit(2);
}

/* Prints the last line; returns the exit status of the program. */
static inline int summary(void) {
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command)) return 2;
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

#endif
