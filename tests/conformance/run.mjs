// Node, Deno and Bun: `run.mjs FOLDER_OF_VECTORS`, a line of JSON a case. Lies in a project that has the package installed.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { Verifier } from '@seamless-auth/verifier'
import { run } from './suite.mjs'
import { files } from './files.mjs'

const read = name => JSON.parse(readFileSync(join(process.argv[2], `${name}.json`), 'utf8'))
run({ Verifier }, Object.fromEntries(files.map(name => [name, read(name)])), line => console.log(JSON.stringify(line)))
