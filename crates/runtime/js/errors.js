// The classes of errors that ops raise, by the names that Deno's crates give them: an op whose error has a class that
// nobody registered throws `undefined`. `crates/isolate/tests/errors.rs` names again what the crates in use raise.
(function () {
const { core, primordials } = __bootstrap;
const { Error, RangeError } = primordials;
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js");

/** Names of DOMExceptions: an op calls each with `DOMException` before it. */
const DOM_EXCEPTIONS = [
  "AbortError",
  "DataCloneError",
  "DataError",
  "IndexSizeError",
  "InvalidAccessError",
  "InvalidCharacterError",
  "InvalidModificationError",
  "InvalidStateError",
  "NetworkError",
  "NotFoundError",
  "NotSupportedError",
  "OperationError",
  "QuotaExceededError",
  "SyntaxError",
  "TimeoutError",
  "TypeMismatchError",
];

/** What the system's errors are called; `Deno.errors` of the `node:` modules has their classes. */
const SYSTEM_ERRORS = [
  "AddrInUse",
  "AddrNotAvailable",
  "AlreadyExists",
  "BrokenPipe",
  "Busy",
  "ConnectionAborted",
  "ConnectionRefused",
  "ConnectionReset",
  "FilesystemLoop",
  "InvalidData",
  "IsADirectory",
  "NetworkUnreachable",
  "NotADirectory",
  "NotConnected",
  "NotFound",
  "NotSupported",
  "PermissionDenied",
  "TimedOut",
  "UnexpectedEof",
  "WouldBlock",
  "WriteZero",
];

/** Node's errors that ops raise, and what they are made of. */
const NODE_ERRORS = {
  __proto__: null,
  ERR_CRYPTO_ECDH_INVALID_PUBLIC_KEY: Error,
  ERR_OUT_OF_RANGE: RangeError,
};

function registerErrors() {
  for (let i = 0; i < DOM_EXCEPTIONS.length; i++) {
    const name = DOM_EXCEPTIONS[i];
    core.registerErrorBuilder("DOMException" + name, (message) => new DOMException(message, name));
  }
  for (let i = 0; i < SYSTEM_ERRORS.length; i++) {
    const name = SYSTEM_ERRORS[i];
    core.registerErrorBuilder(
      name,
      (message) => new (core.loadExtScript("ext:selvedge_node/deno.js").errors[name])(message),
    );
  }
  for (const code in NODE_ERRORS) {
    core.registerErrorBuilder(code, (message) => {
      const error = new NODE_ERRORS[code](message);
      error.code = code;
      return error;
    });
  }
}

return { registerErrors };
})();
