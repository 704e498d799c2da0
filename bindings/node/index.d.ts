/**
 * libkv: etcd's data model as an embedded library.
 *
 * Keys and values are passed as `Buffer`, any `Uint8Array` or other view, `ArrayBuffer`, or a
 * string, which is stored as UTF-8; they are returned as `Buffer`. Arguments are copied before the
 * call returns. Revisions, versions and counts are numbers, ids of leases are bigints.
 *
 * A method that returns a promise rejects with a {@link KvError} if the store refuses or fails, and
 * with a `TypeError` or `RangeError` if it is called wrongly; nothing is written then. The method
 * with `Sync` in its name throws the same errors. A missing key is not an error. The stack of a
 * `KvError` has the frames that await the call.
 *
 * `JSON.stringify` accepts every response and request. In JSON a 64-bit number (the id of a lease,
 * a member) is a string of decimal digits. Bytes that are UTF-8 are a string with the member's
 * name; other bytes are base64, and the name has the suffix `Base64`. Exactly one of the two is
 * present, see {@link KeyValueJson}. Responses compare by their members: `assert.deepStrictEqual({
 * ...kv }, { … })`.
 *
 * `util.inspect` prints a handle like Python's `repr`: `<libkv.Db "/path">`, `<libkv.Lock "jobs",
 * held>`.
 */

/** Bytes as an argument. A string is stored as UTF-8; a lone surrogate in it is a `TypeError`. */
export type Bytes = string | ArrayBufferView | ArrayBuffer | SharedArrayBuffer

/**
 * A point in the store's history: 1 is the empty store, each write adds 1. 0 and below mean the
 * current revision.
 */
export type Revision = number

// generated from bindings/vocabulary/vocabulary.toml: words
/**
 * `'sync'`: An acknowledged write is on disk. The default.
 * `'lazy'`: A power cut may lose the last commits but never damages the store.
 * `'none'`: No flush. Chosen when a store is created; a power cut may destroy the store.
 */
export type Durability = 'sync' | 'lazy' | 'none'
/**
 * `'none'`: Key order, or ascending for another target.
 * `'ascend'`: Smallest first.
 * `'descend'`: Largest first.
 */
export type SortOrder = 'none' | 'ascend' | 'descend'
/**
 * `'key'`: Sort by key.
 * `'version'`: Sort by version.
 * `'create'`: Sort by create revision.
 * `'mod'`: Sort by mod revision.
 * `'value'`: Sort by value.
 */
export type SortTarget = 'key' | 'version' | 'create' | 'mod' | 'value'
export type CompareResult = '==' | '>' | '<' | '!='
/**
 * `'nospace'`: The quota is used up. Writes that need space fail with `FULL`; deletions,
 * revocations and compactions still work.
 * `'corrupt'`: The data may be damaged. Every write fails with `CORRUPT`.
 */
export type AlarmKind = 'nospace' | 'corrupt'
/**
 * `'read'`: Gets, ranges and watches.
 * `'write'`: Puts and deletions.
 * `'readwrite'`: Both.
 */
export type PermissionType = 'read' | 'write' | 'readwrite'
// end of generated

// generated from bindings/vocabulary/vocabulary.toml: ErrorCode
/** The condition that a {@link KvError} reports; see the README for each. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'KEY_NOT_FOUND'
  | 'DUPLICATE_KEY'
  | 'TOO_MANY_OPS'
  | 'TOO_LARGE'
  | 'COMPACTED'
  | 'FUTURE_REVISION'
  | 'LEASE_NOT_FOUND'
  | 'LEASE_EXISTS'
  | 'LEASE_LOST'
  | 'CONFLICT'
  | 'CANCELLED'
  | 'TIMEOUT'
  | 'CLOSED'
  | 'FORKED'
  | 'BUSY'
  | 'FULL'
  | 'READ_ONLY'
  | 'IO'
  | 'CORRUPT'
  | 'INCOMPATIBLE'
  | 'NOT_A_STORE'
  | 'NOT_FOUND'
  | 'EXISTS'
  | 'UNSUPPORTED'
  | 'UNAVAILABLE'
  | 'UNAUTHENTICATED'
  | 'PERMISSION_DENIED'
  | 'FAILED_PRECONDITION'
  | 'INTERNAL'
  | 'UNKNOWN_OUTCOME'
// end of generated

/** An error of a store. Wrong use of the API is a `TypeError` or `RangeError` instead. */
export class KvError extends Error {
  constructor(
    code: ErrorCode,
    message: string,
    concerns?: { revision?: Revision; lease?: bigint; key?: Buffer },
  )
  /** The condition; stable. */
  readonly code: ErrorCode
  /** The compacted revision for `COMPACTED`, the current one for `FUTURE_REVISION`. */
  readonly revision: Revision | undefined
  /** The lease concerned, for `LEASE_NOT_FOUND`, `LEASE_EXISTS` and `LEASE_LOST`. */
  readonly lease: bigint | undefined
  /**
   * The key concerned, for `KEY_NOT_FOUND`, `DUPLICATE_KEY` and requests refused for one of their
   * keys.
   */
  readonly key: Buffer | undefined
}

/** A key with its value, revisions, version and lease. */
export interface KeyValue {
  readonly key: Buffer
  /** Empty if only keys were requested. */
  readonly value: Buffer
  /** The revision of the put that created the key, after its last deletion. */
  readonly createRevision: Revision
  /** The revision of the last put. */
  readonly modRevision: Revision
  /** 1 at creation, one more with each put. */
  readonly version: number
  /** The lease that the key is attached to, or 0n. */
  readonly lease: bigint
  /** The form for `JSON.stringify`. */
  toJSON(): KeyValueJson
}

/**
 * Bytes in JSON: a string with the member's name if they are UTF-8, otherwise base64 with the other
 * name.
 */
export type BytesJson<Name extends string> =
  | ({ readonly [key in Name]: string } & { readonly [key in `${Name}Base64`]?: never })
  | ({ readonly [key in Name]?: never } & { readonly [key in `${Name}Base64`]: string })

/**
 * A pair in JSON: `key` or `keyBase64`, `value` or `valueBase64`, and the other members. The bytes
 * are `json.keyBase64 === undefined ? Buffer.from(json.key) : Buffer.from(json.keyBase64,
 * 'base64')`.
 */
export type KeyValueJson = BytesJson<'key'> &
  BytesJson<'value'> & {
    readonly createRevision: Revision
    readonly modRevision: Revision
    readonly version: number
    /** Decimal digits; `'0'` for none. */
    readonly lease: string
  }

/**
 * A key range: one key, all keys that begin with `prefix`, or `start` <= key < `end`; without
 * `start` from the first key, without `end` to the last. At most one of the three.
 */
export interface Keys {
  key?: Bytes
  prefix?: Bytes
  start?: Bytes
  end?: Bytes
}

/** Options of a range. */
export interface RangeOptions {
  // generated from bindings/vocabulary/vocabulary.toml: range
  /** The revision to read; 0 or negative: the current one. */
  revision?: Revision
  /** The maximum number of pairs, after filters and sorting; 0 or negative: all. */
  limit?: number
  /** The sort order; the default is key order, or ascending for another target. */
  sortOrder?: SortOrder
  /** The field to sort by; the default is the key. */
  sortTarget?: SortTarget
  /** Omit the values. */
  keysOnly?: boolean
  /** Return only the count. Limit and filters have no effect. */
  countOnly?: boolean
  /** Only pairs with `modRevision` >= this; 0 is off. */
  minModRevision?: Revision
  /** Only pairs with `modRevision` <= this; 0 is off. */
  maxModRevision?: Revision
  /** Only pairs with `createRevision` >= this; 0 is off. */
  minCreateRevision?: Revision
  /** Only pairs with `createRevision` <= this; 0 is off. */
  maxCreateRevision?: Revision
  /** Allow a cluster's member to return data that may be stale. */
  serializable?: boolean
  // end of generated
}

/** The key range and the options of a range in one object. */
export interface RangeRequest extends Keys, RangeOptions {}

export interface PutOptions {
  // generated from bindings/vocabulary/vocabulary.toml: put
  /** The lease to attach the key to; 0: none. */
  lease?: bigint
  /** Return the previous pair. */
  prevKv?: boolean
  /** Keep the current value; the key must exist. */
  ignoreValue?: boolean
  /** Keep the current lease; the key must exist. */
  ignoreLease?: boolean
  /** The durability of this write; the default is the handle's. No effect inside a txn. */
  durability?: Durability
  // end of generated
}

export interface DeleteOptions {
  // generated from bindings/vocabulary/vocabulary.toml: delete
  /** Return the deleted pairs. */
  prevKv?: boolean
  /** The durability of this write; the default is the handle's. No effect inside a txn. */
  durability?: Durability
  // end of generated
}

/**
 * Ends the wait for a write. The promise rejects with the signal's reason. If the write had begun,
 * the reason's `cause` is a {@link KvError} `UNKNOWN_OUTCOME` (if the reason can have one);
 * otherwise nothing was written.
 */
export interface AbortOptions {
  signal?: AbortSignal
}

/** A request as a value, created by {@link Put}: runs alone or inside a txn. */
export interface PutRequest {
  readonly key: string | Buffer
  readonly value: string | Buffer
  readonly [kind]: 'put'
}
/** A request as a value, created by {@link Range}. */
export interface RangeRequestValue {
  readonly [kind]: 'range'
}
/** A request as a value, created by {@link Delete}. */
export interface DeleteRequest {
  readonly [kind]: 'delete'
}
/** A request as a value, created by {@link Txn}. */
export interface TxnRequest {
  readonly [kind]: 'txn'
}
/** A condition as a value, created by {@link Compare}. */
export interface CompareValue {
  readonly [kind]: 'compare'
}
declare const kind: unique symbol

export type Op = PutRequest | RangeRequestValue | DeleteRequest | TxnRequest

/** The members of a txn. */
export interface TxnMembers {
  /** The conditions; all must be true. An empty list is true. */
  compare?: readonly CompareValue[]
  /** The operations that run if all are true. */
  success?: readonly Op[]
  /** The operations that run if one is false. */
  failure?: readonly Op[]
  /** The durability of this write; the default is the handle's. No effect in a txn inside a txn. */
  durability?: Durability
}

/** Writes one key. Copies its arguments. */
export function Put(key: Bytes, value: Bytes, options?: PutOptions): PutRequest
export function Put(
  key: Bytes,
  value: undefined,
  options: PutOptions & { ignoreValue: true },
): PutRequest
/** Reads the pairs of a range; without a range, of all keys. */
export function Range(range?: RangeRequest): RangeRequestValue
export function Range(range: Bytes | Keys, options?: RangeOptions): RangeRequestValue
/** Deletes the keys of a range, which is required; `{ prefix: '' }` is all keys. */
export function Delete(
  range: Bytes | (Keys & DeleteOptions),
  options?: DeleteOptions,
): DeleteRequest
/** Compares, then runs one of two lists of operations, all in one revision. */
export function Txn(members: TxnMembers): TxnRequest

/**
 * Conditions of a txn, on a key or on every key of a range. A missing key has version, revisions
 * and lease 0.
 */
export const Compare: {
  version(range: Bytes | Keys, result: CompareResult, version: number): CompareValue
  createRevision(range: Bytes | Keys, result: CompareResult, revision: Revision): CompareValue
  modRevision(range: Bytes | Keys, result: CompareResult, revision: Revision): CompareValue
  /** Compares the bytes; every comparison with a missing key is false, `!=` too. */
  value(range: Bytes | Keys, result: CompareResult, value: Bytes): CompareValue
  lease(range: Bytes | Keys, result: CompareResult, lease: bigint): CompareValue
}

export interface PutResponse {
  /** The store's revision after the put. */
  readonly revision: Revision
  /** The previous pair, if it was requested and the key existed. */
  readonly prevKv: KeyValue | undefined
}

/** The pairs of a range. Its iterator is that of `kvs`. */
export interface RangeResponse extends Iterable<KeyValue> {
  /** The store's current revision at the time of the read, also if an older one was requested. */
  readonly revision: Revision
  /**
   * The pairs. Pairs of one response share memory: a reference to one pair keeps up to 64 KiB, or
   * its own size if that is more.
   */
  readonly kvs: KeyValue[]
  /** The number of keys in the range at that revision; limit and filters have no effect on it. */
  readonly count: number
  /** Whether there are more pairs than the limit. */
  readonly more: boolean
}

export interface DeleteResponse {
  /** The store's revision after the deletion; unchanged if nothing was deleted. */
  readonly revision: Revision
  /** The number of deleted keys. */
  readonly deleted: number
  /** The deleted pairs by key, if they were requested. */
  readonly prevKvs: KeyValue[]
}

export interface TxnResponse {
  /** Whether all conditions were true, which decides the list that ran. */
  readonly succeeded: boolean
  /** The store's revision after the txn. */
  readonly revision: Revision
  /** The responses of the operations that ran, in their order. */
  readonly responses: (PutResponse | RangeResponse | DeleteResponse | TxnResponse)[]
}

export interface CompactResponse {
  /** The store's revision; a compaction does not change it. */
  readonly revision: Revision
}

/** One change of one key. */
export interface Event {
  readonly type: 'put' | 'delete'
  /**
   * The new pair of a put. For a deletion only `key` and `modRevision` (of the deletion) are set.
   */
  readonly kv: KeyValue
  /** The previous pair, if it was requested and is not compacted. */
  readonly prevKv: KeyValue | undefined
}

/** How one key differs between two revisions. */
export interface Difference {
  readonly key: Buffer
  /** The pair at the first revision, if the key existed. */
  readonly before: KeyValue | undefined
  /** The pair at the second revision, if the key existed. */
  readonly after: KeyValue | undefined
}

/**
 * The status of a store. `undefined` is a number that does not exist or cannot be known: a cluster
 * does not show its files and its readers, and its user may not be allowed to read all keys.
 */
export interface Status {
  /** The current revision. */
  readonly revision: Revision
  /** `undefined` if the store was never compacted. */
  readonly compactedRevision: Revision | undefined
  /** The number of keys. */
  readonly keys: number | undefined
  /** Bytes that the store's files use on disk. */
  readonly bytesOnDisk: number
  /** Bytes of pages that hold data. The other pages are reused. */
  readonly bytesInUse: number
  /** Read transactions that are active or kept for reuse, in all processes. */
  readonly readers: number | undefined
  /** Watchers of this process. */
  readonly watchers: number
  /** The number of leases. */
  readonly leases: number | undefined
  /** The version of the format on disk. */
  readonly formatVersion: number | undefined
  /** The pid of the process that holds the write lock; `undefined` if no process holds it. */
  readonly writerPid: number | undefined
  /** How long it has held the write lock, in milliseconds. */
  readonly writerHeldMs: number | undefined
  /**
   * By how many commits the oldest active read transaction is behind; `undefined` if there is none.
   */
  readonly oldestReader: number | undefined
  /** The quota for `bytesInUse`; `undefined` if there is no quota. */
  readonly maxBytes: number | undefined
  /** The version of LMDB in this process, for example `0.9.24`. */
  readonly lmdbVersion: string | undefined
  /** The unique id of this store: 32 hexadecimal digits. */
  readonly storeId: string
  /** The durability of this handle's writes. */
  readonly durability: Durability
  /** After a failed sync: the store accepts no more writes until every process has closed it. */
  readonly poisoned: boolean
  /**
   * The store's files were removed while it is open. Data written since is lost when the last
   * process closes the store.
   */
  readonly removed: boolean
  /** The active alarms, sorted by kind and member. */
  readonly alarms: AlarmMember[]
}

/** The state of authentication. */
export interface AuthStatus {
  /** Whether a server checks the users of its clients. */
  readonly enabled: boolean
  /**
   * Grows with each change of users, roles or permissions; 1 in a new store. It is no revision of
   * keys.
   */
  readonly authRevision: number
  /** The store's revision. */
  readonly revision: Revision
}

/** A permission of a role. `roleGrantPermission` and `roleRevokePermission` take it, too. */
export interface Permission {
  /** What it allows. */
  readonly type: PermissionType
  /** The key, or the first key of the range. */
  readonly key: Buffer
  /** The first key after the range; empty for one key, one zero byte for no end. */
  readonly rangeEnd: Buffer
}

/** The keys of a permission. `{ prefix: '' }` is all keys. */
export type PermissionRange =
  | { key: Bytes; rangeEnd?: Bytes }
  | { prefix: Bytes }
  | { start: Bytes; end?: Bytes }
  | { end: Bytes }

/** An alarm. */
export interface AlarmMember {
  /** Its member; the member of a store is the second half of its store id. */
  readonly member: bigint
  readonly kind: AlarmKind
}

/** A violated invariant that a check found. */
export interface Problem {
  /** The invariant, as numbered in core/DESIGN.md. */
  readonly invariant: string
  /** The key, or empty. */
  readonly key: Buffer
  /** The revision; `undefined` if there is none. */
  readonly revision: Revision | undefined
  readonly message: string
}

export interface CheckReport {
  /** The number of keys. */
  readonly keys: number
  /** The number of events in the log. */
  readonly events: number
  /** Empty if the store is consistent. */
  readonly problems: Problem[]
}

/** A member of a cluster. */
export interface Member {
  readonly id: bigint
  /** Empty until it has started, and for a store. */
  readonly name: string
  /** The URLs at which the other members reach it. */
  readonly peerUrls: string[]
  /** The URLs at which clients reach it; empty until it has started. */
  readonly clientUrls: string[]
  /** Whether it is a learner: it receives every write and has no vote. */
  readonly isLearner: boolean
}

export interface HashKvResponse {
  /** The current revision. */
  readonly revision: Revision
  /** An integer of 32 bits. */
  readonly hash: number
  /** The compacted revision that the hash depends on; -1 if nothing was compacted. */
  readonly compactRevision: Revision
  /** The revision up to which the events were hashed. */
  readonly hashRevision: Revision
}

/** Options of {@link open}. The default is in parentheses. */
export interface OpenOptions {
  // generated from bindings/vocabulary/vocabulary.toml: open
  /** Create the store if it does not exist (default true); false fails with `NOT_FOUND`. */
  create?: boolean
  /** Writes fail with `READ_ONLY`, and no file is created (default false). */
  readOnly?: boolean
  /**
   * The durability of acknowledged writes (default sync). A store in memory accepts every durability.
   */
  durability?: Durability
  /**
   * How long a write waits for the write lock before it fails with `BUSY`, which names the holder
   * (default 5,000 ms); infinity waits without limit.
   */
  busyTimeoutMs?: number
  /**
   * A quota for pages that hold data, in bytes. It is stored in the store and applies to every
   * process; another value replaces it, 0 removes it. Writes beyond it fail with `FULL`; deletions,
   * revocations and compactions always work.
   */
  maxBytes?: number
  /** The maximum size of the keys and values of one write, summed (default 64 MiB). */
  maxRequestBytes?: number
  /** The maximum number of operations in each list of a txn (default 100,000). */
  maxTxnOps?: number
  /** A preset of limits. Limits that are set separately take precedence. */
  limits?: 'etcd'
  /** The minimum TTL of a lease; smaller TTLs are raised to it (default 1 s). */
  leaseTtlMinSeconds?: number
  /** Automatic compaction: the number of revisions, or the age, that is kept (default none). */
  autoCompaction?: number | { revisions: number } | { seconds: number }
  /**
   * The maximum number of concurrent read transactions, over all processes (default 1,024). The first
   * process that opens the store sets it.
   */
  maxReaders?: number
  /** The permissions of created files (default 0600). The directory also gets x where it has r. */
  mode?: number
  /**
   * A manual clock for tests. A store that is opened with it cannot be opened by another process.
   */
  clock?: Clock
  /** Allow a network file system (default false). Its locks may not work. */
  allowNetworkFs?: boolean
  /**
   * For clusters: The file (PEM) of the trusted certificate authorities (default: those that the
   * system trusts).
   */
  tlsCa?: string | Uint8Array | URL
  /** For clusters: The file (PEM) of this client's certificate. Needs `tlsKey`. */
  tlsCert?: string | Uint8Array | URL
  /** For clusters: The file (PEM) of the key of `tlsCert`. */
  tlsKey?: string | Uint8Array | URL
  /**
   * For clusters: The name that the servers' certificates must contain (default: the host of each
   * endpoint).
   */
  tlsServerName?: string
  /** For clusters: The user name to log in with. Needs `password`. */
  user?: string
  /** For clusters: The password of `user`. */
  password?: string
  /** For clusters: The timeout of connecting to an endpoint (default 5,000 ms). */
  connectTimeoutMs?: number
  /** For clusters: The timeout of a request (default 30,000 ms); infinity waits without limit. */
  requestTimeoutMs?: number
  /** For clusters: The idle time after which a connection is probed (default 10,000 ms). */
  keepAliveMs?: number
  // end of generated
}

/** Options of {@link serve}. Files are PEM. */
export interface ServeOptions {
  // generated from bindings/vocabulary/vocabulary.toml: serve
  /** The file (PEM) of the server's certificate, for an https address; needs `keyFile`. */
  certFile?: string | Uint8Array | URL
  /** The file (PEM) of the key of `certFile`. */
  keyFile?: string | Uint8Array | URL
  /** The file (PEM) of the authorities that clients' certificates come from. */
  trustedCaFile?: string | Uint8Array | URL
  /** Refuse clients without a certificate (default false). */
  clientCertAuth?: boolean
  /**
   * The maximum size of the keys and values of one write by a client, summed. The limit of the
   * store's handle also applies.
   */
  maxRequestBytes?: number
  /**
   * The maximum number of operations in each list of a client's txn. The limit of the store's handle
   * also applies.
   */
  maxTxnOps?: number
  /**
   * The tokens of users that log in: `simple` (the default) is kept in memory; a text like
   * `jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m` signs them.
   */
  authToken?: string
  /** How long a simple token is valid after its last use, in seconds (default 300). */
  authTokenTtlSeconds?: number
  /** The cost of the hashes of new passwords, 4 to 31 (default 10). Each step doubles the time. */
  bcryptCost?: number
  // end of generated
}

/**
 * An etcd server over a store, created by {@link serve}. It keeps the store open, but not the
 * process alive. After the store is closed its clients get errors.
 */
export class Server {
  private constructor()
  /** The address for clients: `http://127.0.0.1:41234`, `https://…`, `unix:///path`. */
  readonly address: string
  /** Whether it was closed. */
  readonly closed: boolean
  /**
   * Closes the server. It waits a short time for requests under way and ends streams. The store
   * stays open. A second close has no effect.
   */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Serves a store to etcd clients in any language; resolves when the server accepts them. It is made
 * for tests; in production use the program `kv serve`. The store stays usable here and in other
 * processes, and watchers on both sides see all writes.
 *
 * @param address `host:port` (port 0 takes a free one), `http://host:port`, `https://host:port` (TLS), or
 * `unix:///path` (`127.0.0.1:0`)
 * @throws {KvError} `INVALID_ARGUMENT` (an invalid address, an unreadable file), `BUSY` (the address is
 * in use), `PERMISSION_DENIED`, `IO`, `CLOSED`, `UNSUPPORTED` (a cluster, or a build without the
 * feature etcd)
 */
export function serve(db: Db, address?: string, options?: ServeOptions): Promise<Server>

/**
 * Makes a store in a directory from a snapshot: a file of {@link Db.snapshotSave}, or of etcd 3.4 or
 * later. Resolves to the store's revision. The directory must not exist, or be empty. The snapshot is
 * verified first, and the store is complete or not there. With `skipHashCheck` the file need not end
 * with its SHA-256, as a copy of etcd's `member/snap/db`.
 *
 * @throws {KvError} `NOT_FOUND`, `PERMISSION_DENIED` (the file), `EXISTS` (the store), `CORRUPT` (the
 * file is damaged or no snapshot), `FULL`, `IO`, `UNSUPPORTED` (a build without the feature etcd)
 */
export function restore(
  snapshot: string | Buffer | Uint8Array | URL,
  store: string | Buffer | Uint8Array | URL,
  options?: { skipHashCheck?: boolean },
): Promise<Revision>

/** A manual clock for tests: its time changes only by `advance`. */
export class Clock {
  /** @param unixMs the first time, in milliseconds since 1970 */
  constructor(unixMs: number)
  /** Its time, in milliseconds since 1970. */
  readonly unixMs: number
  /**
   * Moves it forward by this number of milliseconds. Resolves when everything that became due is
   * done: the keys of expired leases are deleted.
   */
  advance(ms: number): Promise<void>
  /** As `advance`, in the call. */
  advanceSync(ms: number): void
}

/** An iterator that reads page by page. It holds no resource of the store between steps. */
export interface Scan<T> extends AsyncIterableIterator<T> {
  return(): Promise<IteratorResult<T>>
  [Symbol.asyncDispose](): Promise<void>
}

/** As {@link Scan}, without promises. */
export interface SyncScan<T> extends IterableIterator<T> {
  return(): IteratorResult<T>
  [Symbol.dispose](): void
}

/**
 * The store at one revision, created by {@link Db.snapshot}. It is a number, not a transaction, and
 * holds no resource. After a compaction above its revision every call rejects with `COMPACTED`. A
 * range at another revision is `INVALID_ARGUMENT`.
 */
export class Snapshot {
  private constructor()
  readonly revision: Revision
  get(key: Bytes): Promise<KeyValue | undefined>
  getSync(key: Bytes): KeyValue | undefined
  range(range?: RangeRequest | RangeRequestValue): Promise<RangeResponse>
  range(range: Bytes | Keys, options?: RangeOptions): Promise<RangeResponse>
  rangeSync(range?: RangeRequest | RangeRequestValue): RangeResponse
  rangeSync(range: Bytes | Keys, options?: RangeOptions): RangeResponse
  scan(range?: RangeRequest | RangeRequestValue): Scan<KeyValue>
  scan(range: Bytes | Keys, options?: RangeOptions): Scan<KeyValue>
  scanSync(range?: RangeRequest | RangeRequestValue): SyncScan<KeyValue>
  scanSync(range: Bytes | Keys, options?: RangeOptions): SyncScan<KeyValue>
}

/** Options of {@link Db.watch}. */
export interface WatchOptions {
  // generated from bindings/vocabulary/vocabulary.toml: watch
  /** The first revision to deliver; 0: only events after this call. It may be in the future. */
  startRevision?: Revision
  /** Return the previous pair with each event. */
  prevKv?: boolean
  /** Omit puts. */
  noPut?: boolean
  /** Omit deletions. */
  noDelete?: boolean
  /**
   * After ten minutes without an event, deliver a batch without events whose revision shows the
   * progress.
   */
  progress?: boolean
  // end of generated
}

/**
 * Options of watchers and leaders: what ends them, and whether the process stays alive for them.
 */
export interface StreamOptions {
  /**
   * Ends it: the step that waits, and each later one, rejects with the signal's reason. A signal
   * that is aborted already is thrown by the call.
   */
  signal?: AbortSignal
  /**
   * Whether the process stays alive while a step waits. If left out: yes in a `for await` and for a
   * step with `timeoutMs`, no for another `next()`. See `ref` and `unref`.
   */
  keepAlive?: boolean
}

/** The key range and the options of a watch in one object. */
export interface WatchRequest extends Keys, WatchOptions, StreamOptions {}

/** The events of one revision. Its iterator is that of `events`. */
export interface WatchBatch extends Iterable<Event> {
  readonly revision: Revision
  /** The events of this revision in the range, by key; empty only in a progress batch. */
  readonly events: Event[]
}

/**
 * Watches a range, created by {@link Db.watch}. Each step is one complete revision, written by any
 * process. No revision is missing and none is delivered twice. A watcher is a filter and a
 * position: one that is not read delays no compaction and costs writers nothing. If a compaction
 * passes its position, it ends with `COMPACTED`, whose `revision` is the first that a new watcher
 * may start from.
 *
 * Concurrent steps run one after the other. After `close` a step is done. `cancel` rejects a
 * waiting step at once with `CANCELLED`, closing the store with `CLOSED`. No thread waits for a
 * watcher.
 */
export class Watcher implements AsyncIterable<WatchBatch> {
  private constructor()
  /** Waits for the next batch. */
  next(): Promise<IteratorResult<WatchBatch, undefined>>
  /** As `next()`, with a timeout. After it the value is undefined, and `done` is false. */
  next(options: { timeoutMs?: number }): Promise<IteratorResult<WatchBatch | undefined, undefined>>
  /**
   * Resolves when the watcher is ready: at once for a store in this process; a cluster has to
   * confirm it. Rejects with the same error as the first step.
   */
  ready(): Promise<this>
  /**
   * The next batch if there is one now, read in the call. `INVALID_ARGUMENT` while a step waits.
   */
  tryNext(): WatchBatch | undefined
  /** Cancels it: the step that waits, and each later one, rejects with `CANCELLED`. */
  cancel(): void
  /** Closes it: the step that waits, and each later one, is done. A second close has no effect. */
  close(): void
  /**
   * The `startRevision` of a watcher that continues this one without missing or repeating a
   * revision. Valid also after the end.
   */
  readonly resumeRevision: Revision
  /** The process stays alive while a step waits. */
  ref(): this
  /** The process does not stay alive for it, not even in a `for await`. */
  unref(): this
  /** Closes it. */
  return(): Promise<IteratorResult<WatchBatch, undefined>>
  [Symbol.asyncIterator](): AsyncIterableIterator<WatchBatch>
  [Symbol.dispose](): void
  [Symbol.asyncDispose](): Promise<void>
}

export interface LeaseGrantResponse {
  /** The store's revision; a grant does not change it. */
  readonly revision: Revision
  readonly id: bigint
  /** The granted TTL. */
  readonly ttlSeconds: number
}

export interface LeaseRevokeResponse {
  /** The store's revision after the revocation; unchanged if the lease had no keys. */
  readonly revision: Revision
}

export interface LeaseKeepAliveResponse {
  readonly id: bigint
  /** The renewed TTL, or 0 if the lease does not exist or has expired. */
  readonly ttlSeconds: number
}

export interface LeaseTimeToLiveResponse {
  readonly id: bigint
  /** The remaining seconds, rounded down; -1 if there is no such lease. */
  readonly ttlSeconds: number
  /** The granted TTL; 0 if there is no such lease. */
  readonly grantedTtlSeconds: number
  /** Its keys, ascending, if they were requested. In JSON each is `{ key }` or `{ keyBase64 }`. */
  readonly keys: Buffer[]
}

/**
 * A lease that is kept alive while this handle and this process exist, created by {@link Db.lease}.
 * Attach keys to it by its `id`. Closing it revokes it and deletes its keys. The garbage collector
 * does the same at some time after the last reference is gone, so keep a reference while the keys
 * must stay.
 */
export class Lease {
  private constructor()
  readonly id: bigint
  /** The granted TTL. */
  readonly ttlSeconds: number
  /** The remaining seconds of its TTL, rounded down; 0 if it does not exist any more. */
  remaining(): Promise<number>
  /**
   * Whether it is known to be lost: expired while the process was stopped, or revoked by another
   * process.
   */
  readonly lost: boolean
  /**
   * Calls `callback` in a turn of the loop when it is lost, or soon if it is lost already; never
   * after it is closed. The process does not stay alive for it.
   */
  onLost(callback: () => void): void
  /** Stops keeping it alive and revokes it. No effect on a lease that is closed or lost. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Options of a wait for a lock or an election. */
export interface WaitOptions {
  /**
   * The longest wait; then `TIMEOUT`, whose message names the holder. Left out or `Infinity`: no
   * limit.
   */
  timeoutMs?: number
  /**
   * Ends the wait: the handle leaves the queue, and the promise rejects with the signal's reason.
   */
  signal?: AbortSignal
}

/**
 * A lock with one holder at a time, among all threads and processes that use the store; created by
 * {@link Db.lock}. Its keys have the format of etcd's lock service.
 *
 * Guarantees: the holder is the one whose key is first in the queue; the queue is in the order of
 * arrival. The lock is freed when it is released, and within 500 ms after its process has ended, by
 * any process that uses leases or watchers at that time. Not guaranteed: a holder that is stopped
 * for longer than the TTL loses the lock without notice, and the next one gets it. To refuse a
 * write of such a former holder, use `revision`, which grows from holder to holder: the protected
 * resource refuses a lower one than it has seen, or the write is a txn with
 * `Compare.createRevision(lock.key, '==', lock.revision)`.
 *
 * The garbage collector frees a held lock at some time after the last reference to it is gone.
 */
export class Lock {
  private constructor()
  /**
   * Waits until it has the lock; no effect if it has it. After an error it is not in the queue. One
   * call at a time may wait.
   */
  acquire(options?: WaitOptions): Promise<void>
  /**
   * Takes the lock if it is free and no other waits for it; resolves to whether it has the lock.
   */
  tryAcquire(): Promise<boolean>
  /**
   * Frees the lock, or leaves the queue (a waiting call rejects with `CANCELLED`); otherwise no
   * effect.
   */
  release(): Promise<void>
  /** Whether it is held; false when its lease is known to be lost. */
  readonly isHeld: boolean
  /** Its key in the store while it is held; otherwise empty. */
  readonly key: Buffer
  /**
   * The revision that created its key, the fencing token; `undefined` before it is acquired and
   * after it is released.
   */
  readonly revision: Revision | undefined;
  /** Releases it. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * An election of one leader among all candidates for a name; created by {@link Db.election}. Its
 * keys have the format of etcd's election service.
 *
 * Guarantees: the leader is the candidate with the oldest key, whose value is the one that the
 * leader proclaimed. If the leader resigns or its process ends, the next candidate in the order of
 * arrival leads. Not guaranteed: a leader that is stopped for longer than the TTL may consider
 * itself leader for a moment after it continues. `proclaim` is refused then; for other writes use
 * `revision` as with {@link Lock}.
 */
export class Election {
  private constructor()
  /** Waits until it leads, with `value` as its value. After an error it is no candidate. */
  campaign(value: Bytes, options?: WaitOptions): Promise<void>
  /**
   * Changes the leader's value. `FAILED_PRECONDITION` before it leads, `LEASE_LOST` after it lost
   * its lease.
   */
  proclaim(value: Bytes): Promise<void>
  /** The leader's pair, if there is one, of any process. */
  leader(): Promise<KeyValue | undefined>
  /** Watches the leaders, from the current one on, and the values that they proclaim. */
  observe(options?: StreamOptions): Leaders
  /**
   * Resigns, or leaves the queue (a waiting call rejects with `CANCELLED`); otherwise no effect.
   */
  resign(): Promise<void>
  /** Whether it leads; false when its lease is known to be lost. */
  readonly isLeader: boolean
  /** Its key in the store while it leads; otherwise empty. */
  readonly key: Buffer
  /**
   * The revision that created its key, the fencing token; `undefined` before it leads and after it
   * resigns.
   */
  readonly revision: Revision | undefined;
  /** Resigns. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * The leaders of an election, one after the other; created by {@link Election.observe}. If changes
 * come faster than they are read, only the last is delivered. Steps, ends and `ref` are as for
 * {@link Watcher}.
 */
export class Leaders implements AsyncIterable<KeyValue> {
  private constructor()
  /** Waits for the next leader's pair. */
  next(): Promise<IteratorResult<KeyValue, undefined>>
  next(options: { timeoutMs?: number }): Promise<IteratorResult<KeyValue | undefined, undefined>>
  /** As {@link Watcher.ready}. */
  ready(): Promise<this>
  /** Closes it: the step that waits, and each later one, is done. */
  close(): void
  ref(): this
  unref(): this
  return(): Promise<IteratorResult<KeyValue, undefined>>
  [Symbol.asyncIterator](): AsyncIterableIterator<KeyValue>
  [Symbol.dispose](): void
  [Symbol.asyncDispose](): Promise<void>
}

/** The argument of the body of {@link Db.transact}; valid until the body ends. */
export interface Transaction {
  /** One key, with this transaction's own writes; of these only key, value and lease are set. */
  get(key: Bytes): Promise<KeyValue | undefined>
  /** The pairs of a range. Options are `limit` and `keysOnly`; others are `INVALID_ARGUMENT`. */
  range(range?: RangeRequest | RangeRequestValue): Promise<RangeResponse>
  range(range: Bytes | Keys, options?: RangeOptions): Promise<RangeResponse>
  /** Writes a key at the commit. */
  put(key: Bytes, value: Bytes, options?: { lease?: bigint }): Promise<void>
  /** Deletes keys at the commit; resolves to the number that this transaction sees. */
  delete(range: Bytes | Keys): Promise<number>
}

/**
 * An open store, created by {@link open} and {@link openSync}. It belongs to the thread that opened
 * it; each worker opens its own, and all of a process share one environment. After `close` every
 * call on it, and on objects created from it, fails with `CLOSED`. The garbage collector closes a
 * store at some time after the last reference to it is gone.
 */
export class Db {
  private constructor()

  /** Whether this handle was closed. */
  readonly closed: boolean

  /**
   * One key, now or at a revision; undefined if it does not exist. Reads in the call, in
   * microseconds. `COMPACTED` and `FUTURE_REVISION` carry the revision.
   */
  get(key: Bytes, options?: { revision?: Revision }): Promise<KeyValue | undefined>
  getSync(key: Bytes, options?: { revision?: Revision }): KeyValue | undefined
  /**
   * Copies the value of one key into a buffer and returns its length; undefined if the key does not
   * exist. If the buffer is too small it copies nothing and returns the length. It creates no
   * object.
   */
  getInto(key: Bytes, buffer: NodeJS.ArrayBufferView): number | undefined

  /**
   * The pairs of a range at one revision; without a range, of all keys. All pairs are in memory:
   * use `scan` for a large range. `COMPACTED` and `FUTURE_REVISION` carry the revision.
   */
  range(range?: RangeRequest | RangeRequestValue): Promise<RangeResponse>
  range(range: Bytes | Keys, options?: RangeOptions): Promise<RangeResponse>
  rangeSync(range?: RangeRequest | RangeRequestValue): RangeResponse
  rangeSync(range: Bytes | Keys, options?: RangeOptions): RangeResponse

  /**
   * The pairs of a range one by one, ascending by key, all at the revision of the first step. A
   * step rejects with `COMPACTED` after a compaction above that revision.
   */
  scan(range?: RangeRequest | RangeRequestValue): Scan<KeyValue>
  scan(range: Bytes | Keys, options?: RangeOptions): Scan<KeyValue>
  scanSync(range?: RangeRequest | RangeRequestValue): SyncScan<KeyValue>
  scanSync(range: Bytes | Keys, options?: RangeOptions): SyncScan<KeyValue>

  /**
   * Writes one key; the revision rises by 1. Puts of one turn of the loop share a commit. Waits for
   * the write lock and the disk. `LEASE_NOT_FOUND`, `KEY_NOT_FOUND`, `TOO_LARGE`, `READ_ONLY`,
   * `BUSY`, `FULL`, `IO`: nothing is written. Only after `UNKNOWN_OUTCOME` it may be.
   */
  put(key: Bytes, value: Bytes, options?: PutOptions & AbortOptions): Promise<PutResponse>
  put(
    key: Bytes,
    value: undefined,
    options: PutOptions & AbortOptions & { ignoreValue: true },
  ): Promise<PutResponse>
  put(request: PutRequest, options?: AbortOptions): Promise<PutResponse>
  putSync(key: Bytes, value: Bytes, options?: PutOptions): PutResponse
  putSync(key: Bytes, value: undefined, options: PutOptions & { ignoreValue: true }): PutResponse
  putSync(request: PutRequest): PutResponse

  /**
   * Deletes the keys of a range, which is required; the revision rises by 1 if there were any.
   * Errors as `put`.
   */
  delete(request: DeleteRequest, options?: AbortOptions): Promise<DeleteResponse>
  delete(
    range: Bytes | (Keys & DeleteOptions & AbortOptions),
    options?: DeleteOptions & AbortOptions,
  ): Promise<DeleteResponse>
  deleteSync(
    range: DeleteRequest | Bytes | (Keys & DeleteOptions),
    options?: DeleteOptions,
  ): DeleteResponse

  /**
   * Compares, then runs one of two lists of operations in one revision. Errors as `put`, and
   * `DUPLICATE_KEY`, `TOO_MANY_OPS`; nothing is written then.
   */
  txn(request: TxnRequest, options?: AbortOptions): Promise<TxnResponse>
  txn(members: TxnMembers & AbortOptions): Promise<TxnResponse>
  txnSync(txn: TxnMembers | TxnRequest): TxnResponse

  /**
   * Runs `body` and commits its writes in one revision, if its reads are still valid; otherwise it
   * runs `body` again. Resolves to the value of `body`. After `maxRetries` (64; `Infinity`: no
   * limit) it rejects with `CONFLICT`. If `body` throws, nothing is written.
   */
  transact<T>(
    body: (t: Transaction) => T | Promise<T>,
    options?: { maxRetries?: number | null } & AbortOptions,
  ): Promise<T>

  /**
   * Deletes the history below `revision`: reads below it fail with `COMPACTED` from then on. With
   * `physical` it resolves only when the space can be used again.
   */
  compact(
    revision: Revision,
    options?: { physical?: boolean } & AbortOptions,
  ): Promise<CompactResponse>
  compactSync(revision: Revision, options?: { physical?: boolean }): CompactResponse

  /** The store at the current revision. */
  snapshot(): Promise<Snapshot>
  /** The store at this revision. */
  snapshotAt(revision: Revision): Promise<Snapshot>
  /**
   * The events of one key, newest first, with deletions; at most `limit`, 0: all that are not
   * compacted.
   */
  history(key: Bytes, options?: { limit?: number }): Promise<Event[]>
  /**
   * The events of a range with `after` < revision <= `upto` (default: the current one), in order.
   */
  events(after: Revision, upto?: Revision, range?: Bytes | Keys): Scan<Event>
  /**
   * The keys of a range that differ between revision `a` and revision `b` (default: now), by key.
   */
  diff(a: Revision, b?: Revision, range?: Bytes | Keys): Scan<Difference>

  /**
   * The last revision that was written by the end of the minute of this time (a `Date`, or
   * milliseconds since 1970). The value of a key then is `get(key, { revision })`. `COMPACTED` if
   * it cannot be read any more.
   */
  revisionAt(time: Date | number): Promise<Revision>

  /**
   * Watches the events of a range, written by any process; without a range, of all keys. Throws
   * `COMPACTED` if `startRevision` is below the compacted revision, which the error carries.
   */
  watch(range?: WatchRequest): Watcher
  watch(range: Bytes | Keys, options?: WatchOptions & StreamOptions): Watcher

  /**
   * Grants a lease with this TTL in seconds (raised to the handle's minimum), and with this id or
   * one that the store chooses. It is not kept alive; see `lease`. `LEASE_EXISTS`.
   */
  leaseGrant(
    ttlSeconds: number,
    options?: { id?: bigint } & AbortOptions,
  ): Promise<LeaseGrantResponse>
  /** Revokes a lease: its keys are deleted in one revision. `LEASE_NOT_FOUND`. */
  leaseRevoke(id: bigint, options?: AbortOptions): Promise<LeaseRevokeResponse>
  /** Renews a lease once. It takes no lock and writes nothing to the disk. */
  leaseKeepAlive(id: bigint): Promise<LeaseKeepAliveResponse>
  /** The remaining TTL of a lease, and with `keys` the keys that are attached to it. */
  leaseTimeToLive(id: bigint, options?: { keys?: boolean }): Promise<LeaseTimeToLiveResponse>
  /** The ids of all leases, the next to expire first. For JSON: `ids.map(String)`. */
  leaseList(): Promise<bigint[]>
  /**
   * A lease that is kept alive, and revoked when its handle is closed. With `endWithProcess` it
   * also ends within 500 ms after this process has ended; otherwise after its TTL.
   */
  lease(ttlSeconds: number, options?: { endWithProcess?: boolean }): Promise<Lease>
  /**
   * A lock with this name, not acquired yet. If its process is stopped and does not keep its lease
   * alive, the lock is freed after the TTL in seconds.
   */
  lock(name: Bytes, ttlSeconds: number): Lock
  /** An election with this name; the handle is no candidate yet. The TTL as for `lock`. */
  election(name: Bytes, ttlSeconds: number): Election

  /** The status of the store. */
  status(): Promise<Status>
  statusSync(): Status
  /**
   * The active alarms, by kind and member. An alarm stays active until it is disarmed, also over a
   * restart, and is valid for every process that writes.
   */
  alarmList(): Promise<AlarmMember[]>
  /**
   * Activates an alarm of any member (0n) and resolves to it. Programs seldom need it: a store
   * opened with `limits: 'etcd'` activates `'nospace'` automatically.
   */
  alarmActivate(kind: AlarmKind, options?: { member?: bigint }): Promise<AlarmMember[]>
  /**
   * Disarms the alarms of this member (0n: of all) and of this kind (left out: of all), and
   * resolves to those that were active. Free space first; otherwise the next put activates
   * `'nospace'` again.
   */
  alarmDisarm(options?: { member?: bigint; kind?: AlarmKind }): Promise<AlarmMember[]>

  // --- Users and roles. The calls run on the pool of threads: hashing a password takes 50 ms.
  // Changes resolve to the store's revision, which they do not change.

  /**
   * Turns authentication on: a server of this store then checks every call of a client against users
   * and roles. A process that opens the directory needs no user. It needs a user `root` with the
   * role `root`: `FAILED_PRECONDITION` otherwise. No effect if it is on.
   */
  authEnable(): Promise<Revision>
  /** Turns authentication off. Users and roles are kept. */
  authDisable(): Promise<Revision>
  /** Whether authentication is on, and the revision of users and roles. */
  authStatus(): Promise<AuthStatus>
  /**
   * Creates a user with a password, or one that logs in with a client certificate only. The name has
   * 1 to 400 bytes, the password at most 72. `FAILED_PRECONDITION` if the user exists.
   */
  userAdd(name: string, options: { password: string } | { noPassword: true }): Promise<Revision>
  /** The roles of a user, sorted. `FAILED_PRECONDITION` if there is no such user. */
  userGet(name: string): Promise<string[]>
  /** The names of all users, sorted. */
  userList(): Promise<string[]>
  /**
   * Removes a user. `FAILED_PRECONDITION` if there is no such user, `INVALID_ARGUMENT` for `root`
   * while authentication is on.
   */
  userDelete(name: string): Promise<Revision>
  /** Changes the password of a user, whose tokens become invalid. */
  userChangePassword(name: string, password: string): Promise<Revision>
  /**
   * Grants a role to a user; no effect if the user has it. The role `root`, which permits
   * everything, need not be created first. `FAILED_PRECONDITION` if there is no such user or role.
   */
  userGrantRole(name: string, role: string): Promise<Revision>
  /** Takes a role from a user. `FAILED_PRECONDITION` if the user does not have it. */
  userRevokeRole(name: string, role: string): Promise<Revision>
  /** Creates a role without permissions. `FAILED_PRECONDITION` if it exists. */
  roleAdd(role: string): Promise<Revision>
  /**
   * The permissions of a role, by key. The role `root` always has one: all keys.
   * `FAILED_PRECONDITION` if there is no such role.
   */
  roleGet(role: string): Promise<Permission[]>
  /** The names of all roles, sorted. `root` is one of them only if it was created. */
  roleList(): Promise<string[]>
  /** Removes a role, also from every user that has it. */
  roleDelete(role: string): Promise<Revision>
  /** Adds a permission to a role. The permission with the same range, if any, is replaced. */
  roleGrantPermission(
    role: string,
    permission: { type: PermissionType } & PermissionRange,
  ): Promise<Revision>
  /**
   * Removes the permission with exactly this range from a role. `FAILED_PRECONDITION` if there is
   * none.
   */
  roleRevokePermission(
    role: string,
    range: Bytes | ({ type?: PermissionType } & PermissionRange),
  ): Promise<Revision>

  /** Reads the whole store and verifies every invariant, on the pool of threads. */
  check(): Promise<CheckReport>
  /**
   * The hash of all events up to a revision (0: the current one), as etcd computes it: two stores or
   * members with the same history and the same compacted revision have the same hash. It reads all
   * of the history, on the pool of threads. A cluster's hash is that of the member that responds.
   *
   * @throws {KvError} `COMPACTED`, `FUTURE_REVISION`, `INVALID_ARGUMENT` (a negative revision)
   */
  hashKv(revision?: Revision): Promise<HashKvResponse>

  /**
   * The members of the cluster. A store is one member without name and URLs, with the id that its
   * server shows.
   */
  memberList(): Promise<Member[]>
  /**
   * Adds a member with these URLs to the cluster, and resolves to it, with its new id. Its process
   * is started afterwards. A learner has no vote until {@link memberPromote}. A voter counts for the
   * quorum at once: in a cluster of one, writes wait until it has started.
   *
   * @throws {KvError} `UNSUPPORTED` for a store (the message explains how to move to a cluster),
   * `INVALID_ARGUMENT` (URLs that cannot be read), `FAILED_PRECONDITION` (URLs of another member, a
   * learner too many, members that are not healthy), `UNKNOWN_OUTCOME`
   */
  memberAdd(peerUrls: readonly string[], options?: { learner?: boolean }): Promise<Member>
  /**
   * Removes a member from the cluster.
   *
   * @throws {KvError} `UNSUPPORTED` for a store, `NOT_FOUND` (the member), `FAILED_PRECONDITION` (too
   * few members would be left), `UNKNOWN_OUTCOME`
   */
  memberRemove(id: bigint): Promise<void>
  /** Replaces the peer URLs of a member. Throws as {@link memberAdd}, and `NOT_FOUND`. */
  memberUpdate(id: bigint, peerUrls: readonly string[]): Promise<void>
  /**
   * Gives a learner its vote.
   *
   * @throws {KvError} `UNSUPPORTED` for a store, `NOT_FOUND` (the member), `FAILED_PRECONDITION` (it
   * is no learner, or it has not yet received what was written), `UNKNOWN_OUTCOME`
   */
  memberPromote(id: bigint): Promise<void>
  /**
   * Makes a member the leader of its cluster. For a store, its own id has no effect.
   *
   * @throws {KvError} `FAILED_PRECONDITION` (no such member, a learner), `UNKNOWN_OUTCOME`
   */
  moveLeader(id: bigint): Promise<void>

  /**
   * Writes a snapshot of the store to a new file, which etcd and {@link restore} can read: all
   * events that are kept, the leases and the compacted revision, as of one moment. Resolves to the
   * revision of the snapshot. The file is complete or not there; writers can continue meanwhile.
   *
   * @throws {KvError} `EXISTS` (the file), `NOT_FOUND` and `PERMISSION_DENIED` (its directory),
   * `FULL`, `IO`, `UNSUPPORTED` (a cluster, or a build without the feature etcd)
   */
  snapshotSave(file: string | Buffer | Uint8Array | URL): Promise<Revision>

  /**
   * Closes this handle. A second close has no effect. Writes that were submitted before are
   * completed first. Watchers of this handle end at once, and leases that it keeps alive are
   * revoked.
   */
  close(): Promise<void>
  closeSync(): void
  [Symbol.dispose](): void
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Opens the store in a directory, and creates it if there is none. `':memory:'` is a new store
 * without files; `file:` URLs are paths. It does not block the loop.
 *
 * `etcd://host:port,host:port`, `http://…` and `https://…` (TLS) open an etcd cluster, or a store
 * that {@link serve} or `kv serve` serves, with the same calls over the network. No call blocks the
 * loop: methods that end in `Sync`, and `getInto`, fail with `UNSUPPORTED` there, as do calls that
 * a cluster does not have. If a cluster refuses a `watch`, the first step of the watcher or `ready`
 * throws the error; writes through the same `Db` wait until the watcher is confirmed.
 *
 * @throws {KvError} `NOT_FOUND`, `NOT_A_STORE`, `INCOMPATIBLE`, `BUSY`, `PERMISSION_DENIED`, `IO`; for a
 * cluster `UNAVAILABLE`, whose message names each endpoint with its reason, and `UNAUTHENTICATED`
 */
export function open(target: string | Buffer | Uint8Array | URL, options?: OpenOptions): Promise<Db>
/** As {@link open}, in the call; `UNSUPPORTED` for a cluster. */
export function openSync(target: string | Buffer | Uint8Array | URL, options?: OpenOptions): Db

// biome-ignore lint/complexity/noUselessEmptyExport: without it every declaration is exported
export {}
