/* read STORE TREE STOP: reads the store while other processes import the tree into it, until a file
* STOP exists. It ends with status 1 if it reads one of these:
 *
 * - a revision lower than an earlier one;
 * - a part of a directory (an importer puts it in one transaction);
 * - a file that differs from the tree;
 * - a different number of keys at the same revision. */
#include "common.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t files_read;

static void no_skip(const char *path, const char *why)
{
    die("unexpected entry in the copy: %s: %s", path, why);
}

/* Whether the path exists at the revision. If so it must be as in the tree. */
static int is_there(const kv_db *db, int64_t revision, const char *root, const struct entry *entry)
{
    kv_error *error = NULL;
    kv_key_value *kv;
    const char *why = NULL;
    struct blob value;
    int there;

    must(kv_get(db, kv_str(entry->path), revision, &kv, &error), &error, entry->path);
    there = kv != NULL;
    if (there) {
        value = value_read(root, entry, &why);
        if (!value.data || value.len != kv->value.len || memcmp(value.data, kv->value.data, value.len))
            die("%s differs between the store and the tree", entry->path);
        free(value.data);
        files_read++;
    }
    kv_key_value_free(kv);
    return there;
}

/* Whether a transaction's files exist: all or none. Checks at most 50 of them, evenly spread. */
static int batch_is_there(const kv_db *db, int64_t revision, const char *root, const struct tree *tree,
                          const struct batch *batch)
{
    size_t step = 1 + (batch->last - batch->first) / 50, i;
    int first = is_there(db, revision, root, &tree->list[batch->first]);

    for (i = batch->first + step; i < batch->last; i += step)
        if (is_there(db, revision, root, &tree->list[i]) != first)
            die("the directory of %s is incomplete at revision %lld", tree->list[i].path,
                (long long)revision);
    return first;
}

int main(int argc, char **argv)
{
    size_t rounds = 0, revisions = 0, i, there;
    int64_t revision = 0, count, again;
    struct tree tree = {0};
    struct plan plan = {0};
    uint32_t draw = 1;
    int last_round;
    kv_db *db;

    program = "read";
    if (argc != 4)
        die("usage: read STORE TREE STOP");
    tree_read(&tree, argv[2], NULL, no_skip);
    plan_make(&plan, &tree, 2);
    db = store_open(argv[1], KV_YES);
    do {
        int64_t now;

        last_round = access(argv[3], F_OK) == 0;
        now = store_revision(db);
        if (now < revision)
            die("the revision decreased from %lld to %lld", (long long)revision, (long long)now);
        revisions += now > revision;
        revision = now;
        count = store_count(db, revision);
        for (i = 0, there = 0; i < plan.len && (last_round || i < 20); i++) {
            draw = draw * 1664525u + 1013904223u;
            there += (size_t)batch_is_there(db, revision, argv[2], &tree,
                                            &plan.list[last_round ? i : (draw >> 8) % plan.len]);
        }
        again = store_count(db, revision);
        if (again != count)
            die("revision %lld had %lld keys and then %lld", (long long)revision, (long long)count, (long long)again);
        rounds++;
    } while (!last_round);
    if (there != plan.len || count != (int64_t)tree.len)
        die("at the end %zu of %zu transactions and %lld of %zu keys exist", there, plan.len, (long long)count,
            tree.len);
    printf("the reader: %zu rounds at %zu different revisions, %zu files read, no directory incomplete\n",
           rounds, revisions, files_read);
    free(plan.list);
    tree_free(&tree);
    kv_close(db);
    return 0;
}
