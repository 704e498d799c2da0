// Two revisions of one key.
const libkv = require('libkv')

async function main() {
  const db = await libkv.open(':memory:') // or the path of a directory
  await db.put('greeting', 'hello')
  await db.put('greeting', 'goodbye')
  for (const revision of [2, 3]) {
    const kv = await db.get('greeting', { revision }) // 1 is the empty store, each write adds 1
    console.log(`revision ${revision}: ${kv.value}`)
  }
  await db.close()
}

main()
