/* Shared by the programs of `make demo`: a tree of files as keys and values.
 *
 * A key is a path relative to the tree, without a leading slash. A value is one byte for
 * the kind, and then the content:
 *
 *     f  a file            its bytes
 *     x  an executable     its bytes
 *     l  a symbolic link   its target
 *     d  an empty directory (its key ends in a slash)   nothing
 *
 * Other directories need no key: they are created again from the paths below them. */
#ifndef DEMO_COMMON_H
#define DEMO_COMMON_H

#define _XOPEN_SOURCE 700

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Longer keys are refused by this version of the library. */
#define PATH_BYTES_MAX 480
/* A value must fit into a request of 64 MiB, with its key. */
#define FILE_BYTES_MAX ((64u << 20) - 4096)
/* One transaction imports a directory, but no more than this. */
#define BATCH_FILES_MAX 10000
#define BATCH_BYTES_MAX (32u << 20)

/* Bytes on the heap. */
struct blob {
    char *data;
    size_t len;
};

/* One pair of the tree. */
struct entry {
    char *path;
    uint64_t bytes; /* of its content */
    char kind;      /* f, x, l or d; 0: in the store, but no longer in the tree */
};

/* Pairs, sorted by directory and then by name, so that the files of a directory are adjacent. */
struct tree {
    struct entry *list;
    size_t len, cap;
    uint64_t bytes;
};

/* The entries from first on and before last: one transaction, imported by process `part`. */
struct batch {
    size_t first, last;
    int part;
};

struct plan {
    struct batch *list;
    size_t len, cap;
};

/* Called for an entry that is skipped, with its path and the reason. */
typedef void skip_fn(const char *path, const char *why);

/* Prints the program's name and a message, and ends with status 1. */
void die(const char *format, ...);
extern const char *program;

/* Allocates or resizes memory. Ends the program if there is none. */
void *grown(void *memory, size_t bytes);
char *joined(const char *a, const char *b, const char *c);

/* Prints a name as one line of text, with \n, \\ or \xff for bytes that are not printable ASCII. */
void print_name(FILE *out, const char *name, size_t len);

/* Reads the entries below root; the directory `avoid` (or NULL) is skipped. */
void tree_read(struct tree *tree, const char *root, const char *avoid, skip_fn *skip);
void tree_add(struct tree *tree, const char *path, size_t len, char kind, uint64_t bytes);
void tree_sort(struct tree *tree);
void tree_free(struct tree *tree);
int path_order(const char *a, const char *b);
const struct entry *tree_find(const struct tree *tree, const char *path);

/* Divides a sorted tree into transactions, and the transactions between `parts` processes. */
void plan_make(struct plan *plan, const struct tree *tree, int parts);

/* The value of an entry, read from the disk. On failure data is NULL and *why is the reason. */
struct blob value_read(const char *root, const struct entry *entry, const char **why);

/* Writes a pair to the disk as a file, link or directory. */
void value_write(const char *root, const char *path, size_t path_len, const char *value, size_t len);

/* Seconds of a monotonic clock. */
double seconds(void);

#endif
