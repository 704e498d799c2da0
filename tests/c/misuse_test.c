/* Bad input from C: each call returns an error code and a message that names the argument, and does
 * not change the store. The last line is "N passed, N failed". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kv.h"

static int passed, failed;
static kv_db *db;
static char dir[256], path[512];

static void check(int good, const char *what, const char *detail) {
    if (good) {
        passed++;
    } else {
        failed++;
        printf("FAILED %s: %s\n", what, detail);
    }
}

static int64_t revision(void) {
    kv_range_response *r = NULL;
    int64_t at = -1;
    if (!kv_range(db, kv_all(), NULL, &r, NULL)) at = kv_range_response_revision(r);
    kv_range_response_free(r);
    return at;
}

/* Checks a call that returned `code`: its error has the code `want` and a message that contains
 * `words`, and it wrote nothing. */
static void refused(const char *what, kv_code code, kv_error *error, kv_code want, const char *words) {
    static int64_t before = -1;
    char detail[512];
    int named = error && strstr(kv_error_message(error), words) != NULL;
    snprintf(detail, sizeof detail, "code %d (%s), message \"%s\", expected %s and \"%s\"", code, kv_strerror(code),
             kv_error_message(error), kv_strerror(want), words);
    check(code == want && kv_error_code(error) == want && named, what, detail);
    kv_error_free(error);
    if (db) {
        int64_t now = revision();
        check(before < 0 || now == before || now < 0, what, "the revision changed");
        before = now;
    }
}

#define REFUSED(want, words, call)                  \
    do {                                            \
        kv_error *error = NULL;                     \
        kv_code code = (call);                      \
        refused(#call, code, error, want, words);   \
    } while (0)

static void null_and_wrong_pointers(void) {
    kv_txn *txn = kv_txn_new();
    kv_key_value *kv = NULL;
    kv_bytes null_bytes;
    size_t len = 0;
    uint8_t buffer[4];
    null_bytes.data = NULL;
    null_bytes.len = 5;
    REFUSED(KV_INVALID_ARGUMENT, "kv_db is NULL", kv_put(NULL, kv_str("a"), kv_str("b"), NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_db", kv_put((kv_db *)txn, kv_str("a"), kv_str("b"), NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_txn", kv_txn_run(db, (kv_txn *)db, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_scan", kv_scan_next((kv_scan *)db, (const kv_key_value **)&kv, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_get(db, kv_str("a"), 0, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_range(db, kv_all(), NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "len is NULL", kv_get_into(db, kv_str("a"), buffer, 4, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "buffer is NULL", kv_get_into(db, kv_str("a"), NULL, 4, &len, &error));
    REFUSED(KV_INVALID_ARGUMENT, "key is NULL but has 5", kv_put(db, null_bytes, kv_str("b"), NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "value is NULL but has 5", kv_put(db, kv_str("a"), null_bytes, NULL, NULL, &error));
    null_bytes.data = buffer;
    null_bytes.len = (size_t)-1;
    REFUSED(KV_INVALID_ARGUMENT, "invalid length", kv_put(db, null_bytes, kv_str("b"), NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "path of the store is NULL", kv_open(NULL, NULL, &db, &error));
    check(kv_put(NULL, kv_str("a"), kv_str("b"), NULL, NULL, NULL) == KV_INVALID_ARGUMENT, "error is NULL", "");
    kv_txn_free(txn);
}

static void numbers_out_of_range(void) {
    kv_put_options put = KV_PUT_OPTIONS_INIT;
    kv_range_options range = KV_RANGE_OPTIONS_INIT;
    kv_options options = KV_OPTIONS_INIT;
    kv_range_response *result = NULL;
    kv_key_range keys = kv_all();
    kv_txn *txn = kv_txn_new();
    kv_db *other = NULL;
    const size_t sizes[] = {0, 3, (size_t)1 << 20, (size_t)-1};
    size_t i;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        put.size = sizes[i];
        REFUSED(KV_INVALID_ARGUMENT, "kv_put_options.size", kv_put(db, kv_str("a"), kv_str("b"), &put, NULL, &error));
    }
    put.size = sizeof put;
    put.durability = 9;
    REFUSED(KV_INVALID_ARGUMENT, "durability is 9", kv_put(db, kv_str("a"), kv_str("b"), &put, NULL, &error));
    put.durability = 0;
    put.prev_kv = 7;
    REFUSED(KV_INVALID_ARGUMENT, "prev_kv is 7", kv_put(db, kv_str("a"), kv_str("b"), &put, NULL, &error));
    range.sort_order = 7;
    REFUSED(KV_INVALID_ARGUMENT, "sort_order is 7", kv_range(db, keys, &range, &result, &error));
    range.sort_order = 0;
    range.sort_target = -1;
    REFUSED(KV_INVALID_ARGUMENT, "sort_target is -1", kv_range(db, keys, &range, &result, &error));
    keys.kind = 12;
    REFUSED(KV_INVALID_ARGUMENT, "12 is no KV_RANGE", kv_range(db, keys, NULL, &result, &error));
    REFUSED(KV_INVALID_ARGUMENT, "5 is no list", kv_txn_put(txn, 5, kv_str("a"), kv_str("b"), NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "9 is no KV_TARGET",
            kv_txn_compare(txn, kv_all(), 9, KV_EQUAL, 0, kv_str(""), &error));
    REFUSED(KV_INVALID_ARGUMENT, "9 is no comparison",
            kv_txn_compare(txn, kv_all(), KV_TARGET_VERSION, 9, 0, kv_str(""), &error));
    REFUSED(KV_INVALID_ARGUMENT, "physical is 4", kv_compact(db, 1, 4, NULL, &error));
    options.limits = 3;
    REFUSED(KV_INVALID_ARGUMENT, "limits is 3", kv_open(":memory:", &options, &other, &error));
    options.limits = 0;
    options.busy_timeout_ms = -9;
    REFUSED(KV_INVALID_ARGUMENT, "busy_timeout_ms is -9", kv_open(":memory:", &options, &other, &error));
    options.busy_timeout_ms = 0;
    REFUSED(KV_INVALID_ARGUMENT, "3 is no KV_ALARM", kv_alarm_activate(db, 3, 0, &error));
    REFUSED(KV_INVALID_ARGUMENT, "-1 is no KV_ALARM", kv_alarm_disarm(db, 0, -1, NULL, &error));
    options.user = "root";
    REFUSED(KV_INVALID_ARGUMENT, "user", kv_open(":memory:", &options, &other, &error));
    options.user = NULL;
    options.max_readers = (uint32_t)-1;
    REFUSED(KV_INVALID_ARGUMENT, "max_readers is 4294967295", kv_open(":memory:", &options, &other, &error));
    options.max_readers = 0;
    options.mode = 04755;
    REFUSED(KV_INVALID_ARGUMENT, "mode is 4755", kv_open(":memory:", &options, &other, &error));
    check(other == NULL, "outputs", "written on failure");
    check(strcmp(kv_strerror(99), "unknown") == 0 && strcmp(kv_strerror(KV_COMPACTED), "compacted") == 0, "names", "");
    kv_txn_free(txn);
}

static void what_etcd_refuses(void) {
    kv_error *error = NULL;
    kv_key_value *kv = NULL;
    kv_range_response *result = NULL;
    kv_put_options put = KV_PUT_OPTIONS_INIT;
    kv_txn *txn = kv_txn_new();
    kv_bytes key;
    int64_t number = -1;
    char *large = calloc(1, 70 << 20);
    REFUSED(KV_INVALID_ARGUMENT, "key is not provided", kv_put(db, kv_str(""), kv_str("b"), NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "key is not provided", kv_get(db, kv_str(""), 0, &kv, &error));
    REFUSED(KV_TOO_LARGE, "481 bytes", kv_put(db, kv_buf(large, 481), kv_str("b"), NULL, NULL, &error));
    REFUSED(KV_TOO_LARGE, "limit is 67108864", kv_put(db, kv_str("a"), kv_buf(large, 70 << 20), NULL, NULL, &error));
    put.lease = 7;
    REFUSED(KV_LEASE_NOT_FOUND, "lease 7", kv_put(db, kv_str("a"), kv_str("b"), &put, NULL, &error));
    put.lease = 0;
    put.ignore_value = KV_YES;
    REFUSED(KV_KEY_NOT_FOUND, "missing", kv_put(db, kv_str("missing"), kv_str(""), &put, NULL, &error));
    kv_txn_put(txn, KV_SUCCESS, kv_str("twice"), kv_str("1"), NULL, NULL);
    kv_txn_put(txn, KV_SUCCESS, kv_str("twice"), kv_str("2"), NULL, NULL);
    REFUSED(KV_DUPLICATE_KEY, "twice", kv_txn_run(db, txn, NULL, &error));
    check(kv_get(db, kv_str("a"), 999, &kv, &error) == KV_FUTURE_REVISION, "a future revision", "is refused");
    check(kv_error_revision(error, &number) == KV_YES && number == revision(), "its error", "has the current revision");
    check(kv_error_lease(error, NULL) == KV_NO && kv_error_key(error, NULL) == KV_NO, "its error", "no lease, no key");
    kv_error_free(error);
    error = NULL;
    check(kv_put(db, kv_str("missing"), kv_str(""), &put, NULL, &error) == KV_KEY_NOT_FOUND, "a missing key", "");
    check(kv_error_key(error, &key) == KV_YES && key.len == 7 && !memcmp(key.data, "missing", 7), "its error", "key");
    check(kv_error_revision(error, &number) == KV_NO, "its error", "has no revision");
    kv_error_free(error);
    error = NULL;
    check(kv_lease_revoke(db, 8, NULL, &error) == KV_LEASE_NOT_FOUND, "a missing lease", "");
    check(kv_error_lease(error, &number) == KV_YES && number == 8, "its error", "lease");
    kv_error_free(error);
    error = NULL;
    check(kv_error_lease(NULL, &number) == KV_NO && kv_error_key(NULL, &key) == KV_NO, "error is NULL", "KV_NO");
    check(kv_range(db, kv_all(), NULL, &result, NULL) == KV_OK, "a read after refused calls", "succeeds");
    kv_range_response_free(result);
    kv_txn_free(txn);
    free(large);
}

/* Txns in txns, too deep for the stack: refused when they are built. */
static void nested_too_deep(void) {
    kv_txn *inner = kv_txn_new();
    kv_error *error = NULL;
    kv_code code = KV_OK;
    int levels = 0;
    while (!code && levels < 100000) {
        kv_txn *outer = kv_txn_new();
        code = kv_txn_txn(outer, levels % 2 ? KV_SUCCESS : KV_FAILURE, inner, &error);
        kv_txn_free(inner);
        inner = outer;
        levels += !code;
    }
    check(levels == 200, "levels", "200 can be nested");
    refused("one level too many", code, error, KV_TOO_MANY_OPS, "nested deeper than 200");
    kv_txn_free(inner);
}

static void handles_after_the_store_is_closed(void) {
    kv_db *parent = NULL;
    kv_scan *scan = NULL;
    kv_events *events = NULL, *history = NULL;
    kv_diff *diff = NULL;
    kv_snapshot *snapshot = NULL;
    kv_range_response *result = NULL;
    const kv_key_value *kv = NULL;
    const kv_event *event = NULL;
    const kv_difference *change = NULL;
    kv_key_value *owned = NULL;
    kv_code code;
    check(kv_open(":memory:", NULL, &parent, NULL) == KV_OK, "a parent", "");
    kv_put(parent, kv_str("a"), kv_str("1"), NULL, NULL, NULL);
    kv_put(parent, kv_str("b"), kv_str("2"), NULL, NULL, NULL);
    code = kv_scan_open(parent, kv_all(), NULL, &scan, NULL) || kv_scan_next(scan, &kv, NULL);
    code = code || kv_events_open(parent, 0, 0, kv_all(), &events, NULL) || kv_events_next(events, &event, NULL);
    code = code || kv_history(parent, kv_str("a"), 0, &history, NULL);
    code = code || kv_diff_open(parent, 1, 3, kv_all(), &diff, NULL) || kv_diff_next(diff, &change, NULL);
    code = code || kv_snapshot_open(parent, 0, &snapshot, NULL) || kv_range(parent, kv_all(), NULL, &result, NULL);
    check(!code && kv && event && change, "children", "made");
    kv_close(parent);
    check(kv_range_response_len(result) == 2, "a result stays valid after kv_close", "");
    check(kv_scan_next(scan, &kv, NULL) == KV_CLOSED, "scan", "closed");
    check(kv_events_next(events, &event, NULL) == KV_CLOSED, "events", "closed");
    check(kv_events_next(history, &event, NULL) == KV_CLOSED, "history", "closed");
    check(kv_diff_next(diff, &change, NULL) == KV_CLOSED, "diff", "closed");
    check(kv_snapshot_get(snapshot, kv_str("a"), &owned, NULL) == KV_CLOSED, "snapshot", "closed");
    kv_scan_free(scan);
    kv_events_free(events);
    kv_events_free(history);
    kv_diff_free(diff);
    kv_snapshot_free(snapshot);
    kv_range_response_free(result);
}

static void freeing_null(void) {
    kv_close(NULL);
    kv_error_free(NULL);
    kv_key_value_free(NULL);
    kv_put_response_free(NULL);
    kv_delete_response_free(NULL);
    kv_range_response_free(NULL);
    kv_scan_free(NULL);
    kv_events_free(NULL);
    kv_diff_free(NULL);
    kv_snapshot_free(NULL);
    kv_txn_free(NULL);
    kv_txn_response_free(NULL);
    kv_status_free(NULL);
    kv_check_report_free(NULL);
    kv_clock_free(NULL);
    check(kv_range_response_len(NULL) == 0 && kv_range_response_at(NULL, 0) == NULL, "accessors of NULL", "");
    check(kv_error_code(NULL) == KV_OK && kv_error_message(NULL)[0] == 0, "no error", "");
    check(kv_abi_version() == KV_ABI_VERSION && kv_version()[0] != 0, "versions", "");
}

static kv_code return_code(kv_transaction *t, void *payload) {
    kv_transaction_put(t, kv_str("never"), kv_str("1"), NULL, NULL);
    return *(kv_code *)payload;
}

static kv_code put_empty_key(kv_transaction *t, void *payload) {
    (void)payload;
    return kv_transaction_put(t, kv_str(""), kv_str("1"), NULL, NULL);
}

static kv_code add_to_sum(kv_transaction *t, void *payload) {
    kv_key_value *kv = NULL;
    kv_code code = kv_transaction_get(t, kv_str("sum"), &kv, NULL);
    char text[32] = "0";
    if (code) return code;
    if (kv) snprintf(text, sizeof text, "%.*s", (int)kv->value.len, (const char *)kv->value.data);
    snprintf(text, sizeof text, "%d", atoi(text) + *(int *)payload);
    kv_key_value_free(kv);
    return kv_transaction_put(t, kv_str("sum"), kv_str(text), NULL, NULL);
}

static void callbacks(void) {
    kv_code conflict = KV_CONFLICT, unknown = 77;
    int five = 5;
    kv_key_value *kv = NULL;
    REFUSED(KV_INVALID_ARGUMENT, "body is NULL", kv_transact(db, 0, NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "max_retries is -7", kv_transact(db, -7, return_code, &conflict, &error));
    REFUSED(KV_CONFLICT, "callback", kv_transact(db, 0, return_code, &conflict, &error));
    REFUSED(KV_INVALID_ARGUMENT, "77", kv_transact(db, 0, return_code, &unknown, &error));
    REFUSED(KV_INVALID_ARGUMENT, "key is not provided", kv_transact(db, 0, put_empty_key, NULL, &error));
    check(!kv_get(db, kv_str("never"), 0, &kv, NULL) && !kv, "a callback that returns an error", "writes nothing");
    check(!kv_transact(db, KV_FOREVER, add_to_sum, &five, NULL), "transact", "");
    check(!kv_transact(db, 0, add_to_sum, &five, NULL), "transact", "");
    check(!kv_get(db, kv_str("sum"), 0, &kv, NULL) && kv && kv->value.len == 2 && !memcmp(kv->value.data, "10", 2), "sum", "");
    kv_key_value_free(kv);
}

static void write_file(const char *name, const void *data, size_t len) {
    FILE *file = fopen(name, "wb");
    if (!file || fwrite(data, 1, len, file) != len || fclose(file)) exit(2);
}

static void paths(void) {
    unsigned char bbolt[4096] = {0};
    kv_options options = KV_OPTIONS_INIT;
    kv_db *other = NULL;
    struct stat stat_of;
    const unsigned char magic[4] = {0xED, 0xDA, 0x0C, 0xED};
    REFUSED(KV_UNAVAILABLE, "localhost:1", kv_open("etcd://localhost:1", NULL, &other, &error));
    snprintf(path, sizeof path, "%s/none", dir);
    options.read_only = KV_YES;
    REFUSED(KV_NOT_FOUND, path, kv_open(path, &options, &other, &error));
    options.read_only = 0;
    options.create = KV_NO;
    REFUSED(KV_NOT_FOUND, path, kv_open(path, &options, &other, &error));
    check(stat(path, &stat_of) != 0, "a failed open", "creates nothing");
    snprintf(path, sizeof path, "%s/file", dir);
    write_file(path, "x", 1);
    REFUSED(KV_NOT_A_STORE, path, kv_open(path, NULL, &other, &error));
    snprintf(path, sizeof path, "%s/foreign", dir);
    mkdir(path, 0700);
    strcat(path, "/notes.txt");
    write_file(path, "x", 1);
    path[strlen(path) - strlen("/notes.txt")] = 0;
    REFUSED(KV_NOT_A_STORE, "notes.txt", kv_open(path, NULL, &other, &error));
    snprintf(path, sizeof path, "%s/bbolt", dir);
    mkdir(path, 0700);
    memcpy(bbolt + 16, magic, 4);
    strcat(path, "/data.mdb");
    write_file(path, bbolt, sizeof bbolt);
    path[strlen(path) - strlen("/data.mdb")] = 0;
    REFUSED(KV_NOT_A_STORE, "bbolt", kv_open(path, NULL, &other, &error));
}

/* A forked child must not use the handles of its parent; it opens the store again. */
static void forked(void) {
    kv_db *parent = NULL, *child = NULL;
    kv_scan *scan = NULL;
    kv_events *history = NULL;
    const kv_key_value *kv = NULL;
    const kv_event *event = NULL;
    kv_key_value *found = NULL;
    int status = 0;
    pid_t pid;
    snprintf(path, sizeof path, "%s/forked", dir);
    check(!kv_open(path, NULL, &parent, NULL), "open before the fork", "");
    check(!kv_put(parent, kv_str("by"), kv_str("parent"), NULL, NULL, NULL), "put", "");
    check(!kv_scan_open(parent, kv_all(), NULL, &scan, NULL), "scan", "");
    check(!kv_history(parent, kv_str("by"), 0, &history, NULL), "history", "");
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        int wrong = kv_put(parent, kv_str("by"), kv_str("by the child"), NULL, NULL, NULL) != KV_FORKED;
        wrong |= (kv_scan_next(scan, &kv, NULL) != KV_FORKED) << 1;
        wrong |= (kv_open(path, NULL, &child, NULL) != KV_OK) << 2;
        wrong |= (child && kv_put(child, kv_str("by"), kv_str("child"), NULL, NULL, NULL) != KV_OK) << 3;
        wrong |= (kv_events_next(history, &event, NULL) != KV_FORKED) << 4;
        kv_events_free(history);
        kv_scan_free(scan);
        kv_close(parent);
        kv_close(child);
        _exit(wrong);
    }
    waitpid(pid, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child", "forked, opens again, writes");
    check(!kv_get(parent, kv_str("by"), 0, &found, NULL) && found && found->value.len == 5, "the parent", "reads it");
    kv_key_value_free(found);
    check(!kv_put(parent, kv_str("by"), kv_str("parent"), NULL, NULL, NULL), "the parent", "can write");
    check(!kv_scan_next(scan, &kv, NULL) && kv, "the parent's scan", "continues");
    check(!kv_events_next(history, &event, NULL) && event, "the parent's history", "continues");
    kv_events_free(history);
    kv_scan_free(scan);
    kv_close(parent);
}

/* A second copy of the library in this process must not open a store that the first copy has
 * open. */
static void second_copy(void) {
    kv_code (*open_copy)(const char *, const kv_options *, kv_db **, kv_error **);
    const char *(*message_of)(const kv_error *);
    void (*free_copys)(kv_error *);
    char command[2048], copy[512];
    kv_db *first = NULL, *second = NULL;
    kv_error *error = NULL;
    Dl_info info;
    void *library;
    kv_code code;
    snprintf(copy, sizeof copy, "%s/copy.so", dir);
    if (!dladdr((void *)(uintptr_t)&kv_open, &info)) exit(2);
    snprintf(command, sizeof command, "cp '%s' '%s'", info.dli_fname, copy);
    library = system(command) == 0 ? dlopen(copy, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library) {
        printf("not run: a second copy of the library (%s)\n", dlerror());
        return;
    }
    *(void **)&open_copy = dlsym(library, "kv_open");
    *(void **)&message_of = dlsym(library, "kv_error_message");
    *(void **)&free_copys = dlsym(library, "kv_error_free");
    snprintf(path, sizeof path, "%s/twice", dir);
    check(!kv_open(path, NULL, &first, NULL), "the first copy", "opens");
    code = open_copy(path, NULL, &second, &error);
    check(code == KV_BUSY && error && strstr(message_of(error), "another copy of libkv"), "the second copy", "busy");
    free_copys(error);
    kv_close(first);
}

int main(int argc, char **argv) {
    /* a forked child must not free the memory of its parent: a leak checker reports that memory */
    int no_fork = argc > 1 && strcmp(argv[1], "--no-fork") == 0;
    kv_options options = KV_OPTIONS_INIT;
    char command[512];
    snprintf(dir, sizeof dir, "%s/libkv-misuse-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid());
    if (mkdir(dir, 0700)) return 2;
    alarm(240); /* the signal ends a program that runs too long */
    options.durability = KV_DURABILITY_NONE;
    if (kv_open(":memory:", &options, &db, NULL)) return 2;
    null_and_wrong_pointers();
    numbers_out_of_range();
    what_etcd_refuses();
    nested_too_deep();
    paths();
    handles_after_the_store_is_closed();
    freeing_null();
    {
        kv_db *keep = db;
        db = NULL;
        if (!no_fork) forked();
        second_copy();
        db = keep;
    }
    callbacks();
    kv_close(db);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command)) return 2;
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
