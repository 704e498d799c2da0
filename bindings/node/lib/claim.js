// Locks and elections. The native part waits for the name; a promise is settled once, with the result.
'use strict'

const { inspect } = require('node:util')

const { abortSignal, bytes, flag, integer, knownOptions, quote, ttl } = require('./arguments.js')
const { flushAndQueue, callSync, settler, unwatch, watch } = require('./calls.js')
const { Leaders } = require('./watch.js')
const { unlessClosed } = require('./lease.js')
const { native, expect, flush } = require('./native.js')
const wire = require('./wire.js')

/** Frees claims that were collected. */
const registry = new FinalizationRegistry((number) => native.release(number))

const NO_LIMIT = -1
/** The longest timer of Node; a longer limit is no limit. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** The time limit of a wait, and the signal that aborts it. */
function waitLimitOf(call, options) {
  const { timeoutMs, signal } = knownOptions(call, options, ['timeoutMs', 'signal'])
  const noLimit = timeoutMs === undefined || timeoutMs === Infinity
  return {
    ms: noLimit ? NO_LIMIT : integer('option timeoutMs', timeoutMs, undefined, 0),
    signal: abortSignal(signal),
  }
}

/** A lock or an election of the native part. It keeps `db` alive. */
class Claim {
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

  /** Claims the name with `start(number, id)` and waits for it; resolves to whether it is held. */
  wait(start, { ms, signal }) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const settle = settler(resolve)
      const id = expect((...response) => {
        clearTimeout(timer)
        // the promise was rejected by the abort; a claim that was held before that is released
        if (signal?.aborted) return queueMicrotask(() => this.#releaseUnwanted())
        if (signal) unwatch(signal, onAbort)
        settle(...response)
      })
      const onAbort = () => {
        native.claimCancel(this.#number, id)
        reject(signal.reason)
      }
      const timeOut = () => native.claimTimeOut(this.#number, id)
      const timer = ms > 0 && ms <= TIMER_MS_MAX ? setTimeout(timeOut, ms) : undefined
      start(this.#number, id)
      if (signal) watch(signal, onAbort)
    }).then((is) => is === 1)
  }

  #releaseUnwanted() {
    if (this.state().isHeld)
      native.claimRelease(
        this.#number,
        expect(() => {}),
      )
  }

  async release() {
    await flushAndQueue((id) => native.claimRelease(this.#number, id))
  }

  proclaim(value) {
    return flushAndQueue((id) =>
      this.#withValue(value, (len, large) => native.claimProclaim(this.#number, id, len, large)),
    )
  }

  /** Waits until it leads, and proclaims this value. */
  campaign(value, waitLimit) {
    return this.wait(
      (number, id) =>
        this.#withValue(value, (len, large) =>
          native.claimCampaign(number, id, waitLimit.ms, len, large),
        ),
      waitLimit,
    )
  }

  #withValue(value, start) {
    wire.begin()
    wire.bytes(value)
    const large = wire.large()
    wire.sent()
    start(wire.length(), large)
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

/** A lock: one holds it at a time, of all threads and processes that use the store. See index.d.ts. */
class Lock {
  #claim

  constructor(db, handle, name, ttlSeconds) {
    this.#claim = new Claim(db, handle, name, ttlSeconds)
  }

  async acquire(options) {
    const waitLimit = waitLimitOf('acquire', options)
    waitLimit.signal?.throwIfAborted()
    if (!this.isHeld) await this.#acquire(waitLimit, false)
  }

  async tryAcquire() {
    return this.isHeld || this.#acquire({ ms: 0 }, true)
  }

  #acquire(waitLimit, onlyIfFree) {
    flush()
    return this.#claim.wait(
      (number, id) => native.claimAcquire(number, id, waitLimit.ms, onlyIfFree),
      waitLimit,
    )
  }

  async release() {
    await this.#claim.release()
  }

  get isHeld() {
    return this.#claim.state().isHeld
  }

  get key() {
    return this.#claim.state().key
  }

  get revision() {
    return this.#claim.state().revision
  }

  async [Symbol.asyncDispose]() {
    await unlessClosed(this.release())
  }

  [inspect.custom]() {
    return `<libkv.Lock ${this.#claim.name}, ${this.isHeld ? 'held' : 'not held'}>`
  }
}

/** An election: one leader among all candidates for a name. See index.d.ts. */
class Election {
  #claim
  #waiting
  #remote

  constructor(db, handle, waiting, name, ttlSeconds, isRemote) {
    this.#claim = new Claim(db, handle, name, ttlSeconds)
    this.#waiting = waiting
    this.#remote = isRemote
  }

  async campaign(value, options) {
    const waitLimit = waitLimitOf('campaign', options)
    const given = bytes('the value', value)
    waitLimit.signal?.throwIfAborted()
    if (this.isLeader) return this.proclaim(given)
    flush()
    await this.#claim.campaign(given, waitLimit)
  }

  async proclaim(value) {
    await this.#claim.proclaim(bytes('the value', value))
  }

  async leader() {
    return this.#claim.leader()
  }

  observe(options) {
    const { signal, keepAlive } = knownOptions('observe', options, ['signal', 'keepAlive'])
    abortSignal(signal)
    signal?.throwIfAborted()
    const stays = keepAlive === undefined ? undefined : flag('option keepAlive', keepAlive)
    return this.#claim.observe(this.#waiting, {
      signal,
      keepAlive: stays,
      isRemote: this.#remote,
    })
  }

  async resign() {
    await this.#claim.release()
  }

  get isLeader() {
    return this.#claim.state().isHeld
  }

  get key() {
    return this.#claim.state().key
  }

  get revision() {
    return this.#claim.state().revision
  }

  async [Symbol.asyncDispose]() {
    await unlessClosed(this.resign())
  }

  [inspect.custom]() {
    return `<libkv.Election ${this.#claim.name}, ${this.isLeader ? 'leads' : 'does not lead'}>`
  }
}

module.exports = { Election, Lock }
