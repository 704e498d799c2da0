'use strict'

/**
 * An error of a store: a stable `code`, a message for people, and a revision. Wrong use of the API
 * is a `TypeError` or `RangeError` instead.
 */
class KvError extends Error {
  /**
   * @param {string} code `'COMPACTED'`, `'BUSY'`, …
   * @param {string} message
   * @param {number} [revision] the compacted revision for `COMPACTED`, the current one for
   *   `FUTURE_REVISION`, otherwise 0
   */
  constructor(code, message, revision = 0) {
    super(message)
    this.code = code
    this.revision = revision
  }
}
Object.defineProperty(KvError.prototype, 'name', {
  value: 'KvError',
  writable: true,
  configurable: true,
})

/** The error of a closed handle, with the text of the core. */
const closed = (what = "the store's handle") => new KvError('CLOSED', `${what} is closed`)

const invalid = (message, revision) => new KvError('INVALID_ARGUMENT', message, revision)

/** The error of a call that does not wait, on a cluster. */
const unsupported = (call, instead) =>
  new KvError(
    'UNSUPPORTED',
    `${call} does not wait, and this is a cluster: await ${instead} instead`,
  )

module.exports = { KvError, closed, invalid, unsupported }
