'use strict'

const { inspect } = require('node:util')

const { integer } = require('./arguments.js')
const { native } = require('./native.js')
const { readResponse, readBuffer } = require('./wire.js')

const registry = new FinalizationRegistry((clock) => native.release(clock))

/** Returns the number of a clock, for `open`. */
let handleOf

/**
 * A manual clock for tests, for the option `clock`: its time changes only by `advance`. It controls
 * the deadlines of leases and compaction by age, not the waits for locks. Only one process can have
 * a store open with such a clock.
 */
class Clock {
  #handle

  static {
    handleOf = (clock) =>
      typeof clock === 'object' && clock !== null && #handle in clock ? clock.#handle : undefined
  }

  /** Starts at this number of milliseconds since 1970. */
  constructor(unixMs) {
    this.#handle = native.clock(integer('the time', unixMs))
    registry.register(this, this.#handle)
  }

  /** Milliseconds since 1970. */
  get unixMs() {
    return readResponse(native.clockNow(this.#handle))
  }

  /**
   * Moves it forward by this number of milliseconds; resolves when everything that became due is
   * done.
   */
  async advance(ms) {
    await native
      .clockAdvanceLater(this.#handle, integer('the milliseconds', ms, undefined, 0))
      .then(readBuffer)
  }

  /** As `advance`, in the call. */
  advanceSync(ms) {
    readResponse(native.clockAdvance(this.#handle, integer('the milliseconds', ms, undefined, 0)))
  }

  [inspect.custom]() {
    return `Clock(${this.unixMs})`
  }
}

module.exports = { Clock, clockHandle: (clock) => handleOf(clock) }
