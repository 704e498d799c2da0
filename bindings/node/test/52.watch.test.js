'use strict'

const assert = require('node:assert')
const { once } = require('node:events')
const fs = require('node:fs')
const { spawn } = require('node:child_process')
const { setImmediate: turn } = require('node:timers/promises')
const libkv = require('libkv')
const { memory } = require('libkv/testing')
const { folder, place, test, until } = require('./support.js')

const keysOf = ({ revision, events }) => [
  revision,
  ...events.map(({ type, kv }) => `${type} ${kv.key}`),
]

async function take(watcher, count) {
  const batches = []
  while (batches.length < count) batches.push(keysOf((await watcher.next()).value))
  return batches
}

test('watch: complete revisions in order, past and new', async (t) => {
  const db = await memory(t)
  await db.put('a', '1')
  await db.txn({ success: [libkv.Put('b', '1'), libkv.Put('c', '1')] })
  const watcher = db.watch({ prefix: '' }, { startRevision: 1 })
  assert.deepStrictEqual(await take(watcher, 2), [
    [2, 'put a'],
    [3, 'put b', 'put c'],
  ])
  assert.strictEqual(watcher.tryNext(), undefined)
  const step = watcher.next()
  await db.delete({ prefix: 'b' })
  assert.deepStrictEqual(keysOf((await step).value), [4, 'delete b'])
  assert.strictEqual(watcher.resumeRevision, 5)
})

test('watch: keys and options in one object or two', async (t) => {
  const db = await memory(t)
  const of = {
    all: db.watch(),
    key: db.watch('b'),
    'one object': db.watch({ key: 'b', noDelete: true }),
    prefix: db.watch({ prefix: 'b' }),
    between: db.watch({ start: 'a', end: 'b' }),
    from: db.watch({ start: 'c' }),
    puts: db.watch({}, { noDelete: true }),
    deletions: db.watch({ noPut: true }),
    later: db.watch('b', { startRevision: 4 }),
  }
  await db.put('a', '1')
  await db.put('b', '1')
  await db.delete('b')
  await db.put('c', '1')
  const seen = {}
  for (const [name, watcher] of Object.entries(of)) {
    seen[name] = []
    // a step that does not wait may run before the store's thread has read the last write
    await until('all past events', async () => {
      const { value } = await watcher.next({ timeoutMs: 0 })
      const batch = value ?? watcher.tryNext()
      if (batch) seen[name].push(batch.revision)
      return watcher.resumeRevision > 5
    })
  }
  assert.deepStrictEqual(seen, {
    all: [2, 3, 4, 5],
    key: [3, 4],
    'one object': [3],
    prefix: [3, 4],
    between: [2],
    from: [5],
    puts: [2, 3, 5],
    deletions: [4],
    later: [4],
  })
})

test('watch: prevKv', async (t) => {
  const db = await memory(t)
  const [plain, withPrevious] = [
    db.watch('k', { startRevision: 1 }),
    db.watch('k', { startRevision: 1, prevKv: true }),
  ]
  await db.put('k', '1')
  await db.put('k', '2')
  const [first, second] = [(await withPrevious.next()).value, (await withPrevious.next()).value]
  assert.strictEqual(first.events[0].prevKv, undefined)
  assert.strictEqual(`${second.events[0].prevKv.value}`, '1')
  await plain.next()
  assert.strictEqual((await plain.next()).value.events[0].prevKv, undefined)
})

test('watch: misuse is a TypeError or RangeError, refusals have a code', async (t) => {
  const db = await memory(t)
  assert.throws(() => db.watch({ prefix: 'a' }, { startrevision: 1 }), {
    name: 'TypeError',
    message: /did you mean startRevision/,
  })
  for (const wrong of [
    { startRevision: '1' },
    { prevKv: 1 },
    { signal: 'stop' },
    { keepAlive: 'yes' },
  ])
    assert.throws(() => db.watch({}, wrong), TypeError)
  assert.throws(() => db.watch(7), TypeError)
  assert.throws(() => db.watch({ key: 'a', prefix: 'b' }), TypeError)
  assert.throws(() => db.watch({}, { startRevision: 1.5 }), RangeError)
  assert.throws(() => db.watch({ start: 'b', end: 'a' }), { code: 'INVALID_ARGUMENT' })
  await assert.rejects(db.watch().next({ timeoutMs: -1 }), RangeError)
  await assert.rejects(db.watch().next({ timeout: 1 }), TypeError)
  assert.throws(() => new libkv.Watcher(), TypeError)
  await db.put('k', '1')
  await db.put('k', '2')
  await db.compact(3)
  assert.throws(() => db.watch({}, { startRevision: 1 }), { code: 'COMPACTED', revision: 3 })
})

test('watch: compacted, with the revision to start from', async (t) => {
  const db = await memory(t)
  const watcher = db.watch()
  for (let n = 0; n < 5; n++) await db.put('k', String(n))
  await db.compact(6)
  const error = await watcher.next().then(assert.fail, (error) => error)
  assert.ok(error instanceof libkv.KvError)
  assert.deepStrictEqual([error.code, error.revision], ['COMPACTED', 6])
  assert.deepStrictEqual(
    keysOf((await db.watch({}, { startRevision: error.revision }).next()).value),
    [6, 'put k'],
  )
})

test('watch: resumes where another watcher stopped', async (t) => {
  const db = await memory(t)
  for (let n = 0; n < 100; n++) await db.put(`k${n}`, 'v')
  const seen = []
  let from = 1
  while (seen.length < 100) {
    const watcher = db.watch({}, { startRevision: from })
    for await (const { revision } of watcher) {
      seen.push(revision)
      if (seen.length % 7 === 0 || seen.length === 100) break
    }
    from = watcher.resumeRevision // also once it is closed
    assert.strictEqual(watcher.resumeRevision, seen.at(-1) + 1)
  }
  assert.deepStrictEqual(
    seen,
    Array.from({ length: 100 }, (_, n) => n + 2),
  )
})

test('watch: a long replay is complete', async (t) => {
  const db = await memory(t)
  const puts = Array.from({ length: 5_000 }, (_, n) => db.put(`k${n % 10}`, 'v'.repeat(n % 300)))
  await Promise.all(puts)
  let next = 2
  for await (const { revision, events } of db.watch({}, { startRevision: 1 })) {
    assert.deepStrictEqual([revision, events.length], [next++, 1])
    if (revision === 5_001) break
  }
})

test('watch: concurrent steps run one after the other', async (t) => {
  const db = await memory(t)
  const watcher = db.watch()
  const steps = [watcher.next(), watcher.next(), watcher.next()]
  assert.throws(() => watcher.tryNext(), { code: 'INVALID_ARGUMENT' })
  for (let n = 0; n < 3; n++) await db.put('k', String(n))
  assert.deepStrictEqual(
    (await Promise.all(steps)).map(({ value }) => value.revision),
    [2, 3, 4],
  )
  assert.strictEqual(watcher.tryNext(), undefined)
})

test('watch: a step that times out loses no event', async (t) => {
  const db = await memory(t)
  const watcher = db.watch()
  for (const timeoutMs of [0, 1, 5])
    assert.deepStrictEqual(await watcher.next({ timeoutMs }), { value: undefined, done: false })
  await db.put('k', 'v')
  for (const timeoutMs of [60_000, 2 ** 40, Infinity, undefined]) {
    const { value } = await watcher.next({ timeoutMs })
    assert.strictEqual(value.events.length, 1)
    await db.put('k', 'v')
  }
})

test('watch: every way to end a watcher ends its step at once', async (t) => {
  const db = await memory(t)
  const ends = {
    close: (watcher) => watcher.close(),
    return: (watcher) => watcher.return(),
    dispose: (watcher) => watcher[Symbol.dispose](),
    asyncDispose: (watcher) => watcher[Symbol.asyncDispose](),
    iterator: (_, loop) => loop.return(),
  }
  for (const [name, end] of Object.entries(ends)) {
    const watcher = db.watch()
    const loop = watcher[Symbol.asyncIterator]()
    const steps = [watcher.next(), loop.next()]
    await turn()
    await end(watcher, loop)
    for (const step of [...steps, watcher.next(), loop.next()])
      assert.deepStrictEqual(await step, { value: undefined, done: true }, name)
    assert.throws(() => watcher.tryNext(), { code: 'CLOSED' })
    watcher.close()
    watcher.cancel()
    assert.strictEqual(watcher.resumeRevision, 2)
  }
  const watcher = db.watch()
  const step = watcher.next()
  await turn()
  watcher.cancel()
  for (const ended of [step, watcher.next()])
    await assert.rejects(ended, { name: 'KvError', code: 'CANCELLED' })
  assert.throws(() => watcher.tryNext(), { code: 'CANCELLED' })
  assert.strictEqual((await db.status()).watchers, 0)
})

test('watch: an abort signal ends it with its reason', async (t) => {
  const db = await memory(t)
  const reason = new Error('stop')
  const abort = new AbortController()
  const [watcher, idle] = [
    db.watch({}, { signal: abort.signal }),
    db.watch({ signal: abort.signal }),
  ]
  const seen = []
  const loop = (async () => {
    for await (const { revision } of watcher) seen.push(revision)
  })()
  await db.put('k', 'v')
  await until('a revision', () => seen.length > 0)
  abort.abort(reason)
  await assert.rejects(loop, (error) => error === reason)
  for (const ended of [watcher, idle])
    await assert.rejects(ended.next(), (error) => error === reason)
  assert.throws(
    () => db.watch({}, { signal: abort.signal }),
    (error) => error === reason,
  )
  assert.strictEqual(reason.cause, undefined) // nothing was written
  assert.strictEqual((await db.status()).watchers, 0)
})

test('watch: writes of another process', async (t) => {
  const store = place(t)
  const db = await libkv.open(store)
  const program = `const db = require('libkv').openSync(process.argv[1]); for (let n = 0; n < 100; n++) db.putSync('k' + n, 'v')`
  const child = spawn(process.execPath, ['-e', program, store], { cwd: folder, stdio: 'inherit' })
  let revision = 1
  for await (const batch of db.watch({ prefix: 'k' })) {
    assert.strictEqual(batch.revision, ++revision)
    if (revision === 101) break
  }
  if (child.exitCode === null) await once(child, 'exit')
  assert.strictEqual(child.exitCode, 0)
  await db.close()
})

test('watch: a thousand watchers do not need a thread each', async (t) => {
  const db = await memory(t)
  const threads = () => fs.readdirSync('/proc/self/task').length
  const first = db.watch('k') // starts the thread of the store
  await db.check() // starts the threads of the pool
  const before = threads()
  const watchers = Array.from({ length: 1_000 }, () => db.watch('k'))
  const steps = watchers.map((watcher) => watcher.next())
  for (let n = 0; n < 10; n++) await turn()
  const pool = Number(process.env.UV_THREADPOOL_SIZE ?? 4)
  assert.ok(
    threads() <= before + pool,
    `${before} threads before, ${threads()} with a thousand watchers`,
  )
  assert.strictEqual((await db.status()).watchers, 1_001)
  await db.put('k', 'v')
  for (const { value } of await Promise.all(steps)) assert.strictEqual(value.revision, 2)
  first.close()
})
