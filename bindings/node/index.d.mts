// The types for `import`: the same module, which is also its own default export.
import * as libkv from './index.js'

export * from './index.js'
export default libkv
