// The AWS S3 client against a server of the test's, which checks every signature.
import { DOMParser, Node } from "@xmldom/xmldom";
import {
  CompleteMultipartUploadCommand, CopyObjectCommand, CreateMultipartUploadCommand, DeleteObjectCommand, DeleteObjectsCommand,
  GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, NoSuchKey, paginateListObjectsV2, PutObjectCommand, S3Client,
  S3ServiceException, UploadPartCommand,
} from "@aws-sdk/client-s3";

// Bundled for Workers, the client reads XML by the `DOMParser` of browsers, which Workers do not have
// (aws/aws-sdk-js-v3 issue 7375): a worker that uses it anywhere brings one along.
Object.assign(globalThis, { DOMParser, Node });

interface Env {
  S3_URL: string;
}

const Bucket = "bucket";

const connect = (env: Env, secretAccessKey: string) =>
  new S3Client({
    endpoint: env.S3_URL,
    region: "auto",
    forcePathStyle: true,
    credentials: { accessKeyId: "test", secretAccessKey },
  });

const routes: Record<string, (client: S3Client, env: Env) => Promise<unknown>> = {
  async "/put"(client) {
    const put = await client.send(new PutObjectCommand({
      Bucket,
      Key: "folder/a file & more.txt",
      Body: "hello from a worker",
      ContentType: "text/plain",
      Metadata: { colour: "blue" },
    }));
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "folder/a file & more.txt" }));
    return { etag: put.ETag, type: got.ContentType, metadata: got.Metadata, text: await got.Body!.transformToString() };
  },
  async "/bytes"(client) {
    const bytes = new Uint8Array(200_000).map((_, index) => index % 251);
    await client.send(new PutObjectCommand({ Bucket, Key: "bytes", Body: bytes }));
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "bytes" }));
    const back = await got.Body!.transformToByteArray();
    return { length: back.length, same: back.every((byte, index) => byte === bytes[index]) };
  },
  async "/range"(client) {
    await client.send(new PutObjectCommand({ Bucket, Key: "range", Body: "0123456789" }));
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "range", Range: "bytes=2-5" }));
    return { range: got.ContentRange, text: await got.Body!.transformToString() };
  },
  async "/stream"(client) {
    await client.send(new PutObjectCommand({ Bucket, Key: "streamed", Body: "x".repeat(100_000) }));
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "streamed" }));
    let length = 0;
    for await (const part of got.Body!.transformToWebStream() as unknown as AsyncIterable<Uint8Array>) {
      length += part.length;
    }
    return { length };
  },
  async "/head"(client) {
    await client.send(new PutObjectCommand({ Bucket, Key: "head", Body: "12345" }));
    const head = await client.send(new HeadObjectCommand({ Bucket, Key: "head" }));
    return { length: head.ContentLength, modified: head.LastModified instanceof Date };
  },
  async "/list"(client) {
    for (const name of ["list/a", "list/b", "list/c", "list/<d>&"]) {
      await client.send(new PutObjectCommand({ Bucket, Key: name, Body: name }));
    }
    const first = await client.send(new ListObjectsV2Command({ Bucket, Prefix: "list/", MaxKeys: 3 }));
    const keys: string[] = [];
    for await (const page of paginateListObjectsV2({ client, pageSize: 3 }, { Bucket, Prefix: "list/" })) {
      keys.push(...page.Contents!.map((object) => `${object.Key}:${object.Size}`));
    }
    return { truncated: first.IsTruncated, count: first.KeyCount, keys };
  },
  async "/copy"(client) {
    await client.send(new PutObjectCommand({ Bucket, Key: "original", Body: "the same" }));
    const copied = await client.send(new CopyObjectCommand({ Bucket, Key: "copy", CopySource: `${Bucket}/original` }));
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "copy" }));
    return { etag: copied.CopyObjectResult!.ETag, text: await got.Body!.transformToString() };
  },
  async "/multipart"(client) {
    const Key = "large";
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const Parts = [];
    for (let PartNumber = 1; PartNumber <= 3; PartNumber++) {
      const { ETag } = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body: `part ${PartNumber};` }));
      Parts.push({ PartNumber, ETag });
    }
    const done = await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
    const got = await client.send(new GetObjectCommand({ Bucket, Key }));
    return { location: done.Location, text: await got.Body!.transformToString() };
  },
  async "/delete"(client) {
    const exists = (Key: string) => client.send(new HeadObjectCommand({ Bucket, Key })).then(() => true, () => false);
    for (const Key of ["one", "two", "three"]) {
      await client.send(new PutObjectCommand({ Bucket, Key, Body: Key }));
    }
    await client.send(new DeleteObjectCommand({ Bucket, Key: "one" }));
    const many = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: "two" }, { Key: "three" }] } }));
    return { deleted: many.Deleted!.map((object) => object.Key), left: [await exists("one"), await exists("two"), await exists("three")] };
  },
  async "/errors"(client, env) {
    const missing = await client.send(new GetObjectCommand({ Bucket, Key: "missing" })).catch((error) => error);
    const refused = await connect(env, "wrong").send(new GetObjectCommand({ Bucket, Key: "missing" })).catch((error) => error);
    return {
      missing: [missing instanceof NoSuchKey, missing.name, missing.$metadata?.httpStatusCode, missing.message],
      refused: [refused instanceof S3ServiceException, refused.name, refused.$metadata?.httpStatusCode],
    };
  },
};

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const client = connect(env, "secret");
    return Response.json(await routes[new URL(request.url).pathname](client, env));
  },
};
