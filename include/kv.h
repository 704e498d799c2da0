/* libkv: etcd's data model as a library. The C interface.
 *
 * This header is the manual. It is generated from ffi/src: change the comments there.
 *
 * Conventions
 * - Return value: every call that can fail returns a kv_code; 0 (KV_OK) is success. Outputs are
 *   written on success only. An output pointer may be NULL if the output is not needed.
 * - Errors: the last argument receives the error; it may be NULL. Free an error with kv_error_free.
 * - Bytes: kv_bytes are borrowed and need no terminating zero. Data inside a result is owned by the
 *   result and is valid until the result is freed. Every kv_..._free accepts NULL.
 * - Threads: any number of threads may use a handle that is passed as a pointer to const. Other
 *   handles may be used by one thread at a time.
 * - Closing: kv_close and kv_..._free are the last use of a handle. Any order is allowed: objects
 *   that were made from a closed database return KV_CLOSED.
 * - Options: initialise a struct that begins with `size` with its KV_..._INIT. Such structs only
 *   grow at their end. A member that is 0 has its default. NULL instead of a struct: all defaults.
 * - Timeouts are in milliseconds, or KV_NO_WAIT, or KV_FOREVER; 0 is the default of the call.
 * - fork(): handles of the parent return KV_FORKED in the child. The child opens its own.
 * - Requirements: C99 or C++11, Linux with glibc, 64 bits.
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

// The length of a value that does not exist (kv_get_into).
#define KV_NONE ((size_t)-1)

// Initialisers of the option structs: every member at its default.
#ifdef __cplusplus
#define KV_OPTIONS_INIT kv_begin<kv_options>()
#define KV_PUT_OPTIONS_INIT kv_begin<kv_put_options>()
#define KV_DELETE_OPTIONS_INIT kv_begin<kv_delete_options>()
#define KV_RANGE_OPTIONS_INIT kv_begin<kv_range_options>()
#define KV_WATCH_OPTIONS_INIT kv_begin<kv_watch_options>()
#define KV_SERVE_OPTIONS_INIT kv_begin<kv_serve_options>()
#define KV_USER_ADD_OPTIONS_INIT kv_begin<kv_user_add_options>()
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
#define KV_USER_ADD_OPTIONS_INIT { .size = sizeof(kv_user_add_options) }
#endif


// Major version of the library of this header.
#define KV_VERSION_MAJOR 0

// Minor version.
#define KV_VERSION_MINOR 1

// Patch version.
#define KV_VERSION_PATCH 0

// Within one ABI number symbols and layouts only grow; see kv_abi_version.
#define KV_ABI_VERSION 0

// True, for boolean members.
#define KV_YES 1

// False, for boolean members; 0 selects the default.
#define KV_NO (-1)

// A timeout: do not wait.
#define KV_NO_WAIT (-1)

// A timeout or a number of retries: no limit.
#define KV_FOREVER (-2)



// An acknowledged write is on disk. The default.
#define KV_DURABILITY_SYNC 1

// A power cut may lose the last commits but never damages the store.
#define KV_DURABILITY_LAZY 2

// No flush. Chosen when a store is created; a power cut may destroy the store.
#define KV_DURABILITY_NONE 3

// etcd's default limits.
#define KV_LIMITS_ETCD 1

// One key.
#define KV_RANGE_KEY 0

// Every key with a prefix.
#define KV_RANGE_PREFIX 1

// The keys x with key <= x < end.
#define KV_RANGE_BETWEEN 2

// The keys x with key <= x: as --from-key of etcdctl.
#define KV_RANGE_FROM_KEY 3

// Every key.
#define KV_RANGE_ALL 4

// Key order, or ascending for another target.
#define KV_SORT_NONE 0

// Smallest first.
#define KV_SORT_ASCEND 1

// Largest first.
#define KV_SORT_DESCEND 2

// Sort by key.
#define KV_SORT_BY_KEY 0

// Sort by version.
#define KV_SORT_BY_VERSION 1

// Sort by create revision.
#define KV_SORT_BY_CREATE 2

// Sort by mod revision.
#define KV_SORT_BY_MOD 3

// Sort by value.
#define KV_SORT_BY_VALUE 4

// Compare the version.
#define KV_TARGET_VERSION 0

// Compare the create revision.
#define KV_TARGET_CREATE_REVISION 1

// Compare the mod revision.
#define KV_TARGET_MOD_REVISION 2

// Compare the value.
#define KV_TARGET_VALUE 3

// Compare the lease.
#define KV_TARGET_LEASE 4

// ==
#define KV_EQUAL 0

// >
#define KV_GREATER 1

// <
#define KV_LESS 2

// !=
#define KV_NOT_EQUAL 3

// The list of a txn that runs if all compares hold.
#define KV_SUCCESS 0

// The list that runs if at least one compare does not hold.
#define KV_FAILURE 1

// A response or operation of a txn: a range.
#define KV_OP_RANGE 0

// A put.
#define KV_OP_PUT 1

// A deletion.
#define KV_OP_DELETE 2

// A nested txn.
#define KV_OP_TXN 3

// The key was put.
#define KV_EVENT_PUT 0

// The key was deleted.
#define KV_EVENT_DELETE 1

// The quota is used up. Writes that need space fail with KV_FULL; deletions, revocations and
// compactions still work.
#define KV_ALARM_NOSPACE 1

// The data may be damaged. Every write fails with KV_CORRUPT.
#define KV_ALARM_CORRUPT 2

// Gets, ranges and watches.
#define KV_PERMISSION_READ 0

// Puts and deletions.
#define KV_PERMISSION_WRITE 1

// Both.
#define KV_PERMISSION_READWRITE 2

// The current revision.
#define KV_STATUS_REVISION 1

// The compacted revision; absent if the store was never compacted.
#define KV_STATUS_COMPACTED_REVISION 2

// The number of keys.
#define KV_STATUS_KEYS 3

// Bytes that the store's files use on disk.
#define KV_STATUS_BYTES_ON_DISK 4

// Bytes of pages that hold data.
#define KV_STATUS_BYTES_IN_USE 5

// Read transactions that are active or kept for reuse, in all processes.
#define KV_STATUS_READERS 6

// Watchers of this process.
#define KV_STATUS_WATCHERS 7

// The number of leases.
#define KV_STATUS_LEASES 8

// The version of the format on disk.
#define KV_STATUS_FORMAT_VERSION 9

// KV_DURABILITY_… of this handle.
#define KV_STATUS_DURABILITY 10

// The pid of the process that holds the write lock; absent if no process holds it.
#define KV_STATUS_WRITER_PID 11

// How long it has held the write lock, in milliseconds.
#define KV_STATUS_WRITER_HELD_MS 12

// By how many commits the oldest active reader is behind; absent if there is none.
#define KV_STATUS_OLDEST_READER 13

// The version of LMDB in this process, for example "0.9.24".
#define KV_STATUS_LMDB_VERSION 14

// The unique id of this store: 32 hexadecimal digits.
#define KV_STATUS_STORE_ID 15

// The quota for KV_STATUS_BYTES_IN_USE, in bytes; absent if there is no quota.
#define KV_STATUS_MAX_BYTES 16

// A list of alarms; see kv_alarm_list.
typedef struct kv_alarms kv_alarms;

// The result of kv_check.
typedef struct kv_check_report kv_check_report;

// A manual clock: only kv_clock_advance moves it.
typedef struct kv_clock kv_clock;

// An open store or cluster. Any number of threads can share the handle.
typedef struct kv_db kv_db;

// The response of a deletion.
typedef struct kv_delete_response kv_delete_response;

// The keys that differ between two revisions, read step by step.
typedef struct kv_diff kv_diff;

// An election: one leader among all candidates for a name.
typedef struct kv_election kv_election;

// An error: a code, a message, and for some codes the revision, lease or key concerned.
typedef struct kv_error kv_error;

// A list of events that is read step by step.
typedef struct kv_events kv_events;

// A stream of the leaders of an election.
typedef struct kv_leaders kv_leaders;

// A lease that is renewed automatically while this handle and this process live.
typedef struct kv_lease kv_lease;

// A list of lease ids; see kv_lease_list.
typedef struct kv_lease_ids kv_lease_ids;

// A lock with at most one holder among all threads and processes that use the store.
typedef struct kv_lock kv_lock;

// A list of members; see kv_member_list.
typedef struct kv_members kv_members;

// A list of names of users or roles; see kv_user_list.
typedef struct kv_names kv_names;

// A list of permissions; see kv_role_get.
typedef struct kv_permissions kv_permissions;

// The response of a put.
typedef struct kv_put_response kv_put_response;

// The response of a range.
typedef struct kv_range_response kv_range_response;

// A range that is read step by step, at one revision.
typedef struct kv_scan kv_scan;

// A server that serves a store to etcd clients.
typedef struct kv_server kv_server;

// A view of the store at one revision. It is a number, not a transaction.
typedef struct kv_snapshot kv_snapshot;

// The status of a store; see kv_status_get.
typedef struct kv_status kv_status;

// The remaining time of a lease; see kv_lease_time_to_live.
typedef struct kv_time_to_live_response kv_time_to_live_response;

// The view of the callback of kv_transact; valid during one call of it.
typedef struct kv_transaction kv_transaction;

// A txn: compares, and a list of operations for each outcome.
typedef struct kv_txn kv_txn;

// The response of a txn.
typedef struct kv_txn_response kv_txn_response;

// All matching events of one revision.
typedef struct kv_watch_batch kv_watch_batch;

// Follows the events of a range, whichever process writes them.
typedef struct kv_watcher kv_watcher;

// The return value of every call: KV_OK or an error code. The numbers never change.
typedef int32_t kv_code;

// Options of kv_open; initialise with KV_OPTIONS_INIT. Booleans are KV_YES or KV_NO. 0 is the
// default of every member.
typedef struct kv_options {
  // sizeof(kv_options).
  size_t size;
  // KV_NO: return KV_NOT_FOUND instead of creating a store. Default KV_YES.
  int32_t create;
  // KV_YES: writes return KV_READ_ONLY and no file is created.
  int32_t read_only;
  // KV_DURABILITY_…, default KV_DURABILITY_SYNC. A store in memory accepts every durability.
  int32_t durability;
  // KV_LIMITS_ETCD: etcd's default limits.
  int32_t limits;
  // How long a write waits for the write lock; default 5,000; KV_NO_WAIT, KV_FOREVER.
  int64_t busy_timeout_ms;
  // The maximum size of the keys and values of one write, summed; default 64 MiB.
  uint64_t max_request_bytes;
  // The maximum number of operations in each list of a txn; default 100,000.
  uint64_t max_txn_ops;
  // The minimum TTL of a lease; smaller TTLs are raised to it; default 1.
  int64_t lease_ttl_min_seconds;
  // A quota for pages that hold data, in bytes. It is stored in the store and applies to every
  // process; another value replaces it. UINT64_MAX removes it. Writes beyond it return KV_FULL;
  // deletions, revocations and compactions always work.
  uint64_t max_bytes;
  // Compact automatically and keep this number of revisions; 0 is off. Cannot be combined with
  // auto_compaction_seconds.
  uint64_t auto_compaction_revisions;
  // Compact automatically and keep history for this number of seconds; 0 is off.
  uint64_t auto_compaction_seconds;
  // The maximum number of concurrent readers, over all processes; default 1,024, at most
  // 1,048,576.
  uint32_t max_readers;
  // The permissions of created files; default 0600.
  uint32_t mode;
  // KV_YES allows a store on a network file system.
  int32_t allow_network_fs;
  // A manual clock, or NULL for the system's clock.
  const struct kv_clock *clock;
  // Clusters only, as are all members below; a store refuses them, and a cluster refuses those
  // above. The file (PEM) of the trusted certificate authorities; NULL: those that the system
  // trusts.
  const char *tls_ca;
  // The file (PEM) of this client's certificate; needs tls_key.
  const char *tls_cert;
  // The file (PEM) of the private key.
  const char *tls_key;
  // The name that the servers' certificates must contain; NULL: the host of each endpoint.
  const char *tls_server_name;
  // The user name to log in with; needs password.
  const char *user;
  // The password of user.
  const char *password;
  // The timeout of connecting to an endpoint; default 5,000.
  int64_t connect_timeout_ms;
  // The timeout of a request; default 30,000; KV_FOREVER.
  int64_t request_timeout_ms;
  // The idle time after which a connection is probed; default 10,000.
  int64_t keep_alive_ms;
} kv_options;

// Borrowed bytes. They need no terminating zero and may contain any byte.
typedef struct kv_bytes {
  // The first byte; may be NULL if len is 0.
  const uint8_t *data;
  // The number of bytes.
  size_t len;
} kv_bytes;

// Options of kv_put; initialise with KV_PUT_OPTIONS_INIT.
typedef struct kv_put_options {
  // sizeof(kv_put_options).
  size_t size;
  // The lease to attach the key to; 0: none.
  int64_t lease;
  // KV_YES: return the previous pair.
  int32_t prev_kv;
  // KV_YES: keep the current value; the key must exist.
  int32_t ignore_value;
  // KV_YES: keep the current lease; the key must exist.
  int32_t ignore_lease;
  // KV_DURABILITY_…: the durability of this write; the default is the handle's. No effect inside
  // a txn.
  int32_t durability;
} kv_put_options;

// A key with its value and its revisions.
typedef struct kv_key_value {
  // Used by the library.
  uint64_t kind;
  // The key.
  struct kv_bytes key;
  // The value.
  struct kv_bytes value;
  // The revision at which the key was created.
  int64_t create_revision;
  // The revision of the last put.
  int64_t mod_revision;
  // 1 at creation, increased by 1 with each put.
  int64_t version;
  // The lease that the key is attached to, or 0.
  int64_t lease;
} kv_key_value;

// A set of keys; use kv_key, kv_prefix, kv_between, kv_from_key or kv_all.
typedef struct kv_key_range {
  // KV_RANGE_….
  int32_t kind;
  // The key, prefix or start.
  struct kv_bytes key;
  // For KV_RANGE_BETWEEN: the first key after the range.
  struct kv_bytes end;
} kv_key_range;

// Options of kv_delete; initialise with KV_DELETE_OPTIONS_INIT.
typedef struct kv_delete_options {
  // sizeof(kv_delete_options).
  size_t size;
  // KV_YES: return the deleted pairs.
  int32_t prev_kv;
  // KV_DURABILITY_…: the durability of this write; the default is the handle's. No effect inside
  // a txn.
  int32_t durability;
} kv_delete_options;

// Options of kv_range; initialise with KV_RANGE_OPTIONS_INIT.
typedef struct kv_range_options {
  // sizeof(kv_range_options).
  size_t size;
  // The revision to read; 0 or negative: the current one.
  int64_t revision;
  // The maximum number of pairs, after filters and sorting; 0 or negative: all.
  int64_t limit;
  // KV_SORT_…: the sort order; the default is key order, or ascending for another target.
  int32_t sort_order;
  // KV_SORT_BY_…: the field to sort by; the default is the key.
  int32_t sort_target;
  // KV_YES: omit the values.
  int32_t keys_only;
  // KV_YES: return only the count. Limit and filters have no effect.
  int32_t count_only;
  // Only pairs with mod_revision >= this; 0 is off.
  int64_t min_mod_revision;
  // Only pairs with mod_revision <= this; 0 is off.
  int64_t max_mod_revision;
  // Only pairs with create_revision >= this; 0 is off.
  int64_t min_create_revision;
  // Only pairs with create_revision <= this; 0 is off.
  int64_t max_create_revision;
  // KV_YES: allow a cluster's member to return data that may be stale.
  int32_t serializable;
} kv_range_options;

// Reads and writes through t. Any return value but KV_OK ends kv_transact with that code, and
// nothing is written. The callback may run several times: it must have no side effects that cannot
// be repeated.
typedef kv_code (*kv_transact_fn)(struct kv_transaction *t, void *payload);

// Options of kv_watch; initialise with KV_WATCH_OPTIONS_INIT.
typedef struct kv_watch_options {
  // sizeof(kv_watch_options).
  size_t size;
  // The first revision to deliver; 0: only events after this call. It may be in the future.
  int64_t start_revision;
  // KV_YES: return the previous pair with each event.
  int32_t prev_kv;
  // KV_YES: omit puts.
  int32_t no_put;
  // KV_YES: omit deletions.
  int32_t no_delete;
  // KV_YES: after ten minutes without an event, deliver a batch without events whose revision
  // shows the progress.
  int32_t progress;
} kv_watch_options;

// One change of one key.
typedef struct kv_event {
  // KV_EVENT_PUT or KV_EVENT_DELETE.
  int32_t type;
  // For a put, the new pair. For a deletion only key and mod_revision are set.
  struct kv_key_value kv;
  // The pair before the event's revision. NULL if there was none, if it is compacted, or if it
  // was not requested (kv_watch_options.prev_kv; other calls never set it).
  const struct kv_key_value *prev_kv;
} kv_event;

// The difference of one key between two revisions.
typedef struct kv_difference {
  // The key.
  struct kv_bytes key;
  // The pair at the first revision, or NULL.
  const struct kv_key_value *before;
  // The pair at the second revision, or NULL.
  const struct kv_key_value *after;
} kv_difference;

// Options of kv_serve; initialise with KV_SERVE_OPTIONS_INIT.
typedef struct kv_serve_options {
  // sizeof(kv_serve_options).
  size_t size;
  // The file (PEM) of the server's certificate; needed for an https address, with key_file.
  const char *cert_file;
  // The file (PEM) of the private key.
  const char *key_file;
  // The file (PEM) of the certificate authorities of client certificates.
  const char *trusted_ca_file;
  // KV_YES refuses clients without a certificate from trusted_ca_file.
  int32_t client_cert_auth;
  // The largest write that clients may send, counted as by kv_options.max_request_bytes; 0: the
  // limit of the database. A limit above that one has no effect on a write. A message may be
  // 512 KiB larger.
  uint64_t max_request_bytes;
  // The maximum number of operations in each list of a client's txn; 0: the limit of the
  // database. A limit above that one has no effect.
  uint64_t max_txn_ops;
  // The tokens of users that log in; NULL: "simple", which the server keeps in memory. A text
  // like "jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m" signs them. "": no tokens,
  // only client certificates.
  const char *auth_token;
  // How long a simple token is valid after its last use, in seconds; 0: 300.
  uint64_t auth_token_ttl_seconds;
  // The cost of the hashes of new passwords, 4 to 31; 0: 10. Each step doubles the time.
  uint32_t bcrypt_cost;
} kv_serve_options;

// An alarm that is active, or that was just disarmed.
typedef struct kv_alarm {
  // The member id. A store's own member id is the second half of its store id.
  uint64_t member;
  // KV_ALARM_….
  int32_t kind;
} kv_alarm;

// One problem that kv_check found.
typedef struct kv_problem {
  // The invariant of core/DESIGN.md that is broken: "I2", …
  const char *invariant;
  // The key concerned; no bytes if there is none.
  struct kv_bytes key;
  // The revision concerned; 0, which is no revision, if there is none.
  int64_t revision;
  // A description of the problem.
  const char *message;
} kv_problem;

// A member of a cluster.
typedef struct kv_member {
  // Its id.
  uint64_t id;
  // Its name; "" until it has started, and for a store.
  const char *name;
  // The URLs at which the other members reach it.
  const char *const *peer_urls;
  // Their number.
  size_t peer_urls_len;
  // The URLs at which clients reach it.
  const char *const *client_urls;
  // Their number; 0 until it has started.
  size_t client_urls_len;
  // KV_YES for a learner: it receives every write and has no vote. Otherwise KV_NO.
  int32_t is_learner;
} kv_member;

// Options of kv_user_add; initialise with KV_USER_ADD_OPTIONS_INIT.
typedef struct kv_user_add_options {
  // sizeof(kv_user_add_options).
  size_t size;
  // KV_YES: the user cannot log in with a password, only with a client certificate. The password
  // must be empty.
  int32_t no_password;
} kv_user_add_options;

// A permission of a role.
typedef struct kv_permission {
  // KV_PERMISSION_….
  int32_t type;
  // The keys. A prefix is KV_RANGE_BETWEEN here: from the prefix to the first key after it.
  struct kv_key_range range;
} kv_permission;

// Success.
#define KV_OK 0

// An empty key, an invalid option, a value with ignore_value, and the like.
#define KV_INVALID_ARGUMENT 1

// ignore_value or ignore_lease on a missing key.
#define KV_KEY_NOT_FOUND 2

// A txn would write one key twice.
#define KV_DUPLICATE_KEY 3

// A txn's list is longer than max_txn_ops.
#define KV_TOO_MANY_OPS 4

// The request is larger than max_request_bytes, or a key longer than a store can hold.
#define KV_TOO_LARGE 5

// The revision has been compacted; the error's revision is the compacted revision.
#define KV_COMPACTED 6

// The revision has not been written; the error's revision is the current revision.
#define KV_FUTURE_REVISION 7

// No such lease.
#define KV_LEASE_NOT_FOUND 8

// The lease id is in use.
#define KV_LEASE_EXISTS 9

// A lease, lock or election handle lost its lease.
#define KV_LEASE_LOST 10

// A transaction with retries gave up after its last retry.
#define KV_CONFLICT 11

// The caller withdrew the request before it began, or ended the wait.
#define KV_CANCELLED 12

// The timeout passed before the request began, or before the wait ended.
#define KV_TIMEOUT 13

// The handle, or the parent it was made from, is closed.
#define KV_CLOSED 14

// The handle was opened before fork(); open the store again in the child.
#define KV_FORKED 15

// The write lock is held, or exclusive use is not possible; the message names the holder.
#define KV_BUSY 16

// The quota or the disk is full; nothing was written.
#define KV_FULL 17

// The handle or the medium is read-only, or the store is poisoned by a failed sync.
#define KV_READ_ONLY 18

// The operating system reported an error.
#define KV_IO 19

// The store's bytes are damaged.
#define KV_CORRUPT 20

// A newer format, another page size or ABI, an unexpected LMDB.
#define KV_INCOMPATIBLE 21

// The path is a file or a directory that is not a store.
#define KV_NOT_A_STORE 22

// There is no store at that path.
#define KV_NOT_FOUND 23

// The store exists already.
#define KV_EXISTS 24

// Not possible with this engine or build.
#define KV_UNSUPPORTED 25

// No endpoint of the cluster is reachable; the message names each with its reason.
#define KV_UNAVAILABLE 26

// The token, the user or the password is missing or invalid.
#define KV_UNAUTHENTICATED 27

// Refused by file permissions or by auth.
#define KV_PERMISSION_DENIED 28

// Not the leader; a user or role is missing or exists; another refusal of a cluster.
#define KV_FAILED_PRECONDITION 29

// A defect of libkv; never expected.
#define KV_INTERNAL 30

// The write may or may not have happened; the message explains how to find out.
#define KV_UNKNOWN_OUTCOME 31

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Opens the store in a directory and creates it if there is none. ":memory:" is a new store in
// memory. A "file:" URL is a path. Any number of processes can have one store open. Handles of one
// process on one store share one environment.
//
// "etcd://HOST:PORT,HOST:PORT", "http://..." and "https://..." (TLS) open an etcd cluster, or a
// store that kv_serve or `kv serve` serves. Every call then uses the network. It may also return
// KV_UNAVAILABLE, KV_TIMEOUT, KV_UNAUTHENTICATED, KV_PERMISSION_DENIED, and KV_UNSUPPORTED for
// calls that etcd does not have. A library built without the feature etcd returns KV_UNSUPPORTED
// here.
//
// Owner: *out is owned by the caller, to close with kv_close; target and options are not kept.
// Threads: any.
// Errors: KV_NOT_FOUND, KV_NOT_A_STORE, KV_INCOMPATIBLE, KV_BUSY, KV_PERMISSION_DENIED,
// KV_INVALID_ARGUMENT, KV_UNSUPPORTED, KV_READ_ONLY, KV_FULL, KV_IO. For a cluster also
// KV_UNAVAILABLE, which names each endpoint with its reason, and KV_UNAUTHENTICATED. On error
// nothing on disk is changed.
KV_API
kv_code kv_open(const char *target,
                const struct kv_options *options,
                struct kv_db **out,
                struct kv_error **error);

// Closes a handle. Scans, snapshots, watchers, leases, locks and other objects that were made from
// it return KV_CLOSED from then on; the caller must still free them. A thread that waits in one of
// them gets KV_CLOSED at once. The leases of these objects are revoked, which releases their
// locks. If that is not possible in time they end with their TTL. The store closes with its last
// handle.
//
// Owner: frees db; NULL is allowed.
// Threads: the last use of db; calls on db itself in other threads must have ended.
// Errors: none.
KV_API void kv_close(struct kv_db *db);

// Writes one key. The store's revision increases by 1.
//
// Owner: *out, if not NULL, is owned by the caller; key, value and options are not kept.
// Threads: any; concurrent writes share a commit.
// Errors: KV_INVALID_ARGUMENT, KV_TOO_LARGE, KV_KEY_NOT_FOUND (ignore_… on a missing key),
// KV_LEASE_NOT_FOUND, KV_READ_ONLY, KV_BUSY, KV_FULL, KV_IO, KV_CLOSED, KV_FORKED: nothing was
// written. KV_UNKNOWN_OUTCOME: the write may or may not have happened.
KV_API
kv_code kv_put(const struct kv_db *db,
               struct kv_bytes key,
               struct kv_bytes value,
               const struct kv_put_options *options,
               struct kv_put_response **out,
               struct kv_error **error);

// The store's revision after a put; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_put_response_revision(const struct kv_put_response *result);

// The previous pair, or NULL if it was not requested or the key did not exist.
//
// Owner: the result; the pair is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API const struct kv_key_value *kv_put_response_prev_kv(const struct kv_put_response *result);

// Frees the result of a put.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_put_response_free(struct kv_put_response *result);

// Reads one key at a revision (0 or negative: the current one). *out is NULL if the key does not
// exist, which is not an error.
//
// Owner: *out is owned by the caller, to free with kv_key_value_free.
// Threads: any; a read never waits for a writer.
// Errors: KV_INVALID_ARGUMENT (empty key), KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED, KV_FORKED,
// KV_CORRUPT, KV_IO.
KV_API
kv_code kv_get(const struct kv_db *db,
               struct kv_bytes key,
               int64_t revision,
               struct kv_key_value **out,
               struct kv_error **error);

// Copies the current value of one key into the caller's buffer, without allocating memory. *len is
// the length of the value, or KV_NONE if the key does not exist. If the buffer is too small
// nothing is copied and *len is the required size.
//
// Owner: buffer is owned by the caller.
// Threads: any; a read never waits for a writer.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_get_into(const struct kv_db *db,
                    struct kv_bytes key,
                    uint8_t *buffer,
                    size_t buffer_size,
                    size_t *len,
                    struct kv_error **error);

// Frees a pair returned by kv_get. Pairs that belong to a result are not freed by it.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_key_value_free(struct kv_key_value *kv);

// Deletes the keys of a range. The revision increases by 1 if at least one key existed.
//
// Owner: *out, if not NULL, is owned by the caller; the range and options are not kept.
// Threads: any.
// Errors: those of kv_put.
KV_API
kv_code kv_delete(const struct kv_db *db,
                  struct kv_key_range range,
                  const struct kv_delete_options *options,
                  struct kv_delete_response **out,
                  struct kv_error **error);

// The store's revision after a deletion; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_delete_response_revision(const struct kv_delete_response *result);

// The number of deleted keys; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_delete_response_deleted(const struct kv_delete_response *result);

// The deleted pair at index, in key order, if prev_kv was set; NULL beyond the last.
//
// Owner: the result; the pair is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API
const struct kv_key_value *kv_delete_response_prev_kv(const struct kv_delete_response *result,
                                                      size_t index);

// Frees the result of a deletion.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_delete_response_free(struct kv_delete_response *result);

// Compacts: removes history below a revision. Reads below it return KV_COMPACTED from then on.
// With physical KV_YES the call returns after the space is reusable; otherwise that happens in the
// background. *out is the store's revision, which does not change.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_COMPACTED (the revision is not above the compacted one), KV_FUTURE_REVISION, and
// those of kv_put.
KV_API
kv_code kv_compact(const struct kv_db *db,
                   int64_t revision,
                   int32_t physical,
                   int64_t *out,
                   struct kv_error **error);

// The code of an error; KV_OK for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API kv_code kv_error_code(const struct kv_error *error);

// The message of an error as UTF-8 with a terminating zero. It names the key, revision or path.
// Empty for NULL.
//
// Owner: the error; the text is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API const char *kv_error_message(const struct kv_error *error);

// The revision of an error: the compacted one for KV_COMPACTED, the current one for
// KV_FUTURE_REVISION. KV_YES and *out, or KV_NO if the error has none.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int32_t kv_error_revision(const struct kv_error *error, int64_t *out);

// The lease of an error: KV_LEASE_NOT_FOUND, KV_LEASE_EXISTS, KV_LEASE_LOST. KV_YES and *out, or
// KV_NO if the error has none.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int32_t kv_error_lease(const struct kv_error *error, int64_t *out);

// The key of an error: KV_KEY_NOT_FOUND, KV_DUPLICATE_KEY, and requests that are refused for one
// of their keys. KV_YES and *out, or KV_NO if the error has none.
//
// Owner: the error; the key is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API int32_t kv_error_key(const struct kv_error *error, struct kv_bytes *out);

// Frees an error.
//
// Owner: frees the error; NULL is allowed.
// Threads: any.
// Errors: none.
KV_API void kv_error_free(struct kv_error *error);

// The stable name of a code, for example "compacted"; "ok" for KV_OK, "unknown" for other numbers.
//
// Owner: the library; the text is valid until the program ends.
// Threads: any.
// Errors: none.
KV_API const char *kv_strerror(kv_code code);

// Reads the pairs of a range at one revision, in one response.
//
// Owner: *out is owned by the caller; the range and options are not kept.
// Threads: any; a read never waits for a writer.
// Errors: KV_INVALID_ARGUMENT (empty key, unknown sort), KV_COMPACTED, KV_FUTURE_REVISION,
// KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_range(const struct kv_db *db,
                 struct kv_key_range range,
                 const struct kv_range_options *options,
                 struct kv_range_response **out,
                 struct kv_error **error);

// The store's current revision when the range was read, also if an older one was requested; 0 for
// NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_range_response_revision(const struct kv_range_response *result);

// The number of keys in the range at that revision, regardless of limit and filters; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_range_response_count(const struct kv_range_response *result);

// KV_YES if the limit omitted pairs, otherwise KV_NO.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int32_t kv_range_response_more(const struct kv_range_response *result);

// The number of returned pairs; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_range_response_len(const struct kv_range_response *result);

// The pair at index; NULL beyond the last.
//
// Owner: the result; the pair is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API
const struct kv_key_value *kv_range_response_at(const struct kv_range_response *result,
                                                size_t index);

// Frees the result of a range.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_range_response_free(struct kv_range_response *result);

// Begins a scan: the pairs of a range in key order, step by step, all at one revision. It holds no
// transaction between steps, does not count, and does not delay compaction.
//
// Owner: *out is owned by the caller, to free before or after the database; range and options are
// not kept.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT (also for a sort order other than ascending by key, and for
// count_only).
KV_API
kv_code kv_scan_open(const struct kv_db *db,
                     struct kv_key_range range,
                     const struct kv_range_options *options,
                     struct kv_scan **out,
                     struct kv_error **error);

// Returns the next pair of a scan; *out is NULL at the end.
//
// Owner: the scan; the pair is valid until the next step or until the scan is freed.
// Threads: one at a time.
// Errors: KV_COMPACTED (a compaction passed the scan's revision), KV_CLOSED, KV_FORKED,
// KV_CORRUPT, KV_IO. After an error the scan has ended.
KV_API
kv_code kv_scan_next(struct kv_scan *scan,
                     const struct kv_key_value **out,
                     struct kv_error **error);

// The revision that a scan reads; 0 before the first step of a scan of the current revision, and
// for NULL.
//
// Owner: no ownership changes.
// Threads: one at a time.
// Errors: none.
KV_API int64_t kv_scan_revision(const struct kv_scan *scan);

// Frees a scan.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_scan_free(struct kv_scan *scan);

// Opens a view of a revision (0 or negative: the current one). It holds no transaction and does
// not delay compaction: after a compaction passed it, its calls return KV_COMPACTED.
//
// Owner: *out is owned by the caller, to free before or after the database.
// Threads: any.
// Errors: KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED, KV_FORKED, KV_IO.
KV_API
kv_code kv_snapshot_open(const struct kv_db *db,
                         int64_t revision,
                         struct kv_snapshot **out,
                         struct kv_error **error);

// The revision of a view; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_snapshot_revision(const struct kv_snapshot *snapshot);

// Reads one key at the view's revision; *out is NULL if the key did not exist.
//
// Owner: *out is owned by the caller, to free with kv_key_value_free.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_COMPACTED, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_snapshot_get(const struct kv_snapshot *snapshot,
                        struct kv_bytes key,
                        struct kv_key_value **out,
                        struct kv_error **error);

// Reads the pairs of a range at the view's revision.
//
// Owner: *out is owned by the caller; the range and options are not kept.
// Threads: any.
// Errors: those of kv_range; KV_INVALID_ARGUMENT also if the options name another revision.
KV_API
kv_code kv_snapshot_range(const struct kv_snapshot *snapshot,
                          struct kv_key_range range,
                          const struct kv_range_options *options,
                          struct kv_range_response **out,
                          struct kv_error **error);

// Begins a scan of a range at the view's revision.
//
// Owner: *out is owned by the caller, to free before or after the view and the database.
// Threads: any.
// Errors: those of kv_scan_open; KV_INVALID_ARGUMENT also if the options name another revision.
KV_API
kv_code kv_snapshot_scan(const struct kv_snapshot *snapshot,
                         struct kv_key_range range,
                         const struct kv_range_options *options,
                         struct kv_scan **out,
                         struct kv_error **error);

// Frees a view.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_snapshot_free(struct kv_snapshot *snapshot);

// Creates an empty txn; NULL only if out of memory.
//
// Owner: owned by the caller, to free with kv_txn_free.
// Threads: any.
// Errors: none.
KV_API struct kv_txn *kv_txn_new(void);

// Adds a compare: `target result operand` must hold for the key, or for every key of the range.
// The operand is `number`, or `value` for KV_TARGET_VALUE. For a missing key the numbers are 0,
// and no compare of its value holds.
//
// Owner: range and value are not kept.
// Threads: one at a time.
// Errors: KV_INVALID_ARGUMENT (unknown target or result); the txn is unchanged.
KV_API
kv_code kv_txn_compare(struct kv_txn *txn,
                       struct kv_key_range range,
                       int32_t target,
                       int32_t result,
                       int64_t number,
                       struct kv_bytes value,
                       struct kv_error **error);

// Adds a put to a list (KV_SUCCESS, KV_FAILURE). Its arguments are checked when the txn runs.
//
// Owner: key, value and options are not kept.
// Threads: one at a time.
// Errors: KV_INVALID_ARGUMENT; the txn is unchanged.
KV_API
kv_code kv_txn_put(struct kv_txn *txn,
                   int32_t branch,
                   struct kv_bytes key,
                   struct kv_bytes value,
                   const struct kv_put_options *options,
                   struct kv_error **error);

// Adds a range to a list.
//
// Owner: range and options are not kept.
// Threads: one at a time.
// Errors: KV_INVALID_ARGUMENT; the txn is unchanged.
KV_API
kv_code kv_txn_range(struct kv_txn *txn,
                     int32_t branch,
                     struct kv_key_range range,
                     const struct kv_range_options *options,
                     struct kv_error **error);

// Adds a deletion to a list.
//
// Owner: range and options are not kept.
// Threads: one at a time.
// Errors: KV_INVALID_ARGUMENT; the txn is unchanged.
KV_API
kv_code kv_txn_delete(struct kv_txn *txn,
                      int32_t branch,
                      struct kv_key_range range,
                      const struct kv_delete_options *options,
                      struct kv_error **error);

// Adds a copy of another txn to a list.
//
// Owner: the caller still owns nested.
// Threads: one at a time.
// Errors: KV_INVALID_ARGUMENT, KV_TOO_MANY_OPS (nested deeper than any store allows); the txn is
// unchanged.
KV_API
kv_code kv_txn_txn(struct kv_txn *txn,
                   int32_t branch,
                   const struct kv_txn *nested,
                   struct kv_error **error);

// Sets the durability of a txn's commit: KV_DURABILITY_SYNC or KV_DURABILITY_LAZY; 0 uses the
// handle's.
//
// Owner: no ownership changes.
// Threads: one at a time.
// Errors: KV_INVALID_ARGUMENT.
KV_API kv_code kv_txn_durability(struct kv_txn *txn, int32_t durability, struct kv_error **error);

// Evaluates the compares, then runs one of the two lists in one revision, or nothing at all. The
// txn can run again. (The name is kv_txn_run because kv_txn is the type.)
//
// Owner: *out, if not NULL, is owned by the caller; the caller still owns txn.
// Threads: any.
// Errors: those of kv_put, and KV_DUPLICATE_KEY, KV_TOO_MANY_OPS, KV_COMPACTED,
// KV_FUTURE_REVISION.
KV_API
kv_code kv_txn_run(const struct kv_db *db,
                   const struct kv_txn *txn,
                   struct kv_txn_response **out,
                   struct kv_error **error);

// Frees a txn.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_txn_free(struct kv_txn *txn);

// KV_YES if the compares held, otherwise KV_NO.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int32_t kv_txn_response_succeeded(const struct kv_txn_response *result);

// The store's revision after a txn; 0 for a nested one, as in etcd.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_txn_response_revision(const struct kv_txn_response *result);

// The number of responses: one for each operation that ran.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_txn_response_len(const struct kv_txn_response *result);

// The kind of the response at index: KV_OP_…; -1 beyond the last.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int32_t kv_txn_response_kind(const struct kv_txn_response *result, size_t index);

// The response at index if it is of a range, otherwise NULL.
//
// Owner: the txn's result; never freed separately.
// Threads: any.
// Errors: none.
KV_API
const struct kv_range_response *kv_txn_response_range(const struct kv_txn_response *result,
                                                      size_t index);

// The response at index if it is of a put, otherwise NULL.
//
// Owner: the txn's result; never freed separately.
// Threads: any.
// Errors: none.
KV_API
const struct kv_put_response *kv_txn_response_put(const struct kv_txn_response *result,
                                                  size_t index);

// The response at index if it is of a deletion, otherwise NULL.
//
// Owner: the txn's result; never freed separately.
// Threads: any.
// Errors: none.
KV_API
const struct kv_delete_response *kv_txn_response_delete(const struct kv_txn_response *result,
                                                        size_t index);

// The response at index if it is of a nested txn, otherwise NULL.
//
// Owner: the outer txn's result; never freed separately.
// Threads: any.
// Errors: none.
KV_API
const struct kv_txn_response *kv_txn_response_txn(const struct kv_txn_response *result,
                                                  size_t index);

// Frees the result of a txn with all its responses.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_txn_response_free(struct kv_txn_response *result);

// Runs body, then commits its writes in one revision if nothing it read has changed; otherwise
// runs body again. Between tries it waits a short random time that grows. max_retries 0 is the
// default, 64; KV_NO_WAIT tries once; KV_FOREVER never gives up.
//
// Owner: payload is passed to body unchanged; t is owned by the library.
// Threads: any; body runs on the calling thread.
// Errors: KV_CONFLICT (all retries used), the code that body returned, and those of kv_txn_run. A
// C++ exception must not leave body.
KV_API
kv_code kv_transact(const struct kv_db *db,
                    int64_t max_retries,
                    kv_transact_fn body,
                    void *payload,
                    struct kv_error **error);

// Reads one key as the transaction sees it, including its own writes; *out is NULL if it does not
// exist.
//
// Owner: *out is owned by the caller, to free with kv_key_value_free.
// Threads: the callback's.
// Errors: KV_INVALID_ARGUMENT, KV_COMPACTED, KV_CLOSED, KV_IO: return them from the callback.
KV_API
kv_code kv_transaction_get(struct kv_transaction *t,
                           struct kv_bytes key,
                           struct kv_key_value **out,
                           struct kv_error **error);

// Reads the pairs of a range as the transaction sees them; only the options limit and keys_only
// are allowed.
//
// Owner: *out is owned by the caller; the range and options are not kept.
// Threads: the callback's.
// Errors: those of kv_transaction_get.
KV_API
kv_code kv_transaction_range(struct kv_transaction *t,
                             struct kv_key_range range,
                             const struct kv_range_options *options,
                             struct kv_range_response **out,
                             struct kv_error **error);

// Writes a key after the callback returned; only the option lease is allowed.
//
// Owner: key, value and options are not kept.
// Threads: the callback's.
// Errors: KV_INVALID_ARGUMENT.
KV_API
kv_code kv_transaction_put(struct kv_transaction *t,
                           struct kv_bytes key,
                           struct kv_bytes value,
                           const struct kv_put_options *options,
                           struct kv_error **error);

// Deletes the keys of a range after the callback returned; *out is the number of keys that the
// transaction sees.
//
// Owner: the range is not kept.
// Threads: the callback's.
// Errors: those of kv_transaction_get.
KV_API
kv_code kv_transaction_delete(struct kv_transaction *t,
                              struct kv_key_range range,
                              int64_t *out,
                              struct kv_error **error);

// Creates a watcher: follows the events of a range. A watcher stores a filter and a position. An
// unread watcher delays nothing, costs writers nothing, and continues from its position.
//
// Owner: *out is owned by the caller, to free before or after the database; range and options are
// not kept.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT (the range is empty, invalid options), KV_COMPACTED (start_revision
// is negative or below the compacted revision, which the error contains), KV_CLOSED, KV_FORKED,
// KV_IO.
KV_API
kv_code kv_watch(const struct kv_db *db,
                 struct kv_key_range range,
                 const struct kv_watch_options *options,
                 struct kv_watcher **out,
                 struct kv_error **error);

// Returns the next batch: one complete revision, without gaps or repetitions. It waits up to
// timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the default, 0); *out is NULL if the time
// passed.
//
// Owner: *out is owned by the caller, to free with kv_watch_batch_free, before or after the
// watcher.
// Threads: one at a time; a second concurrent call returns KV_INVALID_ARGUMENT. kv_watcher_cancel
// and kv_close of the database end the wait at once, from any thread.
// Errors: KV_COMPACTED (a compaction passed unread events; the error's revision is the first that
// a new watcher can start from), KV_CANCELLED, KV_CLOSED: the watcher has ended and returns the
// same error again. KV_INVALID_ARGUMENT (another thread reads, invalid timeout_ms), KV_FORKED,
// KV_BUSY, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_watcher_next(struct kv_watcher *watcher,
                        int64_t timeout_ms,
                        struct kv_watch_batch **out,
                        struct kv_error **error);

// A descriptor for poll, select and epoll. It is readable (POLLIN) while kv_watcher_next with
// KV_NO_WAIT may have a batch, or an error that ends the watcher. Then call kv_watcher_next until
// it returns NULL.
//
// Owner: the watcher; do not read or close it. It is closed when the watcher is freed.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_IO (no descriptor is available).
KV_API
kv_code kv_watcher_fd(const struct kv_watcher *watcher,
                      int32_t *fd,
                      struct kv_error **error);

// Ends a watcher: a thread that waits in it gets KV_CANCELLED, as does every later call. It must
// still be freed.
//
// Owner: no ownership changes; NULL is allowed.
// Threads: any, also while another thread waits in it.
// Errors: none.
KV_API void kv_watcher_cancel(const struct kv_watcher *watcher);

// The start_revision of a new watcher that continues without a gap or a repetition: after the last
// returned batch, or later if nothing has matched since. 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_watcher_resume_revision(const struct kv_watcher *watcher);

// Ends and frees a watcher.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it; no thread may wait in it.
// Errors: none.
KV_API void kv_watcher_free(struct kv_watcher *watcher);

// The revision of a batch's events; for a batch without events, the last revision that was
// examined. 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_watch_batch_revision(const struct kv_watch_batch *batch);

// The number of events in a batch; 0 for a progress notification, and for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_watch_batch_len(const struct kv_watch_batch *batch);

// The event at index, in order; NULL beyond the last.
//
// Owner: the batch; the event is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API const struct kv_event *kv_watch_batch_at(const struct kv_watch_batch *batch, size_t index);

// Frees a batch with its events.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_watch_batch_free(struct kv_watch_batch *batch);

// Grants a lease of ttl_seconds (raised to the handle's lease_ttl_min_seconds) with this id. With
// id 0 the store chooses a positive id. Attach keys with kv_put_options.lease; they are deleted
// with the lease. This lease is not renewed automatically: kv_lease_open grants one that is.
//
// Owner: no ownership changes; *granted_id and *granted_ttl_seconds are the granted values.
// Threads: any.
// Errors: KV_LEASE_EXISTS, KV_INVALID_ARGUMENT (a TTL over 9,000,000,000 s), and those of kv_put.
KV_API
kv_code kv_lease_grant(const struct kv_db *db,
                       int64_t ttl_seconds,
                       int64_t id,
                       int64_t *granted_id,
                       int64_t *granted_ttl_seconds,
                       struct kv_error **error);

// Revokes a lease. Its keys are deleted in one revision, in ascending key order. *revision is the
// store's revision afterwards; it is unchanged if the lease had no keys.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_LEASE_NOT_FOUND, and those of kv_put.
KV_API
kv_code kv_lease_revoke(const struct kv_db *db,
                        int64_t id,
                        int64_t *revision,
                        struct kv_error **error);

// Renews a lease once, to its full TTL. It takes no lock and writes nothing to disk. *ttl_seconds
// is that TTL, or 0 if the lease does not exist or has expired, which is not an error.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_READ_ONLY, KV_CLOSED, KV_FORKED, KV_IO.
KV_API
kv_code kv_lease_keep_alive(const struct kv_db *db,
                            int64_t id,
                            int64_t *ttl_seconds,
                            struct kv_error **error);

// Returns the remaining time of a lease and, with keys KV_YES, its attached keys. A lease that
// does not exist is not an error: kv_time_to_live_response_seconds is -1.
//
// Owner: *out is owned by the caller, to free with kv_time_to_live_response_free.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_lease_time_to_live(const struct kv_db *db,
                              int64_t id,
                              int32_t keys,
                              struct kv_time_to_live_response **out,
                              struct kv_error **error);

// The remaining time in whole seconds, rounded down; -1 if the lease does not exist, and for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_time_to_live_response_seconds(const struct kv_time_to_live_response *result);

// The granted TTL in seconds; 0 if the lease does not exist, and for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API
int64_t kv_time_to_live_response_granted_seconds(const struct kv_time_to_live_response *result);

// The number of attached keys, if they were requested; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_time_to_live_response_len(const struct kv_time_to_live_response *result);

// The attached key at index, in ascending order; no bytes beyond the last.
//
// Owner: the result; the key is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API
struct kv_bytes kv_time_to_live_response_key(const struct kv_time_to_live_response *result,
                                             size_t index);

// Frees the result of kv_lease_time_to_live.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_time_to_live_response_free(struct kv_time_to_live_response *result);

// Returns the ids of all leases, sorted by expiry time.
//
// Owner: *out is owned by the caller, to free with kv_lease_ids_free.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_lease_list(const struct kv_db *db,
                      struct kv_lease_ids **out,
                      struct kv_error **error);

// The number of leases; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_lease_ids_len(const struct kv_lease_ids *ids);

// The id at index, sorted by expiry time; 0, which is no lease, beyond the last.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_lease_ids_at(const struct kv_lease_ids *ids, size_t index);

// Frees the result of kv_lease_list.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_lease_ids_free(struct kv_lease_ids *ids);

// Grants a lease of ttl_seconds that is renewed automatically, and revoked when its handle is
// closed or freed. With end_with_process KV_YES it also ends within 500 ms after this process
// ends; otherwise it then ends with its TTL.
//
// Owner: *out is owned by the caller, to free before or after the database.
// Threads: any.
// Errors: those of kv_lease_grant.
KV_API
kv_code kv_lease_open(const struct kv_db *db,
                      int64_t ttl_seconds,
                      int32_t end_with_process,
                      struct kv_lease **out,
                      struct kv_error **error);

// The id of a lease, for kv_put_options.lease; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_lease_id(const struct kv_lease *lease);

// The granted TTL in seconds; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int64_t kv_lease_ttl_seconds(const struct kv_lease *lease);

// The whole seconds until the lease would expire without further renewal; 0 if it no longer
// exists.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_lease_remaining(const struct kv_lease *lease,
                           int64_t *seconds,
                           struct kv_error **error);

// KV_YES if the lease is known to have ended although this handle was not closed: it expired (the
// process was stopped for longer than the TTL) or was revoked elsewhere. Otherwise KV_NO.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int32_t kv_lease_lost(const struct kv_lease *lease);

// Stops renewing a lease and revokes it, which deletes its keys. Closing a second time, or closing
// a lost lease, is allowed. The handle must still be freed; kv_lease_free alone revokes too, but
// does not wait.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: those of kv_lease_revoke except KV_LEASE_NOT_FOUND. The lease then ends with its TTL.
KV_API kv_code kv_lease_close(const struct kv_lease *lease, struct kv_error **error);

// Frees a lease's handle. A lease that is not closed is revoked soon after.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_lease_free(struct kv_lease *lease);

// Opens a lock; it is not acquired yet. The keys are those of etcd's lock service: NAME/LEASE,
// with the lease in hexadecimal.
//
// Waiters acquire the lock in the order in which they came. It is released by kv_lock_release, and
// within 500 ms after its process ends. A holder that is stopped for longer than ttl_seconds loses
// the lock without noticing: fence the protected resource with kv_lock_revision.
//
// Owner: *out is owned by the caller, to free before or after the database; name is not kept.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT (an empty name), KV_CLOSED, KV_FORKED.
KV_API
kv_code kv_lock_open(const struct kv_db *db,
                     struct kv_bytes name,
                     int64_t ttl_seconds,
                     struct kv_lock **out,
                     struct kv_error **error);

// Waits until the lock is acquired, up to timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the
// default, 0). Does nothing if it is already held.
//
// Owner: no ownership changes.
// Threads: one at a time; a second concurrent call returns KV_INVALID_ARGUMENT. To contend, two
// threads open a lock each.
// Errors: KV_TIMEOUT, which names the holder's key; KV_LEASE_LOST; KV_INVALID_ARGUMENT (also for a
// TTL over 9,000,000,000 s), and those of kv_put. After an error it is in no queue.
KV_API kv_code kv_lock_acquire(struct kv_lock *lock, int64_t timeout_ms, struct kv_error **error);

// Acquires the lock if it is free and has no waiters. *held is KV_YES if it is held now, otherwise
// KV_NO.
//
// Owner: no ownership changes.
// Threads: one at a time.
// Errors: those of kv_lock_acquire except KV_TIMEOUT.
KV_API kv_code kv_lock_try_acquire(struct kv_lock *lock, int32_t *held, struct kv_error **error);

// Releases the lock for the next waiter; does nothing if it is not held. The handle can acquire it
// again.
//
// Owner: no ownership changes.
// Threads: one at a time.
// Errors: those of kv_lease_revoke except KV_LEASE_NOT_FOUND; the lock then ends with its TTL.
KV_API kv_code kv_lock_release(struct kv_lock *lock, struct kv_error **error);

// KV_YES if it is held, otherwise KV_NO. KV_NO also once its lease is known to be lost.
//
// Owner: no ownership changes.
// Threads: one at a time.
// Errors: none.
KV_API int32_t kv_lock_is_held(const struct kv_lock *lock);

// Its key in the store while it is held; otherwise no bytes.
//
// Owner: the lock; the key is valid until the next call that acquires, releases or frees it.
// Threads: one at a time.
// Errors: none.
KV_API struct kv_bytes kv_lock_key(const struct kv_lock *lock);

// The fencing revision: the revision at which its key was created. It increases from holder to
// holder, so the protected resource can refuse a lower one than it has seen. 0, which is no
// revision, before the lock is acquired, after it is released, and for NULL.
//
// Owner: no ownership changes.
// Threads: one at a time.
// Errors: none.
KV_API int64_t kv_lock_revision(const struct kv_lock *lock);

// Frees the handle; a held lock is released soon after.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_lock_free(struct kv_lock *lock);

// Opens an election; it does not campaign yet. The keys are those of etcd's election service:
// NAME/LEASE, with the lease in hexadecimal and the proclaimed value as value.
//
// The leader is the candidate whose key was created first. If the leader resigns, or its process
// ends (noticed within 500 ms), the next candidate leads. A leader that is stopped for longer than
// ttl_seconds may believe for a moment that it still leads: kv_election_proclaim then fails; fence
// other writes with kv_election_revision.
//
// Owner: *out is owned by the caller, to free before or after the database; name is not kept.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT (an empty name), KV_CLOSED, KV_FORKED.
KV_API
kv_code kv_election_open(const struct kv_db *db,
                         struct kv_bytes name,
                         int64_t ttl_seconds,
                         struct kv_election **out,
                         struct kv_error **error);

// Waits until this candidate leads, up to timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the
// default, 0), and proclaims value. If it leads already it only proclaims.
//
// Owner: value is not kept.
// Threads: one at a time; a second concurrent call returns KV_INVALID_ARGUMENT.
// Errors: KV_TIMEOUT, which names the leader's key; KV_LEASE_LOST; KV_INVALID_ARGUMENT (also for a
// TTL over 9,000,000,000 s), and those of kv_put. After an error it is no candidate.
KV_API
kv_code kv_election_campaign(struct kv_election *election,
                             struct kv_bytes value,
                             int64_t timeout_ms,
                             struct kv_error **error);

// Changes the value of the leader.
//
// Owner: value is not kept.
// Threads: one at a time.
// Errors: KV_FAILED_PRECONDITION (it does not lead), KV_LEASE_LOST (it lost the leadership), and
// those of kv_put.
KV_API
kv_code kv_election_proclaim(struct kv_election *election,
                             struct kv_bytes value,
                             struct kv_error **error);

// Reads the leader's pair; *out is NULL if there is no leader. The leader may be in another
// process.
//
// Owner: *out is owned by the caller, to free with kv_key_value_free.
// Threads: any, also while another thread campaigns.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_election_leader(const struct kv_election *election,
                           struct kv_key_value **out,
                           struct kv_error **error);

// Follows an election: delivers the current leader, then each new leader and each new value.
//
// Owner: *out is owned by the caller, to free before or after the election and the database.
// Threads: any, also while another thread campaigns.
// Errors: those of kv_watch.
KV_API
kv_code kv_election_observe(const struct kv_election *election,
                            struct kv_leaders **out,
                            struct kv_error **error);

// Resigns, or withdraws the candidature; does nothing if it is no candidate. It can campaign
// again.
//
// Owner: no ownership changes.
// Threads: one at a time.
// Errors: those of kv_lock_release.
KV_API kv_code kv_election_resign(struct kv_election *election, struct kv_error **error);

// KV_YES if it leads, otherwise KV_NO. KV_NO also once its lease is known to be lost.
//
// Owner: no ownership changes.
// Threads: one at a time.
// Errors: none.
KV_API int32_t kv_election_is_leader(const struct kv_election *election);

// Its key in the store while it leads; otherwise no bytes.
//
// Owner: the election; the key is valid until the next call that campaigns, resigns or frees it.
// Threads: one at a time.
// Errors: none.
KV_API struct kv_bytes kv_election_key(const struct kv_election *election);

// The revision at which its key was created, for fencing as with kv_lock_revision; 0, which is no
// revision, before it leads, after it resigns, and for NULL.
//
// Owner: no ownership changes.
// Threads: one at a time.
// Errors: none.
KV_API int64_t kv_election_revision(const struct kv_election *election);

// Frees the handle; a candidate or leader resigns soon after.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_election_free(struct kv_election *election);

// Returns the next leader's pair, or the same leader's pair with a new value. It waits up to
// timeout_ms milliseconds, KV_NO_WAIT or KV_FOREVER (the default, 0); *out is NULL if the time
// passed. If changes come faster than they are read only the last one is returned.
//
// Owner: *out is owned by the caller, to free with kv_key_value_free.
// Threads: one at a time; a second concurrent call returns KV_INVALID_ARGUMENT. kv_close of the
// database ends the wait at once.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_leaders_next(struct kv_leaders *leaders,
                        int64_t timeout_ms,
                        struct kv_key_value **out,
                        struct kv_error **error);

// Frees the leaders.
//
// Owner: frees them; NULL is allowed.
// Threads: the last use of them.
// Errors: none.
KV_API void kv_leaders_free(struct kv_leaders *leaders);

// Returns the events of one key, newest first, including deletions: at most limit, or all that are
// kept if limit is 0 or negative.
//
// Owner: *out is owned by the caller, to free before or after the database; key is not kept.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT (empty key), KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_history(const struct kv_db *db,
                   struct kv_bytes key,
                   int64_t limit,
                   struct kv_events **out,
                   struct kv_error **error);

// Returns the events of a range with after < revision <= upto (0 or negative: the current one), in
// order. It holds no transaction between steps.
//
// Owner: *out is owned by the caller, to free before or after the database; range is not kept.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT; kv_events_next returns the others.
KV_API
kv_code kv_events_open(const struct kv_db *db,
                       int64_t after,
                       int64_t upto,
                       struct kv_key_range range,
                       struct kv_events **out,
                       struct kv_error **error);

// Returns the next event; *out is NULL at the end.
//
// Owner: events; what *out points to is valid until the next step or until events are freed.
// Threads: one at a time.
// Errors: KV_COMPACTED (after is below the compacted revision), KV_FUTURE_REVISION,
// KV_INVALID_ARGUMENT (empty key), KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO. After an error there
// are no more events.
KV_API
kv_code kv_events_next(struct kv_events *events,
                       const struct kv_event **out,
                       struct kv_error **error);

// Frees events.
//
// Owner: frees them; NULL is allowed.
// Threads: the last use of them.
// Errors: none.
KV_API void kv_events_free(struct kv_events *events);

// Returns the keys of a range that differ between revision a and revision b (0 or negative: the
// current one), in key order.
//
// Owner: *out is owned by the caller, to free before or after the database; range is not kept.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_COMPACTED, KV_FUTURE_REVISION, KV_CLOSED, KV_FORKED, KV_CORRUPT,
// KV_IO.
KV_API
kv_code kv_diff_open(const struct kv_db *db,
                     int64_t a,
                     int64_t b,
                     struct kv_key_range range,
                     struct kv_diff **out,
                     struct kv_error **error);

// Returns the next difference; *out is NULL at the end.
//
// Owner: diff; what *out points to is valid until the next step or until diff is freed.
// Threads: one at a time.
// Errors: those of kv_diff_open. After an error it has ended.
KV_API
kv_code kv_diff_next(struct kv_diff *diff,
                     const struct kv_difference **out,
                     struct kv_error **error);

// Frees a diff.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_diff_free(struct kv_diff *diff);

// Returns the last revision that was written by the end of the minute of a time in milliseconds
// since 1970. kv_get at *revision shows what a key held then. It costs one lookup in an index of
// minutes.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_COMPACTED (that revision is compacted), KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_revision_at(const struct kv_db *db,
                       int64_t unix_ms,
                       int64_t *revision,
                       struct kv_error **error);

// Serves a store to etcd clients until the server is freed. The server accepts connections when
// this call returns. It is meant mainly for tests; `kv serve` is the program for other uses. The
// store stays usable here and in other processes. Watchers on either side receive the writes of
// the other.
//
// The address is "HOST:PORT" (port 0 selects a free port), "http://HOST:PORT", "https://HOST:PORT"
// (TLS), or "unix:///PATH". kv_server_address returns the address for clients. After the database
// is closed clients get errors; connections stay open until the server is freed. While
// authentication is on (kv_auth_enable) the server checks the users of its clients.
//
// Owner: *out is owned by the caller, to free before or after the database; address and options
// are not kept.
// Threads: any. The server uses its own threads, which never call the program's code.
// Errors: KV_INVALID_ARGUMENT (an address or a file that cannot be read), KV_BUSY (the address is
// in use), KV_PERMISSION_DENIED, KV_IO, KV_UNSUPPORTED (a cluster; or a library without its
// feature etcd), KV_CLOSED, KV_FORKED.
KV_API
kv_code kv_serve(const struct kv_db *db,
                 const char *address,
                 const struct kv_serve_options *options,
                 struct kv_server **out,
                 struct kv_error **error);

// The address of a server for clients: "http://127.0.0.1:41234", "unix:///path"; NULL for NULL.
//
// Owner: the server; the text is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API const char *kv_server_address(const struct kv_server *server);

// Stops a server: it stops listening, requests in progress may finish for a short time, streams
// are closed. The database stays open. In a forked child it only frees the handle.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_server_free(struct kv_server *server);

// Creates a manual clock that starts at unix_ms milliseconds since 1970; for kv_options.clock. A
// store opened with it cannot be opened by another process. NULL only if out of memory.
//
// Owner: owned by the caller, to free with kv_clock_free before or after the stores opened with
// it.
// Threads: any.
// Errors: none.
KV_API struct kv_clock *kv_clock_new(int64_t unix_ms);

// Moves a clock forward. It returns after everything that became due has been done.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT (ms is negative).
KV_API kv_code kv_clock_advance(const struct kv_clock *clock, int64_t ms, struct kv_error **error);

// Frees a clock; stores opened with it continue to use it.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_clock_free(struct kv_clock *clock);

// Reads the status of the store.
//
// Owner: *out is owned by the caller, to free with kv_status_free.
// Threads: any.
// Errors: KV_CLOSED, KV_FORKED, KV_IO.
KV_API
kv_code kv_status_get(const struct kv_db *db,
                      struct kv_status **out,
                      struct kv_error **error);

// The number selected by KV_STATUS_…. KV_YES and *out, or KV_NO if the number does not exist or
// cannot be known (a cluster does not show its files and its readers, and its user may not be
// allowed to read all keys), for an unknown name and for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int32_t kv_status_number(const struct kv_status *status, int32_t name, int64_t *out);

// The text selected by KV_STATUS_… (lmdb_version, store_id); NULL if it cannot be known, and for
// other names.
//
// Owner: the status; the text is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API const char *kv_status_text(const struct kv_status *status, int32_t name);

// The number of active alarms; 0 if there is none, and for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_status_alarms_len(const struct kv_status *status);

// The active alarm at index, sorted by kind and member; NULL beyond the last.
//
// Owner: the status; the alarm is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API const struct kv_alarm *kv_status_alarms_at(const struct kv_status *status, size_t index);

// KV_YES after a failed sync: the store accepts no more writes until every process has closed it.
// Otherwise KV_NO.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int32_t kv_status_poisoned(const struct kv_status *status);

// KV_YES if the store's files were removed while it is open: data written since is lost when the
// last process closes the store. Otherwise KV_NO.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API int32_t kv_status_removed(const struct kv_status *status);

// Frees a status.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_status_free(struct kv_status *status);

// Reads the complete store and verifies every invariant of core/DESIGN.md. It takes as long as
// reading all data; writers are not blocked.
//
// Owner: *out is owned by the caller, to free with kv_check_report_free.
// Threads: any.
// Errors: KV_CLOSED, KV_FORKED, KV_IO, KV_CORRUPT (too damaged to read on).
KV_API
kv_code kv_check(const struct kv_db *db,
                 struct kv_check_report **out,
                 struct kv_error **error);

// The number of keys that were checked; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API uint64_t kv_check_report_keys(const struct kv_check_report *report);

// The number of events that were checked; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API uint64_t kv_check_report_events(const struct kv_check_report *report);

// The number of problems; 0 if the store is sound, and for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_check_report_len(const struct kv_check_report *report);

// The problem at index; NULL beyond the last.
//
// Owner: the report; the problem is valid until it is freed.
// Threads: any.
// Errors: none.
KV_API
const struct kv_problem *kv_check_report_at(const struct kv_check_report *report,
                                            size_t index);

// Frees a report.
//
// Owner: frees it; NULL is allowed.
// Threads: the last use of it.
// Errors: none.
KV_API void kv_check_report_free(struct kv_check_report *report);

// The ABI number of the loaded library; compare it with KV_ABI_VERSION. Within one number, symbols
// and structs only grow.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API uint32_t kv_abi_version(void);

// The version of the loaded library, for example "0.1.0".
//
// Owner: the library; the text is valid until the program ends.
// Threads: any.
// Errors: none.
KV_API const char *kv_version(void);

// Lists the active alarms, sorted by kind and member. An alarm stays active until it is disarmed,
// also after a restart. It applies to every process that writes.
//
// Owner: *out is owned by the caller, to free with kv_alarms_free.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_alarm_list(const struct kv_db *db,
                      struct kv_alarms **out,
                      struct kv_error **error);

// Raises an alarm of a kind, KV_ALARM_…, for any member id; 0 is the store's own. Programs rarely
// need it: KV_ALARM_NOSPACE is raised automatically if kv_options.limits is KV_LIMITS_ETCD.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, and those of kv_put except KV_FULL for the quota.
KV_API
kv_code kv_alarm_activate(const struct kv_db *db,
                          int32_t kind,
                          uint64_t member,
                          struct kv_error **error);

// Disarms the alarms of a member (0: every member) and of a kind (0: every kind). *out, if not
// NULL, receives those that were active. Free space first: otherwise the next put raises
// KV_ALARM_NOSPACE again.
//
// Owner: *out is owned by the caller, to free with kv_alarms_free.
// Threads: any.
// Errors: those of kv_alarm_activate.
KV_API
kv_code kv_alarm_disarm(const struct kv_db *db,
                        uint64_t member,
                        int32_t kind,
                        struct kv_alarms **out,
                        struct kv_error **error);

// The number of alarms; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_alarms_len(const struct kv_alarms *alarms);

// The alarm at index; NULL beyond the last.
//
// Owner: the alarms; it is valid until they are freed.
// Threads: any.
// Errors: none.
KV_API const struct kv_alarm *kv_alarms_at(const struct kv_alarms *alarms, size_t index);

// Frees alarms.
//
// Owner: frees them; NULL is allowed.
// Threads: the last use of them.
// Errors: none.
KV_API void kv_alarms_free(struct kv_alarms *alarms);

// The hash of all events up to a revision (0: the current one), as etcd computes it: two stores or
// members with the same history and the same compacted revision have the same hash. It reads all of
// the history; writers are not blocked. A cluster's hash is that of the member that responds.
//
// *hash is the hash, *compact_revision the compacted revision that it depends on (-1 if nothing was
// compacted), *hash_revision the revision up to which events were hashed.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_COMPACTED, KV_FUTURE_REVISION, KV_INVALID_ARGUMENT (a negative revision), KV_CLOSED,
// KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_hash_kv(const struct kv_db *db,
                   int64_t revision,
                   uint32_t *hash,
                   int64_t *compact_revision,
                   int64_t *hash_revision,
                   struct kv_error **error);

// Lists the members of the cluster. A store is one member without name and URLs, with the id that
// its server shows.
//
// Owner: *out is owned by the caller, to free with kv_members_free.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, and those of a cluster.
KV_API
kv_code kv_member_list(const struct kv_db *db,
                       struct kv_members **out,
                       struct kv_error **error);

// Adds a member to the cluster; *id is its id. Its process is started afterwards. With learner
// KV_YES it has no vote until kv_member_promote. Otherwise it counts for the quorum at once: in a
// cluster of one, writes wait until it has started.
//
// Owner: no ownership changes; the URLs, peer_urls_len of them, are borrowed for the call.
// Threads: any.
// Errors: KV_UNSUPPORTED for a store (the message explains how to move to a cluster),
// KV_INVALID_ARGUMENT (URLs that cannot be read), KV_FAILED_PRECONDITION (URLs of another member, a
// learner too many, members that are not healthy), KV_UNKNOWN_OUTCOME, KV_CLOSED, KV_FORKED.
KV_API
kv_code kv_member_add(const struct kv_db *db,
                      const char *const *peer_urls,
                      size_t peer_urls_len,
                      int32_t learner,
                      uint64_t *id,
                      struct kv_error **error);

// Removes a member from the cluster.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_UNSUPPORTED for a store. KV_NOT_FOUND (the member), KV_FAILED_PRECONDITION (too few
// members would be left), KV_UNKNOWN_OUTCOME, KV_CLOSED, KV_FORKED.
KV_API kv_code kv_member_remove(const struct kv_db *db, uint64_t id, struct kv_error **error);

// Replaces the peer URLs of a member.
//
// Owner: no ownership changes; the URLs, peer_urls_len of them, are borrowed for the call.
// Threads: any.
// Errors: those of kv_member_add, and KV_NOT_FOUND (the member).
KV_API
kv_code kv_member_update(const struct kv_db *db,
                         uint64_t id,
                         const char *const *peer_urls,
                         size_t peer_urls_len,
                         struct kv_error **error);

// Gives a learner its vote.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_UNSUPPORTED for a store. KV_NOT_FOUND (the member), KV_FAILED_PRECONDITION (it is no
// learner, or it has not yet received what was written), KV_UNKNOWN_OUTCOME, KV_CLOSED, KV_FORKED.
KV_API kv_code kv_member_promote(const struct kv_db *db, uint64_t id, struct kv_error **error);

// Makes a member the leader of its cluster. For a store, its own id has no effect.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (no such member, a learner), KV_UNKNOWN_OUTCOME, KV_CLOSED,
// KV_FORKED.
KV_API kv_code kv_move_leader(const struct kv_db *db, uint64_t id, struct kv_error **error);

// The number of members; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_members_len(const struct kv_members *members);

// The member at index; NULL beyond the last.
//
// Owner: the members; it is valid until they are freed.
// Threads: any.
// Errors: none.
KV_API const struct kv_member *kv_members_at(const struct kv_members *members, size_t index);

// Frees members.
//
// Owner: frees them; NULL is allowed.
// Threads: the last use of them.
// Errors: none.
KV_API void kv_members_free(struct kv_members *members);

// Turns authentication on. From then on a server of this store checks every call of a client
// against users and roles. A process that opens the directory itself needs no user: the
// permissions of its files decide. It needs a user "root" with the role "root", which may do
// everything. A second call has no effect. *revision is the store's revision, which these calls
// do not change.
//
//     kv_user_add(db, kv_str("root"), kv_str("secret"), NULL, NULL, &error);
//     kv_user_grant_role(db, kv_str("root"), kv_str("root"), NULL, &error);
//     kv_role_add(db, kv_str("reader"), NULL, &error);
//     kv_role_grant_permission(db, kv_str("reader"), KV_PERMISSION_READ,
//                              kv_prefix(kv_str("config/")), NULL, &error);
//     kv_user_add(db, kv_str("alice"), kv_str("password"), NULL, NULL, &error);
//     kv_user_grant_role(db, kv_str("alice"), kv_str("reader"), NULL, &error);
//     kv_auth_enable(db, NULL, &error);
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION without a user root that has the role root, and those of kv_put.
KV_API kv_code kv_auth_enable(const struct kv_db *db, int64_t *revision, struct kv_error **error);

// Turns authentication off. Users and roles are kept. No error if it is off.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: those of kv_put.
KV_API kv_code kv_auth_disable(const struct kv_db *db, int64_t *revision, struct kv_error **error);

// Reads whether authentication is on: *enabled is KV_YES or KV_NO. *auth_revision grows with each
// change of users, roles or permissions; it is 1 in a new store, and no revision of keys.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_auth_status(const struct kv_db *db,
                       int32_t *enabled,
                       uint64_t *auth_revision,
                       int64_t *revision,
                       struct kv_error **error);

// Creates a user. The name is UTF-8, 1 to 400 bytes. The password is UTF-8, at most 72 bytes; an
// empty one is a password, too. It is hashed with bcrypt first, which takes about 50 ms. For a
// user without a password set kv_user_add_options.no_password.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (the user exists), KV_INVALID_ARGUMENT (a name or a password that
// is too long or not UTF-8, an empty name), and those of kv_put.
KV_API
kv_code kv_user_add(const struct kv_db *db,
                    struct kv_bytes name,
                    struct kv_bytes password,
                    const struct kv_user_add_options *options,
                    int64_t *revision,
                    struct kv_error **error);

// Returns the names of the roles of a user, sorted.
//
// Owner: *out is owned by the caller, to free with kv_names_free.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (no such user), KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED,
// KV_CORRUPT, KV_IO.
KV_API
kv_code kv_user_get(const struct kv_db *db,
                    struct kv_bytes name,
                    struct kv_names **out,
                    struct kv_error **error);

// Returns the names of all users, sorted.
//
//     kv_names *users = NULL;
//     if (kv_user_list(db, &users, &error) == KV_OK) {
//         for (size_t i = 0; i < kv_names_len(users); i++) {
//             kv_bytes name = kv_names_at(users, i);
//             printf("%.*s\n", (int)name.len, (const char *)name.data);
//         }
//     }
//     kv_names_free(users);
//
// Owner: *out is owned by the caller, to free with kv_names_free.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API kv_code kv_user_list(const struct kv_db *db, struct kv_names **out, struct kv_error **error);

// Removes a user.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (no such user), KV_INVALID_ARGUMENT (root while authentication is
// on), and those of kv_put.
KV_API
kv_code kv_user_delete(const struct kv_db *db,
                       struct kv_bytes name,
                       int64_t *revision,
                       struct kv_error **error);

// Changes the password of a user; the tokens of the user become invalid. The password is as that
// of kv_user_add.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (no such user), KV_INVALID_ARGUMENT (a password over 72 bytes),
// and those of kv_put.
KV_API
kv_code kv_user_change_password(const struct kv_db *db,
                                struct kv_bytes name,
                                struct kv_bytes password,
                                int64_t *revision,
                                struct kv_error **error);

// Grants a role to a user; no effect if the user has it. The role "root", which permits
// everything, need not be created first.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (no such user or role), KV_INVALID_ARGUMENT, and those of kv_put.
KV_API
kv_code kv_user_grant_role(const struct kv_db *db,
                           struct kv_bytes name,
                           struct kv_bytes role,
                           int64_t *revision,
                           struct kv_error **error);

// Takes a role from a user.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (no such user, or it does not have the role), KV_INVALID_ARGUMENT
// (the role root of root while authentication is on), and those of kv_put.
KV_API
kv_code kv_user_revoke_role(const struct kv_db *db,
                            struct kv_bytes name,
                            struct kv_bytes role,
                            int64_t *revision,
                            struct kv_error **error);

// Creates a role without permissions. The name is UTF-8, 1 to 400 bytes.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (the role exists), KV_INVALID_ARGUMENT, and those of kv_put.
KV_API
kv_code kv_role_add(const struct kv_db *db,
                    struct kv_bytes role,
                    int64_t *revision,
                    struct kv_error **error);

// Returns the permissions of a role, sorted by key. The role "root" always has one: all keys.
//
// Owner: *out is owned by the caller, to free with kv_permissions_free.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (no such role), KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED,
// KV_CORRUPT, KV_IO.
KV_API
kv_code kv_role_get(const struct kv_db *db,
                    struct kv_bytes role,
                    struct kv_permissions **out,
                    struct kv_error **error);

// Returns the names of all roles, sorted. "root" is one of them only if it was created.
//
// Owner: *out is owned by the caller, to free with kv_names_free.
// Threads: any.
// Errors: KV_INVALID_ARGUMENT, KV_CLOSED, KV_FORKED, KV_CORRUPT, KV_IO.
KV_API kv_code kv_role_list(const struct kv_db *db, struct kv_names **out, struct kv_error **error);

// Removes a role, also from every user that has it.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (no such role), KV_INVALID_ARGUMENT (root while authentication is
// on), and those of kv_put.
KV_API
kv_code kv_role_delete(const struct kv_db *db,
                       struct kv_bytes role,
                       int64_t *revision,
                       struct kv_error **error);

// Adds a permission to a role: a type, KV_PERMISSION_…, for a range. If the role has one with the
// same range, its type is replaced.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (no such role), KV_INVALID_ARGUMENT (an empty range), and those
// of kv_put.
KV_API
kv_code kv_role_grant_permission(const struct kv_db *db,
                                 struct kv_bytes role,
                                 int32_t type,
                                 struct kv_key_range range,
                                 int64_t *revision,
                                 struct kv_error **error);

// Removes the permission with exactly this range from a role. kv_permission.range of kv_role_get
// can be passed.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: KV_FAILED_PRECONDITION (no such role, or it has no such permission),
// KV_INVALID_ARGUMENT, and those of kv_put.
KV_API
kv_code kv_role_revoke_permission(const struct kv_db *db,
                                  struct kv_bytes role,
                                  struct kv_key_range range,
                                  int64_t *revision,
                                  struct kv_error **error);

// The number of names; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_names_len(const struct kv_names *names);

// The name at index, as UTF-8 without a terminating zero; no bytes beyond the last.
//
// Owner: the names; it is valid until they are freed.
// Threads: any.
// Errors: none.
KV_API struct kv_bytes kv_names_at(const struct kv_names *names, size_t index);

// Frees names.
//
// Owner: frees them; NULL is allowed.
// Threads: the last use of them.
// Errors: none.
KV_API void kv_names_free(struct kv_names *names);

// The number of permissions; 0 for NULL.
//
// Owner: no ownership changes.
// Threads: any.
// Errors: none.
KV_API size_t kv_permissions_len(const struct kv_permissions *permissions);

// The permission at index; NULL beyond the last.
//
// Owner: the permissions; it is valid until they are freed.
// Threads: any.
// Errors: none.
KV_API
const struct kv_permission *kv_permissions_at(const struct kv_permissions *permissions,
                                              size_t index);

// Frees permissions.
//
// Owner: frees them; NULL is allowed.
// Threads: the last use of them.
// Errors: none.
KV_API void kv_permissions_free(struct kv_permissions *permissions);

// Writes a snapshot of a store to a new file, which etcd and kv_restore can read: all events that
// are kept, the leases with the time that they have left, and the compacted revision, as of one
// moment. The file is complete, or not there. Writers are not blocked. *revision is the revision of
// the snapshot.
//
// Owner: no ownership changes; path is borrowed for the call.
// Threads: any.
// Errors: KV_EXISTS (the file), KV_NOT_FOUND and KV_PERMISSION_DENIED (its directory),
// KV_UNSUPPORTED (a cluster, or a library built without the feature etcd), KV_INVALID_ARGUMENT,
// KV_CLOSED, KV_FORKED, KV_FULL, KV_CORRUPT, KV_IO.
KV_API
kv_code kv_snapshot_save(const struct kv_db *db,
                         const char *path,
                         int64_t *revision,
                         struct kv_error **error);

// Makes a store in the directory store from a snapshot: one of kv_snapshot_save, or one of etcd 3.4
// or later. The directory must not exist, or be empty. With skip_hash_check KV_YES the file need not
// end with its SHA-256, as a copy of etcd's `member/snap/db`. The store is complete, or not there.
// *revision is its revision.
//
// Owner: no ownership changes; snapshot and store are borrowed for the call.
// Threads: any.
// Errors: KV_NOT_FOUND and KV_PERMISSION_DENIED (the file), KV_EXISTS (the store), KV_CORRUPT (the
// file is damaged or no snapshot), KV_UNSUPPORTED (a library built without the feature etcd),
// KV_INVALID_ARGUMENT, KV_FULL, KV_IO.
KV_API
kv_code kv_restore(const char *snapshot,
                   const char *store,
                   int32_t skip_hash_check,
                   int64_t *revision,
                   struct kv_error **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KV_H */

#ifndef KV_H_HELPERS
#define KV_H_HELPERS

#ifdef __cplusplus
extern "C" {
#endif

// The bytes of a C string, without the terminating zero.
static inline kv_bytes kv_str(const char *text) {
    kv_bytes b;
    b.data = (const uint8_t *)text;
    b.len = text ? strlen(text) : 0;
    return b;
}

// The len bytes at data.
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

// One key.
static inline kv_key_range kv_key(kv_bytes key) {
    return kv_range_of_kind(KV_RANGE_KEY, key, kv_buf(NULL, 0));
}

// Every key that begins with these bytes.
static inline kv_key_range kv_prefix(kv_bytes prefix) {
    return kv_range_of_kind(KV_RANGE_PREFIX, prefix, kv_buf(NULL, 0));
}

// The keys x with start <= x < end.
static inline kv_key_range kv_between(kv_bytes start, kv_bytes end) {
    return kv_range_of_kind(KV_RANGE_BETWEEN, start, end);
}

// The keys x with start <= x, as `--from-key` of etcdctl.
static inline kv_key_range kv_from_key(kv_bytes start) {
    return kv_range_of_kind(KV_RANGE_FROM_KEY, start, kv_buf(NULL, 0));
}

// Every key.
static inline kv_key_range kv_all(void) {
    return kv_range_of_kind(KV_RANGE_ALL, kv_buf(NULL, 0), kv_buf(NULL, 0));
}

#ifdef __cplusplus
}
#endif

#endif  /* KV_H_HELPERS */
