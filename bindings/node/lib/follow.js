// Watchers, and the leaders of an election: pages from the native part, batches one by one, and in
// between a word from the mailbox that there is more. No thread waits.
'use strict'

const { inspect } = require('node:util')

const { integer, knownOptions } = require('./check.js')
const { Turns, later, now, unwatch, watch } = require('./call.js')
const { KvError, closed, invalid } = require('./errors.js')
const { native, expect, forget, ignore, refer } = require('./native.js')
const { begin, members, readAnswer, readBuffer } = require('./wire.js')

function end({ number, signal, onAbort }) {
  if (signal) unwatch(signal, onAbort)
  if (number !== undefined) native.release(number)
}

/** Ends what was dropped without being closed. */
const dropped = new FinalizationRegistry(end)

/** A timer of Node takes no more. */
const TIMER_MS_MAX = 2 ** 31 - 1

const timerMs = (until) => Math.min(Math.max(0, until - performance.now()), TIMER_MS_MAX)

const DONE = Object.freeze({ value: undefined, done: true })

/**
 * What is followed, and the one step at a time that waits for it. It keeps `db` while it is there;
 * `waiting` has what interrupts the waits of the store's watchers, for `db.close`.
 */
class Follower {
  #db
  /** What the native part knows it by; undefined while a cluster has not confirmed it. */
  #number
  /** Resolves once it has, or has refused. */
  #opening
  /** Each look at what there is may wait for the network. */
  #far
  #waiting
  /** Whether the process stays while it is waited for; undefined: in a `for await`, or for a time. */
  #keepAlive
  #page = []
  #at = 0
  /** The native part had no more: nothing to ask it for until it says the word. */
  #drained = false
  /** The word has come: what there is now is near at hand. */
  #near = false
  /** A page is on its way. */
  #reading = false
  /** From where to go on if that page is never read, or it is over. */
  #resume = 0
  #turns = new Turns()
  /** The wait for the word: its number, its timer, and what ends it. */
  #wait
  /** What every step answers once it is over. */
  #over
  /** What its end needs, also when it is dropped. */
  #held = { number: undefined, signal: undefined, onAbort: undefined }

  /** `opened` is its number, or a promise of it. */
  constructor(db, waiting, opened, { signal, keepAlive, far = false }, startRevision = 0) {
    this.#db = db
    this.#waiting = waiting
    this.#keepAlive = keepAlive
    this.#far = far
    this.#resume = startRevision
    if (signal) this.#endWith(signal)
    if (typeof opened === 'number') this.#has(opened)
    else
      this.#opening = opened.then(
        (number) => this.#has(number),
        (error) => this.#refused(error),
      )
    dropped.register(this, this.#held, this)
  }

  /** Resolves once it is there, or is not going to be; undefined if it is. */
  get opening() {
    return this.#opening
  }

  #has(number) {
    this.#opening = undefined
    if (this.#over) {
      native.release(number)
    } else {
      this.#number = this.#held.number = number
    }
  }

  #refused(error) {
    this.#opening = undefined
    this.#end(() => {
      // the frames of the step that gets it
      Error.captureStackTrace(error)
      throw error
    })
  }

  /** The signal ends it, and does not keep what nobody else refers to. */
  #endWith(signal) {
    const weak = new WeakRef(this)
    const onAbort = () => weak.deref()?.abort(signal.reason)
    Object.assign(this.#held, { signal, onAbort })
    watch(signal, onAbort)
  }

  /** Resolves once it is there; rejects with what it was refused with, or how it was ended. */
  async ready() {
    if (!this.#isClosed() && this.#opening) await this.#turns.take(() => this.#ready())
  }

  async #ready() {
    while (!this.#isClosed() && this.#opening) await this.#opened()
  }

  /** Steps asked for at once are taken one after the other. */
  next(timeoutMs, inLoop) {
    return this.#turns.take(() => this.#next(timeoutMs, inLoop))
  }

  async #next(timeoutMs, inLoop) {
    const until = timeoutMs === undefined ? undefined : performance.now() + timeoutMs
    for (;;) {
      if (this.#isClosed()) return DONE
      if (this.#at < this.#page.length) return { value: this.#page[this.#at++], done: false }
      if (this.#number !== undefined && !this.#drained) await this.#read(until)
      else if (until !== undefined && performance.now() >= until) {
        // the time may have ended a look at the cluster, which is then still to be taken
        if (this.#far) this.#drained = false
        return { value: undefined, done: false }
      } else if (this.#opening) await this.#opened(until)
      else await this.#word(until, this.#keepAlive ?? (inLoop || until !== undefined))
    }
  }

  /** Whether it was closed. Any other end is thrown. */
  #isClosed() {
    if (this.#over) return this.#over()
    if (this.#db.closed) throw closed()
    return false
  }

  async #read(until) {
    if (this.#near && !this.#far) {
      this.#near = false
      this.#took(readAnswer(native.followPage(this.#number, false)))
      return
    }
    this.#resume = this.resume()
    this.#reading = true
    try {
      this.#took(
        readBuffer(
          await native.followPageLater(this.#number, until === undefined ? -1 : timerMs(until)),
        ),
      )
    } finally {
      this.#reading = false
    }
  }

  #took({ items, last }) {
    if (this.#over) return
    this.#page = items
    this.#at = 0
    this.#drained = last
  }

  /** Waits until it is there, it is over, or the time is. */
  #opened(until) {
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

  /** Waits until there may be something, it is over, or the time is. */
  #word(until, holds) {
    return new Promise((resolve) => {
      const ended = () => {
        clearTimeout(timer)
        this.#waiting.delete(end)
        this.#wait = undefined
        resolve()
      }
      const id = expect(() => {
        this.#drained = false
        this.#near = true
        ended()
      }, holds)
      const end = () => {
        if (native.followHush(this.#number)) {
          forget(id)
        } else {
          ignore(id)
          this.#drained = false
        }
        ended()
      }
      const timer = until === undefined ? undefined : setTimeout(end, timerMs(until))
      if (!holds) timer?.unref()
      this.#wait = { id, timer, end }
      this.#waiting.add(end)
      native.followWait(this.#number, id)
    })
  }

  /** One item if there is one now. */
  tryNext() {
    if (this.#turns.isBusy) throw invalid('the watcher is being read: one reads at a time')
    if (this.#isClosed()) throw closed('the watcher')
    if (this.#number === undefined) return undefined
    if (this.#at >= this.#page.length) this.#took(readAnswer(native.followPage(this.#number, true)))
    return this.#page[this.#at++]
  }

  /** The revision to go on from. */
  resume() {
    if (this.#over || this.#reading || this.#number === undefined) return this.#resume
    const next = this.#page[this.#at]
    if (next === undefined) return readAnswer(native.followResume(this.#number))
    // a batch without events says that all up to its revision was seen
    return next.events.length > 0 ? next.revision : next.revision + 1
  }

  /** Whether the process stays while it is waited for. */
  refer(keepAlive) {
    this.#keepAlive = keepAlive
    if (!this.#wait) return
    // the pool keeps the process anyway
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

  #end(over) {
    if (this.#over) return
    this.#resume = this.resume()
    this.#wait?.end()
    this.#over = over
    this.#page = []
    this.#at = 0
    dropped.unregister(this)
    end(this.#held)
    this.#number = undefined
  }
}

/** The steps of a `for await`, for which the process stays: such a loop is the program's own work. */
class Loop {
  #follower
  constructor(follower) {
    this.#follower = follower
  }
  next() {
    return this.#follower.next(undefined, true)
  }
  async return() {
    this.#follower.close()
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

/** What watchers and leaders have in common. */
class Followed {
  #follower

  constructor(follower) {
    this.#follower = follower
  }

  async next(options) {
    return this.#follower.next(timeoutOf('next', options))
  }

  async ready() {
    await this.#follower.ready()
    return this
  }

  close() {
    this.#follower.close()
  }

  ref() {
    this.#follower.refer(true)
    return this
  }

  unref() {
    this.#follower.refer(false)
    return this
  }

  async return() {
    this.#follower.close()
    return DONE
  }

  [Symbol.asyncIterator]() {
    return new Loop(this.#follower)
  }

  [Symbol.dispose]() {
    this.#follower.close()
  }

  async [Symbol.asyncDispose]() {
    this.#follower.close()
  }
}

/** Follows a range: each step is one whole revision. See index.d.ts. */
class Watcher extends Followed {
  #follower

  constructor(db, handle, waiting, watch, options) {
    begin()
    members('watch', watch)
    const { isRemote, opening, ...how } = options
    const opened = isRemote ? later(native.watchLater, handle) : now(native.watch, handle)
    const follower = new Follower(db, waiting, opened, how, watch.startRevision)
    super(follower)
    this.#follower = follower
    if (isRemote) opening(follower.opening)
  }

  tryNext() {
    return this.#follower.tryNext()
  }

  cancel() {
    this.#follower.cancel()
  }

  get resumeRevision() {
    return this.#follower.resume()
  }

  [inspect.custom]() {
    return `<libkv.Watcher from revision ${this.resumeRevision}>`
  }
}

/** The leaders of an election, one after the other: each step is the leader's pair. */
class Leaders extends Followed {
  constructor(db, waiting, opened, { isRemote, ...options }) {
    super(new Follower(db, waiting, opened, { ...options, far: isRemote }))
  }

  [inspect.custom]() {
    return '<libkv.Leaders>'
  }
}

module.exports = { Leaders, Watcher }
