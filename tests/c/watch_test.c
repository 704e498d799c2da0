/* Watchers from C: delivery, waiting, their end, and refused calls. --no-fork skips the parts that
 * fork. The last line is "N passed, N failed". */
#define _GNU_SOURCE
#include <poll.h>

#include "check.h"

#define MINUTE_MS 60000

static kv_watcher *watch(const kv_db *db, const char *prefix, const kv_watch_options *options) {
    kv_watcher *watcher = NULL;
    CHECK(kv_watch(db, kv_prefix(kv_str(prefix)), options, &watcher, NULL) == KV_OK);
    return watcher;
}

/* Returns the next batch, which must arrive in time. */
static kv_watch_batch *next(kv_watcher *watcher) {
    kv_watch_batch *batch = NULL;
    CHECK(kv_watcher_next(watcher, WAIT_LIMIT_MS, &batch, NULL) == KV_OK);
    CHECK(batch != NULL);
    return batch;
}

/* Checks that the next batch has this revision and one event, of this key. */
static void expect(kv_watcher *watcher, int64_t revision, int32_t type, const char *key) {
    kv_watch_batch *batch = next(watcher);
    const kv_event *event = kv_watch_batch_at(batch, 0);
    CHECK(kv_watch_batch_revision(batch) == revision);
    CHECK(kv_watch_batch_len(batch) == 1 && kv_watch_batch_at(batch, 1) == NULL);
    CHECK(event && event->type == type && is_text(event->kv.key, key) && event->kv.mod_revision == revision);
    kv_watch_batch_free(batch);
}

static void expect_nothing(kv_watcher *watcher) {
    kv_watch_batch *batch = (kv_watch_batch *)watcher;
    CHECK(kv_watcher_next(watcher, KV_NO_WAIT, &batch, NULL) == KV_OK && batch == NULL);
}

static int readable(int fd, int timeout_ms) {
    struct pollfd polled;
    polled.fd = fd;
    polled.events = POLLIN;
    polled.revents = 0;
    return poll(&polled, 1, timeout_ms) == 1 && polled.revents == POLLIN;
}

static void whole_revisions(void) {
    kv_db *db = memory(NULL);
    kv_watch_options options = KV_WATCH_OPTIONS_INIT;
    kv_watcher *watcher;
    kv_watch_batch *batch;
    const kv_event *event;
    kv_txn *txn = kv_txn_new();
    options.prev_kv = KV_YES;
    watcher = watch(db, "k", &options);
    put(db, "other", "1", 0);
    put(db, "k/b", "1", 0);
    CHECK(!kv_txn_put(txn, KV_SUCCESS, kv_str("k/c"), kv_str("2"), NULL, NULL));
    CHECK(!kv_txn_put(txn, KV_SUCCESS, kv_str("k/a"), kv_str("3"), NULL, NULL));
    CHECK(!kv_txn_delete(txn, KV_SUCCESS, kv_key(kv_str("k/b")), NULL, NULL));
    CHECK(!kv_txn_run(db, txn, NULL, NULL));
    kv_txn_free(txn);
    expect(watcher, 3, KV_EVENT_PUT, "k/b");
    CHECK(kv_watcher_resume_revision(watcher) == 4);
    batch = next(watcher);
    expect_nothing(watcher);
    CHECK(kv_watcher_resume_revision(watcher) == 5);
    kv_watcher_free(watcher);
    kv_close(db);
    CHECK(kv_watch_batch_revision(batch) == 4 && kv_watch_batch_len(batch) == 3);
    event = kv_watch_batch_at(batch, 0);
    CHECK(event && event->type == KV_EVENT_PUT && is_text(event->kv.key, "k/c") && is_text(event->kv.value, "2"));
    CHECK(event && event->kv.create_revision == 4 && event->kv.version == 1 && event->prev_kv == NULL);
    event = kv_watch_batch_at(batch, 2);
    CHECK(event && event->type == KV_EVENT_DELETE && is_text(event->kv.key, "k/b") && event->kv.value.len == 0);
    CHECK(event && event->prev_kv && is_text(event->prev_kv->value, "1") && event->prev_kv->mod_revision == 3);
    kv_watch_batch_free(batch);
}

static void starts_and_filters(void) {
    kv_db *db = memory(NULL);
    kv_watch_options options = KV_WATCH_OPTIONS_INIT;
    kv_watcher *past, *future, *deletions, *puts;
    put(db, "a", "1", 0);
    options.start_revision = 2;
    past = watch(db, "a", &options);
    options.start_revision = 5;
    future = watch(db, "a", &options);
    options.start_revision = 0;
    options.no_put = KV_YES;
    deletions = watch(db, "a", &options);
    options.no_put = KV_NO;
    options.no_delete = KV_YES;
    puts = watch(db, "a", &options);
    put(db, "a", "2", 0);
    CHECK(!kv_delete(db, kv_key(kv_str("a")), NULL, NULL, NULL));
    put(db, "a", "3", 0);
    expect(past, 2, KV_EVENT_PUT, "a");
    expect(past, 3, KV_EVENT_PUT, "a");
    expect(past, 4, KV_EVENT_DELETE, "a");
    expect(past, 5, KV_EVENT_PUT, "a");
    expect(future, 5, KV_EVENT_PUT, "a");
    expect(deletions, 4, KV_EVENT_DELETE, "a");
    expect(puts, 3, KV_EVENT_PUT, "a");
    expect(puts, 5, KV_EVENT_PUT, "a");
    CHECK(status_number(db, KV_STATUS_WATCHERS) == 4);
    kv_watcher_free(past);
    kv_watcher_free(future);
    kv_watcher_free(deletions);
    kv_watcher_free(puts);
    CHECK(status_number(db, KV_STATUS_WATCHERS) == 0);
    kv_close(db);
}

static void descriptor(void) {
    kv_db *db = memory(NULL);
    kv_watcher *watcher = watch(db, "a", NULL);
    int fd = -1, again = -1;
    CHECK(!kv_watcher_fd(watcher, &fd, NULL) && fd >= 0);
    CHECK(!kv_watcher_fd(watcher, &again, NULL) && again == fd);
    CHECK(!readable(fd, 0));
    put(db, "a", "1", 0);
    put(db, "a", "2", 0);
    CHECK(readable(fd, WAIT_LIMIT_MS));
    expect(watcher, 2, KV_EVENT_PUT, "a");
    expect(watcher, 3, KV_EVENT_PUT, "a");
    expect_nothing(watcher);
    CHECK(!readable(fd, 0));
    kv_watcher_cancel(watcher);
    CHECK(readable(fd, WAIT_LIMIT_MS));
    kv_watcher_free(watcher);
    watcher = watch(db, "a", NULL);
    CHECK(!kv_watcher_fd(watcher, &fd, NULL) && !readable(fd, 0));
    kv_close(db);
    CHECK(readable(fd, WAIT_LIMIT_MS));
    kv_watcher_free(watcher);
}

static int writer(int ready, int go) {
    kv_db *db = NULL;
    char path[512];
    int wrong;
    (void)ready;
    snprintf(path, sizeof path, "%s/shared", dir);
    byte_from(go);
    wrong = kv_open(path, NULL, &db, NULL) != KV_OK;
    wrong = wrong || kv_put(db, kv_str("by"), kv_str("child"), NULL, NULL, NULL);
    kv_close(db);
    return wrong;
}

/* A commit of another process makes the descriptor readable. */
static void across_processes(void) {
    char path[512];
    kv_db *db = NULL;
    kv_watcher *watcher;
    int ready, go, fd = -1;
    pid_t pid = child(writer, &ready, &go);
    snprintf(path, sizeof path, "%s/shared", dir);
    CHECK(kv_open(path, NULL, &db, NULL) == KV_OK);
    watcher = watch(db, "", NULL);
    CHECK(!kv_watcher_fd(watcher, &fd, NULL) && !readable(fd, 0));
    byte_to(go);
    CHECK(readable(fd, WAIT_LIMIT_MS));
    expect(watcher, 2, KV_EVENT_PUT, "by");
    CHECK(ended_with(pid) == 0);
    kv_watcher_free(watcher);
    kv_close(db);
    close(ready);
    close(go);
}

/* Waits for a batch of the watcher; returns the code of the wait. */
static void *wait_in(void *watcher) {
    kv_watch_batch *batch = NULL;
    kv_code code;
    do {
        code = kv_watcher_next((kv_watcher *)watcher, KV_FOREVER, &batch, NULL);
    } while (code == KV_INVALID_ARGUMENT); /* until_waiting was reading at that moment */
    kv_watch_batch_free(batch);
    return (void *)(intptr_t)code;
}

/* Waits until the other thread waits: from then on a second reader is refused. */
static void until_waiting(kv_watcher *watcher) {
    kv_watch_batch *batch = NULL;
    kv_code code;
    while ((code = kv_watcher_next(watcher, KV_NO_WAIT, &batch, NULL)) == KV_OK) sched_yield();
    CHECK(code == KV_INVALID_ARGUMENT);
}

static kv_code ended(pthread_t thread) {
    void *code;
    if (pthread_join(thread, &code)) exit(2);
    return (kv_code)(intptr_t)code;
}

static pthread_t started(kv_watcher *watcher) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_in, watcher)) exit(2);
    until_waiting(watcher);
    return thread;
}

static void ends_of_waiting(void) {
    kv_db *db = memory(NULL);
    kv_watcher *delivered = watch(db, "a", NULL), *cancelled = watch(db, "a", NULL), *closed = watch(db, "a", NULL);
    kv_watch_batch *batch = NULL;
    pthread_t thread = started(delivered);
    int fd;
    REFUSED(KV_INVALID_ARGUMENT, "another thread", kv_watcher_next(delivered, KV_FOREVER, &batch, &error));
    put(db, "a", "1", 0);
    CHECK(ended(thread) == KV_OK);
    expect(cancelled, 2, KV_EVENT_PUT, "a");
    thread = started(cancelled);
    kv_watcher_cancel(cancelled);
    CHECK(ended(thread) == KV_CANCELLED);
    REFUSED(KV_CANCELLED, "cancelled", kv_watcher_next(cancelled, KV_FOREVER, &batch, &error));
    expect(closed, 2, KV_EVENT_PUT, "a");
    thread = started(closed);
    kv_close(db);
    CHECK(ended(thread) == KV_CLOSED);
    REFUSED(KV_CLOSED, "closed", kv_watcher_next(closed, KV_FOREVER, &batch, &error));
    REFUSED(KV_CLOSED, "closed", kv_watcher_next(delivered, KV_NO_WAIT, &batch, &error));
    REFUSED(KV_CLOSED, "closed", kv_watcher_fd(closed, &fd, &error));
    kv_watcher_cancel(closed);
    kv_watcher_free(delivered);
    kv_watcher_free(cancelled);
    kv_watcher_free(closed);
}

/* A compaction above the position of a watcher ends it; the error has the revision where the next
 * watcher may start. */
static void compaction(void) {
    kv_db *db = memory(NULL);
    kv_watch_options options = KV_WATCH_OPTIONS_INIT;
    kv_watcher *slow, *none = NULL;
    kv_watch_batch *batch = NULL;
    kv_error *error = NULL;
    char value[2] = "0";
    put(db, "a", "0", 0);
    options.start_revision = 2;
    slow = watch(db, "a", &options);
    for (; value[0] < '8'; value[0]++) put(db, "a", value, 0);
    CHECK(!kv_compact(db, 6, KV_YES, NULL, NULL));
    CHECK(kv_watcher_next(slow, KV_NO_WAIT, &batch, &error) == KV_COMPACTED && error_revision(error) == 6);
    options.start_revision = error_revision(error);
    kv_error_free(error);
    REFUSED(KV_COMPACTED, "compacted", kv_watcher_next(slow, KV_FOREVER, &batch, &error));
    kv_watcher_free(slow);
    slow = watch(db, "a", &options);
    expect(slow, 6, KV_EVENT_PUT, "a");
    expect(slow, 7, KV_EVENT_PUT, "a");
    kv_watcher_free(slow);
    options.start_revision = 5;
    CHECK(kv_watch(db, kv_all(), &options, &none, &error) == KV_COMPACTED && error_revision(error) == 6);
    kv_error_free(error);
    options.start_revision = -1;
    REFUSED(KV_COMPACTED, "compacted", kv_watch(db, kv_all(), &options, &none, &error));
    CHECK(none == NULL);
    kv_close(db);
}

static void refusals(void) {
    kv_db *db = memory(NULL);
    kv_watch_options options = KV_WATCH_OPTIONS_INIT;
    kv_watcher *watcher = watch(db, "a", NULL), *none = NULL;
    kv_watch_batch *batch = NULL;
    kv_options both = KV_OPTIONS_INIT;
    kv_db *other = NULL;
    int64_t revision;
    int fd;
    kv_bytes a = kv_str("a"), b = kv_str("b");
    REFUSED(KV_INVALID_ARGUMENT, "range is empty", kv_watch(db, kv_between(b, a), NULL, &none, &error));
    REFUSED(KV_INVALID_ARGUMENT, "range is empty", kv_watch(db, kv_between(a, a), NULL, &none, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_watch(db, kv_all(), NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kv_db is NULL", kv_watch(NULL, kv_all(), NULL, &none, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_db", kv_watch((kv_db *)watcher, kv_all(), NULL, &none, &error));
    options.no_put = 7;
    REFUSED(KV_INVALID_ARGUMENT, "no_put is 7", kv_watch(db, kv_all(), &options, &none, &error));
    options.size = 3;
    REFUSED(KV_INVALID_ARGUMENT, "kv_watch_options.size", kv_watch(db, kv_all(), &options, &none, &error));
    CHECK(none == NULL);
    REFUSED(KV_INVALID_ARGUMENT, "timeout_ms is -9", kv_watcher_next(watcher, -9, &batch, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_watcher_next(watcher, KV_NO_WAIT, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kv_watcher is NULL", kv_watcher_next(NULL, KV_NO_WAIT, &batch, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_watcher", kv_watcher_next((kv_watcher *)db, KV_NO_WAIT, &batch, &error));
    REFUSED(KV_INVALID_ARGUMENT, "fd is NULL", kv_watcher_fd(watcher, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_watcher", kv_watcher_fd((kv_watcher *)db, &fd, &error));
    REFUSED(KV_INVALID_ARGUMENT, "revision is NULL", kv_revision_at(db, 0, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kv_db is NULL", kv_revision_at(NULL, 0, &revision, &error));
    both.auto_compaction_revisions = 10;
    both.auto_compaction_seconds = 60;
    REFUSED(KV_INVALID_ARGUMENT, "set one", kv_open(":memory:", &both, &other, &error));
    CHECK(kv_watcher_resume_revision(NULL) == 0 && kv_watcher_resume_revision((kv_watcher *)db) == 0);
    CHECK(kv_watch_batch_len(NULL) == 0 && kv_watch_batch_at(NULL, 0) == NULL && kv_watch_batch_revision(NULL) == 0);
    kv_watcher_cancel(NULL);
    kv_watcher_cancel((kv_watcher *)db);
    kv_watcher_free(NULL);
    kv_watch_batch_free(NULL);
    put(db, "a", "1", 0);
    expect(watcher, 2, KV_EVENT_PUT, "a");
    kv_watcher_free(watcher);
    kv_close(db);
}

/* Automatic compaction, revision_at and progress reports, with a manual clock. */
static void by_the_clock(void) {
    kv_clock *clock = kv_clock_new(10 * MINUTE_MS);
    kv_options options = KV_OPTIONS_INIT;
    kv_watch_options watch_options = KV_WATCH_OPTIONS_INIT;
    kv_db *db = NULL, *by_age = NULL;
    kv_watcher *watcher;
    kv_watch_batch *batch;
    int64_t revision = 0;
    int i;
    options.clock = clock;
    options.auto_compaction_revisions = 10;
    CHECK(!kv_open(":memory:", &options, &db, NULL));
    options.auto_compaction_revisions = 0;
    options.auto_compaction_seconds = 3600;
    CHECK(!kv_open(":memory:", &options, &by_age, NULL));
    watch_options.progress = KV_YES;
    watcher = watch(db, "nothing", &watch_options);
    for (i = 0; i < 3; i++) {
        put(by_age, "a", "1", 0);
        CHECK(!kv_clock_advance(clock, 2 * MINUTE_MS, NULL));
    }
    CHECK(!kv_revision_at(by_age, 0, &revision, NULL) && revision == 1);
    CHECK(!kv_revision_at(by_age, 10 * MINUTE_MS, &revision, NULL) && revision == 2);
    CHECK(!kv_revision_at(by_age, 13 * MINUTE_MS, &revision, NULL) && revision == 3);
    CHECK(!kv_revision_at(by_age, 99 * MINUTE_MS, &revision, NULL) && revision == 4);
    CHECK(!kv_clock_advance(clock, 62 * MINUTE_MS, NULL));
    CHECK(status_number(by_age, KV_STATUS_COMPACTED_REVISION) == 4);
    REFUSED(KV_COMPACTED, "compacted", kv_revision_at(by_age, 10 * MINUTE_MS, &revision, &error));
    batch = next(watcher);
    CHECK(kv_watch_batch_revision(batch) == 1 && kv_watch_batch_len(batch) == 0 && !kv_watch_batch_at(batch, 0));
    kv_watch_batch_free(batch);
    for (i = 0; i < 30; i++) put(db, "a", "1", 0);
    CHECK(!kv_clock_advance(clock, 1000, NULL));
    CHECK(status_number(db, KV_STATUS_COMPACTED_REVISION) == 21);
    kv_watcher_free(watcher);
    kv_close(db);
    kv_close(by_age);
    kv_clock_free(clock);
}

/* A fork while a thread waits: calls with the parent's watcher in the child return `forked` at
 * once. */
static void forked(void) {
    kv_db *db = NULL;
    kv_watcher *watcher;
    kv_watch_batch *batch = NULL;
    char path[512];
    pthread_t thread;
    pid_t pid;
    int fd;
    snprintf(path, sizeof path, "%s/forked", dir);
    CHECK(!kv_open(path, NULL, &db, NULL));
    watcher = watch(db, "a", NULL);
    CHECK(!kv_watcher_fd(watcher, &fd, NULL));
    thread = started(watcher);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        int wrong = kv_watcher_next(watcher, KV_FOREVER, &batch, NULL) != KV_FORKED;
        wrong |= (kv_watcher_fd(watcher, &fd, NULL) != KV_FORKED) << 1;
        wrong |= (kv_watch(db, kv_all(), NULL, &watcher, NULL) != KV_FORKED) << 2;
        kv_watcher_resume_revision(watcher);
        kv_watcher_cancel(watcher);
        kv_watcher_free(watcher);
        kv_close(db);
        _exit(wrong);
    }
    CHECK(ended_with(pid) == 0);
    put(db, "a", "1", 0);
    CHECK(ended(thread) == KV_OK);
    put(db, "a", "2", 0);
    expect(watcher, 3, KV_EVENT_PUT, "a");
    kv_watcher_free(watcher);
    kv_close(db);
}

int main(int argc, char **argv) {
    /* a forked child must not free the memory of its parent: a leak checker reports that memory */
    int no_fork = argc > 1 && strcmp(argv[1], "--no-fork") == 0;
    make_dir("watch");
    if (!no_fork) across_processes();
    whole_revisions();
    starts_and_filters();
    descriptor();
    ends_of_waiting();
    compaction();
    refusals();
    by_the_clock();
    if (!no_fork) forked();
    return summary();
}
