/* live PART STORE …: the processes of section 9 of the demo, a live system, in C.
 *
 *     edit STORE N       changes settings under config/ N times, then puts config/end
 *     follow STORE       prints each change of a setting, from the first revision to config/end
 *     lead STORE NAME    campaigns in an election and, as leader, proclaims itself until it is killed
 *     leader STORE       prints the current leader: its name and process
 *
 * A setting's value is the time of its change, in nanoseconds on a clock that all processes share. A
 * follower's line is REVISION KEY VALUE DELAY, with the delay in nanoseconds. live.py and live.js
 * have the same parts follow and lead. */
#include "common.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void pause_randomly(long most_us)
{
    struct timespec pause = {0, (rand() % most_us) * 1000};

    nanosleep(&pause, NULL);
}

static void edit(kv_db *db, int changes)
{
    kv_error *error = NULL;
    char key[32], value[32];
    int i;

    for (i = 0; i < changes; i++) {
        pause_randomly(4000);
        snprintf(key, sizeof key, "config/%d", rand() % 10);
        snprintf(value, sizeof value, "%lld", (long long)nanoseconds(CLOCK_MONOTONIC));
        must(kv_put(db, kv_str(key), kv_str(value), NULL, NULL, &error), &error, key);
    }
    must(kv_put(db, kv_str("config/end"), kv_str("0"), NULL, NULL, &error), &error, "config/end");
}

/* Prints a batch. Returns whether it has the end. */
static int show(const kv_watch_batch *batch)
{
    const kv_event *event;
    size_t i;

    for (i = 0; (event = kv_watch_batch_at(batch, i)) != NULL; i++) {
        char value[32];
        int64_t now = nanoseconds(CLOCK_MONOTONIC);

        snprintf(value, sizeof value, "%.*s", (int)event->kv.value.len, (const char *)event->kv.value.data);
        if (event->kv.key.len == 10 && memcmp(event->kv.key.data, "config/end", 10) == 0)
            return 1;
        printf("%lld %.*s %s %lld\n", (long long)kv_watch_batch_revision(batch), (int)event->kv.key.len,
               (const char *)event->kv.key.data, value, (long long)(now - atoll(value)));
    }
    return 0;
}

static void follow(kv_db *db)
{
    kv_watch_options options = KV_WATCH_OPTIONS_INIT;
    kv_error *error = NULL;
    kv_watcher *watcher;
    kv_watch_batch *batch;
    int ended = 0;

    options.start_revision = 1;
    must(kv_watch(db, kv_prefix(kv_str("config/")), &options, &watcher, &error), &error, "watch");
    fprintf(stderr, "ready\n");
    while (!ended) {
        must(kv_watcher_next(watcher, KV_FOREVER, &batch, &error), &error, "the next change");
        ended = show(batch);
        kv_watch_batch_free(batch);
    }
    kv_watcher_free(watcher);
}

static void lead(kv_db *db, const char *name)
{
    kv_error *error = NULL;
    kv_election *election;
    char value[64];
    int n;

    snprintf(value, sizeof value, "%s %ld 0", name, (long)getpid());
    must(kv_election_open(db, kv_str("leader"), 60, &election, &error), &error, "election");
    fprintf(stderr, "ready\n");
    must(kv_election_campaign(election, kv_str(value), KV_FOREVER, &error), &error, "campaign");
    printf("%lld %s leads %lld\n", (long long)nanoseconds(CLOCK_REALTIME), name,
           (long long)kv_election_revision(election));
    fflush(stdout);
    for (n = 1;; n++) {
        pause_randomly(5000);
        snprintf(value, sizeof value, "%s %ld %d", name, (long)getpid(), n);
        must(kv_election_proclaim(election, kv_str(value), &error), &error, "proclaim");
    }
}

static void leader(kv_db *db)
{
    kv_error *error = NULL;
    kv_election *election;
    kv_key_value *kv;

    must(kv_election_open(db, kv_str("leader"), 60, &election, &error), &error, "election");
    must(kv_election_leader(election, &kv, &error), &error, "leader");
    if (kv)
        printf("%.*s\n", (int)kv->value.len, (const char *)kv->value.data);
    kv_key_value_free(kv);
    kv_election_free(election);
}

int main(int argc, char **argv)
{
    const char *part = argc > 2 ? argv[1] : "";
    kv_db *db;

    program = argv[0];
    if (argc < 3)
        die("usage: live edit|follow|lead|leader STORE …");
    db = store_open(argv[2], KV_YES);
    srand((unsigned)nanoseconds(CLOCK_MONOTONIC));
    if (strcmp(part, "edit") == 0 && argc == 4)
        edit(db, atoi(argv[3]));
    else if (strcmp(part, "follow") == 0)
        follow(db);
    else if (strcmp(part, "lead") == 0 && argc == 4)
        lead(db, argv[3]);
    else if (strcmp(part, "leader") == 0)
        leader(db);
    else
        die("%s is not a part, or an argument is missing", part);
    kv_close(db);
    return 0;
}
