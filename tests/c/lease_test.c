/* Leases, locks and elections from C. --no-fork skips the parts that fork. The last line is
 * "N passed, N failed". */
#define _GNU_SOURCE
#include "check.h"

#define SECOND_MS 1000
#define TTL_MAX INT64_C(9000000000)

static void leases_by_the_clock(void) {
    kv_clock *clock = kv_clock_new(0);
    kv_db *db = memory(clock);
    kv_time_to_live_response *ttl = NULL;
    kv_lease_ids *ids = NULL;
    int64_t id = 0, granted = 0, revision = 0;
    CHECK(!kv_lease_grant(db, 100, 0, &id, &granted, NULL) && id > 0 && granted == 100);
    CHECK(!kv_lease_grant(db, 10, 7, &id, &granted, NULL) && id == 7 && granted == 10);
    CHECK(!kv_lease_grant(db, -5, -3, NULL, &granted, NULL) && granted == 1);
    put(db, "b", "1", 7);
    put(db, "a", "1", 7);
    put(db, "stays", "1", 0);
    CHECK(!kv_lease_list(db, &ids, NULL) && kv_lease_ids_len(ids) == 3);
    CHECK(kv_lease_ids_at(ids, 0) == -3 && kv_lease_ids_at(ids, 1) == 7 && kv_lease_ids_at(ids, 3) == 0);
    kv_lease_ids_free(ids);
    CHECK(!kv_clock_advance(clock, 4 * SECOND_MS, NULL));
    CHECK(!kv_lease_time_to_live(db, 7, KV_YES, &ttl, NULL));
    CHECK(kv_time_to_live_response_seconds(ttl) == 6 && kv_time_to_live_response_granted_seconds(ttl) == 10);
    CHECK(kv_time_to_live_response_len(ttl) == 2 && is_text(kv_time_to_live_response_key(ttl, 0), "a"));
    CHECK(is_text(kv_time_to_live_response_key(ttl, 1), "b") && kv_time_to_live_response_key(ttl, 2).len == 0);
    kv_time_to_live_response_free(ttl);
    CHECK(!kv_lease_keep_alive(db, 7, &granted, NULL) && granted == 10);
    CHECK(!kv_clock_advance(clock, 9999, NULL));
    CHECK(count(db, "") == 3 && status_number(db, KV_STATUS_REVISION) == 4);
    /* the keys are gone when it returns, in one revision */
    CHECK(!kv_clock_advance(clock, 1, NULL));
    CHECK(count(db, "") == 1 && status_number(db, KV_STATUS_REVISION) == 5);
    CHECK(!kv_lease_time_to_live(db, 7, KV_YES, &ttl, NULL));
    CHECK(kv_time_to_live_response_seconds(ttl) == -1 && kv_time_to_live_response_granted_seconds(ttl) == 0);
    CHECK(kv_time_to_live_response_len(ttl) == 0);
    kv_time_to_live_response_free(ttl);
    CHECK(!kv_lease_grant(db, 10, 7, NULL, NULL, NULL));
    put(db, "c", "1", 7);
    CHECK(!kv_lease_revoke(db, 7, &revision, NULL) && revision == 7);
    CHECK(count(db, "") == 1 && status_number(db, KV_STATUS_LEASES) == 1);
    kv_close(db);
    kv_clock_free(clock);
}

static void lease_refusals(void) {
    kv_db *db = memory(NULL);
    kv_time_to_live_response *ttl = NULL;
    kv_lease_ids *ids = NULL;
    kv_lease *lease = NULL;
    int64_t id = 0, seconds = -1;
    CHECK(!kv_lease_grant(db, 10, 7, &id, NULL, NULL));
    REFUSED(KV_LEASE_EXISTS, "already exists", kv_lease_grant(db, 10, 7, NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "too large", kv_lease_grant(db, TTL_MAX + 1, 0, NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "too large", kv_lease_open(db, TTL_MAX + 1, 0, &lease, &error));
    REFUSED(KV_LEASE_NOT_FOUND, "lease 8", kv_lease_revoke(db, 8, NULL, &error));
    CHECK(!kv_lease_keep_alive(db, 8, &seconds, NULL) && seconds == 0);
    REFUSED(KV_INVALID_ARGUMENT, "kv_db is NULL", kv_lease_grant(NULL, 10, 0, NULL, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kv_db is NULL", kv_lease_revoke(NULL, 7, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kv_db is NULL", kv_lease_keep_alive(NULL, 7, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_lease_time_to_live(db, 7, KV_NO, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "keys is 5", kv_lease_time_to_live(db, 7, 5, &ttl, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_lease_list(db, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kv_db is NULL", kv_lease_list(NULL, &ids, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_lease_open(db, 10, 0, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "end_with_process is 4", kv_lease_open(db, 10, 4, &lease, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_lease", kv_lease_remaining((kv_lease *)db, &seconds, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kv_lease is NULL", kv_lease_close(NULL, &error));
    CHECK(ttl == NULL && ids == NULL && lease == NULL);
    CHECK(kv_lease_id(NULL) == 0 && kv_lease_ttl_seconds(NULL) == 0 && kv_lease_lost(NULL) == KV_NO);
    CHECK(kv_time_to_live_response_seconds(NULL) == -1 && kv_time_to_live_response_granted_seconds(NULL) == 0);
    CHECK(kv_time_to_live_response_len(NULL) == 0 && kv_time_to_live_response_key(NULL, 0).len == 0);
    CHECK(kv_lease_ids_len(NULL) == 0 && kv_lease_ids_at(NULL, 0) == 0);
    kv_time_to_live_response_free(NULL);
    kv_lease_ids_free(NULL);
    kv_lease_free(NULL);
    kv_close(db);
}

static void lease_handle(void) {
    kv_clock *clock = kv_clock_new(0);
    kv_db *db = memory(clock);
    kv_lease *kept = NULL, *lost = NULL;
    int64_t seconds = 0;
    CHECK(!kv_lease_open(db, 10, KV_NO, &kept, NULL) && !kv_lease_open(db, 10, KV_YES, &lost, NULL));
    CHECK(kv_lease_id(kept) > 0 && kv_lease_id(kept) != kv_lease_id(lost) && kv_lease_ttl_seconds(kept) == 10);
    put(db, "kept", "1", kv_lease_id(kept));
    put(db, "lost", "1", kv_lease_id(lost));
    CHECK(!kv_clock_advance(clock, 60 * SECOND_MS, NULL));
    CHECK(count(db, "") == 2);
    CHECK(!kv_lease_remaining(kept, &seconds, NULL) && seconds == 10);
    CHECK(!kv_lease_revoke(db, kv_lease_id(lost), NULL, NULL));
    CHECK(!kv_clock_advance(clock, SECOND_MS, NULL));
    CHECK(kv_lease_lost(lost) == KV_YES && kv_lease_lost(kept) == KV_NO);
    CHECK(!kv_lease_remaining(lost, &seconds, NULL) && seconds == 0);
    CHECK(!kv_lease_close(lost, NULL));
    CHECK(!kv_lease_close(kept, NULL) && count(db, "") == 0);
    CHECK(!kv_lease_close(kept, NULL) && kv_lease_lost(kept) == KV_NO);
    kv_lease_free(lost);
    kv_lease_free(kept);
    kv_close(db);
    kv_clock_free(clock);
}

/* A thread that waits for a lock. */
struct contender {
    pthread_t thread;
    kv_db *db;
    kv_lock *lock;
    int rounds, broken;
    kv_code code;
};

static int shared_counter;
static int64_t last_revision;

static void *contend(void *of) {
    struct contender *self = (struct contender *)of;
    kv_lock *lock = NULL;
    int i, seen;
    self->broken = kv_lock_open(self->db, kv_str("line"), 60, &lock, NULL) != KV_OK;
    for (i = 0; i < self->rounds && !self->broken; i++) {
        self->broken = kv_lock_acquire(lock, WAIT_LIMIT_MS, NULL) != KV_OK;
        seen = shared_counter;
        self->broken |= kv_lock_is_held(lock) != KV_YES || kv_lock_revision(lock) <= last_revision;
        last_revision = kv_lock_revision(lock);
        sched_yield();
        shared_counter = seen + 1;
        self->broken |= kv_lock_release(lock, NULL) != KV_OK;
    }
    kv_lock_free(lock);
    return NULL;
}

static void two_threads_take_turns(void) {
    kv_db *db = memory(NULL);
    struct contender both[2];
    int i;
    memset(both, 0, sizeof both);
    for (i = 0; i < 2; i++) {
        both[i].db = db;
        both[i].rounds = 50;
        if (pthread_create(&both[i].thread, NULL, contend, &both[i])) exit(2);
    }
    for (i = 0; i < 2; i++) {
        pthread_join(both[i].thread, NULL);
        CHECK(!both[i].broken);
    }
    CHECK(shared_counter == 100 && count(db, "line/") == 0);
    kv_close(db);
}

static void *acquire(void *of) {
    struct contender *self = (struct contender *)of;
    self->code = kv_lock_acquire(self->lock, KV_FOREVER, NULL);
    return NULL;
}

static void lock_calls(void) {
    kv_db *db = memory(NULL);
    kv_lock *lock = NULL;
    struct contender waiting;
    int32_t held = 0;
    kv_key_value *kv = NULL;
    waiting.lock = NULL;
    CHECK(!kv_lock_open(db, kv_str("l"), 60, &lock, NULL) && !kv_lock_open(db, kv_str("l"), 60, &waiting.lock, NULL));
    CHECK(kv_lock_is_held(lock) == KV_NO && kv_lock_key(lock).len == 0 && kv_lock_revision(lock) == 0);
    CHECK(!kv_lock_try_acquire(lock, &held, NULL) && held == KV_YES);
    CHECK(kv_lock_is_held(lock) == KV_YES && kv_lock_revision(lock) == 2);
    CHECK(!kv_get(db, kv_lock_key(lock), 0, &kv, NULL) && kv && kv->create_revision == 2 && kv->lease != 0);
    kv_key_value_free(kv);
    CHECK(!kv_lock_acquire(lock, KV_NO_WAIT, NULL));
    CHECK(!kv_lock_try_acquire(waiting.lock, &held, NULL) && held == KV_NO);
    REFUSED(KV_TIMEOUT, "l/", kv_lock_acquire(waiting.lock, 20, &error));
    REFUSED(KV_TIMEOUT, "l/", kv_lock_acquire(waiting.lock, KV_NO_WAIT, &error));
    CHECK(count(db, "l/") == 1);
    if (pthread_create(&waiting.thread, NULL, acquire, &waiting)) exit(2);
    while (count(db, "l/") < 2) sched_yield();
    REFUSED(KV_INVALID_ARGUMENT, "another thread", kv_lock_acquire(waiting.lock, KV_FOREVER, &error));
    REFUSED(KV_INVALID_ARGUMENT, "another thread", kv_lock_release(waiting.lock, &error));
    CHECK(kv_lock_is_held(waiting.lock) == KV_NO && kv_lock_revision(waiting.lock) == 0);
    CHECK(!kv_lock_release(lock, NULL) && !kv_lock_release(lock, NULL));
    pthread_join(waiting.thread, NULL);
    CHECK(waiting.code == KV_OK && kv_lock_is_held(waiting.lock) == KV_YES && kv_lock_revision(waiting.lock) > 2);
    /* freeing a handle releases what it holds */
    kv_lock_free(waiting.lock);
    CHECK(!kv_lock_acquire(lock, WAIT_LIMIT_MS, NULL));
    kv_lock_free(lock);
    kv_close(db);
}

/* A holder whose lease is revoked gets lease_lost, and the lock can be acquired again. */
static void lost_lock(void) {
    kv_clock *clock = kv_clock_new(0);
    kv_db *db = memory(clock);
    kv_lock *lock = NULL;
    kv_election *election = NULL;
    kv_key_value *kv = NULL;
    CHECK(!kv_lock_open(db, kv_str("l"), 60, &lock, NULL) && !kv_lock_acquire(lock, 0, NULL));
    CHECK(!kv_election_open(db, kv_str("e"), 60, &election, NULL));
    CHECK(!kv_election_campaign(election, kv_str("me"), 0, NULL));
    CHECK(!kv_get(db, kv_lock_key(lock), 0, &kv, NULL) && !kv_lease_revoke(db, kv->lease, NULL, NULL));
    kv_key_value_free(kv);
    CHECK(!kv_get(db, kv_election_key(election), 0, &kv, NULL) && !kv_lease_revoke(db, kv->lease, NULL, NULL));
    kv_key_value_free(kv);
    REFUSED(KV_LEASE_LOST, "lost", kv_election_proclaim(election, kv_str("still me"), &error));
    CHECK(!kv_clock_advance(clock, 30 * SECOND_MS, NULL));
    CHECK(kv_lock_is_held(lock) == KV_NO && kv_election_is_leader(election) == KV_NO);
    REFUSED(KV_LEASE_LOST, "lost", kv_election_proclaim(election, kv_str("still me"), &error));
    CHECK(!kv_lock_acquire(lock, KV_NO_WAIT, NULL) && kv_lock_is_held(lock) == KV_YES);
    kv_election_free(election);
    kv_lock_free(lock);
    kv_close(db);
    kv_clock_free(clock);
}

struct candidate {
    pthread_t thread;
    kv_election *election;
    kv_code code;
};

static void *campaign(void *of) {
    struct candidate *self = (struct candidate *)of;
    self->code = kv_election_campaign(self->election, kv_str("second"), KV_FOREVER, NULL);
    return NULL;
}

static void leads(kv_leaders *leaders, const char *value) {
    kv_key_value *kv = NULL;
    CHECK(!kv_leaders_next(leaders, WAIT_LIMIT_MS, &kv, NULL));
    CHECK(kv && is_text(kv->value, value));
    kv_key_value_free(kv);
}

static void elections(void) {
    kv_db *db = memory(NULL);
    kv_election *first = NULL;
    kv_leaders *leaders = NULL;
    kv_key_value *kv = NULL;
    struct candidate second;
    second.election = NULL;
    CHECK(!kv_election_open(db, kv_str("e"), 60, &first, NULL));
    CHECK(!kv_election_open(db, kv_str("e"), 60, &second.election, NULL));
    CHECK(!kv_election_leader(first, &kv, NULL) && kv == NULL);
    CHECK(!kv_election_observe(second.election, &leaders, NULL));
    CHECK(!kv_leaders_next(leaders, KV_NO_WAIT, &kv, NULL) && kv == NULL);
    REFUSED(KV_FAILED_PRECONDITION, "not leader", kv_election_proclaim(first, kv_str("me"), &error));
    CHECK(!kv_election_campaign(first, kv_str("first"), KV_NO_WAIT, NULL));
    CHECK(kv_election_is_leader(first) == KV_YES && kv_election_revision(first) == 2);
    leads(leaders, "first");
    CHECK(!kv_election_proclaim(first, kv_str("again"), NULL));
    leads(leaders, "again");
    REFUSED(KV_TIMEOUT, "e/", kv_election_campaign(second.election, kv_str("second"), 20, &error));
    if (pthread_create(&second.thread, NULL, campaign, &second)) exit(2);
    while (count(db, "e/") < 2) sched_yield();
    REFUSED(KV_INVALID_ARGUMENT, "another thread", kv_election_resign(second.election, &error));
    CHECK(kv_election_is_leader(second.election) == KV_NO && kv_election_key(second.election).len == 0);
    CHECK(!kv_election_leader(second.election, &kv, NULL) && kv && is_text(kv->value, "again"));
    kv_key_value_free(kv);
    CHECK(!kv_election_resign(first, NULL) && !kv_election_resign(first, NULL));
    pthread_join(second.thread, NULL);
    CHECK(second.code == KV_OK && kv_election_is_leader(second.election) == KV_YES);
    leads(leaders, "second");
    CHECK(!kv_get(db, kv_election_key(second.election), 0, &kv, NULL) && kv);
    CHECK(kv && kv->create_revision == kv_election_revision(second.election));
    kv_key_value_free(kv);
    kv_election_free(first);
    kv_election_free(second.election);
    kv_leaders_free(leaders);
    kv_close(db);
}

static void claim_refusals(void) {
    kv_db *db = memory(NULL);
    kv_lock *lock = NULL;
    kv_election *election = NULL;
    kv_leaders *leaders = NULL;
    kv_key_value *kv = NULL;
    int32_t held = 0;
    REFUSED(KV_INVALID_ARGUMENT, "name is empty", kv_lock_open(db, kv_str(""), 60, &lock, &error));
    REFUSED(KV_INVALID_ARGUMENT, "name is empty", kv_election_open(db, kv_str(""), 60, &election, &error));
    REFUSED(KV_INVALID_ARGUMENT, "name is NULL but", kv_lock_open(db, kv_buf(NULL, 3), 60, &lock, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_lock_open(db, kv_str("l"), 60, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kv_db is NULL", kv_lock_open(NULL, kv_str("l"), 60, &lock, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_election_open(db, kv_str("e"), 60, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "kv_lock is NULL", kv_lock_acquire(NULL, 0, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_lock", kv_lock_release((kv_lock *)db, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_election", kv_election_resign((kv_election *)db, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_leaders", kv_leaders_next((kv_leaders *)db, 0, &kv, &error));
    CHECK(lock == NULL && election == NULL);
    CHECK(!kv_lock_open(db, kv_str("l"), TTL_MAX + 1, &lock, NULL));
    REFUSED(KV_INVALID_ARGUMENT, "too large", kv_lock_acquire(lock, 0, &error));
    REFUSED(KV_INVALID_ARGUMENT, "timeout_ms is -3", kv_lock_acquire(lock, -3, &error));
    REFUSED(KV_INVALID_ARGUMENT, "held is NULL", kv_lock_try_acquire(lock, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_election", kv_election_leader((kv_election *)lock, &kv, &error));
    REFUSED(KV_INVALID_ARGUMENT, "no kv_lock", kv_lock_try_acquire((kv_lock *)db, &held, &error));
    CHECK(!kv_election_open(db, kv_str("e"), 60, &election, NULL));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_election_leader(election, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_election_observe(election, NULL, &error));
    REFUSED(KV_INVALID_ARGUMENT, "timeout_ms is -3", kv_election_campaign(election, kv_str(""), -3, &error));
    CHECK(!kv_election_observe(election, &leaders, NULL));
    REFUSED(KV_INVALID_ARGUMENT, "out is NULL", kv_leaders_next(leaders, 0, NULL, &error));
    CHECK(kv_lock_is_held(NULL) == KV_NO && kv_lock_key(NULL).len == 0 && kv_lock_revision(NULL) == 0);
    CHECK(kv_election_is_leader(NULL) == KV_NO && kv_election_key(NULL).len == 0 && kv_election_revision(NULL) == 0);
    kv_lock_free(NULL);
    kv_election_free(NULL);
    kv_leaders_free(NULL);
    kv_lock_free(lock);
    kv_election_free(election);
    kv_leaders_free(leaders);
    CHECK(status_number(db, KV_STATUS_REVISION) == 1);
    kv_close(db);
}

static void *next_leader(void *of) {
    kv_key_value *kv = NULL;
    return (void *)(intptr_t)kv_leaders_next((kv_leaders *)of, KV_FOREVER, &kv, NULL);
}

/* Closing the store ends waiting calls at once, and every handle that was made from it returns
 * `closed`. */
static void handles_after_the_store_is_closed(void) {
    kv_db *db = memory(NULL);
    kv_lease *lease = NULL;
    kv_lock *held = NULL, *idle = NULL;
    kv_election *election = NULL;
    kv_leaders *leaders = NULL, *other = NULL;
    kv_key_value *kv = NULL;
    struct contender waiting;
    pthread_t observing;
    void *code;
    int64_t seconds;
    int32_t is_held;
    waiting.lock = NULL;
    CHECK(!kv_lease_open(db, 60, KV_NO, &lease, NULL));
    CHECK(!kv_lock_open(db, kv_str("l"), 60, &held, NULL) && !kv_lock_acquire(held, 0, NULL));
    CHECK(!kv_lock_open(db, kv_str("l"), 60, &idle, NULL) && !kv_lock_open(db, kv_str("l"), 60, &waiting.lock, NULL));
    CHECK(!kv_election_open(db, kv_str("e"), 60, &election, NULL));
    CHECK(!kv_election_observe(election, &leaders, NULL));
    CHECK(!kv_election_campaign(election, kv_str("me"), 0, NULL));
    leads(leaders, "me");
    if (pthread_create(&waiting.thread, NULL, acquire, &waiting)) exit(2);
    if (pthread_create(&observing, NULL, next_leader, leaders)) exit(2);
    while (count(db, "l/") < 2) sched_yield();
    kv_close(db);
    pthread_join(waiting.thread, NULL);
    pthread_join(observing, &code);
    CHECK(waiting.code == KV_CLOSED && (kv_code)(intptr_t)code == KV_CLOSED);
    CHECK(kv_lock_is_held(held) == KV_NO && kv_election_is_leader(election) == KV_NO);
    REFUSED(KV_CLOSED, "closed", kv_lease_remaining(lease, &seconds, &error));
    REFUSED(KV_CLOSED, "closed", kv_lease_close(lease, &error));
    REFUSED(KV_CLOSED, "closed", kv_lock_acquire(held, KV_FOREVER, &error));
    REFUSED(KV_CLOSED, "closed", kv_lock_release(held, &error));
    REFUSED(KV_CLOSED, "closed", kv_lock_release(idle, &error));
    REFUSED(KV_CLOSED, "closed", kv_lock_try_acquire(idle, &is_held, &error));
    REFUSED(KV_CLOSED, "closed", kv_election_proclaim(election, kv_str("me"), &error));
    REFUSED(KV_CLOSED, "closed", kv_election_leader(election, &kv, &error));
    REFUSED(KV_CLOSED, "closed", kv_election_observe(election, &other, &error));
    REFUSED(KV_CLOSED, "closed", kv_election_campaign(election, kv_str("me"), KV_FOREVER, &error));
    REFUSED(KV_CLOSED, "closed", kv_election_resign(election, &error));
    REFUSED(KV_CLOSED, "closed", kv_leaders_next(leaders, KV_FOREVER, &kv, &error));
    kv_lease_free(lease);
    kv_lock_free(held);
    kv_lock_free(idle);
    kv_lock_free(waiting.lock);
    kv_election_free(election);
    kv_leaders_free(leaders);
}

static int holder(int ready, int go) {
    kv_db *db = NULL;
    kv_lease *lease = NULL;
    kv_put_options options = KV_PUT_OPTIONS_INIT;
    char path[512];
    snprintf(path, sizeof path, "%s/shared", dir);
    if (kv_open(path, NULL, &db, NULL) || kv_lease_open(db, 3600, KV_YES, &lease, NULL)) return 1;
    options.lease = kv_lease_id(lease);
    if (kv_put(db, kv_str("alive"), kv_str("1"), &options, NULL, NULL)) return 1;
    byte_to(ready);
    byte_from(go);
    _exit(0); /* neither closes nor frees anything */
}

/* A lease with end_with_process ends with its process, long before its TTL. */
static void lease_ends_with_its_process(void) {
    kv_db *db = NULL;
    kv_watch_options options = KV_WATCH_OPTIONS_INIT;
    kv_watcher *watcher = NULL;
    kv_watch_batch *batch = NULL;
    const kv_event *event;
    char path[512];
    int ready, go;
    pid_t pid = child(holder, &ready, &go);
    byte_from(ready);
    snprintf(path, sizeof path, "%s/shared", dir);
    options.no_put = KV_YES;
    CHECK(!kv_open(path, NULL, &db, NULL) && !kv_watch(db, kv_key(kv_str("alive")), &options, &watcher, NULL));
    CHECK(count(db, "alive") == 1);
    byte_to(go);
    CHECK(ended_with(pid) == 0);
    CHECK(!kv_watcher_next(watcher, WAIT_LIMIT_MS, &batch, NULL) && batch);
    event = kv_watch_batch_at(batch, 0);
    CHECK(event && event->type == KV_EVENT_DELETE && is_text(event->kv.key, "alive"));
    kv_watch_batch_free(batch);
    kv_watcher_free(watcher);
    kv_close(db);
    close(ready);
    close(go);
}

/* A forked child can only free the leases and locks of its parent; that changes nothing in the
 * store. */
static void forked(void) {
    kv_db *db = NULL;
    kv_lease *lease = NULL;
    struct contender waiting;
    kv_lock *held = NULL;
    kv_election *election = NULL;
    kv_leaders *leaders = NULL;
    kv_key_value *kv = NULL;
    int64_t seconds = 0;
    char path[512];
    pid_t pid;
    waiting.lock = NULL;
    snprintf(path, sizeof path, "%s/forked", dir);
    CHECK(!kv_open(path, NULL, &db, NULL) && !kv_lease_open(db, 60, KV_YES, &lease, NULL));
    CHECK(!kv_lock_open(db, kv_str("l"), 60, &held, NULL) && !kv_lock_acquire(held, 0, NULL));
    CHECK(!kv_lock_open(db, kv_str("l"), 60, &waiting.lock, NULL));
    CHECK(!kv_election_open(db, kv_str("e"), 60, &election, NULL));
    CHECK(!kv_election_campaign(election, kv_str("me"), 0, NULL));
    CHECK(!kv_election_observe(election, &leaders, NULL));
    if (pthread_create(&waiting.thread, NULL, acquire, &waiting)) exit(2);
    while (count(db, "l/") < 2) sched_yield();
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        int wrong = kv_lease_remaining(lease, &seconds, NULL) != KV_FORKED;
        wrong |= (kv_lease_close(lease, NULL) != KV_FORKED) << 1;
        wrong |= (kv_lock_acquire(held, KV_FOREVER, NULL) != KV_FORKED) << 2;
        wrong |= (kv_lock_acquire(waiting.lock, KV_FOREVER, NULL) != KV_FORKED) << 3;
        wrong |= (kv_lock_is_held(held) != KV_NO) << 4;
        wrong |= (kv_election_proclaim(election, kv_str("by the child"), NULL) != KV_FORKED) << 5;
        wrong |= (kv_election_leader(election, &kv, NULL) != KV_FORKED) << 6;
        wrong |= (kv_leaders_next(leaders, KV_FOREVER, &kv, NULL) != KV_FORKED) << 7;
        kv_lease_free(lease);
        kv_lock_free(held);
        kv_lock_free(waiting.lock);
        kv_election_free(election);
        kv_leaders_free(leaders);
        kv_close(db);
        _exit(wrong);
    }
    CHECK(ended_with(pid) == 0);
    CHECK(!kv_lease_remaining(lease, &seconds, NULL) && seconds > 0);
    CHECK(kv_lock_is_held(held) == KV_YES && count(db, "l/") == 2);
    CHECK(!kv_lock_release(held, NULL));
    pthread_join(waiting.thread, NULL);
    CHECK(waiting.code == KV_OK);
    leads(leaders, "me");
    kv_leaders_free(leaders);
    kv_election_free(election);
    kv_lock_free(waiting.lock);
    kv_lock_free(held);
    kv_lease_free(lease);
    kv_close(db);
}

int main(int argc, char **argv) {
    /* a forked child must not free the memory of its parent: a leak checker reports that memory */
    int no_fork = argc > 1 && strcmp(argv[1], "--no-fork") == 0;
    make_dir("lease");
    if (!no_fork) lease_ends_with_its_process();
    leases_by_the_clock();
    lease_refusals();
    lease_handle();
    two_threads_take_turns();
    lock_calls();
    lost_lock();
    elections();
    claim_refusals();
    handles_after_the_store_is_closed();
    if (!no_fork) forked();
    return summary();
}
