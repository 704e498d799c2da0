// Watchers, and the leaders of an election. Items are read from the native part a page at a time;
// if there are none, the mailbox notifies when there are. No thread waits.
'use strict'

const { inspect } = require('node:util')

const { integer, knownOptions } = require('./arguments.js')
const { Turns, callAsync, callSync, unwatch, watch } = require('./calls.js')
const { KvError, closed, invalid } = require('./errors.js')
const { native, expect, forget, ignore, refer } = require('./native.js')
const { begin, members, readResponse, readBuffer } = require('./wire.js')

function end({ number, signal, onAbort }) {
  if (signal) unwatch(signal, onAbort)
  if (number !== undefined) native.release(number)
}

/** Ends subscriptions that are collected without being closed. */
const registry = new FinalizationRegistry(end)

/** The longest time of a timer in Node. */
const TIMER_MS_MAX = 2 ** 31 - 1

const timerMs = (until) => Math.min(Math.max(0, until - performance.now()), TIMER_MS_MAX)

/**
 * Batches that are read on the loop after a notification: their positions are known, so that
 * the call does not search.
 */
const INLINE_BATCHES = 16

const DONE = Object.freeze({ value: undefined, done: true })

/**
 * A watcher or leaders in the native part, and the step that waits for the next item, one at a
 * time. It keeps a reference to `db`. `waiting` has the functions that end the waits of the store's
 * watchers, for `db.close`.
 */
class Subscription {
  #db
  /** Its number in the native part; undefined until a cluster has confirmed it. */
  #number
  /** Resolves when the cluster has confirmed or refused it. */
  #opening
  /** Each read of a page may wait for the network. */
  #pagesWait
  #waiting
  /**
   * Whether the process stays alive for a wait; undefined: only in a `for await` or with a timeout.
   */
  #keepAlive
  #page = []
  #at = 0
  /** The native part had no more items; it notifies when it has. */
  #drained = false
  /** The notification has come: the next page needs no search. */
  #notified = false
  /** A page is being read on the pool. */
  #reading = false
  /** The revision to resume from if that page is never delivered, or after the end. */
  #resume = 0
  #turns = new Turns()
  /** The wait for the notification: its number, its timer, and the function that ends it. */
  #wait
  /** What every step does after the end. */
  #ended
  /** What its end needs, also when it is collected. */
  #held = { number: undefined, signal: undefined, onAbort: undefined }

  /** `opened` is its number, or a promise of its number. */
  constructor(db, waiting, opened, { signal, keepAlive, pagesWait = false }, startRevision = 0) {
    this.#db = db
    this.#waiting = waiting
    this.#keepAlive = keepAlive
    this.#pagesWait = pagesWait
    this.#resume = startRevision
    if (signal) this.#endWith(signal)
    if (typeof opened === 'number') this.#setNumber(opened)
    else
      this.#opening = opened.then(
        (number) => this.#setNumber(number),
        (error) => this.#fail(error),
      )
    registry.register(this, this.#held, this)
  }

  /** Resolves when it is confirmed or refused; undefined after that. */
  get opening() {
    return this.#opening
  }

  #setNumber(number) {
    this.#opening = undefined
    if (this.#ended) {
      native.release(number)
    } else {
      this.#number = this.#held.number = number
    }
  }

  #fail(error) {
    this.#opening = undefined
    this.#end(() => {
      // with the frames of the step that throws it
      Error.captureStackTrace(error)
      throw error
    })
  }

  /** Ends it when the signal is aborted. The listener does not keep a reference to it. */
  #endWith(signal) {
    const weak = new WeakRef(this)
    const onAbort = () => weak.deref()?.abort(signal.reason)
    Object.assign(this.#held, { signal, onAbort })
    watch(signal, onAbort)
  }

  /** Resolves when it is confirmed; rejects with the reason of the refusal or of its end. */
  async ready() {
    if (!this.#isClosed() && this.#opening) await this.#turns.take(() => this.#ready())
  }

  async #ready() {
    while (!this.#isClosed() && this.#opening) await this.#waitForOpening()
  }

  /** Concurrent steps run one after the other. */
  next(timeoutMs) {
    return this.#turns.take(() => this.#next({ timeoutMs, inLoop: false }))
  }

  /** A step of a `for await`, for which the process stays alive. */
  nextInLoop() {
    return this.#turns.take(() => this.#next({ timeoutMs: undefined, inLoop: true }))
  }

  async #next({ timeoutMs, inLoop }) {
    const until = timeoutMs === undefined ? undefined : performance.now() + timeoutMs
    for (;;) {
      if (this.#isClosed()) return DONE
      if (this.#at < this.#page.length) return { value: this.#page[this.#at++], done: false }
      if (this.#number !== undefined && !this.#drained) await this.#read(until)
      else if (until !== undefined && performance.now() >= until) {
        // the timeout may have ended a read from the cluster, which is then still to be done
        if (this.#pagesWait) this.#drained = false
        return { value: undefined, done: false }
      } else if (this.#opening) await this.#waitForOpening(until)
      else await this.#waitForItems(until, this.#keepAlive ?? (inLoop || until !== undefined))
    }
  }

  /** Whether it was closed. After another end it throws. */
  #isClosed() {
    if (this.#ended) return this.#ended()
    if (this.#db.closed) throw closed()
    return false
  }

  async #read(until) {
    if (this.#notified && !this.#pagesWait) {
      this.#notified = false
      this.#setPage(readResponse(native.subscriptionPage(this.#number, INLINE_BATCHES)))
      return
    }
    this.#resume = this.resume()
    this.#reading = true
    try {
      this.#setPage(
        readBuffer(
          await native.subscriptionPageLater(
            this.#number,
            until === undefined ? -1 : timerMs(until),
          ),
        ),
      )
    } finally {
      this.#reading = false
    }
  }

  #setPage({ items, last }) {
    if (this.#ended) return
    this.#page = items
    this.#at = 0
    this.#drained = last
  }

  /** Waits for the confirmation, the end, or the timeout. */
  #waitForOpening(until) {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        this.#waiting.delete(end)
        this.#wait = undefined
        resolve()
      }
      const timer = until === undefined ? undefined : setTimeout(end, timerMs(until))
      this.#wait = { id: undefined, timer, end }
      this.#waiting.add(end)
      void this.#opening.then(end)
    })
  }

  /** Waits until there may be an item, for the end, or for the timeout. */
  #waitForItems(until, holds) {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer)
        this.#waiting.delete(end)
        this.#wait = undefined
        resolve()
      }
      const id = expect(() => {
        this.#drained = false
        this.#notified = true
        finish()
      }, holds)
      const end = () => {
        if (native.subscriptionCancelWait(this.#number)) {
          forget(id)
        } else {
          ignore(id)
          this.#drained = false
        }
        finish()
      }
      const timer = until === undefined ? undefined : setTimeout(end, timerMs(until))
      if (!holds) timer?.unref()
      this.#wait = { id, timer, end }
      this.#waiting.add(end)
      native.subscriptionWait(this.#number, id)
    })
  }

  /** The next item if there is one now. */
  tryNext() {
    if (this.#turns.isBusy)
      throw invalid('another step is waiting: only one at a time may read a watcher')
    if (this.#isClosed()) throw closed('the watcher')
    if (this.#number === undefined) return undefined
    if (this.#at >= this.#page.length)
      this.#setPage(readResponse(native.subscriptionPage(this.#number, 1)))
    return this.#page[this.#at++]
  }

  /** The revision to resume from. */
  resume() {
    if (this.#ended || this.#reading || this.#number === undefined) return this.#resume
    const next = this.#page[this.#at]
    if (next === undefined) return readResponse(native.subscriptionResume(this.#number))
    // a batch without events means that all changes up to its revision were searched
    return next.events.length > 0 ? next.revision : next.revision + 1
  }

  /** Sets whether the process stays alive for a wait. */
  refer(keepAlive) {
    this.#keepAlive = keepAlive
    if (!this.#wait) return
    // work on the pool keeps the process alive in any case
    if (this.#wait.id === undefined) return
    refer(this.#wait.id, keepAlive)
    if (keepAlive) this.#wait.timer?.ref()
    else this.#wait.timer?.unref()
  }

  close() {
    this.#end(() => true)
  }

  cancel() {
    this.#end(() => {
      throw new KvError('CANCELLED', 'the watcher was cancelled')
    })
  }

  abort(reason) {
    this.#end(() => {
      throw reason
    })
  }

  #end(ended) {
    if (this.#ended) return
    this.#resume = this.resume()
    this.#wait?.end()
    this.#ended = ended
    this.#page = []
    this.#at = 0
    registry.unregister(this)
    end(this.#held)
    this.#number = undefined
  }
}

/** The iterator of a `for await`. The process stays alive for such a loop. */
class StreamIterator {
  #subscription
  constructor(subscription) {
    this.#subscription = subscription
  }
  next() {
    return this.#subscription.nextInLoop()
  }
  async return() {
    this.#subscription.close()
    return DONE
  }
  [Symbol.asyncIterator]() {
    return this
  }
}

function timeoutOf(call, options) {
  if (options === undefined) return undefined
  const { timeoutMs } = knownOptions(call, options, ['timeoutMs'])
  return timeoutMs === undefined || timeoutMs === Infinity
    ? undefined
    : integer('option timeoutMs', timeoutMs, undefined, 0)
}

/** The common methods of watchers and leaders. */
class Stream {
  #subscription

  constructor(subscription) {
    this.#subscription = subscription
  }

  async next(options) {
    return this.#subscription.next(timeoutOf('next', options))
  }

  async ready() {
    await this.#subscription.ready()
    return this
  }

  close() {
    this.#subscription.close()
  }

  ref() {
    this.#subscription.refer(true)
    return this
  }

  unref() {
    this.#subscription.refer(false)
    return this
  }

  async return() {
    this.#subscription.close()
    return DONE
  }

  [Symbol.asyncIterator]() {
    return new StreamIterator(this.#subscription)
  }

  [Symbol.dispose]() {
    this.#subscription.close()
  }

  async [Symbol.asyncDispose]() {
    this.#subscription.close()
  }
}

/** Watches a range: each step is one complete revision. See index.d.ts. */
class Watcher extends Stream {
  #subscription

  constructor(db, handle, waiting, watch, options) {
    begin()
    members('watch', watch)
    const { isRemote, opening, ...how } = options
    const opened = isRemote ? callAsync(native.watchLater, handle) : callSync(native.watch, handle)
    const subscription = new Subscription(db, waiting, opened, how, watch.startRevision)
    super(subscription)
    this.#subscription = subscription
    if (isRemote) opening(subscription.opening)
  }

  tryNext() {
    return this.#subscription.tryNext()
  }

  cancel() {
    this.#subscription.cancel()
  }

  get resumeRevision() {
    return this.#subscription.resume()
  }

  [inspect.custom]() {
    return `<libkv.Watcher from revision ${this.resumeRevision}>`
  }
}

/** The leaders of an election, one after the other: each step is the leader's pair. */
class Leaders extends Stream {
  constructor(db, waiting, opened, { isRemote, ...options }) {
    super(new Subscription(db, waiting, opened, { ...options, pagesWait: isRemote }))
  }

  [inspect.custom]() {
    return '<libkv.Leaders>'
  }
}

module.exports = { Leaders, Watcher }
