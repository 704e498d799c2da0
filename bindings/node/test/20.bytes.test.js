'use strict'

const assert = require('node:assert')
const { MessageChannel } = require('node:worker_threads')
const libkv = require('libkv')
const { memory } = require('libkv/testing')
const { test } = require('./support.js')

/** A buffer whose memory was transferred. */
function detached() {
  const bytes = new Uint8Array(8)
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  return bytes
}

test('bytes: every kind is accepted, Buffers are returned', async (t) => {
  const db = await memory(t)
  const kinds = {
    string: 'schlüssel ∑ 𝄞',
    buffer: Buffer.from([0, 255, 1]),
    array: new Uint8Array([1, 2, 3]),
    words: new Uint16Array([1, 256]),
    view: new DataView(new Uint8Array([9, 8, 7, 6]).buffer, 1, 2),
    memory: new Uint8Array([4, 5]).buffer,
    shared: new Uint8Array(new SharedArrayBuffer(3)),
  }
  for (const [name, bytes] of Object.entries(kinds)) {
    const should =
      typeof bytes === 'string'
        ? Buffer.from(bytes)
        : Buffer.from(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, bytes.byteLength)
    for (const put of [db.putSync.bind(db), db.put.bind(db), (k, v) => db.put(libkv.Put(k, v))]) {
      await put(bytes, bytes)
      const kv = await db.get(bytes)
      assert.ok(Buffer.isBuffer(kv.key) && Buffer.isBuffer(kv.value), name)
      assert.deepStrictEqual([kv.key, kv.value], [should, should], name)
      db.deleteSync({ prefix: '' })
    }
  }
})

test('bytes: values of every size are returned unchanged', async (t) => {
  const db = await memory(t)
  for (const size of [
    0,
    1,
    39,
    40,
    41,
    1_000,
    32_767,
    32_768,
    65_535,
    65_536,
    262_103,
    262_144,
    262_145,
    1 << 20,
    5 << 20,
  ]) {
    const value = Buffer.alloc(size, `${size} `)
    await db.put('async', value)
    db.putSync('sync', value)
    for (const kv of [
      await db.get('sync'),
      db.getSync('async'),
      (await db.range('async')).kvs[0],
      db.rangeSync('sync').kvs[0],
    ]) {
      assert.ok(kv.value.equals(value), `${size}`)
    }
    const place = Buffer.alloc(size)
    assert.strictEqual(db.getInto('async', place), size)
    assert.ok(place.equals(value))
    if (size > 0) assert.strictEqual(db.getInto('async', Buffer.alloc(size - 1, 7)), size)
  }
  assert.strictEqual(db.getInto('missing', Buffer.alloc(1)), undefined)
  const long = 'ü'.repeat(30)
  await db.put(long, long.repeat(3_000))
  assert.strictEqual(db.getSync(long).value.toString(), long.repeat(3_000))
})

test('bytes: keys beyond every limit are refused with the same text', async (t) => {
  const db = await memory(t)
  for (const length of [481, 100_000, 300_000]) {
    for (const key of ['k'.repeat(length), Buffer.alloc(length, 'k')]) {
      await assert.rejects(db.put(key, 'v'), { code: 'TOO_LARGE' })
      assert.throws(() => db.putSync(key, 'v'), { code: 'TOO_LARGE' })
      assert.strictEqual(db.getSync(key), undefined)
      assert.strictEqual(db.getInto(key, Buffer.alloc(1)), undefined)
    }
  }
  await assert.rejects(db.put('', 'v'), {
    code: 'INVALID_ARGUMENT',
    message: /key is not provided/,
  })
  assert.throws(() => db.getSync(Buffer.alloc(0)), { code: 'INVALID_ARGUMENT' })
  assert.throws(() => db.getInto('', Buffer.alloc(1)), { code: 'INVALID_ARGUMENT' })
})

test('bytes: other types are a TypeError, and nothing is written', async (t) => {
  const db = await memory(t)
  for (const bad of [
    undefined,
    null,
    7,
    7n,
    true,
    {},
    [],
    Symbol('s'),
    () => {},
    '\ud800',
    'a\udc00b',
    detached(),
    detached().buffer,
  ]) {
    await assert.rejects(db.put(bad, 'v'), TypeError)
    await assert.rejects(db.put('k', bad), TypeError)
    assert.throws(() => db.putSync('k', bad), TypeError)
    await assert.rejects(db.get(bad), TypeError)
    assert.throws(() => db.getSync(bad), TypeError)
    assert.throws(() => db.getInto(bad, Buffer.alloc(1)), TypeError)
    assert.throws(() => libkv.Put('k', bad), TypeError)
    assert.throws(() => libkv.Compare.value('k', '==', bad), TypeError)
    await assert.rejects(db.history(bad), TypeError)
    if (bad !== undefined && Object.keys(bad ?? 'x').length > 0)
      assert.throws(() => db.rangeSync(bad), TypeError)
  }
  for (const bad of [undefined, null, 'text', [], new ArrayBuffer(4)])
    assert.throws(() => db.getInto('k', bad), TypeError)
  assert.strictEqual(db.statusSync().revision, 1)
})

test('bytes: a buffer that changes after the call changes nothing', async (t) => {
  const db = await memory(t)
  const [key, value] = [Buffer.from('key'), Buffer.alloc(100_000, 'v')]
  const put = db.put(key, value)
  const request = libkv.Put(key, value)
  const walk = db.scan({ prefix: key })
  key.fill('x')
  value.fill('x')
  await put
  assert.strictEqual((await db.get('key')).value.toString(), 'v'.repeat(100_000))
  await db.put(request)
  assert.strictEqual((await db.get('key')).version, 2)
  assert.strictEqual((await walk.next()).value.key.toString(), 'key')
  const shared = new Uint8Array(new SharedArrayBuffer(3)).fill(1)
  const late = db.put('shared', shared)
  shared.fill(2)
  await late
  assert.deepStrictEqual((await db.get('shared')).value, Buffer.from([1, 1, 1]))
})

test('bytes: the caller may change a returned Buffer', async (t) => {
  const db = await memory(t)
  for (const size of [3, 100, 50_000, 300_000]) {
    await db.put('k', Buffer.alloc(size, 1))
    const { value } = db.getSync('k')
    const { value: other } = db.getSync('k')
    value.fill(9)
    assert.ok(
      other.every((byte) => byte === 1) && db.getSync('k').value.every((byte) => byte === 1),
    )
  }
  // transferring a value to another thread does not change the store or later responses
  const { port1 } = new MessageChannel()
  const { value } = db.getSync('k')
  port1.postMessage(value)
  port1.close()
  assert.strictEqual(db.getSync('k').value.length, 300_000)
})

test('numbers: revisions up to 2^53, leases are bigints of 64 bits', async (t) => {
  const db = await memory(t)
  for (const bad of ['1', 1n, null, {}])
    await assert.rejects(db.get('k', { revision: bad }), TypeError)
  for (const bad of [1.5, 2 ** 53, NaN, Infinity]) {
    await assert.rejects(db.get('k', { revision: bad }), RangeError)
    await assert.rejects(db.compact(bad), RangeError)
    await assert.rejects(db.snapshotAt(bad), RangeError)
    assert.throws(() => db.events(bad), RangeError)
    assert.throws(() => db.rangeSync({ limit: bad }), RangeError)
    assert.throws(() => libkv.Compare.version('k', '==', bad), RangeError)
  }
  await assert.rejects(db.put('k', 'v', { lease: 1 }), {
    name: 'TypeError',
    message: /lease must be a bigint/,
  })
  for (const bad of [1n << 63n, -(1n << 63n) - 1n]) {
    await assert.rejects(db.put('k', 'v', { lease: bad }), RangeError)
    assert.throws(() => libkv.Compare.lease('k', '==', bad), RangeError)
  }
  for (const lease of [(1n << 63n) - 1n, -(1n << 63n)])
    await assert.rejects(db.put('k', 'v', { lease }), {
      code: 'LEASE_NOT_FOUND',
      message: new RegExp(`${lease}|lease`),
    })
  await db.put('k', 'v')
  assert.strictEqual((await db.get('k')).lease, 0n)
  await assert.rejects(db.get('k', { revision: 2 ** 53 - 1 }), {
    code: 'FUTURE_REVISION',
    revision: 2,
  })
})
