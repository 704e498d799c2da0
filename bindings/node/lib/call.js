// From a written request to its answer: at once, on the pool, or through the group queue.
'use strict'

const { KvError } = require('./errors.js')
const { native, expect, flush, forget } = require('./native.js')
const { large, length, post, readAnswer, readAt, readBuffer, sent } = require('./wire.js')

/** Asks what was written, and answers before it returns. Writes posted before it go first. */
function now(ask, handle) {
  const buffer = large()
  sent()
  flush()
  return readAnswer(ask(handle, length(), buffer))
}

/** Asks what was written, on the pool. */
function later(ask, handle) {
  const buffer = large()
  sent()
  flush()
  return ask(handle, length(), buffer).then(readBuffer)
}

/**
 * Hands over the write that was begun with POSTED to the group queue, at the end of this turn of
 * the loop: so the writes of one turn reach the queue together, and share a commit.
 */
function submit(db, signal) {
  return queued(signal, (id, withdrawable) => post(db, id, withdrawable))
}

/** A promise that the group queue settles, and an abort signal may end before. */
function queued(signal, hand) {
  if (signal !== undefined) return abortable(signal, hand)
  return new Promise((resolve) => {
    const id = expect(settler(resolve))
    handOver(id, hand, false)
  })
}

/** Reads the answer for a promise. */
const settler = (resolve) => (bytes, view, at) => {
  try {
    resolve(readAt(bytes, view, at))
  } catch (error) {
    resolve(failed(error))
  }
}

/**
 * Rejects with this error, whose stack then has the frames that await it. V8 finds those only from a function that runs
 * because a promise was settled, and not from a callback of the loop. So the stack is captured again here, after two
 * turns: the caller's promise follows this one from the first turn on. A write that succeeds costs nothing more.
 */
async function failed(error) {
  await undefined
  await undefined
  Error.captureStackTrace(error, failed)
  throw error
}

/** Steps asked for at once, taken one after the other. */
class Turns {
  #waiting = 0
  #last = Promise.resolve()

  /** Whether a step is under way. */
  get isBusy() {
    return this.#waiting > 0
  }

  /**
   * Takes this step after those before it. Only the caller may await the promise that this returns: V8 finds no frames
   * for an error if a second function awaits it too.
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

function handOver(id, hand, withdrawable) {
  try {
    hand(id, withdrawable)
  } catch (error) {
    forget(id)
    throw error
  }
}

/** What each signal would abort. One listener does for all, however many writes share a signal. */
const atStake = new WeakMap()

/** Calls `onAbort` when the signal is aborted, until `unwatch`. */
function watch(signal, onAbort) {
  let all = atStake.get(signal)
  if (all === undefined) {
    all = new Set()
    atStake.set(signal, all)
  }
  if (all.size === 0) signal.addEventListener('abort', abortAll, { once: true })
  all.add(onAbort)
}

function unwatch(signal, onAbort) {
  const all = atStake.get(signal)
  if (all?.delete(onAbort) && all.size === 0) signal.removeEventListener('abort', abortAll)
}

function abortAll({ target }) {
  const all = [...atStake.get(target)]
  atStake.delete(target)
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
      // aborted: it is rejected already
      if (signal.aborted) return
      unwatch(signal, onAbort)
      settle(bytes, view, at)
    })
    const onAbort = () => {
      if (native.withdraw(id)) forget(id)
      else blame(signal.reason)
      // else its answer still comes, and finds the promise rejected
      reject(signal.reason)
    }
    // handed over first: what was written for it must not be written over by whoever listens
    handOver(id, hand, true)
    watch(signal, onAbort)
  })
}

/** Tells a reason that the write was under way: nobody can say yet what became of it. */
function blame(reason) {
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

/** A promise of what `hand` asks for, after the writes posted before it; `read` makes something of the answer. */
function asked(hand, read = (answer) => answer) {
  return queued(undefined, (id) => {
    flush()
    hand(id)
  }).then(read)
}

module.exports = { Turns, asked, later, now, queued, settler, submit, unwatch, watch }
