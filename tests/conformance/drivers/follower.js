// follower.js STORE HOW FILE: watches a store and writes one line to FILE for each batch, in the
// form that tests/conformance/src/follow.rs defines. After a kill it continues after the last
// complete line. It ends at the key `end`. HOW is all, or puts (under a/ to e).
'use strict'

const fs = require('node:fs')
const zlib = require('node:zlib')

const libkv = require('../../../bindings/node')

function lineOf({ revision, events }) {
  let crc = 0
  for (const { type, kv } of events) {
    const numbers = Buffer.alloc(24)
    const list = [kv.createRevision, kv.modRevision, kv.version]
    for (const [at, number] of list.entries()) numbers.writeBigInt64LE(BigInt(number), 8 * at)
    crc = zlib.crc32(
      Buffer.concat([kv.key, Buffer.from([type === 'delete' ? 1 : 0]), kv.value, numbers]),
      crc,
    )
  }
  return `${revision} ${events.length} ${crc.toString(16).padStart(8, '0')}\n`
}

async function main([store, how, file]) {
  const text = fs.existsSync(file) ? fs.readFileSync(file, 'latin1') : ''
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  fs.writeFileSync(file, whole)
  const startRevision = whole ? Number(whole.trimEnd().split('\n').at(-1).split(' ')[0]) + 1 : 1
  const out = fs.openSync(file, 'a')
  const db = await libkv.open(store)
  const puts = how === 'puts'
  const range = puts ? { start: 'a/', end: 'f' } : {}
  for await (const batch of db.watch(range, { startRevision, noDelete: puts })) {
    fs.writeSync(out, lineOf(batch))
    if (batch.events.some(({ kv }) => kv.key.equals(Buffer.from('end')))) break
  }
  await db.close()
}

main(process.argv.slice(2))
