/**
 * libkv: etcd's data model as an embedded library.
 *
 * Keys and values go in as `Buffer`, any `Uint8Array` or other view, `ArrayBuffer`, or as a string,
 * which is stored as UTF-8; they come out as `Buffer`. What is given is copied before the call
 * returns. Revisions, versions and counts are numbers, ids of leases always bigints.
 *
 * Every method that answers a promise rejects with a {@link KvError} when the store refuses or
 * fails, with a `TypeError` or `RangeError` when it is called wrongly; then nothing was written. Its
 * twin with `Sync` in its name throws the same. A missing key is no error. The stack of a `KvError` has the
 * frames that await the call.
 *
 * `JSON.stringify` takes every response and request. In JSON a 64-bit number (the id of a lease, a member) is a string
 * of decimal digits. Bytes that are UTF-8 are text under their own name; other bytes are base64 under the same name
 * with `Base64` behind it. One of the two members is there, so a reader always knows which it has:
 * {@link KeyValueJson}. Responses compare by their members: `assert.deepStrictEqual({ ...kv }, { … })`.
 *
 * `util.inspect` shows a handle as Python's `repr` does: `<libkv.Db "/path">`, `<libkv.Lock "jobs", held>`.
 */

/** Bytes in. A string is stored as UTF-8; a lone surrogate in it is a `TypeError`. */
export type Bytes = string | ArrayBufferView | ArrayBuffer | SharedArrayBuffer

/** A point in the store's history: 1 is the empty store, each write adds 1. 0 and below mean "now". */
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

/** A refusal or failure. Misuse of the API is a `TypeError` or `RangeError` instead. */
export class KvError extends Error {
  constructor(
    code: ErrorCode,
    message: string,
    concerns?: { revision?: Revision; lease?: bigint; key?: Buffer },
  )
  /** What went wrong; stable. */
  readonly code: ErrorCode
  /** For `COMPACTED` the compacted revision, for `FUTURE_REVISION` the current one. */
  readonly revision: Revision | undefined
  /** The lease concerned, for `LEASE_NOT_FOUND`, `LEASE_EXISTS` and `LEASE_LOST`. */
  readonly lease: bigint | undefined
  /** The key concerned, for `KEY_NOT_FOUND`, `DUPLICATE_KEY` and requests refused for one of their keys. */
  readonly key: Buffer | undefined
}

/** A key with its value and its place in history. */
export interface KeyValue {
  readonly key: Buffer
  /** Empty if only keys were asked for. */
  readonly value: Buffer
  /** The revision of the put that created the key, after its last deletion. */
  readonly createRevision: Revision
  /** The revision of the last put. */
  readonly modRevision: Revision
  /** 1 at creation, one more with each put. */
  readonly version: number
  /** The lease that the key hangs on, or 0n. */
  readonly lease: bigint
  /** What `JSON.stringify` takes. */
  toJSON(): KeyValueJson
}

/** Bytes in JSON, by their member's name: text if they are UTF-8, else base64 under the other name. */
export type BytesJson<Name extends string> =
  | ({ readonly [key in Name]: string } & { readonly [key in `${Name}Base64`]?: never })
  | ({ readonly [key in Name]?: never } & { readonly [key in `${Name}Base64`]: string })

/**
 * A pair in JSON: `key` or `keyBase64`, `value` or `valueBase64`, and the rest. The bytes again are
 * `json.keyBase64 === undefined ? Buffer.from(json.key) : Buffer.from(json.keyBase64, 'base64')`.
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
 * Which keys: one key, all that begin with `prefix`, or `start` <= key < `end`; without `start` from
 * the beginning, without `end` to the end. At most one of the three.
 */
export interface Keys {
  key?: Bytes
  prefix?: Bytes
  start?: Bytes
  end?: Bytes
}

/** What is read of a range, and how. */
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

/** Which keys and how, in one object. */
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
 * Ends the wait for a write. The promise rejects with the signal's reason; if the write had begun,
 * the reason's `cause` is a {@link KvError} `UNKNOWN_OUTCOME` (where it can have one), else nothing
 * was written.
 */
export interface Abortable {
  signal?: AbortSignal
}

/** A request as a value, made by {@link Put}: run alone or inside a txn. */
export interface PutRequest {
  readonly key: string | Buffer
  readonly value: string | Buffer
  readonly [kind]: 'put'
}
/** A request as a value, made by {@link Range}. */
export interface RangeRequestValue {
  readonly [kind]: 'range'
}
/** A request as a value, made by {@link Delete}. */
export interface DeleteRequest {
  readonly [kind]: 'delete'
}
/** A request as a value, made by {@link Txn}. */
export interface TxnRequest {
  readonly [kind]: 'txn'
}
/** A condition as a value, made by {@link Compare}. */
export interface CompareValue {
  readonly [kind]: 'compare'
}
declare const kind: unique symbol

export type Op = PutRequest | RangeRequestValue | DeleteRequest | TxnRequest

/** What a txn is made of. */
export interface TxnMembers {
  /** The conditions; all must hold, none is success. */
  compare?: readonly CompareValue[]
  /** What runs if they hold. */
  success?: readonly Op[]
  /** What runs if one does not. */
  failure?: readonly Op[]
  /** How safe this write must be; default the handle's. Without effect in a txn inside a txn. */
  durability?: Durability
}

/** Writes one key. Copies what it is given. */
export function Put(key: Bytes, value: Bytes, options?: PutOptions): PutRequest
export function Put(
  key: Bytes,
  value: undefined,
  options: PutOptions & { ignoreValue: true },
): PutRequest
/** Reads the pairs of a range; without a range, of all keys. */
export function Range(range?: RangeRequest): RangeRequestValue
export function Range(range: Bytes | Keys, options?: RangeOptions): RangeRequestValue
/** Deletes the keys of a range; it must be named, `{ prefix: '' }` is every key. */
export function Delete(
  range: Bytes | (Keys & DeleteOptions),
  options?: DeleteOptions,
): DeleteRequest
/** Compares, then runs one of two lists of operations, all in one revision. */
export function Txn(members: TxnMembers): TxnRequest

/** Conditions of a txn, on a key or on every key of a range. A missing key has version, revisions and lease 0. */
export const Compare: {
  version(range: Bytes | Keys, result: CompareResult, version: number): CompareValue
  createRevision(range: Bytes | Keys, result: CompareResult, revision: Revision): CompareValue
  modRevision(range: Bytes | Keys, result: CompareResult, revision: Revision): CompareValue
  /** Bytewise; on a missing key every comparison is false, `!=` too. */
  value(range: Bytes | Keys, result: CompareResult, value: Bytes): CompareValue
  lease(range: Bytes | Keys, result: CompareResult, lease: bigint): CompareValue
}

export interface PutResponse {
  /** The store's revision after the put. */
  readonly revision: Revision
  /** The pair as it was before, if it was asked for and the key existed. */
  readonly prevKv: KeyValue | undefined
}

/** The pairs of a range; iterating it is iterating `kvs`. */
export interface RangeResponse extends Iterable<KeyValue> {
  /** The store's revision when it was read, also if an older one was asked for. */
  readonly revision: Revision
  /** The pairs. Those of one answer share memory: to keep one keeps up to 64 KiB, or its own size. */
  readonly kvs: KeyValue[]
  /** How many keys the range has at that revision, whatever the limit and the filters. */
  readonly count: number
  /** Whether the limit cut anything off. */
  readonly more: boolean
}

export interface DeleteResponse {
  /** The store's revision afterwards; unchanged if nothing was deleted. */
  readonly revision: Revision
  /** How many keys went. */
  readonly deleted: number
  /** The pairs that went, by key, if they were asked for. */
  readonly prevKvs: KeyValue[]
}

export interface TxnResponse {
  /** Whether the conditions held, and so which list ran. */
  readonly succeeded: boolean
  /** The store's revision afterwards. */
  readonly revision: Revision
  /** The answers of the operations that ran, in their order; each as of the single call. */
  readonly responses: (PutResponse | RangeResponse | DeleteResponse | TxnResponse)[]
}

export interface CompactResponse {
  /** The store's revision: compacting does not change it. */
  readonly revision: Revision
}

/** One change of one key. */
export interface Event {
  readonly type: 'put' | 'delete'
  /** For a put the new pair; of a delete only `key` and `modRevision`, that of the deletion, are set. */
  readonly kv: KeyValue
  /** The pair before, where it was asked for and is still kept. */
  readonly prevKv: KeyValue | undefined
}

/** How one key differs between two revisions. */
export interface Difference {
  readonly key: Buffer
  /** The pair at the first revision, if the key was there. */
  readonly before: KeyValue | undefined
  /** The pair at the second revision, if the key was there. */
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
  /** By how many commits the oldest active read transaction is behind; `undefined` if there is none. */
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

/** An alarm that is active, or was until now. */
export interface AlarmMember {
  /** The member that it names; a store names itself by the second half of its store id. */
  readonly member: bigint
  readonly kind: AlarmKind
}

/** One thing that a check found wrong. */
export interface Problem {
  /** The invariant that is broken, as numbered in core/DESIGN.md. */
  readonly invariant: string
  /** The key, if one is meant. */
  readonly key: Buffer
  /** The revision, or 0. */
  readonly revision: Revision
  readonly message: string
}

export interface CheckReport {
  /** Keys that exist now. */
  readonly keys: number
  /** Events in the log. */
  readonly events: number
  /** What is wrong; empty is well. */
  readonly problems: Problem[]
}

/** How a store is opened. What is left out takes its default. */
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

/** How a store is served. Files are PEM. */
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
  // end of generated
}

/**
 * A store that is served to etcd's clients; made by {@link serve}. It keeps the store open, but not the process. Once
 * the store is closed its clients get errors.
 */
export class Server {
  private constructor()
  /** Where it listens, as clients take it: `http://127.0.0.1:41234`, `https://…`, `unix:///path`. */
  readonly address: string
  /** Whether it was closed. */
  readonly closed: boolean
  /** Ends it: requests under way get their answers if that is quick, streams are cut. The store stays open. Closing twice is fine. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Serves a store to etcd's clients, in any language; resolves once it is ready for them. Meant above all for tests:
 * `kv serve` is the program for the rest. The store stays usable here and in other processes, and watchers on either
 * side see what the other writes.
 *
 * @param address `host:port` (port 0 takes a free one), `http://host:port`, `https://host:port` (TLS), or
 * `unix:///path` (`127.0.0.1:0`)
 * @throws {KvError} `INVALID_ARGUMENT` (an address or a file that cannot be read), `BUSY` (the address is in use),
 * `PERMISSION_DENIED`, `IO`, `CLOSED`, `UNSUPPORTED` (a cluster, or a build without the feature etcd)
 */
export function serve(db: Db, address?: string, options?: ServeOptions): Promise<Server>

/** A clock in the hand of a test: it stands still until it is advanced. */
export class Clock {
  /** @param unixMs where it stands, in milliseconds since 1970 */
  constructor(unixMs: number)
  /** Where it stands, in milliseconds since 1970. */
  readonly unixMs: number
  /** Moves forward by so many milliseconds; resolves once all that became due is done: leases that expire are gone with their keys. */
  advance(ms: number): Promise<void>
  /** The same, before it returns. */
  advanceSync(ms: number): void
}

/** Pairs one by one, all at one revision, page by page; holds nothing between steps. */
export interface Walk<T> extends AsyncIterableIterator<T> {
  return(): Promise<IteratorResult<T>>
  [Symbol.asyncDispose](): Promise<void>
}

/** The same without promises. */
export interface SyncWalk<T> extends IterableIterator<T> {
  return(): IteratorResult<T>
  [Symbol.dispose](): void
}

/**
 * The store as it was at one revision; made by {@link Db.snapshot}. It is a number, not a
 * transaction: it holds nothing, and once a compaction has passed it every call answers `COMPACTED`.
 * A range that asks for another revision answers `INVALID_ARGUMENT`.
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
  scan(range?: RangeRequest | RangeRequestValue): Walk<KeyValue>
  scan(range: Bytes | Keys, options?: RangeOptions): Walk<KeyValue>
  scanSync(range?: RangeRequest | RangeRequestValue): SyncWalk<KeyValue>
  scanSync(range: Bytes | Keys, options?: RangeOptions): SyncWalk<KeyValue>
}

/** How a range is followed. */
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

/** What ends the following of something, and whether the process stays for it. */
export interface FollowOptions {
  /** Ends it: the step that waits, and each later one, rejects with the signal's reason. Aborted already, it is thrown. */
  signal?: AbortSignal
  /**
   * Whether the process stays alive while a step waits. Left out: in a `for await`, and for a step with
   * `timeoutMs`; a `next()` alone does not hold it. See `ref` and `unref`.
   */
  keepAlive?: boolean
}

/** Which keys and how, in one object. */
export interface WatchRequest extends Keys, WatchOptions, FollowOptions {}

/** One revision as a watcher sees it; iterating it is iterating `events`. */
export interface WatchBatch extends Iterable<Event> {
  readonly revision: Revision
  /** What this revision changed in the watched range, by key; empty only in a batch of progress. */
  readonly events: Event[]
}

/**
 * Follows a range; made by {@link Db.watch}. Each step is one whole revision, by whichever process it
 * was written; none is left out and none comes twice. It is a filter and a position: not read, it
 * holds nothing back and costs writers nothing. When a compaction passes what it has not read, it ends
 * with `COMPACTED`, whose `revision` is the first that a new watcher may start from.
 *
 * Steps asked for at once are taken one after the other. Once it is closed a step is done; closing
 * the store rejects it with `CLOSED`, `cancel` with `CANCELLED`, at once. No thread waits for it.
 */
export class Watcher implements AsyncIterable<WatchBatch> {
  private constructor()
  /** The next batch, as soon as there is one. */
  next(): Promise<IteratorResult<WatchBatch, undefined>>
  /** The same, for so many milliseconds: the value is undefined, and it is not done, if none came. */
  next(options: { timeoutMs?: number }): Promise<IteratorResult<WatchBatch | undefined, undefined>>
  /**
   * Resolves once the watcher is there, which a store in this process says at once; a cluster has to confirm it. Rejects
   * with what it is refused with, as the first step would.
   */
  ready(): Promise<this>
  /** The next batch if there is one now. Reads it before it returns; `INVALID_ARGUMENT` while a step waits. */
  tryNext(): WatchBatch | undefined
  /** Ends it: the step that waits, and each later one, rejects with `CANCELLED`. */
  cancel(): void
  /** Ends it: the step that waits, and each later one, is done. Closing twice is fine. */
  close(): void
  /** The revision to start from the next time, to miss nothing and see nothing twice; also once it has ended. */
  readonly resumeRevision: Revision
  /** The process stays alive while a step waits. */
  ref(): this
  /** It does not, not even in a `for await`. */
  unref(): this
  /** Closes it. */
  return(): Promise<IteratorResult<WatchBatch, undefined>>
  [Symbol.asyncIterator](): AsyncIterableIterator<WatchBatch>
  [Symbol.dispose](): void
  [Symbol.asyncDispose](): Promise<void>
}

export interface LeaseGrantResponse {
  /** The store's revision: granting does not change it. */
  readonly revision: Revision
  readonly id: bigint
  /** The TTL that it got. */
  readonly ttlSeconds: number
}

export interface LeaseRevokeResponse {
  /** The store's revision afterwards; unchanged if the lease had no keys. */
  readonly revision: Revision
}

export interface LeaseKeepAliveResponse {
  readonly id: bigint
  /** The TTL that it has again, or 0: there is no such lease, or it has expired. */
  readonly ttlSeconds: number
}

export interface LeaseTimeToLiveResponse {
  readonly id: bigint
  /** Whole seconds that are left, rounded down; -1 if there is no such lease. */
  readonly ttlSeconds: number
  /** The TTL that it was granted; 0 if there is no such lease. */
  readonly grantedTtlSeconds: number
  /** The keys on it, ascending, if they were asked for. In JSON each is `{ key }` or `{ keyBase64 }`. */
  readonly keys: Buffer[]
}

/**
 * A lease that keeps itself alive as long as this handle and this process live; made by
 * {@link Db.lease}. Put keys on it by its `id`. Closing it revokes it: its keys go; so does the garbage
 * collector, some time, when nothing refers to it any more: keep it for as long as the keys shall stay.
 */
export class Lease {
  private constructor()
  readonly id: bigint
  /** The TTL that it was granted. */
  readonly ttlSeconds: number
  /** Whole seconds that it would live on if its process died now; 0 if it is gone. */
  remaining(): Promise<number>
  /** Whether it is known to be gone (expired while the process was stopped, or revoked), though nobody closed it. */
  readonly lost: boolean
  /** Calls back, in a turn of the loop, when it is lost, or soon if it is; never once it is closed. Does not hold the process. */
  onLost(callback: () => void): void
  /** Stops keeping it alive and revokes it. Closing twice is fine, and so is closing one that is lost. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** How long to wait, and what ends the wait before: it leaves the line, and the promise rejects with the signal's reason. */
export interface Patience {
  /** Then `TIMEOUT` names the holder (left out or `Infinity`: never). */
  timeoutMs?: number
  signal?: AbortSignal
}

/**
 * A lock that one holds at a time, of all threads and processes that use the store; made by
 * {@link Db.lock}. Its keys are laid out as etcd's own lock service does.
 *
 * What it guarantees: whoever acquires it is the only one whose key is first in the line, in the order
 * in which they came. It is freed when it is released, and within 500 ms of the death of its process,
 * by any process that uses leases or watchers at that time. What it does not: a holder that is stopped
 * for longer than the TTL loses it without noticing, and somebody else gets it. A write that must not
 * come from such a former holder is fenced by `revision`, which only grows from holder to holder: let
 * what is protected refuse a lower one than it has seen, or make the write a txn with
 * `Compare.createRevision(lock.key, '==', lock.revision)`.
 *
 * A lock that is held and that nothing refers to any more is freed by the garbage collector, some time.
 */
export class Lock {
  private constructor()
  /** Waits until it has the lock; does nothing if it has it. After any error it stands in no line. One waits at a time. */
  acquire(options?: Patience): Promise<void>
  /** Takes the lock if nobody has it or waits for it; answers whether it has it. */
  tryAcquire(): Promise<boolean>
  /** Frees the lock, or leaves the line (who waits gets `CANCELLED`); does nothing if neither. */
  release(): Promise<void>
  /** Whether it is held, as far as is known here: false once its lease is known to be lost. */
  readonly isHeld: boolean
  /** Its key in the store while it is held; else empty. */
  readonly key: Buffer
  /** The revision that created its key, which fences; 0 while it is not held. */
  readonly revision: Revision;
  /** Releases it. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * An election of one leader among all who campaign for a name; made by {@link Db.election}. Its keys
 * are laid out as etcd's own election service does.
 *
 * What it guarantees: of all keys of the name the one that was put first is the leader's, and its value
 * is what the leader proclaims. A leader that resigns, or whose process dies, is followed by the next
 * who campaigned. What it does not: a leader that is stopped for longer than the TTL may wake up and
 * believe for a moment that it still leads. `proclaim` is refused then; other writes are fenced by
 * `revision`, as with {@link Lock}.
 */
export class Election {
  private constructor()
  /** Waits until it leads, and proclaims `value` as its own. After any error it does not stand. */
  campaign(value: Bytes, options?: Patience): Promise<void>
  /** Changes the value that the leader is known by. `FAILED_PRECONDITION` if it does not lead, `LEASE_LOST` if no longer. */
  proclaim(value: Bytes): Promise<void>
  /** The leader's pair, if there is one. It may be another process's. */
  leader(): Promise<KeyValue | undefined>
  /** Each leader from the present one on, and each value that one proclaims. */
  observe(options?: FollowOptions): Leaders
  /** Steps down, or out of the line (who waits gets `CANCELLED`); does nothing if it stands nowhere. */
  resign(): Promise<void>
  /** Whether it leads, as far as is known here: false once its lease is known to be lost. */
  readonly isLeader: boolean
  /** Its key in the store while it leads; else empty. */
  readonly key: Buffer
  /** The revision that created its key, which fences; 0 while it does not lead. */
  readonly revision: Revision;
  /** Resigns. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * The leaders of an election, one after the other; made by {@link Election.observe}. Of changes that
 * come faster than they are read only the last is answered. Steps, ends and `ref` as of {@link Watcher}.
 */
export class Leaders implements AsyncIterable<KeyValue> {
  private constructor()
  /** The next leader's pair. */
  next(): Promise<IteratorResult<KeyValue, undefined>>
  next(options: { timeoutMs?: number }): Promise<IteratorResult<KeyValue | undefined, undefined>>
  /** As {@link Watcher.ready}. */
  ready(): Promise<this>
  /** Ends it: the step that waits, and each later one, is done. */
  close(): void
  ref(): this
  unref(): this
  return(): Promise<IteratorResult<KeyValue, undefined>>
  [Symbol.asyncIterator](): AsyncIterableIterator<KeyValue>
  [Symbol.dispose](): void
  [Symbol.asyncDispose](): Promise<void>
}

/** What the body of {@link Db.transact} reads and writes through; of use until the body has ended. */
export interface Transaction {
  /** One key, with this transaction's own writes; of those only key, value and lease are known. */
  get(key: Bytes): Promise<KeyValue | undefined>
  /** A range, limit and `keysOnly`; anything else is `INVALID_ARGUMENT`. */
  range(range?: RangeRequest | RangeRequestValue): Promise<RangeResponse>
  range(range: Bytes | Keys, options?: RangeOptions): Promise<RangeResponse>
  /** Writes a key when the body returns. */
  put(key: Bytes, value: Bytes, options?: { lease?: bigint }): Promise<void>
  /** Deletes keys when the body returns; answers how many this transaction sees. */
  delete(range: Bytes | Keys): Promise<number>
}

/**
 * A store, open; made by {@link open} and {@link openSync}. It belongs to the thread that opened it:
 * each worker opens its own, and all of a process share one environment. Once closed, every call on
 * it and on what was made from it answers `CLOSED`. A store that nothing refers to any more is
 * closed by the garbage collector, some time.
 */
export class Db {
  private constructor()

  /** Whether this handle was closed. */
  readonly closed: boolean

  /** One key, now or at a revision, if it is there. Read before it returns, in microseconds. */
  get(key: Bytes, options?: { revision?: Revision }): Promise<KeyValue | undefined>
  getSync(key: Bytes, options?: { revision?: Revision }): KeyValue | undefined
  /**
   * The value of one key into a buffer: its length, if the key is there. If the buffer is too small
   * nothing is copied and the length needed is answered. Makes no object.
   */
  getInto(key: Bytes, buffer: NodeJS.ArrayBufferView): number | undefined

  /** The pairs of a range at one revision, in one answer; without a range, of all keys. */
  range(range?: RangeRequest | RangeRequestValue): Promise<RangeResponse>
  range(range: Bytes | Keys, options?: RangeOptions): Promise<RangeResponse>
  rangeSync(range?: RangeRequest | RangeRequestValue): RangeResponse
  rangeSync(range: Bytes | Keys, options?: RangeOptions): RangeResponse

  /** The pairs of a range one by one, all at the revision of the first step; ascending by key. */
  scan(range?: RangeRequest | RangeRequestValue): Walk<KeyValue>
  scan(range: Bytes | Keys, options?: RangeOptions): Walk<KeyValue>
  scanSync(range?: RangeRequest | RangeRequestValue): SyncWalk<KeyValue>
  scanSync(range: Bytes | Keys, options?: RangeOptions): SyncWalk<KeyValue>

  /** Writes one key; the revision rises by 1. Puts of one turn of the loop share a commit. */
  put(key: Bytes, value: Bytes, options?: PutOptions & Abortable): Promise<PutResponse>
  put(
    key: Bytes,
    value: undefined,
    options: PutOptions & Abortable & { ignoreValue: true },
  ): Promise<PutResponse>
  put(request: PutRequest, options?: Abortable): Promise<PutResponse>
  putSync(key: Bytes, value: Bytes, options?: PutOptions): PutResponse
  putSync(key: Bytes, value: undefined, options: PutOptions & { ignoreValue: true }): PutResponse
  putSync(request: PutRequest): PutResponse

  /** Deletes the keys of a range, which must be named; the revision rises by 1 if there was any. */
  delete(request: DeleteRequest, options?: Abortable): Promise<DeleteResponse>
  delete(
    range: Bytes | (Keys & DeleteOptions & Abortable),
    options?: DeleteOptions & Abortable,
  ): Promise<DeleteResponse>
  deleteSync(
    range: DeleteRequest | Bytes | (Keys & DeleteOptions),
    options?: DeleteOptions,
  ): DeleteResponse

  /** Compares, then runs one of two lists of operations in one revision, or nothing at all. */
  txn(request: TxnRequest, options?: Abortable): Promise<TxnResponse>
  txn(members: TxnMembers & Abortable): Promise<TxnResponse>
  txnSync(txn: TxnMembers | TxnRequest): TxnResponse

  /**
   * Runs `body` until what it read is still true when what it wrote is committed, all in one
   * revision; answers what `body` answered. It may run several times. After `maxRetries` (64;
   * `Infinity`: never) it gives up with `CONFLICT`. If `body` throws, nothing is written.
   */
  transact<T>(
    body: (t: Transaction) => T | Promise<T>,
    options?: { maxRetries?: number | null } & Abortable,
  ): Promise<T>

  /**
   * Forgets history below `revision`: reads below it answer `COMPACTED` from then on. With
   * `physical` answers only once the space can be used again.
   */
  compact(
    revision: Revision,
    options?: { physical?: boolean } & Abortable,
  ): Promise<CompactResponse>
  compactSync(revision: Revision, options?: { physical?: boolean }): CompactResponse

  /** A view of the current revision. */
  snapshot(): Promise<Snapshot>
  /** A view of this revision. */
  snapshotAt(revision: Revision): Promise<Snapshot>
  /** The events of one key, newest first, deletions too; at most `limit`, 0 for all that are kept. */
  history(key: Bytes, options?: { limit?: number }): Promise<Event[]>
  /** The events of a range with `after` < revision <= `upto` (default: the current one), in order. */
  events(after: Revision, upto?: Revision, range?: Bytes | Keys): Walk<Event>
  /** The keys of a range that differ between revision `a` and revision `b` (default: now), by key. */
  diff(a: Revision, b?: Revision, range?: Bytes | Keys): Walk<Difference>

  /**
   * The last revision that was written by the end of the minute of this time (a `Date`, or milliseconds
   * since 1970): what a key held then is `get(key, { revision })`. `COMPACTED` if it cannot be read any more.
   */
  revisionAt(time: Date | number): Promise<Revision>

  /**
   * Follows the events of a range, by whichever process they are written; without a range, of all keys.
   * Throws `COMPACTED` if `startRevision` lies below the compacted revision, which the error carries.
   */
  watch(range?: WatchRequest): Watcher
  watch(range: Bytes | Keys, options?: WatchOptions & FollowOptions): Watcher

  /**
   * Grants a lease of so many seconds (raised to the handle's minimum) with this id, or with one that
   * the store chooses. Nobody keeps it alive; see `lease` for one that keeps itself. `LEASE_EXISTS`.
   */
  leaseGrant(ttlSeconds: number, options?: { id?: bigint } & Abortable): Promise<LeaseGrantResponse>
  /** Revokes a lease: its keys are deleted in one revision. `LEASE_NOT_FOUND`. */
  leaseRevoke(id: bigint, options?: Abortable): Promise<LeaseRevokeResponse>
  /** Gives a lease its full TTL again, once. Takes no lock and writes nothing to the disk. */
  leaseKeepAlive(id: bigint): Promise<LeaseKeepAliveResponse>
  /** What is left of a lease, and, with `keys`, which keys hang on it. */
  leaseTimeToLive(id: bigint, options?: { keys?: boolean }): Promise<LeaseTimeToLiveResponse>
  /** The ids of all leases, the next to expire first. For JSON: `ids.map(String)`. */
  leaseList(): Promise<bigint[]>
  /**
   * A lease that keeps itself alive, and is revoked when its handle is closed. With `endWithProcess` it
   * also ends within 500 ms of this process's death; else by its TTL.
   */
  lease(ttlSeconds: number, options?: { endWithProcess?: boolean }): Promise<Lease>
  /** A lock by this name, not yet acquired. If its process lives but does not keep it alive, it is freed after the TTL. */
  lock(name: Bytes, ttlSeconds: number): Lock
  /** An election by this name; nobody campaigns yet. The TTL as for `lock`. */
  election(name: Bytes, ttlSeconds: number): Election

  /** What the store says of itself. */
  status(): Promise<Status>
  statusSync(): Status
  /**
   * The alarms that are active, by kind and member. One that is active stays until it is disarmed, also over a
   * restart, and every process that writes obeys it.
   */
  alarmList(): Promise<AlarmMember[]>
  /**
   * Raises an alarm, in the name of any member (0n), and answers it. Programs seldom do so: `'nospace'` comes by
   * itself where the store was opened with `limits: 'etcd'`.
   */
  alarmActivate(kind: AlarmKind, options?: { member?: bigint }): Promise<AlarmMember[]>
  /**
   * Ends alarms: those of this member (0n: of every member) and of this kind (left out: of every kind). Answers
   * those that were active. Make room first: `'nospace'` comes back with the next put else.
   */
  alarmDisarm(options?: { member?: bigint; kind?: AlarmKind }): Promise<AlarmMember[]>
  /** Reads the whole store and verifies every invariant, on the pool of threads. */
  check(): Promise<CheckReport>

  /**
   * Closes this handle. Closing twice is fine. Writes handed over before are answered first. Watchers
   * made from it end at once, leases that its handles kept alive are revoked.
   */
  close(): Promise<void>
  closeSync(): void
  [Symbol.dispose](): void
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Opens the store in a directory, and makes it if there is none. `':memory:'` is a store of its own
 * that leaves nothing behind; `file:` URLs are paths. Does not hold the loop.
 *
 * `etcd://host:port,host:port`, `http://…` and `https://…` (TLS) open a cluster of etcd, or a store that {@link serve}
 * or `kv serve` serves: the same calls, over the network. Nothing waits on the loop: what ends in `Sync`, and
 * `getInto`, answers `UNSUPPORTED` there, and so does what a cluster cannot do. What `watch` may be refused with is
 * thrown by the first step of the watcher, or by `ready`; writes through the same `Db` wait until it is there.
 *
 * @throws {KvError} of a cluster `UNAVAILABLE`, which names each endpoint with its reason, and `UNAUTHENTICATED`
 */
export function open(target: string | Buffer | Uint8Array | URL, options?: OpenOptions): Promise<Db>
/** The same, before it returns; `UNSUPPORTED` for a cluster. */
export function openSync(target: string | Buffer | Uint8Array | URL, options?: OpenOptions): Db

// biome-ignore lint/complexity/noUselessEmptyExport: without it every declaration is exported
export {}
