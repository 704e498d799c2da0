// The quota, and the alarms.
'use strict'

const assert = require('node:assert')
const libkv = require('libkv')
const { place, test } = require('./support.js')

const QUOTA = 1 << 20

/** Puts keys until a put is refused; returns its error. */
async function filled(db) {
  for (let n = 0; n < 1_000; n++) {
    try {
      db.putSync(`k${n}`, Buffer.alloc(4_000))
    } catch (error) {
      assert.strictEqual(error.code, 'FULL')
      return error
    }
  }
  return undefined
}

async function room(db) {
  const { revision } = await db.delete({ start: '' })
  await db.compact(revision, { physical: true })
}

test('quota: is enforced, and deletions still work', async (t) => {
  const store = place(t)
  const db = await libkv.open(store, { maxBytes: QUOTA, durability: 'none' })
  assert.match(
    (await filled(db)).message,
    /^mvcc: database space exceeded \(\d+ bytes are in use .* max_bytes is 1048576: /,
  )
  const { maxBytes, bytesInUse } = await db.status()
  assert.strictEqual(maxBytes, QUOTA)
  assert.ok(bytesInUse < QUOTA)
  await room(db)
  await db.put('k', 'accepted again')
  assert.deepStrictEqual(await db.alarmList(), [])
  await db.close()
  for (const [given, kept] of [
    [undefined, QUOTA],
    [0, undefined],
  ]) {
    const again = await libkv.open(store, { maxBytes: given })
    assert.strictEqual(again.statusSync().maxBytes, kept)
    await again.close()
  }
})

/** Copies of the alarms as plain objects. */
const plain = (alarms) => alarms.map((alarm) => ({ ...alarm }))

test('alarm: stays until it is disarmed', async () => {
  const db = await libkv.open(':memory:', { maxBytes: QUOTA, limits: 'etcd' })
  await filled(db)
  const { storeId, alarms } = await db.status()
  const alarm = { kind: 'nospace', member: BigInt(`0x${storeId.slice(16)}`) }
  assert.deepStrictEqual(plain(await db.alarmList()), [alarm])
  assert.deepStrictEqual(plain(alarms), [alarm])
  await room(db)
  await assert.rejects(db.put('k', ''), { code: 'FULL', message: /alarm NOSPACE is active/ })
  assert.deepStrictEqual(await db.alarmDisarm({ member: alarm.member ^ 1n }), [])
  assert.deepStrictEqual(await db.alarmDisarm({ kind: 'corrupt' }), [])
  assert.deepStrictEqual(plain(await db.alarmDisarm()), [alarm])
  await db.put('k', '')
  const corrupt = [{ kind: 'corrupt', member: 2n ** 64n - 1n }]
  assert.deepStrictEqual(
    plain(await db.alarmActivate('corrupt', { member: corrupt[0].member })),
    corrupt,
  )
  assert.deepStrictEqual(plain(await db.alarmList()), corrupt)
  await assert.rejects(db.delete('k'), { code: 'CORRUPT' })
  await db.close()
})

test('alarm: refusals', async () => {
  const db = await libkv.open(':memory:')
  await assert.rejects(db.alarmActivate(), /the kind must be nospace or corrupt/)
  await assert.rejects(db.alarmActivate('NOSPACE'), /the kind must be one of nospace, corrupt/)
  await assert.rejects(db.alarmActivate(''), TypeError)
  await assert.rejects(db.alarmActivate('nospace', { member: 5 }), /option member must be a bigint/)
  await assert.rejects(db.alarmDisarm({ member: -1n }), RangeError)
  await assert.rejects(db.alarmDisarm({ kinds: 'nospace' }), /did you mean kind/)
  assert.deepStrictEqual(await db.alarmList(), [])
  await db.close()
})
