// libkv for Node. index.d.ts is its manual.
'use strict'

const { Clock } = require('./lib/clock.js')
const { Db, open, openSync } = require('./lib/db.js')
const { KvError } = require('./lib/errors.js')
const { Compare, Delete, Put, Range, Txn } = require('./lib/request.js')
const { Snapshot } = require('./lib/snapshot.js')

module.exports = { Clock, Compare, Db, Delete, KvError, Put, Range, Snapshot, Txn, open, openSync }
