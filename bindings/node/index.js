// libkv for Node. index.d.ts documents it.
'use strict'

const { Election, Lock } = require('./lib/claim.js')
const { Clock } = require('./lib/clock.js')
const { Db, open, openSync } = require('./lib/db.js')
const { KvError } = require('./lib/errors.js')
const { Leaders, Watcher } = require('./lib/watch.js')
const { Lease } = require('./lib/lease.js')
const { Server, serve } = require('./lib/server.js')
const { Compare, Delete, Put, Range, Txn } = require('./lib/request.js')
const { Snapshot } = require('./lib/snapshot.js')
const { restore } = require('./lib/snapshot_file.js')

module.exports = {
  Clock,
  Compare,
  Db,
  Delete,
  Election,
  KvError,
  Leaders,
  Lease,
  Lock,
  Put,
  Range,
  Server,
  Snapshot,
  Txn,
  Watcher,
  open,
  openSync,
  restore,
  serve,
}
