// jose: signatures, encryption and key handling on WebCrypto.
import * as jose from "jose";

interface Env {
  JWKS_URL: string;
}

const SIGNING = [
  "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519",
];
const KEY_ENCRYPTION = [
  "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-512", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW", "A128KW", "A256KW",
  "A128GCMKW", "A256GCMKW", "PBES2-HS256+A128KW", "PBES2-HS512+A256KW", "dir",
];
const CONTENT_ENCRYPTION = ["A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512"];

async function keys(alg: string): Promise<[CryptoKey | Uint8Array, CryptoKey | Uint8Array]> {
  if (alg.startsWith("HS") || alg === "dir" || /^A\d+(GCM)?KW$/.test(alg) || alg.startsWith("PBES2")) {
    const bytes = alg.startsWith("A128") ? 16 : alg.startsWith("HS") ? Number(alg.slice(2)) / 8 : 32;
    const secret = crypto.getRandomValues(new Uint8Array(bytes));
    return [secret, secret];
  }
  const pair = await jose.generateKeyPair(alg, { extractable: true });
  return [pair.privateKey, pair.publicKey];
}

const routes: Record<string, (request: Request, env: Env) => Promise<unknown>> = {
  /** Signs and verifies with every algorithm; says which tokens a wrong key or a changed token got through. */
  async "/signing"() {
    const results: Record<string, unknown> = {};
    for (const alg of SIGNING) {
      const [signing, verifying] = await keys(alg);
      const token = await new jose.SignJWT({ scope: "all" })
        .setProtectedHeader({ alg, typ: "JWT" })
        .setSubject("ada")
        .setIssuer("selvedge")
        .setAudience("tests")
        .setIssuedAt()
        .setExpirationTime("2m")
        .sign(signing);
      const { payload, protectedHeader } = await jose.jwtVerify(token, verifying, { issuer: "selvedge", audience: "tests" });
      const [head, body, signature] = token.split(".");
      const forged = `${head}.${jose.base64url.encode(JSON.stringify({ ...payload, sub: "eve" }))}.${signature}`;
      const refused = await jose.jwtVerify(forged, verifying).then(() => "accepted", (error) => error.code);
      const [, other] = await keys(alg);
      const stranger = await jose.jwtVerify(`${head}.${body}.${signature}`, other).then(() => "accepted", (error) => error.code);
      results[alg] = [protectedHeader.alg, payload.sub, refused, stranger];
    }
    return results;
  },

  /** Encrypts and decrypts with every way of wrapping a key and every cipher. */
  async "/encryption"() {
    const results: Record<string, unknown> = {};
    const text = new TextEncoder().encode("the quick brown fox");
    for (const alg of KEY_ENCRYPTION) {
      const [decrypting, encrypting] = await keys(alg);
      const sealed = await new jose.CompactEncrypt(text).setProtectedHeader({ alg, enc: "A256GCM" }).encrypt(encrypting);
      const { plaintext } = await jose.compactDecrypt(sealed, decrypting, { keyManagementAlgorithms: [alg] });
      results[alg] = new TextDecoder().decode(plaintext);
    }
    for (const enc of CONTENT_ENCRYPTION) {
      const { publicKey, privateKey } = await jose.generateKeyPair("RSA-OAEP-256");
      const sealed = await new jose.EncryptJWT({ a: 1 }).setProtectedHeader({ alg: "RSA-OAEP-256", enc }).setExpirationTime("1m").encrypt(publicKey);
      const parts = sealed.split(".");
      parts[3] = `${parts[3].startsWith("A") ? "B" : "A"}${parts[3].slice(1)}`;
      const changed = await jose.jwtDecrypt(parts.join("."), privateKey).then(() => "accepted", (error) => error.code);
      results[enc] = [(await jose.jwtDecrypt(sealed, privateKey)).payload.a, changed];
    }
    return results;
  },

  /** Vectors of RFC 7515, RFC 7638 and RFC 8037, so that both ends being wrong alike would show. */
  async "/vectors"() {
    const hmac = await jose.importJWK({
      kty: "oct",
      k: "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    }, "HS256");
    const token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const { payload } = await jose.compactVerify(token, hmac);
    const thumbprint = await jose.calculateJwkThumbprint({
      kty: "RSA",
      n: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
      e: "AQAB",
    });
    const edwards = await jose.importJWK({
      kty: "OKP",
      crv: "Ed25519",
      d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
      x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }, "EdDSA");
    const signed = await new jose.CompactSign(new TextEncoder().encode("Example of Ed25519 signing"))
      .setProtectedHeader({ alg: "EdDSA" })
      .sign(edwards);
    return { payload: JSON.parse(new TextDecoder().decode(payload)).iss, thumbprint, signed };
  },

  /** Keys to PEM and JWK and back. */
  async "/formats"() {
    const { publicKey, privateKey } = await jose.generateKeyPair("ES256", { extractable: true });
    const pkcs8 = await jose.exportPKCS8(privateKey);
    const spki = await jose.exportSPKI(publicKey);
    const jwk = await jose.exportJWK(publicKey);
    const token = await new jose.SignJWT({}).setProtectedHeader({ alg: "ES256" }).sign(await jose.importPKCS8(pkcs8, "ES256"));
    await jose.jwtVerify(token, await jose.importSPKI(spki, "ES256"));
    await jose.jwtVerify(token, await jose.importJWK(jwk, "ES256"));
    return { pkcs8: pkcs8.split("\n")[0], spki: spki.split("\n")[0], curve: jwk.crv };
  },

  /** Expired, early, wrong audience: each is its own error. */
  async "/claims"() {
    const secret = new Uint8Array(32).fill(7);
    const sign = (change: (token: jose.SignJWT) => jose.SignJWT) =>
      change(new jose.SignJWT({}).setProtectedHeader({ alg: "HS256" })).sign(secret);
    const verify = async (token: string, options?: jose.JWTVerifyOptions) =>
      jose.jwtVerify(token, secret, options).then(() => "accepted", (error) => `${error.code} ${error.claim}`);
    return [
      await verify(await sign((token) => token.setExpirationTime("-1m"))),
      await verify(await sign((token) => token.setNotBefore("5m"))),
      await verify(await sign((token) => token.setAudience("one")), { audience: "other" }),
      await jose.jwtVerify("not.a.token", secret).then(() => "accepted", (error) => error.code),
    ];
  },

  /** A key set fetched from a server. */
  async "/remote"(request, env) {
    const set = jose.createRemoteJWKSet(new URL(env.JWKS_URL));
    const { payload, protectedHeader } = await jose.jwtVerify(await request.text(), set, { issuer: "the key server" });
    return { sub: payload.sub, kid: protectedHeader.kid };
  },
};

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    return Response.json(await routes[new URL(request.url).pathname](request, env));
  },
};
