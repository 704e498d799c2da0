// From a written request to its answer: at once, on the pool, or through the group queue.
'use strict'

const { abortSignal } = require('./check.js')
const { KvError } = require('./errors.js')
const { native, expect, forget } = require('./native.js')
const { large, length, readAnswer, readAt, readBuffer, sent } = require('./wire.js')

/** Asks what was written, and answers before it returns. `extra` comes before the length. */
function now(ask, ...extra) {
  const buffer = large()
  sent()
  return readAnswer(ask(...extra, length(), buffer))
}

/** Asks what was written, on the pool. */
function later(ask, ...extra) {
  const buffer = large()
  sent()
  return ask(...extra, length(), buffer).then(readBuffer)
}

/** Hands over what was written to the group queue. */
function submit(db, signal) {
  const buffer = large()
  sent()
  return queued(signal, (id, withdrawable) => native.submit(db, length(), id, withdrawable, buffer))
}

/** A promise that the group queue settles, and an abort signal may end before. */
function queued(signal, hand) {
  if (signal !== undefined) return abortable(abortSignal(signal), hand)
  return new Promise((resolve, reject) => {
    const id = expect(settler(resolve, reject))
    handOver(id, hand, false)
  })
}

/** Reads the answer for a promise. */
const settler = (resolve, reject) => (bytes, view, at) => {
  try {
    resolve(readAt(bytes, view, at))
  } catch (error) {
    reject(error)
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

function abortable(signal, hand) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const settle = settler(resolve, reject)
    const id = expect((bytes, view, at) => {
      signal.removeEventListener('abort', onAbort)
      settle(bytes, view, at)
    })
    const onAbort = () => {
      if (native.withdraw(id)) forget(id)
      else blame(signal.reason)
      // else its answer still comes, and finds the promise rejected
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    handOver(id, hand, true)
  })
}

/** Tells a reason that the write was under way: nobody can say yet what became of it. */
function blame(reason) {
  if (typeof reason !== 'object' || reason === null || Object.hasOwn(reason, 'cause') || !Object.isExtensible(reason)) return
  const message = 'the write had begun when it was aborted: it may or may not be there (read the key to find out)'
  Object.defineProperty(reason, 'cause', { value: new KvError('UNKNOWN_OUTCOME', message), configurable: true, writable: true })
}

module.exports = { later, now, queued, submit }
