// The native part, and what a thread of JavaScript shares with it: the scratch memory and the
// promises that wait for the group queue.
'use strict'

/** Requests and answers up to this go through the scratch memory; larger ones in a Buffer of their own. */
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

/** What one thread has once, even if a test runner loads these files again and again. */
function thread() {
  const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  const view = new DataView(scratch.buffer)
  const outbox = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  const waiting = []
  const holding = []
  const free = []
  let count = 0

  /** Numbers a promise; `settle(bytes, view, at)` gets its answer. Unless `holds`, the process does not stay for it. */
  function expect(settle, holds = true) {
    const id = free.length > 0 ? free.pop() : waiting.length
    waiting[id] = settle
    holding[id] = false
    refer(id, holds)
    return id
  }

  /** Says whether the process stays for what has this number. */
  function refer(id, holds) {
    if (holding[id] === holds) return
    holding[id] = holds
    if (holds ? count++ === 0 : --count === 0) native.hold(holds)
  }

  /** Gives the number back, for a promise that is answered, or will not be. */
  function forget(id) {
    refer(id, false)
    waiting[id] = undefined
    free.push(id)
  }

  /** For what will come and is no longer wanted: the number is given back when it has come. */
  function ignore(id) {
    refer(id, false)
    waiting[id] = nothing
  }

  /** Called by the loop, once for all answers that have arrived. */
  function settle() {
    const len = native.drain()
    if (len > SCRATCH_BYTES) {
      const large = native.take()
      settleAll(large, new DataView(large.buffer, large.byteOffset, len), len)
    } else {
      // promises run what awaits them later, so nothing writes to the scratch memory meanwhile
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

/** Submits what has gathered in the outbox. */
function flush() {
  const { mail } = shared
  if (mail.used === 0) return
  const len = mail.used
  mail.used = 0
  native.submitAll(len)
}

module.exports = { native, flush, SCRATCH_BYTES, ...shared }
