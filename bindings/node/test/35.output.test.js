// The output of responses and handles: JSON, iteration, inspect.
'use strict'

const assert = require('node:assert')
const { inspect } = require('node:util')
const libkv = require('libkv')
const { etcd, memory } = require('libkv/testing')
const { all, place, test } = require('./support.js')

const { Put, Range } = libkv
const BYTES = Buffer.from([0xff, 0x00, 0x80])
const LEASE = 2n ** 63n - 1n

const json = (value) => JSON.parse(JSON.stringify(value))
/** Decodes bytes as index.d.ts describes. */
const read = (json, name) =>
  json[`${name}Base64`] === undefined
    ? Buffer.from(json[name])
    : Buffer.from(json[`${name}Base64`], 'base64')

test('JSON: a pair has the lease as decimal digits, and bytes as text or base64', async (t) => {
  const { db } = await etcd(t)
  await db.leaseGrant(60, { id: LEASE })
  await db.put('key', 'välue\0', { lease: LEASE })
  const numbers = { createRevision: 2, modRevision: 2, version: 1, lease: '9223372036854775807' }
  assert.deepStrictEqual(json(await db.get('key')), { key: 'key', value: 'välue\0', ...numbers })
  await db.put(BYTES, BYTES)
  const kv = json(await db.get(BYTES))
  assert.deepStrictEqual(kv, {
    keyBase64: '/wCA',
    valueBase64: '/wCA',
    createRevision: 3,
    modRevision: 3,
    version: 1,
    lease: '0',
  })
})

test('JSON: any bytes can be read back', async (t) => {
  const db = await memory(t)
  const texts = [
    '/wCA',
    '',
    'text',
    '{"base64":"/wCA"}',
    '\u{feff}mark',
    '\u2028',
    BYTES,
    Buffer.from('é', 'latin1'),
    Buffer.alloc(3),
    Buffer.from([0xed, 0xa0, 0x80]),
  ]
  for (const given of texts) {
    await db.put('k', given)
    const stored = (await db.get('k')).value
    assert.ok(read(json(await db.get('k')), 'value').equals(stored), inspect(given))
  }
})

test('JSON: every response', async (t) => {
  const { db } = await etcd(t)
  const grant = await db.leaseGrant(60, { id: -5n })
  const watcher = db.watch()
  t.after(() => watcher.close())
  const put = await db.put(BYTES, 'v', { lease: -5n })
  const again = await db.put(BYTES, 'w', { prevKv: true, ignoreLease: true })
  const txn = await db.txn({ success: [Put('a', 'b', { prevKv: true }), Range({ prefix: '' })] })
  assert.deepStrictEqual(json(grant), { revision: 1, id: '-5', ttlSeconds: 60 })
  assert.deepStrictEqual(json(put), { revision: 2 })
  assert.deepStrictEqual([json(again).prevKv.lease, json(again).prevKv.keyBase64], ['-5', '/wCA'])
  assert.deepStrictEqual(
    json(txn).responses[1].kvs.map(({ key, keyBase64 }) => key ?? keyBase64),
    ['a', '/wCA'],
  )
  assert.deepStrictEqual(json(await db.range({ prefix: 'a' })).kvs[0].key, 'a')
  assert.deepStrictEqual(json(await db.leaseKeepAlive(-5n)), { id: '-5', ttlSeconds: 60 })
  const left = json(await db.leaseTimeToLive(-5n, { keys: true }))
  assert.deepStrictEqual([left.id, left.keys], ['-5', [{ keyBase64: '/wCA' }]])
  const batch = json((await watcher.next()).value)
  assert.deepStrictEqual(
    [batch.revision, batch.events[0].type, batch.events[0].kv.keyBase64],
    [2, 'put', '/wCA'],
  )
  assert.strictEqual(json(await db.history(BYTES))[0].kv.lease, '-5')
  assert.strictEqual(json(await all(db.events(1)))[0].kv.valueBase64, undefined)
  const changes = json(await all(db.diff(2)))
  assert.deepStrictEqual(
    changes.map(({ key, keyBase64 }) => key ?? keyBase64),
    ['a', '/wCA'],
  )
  assert.deepStrictEqual([changes[1].before.value, changes[1].after.value], ['v', 'w'])
  const deleted = json(await db.delete({ prefix: '', prevKv: true }))
  assert.deepStrictEqual(
    [deleted.deleted, deleted.prevKvs.length, deleted.prevKvs[0].lease],
    [2, 2, '0'],
  )
  const alarms = json(await db.alarmActivate('corrupt', { member: 2n ** 64n - 1n }))
  assert.deepStrictEqual(alarms, [{ kind: 'corrupt', member: '18446744073709551615' }])
  assert.strictEqual(json(await db.status()).durability, 'none')
  assert.deepStrictEqual(json(await db.check()).problems, [])
})

test('JSON: every request', () => {
  const { Compare, Delete, Txn } = libkv
  const put = Put('k', BYTES, { lease: 7n })
  assert.deepStrictEqual(
    [json(put).kind, json(put).key, json(put).valueBase64, json(put).lease],
    ['put', 'k', '/wCA', '7'],
  )
  const txn = Txn({
    compare: [Compare.lease('k', '==', 7n)],
    success: [put, Range('k')],
    failure: [Delete({ prefix: BYTES })],
  })
  assert.deepStrictEqual(
    [json(txn).compare[0].operand, json(txn).success.map(({ kind }) => kind)],
    ['7', ['put', 'range']],
  )
  assert.strictEqual(json(txn).failure[0].range.aBase64, '/wCA')
})

test('iteration: ranges and batches of a watcher', async (t) => {
  const db = await memory(t)
  const watcher = db.watch()
  t.after(() => watcher.close())
  await db.txn({ success: [Put('a', '1'), Put('b', '2')] })
  assert.deepStrictEqual(
    Array.from(await db.range(), (kv) => `${kv.key}=${kv.value}`),
    ['a=1', 'b=2'],
  )
  assert.deepStrictEqual([...db.rangeSync({ prefix: 'b' })].length, 1)
  assert.deepStrictEqual([...(await db.range({ countOnly: true }))], [])
  assert.deepStrictEqual(
    Array.from((await watcher.next()).value, ({ kv }) => `${kv.key}`),
    ['a', 'b'],
  )
  const { responses } = await db.txn({ success: [Range({ prefix: '' })] })
  assert.strictEqual([...responses[0]].length, 2)
})

test('inspect: handles, as the repr of Python', async (t) => {
  const where = place(t)
  const db = await libkv.open(where)
  assert.strictEqual(inspect(db), `<libkv.Db ${JSON.stringify(where)}>`)
  assert.strictEqual(inspect({ db }), `{ db: <libkv.Db ${JSON.stringify(where)}> }`)
  const lease = await db.lease(30)
  assert.strictEqual(inspect(lease), `<libkv.Lease ${lease.id}, ttl 30 s>`)
  await db.leaseRevoke(lease.id)
  const lock = db.lock('jobs "1"\n', 30)
  assert.strictEqual(inspect(lock), String.raw`<libkv.Lock "jobs \"1\"\n", not held>`)
  await lock.acquire()
  assert.strictEqual(inspect(lock), String.raw`<libkv.Lock "jobs \"1\"\n", held>`)
  const election = db.election(Buffer.from('chief'), 30)
  assert.strictEqual(inspect(election), '<libkv.Election "chief", does not lead>')
  await election.campaign('me')
  assert.strictEqual(inspect(election), '<libkv.Election "chief", leads>')
  const watcher = db.watch({ startRevision: 2 })
  assert.strictEqual(inspect(watcher), '<libkv.Watcher from revision 2>')
  const leaders = election.observe()
  assert.strictEqual(inspect(leaders), '<libkv.Leaders>')
  const snapshot = await db.snapshotAt(2)
  assert.strictEqual(inspect(snapshot), '<libkv.Snapshot of revision 2>')
  const server = await libkv.serve(db)
  assert.strictEqual(inspect(server), `<libkv.Server at ${server.address}>`)
  await server.close()
  assert.strictEqual(inspect(server), `<libkv.Server at ${server.address}, closed>`)
  assert.strictEqual(inspect(new libkv.Clock(5)), 'Clock(5)')
  const shown = [lease, lock, election, watcher, leaders, snapshot]
  await db.close()
  assert.strictEqual(inspect(db), `<libkv.Db ${JSON.stringify(where)}, closed>`)
  for (const handle of shown) assert.match(inspect(handle), /^<libkv\./)
  // the output for the classes themselves is as for any class
  for (const name of ['Db', 'Lock', 'Watcher'])
    assert.match(inspect(libkv[name], { showHidden: true }), new RegExp(`class ${name}`))
})

test('inspect: prints no secret', async (t) => {
  const { db } = await etcd(t)
  assert.strictEqual(inspect(db), '<libkv.Db ":memory:">')
  const server = await libkv.serve(db)
  t.after(() => server.close())
  const cluster = await libkv.open(server.address, { connectTimeoutMs: 20_000 })
  assert.strictEqual(inspect(cluster), `<libkv.Db "${server.address}">`)
  await cluster.close()
})
