'use strict'

const { inspect } = require('node:util')

const { integer } = require('./check.js')
const { invalid } = require('./errors.js')
const { KIND, rangeGiven } = require('./request.js')

/**
 * The store as it was at one revision. It is a number, not a transaction: it holds nothing, and once
 * a compaction has passed it every call answers `COMPACTED`.
 */
class Snapshot {
  #db
  #revision

  constructor(db, revision) {
    this.#db = db
    this.#revision = integer('the revision', revision)
  }

  get revision() {
    return this.#revision
  }

  async get(key) {
    return this.#db.get(key, { revision: this.#revision })
  }

  getSync(key) {
    return this.#db.getSync(key, { revision: this.#revision })
  }

  async range(range, options) {
    return this.#db.range(this.#here('range', range, options))
  }

  rangeSync(range, options) {
    return this.#db.rangeSync(this.#here('range', range, options))
  }

  scan(range, options) {
    return this.#db.scan(this.#here('scan', range, options))
  }

  scanSync(range, options) {
    return this.#db.scanSync(this.#here('scan', range, options))
  }

  [inspect.custom]() {
    return `<libkv.Snapshot of revision ${this.#revision}>`
  }

  #here(call, range, options) {
    const asked = rangeGiven(call, range, options)
    if (asked.revision !== 0 && asked.revision !== this.#revision) {
      throw invalid(
        `revision ${asked.revision} asked of a snapshot of revision ${this.#revision}`,
        { revision: this.#revision },
      )
    }
    return { ...asked, revision: this.#revision, [KIND]: 'range' }
  }
}

module.exports = { Snapshot }
