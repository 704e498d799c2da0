'use strict'

const assert = require('node:assert')
const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { promisify } = require('node:util')
const libkv = require('libkv')
const ts = require('typescript')
const testing = require('libkv/testing')
const { folder, run, test } = require('./support.js')

const program = ts.createProgram(
  [path.join(folder, 'index.d.ts'), path.join(folder, 'testing.d.ts')],
  {
    types: ['node'],
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  },
)

/** The values that a type file exports, and the members of each class. */
function declared(file) {
  const checker = program.getTypeChecker()
  const values = {}
  for (const symbol of checker.getExportsOfModule(
    checker.getSymbolAtLocation(program.getSourceFile(path.join(folder, file))),
  )) {
    if (!(symbol.flags & ts.SymbolFlags.Value)) continue
    const members =
      symbol.flags & ts.SymbolFlags.Class
        ? checker.getDeclaredTypeOfSymbol(symbol).getProperties()
        : []
    values[symbol.name] = members.map((member) => member.name.replace(/^__@(\w+)@\d+$/, '@$1'))
  }
  return values
}

const names = (object) =>
  Object.getOwnPropertyNames(object).concat(
    Object.getOwnPropertySymbols(object).map((symbol) =>
      symbol.description.replace(/^(Symbol|nodejs)\./, '@'),
    ),
  )

test('types: have the names of the module', () => {
  const types = declared('index.d.ts')
  assert.deepStrictEqual(Object.keys(types).sort(), Object.keys(libkv).sort())
  assert.deepStrictEqual(Object.keys(declared('testing.d.ts')).sort(), Object.keys(testing).sort())
  for (const name of [
    'Db',
    'Snapshot',
    'Clock',
    'Watcher',
    'Leaders',
    'Lease',
    'Lock',
    'Election',
  ]) {
    const inherited = Object.getPrototypeOf(libkv[name].prototype)
    const members = [
      ...names(libkv[name].prototype),
      ...(inherited === Object.prototype ? [] : names(inherited)),
    ]
    const untyped = ['constructor', '@util.inspect.custom']
    assert.deepStrictEqual(
      types[name].sort(),
      [...new Set(members)].filter((member) => !untyped.includes(member)).sort(),
      name,
    )
  }
  const checker = program.getTypeChecker()
  const exported = checker.getExportsOfModule(
    checker.getSymbolAtLocation(program.getSourceFile(path.join(folder, 'index.d.ts'))),
  )
  const membersOf = (name) =>
    checker
      .getTypeOfSymbol(exported.find((symbol) => symbol.name === name))
      .getProperties()
      .map((member) => member.name)
  assert.deepStrictEqual(membersOf('Compare').sort(), Object.keys(libkv.Compare).sort())
  const transaction = checker.getDeclaredTypeOfSymbol(
    exported.find((symbol) => symbol.name === 'Transaction'),
  )
  const { Transaction } = require('../lib/transact.js')
  assert.deepStrictEqual(
    transaction
      .getProperties()
      .map((member) => member.name)
      .sort(),
    names(Transaction.prototype)
      .filter((name) => name !== 'constructor')
      .sort(),
  )
})

test('types: have the error codes of the core', () => {
  const source = fs.readFileSync(path.join(folder, '../../core/src/code.rs'), 'utf8')
  const codes = [...source.matchAll(/Code::\w+ => "(\w+)"/g)].map(([, code]) => code.toUpperCase())
  const typed = /export type ErrorCode =([\s\S]*?)\n\n/.exec(
    fs.readFileSync(path.join(folder, 'index.d.ts'), 'utf8'),
  )[1]
  assert.ok(codes.length > 30)
  assert.deepStrictEqual(
    [...typed.matchAll(/'(\w+)'/g)].map(([, code]) => code),
    codes,
  )
})

test('types: have the options of open', () => {
  const typed = /export interface OpenOptions {([\s\S]*?)\n}/.exec(
    fs.readFileSync(path.join(folder, 'index.d.ts'), 'utf8'),
  )[1]
  const { OPEN_OPTIONS } = require('../lib/options.js')
  assert.deepStrictEqual(
    [...typed.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name),
    OPEN_OPTIONS,
  )
})

test('module: has every public call of Rust', () => {
  const sources = ['db.rs', 'recipe/members.rs', 'recipe/auth.rs'].map((file) =>
    fs.readFileSync(path.join(folder, '../../core/src', file), 'utf8'),
  )
  const calls = [...sources.join('\n').matchAll(/^ {4}pub fn (\w+)/gm)].map(([, name]) => name)
  // calls with another form in Node; instead of `until`, calls have { signal } or timeoutMs
  const renamed = {
    engine: null,
    from_engine: null,
    until: null,
    submit: 'put',
    submit_all: 'put',
    range_each: 'range',
    transaction: 'transact',
    call_unless: null,
    alarm: 'alarmList',
    side: null,
    commit_times: null,
    is_remote: null,
    get_at: 'get',
    is_closed: 'closed',
  }
  for (const call of calls) {
    const name =
      call in renamed ? renamed[call] : call.replace(/_(.)/g, (_, letter) => letter.toUpperCase())
    if (name !== null) assert.ok(name in libkv.Db.prototype, `Db::${call} has no ${name} in Node`)
  }
})

test('types: every call compiles under tsc --strict, wrong ones do not', async () => {
  const tsc = require.resolve('typescript/bin/tsc')
  const { stdout } = await promisify(execFile)(process.execPath, [
    tsc,
    '-p',
    path.join(__dirname, 'tsconfig.json'),
  ]).catch((error) => error)
  assert.strictEqual(stdout, '')
})

test('module: CommonJS and ES modules give the same classes', async () => {
  const module = await import('libkv')
  assert.strictEqual(module.default, libkv)
  for (const name of Object.keys(libkv)) assert.strictEqual(module[name], libkv[name], name)
  const { memory } = await import('libkv/testing')
  assert.strictEqual(memory, testing.memory)
  const { code, stdout } = await run(
    `
    import libkv, { open, Db } from 'libkv'
    const db = await open(':memory:')
    console.log(db instanceof Db, Db === libkv.Db)
    await db.close()`,
    { node: ['--input-type=module'] },
  )
  assert.deepStrictEqual([code, stdout], [0, 'true true\n'])
})

/** The programs of the README, with their output as it is printed there. */
function blocks() {
  const text = fs.readFileSync(path.join(folder, 'README.md'), 'utf8')
  return [...text.matchAll(/```js\n([\s\S]*?)```(?:\n\n```text\n([\s\S]*?)```)?/g)].map(
    ([, program, prints]) => ({ program, prints }),
  )
}

test('README: the programs run and print the documented output', async () => {
  const programs = blocks()
  assert.strictEqual(programs.length, 7)
  assert.strictEqual(
    programs[0].program,
    fs.readFileSync(path.join(folder, 'examples/quickstart.js'), 'utf8'),
  )
  for (const { program, prints } of programs) {
    const { code, stdout, stderr } = await run(program)
    assert.strictEqual(code, 0, stderr + stdout)
    if (prints !== undefined) assert.strictEqual(stdout, prints)
    else assert.match(stdout, /pass 3\n\S+ fail 0/)
  }
})

test('package: the scripts download nothing', () => {
  const { scripts, dependencies } = require('../package.json')
  assert.deepStrictEqual([Object.keys(scripts), dependencies], [['install', 'test'], undefined])
  assert.doesNotMatch(fs.readFileSync(path.join(folder, 'build.sh'), 'utf8'), /curl|wget|https?:/)
})

test('package: has the version of the workspace', () => {
  const cargo = fs.readFileSync(path.join(folder, '../../Cargo.toml'), 'utf8')
  assert.strictEqual(require('../package.json').version, /^version = "(.*)"$/m.exec(cargo)[1])
})
