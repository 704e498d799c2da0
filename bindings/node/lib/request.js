// Requests are values: created once, run alone or inside a txn. Their arguments are checked and
// copied when they are created.
'use strict'

const {
  abortSignal,
  bytes,
  flag,
  integer,
  isBytes,
  knownOptions,
  lease,
  oneOf,
  copyBytes,
  wrong,
} = require('./arguments.js')
const { jsonOf } = require('./response.js')
const { COMPARE_RESULTS, COMPARE_TARGET, DURABILITIES, RANGE_KIND } = require('./numbers.js')
const {
  DELETE_OPTIONS,
  PUT_OPTIONS,
  RANGE_OPTIONS,
  WATCH_OPTIONS,
  deleteOptions,
  putOptions,
  rangeOptions,
  watchOptions,
} = require('./options.js')
const { barePut, request: writeRequest } = require('./wire.js')

/** The property with the kind of a request. Other copies of this module use the same one. */
const KIND = Symbol.for('libkv.kind')

const SELECT = ['key', 'prefix', 'start', 'end']
const TXN_MEMBERS = ['compare', 'success', 'failure', 'durability']

const kindOf = (value) => (typeof value === 'object' && value !== null ? value[KIND] : undefined)

/** Gives the values of a factory their kind and a form for JSON. */
function kind(factory, name) {
  Object.defineProperty(factory.prototype, KIND, { value: name })
  Object.defineProperty(factory.prototype, 'toJSON', {
    value() {
      return { kind: name, ...jsonOf(this) }
    },
  })
}

const create = (factory, members) =>
  Object.freeze(Object.assign(Object.create(factory.prototype), members))

/**
 * The key range of `{key}`, `{prefix}`, `{start, end}` (one of the two may be left out), or of
 * bytes, which are one key. Without any of them: all keys.
 */
function keyRange(call, given) {
  if (isBytes(given)) return { how: RANGE_KIND.key, a: copyBytes('the key', given) }
  const { key, prefix, start, end } = given
  const named = [key, prefix, start ?? end].filter((part) => part !== undefined)
  if (named.length > 1) throw new TypeError(`${call} takes one of key, prefix and start/end`)
  if (key !== undefined) return { how: RANGE_KIND.key, a: copyBytes('key', key) }
  if (prefix !== undefined) return { how: RANGE_KIND.prefix, a: copyBytes('prefix', prefix) }
  if (end !== undefined)
    return {
      how: RANGE_KIND.between,
      a: start === undefined ? '' : copyBytes('start', start),
      b: copyBytes('end', end),
    }
  if (start !== undefined) return { how: RANGE_KIND.fromKey, a: copyBytes('start', start) }
  return { how: RANGE_KIND.all }
}

/** As `keyRange`, but the range must not be left out. */
function requiredRange(call, given) {
  const range = keyRange(call, given)
  if (range.how !== RANGE_KIND.all) return range
  throw new TypeError(
    `${call} needs a key, a prefix, or start and end; all keys are { prefix: '' }`,
  )
}

/** A range and options, which may be in one object or two. */
function rangeAndOptions(call, first, second, names) {
  if (isBytes(first)) return [first, knownOptions(call, second, names)]
  const given = knownOptions(call, first, [...SELECT, ...names])
  const more = knownOptions(call, second, names)
  return [given, second === undefined ? given : { ...given, ...more }]
}

const durability = (options) => oneOf('option durability', options.durability, DURABILITIES)

function putMembers(key, value, options) {
  const checked = putOptions(options)
  return {
    key: copyBytes('the key', key),
    value: copyBytes('the value', checked.ignoreValue && value === undefined ? '' : value),
    ...checked,
  }
}

/** Writes one key. */
function Put(key, value, options) {
  return create(Put, putMembers(key, value, knownOptions('Put', options, PUT_OPTIONS)))
}

function rangeMembers(call, first, second) {
  const [which, options] = rangeAndOptions(call, first, second, RANGE_OPTIONS)
  return { range: keyRange(call, which), ...rangeOptions(options) }
}

/** Reads the pairs of a range at one revision. */
function Range(range, options) {
  return create(Range, rangeMembers('Range', range, options))
}

function deleteMembers(call, first, second, names = DELETE_OPTIONS) {
  const [which, options] = rangeAndOptions(call, first, second, names)
  return {
    range: requiredRange(call, which),
    ...deleteOptions(options),
    signal: abortSignal(options.signal),
  }
}

/** Deletes the keys of a range. */
function Delete(range, options) {
  const { signal, ...members } = deleteMembers('Delete', range, options)
  return create(Delete, members)
}

function listOf(what, given, kinds, wanted) {
  if (given === undefined) return []
  if (!Array.isArray(given)) throw wrong(what, 'an array', given)
  return Array.from(given, (item, at) => {
    if (!kinds.includes(kindOf(item))) throw wrong(`${what}[${at}]`, wanted, item)
    return item
  })
}

function txnMembers(call, given, names = TXN_MEMBERS) {
  const { compare, success, failure, ...options } = knownOptions(call, given, names)
  const ops = ['put', 'range', 'delete', 'txn']
  return {
    compare: listOf('compare', compare, ['compare'], 'made by Compare'),
    success: listOf('success', success, ops, 'made by Put, Range, Delete or Txn'),
    failure: listOf('failure', failure, ops, 'made by Put, Range, Delete or Txn'),
    durability: durability(options),
    signal: abortSignal(options.signal),
  }
}

/** Compares, then runs one of two lists of operations, all in one revision. */
function Txn(members) {
  const { signal, ...checked } = txnMembers('Txn', members)
  return create(Txn, checked)
}

function compare(target, range, result, operand) {
  const call = `a compare`
  const which = isBytes(range) ? range : knownOptions(call, range, SELECT)
  return create(Compare, {
    range: requiredRange(call, which),
    result: oneOf('the result of a compare', result, COMPARE_RESULTS, -1),
    target,
    operand,
  })
}

/** A condition of a txn on a key, or on every key of a range. */
function Compare() {
  throw new TypeError(
    'Compare has no form of its own: Compare.version, .createRevision, .modRevision, .value, .lease',
  )
}
Compare.version = (range, result, version) =>
  compare(COMPARE_TARGET.version, range, result, integer('the version', version))
Compare.createRevision = (range, result, revision) =>
  compare(COMPARE_TARGET.createRevision, range, result, integer('the revision', revision))
Compare.modRevision = (range, result, revision) =>
  compare(COMPARE_TARGET.modRevision, range, result, integer('the revision', revision))
Compare.value = (range, result, value) =>
  compare(COMPARE_TARGET.value, range, result, copyBytes('the value', value))
Compare.lease = (range, result, id) => {
  if (id === undefined) throw wrong('the lease', 'a bigint', id)
  return compare(COMPARE_TARGET.lease, range, result, lease('the lease', id))
}

kind(Put, 'put')
kind(Range, 'range')
kind(Delete, 'delete')
kind(Txn, 'txn')
kind(Compare, 'compare')

/**
 * Encodes a put and returns its abort signal. A put of key and value without options, the most
 * frequent form, creates no object.
 */
function writePut(where, call, key, value, options) {
  if (kindOf(key) === 'put') {
    const signal = abortSignal(knownOptions(call, value, ['signal']).signal)
    writeRequest(where, 'put', key)
    return signal
  }
  if (options !== undefined) {
    const { signal, ...rest } = knownOptions(call, options, [...PUT_OPTIONS, 'signal'])
    const members = { ...putMembers(key, value, rest), signal: abortSignal(signal) }
    writeRequest(where, 'put', members)
    return signal
  }
  const [k, v] = [bytes('the key', key), bytes('the value', value)]
  barePut(where, k, v)
}

/** The arguments of `db.put`, as a Put's members with an abort signal. */
function putArgs(call, key, value, options) {
  if (kindOf(key) === 'put')
    return { ...key, signal: abortSignal(knownOptions(call, value, ['signal']).signal) }
  const { signal, ...rest } = knownOptions(call, options, [...PUT_OPTIONS, 'signal'])
  return { ...putMembers(key, value, rest), signal: abortSignal(signal) }
}

const withSignal = (names) => [...names, 'signal']

/** The arguments of `db.delete`, as a Delete's members with an abort signal. */
function deleteArgs(call, first, second) {
  if (kindOf(first) === 'delete')
    return { ...first, signal: abortSignal(knownOptions(call, second, ['signal']).signal) }
  if (first === undefined) return deleteMembers(call, {}, second)
  return deleteMembers(call, first, second, withSignal(DELETE_OPTIONS))
}

/** The arguments of `db.txn`, as a Txn's members with an abort signal. */
function txnArgs(call, first, second) {
  if (kindOf(first) === 'txn')
    return { ...first, signal: abortSignal(knownOptions(call, second, ['signal']).signal) }
  return txnMembers(call, first, withSignal(TXN_MEMBERS))
}

/** The arguments of a read, as a Range's members. */
function rangeArgs(call, first, second) {
  if (kindOf(first) === 'range') {
    knownOptions(call, second, [])
    return first
  }
  return rangeMembers(call, first, second)
}

const WATCH_NAMES = [...WATCH_OPTIONS, 'signal', 'keepAlive']

/** The arguments of `db.watch`: key range and options. */
function watchArgs(first, second) {
  const [which, options] = rangeAndOptions('watch', first, second, WATCH_NAMES)
  return {
    range: keyRange('watch', which),
    ...watchOptions(options),
    signal: abortSignal(options.signal),
    keepAlive:
      options.keepAlive === undefined ? undefined : flag('option keepAlive', options.keepAlive),
  }
}

/** The key range of `events` and `diff`; all keys if it is left out. */
function keysArgs(call, range) {
  return keyRange(call, isBytes(range) ? range : knownOptions(call, range, SELECT))
}

const isReadOnly = ({ success, failure }) =>
  [...success, ...failure].every((op) => kindOf(op) === 'range')

module.exports = {
  Put,
  Range,
  Delete,
  Txn,
  Compare,
  KIND,
  deleteArgs,
  isReadOnly,
  keysArgs,
  putArgs,
  rangeArgs,
  txnArgs,
  watchArgs,
  writePut,
}
