/* The quota, the alarms, and durability settings of a store in memory, from C. The last line is
 * "N passed, N failed". */
#define _GNU_SOURCE
#include "check.h"

#define QUOTA (1 << 20)

static kv_db *open_with(uint64_t max_bytes, int32_t limits) {
    kv_options options = KV_OPTIONS_INIT;
    char path[512];
    kv_db *db = NULL;
    snprintf(path, sizeof path, "%s/store", dir);
    options.max_bytes = max_bytes;
    options.limits = limits;
    CHECK(kv_open(path, &options, &db, NULL) == KV_OK);
    return db;
}

/* Puts keys until a put is refused; returns its code. */
static kv_code fill(kv_db *db) {
    static char value[4000];
    char key[16];
    kv_code code = KV_OK;
    int i;
    for (i = 0; !code && i < QUOTA / 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        code = kv_put(db, kv_str(key), kv_buf(value, sizeof value), NULL, NULL, NULL);
    }
    return code;
}

static void delete_and_compact(kv_db *db) {
    int64_t revision = status_number(db, KV_STATUS_REVISION);
    CHECK(kv_delete(db, kv_all(), NULL, NULL, NULL) == KV_OK);
    CHECK(kv_compact(db, revision + 1, KV_YES, NULL, NULL) == KV_OK);
}

static void quota(void) {
    kv_db *db = open_with(QUOTA, 0), *other;
    kv_alarms *alarms = NULL;
    CHECK(status_number(db, KV_STATUS_MAX_BYTES) == QUOTA);
    CHECK(fill(db) == KV_FULL);
    CHECK(status_number(db, KV_STATUS_BYTES_IN_USE) < QUOTA);
    delete_and_compact(db);
    put(db, "k", "accepted again", 0);
    CHECK(kv_alarm_list(db, &alarms, NULL) == KV_OK && kv_alarms_len(alarms) == 0 && !kv_alarms_at(alarms, 0));
    kv_alarms_free(alarms);
    /* a later open changes the quota for all handles; 0 keeps it, UINT64_MAX removes it */
    other = open_with(0, 0);
    CHECK(status_number(db, KV_STATUS_MAX_BYTES) == QUOTA);
    kv_close(other);
    other = open_with(UINT64_MAX, 0);
    CHECK(status_number(db, KV_STATUS_MAX_BYTES) == -1);
    kv_close(other);
    kv_close(db);
}

static void alarm_stays(void) {
    kv_db *db = open_with(QUOTA, KV_LIMITS_ETCD);
    kv_alarms *alarms = NULL;
    kv_status *status = NULL;
    uint64_t member;
    CHECK(fill(db) == KV_FULL);
    CHECK(kv_alarm_list(db, &alarms, NULL) == KV_OK && kv_alarms_len(alarms) == 1);
    member = kv_alarms_at(alarms, 0)->member;
    CHECK(kv_alarms_at(alarms, 0)->kind == KV_ALARM_NOSPACE && member != 0);
    kv_alarms_free(alarms);
    CHECK(kv_status_get(db, &status, NULL) == KV_OK && kv_status_alarms_len(status) == 1);
    CHECK(kv_status_alarms_at(status, 0)->kind == KV_ALARM_NOSPACE);
    CHECK(kv_status_alarms_at(status, 0)->member == member && !kv_status_alarms_at(status, 1));
    CHECK(kv_status_poisoned(status) == KV_NO && kv_status_removed(status) == KV_NO);
    kv_status_free(status);
    delete_and_compact(db);
    REFUSED(KV_FULL, "alarm NOSPACE is active", kv_put(db, kv_str("k"), kv_str("v"), NULL, NULL, &error));
    CHECK(kv_alarm_disarm(db, member + 1, 0, &alarms, NULL) == KV_OK && kv_alarms_len(alarms) == 0);
    kv_alarms_free(alarms);
    CHECK(kv_alarm_disarm(db, 0, 0, NULL, NULL) == KV_OK);
    put(db, "k", "v", 0);
    REFUSED(KV_INVALID_ARGUMENT, "out", kv_alarm_list(db, NULL, &error));
    kv_close(db);
    kv_alarms_free(NULL);
    CHECK(kv_alarms_len(NULL) == 0 && !kv_alarms_at(NULL, 0));
    CHECK(kv_status_alarms_len(NULL) == 0 && !kv_status_alarms_at(NULL, 0));
    CHECK(kv_status_number(NULL, KV_STATUS_KEYS, NULL) == KV_NO && kv_status_poisoned(NULL) == KV_NO);
}

static void memory_accepts_every_durability(void) {
    const int32_t all[] = {KV_DURABILITY_SYNC, KV_DURABILITY_LAZY, KV_DURABILITY_NONE};
    kv_options options = KV_OPTIONS_INIT;
    kv_put_options put_options = KV_PUT_OPTIONS_INIT;
    kv_db *db = NULL;
    int i, j;
    for (i = 0; i < 3; i++) {
        options.durability = all[i];
        CHECK(kv_open(":memory:", &options, &db, NULL) == KV_OK);
        CHECK(status_number(db, KV_STATUS_DURABILITY) == all[i]);
        for (j = 0; j < 3; j++) {
            put_options.durability = all[j];
            CHECK(kv_put(db, kv_str("k"), kv_str("v"), &put_options, NULL, NULL) == KV_OK);
        }
        kv_close(db);
    }
}

int main(void) {
    make_dir("quota");
    memory_accepts_every_durability();
    quota();
    alarm_stays();
    return summary();
}
