/* query STORE QUERY …: queries of a store that holds a tree of files.
 *
 *     revision                     the current revision
 *     changes FROM TO              what changed between two revisions, with sizes
 *     versions PATH                every version of a file, newest first
 *     show PATH REVISION           the content of a file at that revision
 *     digest REVISION              number of files at that revision, their bytes, a checksum of all
 *     write-out REVISION FOLDER    writes the whole tree of that revision to a folder
 *     compact REVISION             removes the history below a revision
 *     check                        verifies the store
 *     figures                      files, bytes, revisions */
#include "common.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

static int64_t number(const char *text)
{
    char *end;
    long long value = strtoll(text, &end, 10);

    if (*end || end == text)
        die("%s is not a revision", text);
    return (int64_t)value;
}

/* Prints the kind of a value, unless it is a plain file, and the size of its content. */
static void print_value(kv_bytes value)
{
    switch (value.len ? value.data[0] : 0) {
    case 'x':
        printf("program of ");
        break;
    case 'l':
        printf("link of ");
        break;
    case 'd':
        printf("empty directory");
        return;
    }
    printf("%zu bytes", value.len ? value.len - 1 : 0);
}

static void changes(const kv_db *db, int64_t from, int64_t to)
{
    size_t added = 0, removed = 0, changed = 0;
    const kv_difference *change;
    kv_error *error = NULL;
    kv_diff *diff;

    must(kv_diff_open(db, from, to, kv_all(), &diff, &error), &error, "changes");
    for (;;) {
        must(kv_diff_next(diff, &change, &error), &error, "changes");
        if (!change)
            break;
        printf("  %c ", !change->before ? '+' : !change->after ? '-' : '~');
        print_name(stdout, (const char *)change->key.data, change->key.len);
        printf("  ");
        if (change->before)
            print_value(change->before->value);
        if (change->before && change->after)
            printf(" -> ");
        if (change->after)
            print_value(change->after->value);
        putchar('\n');
        added += !change->before;
        removed += !change->after;
        changed += change->before && change->after;
    }
    kv_diff_free(diff);
    printf("%zu added, %zu removed, %zu changed\n", added, removed, changed);
}

static void versions(const kv_db *db, const char *path)
{
    const kv_event *event;
    kv_error *error = NULL;
    kv_events *events;

    must(kv_history(db, kv_str(path), 0, &events, &error), &error, path);
    for (;;) {
        must(kv_events_next(events, &event, &error), &error, path);
        if (!event)
            break;
        printf("  ");
        print_name(stdout, path, strlen(path));
        printf("  revision %lld: ", (long long)event->kv.mod_revision);
        if (event->type == KV_EVENT_DELETE) {
            printf("removed\n");
        } else {
            printf("version %lld, ", (long long)event->kv.version);
            print_value(event->kv.value);
            putchar('\n');
        }
    }
    kv_events_free(events);
}

static void show(const kv_db *db, const char *path, int64_t revision)
{
    kv_error *error = NULL;
    kv_key_value *kv;

    must(kv_get(db, kv_str(path), revision, &kv, &error), &error, path);
    if (!kv)
        die("%s does not exist at revision %lld", path, (long long)revision);
    fwrite(kv->value.data + 1, 1, kv->value.len - 1, stdout);
    kv_key_value_free(kv);
}

/* The totals of a pass over the tree. If there is a folder the pass writes the tree to it. */
struct pass {
    const char *folder;
    size_t entries;
    uint64_t bytes;
    uint32_t crc;
};

/* The checksum of zip and gzip, continued. */
static uint32_t crc32_of(uint32_t crc, const unsigned char *data, size_t len)
{
    static uint32_t table[256];
    size_t i;

    for (i = 0; !table[255] && i < 256; i++) {
        uint32_t word = (uint32_t)i;
        int bit;

        for (bit = 0; bit < 8; bit++)
            word = word & 1 ? word >> 1 ^ 0xedb88320u : word >> 1;
        table[i] = word;
    }
    crc = ~crc;
    for (i = 0; i < len; i++)
        crc = crc >> 8 ^ table[(crc ^ data[i]) & 0xff];
    return ~crc;
}

/* Reads every pair of a revision, one after the other, without holding a transaction open. */
static void pass_over(const kv_db *db, int64_t revision, struct pass *pass)
{
    kv_range_options options = KV_RANGE_OPTIONS_INIT;
    const kv_key_value *kv;
    kv_error *error = NULL;
    kv_scan *scan;

    options.revision = revision;
    must(kv_scan_open(db, kv_all(), &options, &scan, &error), &error, "the tree");
    for (;;) {
        must(kv_scan_next(scan, &kv, &error), &error, "the tree");
        if (!kv)
            break;
        if (pass->folder)
            value_write(pass->folder, (const char *)kv->key.data, kv->key.len, (const char *)kv->value.data,
                        kv->value.len);
        pass->entries++;
        pass->bytes += kv->value.len - 1;
        pass->crc = crc32_of(crc32_of(pass->crc, kv->key.data, kv->key.len), kv->value.data, kv->value.len);
    }
    kv_scan_free(scan);
}

static void write_out(const kv_db *db, int64_t revision, const char *folder)
{
    struct pass pass = {folder, 0, 0, 0};

    pass_over(db, revision, &pass);
    printf("revision %lld: %zu files and links, %llu bytes written out\n", (long long)revision, pass.entries,
           (unsigned long long)pass.bytes);
}

static void digest(const kv_db *db, int64_t revision)
{
    struct pass pass = {NULL, 0, 0, 0};

    pass_over(db, revision, &pass);
    printf("revision %lld: %zu files and links, %llu bytes, checksum %08x\n", (long long)revision, pass.entries,
           (unsigned long long)pass.bytes, (unsigned)pass.crc);
}

static int64_t status_number(const kv_db *db, int32_t name)
{
    kv_error *error = NULL;
    kv_status *status;
    int64_t number = 0;

    must(kv_status_get(db, &status, &error), &error, "status");
    kv_status_number(status, name, &number);
    kv_status_free(status);
    return number;
}

static void compact(const kv_db *db, int64_t revision)
{
    int64_t before = status_number(db, KV_STATUS_BYTES_IN_USE);
    kv_error *error = NULL;

    must(kv_compact(db, revision, KV_YES, NULL, &error), &error, "compact");
    printf("compacted at revision %lld: bytes in use %lld -> %lld\n", (long long)revision, (long long)before,
           (long long)status_number(db, KV_STATUS_BYTES_IN_USE));
}

static int check(const kv_db *db)
{
    kv_check_report *report;
    kv_error *error = NULL;
    size_t problems, i;

    must(kv_check(db, &report, &error), &error, "check");
    problems = kv_check_report_len(report);
    printf("check: %llu keys, %llu events, %zu problems\n", (unsigned long long)kv_check_report_keys(report),
           (unsigned long long)kv_check_report_events(report), problems);
    for (i = 0; i < problems; i++) {
        const kv_problem *problem = kv_check_report_at(report, i);

        printf("  %s ", problem->invariant);
        print_name(stdout, (const char *)problem->key.data, problem->key.len);
        printf(" revision %lld: %s\n", (long long)problem->revision, problem->message);
    }
    kv_check_report_free(report);
    return problems != 0;
}

static void figures(const kv_db *db)
{
    struct pass pass = {NULL, 0, 0, 0};

    pass_over(db, 0, &pass);
    printf("files:         %zu\nbytes:         %llu\n", pass.entries, (unsigned long long)pass.bytes);
    printf("revisions:     %lld\n", (long long)store_revision(db));
}

int main(int argc, char **argv)
{
    const char *query = argc > 2 ? argv[2] : "";
    int bad = 0;
    kv_db *db;

    program = "query";
    if (argc < 3)
        die("usage: query STORE QUERY …");
    db = store_open(argv[1], KV_NO);
    if (!strcmp(query, "revision") && argc == 3)
        printf("%lld\n", (long long)store_revision(db));
    else if (!strcmp(query, "changes") && argc == 5)
        changes(db, number(argv[3]), number(argv[4]));
    else if (!strcmp(query, "versions") && argc == 4)
        versions(db, argv[3]);
    else if (!strcmp(query, "show") && argc == 5)
        show(db, argv[3], number(argv[4]));
    else if (!strcmp(query, "digest") && argc == 4)
        digest(db, number(argv[3]));
    else if (!strcmp(query, "write-out") && argc == 5)
        write_out(db, number(argv[3]), argv[4]);
    else if (!strcmp(query, "compact") && argc == 4)
        compact(db, number(argv[3]));
    else if (!strcmp(query, "check") && argc == 3)
        bad = check(db);
    else if (!strcmp(query, "figures") && argc == 3)
        figures(db);
    else
        die("%s is not a query, or an argument is missing", query);
    kv_close(db);
    if (fflush(stdout))
        die("the output cannot be written");
    return bad;
}
