'use strict'

const { inspect } = require('node:util')

const {
  abortSignal,
  bytes,
  flag,
  integer,
  knownOptions,
  lease,
  oneOf,
  path,
  text,
  ttl,
  wrong,
} = require('./arguments.js')
const { writeGrant, writeRevocation, writeTexts, writeUserAdd } = require('./auth.js')
const { flushAndQueue, callAsync, callSync, submit } = require('./calls.js')
const { Election, Lock } = require('./claim.js')
const { invalid, unsupported } = require('./errors.js')
const { Watcher } = require('./watch.js')
const { Lease } = require('./lease.js')
const { native, flush, scratch, SCRATCH_BYTES } = require('./native.js')
const { ALARM_KINDS, KIND, RANGE_KIND } = require('./numbers.js')
const { renameOptions, writeOpenRequest } = require('./open.js')
const {
  deleteArgs,
  isReadOnly,
  keysArgs,
  putArgs,
  rangeArgs,
  txnArgs,
  watchArgs,
  writePut,
} = require('./request.js')
const { Snapshot } = require('./snapshot.js')
const { transact } = require('./transact.js')
const { AsyncScan, SyncScan, Pages } = require('./scan.js')
const wire = require('./wire.js')

/** Closes stores that are collected without being closed. */
const registry = new FinalizationRegistry((handle) => void native.release(handle))

/** Only `open` has this key, so only it creates a Db. */
const CREATE = Symbol('create')

/** Returns the number of a store, for `serve`. */
let handleOf

/** Keys up to this length fit into the scratch memory in any encoding. */
const SHORT = Math.floor(SCRATCH_BYTES / 4)

/**
 * An open store. Its methods return promises, except those that end in `Sync`, and `getInto`. See
 * index.d.ts for each of them.
 */
class Db {
  #handle
  /** The path or address, for `inspect`. */
  #target
  /** A cluster: each request waits for the network. */
  #remote
  #closed = false
  #closing
  /** Watchers that a cluster has not confirmed yet. */
  #opening = new Set()
  /** The ends of the waits for watchers: closing the store calls them. */
  #waiting = new Set()

  constructor(key, handle, target) {
    if (key !== CREATE) throw new TypeError('a Db is created by libkv.open or libkv.openSync')
    this.#handle = handle
    this.#target = target
    this.#remote = native.isRemote(handle)
    registry.register(this, handle)
  }

  static {
    handleOf = (db) =>
      typeof db === 'object' && db !== null && #handle in db ? db.#handle : undefined
  }

  /** Refuses a cluster, for a call that does not wait. */
  #here(call, instead) {
    if (this.#remote) throw unsupported(call, instead)
  }

  /** Sends the encoded request: in the call, or, to a cluster, on the pool. */
  #send() {
    return this.#remote
      ? callAsync(native.callLater, this.#handle)
      : callSync(native.call, this.#handle)
  }

  /**
   * Runs a write. On a cluster it waits until the watchers created before are confirmed, so that
   * they get the write, as on an embedded store.
   */
  #after(write) {
    return this.#opening.size === 0
      ? write()
      : Promise.all(this.#opening).then(() => this.#after(write))
  }

  get closed() {
    return this.#closed
  }

  // --- Reads. One key is read in the call, in microseconds; reads that may take long run on the
  // pool, so that they do not block the loop.

  async get(key, options) {
    return this.#remote ? this.#getLater(key, options) : this.#get(key, options)
  }

  getSync(key, options) {
    this.#here('getSync', 'get')
    return this.#get(key, options)
  }

  async #getLater(key, options) {
    const revision = integer(
      'option revision',
      knownOptions('get', options, ['revision']).revision,
      0,
    )
    wire.request(
      wire.OUTBOX,
      'range',
      rangeArgs('get', bytes('the key', key), { revision: Math.max(0, revision) }),
    )
    return (await submit(this.#handle)).kvs[0]
  }

  #get(key, options) {
    const revision =
      options === undefined
        ? 0
        : integer('option revision', knownOptions('get', options, ['revision']).revision, 0)
    const given = bytes('the key', key)
    if (given.length < SHORT) {
      const len = native.get(this.#handle, wire.copy(given, scratch, 0), revision)
      return wire.readResponse(len)
    }
    wire.begin(KIND.get)
    wire.f64(revision)
    wire.bytes(given)
    return callSync(native.call, this.#handle)
  }

  getInto(key, buffer) {
    this.#here('getInto', 'get')
    if (!ArrayBuffer.isView(buffer)) throw wrong('the buffer', 'a Buffer or Uint8Array', buffer)
    const given = bytes('the key', key)
    if (given.length < SHORT) {
      const len = native.getInto(this.#handle, wire.copy(given, scratch, 0))
      if (len < -1) return wire.readResponse(-2 - len)
      if (len === -1) return undefined
      if (len > buffer.byteLength) return len
      if (len <= SCRATCH_BYTES) return this.#into(buffer, scratch, len)
    }
    // a value larger than the scratch memory is read again, in its current version
    const value = this.#get(given)?.value
    if (value === undefined || value.length > buffer.byteLength) return value?.length
    return this.#into(buffer, value, value.length)
  }

  #into(buffer, from, len) {
    new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength).set(from.subarray(0, len))
    return len
  }

  async range(range, options) {
    const request = rangeArgs('range', range, options)
    if (this.#remote) {
      wire.request(wire.OUTBOX, 'range', request)
      return submit(this.#handle)
    }
    wire.request(wire.SCRATCH, 'range', request)
    return request.range.how === RANGE_KIND.key
      ? callSync(native.call, this.#handle)
      : callAsync(native.callLater, this.#handle)
  }

  rangeSync(range, options) {
    this.#here('rangeSync', 'range')
    wire.request(wire.SCRATCH, 'range', rangeArgs('range', range, options))
    return callSync(native.call, this.#handle)
  }

  scan(range, options) {
    return new AsyncScan(this.#scan(range, options))
  }

  scanSync(range, options) {
    this.#here('scanSync', 'the steps of scan')
    return new SyncScan(this.#scan(range, options))
  }

  #scan(range, options) {
    const request = rangeArgs('scan', range, options)
    wire.begin(KIND.scan)
    wire.members('range', request)
    return new Pages(this, this.#handle)
  }

  // --- Writes. They go through the group queue: all that wait at one moment share a commit.

  // not an async function, which would create two more promises for each put
  put(key, value, options) {
    try {
      if (this.#opening.size > 0) {
        const request = putArgs('put', key, value, options)
        return this.#after(() => this.#submit('put', request))
      }
      return submit(this.#handle, writePut(wire.OUTBOX, 'put', key, value, options))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Submits a request with the signal among its members. */
  #submit(kind, request) {
    wire.request(wire.OUTBOX, kind, request)
    return submit(this.#handle, request.signal)
  }

  putSync(key, value, options) {
    this.#here('putSync', 'put')
    noSignal('putSync', writePut(wire.SCRATCH, 'putSync', key, value, options))
    return callSync(native.call, this.#handle)
  }

  async delete(range, options) {
    const request = deleteArgs('delete', range, options)
    return this.#after(() => this.#submit('delete', request))
  }

  deleteSync(range, options) {
    this.#here('deleteSync', 'delete')
    const request = deleteArgs('deleteSync', range, options)
    noSignal('deleteSync', request.signal)
    wire.request(wire.SCRATCH, 'delete', request)
    return callSync(native.call, this.#handle)
  }

  async txn(txn, options) {
    const request = txnArgs('txn', txn, options)
    if (isReadOnly(request) && !this.#remote) {
      wire.request(wire.SCRATCH, 'txn', request)
      return callAsync(native.callLater, this.#handle)
    }
    return this.#after(() => this.#submit('txn', request))
  }

  txnSync(txn, options) {
    this.#here('txnSync', 'txn')
    const request = txnArgs('txnSync', txn, options)
    noSignal('txnSync', request.signal)
    wire.request(wire.SCRATCH, 'txn', request)
    return callSync(native.call, this.#handle)
  }

  async transact(body, options) {
    return this.#after(() => transact(this.#handle, this.#remote, body, options))
  }

  async compact(revision, options) {
    const { physical, signal } = knownOptions('compact', options, ['physical', 'signal'])
    abortSignal(signal)
    this.#writeCompact(wire.OUTBOX, revision, physical)
    return submit(this.#handle, signal)
  }

  compactSync(revision, options) {
    this.#here('compactSync', 'compact')
    this.#writeCompact(
      wire.SCRATCH,
      revision,
      knownOptions('compactSync', options, ['physical']).physical,
    )
    return callSync(native.call, this.#handle)
  }

  #writeCompact(where, revision, physical) {
    const [at, waits] = [integer('the revision', revision), flag('option physical', physical)]
    where(KIND.compact)
    wire.u8(waits ? 1 : 0)
    wire.f64(at)
  }

  // --- History

  async snapshot() {
    return this.#snapshot(0)
  }

  async snapshotAt(revision) {
    return this.#snapshot(integer('the revision', revision))
  }

  async #snapshot(revision) {
    wire.begin(KIND.snapshot)
    wire.f64(revision)
    return new Snapshot(this, await this.#send())
  }

  async history(key, options) {
    const limit = integer('option limit', knownOptions('history', options, ['limit']).limit, 0)
    const given = bytes('the key', key)
    wire.begin(KIND.history)
    wire.f64(limit)
    wire.bytes(given)
    return (await callAsync(native.callLater, this.#handle)).items
  }

  events(after, upto, range) {
    const [from, to] = [integer('after', after), integer('upto', upto, 0)]
    return this.#between('events', from, to, keysArgs('events', range))
  }

  diff(a, b, range) {
    const [from, to] = [integer('the first revision', a), integer('the second revision', b, 0)]
    return this.#between('diff', from, to, keysArgs('diff', range))
  }

  #between(kind, from, to, keys) {
    wire.begin(KIND[kind])
    wire.f64(from)
    wire.f64(to)
    wire.keyRange(keys)
    return new AsyncScan(new Pages(this, this.#handle))
  }

  async revisionAt(time) {
    const ms = time instanceof Date ? time.getTime() : time
    const unixMs = integer('the time', Number.isFinite(ms) ? Math.trunc(ms) : ms)
    wire.begin(KIND.revisionAt)
    wire.f64(unixMs)
    return this.#send()
  }

  // --- Watchers

  watch(range, options) {
    const { signal, keepAlive, ...watch } = watchArgs(range, options)
    signal?.throwIfAborted()
    const how = {
      signal,
      keepAlive,
      isRemote: this.#remote,
      opening: (opened) => this.#expect(opened),
    }
    return new Watcher(this, this.#handle, this.#waiting, watch, how)
  }

  /** Delays writes until a watcher is confirmed. */
  #expect(opened) {
    this.#opening.add(opened)
    void opened.then(() => this.#opening.delete(opened))
  }

  // --- Leases, locks and elections

  async leaseGrant(ttlSeconds, options) {
    const { id, signal } = knownOptions('leaseGrant', options, ['id', 'signal'])
    abortSignal(signal)
    const [seconds, wanted] = [ttl(ttlSeconds), lease('option id', id)]
    return this.#after(() => {
      wire.OUTBOX(KIND.leaseGrant)
      wire.f64(seconds)
      wire.i64(wanted)
      return submit(this.#handle, signal)
    })
  }

  async leaseRevoke(id, options) {
    const { signal } = knownOptions('leaseRevoke', options, ['signal'])
    abortSignal(signal)
    const which = leaseId(id)
    return this.#after(() => {
      wire.OUTBOX(KIND.leaseRevoke)
      wire.i64(which)
      return submit(this.#handle, signal)
    })
  }

  async leaseKeepAlive(id) {
    const which = leaseId(id)
    wire.begin(KIND.leaseKeepAlive)
    wire.i64(which)
    return this.#send()
  }

  async leaseTimeToLive(id, options) {
    const keys = flag('option keys', knownOptions('leaseTimeToLive', options, ['keys']).keys)
    const which = leaseId(id)
    wire.begin(KIND.leaseTimeToLive)
    wire.u8(keys ? 1 : 0)
    wire.i64(which)
    return keys ? callAsync(native.callLater, this.#handle) : this.#send()
  }

  async leaseList() {
    wire.begin(KIND.leaseList)
    return callAsync(native.callLater, this.#handle)
  }

  async lease(ttlSeconds, options) {
    const { endWithProcess } = knownOptions('lease', options, ['endWithProcess'])
    const [seconds, ends] = [ttl(ttlSeconds), flag('option endWithProcess', endWithProcess)]
    return flushAndQueue(
      (id) => native.lease(this.#handle, id, seconds, ends),
      (granted) => new Lease(this, granted),
    )
  }

  lock(name, ttlSeconds) {
    return new Lock(this, this.#handle, name, ttlSeconds)
  }

  election(name, ttlSeconds) {
    return new Election(this, this.#handle, this.#waiting, name, ttlSeconds, this.#remote)
  }

  // --- Alarms

  async alarmList() {
    wire.begin(KIND.alarmList)
    return callAsync(native.callLater, this.#handle)
  }

  async alarmActivate(kind, options) {
    const { member } = knownOptions('alarmActivate', options, ['member'])
    if (kind === undefined) throw wrong('the kind', 'nospace or corrupt', kind)
    const [which, whose] = [oneOf('the kind', kind, ALARM_KINDS), memberId(member)]
    wire.begin(KIND.alarmActivate)
    wire.u8(which)
    wire.i64(whose)
    return callAsync(native.callLater, this.#handle)
  }

  async alarmDisarm(options) {
    const { member, kind } = knownOptions('alarmDisarm', options, ['member', 'kind'])
    const [which, whose] = [oneOf('option kind', kind, ALARM_KINDS), memberId(member)]
    wire.begin(KIND.alarmDisarm)
    wire.u8(which)
    wire.i64(whose)
    return callAsync(native.callLater, this.#handle)
  }

  // --- Users and roles. All calls run on the pool: hashing a password takes 50 ms.

  /** A call whose arguments are texts. */
  async #auth(call, ...texts) {
    writeTexts(call, texts)
    return callAsync(native.callLater, this.#handle)
  }

  authEnable() {
    return this.#auth('authEnable')
  }

  authDisable() {
    return this.#auth('authDisable')
  }

  authStatus() {
    return this.#auth('authStatus')
  }

  async userAdd(name, options) {
    writeUserAdd(name, options)
    return callAsync(native.callLater, this.#handle)
  }

  userGet(name) {
    return this.#auth('userGet', name)
  }

  userList() {
    return this.#auth('userList')
  }

  userDelete(name) {
    return this.#auth('userDelete', name)
  }

  userChangePassword(name, password) {
    return this.#auth('userChangePassword', name, password)
  }

  userGrantRole(name, role) {
    return this.#auth('userGrantRole', name, role)
  }

  userRevokeRole(name, role) {
    return this.#auth('userRevokeRole', name, role)
  }

  roleAdd(role) {
    return this.#auth('roleAdd', role)
  }

  roleGet(role) {
    return this.#auth('roleGet', role)
  }

  roleList() {
    return this.#auth('roleList')
  }

  roleDelete(role) {
    return this.#auth('roleDelete', role)
  }

  async roleGrantPermission(role, permission) {
    writeGrant(role, permission)
    return callAsync(native.callLater, this.#handle)
  }

  async roleRevokePermission(role, range) {
    writeRevocation(role, range)
    return callAsync(native.callLater, this.#handle)
  }

  // --- The store itself

  async status() {
    wire.begin(KIND.status)
    return callAsync(native.callLater, this.#handle)
  }

  statusSync() {
    this.#here('statusSync', 'status')
    wire.begin(KIND.status)
    return callSync(native.call, this.#handle)
  }

  async check() {
    wire.begin(KIND.check)
    return callAsync(native.callLater, this.#handle)
  }

  async hashKv(revision) {
    const at = integer('the revision', revision, 0)
    wire.begin(KIND.hashKv)
    wire.f64(at)
    return callAsync(native.callLater, this.#handle)
  }

  // --- The members of a cluster

  async memberList() {
    wire.begin(KIND.memberList)
    return callAsync(native.callLater, this.#handle)
  }

  async memberAdd(peerUrls, options) {
    const { learner } = knownOptions('memberAdd', options, ['learner'])
    const [urls, learns] = [texts('the peer URLs', peerUrls), flag('option learner', learner)]
    wire.begin(KIND.memberAdd)
    wire.u8(learns ? 1 : 0)
    writeUrls(urls)
    const [added] = await callAsync(native.callLater, this.#handle)
    return added
  }

  async memberRemove(id) {
    return this.#onMember(KIND.memberRemove, id)
  }

  async memberUpdate(id, peerUrls) {
    const [which, urls] = [requiredMember(id), texts('the peer URLs', peerUrls)]
    wire.begin(KIND.memberUpdate)
    wire.i64(which)
    writeUrls(urls)
    return callAsync(native.callLater, this.#handle)
  }

  async memberPromote(id) {
    return this.#onMember(KIND.memberPromote, id)
  }

  async moveLeader(id) {
    return this.#onMember(KIND.moveLeader, id)
  }

  #onMember(kind, id) {
    const which = requiredMember(id)
    wire.begin(kind)
    wire.i64(which)
    return callAsync(native.callLater, this.#handle)
  }

  async snapshotSave(file) {
    const given = path('the file', file)
    wire.begin(KIND.snapshotSave)
    wire.bytes(given)
    return callAsync(native.callLater, this.#handle)
  }

  async close() {
    this.#end()
    this.#closing ??= native.closeLater(this.#handle).then(wire.readBuffer)
    await this.#closing
  }

  closeSync() {
    this.#here('closeSync', 'close')
    this.#closeNow()
  }

  #closeNow() {
    this.#end()
    wire.readResponse(native.close(this.#handle))
  }

  #end() {
    this.#closed = true
    flush()
    for (const interrupt of this.#waiting) interrupt()
  }

  [Symbol.dispose]() {
    // closing a cluster does not wait
    this.#closeNow()
  }

  async [Symbol.asyncDispose]() {
    await this.close()
  }

  [inspect.custom]() {
    return `<libkv.Db ${this.#target}${this.#closed ? ', closed' : ''}>`
  }
}

/** The id of a member, as a signed 64-bit number. */
function memberId(member = 0n, what = 'option member') {
  if (typeof member !== 'bigint') throw wrong(what, 'a bigint', member)
  if (BigInt.asUintN(64, member) !== member)
    throw new RangeError(`${what} must be 0n to 2n ** 64n - 1n, not ${member}n`)
  return BigInt.asIntN(64, member)
}

/** The id of a member; required. */
function requiredMember(id) {
  if (id === undefined) throw wrong('the id of the member', 'a bigint', id)
  return memberId(id, 'the id of the member')
}

/** A list of strings. */
function texts(what, given) {
  if (!Array.isArray(given)) throw wrong(what, 'an array of strings', given)
  return given.map((item) => text(what, item))
}

function writeUrls(list) {
  wire.f64(list.length)
  list.forEach(wire.bytes)
}

/** The id of a lease; required. */
function leaseId(id) {
  if (id === undefined) throw wrong('the id of the lease', 'a bigint', id)
  return lease('the id of the lease', id)
}

function noSignal(call, signal) {
  if (signal !== undefined) throw invalid(`${call} cannot be aborted: it returns when it is done`)
}

/** Opens a store, or creates it. */
async function open(target, options) {
  const shown = writeOpenRequest(target, options)
  try {
    return new Db(
      CREATE,
      await callAsync((_, len, large) => native.openStoreLater(len, large)),
      shown,
    )
  } catch (error) {
    throw renameOptions(error)
  }
}

/** As `open`, in the call. */
function openSync(target, options) {
  const shown = writeOpenRequest(target, options)
  try {
    return new Db(
      CREATE,
      callSync((_, len, large) => native.openStore(len, large)),
      shown,
    )
  } catch (error) {
    throw renameOptions(error)
  }
}

module.exports = { Db, dbHandle: (db) => handleOf(db), open, openSync }
