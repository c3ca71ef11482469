// Bounds on what cryptography may cost. An op cannot be interrupted, so one call must end soon by itself; and nothing
// runs on a thread whose time nobody counts, so that "asynchronous" means later, on the isolate's own thread.
(function () {
const { core, primordials } = __bootstrap;
const {
  ArrayBufferPrototypeGetByteLength,
  MathPow,
  ObjectHasOwn,
  PromiseReject,
  PromiseResolve,
  PromisePrototypeThen,
  RangeError,
  ReflectApply,
  StringPrototypeSlice,
  TypedArrayPrototypeGetLength,
  Uint8Array,
} = primordials;

/** As Cloudflare Workers bounds PBKDF2. */
const PBKDF2_ITERATIONS_MAX = 100_000;
/** The longest key that a derivation gives, in bytes. */
const DERIVED_BYTES_MAX = 1024 * 1024;
/** The memory of one scrypt call, in bytes, and its work in the same unit. */
const SCRYPT_BYTES_MAX = 64 * 1024 * 1024;
const SCRYPT_WORK_MAX = 256 * 1024 * 1024;
/** The longest modulus or prime that is made or tested, in bits. */
const MODULUS_BITS_MAX = 4096;
const PRIME_BITS_MAX = 2048;
/** The rounds of a primality test. */
const PRIME_CHECKS_MAX = 64;

function refuse(what, used, allowed) {
  const error = new RangeError(`${what} of ${used} is more than the ${allowed} that a worker may ask for`);
  error.code = "ERR_OUT_OF_RANGE";
  return error;
}

function atMost(what, used, allowed) {
  if (used > allowed) throw refuse(what, used, allowed);
}

function scryptWithin(length, costLog2, blockSize, parallelization) {
  const memory = 128 * MathPow(2, costLog2) * blockSize;
  atMost("a derived key length", length, DERIVED_BYTES_MAX);
  atMost("scrypt memory (128 * N * r)", memory, SCRYPT_BYTES_MAX);
  atMost("scrypt work (128 * N * r * p)", memory * parallelization, SCRYPT_WORK_MAX);
}

/** What is checked before an op of this name runs. */
const checks = {
  __proto__: null,
  op_node_pbkdf2(_password, _salt, iterations, _digest, key) {
    atMost("a PBKDF2 iteration count", iterations, PBKDF2_ITERATIONS_MAX);
    atMost("a derived key length", TypedArrayPrototypeGetLength(key), DERIVED_BYTES_MAX);
  },
  op_node_scrypt_sync(_password, _salt, length, costLog2, blockSize, parallelization) {
    scryptWithin(length, costLog2, blockSize, parallelization);
  },
  op_node_generate_rsa_key: (bits) => atMost("an RSA modulus length", bits, MODULUS_BITS_MAX),
  op_node_generate_rsa_pss_key: (bits) => atMost("an RSA modulus length", bits, MODULUS_BITS_MAX),
  op_node_generate_dsa_key: (bits) => atMost("a DSA modulus length", bits, PRIME_BITS_MAX),
  op_node_generate_dh_key: (prime, bits) => {
    atMost("a Diffie-Hellman prime length", prime ? TypedArrayPrototypeGetLength(prime) * 8 : bits, MODULUS_BITS_MAX);
    if (!prime) atMost("the length of a prime to generate", bits, PRIME_BITS_MAX);
  },
  op_node_gen_prime: (bits, safe) =>
    atMost("the length of a prime to generate", safe ? bits * 4 : bits, PRIME_BITS_MAX),
  op_node_check_prime: (_number, rounds) => atMost("a count of primality checks", rounds, PRIME_CHECKS_MAX),
  op_node_check_prime_bytes(bytes, rounds) {
    atMost("a count of primality checks", rounds, PRIME_CHECKS_MAX);
    atMost("the length of a prime to check", byteLength(bytes) * 8, MODULUS_BITS_MAX);
  },
};

function byteLength(bytes) {
  return TypedArrayPrototypeGetLength(bytes) ?? ArrayBufferPrototypeGetByteLength(bytes);
}

/** Puts the checks before the ops of `ops`. */
function bound(ops) {
  for (const name in checks) {
    const check = checks[name];
    const op = ops[name];
    ops[name] = function (...args) {
      ReflectApply(check, undefined, args);
      return ReflectApply(op, undefined, args);
    };
  }
}

/** The asynchronous ops whose answer is more than that of the synchronous op of that name. */
const differing = {
  __proto__: null,
  op_node_fill_random_async: (ops, length) => {
    const bytes = new Uint8Array(length);
    ops.op_node_fill_random(bytes);
    return bytes;
  },
  op_node_pbkdf2_async: (ops, password, salt, iterations, digest, length) => {
    atMost("a derived key length", length, DERIVED_BYTES_MAX);
    const key = new Uint8Array(length);
    ops.op_node_pbkdf2(password, salt, iterations, digest, key);
    return key;
  },
  op_node_hkdf_async: (ops, digest, handle, salt, info, length) => {
    const key = new Uint8Array(length);
    ops.op_node_hkdf(digest, handle, salt, info, key);
    return key;
  },
  op_node_scrypt_async: (ops, password, salt, length, costLog2, blockSize, parallelization, memory) => {
    scryptWithin(length, costLog2, blockSize, parallelization);
    const key = new Uint8Array(length);
    ops.op_node_scrypt_sync(password, salt, length, costLog2, blockSize, parallelization, memory, key.buffer);
    return key;
  },
};

/** The asynchronous op `name`, made of the synchronous one. */
function asynchronous(name) {
  const ops = core.ops;
  const other = differing[name];
  const synchronous = StringPrototypeSlice(name, 0, -"_async".length);
  if (other === undefined && !ObjectHasOwn(ops, synchronous)) return undefined;
  return (...args) =>
    // A turn later, as a callback would come.
    PromisePrototypeThen(PromiseResolve(), () => {
      try {
        return other !== undefined ? other(ops, ...args) : ReflectApply(ops[synchronous], undefined, args);
      } catch (error) {
        return PromiseReject(error);
      }
    });
}

return { asynchronous, bound };
})();
