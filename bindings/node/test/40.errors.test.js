'use strict'

const assert = require('node:assert')
const { test } = require('node:test')
const libkv = require('libkv')
const { memory } = require('libkv/testing')

test('a KvError is an Error with code and revision', async (t) => {
  const db = await memory(t)
  const error = await db.get('k', { revision: 9 }).then(assert.fail, (error) => error)
  assert.ok(error instanceof libkv.KvError && error instanceof Error)
  assert.deepStrictEqual([error.name, error.code, error.revision], ['KvError', 'FUTURE_REVISION', 1])
  assert.match(error.stack, /^KvError: .*future revision/)
  assert.deepStrictEqual(Object.keys(error).sort(), ['code', 'revision'])
})

test('options misspelt are named in every call, and nothing is written', async (t) => {
  const db = await memory(t)
  const calls = {
    prevKV: [() => db.put('k', 'v', { prevKV: true }), () => db.delete('k', { prevKV: true }), () => db.delete({ prefix: 'k', prevKV: true })],
    revison: [() => db.get('k', { revison: 1 }), () => db.range({ revison: 1 }), async () => db.scan({ revison: 1 }).next()],
    sucess: [() => db.txn({ sucess: [] })],
    maxretries: [() => db.transact(() => 1, { maxretries: 1 })],
    fysical: [() => db.compact(1, { fysical: true })],
    limt: [() => db.history('k', { limt: 1 })],
    prefx: [async () => db.changes(0, 0, { prefx: 'k' }), async () => db.diff(0, 0, { prefx: 'k' }), async () => libkv.Compare.version({ prefx: 'k' }, '==', 0)],
  }
  for (const [name, each] of Object.entries(calls)) {
    for (const call of each) await assert.rejects(call, { name: 'TypeError', message: new RegExp(`${name} \\(did you mean`) }, name)
  }
  for (const bad of [null, 5, 'prevKv', Buffer.alloc(1)]) {
    await assert.rejects(db.put('k', 'v', bad), TypeError)
    await assert.rejects(db.get('k', bad), TypeError)
  }
  await assert.rejects(db.put('k', 'v', { prevKv: 1 }), TypeError)
  await assert.rejects(db.put('k', 'v', { durability: 'fsync' }), TypeError)
  await assert.rejects(db.compact(1, { physical: 'yes' }), TypeError)
  assert.strictEqual(db.statusSync().revision, 1)
})

test('options that run code of their own do not disturb a call', async (t) => {
  const db = await memory(t)
  const options = {
    get prevKv() {
      db.putSync('other', 'written in between')
      return true
    },
  }
  assert.deepStrictEqual(await db.put('k', 'v', options), { revision: 3, prevKv: undefined })
  const range = {
    get prefix() {
      db.putSync('z', '1')
      return 'k'
    },
  }
  assert.strictEqual(db.rangeSync(range).kvs[0].key.toString(), 'k')
})

test('a promise rejects; a twin throws; neither does the other', async (t) => {
  const db = await memory(t)
  for (const name of ['get', 'put', 'range', 'delete', 'txn', 'compact', 'history', 'snapshotAt', 'transact']) {
    const promise = db[name](null)
    assert.ok(promise instanceof Promise, name)
    await assert.rejects(promise, TypeError)
  }
  for (const name of ['getSync', 'putSync', 'rangeSync', 'deleteSync', 'txnSync', 'compactSync', 'getInto']) {
    assert.throws(() => db[name](null), TypeError)
  }
  assert.throws(() => db.scan(null), TypeError)
  assert.throws(() => db.scanSync(null), TypeError)
})

test('many refusals among many writes each find their own promise', async (t) => {
  const db = await memory(t)
  const results = await Promise.allSettled(Array.from({ length: 1_000 }, (_, n) => db.put(n % 3 === 0 ? '' : `k${n}`, `v${n}`, { prevKv: n % 2 === 0 })))
  results.forEach((result, n) => assert.strictEqual(result.status, n % 3 === 0 ? 'rejected' : 'fulfilled'))
  const revisions = results.filter(({ value }) => value).map(({ value }) => value.revision)
  assert.deepStrictEqual(revisions, [...revisions].sort((a, b) => a - b), 'in the order in which they were handed over')
})
