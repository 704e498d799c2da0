'use strict'

/**
 * A refusal or failure of a store: a stable `code`, a message for people, and the revision it
 * speaks of. Misuse of the API itself is a `TypeError` or `RangeError` instead.
 */
class KvError extends Error {
  /**
   * @param {string} code `'COMPACTED'`, `'BUSY'`, …
   * @param {string} message
   * @param {number} [revision] for `COMPACTED` the compacted revision, for `FUTURE_REVISION` the current one, else 0
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

/** What a handle answers once it is closed; the core's own words. */
const closed = (what = "the store's handle") => new KvError('CLOSED', `${what} is closed`)

const invalid = (message, revision) => new KvError('INVALID_ARGUMENT', message, revision)

/** What a call that does not wait answers on a cluster. */
const unsupported = (call, instead) =>
  new KvError(
    'UNSUPPORTED',
    `${call} does not wait, and this is a cluster: await ${instead} instead`,
  )

module.exports = { KvError, closed, invalid, unsupported }
