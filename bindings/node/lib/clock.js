'use strict'

const { inspect } = require('node:util')

const { integer } = require('./check.js')
const { native } = require('./native.js')
const { readAnswer, readBuffer } = require('./wire.js')

const dropped = new FinalizationRegistry((clock) => native.release(clock))

/** Reaches the number of a clock for `open`. */
let handleOf

/**
 * A clock in the hand of a test, for the option `clock`: it stands still until it is advanced. It
 * governs the deadlines of leases and what is kept by age, never the waiting for locks. A process
 * that has opened a store with one holds that store alone.
 */
class Clock {
  #handle

  static {
    handleOf = (clock) =>
      typeof clock === 'object' && clock !== null && #handle in clock ? clock.#handle : undefined
  }

  /** Stands at so many milliseconds since 1970. */
  constructor(unixMs) {
    this.#handle = native.clock(integer('the time', unixMs))
    dropped.register(this, this.#handle)
  }

  /** Milliseconds since 1970. */
  get unixMs() {
    return readAnswer(native.clockNow(this.#handle))
  }

  /** Moves forward by so many milliseconds; resolves once all that became due is done. */
  async advance(ms) {
    await native
      .clockAdvanceLater(this.#handle, integer('the milliseconds', ms, undefined, 0))
      .then(readBuffer)
  }

  /** The same, before it returns. */
  advanceSync(ms) {
    readAnswer(native.clockAdvance(this.#handle, integer('the milliseconds', ms, undefined, 0)))
  }

  [inspect.custom]() {
    return `Clock(${this.unixMs})`
  }
}

module.exports = { Clock, clockHandle: (clock) => handleOf(clock) }
