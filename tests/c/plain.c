/* The errors of a libkv.so without etcd's protocol: kv_open with the address of a cluster, and
 * kv_serve. Run by tests/plain.sh. */
#include "check.h"

int main(void) {
    kv_db *db = NULL, *cluster = NULL;
    kv_server *server = NULL;
    kv_options options = KV_OPTIONS_INIT;
    REFUSED(KV_UNSUPPORTED, "is a cluster's address, which this build cannot open",
            kv_open("etcd://127.0.0.1:2379", NULL, &cluster, &error));
    options.tls_ca = "ca.pem";
    options.connect_timeout_ms = 1000;
    REFUSED(KV_UNSUPPORTED, "https://127.0.0.1:2379", kv_open("https://127.0.0.1:2379", &options, &cluster, &error));
    REFUSED(KV_INVALID_ARGUMENT, "tls_ca", kv_open(":memory:", &options, &db, &error));
    CHECK(kv_open(":memory:", NULL, &db, NULL) == KV_OK);
    REFUSED(KV_UNSUPPORTED, "built without the feature etcd", kv_serve(db, "127.0.0.1:0", NULL, &server, &error));
    REFUSED(KV_UNSUPPORTED, "built without the feature etcd", kv_snapshot_save(db, "/nowhere/x", NULL, &error));
    REFUSED(KV_UNSUPPORTED, "built without the feature etcd", kv_restore("/nowhere/x", "/nowhere/y", 0, NULL, &error));
    CHECK(cluster == NULL && server == NULL);
    kv_close(db);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
