// The same module for `import`, with itself as its default.
import * as libkv from './index.js'

export * from './index.js'
export default libkv
