// The options of a store: checks them, and encodes them as src/store.rs reads them.
'use strict'

const { fileURLToPath } = require('node:url')

const {
  bytes,
  flag,
  integer,
  isBytes,
  knownOptions,
  oneOf,
  path,
  quote,
  text,
  wrong,
} = require('./arguments.js')
const { clockHandle } = require('./clock.js')
const { KvError, invalid } = require('./errors.js')
const { DURABILITIES, LIMITS } = require('./numbers.js')
const { OPEN_OPTIONS } = require('./options.js')
const wire = require('./wire.js')

/** A path, bytes of a path, a URL, or `:memory:`. */
function targetBytes(target) {
  if (
    target instanceof URL ||
    (typeof target === 'object' && target !== null && typeof target.href === 'string')
  ) {
    return target.protocol === 'file:' ? fileURLToPath(target) : target.href
  }
  if (!isBytes(target)) throw wrong('the store', 'a path, a Buffer, a URL or :memory:', target)
  return bytes('the path of the store', target)
}

/** How many revisions are kept, or `{ revisions }`, or `{ seconds }`. */
function autoCompaction(given) {
  if (typeof given === 'number') return autoCompaction({ revisions: given })
  if (typeof given !== 'object' || given === null) {
    throw wrong(
      'option autoCompaction',
      'a number of revisions, { revisions } or { seconds }',
      given,
    )
  }
  const { revisions, seconds } = knownOptions('option autoCompaction', given, [
    'revisions',
    'seconds',
  ])
  if ((revisions === undefined) === (seconds === undefined)) {
    throw new TypeError('option autoCompaction takes one of revisions and seconds')
  }
  const what = revisions === undefined ? 'seconds' : 'revisions'
  return {
    bySeconds: seconds !== undefined,
    kept: integer(`option autoCompaction.${what}`, revisions ?? seconds, undefined, 0),
  }
}

function clockOption(given) {
  const handle = clockHandle(given)
  if (handle === undefined) throw wrong('option clock', 'a Clock', given)
  return handle
}

/** Milliseconds; Infinity is no limit. */
const wait = (what, ms) => (ms === Infinity ? ms : integer(what, ms, undefined, 0))

/** The checked options; those left out stay undefined. */
function checkOptions(given) {
  const options = { ...knownOptions('open', given, OPEN_OPTIONS) }
  const optional = (name, check) => (options[name] === undefined ? undefined : check(options[name]))
  const named = (name, check) => optional(name, (value) => check(`option ${name}`, value))
  const number = (name, max) =>
    optional(name, (n) => integer(`option ${name}`, n, undefined, 0, max))
  const yesNo = (name) => optional(name, (value) => flag(`option ${name}`, value))
  return {
    create: yesNo('create'),
    readOnly: yesNo('readOnly'),
    durability: oneOf('option durability', options.durability, DURABILITIES),
    busyTimeoutMs: named('busyTimeoutMs', wait),
    maxBytes: number('maxBytes'),
    maxRequestBytes: number('maxRequestBytes'),
    maxTxnOps: number('maxTxnOps'),
    limits: optional('limits', (limits) => oneOf('option limits', limits, LIMITS)),
    leaseTtlMinSeconds: number('leaseTtlMinSeconds'),
    autoCompaction: optional('autoCompaction', autoCompaction),
    maxReaders: number('maxReaders', 2 ** 32 - 1),
    mode: number('mode', 0o7777),
    clock: optional('clock', clockOption),
    allowNetworkFs: yesNo('allowNetworkFs'),
    tlsCa: named('tlsCa', path),
    tlsCert: named('tlsCert', path),
    tlsKey: named('tlsKey', path),
    tlsServerName: named('tlsServerName', text),
    user: named('user', text),
    password: named('password', text),
    connectTimeoutMs: named('connectTimeoutMs', wait),
    requestTimeoutMs: named('requestTimeoutMs', wait),
    keepAliveMs: named('keepAliveMs', wait),
  }
}

function writeOption(value) {
  if (value === undefined) return wire.u8(0)
  wire.u8(1)
  if (typeof value === 'boolean') wire.u8(value ? 1 : 0)
  else if (typeof value === 'number') wire.f64(value)
  else wire.bytes(value)
}

/** Encodes the arguments of `open`; returns the target as `inspect` shows it. */
function writeOpenRequest(target, options) {
  const path = targetBytes(target)
  if (typeof path === 'string' ? path.includes('\0') : path.includes(0)) {
    throw invalid('the path of the store has a NUL byte')
  }
  const all = checkOptions(options)
  wire.begin()
  wire.bytes(path)
  for (const name of OPEN_OPTIONS) {
    if (name === 'durability') {
      wire.u8(all.durability)
    } else if (name === 'limits') {
      wire.u8(all.limits === undefined ? 0 : 1)
    } else if (name === 'autoCompaction' && all.autoCompaction) {
      wire.u8(1)
      wire.u8(all.autoCompaction.bySeconds ? 1 : 0)
      wire.f64(all.autoCompaction.kept)
    } else {
      writeOption(all[name])
    }
  }
  return quote(path)
}

/**
 * Replaces the name of an option in an error by its name here: `option tls_ca` is `option tlsCa`.
 */
function renameOptions(error) {
  if (!(error instanceof KvError) || error.code !== 'INVALID_ARGUMENT') return error
  const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())
  error.message = error.message.replace(/\boption ([a-z_]+)/g, (_, name) => `option ${camel(name)}`)
  return error
}

module.exports = { renameOptions, writeOpenRequest, writeOption }
