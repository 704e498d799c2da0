/* A store is served and opened by its address: every call goes over the network and returns the same
 * as on the store. Also closing in any order, a forked child, and calls that a cluster refuses. */
#include <poll.h>

#include "check.h"

static kv_server *served(const kv_db *db, const char *address) {
    kv_server *server = NULL;
    CHECK(kv_serve(db, address, NULL, &server, NULL) == KV_OK);
    return server;
}

static kv_db *opened(const kv_server *server) {
    kv_db *cluster = NULL;
    kv_error *error = NULL;
    CHECK(kv_open(kv_server_address(server), NULL, &cluster, &error) == KV_OK);
    if (error) printf("%s: %s\n", kv_server_address(server), kv_error_message(error));
    kv_error_free(error);
    return cluster;
}

static int has(const kv_db *db, const char *key, const char *value) {
    kv_key_value *kv = NULL;
    int good = kv_get(db, kv_str(key), 0, &kv, NULL) == KV_OK && kv && is_text(kv->value, value);
    kv_key_value_free(kv);
    return good;
}

/* Every kind of call, on a store that no other caller uses. */
static void calls(const kv_db *db) {
    char buffer[8];
    size_t len = 0;
    int64_t revision = 0, lease = 0, ttl = 0;
    kv_put_options with_lease = KV_PUT_OPTIONS_INIT;
    kv_scan *scan = NULL;
    const kv_key_value *step = NULL;
    kv_key_value *kv = NULL;
    kv_snapshot *snapshot = NULL;
    kv_time_to_live_response *left = NULL;
    int seen = 0;
    put(db, "a", "1", 0);
    put(db, "b", "22", 0);
    CHECK(has(db, "a", "1") && !has(db, "c", ""));
    CHECK(kv_get_into(db, kv_str("b"), (uint8_t *)buffer, sizeof buffer, &len, NULL) == KV_OK && len == 2);
    CHECK(kv_get_into(db, kv_str("c"), (uint8_t *)buffer, sizeof buffer, &len, NULL) == KV_OK && len == KV_NONE);
    CHECK(count(db, "") == 2);
    CHECK(kv_scan_open(db, kv_all(), NULL, &scan, NULL) == KV_OK);
    while (kv_scan_next(scan, &step, NULL) == KV_OK && step) seen++;
    CHECK(seen == 2);
    kv_scan_free(scan);
    CHECK(kv_snapshot_open(db, 0, &snapshot, NULL) == KV_OK && kv_snapshot_revision(snapshot) == 3);
    CHECK(kv_delete(db, kv_key(kv_str("b")), NULL, NULL, NULL) == KV_OK);
    CHECK(kv_snapshot_get(snapshot, kv_str("b"), &kv, NULL) == KV_OK && kv && is_text(kv->value, "22"));
    kv_key_value_free(kv);
    kv_snapshot_free(snapshot);
    CHECK(kv_lease_grant(db, 60, 0, &lease, &ttl, NULL) == KV_OK && ttl == 60);
    with_lease.lease = lease;
    CHECK(kv_put(db, kv_str("leased"), kv_str("x"), &with_lease, NULL, NULL) == KV_OK);
    CHECK(kv_lease_time_to_live(db, lease, KV_YES, &left, NULL) == KV_OK);
    kv_time_to_live_response_free(left);
    CHECK(kv_lease_revoke(db, lease, NULL, NULL) == KV_OK && !has(db, "leased", "x"));
    CHECK(kv_compact(db, 3, KV_NO, &revision, NULL) == KV_OK);
    REFUSED(KV_COMPACTED, "compacted", kv_get(db, kv_str("a"), 2, &kv, &error));
    CHECK(status_number(db, KV_STATUS_REVISION) == revision);
}

/* Each side receives the other side's writes; the watcher of the cluster is polled by its
 * descriptor. */
static void both_sides(kv_db *db, kv_db *cluster) {
    kv_watcher *watcher = NULL;
    kv_watch_batch *batch = NULL;
    struct pollfd polled = {0, POLLIN, 0};
    int64_t from;
    int fd = -1;
    CHECK(kv_watch(cluster, kv_prefix(kv_str("w/")), NULL, &watcher, NULL) == KV_OK);
    CHECK(kv_watcher_fd(watcher, &fd, NULL) == KV_OK);
    from = status_number(db, KV_STATUS_REVISION);
    put(db, "w/here", "1", 0);
    polled.fd = fd;
    CHECK(poll(&polled, 1, WAIT_LIMIT_MS) == 1);
    CHECK(kv_watcher_next(watcher, WAIT_LIMIT_MS, &batch, NULL) == KV_OK && kv_watch_batch_revision(batch) == from + 1);
    kv_watch_batch_free(batch);
    put(cluster, "w/there", "2", 0);
    CHECK(kv_watcher_next(watcher, WAIT_LIMIT_MS, &batch, NULL) == KV_OK && kv_watch_batch_revision(batch) == from + 2);
    kv_watch_batch_free(batch);
    CHECK(has(db, "w/there", "2") && has(cluster, "w/here", "1"));
    kv_watcher_free(watcher);
}

static void locked(kv_db *db, kv_db *cluster) {
    kv_lock *here = NULL, *there = NULL;
    int32_t has_it = 0;
    CHECK(kv_lock_open(db, kv_str("lock"), 60, &here, NULL) == KV_OK);
    CHECK(kv_lock_open(cluster, kv_str("lock"), 60, &there, NULL) == KV_OK);
    CHECK(kv_lock_acquire(there, WAIT_LIMIT_MS, NULL) == KV_OK);
    CHECK(kv_lock_try_acquire(here, &has_it, NULL) == KV_OK && has_it == KV_NO);
    CHECK(kv_lock_release(there, NULL) == KV_OK);
    CHECK(kv_lock_acquire(here, WAIT_LIMIT_MS, NULL) == KV_OK);
    kv_lock_free(here);
    kv_lock_free(there);
}

/* Clients get the limits of the database, or lower limits of the server. */
static void limits(void) {
    kv_options options = KV_OPTIONS_INIT;
    kv_serve_options how = KV_SERVE_OPTIONS_INIT;
    const size_t large = 3 << 20;
    uint8_t *bytes = calloc(1, large);
    kv_bytes value = {bytes, large};
    kv_server *server;
    kv_db *db, *cluster;
    CHECK(bytes != NULL);
    options.max_request_bytes = 4 << 20;
    CHECK(kv_open(":memory:", &options, &db, NULL) == KV_OK);
    server = served(db, "127.0.0.1:0");
    cluster = opened(server);
    CHECK(kv_put(cluster, kv_str("a"), value, NULL, NULL, NULL) == KV_OK);
    kv_close(cluster);
    kv_server_free(server);
    how.max_request_bytes = 1 << 20;
    how.max_txn_ops = 1;
    CHECK(kv_serve(db, "127.0.0.1:0", &how, &server, NULL) == KV_OK);
    cluster = opened(server);
    value.len = (1 << 20) + (1 << 18); /* less than the largest message */
    REFUSED(KV_TOO_LARGE, "too large", kv_put(cluster, kv_str("a"), value, NULL, NULL, &error));
    CHECK(kv_put(db, kv_str("a"), value, NULL, NULL, NULL) == KV_OK);
    kv_close(cluster);
    kv_server_free(server);
    kv_close(db);
    free(bytes);
}

/* Closes database, server and client in different orders. */
static void ends(void) {
    kv_db *db = memory(NULL), *cluster;
    kv_server *server = served(db, "127.0.0.1:0");
    kv_options options = KV_OPTIONS_INIT;
    kv_db *unreachable = NULL;
    char address[256];
    cluster = opened(server);
    put(cluster, "a", "1", 0);
    snprintf(address, sizeof address, "%s", kv_server_address(server));
    REFUSED(KV_UNSUPPORTED, "cluster", kv_serve(cluster, "127.0.0.1:0", NULL, &server, &error));
    /* the database first: its clients get errors */
    kv_close(db);
    CHECK(kv_put(cluster, kv_str("a"), kv_str("2"), NULL, NULL, NULL) != KV_OK);
    kv_server_free(server);
    options.connect_timeout_ms = 2000;
    REFUSED(KV_UNAVAILABLE, strstr(address, "127"), kv_open(address, &options, &unreachable, &error));
    kv_close(cluster);
    /* the server first, with a client and its watcher */
    db = memory(NULL);
    server = served(db, "127.0.0.1:0");
    cluster = opened(server);
    kv_server_free(server);
    put(db, "a", "1", 0);
    kv_close(cluster);
    kv_close(db);
    kv_server_free(NULL);
    CHECK(kv_server_address(NULL) == NULL);
}

static void refusals(const kv_db *db) {
    kv_server *server = NULL, *first;
    kv_db *cluster = NULL;
    kv_options options = KV_OPTIONS_INIT;
    kv_serve_options how = KV_SERVE_OPTIONS_INIT;
    REFUSED(KV_INVALID_ARGUMENT, "NULL", kv_serve(NULL, "127.0.0.1:0", NULL, &server, &error));
    REFUSED(KV_INVALID_ARGUMENT, "NULL", kv_serve(db, NULL, NULL, &server, &error));
    REFUSED(KV_INVALID_ARGUMENT, "NULL", kv_serve(db, "127.0.0.1:0", NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "port", kv_serve(db, "127.0.0.1", NULL, &server, &error));
    REFUSED(KV_INVALID_ARGUMENT, "cert", kv_serve(db, "https://127.0.0.1:0", NULL, &server, &error));
    how.cert_file = how.key_file = "/nowhere.pem";
    REFUSED(KV_INVALID_ARGUMENT, "/nowhere.pem", kv_serve(db, "https://127.0.0.1:0", &how, &server, &error));
    how.client_cert_auth = 7;
    REFUSED(KV_INVALID_ARGUMENT, "client_cert_auth", kv_serve(db, "127.0.0.1:0", &how, &server, &error));
    first = served(db, "127.0.0.1:0");
    REFUSED(KV_BUSY, "in use", kv_serve(db, kv_server_address(first), NULL, &server, &error));
    options.create = KV_NO;
    REFUSED(KV_INVALID_ARGUMENT, "create", kv_open(kv_server_address(first), &options, &cluster, &error));
    options.create = 0;
    options.tls_ca = "/nowhere.pem";
    REFUSED(KV_INVALID_ARGUMENT, "TLS", kv_open(kv_server_address(first), &options, &cluster, &error));
    options.tls_ca = NULL;
    options.request_timeout_ms = -7;
    REFUSED(KV_INVALID_ARGUMENT, "request_timeout_ms", kv_open(kv_server_address(first), &options, &cluster, &error));
    kv_server_free(first);
}

static void forked(kv_db *db, kv_server *server, kv_db *cluster) {
    pid_t pid;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        int wrong = kv_put(cluster, kv_str("child"), kv_str("1"), NULL, NULL, NULL) != KV_FORKED;
        kv_db *own = NULL;
        /* a child may open the address again */
        wrong |= (kv_open(kv_server_address(server), NULL, &own, NULL) != KV_OK || !has(own, "a", "1")) << 1;
        kv_close(own);
        kv_server_free(server);
        kv_close(cluster);
        kv_close(db);
        _exit(wrong);
    }
    CHECK(ended_with(pid) == 0);
    put(cluster, "parent", "1", 0);
    CHECK(has(db, "parent", "1"));
}

int main(int argc, char **argv) {
    /* a forked child must not free the memory of its parent: a leak checker reports that memory */
    int no_fork = argc > 1 && strcmp(argv[1], "--no-fork") == 0;
    char address[300];
    kv_db *db, *cluster;
    kv_server *server;
    make_dir("server");
    db = memory(NULL);
    server = served(db, "127.0.0.1:0");
    cluster = opened(server);
    calls(cluster);
    both_sides(db, cluster);
    locked(db, cluster);
    refusals(db);
    if (!no_fork) forked(db, server, cluster);
    kv_close(cluster);
    kv_server_free(server);
    snprintf(address, sizeof address, "unix://%s/socket", dir);
    server = served(db, address);
    CHECK(strcmp(kv_server_address(server), address) == 0);
    cluster = opened(server);
    CHECK(cluster && has(cluster, "a", "1"));
    kv_close(cluster);
    kv_server_free(server);
    kv_close(db);
    limits();
    ends();
    return summary();
}
