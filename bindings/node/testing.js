// For tests: a new store in memory, closed after the test. It works with node:test, with any test
// runner whose context has `after`, and without one if the caller closes the store.
'use strict'

const libkv = require('./index.js')

/** The first time of the clock of `etcd`: 2020-01-01, so that it is recognised in a failure. */
const BEGIN_MS = Date.UTC(2020, 0, 1)

function closedAfter(test, db) {
  if (test === undefined) return
  if (typeof test?.after !== 'function')
    throw new TypeError('the test must be a context of node:test, or left out')
  test.after(() => db.close())
}

/**
 * A new store in memory, closed after the test with this context.
 *
 * @param {{ after(hook: () => unknown): void }} [test]
 * @param {import('./index').OpenOptions} [options]
 */
async function memory(test, options) {
  const db = await libkv.open(':memory:', options)
  closedAfter(test, db)
  return db
}

/**
 * A new store in memory with etcd's limits and a manual clock: `{ db, clock }`. Only
 * `clock.advance` changes the time. When it resolves, the keys of expired leases are deleted.
 *
 * @param {{ after(hook: () => unknown): void }} [test]
 * @param {import('./index').OpenOptions} [options]
 */
async function etcd(test, options) {
  const clock = new libkv.Clock(BEGIN_MS)
  const db = await libkv.open(':memory:', { limits: 'etcd', clock, ...options })
  closedAfter(test, db)
  return { db, clock }
}

/**
 * The store of `etcd`, served to any client of etcd on a free port of this machine:
 * `{ db, clock, server }`. Both are closed after the test.
 *
 * @param {{ after(hook: () => unknown): void }} [test]
 * @param {import('./index').OpenOptions} [options]
 */
async function served(test, options) {
  const { db, clock } = await etcd(test, options)
  const server = await libkv.serve(db)
  // before or after the store is closed: both work
  test?.after(() => server.close())
  return { db, clock, server }
}

module.exports = { BEGIN_MS, etcd, memory, served }
