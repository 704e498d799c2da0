// Misuse of handles, each in a separate process: an error or no effect, but never a crash.
'use strict'

const assert = require('node:assert')
const { setImmediate: turn } = require('node:timers/promises')
const { Worker } = require('node:worker_threads')
const libkv = require('libkv')
const { holder, place, run, test } = require('./support.js')

const closed = { code: 'CLOSED' }

/** A lock, a lease, an election and a watcher, each with a waiting step. */
async function live(db, n = 0) {
  const lock = db.lock('l', 60)
  await db.lock(`l${n}`, 60).acquire()
  const lease = await db.lease(60)
  lease.onLost(() => {})
  const election = db.election('e', 60)
  const [watcher, leaders] = [db.watch(), election.observe()]
  const steps = [watcher.next(), leaders.next(), lock.acquire(), election.campaign('me')]
  for (const step of steps) step.catch(() => {})
  return { lock, lease, election, watcher, leaders, steps }
}

/** Runs a function in another thread. Only its text is passed: it can use `live` and `require`. */
function startWorker(body, workerData) {
  return new Worker(`${live}\n;(${body})()`, { eval: true, workerData })
}

/**
 * Runs a function as a program in a new process, with `words` as its arguments. It must exit
 * without an error and print `should`. Only the text of the function is passed: of this file it can
 * use the names that are declared below.
 */
async function ends(program, should = 'ok', options) {
  const text = `
    const assert = require('node:assert')
    const { setImmediate: turn } = require('node:timers/promises')
    const { Worker } = require('node:worker_threads')
    const libkv = require('libkv')
    const closed = { code: 'CLOSED' }
    ${startWorker}
    ${live}
    ;(${program})(...process.argv.slice(1))`
  const { code, signal, stdout, stderr } = await run(text, options)
  assert.deepStrictEqual(
    { code, signal, stdout: stdout.trim() },
    { code: 0, signal: null, stdout: should },
    stderr,
  )
}

const gc = { node: ['--expose-gc'] }

test('close: everything made from the store returns closed; a second close is allowed', () =>
  ends(async () => {
    for (const close of [
      (db) => db.close(),
      async (db) => db.closeSync(),
      async (db) => db[Symbol.dispose](),
      (db) => db[Symbol.asyncDispose](),
    ]) {
      const db = await libkv.open(':memory:')
      for (let n = 0; n < 500; n++) await db.put(`k${n}`, 'v')
      const snapshot = await db.snapshot()
      const walks = [db.scan(), db.events(0), db.diff(1), snapshot.scan()]
      const syncs = [db.scanSync(), snapshot.scanSync()]
      const untouched = [db.scan(), db.scanSync()]
      for (const walk of [...walks, ...syncs]) assert.strictEqual((await walk.next()).done, false)
      let inside
      const transaction = db.transact(async (t) => {
        await new Promise((resolve) => (inside = resolve))
        return t.get('k')
      })
      await close(db)
      assert.strictEqual(db.closed, true)
      inside()
      await assert.rejects(transaction, closed)
      for (const call of [
        () => db.get('k'),
        () => db.put('k', 'v'),
        () => db.range(),
        () => db.range('k'),
        () => db.delete('k'),
        () => db.txn({}),
        () => db.txn({ success: [libkv.Put('k', 'v')] }),
        () => db.transact((t) => t.get('k')),
        () => db.compact(2),
        () => db.snapshot(),
        () => db.snapshotAt(2),
        () => db.history('k'),
        () => db.status(),
        () => db.check(),
        () => snapshot.get('k'),
        () => snapshot.range(),
        () => snapshot.scan().next(),
        ...walks.map((walk) => () => walk.next()),
        () => untouched[0].next(),
        () => db.events(0).next(),
        () => db.diff(1).next(),
      ])
        await assert.rejects(call, closed, String(call))
      for (const call of [
        () => db.getSync('k'),
        () => db.getInto('k', Buffer.alloc(1)),
        () => db.putSync('k', 'v'),
        () => db.rangeSync(),
        () => db.deleteSync('k'),
        () => db.txnSync({}),
        () => db.compactSync(2),
        () => db.statusSync(),
        () => db.scanSync().next(),
        () => snapshot.getSync('k'),
        () => snapshot.rangeSync(),
        ...syncs.map((walk) => () => walk.next()),
        () => untouched[1].next(),
      ])
        assert.throws(call, closed, String(call))
      // an iteration that has failed is done
      for (const walk of [...walks, ...syncs]) assert.strictEqual((await walk.next()).done, true)
      await db.close()
      db.closeSync()
      await db.close()
      await close(db)
    }
    console.log('ok')
  }))

test('close: requests submitted before it complete', () =>
  ends(async () => {
    const db = await libkv.open(':memory:')
    const writes = Array.from({ length: 100 }, (_, n) => db.put(`k${n}`, 'v'))
    const closing = db.close()
    assert.deepStrictEqual(
      (await Promise.all(writes)).map(({ revision }) => revision),
      Array.from({ length: 100 }, (_, n) => n + 2),
    )
    await closing
    console.log('ok')
  }))

test('garbage collection: handles are collected in any order', () =>
  ends(
    async () => {
      const pause = () => new Promise((resolve) => setTimeout(resolve, 1))
      for (let round = 0; round < 30; round++) {
        let db = await libkv.open(':memory:')
        await db.put('k', 'v')
        let kept = [
          await db.snapshot(),
          db.scan(),
          db.scanSync(),
          db.events(0),
          db.diff(1),
          new libkv.Clock(0),
        ]
        await kept[1].next()
        kept[2].next()
        if (round % 3 === 1) await db.close()
        const flying = round % 2 ? db.put('late', 'v').catch(() => {}) : undefined
        db = undefined
        gc()
        await pause()
        gc()
        await pause()
        if (round % 3 === 0) assert.strictEqual((await kept[0].get('k')).value.toString(), 'v')
        kept = undefined
        gc()
        await pause()
        gc()
        await pause()
        await flying
      }
      console.log('ok')
    },
    'ok',
    gc,
  ))

test('garbage collection: a store without references is closed', () =>
  ends(
    async () => {
      const clock = new libkv.Clock(0)
      const where = require('node:fs').mkdtempSync('/tmp/libkv-node-')
      // a store with a manual clock has one handle: another thread can open it only after the close
      await libkv.open(where, { clock })
      const other = startWorker(() => {
        const { parentPort, workerData } = require('node:worker_threads')
        const libkv = require('libkv')
        parentPort.on('message', async () => {
          try {
            const db = await libkv.open(workerData, { clock: new libkv.Clock(5) })
            await db.close()
            parentPort.postMessage('open')
          } catch (error) {
            parentPort.postMessage(error.code)
          }
        })
      }, where)
      const tryOpen = () =>
        new Promise((resolve) => {
          other.once('message', resolve)
          other.postMessage('open')
        })
      let result = await tryOpen()
      assert.strictEqual(result, 'INVALID_ARGUMENT')
      while (result !== 'open') {
        gc()
        result = await tryOpen()
      }
      await other.terminate()
      require('node:fs').rmSync(where, { recursive: true })
      console.log('ok')
    },
    'ok',
    gc,
  ))

test('exit: open handles do not keep the process', () =>
  ends(async () => {
    const db = await libkv.open(':memory:')
    await db.put('k', 'v')
    const scan = db.scan()
    await scan.next()
    await db.snapshot()
    console.log('ok')
  }))

test('exit: requests in flight keep the process', () =>
  ends(async () => {
    const db = await libkv.open(':memory:')
    for (const call of [
      () => db.put('k', 'v'),
      () => db.check(),
      () => db.range(),
      () => db.transact((t) => t.put('a', 'b')),
      () => db.compact(2, { physical: true }),
    ]) {
      call().then(() => process.stdout.write('.'))
    }
  }, '.....'))

test('exit: process.exit with work in flight', async (t) => {
  const store = place(t)
  for (let round = 0; round < 5; round++) {
    await ends(
      async (store, round) => {
        const db = await libkv.open(store)
        const put = (n) => db.put(`k${n}`, 'v'.repeat(1000))
        await put(0)
        for (let n = 0; n < 500; n++) put(n)
        db.check()
        db.range()
        db.close()
        if (Number(round) % 2) await turn()
        console.log('ok')
        process.exit(0)
      },
      'ok',
      { words: [store, round] },
    )
  }
  const db = await libkv.open(store)
  assert.deepStrictEqual((await db.check()).problems, [])
  await db.close()
})

test('exit: process.exit does not wait for a lock in use', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  await ends(
    async (store) => {
      const db = await libkv.open(store, { busyTimeoutMs: Infinity })
      db.put('k', 'v')
      setImmediate(() => {
        console.log('ok')
        process.exit(0)
      })
    },
    'ok',
    { words: [store] },
  )
  await held.release()
})

test('exit: an uncaught error ends the process with status 1', async () => {
  const { code, signal, stderr } = await run("require('libkv').openSync(':memory:').put('', 'v')")
  assert.deepStrictEqual([code, signal], [1, null])
  assert.match(stderr, /KvError: key is not provided[\s\S]*INVALID_ARGUMENT/)
})

test('worker: each opens its own handle, also on the same store', async (t) => {
  const store = place(t)
  await ends(
    async (store) => {
      const db = await libkv.open(store)
      const work = (name) =>
        new Promise((resolve, reject) => {
          const worker = startWorker(
            async () => {
              const { workerData } = require('node:worker_threads')
              const libkv = require('libkv')
              const db = await libkv.open(workerData.store)
              await Promise.all(
                Array.from({ length: 200 }, (_, n) => db.put(workerData.name + n, 'v')),
              )
              for (let n = 0; n < 200; n++)
                if (!db.getSync(workerData.name + n)) throw new Error('missing')
              if (workerData.name !== 'c') await db.close()
            },
            { store, name },
          )
          worker.on('exit', resolve).on('error', reject)
        })
      assert.deepStrictEqual(await Promise.all(['a', 'b', 'c', 'd'].map(work)), [0, 0, 0, 0])
      assert.strictEqual((await db.range({ countOnly: true })).count, 800)
      console.log('ok')
    },
    'ok',
    { words: [store] },
  )
})

test('worker: a handle cannot be used in another thread', () =>
  ends(async () => {
    const db = await libkv.open(':memory:')
    await db.put('k', 'v')
    const worker = startWorker(async () => {
      const { parentPort, workerData } = require('node:worker_threads')
      const libkv = require('libkv')
      const results = [typeof workerData.get, workerData instanceof libkv.Db]
      for (const name of ['getSync', 'putSync', 'closeSync']) {
        try {
          libkv.Db.prototype[name].call(workerData, 'k', 'v')
          results.push('done')
        } catch (error) {
          results.push(error.constructor.name)
        }
      }
      parentPort.postMessage(results)
    }, db)
    const results = await new Promise((resolve) => worker.once('message', resolve))
    assert.deepStrictEqual(results, ['undefined', false, 'TypeError', 'TypeError', 'TypeError'])
    assert.strictEqual(db.getSync('k').value.toString(), 'v')
    console.log('ok')
  }))

test('worker: terminated during calls', async (t) => {
  const store = place(t)
  await ends(
    async (store) => {
      for (let round = 0; round < 12; round++) {
        const worker = startWorker(
          async () => {
            const { workerData, parentPort } = require('node:worker_threads')
            const libkv = require('libkv')
            const db = await libkv.open(workerData)
            await db.put('begun', 'v')
            parentPort.postMessage('begun')
            for (;;) {
              const writes = Array.from({ length: 50 }, (_, n) => db.put(`k${n}`, 'v'))
              await Promise.all([
                ...writes,
                db.range(),
                db.check(),
                db.scan().next(),
                db.transact((t) => t.put('t', '1')),
              ])
            }
          },
          round % 2 ? store : ':memory:',
        )
        await new Promise((resolve) => worker.once('message', resolve))
        for (let n = 0; n < round; n++) await turn()
        await worker.terminate()
      }
      const db = await libkv.open(store)
      assert.deepStrictEqual((await db.check()).problems, [])
      await db.put('after', 'v')
      await db.close()
      console.log('ok')
    },
    'ok',
    { words: [store] },
  )
})

test('worker: terminated while its write waits for the lock', async (t) => {
  const store = place(t)
  const held = await holder(t, store)
  await ends(
    async (store) => {
      const worker = startWorker(async () => {
        const { workerData, parentPort } = require('node:worker_threads')
        const libkv = require('libkv')
        libkv.open(workerData, { busyTimeoutMs: Infinity }).then((db) => {
          db.put('k', 'v')
          setImmediate(() => parentPort.postMessage('waits'))
        })
      }, store)
      await new Promise((resolve) => worker.once('message', resolve))
      await worker.terminate()
      console.log('ok')
      process.exit(0)
    },
    'ok',
    { words: [store] },
  )
  await held.release()
})

test('process: a child opens what its parent has open', async (t) => {
  await ends(
    async (store) => {
      const { spawn } = require('node:child_process')
      const { once } = require('node:events')
      const child = (store) => {
        const db = require('libkv').openSync(store)
        db.putSync('child', db.getSync('parent').value)
      }
      const db = await libkv.open(store)
      await db.put('parent', 'v')
      const text = `(${child})(process.argv[1])`
      const [code] = await once(
        spawn(process.execPath, ['-e', text, store], { stdio: 'inherit' }),
        'exit',
      )
      assert.strictEqual(code, 0)
      assert.strictEqual(db.getSync('child').value.toString(), 'v')
      await db.put('parent', 'w')
      await db.close()
      console.log('ok')
    },
    'ok',
    { words: [place(t)] },
  )
})

test('module: loaded twice in one thread', () =>
  ends(async () => {
    const first = await libkv.open(':memory:')
    for (const path of Object.keys(require.cache)) delete require.cache[path]
    const again = require('libkv')
    assert.notStrictEqual(again, libkv)
    const second = await again.open(':memory:')
    const writes = []
    for (let n = 0; n < 100; n++)
      writes.push(first.put(`k${n}`, `first${n}`), second.put(`k${n}`, `second${n}`))
    await Promise.all(writes)
    for (let n = 0; n < 100; n++) {
      assert.strictEqual(first.getSync(`k${n}`).value.toString(), `first${n}`)
      assert.strictEqual(second.getSync(`k${n}`).value.toString(), `second${n}`)
    }
    await assert.rejects(first.put('', ''), (error) => error instanceof libkv.KvError)
    await assert.rejects(second.put('', ''), (error) => error instanceof again.KvError)
    console.log('ok')
  }))

test('exit: a waiting step keeps the process alive if its options request it', async () => {
  const loop = async (steps) => {
    for await (const _ of steps) return
  }
  const watches = {
    'next, by default': [(db) => db.watch().next(), false],
    'next, not kept alive': [(db) => db.watch({ keepAlive: false }).next(), false],
    'loop, not kept alive': [(db) => loop(db.watch({ keepAlive: false })), false],
    'loop, unref': [(db) => loop(db.watch().unref()), false],
    'next with a signal': [
      (db) => db.watch({ signal: new AbortController().signal }).next(),
      false,
    ],
    'next, kept alive': [(db) => db.watch({ keepAlive: true }).next(), true],
    'next, ref': [(db) => db.watch().ref().next(), true],
    'next, ref afterwards': [
      (db) => {
        const watcher = db.watch()
        const step = watcher.next()
        watcher.ref()
        return step
      },
      true,
    ],
    'loop, by default': [(db) => loop(db.watch()), true],
    'next with a time-out': [(db) => db.watch().next({ timeoutMs: 50 }), true],
    'lock with a time-out': [
      (db) =>
        db
          .lock('l', 5)
          .acquire({ timeoutMs: 50 })
          .catch(() => {}),
      true,
    ],
    'leaders, next': [(db) => db.election('e', 5).observe().next(), false],
    'leaders, loop': [(db) => loop(db.election('e', 5).observe()), true],
  }
  for (const [name, [wait, stays]] of Object.entries(watches)) {
    const text = `
      const loop = ${loop}
      require('libkv').open(':memory:').then(async (db) => {
        await db.lock('l', 5).acquire()
        let ended = false
        Promise.resolve((${wait})(db)).then(() => (ended = true))
        // Ends the wait. It does not keep the process: a program that does not wait exits before.
        const change = async () => {
          await db.put('k', 'v')
          await db.election('e', 5).campaign('me')
        }
        setTimeout(change, ${stays ? 30 : 10_000}).unref()
        process.on('exit', () => process.stdout.write(ended ? 'waited' : 'did not wait'))
      })`
    const { code, stdout, stderr } = await run(text)
    assert.deepStrictEqual(
      [code, stdout],
      [0, stays ? 'waited' : 'did not wait'],
      `${name}: ${stderr}`,
    )
  }
})

test('exit: a watcher without a step does not keep the process', async () => {
  for (const keepAlive of [false, true]) {
    await ends(
      async (keepAlive) => {
        const db = await libkv.open(':memory:')
        db.watch({ keepAlive: keepAlive === 'true' })
        console.log('ok')
      },
      'ok',
      { words: [keepAlive] },
    )
  }
})

test('exit: a program exits after it leaves a loop', () =>
  ends(async () => {
    const db = await libkv.open(':memory:')
    setTimeout(() => db.put('config/a', '1').then(() => db.put('config/end', '')), 10)
    for await (const { events } of db.watch({ prefix: 'config/' }, { startRevision: 1 })) {
      if (String(events[0].kv.key) === 'config/end') break
    }
    await db.close()
    console.log('ok')
  }))

test('close: watchers that wait return closed', () =>
  ends(async () => {
    for (const close of [(db) => db.close(), async (db) => db.closeSync()]) {
      const db = await libkv.open(':memory:')
      const watchers = Array.from({ length: 50 }, (_, n) => db.watch(`k${n}`))
      const steps = watchers.map((watcher, n) =>
        n % 2
          ? watcher.next()
          : (async () => {
              for await (const _ of watcher);
            })(),
      )
      await turn()
      let settled
      const all = Promise.allSettled(steps).then((results) => (settled = results))
      await close(db)
      await all
      assert.ok(settled.every(({ reason }) => reason?.code === 'CLOSED'))
      for (const watcher of watchers) {
        await assert.rejects(watcher.next(), closed)
        assert.throws(() => watcher.tryNext(), closed)
        assert.strictEqual(typeof watcher.resumeRevision, 'number')
        watcher.close()
        watcher.cancel()
        await watcher[Symbol.asyncDispose]()
        assert.strictEqual((await watcher.next()).done, true)
      }
    }
    console.log('ok')
  }))

test('close: a watcher with batches returns closed', () =>
  ends(async () => {
    const db = await libkv.open(':memory:')
    for (let n = 0; n < 100; n++) await db.put(`k${n}`, 'v')
    const watcher = db.watch({}, { startRevision: 1 })
    await watcher.next()
    const step = watcher.next()
    db.closeSync()
    await step.catch((error) => assert.strictEqual(error.code, 'CLOSED'))
    await assert.rejects(watcher.next(), closed)
    console.log('ok')
  }))

test('exit: process.exit while everything waits', async (t) => {
  const store = place(t)
  for (let round = 0; round < 6; round++) {
    await ends(
      async (store, round) => {
        const db = await libkv.open(store)
        await live(db)
        for (let n = 0; n < round % 3; n++) await turn()
        console.log('ok')
        if (round < 3) process.exit(0)
        setImmediate(() => process.exit(0))
      },
      'ok',
      { words: [store, round] },
    )
  }
  const db = await libkv.open(store)
  assert.deepStrictEqual((await db.check()).problems, [])
  await db.close()
})

test('worker: terminated while it watches and waits for locks', async (t) => {
  const store = place(t)
  await ends(
    async (store) => {
      const db = await libkv.open(store)
      for (let round = 0; round < 10; round++) {
        const worker = startWorker(async () => {
          const { workerData, parentPort } = require('node:worker_threads')
          const libkv = require('libkv')
          const db = await libkv.open(workerData)
          await live(db)
          parentPort.postMessage('waits')
          setInterval(() => {}, 1000)
        }, store)
        await new Promise((resolve) => worker.once('message', resolve))
        for (let n = 0; n < 20; n++) db.put(`k${n}`, 'v')
        for (let n = 0; n < round; n++) await turn()
        await worker.terminate()
        // the locks and elections that it held or waited for are free
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
      console.log('ok')
    },
    'ok',
    { words: [store] },
  )
})

test('garbage collection: watchers, leases, locks and elections are collected in any order', () =>
  ends(
    async () => {
      const pause = () => new Promise((resolve) => setTimeout(resolve, 1))
      for (let round = 0; round < 24; round++) {
        let db = await libkv.open(':memory:')
        const all = [
          db.watch(),
          db.watch({ prefix: 'a' }, { signal: new AbortController().signal }),
          await db.lease(60),
          await db.lease(60, { endWithProcess: true }),
          db.lock('a', 60),
          db.lock('b', 60),
          db.election('e', 60),
          db.election('e', 60).observe(),
        ]
        all[2].onLost(() => {})
        await all[4].acquire()
        await all[7].next({ timeoutMs: 1 })
        if (round % 4 === 1) await db.close()
        if (round % 4 === 2) all[5].acquire().catch(() => {})
        if (round % 4 === 3) await live(db, round)
        if (round % 2) all.reverse()
        if (round % 3 === 0) db = undefined
        while (all.length > 0) {
          all.splice(round % all.length, 1)
          if (all.length % 3 === 0) {
            gc()
            await pause()
          }
        }
        db = undefined
        gc()
        await pause()
        gc()
        await pause()
      }
      console.log('ok')
      process.exit(0)
    },
    'ok',
    gc,
  ))

test('garbage collection: dropped leases, locks and watchers end', () =>
  ends(
    async () => {
      const db = await libkv.open(':memory:')
      let [_watcher, lease, lock] = [db.watch(), await db.lease(60), db.lock('l', 60)]
      lease.onLost(() => {})
      await lock.acquire()
      _watcher = lease = lock = undefined
      for (;;) {
        gc()
        await new Promise((resolve) => setTimeout(resolve, 1))
        if ((await db.leaseList()).length === 0 && (await db.status()).watchers === 0) break
      }
      assert.strictEqual((await db.range({ countOnly: true })).count, 0)
      console.log('ok')
    },
    'ok',
    gc,
  ))

test('onLost: an exception of a callback does not reach other callbacks', () =>
  ends(async () => {
    const db = await libkv.open(':memory:', { clock: undefined })
    const lease = await db.lease(1)
    const messages = []
    process.on('uncaughtException', (error) => messages.push(error.message))
    lease.onLost(() => {
      throw new Error('mine')
    })
    lease.onLost(() => messages.push('second'))
    await db.leaseRevoke(lease.id)
    while (messages.length < 2) await new Promise((resolve) => setTimeout(resolve, 1))
    assert.deepStrictEqual(messages, ['mine', 'second'])
    await db.put('k', 'v')
    console.log('ok')
  }))
