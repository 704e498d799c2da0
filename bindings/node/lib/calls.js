// From an encoded request to its response: in the call, on the pool, or through the group queue.
'use strict'

const { KvError } = require('./errors.js')
const { native, expect, flush, forget } = require('./native.js')
const { large, length, post, readResponse, readAt, readBuffer, sent } = require('./wire.js')

/** Sends the encoded request and returns its response. Writes in the outbox go first. */
function callSync(send, handle) {
  const buffer = large()
  sent()
  flush()
  return readResponse(send(handle, length(), buffer))
}

/** Sends the encoded request on the pool. */
function callAsync(send, handle) {
  const buffer = large()
  sent()
  flush()
  return send(handle, length(), buffer).then(readBuffer)
}

/**
 * Submits the write that was begun with OUTBOX to the group queue, at the end of this turn of the
 * loop. So the writes of one turn reach the queue together and share a commit.
 */
function submit(db, signal) {
  return queue(signal, (id, cancellable) => post(db, id, cancellable))
}

/** A promise that the group queue settles, unless an abort signal ends it before. */
function queue(signal, hand) {
  if (signal !== undefined) return abortable(signal, hand)
  return new Promise((resolve) => {
    const id = expect(settler(resolve))
    handOver(id, hand, false)
  })
}

/** Resolves a promise with the response that it reads. */
const settler = (resolve) => (bytes, view, at) => {
  try {
    resolve(readAt(bytes, view, at))
  } catch (error) {
    resolve(failed(error))
  }
}

/**
 * Rejects with this error, after giving it a stack with the frames that await it. V8 finds those
 * frames only from a function that runs because a promise was settled, not from a callback of the
 * loop. So the stack is captured again here, after two turns: the caller's promise follows this one
 * from the first turn on. A write that succeeds costs no more.
 */
async function failed(error) {
  await undefined
  await undefined
  Error.captureStackTrace(error, failed)
  throw error
}

/** Runs concurrent steps one after the other. */
class Turns {
  #waiting = 0
  #last = Promise.resolve()

  /** Whether a step is running. */
  get isBusy() {
    return this.#waiting > 0
  }

  /**
   * Runs this step after those before it. Only the caller may await the promise that this returns:
   * V8 finds no frames for an error if a second function awaits it too.
   */
  async take(step) {
    const before = this.#last
    let over
    this.#last = new Promise((resolve) => (over = resolve))
    try {
      if (this.#waiting++ > 0) await before
      return await step()
    } finally {
      this.#waiting--
      over()
    }
  }
}

function handOver(id, hand, cancellable) {
  try {
    hand(id, cancellable)
  } catch (error) {
    forget(id)
    throw error
  }
}

/** The callbacks of each signal. One listener serves all writes that share a signal. */
const callbacks = new WeakMap()

/** Calls `onAbort` when the signal is aborted, until `unwatch`. */
function watch(signal, onAbort) {
  let all = callbacks.get(signal)
  if (all === undefined) {
    all = new Set()
    callbacks.set(signal, all)
  }
  if (all.size === 0) signal.addEventListener('abort', abortAll, { once: true })
  all.add(onAbort)
}

function unwatch(signal, onAbort) {
  const all = callbacks.get(signal)
  if (all?.delete(onAbort) && all.size === 0) signal.removeEventListener('abort', abortAll)
}

function abortAll({ target }) {
  const all = [...callbacks.get(target)]
  callbacks.delete(target)
  flush()
  for (const onAbort of all) onAbort()
}

function abortable(signal, hand) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const settle = settler(resolve)
    const id = expect((bytes, view, at) => {
      // if aborted, the promise is rejected already
      if (signal.aborted) return
      unwatch(signal, onAbort)
      settle(bytes, view, at)
    })
    const onAbort = () => {
      if (native.cancel(id)) forget(id)
      else setUnknownOutcome(signal.reason)
      // otherwise the response still comes, after the promise was rejected
      reject(signal.reason)
    }
    // submitted first: a listener could overwrite the encoded request
    handOver(id, hand, true)
    watch(signal, onAbort)
  })
}

/** Adds a cause to a reason: the write had begun, so its outcome is unknown. */
function setUnknownOutcome(reason) {
  if (
    typeof reason !== 'object' ||
    reason === null ||
    Object.hasOwn(reason, 'cause') ||
    !Object.isExtensible(reason)
  )
    return
  const message =
    'the write had begun when it was aborted: it may or may not be there (read the key to find out)'
  Object.defineProperty(reason, 'cause', {
    value: new KvError('UNKNOWN_OUTCOME', message),
    configurable: true,
    writable: true,
  })
}

/**
 * A promise of the request that `hand` submits, after the writes in the outbox. `read` converts its
 * value.
 */
function flushAndQueue(hand, read = (value) => value) {
  return queue(undefined, (id) => {
    flush()
    hand(id)
  }).then(read)
}

module.exports = {
  Turns,
  callAsync,
  callSync,
  flushAndQueue,
  queue,
  settler,
  submit,
  unwatch,
  watch,
}
