/* Shared by the programs that use a store: opening it, and errors. */
#ifndef DEMO_STORE_H
#define DEMO_STORE_H

#include "kv.h"

/* Ends the program with the error's name and message, if there is one. */
void must(kv_code code, kv_error **error, const char *what);

/* Opens a store. If it does not exist, KV_YES creates it and KV_NO is an error. */
kv_db *store_open(const char *path, int32_t create);
int64_t store_revision(const kv_db *db);

/* The number of files of the tree at a revision. */
int64_t store_count(const kv_db *db, int64_t revision);

#endif
