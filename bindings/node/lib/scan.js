// Scans, events and differences: pages from the native part, returned item by item.
'use strict'

const { Turns, callSync } = require('./calls.js')
const { closed } = require('./errors.js')
const { native } = require('./native.js')
const { readResponse, readBuffer } = require('./wire.js')

/** Frees the numbers of pages that are collected without being ended. */
const registry = new FinalizationRegistry((number) => native.release(number))

/**
 * The items of one request, read a page at a time. It keeps a reference to `db`, and so the store.
 * After `db` is closed each step throws `CLOSED`, also if items were read already.
 */
class Pages {
  #db
  #number
  #page = []
  #at = 0
  #last = false

  /** Begins the request that was just encoded. */
  constructor(db, handle) {
    this.#db = db
    this.#number = callSync(native.scanPages, handle)
    registry.register(this, this.#number, this)
  }

  #end() {
    if (this.#number !== undefined) {
      registry.unregister(this)
      native.release(this.#number)
    }
    this.#number = undefined
    this.#page = []
    this.#at = 0
    this.#last = true
  }

  /** The next item of the page, or undefined. */
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

  #setPage({ items, last }) {
    this.#page = items
    this.#at = 0
    this.#last = last
  }

  nextSync() {
    for (;;) {
      const step = this.#step()
      if (step) return step
      try {
        this.#setPage(readResponse(native.page(this.#number)))
      } catch (error) {
        this.#end()
        throw error
      }
    }
  }

  async nextAsync() {
    for (;;) {
      const step = this.#step()
      if (step) return step
      try {
        this.#setPage(readBuffer(await native.pageLater(this.#number)))
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

/** An iterator over pages that reads them in the call. */
class SyncScan {
  #pages
  constructor(pages) {
    this.#pages = pages
  }
  next() {
    return this.#pages.nextSync()
  }
  return() {
    return this.#pages.end()
  }
  [Symbol.iterator]() {
    return this
  }
  [Symbol.dispose]() {
    this.#pages.end()
  }
}

/** An async iterator over pages. Concurrent steps run one after the other. */
class AsyncScan {
  #pages
  #turns = new Turns()
  constructor(pages) {
    this.#pages = pages
  }
  next() {
    return this.#turns.take(() => this.#pages.nextAsync())
  }
  return() {
    return this.#turns.take(() => this.#pages.end())
  }
  [Symbol.asyncIterator]() {
    return this
  }
  async [Symbol.asyncDispose]() {
    await this.return()
  }
}

module.exports = { AsyncScan, SyncScan, Pages }
