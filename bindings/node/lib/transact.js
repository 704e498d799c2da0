// Optimistic transactions with an async body: read, compute, write, and retry if another writer was
// faster.
'use strict'

const { setTimeout: wait } = require('node:timers/promises')

const { abortSignal, bytes, integer, knownOptions, wrong } = require('./arguments.js')
const { callAsync, callSync, queue } = require('./calls.js')
const { KvError } = require('./errors.js')
const { native, flush } = require('./native.js')
const { KIND } = require('./numbers.js')
const { Put, deleteArgs, rangeArgs } = require('./request.js')
const wire = require('./wire.js')

/** The same in every language. */
const MAX_RETRIES = 64

/** The argument of a body: it reads and writes through it until it ends. */
class Transaction {
  #attempt
  /** Sends the encoded request: in the call, or, to a cluster, on the pool. */
  #send

  constructor(attempt, isRemote) {
    this.#attempt = attempt
    this.#send = isRemote
      ? (handle) => callAsync(native.attemptCallLater, handle)
      : (handle) => callSync(native.attemptCall, handle)
  }

  /** Ends its use; the attempt stays. */
  static end(transaction) {
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
    return this.#send(handle)
  }

  async range(range, options) {
    const request = rangeArgs('range', range, options)
    const handle = this.#handle()
    wire.request(wire.SCRATCH, 'range', request)
    return callAsync(native.attemptCallLater, handle)
  }

  async put(key, value, options) {
    const request = Put(key, value, knownOptions('put in transact', options, ['lease']))
    const handle = this.#handle()
    wire.request(wire.SCRATCH, 'put', request)
    await this.#send(handle)
  }

  async delete(range) {
    const request = deleteArgs('delete in transact', range, undefined)
    const handle = this.#handle()
    wire.request(wire.SCRATCH, 'delete', { ...request, prevKv: false, durability: 0 })
    return callAsync(native.attemptCallLater, handle)
  }
}

/** Runs the body once and commits. `succeeded` is not set if another writer was faster. */
async function runAttempt(attempt, body, { isRemote, signal }) {
  const transaction = new Transaction(attempt, isRemote)
  let value
  try {
    value = await body(transaction)
  } catch (error) {
    if (error instanceof KvError && error.code === 'COMPACTED' && native.attemptOvertaken(attempt))
      return {}
    throw error
  } finally {
    Transaction.end(transaction)
  }
  flush()
  const { succeeded } = await queue(signal, (id, cancellable) =>
    native.attemptCommit(attempt, id, cancellable),
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
  const attempt = wire.readResponse(native.attempt(db, retries))
  try {
    for (;;) {
      signal?.throwIfAborted()
      const { succeeded, value } = await runAttempt(attempt, body, { isRemote, signal })
      if (succeeded) return value
      const ms = wire.readResponse(native.attemptRetry(attempt))
      await wait(ms, undefined, { signal }).catch(() => {})
    }
  } finally {
    native.release(attempt)
  }
}

module.exports = { transact, Transaction }
