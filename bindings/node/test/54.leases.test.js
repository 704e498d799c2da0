'use strict'

const assert = require('node:assert')
const { spawn } = require('node:child_process')
const { once } = require('node:events')
const { setImmediate: turn } = require('node:timers/promises')
const libkv = require('libkv')
const { etcd, memory } = require('libkv/testing')
const { folder, holder, place, test, until } = require('./support.js')

test('lease: grant, keep alive, time to live, list, revoke', async (t) => {
  const { db, clock } = await etcd(t)
  const granted = await db.leaseGrant(10)
  assert.deepStrictEqual(
    [typeof granted.id, granted.ttlSeconds, granted.revision],
    ['bigint', 10, 1],
  )
  assert.deepStrictEqual(
    { ...(await db.leaseGrant(1, { id: -5n })) },
    { revision: 1, id: -5n, ttlSeconds: 2 },
  ) // etcd's minimum
  await db.put('b', 'v', { lease: granted.id })
  await db.put('a', 'v', { lease: granted.id })
  await clock.advance(1_500)
  const left = await db.leaseTimeToLive(granted.id, { keys: true })
  assert.deepStrictEqual(
    { ...left, keys: left.keys.map(String) },
    { id: granted.id, ttlSeconds: 8, grantedTtlSeconds: 10, keys: ['a', 'b'] },
  )
  assert.deepStrictEqual((await db.leaseTimeToLive(granted.id)).keys, [])
  assert.deepStrictEqual(await db.leaseList(), [-5n, granted.id])
  assert.deepStrictEqual(
    { ...(await db.leaseKeepAlive(granted.id)) },
    { id: granted.id, ttlSeconds: 10 },
  )
  assert.strictEqual((await db.leaseTimeToLive(granted.id)).ttlSeconds, 10)
  assert.deepStrictEqual(await db.leaseRevoke(granted.id), { revision: 4 })
  assert.deepStrictEqual(
    [await db.get('a'), (await db.leaseTimeToLive(granted.id)).ttlSeconds],
    [undefined, -1],
  )
})

test('lease: refusals', async (t) => {
  const db = await memory(t)
  await db.leaseGrant(5, { id: 7n })
  await assert.rejects(db.leaseGrant(5, { id: 7n }), { code: 'LEASE_EXISTS' })
  await assert.rejects(db.leaseGrant(2 ** 62), { code: 'INVALID_ARGUMENT' })
  await assert.rejects(db.leaseRevoke(8n), { code: 'LEASE_NOT_FOUND' })
  assert.deepStrictEqual({ ...(await db.leaseKeepAlive(8n)) }, { id: 8n, ttlSeconds: 0 })
  for (const call of [
    () => db.leaseGrant('5'),
    () => db.leaseGrant(5, { id: 7 }),
    () => db.leaseRevoke(7),
    () => db.leaseRevoke(),
    () => db.leaseKeepAlive(),
    () => db.leaseTimeToLive('7'),
    () => db.lease(),
    () => db.lease(5, { endWithProcess: 1 }),
    () => db.lease(5, { ends: true }),
  ]) {
    await assert.rejects(call, TypeError, String(call))
  }
  for (const call of [
    () => db.leaseGrant(1.5),
    () => db.leaseGrant(NaN),
    () => db.leaseRevoke(2n ** 63n),
  ])
    await assert.rejects(call, RangeError)
  assert.throws(() => new libkv.Lease(), TypeError)
})

test('lease: expires by the clock, not on the event loop', async (t) => {
  const { db, clock } = await etcd(t)
  const { id } = await db.leaseGrant(10)
  for (let n = 0; n < 100; n++) await db.put(`k${n}`, 'v', { lease: id })
  const watcher = db.watch()
  await clock.advance(9_999)
  assert.strictEqual((await db.range({ countOnly: true })).count, 100)
  await clock.advance(1)
  assert.strictEqual((await db.range({ countOnly: true })).count, 0)
  const { revision, events } = (await watcher.next()).value // one revision
  assert.deepStrictEqual([revision, events.length, events[0].type], [102, 100, 'delete'])
})

test('lease: waiting for an expiry does not block the loop', async (t) => {
  const { db, clock } = await etcd(t)
  await db.leaseGrant(2)
  let advanced = false
  const advance = clock.advance(5_000).then(() => (advanced = true))
  assert.strictEqual(advanced, false)
  await advance
  assert.deepStrictEqual(await db.leaseList(), [])
})

test('lease: keeps itself alive and is revoked by close', async (t) => {
  const { db, clock } = await etcd(t)
  const lease = await db.lease(10)
  await db.put('k', 'v', { lease: lease.id })
  await clock.advance(60_000)
  assert.deepStrictEqual([lease.ttlSeconds, await lease.remaining(), lease.lost], [10, 10, false])
  lease.onLost(() => assert.fail('called after close'))
  await lease.close()
  await lease.close()
  assert.deepStrictEqual(
    [await db.get('k'), await lease.remaining(), lease.lost],
    [undefined, 0, false],
  )
  lease.onLost(() => assert.fail('called after close'))
  const other = await db.lease(10)
  await other[Symbol.asyncDispose]()
  assert.deepStrictEqual(await db.leaseList(), [])
  const last = await db.lease(10)
  await db.close()
  await last[Symbol.asyncDispose]()
  await assert.rejects(db.lease(5), { code: 'CLOSED' })
  await assert.rejects(last.remaining(), { code: 'CLOSED' })
})

test('lease: a loss calls every callback, on the event loop', async (t) => {
  const { db, clock } = await etcd(t)
  const lease = await db.lease(6)
  assert.throws(() => lease.onLost('not a function'), TypeError)
  const called = []
  lease.onLost(() => called.push('first'))
  lease.onLost(() => called.push('second'))
  assert.deepStrictEqual(called, [])
  await db.leaseRevoke(lease.id)
  await clock.advance(6_000) // beyond its next renewal, which detects the loss
  await until('both callbacks', () => called.length === 2)
  assert.strictEqual(lease.lost, true)
  lease.onLost(() => called.push('late'))
  await turn()
  assert.deepStrictEqual(called, ['first', 'second', 'late'])
  await lease.close() // no error
})

test('lease: closing the store revokes the leases that its handles keep alive', async (t) => {
  const store = place(t)
  const [db, other] = [await libkv.open(store), await libkv.open(store)]
  const lease = await db.lease(100)
  await db.put('k', 'v', { lease: lease.id })
  await db.close()
  const watcher = other.watch('k', { startRevision: 3 })
  assert.strictEqual((await watcher.next()).value.events[0].type, 'delete')
  await other.close()
})

test('lease: ends with its process, and with an idle program', async (t) => {
  const store = place(t)
  const db = await libkv.open(store)
  const watcher = db.watch({ noPut: true })
  for (const [how, ended] of [
    ['setInterval(() => {}, 1000)', 'SIGKILL'],
    ['', null],
  ]) {
    const program = `require('libkv').open(process.argv[1]).then(async (db) => {
      const lease = await db.lease(1000, { endWithProcess: ${ended !== null} })
      await db.put('k', 'v', { lease: lease.id })
      console.log('put')
      ${how}
    })`
    const child = spawn(process.execPath, ['-e', program, store], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    if (ended) child.kill(ended)
    assert.strictEqual(`${(await watcher.next()).value.events[0].kv.key}`, 'k')
  }
  await db.close()
})

test('lease: aborted grants and revocations behave as writes', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  const db = await libkv.open(store, { busyTimeoutMs: Infinity })
  const first = db.put('first', 'x')
  await turn()
  const abort = new AbortController()
  const writes = Promise.allSettled([
    db.leaseGrant(5, { id: 5n, signal: abort.signal }),
    db.leaseRevoke(5n, { signal: abort.signal }),
  ])
  await turn()
  abort.abort()
  for (const { reason } of await writes) assert.strictEqual(reason, abort.signal.reason)
  await held.release()
  await first
  assert.deepStrictEqual(await db.leaseList(), [])
  await db.close()
})

test('revisionAt', async (t) => {
  const { db, clock } = await etcd(t)
  const begin = clock.unixMs
  await db.put('k', 'early')
  await clock.advance(10 * 60_000)
  await db.put('k', 'late')
  const revision = await db.revisionAt(new Date(begin + 5 * 60_000))
  assert.strictEqual(`${(await db.get('k', { revision })).value}`, 'early')
  assert.strictEqual(await db.revisionAt(clock.unixMs), 3)
  assert.strictEqual(await db.revisionAt(begin + 0.5), revision)
  for (const wrong of [undefined, '10:15', 5n])
    await assert.rejects(db.revisionAt(wrong), TypeError)
  await assert.rejects(db.revisionAt(new Date('no date')), RangeError)
  await db.compact(3)
  await assert.rejects(db.revisionAt(begin), { code: 'COMPACTED' })
})
