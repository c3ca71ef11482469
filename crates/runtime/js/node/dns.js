// Names are looked up over HTTPS, by fetch: there is no other way out of a worker. What Deno's `node:dns` takes for ops.
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayPrototypePush,
  Error,
  JSONParse,
  Number,
  NumberParseInt,
  RegExpPrototypeExec,
  RegExpPrototypeSymbolReplace,
  RegExpPrototypeSymbolSplit,
  SafeRegExp,
  StringPrototypeSlice,
  StringPrototypeSplit,
  StringPrototypeStartsWith,
  encodeURIComponent,
} = primordials;

/** A resolver that answers in JSON: https://developers.cloudflare.com/1.1.1.1/encryption/dns-over-https/ */
const RESOLVER = "https://cloudflare-dns.com/dns-query";

const TYPES = {
  __proto__: null,
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  CAA: 257,
};
const NXDOMAIN = 3;

function failure(code) {
  const error = new Error(code);
  error.ares_code = code;
  return error;
}

/** @returns {Promise<{ type: number, TTL: number, data: string }[]>} */
async function ask(name, type) {
  const { fetch } = core.loadExtScript("ext:deno_fetch/26_fetch.js");
  const response = await fetch(`${RESOLVER}?name=${encodeURIComponent(name)}&type=${type}`, {
    headers: { accept: "application/dns-json" },
  });
  if (!response.ok) throw failure("ESERVFAIL");
  const answer = JSONParse(await response.text());
  if (answer.Status === NXDOMAIN) throw failure("ENOTFOUND");
  if (answer.Status !== 0) throw failure("ESERVFAIL");
  return answer.Answer ?? [];
}

const QUOTED = new SafeRegExp(/"((?:[^"\\]|\\.)*)"/g);
const SPACES = new SafeRegExp(/\s+/);
const ESCAPED = new SafeRegExp(/\\(.)/g);

function strings(data) {
  if (!StringPrototypeStartsWith(data, '"')) return [data];
  const found = [];
  QUOTED.lastIndex = 0;
  for (let match = RegExpPrototypeExec(QUOTED, data); match !== null; match = RegExpPrototypeExec(QUOTED, data)) {
    ArrayPrototypePush(found, RegExpPrototypeSymbolReplace(ESCAPED, match[1], "$1"));
  }
  return found;
}

/** The data of a record in the form that Deno's resolver gives it. */
function dataOf(type, data) {
  const words = RegExpPrototypeSymbolSplit(SPACES, data);
  switch (type) {
    case "MX":
      return { preference: Number(words[0]), exchange: words[1] };
    case "SRV":
      return { priority: Number(words[0]), weight: Number(words[1]), port: Number(words[2]), target: words[3] };
    case "SOA":
      return {
        mname: words[0],
        rname: words[1],
        serial: Number(words[2]),
        refresh: Number(words[3]),
        retry: Number(words[4]),
        expire: Number(words[5]),
        minimum: Number(words[6]),
      };
    case "TXT":
      return strings(data);
    case "CAA":
      return { critical: NumberParseInt(words[0]) >= 128, tag: words[1], value: strings(words[2])[0] };
    case "NAPTR": {
      const quoted = strings(StringPrototypeSlice(data, data.indexOf('"')));
      return {
        order: Number(words[0]),
        preference: Number(words[1]),
        flags: quoted[0],
        services: quoted[1],
        regexp: quoted[2],
        replacement: words[words.length - 1],
      };
    }
    default:
      return data;
  }
}

async function op_dns_resolve({ query, recordType }) {
  const wanted = recordType === "ANY" ? ["A", "AAAA", "MX", "TXT", "NS", "CNAME", "SOA"] : [recordType];
  const records = [];
  for (const type of wanted) {
    for (const { type: number, TTL: ttl, data } of await ask(query, type)) {
      if (number === TYPES[type]) ArrayPrototypePush(records, { recordType: type, ttl, data: dataOf(type, data) });
    }
  }
  if (records.length === 0) throw failure("ENODATA");
  return records;
}

async function op_node_getaddrinfo(hostname, _port, family) {
  const found = [];
  for (const type of family === 6 ? ["AAAA"] : family === 4 ? ["A"] : ["A", "AAAA"]) {
    for (const { type: number, data } of await ask(hostname, type)) {
      if (number === TYPES[type]) ArrayPrototypePush(found, data);
    }
  }
  return found;
}

async function op_node_getnameinfo(address, port) {
  const reversed = StringPrototypeSplit(address, ".").reverse().join(".");
  const records = await ask(`${reversed}.in-addr.arpa`, "PTR");
  if (records.length === 0) throw failure("ENOTFOUND");
  return [StringPrototypeSlice(records[0].data, 0, -1), `${port}`];
}

return {
  op_dns_resolve,
  op_net_get_ips_from_perm_token: (addresses) => addresses,
  op_net_get_system_dns_servers: () => [["1.1.1.1", 53]],
  op_node_getaddrinfo,
  op_node_getnameinfo,
};
})();
