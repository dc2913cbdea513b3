/** Why a configuration is refused: which key, and what to do about it. */
export class ConfigurationError extends Error {
  constructor(code, key, message) {
    super(`${key}: ${message}`)
    this.name = 'ConfigurationError'
    this.code = code
    this.key = key
  }
}

/** The keys can't be fetched. */
export class KeysUnavailableError extends Error {
  constructor(message, options) {
    super(message, options)
    this.name = 'KeysUnavailableError'
    this.code = 'keys_unavailable'
  }
}
