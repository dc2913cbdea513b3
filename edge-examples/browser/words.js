// Each code of a rejection in plain words: what it means, and the mend. The codes are the verifier's, in every language.

export const WORDS = {
  missing_authorization: ['There is no token', 'Nothing was given.', 'Paste what ssh printed.'],
  bad_authorization: ['That is not one token', 'There is a comma in it, or it is two of them.', 'Paste one token, whole and alone.'],
  malformed: [
    'That is no token of this kind',
    'It is cut off, has something added, or is of the older format, which a page can not check.',
    'Copy the whole line that ssh printed: three parts with dots between, beginning with eyJ.'
  ],
  too_large: ['It is too long', 'No token is longer than 8 KiB.', 'Paste one token, whole and alone.'],
  unsupported_algorithm: [
    'It is signed in a way that is not read here',
    'Pages read EdDSA and ES256, and never a token that is not signed.',
    'Ask for a token for an audience whose algorithm is EdDSA or ES256 in realm.toml.'
  ],
  unknown_key: [
    'The realm has no such key',
    'The key that signed it is not among those that the realm publishes: another realm made it, or its key was taken back.',
    'Get a new token by ssh, and look whether the issuer is the realm that you got it from.'
  ],
  bad_signature: [
    'The signature is wrong',
    'It was changed after it was signed, or somebody made it up. Nothing in it is to be believed.',
    'Get a new token by ssh. If this one came to you from elsewhere, tell who runs the realm.'
  ],
  wrong_issuer: [
    'It is from another issuer',
    'The signature is good, but the token names another issuer than the one that you trust.',
    'Compare the issuer above with what the realm says of itself; both must be the same to the letter.'
  ],
  wrong_audience: [
    'It is for somebody else',
    'The token is real, but made for another service than the audience above.',
    'Ask for one for that service: ssh -T corp@login.example.com token -a AUDIENCE'
  ],
  revoked: ['It was taken back', 'The token, its key or its user was revoked.', 'Get a new token by ssh.'],
  binding_required: [
    'It is bound to a key that was not shown',
    'Only who holds a second key may use it, and that can not be proven here.',
    'Use it where it was made for.'
  ],
  expired: ['It has expired', 'It was good, but its time is over.', 'Get a new one by ssh; it takes a second.'],
  not_yet_valid: [
    'It is not valid yet',
    'It was made in the future: this device\'s clock is behind, or the issuer\'s is ahead.',
    'Set the clock of this device, then check again.'
  ],
  missing_scope: [
    'It may not do that',
    'The token is real, but has not all of the scopes that you demand.',
    'Ask for one with them: ssh -T corp@login.example.com token -s SCOPE'
  ],
  bad_path: ['The path was refused', 'It could be read in two ways.', 'Ask for a plain path.'],
  keys_unavailable: [
    'The realm\'s keys can not be had',
    'Without them nothing can be said about the token.',
    'Look whether the issuer is right and can be reached from here, and whether it allows other sites to read its keys (CORS).'
  ]
}
