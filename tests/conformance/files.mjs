// The files of tests/vectors that the suite reads.
export const files = [
  'seamless-v1',
  'chap',
  'jwt',
  'headers',
  'rules',
  'paths',
  'wycheproof/json_web_signature_test',
  'wycheproof/json_web_key_test',
]
