// What several test files need.
'use strict'

const { execFile, spawn } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { once } = require('node:events')
const libkv = require('libkv')

const folder = path.join(__dirname, '..')

/** A path for a store, gone after the test. */
function place(test) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'libkv-node-'))
  test.after(() => fs.rmSync(dir, { recursive: true, force: true }))
  return path.join(dir, 'store')
}

/** Runs a program in a process of its own; answers how it ended and what it printed. */
function run(program, { node = [], words = [] } = {}) {
  return new Promise((resolve) => {
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined } // a process of its own, also for node:test
    const options = { cwd: folder, timeout: 60_000, killSignal: 'SIGKILL', env }
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
 * A process that holds the writer's lock of the store, stopped in the midst of a commit; `release`
 * lets it go and ends it.
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
  for (;;) {
    child.kill('SIGSTOP')
    await stopped(child.pid)
    if ((await db.status()).writerPid === child.pid) break
    child.kill('SIGCONT')
  }
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

/** A signal is delivered some time; its effect stands in /proc. */
async function stopped(pid) {
  while (!/^State:\s+T/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))) {
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function all(iterable) {
  const items = []
  for await (const item of iterable) items.push(item)
  return items
}

module.exports = { all, folder, holder, place, run }
