// The conformance driver of Node: `driver.js [--sync] STORE|ADDRESS [limits=etcd]` reads one step a
// line, executes it and prints the response as a line. tests/conformance/README.md describes the
// language. It calls the methods that return promises; with --sync the synchronous methods, where
// one exists.
'use strict'

const readline = require('node:readline')
const libkv = require('../../../bindings/node')

const sync = process.argv.includes('--sync')
const [store, limits] = process.argv.slice(2).filter((word) => word !== '--sync')
const CLOCK_START_MS = 1_000_000_000_000
const clock = new libkv.Clock(CLOCK_START_MS)
/** A cluster has no manual clock, and closing the handle does not close its store. */
const isCluster = store.includes('://') && !store.startsWith('file:')
const options = isCluster ? {} : { limits: limits?.replace('limits=', ''), clock }
/** The time limit of a step that waits. */
const WAIT_LIMIT = { timeoutMs: 20_000 }
const CLAIM_TTL_SECONDS = 60
const [watchers, locks, elections] = [new Map(), new Map(), new Map()]

/** Calls the method `name` of the store, or its synchronous form. */
const call = (name, ...given) =>
  sync && db[`${name}Sync`] ? db[`${name}Sync`](...given) : db[name](...given)

/** `_` is empty, `*N` is N times x, `\hh` one byte. */
function bytes(word) {
  if (word === '_') return Buffer.alloc(0)
  if (/^\*\d+$/.test(word)) return Buffer.alloc(Number(word.slice(1)), 'x')
  const text = word.replace(/\\(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)))
  return Buffer.from(text, 'latin1')
}

/** KEY or KEY,END in etcd's notation. */
function range(word) {
  const [key, end] = word.split(',').map(bytes)
  if (end === undefined || end.length === 0) return { key }
  return end.length === 1 && end[0] === 0 ? { start: key } : { start: key, end }
}

const RANGE_OPTIONS = {
  order: 'sortOrder',
  target: 'sortTarget',
  min_mod: 'minModRevision',
  max_mod: 'maxModRevision',
  min_create: 'minCreateRevision',
  max_create: 'maxCreateRevision',
  start: 'startRevision',
}
const camel = (name) =>
  RANGE_OPTIONS[name] ?? name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())

/** The options that follow, up to the end of the step or of an operation. */
function optionsOf(words) {
  const options = {}
  while (words.length > 0 && words[0] !== ';') {
    const [name, value] = words.shift().split('=')
    if (value === undefined) options[camel(name)] = true
    else if (name === 'lease' || name === 'id' || name === 'member') options[name] = BigInt(value)
    else options[camel(name)] = /^-?\d+$/.test(value) ? Number(value) : value
  }
  return options
}

const put = (words) => libkv.Put(bytes(words.shift()), bytes(words.shift()), optionsOf(words))
const read = (words) => libkv.Range(range(words.shift()), optionsOf(words))
const remove = (words) => libkv.Delete(range(words.shift()), optionsOf(words))
const OPS = { put, range: read, delete: remove, txn }

function comparison(words) {
  const target = {
    version: 'version',
    create: 'createRevision',
    mod: 'modRevision',
    value: 'value',
    lease: 'lease',
  }[words.shift()]
  const [result, operand] = [words.shift(), words.shift()]
  const typed =
    target === 'value' ? bytes(operand) : target === 'lease' ? BigInt(operand) : Number(operand)
  return libkv.Compare[target](range(words.shift()), result, typed)
}

function txn(words) {
  const compare = []
  const [success, failure] = [[], []]
  let ops = success
  for (let word = words.shift(); word !== 'end'; word = words.shift()) {
    if (word === 'then') ops = success
    else if (word === 'else') ops = failure
    else if (word === 'if') compare.push(comparison(words))
    else if (word !== ';') ops.push(OPS[word](words))
  }
  return libkv.Txn({ compare, success, failure })
}

function show(value) {
  if (value.length === 0) return '_'
  const text = value.toString('latin1')
  if (value.length > 64 && /^x+$/.test(text)) return `*${value.length}`
  return text.replace(
    /[^0-9a-zA-Z./-]/g,
    (byte) => `\\${byte.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

const pair = (kv) =>
  `${show(kv.key)}=${show(kv.value)}@${kv.createRevision}/${kv.modRevision}/${kv.version}/${kv.lease}`
const pairs = (kvs) => kvs.map((kv) => ` ${pair(kv)}`).join('')
const event = ({ type, kv, prevKv }) =>
  (type === 'put' ? ` put:${pair(kv)}` : ` delete:${show(kv.key)}@${kv.modRevision}`) +
  (prevKv ? ` <${pair(prevKv)}` : '')
const batch = ({ revision, events }) => `batch ${revision}${events.map(event).join('')}`
/** The key of a lock or an election, without its lease id. */
const claimKey = (key) => show(key).replace(/(^|\/)[0-9a-f]+$/, '$1*')
const alarms = (list) =>
  `alarms${list.map(({ kind, member }) => ` ${kind.toUpperCase()}/${member}`).join('')}`
const side = (kv) => (kv ? pair(kv) : 'none')

/** The response to a request as one line. Its members show which response it is. */
function line(response) {
  if ('responses' in response) {
    const responses = response.responses.map((response) => ` [${line(response)}]`).join('')
    return `txn ${response.revision} ${response.succeeded ? 'then' : 'else'}${responses}`
  }
  if ('kvs' in response)
    return `range ${response.revision} count=${response.count}${response.more ? ' more' : ''}${pairs(response.kvs)}`
  if ('deleted' in response)
    return `delete ${response.revision} deleted=${response.deleted}${pairs(response.prevKvs)}`
  return `put ${response.revision}${response.prevKv ? ` prev ${pair(response.prevKv)}` : ''}`
}

async function all(iterable) {
  const items = []
  for await (const item of iterable) items.push(item)
  return items
}

/** The object with this name, made if it does not exist. */
function named(all, name, make) {
  if (!all.has(name)) all.set(name, make())
  return all.get(name)
}

const election = (name) => named(elections, name, () => db.election(bytes(name), CLAIM_TTL_SECONDS))
const watching = async ([name], step) =>
  watchers.has(name) ? step(watchers.get(name)) : `no watcher ${name}`

/** The next batch of a watcher, or `done(resumeRevision)` if it has delivered everything. */
async function settled(watcher, done) {
  for (
    const until = Date.now() + WAIT_LIMIT.timeoutMs;
    Date.now() < until;
    await new Promise((resolve) => setTimeout(resolve, 1))
  ) {
    const value = watcher.tryNext()
    if (value) return batch(value)
    // read before the current revision, with which it is compared
    const resume = watcher.resumeRevision
    if (resume > (await call('range', '\0', { countOnly: true })).revision) return done(resume)
  }
  return 'nothing'
}

/** getInto for a cluster: the method itself does not wait and cannot be used there. */
async function getInto(key, buffer) {
  const { value } = (await db.get(key)) ?? {}
  if (value && value.length <= buffer.length) value.copy(buffer)
  return value?.length
}

const STEPS = {
  put: async (words) => line(await call('put', put(words))),
  range: async (words) => line(await call('range', read(words))),
  delete: async (words) => line(await call('delete', remove(words))),
  txn: async (words) => line(await call('txn', txn(words))),
  get: async ([key, ...words]) => {
    const kv = await call('get', bytes(key), optionsOf(words))
    return kv ? `kv ${pair(kv)}` : 'none'
  },
  get_into: async ([key, size]) => {
    const buffer = Buffer.alloc(Number(size))
    const len = isCluster ? await getInto(bytes(key), buffer) : db.getInto(bytes(key), buffer)
    if (len === undefined) return 'none'
    return len > buffer.length ? `length ${len}` : `value ${show(buffer.subarray(0, len))}`
  },
  scan: async (words) => `scan${pairs(await all(call('scan', read(words))))}`,
  compact: async ([revision, physical]) =>
    `compact ${(await call('compact', Number(revision), { physical: physical === 'physical' })).revision}`,
  history: async ([key, ...words]) =>
    `events${(await db.history(bytes(key), optionsOf(words))).map(event).join('')}`,
  events: async ([after, upto, word]) =>
    `events${(await all(db.events(Number(after), Number(upto), range(word)))).map(event).join('')}`,
  diff: async ([a, b, word]) => {
    const changes = await all(db.diff(Number(a), Number(b), range(word)))
    return `diff${changes.map(({ key, before, after }) => ` ${show(key)}:${side(before)}>${side(after)}`).join('')}`
  },
  alarm_list: async () => alarms(await db.alarmList()),
  alarm_activate: async ([kind, ...words]) =>
    alarms(await db.alarmActivate(kind.toLowerCase(), optionsOf(words))),
  alarm_disarm: async (words) => {
    const { kind, ...options } = optionsOf(words)
    return alarms(await db.alarmDisarm({ ...options, kind: kind?.toLowerCase() }))
  },
  status: async () => {
    const { revision, compactedRevision, keys } = await call('status')
    return `status ${revision} ${compactedRevision ?? -1} ${keys ?? -1}`
  },
  check: async () => {
    const { problems } = await db.check()
    return `check problems=${problems.length}${problems.map((problem) => ` ${problem.invariant}: ${problem.message}`).join('')}`
  },
  lease_grant: async ([ttl, ...words]) => {
    const { id = 0n } = optionsOf(words)
    const granted = await db.leaseGrant(Number(ttl), { id })
    return `granted ${id === 0n && granted.id > 0n ? '*' : granted.id} ${granted.ttlSeconds}`
  },
  lease_revoke: async ([id]) => `revoked ${(await db.leaseRevoke(BigInt(id))).revision}`,
  keep_alive: async ([word]) => {
    const { id, ttlSeconds } = await db.leaseKeepAlive(BigInt(word))
    return `kept ${id} ${ttlSeconds}`
  },
  time_to_live: async ([word, ...words]) => {
    const { id, ttlSeconds, grantedTtlSeconds, keys } = await db.leaseTimeToLive(
      BigInt(word),
      optionsOf(words),
    )
    const left = ttlSeconds >= 0 && grantedTtlSeconds - ttlSeconds <= 1 ? 'all' : ttlSeconds
    return `ttl ${id} ${left} granted=${grantedTtlSeconds}${keys.map((key) => ` ${show(key)}`).join('')}`
  },
  lease_list: async () => {
    const ids = await db.leaseList()
    return `leases${ids
      .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
      .map((id) => ` ${id}`)
      .join('')}`
  },
  advance: async ([seconds]) => {
    if (sync) clock.advanceSync(Number(seconds) * 1_000)
    else await clock.advance(Number(seconds) * 1_000)
    return 'advanced'
  },
  revision_at: async ([seconds]) => {
    const ms = CLOCK_START_MS + Number(seconds) * 1_000
    return `revision ${await db.revisionAt(sync ? ms : new Date(ms))}`
  },
  watch: async ([name, word, ...words]) => {
    watchers.get(name)?.close()
    watchers.delete(name)
    // the server confirms or refuses the watch
    watchers.set(name, await db.watch(range(word), optionsOf(words)).ready())
    return `watching ${name}`
  },
  next: (words) =>
    watching(words, async (watcher) => {
      const { value } = await watcher.next(WAIT_LIMIT)
      return value ? batch(value) : 'nothing'
    }),
  idle: (words) => watching(words, (watcher) => settled(watcher, () => 'idle')),
  resume: (words) =>
    watching(words, (watcher) => settled(watcher, (revision) => `resume ${revision}`)),
  cancel: (words) =>
    watching(words, async (watcher) => {
      watcher.cancel()
      return 'cancelled'
    }),
  lock: async ([name]) => {
    const lock = named(locks, name, () => db.lock(bytes(name), CLAIM_TTL_SECONDS))
    await lock.acquire(WAIT_LIMIT)
    return `locked ${claimKey(lock.key)} revision=${lock.revision}`
  },
  unlock: async ([name]) => {
    await named(locks, name, () => db.lock(bytes(name), CLAIM_TTL_SECONDS)).release()
    return 'unlocked'
  },
  campaign: async ([name, value]) => {
    const candidate = election(name)
    await candidate.campaign(bytes(value), WAIT_LIMIT)
    return `leads ${claimKey(candidate.key)} revision=${candidate.revision}`
  },
  proclaim: async ([name, value]) => {
    await election(name).proclaim(bytes(value))
    return 'proclaimed'
  },
  leader: async ([name]) => {
    const kv = await election(name).leader()
    if (!kv) return 'none'
    const lease = kv.lease > 0n ? '*' : kv.lease
    return `leader ${claimKey(kv.key)}=${show(kv.value)}@${kv.createRevision}/${kv.modRevision}/${kv.version}/${lease}`
  },
  resign: async ([name]) => {
    await election(name).resign()
    return 'resigned'
  },
  reopen: async () => {
    await call('close')
    for (const named of [watchers, locks, elections]) named.clear()
    db = await open()
    return 'reopened'
  },
}

let db
const open = () => (sync ? libkv.openSync(store, options) : libkv.open(store, options))

async function main() {
  db = await open()
  for await (const step of readline.createInterface({ input: process.stdin })) {
    const [name, ...words] = step.split(' ').filter(Boolean)
    const needsStore = isCluster && (name === 'reopen' || name === 'advance')
    const response = needsStore
      ? 'not on a cluster'
      : await STEPS[name](words).catch((error) => {
          if (!(error instanceof libkv.KvError)) throw error
          return `error ${error.code.toLowerCase()} ${error.message.split(' (')[0]}`
        })
    console.log(response)
  }
  await db.close()
}

main()
