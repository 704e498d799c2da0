// Measures the memory of this process before and after many calls of each kind. Prints a line for
// each kind, with `grew` if it grew by more than allowed. Run with --expose-gc:
// `leaks.js STORE [CALLS]`.
'use strict'

const fs = require('node:fs')
const libkv = require('libkv')

const CALLS = Number(process.argv[3] ?? 100_000)
/** Calls that fill the caches and pools of V8, the allocator and LMDB before the measurement. */
const WARM_UP = CALLS / 5
/**
 * The allowed growth in CALLS rounds: 4 MiB, or 42 bytes a round. The smallest leak of a call, a
 * promise, a handle or a Buffer, is larger. Slow kinds are called only in some of the rounds; a
 * leak there is larger.
 */
const ALLOWED_BYTES = 42 * CALLS
const TOGETHER = 200
const ATTEMPTS = 4

/** The memory of the process, without the mapped pages of the store. */
function ownBytes() {
  return Number(/RssAnon:\s+(\d+) kB/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
}

async function settled() {
  for (let round = 0; round < 4; round++) {
    global.gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return ownBytes()
}

/** Makes one call in every `every` of `count` rounds. */
async function repeat(count, every, call) {
  for (let n = 0; n < count; ) {
    const calls = []
    for (let i = 0; i < TOGETHER && n < count; i++, n += every) calls.push(call(n))
    await Promise.all(calls)
    await new Promise((resolve) => setImmediate(resolve)) // finalizers run on the event loop
  }
}

const failed = (call) => {
  try {
    call()
  } catch {
    return
  }
  throw new Error('the call was not refused')
}

const next = async (watcher) => {
  await watcher.next()
  watcher.close()
}

/** A key that no other concurrent call uses. */
const one = (n) => `one${(n / 10) % (TOGETHER / 10)}`

/** Calls with watchers, leases, locks and elections. */
function live(db) {
  const abort = new AbortController()
  const [held, waits, election] = [db.lock('held', 60), db.lock('held', 60), db.election('e', 60)]
  return {
    setUp: () => Promise.all([held.acquire(), election.campaign('me')]),
    calls: {
      'a watcher, 1/4': () => db.watch('k').close(),
      'a watcher dropped, 1/4': () => void db.watch('k', { signal: abort.signal }),
      'a watcher that waited, 1/10': (n) => {
        const step = next(db.watch(one(n)))
        return Promise.all([step, db.put(one(n), '')])
      },
      'a watcher closed while it waits, 1/10': () => {
        const watcher = db.watch('k')
        const step = watcher.next()
        setImmediate(() => watcher.close())
        return step
      },
      'a watcher that times out, 1/10': async () => {
        const watcher = db.watch('k')
        await watcher.next({ timeoutMs: 0 })
        watcher.close()
      },
      'tryNext and resumeRevision': (() => {
        const watcher = db.watch('k')
        return () => [watcher.tryNext(), watcher.resumeRevision]
      })(),
      revisionAt: () => db.revisionAt(0),
      'leaseGrant and leaseRevoke, 1/10': async () => db.leaseRevoke((await db.leaseGrant(60)).id),
      leaseKeepAlive: () => db.leaseKeepAlive(1n),
      'leaseTimeToLive with keys, 1/4': () => db.leaseTimeToLive(1n, { keys: true }),
      'leaseList, 1/4': () => db.leaseList(),
      'a lease, 1/10': async () => {
        const lease = await db.lease(60)
        lease.onLost(() => {})
        await lease.close()
      },
      'a lease dropped, 1/10': async () => (await db.lease(60)).onLost(() => {}),
      'a lock, 1/10': async (n) => {
        const lock = db.lock(one(n), 60)
        await lock.acquire()
        await lock.release()
      },
      'a lock in use, 1/10': () => waits.tryAcquire(),
      'a lock aborted, 1/10': () => {
        const [lock, stop] = [db.lock('held', 60), new AbortController()]
        const waiting = lock.acquire({ signal: stop.signal }).catch(() => {})
        setImmediate(() => stop.abort())
        return waiting.then(() => lock.release())
      },
      'proclaim, 1/4': () => election.proclaim('I'),
      'leader, 1/4': () => election.leader(),
      'observe, 1/10': () => next(election.observe()),
    },
  }
}

async function kinds(store) {
  const db = await libkv.open(store, { durability: 'none' })
  const value = Buffer.alloc(100, 'v')
  const buffer = Buffer.alloc(200)
  for (let n = 0; n < 3; n++) await db.put(`k${n}`, value)
  await db.put('large', Buffer.alloc(300_000))
  const snapshot = await db.snapshot()
  const aborted = AbortSignal.abort()
  const never = new AbortController()
  const small = { prefix: 'k' }
  const liveCalls = live(db)
  await liveCalls.setUp()
  return {
    db,
    calls: {
      'check, 1/500': () => db.check(), // first, while the store is small
      ...liveCalls.calls, // early, while little free memory can hide a leak
      get: () => db.get('k1'),
      getSync: () => void db.getSync('k1'),
      'getSync of a large value, 1/100': () => void db.getSync('large'),
      getInto: () => void db.getInto('k1', buffer),
      'range, 1/4': () => db.range(small),
      'rangeSync, 1/4': () => void db.rangeSync(small),
      'scan left early, 1/4': async () => {
        for await (const _ of db.scan(small)) break
      },
      'scanSync without a step': () => void db.scanSync(small),
      'scanSync, 1/4': () => void [...db.scanSync(small)],
      put: (n) => db.put(`p${n % 10}`, value),
      putSync: (n) => void db.putSync(`p${n % 10}`, value),
      'put with a signal': (n) => db.put(`p${n % 10}`, value, { signal: never.signal }),
      'put aborted before': () => db.put('p', value, { signal: aborted }).catch(() => {}),
      'put refused': () => db.put('', value).catch(() => {}),
      'put of a wrong type': () => db.put('p', 5).catch(() => {}),
      delete: () => db.delete('missing'),
      deleteSync: () => void db.deleteSync('missing'),
      'txn, 1/4': () =>
        db.txn({ compare: [libkv.Compare.version('k1', '==', 1)], success: [libkv.Range('k1')] }),
      'txnSync, 1/4': () => void db.txnSync({ success: [libkv.Put('t', 'v'), libkv.Range('k1')] }),
      transact: () => db.transact((t) => t.get('k1')),
      'transact that throws': () =>
        db.transact(() => Promise.reject(new Error('no'))).catch(() => {}),
      'compact refused': () => db.compact(1_000_000_000).catch(() => {}),
      compactSync: () => failed(() => db.compactSync(1_000_000_000)),
      snapshot: () => db.snapshot(),
      "a snapshot's get": () => snapshot.get('k1'),
      history: () => db.history('k1'),
      'changes, 1/4': async () => void (await db.events(1, 2).next()),
      'diff, 1/4': async () => void (await db.diff(1, 2, small).next()),
      'status, 1/4': () => db.status(),
      statusSync: () => void db.statusSync(),
      'a clock': () => void new libkv.Clock(0).unixMs,
      'open refused, 1/4': () => failed(() => libkv.openSync(`${store}/none`, { create: false })),
      'open, 1/500': () => libkv.open(':memory:').then((db) => db.close()),
    },
  }
}

/** The number of watchers and leases in a store. */
async function left(db) {
  return (await db.status()).watchers + (await db.leaseList()).length
}

/** The growth of that number, after dropped handles are collected. */
async function leftOver(db, before) {
  let over = (await left(db)) - before
  for (let attempt = 1; attempt < 100 && over > 0; attempt++) {
    await settled()
    over = (await left(db)) - before
  }
  return over
}

async function main() {
  const stay = setInterval(() => {}, 1_000) // a waiting watcher does not keep the process
  const { db, calls } = await kinds(process.argv[2])
  for (const [name, call] of Object.entries(calls)) {
    const began = process.hrtime.bigint()
    const every = Number(/1\/(\d+)$/.exec(name)?.[1] ?? 1)
    const before = await left(db)
    await repeat(WARM_UP, every, call)
    // Memory that is not given back yet grows only once; a leak grows in each attempt.
    let grown = Infinity
    for (let attempt = 0; attempt < ATTEMPTS && grown > ALLOWED_BYTES; attempt++) {
      const bytes = await settled()
      await repeat(CALLS, every, call)
      grown = (await settled()) - bytes
    }
    const over = await leftOver(db, before)
    const seconds = Number(process.hrtime.bigint() - began) / 1e9
    const result = grown > ALLOWED_BYTES || over > 0 ? 'grew' : 'kept'
    console.log(
      `${result} ${(grown / 1024).toFixed(0)} KiB, ${over} watchers and leases, ${seconds.toFixed(1)} s: ${name}`,
    )
  }
  await db.close()
  clearInterval(stay)
}

main()
