// Asks each of the `node:` modules for something whose answer is known. Each path answers with the values of its checks.
import assert from "node:assert";
import { AsyncLocalStorage } from "node:async_hooks";
import { Buffer as ImportedBuffer } from "node:buffer";
import childProcess from "node:child_process";
import crypto from "node:crypto";
import diagnostics from "node:diagnostics_channel";
import { EventEmitter, once } from "node:events";
import fs from "node:fs";
import fsp from "node:fs/promises";
import http from "node:http";
import { createRequire, isBuiltin } from "node:module";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { performance as hooked } from "node:perf_hooks";
import importedProcess from "node:process";
import querystring from "node:querystring";
import { PassThrough, Readable, Transform } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { StringDecoder } from "node:string_decoder";
import { setTimeout as sleep } from "node:timers/promises";
import url from "node:url";
import util from "node:util";
import zlib from "node:zlib";

/** The code of the error that `call` throws. */
async function code(call) {
  try {
    await call();
    return "nothing thrown";
  } catch (error) {
    return error.code ?? `${error.name}: ${error.message}`;
  }
}

const checks = {
  async crypto() {
    const key = Buffer.alloc(32, 1);
    const iv = Buffer.alloc(16, 2);
    const cipher = crypto.createCipheriv("aes-256-cbc", key, iv);
    const sealed = Buffer.concat([cipher.update("secret"), cipher.final()]);
    const decipher = crypto.createDecipheriv("aes-256-cbc", key, iv);
    const gcm = crypto.createCipheriv("aes-256-gcm", key, iv.subarray(0, 12));
    const gcmText = Buffer.concat([gcm.update("secret"), gcm.final()]);
    const ungcm = crypto.createDecipheriv("aes-256-gcm", key, iv.subarray(0, 12));
    ungcm.setAuthTag(gcm.getAuthTag());
    const { publicKey, privateKey } = crypto.generateKeyPairSync("ec", { namedCurve: "P-256" });
    const signature = crypto.createSign("sha256").update("text").sign(privateKey);
    const ed = crypto.generateKeyPairSync("ed25519");
    return {
      sha256: crypto.createHash("sha256").update("a").update("bc").digest("hex"),
      md5: crypto.createHash("md5").update("abc").digest("base64"),
      hmac: crypto.createHmac("sha1", "key").update("text").digest("hex"),
      random: crypto.randomBytes(16).length,
      uuid: crypto.randomUUID().length,
      opened: Buffer.concat([decipher.update(sealed), decipher.final()]).toString(),
      gcm: Buffer.concat([ungcm.update(gcmText), ungcm.final()]).toString(),
      pbkdf2: crypto.pbkdf2Sync("password", "salt", 1, 20, "sha1").toString("hex"),
      pbkdf2Later: (await util.promisify(crypto.pbkdf2)("password", "salt", 1, 20, "sha1")).toString("hex"),
      scrypt: crypto.scryptSync("", "", 64, { N: 16, r: 1, p: 1 }).toString("hex").slice(0, 16),
      scryptLater: (await util.promisify(crypto.scrypt)("", "", 64, { N: 16, r: 1, p: 1 })).toString("hex").slice(0, 16),
      hkdf: Buffer.from(crypto.hkdfSync("sha256", "key", "salt", "info", 8)).toString("hex"),
      verified: crypto.createVerify("sha256").update("text").verify(publicKey, signature),
      forged: crypto.createVerify("sha256").update("other").verify(publicKey, signature),
      ed: crypto.verify(null, Buffer.from("text"), ed.publicKey, crypto.sign(null, Buffer.from("text"), ed.privateKey)),
      equal: crypto.timingSafeEqual(Buffer.from("a"), Buffer.from("a")),
      tooMany: await code(() => crypto.pbkdf2Sync("p", "s", 1e9, 20, "sha1")),
      tooMuch: await code(() => crypto.scryptSync("p", "s", 32, { N: 1 << 20, maxmem: 1 << 31 })),
    };
  },
  async streams() {
    const upper = new Transform({
      transform(chunk, _encoding, done) {
        done(null, chunk.toString().toUpperCase());
      },
    });
    const out = new PassThrough();
    const [, shouted] = await Promise.all([pipeline(Readable.from(["a", "b"]), upper, out), text(out)]);
    const collected = [];
    for await (const chunk of Readable.from([1, 2, 3]).map((n) => n * 2)) collected.push(chunk);
    const web = Readable.toWeb(Readable.from([Buffer.from("web")]));
    return { shouted, collected, web: await new Response(web).text() };
  },
  async zlib() {
    const input = Buffer.from("hello ".repeat(100));
    const gunzip = util.promisify(zlib.gunzip);
    const chunks = [];
    await pipeline(Readable.from([input]), zlib.createGzip(), zlib.createGunzip(), async (source) => {
      for await (const chunk of source) chunks.push(chunk);
    });
    return {
      gzip: zlib.gunzipSync(zlib.gzipSync(input)).equals(input),
      deflate: zlib.inflateSync(zlib.deflateSync(input)).equals(input),
      raw: zlib.inflateRawSync(zlib.deflateRawSync(input)).equals(input),
      brotli: zlib.brotliDecompressSync(zlib.brotliCompressSync(input)).equals(input),
      later: (await gunzip(await util.promisify(zlib.gzip)(input))).equals(input),
      brotliLater: (await util.promisify(zlib.brotliDecompress)(await util.promisify(zlib.brotliCompress)(input))).equals(input),
      streamed: Buffer.concat(chunks).equals(input),
      crc32: zlib.crc32("hello"),
      broken: await code(() => zlib.gunzipSync(Buffer.from("not gzip"))),
      constant: zlib.BROTLI_PARAM_QUALITY === zlib.constants.BROTLI_PARAM_QUALITY,
    };
  },
  async util() {
    const emitter = new EventEmitter();
    setTimeout(() => emitter.emit("ready", 7), 1);
    return {
      inspect: util.inspect({ a: 1, b: [1, { c: new Map([[1, 2]]) }] }),
      format: util.format("%s is %d %j", "x", 42, { y: 1 }),
      promisified: await util.promisify((value, done) => done(null, value + 1))(1),
      types: [util.types.isPromise(Promise.resolve()), util.types.isRegExp(/x/), util.types.isDate({})],
      deep: util.isDeepStrictEqual({ a: [1] }, { a: [1] }),
      older: [util.isString("x"), util.isBuffer(Buffer.alloc(1))],
      once: await once(emitter, "ready"),
      assertion: await code(() => assert.strictEqual(1, 2)),
      deepAssertion: await code(() => assert.deepStrictEqual({ a: 1 }, { a: 1 })),
      path: [path.join("/a", "..", "b"), path.extname("x.tar.gz"), path.relative("/a/b", "/a/c")],
      url: url.parse("http://u:p@host:8080/p?q=1#h").pathname,
      fileUrl: url.fileURLToPath("file:///tmp/x"),
      query: querystring.parse("a=1&b=2&a=3"),
      decoder: (() => {
        const decoder = new StringDecoder("utf8");
        return decoder.write(Buffer.from([0xe2, 0x82])) + decoder.write(Buffer.from([0xac]));
      })(),
      base64url: Buffer.from("a?b>").toString("base64url"),
      sameBuffer: ImportedBuffer === Buffer,
      now: typeof hooked.now(),
      samePerformance: hooked === performance,
      eol: os.EOL,
    };
  },
  async timers() {
    const order = [];
    await new Promise((resolve) => {
      setImmediate(() => {
        order.push("immediate");
        resolve();
      });
      Promise.resolve().then(() => order.push("promise"));
      process.nextTick((value) => order.push(value), "tick");
    });
    const immediate = setImmediate(() => order.push("cleared"));
    clearImmediate(immediate);
    return { order: order.sort(), slept: await sleep(1, "slept") };
  },
  async context() {
    const store = new AsyncLocalStorage();
    const nested = await store.run({ id: 1 }, async () => {
      await sleep(1);
      const inner = await store.run({ id: 2 }, async () => {
        await Promise.resolve();
        return store.getStore().id;
      });
      // Counted against this event: the event is known inside.
      console.log("logged inside run");
      process.stdout.write("written inside run\n");
      return [inner, store.getStore().id];
    });
    const ticked = await new Promise((resolve) => store.run("ticked", () => process.nextTick(() => resolve(store.getStore()))));
    const bound = store.run("bound", () => AsyncLocalStorage.bind(() => store.getStore()));
    const seen = [];
    const channel = diagnostics.channel("test");
    channel.subscribe((message) => seen.push(message));
    channel.publish("published");
    return { nested, outside: store.getStore() ?? null, ticked, bound: bound(), seen };
  },
  async files() {
    fs.writeFileSync("/tmp/a.txt", "one");
    fs.appendFileSync("/tmp/a.txt", " two");
    fs.mkdirSync("/tmp/deep/er", { recursive: true });
    await fsp.writeFile("/tmp/deep/er/b.bin", Buffer.from([1, 2, 3]));
    fs.renameSync("/tmp/deep/er/b.bin", "/tmp/deep/c.bin");
    fs.symlinkSync("/tmp/a.txt", "/tmp/link");
    fs.copyFileSync("/tmp/a.txt", "/tmp/copy.txt");
    fs.cpSync("/tmp/deep", "/tmp/deeper", { recursive: true });
    const fd = fs.openSync("/tmp/fd", "w+");
    fs.writeSync(fd, "0123456789");
    const part = Buffer.alloc(4);
    fs.readSync(fd, part, 0, 4, 3);
    fs.closeSync(fd);
    await pipeline(Readable.from(["streamed"]), fs.createWriteStream("/tmp/streamed"));
    const missing = await code(() => fsp.readFile("/tmp/missing"));
    const listing = fs.readdirSync("/tmp").sort();
    const result = {
      text: fs.readFileSync("/tmp/link", "utf8"),
      real: fs.realpathSync("/tmp/link"),
      listing,
      types: fs.readdirSync("/", { withFileTypes: true }).map((entry) => [entry.name, entry.isDirectory()]).sort(),
      later: [...await fsp.readFile("/tmp/deeper/c.bin")],
      part: part.toString(),
      streamed: await text(fs.createReadStream("/tmp/streamed")),
      size: fs.statSync("/tmp/a.txt").size,
      exists: [fs.existsSync("/tmp/copy.txt"), fs.existsSync("/etc/passwd")],
      missing,
      message: await (async () => {
        try {
          fs.readFileSync("/etc/passwd");
        } catch (error) {
          return [error.code, error.errno, error.syscall, error.path];
        }
      })(),
      readOnly: await code(() => fs.writeFileSync("/bundle/x", "x")),
      notEmpty: await code(() => fs.rmdirSync("/tmp/deep")),
      full: await code(() => {
        for (let i = 0; i < 80; i++) fs.writeFileSync(`/tmp/full${i}`, Buffer.alloc(1024 * 1024));
      }),
      zero: [...fs.readFileSync("/dev/null")],
      callback: await new Promise((resolve) => fs.stat("/tmp/missing", (error) => resolve(error.code))),
    };
    fs.rmSync("/tmp/deep", { recursive: true });
    for (const name of fs.readdirSync("/tmp")) fs.rmSync(`/tmp/${name}`, { recursive: true, force: true });
    return { ...result, after: fs.readdirSync("/tmp") };
  },
  async process() {
    return {
      same: importedProcess === process,
      env: [process.env.GREETING ?? null, process.env.NOTHING ?? null],
      changed: (() => {
        process.env.ADDED = 5;
        return process.env.ADDED;
      })(),
      cwd: process.cwd(),
      platform: process.platform,
      version: /^v\d+\.\d+\.\d+$/.test(process.version),
      argv: Array.isArray(process.argv),
      hrtime: process.hrtime().length,
      bigint: typeof process.hrtime.bigint(),
      memory: process.memoryUsage().heapUsed > 0,
      exit: await code(() => process.exit(3)),
      emitter: await new Promise((resolve) => {
        process.once("test", resolve);
        process.emit("test", "emitted");
      }),
      isEmitter: process instanceof EventEmitter,
      global: globalThis === global,
      kill: await code(() => process.kill(1)),
    };
  },
  async refused() {
    const require = createRequire(import.meta.url);
    return {
      exec: await code(() => childProcess.exec("ls")),
      listen: await code(() => net.createServer().listen(80)),
      http: await code(() => http.createServer(() => {}).listen(80)),
      required: require("node:path").sep,
      bare: require("util") === util,
      unknown: await code(() => require("left-pad")),
      builtin: [isBuiltin("fs"), isBuiltin("node:test"), isBuiltin("left-pad")],
      absent: await code(() => import("node:nothing")),
    };
  },
  async http(request) {
    const target = new URL(request.url).searchParams.get("target");
    const get = await new Promise((resolve, reject) => {
      http.get(`${target}/echo?x=1`, { headers: { "X-Asked": "yes" } }, async (message) => {
        resolve({ status: message.statusCode, type: message.headers["content-type"], body: JSON.parse(await text(message)) });
      }).on("error", reject);
    });
    const post = await new Promise((resolve, reject) => {
      const sent = http.request(`${target}/echo`, { method: "POST" }, async (message) => {
        resolve(JSON.parse(await text(message)));
      });
      sent.on("error", reject);
      sent.write("first ");
      sent.end("second");
    });
    const long = await new Promise((resolve, reject) => {
      const sent = http.request(`${target}/length`, { method: "PUT" }, async (message) => resolve(await text(message)));
      sent.on("error", reject);
      pipeline(Readable.from(Array.from({ length: 10 }, () => Buffer.alloc(100_000, 120))), sent).catch(reject);
    });
    return { get, post, long };
  },
};

export default {
  async fetch(request) {
    const name = new URL(request.url).pathname.slice(1);
    try {
      return Response.json(await checks[name](request));
    } catch (error) {
      return new Response(error.stack, { status: 500 });
    }
  },
};
