// live.js PART STORE …: the processes of section 9 of the demo in JavaScript; see live.c.
//
//     follow STORE       prints each change of a setting: REVISION KEY VALUE DELAY
//     lead STORE NAME    campaigns in an election and, as leader, proclaims itself until it is killed
'use strict'

const path = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')

const libkv = require(path.join(__dirname, '../../bindings/node'))

const reportReady = () => process.stderr.write('ready\n')

async function follow(db) {
  const watcher = db.watch({ prefix: 'config/' }, { startRevision: 1 })
  reportReady()
  for await (const { revision, events } of watcher) {
    for (const { kv } of events) {
      if (kv.key.equals(Buffer.from('config/end'))) return
      const delay = process.hrtime.bigint() - BigInt(kv.value.toString())
      console.log(`${revision} ${kv.key} ${kv.value} ${delay}`)
    }
  }
}

async function lead(db, name) {
  const election = db.election('leader', 60)
  reportReady()
  await election.campaign(`${name} ${process.pid} 0`)
  console.log(`${Date.now()}000000 ${name} leads ${election.revision}`)
  for (let n = 1; ; n++) {
    await sleep(Math.random() * 5)
    await election.proclaim(`${name} ${process.pid} ${n}`)
  }
}

async function main([part, store, name]) {
  const db = await libkv.open(store)
  if (part === 'follow') await follow(db)
  else if (part === 'lead' && name) await lead(db, name)
  else throw new Error('usage: live.js follow|lead STORE …')
  await db.close()
}

main(process.argv.slice(2))
