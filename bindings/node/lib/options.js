// Generated, do not edit: change bindings/vocabulary/vocabulary.toml and run `cargo vocabulary`.
'use strict'

const { flag, integer, lease, oneOf } = require('./arguments.js')
const { DURABILITIES, SORT_ORDERS, SORT_TARGETS } = require('./numbers.js')

const PUT_OPTIONS = ['lease', 'prevKv', 'ignoreValue', 'ignoreLease', 'durability']

/** The options of a put, checked. */
const putOptions = (options) => ({
  lease: lease('option lease', options.lease),
  prevKv: flag('option prevKv', options.prevKv),
  ignoreValue: flag('option ignoreValue', options.ignoreValue),
  ignoreLease: flag('option ignoreLease', options.ignoreLease),
  durability: oneOf('option durability', options.durability, DURABILITIES),
})

const DELETE_OPTIONS = ['prevKv', 'durability']

/** The options of a delete, checked. */
const deleteOptions = (options) => ({
  prevKv: flag('option prevKv', options.prevKv),
  durability: oneOf('option durability', options.durability, DURABILITIES),
})

const RANGE_OPTIONS = [
  'revision',
  'limit',
  'sortOrder',
  'sortTarget',
  'keysOnly',
  'countOnly',
  'minModRevision',
  'maxModRevision',
  'minCreateRevision',
  'maxCreateRevision',
  'serializable',
]

/** The options of a range, checked. */
const rangeOptions = (options) => ({
  revision: integer('option revision', options.revision, 0),
  limit: integer('option limit', options.limit, 0),
  sortOrder: oneOf('option sortOrder', options.sortOrder, SORT_ORDERS),
  sortTarget: oneOf('option sortTarget', options.sortTarget, SORT_TARGETS),
  keysOnly: flag('option keysOnly', options.keysOnly),
  countOnly: flag('option countOnly', options.countOnly),
  minModRevision: integer('option minModRevision', options.minModRevision, 0),
  maxModRevision: integer('option maxModRevision', options.maxModRevision, 0),
  minCreateRevision: integer('option minCreateRevision', options.minCreateRevision, 0),
  maxCreateRevision: integer('option maxCreateRevision', options.maxCreateRevision, 0),
  serializable: flag('option serializable', options.serializable),
})

const WATCH_OPTIONS = ['startRevision', 'prevKv', 'noPut', 'noDelete', 'progress']

/** The options of a watch, checked. */
const watchOptions = (options) => ({
  startRevision: integer('option startRevision', options.startRevision, 0),
  prevKv: flag('option prevKv', options.prevKv),
  noPut: flag('option noPut', options.noPut),
  noDelete: flag('option noDelete', options.noDelete),
  progress: flag('option progress', options.progress),
})

const OPEN_OPTIONS = [
  'create',
  'readOnly',
  'durability',
  'busyTimeoutMs',
  'maxBytes',
  'maxRequestBytes',
  'maxTxnOps',
  'limits',
  'leaseTtlMinSeconds',
  'autoCompaction',
  'maxReaders',
  'mode',
  'clock',
  'allowNetworkFs',
  'tlsCa',
  'tlsCert',
  'tlsKey',
  'tlsServerName',
  'user',
  'password',
  'connectTimeoutMs',
  'requestTimeoutMs',
  'keepAliveMs',
]

const SERVE_OPTIONS = [
  'certFile',
  'keyFile',
  'trustedCaFile',
  'clientCertAuth',
  'maxRequestBytes',
  'maxTxnOps',
  'authToken',
  'authTokenTtlSeconds',
  'bcryptCost',
]

/** Writes options as src/request_options.rs reads them: the flags in a byte, then the others. */
function optionWriters({ u8, f64, i64 }) {
  return {
    put(request) {
      u8(request.prevKv | (request.ignoreValue << 1) | (request.ignoreLease << 2))
      i64(request.lease)
      u8(request.durability)
    },
    noPut() {
      u8(0)
      i64(0n)
      u8(0)
    },
    delete(request) {
      u8(request.prevKv | 0)
      u8(request.durability)
    },
    range(request) {
      u8(request.keysOnly | (request.countOnly << 1) | (request.serializable << 2))
      f64(request.revision)
      f64(request.limit)
      u8(request.sortOrder)
      u8(request.sortTarget)
      f64(request.minModRevision)
      f64(request.maxModRevision)
      f64(request.minCreateRevision)
      f64(request.maxCreateRevision)
    },
    watch(request) {
      u8(request.prevKv | (request.noPut << 1) | (request.noDelete << 2) | (request.progress << 3))
      f64(request.startRevision)
    },
  }
}

module.exports = {
  DELETE_OPTIONS,
  OPEN_OPTIONS,
  PUT_OPTIONS,
  RANGE_OPTIONS,
  SERVE_OPTIONS,
  WATCH_OPTIONS,
  deleteOptions,
  optionWriters,
  putOptions,
  rangeOptions,
  watchOptions,
}
