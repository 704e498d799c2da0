/* What import, read and ask share: opening the store, and what to do with an error. */
#ifndef DEMO_STORE_H
#define DEMO_STORE_H

#include "kv.h"

/* Ends the program with the error's name and message, if there is one. */
void must(kv_code code, kv_error **error, const char *what);

/* Opens a store; with create KV_YES it is made if there is none, with KV_NO that is an error. */
kv_db *store_open(const char *path, int32_t create);
int64_t store_revision(const kv_db *db);

/* How many files the tree had at a revision. */
int64_t store_count(const kv_db *db, int64_t revision);

#endif
