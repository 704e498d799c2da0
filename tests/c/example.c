/* Two revisions of one key. */
#include <kv.h>
#include <stdio.h>

int main(void)
{
    kv_bytes key = kv_str("greeting");
    kv_key_value *kv;
    kv_db *db;

    if (kv_open(":memory:", NULL, &db, NULL) /* or the path of a directory */
        || kv_put(db, key, kv_str("hello"), NULL, NULL, NULL) || kv_put(db, key, kv_str("goodbye"), NULL, NULL, NULL))
        return 1;
    for (int revision = 2; revision <= 3; revision++) { /* 1 is the empty store, each write adds 1 */
        if (kv_get(db, key, revision, &kv, NULL))
            return 1;
        printf("revision %d: %.*s\n", revision, (int)kv->value.len, (const char *)kv->value.data);
        kv_key_value_free(kv);
    }
    kv_close(db);
    return 0;
}
