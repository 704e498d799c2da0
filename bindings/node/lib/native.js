// The native part, and what a thread of JavaScript shares with it: the scratch memory and the
// promises that wait for the group queue.
'use strict'

/**
 * Requests and responses up to this size go through the scratch memory; each larger one has its own
 * Buffer.
 */
const SCRATCH_BYTES = 256 * 1024

function load() {
  try {
    return require('../libkv.node')
  } catch (error) {
    error.message = `libkv's native part cannot be loaded: run npm install in its folder, with cargo on the PATH (${error.message})`
    throw error
  }
}

const native = load()

const nothing = () => {}

/** The state of one thread. A test runner that loads these files again gets the same state. */
function thread() {
  const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  const view = new DataView(scratch.buffer)
  const outbox = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  const waiting = []
  const holding = []
  const free = []
  let count = 0

  /**
   * Returns a number for a promise; `settle(bytes, view, at)` gets its response. The process stays
   * alive for it if `holds`.
   */
  function expect(settle, holds = true) {
    const id = free.length > 0 ? free.pop() : waiting.length
    waiting[id] = settle
    holding[id] = false
    refer(id, holds)
    return id
  }

  /** Sets whether the process stays alive for the promise with this number. */
  function refer(id, holds) {
    if (holding[id] === holds) return
    holding[id] = holds
    if (holds ? count++ === 0 : --count === 0) native.hold(holds)
  }

  /** Frees the number of a promise that is settled, or will not be. */
  function forget(id) {
    refer(id, false)
    waiting[id] = undefined
    free.push(id)
  }

  /** Drops a response that is still to come; the number is freed when it comes. */
  function ignore(id) {
    refer(id, false)
    waiting[id] = nothing
  }

  /** Called by the loop, once for all responses that have arrived. */
  function settle() {
    const len = native.drain()
    if (len > SCRATCH_BYTES) {
      const large = native.take()
      settleAll(large, new DataView(large.buffer, large.byteOffset, len), len)
    } else {
      // the code that awaits these promises runs later, so nothing writes to the scratch memory
      // here
      settleAll(scratch, view, len)
    }
  }

  function settleAll(bytes, view, len) {
    for (let at = 0; at < len; ) {
      const id = view.getUint32(at, true)
      const settled = waiting[id]
      if (settled !== undefined) {
        forget(id)
        settled(bytes, view, at + 8)
      }
      at += 8 + view.getUint32(at + 4, true)
    }
  }

  const mail = { outbox, outboxView: new DataView(outbox.buffer), used: 0 }
  return { scratch, view, outbox, mail, expect, forget, ignore, refer, settle }
}

const shared = native.attach(thread())

/** Submits the writes in the outbox. */
function flush() {
  const { mail } = shared
  if (mail.used === 0) return
  const len = mail.used
  mail.used = 0
  native.submitAll(len)
}

module.exports = { native, flush, SCRATCH_BYTES, ...shared }
