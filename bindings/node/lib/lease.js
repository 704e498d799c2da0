'use strict'

const { inspect } = require('node:util')

const { wrong } = require('./check.js')
const { asked } = require('./call.js')
const { native, expect, forget } = require('./native.js')

/** Whom to tell that a lease is lost. Knows nothing of the lease itself, which may be dropped meanwhile. */
class Mourners {
  #callbacks = []
  #told = false
  #id

  constructor(lease) {
    this.#id = expect(() => {
      this.#told = true
      // each on its own, so that what one throws is no matter of the others
      for (const callback of this.#callbacks.splice(0)) queueMicrotask(callback)
    }, false)
    native.leaseOnLost(lease, this.#id)
  }

  add(callback) {
    if (this.#told) queueMicrotask(callback)
    else this.#callbacks.push(callback)
  }

  /** The lease has ended; if it was lost the word comes all the same. */
  end(isLost) {
    this.#callbacks = []
    if (!isLost && !this.#told) forget(this.#id)
    this.#told = true
  }
}

/** Revokes leases that were dropped without being closed. */
const dropped = new FinalizationRegistry(({ number, mourners }) => {
  const isLost = native.leaseDrop(number)
  mourners?.end(isLost)
})

/**
 * A lease that keeps itself alive as long as this handle and this process live. It keeps `db` while it
 * is there. See index.d.ts.
 */
class Lease {
  #db
  #id
  #ttlSeconds
  #closing
  /** What the end of a dropped lease needs. */
  #held

  constructor(db, { handle, id, ttlSeconds }) {
    this.#db = db
    this.#id = id
    this.#ttlSeconds = ttlSeconds
    this.#held = { number: handle, mourners: undefined }
    dropped.register(this, this.#held)
  }

  get id() {
    return this.#id
  }

  get ttlSeconds() {
    return this.#ttlSeconds
  }

  async remaining() {
    return Math.max(0, (await this.#db.leaseTimeToLive(this.#id)).ttlSeconds)
  }

  get lost() {
    return native.leaseLost(this.#held.number)
  }

  onLost(callback) {
    if (typeof callback !== 'function')
      throw wrong('the callback of onLost', 'a function', callback)
    if (this.#closing) return
    this.#held.mourners ??= new Mourners(this.#held.number)
    this.#held.mourners.add(callback)
  }

  async close() {
    this.#closing ??= this.#close()
    await this.#closing
  }

  async #close() {
    const { number, mourners } = this.#held
    const closed = asked((id) => native.leaseClose(number, id))
    this.#held.mourners = undefined
    mourners?.end(native.leaseLost(number))
    await closed
  }

  async [Symbol.asyncDispose]() {
    await unlessClosed(this.close())
  }

  [inspect.custom]() {
    return `<libkv.Lease ${this.#id}, ttl ${this.#ttlSeconds} s${this.lost ? ', lost' : ''}>`
  }
}

/** For the end of a block, where a store that is closed already has ended everything. */
function unlessClosed(ended) {
  return ended.catch((error) => {
    if (error.code !== 'CLOSED') throw error
  })
}

module.exports = { Lease, unlessClosed }
