// The same types in CommonJS.
import libkv = require('libkv')
import testing = require('libkv/testing')

export const opened: Promise<libkv.Db> = libkv.open(':memory:')
export const fresh: Promise<libkv.Db> = testing.memory()
