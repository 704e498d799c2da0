#include "common.h"
#include "store.h"

void must(kv_code code, kv_error **error, const char *what)
{
    if (code != KV_OK)
        die("%s: %s: %s", what, kv_strerror(code), kv_error_message(*error));
}

kv_db *store_open(const char *path, int32_t create)
{
    kv_options options = KV_OPTIONS_INIT;
    kv_error *error = NULL;
    kv_db *db;

    options.create = create;
    must(kv_open(path, &options, &db, &error), &error, path);
    return db;
}

int64_t store_revision(const kv_db *db)
{
    kv_error *error = NULL;
    kv_status *status;
    int64_t revision = 0;

    must(kv_status_get(db, &status, &error), &error, "status");
    kv_status_number(status, KV_STATUS_REVISION, &revision);
    kv_status_free(status);
    return revision;
}

int64_t store_count(const kv_db *db, int64_t revision)
{
    kv_range_options options = KV_RANGE_OPTIONS_INIT;
    kv_range_response *result;
    kv_error *error = NULL;
    int64_t count;

    options.revision = revision;
    options.count_only = KV_YES;
    must(kv_range(db, kv_all(), &options, &result, &error), &error, "count");
    count = kv_range_response_count(result);
    kv_range_response_free(result);
    return count;
}
