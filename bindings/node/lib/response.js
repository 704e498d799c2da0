// The responses that are more than plain objects: those with bytes or 64-bit numbers have a form for JSON,
// those with a list are iterable. See index.d.ts.
'use strict'

const { isUtf8 } = require('node:buffer')

/** Sets `name` to the text that the bytes are, or `nameBase64` to their base64 if they are not UTF-8. */
function setBytes(json, name, bytes) {
  if (isUtf8(bytes)) json[name] = bytes.toString('utf8')
  else json[`${name}Base64`] = bytes.toString('base64')
  return json
}

/** The members of a value as JSON can have them; what has a `toJSON` of its own stays as it is. */
function jsonOf(members) {
  const json = {}
  for (const [name, value] of Object.entries(members)) {
    if (typeof value === 'bigint') json[name] = String(value)
    else if (Buffer.isBuffer(value)) setBytes(json, name, value)
    else if (name === 'keys' && Array.isArray(value))
      json.keys = value.map((key) => setBytes({}, 'key', key))
    else if (name === 'range') json.range = jsonOf(value)
    else json[name] = value
  }
  return json
}

class Response {
  constructor(members) {
    Object.assign(this, members)
  }

  toJSON() {
    return jsonOf(this)
  }
}

/** The one that is made by the thousand: without a base class, which would copy its members. */
class KeyValue {
  constructor(key, value, createRevision, modRevision, version, lease) {
    this.key = key
    this.value = value
    this.createRevision = createRevision
    this.modRevision = modRevision
    this.version = version
    this.lease = lease
  }

  toJSON() {
    return jsonOf(this)
  }
}

class RangeResponse extends Response {
  [Symbol.iterator]() {
    return this.kvs[Symbol.iterator]()
  }
}

class WatchBatch extends Response {
  [Symbol.iterator]() {
    return this.events[Symbol.iterator]()
  }
}

class AlarmMember extends Response {}
class Difference extends Response {}
class LeaseGrantResponse extends Response {}
class LeaseKeepAliveResponse extends Response {}
class LeaseTimeToLiveResponse extends Response {}
class Problem extends Response {}

module.exports = {
  AlarmMember,
  Difference,
  KeyValue,
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseTimeToLiveResponse,
  Problem,
  RangeResponse,
  WatchBatch,
  jsonOf,
}
