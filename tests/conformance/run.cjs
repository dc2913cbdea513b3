// run.mjs, for whoever still says `require`.
const { readFileSync } = require('node:fs')
const { join } = require('node:path')
const { Verifier } = require('@seamless-auth/verifier')

async function main() {
  const { run } = await import('./suite.mjs')
  const { files } = await import('./files.mjs')
  const read = name => JSON.parse(readFileSync(join(process.argv[2], `${name}.json`), 'utf8'))
  run({ Verifier }, Object.fromEntries(files.map(name => [name, read(name)])), line => console.log(JSON.stringify(line)))
}

main()
