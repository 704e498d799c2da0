'use strict'

/**
 * An error of a store: a stable `code`, a message for people, and the revision, lease and key
 * concerned. Wrong use of the API is a `TypeError` or `RangeError` instead.
 */
class KvError extends Error {
  /**
   * @param {string} code `'COMPACTED'`, `'BUSY'`, …
   * @param {string} message
   * @param {{ revision?: number, lease?: bigint, key?: Buffer }} [concerns]
   */
  constructor(code, message, { revision, lease, key } = {}) {
    super(message)
    this.code = code
    if (revision !== undefined) this.revision = revision
    if (lease !== undefined) this.lease = lease
    if (key !== undefined) this.key = key
  }
}
Object.defineProperty(KvError.prototype, 'name', {
  value: 'KvError',
  writable: true,
  configurable: true,
})

/** The error of a closed handle, with the text of the core. */
const closed = (what = "the store's handle") => new KvError('CLOSED', `${what} is closed`)

const invalid = (message, concerns) => new KvError('INVALID_ARGUMENT', message, concerns)

/** The error of a call that does not wait, on a cluster. */
const unsupported = (call, instead) =>
  new KvError(
    'UNSUPPORTED',
    `${call} does not wait, and this is a cluster: await ${instead} instead`,
  )

module.exports = { KvError, closed, invalid, unsupported }
