// For tests: a fresh store in memory, closed when the test is over. Works with node:test, and with
// whatever else hands its tests a context with `after`, or calls `close` itself.
'use strict'

const libkv = require('./index.js')

/** Where the clock of `etcd` stands at first: 2020-01-01, so that a time in a failure is told at once. */
const BEGIN_MS = Date.UTC(2020, 0, 1)

function closedAfter(test, db) {
  if (test === undefined) return
  if (typeof test?.after !== 'function')
    throw new TypeError('the test must be a context of node:test, or left out')
  test.after(() => db.close())
}

/**
 * A fresh store in memory; closed after the test whose context is given.
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
 * A fresh store in memory with etcd's own limits and a clock in hand: `{ db, clock }`. Time passes for
 * its leases when `clock.advance` says so, and once that is answered what expired is gone.
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
 * The store of `etcd`, served to any client of etcd on a free port of this machine: `{ db, clock, server }`. Both end
 * after the test.
 *
 * @param {{ after(hook: () => unknown): void }} [test]
 * @param {import('./index').OpenOptions} [options]
 */
async function served(test, options) {
  const { db, clock } = await etcd(test, options)
  const server = await libkv.serve(db)
  // before the store's own end, or after it: either is fine
  test?.after(() => server.close())
  return { db, clock, server }
}

module.exports = { BEGIN_MS, etcd, memory, served }
