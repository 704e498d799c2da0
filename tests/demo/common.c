#include "common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *program = "demo";

void die(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fprintf(stderr, "%s: ", program);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *grown(void *memory, size_t bytes)
{
    void *larger = realloc(memory, bytes ? bytes : 1);

    if (!larger)
        die("no memory for %zu bytes", bytes);
    return larger;
}

char *joined(const char *a, const char *b, const char *c)
{
    size_t la = strlen(a), lb = strlen(b), lc = strlen(c);
    char *all = grown(NULL, la + lb + lc + 1);

    memcpy(all, a, la);
    memcpy(all + la, b, lb);
    memcpy(all + la + lb, c, lc + 1);
    return all;
}

void print_name(FILE *out, const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)name[i];

        if (byte == '\n')
            fputs("\\n", out);
        else if (byte == '\\')
            fputs("\\\\", out);
        else if (byte < ' ' || byte > '~')
            fprintf(out, "\\x%02x", byte);
        else
            fputc(byte, out);
    }
}

double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Trees ------------------------------------------------------------------------------------ */

void tree_add(struct tree *tree, const char *path, size_t len, char kind, uint64_t bytes)
{
    struct entry *entry;

    if (tree->len == tree->cap) {
        tree->cap = tree->cap ? tree->cap * 2 : 256;
        tree->list = grown(tree->list, tree->cap * sizeof *tree->list);
    }
    entry = &tree->list[tree->len++];
    entry->path = grown(NULL, len + 1);
    memcpy(entry->path, path, len);
    entry->path[len] = 0;
    entry->kind = kind;
    entry->bytes = bytes;
    tree->bytes += bytes;
}

void tree_free(struct tree *tree)
{
    size_t i;

    for (i = 0; i < tree->len; i++)
        free(tree->list[i].path);
    free(tree->list);
    memset(tree, 0, sizeof *tree);
}

/* The length of the path up to and including the last slash. */
static size_t directory_len(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) + 1 : 0;
}

int path_order(const char *a, const char *b)
{
    size_t la = directory_len(a), lb = directory_len(b);
    int order = memcmp(a, b, la < lb ? la : lb);

    if (order == 0)
        order = (la > lb) - (la < lb);
    return order ? order : strcmp(a + la, b + lb);
}

static int entry_order(const void *a, const void *b)
{
    return path_order(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

void tree_sort(struct tree *tree)
{
    if (tree->len)
        qsort(tree->list, tree->len, sizeof *tree->list, entry_order);
}

const struct entry *tree_find(const struct tree *tree, const char *path)
{
    struct entry key = {0};

    key.path = (char *)path;
    return tree->len ? bsearch(&key, tree->list, tree->len, sizeof *tree->list, entry_order) : NULL;
}

struct walk {
    struct tree *tree;
    const char *root;
    skip_fn *skip;
    dev_t device; /* other file systems are not entered */
    struct stat avoid;
};

static void walk_directory(struct walk *walk, const char *path);

static void walk_one(struct walk *walk, const char *path)
{
    char *full = joined(walk->root, "/", path);
    struct stat about;

    if (strlen(path) > PATH_BYTES_MAX)
        walk->skip(path, "path of more than 480 bytes: longer keys are not supported");
    else if (lstat(full, &about))
        walk->skip(path, strerror(errno));
    else if (S_ISDIR(about.st_mode) && about.st_dev != walk->device)
        walk->skip(path, "another file system is mounted there");
    else if (S_ISDIR(about.st_mode) && about.st_ino == walk->avoid.st_ino && about.st_dev == walk->avoid.st_dev)
        walk->skip(path, "the working folder of the demo");
    else if (S_ISDIR(about.st_mode))
        walk_directory(walk, path);
    else if (S_ISLNK(about.st_mode))
        tree_add(walk->tree, path, strlen(path), 'l', (uint64_t)about.st_size);
    else if (!S_ISREG(about.st_mode))
        walk->skip(path, "neither file nor link nor directory");
    else if (about.st_size > (off_t)FILE_BYTES_MAX)
        walk->skip(path, "file of more than 64 MiB: above the default limit of a request");
    else
        tree_add(walk->tree, path, strlen(path), about.st_mode & S_IXUSR ? 'x' : 'f', (uint64_t)about.st_size);
    free(full);
}

/* Reads all names and closes the directory before it descends, so that a deep tree does not need
* many descriptors. */
static void walk_directory(struct walk *walk, const char *path)
{
    char *full = joined(walk->root, "/", path), **names = NULL;
    size_t len = 0, i;
    struct dirent *found;
    DIR *directory = opendir(full);

    free(full);
    if (!directory) {
        walk->skip(path, strerror(errno));
        return;
    }
    while ((found = readdir(directory))) {
        if (!strcmp(found->d_name, ".") || !strcmp(found->d_name, ".."))
            continue;
        names = grown(names, (len + 1) * sizeof *names);
        names[len++] = *path ? joined(path, "/", found->d_name) : joined(found->d_name, "", "");
    }
    closedir(directory);
    if (!len && *path) {
        char *key = joined(path, "/", "");

        if (strlen(key) > PATH_BYTES_MAX)
            walk->skip(key, "path of more than 480 bytes: longer keys are not supported");
        else
            tree_add(walk->tree, key, strlen(key), 'd', 0);
        free(key);
    }
    for (i = 0; i < len; i++) {
        walk_one(walk, names[i]);
        free(names[i]);
    }
    free(names);
}

void tree_read(struct tree *tree, const char *root, const char *avoid, skip_fn *skip)
{
    struct walk walk = {tree, root, skip, 0, {0}};
    struct stat about;

    if (avoid && stat(avoid, &walk.avoid))
        die("%s: %s", avoid, strerror(errno));
    if (stat(root, &about) || !S_ISDIR(about.st_mode))
        die("%s is not a readable directory", root);
    walk.device = about.st_dev;
    walk_directory(&walk, "");
    tree_sort(tree);
}

/* Plans ------------------------------------------------------------------------------------ */

/* The approximate cost of importing an entry: its bytes and one page. */
static uint64_t weight(const struct entry *entry)
{
    return entry->bytes + 4096;
}

void plan_make(struct plan *plan, const struct tree *tree, int parts)
{
    uint64_t all = tree->bytes + 4096 * (uint64_t)tree->len, before = 0, bytes = 0;
    struct batch *batch = NULL;
    size_t i;

    for (i = 0; i < tree->len; i++) {
        const char *path = tree->list[i].path, *last = i ? tree->list[i - 1].path : NULL;
        size_t len = directory_len(path);
        int part = (int)((double)before / (double)all * parts);

        if (!batch || part != batch->part || len != directory_len(last) || memcmp(path, last, len)
            || i - batch->first == BATCH_FILES_MAX || bytes + tree->list[i].bytes > BATCH_BYTES_MAX) {
            if (plan->len == plan->cap) {
                plan->cap = plan->cap ? plan->cap * 2 : 64;
                plan->list = grown(plan->list, plan->cap * sizeof *plan->list);
            }
            batch = &plan->list[plan->len++];
            batch->first = i;
            batch->part = part;
            bytes = 0;
        }
        batch->last = i + 1;
        before += weight(&tree->list[i]);
        bytes += tree->list[i].bytes;
    }
}

/* Values ----------------------------------------------------------------------------------- */

/* Reads the content after the first byte; -1 with errno on failure. The file may have grown or
* shrunk since it was listed: its current content is read, if it is not too large. */
static int read_file(const char *full, struct blob *value)
{
    int file = open(full, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    size_t cap = value->len + 4096;
    struct stat about;
    ssize_t got;

    if (file < 0)
        return -1;
    if (!fstat(file, &about) && S_ISREG(about.st_mode) && about.st_size <= (off_t)FILE_BYTES_MAX)
        cap = value->len + (size_t)about.st_size + 1;
    do {
        if (value->len == cap)
            cap *= 2;
        value->data = grown(value->data, cap);
        got = read(file, value->data + value->len, cap - value->len);
        value->len += got > 0 ? (size_t)got : 0;
    } while (got > 0 && value->len <= FILE_BYTES_MAX + 1);
    close(file);
    if (value->len > FILE_BYTES_MAX + 1)
        errno = EFBIG;
    return got ? -1 : 0;
}

static int read_link(const char *full, struct blob *value)
{
    ssize_t got;

    value->data = grown(value->data, value->len + 4097);
    got = readlink(full, value->data + value->len, 4097);
    if (got > 4096)
        errno = ENAMETOOLONG;
    if (got < 0 || got > 4096)
        return -1;
    value->len += (size_t)got;
    return 0;
}

struct blob value_read(const char *root, const struct entry *entry, const char **why)
{
    char *full = joined(root, "/", entry->path);
    struct blob value = {grown(NULL, 1), 1};
    int failed = 0;

    value.data[0] = entry->kind;
    if (entry->kind == 'l')
        failed = read_link(full, &value);
    else if (entry->kind != 'd')
        failed = read_file(full, &value);
    if (failed) {
        *why = strerror(errno);
        free(value.data);
        value.data = NULL;
    }
    free(full);
    return value;
}

/* Creates every directory up to the last slash. */
static void make_directories(char *full)
{
    char *slash;

    for (slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(full, 0700) && errno != EEXIST)
            die("cannot create the directory %s: %s", full, strerror(errno));
        *slash = '/';
    }
}

static void write_file(const char *full, mode_t mode, const char *data, size_t len)
{
    int file = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);

    if (file < 0)
        die("cannot create %s: %s", full, strerror(errno));
    while (len) {
        ssize_t put = write(file, data, len);

        if (put < 0)
            die("cannot write %s: %s", full, strerror(errno));
        data += put;
        len -= (size_t)put;
    }
    if (close(file))
        die("cannot write %s: %s", full, strerror(errno));
}

void value_write(const char *root, const char *path, size_t path_len, const char *value, size_t len)
{
    char *full = grown(NULL, strlen(root) + path_len + 2);
    char *target;

    sprintf(full, "%s/%.*s", root, (int)path_len, path);
    make_directories(full);
    if (!len)
        die("the value of %s is empty", full);
    switch (value[0]) {
    case 'f':
    case 'x':
        write_file(full, value[0] == 'x' ? 0700 : 0600, value + 1, len - 1);
        break;
    case 'l':
        target = grown(NULL, len);
        memcpy(target, value + 1, len - 1);
        target[len - 1] = 0;
        if (symlink(target, full))
            die("cannot create the link %s: %s", full, strerror(errno));
        free(target);
        break;
    case 'd':
        break;
    default:
        die("the value of %s has an unknown kind", full);
    }
    free(full);
}
