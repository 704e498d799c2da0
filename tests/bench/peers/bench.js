// Compares libkv with lmdb-js: the rows `node_get`, `node_range` and `node_put`, in alternating
// rounds of one process.
//
// bench.js FOLDER ROUNDS SCALE PATH-OF-lmdb. Prints what tests/bench/src/peers.rs reads: a line
// `row` with tabs between its fields, then a line `round OURS REFERENCE` for each round, in
// nanoseconds an operation.
'use strict'

const assert = require('node:assert')
const crypto = require('node:crypto')
const path = require('node:path')

const libkv = require(path.join(__dirname, '../../../bindings/node'))

const KEYS = 100_000
const VALUE = Buffer.alloc(100, 'v')

/** 16 bytes in hashed order. */
const key = (number) => crypto.hash('md5', String(number), 'buffer')

function* drawn(n, list) {
  let state = 1
  for (let i = 0; i < n; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    yield list[Math.floor((state / 2 ** 32) * list.length)]
  }
}

const row = (name, reference, reach, n, note) =>
  console.log(['row', name, reference, reach, n, VALUE.length, note].join('\t'))

async function rounds(count, n, ours, theirs) {
  const timed = async (work) => {
    const began = process.hrtime.bigint()
    await work()
    return Number(process.hrtime.bigint() - began) / n
  }
  for (let at = 0; at <= count; at++) {
    const both = at % 2 ? [await timed(theirs), await timed(ours)].reverse() : [await timed(ours), await timed(theirs)]
    if (at > 0) console.log(['round', ...both].join('\t')) // the first round is not counted
  }
}

async function main([folder, count, scale, peer]) {
  const [ROUNDS, SCALE] = [Number(count), Number(scale)]
  const keys = Array.from({ length: KEYS }, (_, number) => key(number))
  const db = libkv.openSync(path.join(folder, 'node.kv'), { durability: 'none' })
  const raw = require(peer).open(path.join(folder, 'node.raw'), { encoding: 'binary', keyEncoding: 'binary', noSync: true })
  for (let at = 0; at < KEYS; at += 10_000) {
    db.txnSync({ success: keys.slice(at, at + 10_000).map((k) => libkv.Put(k, VALUE)) })
  }
  await raw.transaction(() => keys.forEach((k) => raw.put(k, VALUE)))

  const gets = 200_000 * SCALE
  const getKeys = [...drawn(gets, keys)]
  row('node_get', 'lmdb-js: getBinary', 1.0, gets, 'getSync returns a pair with its own Buffers; 100,000 keys')
  await rounds(
    ROUNDS,
    gets,
    () => getKeys.forEach((k) => assert(db.getSync(k).value.length === 100)),
    () => getKeys.forEach((k) => assert(raw.getBinary(k).length === 100)),
  )

  const [pairs, repeats] = [1_000, 50 * SCALE]
  const sorted = [...keys].sort(Buffer.compare)
  const bounds = sorted.slice(0, -pairs).map((start, at) => ({ start, end: sorted[at + pairs] }))
  const ranges = [...drawn(repeats, bounds)]
  row('node_range', 'lmdb-js: getRange', 1.0, pairs * repeats, '1,000 pairs')
  await rounds(
    ROUNDS,
    pairs * repeats,
    () => {
      for (const range of ranges) {
        let seen = 0
        for (const kv of db.rangeSync(range).kvs) seen += kv.key.length + kv.value.length
        assert(seen === 116 * pairs)
      }
    },
    () => {
      for (const range of ranges) {
        let seen = 0
        for (const kv of raw.getRange(range)) seen += kv.key.length + kv.value.length
        assert(seen === 116 * pairs)
      }
    },
  )

  const [flights, together] = [200 * SCALE, 100]
  const putKeys = [...drawn(flights * together, keys)]
  const flight = async (put) => {
    for (let at = 0; at < putKeys.length; at += together) {
      await Promise.all(putKeys.slice(at, at + together).map(put))
    }
  }
  row('node_put', 'lmdb-js: put', 1.0, flights * together, '100 awaited puts in flight, durability none')
  await rounds(
    ROUNDS,
    flights * together,
    () => flight((k) => db.put(k, VALUE)),
    () => flight((k) => raw.put(k, VALUE)),
  )
  await db.close()
  await raw.close()
}

main(process.argv.slice(2))
