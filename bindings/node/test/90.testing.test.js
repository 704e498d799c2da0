'use strict'

const assert = require('node:assert')
const libkv = require('libkv')
const { BEGIN_MS, etcd, memory, served } = require('libkv/testing')
const { test } = require('./support.js')

test('testing: a store is new for each test and closed after it', async (t) => {
  const seen = []
  for (let n = 0; n < 2; n++) {
    await t.test(`one of two`, async (t) => {
      const db = await memory(t)
      assert.strictEqual(await db.get('k'), undefined)
      await db.put('k', 'v')
      seen.push(db)
    })
    assert.strictEqual(seen[n].closed, true)
    await assert.rejects(seen[n].get('k'), { code: 'CLOSED' })
  }
})

test('testing: the preset etcd has a manual clock', async (t) => {
  const { db, clock } = await etcd(t)
  assert.strictEqual(clock.unixMs, BEGIN_MS)
  await clock.advance(1_000)
  assert.strictEqual(clock.unixMs, BEGIN_MS + 1_000)
  const ops = Array.from({ length: 129 }, (_, n) => libkv.Put(`k${n}`, 'v'))
  await assert.rejects(db.txn({ success: ops }), { code: 'TOO_MANY_OPS' })
})

test('testing: a lease expires when the clock is advanced', async (t) => {
  const { db, clock } = await etcd(t)
  const { id } = await db.leaseGrant(30)
  await db.put('session', 'open', { lease: id })
  await clock.advance(29_999)
  assert.ok(await db.get('session'))
  await clock.advance(1)
  assert.strictEqual(await db.get('session'), undefined)
})

test('testing: a served store uses the clock of its test', async (t) => {
  const { db, clock, server } = await served(t)
  const client = await libkv.open(server.address)
  const { id } = await client.leaseGrant(30)
  await client.put('session', 'open', { lease: id })
  assert.ok(await db.get('session'))
  await clock.advance(30_000)
  assert.strictEqual(await client.get('session'), undefined)
  await client.close()
})

test('testing: without a context the caller closes; options are passed to open', async () => {
  const db = await memory(undefined, { maxTxnOps: 1 })
  await assert.rejects(db.txn({ success: [libkv.Range('a'), libkv.Range('b')] }), {
    code: 'TOO_MANY_OPS',
  })
  await db.close()
  const { db: other } = await etcd()
  other.closeSync()
  await assert.rejects(memory({}), TypeError)
})
