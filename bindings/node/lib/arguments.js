// Checks of arguments: their types, and the names of options.
'use strict'

const { fileURLToPath } = require('node:url')
const { types } = require('node:util')

/** A description of a value, for messages. */
function describe(value) {
  if (value === null) return 'null'
  if (typeof value === 'string') return `the string ${JSON.stringify(value.slice(0, 40))}`
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'undefined')
    return String(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'object') return `an object of ${value.constructor?.name ?? 'no class'}`
  return `a ${typeof value}`
}

const wrong = (what, wanted, value) =>
  new TypeError(`${what} must be ${wanted}, not ${describe(value)}`)

/** The edit distance of two names. */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]
}

/** The form in which names are compared: `read_only`, `readonly` and `readOnly` are the same. */
const plain = (name) => name.replace(/[_-]/g, '').toLowerCase()

function nearest(name, known) {
  const near = known
    .map((other) => [distance(plain(name), plain(other)), other])
    .sort((a, b) => a[0] - b[0])[0]
  return near && near[0] <= Math.max(2, name.length / 3) ? near[1] : undefined
}

/**
 * Checks that options are an object, or left out, and that each name is known.
 *
 * @param {string} call the call whose options they are, for messages
 * @param {readonly string[]} known
 */
function knownOptions(call, options, known) {
  if (options === undefined) return {}
  if (typeof options !== 'object' || options === null || ArrayBuffer.isView(options)) {
    throw wrong(`the options of ${call}`, 'an object', options)
  }
  for (const name in options) {
    if (known.includes(name)) continue
    const near = nearest(name, known)
    const hint = near ? `did you mean ${near}?` : `it has ${known.join(', ')}`
    throw new TypeError(`${call} has no option ${name} (${hint})`)
  }
  return options
}

/** A boolean; false if left out. */
function flag(what, value) {
  if (value === undefined) return false
  if (typeof value !== 'boolean') throw wrong(what, 'true or false', value)
  return value
}

/** An integer that a number holds exactly; `missing` if left out. */
function integer(
  what,
  value,
  missing,
  min = Number.MIN_SAFE_INTEGER,
  max = Number.MAX_SAFE_INTEGER,
) {
  if (value === undefined && missing !== undefined) return missing
  if (typeof value !== 'number') throw wrong(what, 'a number', value)
  if (!Number.isSafeInteger(value)) {
    throw new RangeError(`${what} must be an integer up to 2^53 - 1, not ${value}`)
  }
  if (value < min || value > max)
    throw new RangeError(`${what} must be between ${min} and ${max}, not ${value}`)
  return value
}

/** A TTL in seconds. The store checks its limits. */
function ttl(value) {
  if (typeof value !== 'number') throw wrong('the TTL', 'a number of seconds', value)
  if (!Number.isInteger(value)) throw new RangeError(`the TTL must be an integer, not ${value}`)
  return value
}

/** The id of a lease: a bigint of 64 bits, negative ones too; 0n if left out. */
function lease(what, value) {
  if (value === undefined) return 0n
  if (typeof value !== 'bigint') throw wrong(what, 'a bigint', value)
  if (BigInt.asIntN(64, value) !== value)
    throw new RangeError(`${what} must fit in 64 bits, not ${value}n`)
  return value
}

/** The index of a word in a list; `missing` if left out. */
function oneOf(what, value, words, missing = 0) {
  if (value === undefined) return missing
  const at = typeof value === 'string' ? words.indexOf(value) : -1
  if (at >= 0) return at
  if (typeof value !== 'string')
    throw wrong(what, `one of ${words.filter(Boolean).join(', ')}`, value)
  throw new TypeError(
    `${what} must be one of ${words.filter(Boolean).join(', ')}, not ${JSON.stringify(value)}`,
  )
}

/** An AbortSignal, if there is one. */
function abortSignal(value) {
  if (value === undefined) return undefined
  if (
    typeof value !== 'object' ||
    value === null ||
    typeof value.aborted !== 'boolean' ||
    typeof value.addEventListener !== 'function'
  ) {
    throw wrong('option signal', 'an AbortSignal', value)
  }
  return value
}

const isBytes = (value) =>
  typeof value === 'string' || ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)

/**
 * Bytes: a string that is well-formed UTF-16 stays a string; for any other type a `Uint8Array` over
 * the same memory, which the caller copies before other code runs.
 */
function bytes(what, value) {
  if (typeof value === 'string') {
    if (!value.isWellFormed())
      throw new TypeError(`${what} has a lone surrogate, which UTF-8 cannot encode`)
    return value
  }
  if (types.isUint8Array(value) && value.byteLength > 0) return value
  if (ArrayBuffer.isView(value)) {
    if (value.byteLength === 0) notDetached(what, value.buffer)
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  }
  if (types.isAnyArrayBuffer(value)) {
    notDetached(what, value)
    return new Uint8Array(value)
  }
  throw wrong(what, 'a Buffer, Uint8Array or string', value)
}

/** A detached buffer has length 0; only the creation of a view fails. */
function notDetached(what, buffer) {
  try {
    new Uint8Array(buffer)
  } catch {
    throw new TypeError(`${what} is a detached buffer`)
  }
}

/** The path of a file: a string, a Buffer, or a `file:` URL. */
function path(what, value) {
  const given = value instanceof URL ? fileURLToPath(value) : bytes(what, value)
  if (typeof given === 'string' ? given.includes('\0') : given.includes(0))
    throw new TypeError(`${what} has a NUL byte`)
  return given
}

/** The result of `bytes`, as `inspect` shows it. */
const quote = (given) =>
  JSON.stringify(typeof given === 'string' ? given : Buffer.from(given).toString())

/** A string that is well-formed UTF-16. */
function text(what, value) {
  if (typeof value !== 'string') throw wrong(what, 'a string', value)
  return bytes(what, value)
}

/** A copy of the bytes, which the user cannot change. */
function copyBytes(what, value) {
  const given = bytes(what, value)
  return typeof given === 'string' ? given : Buffer.from(given)
}

module.exports = {
  abortSignal,
  bytes,
  describe,
  flag,
  integer,
  isBytes,
  knownOptions,
  lease,
  oneOf,
  copyBytes,
  path,
  quote,
  text,
  ttl,
  wrong,
}
