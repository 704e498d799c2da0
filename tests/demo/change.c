/* change TREE SEED NAMES: changes a tree: edits, adds, removes and renames files, changes links,
* empties a directory, adds unusual names. The changes depend only on the tree and on SEED. The
* paths of an edited and of a removed file are written to NAMES/edited and NAMES/removed, for
* later queries. */
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t state;
static const char *root;
static const char *names;

/* A random number below a bound (splitmix64): the same numbers for the same seed everywhere. */
static uint64_t drawn(uint64_t below)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

static char *full_path(const char *path)
{
    return joined(root, "/", path);
}

static void write_name(const char *file, const char *path)
{
    char *full = joined(names, "/", file);
    FILE *out = fopen(full, "wb");

    if (!out || fwrite(path, 1, strlen(path), out) != strlen(path) || fclose(out))
        die("cannot write %s: %s", full, strerror(errno));
    free(full);
}

static void removed(const char *path)
{
    char *full = full_path(path);

    if (remove(full))
        die("cannot remove %s: %s", full, strerror(errno));
    free(full);
}

/* Adds a line, inverts a byte, or removes the second half. */
static void edited(const struct entry *entry)
{
    const char *why = NULL;
    struct blob value = value_read(root, entry, &why);

    if (!value.data)
        die("cannot read %s: %s", entry->path, why);
    switch (value.len > 1 ? drawn(3) : 0) {
    case 0:
        value.data = grown(value.data, value.len + 32);
        value.len += (size_t)sprintf(value.data + value.len, "another line: %llu\n", (unsigned long long)drawn(1000));
        break;
    case 1:
        value.data[1 + drawn(value.len - 1)] ^= (char)(1 + drawn(255));
        break;
    default:
        value.len = value.len / 2;
        value.len += value.len == 0;
    }
    value_write(root, entry->path, strlen(entry->path), value.data, value.len);
    free(value.data);
}

static void changed_link(const char *path)
{
    static const char value[] = "lelsewhere/and back";

    removed(path);
    value_write(root, path, strlen(path), value, sizeof value - 1);
}

/* Renames a file, in its own directory or to the top of the tree. */
static void renamed(const struct entry *entry, size_t number_of)
{
    char number[32], *from = full_path(entry->path), *path, *to;
    const char *slash = strrchr(entry->path, '/');

    sprintf(number, ".renamed-%zu", number_of);
    if (drawn(2) && strlen(entry->path) + strlen(number) <= PATH_BYTES_MAX)
        path = joined(entry->path, number, "");
    else
        path = joined(slash && strlen(slash) < 200 ? slash + 1 : "file", number, "");
    to = full_path(path);
    if (rename(from, to))
        die("cannot rename %s to %s: %s", from, to, strerror(errno));
    free(from);
    free(path);
    free(to);
}

static void added(const char *path, const char *value, size_t len)
{
    char *full = full_path(path);
    struct stat about;

    if (lstat(full, &about))
        value_write(root, path, strlen(path), value, len);
    free(full);
}

/* Adds files, among them unusual names and sizes. */
static size_t additions(size_t plain)
{
    static char large[(2u << 20) + 1], longest[PATH_BYTES_MAX + 1];
    char path[64], value[64];
    size_t i;

    for (i = 0; i < plain; i++) {
        sprintf(path, "added/%zu/file-%zu", i % 3, i);
        added(path, value, (size_t)sprintf(value, "ffile %zu, number %llu\n", i, (unsigned long long)drawn(1000)));
    }
    for (i = 1; i < sizeof large; i++)
        large[i] = (char)drawn(256);
    large[0] = 'f';
    added("added/large", large, sizeof large);
    added("added/nothing in it", "f", 1);
    added("added/two\nlines", "fa name of two lines\n", 21);
    added("added/not \xff\xfe text", "fa name that is no text\n", 24);
    added("added/program", "x#!/bin/sh\nexit 0\n", 18);
    added("added/dangling", "lnowhere/at all", 15);
    added("added/empty/directory/", "d", 1);
    for (i = 0; i < PATH_BYTES_MAX; i++)
        longest[i] = i % 100 == 99 ? '/' : 'p';
    added(longest, "fas long as a key may be\n", 25);
    return plain + 8;
}

/* The tree and the number of its changes. touched[i] is set when entry i was changed. */
struct changes {
    struct tree tree;
    char *touched;
    size_t edits, removals, renames, links, emptied;
};

/* Removes all files of a directory; the directory stays. */
static void empty_directory(struct changes *changes)
{
    struct plan plan = {0};
    const struct batch *batch;
    size_t i;

    plan_make(&plan, &changes->tree, 1);
    batch = plan.len ? &plan.list[drawn(plan.len)] : NULL;
    for (i = batch ? batch->first : 0; batch && i < batch->last && batch->last - batch->first < 100; i++) {
        if (strchr(changes->tree.list[i].path, '/') && changes->tree.list[i].kind != 'd') {
            removed(changes->tree.list[i].path);
            changes->touched[i] = 1;
            changes->emptied++;
        }
    }
    free(plan.list);
}

/* Changes an entry at most once. About a twentieth of the entries is edited, a fortieth removed, a
* fortieth renamed. */
static void change_one(struct changes *changes, size_t which, size_t share)
{
    const struct entry *entry = &changes->tree.list[which];

    if (changes->touched[which]++ || entry->kind == 'd')
        return;
    if (entry->kind == 'l' && changes->links < share) {
        changed_link(entry->path);
        changes->links++;
    } else if (entry->kind == 'l') {
        return;
    } else if (changes->edits < 2 * share) {
        edited(entry);
        if (!changes->edits++)
            write_name("edited", entry->path);
    } else if (changes->removals < share) {
        removed(entry->path);
        if (!changes->removals++)
            write_name("removed", entry->path);
    } else if (changes->renames < share) {
        renamed(entry, changes->renames++);
    }
}

static void no_skip(const char *path, const char *why)
{
    die("unexpected entry in the copy: %s: %s", path, why);
}

int main(int argc, char **argv)
{
    struct changes changes = {0};
    size_t share, i;

    program = "change";
    if (argc != 4)
        die("usage: change TREE SEED NAMES");
    root = argv[1];
    state = strtoull(argv[2], NULL, 10);
    names = argv[3];
    tree_read(&changes.tree, root, NULL, no_skip);
    changes.touched = grown(NULL, changes.tree.len);
    memset(changes.touched, 0, changes.tree.len);

    share = 1 + changes.tree.len / 40;
    empty_directory(&changes);
    for (i = 0; changes.tree.len && i < share * 40; i++)
        change_one(&changes, (size_t)drawn(changes.tree.len), share);
    printf("edited %zu files, removed %zu, renamed %zu, added %zu; changed %zu links; ", changes.edits,
           changes.removals, changes.renames, additions(share), changes.links);
    printf("emptied a directory of %zu files\n", changes.emptied);
    free(changes.touched);
    tree_free(&changes.tree);
    return 0;
}
