'use strict'

const assert = require('node:assert')
const { execFile } = require('node:child_process')
const path = require('node:path')
const { promisify } = require('node:util')
const { test } = require('node:test')
const { place } = require('./support.js')

test('memory: does not grow with 100,000 calls of each kind', {
  timeout: 600_000,
}, async (t) => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--expose-gc',
    path.join(__dirname, 'leaks.js'),
    place(t),
  ])
  const lines = stdout.trim().split('\n')
  assert.ok(lines.length > 50, stdout)
  assert.deepStrictEqual(
    lines.filter((line) => !line.startsWith('kept')),
    [],
    stdout,
  )
})
