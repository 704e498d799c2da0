// Requests to bytes, answers from bytes: the other half of src/wire.rs. numbers.js has the numbers.
'use strict'

const { KvError } = require('./errors.js')
const { native, flush, mail, scratch, view: scratchView, SCRATCH_BYTES } = require('./native.js')
const { ALARM_KINDS, COMPARE_TARGET, KIND, RANGE_KIND, RESPONSE } = require('./numbers.js')
const { optionWriters } = require('./options.js')
const {
  AlarmMember,
  Difference,
  KeyValue,
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseTimeToLiveResponse,
  Problem,
  RangeResponse,
  WatchBatch,
} = require('./response.js')

/** Where a request keeps its kind, see request.js. */
const KIND_OF = Symbol.for('libkv.kind')
// --- Writing. One request at a time, from `begin` to the call: nothing of the user's runs between.

let out = scratch
let outView = scratchView
let start = 0
let at = 0

/** Begins a request of this kind, or one that says none. */
function begin(kind) {
  out = scratch
  outView = scratchView
  start = at = 0
  if (kind !== undefined) out[at++] = kind
}

/** Before each write in the outbox: promise, length, store, whether it can be taken back. */
const HEAD_BYTES = 16

/** Begins a write in the outbox, behind those that wait there already. */
function beginPosted(kind) {
  if (mail.used > SCRATCH_BYTES / 2) flush()
  out = mail.outbox
  outView = mail.outboxView
  start = at = mail.used + HEAD_BYTES
  out[at++] = kind
}

/** Where a request goes: answered by the call itself, or posted. */
const NOW = begin
const POSTED = beginPosted

/** Room for so many bytes more; beyond the shared memory, in a Buffer of the request's own. */
function room(bytes) {
  if (at + bytes <= out.length) return
  const len = at - start
  const larger = Buffer.allocUnsafeSlow(Math.max(len + bytes, 2 * len))
  larger.set(out.subarray(start, at))
  out = larger
  outView = new DataView(larger.buffer)
  start = 0
  at = len
}

function u8(n) {
  room(1)
  out[at++] = n
}

function u32(n) {
  room(4)
  outView.setUint32(at, n, true)
  at += 4
}

function f64(n) {
  room(8)
  outView.setFloat64(at, n, true)
  at += 8
}

function i64(n) {
  room(8)
  outView.setBigInt64(at, n, true)
  at += 8
}

/** Keys are mostly shorter than this, and then a loop is faster than a call into the engine. */
const LOOP_BYTES = 40

/** Copies bytes to the front of `place`; answers how many. Whoever calls has made room. */
function copy(value, place, from) {
  const length = value.length
  if (typeof value === 'string') {
    if (length <= LOOP_BYTES) {
      let i = 0
      for (; i < length; i++) {
        const letter = value.charCodeAt(i)
        if (letter > 127) break
        place[from + i] = letter
      }
      if (i === length) return length
    }
    return place.write(value, from)
  }
  if (length <= LOOP_BYTES) {
    for (let i = 0; i < length; i++) place[from + i] = value[i]
  } else {
    place.set(value, from)
  }
  return length
}

function bytes(value) {
  room(4 + (typeof value === 'string' ? value.length * 3 : value.length))
  const len = copy(value, out, at + 4)
  outView.setUint32(at, len, true)
  at += 4 + len
}

function keyRange({ how, a, b }) {
  u8(how)
  if (how !== RANGE_KIND.all) bytes(a)
  if (how === RANGE_KIND.between) bytes(b)
}

const options = optionWriters({ u8, f64, i64 })

const write = {
  put(request) {
    options.put(request)
    bytes(request.key)
    bytes(request.value)
  },
  range(request) {
    options.range(request)
    keyRange(request.range)
  },
  delete(request) {
    options.delete(request)
    keyRange(request.range)
  },
  watch(request) {
    options.watch(request)
    keyRange(request.range)
  },
  compare({ result, target, operand, range }) {
    u8(result)
    u8(target)
    if (target === COMPARE_TARGET.value) bytes(operand)
    else if (target === COMPARE_TARGET.lease) i64(operand)
    else f64(operand)
    keyRange(range)
  },
  txn(request) {
    u8(request.durability)
    u32(request.compare.length)
    request.compare.forEach(write.compare)
    for (const list of [request.success, request.failure]) {
      u32(list.length)
      for (const op of list) {
        const kind = op[KIND_OF]
        u8(KIND[kind])
        write[kind](op)
      }
    }
  },
}

/** Writes a request of this kind. */
function request(where, kind, plain) {
  where(KIND[kind])
  write[kind](plain)
}

/** Writes a put of this key and value without options, which most puts are. */
function barePut(where, key, value) {
  where(KIND.put)
  options.noPut()
  bytes(key)
  bytes(value)
}

/** Writes only the members of a request of this kind, after a `begin`. */
const members = (kind, plain) => write[kind](plain)

/** The request's length, and the Buffer that it stands in if it is not the scratch memory. */
const length = () => at
const large = () => (out === scratch ? undefined : out)

/** Forgets the Buffer of a large request. */
function sent() {
  out = scratch
  outView = scratchView
}

/** Leaves the write that was begun with POSTED in the outbox, or submits it if it is too large. */
function post(db, id, withdrawable) {
  if (out === mail.outbox) {
    const head = mail.used
    outView.setUint32(head, id, true)
    outView.setUint32(head + 4, at - start, true)
    outView.setUint32(head + 8, db, true)
    outView.setUint32(head + 12, withdrawable ? 1 : 0, true)
    // the first of a turn sees to it that all of the turn go together
    if (mail.used === 0) queueMicrotask(flush)
    mail.used = at
    return
  }
  const write = out.subarray(0, at)
  sent()
  flush()
  native.submit(db, id, withdrawable, write)
}

// --- Reading.

let from = scratch
let fromView = scratchView
let pos = 0

function number() {
  const n = fromView.getFloat64(pos, true)
  pos += 8
  return n
}

function count() {
  const n = fromView.getUint32(pos, true)
  pos += 4
  return n
}

const readFlag = () => from[pos++] !== 0

/** A copy, from Buffer's pool where it is small. */
function copied(len) {
  const copy = Buffer.allocUnsafe(len)
  if (len <= LOOP_BYTES) for (let i = 0; i < len; i++) copy[i] = from[pos + i]
  else copy.set(from.subarray(pos, pos + len))
  pos += len
  return copy
}

const text = () => {
  const len = count()
  pos += len
  return from.toString('utf8', pos - len, pos)
}

function id() {
  const n = fromView.getBigInt64(pos, true)
  pos += 8
  return n
}

const PAIR_BYTES = 40

function leaseAt(at) {
  return fromView.getInt32(at, true) === 0 && fromView.getInt32(at + 4, true) === 0
    ? 0n
    : fromView.getBigInt64(at, true)
}

/** Values from this size on stay where the native part has put them, if that is no shared memory. */
const VIEW_BYTES = 32 * 1024

function pair() {
  const at = pos
  const keyLength = fromView.getUint32(at, true)
  const valueLength = fromView.getUint32(at + 4, true)
  pos = at + PAIR_BYTES
  const key = copied(keyLength)
  let value
  if (valueLength >= VIEW_BYTES && from !== scratch) {
    value = from.subarray(pos, pos + valueLength)
    pos += valueLength
  } else {
    value = copied(valueLength)
  }
  return keyValue(key, value, at)
}

/** A pair whose record begins at `at`. */
const keyValue = (key, value, at) =>
  new KeyValue(
    key,
    value,
    fromView.getFloat64(at + 8, true),
    fromView.getFloat64(at + 16, true),
    fromView.getFloat64(at + 24, true),
    leaseAt(at + 32),
  )

/** What may be absent. */
const known = (read) => (readFlag() ? read() : undefined)

const perhaps = () => known(pair)

/** Pairs of one answer share memory, so much at a time: to keep one keeps no more than that. */
const PAGE_BYTES = 64 * 1024

function pairs() {
  const kvs = new Array(count())
  let [page, pageFrom, pageTo] = [undefined, 0, 0]
  for (let i = 0; i < kvs.length; i++) {
    const at = pos
    const keyAt = at + PAIR_BYTES
    const valueAt = keyAt + fromView.getUint32(at, true)
    const end = valueAt + fromView.getUint32(at + 4, true)
    if (end > pageTo) {
      pageFrom = keyAt
      pageTo = Math.max(end, Math.min(keyAt + PAGE_BYTES, from.length))
      page = Buffer.allocUnsafeSlow(pageTo - pageFrom)
      page.set(from.subarray(pageFrom, pageTo))
    }
    const key = page.subarray(keyAt - pageFrom, valueAt - pageFrom)
    kvs[i] = keyValue(key, page.subarray(valueAt - pageFrom, end - pageFrom), at)
    pos = end
  }
  return kvs
}

const list = (read) => Array.from({ length: count() }, read)

function event() {
  const type = readFlag() ? 'delete' : 'put'
  return { type, kv: pair(), prevKv: perhaps() }
}

const STATUS_NUMBERS = [
  'revision',
  'compactedRevision',
  'keys',
  'bytesOnDisk',
  'bytesInUse',
  'readers',
  'watchers',
  'leases',
  'formatVersion',
  'writerPid',
  'writerHeldMs',
  'oldestReader',
  'maxBytes',
]

function status() {
  const status = {}
  for (const name of STATUS_NUMBERS) status[name] = known(number)
  status.lmdbVersion = known(text)
  status.storeId = text()
  status.durability = text()
  status.poisoned = readFlag()
  status.removed = readFlag()
  status.alarms = list(alarm)
  return status
}

const alarm = () =>
  new AlarmMember({ kind: ALARM_KINDS[from[pos++]], member: BigInt.asUintN(64, id()) })

function failure() {
  const error = new KvError(text().toUpperCase(), text(), {
    revision: known(number),
    lease: known(id),
    key: known(() => copied(count())),
  })
  // without the frames of the reading: a stack has room for ten, and they are the caller's
  Error.captureStackTrace(error, readAt)
  return error
}

const READ = []
READ[RESPONSE.error] = () => {
  throw failure()
}
READ[RESPONSE.none] = () => undefined
READ[RESPONSE.pair] = pair
READ[RESPONSE.put] = () => ({ revision: number(), prevKv: perhaps() })
READ[RESPONSE.range] = () => {
  const [revision, count, more] = [number(), number(), readFlag()]
  return new RangeResponse({ revision, kvs: pairs(), count, more })
}
READ[RESPONSE.delete] = () => ({ revision: number(), deleted: number(), prevKvs: pairs() })
READ[RESPONSE.txn] = () => {
  const [revision, succeeded] = [number(), readFlag()]
  return { succeeded, revision, responses: list(answer) }
}
READ[RESPONSE.compact] = () => ({ revision: number() })
READ[RESPONSE.status] = status
READ[RESPONSE.check] = () => ({
  keys: number(),
  events: number(),
  problems: list(
    () =>
      new Problem({ invariant: text(), key: copied(count()), revision: number(), message: text() }),
  ),
})
READ[RESPONSE.events] = () => ({ last: readFlag(), items: list(event) })
READ[RESPONSE.diff] = () => ({
  last: readFlag(),
  items: list(() => new Difference({ key: copied(count()), before: perhaps(), after: perhaps() })),
})
READ[RESPONSE.pairs] = () => ({ last: readFlag(), items: pairs() })
READ[RESPONSE.number] = number
READ[RESPONSE.batches] = () => ({
  last: readFlag(),
  items: list(() => new WatchBatch({ revision: number(), events: list(event) })),
})
READ[RESPONSE.leaseGrant] = () =>
  new LeaseGrantResponse({ revision: number(), id: id(), ttlSeconds: number() })
READ[RESPONSE.leaseRevoke] = () => ({ revision: number() })
READ[RESPONSE.leaseKeepAlive] = () => new LeaseKeepAliveResponse({ id: id(), ttlSeconds: number() })
READ[RESPONSE.leaseTimeToLive] = () =>
  new LeaseTimeToLiveResponse({
    id: id(),
    ttlSeconds: number(),
    grantedTtlSeconds: number(),
    keys: list(() => copied(count())),
  })
READ[RESPONSE.leases] = () => list(id)
READ[RESPONSE.alarms] = () => list(alarm)
READ[RESPONSE.lease] = () => ({ handle: number(), id: id(), ttlSeconds: number() })
READ[RESPONSE.server] = () => ({ number: number(), address: text() })
READ[RESPONSE.claim] = () => ({ isHeld: readFlag(), revision: number(), key: copied(count()) })

function answer() {
  const kind = from[pos++]
  // the commonest two without a look-up
  if (kind === RESPONSE.pair) return pair()
  if (kind === RESPONSE.put) return { revision: number(), prevKv: perhaps() }
  return READ[kind]()
}

/** Reads the answer at `position` of these bytes; an error is thrown. */
function readAt(bytes, view, position) {
  from = bytes
  fromView = view
  pos = position
  return answer()
}

/** Reads an answer that came as a Buffer of its own. */
const readBuffer = (buffer) =>
  readAt(buffer, new DataView(buffer.buffer, buffer.byteOffset, buffer.length), 0)

/** Reads the answer that a call has left, given its length. */
const readAnswer = (len) =>
  len > SCRATCH_BYTES ? readBuffer(native.take()) : readAt(scratch, scratchView, 0)

module.exports = {
  NOW,
  POSTED,
  barePut,
  begin,
  post,
  bytes,
  copy,
  f64,
  i64,
  keyRange,
  large,
  length,
  members,
  readAnswer,
  readAt,
  readBuffer,
  request,
  room,
  sent,
  u8,
  STATUS_NUMBERS,
}
