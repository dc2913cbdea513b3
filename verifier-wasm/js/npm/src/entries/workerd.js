// Cloudflare Workers compile nothing at run time: the module is imported, and the tool that deploys uploads it.

import { host } from '@core'
import module from '@wasm-module'
import { runtime } from '../request.js'

host.compile = () => module
host.module = async () => module
// A fetch belongs to the request that began it.
host.background = false
runtime.utf8Headers = true

export * from '@public'
