/* import STORE TREE PART PARTS: updates the store to the state of the tree, as process PART of PARTS.
 *
 * Each transaction has the changes in one directory (up to 10,000 files and 32 MiB): puts of new and
 * changed files, deletes of removed files. Unchanged files are not put again, so that the history
 * of a file has only its changes. */
#include "common.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

static struct {
    size_t puts, deletes, same, transactions;
    uint64_t bytes;
    int64_t last; /* revision */
} done;

static void no_skip(const char *path, const char *why)
{
    die("unexpected entry in the copy: %s: %s", path, why);
}

/* Reads the paths that the store has now. */
static void store_read(const kv_db *db, struct tree *known)
{
    kv_range_options options = KV_RANGE_OPTIONS_INIT;
    const kv_key_value *kv;
    kv_error *error = NULL;
    kv_scan *scan;

    options.keys_only = KV_YES;
    must(kv_scan_open(db, kv_all(), &options, &scan, &error), &error, "scan");
    for (;;) {
        must(kv_scan_next(scan, &kv, &error), &error, "scan");
        if (!kv)
            break;
        tree_add(known, (const char *)kv->key.data, kv->key.len, 0, 0);
    }
    kv_scan_free(scan);
    tree_sort(known);
}

/* Adds the paths that only the store has to the tree, as entries of kind 0. */
static void add_gone(struct tree *tree, const struct tree *known)
{
    struct tree listed = *tree;
    size_t i;

    for (i = 0; i < known->len; i++) {
        listed.list = tree->list;
        if (!tree_find(&listed, known->list[i].path))
            tree_add(tree, known->list[i].path, strlen(known->list[i].path), 0, 0);
    }
    tree_sort(tree);
}

/* Whether the store has this value for this path already. */
static int is_same(const kv_db *db, const char *path, const struct blob *value)
{
    kv_error *error = NULL;
    kv_key_value *kv;
    int same;

    must(kv_get(db, kv_str(path), 0, &kv, &error), &error, path);
    same = kv && kv->value.len == value->len && !memcmp(kv->value.data, value->data, value->len);
    kv_key_value_free(kv);
    return same;
}

/* Adds the change of an entry to the transaction. Returns 1 if there is a change. */
static int add_entry(kv_txn *txn, const kv_db *db, const char *root, const struct entry *entry, int known)
{
    kv_error *error = NULL;
    const char *why = NULL;
    struct blob value;
    int same;

    if (!entry->kind) {
        must(kv_txn_delete(txn, KV_SUCCESS, kv_key(kv_str(entry->path)), NULL, &error), &error, entry->path);
        done.deletes++;
        return 1;
    }
    value = value_read(root, entry, &why);
    if (!value.data)
        die("cannot read %s of the copy: %s", entry->path, why);
    same = known && is_same(db, entry->path, &value);
    if (same) {
        done.same++;
    } else {
        must(kv_txn_put(txn, KV_SUCCESS, kv_str(entry->path), kv_buf(value.data, value.len), NULL, &error), &error,
             entry->path);
        done.bytes += value.len - 1;
        done.puts++;
    }
    free(value.data);
    return !same;
}

/* Runs a transaction with the changes in one directory: one revision. */
static void import_batch(const kv_db *db, const char *root, const struct batch *batch, const struct tree *tree,
                         const struct tree *known)
{
    kv_txn_response *result;
    kv_error *error = NULL;
    kv_txn *txn = kv_txn_new();
    int changes = 0;
    size_t i;

    for (i = batch->first; i < batch->last; i++)
        changes += add_entry(txn, db, root, &tree->list[i], tree_find(known, tree->list[i].path) != NULL);
    if (changes) {
        must(kv_txn_run(db, txn, &result, &error), &error, "transaction");
        done.last = kv_txn_response_revision(result);
        done.transactions++;
        kv_txn_response_free(result);
    }
    kv_txn_free(txn);
}

int main(int argc, char **argv)
{
    struct tree tree = {0}, known = {0};
    struct plan plan = {0};
    double started = seconds();
    int part, parts;
    kv_db *db;
    size_t i;

    program = "import";
    if (argc != 5)
        die("usage: import STORE TREE PART PARTS");
    part = atoi(argv[3]) - 1;
    parts = atoi(argv[4]);
    db = store_open(argv[1], KV_YES);
    tree_read(&tree, argv[2], NULL, no_skip);
    store_read(db, &known);
    add_gone(&tree, &known);
    plan_make(&plan, &tree, parts);
    for (i = 0; i < plan.len; i++)
        if (plan.list[i].part == part)
            import_batch(db, argv[2], &plan.list[i], &tree, &known);
    printf("process %d of %d: %zu put, %zu deleted, %zu unchanged, %llu bytes; %zu transactions, ", part + 1, parts,
           done.puts, done.deletes, done.same, (unsigned long long)done.bytes, done.transactions);
    printf("the last is revision %lld; %.2f s\n", (long long)done.last, seconds() - started);
    free(plan.list);
    tree_free(&known);
    tree_free(&tree);
    kv_close(db);
    return 0;
}
