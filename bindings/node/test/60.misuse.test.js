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
  assert.deepStrictEqual({ code, signal, stdout: stdout.trim() }, { code: 0, signal: null, stdout: should }, stderr)
}

const gc = { node: ['--expose-gc'] }

test('everything made from a closed store answers closed, and closing twice is fine', () =>
  ends(`
    for (const close of [(db) => db.close(), async (db) => db.closeSync(), async (db) => db[Symbol.dispose](), (db) => db[Symbol.asyncDispose]()]) {
      const db = await libkv.open(':memory:')
      for (let n = 0; n < 500; n++) await db.put('k' + n, 'v')
      const snapshot = await db.snapshot()
      const walks = [db.scan(), db.changes(0), db.diff(1), snapshot.scan()]
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
        () => db.changes(0).next(), () => db.diff(1).next(),
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
  ends(`
    const turn = () => new Promise((resolve) => setTimeout(resolve, 1))
    for (let round = 0; round < 30; round++) {
      let db = await libkv.open(':memory:')
      await db.put('k', 'v')
      let kept = [await db.snapshot(), db.scan(), db.scanSync(), db.changes(0), db.diff(1), new libkv.Clock(0)]
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
    console.log('ok')`, 'ok', gc))

test('a store that nobody refers to is closed', () =>
  ends(`
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
    console.log('ok')`, 'ok', gc))

test('a process ends though handles are open and nothing waits', () =>
  ends(`
    const db = await libkv.open(':memory:')
    await db.put('k', 'v')
    const scan = db.scan(); await scan.next()
    await db.snapshot()
    console.log('ok')`))

test('a process stays until what it handed over is answered', () =>
  ends(`
    const db = await libkv.open(':memory:')
    for (const call of [() => db.put('k', 'v'), () => db.check(), () => db.range(), () => db.transact((t) => t.put('a', 'b')), () => db.compact(2, { physical: true })]) {
      call().then(() => process.stdout.write('.'))
    }`, '.....'))

test('process.exit with work in flight', async (t) => {
  const store = place(t)
  for (let round = 0; round < 5; round++) {
    await ends(`
      const db = await libkv.open(process.argv[1])
      const put = (n) => db.put('k' + n, 'v'.repeat(1000))
      await put(0)
      for (let n = 0; n < 500; n++) put(n)
      db.check(); db.range(); db.close()
      if (${round % 2}) await new Promise((resolve) => setImmediate(resolve))
      console.log('ok')
      process.exit(0)`, 'ok', { words: [store] })
  }
  const db = await libkv.open(store)
  assert.deepStrictEqual((await db.check()).problems, [])
  await db.close()
})

test('process.exit does not wait for a lock that is not to be had', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  await ends(`
    const db = await libkv.open(process.argv[1], { busyTimeoutMs: Infinity })
    db.put('k', 'v')
    setImmediate(() => { console.log('ok'); process.exit(0) })`, 'ok', { words: [store] })
  await held.release()
})

test('an error that nobody caught ends the process as ever, not by a signal', async () => {
  const { code, signal, stderr } = await run(`
    const db = require('libkv').openSync(':memory:')
    db.put('', 'v')`)
  assert.deepStrictEqual([code, signal], [1, null])
  assert.match(stderr, /KvError: key is not provided[^]*INVALID_ARGUMENT/)
})

test('workers open stores of their own, also the same one', async (t) => {
  const store = place(t)
  await ends(`
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
    console.log('ok')`, 'ok', { words: [store] })
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
  await ends(`
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
    console.log('ok')`, 'ok', { words: [store] })
})

test('a worker is terminated while its write waits for the lock', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  await ends(`
    const worker = new Worker(\`
      const { workerData, parentPort } = require('node:worker_threads')
      const libkv = require('libkv')
      libkv.open(workerData, { busyTimeoutMs: Infinity }).then((db) => { db.put('k', 'v'); setImmediate(() => parentPort.postMessage('waits')) })
    \`, { eval: true, workerData: process.argv[1] })
    await new Promise((resolve) => worker.once('message', resolve))
    await worker.terminate()
    console.log('ok')
    process.exit(0)`, 'ok', { words: [store] })
  await held.release()
})

test('a child process opens what its parent has open', async (t) => {
  const store = place(t)
  await ends(`
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
    console.log('ok')`, 'ok', { words: [store] })
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
