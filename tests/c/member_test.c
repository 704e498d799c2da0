/* Members, the hash of the history, and snapshot files, from C. The last line is "N passed, N failed". */
#define _GNU_SOURCE
#include "check.h"

static void hash(void) {
    kv_db *db = memory(NULL);
    uint32_t hash = 0;
    int64_t compacted = 0, revision = 0;
    CHECK(kv_hash_kv(db, 0, &hash, &compacted, &revision, NULL) == KV_OK);
    CHECK(hash == 1084519789u && compacted == -1 && revision == 1);
    put(db, "a", "0", 0);
    CHECK(kv_hash_kv(db, 2, &hash, NULL, NULL, NULL) == KV_OK && hash == 1750265556u);
    CHECK(kv_compact(db, 2, KV_YES, NULL, NULL) == KV_OK);
    CHECK(kv_hash_kv(db, 0, NULL, &compacted, &revision, NULL) == KV_OK && compacted == 2 && revision == 2);
    REFUSED(KV_COMPACTED, "compacted", kv_hash_kv(db, 1, &hash, NULL, NULL, &error));
    REFUSED(KV_FUTURE_REVISION, "future", kv_hash_kv(db, 3, &hash, NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "-1", kv_hash_kv(db, -1, &hash, NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kv_db", kv_hash_kv(NULL, 0, &hash, NULL, NULL, &error));
    kv_close(db);
}

static void store_is_one_member(void) {
    static const char *const urls[] = {"http://127.0.0.1:1", "http://127.0.0.1:2"};
    static const char *const none[] = {NULL};
    kv_db *db = memory(NULL);
    kv_members *members = NULL;
    const kv_member *member;
    uint64_t id = 7;
    CHECK(kv_member_list(db, &members, NULL) == KV_OK && kv_members_len(members) == 1 && !kv_members_at(members, 1));
    member = kv_members_at(members, 0);
    CHECK(member->id != 0 && strcmp(member->name, "") == 0 && member->is_learner == KV_NO);
    CHECK(member->peer_urls_len == 0 && member->client_urls_len == 0);
    CHECK(kv_move_leader(db, member->id, NULL) == KV_OK);
    REFUSED(KV_FAILED_PRECONDITION, "bad leader transferee", kv_move_leader(db, 0, &error));
    REFUSED(KV_UNSUPPORTED, "kv snapshot save", kv_member_add(db, urls, 2, KV_YES, &id, &error));
    CHECK(id == 7);
    REFUSED(KV_UNSUPPORTED, "etcdutl snapshot restore", kv_member_remove(db, member->id, &error));
    REFUSED(KV_UNSUPPORTED, "one member", kv_member_update(db, member->id, urls, 1, &error));
    REFUSED(KV_UNSUPPORTED, "one member", kv_member_promote(db, member->id, &error));
    REFUSED(KV_INVALID_ARGUMENT, "peer_urls", kv_member_add(db, NULL, 1, KV_NO, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "peer_urls", kv_member_add(db, none, 1, KV_NO, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "learner", kv_member_add(db, urls, 1, 9, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out", kv_member_list(db, NULL, &error));
    kv_members_free(members);
    kv_members_free(NULL);
    CHECK(kv_members_len(NULL) == 0 && !kv_members_at(NULL, 0));
    kv_close(db);
}

static void member_of_a_server(void) {
    static const char *const urls[] = {"http://127.0.0.1:1"};
    static const char *const bad[] = {"nowhere"};
    kv_db *store = memory(NULL), *db = NULL;
    kv_server *server = NULL;
    kv_members *members = NULL;
    uint64_t id;
    CHECK(kv_serve(store, "127.0.0.1:0", NULL, &server, NULL) == KV_OK);
    CHECK(kv_open(kv_server_address(server), NULL, &db, NULL) == KV_OK);
    CHECK(kv_member_list(db, &members, NULL) == KV_OK && kv_members_len(members) == 1);
    id = kv_members_at(members, 0)->id;
    CHECK(kv_members_at(members, 0)->client_urls_len == 1);
    CHECK(strcmp(kv_members_at(members, 0)->client_urls[0], kv_server_address(server)) == 0);
    kv_members_free(members);
    REFUSED(KV_INVALID_ARGUMENT, "URLs", kv_member_update(db, id, bad, 1, &error));
    CHECK(kv_member_update(db, id, urls, 1, NULL) == KV_OK);
    CHECK(kv_member_list(db, &members, NULL) == KV_OK && kv_members_at(members, 0)->peer_urls_len == 1);
    CHECK(strcmp(kv_members_at(members, 0)->peer_urls[0], urls[0]) == 0);
    kv_members_free(members);
    REFUSED(KV_NOT_FOUND, "member not found", kv_member_remove(db, id + 1, &error));
    REFUSED(KV_FAILED_PRECONDITION, "not enough started members", kv_member_remove(db, id, &error));
    kv_close(db);
    kv_server_free(server);
    kv_close(store);
}

static void snapshot_files(void) {
    kv_db *db = memory(NULL), *restored = NULL;
    char file[512], store[512], other[512];
    int64_t revision = 0;
    uint32_t before, after = 0;
    snprintf(file, sizeof file, "%s/backup.db", dir);
    snprintf(store, sizeof store, "%s/restored", dir);
    snprintf(other, sizeof other, "%s/other", dir);
    put(db, "a", "0", 0);
    put(db, "a", "1", 0);
    CHECK(kv_snapshot_save(db, file, &revision, NULL) == KV_OK && revision == 3);
    REFUSED(KV_EXISTS, "exists", kv_snapshot_save(db, file, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "path", kv_snapshot_save(db, NULL, NULL, &error));
    revision = 0;
    CHECK(kv_restore(file, store, 0, &revision, NULL) == KV_OK && revision == 3);
    REFUSED(KV_EXISTS, "not empty", kv_restore(file, store, 0, NULL, &error));
    REFUSED(KV_NOT_FOUND, "opening", kv_restore("/nowhere/backup.db", other, KV_NO, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "skip_hash_check", kv_restore(file, store, 7, NULL, &error));
    CHECK(kv_open(store, NULL, &restored, NULL) == KV_OK);
    CHECK(kv_hash_kv(db, 0, &before, NULL, NULL, NULL) == KV_OK);
    CHECK(kv_hash_kv(restored, 0, &after, NULL, NULL, NULL) == KV_OK && before == after);
    kv_close(restored);
    kv_close(db);
}

int main(void) {
    make_dir("member");
    hash();
    store_is_one_member();
    member_of_a_server();
    snapshot_files();
    return summary();
}
