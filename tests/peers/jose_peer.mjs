// npm jose as a verifier: one JSON object a line on stdin, one answer a line on stdout.
//
// {"token": "...", "jwks": URL or FILE, "audience": "...", "issuer": "..."}
//     -> {"header": {...}, "claims": {...}}  or  {"error": "ERR_JWT_CLAIM_VALIDATION_FAILED"}

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

// The packages live in the tool cache, not beside this file.
const require = createRequire(`${process.env.SEAMLESS_NPM}/package.json`);
const jose = await import(pathToFileURL(require.resolve("jose")).href);

async function keySet(jwks) {
  if (jwks.startsWith("http")) return jose.createRemoteJWKSet(new URL(jwks));
  return jose.createLocalJWKSet(JSON.parse(await readFile(jwks, "utf8")));
}

async function answer({ token, jwks, audience, issuer }) {
  try {
    const { protectedHeader, payload } = await jose.jwtVerify(token, await keySet(jwks), {
      audience,
      issuer,
      typ: "at+jwt",
      requiredClaims: ["sub", "client_id", "iat", "exp", "jti"],
    });
    return { header: protectedHeader, claims: payload };
  } catch (error) {
    return { error: error.code ?? String(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
