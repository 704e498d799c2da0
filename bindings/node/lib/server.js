// A store served to etcd's clients, in this process.
'use strict'

const { inspect } = require('node:util')

const { flag, integer, knownOptions, path, text, wrong } = require('./arguments.js')
const { callAsync } = require('./calls.js')
const { dbHandle } = require('./db.js')
const { native } = require('./native.js')
const { writeOption } = require('./open.js')
const { readBuffer, ...wire } = require('./wire.js')

const limit = (what, value) => integer(what, value, undefined, 0)

/** The check of each option, in the order of their encoding. */
const SERVE_OPTIONS = {
  certFile: path,
  keyFile: path,
  trustedCaFile: path,
  clientCertAuth: flag,
  maxRequestBytes: limit,
  maxTxnOps: limit,
  authToken: text,
  authTokenTtlSeconds: limit,
  bcryptCost: (what, value) => integer(what, value, undefined, 0, 2 ** 32 - 1),
}

/** Closes servers that are collected without being closed. */
const registry = new FinalizationRegistry((number) => void native.release(number))

/** Only `serve` has this key, so only it creates a Server. */
const CREATE = Symbol('create')

/** An etcd server over a store. It keeps a reference to `db`. See index.d.ts. */
class Server {
  // biome-ignore lint/correctness/noUnusedPrivateClassMembers: the reference keeps the store open
  #db
  #number
  #address
  #closing

  constructor(key, db, { number, address }) {
    if (key !== CREATE) throw new TypeError('a Server is created by libkv.serve')
    this.#db = db
    this.#number = number
    this.#address = address
    registry.register(this, number, this)
  }

  get address() {
    return this.#address
  }

  get closed() {
    return this.#closing !== undefined
  }

  async close() {
    this.#closing ??= this.#close()
    await this.#closing
  }

  async #close() {
    registry.unregister(this)
    this.#db = undefined
    readBuffer(await native.serverCloseLater(this.#number))
  }

  async [Symbol.asyncDispose]() {
    await this.close()
  }

  [inspect.custom]() {
    return `<libkv.Server at ${this.#address}${this.closed ? ', closed' : ''}>`
  }
}

/** Serves a store. Resolves when the server accepts clients. */
async function serve(db, address = '127.0.0.1:0', options) {
  const handle = dbHandle(db)
  if (handle === undefined) throw wrong('what is served', 'a Db', db)
  const where = text('the address', address)
  const given = knownOptions('serve', options, Object.keys(SERVE_OPTIONS))
  const checked = Object.entries(SERVE_OPTIONS).map(([name, check]) => {
    const value = given[name]
    return value === undefined ? undefined : check(`option ${name}`, value)
  })
  wire.begin()
  wire.bytes(where)
  checked.forEach(writeOption)
  return new Server(CREATE, db, await callAsync(native.serveLater, handle))
}

module.exports = { Server, serve }
