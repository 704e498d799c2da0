/* copy FROM TO AVOID: copies the files and links below FROM that can be read, and lists the rest.
 * The directory AVOID, which contains the copy, is skipped. */
#include "common.h"

#include <stdlib.h>
#include <string.h>

static size_t skipped;

static void list_skipped(const char *path, const char *why)
{
    if (!skipped++)
        printf("not copied:\n");
    printf("  ");
    print_name(stdout, path, strlen(path));
    printf(": %s\n", why);
}

int main(int argc, char **argv)
{
    size_t files = 0, links = 0, directories = 0, i;
    struct tree tree = {0};
    uint64_t bytes = 0;

    program = "copy";
    if (argc != 4)
        die("usage: copy FROM TO AVOID");
    tree_read(&tree, argv[1], argv[3], list_skipped);
    for (i = 0; i < tree.len; i++) {
        struct entry *entry = &tree.list[i];
        const char *why = NULL;
        struct blob value = value_read(argv[1], entry, &why);

        if (!value.data) {
            list_skipped(entry->path, why);
            continue;
        }
        value_write(argv[2], entry->path, strlen(entry->path), value.data, value.len);
        files += entry->kind == 'f' || entry->kind == 'x';
        links += entry->kind == 'l';
        directories += entry->kind == 'd';
        bytes += value.len - 1;
        free(value.data);
    }
    printf("copied %zu files, %zu links and %zu empty directories, %llu bytes; not copied: %zu\n", files, links,
           directories, (unsigned long long)bytes, skipped);
    tree_free(&tree);
    return 0;
}
