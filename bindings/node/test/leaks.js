// The memory of this process before and after many calls of each kind; prints a line for each, and
// `grew` where it grew by more than is allowed. Run with --expose-gc: `leaks.js STORE [CALLS]`.
'use strict'

const fs = require('node:fs')
const libkv = require('libkv')

const CALLS = Number(process.argv[3] ?? 100_000)
/** Warms up the engines' own caches and pools: V8's, the allocator's, LMDB's. */
const WARM_UP = CALLS / 5
/**
 * What may be left of CALLS calls: 4 MiB, or 42 bytes a call: less than the smallest thing that a
 * call could leave, a promise, a handle or a Buffer, would sum up to.
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

async function repeat(count, call) {
  for (let n = 0; n < count; ) {
    const answers = []
    for (let i = 0; i < TOGETHER && n < count; i++) answers.push(call(n++))
    await Promise.all(answers)
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
  return {
    db,
    calls: {
      'check, 1/500': (n) => (n % 500 ? undefined : db.check()), // first, while it has little to check
      get: () => db.get('k1'),
      getSync: () => void db.getSync('k1'),
      'getSync of a large value, 1/100': (n) => void (n % 100 || db.getSync('large')),
      getInto: () => void db.getInto('k1', buffer),
      range: () => db.range(small),
      rangeSync: () => void db.rangeSync(small),
      'scan left early': async () => {
        for await (const _ of db.scan(small)) break
      },
      'scanSync never begun': () => void db.scanSync(small),
      scanSync: () => void [...db.scanSync(small)],
      put: (n) => db.put(`p${n % 10}`, value),
      putSync: (n) => void db.putSync(`p${n % 10}`, value),
      'put with a signal': (n) => db.put(`p${n % 10}`, value, { signal: never.signal }),
      'put aborted before': () => db.put('p', value, { signal: aborted }).catch(() => {}),
      'put refused': () => db.put('', value).catch(() => {}),
      'put of a wrong type': () => db.put('p', 5).catch(() => {}),
      delete: () => db.delete('missing'),
      deleteSync: () => void db.deleteSync('missing'),
      txn: () => db.txn({ compare: [libkv.Compare.version('k1', '==', 1)], success: [libkv.Range('k1')] }),
      txnSync: () => void db.txnSync({ success: [libkv.Put('t', 'v'), libkv.Range('k1')] }),
      transact: () => db.transact((t) => t.get('k1')),
      'transact that throws': () => db.transact(() => Promise.reject(new Error('no'))).catch(() => {}),
      'compact refused': () => db.compact(1_000_000_000).catch(() => {}),
      compactSync: () => failed(() => db.compactSync(1_000_000_000)),
      snapshot: () => db.snapshot(),
      'a snapshot\'s get': () => snapshot.get('k1'),
      history: () => db.history('k1'),
      changes: async () => void (await db.changes(1, 2).next()),
      diff: async () => void (await db.diff(1, 2).next()),
      status: () => db.status(),
      statusSync: () => void db.statusSync(),
      'a clock': () => void new libkv.Clock(0).unixMs,
      'open refused': () => failed(() => libkv.openSync(`${store}/none`, { create: false })),
      'open, 1/500': (n) => (n % 500 ? undefined : libkv.open(':memory:').then((db) => db.close())),
    },
  }
}

async function main() {
  const { db, calls } = await kinds(process.argv[2])
  for (const [name, call] of Object.entries(calls)) {
    const began = process.hrtime.bigint()
    await repeat(WARM_UP, call)
    // What has only not been given back yet does not grow again; what leaks grows each time.
    let grown = Infinity
    for (let attempt = 0; attempt < ATTEMPTS && grown > ALLOWED_BYTES; attempt++) {
      const before = await settled()
      await repeat(CALLS, call)
      grown = (await settled()) - before
    }
    const seconds = Number(process.hrtime.bigint() - began) / 1e9
    console.log(`${grown > ALLOWED_BYTES ? 'grew' : 'kept'} ${(grown / 1024).toFixed(0)} KiB ${seconds.toFixed(1)} s: ${name}`)
  }
  await db.close()
}

main()
