'use strict'

const assert = require('node:assert')
const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const { setImmediate: turn } = require('node:timers/promises')
const libkv = require('libkv')
const { memory } = require('libkv/testing')
const { folder, holder, place, test, until } = require('./support.js')

const queue = async (db, name) =>
  (await db.range({ prefix: `${name}/`, sortTarget: 'create' })).kvs.map(({ key }) => `${key}`)

/** Waits until the queue of a lock has this number of keys. */
const queued = (db, name, count) =>
  until(`${count} in the queue`, async () => (await queue(db, name)).length === count)

/** Waits until no lease is left. */
const noLease = (db) => until('no lease', async () => (await db.leaseList()).length === 0)

test('lock: waiters acquire it in their order', async (t) => {
  const db = await memory(t)
  const locks = Array.from({ length: 20 }, () => db.lock('l', 60))
  const order = []
  for (const [n, lock] of locks.entries()) {
    lock.acquire().then(() => order.push(n))
    await queued(db, 'l', n + 1)
  }
  let fence = 0
  for (const [n, lock] of locks.entries()) {
    await until('the next holder', () => order.length > n)
    assert.deepStrictEqual(
      [order.at(-1), lock.isHeld, `${lock.key}`],
      [n, true, (await queue(db, 'l'))[0]],
    )
    assert.ok(lock.revision > fence)
    fence = lock.revision
    if (n < 19)
      assert.deepStrictEqual(
        [locks[n + 1].isHeld, locks[n + 1].key.length, locks[n + 1].revision],
        [false, 0, undefined],
      )
    await lock.release()
    assert.deepStrictEqual([lock.isHeld, lock.key.length, lock.revision], [false, 0, undefined])
  }
  assert.deepStrictEqual(
    [order, await db.leaseList()],
    [Array.from({ length: 20 }, (_, n) => n), []],
  )
})

test('lock: acquire twice, release twice, tryAcquire', async (t) => {
  const db = await memory(t)
  const [lock, other] = [db.lock('l', 60), db.lock(Buffer.from('l'), 60)]
  await lock.release()
  assert.strictEqual(await lock.tryAcquire(), true)
  await lock.acquire()
  assert.strictEqual(await lock.tryAcquire(), true)
  assert.strictEqual(await other.tryAcquire(), false)
  assert.strictEqual((await queue(db, 'l')).length, 1)
  await lock.release()
  await lock[Symbol.asyncDispose]()
  assert.strictEqual(await other.tryAcquire(), true)
})

test('lock and election: misuse', async (t) => {
  const db = await memory(t)
  for (const call of [
    () => db.lock(),
    () => db.lock('l'),
    () => db.lock('l', '5'),
    () => db.election(5, 5),
    () => new libkv.Lock(),
    () => new libkv.Election(),
    () => db.election('e', 5).observe({ timeoutMs: 1 }),
  ]) {
    assert.throws(call, TypeError, String(call))
  }
  assert.throws(() => db.lock('l', 0.5), RangeError)
  for (const make of ['lock', 'election'])
    assert.throws(() => db[make]('', 5), { code: 'INVALID_ARGUMENT' })
  const [lock, election] = [db.lock('l', 5), db.election('e', 5)]
  for (const call of [
    () => lock.acquire({ timeout: 1 }),
    () => lock.acquire({ timeoutMs: '1' }),
    () => lock.acquire({ signal: 1 }),
    () => election.campaign(),
    () => election.campaign('v', 5),
    () => election.proclaim(5),
  ]) {
    await assert.rejects(call, TypeError, String(call))
  }
  await assert.rejects(lock.acquire({ timeoutMs: -1 }), RangeError)
  await assert.rejects(election.proclaim('v'), { code: 'FAILED_PRECONDITION' })
  const [held, waits] = [db.lock('l', 5), db.lock('l', 5)]
  await held.acquire()
  const waiting = waits.acquire()
  await assert.rejects(waits.acquire(), { code: 'INVALID_ARGUMENT' })
  await held.release()
  await waiting
})

test('lock: a time-out names the holder and leaves the queue', async (t) => {
  const db = await memory(t)
  const [lock, other] = [db.lock('l', 60), db.lock('l', 60)]
  await lock.acquire()
  for (const timeoutMs of [0, 1, 20]) {
    await assert.rejects(other.acquire({ timeoutMs }), {
      code: 'TIMEOUT',
      message: new RegExp(`${timeoutMs} ms.*${lock.key}`),
    })
    assert.deepStrictEqual(await queue(db, 'l'), [`${lock.key}`])
  }
  const late = other.acquire({ timeoutMs: 60_000 })
  await lock.release()
  await late
  assert.strictEqual(other.isHeld, true)
})

test('lock: an abort and a release leave the queue', async (t) => {
  const db = await memory(t)
  const [lock, other, election] = [db.lock('l', 60), db.lock('l', 60), db.election('l', 60)]
  await lock.acquire()
  const reason = new Error('stop')
  for (const start of [
    (options) => other.acquire(options),
    (options) => election.campaign('v', options),
  ]) {
    const abort = new AbortController()
    const waiting = start({ signal: abort.signal })
    await queued(db, 'l', 2)
    abort.abort(reason)
    await assert.rejects(waiting, (error) => error === reason)
    await queued(db, 'l', 1)
    await assert.rejects(start({ signal: abort.signal }), (error) => error === reason)
  }
  assert.strictEqual(reason.cause, undefined) // the outcome is known
  const waiting = other.acquire()
  await queued(db, 'l', 2)
  const released = other.release()
  await assert.rejects(waiting, { code: 'CANCELLED' })
  await released
  assert.deepStrictEqual(await queue(db, 'l'), [`${lock.key}`])
  await lock.release()
  await other.acquire({ signal: new AbortController().signal })
})

test('lock: an abort at any moment leaves no key', async (t) => {
  const db = await memory(t)
  const lock = db.lock('l', 60)
  for (let turns = 0; turns < 40; turns++) {
    const abort = new AbortController()
    const acquired = lock.acquire({ signal: abort.signal }).then(
      () => true,
      (error) => assert.strictEqual(error, abort.signal.reason),
    )
    for (let n = 0; n < turns; n++) await turn()
    abort.abort()
    if (await acquired) await lock.release()
    await queued(db, 'l', 0)
    await noLease(db)
    assert.strictEqual(lock.isHeld, false)
  }
})

test('lock: an abort while another process holds the writer lock rejects at once', async (t) => {
  const store = place(t)
  const db = await libkv.open(store, { busyTimeoutMs: Infinity })
  const held = await holder(t, store)
  const lock = db.lock('l', 60)
  const abort = new AbortController()
  const waiting = lock.acquire({ signal: abort.signal })
  await turn()
  abort.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  await held.release()
  await noLease(db)
  await queued(db, 'l', 0)
  await db.close()
})

test('lock: a lost lease ends the wait and the hold', async (t) => {
  const db = await memory(t)
  const [lock, other] = [db.lock('l', 3), db.lock('l', 3)]
  await lock.acquire()
  // the handler is attached at once: the wait may end before the last revocation returns
  const refused = assert.rejects(other.acquire(), { code: 'LEASE_LOST' })
  await queued(db, 'l', 2)
  for (const { lease } of (
    await db.range({ prefix: 'l/', sortTarget: 'create', sortOrder: 'descend' })
  ).kvs)
    await db.leaseRevoke(lease)
  await refused
  // the next renewal, a second later, detects the loss
  await until('the loss is detected', () => !lock.isHeld)
  await lock.acquire()
  assert.strictEqual(lock.isHeld, true)
})

test('close: ends every wait at once', async () => {
  const db = await libkv.open(':memory:')
  const [lock, other, election] = [db.lock('l', 60), db.lock('l', 60), db.election('l', 60)]
  await lock.acquire()
  const waits = [other.acquire(), election.campaign('v'), db.watch('never').next()]
  await queued(db, 'l', 3)
  const leaders = election.observe()
  await leaders.next()
  waits.push(leaders.next())
  await turn()
  const settled = Promise.allSettled(waits)
  await db.close()
  for (const { reason } of await settled) assert.strictEqual(reason?.code, 'CLOSED')
  assert.deepStrictEqual([lock.isHeld, election.isLeader], [false, false])
  for (const call of [
    () => lock.acquire(),
    () => lock.tryAcquire(),
    () => lock.release(),
    () => election.campaign('v'),
    () => election.proclaim('v'),
    () => election.leader(),
    () => election.resign(),
    () => leaders.next(),
  ]) {
    await assert.rejects(call, { code: 'CLOSED' }, String(call))
  }
  for (const call of [
    () => db.lock('l', 5).acquire(),
    () => db.leaseGrant(5),
    () => db.revisionAt(0),
  ])
    await assert.rejects(call, { code: 'CLOSED' })
  for (const call of [() => db.watch(), () => election.observe()])
    assert.throws(call, { code: 'CLOSED' })
  await lock[Symbol.asyncDispose]()
  await election[Symbol.asyncDispose]()
})

test('election: campaign, proclaim, leader, observe, resign', async (t) => {
  const db = await memory(t)
  const [one, two] = [db.election('e', 60), db.election('e', 60)]
  assert.strictEqual(await one.leader(), undefined)
  const leaders = two.observe()
  const seen = []
  const observing = (async () => {
    for await (const { value } of leaders) if (seen.push(`${value}`) === 4) break
  })()
  const observed = (count) => until(`${count} leaders`, () => seen.length >= count)
  await one.campaign('one')
  await observed(1)
  assert.deepStrictEqual(
    [one.isLeader, `${one.key}`, `${(await two.leader()).value}`],
    [true, (await queue(db, 'e'))[0], 'one'],
  )
  const waiting = two.campaign(Buffer.from('two'))
  await one.proclaim('still one')
  await observed(2)
  await one.campaign('one again')
  await observed(3)
  await assert.rejects(two.proclaim('too early'), { code: 'FAILED_PRECONDITION' })
  const { revision } = one
  await one.resign()
  await waiting
  assert.ok(two.revision > revision && two.isLeader && !one.isLeader)
  await observing
  assert.deepStrictEqual(seen, ['one', 'still one', 'one again', 'two'])
  assert.strictEqual((await leaders.next()).done, true)
  const [{ lease }] = (await db.range({ prefix: 'e/' })).kvs
  await db.leaseRevoke(lease)
  await assert.rejects(two.proclaim('too late'), { code: 'LEASE_LOST' })
})

test('lock: is free within a second after its holder is killed', async (t) => {
  const store = place(t)
  const db = await libkv.open(store)
  const program = `require('libkv').open(process.argv[1]).then(async (db) => {
    const lock = db.lock('l', 1000)
    await lock.acquire()
    console.log('acquired')
    setInterval(() => lock, 1000)
  })`
  for (let round = 0; round < 3; round++) {
    const child = spawn(process.execPath, ['-e', program, store], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    const lock = db.lock('l', 60)
    const waiting = lock.acquire({ timeoutMs: 30_000 })
    await queued(db, 'l', 2)
    child.kill('SIGKILL')
    await waiting
    await lock.release()
  }
  await db.close()
})

test('lock: a thousand waiters do not need a thread each', async (t) => {
  const db = await memory(t)
  const threads = () => fs.readdirSync('/proc/self/task').length
  const first = db.lock('l', 60)
  await first.acquire()
  await db.lock('other', 60).acquire()
  const before = threads()
  const locks = Array.from({ length: 1_000 }, () => db.lock('l', 60))
  const waits = Promise.all(locks.map((lock) => lock.acquire().then(() => lock.release())))
  await queued(db, 'l', 1_001)
  assert.ok(
    threads() <= before + Number(process.env.UV_THREADPOOL_SIZE ?? 4),
    `${before} threads, then ${threads()}`,
  )
  await first.release()
  await waits
  assert.deepStrictEqual(await queue(db, 'l'), [])
})
