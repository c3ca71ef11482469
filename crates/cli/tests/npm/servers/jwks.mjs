// A key server: publishes a key set, and signs a token with the newest of its keys. Prints its port, then the token.
import { createServer } from "node:http";
import { createSign, generateKeyPairSync } from "node:crypto";

const keys = ["old", "new"].map((kid) => ({ kid, ...generateKeyPairSync("rsa", { modulusLength: 2048 }) }));
const set = { keys: keys.map(({ kid, publicKey }) => ({ ...publicKey.export({ format: "jwk" }), kid, alg: "RS256", use: "sig" })) };
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const { kid, privateKey } = keys.at(-1);
const text = `${encode({ alg: "RS256", kid })}.${encode({ sub: "ada", iss: "the key server" })}`;
const token = `${text}.${createSign("RSA-SHA256").update(text).sign(privateKey, "base64url")}`;

const server = createServer((_request, response) => {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(set));
});
server.listen(0, "127.0.0.1", () => console.log(`${server.address().port}\n${token}`));
