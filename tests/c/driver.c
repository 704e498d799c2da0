/* The conformance driver of C: reads a step a line, does it through kv.h, prints its answer as a line.
 * The language is told in tests/README.md. `driver STORE [limits=etcd]`. */
#include <stdio.h>
#include <stdlib.h>

#include "kv.h"

static kv_db *db;
static kv_error *error;
static const char *store;
static kv_options options = KV_OPTIONS_INIT;

/* The words of the step, and the next of them. */
static char **words;
static size_t word_count, word_at;

static void die(const char *what, const char *word) {
    printf("driver: %s: %s\n", what, word ? word : "the step ends too early");
    exit(2);
}

static const char *peek(void) {
    return word_at < word_count ? words[word_at] : NULL;
}

static const char *next(void) {
    const char *word = peek();
    if (!word) die("a word is missing", NULL);
    word_at++;
    return word;
}

static int is(const char *word, const char *text) {
    return word && strcmp(word, text) == 0;
}

static int64_t number(const char *text) {
    char *end;
    long long n = strtoll(text, &end, 10);
    if (end == text || *end) die("no number", text);
    return (int64_t)n;
}

/* What the words of the step took; freed after it. */
static char **taken;
static size_t taken_count, taken_room;

static char *take(size_t len) {
    char *out = malloc(len + 1);
    if (taken_count == taken_room) taken = realloc(taken, (taken_room = taken_room * 2 + 64) * sizeof *taken);
    return taken[taken_count++] = out;
}

/* `_` is no bytes, `*N` is N times x, `\hh` one byte. */
static kv_bytes bytes(const char *text, size_t len) {
    char *out;
    size_t n = 0, i;
    if (len == 1 && text[0] == '_') return kv_buf("", 0);
    if (len > 1 && text[0] == '*') {
        for (i = 1; i < len; i++) n = n * 10 + (size_t)(text[i] - '0');
        out = take(n);
        memset(out, 'x', n);
        return kv_buf(out, n);
    }
    out = take(len);
    for (i = 0; i < len; i++) {
        if (text[i] == '\\' && i + 2 < len + 1) {
            char hex[3] = {text[i + 1], text[i + 2], 0};
            out[n++] = (char)strtol(hex, NULL, 16);
            i += 2;
        } else {
            out[n++] = text[i];
        }
    }
    return kv_buf(out, n);
}

static kv_bytes bytes_word(void) {
    const char *word = next();
    return bytes(word, strlen(word));
}

/* KEY or KEY,END in etcd's notation. */
static kv_key_range range_word(void) {
    const char *word = next(), *comma = strchr(word, ',');
    kv_bytes key, end;
    if (!comma) return kv_key(bytes(word, strlen(word)));
    key = bytes(word, (size_t)(comma - word));
    end = bytes(comma + 1, strlen(comma + 1));
    if (end.len == 0) return kv_key(key);
    if (end.len == 1 && end.data[0] == 0) return kv_from(key);
    return kv_between(key, end);
}

/* The next option, split at `=`; NULL at the end of the step or of an operation. */
static const char *option(const char **value) {
    static char name[64];
    const char *word = peek(), *equals;
    if (!word || is(word, ";")) return NULL;
    word_at++;
    equals = strchr(word, '=');
    if (!equals) {
        *value = "";
        return word;
    }
    snprintf(name, sizeof name, "%.*s", (int)(equals - word), word);
    *value = equals + 1;
    return name;
}

static void show(kv_bytes b) {
    size_t i, xs = 0;
    if (b.len == 0) {
        printf("_");
        return;
    }
    while (xs < b.len && b.data[xs] == 'x') xs++;
    if (b.len > 64 && xs == b.len) {
        printf("*%zu", b.len);
        return;
    }
    for (i = 0; i < b.len; i++) {
        unsigned char c = b.data[i];
        int plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr(".-/", c));
        printf(plain ? "%c" : "\\%02x", c);
    }
}

static void show_kv(const kv_key_value *kv) {
    show(kv->key);
    printf("=");
    show(kv->value);
    printf("@%lld/%lld/%lld/%lld", (long long)kv->create_revision, (long long)kv->mod_revision, (long long)kv->version,
           (long long)kv->lease);
}

/* etcd's own text of an error, without the detail in brackets. */
static void show_error(kv_code code) {
    const char *message = kv_error_message(error), *detail = strstr(message, " (");
    int len = detail ? (int)(detail - message) : (int)strlen(message);
    printf("error %s %.*s", kv_strerror(code), len, message);
    kv_error_free(error);
    error = NULL;
}

static void show_range(const kv_range_result *r) {
    size_t i;
    printf("range %lld count=%lld%s", (long long)kv_range_result_revision(r), (long long)kv_range_result_count(r),
           kv_range_result_more(r) == KV_YES ? " more" : "");
    for (i = 0; i < kv_range_result_len(r); i++) {
        printf(" ");
        show_kv(kv_range_result_at(r, i));
    }
}

static void show_put(const kv_put_result *r) {
    printf("put %lld", (long long)kv_put_result_revision(r));
    if (kv_put_result_prev_kv(r)) {
        printf(" prev ");
        show_kv(kv_put_result_prev_kv(r));
    }
}

static void show_delete(const kv_delete_result *r) {
    size_t i;
    printf("delete %lld deleted=%lld", (long long)kv_delete_result_revision(r), (long long)kv_delete_result_deleted(r));
    for (i = 0; kv_delete_result_prev_kv(r, i); i++) {
        printf(" ");
        show_kv(kv_delete_result_prev_kv(r, i));
    }
}

static void show_txn(const kv_txn_result *r) {
    size_t i;
    printf("txn %lld %s", (long long)kv_txn_result_revision(r), kv_txn_result_succeeded(r) == KV_YES ? "then" : "else");
    for (i = 0; i < kv_txn_result_len(r); i++) {
        printf(" [");
        switch (kv_txn_result_kind(r, i)) {
        case KV_OP_RANGE: show_range(kv_txn_result_range(r, i)); break;
        case KV_OP_PUT: show_put(kv_txn_result_put(r, i)); break;
        case KV_OP_DELETE: show_delete(kv_txn_result_delete(r, i)); break;
        default: show_txn(kv_txn_result_txn(r, i)); break;
        }
        printf("]");
    }
}

static kv_put_options put_options(void) {
    kv_put_options o = KV_PUT_OPTIONS_INIT;
    const char *name, *value;
    while ((name = option(&value))) {
        if (is(name, "lease")) o.lease = number(value);
        else if (is(name, "prev_kv")) o.prev_kv = KV_YES;
        else if (is(name, "ignore_value")) o.ignore_value = KV_YES;
        else if (is(name, "ignore_lease")) o.ignore_lease = KV_YES;
        else die("no option of put", name);
    }
    return o;
}

static kv_delete_options delete_options(void) {
    kv_delete_options o = KV_DELETE_OPTIONS_INIT;
    const char *name, *value;
    while ((name = option(&value))) {
        if (is(name, "prev_kv")) o.prev_kv = KV_YES;
        else die("no option of delete", name);
    }
    return o;
}

static int32_t one_of(const char *value, const char *const *names) {
    int32_t i;
    for (i = 0; names[i]; i++) {
        if (is(value, names[i])) return i;
    }
    die("no such name", value);
    return -1;
}

static const char *const orders[] = {"none", "ascend", "descend", NULL};
static const char *const sorts[] = {"key", "version", "create", "mod", "value", NULL};
static const char *const targets[] = {"version", "create", "mod", "value", "lease", NULL};
static const char *const results[] = {"==", ">", "<", "!=", NULL};

static kv_range_options range_options(void) {
    kv_range_options o = KV_RANGE_OPTIONS_INIT;
    const char *name, *value;
    while ((name = option(&value))) {
        if (is(name, "revision")) o.revision = number(value);
        else if (is(name, "limit")) o.limit = number(value);
        else if (is(name, "keys_only")) o.keys_only = KV_YES;
        else if (is(name, "count_only")) o.count_only = KV_YES;
        else if (is(name, "serializable")) o.serializable = KV_YES;
        else if (is(name, "min_mod")) o.min_mod_revision = number(value);
        else if (is(name, "max_mod")) o.max_mod_revision = number(value);
        else if (is(name, "min_create")) o.min_create_revision = number(value);
        else if (is(name, "max_create")) o.max_create_revision = number(value);
        else if (is(name, "order")) o.sort_order = one_of(value, orders);
        else if (is(name, "target")) o.sort_target = one_of(value, sorts);
        else die("no option of range", name);
    }
    return o;
}

static kv_txn *txn_words(void);

static void txn_op(kv_txn *txn, int32_t branch, const char *kind) {
    kv_code code;
    if (is(kind, "put")) {
        kv_bytes key = bytes_word(), value = bytes_word();
        kv_put_options o = put_options();
        code = kv_txn_put(txn, branch, key, value, &o, &error);
    } else if (is(kind, "range")) {
        kv_key_range range = range_word();
        kv_range_options o = range_options();
        code = kv_txn_range(txn, branch, range, &o, &error);
    } else if (is(kind, "delete")) {
        kv_key_range range = range_word();
        kv_delete_options o = delete_options();
        code = kv_txn_delete(txn, branch, range, &o, &error);
    } else if (is(kind, "txn")) {
        kv_txn *nested = txn_words();
        code = kv_txn_txn(txn, branch, nested, &error);
        kv_txn_free(nested);
    } else {
        die("no operation of a txn", kind);
        return;
    }
    if (code) die("an operation was refused before its txn", kv_error_message(error));
    if (!is(next(), ";")) die("; is missing after", kind);
}

static kv_txn *txn_words(void) {
    kv_txn *txn = kv_txn_new();
    int32_t branch = KV_SUCCESS;
    for (;;) {
        const char *word = next();
        if (is(word, "end")) return txn;
        if (is(word, "then")) {
            branch = KV_SUCCESS;
        } else if (is(word, "else")) {
            branch = KV_FAILURE;
        } else if (is(word, "if")) {
            int32_t target = one_of(next(), targets), result = one_of(next(), results);
            kv_bytes value = kv_buf(NULL, 0);
            int64_t n = 0;
            if (target == KV_TARGET_VALUE) value = bytes_word();
            else n = number(next());
            if (kv_txn_compare(txn, range_word(), target, result, n, value, &error)) {
                die("a compare was refused before its txn", kv_error_message(error));
            }
            if (!is(next(), ";")) die("; is missing after", "if");
        } else {
            txn_op(txn, branch, word);
        }
    }
}

static kv_code step_txn(void) {
    kv_txn *txn = txn_words();
    kv_txn_result *result = NULL;
    kv_code code = kv_txn_run(db, txn, &result, &error);
    if (!code) show_txn(result);
    kv_txn_result_free(result);
    kv_txn_free(txn);
    return code;
}

static kv_code step_put(void) {
    kv_bytes key = bytes_word(), value = bytes_word();
    kv_put_options o = put_options();
    kv_put_result *result = NULL;
    kv_code code = kv_put(db, key, value, &o, &result, &error);
    if (!code) show_put(result);
    kv_put_result_free(result);
    return code;
}

static kv_code step_get(void) {
    kv_bytes key = bytes_word();
    const char *name, *value;
    int64_t revision = 0;
    kv_key_value *kv = NULL;
    kv_code code;
    while ((name = option(&value))) {
        if (is(name, "revision")) revision = number(value);
        else die("no option of get", name);
    }
    code = kv_get(db, key, revision, &kv, &error);
    if (!code && kv) {
        printf("kv ");
        show_kv(kv);
    } else if (!code) {
        printf("none");
    }
    kv_key_value_free(kv);
    return code;
}

static kv_code step_get_into(void) {
    kv_bytes key = bytes_word();
    size_t size = (size_t)number(next()), len = 0;
    uint8_t *buffer = malloc(size + 1);
    kv_code code = kv_get_into(db, key, buffer, size, &len, &error);
    if (!code && len == KV_NONE) {
        printf("none");
    } else if (!code && len > size) {
        printf("length %zu", len);
    } else if (!code) {
        printf("value ");
        show(kv_buf(buffer, len));
    }
    free(buffer);
    return code;
}

static kv_code step_range(void) {
    kv_key_range range = range_word();
    kv_range_options o = range_options();
    kv_range_result *result = NULL;
    kv_code code = kv_range(db, range, &o, &result, &error);
    if (!code) show_range(result);
    kv_range_result_free(result);
    return code;
}

static kv_code step_delete(void) {
    kv_key_range range = range_word();
    kv_delete_options o = delete_options();
    kv_delete_result *result = NULL;
    kv_code code = kv_delete(db, range, &o, &result, &error);
    if (!code) show_delete(result);
    kv_delete_result_free(result);
    return code;
}

static kv_code step_compact(void) {
    int64_t at = number(next()), revision = 0;
    int32_t physical = is(peek(), "physical") ? KV_YES : KV_NO;
    kv_code code = kv_compact(db, at, physical, &revision, &error);
    if (!code) printf("compact %lld", (long long)revision);
    return code;
}

/* Steps that answer item by item are collected first: an error in the middle is the whole answer. */
static kv_code step_scan(void) {
    kv_key_range range = range_word();
    kv_range_options o = range_options();
    kv_scan *scan = NULL;
    const kv_key_value *kv = NULL;
    kv_code code = kv_scan_open(db, range, &o, &scan, &error);
    if (!code) code = kv_scan_next(scan, &kv, &error);
    if (!code) printf("scan");
    while (!code && kv) {
        printf(" ");
        show_kv(kv);
        code = kv_scan_next(scan, &kv, &error);
    }
    kv_scan_free(scan);
    return code;
}

static kv_code show_events(kv_code code, kv_events *events) {
    const kv_event *event = NULL;
    if (!code) code = kv_events_next(events, &event, &error);
    if (!code) printf("events");
    while (!code && event) {
        if (event->type == KV_EVENT_PUT) {
            printf(" put:");
            show_kv(&event->kv);
        } else {
            printf(" delete:");
            show(event->kv.key);
            printf("@%lld", (long long)event->kv.mod_revision);
        }
        code = kv_events_next(events, &event, &error);
    }
    kv_events_free(events);
    return code;
}

static kv_code step_history(void) {
    kv_bytes key = bytes_word();
    const char *name, *value;
    int64_t limit = 0;
    kv_events *events = NULL;
    kv_code code;
    while ((name = option(&value))) {
        if (is(name, "limit")) limit = number(value);
        else die("no option of history", name);
    }
    code = kv_history(db, key, limit, &events, &error);
    return show_events(code, events);
}

static kv_code step_changes(void) {
    int64_t after = number(next()), upto = number(next());
    kv_events *events = NULL;
    kv_code code = kv_changes(db, after, upto, range_word(), &events, &error);
    return show_events(code, events);
}

static void show_side(const kv_key_value *kv) {
    if (kv) show_kv(kv);
    else printf("none");
}

static kv_code step_diff(void) {
    int64_t a = number(next()), b = number(next());
    kv_diff *diff = NULL;
    const kv_change *change = NULL;
    kv_code code = kv_diff_open(db, a, b, range_word(), &diff, &error);
    if (!code) code = kv_diff_next(diff, &change, &error);
    if (!code) printf("diff");
    while (!code && change) {
        printf(" ");
        show(change->key);
        printf(":");
        show_side(change->before);
        printf(">");
        show_side(change->after);
        code = kv_diff_next(diff, &change, &error);
    }
    kv_diff_free(diff);
    return code;
}

static kv_code step_status(void) {
    kv_status *status = NULL;
    kv_code code = kv_status_get(db, &status, &error);
    if (!code) {
        printf("status %lld %lld %lld", (long long)kv_status_number(status, KV_STATUS_REVISION),
               (long long)kv_status_number(status, KV_STATUS_COMPACTED_REVISION),
               (long long)kv_status_number(status, KV_STATUS_KEYS));
    }
    kv_status_free(status);
    return code;
}

static kv_code step_check(void) {
    kv_check_report *report = NULL;
    size_t i;
    kv_code code = kv_check(db, &report, &error);
    if (!code) printf("check problems=%zu", kv_check_report_len(report));
    for (i = 0; !code && kv_check_report_at(report, i); i++) {
        printf(" %s: %s", kv_check_report_at(report, i)->invariant, kv_check_report_at(report, i)->message);
    }
    kv_check_report_free(report);
    return code;
}

static kv_code step_reopen(void) {
    kv_code code;
    kv_close(db);
    db = NULL;
    code = kv_open(store, &options, &db, &error);
    if (!code) printf("reopened");
    return code;
}

static const struct {
    const char *name;
    kv_code (*run)(void);
} steps[] = {
    {"put", step_put},         {"get", step_get},         {"get_into", step_get_into}, {"range", step_range},
    {"delete", step_delete},   {"txn", step_txn},         {"compact", step_compact},   {"scan", step_scan},
    {"history", step_history}, {"changes", step_changes}, {"diff", step_diff},         {"status", step_status},
    {"check", step_check},     {"reopen", step_reopen},
};

static void run(char *line) {
    static size_t room;
    char *word;
    size_t i;
    kv_code code;
    word_count = word_at = 0;
    for (word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
        if (word_count == room) words = realloc(words, (room = room * 2 + 64) * sizeof *words);
        words[word_count++] = word;
    }
    for (i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (word_count && is(words[0], steps[i].name)) {
            word_at = 1;
            code = steps[i].run();
            if (code) show_error(code);
            while (taken_count) free(taken[--taken_count]);
            printf("\n");
            fflush(stdout);
            return;
        }
    }
    die("no step", word_count ? words[0] : "an empty line");
}

/* A line of any length; NULL at the end of the input. */
static char *read_line(void) {
    static char *line;
    static size_t room;
    size_t len = 0;
    int c;
    while ((c = getchar()) != EOF && c != '\n') {
        if (len + 2 > room) line = realloc(line, room = room * 2 + 4096);
        line[len++] = (char)c;
    }
    if (c == EOF && len == 0) return NULL;
    if (!line) line = malloc(room = 4096);
    line[len] = 0;
    return line;
}

int main(int argc, char **argv) {
    char *line;
    if (argc < 2) {
        fprintf(stderr, "usage: driver STORE [limits=etcd] < steps\n");
        return 2;
    }
    store = argv[1];
    if (argc > 2 && is(argv[2], "limits=etcd")) options.limits = KV_LIMITS_ETCD;
    if (kv_open(store, &options, &db, &error)) die("the store does not open", kv_error_message(error));
    while ((line = read_line())) run(line);
    kv_close(db);
    return 0;
}
