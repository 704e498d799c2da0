/* served STORE N: a writer of section 10 of the demo, in C. Makes N changes under shop/, half of
* them to keys that other writers change too. Prints each as REVISION KEY VALUE, with `-` for a
* deletion. served.py and served.js do the same with `write`. */
#include "common.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Makes a change and returns its revision; 0 if there was nothing to delete. */
static int64_t change(kv_db *db, const char *key, const char *value)
{
    kv_error *error = NULL;
    int64_t revision;

    if (value) {
        kv_put_response *put;

        must(kv_put(db, kv_str(key), kv_str(value), NULL, &put, &error), &error, key);
        revision = kv_put_response_revision(put);
        kv_put_response_free(put);
    } else {
        kv_delete_response *gone;

        must(kv_delete(db, kv_key(kv_str(key)), NULL, &gone, &error), &error, key);
        revision = kv_delete_response_deleted(gone) ? kv_delete_response_revision(gone) : 0;
        kv_delete_response_free(gone);
    }
    return revision;
}

int main(int argc, char **argv)
{
    kv_db *db;
    int i, changes;

    program = argv[0];
    if (argc != 3)
        die("usage: served STORE N");
    db = store_open(argv[1], KV_NO);
    changes = atoi(argv[2]);
    srand((unsigned)time(NULL));
    for (i = 0; i < changes; i++) {
        struct timespec pause = {0, rand() % 4000 * 1000};
        char key[32], value[32];
        int deletes = i % 10 == 9;
        int64_t revision;

        nanosleep(&pause, NULL);
        snprintf(key, sizeof key, "shop/%s/%d", i % 2 ? "all" : "c", i % 7);
        snprintf(value, sizeof value, "c-%d", i);
        revision = change(db, key, deletes ? NULL : value);
        if (revision)
            printf("%lld %s %s\n", (long long)revision, key, deletes ? "-" : value);
    }
    kv_close(db);
    return 0;
}
