/* The conformance driver of C: `driver STORE [limits=etcd]` reads one step a line, executes it with
 * kv.h and prints the response as a line. tests/conformance/README.md describes the language. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kv.h"

/* The start of the manual clock, the time limit of `next`, `idle` and `resume`, and the TTL of locks
 * and elections. */
#define CLOCK_START_MS INT64_C(1000000000000)
#define WAIT_LIMIT_MS 20000
#define CLAIM_TTL_SECONDS 60

static kv_db *db;
static kv_clock *manual_clock;
static kv_error *error;
static const char *store;
static kv_options options = KV_OPTIONS_INIT;

/* The words of the step, and the index of the next one. */
static char **words;
static size_t word_count, word_at;

static void die(const char *what, const char *word) {
    printf("driver: %s: %s\n", what, word ? word : "incomplete step");
    exit(2);
}

static const char *peek(void) {
    return word_at < word_count ? words[word_at] : NULL;
}

static const char *next(void) {
    const char *word = peek();
    if (!word) die("missing word", NULL);
    word_at++;
    return word;
}

static int is(const char *word, const char *text) {
    return word && strcmp(word, text) == 0;
}

static int64_t number(const char *text) {
    char *end;
    long long n = strtoll(text, &end, 10);
    if (end == text || *end) die("not a number", text);
    return (int64_t)n;
}

/* Memory of the current step, freed after it. */
static char **taken;
static size_t taken_count, taken_room;

static char *take(size_t len) {
    char *out = malloc(len + 1);
    if (taken_count == taken_room) taken = realloc(taken, (taken_room = taken_room * 2 + 64) * sizeof *taken);
    return taken[taken_count++] = out;
}

/* `_` is empty, `*N` is N times x, `\hh` one byte. */
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
    if (end.len == 1 && end.data[0] == 0) return kv_from_key(key);
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

static void show_range(const kv_range_response *r) {
    size_t i;
    printf("range %lld count=%lld%s", (long long)kv_range_response_revision(r), (long long)kv_range_response_count(r),
           kv_range_response_more(r) == KV_YES ? " more" : "");
    for (i = 0; i < kv_range_response_len(r); i++) {
        printf(" ");
        show_kv(kv_range_response_at(r, i));
    }
}

static void show_put(const kv_put_response *r) {
    printf("put %lld", (long long)kv_put_response_revision(r));
    if (kv_put_response_prev_kv(r)) {
        printf(" prev ");
        show_kv(kv_put_response_prev_kv(r));
    }
}

static void show_delete(const kv_delete_response *r) {
    size_t i;
    printf("delete %lld deleted=%lld", (long long)kv_delete_response_revision(r), (long long)kv_delete_response_deleted(r));
    for (i = 0; kv_delete_response_prev_kv(r, i); i++) {
        printf(" ");
        show_kv(kv_delete_response_prev_kv(r, i));
    }
}

static void show_txn(const kv_txn_response *r) {
    size_t i;
    printf("txn %lld %s", (long long)kv_txn_response_revision(r), kv_txn_response_succeeded(r) == KV_YES ? "then" : "else");
    for (i = 0; i < kv_txn_response_len(r); i++) {
        printf(" [");
        switch (kv_txn_response_kind(r, i)) {
        case KV_OP_RANGE: show_range(kv_txn_response_range(r, i)); break;
        case KV_OP_PUT: show_put(kv_txn_response_put(r, i)); break;
        case KV_OP_DELETE: show_delete(kv_txn_response_delete(r, i)); break;
        default: show_txn(kv_txn_response_txn(r, i)); break;
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
        else die("not an option of put", name);
    }
    return o;
}

static kv_delete_options delete_options(void) {
    kv_delete_options o = KV_DELETE_OPTIONS_INIT;
    const char *name, *value;
    while ((name = option(&value))) {
        if (is(name, "prev_kv")) o.prev_kv = KV_YES;
        else die("not an option of delete", name);
    }
    return o;
}

static int32_t one_of(const char *value, const char *const *names) {
    int32_t i;
    for (i = 0; names[i]; i++) {
        if (is(value, names[i])) return i;
    }
    die("unknown name", value);
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
        else die("not an option of range", name);
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
        die("not an operation of a txn", kind);
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
    kv_txn_response *result = NULL;
    kv_code code = kv_txn_run(db, txn, &result, &error);
    if (!code) show_txn(result);
    kv_txn_response_free(result);
    kv_txn_free(txn);
    return code;
}

static kv_code step_put(void) {
    kv_bytes key = bytes_word(), value = bytes_word();
    kv_put_options o = put_options();
    kv_put_response *result = NULL;
    kv_code code = kv_put(db, key, value, &o, &result, &error);
    if (!code) show_put(result);
    kv_put_response_free(result);
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
        else die("not an option of get", name);
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
    kv_range_response *result = NULL;
    kv_code code = kv_range(db, range, &o, &result, &error);
    if (!code) show_range(result);
    kv_range_response_free(result);
    return code;
}

static kv_code step_delete(void) {
    kv_key_range range = range_word();
    kv_delete_options o = delete_options();
    kv_delete_response *result = NULL;
    kv_code code = kv_delete(db, range, &o, &result, &error);
    if (!code) show_delete(result);
    kv_delete_response_free(result);
    return code;
}

static kv_code step_compact(void) {
    int64_t at = number(next()), revision = 0;
    int32_t physical = is(peek(), "physical") ? KV_YES : KV_NO;
    kv_code code = kv_compact(db, at, physical, &revision, &error);
    if (!code) printf("compact %lld", (long long)revision);
    return code;
}

/* The items of a scan are collected before they are printed: an error replaces the response. */
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

static void show_event(const kv_event *event) {
    if (event->type == KV_EVENT_PUT) {
        printf(" put:");
        show_kv(&event->kv);
    } else {
        printf(" delete:");
        show(event->kv.key);
        printf("@%lld", (long long)event->kv.mod_revision);
    }
    if (event->prev_kv) {
        printf(" <");
        show_kv(event->prev_kv);
    }
}

static kv_code show_events(kv_code code, kv_events *events) {
    const kv_event *event = NULL;
    if (!code) code = kv_events_next(events, &event, &error);
    if (!code) printf("events");
    while (!code && event) {
        show_event(event);
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
        else die("not an option of history", name);
    }
    code = kv_history(db, key, limit, &events, &error);
    return show_events(code, events);
}

static kv_code step_events(void) {
    int64_t after = number(next()), upto = number(next());
    kv_events *events = NULL;
    kv_code code = kv_events_open(db, after, upto, range_word(), &events, &error);
    return show_events(code, events);
}

static void show_side(const kv_key_value *kv) {
    if (kv) show_kv(kv);
    else printf("none");
}

static kv_code step_diff(void) {
    int64_t a = number(next()), b = number(next());
    kv_diff *diff = NULL;
    const kv_difference *change = NULL;
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
        int64_t revision = -1, compacted = -1, keys = -1;
        kv_status_number(status, KV_STATUS_REVISION, &revision);
        kv_status_number(status, KV_STATUS_COMPACTED_REVISION, &compacted);
        kv_status_number(status, KV_STATUS_KEYS, &keys);
        printf("status %lld %lld %lld", (long long)revision, (long long)compacted, (long long)keys);
    }
    kv_status_free(status);
    return code;
}

static int32_t alarm_kind(const char *word) {
    if (is(word, "NOSPACE")) return KV_ALARM_NOSPACE;
    if (is(word, "CORRUPT")) return KV_ALARM_CORRUPT;
    die("not a kind of alarm", word);
    return 0;
}

static void show_alarm(uint64_t member, int32_t kind) {
    printf(" %s/%llu", kind == KV_ALARM_NOSPACE ? "NOSPACE" : "CORRUPT", (unsigned long long)member);
}

static kv_code show_alarms(kv_code code, kv_alarms *alarms) {
    size_t i;
    if (!code) printf("alarms");
    for (i = 0; i < kv_alarms_len(alarms); i++) show_alarm(kv_alarms_at(alarms, i)->member, kv_alarms_at(alarms, i)->kind);
    kv_alarms_free(alarms);
    return code;
}

static kv_code step_alarm_list(void) {
    kv_alarms *alarms = NULL;
    kv_code code = kv_alarm_list(db, &alarms, &error);
    return show_alarms(code, alarms);
}

static void alarm_options(uint64_t *member, int32_t *kind) {
    const char *name, *value;
    while ((name = option(&value))) {
        if (is(name, "member")) *member = strtoull(value, NULL, 10);
        else if (is(name, "kind")) *kind = alarm_kind(value);
        else die("not an option of an alarm", name);
    }
}

static kv_code step_alarm_activate(void) {
    int32_t kind = alarm_kind(next());
    uint64_t member = 0;
    kv_code code;
    alarm_options(&member, &kind);
    code = kv_alarm_activate(db, kind, member, &error);
    if (!code) printf("alarms");
    if (!code) show_alarm(member, kind);
    return code;
}

static kv_code step_alarm_disarm(void) {
    int32_t kind = 0;
    uint64_t member = 0;
    kv_alarms *alarms = NULL;
    kv_code code;
    alarm_options(&member, &kind);
    code = kv_alarm_disarm(db, member, kind, &alarms, &error);
    return show_alarms(code, alarms);
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

static kv_code step_lease_grant(void) {
    int64_t ttl = number(next()), requested = 0, id = 0;
    const char *name, *value;
    kv_code code;
    while ((name = option(&value))) {
        if (is(name, "id")) requested = number(value);
        else die("not an option of lease_grant", name);
    }
    code = kv_lease_grant(db, ttl, requested, &id, &ttl, &error);
    if (!code && requested == 0 && id > 0) printf("granted * %lld", (long long)ttl);
    else if (!code) printf("granted %lld %lld", (long long)id, (long long)ttl);
    return code;
}

static kv_code step_lease_revoke(void) {
    int64_t revision = 0;
    kv_code code = kv_lease_revoke(db, number(next()), &revision, &error);
    if (!code) printf("revoked %lld", (long long)revision);
    return code;
}

static kv_code step_keep_alive(void) {
    int64_t id = number(next()), ttl = 0;
    kv_code code = kv_lease_keep_alive(db, id, &ttl, &error);
    if (!code) printf("kept %lld %lld", (long long)id, (long long)ttl);
    return code;
}

static kv_code step_time_to_live(void) {
    int64_t id = number(next()), left, granted;
    int32_t keys = is(peek(), "keys") ? KV_YES : KV_NO;
    kv_time_to_live_response *ttl = NULL;
    size_t i;
    kv_code code = kv_lease_time_to_live(db, id, keys, &ttl, &error);
    if (code) return code;
    left = kv_time_to_live_response_seconds(ttl);
    granted = kv_time_to_live_response_granted_seconds(ttl);
    if (left >= 0 && granted - left <= 1) printf("ttl %lld all granted=%lld", (long long)id, (long long)granted);
    else printf("ttl %lld %lld granted=%lld", (long long)id, (long long)left, (long long)granted);
    for (i = 0; i < kv_time_to_live_response_len(ttl); i++) {
        printf(" ");
        show(kv_time_to_live_response_key(ttl, i));
    }
    kv_time_to_live_response_free(ttl);
    return code;
}

static int by_number(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static kv_code step_lease_list(void) {
    kv_lease_ids *ids = NULL;
    int64_t *sorted;
    size_t i, len;
    kv_code code = kv_lease_list(db, &ids, &error);
    if (code) return code;
    len = kv_lease_ids_len(ids);
    sorted = malloc((len + 1) * sizeof *sorted);
    for (i = 0; i < len; i++) sorted[i] = kv_lease_ids_at(ids, i);
    qsort(sorted, len, sizeof *sorted, by_number);
    printf("leases");
    for (i = 0; i < len; i++) printf(" %lld", (long long)sorted[i]);
    free(sorted);
    kv_lease_ids_free(ids);
    return code;
}

/* A cluster has no manual clock, and closing the handle does not close its store. */
static int is_cluster(void) {
    return strstr(store, "://") != NULL && strncmp(store, "file:", 5) != 0;
}

static kv_code step_advance(void) {
    kv_code code;
    if (is_cluster()) {
        printf("not on a cluster");
        return KV_OK;
    }
    code = kv_clock_advance(manual_clock, number(next()) * 1000, &error);
    if (!code) printf("advanced");
    return code;
}

static kv_code step_revision_at(void) {
    int64_t revision = 0;
    kv_code code = kv_revision_at(db, CLOCK_START_MS + number(next()) * 1000, &revision, &error);
    if (!code) printf("revision %lld", (long long)revision);
    return code;
}

/* Watchers, locks and elections by their NAME in the steps. */
static struct named {
    char *name;
    kv_watcher *watcher;
    kv_lock *lock;
    kv_election *election;
} *named;
static size_t named_count;

static struct named *by_name(const char *name) {
    struct named *n;
    size_t i;
    for (i = 0; i < named_count; i++) {
        if (is(name, named[i].name)) return &named[i];
    }
    named = realloc(named, (named_count + 1) * sizeof *named);
    n = &named[named_count++];
    memset(n, 0, sizeof *n);
    n->name = malloc(strlen(name) + 1);
    strcpy(n->name, name);
    return n;
}

static void free_named(void) {
    for (; named_count; named_count--) {
        struct named *n = &named[named_count - 1];
        free(n->name);
        kv_watcher_free(n->watcher);
        kv_lock_free(n->lock);
        kv_election_free(n->election);
    }
    free(named);
    named = NULL;
}

static kv_code step_watch(void) {
    struct named *n = by_name(next());
    kv_key_range range = range_word();
    kv_watch_options o = KV_WATCH_OPTIONS_INIT;
    const char *name, *value;
    kv_code code;
    while ((name = option(&value))) {
        if (is(name, "start")) o.start_revision = number(value);
        else if (is(name, "prev_kv")) o.prev_kv = KV_YES;
        else if (is(name, "no_put")) o.no_put = KV_YES;
        else if (is(name, "no_delete")) o.no_delete = KV_YES;
        else if (is(name, "progress")) o.progress = KV_YES;
        else die("not an option of watch", name);
    }
    kv_watcher_free(n->watcher);
    n->watcher = NULL;
    code = kv_watch(db, range, &o, &n->watcher, &error);
    if (!code) printf("watching %s", n->name);
    return code;
}

static kv_watcher *watcher_word(void) {
    struct named *n = by_name(next());
    if (!n->watcher) printf("no watcher %s", n->name);
    return n->watcher;
}

static void show_batch(const kv_watch_batch *batch) {
    size_t i;
    printf("batch %lld", (long long)kv_watch_batch_revision(batch));
    for (i = 0; i < kv_watch_batch_len(batch); i++) show_event(kv_watch_batch_at(batch, i));
}

static kv_code step_next(void) {
    kv_watcher *watcher = watcher_word();
    kv_watch_batch *batch = NULL;
    kv_code code;
    if (!watcher) return KV_OK;
    code = kv_watcher_next(watcher, WAIT_LIMIT_MS, &batch, &error);
    if (!code && batch) show_batch(batch);
    else if (!code) printf("nothing");
    kv_watch_batch_free(batch);
    return code;
}

static kv_code current_revision(int64_t *revision) {
    kv_range_options o = KV_RANGE_OPTIONS_INIT;
    kv_range_response *result = NULL;
    kv_code code;
    o.count_only = KV_YES;
    code = kv_range(db, kv_key(kv_buf("", 1)), &o, &result, &error);
    *revision = kv_range_response_revision(result);
    kv_range_response_free(result);
    return code;
}

static int64_t clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until the watcher has a batch or has delivered everything. */
static kv_code settle(int show_resume) {
    const struct timespec moment = {0, 1000000};
    kv_watcher *watcher = watcher_word();
    int64_t until = clock_ms() + WAIT_LIMIT_MS, resume, current;
    kv_code code;
    if (!watcher) return KV_OK;
    for (;;) {
        kv_watch_batch *batch = NULL;
        code = kv_watcher_next(watcher, KV_NO_WAIT, &batch, &error);
        if (!code && batch) show_batch(batch);
        kv_watch_batch_free(batch);
        if (code || batch) return code;
        /* read before the current revision, with which it is compared */
        resume = kv_watcher_resume_revision(watcher);
        code = current_revision(&current);
        if (code) return code;
        if (resume > current) break;
        if (until <= clock_ms()) {
            printf("nothing");
            return KV_OK;
        }
        nanosleep(&moment, NULL);
    }
    if (show_resume) printf("resume %lld", (long long)resume);
    else printf("idle");
    return KV_OK;
}

static kv_code step_idle(void) {
    return settle(0);
}

static kv_code step_resume(void) {
    return settle(1);
}

static kv_code step_cancel(void) {
    kv_watcher *watcher = watcher_word();
    if (!watcher) return KV_OK;
    kv_watcher_cancel(watcher);
    printf("cancelled");
    return KV_OK;
}

/* The lease id after the last / is printed as `*`. */
static void show_claim_key(kv_bytes key) {
    size_t cut = key.len, i;
    while (cut > 0 && key.data[cut - 1] != '/') cut--;
    for (i = cut; i < key.len && key.data[i] && strchr("0123456789abcdef", key.data[i]); i++) {}
    if (i < key.len || cut == key.len) {
        show(key);
        return;
    }
    show(kv_buf(key.data, cut));
    printf("*");
}

static struct named *lock_word(kv_code *code) {
    struct named *n = by_name(next());
    *code = KV_OK;
    if (!n->lock) *code = kv_lock_open(db, bytes(n->name, strlen(n->name)), CLAIM_TTL_SECONDS, &n->lock, &error);
    return n;
}

static kv_code step_lock(void) {
    kv_code code;
    struct named *n = lock_word(&code);
    if (!code) code = kv_lock_acquire(n->lock, WAIT_LIMIT_MS, &error);
    if (!code) {
        printf("locked ");
        show_claim_key(kv_lock_key(n->lock));
        printf(" revision=%lld", (long long)kv_lock_revision(n->lock));
    }
    return code;
}

static kv_code step_unlock(void) {
    kv_code code;
    struct named *n = lock_word(&code);
    if (!code) code = kv_lock_release(n->lock, &error);
    if (!code) printf("unlocked");
    return code;
}

static struct named *election_word(kv_code *code) {
    struct named *n = by_name(next());
    kv_bytes name = bytes(n->name, strlen(n->name));
    *code = KV_OK;
    if (!n->election) *code = kv_election_open(db, name, CLAIM_TTL_SECONDS, &n->election, &error);
    return n;
}

static kv_code step_campaign(void) {
    kv_code code;
    struct named *n = election_word(&code);
    kv_bytes value = bytes_word();
    if (!code) code = kv_election_campaign(n->election, value, WAIT_LIMIT_MS, &error);
    if (!code) {
        printf("leads ");
        show_claim_key(kv_election_key(n->election));
        printf(" revision=%lld", (long long)kv_election_revision(n->election));
    }
    return code;
}

static kv_code step_proclaim(void) {
    kv_code code;
    struct named *n = election_word(&code);
    kv_bytes value = bytes_word();
    if (!code) code = kv_election_proclaim(n->election, value, &error);
    if (!code) printf("proclaimed");
    return code;
}

static kv_code step_leader(void) {
    kv_code code;
    struct named *n = election_word(&code);
    kv_key_value *kv = NULL;
    if (!code) code = kv_election_leader(n->election, &kv, &error);
    if (!code && kv) {
        printf("leader ");
        show_claim_key(kv->key);
        printf("=");
        show(kv->value);
        printf("@%lld/%lld/%lld/", (long long)kv->create_revision, (long long)kv->mod_revision, (long long)kv->version);
        if (kv->lease > 0) printf("*");
        else printf("%lld", (long long)kv->lease);
    } else if (!code) {
        printf("none");
    }
    kv_key_value_free(kv);
    return code;
}

static kv_code step_resign(void) {
    kv_code code;
    struct named *n = election_word(&code);
    if (!code) code = kv_election_resign(n->election, &error);
    if (!code) printf("resigned");
    return code;
}

static kv_code step_reopen(void) {
    kv_code code;
    if (is_cluster()) {
        printf("not on a cluster");
        return KV_OK;
    }
    kv_close(db);
    free_named();
    db = NULL;
    code = kv_open(store, &options, &db, &error);
    if (!code) printf("reopened");
    return code;
}

static const struct {
    const char *name;
    kv_code (*run)(void);
} steps[] = {
    {"put", step_put}, {"get", step_get}, {"get_into", step_get_into}, {"range", step_range},
    {"delete", step_delete}, {"txn", step_txn}, {"compact", step_compact}, {"scan", step_scan},
    {"history", step_history}, {"events", step_events}, {"diff", step_diff}, {"status", step_status},
    {"alarm_list", step_alarm_list}, {"alarm_activate", step_alarm_activate}, {"alarm_disarm", step_alarm_disarm},
    {"check", step_check}, {"reopen", step_reopen}, {"lease_grant", step_lease_grant},
    {"lease_revoke", step_lease_revoke}, {"keep_alive", step_keep_alive}, {"time_to_live", step_time_to_live},
    {"lease_list", step_lease_list}, {"advance", step_advance}, {"revision_at", step_revision_at},
    {"watch", step_watch}, {"next", step_next}, {"idle", step_idle}, {"resume", step_resume},
    {"cancel", step_cancel}, {"lock", step_lock}, {"unlock", step_unlock}, {"campaign", step_campaign},
    {"proclaim", step_proclaim}, {"leader", step_leader}, {"resign", step_resign},
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
    die("unknown step", word_count ? words[0] : "an empty line");
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
        fprintf(stderr, "usage: driver STORE|ADDRESS [limits=etcd] < steps\n");
        return 2;
    }
    store = argv[1];
    if (argc > 2 && is(argv[2], "limits=etcd") && !is_cluster()) options.limits = KV_LIMITS_ETCD;
    manual_clock = kv_clock_new(CLOCK_START_MS);
    if (!is_cluster()) options.clock = manual_clock;
    if (kv_open(store, &options, &db, &error)) die("the store does not open", kv_error_message(error));
    while ((line = read_line())) run(line);
    free_named();
    kv_close(db);
    kv_clock_free(manual_clock);
    return 0;
}
