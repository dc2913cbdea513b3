// The files of tests/vectors that the suite reads.
export const files = ['seamless-v1', 'jwt', 'headers', 'rules', 'paths']
