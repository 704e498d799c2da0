// Snapshots of etcd: files with the whole history of a store.
'use strict'

const { flag, knownOptions, path } = require('./arguments.js')
const { callAsync } = require('./calls.js')
const { native } = require('./native.js')
const wire = require('./wire.js')

/** Makes a store from a snapshot. */
async function restore(snapshot, store, options) {
  const [from, to] = [path('the snapshot', snapshot), path('the store', store)]
  const { skipHashCheck } = knownOptions('restore', options, ['skipHashCheck'])
  const skip = flag('option skipHashCheck', skipHashCheck)
  wire.begin()
  wire.bytes(from)
  wire.bytes(to)
  wire.u8(skip ? 1 : 0)
  return callAsync((_, len, large) => native.restoreLater(len, large))
}

module.exports = { restore }
