'use strict'

const assert = require('node:assert')
const fs = require('node:fs')
const { pathToFileURL } = require('node:url')
const libkv = require('libkv')
const { place, test } = require('./support.js')

test('open: string, Buffer, URL and URL as a string', async (t) => {
  const store = place(t)
  await (await libkv.open(store)).close()
  for (const target of [
    Buffer.from(store),
    new Uint8Array(Buffer.from(store)),
    pathToFileURL(store),
    pathToFileURL(store).href,
  ]) {
    const db = await libkv.open(target, { create: false })
    await db.close()
    libkv.openSync(target, { create: false }).closeSync()
  }
})

test('open: ":memory:" is a new store that leaves no file', async () => {
  const [a, b] = [await libkv.open(':memory:'), libkv.openSync(':memory:')]
  await a.put('k', 'a')
  assert.strictEqual(b.getSync('k'), undefined)
  await a.close()
  b.closeSync()
  assert.ok(!fs.existsSync(':memory:'))
})

test('open: ":memory:" accepts every durability', async () => {
  const all = ['sync', 'lazy', 'none']
  for (const durability of all) {
    const db = await libkv.open(':memory:', { durability })
    assert.strictEqual((await db.status()).durability, durability)
    for (const write of all) {
      await db.put('k', 'v', { durability: write })
      assert.strictEqual((await db.delete('k', { durability: write })).deleted, 1)
    }
    await db.close()
  }
})

test('open: a file or folder that is not a store is refused with a code', async (t) => {
  const store = place(t)
  await assert.rejects(libkv.open(store, { create: false }), { name: 'KvError', code: 'NOT_FOUND' })
  await assert.rejects(libkv.open(store, { readOnly: true }), { code: 'NOT_FOUND' })
  assert.throws(() => libkv.openSync(store, { create: false }), { code: 'NOT_FOUND' })
  assert.throws(() => libkv.openSync('etcd://localhost:1'), { code: 'UNSUPPORTED' })
  await assert.rejects(libkv.open(new URL('http://localhost:1')), {
    code: 'UNAVAILABLE',
    message: /localhost:1/,
  })
  await assert.rejects(libkv.open('a\0b'), { code: 'INVALID_ARGUMENT' })
  for (const target of [undefined, null, 7, {}, []])
    await assert.rejects(libkv.open(target), TypeError)
})

test('open: the error for an unknown option has its name and the nearest known one', async () => {
  await assert.rejects(libkv.open(':memory:', { readonly: true }), {
    name: 'TypeError',
    message: /readonly .*did you mean readOnly\?/,
  })
  await assert.rejects(libkv.open(':memory:', { busy_timeout_ms: 1 }), {
    name: 'TypeError',
    message: /did you mean busyTimeoutMs\?/,
  })
  await assert.rejects(libkv.open(':memory:', { durabilty: 'none' }), {
    name: 'TypeError',
    message: /did you mean durability\?/,
  })
  await assert.rejects(libkv.open(':memory:', { zebra: 1 }), {
    name: 'TypeError',
    message: /zebra .*it has create/,
  })
  await assert.rejects(libkv.open(':memory:', 'sync'), TypeError)
})

test('open: options of a wrong type or out of range are refused', async () => {
  const wrong = {
    create: 1,
    readOnly: 'yes',
    durability: 'safe',
    busyTimeoutMs: '5',
    maxBytes: 1n,
    limits: 'mysql',
    autoCompaction: '5',
    clock: new Date(),
    mode: '0600',
    allowNetworkFs: null,
    maxTxnOps: null,
  }
  for (const [name, value] of Object.entries(wrong)) {
    await assert.rejects(
      libkv.open(':memory:', { [name]: value }),
      { name: 'TypeError', message: new RegExp(`option ${name}`) },
      name,
    )
  }
  const outside = {
    busyTimeoutMs: -1,
    maxRequestBytes: 2 ** 53,
    maxTxnOps: 1.5,
    maxReaders: 2 ** 32,
    mode: 0o10000,
    leaseTtlMinSeconds: NaN,
  }
  for (const [name, value] of Object.entries(outside)) {
    await assert.rejects(
      libkv.open(':memory:', { [name]: value }),
      { name: 'RangeError', message: new RegExp(`option ${name}`) },
      name,
    )
  }
  await assert.rejects(
    libkv.open(':memory:', { autoCompaction: { revisions: 1, seconds: 1 } }),
    TypeError,
  )
  await assert.rejects(libkv.open(':memory:', { tlsCa: 'x' }), {
    code: 'INVALID_ARGUMENT',
    message: /tlsCa/,
  })
})

test('open: options reach the store', async (t) => {
  const store = place(t)
  const none = await libkv.open(store, {
    durability: 'none',
    busyTimeoutMs: Infinity,
    mode: 0o640,
    maxReaders: 64,
  })
  assert.strictEqual((await none.status()).durability, 'none')
  assert.strictEqual(fs.statSync(`${store}/data.mdb`).mode & 0o777, 0o640)
  await none.put('k', 'v')
  const reader = await libkv.open(store, { readOnly: true })
  await assert.rejects(reader.put('k', 'v'), { code: 'READ_ONLY' })
  await assert.rejects(libkv.open(store, { maxReaders: 65 }), { code: 'INVALID_ARGUMENT' })
  const small = await libkv.open(store, { maxRequestBytes: 4, maxTxnOps: 1 })
  await assert.rejects(small.put('k', 'value'), { code: 'TOO_LARGE' })
  await assert.rejects(small.txn({ success: [libkv.Put('a', '1'), libkv.Put('b', '2')] }), {
    code: 'TOO_MANY_OPS',
  })
  const etcd = await libkv.open(store, { limits: 'etcd' })
  const ops = Array.from({ length: 129 }, (_, n) => libkv.Put(`k${n}`, 'v'))
  await assert.rejects(etcd.txn({ success: ops }), { code: 'TOO_MANY_OPS' })
  await Promise.all([none, reader, small, etcd].map((db) => db.close()))
})

test('open: automatic compaction by revisions or by seconds', async (t) => {
  const store = place(t)
  const db = await libkv.open(store, { autoCompaction: 5 })
  await (await libkv.open(store, { autoCompaction: { revisions: 5 } })).close()
  for (const autoCompaction of [6, { seconds: 5 }])
    await assert.rejects(libkv.open(store, { autoCompaction }), { code: 'INVALID_ARGUMENT' })
  for (const autoCompaction of [-1, 1.5, { seconds: -1 }])
    await assert.rejects(libkv.open(store, { autoCompaction }), RangeError)
  await db.close()
  const clock = new libkv.Clock(0)
  const aged = await libkv.open(':memory:', { autoCompaction: { seconds: 60 }, clock })
  t.after(() => aged.close())
  for (let n = 0; n < 5; n++) {
    await aged.put('k', String(n))
    await clock.advance(60_000)
  }
  await clock.advance(600_000)
  assert.ok((await aged.status()).compactedRevision > 1)
})

test('clock: a manual clock excludes other handles and moves forward only', async (t) => {
  const clock = new libkv.Clock(1_000)
  await clock.advance(500)
  clock.advanceSync(0)
  assert.strictEqual(clock.unixMs, 1_500)
  await assert.rejects(clock.advance(-1), RangeError)
  assert.throws(() => new libkv.Clock('now'), TypeError)
  const store = place(t)
  const db = await libkv.open(store, { clock })
  await assert.rejects(libkv.open(store, { clock: new libkv.Clock(0) }), {
    code: 'INVALID_ARGUMENT',
  })
  await db.close()
})

test('Db: cannot be constructed', () => {
  assert.throws(() => new libkv.Db(), TypeError)
})
