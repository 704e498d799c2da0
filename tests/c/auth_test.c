/* Users, roles and permissions, on a store and over the network; a server that checks its clients. */
#include "check.h"

static kv_bytes str(const char *text) {
    return kv_str(text);
}

static kv_db *opened(const char *address, const char *user, const char *password, kv_error **error) {
    kv_options options = KV_OPTIONS_INIT;
    kv_db *cluster = NULL;
    options.user = user;
    options.password = password;
    kv_open(address, &options, &cluster, error);
    return cluster;
}

static kv_server *served(const kv_db *db) {
    kv_serve_options how = KV_SERVE_OPTIONS_INIT;
    kv_server *server = NULL;
    how.bcrypt_cost = 4;
    CHECK(kv_serve(db, "127.0.0.1:0", &how, &server, NULL) == KV_OK);
    return server;
}

/* The names, separated by spaces, are these. */
static int are(const kv_names *names, const char *wanted) {
    char all[256] = "";
    size_t i, used = 0;
    for (i = 0; i < kv_names_len(names); i++) {
        kv_bytes name = kv_names_at(names, i);
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%.*s", i ? " " : "", (int)name.len,
                                 (const char *)name.data);
        if (used >= sizeof all) return 0;
    }
    if (strcmp(all, wanted)) printf("names \"%s\"\n", all);
    return strcmp(all, wanted) == 0;
}

static int users_are(const kv_db *db, const char *wanted) {
    kv_names *names = NULL;
    int good = kv_user_list(db, &names, NULL) == KV_OK && are(names, wanted);
    kv_names_free(names);
    return good;
}

static int roles_are(const kv_db *db, const char *wanted) {
    kv_names *names = NULL;
    int good = kv_role_list(db, &names, NULL) == KV_OK && are(names, wanted);
    kv_names_free(names);
    return good;
}

static int roles_of(const kv_db *db, const char *user, const char *wanted) {
    kv_names *names = NULL;
    int good = kv_user_get(db, str(user), &names, NULL) == KV_OK && are(names, wanted);
    kv_names_free(names);
    return good;
}

static uint64_t auth_revision(const kv_db *db) {
    uint64_t revision = 0;
    CHECK(kv_auth_status(db, NULL, &revision, NULL, NULL) == KV_OK);
    return revision;
}

static int is_on(const kv_db *db) {
    int32_t enabled = 0;
    CHECK(kv_auth_status(db, &enabled, NULL, NULL, NULL) == KV_OK);
    return enabled == KV_YES;
}

static void add_root(const kv_db *db) {
    CHECK(kv_user_add(db, str("root"), str("secret"), NULL, NULL, NULL) == KV_OK);
    CHECK(kv_user_grant_role(db, str("root"), str("root"), NULL, NULL) == KV_OK);
}

static void users(const kv_db *db) {
    kv_user_add_options certificate = KV_USER_ADD_OPTIONS_INIT;
    int64_t revision = 0, before = status_number(db, KV_STATUS_REVISION);
    certificate.no_password = KV_YES;
    CHECK(auth_revision(db) == 1 && !is_on(db) && users_are(db, "") && roles_are(db, ""));
    CHECK(kv_user_add(db, str("alice"), str(""), NULL, &revision, NULL) == KV_OK && revision == before);
    CHECK(kv_user_add(db, str("cn"), str(NULL), &certificate, NULL, NULL) == KV_OK);
    REFUSED(KV_INVALID_ARGUMENT, "no_password", kv_user_add(db, str("x"), str("y"), &certificate, NULL, &error));
    REFUSED(KV_FAILED_PRECONDITION, "already exists", kv_user_add(db, str("cn"), str("x"), NULL, NULL, &error));
    CHECK(kv_role_add(db, str("b"), NULL, NULL) == KV_OK && kv_role_add(db, str("a"), NULL, NULL) == KV_OK);
    CHECK(users_are(db, "alice cn") && roles_are(db, "a b"));
    CHECK(kv_user_grant_role(db, str("alice"), str("b"), NULL, NULL) == KV_OK);
    CHECK(kv_user_grant_role(db, str("alice"), str("a"), &revision, NULL) == KV_OK && revision == before);
    CHECK(roles_of(db, "alice", "a b"));
    CHECK(kv_user_revoke_role(db, str("alice"), str("b"), NULL, NULL) == KV_OK && roles_of(db, "alice", "a"));
    CHECK(kv_role_delete(db, str("a"), NULL, NULL) == KV_OK && roles_of(db, "alice", ""));
    CHECK(kv_user_change_password(db, str("alice"), str("new"), NULL, NULL) == KV_OK);
    CHECK(kv_user_delete(db, str("cn"), NULL, NULL) == KV_OK && users_are(db, "alice"));
    CHECK(auth_revision(db) == 11 && status_number(db, KV_STATUS_REVISION) == before);
    CHECK(kv_user_delete(db, str("alice"), NULL, NULL) == KV_OK);
    CHECK(kv_role_delete(db, str("b"), NULL, NULL) == KV_OK);
}

/* What kv_role_get returns can be passed to kv_role_revoke_permission. */
static void permissions(const kv_db *db) {
    const kv_key_range ranges[] = {kv_key(str("a")), kv_prefix(str("b")), kv_between(str("c"), str("d")),
                                   kv_from_key(str("e")), kv_all()};
    const int32_t kinds[] = {KV_RANGE_ALL, KV_RANGE_KEY, KV_RANGE_BETWEEN, KV_RANGE_BETWEEN, KV_RANGE_FROM_KEY};
    kv_permissions *found = NULL;
    size_t i;
    CHECK(kv_role_add(db, str("role"), NULL, NULL) == KV_OK);
    for (i = 0; i < 5; i++)
        CHECK(kv_role_grant_permission(db, str("role"), (int32_t)i % 3, ranges[i], NULL, NULL) == KV_OK);
    /* the same range again replaces the type */
    CHECK(kv_role_grant_permission(db, str("role"), KV_PERMISSION_READWRITE, ranges[0], NULL, NULL) == KV_OK);
    CHECK(kv_role_get(db, str("role"), &found, NULL) == KV_OK && kv_permissions_len(found) == 5);
    for (i = 0; i < 5; i++) CHECK(kv_permissions_at(found, i)->range.kind == kinds[i]);
    CHECK(kv_permissions_at(found, 1)->type == KV_PERMISSION_READWRITE);
    CHECK(kv_permissions_at(found, 2)->type == KV_PERMISSION_WRITE);
    CHECK(is_text(kv_permissions_at(found, 2)->range.key, "b") && is_text(kv_permissions_at(found, 2)->range.end, "c"));
    CHECK(kv_permissions_at(found, 4)->type == KV_PERMISSION_READ && !kv_permissions_at(found, 5));
    for (i = 0; i < 5; i++)
        CHECK(kv_role_revoke_permission(db, str("role"), kv_permissions_at(found, i)->range, NULL, NULL) == KV_OK);
    kv_permissions_free(found);
    CHECK(kv_role_get(db, str("role"), &found, NULL) == KV_OK && kv_permissions_len(found) == 0);
    kv_permissions_free(found);
    REFUSED(KV_FAILED_PRECONDITION, "permission is not granted",
            kv_role_revoke_permission(db, str("role"), kv_all(), NULL, &error));
    CHECK(kv_role_delete(db, str("role"), NULL, NULL) == KV_OK);
}

static void refusals(const kv_db *db) {
    const kv_bytes latin1 = kv_buf("\xff", 1);
    kv_names *names = NULL;
    kv_permissions *found = NULL;
    kv_user_add_options how = KV_USER_ADD_OPTIONS_INIT;
    char long_text[402];
    memset(long_text, 'x', sizeof long_text);
    REFUSED(KV_INVALID_ARGUMENT, "the name of the user is not UTF-8",
            kv_user_add(db, latin1, str("x"), NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "the password is not UTF-8", kv_user_add(db, str("x"), latin1, NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "the name of the role is not UTF-8", kv_role_add(db, latin1, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "the name of the role is not UTF-8",
            kv_user_grant_role(db, str("x"), latin1, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "role name is empty", kv_role_add(db, str(""), NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "72 bytes", kv_user_add(db, str("x"), kv_buf(long_text, 73), NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "the name of the user is NULL but has 3 bytes",
            kv_user_delete(db, kv_buf(NULL, 3), NULL, &error));
    how.no_password = 7;
    REFUSED(KV_INVALID_ARGUMENT, "no_password", kv_user_add(db, str("x"), str(""), &how, NULL, &error));
    how.size = 1;
    REFUSED(KV_INVALID_ARGUMENT, "kv_user_add_options.size", kv_user_add(db, str("x"), str(""), &how, NULL, &error));
    REFUSED(KV_FAILED_PRECONDITION, "user name not found", kv_user_get(db, str("x"), &names, &error));
    REFUSED(KV_FAILED_PRECONDITION, "user name not found", kv_user_delete(db, str("x"), NULL, &error));
    REFUSED(KV_FAILED_PRECONDITION, "user name not found",
            kv_user_change_password(db, str("x"), str("y"), NULL, &error));
    REFUSED(KV_FAILED_PRECONDITION, "user name not found",
            kv_user_revoke_role(db, str("x"), str("y"), NULL, &error));
    REFUSED(KV_FAILED_PRECONDITION, "role name not found", kv_role_get(db, str("x"), &found, &error));
    REFUSED(KV_FAILED_PRECONDITION, "role name not found", kv_role_delete(db, str("x"), NULL, &error));
    REFUSED(KV_FAILED_PRECONDITION, "role name not found",
            kv_role_grant_permission(db, str("x"), KV_PERMISSION_READ, kv_key(str("a")), NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "3 is no KV_PERMISSION",
            kv_role_grant_permission(db, str("x"), 3, kv_key(str("a")), NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "invalid auth management",
            kv_role_grant_permission(db, str("x"), KV_PERMISSION_READ, kv_between(str("b"), str("a")), NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kind", kv_role_revoke_permission(db, str("x"), (kv_key_range){9, str("a"), str("")},
                                                                  NULL, &error));
    REFUSED(KV_FAILED_PRECONDITION, "root user does not exist", kv_auth_enable(db, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out", kv_user_list(db, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out", kv_role_list(db, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out", kv_user_get(db, str("x"), NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out", kv_role_get(db, str("x"), NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "NULL", kv_auth_disable(NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "NULL", kv_auth_status(NULL, NULL, NULL, NULL, &error));
    CHECK(kv_names_len(NULL) == 0 && kv_names_at(NULL, 0).len == 0);
    CHECK(kv_permissions_len(NULL) == 0 && !kv_permissions_at(NULL, 0));
    kv_names_free(NULL);
    kv_permissions_free(NULL);
    CHECK(users_are(db, "") && roles_are(db, ""));
}

static void root_is_kept(const kv_db *db) {
    REFUSED(KV_INVALID_ARGUMENT, "user name is empty", kv_user_add(db, str(""), str("x"), NULL, NULL, &error));
    add_root(db);
    CHECK(kv_auth_enable(db, NULL, NULL) == KV_OK && kv_auth_enable(db, NULL, NULL) == KV_OK && is_on(db));
    REFUSED(KV_INVALID_ARGUMENT, "invalid auth management", kv_user_delete(db, str("root"), NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "invalid auth management",
            kv_user_revoke_role(db, str("root"), str("root"), NULL, &error));
    CHECK(kv_auth_disable(db, NULL, NULL) == KV_OK && !is_on(db));
    CHECK(kv_user_delete(db, str("root"), NULL, NULL) == KV_OK);
}

/* A server asks its clients who they are, and what they may do. */
static void clients(const kv_db *db) {
    kv_server *server = served(db);
    const char *address = kv_server_address(server);
    kv_db *root, *alice;
    kv_error *error = NULL;
    kv_names *names = NULL;
    add_root(db);
    CHECK(kv_user_add(db, str("alice"), str("password"), NULL, NULL, NULL) == KV_OK);
    CHECK(kv_role_add(db, str("reader"), NULL, NULL) == KV_OK);
    CHECK(kv_role_grant_permission(db, str("reader"), KV_PERMISSION_READ, kv_prefix(str("config/")), NULL, NULL) ==
          KV_OK);
    CHECK(kv_user_grant_role(db, str("alice"), str("reader"), NULL, NULL) == KV_OK);
    CHECK(kv_auth_enable(db, NULL, NULL) == KV_OK);
    put(db, "config/a", "1", 0); /* the owner of the store needs no user */
    CHECK(!opened(address, "alice", "wrong", &error));
    CHECK(kv_error_code(error) == KV_UNAUTHENTICATED || kv_error_code(error) == KV_INVALID_ARGUMENT);
    kv_error_free(error);
    root = opened(address, "root", "secret", NULL);
    alice = opened(address, "alice", "password", NULL);
    CHECK(root && alice && count(alice, "config/") == 1 && count(alice, "") == -1 && count(root, "") == 1);
    REFUSED(KV_PERMISSION_DENIED, "permission denied", kv_put(alice, str("config/a"), str(""), NULL, NULL, &error));
    REFUSED(KV_PERMISSION_DENIED, "permission denied", kv_user_list(alice, &names, &error));
    REFUSED(KV_PERMISSION_DENIED, "permission denied", kv_auth_disable(alice, NULL, &error));
    CHECK(roles_of(alice, "alice", "reader") && roles_of(root, "alice", "reader") && is_on(alice));
    CHECK(kv_role_grant_permission(root, str("reader"), KV_PERMISSION_READWRITE, kv_prefix(str("config/")), NULL,
                                   NULL) == KV_OK);
    put(alice, "config/a", "2", 0);
    CHECK(kv_auth_disable(root, NULL, NULL) == KV_OK && !is_on(db));
    kv_close(root);
    kv_close(alice);
    kv_server_free(server);
}

static void serve_options(const kv_db *db) {
    kv_serve_options how = KV_SERVE_OPTIONS_INIT;
    kv_server *server = NULL;
    how.auth_token = "other";
    REFUSED(KV_INVALID_ARGUMENT, "auth_token", kv_serve(db, "127.0.0.1:0", &how, &server, &error));
    how.auth_token = "jwt,sign-method=HS256,priv-key=/nowhere.key";
    REFUSED(KV_INVALID_ARGUMENT, "/nowhere.key", kv_serve(db, "127.0.0.1:0", &how, &server, &error));
    how.auth_token = "";
    how.auth_token_ttl_seconds = 1;
    how.bcrypt_cost = 31;
    CHECK(kv_serve(db, "127.0.0.1:0", &how, &server, NULL) == KV_OK);
    kv_server_free(server);
}

int main(void) {
    kv_db *db = memory(NULL), *cluster;
    kv_server *server;
    make_dir("auth");
    users(db);
    permissions(db);
    refusals(db);
    root_is_kept(db);
    kv_close(db);
    db = memory(NULL);
    server = served(db);
    cluster = opened(kv_server_address(server), NULL, NULL, NULL);
    users(cluster);
    permissions(cluster);
    refusals(cluster);
    kv_close(cluster);
    kv_server_free(server);
    clients(db);
    serve_options(db);
    kv_close(db);
    return summary();
}
