/* What the programs of `make demo` share: a tree of files as keys and values.
 *
 * A key is a path relative to the tree, without a leading slash. A value is one byte that says
 * what stands there, and then its content:
 *
 *     f  a file            its bytes
 *     x  a file that may be executed, likewise
 *     l  a symbolic link   its target
 *     d  a directory with nothing in it (its key ends in a slash)   nothing
 *
 * Directories that hold something need no key: they are made again from the paths below them. */
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
/* One transaction takes a directory, but no more than this. */
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

/* Pairs, sorted by directory and then by name, so that a directory's own stand together. */
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

/* Called for what is neither file, link nor directory, or cannot be taken: its path and why. */
typedef void skip_fn(const char *path, const char *why);

/* Prints the program's name and a message, and ends with status 1. */
void die(const char *format, ...);
extern const char *program;

/* Memory, or the end. */
void *grown(void *memory, size_t bytes);
char *joined(const char *a, const char *b, const char *c);

/* A name as one line of text: bytes that are no printable ASCII as \n, \\ or \xff. */
void print_name(FILE *out, const char *name, size_t len);

/* Reads what stands under root; the directory `avoid` (or NULL) is not entered. */
void tree_read(struct tree *tree, const char *root, const char *avoid, skip_fn *skip);
void tree_add(struct tree *tree, const char *path, size_t len, char kind, uint64_t bytes);
void tree_sort(struct tree *tree);
void tree_free(struct tree *tree);
int path_order(const char *a, const char *b);
const struct entry *tree_find(const struct tree *tree, const char *path);

/* Cuts a sorted tree into transactions, and those among `parts` processes, about evenly. */
void plan_make(struct plan *plan, const struct tree *tree, int parts);

/* The value of an entry, read from the disk. On failure data is NULL and *why says why. */
struct blob value_read(const char *root, const struct entry *entry, const char **why);

/* Writes a pair out as the file, link or directory that it was. */
void value_write(const char *root, const char *path, size_t path_len, const char *value, size_t len);

/* Seconds since some fixed moment. */
double seconds(void);

#endif
