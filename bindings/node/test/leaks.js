// The memory of this process before and after many calls of each kind; prints a line for each, and
// `grew` where it grew by more than is allowed. Run with --expose-gc: `leaks.js STORE [CALLS]`.
'use strict'

const fs = require('node:fs')
const libkv = require('libkv')

const CALLS = Number(process.argv[3] ?? 100_000)
/** Warms up the engines' own caches and pools: V8's, the allocator's, LMDB's. */
const WARM_UP = CALLS / 5
/**
 * What may be left of CALLS turns: 4 MiB, or 42 bytes a turn: less than the smallest thing that a
 * call could leave, a promise, a handle or a Buffer, would sum up to. Slow kinds are called in some of
 * the turns only, and leave more if they leave anything.
 */
const ALLOWED_BYTES = 42 * CALLS
const TOGETHER = 200
const ATTEMPTS = 4

/** Memory of our own: not the pages of the store, which the system may take back as it likes. */
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

/** Calls once in every `every` of `count` turns. */
async function repeat(count, every, call) {
  for (let n = 0; n < count; ) {
    const calls = []
    for (let i = 0; i < TOGETHER && n < count; i++, n += every) calls.push(call(n))
    await Promise.all(calls)
    await new Promise((resolve) => setImmediate(resolve)) // finalizers run in turns of the loop
  }
}

const failed = (call) => {
  try {
    call()
  } catch {
    return
  }
  throw new Error('it was not refused')
}

const next = async (watcher) => {
  await watcher.next()
  watcher.close()
}

/** A key that no other of the calls under way has. */
const one = (n) => `one${(n / 10) % (TOGETHER / 10)}`

/** Whatever follows a store or takes leases in it. */
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
  const alive = live(db)
  await alive.setUp()
  return {
    db,
    calls: {
      'check, 1/500': () => db.check(), // first, while it has little to check
      ...alive.calls, // while there is little free memory that could hide what they leave
      get: () => db.get('k1'),
      getSync: () => void db.getSync('k1'),
      'getSync of a large value, 1/100': () => void db.getSync('large'),
      getInto: () => void db.getInto('k1', buffer),
      'range, 1/4': () => db.range(small),
      'rangeSync, 1/4': () => void db.rangeSync(small),
      'scan left early, 1/4': async () => {
        for await (const _ of db.scan(small)) break
      },
      'scanSync never begun': () => void db.scanSync(small),
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

/** What a store knows to be left in it: watchers and leases. */
async function left(db) {
  return (await db.status()).watchers + (await db.leaseList()).length
}

/** How many more are left than before, once what is dropped has been collected. */
async function leftOver(db, before) {
  let over = (await left(db)) - before
  for (let attempt = 1; attempt < 100 && over > 0; attempt++) {
    await settled()
    over = (await left(db)) - before
  }
  return over
}

async function main() {
  const stay = setInterval(() => {}, 1_000) // a watcher that waits does not keep the process
  const { db, calls } = await kinds(process.argv[2])
  for (const [name, call] of Object.entries(calls)) {
    const began = process.hrtime.bigint()
    const every = Number(/1\/(\d+)$/.exec(name)?.[1] ?? 1)
    const before = await left(db)
    await repeat(WARM_UP, every, call)
    // What has only not been given back yet does not grow again; what leaks grows each time.
    let grown = Infinity
    for (let attempt = 0; attempt < ATTEMPTS && grown > ALLOWED_BYTES; attempt++) {
      const bytes = await settled()
      await repeat(CALLS, every, call)
      grown = (await settled()) - bytes
    }
    const over = await leftOver(db, before)
    const seconds = Number(process.hrtime.bigint() - began) / 1e9
    const verdict = grown > ALLOWED_BYTES || over > 0 ? 'grew' : 'kept'
    console.log(
      `${verdict} ${(grown / 1024).toFixed(0)} KiB, ${over} watchers and leases, ${seconds.toFixed(1)} s: ${name}`,
    )
  }
  await db.close()
  clearInterval(stay)
}

main()
