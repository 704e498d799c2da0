// Each way to misuse a handle, in a process of its own: an error, or nothing, but never a crash.
'use strict'

const assert = require('node:assert')
const { test } = require('node:test')
const libkv = require('libkv')
const { holder, place, run } = require('./support.js')

/** The program must end by itself, well, and print this. */
async function ends(program, should = 'ok', options) {
  const prelude = `
    const assert = require('node:assert')
    const libkv = require('libkv')
    const { Worker, isMainThread } = require('node:worker_threads')
    const closed = { code: 'CLOSED' }
    ;(async () => {${program}\n})()`
  const { code, signal, stdout, stderr } = await run(prelude, options)
  assert.deepStrictEqual(
    { code, signal, stdout: stdout.trim() },
    { code: 0, signal: null, stdout: should },
    stderr,
  )
}

const gc = { node: ['--expose-gc'] }

test('everything made from a closed store answers closed, and closing twice is fine', () =>
  ends(`
    for (const close of [(db) => db.close(), async (db) => db.closeSync(), async (db) => db[Symbol.dispose](), (db) => db[Symbol.asyncDispose]()]) {
      const db = await libkv.open(':memory:')
      for (let n = 0; n < 500; n++) await db.put('k' + n, 'v')
      const snapshot = await db.snapshot()
      const walks = [db.scan(), db.events(0), db.diff(1), snapshot.scan()]
      const syncs = [db.scanSync(), snapshot.scanSync()]
      const untouched = [db.scan(), db.scanSync()]
      for (const walk of [...walks, ...syncs]) assert.strictEqual((await walk.next()).done, false)
      let inside
      const transaction = db.transact(async (t) => { await new Promise((resolve) => (inside = resolve)); return t.get('k') })
      await close(db)
      assert.strictEqual(db.closed, true)
      inside()
      await assert.rejects(transaction, closed)
      for (const call of [
        () => db.get('k'), () => db.put('k', 'v'), () => db.range(), () => db.range('k'), () => db.delete('k'), () => db.txn({}),
        () => db.txn({ success: [libkv.Put('k', 'v')] }), () => db.transact((t) => t.get('k')), () => db.compact(2),
        () => db.snapshot(), () => db.snapshotAt(2), () => db.history('k'), () => db.status(), () => db.check(),
        () => snapshot.get('k'), () => snapshot.range(), () => snapshot.scan().next(), ...walks.map((walk) => () => walk.next()), () => untouched[0].next(),
        () => db.events(0).next(), () => db.diff(1).next(),
      ]) await assert.rejects(call, closed, String(call))
      for (const call of [
        () => db.getSync('k'), () => db.getInto('k', Buffer.alloc(1)), () => db.putSync('k', 'v'), () => db.rangeSync(), () => db.deleteSync('k'),
        () => db.txnSync({}), () => db.compactSync(2), () => db.statusSync(), () => db.scanSync().next(), () => snapshot.getSync('k'),
        () => snapshot.rangeSync(), ...syncs.map((walk) => () => walk.next()), () => untouched[1].next(),
      ]) assert.throws(call, closed, String(call))
      // a walk that has failed is over
      for (const walk of [...walks, ...syncs]) assert.strictEqual((await walk.next()).done, true)
      await db.close(); db.closeSync(); await db.close(); await close(db)
    }
    console.log('ok')`))

test('closing answers what was handed over before', () =>
  ends(`
    const db = await libkv.open(':memory:')
    const writes = Array.from({ length: 100 }, (_, n) => db.put('k' + n, 'v'))
    const closing = db.close()
    assert.deepStrictEqual((await Promise.all(writes)).map(({ revision }) => revision), Array.from({ length: 100 }, (_, n) => n + 2))
    await closing
    console.log('ok')`))

test('garbage is collected in any order', () =>
  ends(
    `
    const turn = () => new Promise((resolve) => setTimeout(resolve, 1))
    for (let round = 0; round < 30; round++) {
      let db = await libkv.open(':memory:')
      await db.put('k', 'v')
      let kept = [await db.snapshot(), db.scan(), db.scanSync(), db.events(0), db.diff(1), new libkv.Clock(0)]
      await kept[1].next(); kept[2].next()
      if (round % 3 === 1) await db.close()
      const flying = round % 2 ? db.put('late', 'v').catch(() => {}) : undefined
      db = undefined
      gc(); await turn(); gc(); await turn()
      if (round % 3 === 0) assert.strictEqual((await kept[0].get('k')).value.toString(), 'v')
      kept = undefined
      gc(); await turn(); gc(); await turn()
      await flying
    }
    console.log('ok')`,
    'ok',
    gc,
  ))

test('a store that nobody refers to is closed', () =>
  ends(
    `
    const clock = new libkv.Clock(0)
    const where = require('node:fs').mkdtempSync('/tmp/libkv-node-')
    // with a clock in hand it is held alone, so that others can tell
    await libkv.open(where, { clock })
    const other = new Worker(\`
      const libkv = require('libkv')
      const open = () => libkv.open(\${JSON.stringify(where)}, { clock: new libkv.Clock(5) }).then((db) => db.close())
      require('node:worker_threads').parentPort.on('message', () => open().then(() => 'open', (error) => error.code).then((said) => require('node:worker_threads').parentPort.postMessage(said)))
    \`, { eval: true })
    const asked = () => new Promise((resolve) => { other.once('message', resolve); other.postMessage('?') })
    let said = await asked()
    assert.strictEqual(said, 'INVALID_ARGUMENT')
    while (said !== 'open') { gc(); said = await asked() }
    await other.terminate()
    require('node:fs').rmSync(where, { recursive: true })
    console.log('ok')`,
    'ok',
    gc,
  ))

test('a process ends though handles are open and nothing waits', () =>
  ends(`
    const db = await libkv.open(':memory:')
    await db.put('k', 'v')
    const scan = db.scan(); await scan.next()
    await db.snapshot()
    console.log('ok')`))

test('a process stays until what it handed over is answered', () =>
  ends(
    `
    const db = await libkv.open(':memory:')
    for (const call of [() => db.put('k', 'v'), () => db.check(), () => db.range(), () => db.transact((t) => t.put('a', 'b')), () => db.compact(2, { physical: true })]) {
      call().then(() => process.stdout.write('.'))
    }`,
    '.....',
  ))

test('process.exit with work in flight', async (t) => {
  const store = place(t)
  for (let round = 0; round < 5; round++) {
    await ends(
      `
      const db = await libkv.open(process.argv[1])
      const put = (n) => db.put('k' + n, 'v'.repeat(1000))
      await put(0)
      for (let n = 0; n < 500; n++) put(n)
      db.check(); db.range(); db.close()
      if (${round % 2}) await new Promise((resolve) => setImmediate(resolve))
      console.log('ok')
      process.exit(0)`,
      'ok',
      { words: [store] },
    )
  }
  const db = await libkv.open(store)
  assert.deepStrictEqual((await db.check()).problems, [])
  await db.close()
})

test('process.exit does not wait for a lock that is not to be had', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  await ends(
    `
    const db = await libkv.open(process.argv[1], { busyTimeoutMs: Infinity })
    db.put('k', 'v')
    setImmediate(() => { console.log('ok'); process.exit(0) })`,
    'ok',
    { words: [store] },
  )
  await held.release()
})

test('an error that nobody caught ends the process as ever, not by a signal', async () => {
  const { code, signal, stderr } = await run(`
    const db = require('libkv').openSync(':memory:')
    db.put('', 'v')`)
  assert.deepStrictEqual([code, signal], [1, null])
  assert.match(stderr, /KvError: key is not provided[\s\S]*INVALID_ARGUMENT/)
})

test('workers open stores of their own, also the same one', async (t) => {
  const store = place(t)
  await ends(
    `
    const where = process.argv[1]
    const db = await libkv.open(where)
    const work = (name) => new Promise((resolve, reject) => {
      const worker = new Worker(\`
        const { workerData, parentPort } = require('node:worker_threads')
        const libkv = require('libkv')
        ;(async () => {
          const db = await libkv.open(workerData.where)
          await Promise.all(Array.from({ length: 200 }, (_, n) => db.put(workerData.name + n, 'v')))
          for (let n = 0; n < 200; n++) if (!db.getSync(workerData.name + n)) throw new Error('missing')
          if (workerData.name !== 'c') await db.close()
        })()
      \`, { eval: true, workerData: { where, name } })
      worker.on('exit', resolve).on('error', reject)
    })
    assert.deepStrictEqual(await Promise.all(['a', 'b', 'c', 'd'].map(work)), [0, 0, 0, 0])
    assert.strictEqual((await db.range({ countOnly: true })).count, 800)
    console.log('ok')`,
    'ok',
    { words: [store] },
  )
})

test('a handle is of no use in another thread', () =>
  ends(`
    const db = await libkv.open(':memory:')
    await db.put('k', 'v')
    const worker = new Worker(\`
      const { parentPort, workerData } = require('node:worker_threads')
      const libkv = require('libkv')
      const said = [typeof workerData.get, workerData instanceof libkv.Db]
      for (const name of ['getSync', 'putSync', 'closeSync']) {
        try { libkv.Db.prototype[name].call(workerData, 'k', 'v'); said.push('done') } catch (error) { said.push(error.constructor.name) }
      }
      parentPort.postMessage(said)
    \`, { eval: true, workerData: db })
    const said = await new Promise((resolve) => worker.once('message', resolve))
    assert.deepStrictEqual(said, ['undefined', false, 'TypeError', 'TypeError', 'TypeError'])
    assert.strictEqual(db.getSync('k').value.toString(), 'v')
    console.log('ok')`))

test('a worker is terminated in the midst of everything', async (t) => {
  const store = place(t)
  await ends(
    `
    const where = process.argv[1]
    for (let round = 0; round < 12; round++) {
      const worker = new Worker(\`
        const { workerData, parentPort } = require('node:worker_threads')
        const libkv = require('libkv')
        ;(async () => {
          const db = await libkv.open(workerData)
          await db.put('begun', 'v')
          parentPort.postMessage('begun')
          for (;;) {
            const writes = Array.from({ length: 50 }, (_, n) => db.put('k' + n, 'v'))
            await Promise.all([...writes, db.range(), db.check(), db.scan().next(), db.transact((t) => t.put('t', '1'))])
          }
        })()
      \`, { eval: true, workerData: round % 2 ? where : ':memory:' })
      await new Promise((resolve) => worker.once('message', resolve))
      for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setImmediate(resolve))
      await worker.terminate()
    }
    const db = await libkv.open(where)
    assert.deepStrictEqual((await db.check()).problems, [])
    await db.put('after', 'v')
    await db.close()
    console.log('ok')`,
    'ok',
    { words: [store] },
  )
})

test('a worker is terminated while its write waits for the lock', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  await ends(
    `
    const worker = new Worker(\`
      const { workerData, parentPort } = require('node:worker_threads')
      const libkv = require('libkv')
      libkv.open(workerData, { busyTimeoutMs: Infinity }).then((db) => { db.put('k', 'v'); setImmediate(() => parentPort.postMessage('waits')) })
    \`, { eval: true, workerData: process.argv[1] })
    await new Promise((resolve) => worker.once('message', resolve))
    await worker.terminate()
    console.log('ok')
    process.exit(0)`,
    'ok',
    { words: [store] },
  )
  await held.release()
})

test('a child process opens what its parent has open', async (t) => {
  const store = place(t)
  await ends(
    `
    const { fork } = require('node:child_process')
    const file = require('node:path').join(require('node:os').tmpdir(), 'libkv-child-' + process.pid + '.js')
    require('node:fs').writeFileSync(file, \`
      const db = require(\${JSON.stringify(require.resolve('libkv'))}).openSync(process.argv[2])
      db.putSync('child', db.getSync('parent').value)
      process.send('done')
      process.disconnect()
    \`)
    const db = await libkv.open(process.argv[1])
    await db.put('parent', 'v')
    const child = fork(file, [process.argv[1]])
    const [code] = await require('node:events').once(child, 'exit')
    require('node:fs').unlinkSync(file)
    assert.strictEqual(code, 0)
    assert.strictEqual(db.getSync('child').value.toString(), 'v')
    await db.put('parent', 'w')
    await db.close()
    console.log('ok')`,
    'ok',
    { words: [store] },
  )
})

test('the module loaded twice in one thread shares what it must', () =>
  ends(`
    const first = await libkv.open(':memory:')
    for (const path of Object.keys(require.cache)) delete require.cache[path]
    const again = require('libkv')
    assert.notStrictEqual(again, libkv)
    const second = await again.open(':memory:')
    const writes = []
    for (let n = 0; n < 100; n++) writes.push(first.put('k' + n, 'first' + n), second.put('k' + n, 'second' + n))
    await Promise.all(writes)
    for (let n = 0; n < 100; n++) {
      assert.strictEqual(first.getSync('k' + n).value.toString(), 'first' + n)
      assert.strictEqual(second.getSync('k' + n).value.toString(), 'second' + n)
    }
    await assert.rejects(first.put('', ''), (error) => error instanceof libkv.KvError)
    await assert.rejects(second.put('', ''), (error) => error instanceof again.KvError)
    console.log('ok')`))

test('a step that waits keeps a process alive only if it is asked to', async () => {
  for (const [what, stays] of Object.entries({
    'db.watch().next()': false,
    'db.watch({ keepAlive: false }).next()': false,
    'loop(db.watch({ keepAlive: false }))': false,
    'loop(db.watch().unref())': false,
    'db.election("e", 5).observe().next()': false,
    'db.watch({ signal: new AbortController().signal }).next()': false,
    'db.watch()': false,
    'db.watch({ keepAlive: true })': false, // nobody waits
    'db.watch({ keepAlive: true }).next()': true,
    'db.watch().ref().next()': true,
    '(() => { const watcher = db.watch(); const step = watcher.next(); watcher.ref(); return step })()': true,
    'loop(db.watch())': true,
    'loop(db.election("e", 5).observe())': true,
    'db.watch().next({ timeoutMs: 50 })': true,
    'db.lock("l", 5).acquire({ timeoutMs: 50 }).catch(() => {})': true,
  })) {
    const program = `
      const loop = async (steps) => { for await (const _ of steps) return }
      const db = await libkv.open(':memory:')
      await db.lock('l', 5).acquire()
      let ended = false
      Promise.resolve(${what}).then(() => (ended = true))
      // nothing holds the process, and comes later than the pool and the turns that a step takes
      setTimeout(() => db.put('k', 'v'), 30).unref()
      process.on('exit', () => process.stdout.write(ended ? 'waited' : 'did not wait'))`
    // a step that does not wait at all is at an end at once
    const none = what === 'db.watch()' || what === 'db.watch({ keepAlive: true })'
    if (none) await ends(program, 'waited')
    else if (what.includes('observe') && stays)
      await ends(
        program.replace(
          "setTimeout(() => db.put('k', 'v'), 30)",
          "setTimeout(() => db.election('e', 5).campaign('me'), 30)",
        ),
        'waited',
      )
    else await ends(program, stays ? 'waited' : 'did not wait')
  }
})

test('a loop that is left ends the program', () =>
  ends(`
    const db = await libkv.open(':memory:')
    setTimeout(() => db.put('config/a', '1').then(() => db.put('config/end', '')), 10)
    for await (const { events } of db.watch({ prefix: 'config/' }, { startRevision: 1 })) {
      if (String(events[0].kv.key) === 'config/end') break
    }
    await db.close()
    console.log('ok')`))

test('a store is closed under watchers that wait', () =>
  ends(`
    for (const close of [(db) => db.close(), async (db) => db.closeSync()]) {
      const db = await libkv.open(':memory:')
      const watchers = Array.from({ length: 50 }, (_, n) => db.watch('k' + n))
      const steps = watchers.map((watcher, n) => (n % 2 ? watcher.next() : (async () => { for await (const _ of watcher); })()))
      await new Promise((resolve) => setImmediate(resolve))
      let settled
      const all = Promise.allSettled(steps).then((results) => (settled = results))
      await close(db)
      await all
      assert.ok(settled.every(({ reason }) => reason?.code === 'CLOSED'))
      for (const watcher of watchers) {
        await assert.rejects(watcher.next(), closed)
        assert.throws(() => watcher.tryNext(), closed)
        assert.strictEqual(typeof watcher.resumeRevision, 'number')
        watcher.close(); watcher.cancel(); await watcher[Symbol.asyncDispose]()
        assert.strictEqual((await watcher.next()).done, true)
      }
    }
    console.log('ok')`))

test('closed at once, also with batches at hand', () =>
  ends(`
    const db = await libkv.open(':memory:')
    for (let n = 0; n < 100; n++) await db.put('k' + n, 'v')
    const watcher = db.watch({}, { startRevision: 1 })
    await watcher.next()
    const step = watcher.next()
    db.closeSync()
    await step.catch((error) => assert.strictEqual(error.code, 'CLOSED'))
    await assert.rejects(watcher.next(), closed)
    console.log('ok')`))

const LIVE = `
  const live = async (db, n = 0) => {
    const lock = db.lock('l', 60)
    await db.lock('l' + n, 60).acquire()
    const lease = await db.lease(60)
    lease.onLost(() => {})
    const election = db.election('e', 60)
    const [watcher, leaders] = [db.watch(), election.observe()]
    const steps = [watcher.next(), leaders.next(), lock.acquire(), election.campaign('me')]
    steps.forEach((step) => step.catch(() => {}))
    return { lock, lease, election, watcher, leaders, steps }
  }
`

test('process.exit and the end of a program with everything waiting', async (t) => {
  const store = place(t)
  for (let round = 0; round < 6; round++) {
    await ends(
      `${LIVE}
      const db = await libkv.open(process.argv[1])
      await live(db)
      for (let n = 0; n < ${round} % 3; n++) await new Promise((resolve) => setImmediate(resolve))
      console.log('ok')
      ${round < 3 ? 'process.exit(0)' : 'process.kill(process.pid, 0); setImmediate(() => process.exit(0))'}`,
      'ok',
      { words: [store] },
    )
  }
  const db = await libkv.open(store)
  assert.deepStrictEqual((await db.check()).problems, [])
  await db.close()
})

test('a worker is terminated while it watches and stands in line', async (t) => {
  const store = place(t)
  await ends(
    `
    const db = await libkv.open(process.argv[1])
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(\`${LIVE.replace(/`/g, '\\`')}
        const { workerData, parentPort } = require('node:worker_threads')
        const libkv = require('libkv')
        ;(async () => {
          const db = await libkv.open(workerData)
          await live(db)
          parentPort.postMessage('waits')
          setInterval(() => {}, 1000)
        })()
      \`, { eval: true, workerData: process.argv[1] })
      await new Promise((resolve) => worker.once('message', resolve))
      for (let n = 0; n < 20; n++) db.put('k' + n, 'v')
      for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setImmediate(resolve))
      await worker.terminate()
      // the names that it had, or stood in line for, are free
      for (const name of ['l', 'l0']) {
        const lock = db.lock(name, 60)
        await lock.acquire({ timeoutMs: 30_000 })
        await lock.release()
      }
      const election = db.election('e', 60)
      await election.campaign('main', { timeoutMs: 30_000 })
      await election.resign()
    }
    assert.deepStrictEqual((await db.check()).problems, [])
    await db.close()
    console.log('ok')`,
    'ok',
    { words: [store] },
  )
})

test('garbage of watchers, leases, locks and elections is collected in any order', () =>
  ends(
    `${LIVE}
    const turn = () => new Promise((resolve) => setTimeout(resolve, 1))
    for (let round = 0; round < 24; round++) {
      let db = await libkv.open(':memory:')
      let all = [
        db.watch(), db.watch({ prefix: 'a' }, { signal: new AbortController().signal }), await db.lease(60), await db.lease(60, { endWithProcess: true }),
        db.lock('a', 60), db.lock('b', 60), db.election('e', 60), db.election('e', 60).observe(),
      ]
      all[2].onLost(() => {})
      await all[4].acquire()
      await all[7].next({ timeoutMs: 1 })
      if (round % 4 === 1) await db.close()
      if (round % 4 === 2) all[5].acquire().catch(() => {})
      if (round % 4 === 3) await live(db, round)
      if (round % 2) all.reverse()
      if (round % 3 === 0) db = undefined
      while (all.length > 0) { all.splice(round % all.length, 1); if (all.length % 3 === 0) { gc(); await turn() } }
      db = undefined
      gc(); await turn(); gc(); await turn()
    }
    console.log('ok')
    process.exit(0)`,
    'ok',
    gc,
  ))

test('what is dropped is revoked, freed and no longer watched', () =>
  ends(
    `
    const db = await libkv.open(':memory:')
    let [watcher, lease, lock] = [db.watch(), await db.lease(60), db.lock('l', 60)]
    lease.onLost(() => {})
    await lock.acquire()
    watcher = lease = lock = undefined
    for (;;) {
      gc()
      await new Promise((resolve) => setTimeout(resolve, 1))
      if ((await db.leaseList()).length === 0 && (await db.status()).watchers === 0) break
    }
    assert.strictEqual((await db.range({ countOnly: true })).count, 0)
    console.log('ok')`,
    'ok',
    gc,
  ))

test("what a callback of onLost throws is nobody else's matter", () =>
  ends(`
    const db = await libkv.open(':memory:', { clock: undefined })
    const lease = await db.lease(1)
    const told = []
    process.on('uncaughtException', (error) => told.push(error.message))
    lease.onLost(() => { throw new Error('mine') })
    lease.onLost(() => told.push('second'))
    await db.leaseRevoke(lease.id)
    while (told.length < 2) await new Promise((resolve) => setTimeout(resolve, 1))
    assert.deepStrictEqual(told, ['mine', 'second'])
    await db.put('k', 'v')
    console.log('ok')`))
