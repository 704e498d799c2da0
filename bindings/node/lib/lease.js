'use strict'

const { inspect } = require('node:util')

const { wrong } = require('./arguments.js')
const { flushAndQueue } = require('./calls.js')
const { native, expect, forget } = require('./native.js')

/**
 * The callbacks of a lost lease. It has no reference to the lease, which may be collected
 * meanwhile.
 */
class LossListeners {
  #callbacks = []
  #notified = false
  #id

  constructor(lease) {
    this.#id = expect(() => {
      this.#notified = true
      // one microtask for each, so that an exception of one does not affect the others
      for (const callback of this.#callbacks.splice(0)) queueMicrotask(callback)
    }, false)
    native.leaseOnLost(lease, this.#id)
  }

  add(callback) {
    if (this.#notified) queueMicrotask(callback)
    else this.#callbacks.push(callback)
  }

  /** Ends it with the lease. If the lease is lost, the notification still comes. */
  end(isLost) {
    this.#callbacks = []
    if (!isLost && !this.#notified) forget(this.#id)
    this.#notified = true
  }
}

/** Revokes leases that are collected without being closed. */
const registry = new FinalizationRegistry(({ number, listeners }) => {
  const isLost = native.leaseDrop(number)
  listeners?.end(isLost)
})

/**
 * A lease that is kept alive while this handle and this process exist. It keeps a reference to
 * `db`. See index.d.ts.
 */
class Lease {
  #db
  #id
  #ttlSeconds
  #closing
  /** What the end of a collected lease needs. */
  #held

  constructor(db, { handle, id, ttlSeconds }) {
    this.#db = db
    this.#id = id
    this.#ttlSeconds = ttlSeconds
    this.#held = { number: handle, listeners: undefined }
    registry.register(this, this.#held)
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
    this.#held.listeners ??= new LossListeners(this.#held.number)
    this.#held.listeners.add(callback)
  }

  async close() {
    this.#closing ??= this.#close()
    await this.#closing
  }

  async #close() {
    const { number, listeners } = this.#held
    const closed = flushAndQueue((id) => native.leaseClose(number, id))
    this.#held.listeners = undefined
    listeners?.end(native.leaseLost(number))
    await closed
  }

  async [Symbol.asyncDispose]() {
    await unlessClosed(this.close())
  }

  [inspect.custom]() {
    return `<libkv.Lease ${this.#id}, ttl ${this.#ttlSeconds} s${this.lost ? ', lost' : ''}>`
  }
}

/** Ignores `CLOSED` at the end of a block: a store that was closed before has ended the lease. */
function unlessClosed(ended) {
  return ended.catch((error) => {
    if (error.code !== 'CLOSED') throw error
  })
}

module.exports = { Lease, unlessClosed }
