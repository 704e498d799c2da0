// Locks and elections: a place in the line for a name. The native part does the standing in line; a
// promise is settled once, when it has the name or will not get it.
'use strict'

const { inspect } = require('node:util')

const { abortSignal, bytes, flag, integer, knownOptions, quote, ttl } = require('./arguments.js')
const { flushAndQueue, callSync, settler, unwatch, watch } = require('./calls.js')
const { Leaders } = require('./watch.js')
const { unlessClosed } = require('./lease.js')
const { native, expect, flush, forget } = require('./native.js')
const wire = require('./wire.js')

/** Frees what was dropped while it was held. */
const registry = new FinalizationRegistry((number) => native.release(number))

const ENDLESS = -1
/** A timer of Node takes no more; a longer wait is as good as an endless one. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** How long a wait may take, and what ends it before. */
function patienceOf(call, options) {
  const { timeoutMs, signal } = knownOptions(call, options, ['timeoutMs', 'signal'])
  const endless = timeoutMs === undefined || timeoutMs === Infinity
  return {
    ms: endless ? ENDLESS : integer('option timeoutMs', timeoutMs, undefined, 0),
    signal: abortSignal(signal),
  }
}

/** A lock or election as the native part has it. It keeps `db` while it is there. */
class Standing {
  #db
  #number
  /** As `inspect` shows it. */
  name

  constructor(db, handle, name, ttlSeconds) {
    const [given, seconds] = [bytes('the name', name), ttl(ttlSeconds)]
    wire.begin()
    wire.bytes(given)
    this.#db = db
    this.name = quote(given)
    this.#number = callSync((db, len, large) => native.claim(db, seconds, len, large), handle)
    registry.register(this, this.#number)
  }

  state() {
    return wire.readResponse(native.claimState(this.#number))
  }

  /** Waits for the name; `ask(number, id)` asks for it. True if it has it. */
  wait(ask, { ms, signal }) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const settle = settler(resolve)
      const id = expect((...answer) => {
        clearTimeout(timer)
        // aborted: it is rejected already
        if (signal?.aborted) return queueMicrotask(() => this.#refuse())
        if (signal) unwatch(signal, onAbort)
        settle(...answer)
      })
      const onAbort = () => {
        const left = expect(() => {})
        if (!native.claimQuit(this.#number, id, left)) forget(left)
        reject(signal.reason)
      }
      const pass = () => native.claimPass(this.#number, id)
      const timer = ms > 0 && ms <= TIMER_MS_MAX ? setTimeout(pass, ms) : undefined
      ask(this.#number, id)
      if (signal) watch(signal, onAbort)
    }).then((is) => is === 1)
  }

  /** What came after it was aborted is not wanted any more. */
  #refuse() {
    if (this.state().isHeld)
      native.claimLeave(
        this.#number,
        expect(() => {}),
      )
  }

  async leave() {
    await flushAndQueue((id) => native.claimLeave(this.#number, id))
  }

  proclaim(value) {
    return flushAndQueue((id) =>
      this.#withValue(value, (len, large) => native.claimProclaim(this.#number, id, len, large)),
    )
  }

  /** Waits to lead, known by this value. */
  campaign(value, patience) {
    return this.wait(
      (number, id) =>
        this.#withValue(value, (len, large) =>
          native.claimCampaign(number, id, patience.ms, len, large),
        ),
      patience,
    )
  }

  #withValue(value, ask) {
    wire.begin()
    wire.bytes(value)
    const large = wire.large()
    wire.sent()
    ask(wire.length(), large)
  }

  async leader() {
    flush()
    return wire.readBuffer(await native.claimLeaderLater(this.#number))
  }

  observe(waiting, options) {
    flush()
    const opened = options.isRemote
      ? native.claimObserveLater(this.#number).then(wire.readBuffer)
      : wire.readResponse(native.claimObserve(this.#number))
    return new Leaders(this.#db, waiting, opened, options)
  }
}

/** A lock that one holds at a time, of all threads and processes that use the store. See index.d.ts. */
class Lock {
  #standing

  constructor(db, handle, name, ttlSeconds) {
    this.#standing = new Standing(db, handle, name, ttlSeconds)
  }

  async acquire(options) {
    const patience = patienceOf('acquire', options)
    patience.signal?.throwIfAborted()
    if (!this.isHeld) await this.#acquire(patience, false)
  }

  async tryAcquire() {
    return this.isHeld || this.#acquire({ ms: 0 }, true)
  }

  #acquire(patience, onlyTry) {
    flush()
    return this.#standing.wait(
      (number, id) => native.claimAcquire(number, id, patience.ms, onlyTry),
      patience,
    )
  }

  async release() {
    await this.#standing.leave()
  }

  get isHeld() {
    return this.#standing.state().isHeld
  }

  get key() {
    return this.#standing.state().key
  }

  get revision() {
    return this.#standing.state().revision
  }

  async [Symbol.asyncDispose]() {
    await unlessClosed(this.release())
  }

  [inspect.custom]() {
    return `<libkv.Lock ${this.#standing.name}, ${this.isHeld ? 'held' : 'not held'}>`
  }
}

/** An election of one leader among all who campaign for a name. See index.d.ts. */
class Election {
  #standing
  #waiting
  #remote

  constructor(db, handle, waiting, name, ttlSeconds, isRemote) {
    this.#standing = new Standing(db, handle, name, ttlSeconds)
    this.#waiting = waiting
    this.#remote = isRemote
  }

  async campaign(value, options) {
    const patience = patienceOf('campaign', options)
    const given = bytes('the value', value)
    patience.signal?.throwIfAborted()
    if (this.isLeader) return this.proclaim(given)
    flush()
    await this.#standing.campaign(given, patience)
  }

  async proclaim(value) {
    await this.#standing.proclaim(bytes('the value', value))
  }

  async leader() {
    return this.#standing.leader()
  }

  observe(options) {
    const { signal, keepAlive } = knownOptions('observe', options, ['signal', 'keepAlive'])
    abortSignal(signal)
    signal?.throwIfAborted()
    const stays = keepAlive === undefined ? undefined : flag('option keepAlive', keepAlive)
    return this.#standing.observe(this.#waiting, {
      signal,
      keepAlive: stays,
      isRemote: this.#remote,
    })
  }

  async resign() {
    await this.#standing.leave()
  }

  get isLeader() {
    return this.#standing.state().isHeld
  }

  get key() {
    return this.#standing.state().key
  }

  get revision() {
    return this.#standing.state().revision
  }

  async [Symbol.asyncDispose]() {
    await unlessClosed(this.resign())
  }

  [inspect.custom]() {
    return `<libkv.Election ${this.#standing.name}, ${this.isLeader ? 'leads' : 'does not lead'}>`
  }
}

module.exports = { Election, Lock }
