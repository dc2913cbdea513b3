export { ConfigurationError, Verifier } from '../hmac.js'
