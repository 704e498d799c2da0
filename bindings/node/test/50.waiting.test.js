'use strict'

const assert = require('node:assert')
const { setImmediate: turn } = require('node:timers/promises')
const libkv = require('libkv')
const { memory } = require('libkv/testing')
const { native } = require('../lib/native.js')
const { holder, place, test } = require('./support.js')

test('loop: runs while another process holds the lock', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  const db = await libkv.open(store, { busyTimeoutMs: Infinity })
  let [ticks, settled] = [0, 0]
  const timer = setInterval(() => ticks++, 1)
  const writes = [
    db.put('a', '1'),
    db.delete('b'),
    db.txn({ success: [libkv.Put('c', '1')] }),
    db.transact((tx) => tx.put('d', '1')),
    db.compact(1),
  ]
  for (const write of writes)
    write.then(
      () => settled++,
      () => settled++,
    )
  // reads complete meanwhile
  while (ticks < 50) {
    await db.get('held')
    await db.range({ prefix: 'h' })
    await db.status()
    await turn()
  }
  assert.strictEqual((await db.status()).writerPid, held.pid)
  assert.strictEqual(settled, 0)
  await held.release()
  await Promise.all(writes)
  clearInterval(timer)
  assert.strictEqual(db.getSync('d').value.toString(), '1')
  await db.close()
})

test('loop: one wake-up settles all writes of a group', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  const db = await libkv.open(store, { busyTimeoutMs: Infinity })
  const drain = native.drain
  let wakes = 0
  native.drain = () => {
    wakes++
    return drain()
  }
  t.after(() => (native.drain = drain))
  const first = db.put('first', 'x') // it waits for the lock; the next writes join its group
  await turn()
  const writes = Array.from({ length: 200 }, (_, n) => db.put(`k${n}`, 'v'))
  await turn()
  await held.release()
  await Promise.all([first, ...writes])
  assert.strictEqual(wakes, 1)
  await db.close()
})

test('busy: the message has the process that holds the lock', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  const db = await libkv.open(store, { busyTimeoutMs: 1 })
  await assert.rejects(db.put('k', 'v'), { code: 'BUSY', message: new RegExp(String(held.pid)) })
  assert.throws(() => db.putSync('k', 'v'), { code: 'BUSY' })
  await held.release()
  await db.close()
})

test('abort: a write that waits is not written and rejects with the reason', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  const db = await libkv.open(store, { busyTimeoutMs: Infinity })
  const leads = db.put('first', 'x') // waits for the lock; the others wait for its group
  await turn()
  const reason = new Error('stop')
  const abort = new AbortController()
  const { signal } = abort
  const writes = [
    db.put('k', 'v', { signal }),
    db.put(libkv.Put('k', 'v'), { signal }),
    db.delete('first', { signal }),
    db.delete({ prefix: '', signal }),
    db.txn({ success: [libkv.Put('k', 'v')], signal }),
    db.compact(2, { signal }),
    db.transact((tx) => tx.put('k', 'v'), { signal }),
  ]
  const settled = Promise.allSettled(writes)
  await turn()
  abort.abort(reason)
  for (const result of await settled) assert.strictEqual(result.reason, reason)
  assert.strictEqual(reason.cause, undefined)
  await held.release()
  await leads
  assert.strictEqual(db.getSync('k'), undefined)
  assert.strictEqual((await db.status()).compactedRevision, undefined)
  await db.close()
})

test('abort: before the call nothing is written', async (t) => {
  const db = await memory(t)
  const signal = AbortSignal.abort()
  for (const call of [
    () => db.put('k', 'v', { signal }),
    () => db.delete('k', { signal }),
    () => db.txn({ success: [libkv.Put('k', 'v')], signal }),
    () => db.compact(1, { signal }),
    () => db.transact((tx) => tx.put('k', 'v'), { signal }),
  ]) {
    await assert.rejects(call, { name: 'AbortError' })
  }
  await assert.rejects(db.put('k', 'v', { signal: 'stop' }), TypeError)
  await assert.rejects(db.put('k', 'v', { signal: {} }), TypeError)
  assert.throws(() => db.putSync('k', 'v', { signal }), { code: 'INVALID_ARGUMENT' })
  assert.strictEqual(db.statusSync().revision, 1)
})

test('abort: a write that had begun has an unknown outcome as its cause', async (t) => {
  const db = await memory(t)
  // as if a writer had just begun the write, too late to cancel it
  const cancel = native.cancel
  native.cancel = () => false
  t.after(() => (native.cancel = cancel))
  const abort = new AbortController()
  const write = db.put('k', 'v', { signal: abort.signal })
  abort.abort()
  const error = await write.then(assert.fail, (error) => error)
  assert.strictEqual(error, abort.signal.reason)
  assert.ok(error.cause instanceof libkv.KvError)
  assert.deepStrictEqual([error.cause.code, db.closed], ['UNKNOWN_OUTCOME', false])
  await db.put('other', 'v')
  assert.strictEqual(db.getSync('k').value.toString(), 'v')
})

test('abort: after the response it has no effect', async (t) => {
  const db = await memory(t)
  const abort = new AbortController()
  await db.put('k', 'v', { signal: abort.signal })
  abort.abort()
  await db.put('k', 'w')
  assert.strictEqual(db.getSync('k').version, 2)
})
