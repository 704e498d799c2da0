// Servers and clusters: the same calls over the network, without blocking the event loop.
'use strict'

const assert = require('node:assert')
const net = require('node:net')
const { once } = require('node:events')
const libkv = require('libkv')
const { memory, served } = require('libkv/testing')
const { all, run, test, until } = require('./support.js')

const WAIT_LIMIT = { timeoutMs: 20_000 }

/** A cluster, and the store that it serves. */
async function cluster(t, options) {
  const { db, server } = await served(t)
  const remote = await libkv.open(server.address, options)
  t.after(() => remote.close())
  return { db, server, remote }
}

/**
 * A proxy to a server. While it is shut, it holds all data back. It runs on the event loop of the
 * test, so a call that blocks the loop never ends.
 */
async function startProxy(t, address) {
  const target = new URL(address)
  const sockets = []
  let waiting
  const listener = net.createServer((near) => {
    const far = net.connect(Number(target.port), target.hostname)
    sockets.push(near, far)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      from.on('data', (data) => (waiting ? waiting.push(() => to.write(data)) : to.write(data)))
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.after(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  return {
    address: `http://127.0.0.1:${listener.address().port}`,
    shut: () => (waiting = []),
    open() {
      const held = waiting
      waiting = undefined
      for (const send of held) send()
    },
    /** Waits until data is held back. */
    reached: () => until('data in the proxy', () => waiting.length > 0),
  }
}

test('cluster: every call', async (t) => {
  const { remote } = await cluster(t)
  assert.strictEqual((await remote.put('a', '1')).revision, 2)
  assert.strictEqual((await remote.get('a')).value.toString(), '1')
  assert.strictEqual(await remote.get('a', { revision: 1 }), undefined)
  await Promise.all(Array.from({ length: 200 }, (_, n) => remote.put(`n/${n}`, '')))
  assert.strictEqual((await remote.range({ prefix: 'n/' })).count, 200)
  assert.strictEqual((await all(remote.scan({ prefix: 'n/' }))).length, 200)
  assert.strictEqual((await remote.txn({ success: [libkv.Range('a')] })).responses[0].count, 1)
  const compare = [libkv.Compare.version('a', '==', 1)]
  assert.ok((await remote.txn({ compare, success: [libkv.Put('b', '2')] })).succeeded)
  await remote.transact(async (txn) => txn.put('c', (await txn.get('b')).value))
  const snapshot = await remote.snapshot()
  assert.strictEqual((await remote.delete({ prefix: 'n/' })).deleted, 200)
  assert.ok(await snapshot.get('n/0'))
  assert.strictEqual(
    (await snapshot.range({ prefix: 'n/' })).count,
    (await all(snapshot.scan({ prefix: 'n/' }))).length,
  )
  assert.deepStrictEqual(
    (await all(remote.events(1, 2))).map((event) => event.type),
    ['put'],
  )
  assert.deepStrictEqual(
    (await all(remote.diff(1, 2))).map((change) => change.key.toString()),
    ['a'],
  )
  assert.strictEqual((await remote.history('a')).length, 1)
  const { id } = await remote.leaseGrant(60)
  assert.strictEqual((await remote.leaseKeepAlive(id)).ttlSeconds, 60)
  assert.strictEqual((await remote.leaseTimeToLive(id, { keys: true })).grantedTtlSeconds, 60)
  assert.ok((await remote.leaseList()).includes(id))
  await remote.leaseRevoke(id)
  const lease = await remote.lease(60)
  assert.ok((await lease.remaining()) > 0)
  await lease.close()
  const revision = (await remote.status()).revision
  assert.strictEqual((await remote.compact(3)).revision, revision)
  await assert.rejects(remote.get('a', { revision: 2 }), { code: 'COMPACTED', revision: 3 })
  await assert.rejects(remote.check(), { code: 'UNSUPPORTED' })
  await assert.rejects(remote.revisionAt(0), { code: 'UNSUPPORTED' })
  await assert.rejects(remote.get(''), { code: 'INVALID_ARGUMENT' })
  await remote.close()
  await assert.rejects(remote.get('a'), { code: 'CLOSED' })
})

test('cluster: locks and elections', async (t) => {
  const { db, remote } = await cluster(t)
  const [first, second, local] = [
    remote.lock('lock', 60),
    remote.lock('lock', 60),
    db.lock('lock', 60),
  ]
  await first.acquire()
  assert.strictEqual(await second.tryAcquire(), false)
  await assert.rejects(second.acquire({ timeoutMs: 10 }), { code: 'TIMEOUT', message: /has it/ })
  const waits = local.acquire()
  await first.release()
  await waits
  await local.release()
  assert.strictEqual(await second.tryAcquire(), true)
  await second.release()
  const election = remote.election('e', 60)
  const leaders = election.observe()
  await election.campaign('me')
  assert.strictEqual((await leaders.next(WAIT_LIMIT)).value.value.toString(), 'me')
  await election.proclaim('I')
  assert.strictEqual((await db.election('e', 60).leader()).value.toString(), 'I')
  await election.resign()
  leaders.close()
})

test('cluster: each side receives the writes of the other', async (t) => {
  const { db, remote } = await cluster(t)
  const there = remote.watch({ prefix: '' })
  await remote.put('seen', '') // waits until the watcher is created
  await db.put('here', '1')
  const keys = []
  while (!keys.includes('here')) {
    const { value } = await there.next(WAIT_LIMIT)
    keys.push(...value.events.map((event) => event.kv.key.toString()))
  }
  assert.deepStrictEqual(keys, ['seen', 'here'])
  there.close()
  const here = db.watch({ prefix: '' })
  await remote.put('there', '1')
  assert.strictEqual((await here.next(WAIT_LIMIT)).value.events[0].kv.key.toString(), 'there')
  here.close()
})

test('cluster: synchronous calls are unsupported', async (t) => {
  const { remote, server } = await cluster(t)
  const calls = [
    () => remote.getSync('a'),
    () => remote.getInto('a', Buffer.alloc(1)),
    () => remote.rangeSync('a'),
    () => remote.scanSync({ prefix: '' }),
    () => remote.putSync('a', ''),
    () => remote.deleteSync('a'),
    () => remote.txnSync({}),
    () => remote.compactSync(1),
    () => remote.statusSync(),
    () => remote.closeSync(),
    () => libkv.openSync(server.address),
  ]
  for (const call of calls) assert.throws(call, { code: 'UNSUPPORTED', message: /await/ })
  remote[Symbol.dispose]()
  assert.ok(remote.closed)
})

test('cluster: no call blocks the event loop', async (t) => {
  const { server } = await served(t)
  const proxy = await startProxy(t, server.address)
  const remote = await libkv.open(proxy.address, { requestTimeoutMs: Infinity })
  t.after(() => remote.close())
  await remote.put('a', '1')
  const { id } = await remote.leaseGrant(60)
  const [snapshot, election] = [await remote.snapshot(), remote.election('e', 60)]
  proxy.shut()
  const [watcher, leaders] = [remote.watch({ prefix: '' }), election.observe()]
  assert.strictEqual(watcher.tryNext(), undefined)
  assert.strictEqual(watcher.resumeRevision, 0)
  const [value, seen, ...others] = [
    remote.get('a'),
    watcher.next(),
    remote.range({ prefix: '' }),
    remote.scan({ prefix: '' }).next(),
    remote.diff(1, 2).next(),
    remote.put('b', '2'),
    remote.delete('c'),
    remote.txn({ success: [libkv.Range('a')] }),
    remote.transact((txn) => txn.get('a')),
    remote.snapshot(),
    snapshot.get('a'),
    remote.history('a'),
    remote.status(),
    remote.leaseGrant(60),
    remote.leaseKeepAlive(id),
    remote.leaseTimeToLive(id),
    remote.leaseList(),
    remote.lock('lock', 60).acquire(),
    remote.lock('other', 60).tryAcquire(),
    election.campaign('me'),
    leaders.next(),
  ]
  await proxy.reached()
  proxy.open()
  assert.strictEqual((await value).value.toString(), '1')
  await Promise.all(others)
  const keys = (await seen).value.events.map((event) => event.kv.key.toString())
  while (!keys.includes('b')) {
    const { value: batch } = await watcher.next(WAIT_LIMIT)
    keys.push(...batch.events.map((event) => event.kv.key.toString()))
  }
  watcher.close()
  leaders.close()
})

test('cluster: the time-out of the caller limits each request', async (t) => {
  const { server } = await served(t)
  const proxy = await startProxy(t, server.address)
  // a request without a limit of the caller fails with another error, after a minute
  const options = { requestTimeoutMs: 60_000, keepAliveMs: Infinity }
  const remote = await libkv.open(proxy.address, options)
  t.after(() => remote.close())
  const election = remote.election('e', 60)
  const leaders = await election.observe().ready()
  const other = await remote.election('other', 60).observe().ready()
  proxy.shut()
  await assert.rejects(remote.lock('lock', 60).acquire({ timeoutMs: 300 }), {
    code: 'TIMEOUT',
    message: /within 300 ms/,
  })
  await assert.rejects(election.campaign('me', { timeoutMs: 300 }), {
    code: 'TIMEOUT',
    message: /within 300 ms/,
  })
  assert.deepStrictEqual(await other.next({ timeoutMs: 300 }), { value: undefined, done: false })
  proxy.open()
  await election.campaign('me')
  assert.strictEqual((await leaders.next(WAIT_LIMIT)).value.value.toString(), 'me')
  await remote.election('other', 60).campaign('you')
  assert.strictEqual((await other.next(WAIT_LIMIT)).value.value.toString(), 'you')
  leaders.close()
  other.close()
})

test('cluster: a watcher that is being created can be ended', async (t) => {
  const { server } = await served(t)
  const proxy = await startProxy(t, server.address)
  const remote = await libkv.open(proxy.address)
  t.after(() => remote.close())
  proxy.shut()
  const abort = new AbortController()
  const watchers = ['a', 'b', 'c', 'd'].map((key) =>
    remote.watch(key, { startRevision: 7, signal: key === 'd' ? abort.signal : undefined }),
  )
  const [cancelled, closed, waiting, aborted] = watchers
  const waits = cancelled.next()
  cancelled.cancel()
  await assert.rejects(waits, { code: 'CANCELLED' })
  closed.close()
  assert.deepStrictEqual(await all(closed), [])
  assert.deepStrictEqual(await waiting.next({ timeoutMs: 1 }), { value: undefined, done: false })
  assert.strictEqual(waiting.resumeRevision, 7)
  const never = aborted.next()
  abort.abort(new Error('stop'))
  await assert.rejects(never, /stop/)
  proxy.open()
  await remote.put('c', '1')
  waiting.close()
  const backwards = remote.watch({ start: 'b', end: 'a' })
  await assert.rejects(backwards.next(WAIT_LIMIT), { code: 'INVALID_ARGUMENT' })
  await assert.rejects(remote.watch({ start: 'b', end: 'a' }).ready(), { code: 'INVALID_ARGUMENT' })
  const confirmed = await remote.watch('y').ready()
  assert.strictEqual(await confirmed.ready(), confirmed)
  confirmed.close()
  await confirmed.ready()
  const last = remote.watch('z')
  const unread = assert.rejects(last.next(), { code: 'CLOSED' })
  await remote.close()
  await unread
})

test('cluster: the error for a missing server is UNAVAILABLE and has its address', async () => {
  const taken = net.createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address()
  taken.close()
  await assert.rejects(libkv.open(`etcd://127.0.0.1:${port}`, { connectTimeoutMs: 2_000 }), {
    code: 'UNAVAILABLE',
    message: new RegExp(`127.0.0.1:${port}`),
  })
})

test('cluster: options', async (t) => {
  const { server } = await served(t)
  const remote = await libkv.open(new URL(server.address), {
    connectTimeoutMs: 20_000,
    requestTimeoutMs: Infinity,
    keepAliveMs: 1_000,
  })
  await remote.close()
  for (const [options, message] of [
    [{ create: false }, /option create/],
    [{ maxTxnOps: 1 }, /option maxTxnOps/],
    [{ tlsCa: '/nowhere' }, /TLS/],
  ]) {
    await assert.rejects(libkv.open(server.address, options), { code: 'INVALID_ARGUMENT', message })
  }
  for (const options of [
    { tlsCa: 5 },
    { user: Buffer.from('me') },
    { tlsKeys: 'x' },
    { tlsCa: 'a\0b' },
  ]) {
    await assert.rejects(libkv.open(server.address, options), TypeError)
  }
  await assert.rejects(libkv.open(server.address, { keepAliveMs: -1 }), RangeError)
})

test('server: start and end', async (t) => {
  const db = await memory(t)
  const server = await libkv.serve(db)
  const remote = await libkv.open(server.address, { requestTimeoutMs: 2_000 })
  await assert.rejects(libkv.serve(db, server.address), { code: 'BUSY' })
  await assert.rejects(libkv.serve(remote), { code: 'UNSUPPORTED' })
  await Promise.all([server.close(), server.close()])
  assert.ok(server.closed)
  await assert.rejects(remote.put('a', ''), libkv.KvError)
  await remote.close()
  await db.put('a', '')
  for (const [address, options] of [
    ['127.0.0.1'],
    ['https://127.0.0.1:0'],
    ['https://127.0.0.1:0', { certFile: '/nowhere', keyFile: '/nowhere' }],
  ]) {
    await assert.rejects(libkv.serve(db, address, options), { code: 'INVALID_ARGUMENT' })
  }
  for (const wrong of [undefined, {}, 'db']) await assert.rejects(libkv.serve(wrong), TypeError)
  await assert.rejects(libkv.serve(db, 5), TypeError)
  await assert.rejects(libkv.serve(db, undefined, { certFil: 'x' }), /did you mean certFile/)
  assert.throws(() => new libkv.Server(), TypeError)
})

test('server: clients get errors after the store was closed', async () => {
  const db = await memory()
  const server = await libkv.serve(db)
  const remote = await libkv.open(server.address, { requestTimeoutMs: 2_000 })
  await remote.put('a', '')
  await db.close()
  await assert.rejects(remote.put('a', ''), libkv.KvError)
  await server.close()
  await remote.close()
})

test('server: an open server or cluster does not keep the process', async () => {
  const program = `
    const libkv = require('libkv')
    async function main() {
      const db = await libkv.open(':memory:')
      for (let n = 0; n < 3; n++) {
        const remote = await libkv.open((await libkv.serve(db)).address)
        await remote.put('k', 'v')
        remote.watch('k')
      }
      if (global.gc) gc()
      console.log('done')
    }
    main()
  `
  for (const node of [[], ['--expose-gc']]) {
    assert.deepStrictEqual(await run(program, { node }), {
      code: 0,
      signal: null,
      stdout: 'done\n',
      stderr: '',
    })
  }
  const ended = await run(
    program.replace("console.log('done')", "console.log('done'); process.exit()"),
  )
  assert.deepStrictEqual(ended, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
})

test('server: limits are the lower of handle and server', async (t) => {
  const MIB = 1 << 20
  const db = await memory(t, { maxRequestBytes: 4 * MIB, maxTxnOps: 200 })
  const puts = Array.from({ length: 200 }, (_, n) => libkv.Put(`k${n}`, 'v'))
  const client = async (options) => {
    const server = await libkv.serve(db, '127.0.0.1:0', options)
    const cluster = await libkv.open(server.address, { connectTimeoutMs: 20_000 })
    t.after(async () => {
      await cluster.close()
      await server.close()
    })
    return cluster
  }
  const same = await client()
  await same.put('k', Buffer.alloc(3 * MIB))
  await same.txn({ success: puts })
  await assert.rejects(same.put('k', Buffer.alloc(4 * MIB)), { code: 'TOO_LARGE' })
  const lower = await client({ maxRequestBytes: MIB, maxTxnOps: 199 })
  await assert.rejects(lower.put('k', Buffer.alloc(MIB)), { code: 'TOO_LARGE' })
  await assert.rejects(lower.txn({ success: puts }), { code: 'TOO_MANY_OPS' })
  await db.put('k', Buffer.alloc(3 * MIB))
  await assert.rejects(libkv.serve(db, '127.0.0.1:0', { maxRequestBytes: '1' }), TypeError)
  await assert.rejects(libkv.serve(db, '127.0.0.1:0', { maxTxnOps: -1 }), RangeError)
  await assert.rejects(libkv.serve(db, '127.0.0.1:0', { maxTxnOp: 1 }), /did you mean maxTxnOps/)
})

test('cluster: the stack of an error contains the function that awaits', async (t) => {
  const { db, remote } = await cluster(t)
  await db.put('a', '1')
  await db.put('a', '2')
  await db.compact(3)
  const calls = {
    put: () => remote.put('', 'v'),
    get: () => remote.get('k', { revision: 99 }),
    range: () => remote.range({ revision: 99 }),
    scan: () => remote.scan({ revision: 99 }).next(),
    snapshot: () => remote.snapshotAt(99),
    check: () => remote.check(),
    leaseRevoke: () => remote.leaseRevoke(5n),
    watch: () => remote.watch({ startRevision: 1 }).next(),
    ready: () => remote.watch({ startRevision: 1 }).ready(),
    loop: async () => {
      for await (const batch of remote.watch({ startRevision: 1 })) assert.ok(batch)
    },
    serve: () => libkv.serve(remote),
  }
  for (const [name, call] of Object.entries(calls)) {
    async function callerOfThis() {
      await call()
    }
    const error = await callerOfThis().then(assert.fail, (error) => error)
    assert.ok(error instanceof libkv.KvError, `${name}: ${error}`)
    assert.match(error.stack, /callerOfThis \(.*58\.cluster\.test\.js/, name)
  }
})
