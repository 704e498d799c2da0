// Scans, events and differences: pages from the native part, items one by one.
'use strict'

const { Turns, now } = require('./call.js')
const { closed } = require('./errors.js')
const { native } = require('./native.js')
const { readAnswer, readBuffer } = require('./wire.js')

/** Gives numbers back whose walk was dropped without being ended. */
const dropped = new FinalizationRegistry((walk) => native.release(walk))

/**
 * One walk: what is written now, read a page at a time. It keeps `db`, and so the store, while it
 * is there; once `db` is closed each step answers `closed`, also with items at hand.
 */
class Walk {
  #db
  #walk
  #page = []
  #at = 0
  #last = false

  /** Takes the request that has just been written. */
  constructor(db, handle) {
    this.#db = db
    this.#walk = now(native.walk, handle)
    dropped.register(this, this.#walk, this)
  }

  #end() {
    if (this.#walk !== undefined) {
      dropped.unregister(this)
      native.release(this.#walk)
    }
    this.#walk = undefined
    this.#page = []
    this.#at = 0
    this.#last = true
  }

  /** The next item of what has been read, or nothing. */
  #step() {
    if (this.#db.closed && !(this.#last && this.#at >= this.#page.length)) {
      this.#end()
      throw closed()
    }
    if (this.#at < this.#page.length) return { value: this.#page[this.#at++], done: false }
    if (this.#last) {
      this.#end()
      return { value: undefined, done: true }
    }
  }

  #took({ items, last }) {
    this.#page = items
    this.#at = 0
    this.#last = last
  }

  nextNow() {
    for (;;) {
      const step = this.#step()
      if (step) return step
      try {
        this.#took(readAnswer(native.page(this.#walk)))
      } catch (error) {
        this.#end()
        throw error
      }
    }
  }

  async nextLater() {
    for (;;) {
      const step = this.#step()
      if (step) return step
      try {
        this.#took(readBuffer(await native.pageLater(this.#walk)))
      } catch (error) {
        this.#end()
        throw error
      }
    }
  }

  end() {
    this.#end()
    return { value: undefined, done: true }
  }
}

/** An iterator over a walk whose steps do not wait for the loop. */
class SyncWalk {
  #walk
  constructor(walk) {
    this.#walk = walk
  }
  next() {
    return this.#walk.nextNow()
  }
  return() {
    return this.#walk.end()
  }
  [Symbol.iterator]() {
    return this
  }
  [Symbol.dispose]() {
    this.#walk.end()
  }
}

/** An async iterator over a walk; steps asked for at once are taken one after the other. */
class AsyncWalk {
  #walk
  #turns = new Turns()
  constructor(walk) {
    this.#walk = walk
  }
  next() {
    return this.#turns.take(() => this.#walk.nextLater())
  }
  return() {
    return this.#turns.take(() => this.#walk.end())
  }
  [Symbol.asyncIterator]() {
    return this
  }
  async [Symbol.asyncDispose]() {
    await this.return()
  }
}

module.exports = { AsyncWalk, SyncWalk, Walk }
