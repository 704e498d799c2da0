/* change TREE SEED NAMES: changes a tree as a busy day might: files edited, added, removed and
 * renamed, links turned elsewhere, a directory gone, names of every kind. What is drawn depends on
 * the tree and on SEED alone. The paths of one edited and of one removed file are left in
 * NAMES/edited and NAMES/removed, for whoever asks about them afterwards. */
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t state;
static const char *root;
static const char *names;

/* splitmix64: the same numbers for the same seed everywhere. */
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

static void tell(const char *file, const char *path)
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

/* A line more, a byte turned over, or the second half gone. */
static void edited(const struct entry *entry)
{
    const char *why = NULL;
    struct blob value = value_read(root, entry, &why);

    if (!value.data)
        die("cannot read %s: %s", entry->path, why);
    switch (value.len > 1 ? drawn(3) : 0) {
    case 0:
        value.data = grown(value.data, value.len + 32);
        value.len += (size_t)sprintf(value.data + value.len, "one line more: %llu\n", (unsigned long long)drawn(1000));
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

static void turned_elsewhere(const char *path)
{
    static const char value[] = "lelsewhere/and back";

    removed(path);
    value_write(root, path, strlen(path), value, sizeof value - 1);
}

/* To a new name: in its own directory, or at the top of the tree. */
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

/* New files, among them every name and size that is easy to get wrong. */
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

/* What was done to a tree, in numbers; touched[i] once entry i has had its change. */
struct day {
    struct tree tree;
    char *touched;
    size_t edits, removals, renames, links, emptied;
};

/* The files of one directory all go; the directory stays, empty. */
static void empty_directory(struct day *day)
{
    struct plan plan = {0};
    const struct batch *batch;
    size_t i;

    plan_make(&plan, &day->tree, 1);
    batch = plan.len ? &plan.list[drawn(plan.len)] : NULL;
    for (i = batch ? batch->first : 0; batch && i < batch->last && batch->last - batch->first < 100; i++) {
        if (strchr(day->tree.list[i].path, '/') && day->tree.list[i].kind != 'd') {
            removed(day->tree.list[i].path);
            day->touched[i] = 1;
            day->emptied++;
        }
    }
    free(plan.list);
}

/* Every entry gets at most one change; about a twentieth is edited, half as many go, half as many
 * get another name. */
static void change_one(struct day *day, size_t which, size_t share)
{
    const struct entry *entry = &day->tree.list[which];

    if (day->touched[which]++ || entry->kind == 'd')
        return;
    if (entry->kind == 'l' && day->links < share) {
        turned_elsewhere(entry->path);
        day->links++;
    } else if (entry->kind == 'l') {
        return;
    } else if (day->edits < 2 * share) {
        edited(entry);
        if (!day->edits++)
            tell("edited", entry->path);
    } else if (day->removals < share) {
        removed(entry->path);
        if (!day->removals++)
            tell("removed", entry->path);
    } else if (day->renames < share) {
        renamed(entry, day->renames++);
    }
}

static void no_skip(const char *path, const char *why)
{
    die("the copy has something that no copy can have, %s: %s", path, why);
}

int main(int argc, char **argv)
{
    struct day day = {0};
    size_t share, i;

    program = "change";
    if (argc != 4)
        die("usage: change TREE SEED NAMES");
    root = argv[1];
    state = strtoull(argv[2], NULL, 10);
    names = argv[3];
    tree_read(&day.tree, root, NULL, no_skip);
    day.touched = grown(NULL, day.tree.len);
    memset(day.touched, 0, day.tree.len);

    share = 1 + day.tree.len / 40;
    empty_directory(&day);
    for (i = 0; day.tree.len && i < share * 40; i++)
        change_one(&day, (size_t)drawn(day.tree.len), share);
    printf("edited %zu files, removed %zu, renamed %zu, added %zu; turned %zu links elsewhere; ", day.edits,
           day.removals, day.renames, additions(share), day.links);
    printf("emptied a directory of %zu\n", day.emptied);
    free(day.touched);
    tree_free(&day.tree);
    return 0;
}
