// query.js STORE QUERY …: some of the queries of query.c, in JavaScript.
//
//     changes FROM TO     what changed between two revisions, with sizes
//     versions PATH       every version of a file, newest first
//     digest REVISION     number of files at that revision, their bytes, a checksum of all
//
// It prints the same lines as query.c. common.h describes the values.
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const zlib = require('node:zlib')

const libkv = require(path.join(__dirname, '../../bindings/node'))

/** A name as one line of text. */
function name(key) {
  const shown = (byte) => {
    if (byte === 10) return '\\n'
    if (byte === 92) return '\\\\'
    return byte >= 32 && byte <= 126 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`
  }
  return Array.from(key, shown).join('')
}

/** The kind of a value, unless it is a plain file, and the size of its content. */
function described(value) {
  const kind = String.fromCharCode(value[0])
  if (kind === 'd') return 'empty directory'
  return `${{ x: 'program of ', l: 'link of ' }[kind] ?? ''}${value.length - 1} bytes`
}

async function changes(db, before, after) {
  const counts = { '+': 0, '-': 0, '~': 0 }
  for await (const change of db.diff(before, after)) {
    const sign = !change.before ? '+' : !change.after ? '-' : '~'
    counts[sign]++
    const values = [change.before, change.after].filter(Boolean).map((kv) => described(kv.value))
    console.log(`  ${sign} ${name(change.key)}  ${values.join(' -> ')}`)
  }
  console.log(`${counts['+']} added, ${counts['-']} removed, ${counts['~']} changed`)
}

async function versions(db, file) {
  for (const { type, kv } of await db.history(file)) {
    const what = type === 'delete' ? 'removed' : `version ${kv.version}, ${described(kv.value)}`
    console.log(`  ${name(file)}  revision ${kv.modRevision}: ${what}`)
  }
}

async function digest(db, revision) {
  let [entries, bytes, crc] = [0, 0, 0]
  for await (const kv of db.scan({ revision })) {
    entries++
    bytes += kv.value.length - 1
    crc = zlib.crc32(kv.value, zlib.crc32(kv.key, crc))
  }
  const checksum = crc.toString(16).padStart(8, '0')
  console.log(`revision ${revision}: ${entries} files and links, ${bytes} bytes, checksum ${checksum}`)
}

/** The bytes of an argument of the command line: the name of a file need not be text. */
function bytesOf(position) {
  const words = fs.readFileSync('/proc/self/cmdline').toString('latin1').split('\0').slice(0, -1)
  return Buffer.from(words.at(position), 'latin1')
}

async function main([store, query, ...words]) {
  const db = await libkv.open(store, { create: false })
  if (query === 'changes' && words.length === 2) await changes(db, Number(words[0]), Number(words[1]))
  else if (query === 'versions' && words.length === 1) await versions(db, bytesOf(-1))
  else if (query === 'digest' && words.length === 1) await digest(db, Number(words[0]))
  else throw new Error(`${query} is not a query, or an argument is missing`)
  await db.close()
}

main(process.argv.slice(2))
