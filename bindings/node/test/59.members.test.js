'use strict'

const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { open, restore, serve } = require('libkv')
const { place, test } = require('./support.js')

const URL_OF_PEER = 'http://127.0.0.1:1'
const code = (code) => ({ code })

test('hashKv: is the hash of etcd', async () => {
  const db = await open(':memory:')
  assert.strictEqual((await db.hashKv()).hash, 1084519789)
  await db.put('a', '0')
  assert.deepStrictEqual(await db.hashKv(2), {
    revision: 2,
    hash: 1750265556,
    compactRevision: -1,
    hashRevision: 2,
  })
  await db.put('a', '1')
  await db.compact(3)
  assert.strictEqual((await db.hashKv()).compactRevision, 3)
  await assert.rejects(db.hashKv(2), code('COMPACTED'))
  await assert.rejects(db.hashKv(4), { code: 'FUTURE_REVISION', revision: 3 })
  await assert.rejects(db.hashKv(-1), code('INVALID_ARGUMENT'))
  await assert.rejects(db.hashKv('1'), TypeError)
  await db.close()
})

test('members: a store is one member', async () => {
  const db = await open(':memory:')
  const [member, ...others] = await db.memberList()
  assert.strictEqual(others.length, 0)
  const { storeId } = await db.status()
  assert.strictEqual(storeId.slice(16), member.id.toString(16).padStart(16, '0'))
  assert.deepStrictEqual(
    { ...member, id: 0n },
    {
      id: 0n,
      name: '',
      peerUrls: [],
      clientUrls: [],
      isLearner: false,
    },
  )
  assert.strictEqual(JSON.parse(JSON.stringify(member)).id, String(member.id))
  assert.strictEqual(await db.moveLeader(member.id), undefined)
  await assert.rejects(db.moveLeader(0n), code('FAILED_PRECONDITION'))
  for (const change of [
    () => db.memberAdd([URL_OF_PEER], { learner: true }),
    () => db.memberRemove(member.id),
    () => db.memberUpdate(member.id, [URL_OF_PEER]),
    () => db.memberPromote(member.id),
  ]) {
    await assert.rejects(change(), {
      code: 'UNSUPPORTED',
      message: /kv snapshot save.*etcdutl snapshot restore/,
    })
  }
  for (const wrong of [
    () => db.memberAdd(URL_OF_PEER),
    () => db.memberAdd([1]),
    () => db.memberAdd([URL_OF_PEER], { lerner: true }),
    () => db.memberRemove(1),
    () => db.memberRemove(),
    () => db.moveLeader('1'),
  ]) {
    await assert.rejects(wrong(), TypeError)
  }
  await assert.rejects(db.memberPromote(-1n), RangeError)
  await db.close()
  await assert.rejects(db.memberList(), code('CLOSED'))
})

test('members: of a served store', async () => {
  const store = await open(':memory:')
  const server = await serve(store)
  const db = await open(server.address)
  await db.put('a', '0')
  assert.deepStrictEqual(await db.hashKv(), await store.hashKv())
  const [member] = await db.memberList()
  assert.deepStrictEqual(member.clientUrls, [server.address])
  await assert.rejects(db.memberUpdate(member.id, ['nowhere']), code('INVALID_ARGUMENT'))
  await db.memberUpdate(member.id, [URL_OF_PEER])
  assert.deepStrictEqual((await db.memberList())[0].peerUrls, [URL_OF_PEER])
  await assert.rejects(db.memberRemove(1n), code('NOT_FOUND'))
  await assert.rejects(db.memberRemove(member.id), code('FAILED_PRECONDITION'))
  await assert.rejects(db.memberAdd(['http://127.0.0.1:2']), code('UNSUPPORTED'))
  await db.moveLeader(member.id)
  await assert.rejects(db.snapshotSave('/nowhere'), code('UNSUPPORTED'))
  await db.close()
  await server.close()
  await store.close()
})

test('snapshotSave, restore: keep the whole history', async (t) => {
  const folder = path.dirname(place(t))
  const file = path.join(folder, 'backup.db')
  const db = await open(':memory:')
  await db.put('a', '0')
  const { revision } = await db.put('a', '1')
  assert.strictEqual(await db.snapshotSave(file), revision)
  await assert.rejects(db.snapshotSave(file), code('EXISTS'))
  const store = path.join(folder, 'store')
  assert.strictEqual(await restore(file, store), revision)
  const restored = await open(store)
  assert.deepStrictEqual(await restored.hashKv(), await db.hashKv())
  await restored.close()
  await assert.rejects(restore(file, store), code('EXISTS'))
  const other = path.join(folder, 'other')
  await assert.rejects(restore(path.join(folder, 'none'), other), code('NOT_FOUND'))
  const cut = path.join(folder, 'cut.db')
  fs.writeFileSync(cut, fs.readFileSync(file).subarray(0, -32))
  await assert.rejects(restore(cut, other), code('CORRUPT'))
  assert.strictEqual(await restore(cut, other, { skipHashCheck: true }), revision)
  await assert.rejects(restore(1, other), TypeError)
  await db.close()
})
