// A stand-in for S3: one bucket in memory, every signature (AWS Signature Version 4) checked. Prints its port.
import { createHash, createHmac } from "node:crypto";
import { createServer } from "node:http";

const SECRET = "secret";
const objects = new Map();
const uploads = new Map();

const hex = (data) => createHash("sha256").update(data).digest("hex");
const md5 = (data) => `"${createHash("md5").update(data).digest("hex")}"`;
const hmac = (key, data) => createHmac("sha256", key).update(data).digest();
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** Whether the request is signed with the secret, and its body is the one that was signed. */
function signed(request, url, body) {
  const match = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/
    .exec(request.headers.authorization ?? "");
  if (!match) {
    return false;
  }
  const [, , day, region, names, signature] = match;
  const hash = request.headers["x-amz-content-sha256"];
  if (/^[0-9a-f]{64}$/.test(hash) && hash !== hex(body)) {
    return false;
  }
  const query = [...url.searchParams].map(([name, value]) => `${encode(name)}=${encode(value)}`).sort().join("&");
  const headers = names.split(";").map((name) => `${name}:${(request.headers[name] ?? "").trim().replace(/ +/g, " ")}\n`).join("");
  const canonical = [request.method, url.pathname, query, headers, names, hash].join("\n");
  const scope = `${day}/${region}/s3/aws4_request`;
  const text = ["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, hex(canonical)].join("\n");
  const key = [region, "s3", "aws4_request"].reduce(hmac, hmac(`AWS4${SECRET}`, day));
  return hmac(key, text).toString("hex") === signature;
}

/** The bytes inside `aws-chunked` framing, which clients use to put a checksum after the body. */
function unframed(request, body) {
  if (!request.headers["content-encoding"]?.includes("aws-chunked")) {
    return body;
  }
  const parts = [];
  for (let at = 0; ;) {
    const end = body.indexOf("\r\n", at);
    const size = Number.parseInt(body.subarray(at, end).toString(), 16);
    if (!size) {
      return Buffer.concat(parts);
    }
    parts.push(body.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}

const xml = (response, status, text) => {
  response.writeHead(status, { "content-type": "application/xml" });
  response.end(`<?xml version="1.0" encoding="UTF-8"?>\n${text}`);
};
const fault = (response, status, code, message) => xml(response, status, `<Error><Code>${code}</Code><Message>${message}</Message></Error>`);

function put(request, response, url, key, body) {
  if (url.searchParams.has("partNumber")) {
    uploads.get(url.searchParams.get("uploadId")).set(Number(url.searchParams.get("partNumber")), body);
    response.writeHead(200, { etag: md5(body) });
    return response.end();
  }
  const source = request.headers["x-amz-copy-source"];
  const content = source ? objects.get(decodeURIComponent(source).replace(/^\/?bucket\//, "")).body : body;
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => name === "content-type" || name.startsWith("x-amz-meta-")));
  objects.set(key, { body: content, headers, modified: new Date() });
  if (source) {
    return xml(response, 200, `<CopyObjectResult><ETag>${escape(md5(content))}</ETag><LastModified>${new Date().toISOString()}</LastModified></CopyObjectResult>`);
  }
  response.writeHead(200, { etag: md5(content) });
  response.end();
}

function get(request, response, key) {
  const object = objects.get(key);
  if (!object) {
    return fault(response, 404, "NoSuchKey", "The specified key does not exist.");
  }
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  const body = range ? object.body.subarray(Number(range[1]), Number(range[2]) + 1) : object.body;
  response.writeHead(range ? 206 : 200, {
    ...object.headers,
    etag: md5(object.body),
    "last-modified": object.modified.toUTCString(),
    "content-length": body.length,
    ...(range ? { "content-range": `bytes ${range[1]}-${range[2]}/${object.body.length}` } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function list(response, url) {
  const prefix = url.searchParams.get("prefix") ?? "";
  const after = url.searchParams.get("continuation-token") ?? "";
  const most = Number(url.searchParams.get("max-keys") ?? 1000);
  const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
  const page = keys.slice(0, most);
  const contents = page.map((key) => `<Contents><Key>${escape(key)}</Key><Size>${objects.get(key).body.length}</Size></Contents>`).join("");
  const truncated = keys.length > page.length;
  const token = truncated ? `<NextContinuationToken>${escape(page.at(-1))}</NextContinuationToken>` : "";
  xml(response, 200, `<ListBucketResult><Name>bucket</Name><KeyCount>${page.length}</KeyCount><IsTruncated>${truncated}</IsTruncated>${token}${contents}</ListBucketResult>`);
}

function post(response, url, key, body) {
  const text = body.toString();
  if (url.searchParams.has("uploads")) {
    const id = String(uploads.size + 1);
    uploads.set(id, new Map());
    return xml(response, 200, `<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>${escape(key)}</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
  }
  if (url.searchParams.has("uploadId")) {
    const parts = uploads.get(url.searchParams.get("uploadId"));
    const wanted = [...text.matchAll(/<PartNumber>(\d+)<\/PartNumber>/g)].map((match) => parts.get(Number(match[1])));
    objects.set(key, { body: Buffer.concat(wanted), headers: {}, modified: new Date() });
    return xml(response, 200, `<CompleteMultipartUploadResult><Location>http://bucket/${escape(key)}</Location><Key>${escape(key)}</Key></CompleteMultipartUploadResult>`);
  }
  const keys = [...text.matchAll(/<Key>([^<]*)<\/Key>/g)].map((match) => match[1]);
  keys.forEach((name) => objects.delete(name));
  xml(response, 200, `<DeleteResult>${keys.map((name) => `<Deleted><Key>${name}</Key></Deleted>`).join("")}</DeleteResult>`);
}

function answer(request, response, raw) {
  const url = new URL(request.url, "http://server");
  if (!signed(request, url, raw)) {
    return fault(response, 403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.");
  }
  const body = unframed(request, raw);
  const key = decodeURIComponent(url.pathname).replace(/^\/bucket\/?/, "");
  switch (request.method) {
    case "PUT":
      return put(request, response, url, key, body);
    case "POST":
      return post(response, url, key, body);
    case "DELETE":
      objects.delete(key);
      response.writeHead(204);
      return response.end();
    default:
      return key === "" ? list(response, url) : get(request, response, key);
  }
}

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => answer(request, response, Buffer.concat(parts)));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
