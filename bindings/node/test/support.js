// Shared by the test files.
'use strict'

const assert = require('node:assert')
const { execFile, spawn } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { once } = require('node:events')
const { test: nodeTest } = require('node:test')
const { setImmediate: turn } = require('node:timers/promises')
const libkv = require('libkv')

const folder = path.join(__dirname, '..')

/** How long a test waits for an event that must happen. It is long enough for a loaded machine. */
const WAIT_LIMIT_MS = 60_000

/**
 * A test with a time limit. It keeps the event loop alive: a step of a watcher does not, and
 * node:test fails a test when the loop is empty.
 */
const test = (name, body) =>
  nodeTest(name, { timeout: 2 * WAIT_LIMIT_MS }, async (t) => {
    const stay = setInterval(() => {}, WAIT_LIMIT_MS)
    try {
      await body(t)
    } finally {
      clearInterval(stay)
    }
  })

/** Waits until a condition is true. The event loop runs meanwhile. */
async function until(what, holds) {
  const end = Date.now() + WAIT_LIMIT_MS
  while (!(await holds())) {
    assert.ok(Date.now() < end, `${what}: not within ${WAIT_LIMIT_MS} ms`)
    await turn()
  }
}

/** A path for a store, removed after the test. */
function place(test) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'libkv-node-'))
  test.after(() => fs.rmSync(dir, { recursive: true, force: true }))
  return path.join(dir, 'store')
}

/** Runs a program in a new process; returns its exit code, its signal and its output. */
function run(program, { node = [], words = [] } = {}) {
  return new Promise((resolve) => {
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined } // also separate for node:test
    const options = { cwd: folder, timeout: WAIT_LIMIT_MS, killSignal: 'SIGKILL', env }
    execFile(
      process.execPath,
      [...node, '-e', program, ...words],
      options,
      (error, stdout, stderr) => {
        resolve({
          code: error ? (error.code ?? null) : 0,
          signal: error?.signal ?? null,
          stdout,
          stderr,
        })
      },
    )
  })
}

/**
 * A process that holds the writer lock of the store: it is stopped during a commit. `release` ends
 * it.
 */
async function holder(test, store) {
  const program = `
    const db = require('libkv').openSync(process.argv[1], { busyTimeoutMs: Infinity })
    process.stdout.write('writes')
    for (;;) db.putSync('held', 'x')
  `
  const child = spawn(process.execPath, ['-e', program, store], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  test.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  const db = await libkv.open(store)
  await until('a stopped process that holds the lock', async () => {
    child.kill('SIGSTOP')
    await stopped(child.pid)
    const { writerPid } = await db.status()
    return writerPid === child.pid || !child.kill('SIGCONT')
  })
  await db.close()
  return {
    pid: child.pid,
    async release() {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      child.kill('SIGCONT')
      await ended
    },
  }
}

/** Waits until a process is stopped: a signal takes effect some time after it is sent. */
function stopped(pid) {
  const state = () => fs.readFileSync(`/proc/${pid}/status`, 'utf8')
  return until('the process stops', () => /^State:\s+T/m.test(state()))
}

async function all(iterable) {
  const items = []
  for await (const item of iterable) items.push(item)
  return items
}

module.exports = { all, folder, holder, place, run, test, until }
