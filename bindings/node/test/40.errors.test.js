'use strict'

const assert = require('node:assert')
const libkv = require('libkv')
const { memory } = require('libkv/testing')
const { place, test } = require('./support.js')

test('KvError: is an Error with code and revision', async (t) => {
  const db = await memory(t)
  const error = await db.get('k', { revision: 9 }).then(assert.fail, (error) => error)
  assert.ok(error instanceof libkv.KvError && error instanceof Error)
  assert.deepStrictEqual(
    [error.name, error.code, error.revision],
    ['KvError', 'FUTURE_REVISION', 1],
  )
  assert.match(error.stack, /^KvError: .*future revision/)
  assert.deepStrictEqual(Object.keys(error).sort(), ['code', 'revision'])
})

test('KvError: has lease and key as members', async (t) => {
  const db = await memory(t)
  await assert.rejects(db.put('k', 'v', { lease: 77n }), { code: 'LEASE_NOT_FOUND', lease: 77n })
  await db.leaseGrant(60, { id: 77n })
  const exists = await db.leaseGrant(60, { id: 77n }).catch((error) => error)
  assert.deepStrictEqual(
    [exists.code, exists.lease, exists.key, exists.revision],
    ['LEASE_EXISTS', 77n, undefined, undefined],
  )
  const missing = await db.put('k', '', { ignoreValue: true }).catch((error) => error)
  assert.deepStrictEqual(
    [missing.code, missing.key, missing.lease],
    ['KEY_NOT_FOUND', Buffer.from('k'), undefined],
  )
})

test('options: every call names a misspelt option in its error and writes nothing', async (t) => {
  const db = await memory(t)
  const calls = {
    prevKV: [
      () => db.put('k', 'v', { prevKV: true }),
      () => db.delete('k', { prevKV: true }),
      () => db.delete({ prefix: 'k', prevKV: true }),
    ],
    revison: [
      () => db.get('k', { revison: 1 }),
      () => db.range({ revison: 1 }),
      async () => db.scan({ revison: 1 }).next(),
    ],
    sucess: [() => db.txn({ sucess: [] })],
    maxretries: [() => db.transact(() => 1, { maxretries: 1 })],
    fysical: [() => db.compact(1, { fysical: true })],
    limt: [() => db.history('k', { limt: 1 })],
    prefx: [
      async () => db.events(0, 0, { prefx: 'k' }),
      async () => db.diff(0, 0, { prefx: 'k' }),
      async () => libkv.Compare.version({ prefx: 'k' }, '==', 0),
    ],
  }
  for (const [name, each] of Object.entries(calls)) {
    for (const call of each)
      await assert.rejects(
        call,
        { name: 'TypeError', message: new RegExp(`${name} \\(did you mean`) },
        name,
      )
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

test('options: getters that make calls do not disturb a call', async (t) => {
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

test('errors: promises reject, synchronous calls throw', async (t) => {
  const db = await memory(t)
  for (const name of [
    'get',
    'put',
    'range',
    'delete',
    'txn',
    'compact',
    'history',
    'snapshotAt',
    'transact',
  ]) {
    const promise = db[name](null)
    assert.ok(promise instanceof Promise, name)
    await assert.rejects(promise, TypeError)
  }
  for (const name of [
    'getSync',
    'putSync',
    'rangeSync',
    'deleteSync',
    'txnSync',
    'compactSync',
    'getInto',
  ]) {
    assert.throws(() => db[name](null), TypeError)
  }
  assert.throws(() => db.scan(null), TypeError)
  assert.throws(() => db.scanSync(null), TypeError)
})

test('errors: each of many refusals rejects its own promise', async (t) => {
  const db = await memory(t)
  const results = await Promise.allSettled(
    Array.from({ length: 1_000 }, (_, n) =>
      db.put(n % 3 === 0 ? '' : `k${n}`, `v${n}`, { prevKv: n % 2 === 0 }),
    ),
  )
  for (const [n, result] of results.entries())
    assert.strictEqual(result.status, n % 3 === 0 ? 'rejected' : 'fulfilled')
  const revisions = results.filter(({ value }) => value).map(({ value }) => value.revision)
  assert.deepStrictEqual(
    revisions,
    [...revisions].sort((a, b) => a - b),
    'in the order in which they were submitted',
  )
})

test('errors: the stack contains the function that awaits', async (t) => {
  const where = place(t)
  const db = await libkv.open(where)
  t.after(() => db.close())
  await db.put('a', '1')
  await db.put('a', '2')
  await db.compact(3)
  const lock = db.lock('l', 10)
  const cancelled = db.watch()
  cancelled.cancel()
  const lazy = db.watch()
  setImmediate(() => lazy.cancel())
  const closed = await libkv.open(where)
  await closed.close()
  const holder = await libkv.open(where)
  t.after(() => holder.close())
  await holder.lock('l', 10).acquire()
  const calls = {
    open: () => libkv.open('/dev/null/store'),
    put: () => db.put('', 'v'),
    get: () => db.get('k', { revision: 99 }),
    range: () => db.range({ revision: 99 }),
    rangeOfOne: () => db.range('k', { revision: 99 }),
    scan: () => db.scan({ revision: 99 }).next(),
    loop: async () => {
      for await (const kv of db.scan({ revision: 99 })) assert.ok(kv)
    },
    changes: () => db.events(1).next(),
    delete: () => db.delete(''),
    txn: () => db.txn({ success: [libkv.Put('', 'v')] }),
    transact: () => db.transact(() => closed.put('k', 'v')),
    compact: () => db.compact(99),
    snapshot: () => db.snapshotAt(99),
    history: () => db.history(''),
    leaseRevoke: () => db.leaseRevoke(1n),
    lease: () => db.lease(2 ** 40),
    acquire: () => lock.acquire({ timeoutMs: 1 }),
    proclaim: () => db.election('e', 10).proclaim('v'),
    cancelled: () => cancelled.next(),
    lazy: () => lazy.next(),
    many: () => Promise.all([db.put('', 'v')]),
    abortable: () => db.put('', 'v', { signal: new AbortController().signal }),
    closed: () => closed.status(),
  }
  for (const [name, call] of Object.entries(calls)) {
    async function callerOfThis() {
      await call()
    }
    const error = await callerOfThis().then(assert.fail, (error) => error)
    assert.ok(error instanceof libkv.KvError, `${name}: ${error}`)
    assert.ok(error.stack.startsWith(`KvError: ${error.message}\n`), name)
    assert.match(error.stack, /callerOfThis \(.*40\.errors\.test\.js/, name)
  }
})

test('errors: steps of a walk stay in order after an error', async (t) => {
  const db = await memory(t)
  for (const key of ['a', 'b', 'c']) await db.put(key, key)
  const walk = db.scan()
  const steps = await Promise.all([
    walk.next(),
    walk.next(),
    walk.next(),
    walk.next(),
    walk.return(),
    walk.next(),
  ])
  assert.deepStrictEqual(
    steps.map(({ value, done }) => (done ? 'done' : `${value.key}`)),
    ['a', 'b', 'c', 'done', 'done', 'done'],
  )
  const watcher = db.watch({ startRevision: 2 })
  const batches = Promise.all([watcher.next(), watcher.next()])
  assert.throws(() => watcher.tryNext(), { code: 'INVALID_ARGUMENT' })
  assert.deepStrictEqual(
    (await batches).map(({ value }) => value.revision),
    [2, 3],
  )
  watcher.cancel()
  const refused = await Promise.allSettled([watcher.next(), watcher.next()])
  assert.deepStrictEqual(
    refused.map(({ reason }) => reason.code),
    ['CANCELLED', 'CANCELLED'],
  )
})
