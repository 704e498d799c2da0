// Encodes requests and decodes responses: the other half of src/wire.rs. numbers.js has the
// numbers.
'use strict'

const { KvError } = require('./errors.js')
const { native, flush, mail, scratch, view: scratchView, SCRATCH_BYTES } = require('./native.js')
const {
  ALARM_KINDS,
  COMPARE_TARGET,
  KIND,
  PERMISSION_TYPES,
  RANGE_KIND,
  RESPONSE,
} = require('./numbers.js')
const { optionWriters } = require('./options.js')
const {
  AlarmMember,
  Difference,
  KeyValue,
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseTimeToLiveResponse,
  Member,
  Permission,
  Problem,
  RangeResponse,
  WatchBatch,
} = require('./response.js')

/** The property with the kind of a request, see request.js. */
const KIND_OF = Symbol.for('libkv.kind')

// --- Encoding. One request at a time, from `begin` to the call: no code of the user runs between.

let out = scratch
let outView = scratchView
let start = 0
let at = 0

/** Begins a request of this kind, or one without a kind. */
function begin(kind) {
  out = scratch
  outView = scratchView
  start = at = 0
  if (kind !== undefined) out[at++] = kind
}

/** The head of each write in the outbox: promise, length, store, whether it can be cancelled. */
const HEAD_BYTES = 16

/** Begins a write in the outbox, after the writes that are there already. */
function beginInOutbox(kind) {
  if (mail.used > SCRATCH_BYTES / 2) flush()
  out = mail.outbox
  outView = mail.outboxView
  start = at = mail.used + HEAD_BYTES
  out[at++] = kind
}

/** Where a request is encoded: in the scratch memory for a call, or in the outbox. */
const SCRATCH = begin
const OUTBOX = beginInOutbox

/**
 * Makes room for more bytes; a request that does not fit the shared memory moves to its own Buffer.
 */
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

/**
 * Up to this length, which most keys have, a loop is faster than a call into the JavaScript engine.
 */
const LOOP_BYTES = 40

/** Copies bytes to `target` at `from`; returns how many. The caller has made room. */
function copy(value, target, from) {
  const length = value.length
  if (typeof value === 'string') {
    if (length <= LOOP_BYTES) {
      let i = 0
      for (; i < length; i++) {
        const letter = value.charCodeAt(i)
        if (letter > 127) break
        target[from + i] = letter
      }
      if (i === length) return length
    }
    return target.write(value, from)
  }
  if (length <= LOOP_BYTES) {
    for (let i = 0; i < length; i++) target[from + i] = value[i]
  } else {
    target.set(value, from)
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

/** Encodes a request of this kind. */
function request(where, kind, plain) {
  where(KIND[kind])
  write[kind](plain)
}

/** Encodes a put without options, as most puts are. */
function barePut(where, key, value) {
  where(KIND.put)
  options.noPut()
  bytes(key)
  bytes(value)
}

/** Encodes only the members of a request of this kind, after `begin`. */
const members = (kind, plain) => write[kind](plain)

/** The request's length, and its Buffer if it is not in the scratch memory. */
const length = () => at
const large = () => (out === scratch ? undefined : out)

/** Drops the Buffer of a large request. */
function sent() {
  out = scratch
  outView = scratchView
}

/**
 * Completes the write that was begun with OUTBOX; one that is too large for the outbox is submitted
 * now.
 */
function post(db, id, cancellable) {
  if (out === mail.outbox) {
    const head = mail.used
    outView.setUint32(head, id, true)
    outView.setUint32(head + 4, at - start, true)
    outView.setUint32(head + 8, db, true)
    outView.setUint32(head + 12, cancellable ? 1 : 0, true)
    // the first write of a turn submits all writes of the turn together
    if (mail.used === 0) queueMicrotask(flush)
    mail.used = at
    return
  }
  const write = out.subarray(0, at)
  sent()
  flush()
  native.submit(db, id, cancellable, write)
}

// --- Decoding.

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
function readBytes(len) {
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

/** Values from this size on are not copied, unless they are in the shared memory. */
const VIEW_BYTES = 32 * 1024

function pair() {
  const at = pos
  const keyLength = fromView.getUint32(at, true)
  const valueLength = fromView.getUint32(at + 4, true)
  pos = at + PAIR_BYTES
  const key = readBytes(keyLength)
  let value
  if (valueLength >= VIEW_BYTES && from !== scratch) {
    value = from.subarray(pos, pos + valueLength)
    pos += valueLength
  } else {
    value = readBytes(valueLength)
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

/** A value that may be absent. */
const present = (read) => (readFlag() ? read() : undefined)

const optional = () => present(pair)

/**
 * Pairs of one response share memory in pages of this size. A reference to one pair keeps its page.
 */
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
  return { type, kv: pair(), prevKv: optional() }
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
  for (const name of STATUS_NUMBERS) status[name] = present(number)
  status.lmdbVersion = present(text)
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
    revision: present(number),
    lease: present(id),
    key: present(() => readBytes(count())),
  })
  // without the frames of decoding: a stack has ten frames, and they should be the caller's
  Error.captureStackTrace(error, readAt)
  return error
}

const READ = []
READ[RESPONSE.error] = () => {
  throw failure()
}
READ[RESPONSE.none] = () => undefined
READ[RESPONSE.pair] = pair
READ[RESPONSE.put] = () => ({ revision: number(), prevKv: optional() })
READ[RESPONSE.range] = () => {
  const [revision, count, more] = [number(), number(), readFlag()]
  return new RangeResponse({ revision, kvs: pairs(), count, more })
}
READ[RESPONSE.delete] = () => ({ revision: number(), deleted: number(), prevKvs: pairs() })
READ[RESPONSE.txn] = () => {
  const [revision, succeeded] = [number(), readFlag()]
  return { succeeded, revision, responses: list(response) }
}
READ[RESPONSE.compact] = () => ({ revision: number() })
READ[RESPONSE.status] = status
READ[RESPONSE.check] = () => ({
  keys: number(),
  events: number(),
  problems: list(
    () =>
      new Problem({
        invariant: text(),
        key: readBytes(count()),
        revision: present(number),
        message: text(),
      }),
  ),
})
READ[RESPONSE.events] = () => ({ last: readFlag(), items: list(event) })
READ[RESPONSE.diff] = () => ({
  last: readFlag(),
  items: list(
    () => new Difference({ key: readBytes(count()), before: optional(), after: optional() }),
  ),
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
    keys: list(() => readBytes(count())),
  })
READ[RESPONSE.leases] = () => list(id)
READ[RESPONSE.alarms] = () => list(alarm)
READ[RESPONSE.hashKv] = () => ({
  revision: number(),
  hash: number(),
  compactRevision: number(),
  hashRevision: number(),
})
READ[RESPONSE.members] = () =>
  list(
    () =>
      new Member({
        id: BigInt.asUintN(64, id()),
        name: text(),
        peerUrls: list(text),
        clientUrls: list(text),
        isLearner: readFlag(),
      }),
  )
READ[RESPONSE.authStatus] = () => ({
  enabled: readFlag(),
  authRevision: number(),
  revision: number(),
})
READ[RESPONSE.names] = () => list(text)
READ[RESPONSE.permissions] = () =>
  list(
    () =>
      new Permission({
        type: PERMISSION_TYPES[from[pos++]],
        key: readBytes(count()),
        rangeEnd: readBytes(count()),
      }),
  )
READ[RESPONSE.lease] = () => ({ handle: number(), id: id(), ttlSeconds: number() })
READ[RESPONSE.server] = () => ({ number: number(), address: text() })
READ[RESPONSE.claim] = () => ({
  isHeld: readFlag(),
  revision: present(number),
  key: readBytes(count()),
})

function response() {
  const kind = from[pos++]
  // the two most frequent kinds without a look-up
  if (kind === RESPONSE.pair) return pair()
  if (kind === RESPONSE.put) return { revision: number(), prevKv: optional() }
  return READ[kind]()
}

/** Decodes the response at `position` of these bytes; throws it if it is an error. */
function readAt(bytes, view, position) {
  from = bytes
  fromView = view
  pos = position
  return response()
}

/** Decodes a response that has its own Buffer. */
const readBuffer = (buffer) =>
  readAt(buffer, new DataView(buffer.buffer, buffer.byteOffset, buffer.length), 0)

/** Decodes the response of a call, given its length. */
const readResponse = (len) =>
  len > SCRATCH_BYTES ? readBuffer(native.take()) : readAt(scratch, scratchView, 0)

module.exports = {
  barePut,
  SCRATCH,
  OUTBOX,
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
  readResponse,
  readAt,
  readBuffer,
  request,
  room,
  sent,
  u8,
  STATUS_NUMBERS,
}
