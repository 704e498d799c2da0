// Optimistic transactions with an async body: read, compute, write, and again if somebody was faster.
'use strict'

const { setTimeout: wait } = require('node:timers/promises')

const { abortSignal, bytes, integer, knownOptions, wrong } = require('./check.js')
const { later, now, queued } = require('./call.js')
const { KvError } = require('./errors.js')
const { native, flush } = require('./native.js')
const { KIND } = require('./numbers.js')
const { Put, deleteGiven, rangeGiven } = require('./request.js')
const wire = require('./wire.js')

/** As in every language. */
const MAX_RETRIES = 64

/** What a body reads and writes through; of use until the body has ended. */
class Transaction {
  #attempt
  /** Asks for what was written: at once, or, of a cluster, on the pool. */
  #ask

  constructor(attempt, isRemote) {
    this.#attempt = attempt
    this.#ask = isRemote
      ? (handle) => later(native.attemptCallLater, handle)
      : (handle) => now(native.attemptCall, handle)
  }

  /** Ends its use; the attempt lives on. */
  static over(transaction) {
    transaction.#attempt = undefined
  }

  #handle() {
    if (this.#attempt === undefined)
      throw new KvError('CLOSED', 'the transaction is over: its body has ended')
    return this.#attempt
  }

  async get(key) {
    const given = bytes('the key', key)
    const handle = this.#handle()
    wire.begin(KIND.get)
    wire.f64(0)
    wire.bytes(given)
    return this.#ask(handle)
  }

  async range(range, options) {
    const request = rangeGiven('range', range, options)
    const handle = this.#handle()
    wire.request(wire.NOW, 'range', request)
    return later(native.attemptCallLater, handle)
  }

  async put(key, value, options) {
    const request = Put(key, value, knownOptions('put in transact', options, ['lease']))
    const handle = this.#handle()
    wire.request(wire.NOW, 'put', request)
    await this.#ask(handle)
  }

  async delete(range) {
    const given = deleteGiven('delete in transact', range, undefined)
    const handle = this.#handle()
    wire.request(wire.NOW, 'delete', { ...given, prevKv: false, durability: 0 })
    return later(native.attemptCallLater, handle)
  }
}

/** One try: what the body answered, or that somebody was faster. */
async function tried(attempt, body, { isRemote, signal }) {
  const transaction = new Transaction(attempt, isRemote)
  let value
  try {
    value = await body(transaction)
  } catch (error) {
    if (error instanceof KvError && error.code === 'COMPACTED' && native.attemptOvertaken(attempt))
      return {}
    throw error
  } finally {
    Transaction.over(transaction)
  }
  flush()
  const { succeeded } = await queued(signal, (id, withdrawable) =>
    native.attemptCommit(attempt, id, withdrawable),
  )
  return { succeeded, value }
}

async function transact(db, isRemote, body, options) {
  if (typeof body !== 'function') throw wrong('the body of transact', 'a function', body)
  const given = knownOptions('transact', options, ['maxRetries', 'signal'])
  const endless = given.maxRetries === null || given.maxRetries === Infinity
  const retries = endless
    ? -1
    : integer('option maxRetries', given.maxRetries, MAX_RETRIES, 0, 2 ** 32 - 1)
  const signal = abortSignal(given.signal)
  const attempt = wire.readAnswer(native.attempt(db, retries))
  try {
    for (;;) {
      signal?.throwIfAborted()
      const { succeeded, value } = await tried(attempt, body, { isRemote, signal })
      if (succeeded) return value
      const ms = wire.readAnswer(native.attemptAgain(attempt))
      await wait(ms, undefined, { signal }).catch(() => {})
    }
  } finally {
    native.release(attempt)
  }
}

module.exports = { transact, Transaction }
