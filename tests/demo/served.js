// served.js PART …: the programs of section 10 of the demo in JavaScript; see served.py.
//
//     write STORE N      makes N changes under shop/, as served.c; prints REVISION KEY VALUE
//     tour TARGET        makes various calls on a new store: a directory, kv serve, or an etcd cluster
'use strict'

const path = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')

const libkv = require(path.join(__dirname, '../../bindings/node'))
const { Compare, Delete, Put, Range } = libkv

async function write(db, changes) {
  for (let i = 0; i < changes; i++) {
    await sleep(Math.random() * 4)
    const key = `shop/${i % 2 ? 'all' : 'node'}/${i % 7}`
    if (i % 10 === 9) {
      const { revision, deleted } = await db.delete(key)
      if (deleted) console.log(`${revision} ${key} -`)
    } else {
      const { revision } = await db.put(key, `node-${i}`)
      console.log(`${revision} ${key} node-${i}`)
    }
  }
}

const sell = (db, what) =>
  db.transact(async (t) => {
    const kv = await t.get(`stock/${what}`)
    const left = kv ? Number(kv.value) - 1 : -1
    await t.put(`stock/${what}`, String(left))
    await t.put(`sold/${what}/${left}`, 'paid')
    return left
  })

async function tour(db) {
  const text = String
  for (const [what, count] of [['apples', 3], ['pears', 2], ['plums', 0]]) {
    console.log('put', what, (await db.put(`stock/${what}`, text(count))).revision)
  }
  console.log('sold apples, left:', await sell(db, 'apples'), await sell(db, 'apples'))
  const stock = await db.range({ prefix: 'stock/', sortTarget: 'value', sortOrder: 'descend' })
  console.log('stock at revision', stock.revision, stock.kvs.map(({ key, value, version }) => `${key}=${value}/${version}`))
  const opening = await db.range({ prefix: 'stock/', revision: 4, limit: 2 })
  console.log('at opening', opening.kvs.map(({ value }) => text(value)), opening.count, opening.more)
  const restocked = await db.txn({
    compare: [Compare.value('stock/plums', '==', '0'), Compare.version('sold/plums/0', '==', 0)],
    success: [Put('stock/plums', '10'), Range('stock/plums'), Delete('stock/pears', { prevKv: true })],
  })
  const [, plums, pears] = restocked.responses
  console.log('restocked', restocked.succeeded, restocked.revision, text(plums.kvs[0].value), text(pears.prevKvs[0].value))
  const { id } = await db.leaseGrant(600, { id: 77n })
  await db.put('cart/ann', '2 plums', { lease: id })
  await db.put('cart/bob', '1 apple', { lease: id })
  const kept = await db.leaseTimeToLive(id, { keys: true })
  console.log('carts', kept.keys.map(text).sort(), 'for', kept.grantedTtlSeconds, 'seconds')
  await db.leaseRevoke(id)
  console.log('carts after the revocation:', (await db.range({ prefix: 'cart/', countOnly: true })).count)
  const lock = db.lock('till', 60)
  await lock.acquire()
  console.log('lock of the till at revision', lock.revision)
  await lock.release()
  const last = (await db.put('closed', '')).revision
  const watcher = db.watch({ startRevision: 2, prevKv: true })
  for await (const { revision, events } of watcher) {
    for (const { type, kv, prevKv } of events) {
      // the key of a lock has the id of a lease, which differs
      if (!text(kv.key).startsWith('till/')) {
        console.log('  ', revision, type, text(kv.key), text(kv.value), 'after', prevKv && text(prevKv.value))
      }
    }
    if (revision === last) break
  }
  const refused = (revision) => db.get('stock/apples', { revision }).catch(({ code }) => code)
  console.log('a future revision:', await refused(last + 1), 'current revision', (await db.range({ limit: 1 })).revision)
  await db.compact(6)
  console.log('a compacted revision:', await refused(5))
}

async function main([part, target, changes]) {
  const db = await libkv.open(target)
  if (part === 'write') await write(db, Number(changes))
  else if (part === 'tour') await tour(db)
  else throw new Error('usage: served.js write|tour …')
  await db.close()
}

main(process.argv.slice(2))
