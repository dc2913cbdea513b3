export { ConfigurationError, KeysUnavailableError, Verifier } from '../verifier.js'
