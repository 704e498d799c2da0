/* follower STORE HOW FILE: watches a store and writes one line to FILE for each batch, in the form
 * that tests/conformance/src/follow.rs defines. After a kill it continues after the last complete
 * line. It ends at the key `end`. HOW is all, or puts (under a/ to e). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv.h"

static uint32_t sum;

/* The checksum of zlib. */
static void add(const void *data, size_t len)
{
    const unsigned char *bytes = data;
    size_t i;
    int bit;

    for (i = 0; i < len; i++) {
        uint32_t low = (sum ^ bytes[i]) & 0xff;

        for (bit = 0; bit < 8; bit++)
            low = (low >> 1) ^ (0xedb88320u & (0u - (low & 1)));
        sum = (sum >> 8) ^ low;
    }
}

static void add_number(int64_t number)
{
    unsigned char bytes[8];
    int i;

    for (i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)number >> (8 * i));
    add(bytes, sizeof bytes);
}

static void must(kv_code code, kv_error *error, const char *what)
{
    if (code == KV_OK)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, kv_strerror(code), error ? kv_error_message(error) : "");
    exit(1);
}

/* Removes an incomplete last line; returns the revision to continue from. */
static int64_t resume(const char *path, FILE **out)
{
    char *text = NULL;
    size_t len = 0, room = 0, got, end, line;
    FILE *in = fopen(path, "rb");

    while (in) {
        if (len + 65536 > room)
            text = realloc(text, room = 2 * room + 65536);
        got = fread(text + len, 1, 65536, in);
        len += got;
        if (got == 0)
            break;
    }
    if (in)
        fclose(in);
    for (end = len; end > 0 && text[end - 1] != '\n'; end--)
        ;
    for (line = end ? end - 1 : 0; line > 0 && text[line - 1] != '\n'; line--)
        ;
    /* the file is rewritten without that line; if it is killed here, it starts from the beginning */
    *out = fopen(path, "wb");
    if (!*out || fwrite(text ? text : "", 1, end, *out) != end || fflush(*out)) {
        perror(path);
        exit(1);
    }
    {
        int64_t from = end ? strtoll(text + line, NULL, 10) + 1 : 1;

        free(text);
        return from;
    }
}

static int write_line(FILE *out, const kv_watch_batch *batch)
{
    const kv_event *event;
    size_t i;
    int ended = 0;

    sum = 0xffffffffu;
    for (i = 0; (event = kv_watch_batch_at(batch, i)) != NULL; i++) {
        unsigned char deleted = event->type == KV_EVENT_DELETE;

        add(event->kv.key.data, event->kv.key.len);
        add(&deleted, 1);
        add(event->kv.value.data, event->kv.value.len);
        add_number(event->kv.create_revision);
        add_number(event->kv.mod_revision);
        add_number(event->kv.version);
        ended |= event->kv.key.len == 3 && memcmp(event->kv.key.data, "end", 3) == 0;
    }
    fprintf(out, "%lld %lu %08lx\n", (long long)kv_watch_batch_revision(batch),
            (unsigned long)kv_watch_batch_len(batch), (unsigned long)~sum & 0xfffffffful);
    fflush(out);
    return ended;
}

int main(int argc, char **argv)
{
    kv_watch_options options = KV_WATCH_OPTIONS_INIT;
    kv_error *error = NULL;
    kv_watcher *watcher;
    kv_watch_batch *batch;
    kv_key_range range;
    kv_db *db;
    FILE *out;
    int ended = 0;

    if (argc != 4)
        return 2;
    must(kv_open(argv[1], NULL, &db, &error), error, argv[1]);
    options.start_revision = resume(argv[3], &out);
    range = kv_all();
    if (strcmp(argv[2], "puts") == 0) {
        range = kv_between(kv_str("a/"), kv_str("f"));
        options.no_delete = KV_YES;
    }
    must(kv_watch(db, range, &options, &watcher, &error), error, "watch");
    while (!ended) {
        must(kv_watcher_next(watcher, KV_FOREVER, &batch, &error), error, "the next batch");
        ended = write_line(out, batch);
        kv_watch_batch_free(batch);
    }
    kv_watcher_free(watcher);
    kv_close(db);
    fclose(out);
    return 0;
}
