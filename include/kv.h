/* libkv: etcd's data model as a library. The C face.
 *
 * This header is the manual; it is generated, so changes are made in ffi/src.
 *
 * Conventions
 * - Every call answers a kv_code; 0 (KV_OK) is success. Outputs are written on success only; an
 *   output pointer that is NULL means "not wanted". The last argument takes the error, or NULL: an
 *   error that was handed out is the caller's to free with kv_error_free.
 * - Bytes (kv_bytes) are borrowed and need no terminating zero. What the library answers is owned
 *   by the result it was taken from, until that is freed. Every kv_..._free takes NULL.
 * - A const handle may be used from any number of threads at once, another one from one thread at
 *   a time. kv_close and kv_..._free are the last use of a handle, in any order: what was made
 *   from a closed database answers KV_CLOSED.
 * - Structs that begin with `size` are made by their KV_..._INIT and only ever grow at their end;
 *   a member that is 0 has its default. NULL in their place is all defaults.
 * - A time to wait is in milliseconds, KV_NO_WAIT or KV_FOREVER; 0 is its default.
 * - After fork() a handle of the parent answers KV_FORKED in the child, which opens anew.
 * - C99 and C++11 or later. Linux with glibc, 64 bits.
 */

#ifndef KV_H
#define KV_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef _WIN32
#error "libkv runs on Linux"
#endif
#define KV_API

/** The length of a value that is not there (kv_get_into). */
#define KV_NONE ((size_t)-1)

/* Beginnings of the structs that grow: every member at its default. */
#ifdef __cplusplus
#define KV_OPTIONS_INIT kv_begin<kv_options>()
#define KV_PUT_OPTIONS_INIT kv_begin<kv_put_options>()
#define KV_DELETE_OPTIONS_INIT kv_begin<kv_delete_options>()
#define KV_RANGE_OPTIONS_INIT kv_begin<kv_range_options>()
#define KV_WATCH_OPTIONS_INIT kv_begin<kv_watch_options>()
#define KV_SERVE_OPTIONS_INIT kv_begin<kv_serve_options>()
template <typename T> static inline T kv_begin() {
    T t = T();
    t.size = sizeof(T);
    return t;
}
#else
#define KV_OPTIONS_INIT { .size = sizeof(kv_options) }
#define KV_PUT_OPTIONS_INIT { .size = sizeof(kv_put_options) }
#define KV_DELETE_OPTIONS_INIT { .size = sizeof(kv_delete_options) }
#define KV_RANGE_OPTIONS_INIT { .size = sizeof(kv_range_options) }
#define KV_WATCH_OPTIONS_INIT { .size = sizeof(kv_watch_options) }
#define KV_SERVE_OPTIONS_INIT { .size = sizeof(kv_serve_options) }
#endif


/**
 * The current revision.
 */
#define KV_STATUS_REVISION 1

/**
 * The compacted revision; -1 if nothing was ever compacted, or where a cluster's user may not read all keys.
 */
#define KV_STATUS_COMPACTED_REVISION 2

/**
 * How many keys exist now; 0 as well where a cluster's user may not read them all.
 */
#define KV_STATUS_KEYS 3

/**
 * Bytes that the store's files take on the disk.
 */
#define KV_STATUS_BYTES_ON_DISK 4

/**
 * Bytes of pages that hold data.
 */
#define KV_STATUS_BYTES_IN_USE 5

/**
 * Read transactions under way or parked, in all processes.
 */
#define KV_STATUS_READERS 6

/**
 * Watchers of this process.
 */
#define KV_STATUS_WATCHERS 7

/**
 * Leases.
 */
#define KV_STATUS_LEASES 8

/**
 * The version of the format on disk.
 */
#define KV_STATUS_FORMAT_VERSION 9

/**
 * KV_DURABILITY_… of this handle.
 */
#define KV_STATUS_DURABILITY 10

/**
 * The process that holds the writer's lock now, or 0.
 */
#define KV_STATUS_WRITER_PID 11

/**
 * For how many milliseconds it has held it.
 */
#define KV_STATUS_WRITER_HELD_MS 12

/**
 * How many commits the oldest reader lies behind, or 0.
 */
#define KV_STATUS_OLDEST_READER 13

/**
 * The LMDB in this process, as "0.9.24".
 */
#define KV_STATUS_LMDB_VERSION 14

/**
 * 32 hexadecimal digits that tell this store from every other.
 */
#define KV_STATUS_STORE_ID 15

/**
 * Alarms that are active, in etcd's words: "memberID:<id> alarm:NOSPACE " for each; "POISONED" after a
 * failed sync; "REMOVED" where the store's files were removed while it was open: what is written is lost
 * then when the last process closes it. Empty is well.
 */
#define KV_STATUS_ALARMS 16

/**
 * The quota on KV_STATUS_BYTES_IN_USE, a number; 0 is none.
 */
#define KV_STATUS_MAX_BYTES 17

/**
 * The quota is used up: what takes room answers KV_FULL, what makes room goes on.
 */
#define KV_ALARM_NOSPACE 1

/**
 * The data is not to be trusted: every write answers KV_CORRUPT.
 */
#define KV_ALARM_CORRUPT 2

/**
 * Major version of the library that this header belongs to.
 */
#define KV_VERSION_MAJOR 0

/**
 * Minor version.
 */
#define KV_VERSION_MINOR 1

/**
 * Patch version.
 */
#define KV_VERSION_PATCH 0

/**
 * Within one ABI number symbols and layouts only grow; see kv_abi_version.
 */
#define KV_ABI_VERSION 0

/**
 * A boolean member's yes.
 */
#define KV_YES 1

/**
 * A boolean member's no; 0 is the default.
 */
#define KV_NO -1

/**
 * A time that does not wait.
 */
#define KV_NO_WAIT -1

/**
 * A time, or a number of retries, without an end.
 */
#define KV_FOREVER -2



/**
 * Acknowledged means on disk. The default.
 */
#define KV_DURABILITY_SYNC 1

/**
 * A power cut loses at most the last commits and never corrupts.
 */
#define KV_DURABILITY_LAZY 2

/**
 * Chosen when a store is made: a power cut may destroy it.
 */
#define KV_DURABILITY_NONE 3

/**
 * The limits of etcd itself.
 */
#define KV_LIMITS_ETCD 1

/**
 * One key.
 */
#define KV_RANGE_KEY 0

/**
 * Every key with a prefix.
 */
#define KV_RANGE_PREFIX 1

/**
 * The keys x with key <= x < end.
 */
#define KV_RANGE_BETWEEN 2

/**
 * Every key from one on.
 */
#define KV_RANGE_FROM 3

/**
 * Every key.
 */
#define KV_RANGE_ALL 4

/**
 * By key, or ascending on another target.
 */
#define KV_SORT_NONE 0

/**
 * Smallest first.
 */
#define KV_SORT_ASCEND 1

/**
 * Largest first.
 */
#define KV_SORT_DESCEND 2

/**
 * Sort by key.
 */
#define KV_SORT_BY_KEY 0

/**
 * Sort by version.
 */
#define KV_SORT_BY_VERSION 1

/**
 * Sort by create revision.
 */
#define KV_SORT_BY_CREATE 2

/**
 * Sort by mod revision.
 */
#define KV_SORT_BY_MOD 3

/**
 * Sort by value.
 */
#define KV_SORT_BY_VALUE 4

/**
 * Compare the version.
 */
#define KV_TARGET_VERSION 0

/**
 * Compare the create revision.
 */
#define KV_TARGET_CREATE_REVISION 1

/**
 * Compare the mod revision.
 */
#define KV_TARGET_MOD_REVISION 2

/**
 * Compare the value.
 */
#define KV_TARGET_VALUE 3

/**
 * Compare the lease.
 */
#define KV_TARGET_LEASE 4

/**
 * ==
 */
#define KV_EQUAL 0

/**
 * >
 */
#define KV_GREATER 1

/**
 * <
 */
#define KV_LESS 2

/**
 * !=
 */
#define KV_NOT_EQUAL 3

/**
 * The list of a txn that runs when all compares hold.
 */
#define KV_SUCCESS 0

/**
 * The list that runs when one does not.
 */
#define KV_FAILURE 1

/**
 * A response or operation of a txn: a range.
 */
#define KV_OP_RANGE 0

/**
 * A put.
 */
#define KV_OP_PUT 1

/**
 * A deletion.
 */
#define KV_OP_DELETE 2

/**
 * A nested txn.
 */
#define KV_OP_TXN 3

/**
 * The key was put.
 */
#define KV_EVENT_PUT 0

/**
 * The key was deleted.
 */
#define KV_EVENT_DELETE 1

/**
 * Alarms; see kv_alarm_list.
 */
typedef struct kv_alarms kv_alarms;

/**
 * What an examination found.
 */
typedef struct kv_check_report kv_check_report;

/**
 * A clock in hand.
 */
typedef struct kv_clock kv_clock;

/**
 * An open store: a shared handle, for any number of threads.
 */
typedef struct kv_db kv_db;

/**
 * What a deletion answered.
 */
typedef struct kv_delete_result kv_delete_result;

/**
 * The keys that differ between two revisions, one after the other.
 */
typedef struct kv_diff kv_diff;

/**
 * An election of one leader among all who campaign for a name.
 */
typedef struct kv_election kv_election;

/**
 * An error: a code, a message for people, and the revision it speaks of.
 */
typedef struct kv_error kv_error;

/**
 * Events, one after the other.
 */
typedef struct kv_events kv_events;

/**
 * The leaders of an election, one after the other.
 */
typedef struct kv_leaders kv_leaders;

/**
 * A lease that keeps itself alive as long as this handle, and this process, live.
 */
typedef struct kv_lease kv_lease;

/**
 * The ids of all leases; see kv_lease_list.
 */
typedef struct kv_lease_ids kv_lease_ids;

/**
 * A lock that one holds at a time, of all threads and processes that use the store.
 */
typedef struct kv_lock kv_lock;

/**
 * What a put answered.
 */
typedef struct kv_put_result kv_put_result;

/**
 * What a range answered.
 */
typedef struct kv_range_result kv_range_result;

/**
 * A range read in steps, at one revision.
 */
typedef struct kv_scan kv_scan;

/**
 * A store that is served to etcd's clients.
 */
typedef struct kv_server kv_server;

/**
 * The store as it was at one revision: a number, not a transaction.
 */
typedef struct kv_snapshot kv_snapshot;

/**
 * What a store says of itself; see kv_status_get.
 */
typedef struct kv_status kv_status;

/**
 * What is left of a lease; see kv_lease_time_to_live.
 */
typedef struct kv_time_to_live kv_time_to_live;

/**
 * What the callback of kv_transact reads and writes through; it lives during one call of it.
 */
typedef struct kv_transaction kv_transaction;

/**
 * A txn being built: compares, and a list of operations for each outcome.
 */
typedef struct kv_txn kv_txn;

/**
 * What a txn answered.
 */
typedef struct kv_txn_result kv_txn_result;

/**
 * What a watcher delivers at a time: all matching events of one revision.
 */
typedef struct kv_watch_batch kv_watch_batch;

/**
 * Follows a range, by whichever process it is written.
 */
typedef struct kv_watcher kv_watcher;

/**
 * What every call answers: KV_OK or a code of api errors, the same numbers for ever.
 */
typedef int32_t kv_code;

/**
 * Bytes, borrowed: no terminating zero, and any byte may be among them.
 */
typedef struct kv_bytes {
  /**
   * The first of them; may be NULL if there are none.
   */
  const uint8_t *data;
  /**
   * How many there are.
   */
  size_t len;
} kv_bytes;

/**
 * One thing that an examination found wrong.
 */
typedef struct kv_problem {
  /**
   * The invariant of core/DESIGN.md that is broken: "I2", …
   */
  const char *invariant;
  /**
   * The key, if one is meant.
   */
  struct kv_bytes key;
  /**
   * The revision, or 0.
   */
  int64_t revision;
  /**
   * What is wrong, in words.
   */
  const char *message;
} kv_problem;

/**
 * An alarm that is active, or was until now.
 */
typedef struct kv_alarm {
  /**
   * The member that it names. A store names itself by the second half of its store id.
   */
  uint64_t member;
  /**
   * KV_ALARM_….
   */
  int32_t kind;
} kv_alarm;

/**
 * How a store is opened; begin with KV_OPTIONS_INIT. Booleans are KV_YES or KV_NO, and 0 is the
 * default of every member.
 */
typedef struct kv_options {
  /**
   * sizeof(kv_options).
   */
  size_t size;
  /**
   * KV_NO: KV_NOT_FOUND instead of making a store. Default KV_YES.
   */
  int32_t create;
  /**
   * KV_YES: writes answer KV_READ_ONLY and nothing is created.
   */
  int32_t read_only;
  /**
   * KV_DURABILITY_…, default KV_DURABILITY_SYNC.
   */
  int32_t durability;
  /**
   * KV_LIMITS_ETCD: the limits of etcd itself.
   */
  int32_t limits;
  /**
   * How long a write waits for the writer's lock; default 5,000; KV_NO_WAIT, KV_FOREVER.
   */
  int64_t busy_timeout_ms;
  /**
   * Keys and values of one write, summed; default 64 MiB.
   */
  uint64_t max_request_bytes;
  /**
   * Operations in each list of a txn; default 100,000.
   */
  uint64_t max_txn_ops;
  /**
   * Smaller TTLs are raised to it; default 1.
   */
  int64_t lease_ttl_min_seconds;
  /**
   * A quota on pages that hold data, in bytes, kept in the store; another value than it has changes
   * it for every process. UINT64_MAX takes it away. What might go beyond it answers KV_FULL;
   * deletions, revocations and compactions always have room.
   */
  uint64_t max_bytes;
  /**
   * Compact automatically, and keep so many revisions; 0 is off. Not beside auto_compaction_seconds.
   */
  uint64_t auto_compaction_revisions;
  /**
   * Compact automatically, and keep so many seconds of history; 0 is off.
   */
  uint64_t auto_compaction_seconds;
  /**
   * Slots for readers, over all processes; default 1,024, at most 1,048,576.
   */
  uint32_t max_readers;
  /**
   * Permissions of files that are made; default 0600.
   */
  uint32_t mode;
  /**
   * KV_YES opens on a network file system all the same.
   */
  int32_t allow_network_fs;
  /**
   * A clock in hand, or NULL for the system's.
   */
  const struct kv_clock *clock;
  /**
   * Of a cluster, as all that follow, which an embedded store refuses; a cluster refuses those above. The
   * file (PEM) of the authorities whose servers are trusted; NULL: those that the system trusts.
   */
  const char *tls_ca;
  /**
   * The file (PEM) of this client's certificate; needs tls_key.
   */
  const char *tls_cert;
  /**
   * The file (PEM) of its key.
   */
  const char *tls_key;
  /**
   * The name that the servers' certificates must have; NULL: each endpoint's host.
   */
  const char *tls_server_name;
  /**
   * Whom to log in; needs password.
   */
  const char *user;
  /**
   * The password of user.
   */
  const char *password;
  /**
   * How long to try to reach an endpoint; default 5,000.
   */
  int64_t connect_timeout_ms;
  /**
   * How long to wait for an answer; default 30,000; KV_FOREVER.
   */
  int64_t request_timeout_ms;
  /**
   * How long a connection may be silent before it is probed; default 10,000.
   */
  int64_t keep_alive_ms;
} kv_options;

/**
 * How a put is done; begin with KV_PUT_OPTIONS_INIT.
 */
typedef struct kv_put_options {
  /**
   * sizeof(kv_put_options).
   */
  size_t size;
  /**
   * The lease to hang the key on.
   */
  int64_t lease;
  /**
   * KV_YES answers the pair before.
   */
  int32_t prev_kv;
  /**
   * KV_YES keeps the value that the key has.
   */
  int32_t ignore_value;
  /**
   * KV_YES keeps the lease that the key has.
   */
  int32_t ignore_lease;
  /**
   * KV_DURABILITY_…; 0 takes the handle's.
   */
  int32_t durability;
} kv_put_options;

/**
 * A key with its value and its place in history.
 */
typedef struct kv_key_value {
  /**
   * The library's own.
   */
  uint64_t kind;
  /**
   * The key.
   */
  struct kv_bytes key;
  /**
   * The value.
   */
  struct kv_bytes value;
  /**
   * The revision that created the key.
   */
  int64_t create_revision;
  /**
   * The revision that put it last.
   */
  int64_t mod_revision;
  /**
   * 1 at creation, one more with each put.
   */
  int64_t version;
  /**
   * The lease it hangs on, or 0.
   */
  int64_t lease;
} kv_key_value;

/**
 * A set of keys; made by kv_key, kv_prefix, kv_between, kv_from, kv_all.
 */
typedef struct kv_key_range {
  /**
   * KV_RANGE_….
   */
  int32_t kind;
  /**
   * The key, prefix or start.
   */
  struct kv_bytes key;
  /**
   * The first key outside, of KV_RANGE_BETWEEN.
   */
  struct kv_bytes end;
} kv_key_range;

/**
 * How a deletion is done; begin with KV_DELETE_OPTIONS_INIT.
 */
typedef struct kv_delete_options {
  /**
   * sizeof(kv_delete_options).
   */
  size_t size;
  /**
   * KV_YES answers the pairs that went.
   */
  int32_t prev_kv;
  /**
   * KV_DURABILITY_…; 0 takes the handle's.
   */
  int32_t durability;
} kv_delete_options;

/**
 * One change of one key.
 */
typedef struct kv_event {
  /**
   * KV_EVENT_PUT or KV_EVENT_DELETE.
   */
  int32_t type;
  /**
   * Of a put the new pair; of a deletion only key and mod_revision are set.
   */
  struct kv_key_value kv;
  /**
   * The pair before the event's revision, or NULL: there was none, it is compacted, or it was
   * not asked for (kv_watch_options.prev_kv; other calls never fill it).
   */
  const struct kv_key_value *prev_kv;
} kv_event;

/**
 * How one key differs between two revisions.
 */
typedef struct kv_change {
  /**
   * The key.
   */
  struct kv_bytes key;
  /**
   * The pair at the first revision, or NULL.
   */
  const struct kv_key_value *before;
  /**
   * The pair at the second revision, or NULL.
   */
  const struct kv_key_value *after;
} kv_change;

/**
 * How a range is read; begin with KV_RANGE_OPTIONS_INIT.
 */
typedef struct kv_range_options {
  /**
   * sizeof(kv_range_options).
   */
  size_t size;
  /**
   * At which revision; 0 and below: now.
   */
  int64_t revision;
  /**
   * At most so many pairs; 0 and below: all.
   */
  int64_t limit;
  /**
   * KV_SORT_….
   */
  int32_t sort_order;
  /**
   * KV_SORT_BY_….
   */
  int32_t sort_target;
  /**
   * KV_YES leaves the values empty.
   */
  int32_t keys_only;
  /**
   * KV_YES only counts.
   */
  int32_t count_only;
  /**
   * Only pairs last put at this revision or later; 0 is off.
   */
  int64_t min_mod_revision;
  /**
   * Only pairs last put at this revision or earlier; 0 is off.
   */
  int64_t max_mod_revision;
  /**
   * Only pairs created at this revision or later; 0 is off.
   */
  int64_t min_create_revision;
  /**
   * Only pairs created at this revision or earlier; 0 is off.
   */
  int64_t max_create_revision;
  /**
   * KV_YES lets a cluster's member answer that lags behind.
   */
  int32_t serializable;
} kv_range_options;

/**
 * How a store is served; begin with KV_SERVE_OPTIONS_INIT.
 */
typedef struct kv_serve_options {
  /**
   * sizeof(kv_serve_options).
   */
  size_t size;
  /**
   * The file (PEM) of the server's certificate; needed for an https address, with key_file.
   */
  const char *cert_file;
  /**
   * The file (PEM) of its key.
   */
  const char *key_file;
  /**
   * The file (PEM) of the authorities that clients' certificates come from.
   */
  const char *trusted_ca_file;
  /**
   * KV_YES refuses clients without a certificate of trusted_ca_file.
   */
  int32_t client_cert_auth;
  /**
   * The largest write that clients may send, counted as by kv_options.max_request_bytes; 0: the limit of the
   * database. A limit above that one has no effect on a write. A message may be 512 KiB larger.
   */
  uint64_t max_request_bytes;
  /**
   * How many operations each list of a client's txn may have; 0: the limit of the database. A limit above that one
   * has no effect.
   */
  uint64_t max_txn_ops;
} kv_serve_options;

/**
 * Reads and writes through t; anything but KV_OK ends kv_transact with that code and nothing is
 * written. It may run several times and must do nothing else that cannot be repeated.
 */
typedef kv_code (*kv_transact_fn)(struct kv_transaction *t, void *payload);

/**
 * What is watched, and how; begin with KV_WATCH_OPTIONS_INIT.
 */
typedef struct kv_watch_options {
  /**
   * sizeof(kv_watch_options).
   */
  size_t size;
  /**
   * The first revision to deliver; 0: whatever is written from now on. It may lie in the future.
   */
  int64_t start_revision;
  /**
   * KV_YES answers with each event the pair before it.
   */
  int32_t prev_kv;
  /**
   * KV_YES leaves puts out.
   */
  int32_t no_put;
  /**
   * KV_YES leaves deletions out.
   */
  int32_t no_delete;
  /**
   * KV_YES: after ten minutes without an event, a batch without events that says how far all is
   * seen.
   */
  int32_t progress;
} kv_watch_options;

/**
 * Done.
 */
#define KV_OK 0

/**
 * Empty key, bad option, value with ignore_value, NULL where something is needed, …
 */
#define KV_INVALID_ARGUMENT 1

/**
 * ignore_value or ignore_lease on a missing key.
 */
#define KV_KEY_NOT_FOUND 2

/**
 * A txn would write one key twice.
 */
#define KV_DUPLICATE_KEY 3

/**
 * A txn's list is too long.
 */
#define KV_TOO_MANY_OPS 4

/**
 * The request or a key is too large.
 */
#define KV_TOO_LARGE 5

/**
 * The revision has been compacted.
 */
#define KV_COMPACTED 6

/**
 * The revision has not been written yet.
 */
#define KV_FUTURE_REVISION 7

/**
 * No such lease.
 */
#define KV_LEASE_NOT_FOUND 8

/**
 * The lease id is in use.
 */
#define KV_LEASE_EXISTS 9

/**
 * A handle lost its lease.
 */
#define KV_LEASE_LOST 10

/**
 * kv_transact gave up after its retries.
 */
#define KV_CONFLICT 11

/**
 * Taken back before it began.
 */
#define KV_CANCELLED 12

/**
 * The time given ran out.
 */
#define KV_TIMEOUT 13

/**
 * The database, or the parent of this handle, is closed.
 */
#define KV_CLOSED 14

/**
 * A handle from before fork().
 */
#define KV_FORKED 15

/**
 * The writer's lock is held, or sole use is not to be had.
 */
#define KV_BUSY 16

/**
 * The disk or the quota is full; nothing was written.
 */
#define KV_FULL 17

/**
 * Read-only handle or medium, or the store is poisoned.
 */
#define KV_READ_ONLY 18

/**
 * The operating system reported an error.
 */
#define KV_IO 19

/**
 * The store's bytes are damaged.
 */
#define KV_CORRUPT 20

/**
 * A newer format, another page size or ABI.
 */
#define KV_INCOMPATIBLE 21

/**
 * A foreign file or directory.
 */
#define KV_NOT_A_STORE 22

/**
 * There is no store.
 */
#define KV_NOT_FOUND 23

/**
 * There is a store already.
 */
#define KV_EXISTS 24

/**
 * This engine or build cannot do it.
 */
#define KV_UNSUPPORTED 25

/**
 * No endpoint answers.
 */
#define KV_UNAVAILABLE 26

/**
 * No or a bad token.
 */
#define KV_UNAUTHENTICATED 27

/**
 * Refused by file permissions or by auth.
 */
#define KV_PERMISSION_DENIED 28

/**
 * Another refusal of a cluster.
 */
#define KV_FAILED_PRECONDITION 29

/**
 * A defect of libkv.
 */
#define KV_INTERNAL 30

/**
 * The write may or may not be there.
 */
#define KV_UNKNOWN_OUTCOME 31

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * What the store says of itself.
 *
 * Owner: *out is the caller's, to free with kv_status_free.
 * Threads: any.
 * Errors: KV_CLOSED, KV_FORKED, KV_IO.
 */
KV_API
kv_code kv_status_get(const struct kv_db *db,
                      struct kv_status **out,
                      struct kv_error **error);

/**
 * The number that KV_STATUS_… names; 0 for an unknown name and for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_status_number(const struct kv_status *status, int32_t name);

/**
 * The text that KV_STATUS_… names (lmdb_version, store_id, alarms); an empty one for other names.
 *
 * Owner: the status; the text lives until it is freed.
 * Threads: any.
 * Errors: none.
 */
KV_API const char *kv_status_text(const struct kv_status *status, int32_t name);

/**
 * Frees a status.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_status_free(struct kv_status *status);

/**
 * Reads the whole store and verifies every invariant of its design. Takes the time of reading
 * everything; writers go on meanwhile.
 *
 * Owner: *out is the caller's, to free with kv_check_report_free.
 * Threads: any.
 * Errors: KV_CLOSED, KV_FORKED, KV_IO, KV_CORRUPT (so damaged that it could not be read on).
 */
KV_API
kv_code kv_check(const struct kv_db *db,
                 struct kv_check_report **out,
                 struct kv_error **error);

/**
 * How many keys an examination saw; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API uint64_t kv_check_report_keys(const struct kv_check_report *report);

/**
 * How many events an examination saw; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API uint64_t kv_check_report_events(const struct kv_check_report *report);

/**
 * How many problems it found: 0 is well.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API size_t kv_check_report_len(const struct kv_check_report *report);

/**
 * Problem number index; NULL beyond the last.
 *
 * Owner: the report; the problem lives until it is freed.
 * Threads: any.
 * Errors: none.
 */
KV_API
const struct kv_problem *kv_check_report_at(const struct kv_check_report *report,
                                            size_t index);

/**
 * Frees a report.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_check_report_free(struct kv_check_report *report);

/**
 * A clock that stands at so many milliseconds since 1970 until it is advanced; for kv_options.clock.
 * A store opened with it is held by this process alone. NULL only if memory is out.
 *
 * Owner: the caller's, to free with kv_clock_free before or after the stores opened with it.
 * Threads: any.
 * Errors: none.
 */
KV_API
struct kv_clock *kv_clock_new(int64_t unix_ms);

/**
 * Moves a clock forward, and returns once everything that became due with it has been done.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT (ms is negative: a clock does not go back).
 */
KV_API kv_code kv_clock_advance(const struct kv_clock *clock, int64_t ms, struct kv_error **error);

/**
 * Frees a clock; stores opened with it keep theirs.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_clock_free(struct kv_clock *clock);

/**
 * The ABI number of the library that was loaded; compare it with KV_ABI_VERSION. Within one number
 * symbols and layouts only grow.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API uint32_t kv_abi_version(void);

/**
 * The version of the library that was loaded, as "0.1.0".
 *
 * Owner: the library; the text lives for ever.
 * Threads: any.
 * Errors: none.
 */
KV_API const char *kv_version(void);

/**
 * The alarms that are active, by kind and member. One that is active stays until it is disarmed, also
 * over a restart, and every process that writes obeys it.
 *
 * Owner: *out is the caller's, to free with kv_alarms_free.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_alarm_list(const struct kv_db *db,
                      struct kv_alarms **out,
                      struct kv_error **error);

/**
 * Raises an alarm of this kind, KV_ALARM_…, in the name of any member; 0 will do. Programs seldom do
 * so: KV_ALARM_NOSPACE comes by itself where kv_options.limits is KV_LIMITS_ETCD.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT, and as kv_put, but for KV_FULL of the quota.
 */
KV_API
kv_code kv_alarm_activate(const struct kv_db *db,
                          int32_t kind,
                          uint64_t member,
                          struct kv_error **error);

/**
 * Ends alarms: those of this member (0: of every member) and of this kind (0: of every kind). *out, if
 * wanted, are those that were active. Make room first: KV_ALARM_NOSPACE comes back with the next put
 * else.
 *
 * Owner: *out is the caller's, to free with kv_alarms_free.
 * Threads: any.
 * Errors: as kv_alarm_activate.
 */
KV_API
kv_code kv_alarm_disarm(const struct kv_db *db,
                        uint64_t member,
                        int32_t kind,
                        struct kv_alarms **out,
                        struct kv_error **error);

/**
 * How many alarms there are; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API size_t kv_alarms_len(const struct kv_alarms *alarms);

/**
 * Alarm number index; NULL beyond the last.
 *
 * Owner: the alarms; it lives until they are freed.
 * Threads: any.
 * Errors: none.
 */
KV_API const struct kv_alarm *kv_alarms_at(const struct kv_alarms *alarms, size_t index);

/**
 * Frees alarms.
 *
 * Owner: takes them; NULL is fine.
 * Threads: the last use of them.
 * Errors: none.
 */
KV_API void kv_alarms_free(struct kv_alarms *alarms);

/**
 * Opens the store in a directory, and makes it if there is none. ":memory:" is a store of its own
 * that leaves nothing behind; "file:" URLs are paths. Any number of processes may have one store
 * open; handles of one process on one store share one environment.
 *
 * "etcd://HOST:PORT,HOST:PORT", "http://..." and "https://..." (TLS) open a cluster of etcd, or a store
 * that kv_serve or `kv serve` serves: every call below then goes over the network, and may also answer
 * KV_UNAVAILABLE, KV_TIMEOUT, KV_UNAUTHENTICATED, KV_PERMISSION_DENIED, and KV_UNSUPPORTED for what a
 * cluster cannot do. A library built without that (its feature etcd) answers KV_UNSUPPORTED here.
 *
 * Owner: *out is the caller's, to close with kv_close; target and options are not kept.
 * Threads: any.
 * Errors: KV_NOT_FOUND, KV_NOT_A_STORE, KV_INCOMPATIBLE, KV_BUSY, KV_PERMISSION_DENIED,
 * KV_INVALID_ARGUMENT, KV_UNSUPPORTED, KV_READ_ONLY, KV_FULL, KV_IO; of a cluster KV_UNAVAILABLE, which
 * names each endpoint with its reason, KV_UNAUTHENTICATED. Nothing that was there is changed by any of
 * them.
 */
KV_API
kv_code kv_open(const char *target,
                const struct kv_options *options,
                struct kv_db **out,
                struct kv_error **error);

/**
 * Closes a store's handle: scans, snapshots, watchers, leases, locks and whatever else was made from
 * it answer KV_CLOSED from then on and are still the caller's to free; a thread that waits in one
 * of them gets KV_CLOSED at once. The leases of such handles are revoked, and with them their locks
 * freed; where that cannot be done in time they end with their TTL. The store closes with its last
 * handle.
 *
 * Owner: takes db; NULL is fine.
 * Threads: the last use of db; calls under way on db itself in other threads must have ended.
 * Errors: none.
 */
KV_API
void kv_close(struct kv_db *db);

/**
 * Writes one key; the store's revision rises by 1.
 *
 * Owner: *out, if it is wanted, is the caller's; key, value and options are not kept.
 * Threads: any; concurrent writes share a commit.
 * Errors: KV_INVALID_ARGUMENT, KV_TOO_LARGE, KV_KEY_NOT_FOUND (ignore_… on a missing key),
 * KV_LEASE_NOT_FOUND, KV_READ_ONLY, KV_BUSY, KV_FULL, KV_IO, KV_CLOSED, KV_FORKED: nothing is
 * written. KV_UNKNOWN_OUTCOME: it may be.
 */
KV_API
kv_code kv_put(const struct kv_db *db,
               struct kv_bytes key,
               struct kv_bytes value,
               const struct kv_put_options *options,
               struct kv_put_result **out,
               struct kv_error **error);

/**
 * The store's revision after a put; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_put_result_revision(const struct kv_put_result *result);

/**
 * The pair before a put, or NULL if it was not asked for or the key did not exist.
 *
 * Owner: the result; the pair lives until it is freed.
 * Threads: any.
 * Errors: none.
 */
KV_API const struct kv_key_value *kv_put_result_prev_kv(const struct kv_put_result *result);

/**
 * Frees a put's result.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_put_result_free(struct kv_put_result *result);

/**
 * One key at a revision (0 and below: now). A key that is not there is no error: *out is NULL.
 *
 * Owner: *out is the caller's, to free with kv_key_value_free.
 * Threads: any; readers wait for nobody.
 * Errors: KV_INVALID_ARGUMENT (empty key), KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED, KV_FORKED,
 * KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_get(const struct kv_db *db,
               struct kv_bytes key,
               int64_t revision,
               struct kv_key_value **out,
               struct kv_error **error);

/**
 * The value of one key, now, into the caller's buffer, without allocating anything. *len is the
 * value's length, or KV_NONE if there is no such key. If the buffer is too small nothing is copied
 * and *len is the size it takes.
 *
 * Owner: buffer is the caller's.
 * Threads: any; readers wait for nobody.
 * Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_get_into(const struct kv_db *db,
                    struct kv_bytes key,
                    uint8_t *buffer,
                    size_t buffer_size,
                    size_t *len,
                    struct kv_error **error);

/**
 * Frees a pair that kv_get answered. Views taken from results are left alone.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_key_value_free(struct kv_key_value *kv);

/**
 * Deletes the keys of a range; the revision rises by 1 if there was any.
 *
 * Owner: *out, if it is wanted, is the caller's; the range and options are not kept.
 * Threads: any.
 * Errors: as kv_put.
 */
KV_API
kv_code kv_delete(const struct kv_db *db,
                  struct kv_key_range range,
                  const struct kv_delete_options *options,
                  struct kv_delete_result **out,
                  struct kv_error **error);

/**
 * The store's revision after a deletion; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_delete_result_revision(const struct kv_delete_result *result);

/**
 * How many keys went; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_delete_result_deleted(const struct kv_delete_result *result);

/**
 * The pair number index, by key, that went, if prev_kv was asked for; NULL beyond the last.
 *
 * Owner: the result; the pair lives until it is freed.
 * Threads: any.
 * Errors: none.
 */
KV_API
const struct kv_key_value *kv_delete_result_prev_kv(const struct kv_delete_result *result,
                                                    size_t index);

/**
 * Frees a deletion's result.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_delete_result_free(struct kv_delete_result *result);

/**
 * Forgets history below a revision: reads below it answer KV_COMPACTED from then on. With physical
 * KV_YES it answers once the space can be used again, else that happens in the background. *out is
 * the store's revision, which does not change.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: KV_COMPACTED (the revision is not above the compacted one), KV_FUTURE_REVISION, and as kv_put.
 */
KV_API
kv_code kv_compact(const struct kv_db *db,
                   int64_t revision,
                   int32_t physical,
                   int64_t *out,
                   struct kv_error **error);

/**
 * An election by this name; nobody campaigns yet. Its keys are laid out as etcd's own election service
 * does: NAME/LEASE, the lease in hexadecimal, with what is proclaimed as the value.
 *
 * Of all keys of the name the one that was put first is the leader's. A leader that resigns, or whose
 * process dies (noticed within 500 ms), is followed by the next who campaigned. One that is stopped
 * for longer than ttl_seconds may wake up and believe for a moment that it still leads:
 * kv_election_proclaim is refused then, other writes are fenced by kv_election_revision.
 *
 * Owner: *out is the caller's, to free before or after the database; name is not kept.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT (an empty name), KV_CLOSED, KV_FORKED.
 */
KV_API
kv_code kv_election_open(const struct kv_db *db,
                         struct kv_bytes name,
                         int64_t ttl_seconds,
                         struct kv_election **out,
                         struct kv_error **error);

/**
 * Waits until it leads, up to timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the default, 0), and
 * proclaims value as its own; one that leads already proclaims only.
 *
 * Owner: value is not kept.
 * Threads: one at a time; a second one is refused.
 * Errors: KV_TIMEOUT, naming the leader's key; KV_LEASE_LOST; KV_INVALID_ARGUMENT (a TTL over
 * 9,000,000,000 s too), and as kv_put. After any of them it does not stand.
 */
KV_API
kv_code kv_election_campaign(struct kv_election *election,
                             struct kv_bytes value,
                             int64_t timeout_ms,
                             struct kv_error **error);

/**
 * Changes the value that the leader is known by.
 *
 * Owner: value is not kept.
 * Threads: one at a time.
 * Errors: KV_FAILED_PRECONDITION (it does not lead), KV_LEASE_LOST (it does no longer), and as kv_put.
 */
KV_API
kv_code kv_election_proclaim(struct kv_election *election,
                             struct kv_bytes value,
                             struct kv_error **error);

/**
 * The leader's pair; *out is NULL if there is none. It may be another process's.
 *
 * Owner: *out is the caller's, to free with kv_key_value_free.
 * Threads: any, also while another one campaigns.
 * Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_election_leader(const struct kv_election *election,
                           struct kv_key_value **out,
                           struct kv_error **error);

/**
 * Follows an election: each leader from the present one on, and each value that one proclaims.
 *
 * Owner: *out is the caller's, to free before or after the election and the database.
 * Threads: any, also while another one campaigns.
 * Errors: as kv_watch.
 */
KV_API
kv_code kv_election_observe(const struct kv_election *election,
                            struct kv_leaders **out,
                            struct kv_error **error);

/**
 * Steps down, or out of the line; does nothing if it stands nowhere. It can campaign again.
 *
 * Owner: nothing changes hands.
 * Threads: one at a time.
 * Errors: as kv_lock_release.
 */
KV_API kv_code kv_election_resign(struct kv_election *election, struct kv_error **error);

/**
 * Whether it leads, as far as is known here: KV_YES or KV_NO. KV_NO once its lease is known to be
 * lost.
 *
 * Owner: nothing changes hands.
 * Threads: one at a time.
 * Errors: none.
 */
KV_API int32_t kv_election_is_leader(const struct kv_election *election);

/**
 * Its key in the store while it leads; else no bytes.
 *
 * Owner: the election; the key lives until the next call that campaigns, resigns or frees it.
 * Threads: one at a time.
 * Errors: none.
 */
KV_API struct kv_bytes kv_election_key(const struct kv_election *election);

/**
 * The revision that created its key, which fences as kv_lock_revision does; 0 while it does not lead.
 *
 * Owner: nothing changes hands.
 * Threads: one at a time.
 * Errors: none.
 */
KV_API
int64_t kv_election_revision(const struct kv_election *election);

/**
 * Frees the handle; if it stands, it resigns soon after.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_election_free(struct kv_election *election);

/**
 * The next leader's pair, or the same one's with a new value. It waits for it up to timeout_ms
 * milliseconds, KV_NO_WAIT or KV_FOREVER (the default, 0); *out is NULL if that time has passed without
 * one. Of changes that come faster than they are read only the last is answered.
 *
 * Owner: *out is the caller's, to free with kv_key_value_free.
 * Threads: one at a time; a second one is refused. kv_close of the database ends the waiting at once.
 * Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_leaders_next(struct kv_leaders *leaders,
                        int64_t timeout_ms,
                        struct kv_key_value **out,
                        struct kv_error **error);

/**
 * Frees the leaders.
 *
 * Owner: takes them; NULL is fine.
 * Threads: the last use of them.
 * Errors: none.
 */
KV_API void kv_leaders_free(struct kv_leaders *leaders);

/**
 * The code of an error; KV_OK for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API kv_code kv_error_code(const struct kv_error *error);

/**
 * The message of an error, naming the key, revision or path that is meant, as UTF-8 with a
 * terminating zero; an empty one for NULL.
 *
 * Owner: the error; the text lives until it is freed.
 * Threads: any.
 * Errors: none.
 */
KV_API const char *kv_error_message(const struct kv_error *error);

/**
 * The revision that an error speaks of: the compacted one for KV_COMPACTED, the current one for
 * KV_FUTURE_REVISION, else 0.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_error_revision(const struct kv_error *error);

/**
 * Frees an error.
 *
 * Owner: takes the error; NULL is fine.
 * Threads: any.
 * Errors: none.
 */
KV_API void kv_error_free(struct kv_error *error);

/**
 * The stable name of a code: "compacted", …; "ok" for KV_OK, "unknown" for what is no code.
 *
 * Owner: the library; the text lives for ever.
 * Threads: any.
 * Errors: none.
 */
KV_API const char *kv_strerror(kv_code code);

/**
 * The events of one key, newest first, tombstones too: at most limit, 0 and below for all that
 * are kept.
 *
 * Owner: *out is the caller's, to free before or after the database; key is not kept.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT (empty key), KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_history(const struct kv_db *db,
                   struct kv_bytes key,
                   int64_t limit,
                   struct kv_events **out,
                   struct kv_error **error);

/**
 * The events of a range with after < revision <= upto (0 and below: the current one), in the order
 * they happened. Holds nothing between steps.
 *
 * Owner: *out is the caller's, to free before or after the database; range is not kept.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT; the steps answer the rest.
 */
KV_API
kv_code kv_changes(const struct kv_db *db,
                   int64_t after,
                   int64_t upto,
                   struct kv_key_range range,
                   struct kv_events **out,
                   struct kv_error **error);

/**
 * The next event; *out is NULL at the end.
 *
 * Owner: events; what *out points to lives until the next step or until events are freed.
 * Threads: one at a time.
 * Errors: KV_COMPACTED (the stretch begins below the compacted revision), KV_FUTURE_REVISION,
 * KV_INVALID_ARGUMENT (empty key), KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO. After an error they are at their end.
 */
KV_API
kv_code kv_events_next(struct kv_events *events,
                       const struct kv_event **out,
                       struct kv_error **error);

/**
 * Frees events.
 *
 * Owner: takes them; NULL is fine.
 * Threads: the last use of them.
 * Errors: none.
 */
KV_API void kv_events_free(struct kv_events *events);

/**
 * The keys of a range that differ between revision a and revision b (0 and below: the current one),
 * by key.
 *
 * Owner: *out is the caller's, to free before or after the database; range is not kept.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT, KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_diff_open(const struct kv_db *db,
                     int64_t a,
                     int64_t b,
                     struct kv_key_range range,
                     struct kv_diff **out,
                     struct kv_error **error);

/**
 * The next key that differs; *out is NULL at the end.
 *
 * Owner: diff; what *out points to lives until the next step or until diff is freed.
 * Threads: one at a time.
 * Errors: as kv_diff_open. After an error it is at its end.
 */
KV_API
kv_code kv_diff_next(struct kv_diff *diff,
                     const struct kv_change **out,
                     struct kv_error **error);

/**
 * Frees a diff.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_diff_free(struct kv_diff *diff);

/**
 * The last revision that was written by the end of the minute of this time, in milliseconds since
 * 1970: what a key held then is kv_get at *revision. It costs one look at an index of minutes.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: KV_COMPACTED (that revision cannot be read any more), KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_revision_at(const struct kv_db *db,
                       int64_t unix_ms,
                       int64_t *revision,
                       struct kv_error **error);

/**
 * Grants a lease of ttl_seconds (raised to the handle's lease_ttl_min_seconds) with this id, or, for
 * 0, with a positive one that the store chooses. Keys are put on it with kv_put_options.lease, and
 * go with it. Nobody keeps it alive: kv_lease_open makes one that keeps itself.
 *
 * Owner: nothing changes hands; *granted_id and *granted_ttl_seconds are what it got.
 * Threads: any.
 * Errors: KV_LEASE_EXISTS, KV_INVALID_ARGUMENT (a TTL over 9,000,000,000 s), and as kv_put.
 */
KV_API
kv_code kv_lease_grant(const struct kv_db *db,
                       int64_t ttl_seconds,
                       int64_t id,
                       int64_t *granted_id,
                       int64_t *granted_ttl_seconds,
                       struct kv_error **error);

/**
 * Revokes a lease: its keys are deleted in one revision, by ascending key. *revision is the store's
 * afterwards, unchanged if the lease had no keys.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: KV_LEASE_NOT_FOUND, and as kv_put.
 */
KV_API
kv_code kv_lease_revoke(const struct kv_db *db,
                        int64_t id,
                        int64_t *revision,
                        struct kv_error **error);

/**
 * Gives a lease its full TTL again, once. It takes no lock and writes nothing to the disk.
 * *ttl_seconds is that TTL, or 0, which is no error, if there is no such lease or it has expired.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT, KV_READ_ONLY, KV_CLOSED, KV_FORKED, KV_IO.
 */
KV_API
kv_code kv_lease_keep_alive(const struct kv_db *db,
                            int64_t id,
                            int64_t *ttl_seconds,
                            struct kv_error **error);

/**
 * What is left of a lease and, with keys KV_YES, which keys hang on it. A lease that is not there is
 * no error: kv_time_to_live_seconds is -1.
 *
 * Owner: *out is the caller's, to free with kv_time_to_live_free.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_lease_time_to_live(const struct kv_db *db,
                              int64_t id,
                              int32_t keys,
                              struct kv_time_to_live **out,
                              struct kv_error **error);

/**
 * Whole seconds that a lease has left, rounded down; -1 if there is no such lease, and for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_time_to_live_seconds(const struct kv_time_to_live *result);

/**
 * The TTL that a lease was granted, in seconds; 0 if there is no such lease, and for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_time_to_live_granted_seconds(const struct kv_time_to_live *result);

/**
 * How many keys hang on a lease, if they were asked for; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API size_t kv_time_to_live_len(const struct kv_time_to_live *result);

/**
 * The key number index, ascending, that hangs on a lease; no bytes beyond the last.
 *
 * Owner: the result; the key lives until it is freed.
 * Threads: any.
 * Errors: none.
 */
KV_API struct kv_bytes kv_time_to_live_key(const struct kv_time_to_live *result, size_t index);

/**
 * Frees what kv_lease_time_to_live answered.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_time_to_live_free(struct kv_time_to_live *result);

/**
 * The ids of all leases, the next to expire first.
 *
 * Owner: *out is the caller's, to free with kv_lease_ids_free.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_lease_list(const struct kv_db *db,
                      struct kv_lease_ids **out,
                      struct kv_error **error);

/**
 * How many leases there were; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API size_t kv_lease_ids_len(const struct kv_lease_ids *ids);

/**
 * The id number index, the next to expire first; 0, which is no lease, beyond the last.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_lease_ids_at(const struct kv_lease_ids *ids, size_t index);

/**
 * Frees what kv_lease_list answered.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_lease_ids_free(struct kv_lease_ids *ids);

/**
 * A lease of ttl_seconds that keeps itself alive and is revoked when its handle is closed or freed.
 * With end_with_process KV_YES it also ends within 500 ms of this process's death; else by its TTL.
 *
 * Owner: *out is the caller's, to free before or after the database.
 * Threads: any.
 * Errors: as kv_lease_grant.
 */
KV_API
kv_code kv_lease_open(const struct kv_db *db,
                      int64_t ttl_seconds,
                      int32_t end_with_process,
                      struct kv_lease **out,
                      struct kv_error **error);

/**
 * The id of a lease, for kv_put_options.lease; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_lease_id(const struct kv_lease *lease);

/**
 * The TTL that a lease was granted, in seconds; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_lease_ttl_seconds(const struct kv_lease *lease);

/**
 * Whole seconds that a lease would live on if its process died now; 0 if it is gone.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_lease_remaining(const struct kv_lease *lease,
                           int64_t *seconds,
                           struct kv_error **error);

/**
 * Whether a lease is known to be gone though nobody closed this handle: KV_YES or KV_NO. It expired
 * (the process was stopped for longer than its TTL), or somebody revoked it.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int32_t kv_lease_lost(const struct kv_lease *lease);

/**
 * Stops keeping a lease alive and revokes it: its keys go. Closing twice is fine, and so is closing
 * a lease that is lost. It is still to be freed; kv_lease_free alone revokes it too, but does not
 * wait for that.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: as kv_lease_revoke, but for KV_LEASE_NOT_FOUND. The lease then ends with its TTL.
 */
KV_API kv_code kv_lease_close(const struct kv_lease *lease, struct kv_error **error);

/**
 * Frees a lease's handle; unless it was closed, the lease is revoked soon after.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_lease_free(struct kv_lease *lease);

/**
 * A lock by this name, not yet acquired. Its keys are laid out as etcd's own lock service does:
 * NAME/LEASE, the lease in hexadecimal.
 *
 * Whoever acquires it is first in the line, in the order in which they came. It is freed when it is
 * released, and within 500 ms of the death of its process. A holder that is stopped for longer than
 * ttl_seconds loses it without noticing: what must not be written by such a one is fenced by
 * kv_lock_revision.
 *
 * Owner: *out is the caller's, to free before or after the database; name is not kept.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT (an empty name), KV_CLOSED, KV_FORKED.
 */
KV_API
kv_code kv_lock_open(const struct kv_db *db,
                     struct kv_bytes name,
                     int64_t ttl_seconds,
                     struct kv_lock **out,
                     struct kv_error **error);

/**
 * Waits until it has the lock, up to timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the default,
 * 0); does nothing if it has it.
 *
 * Owner: nothing changes hands.
 * Threads: one at a time; a second one is refused. To contend, two threads open a lock each.
 * Errors: KV_TIMEOUT, naming the holder's key; KV_LEASE_LOST; KV_INVALID_ARGUMENT (a TTL over
 * 9,000,000,000 s too), and as kv_put. After any of them it stands in no line.
 */
KV_API
kv_code kv_lock_acquire(struct kv_lock *lock,
                        int64_t timeout_ms,
                        struct kv_error **error);

/**
 * Takes the lock if nobody has it or waits for it. *held is KV_YES if it has it now, else KV_NO.
 *
 * Owner: nothing changes hands.
 * Threads: one at a time.
 * Errors: as kv_lock_acquire, but for KV_TIMEOUT.
 */
KV_API kv_code kv_lock_try_acquire(struct kv_lock *lock, int32_t *held, struct kv_error **error);

/**
 * Frees the lock for the next in the line; does nothing if it is not held. The handle can acquire it
 * again.
 *
 * Owner: nothing changes hands.
 * Threads: one at a time.
 * Errors: as kv_lease_revoke, but for KV_LEASE_NOT_FOUND; the lock is then freed by its TTL.
 */
KV_API
kv_code kv_lock_release(struct kv_lock *lock,
                        struct kv_error **error);

/**
 * Whether it is held, as far as is known here: KV_YES or KV_NO. KV_NO once its lease is known to be
 * lost.
 *
 * Owner: nothing changes hands.
 * Threads: one at a time.
 * Errors: none.
 */
KV_API int32_t kv_lock_is_held(const struct kv_lock *lock);

/**
 * Its key in the store while it is held; else no bytes.
 *
 * Owner: the lock; the key lives until the next call that acquires, releases or frees it.
 * Threads: one at a time.
 * Errors: none.
 */
KV_API struct kv_bytes kv_lock_key(const struct kv_lock *lock);

/**
 * The revision that created its key, which fences: it only grows from holder to holder, so that what
 * is protected can refuse a lower one than it has seen. 0 while it is not held.
 *
 * Owner: nothing changes hands.
 * Threads: one at a time.
 * Errors: none.
 */
KV_API
int64_t kv_lock_revision(const struct kv_lock *lock);

/**
 * Frees the handle; if the lock is held it is released soon after.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_lock_free(struct kv_lock *lock);

/**
 * The pairs of a range at one revision, in one answer.
 *
 * Owner: *out is the caller's; the range and options are not kept.
 * Threads: any; readers wait for nobody.
 * Errors: KV_INVALID_ARGUMENT (empty key, unknown sort), KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED,
 * KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_range(const struct kv_db *db,
                 struct kv_key_range range,
                 const struct kv_range_options *options,
                 struct kv_range_result **out,
                 struct kv_error **error);

/**
 * The store's revision when a range was read, also when an older one was asked for; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_range_result_revision(const struct kv_range_result *result);

/**
 * How many keys the range has at that revision, whatever the limit and the filters; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_range_result_count(const struct kv_range_result *result);

/**
 * Whether the limit cut anything off: KV_YES or KV_NO.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int32_t kv_range_result_more(const struct kv_range_result *result);

/**
 * How many pairs were answered; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API size_t kv_range_result_len(const struct kv_range_result *result);

/**
 * The pair number index of a range; NULL beyond the last.
 *
 * Owner: the result; the pair lives until it is freed.
 * Threads: any.
 * Errors: none.
 */
KV_API
const struct kv_key_value *kv_range_result_at(const struct kv_range_result *result,
                                              size_t index);

/**
 * Frees a range's result.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_range_result_free(struct kv_range_result *result);

/**
 * Begins a scan: the pairs of a range by key, one after the other, all at one revision. It holds
 * nothing between steps, never counts, and keeps no compaction back.
 *
 * Owner: *out is the caller's, to free before or after the database; range and options are not kept.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT (also for sorting by anything but the ascending key, and count_only).
 */
KV_API
kv_code kv_scan_open(const struct kv_db *db,
                     struct kv_key_range range,
                     const struct kv_range_options *options,
                     struct kv_scan **out,
                     struct kv_error **error);

/**
 * The next pair of a scan; *out is NULL at its end.
 *
 * Owner: the scan; the pair lives until the next step or until the scan is freed.
 * Threads: one at a time.
 * Errors: KV_COMPACTED (a compaction has passed the scan's revision), KV_CLOSED, KV_FORKED, KV_CORRUPT,
 * KV_IO. After an error the scan is at its end.
 */
KV_API
kv_code kv_scan_next(struct kv_scan *scan,
                     const struct kv_key_value **out,
                     struct kv_error **error);

/**
 * The revision that a scan reads at; 0 before the first step of a scan of "now", and for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: one at a time.
 * Errors: none.
 */
KV_API int64_t kv_scan_revision(const struct kv_scan *scan);

/**
 * Frees a scan.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_scan_free(struct kv_scan *scan);

/**
 * Serves a store to etcd's clients, in any language, until the server is freed; ready when this
 * returns. Meant above all for tests: `kv serve` is the program for the rest. The store stays usable
 * here and in other processes, and watchers on either side see what the other writes.
 *
 * The address is "HOST:PORT" (port 0 takes a free one), "http://HOST:PORT", "https://HOST:PORT" (TLS),
 * or "unix:///PATH"; kv_server_address tells the one that clients take. Once the database is closed
 * clients get errors, and connections stay until the server is freed.
 *
 * Owner: *out is the caller's, to free before or after the database; address and options are not kept.
 * Threads: any. The server works in threads of its own, which call nothing of the program's.
 * Errors: KV_INVALID_ARGUMENT (an address or a file that cannot be read), KV_BUSY (the address is in use),
 * KV_PERMISSION_DENIED, KV_IO, KV_UNSUPPORTED (a cluster; or a library without its feature etcd), KV_CLOSED,
 * KV_FORKED.
 */
KV_API
kv_code kv_serve(const struct kv_db *db,
                 const char *address,
                 const struct kv_serve_options *options,
                 struct kv_server **out,
                 struct kv_error **error);

/**
 * Where a server listens, as clients take it: "http://127.0.0.1:41234", "unix:///path"; NULL for NULL.
 *
 * Owner: the server; the text lives until it is freed.
 * Threads: any.
 * Errors: none.
 */
KV_API
const char *kv_server_address(const struct kv_server *server);

/**
 * Ends a server: it listens no more, requests under way get their answers if that is quick, streams
 * are cut. The database stays open. In a forked child it only frees the handle.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_server_free(struct kv_server *server);

/**
 * A view of a revision; 0 and below: the current one. It holds nothing and keeps no compaction
 * back: once one has passed it, its calls answer KV_COMPACTED.
 *
 * Owner: *out is the caller's, to free before or after the database.
 * Threads: any.
 * Errors: KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED, KV_FORKED, KV_IO.
 */
KV_API
kv_code kv_snapshot_open(const struct kv_db *db,
                         int64_t revision,
                         struct kv_snapshot **out,
                         struct kv_error **error);

/**
 * The revision of a view; 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_snapshot_revision(const struct kv_snapshot *snapshot);

/**
 * One key as it was; *out is NULL if it was not there.
 *
 * Owner: *out is the caller's, to free with kv_key_value_free.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT, KV_COMPACTED, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_snapshot_get(const struct kv_snapshot *snapshot,
                        struct kv_bytes key,
                        struct kv_key_value **out,
                        struct kv_error **error);

/**
 * The pairs of a range as they were.
 *
 * Owner: *out is the caller's; the range and options are not kept.
 * Threads: any.
 * Errors: as kv_range; KV_INVALID_ARGUMENT too if the options name another revision.
 */
KV_API
kv_code kv_snapshot_range(const struct kv_snapshot *snapshot,
                          struct kv_key_range range,
                          const struct kv_range_options *options,
                          struct kv_range_result **out,
                          struct kv_error **error);

/**
 * Begins a scan of a range as it was.
 *
 * Owner: *out is the caller's, to free before or after the view and the database.
 * Threads: any.
 * Errors: as kv_scan_open; KV_INVALID_ARGUMENT too if the options name another revision.
 */
KV_API
kv_code kv_snapshot_scan(const struct kv_snapshot *snapshot,
                         struct kv_key_range range,
                         const struct kv_range_options *options,
                         struct kv_scan **out,
                         struct kv_error **error);

/**
 * Frees a view.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_snapshot_free(struct kv_snapshot *snapshot);

/**
 * Runs body until what it read is still true when what it wrote is committed, all in one revision.
 * Between tries it waits a short random time that grows. max_retries 0 is the usual number, 64;
 * KV_NO_WAIT tries once, KV_FOREVER never gives up.
 *
 * Owner: payload is only handed on; t is the library's.
 * Threads: any; body runs on the calling thread.
 * Errors: KV_CONFLICT (given up), what body answered, and those of kv_txn_run. A C++ exception must
 * not leave body.
 */
KV_API
kv_code kv_transact(const struct kv_db *db,
                    int64_t max_retries,
                    kv_transact_fn body,
                    void *payload,
                    struct kv_error **error);

/**
 * One key as the transaction sees it, its own writes included; *out is NULL if it is not there.
 *
 * Owner: *out is the caller's, to free with kv_key_value_free.
 * Threads: the callback's.
 * Errors: KV_INVALID_ARGUMENT, KV_COMPACTED, KV_CLOSED, KV_IO: hand them on as the callback's answer.
 */
KV_API
kv_code kv_transaction_get(struct kv_transaction *t,
                           struct kv_bytes key,
                           struct kv_key_value **out,
                           struct kv_error **error);

/**
 * The pairs of a range as the transaction sees them; of the options limit and keys_only only.
 *
 * Owner: *out is the caller's; the range and options are not kept.
 * Threads: the callback's.
 * Errors: as kv_transaction_get.
 */
KV_API
kv_code kv_transaction_range(struct kv_transaction *t,
                             struct kv_key_range range,
                             const struct kv_range_options *options,
                             struct kv_range_result **out,
                             struct kv_error **error);

/**
 * Writes a key when the callback has returned; of the options lease only.
 *
 * Owner: key, value and options are not kept.
 * Threads: the callback's.
 * Errors: KV_INVALID_ARGUMENT.
 */
KV_API
kv_code kv_transaction_put(struct kv_transaction *t,
                           struct kv_bytes key,
                           struct kv_bytes value,
                           const struct kv_put_options *options,
                           struct kv_error **error);

/**
 * Deletes the keys of a range when the callback has returned; *out is how many the transaction sees.
 *
 * Owner: the range is not kept.
 * Threads: the callback's.
 * Errors: as kv_transaction_get.
 */
KV_API
kv_code kv_transaction_delete(struct kv_transaction *t,
                              struct kv_key_range range,
                              int64_t *out,
                              struct kv_error **error);

/**
 * A txn without compares and operations; NULL only if memory is out.
 *
 * Owner: the caller's, to free with kv_txn_free.
 * Threads: any.
 * Errors: none.
 */
KV_API struct kv_txn *kv_txn_new(void);

/**
 * Adds a condition: on the key, or on every key of the range, `target result operand` must hold.
 * The operand is `number`, or `value` for KV_TARGET_VALUE. A key that is not there has the numbers
 * 0, and no comparison with its value holds.
 *
 * Owner: range and value are not kept.
 * Threads: one at a time.
 * Errors: KV_INVALID_ARGUMENT (unknown target or result); the txn is as it was.
 */
KV_API
kv_code kv_txn_compare(struct kv_txn *txn,
                       struct kv_key_range range,
                       int32_t target,
                       int32_t result,
                       int64_t number,
                       struct kv_bytes value,
                       struct kv_error **error);

/**
 * Adds a put to a list (KV_SUCCESS, KV_FAILURE). What is wrong with it is said when the txn runs.
 *
 * Owner: key, value and options are not kept.
 * Threads: one at a time.
 * Errors: KV_INVALID_ARGUMENT; the txn is as it was.
 */
KV_API
kv_code kv_txn_put(struct kv_txn *txn,
                   int32_t branch,
                   struct kv_bytes key,
                   struct kv_bytes value,
                   const struct kv_put_options *options,
                   struct kv_error **error);

/**
 * Adds a range to a list.
 *
 * Owner: range and options are not kept.
 * Threads: one at a time.
 * Errors: KV_INVALID_ARGUMENT; the txn is as it was.
 */
KV_API
kv_code kv_txn_range(struct kv_txn *txn,
                     int32_t branch,
                     struct kv_key_range range,
                     const struct kv_range_options *options,
                     struct kv_error **error);

/**
 * Adds a deletion to a list.
 *
 * Owner: range and options are not kept.
 * Threads: one at a time.
 * Errors: KV_INVALID_ARGUMENT; the txn is as it was.
 */
KV_API
kv_code kv_txn_delete(struct kv_txn *txn,
                      int32_t branch,
                      struct kv_key_range range,
                      const struct kv_delete_options *options,
                      struct kv_error **error);

/**
 * Adds a copy of another txn to a list.
 *
 * Owner: nested stays the caller's and is only read.
 * Threads: one at a time.
 * Errors: KV_INVALID_ARGUMENT, KV_TOO_MANY_OPS (txns nested deeper than any store takes); the txn
 * is as it was.
 */
KV_API
kv_code kv_txn_txn(struct kv_txn *txn,
                   int32_t branch,
                   const struct kv_txn *nested,
                   struct kv_error **error);

/**
 * Says how safe a txn's commit must be: KV_DURABILITY_SYNC or KV_DURABILITY_LAZY; 0 takes the handle's.
 *
 * Owner: nothing changes hands.
 * Threads: one at a time.
 * Errors: KV_INVALID_ARGUMENT.
 */
KV_API
kv_code kv_txn_durability(struct kv_txn *txn,
                          int32_t durability,
                          struct kv_error **error);

/**
 * Compares, then runs one of the two lists in one revision, or nothing at all. The txn can be run
 * again. (It is kv_txn_run, not kv_txn: C has one name space for the type and the call.)
 *
 * Owner: *out, if it is wanted, is the caller's; txn stays the caller's.
 * Threads: any.
 * Errors: as kv_put, and KV_DUPLICATE_KEY, KV_TOO_MANY_OPS, KV_COMPACTED, KV_FUTURE_REVISION.
 */
KV_API
kv_code kv_txn_run(const struct kv_db *db,
                   const struct kv_txn *txn,
                   struct kv_txn_result **out,
                   struct kv_error **error);

/**
 * Frees a txn.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_txn_free(struct kv_txn *txn);

/**
 * Whether the compares held: KV_YES or KV_NO.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int32_t kv_txn_result_succeeded(const struct kv_txn_result *result);

/**
 * The store's revision after a txn; of a nested one 0, as in etcd.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_txn_result_revision(const struct kv_txn_result *result);

/**
 * How many operations ran; each has a response.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API size_t kv_txn_result_len(const struct kv_txn_result *result);

/**
 * The kind of response number index: KV_OP_…; -1 beyond the last.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int32_t kv_txn_result_kind(const struct kv_txn_result *result, size_t index);

/**
 * Response number index if it is a range's, else NULL.
 *
 * Owner: the txn's result; never freed by itself.
 * Threads: any.
 * Errors: none.
 */
KV_API
const struct kv_range_result *kv_txn_result_range(const struct kv_txn_result *result,
                                                  size_t index);

/**
 * Response number index if it is a put's, else NULL.
 *
 * Owner: the txn's result; never freed by itself.
 * Threads: any.
 * Errors: none.
 */
KV_API
const struct kv_put_result *kv_txn_result_put(const struct kv_txn_result *result,
                                              size_t index);

/**
 * Response number index if it is a deletion's, else NULL.
 *
 * Owner: the txn's result; never freed by itself.
 * Threads: any.
 * Errors: none.
 */
KV_API
const struct kv_delete_result *kv_txn_result_delete(const struct kv_txn_result *result,
                                                    size_t index);

/**
 * Response number index if it is a nested txn's, else NULL.
 *
 * Owner: the outer txn's result; never freed by itself.
 * Threads: any.
 * Errors: none.
 */
KV_API
const struct kv_txn_result *kv_txn_result_txn(const struct kv_txn_result *result,
                                              size_t index);

/**
 * Frees a txn's result with all its responses.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_txn_result_free(struct kv_txn_result *result);

/**
 * Follows the events of a range. A watcher is a filter and a position in the log: one that is not
 * read holds nothing back, costs writers nothing, and goes on where it stood.
 *
 * Owner: *out is the caller's, to free before or after the database; range and options are not kept.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT (the range ends at or before its beginning, bad options), KV_COMPACTED
 * (start_revision is negative or below the compacted revision, which the error carries), KV_CLOSED,
 * KV_FORKED, KV_IO.
 */
KV_API
kv_code kv_watch(const struct kv_db *db,
                 struct kv_key_range range,
                 const struct kv_watch_options *options,
                 struct kv_watcher **out,
                 struct kv_error **error);

/**
 * The next batch: one whole revision, none left out and none twice. It waits for it up to
 * timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the default, 0); *out is NULL if that time has
 * passed without one.
 *
 * Owner: *out is the caller's, to free with kv_watch_batch_free, before or after the watcher.
 * Threads: one at a time; a second one is refused. kv_watcher_cancel and kv_close of the database
 * end the waiting at once, from any thread.
 * Errors: KV_COMPACTED (a compaction has passed what was not read; the error's revision is the first
 * that a new watcher can start from), KV_CANCELLED, KV_CLOSED: the watcher has ended, and answers
 * the same again. KV_INVALID_ARGUMENT (another thread reads, bad timeout_ms), KV_FORKED, KV_BUSY,
 * KV_CORRUPT, KV_IO.
 */
KV_API
kv_code kv_watcher_next(struct kv_watcher *watcher,
                        int64_t timeout_ms,
                        struct kv_watch_batch **out,
                        struct kv_error **error);

/**
 * A descriptor for poll, select and epoll: readable (POLLIN) while kv_watcher_next with KV_NO_WAIT
 * may have a batch, or an error that ends the watcher. Once it is, call that until it answers NULL.
 *
 * Owner: the watcher; neither read nor close it. It is closed when the watcher is freed.
 * Threads: any.
 * Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_IO (no descriptor is to be had).
 */
KV_API
kv_code kv_watcher_fd(const struct kv_watcher *watcher,
                      int32_t *fd,
                      struct kv_error **error);

/**
 * Ends a watcher: who waits in it gets KV_CANCELLED, as does every later call. It is still to be
 * freed.
 *
 * Owner: nothing changes hands; NULL is fine.
 * Threads: any, also while another one waits in it.
 * Errors: none.
 */
KV_API void kv_watcher_cancel(const struct kv_watcher *watcher);

/**
 * The start_revision for the next time, to miss nothing and see nothing twice: after the last batch
 * that was handed out, or further if nothing has matched since. 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_watcher_resume_revision(const struct kv_watcher *watcher);

/**
 * Ends and frees a watcher.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it: no thread waits in it any more.
 * Errors: none.
 */
KV_API void kv_watcher_free(struct kv_watcher *watcher);

/**
 * The revision of a batch's events; of one without events, the last that was looked at. 0 for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API int64_t kv_watch_batch_revision(const struct kv_watch_batch *batch);

/**
 * How many events a batch has; 0 for a sign of progress, and for NULL.
 *
 * Owner: nothing changes hands.
 * Threads: any.
 * Errors: none.
 */
KV_API size_t kv_watch_batch_len(const struct kv_watch_batch *batch);

/**
 * The event number index of a batch, in the order they happened in; NULL beyond the last.
 *
 * Owner: the batch; the event lives until it is freed.
 * Threads: any.
 * Errors: none.
 */
KV_API const struct kv_event *kv_watch_batch_at(const struct kv_watch_batch *batch, size_t index);

/**
 * Frees a batch with its events.
 *
 * Owner: takes it; NULL is fine.
 * Threads: the last use of it.
 * Errors: none.
 */
KV_API void kv_watch_batch_free(struct kv_watch_batch *batch);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KV_H */

#ifndef KV_H_HELPERS
#define KV_H_HELPERS

#ifdef __cplusplus
extern "C" {
#endif

/** The bytes of a C string, without its zero. */
static inline kv_bytes kv_str(const char *text) {
    kv_bytes b;
    b.data = (const uint8_t *)text;
    b.len = text ? strlen(text) : 0;
    return b;
}

/** So many bytes from there. */
static inline kv_bytes kv_buf(const void *data, size_t len) {
    kv_bytes b;
    b.data = (const uint8_t *)data;
    b.len = len;
    return b;
}

static inline kv_key_range kv_range_of_kind(int32_t kind, kv_bytes key, kv_bytes end) {
    kv_key_range r;
    r.kind = kind;
    r.key = key;
    r.end = end;
    return r;
}

/** One key. */
static inline kv_key_range kv_key(kv_bytes key) {
    return kv_range_of_kind(KV_RANGE_KEY, key, kv_buf(NULL, 0));
}

/** Every key that begins with these bytes. */
static inline kv_key_range kv_prefix(kv_bytes prefix) {
    return kv_range_of_kind(KV_RANGE_PREFIX, prefix, kv_buf(NULL, 0));
}

/** The keys x with start <= x < end. */
static inline kv_key_range kv_between(kv_bytes start, kv_bytes end) {
    return kv_range_of_kind(KV_RANGE_BETWEEN, start, end);
}

/** Every key from start on. */
static inline kv_key_range kv_from(kv_bytes start) {
    return kv_range_of_kind(KV_RANGE_FROM, start, kv_buf(NULL, 0));
}

/** Every key. */
static inline kv_key_range kv_all(void) {
    return kv_range_of_kind(KV_RANGE_ALL, kv_buf(NULL, 0), kv_buf(NULL, 0));
}

#ifdef __cplusplus
}
#endif

#endif  /* KV_H_HELPERS */
