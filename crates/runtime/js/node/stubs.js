// What a worker cannot do, said in one way.
(function () {
const { primordials } = __bootstrap;
const { Error, ErrorCaptureStackTrace } = primordials;

/** The error of what there is no process, thread, socket or host for: Node's own code, and a message that names it. */
function unavailable(what) {
  const error = new Error(`${what} is not available in a worker`);
  error.code = "ERR_METHOD_NOT_IMPLEMENTED";
  ErrorCaptureStackTrace(error, unavailable);
  return error;
}

/** A function that says that it cannot be used. */
function refusing(module, name) {
  return {
    [name]: function () {
      throw unavailable(`${module}.${name}()`);
    },
  }[name];
}

/** A class of which there can be no instance, with these methods on its prototype. */
function refusingClass(module, name, methods = [], Base = undefined) {
  const what = `new ${module}.${name}()`;
  const Class = Base === undefined
    ? {
      [name]: class {
        constructor() {
          throw unavailable(what);
        }
      },
    }[name]
    : {
      [name]: class extends Base {
        constructor() {
          throw unavailable(what);
        }
      },
    }[name];
  for (const method of methods) Class.prototype[method] = refusing(`${module}.${name}`, method);
  return Class;
}

return { refusing, refusingClass, unavailable };
})();
