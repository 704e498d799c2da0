'use strict'

const { inspect } = require('node:util')

const { integer } = require('./arguments.js')
const { invalid } = require('./errors.js')
const { KIND, rangeArgs } = require('./request.js')

/**
 * The store at one revision. It is a number, not a transaction, and holds no resource. After a
 * compaction above its revision every call rejects with `COMPACTED`.
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
    const request = rangeArgs(call, range, options)
    if (request.revision !== 0 && request.revision !== this.#revision) {
      throw invalid(
        `revision ${request.revision} requested from a snapshot of revision ${this.#revision}`,
        { revision: this.#revision },
      )
    }
    return { ...request, revision: this.#revision, [KIND]: 'range' }
  }
}

module.exports = { Snapshot }
