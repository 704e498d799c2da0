'use strict'

const assert = require('node:assert')
const libkv = require('libkv')
const { memory } = require('libkv/testing')
const { all, test } = require('./support.js')

const { Compare, Delete, Put, Range, Txn } = libkv

async function filled(t, count = 5) {
  const db = await memory(t)
  for (let n = 0; n < count; n++) await db.put(`k${n}`, `v${n}`)
  return db
}

const keys = (kvs) => kvs.map((kv) => kv.key.toString()).join(' ')

test('pair: has the shape of its type', async (t) => {
  const db = await filled(t, 1)
  assert.deepStrictEqual(
    { ...(await db.get('k0')) },
    {
      key: Buffer.from('k0'),
      value: Buffer.from('v0'),
      createRevision: 2,
      modRevision: 2,
      version: 1,
      lease: 0n,
    },
  )
  assert.strictEqual(await db.get('missing'), undefined)
  assert.deepStrictEqual(await db.put('k0', 'w', { prevKv: true }), {
    revision: 3,
    prevKv: await db.get('k0', { revision: 2 }),
  })
  assert.deepStrictEqual(await db.delete('missing'), { revision: 3, deleted: 0, prevKvs: [] })
})

test('range: every notation of keys', async (t) => {
  const db = await filled(t)
  const forms = [
    ['k1', 'k1'],
    [{ key: 'k1' }, 'k1'],
    [{ prefix: 'k' }, 'k0 k1 k2 k3 k4'],
    [{ prefix: '' }, 'k0 k1 k2 k3 k4'],
    [{ start: 'k1', end: 'k3' }, 'k1 k2'],
    [{ start: 'k3' }, 'k3 k4'],
    [{ end: 'k2' }, 'k0 k1'],
    [undefined, 'k0 k1 k2 k3 k4'],
    [{}, 'k0 k1 k2 k3 k4'],
  ]
  for (const [form, should] of forms) {
    assert.strictEqual(keys((await db.range(form)).kvs), should)
    assert.strictEqual(keys(db.rangeSync(form).kvs), should)
    assert.strictEqual(keys(await all(db.scan(form))), should)
    assert.strictEqual(keys([...db.scanSync(form)]), should)
    assert.strictEqual(keys((await db.range(Range(form))).kvs), should)
    assert.strictEqual(keys((await all(db.diff(1, 0, form))).map(({ after }) => after)), should)
    assert.strictEqual(keys((await all(db.events(1, 0, form))).map(({ kv }) => kv)), should)
  }
  for (const bad of [
    { key: 'a', prefix: 'b' },
    { prefix: 'a', start: 'b' },
    { key: 'a', end: 'b' },
    { keyy: 'a' },
    { prefix: null },
  ]) {
    assert.throws(() => db.rangeSync(bad), TypeError)
  }
})

test('range: options with the range or after it', async (t) => {
  const db = await filled(t)
  for (const response of [
    await db.range({ prefix: 'k', limit: 2, sortOrder: 'descend' }),
    await db.range({ prefix: 'k' }, { limit: 2, sortOrder: 'descend' }),
  ]) {
    assert.deepStrictEqual([keys(response.kvs), response.count, response.more], ['k4 k3', 5, true])
  }
  assert.deepStrictEqual((await db.range('k1', { keysOnly: true })).kvs[0].value, Buffer.alloc(0))
  assert.deepStrictEqual(
    { ...(await db.range({ countOnly: true })) },
    { revision: 6, kvs: [], count: 5, more: false },
  )
  assert.strictEqual(keys((await db.range({ minModRevision: 3, maxModRevision: 4 })).kvs), 'k1 k2')
  assert.throws(() => db.rangeSync({ sortOrder: 'up' }), {
    name: 'TypeError',
    message: /none, ascend, descend/,
  })
  assert.throws(() => db.rangeSync('k', { limits: 1 }), { message: /did you mean limit\?/ })
})

test('delete: needs a range', async (t) => {
  const db = await filled(t)
  for (const nothing of [undefined, {}, { prevKv: true }]) {
    await assert.rejects(db.delete(nothing), { name: 'TypeError', message: /prefix: ''/ })
    assert.throws(() => db.deleteSync(nothing), TypeError)
  }
  assert.strictEqual((await db.status()).keys, 5)
  const { deleted, prevKvs } = await db.delete({ prefix: '', prevKv: true })
  assert.deepStrictEqual([deleted, keys(prevKvs)], [5, 'k0 k1 k2 k3 k4'])
})

test('requests: are values, frozen, and can be run again', async (t) => {
  const db = await memory(t)
  const put = Put('k', 'v', { prevKv: true })
  assert.ok(Object.isFrozen(put) && put instanceof Put)
  await db.put(put)
  assert.strictEqual((await db.put(put)).prevKv.version, 1)
  db.putSync(put)
  const remove = Delete('k', { prevKv: true })
  assert.strictEqual((await db.delete(remove)).prevKvs[0].version, 3)
  const txn = Txn({ success: [put, Range('k')] })
  assert.strictEqual((await db.txn(txn)).responses[1].kvs[0].version, 1)
  assert.strictEqual(db.txnSync(txn).responses[0].prevKv.version, 1)
  assert.throws(() => Compare(), TypeError)
  await assert.rejects(db.put(put, { lease: 1n }), TypeError)
})

test('txn: compares and runs a branch, also nested', async (t) => {
  const db = await filled(t, 1)
  const run = (members) => [db.txnSync(members).succeeded, db.txnSync(Txn(members)).succeeded]
  const holds = [
    Compare.version('k0', '==', 1),
    Compare.createRevision('k0', '>', 1),
    Compare.modRevision('k0', '<', 3),
    Compare.value('k0', '!=', 'w'),
    Compare.lease('k0', '==', 0n),
    Compare.version({ prefix: 'k' }, '==', 1),
  ]
  assert.deepStrictEqual(run({ compare: holds }), [true, true])
  for (const compare of [
    Compare.version('k0', '!=', 1),
    Compare.value('none', '!=', 'x'),
    Compare.lease('k0', '>', 5n),
  ]) {
    assert.deepStrictEqual(run({ compare: [compare] }), [false, false])
  }
  const nested = Txn({
    compare: [Compare.version('k1', '==', 0)],
    success: [Put('k1', 'x')],
    failure: [Range('k1')],
  })
  const response = await db.txn({ success: [nested, Delete('k0'), Range({})] })
  assert.deepStrictEqual(
    response.responses.map((response) => Object.keys(response).join()),
    ['succeeded,revision,responses', 'revision,deleted,prevKvs', 'revision,kvs,count,more'],
  )
  for (const bad of [
    { success: Put('a', 'b') },
    { success: ['put'] },
    { compare: [Put('a', 'b')] },
    // biome-ignore lint/suspicious/noThenProperty: an unknown option
    { then: [] },
    { success: [{ key: 'a' }] },
  ]) {
    await assert.rejects(db.txn(bad), TypeError)
  }
  assert.throws(() => Compare.version('k', '=', 1), TypeError)
  assert.throws(() => Compare.version('k', '==', undefined), TypeError)
  assert.throws(() => Compare.lease('k', '==', undefined), TypeError)
  await assert.rejects(db.txn({ success: [Put('a', '1'), Put('a', '2')] }), {
    code: 'DUPLICATE_KEY',
  })
})

test('txn: nested too deep is refused at every depth', async (t) => {
  const db = await memory(t)
  for (const depth of [201, 1_000, 3_000]) {
    let txn = Txn({})
    for (let n = 0; n < depth; n++) txn = Txn({ success: [txn, Put('a', 'b')] })
    await assert.rejects(db.txn(txn), { code: 'TOO_MANY_OPS' })
    assert.throws(() => db.txnSync(txn), { code: 'TOO_MANY_OPS' })
  }
})

test('txn: a large txn is passed in one piece', async (t) => {
  const db = await memory(t)
  const puts = (letter) =>
    Array.from({ length: 20_000 }, (_, n) => Put(`${letter}${n}`, 'v'.repeat(50)))
  await db.txn({ success: puts('a') })
  db.txnSync({ success: puts('b') })
  assert.strictEqual((await db.range({ countOnly: true })).count, 40_000)
  const { kvs } = db.rangeSync({ prefix: 'a' })
  assert.ok(
    kvs.length === 20_000 &&
      kvs.every((kv) => kv.value.toString() === 'v'.repeat(50) && kv.key[0] === 97),
  )
})

test('scan: pages of one revision, can be left early', async (t) => {
  const db = await memory(t)
  await db.txn({
    success: Array.from({ length: 3_000 }, (_, n) =>
      Put(`k${String(n).padStart(4, '0')}`, `v${n}`),
    ),
  })
  const scan = db.scan({ prefix: 'k' })
  const first = await scan.next()
  await db.delete({ prefix: '' })
  const rest = await all(scan)
  assert.strictEqual(rest.length, 2_999)
  assert.strictEqual(first.value.key.toString(), 'k0000')
  let seen = 0
  for await (const kv of db.scan({ revision: 2 })) if (kv && ++seen === 10) break
  for (const kv of db.scanSync({ revision: 2 })) if (kv && ++seen === 20) break
  const together = db.scan({ revision: 2, limit: 3 })
  const steps = await Promise.all([
    together.next(),
    together.next(),
    together.next(),
    together.next(),
    together.next(),
  ])
  assert.deepStrictEqual(
    steps.map(({ done }) => done),
    [false, false, false, true, true],
  )
  assert.deepStrictEqual(await together.return(), { value: undefined, done: true })
  const left = db.scanSync({ revision: 2 })
  left.next()
  left[Symbol.dispose]()
  assert.deepStrictEqual(left.next(), { value: undefined, done: true })
  await assert.rejects(all(db.scan({ sortOrder: 'descend' })), { code: 'INVALID_ARGUMENT' })
  await db.compact(3)
  await assert.rejects(all(db.scan({ revision: 2 })), { code: 'COMPACTED', revision: 3 })
})

test('scan: large values are read page by page', async (t) => {
  const db = await memory(t)
  for (let n = 0; n < 20; n++) await db.put(`k${n}`, Buffer.alloc(200_000, n))
  const read = await all(db.scan())
  assert.ok(
    read.length === 20 &&
      read.every(
        (kv) => kv.value.length === 200_000 && kv.value[5] === Number(kv.key.toString().slice(1)),
      ),
  )
  assert.strictEqual((await all(db.events(1))).length, 20)
  assert.strictEqual((await all(db.diff(1))).length, 20)
})

test('past: snapshots, history, events, differences', async (t) => {
  const db = await filled(t, 2)
  const before = await db.snapshot()
  await db.put('k0', 'w')
  await db.delete('k1')
  const after = await db.snapshotAt(5)
  assert.deepStrictEqual([before.revision, after.revision], [3, 5])
  assert.strictEqual((await before.get('k0')).value.toString(), 'v0')
  assert.strictEqual(before.getSync('k1').value.toString(), 'v1')
  assert.strictEqual(keys((await before.range()).kvs), 'k0 k1')
  assert.strictEqual(keys(after.rangeSync({ prefix: 'k' }).kvs), 'k0')
  assert.strictEqual(keys(await all(before.scan())), 'k0 k1')
  assert.strictEqual(keys([...after.scanSync({ start: 'k' })]), 'k0')
  await assert.rejects(before.range({ revision: 2 }), { code: 'INVALID_ARGUMENT', revision: 3 })
  const history = await db.history('k1')
  assert.deepStrictEqual(
    history.map(({ type, kv }) => [type, kv.modRevision]),
    [
      ['delete', 5],
      ['put', 3],
    ],
  )
  assert.strictEqual((await db.history('k1', { limit: 1 })).length, 1)
  assert.deepStrictEqual(
    (await all(db.events(3))).map(({ type, kv }) => `${type} ${kv.key}`),
    ['put k0', 'delete k1'],
  )
  assert.deepStrictEqual(
    (await all(db.diff(3, 5))).map(
      ({ key, before, after }) => `${key} ${before?.value} ${after?.value}`,
    ),
    ['k0 v0 w', 'k1 v1 undefined'],
  )
  await assert.rejects(db.snapshotAt(99), { code: 'FUTURE_REVISION', revision: 5 })
  assert.deepStrictEqual(await db.compact(5, { physical: true }), { revision: 5 })
  await assert.rejects(before.get('k0'), { code: 'COMPACTED', revision: 5 })
  assert.throws(() => db.compactSync(5), { code: 'COMPACTED' })
  await assert.rejects(all(db.events(1)), { code: 'COMPACTED' })
  await assert.rejects(all(db.diff(1)), { code: 'COMPACTED' })
})

test('transact: runs again after a conflict', async (t) => {
  const db = await memory(t)
  await db.put('n', '0')
  const add = () =>
    db.transact(
      async (tx) => {
        const n = Number((await tx.get('n')).value)
        await tx.put('n', String(n + 1))
        return n
      },
      { maxRetries: Infinity },
    )
  const seen = await Promise.all(Array.from({ length: 20 }, add))
  assert.deepStrictEqual(
    seen.sort((a, b) => a - b),
    Array.from({ length: 20 }, (_, n) => n),
  )
  assert.strictEqual((await db.get('n')).value.toString(), '20')
})

test('transact: reads its own writes, and writes nothing if it throws', async (t) => {
  const db = await filled(t, 3)
  const mine = new Error('mine')
  await assert.rejects(
    db.transact(async (tx) => {
      await tx.put('x', 'y')
      throw mine
    }),
    (error) => error === mine,
  )
  assert.strictEqual(db.statusSync().revision, 4)
  let late
  const response = await db.transact(async (tx) => {
    late = tx
    await tx.put('k1', 'w')
    assert.strictEqual(await tx.delete({ prefix: 'k' }), 3)
    await tx.put('z', '1')
    assert.strictEqual(keys((await tx.range()).kvs), 'z')
    assert.strictEqual(await tx.get('k1'), undefined)
    await assert.rejects(tx.range({ revision: 1 }), { code: 'INVALID_ARGUMENT' })
    await assert.rejects(tx.put('z', '1', { prevKv: true }), TypeError)
    return 'done'
  })
  assert.strictEqual(response, 'done')
  assert.strictEqual(keys(db.rangeSync().kvs), 'z')
  await assert.rejects(late.get('z'), { code: 'CLOSED' })
  await assert.rejects(late.put('z', '2'), { code: 'CLOSED' })
  assert.strictEqual(await db.transact(() => 5), 5)
  assert.strictEqual(db.statusSync().revision, 5)
  await assert.rejects(db.transact('no function'), TypeError)
})

test('transact: fails with a conflict after its retries', async (t) => {
  const db = await filled(t, 1)
  let tries = 0
  await assert.rejects(
    db.transact(
      async (tx) => {
        tries++
        await tx.get('k0')
        await db.put('k0', 'other')
        await tx.put('k0', 'mine')
      },
      { maxRetries: 3 },
    ),
    { code: 'CONFLICT' },
  )
  assert.strictEqual(tries, 4)
})

test('status and check', async (t) => {
  const db = await filled(t, 2)
  const status = await db.status()
  assert.deepStrictEqual(Object.keys(status), Object.keys(db.statusSync()))
  assert.deepStrictEqual(
    [status.revision, status.compactedRevision, status.keys, status.alarms],
    [3, undefined, 2, []],
  )
  assert.deepStrictEqual(
    [status.poisoned, status.removed, status.writerPid, status.writerHeldMs, status.oldestReader],
    [false, false, undefined, undefined, undefined],
  )
  assert.match(status.storeId, /^[0-9a-f]{32}$/)
  assert.match(status.lmdbVersion, /^\d+\.\d+\.\d+$/)
  assert.deepStrictEqual(await db.check(), { keys: 2, events: 2, problems: [] })
})
