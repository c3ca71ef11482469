// The ops and `Deno` functions that Deno's `node:fs` is written on, over the isolate's own file system.
(function () {
const { core, primordials } = __bootstrap;
const {
  BigInt,
  Date,
  DatePrototype,
  DatePrototypeGetTime,
  MathRandom,
  Number,
  NumberPrototypeToString,
  ObjectPrototypeIsPrototypeOf,
  Promise,
  ReflectApply,
  SafeMap,
  StringPrototypePadEnd,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
  SymbolAsyncIterator,
} = primordials;
const files = core.loadExtScript("ext:selvedge_node/files.js");

/** The asynchronous form of a function: the same, with a promise around it. */
function later(call) {
  return async function (...args) {
    return ReflectApply(call, this, args);
  };
}

// === ops, by their names in Deno ===

function exists(path) {
  try {
    return files.locate(path).node !== undefined;
  } catch {
    return false;
  }
}

const TEMPORARY_NAME_TRIES = 100;

function mkdtemp(prefix) {
  for (let i = 0; i < TEMPORARY_NAME_TRIES; i++) {
    const random = NumberPrototypeToString(MathRandom(), 36);
    const path = prefix + StringPrototypePadEnd(StringPrototypeSlice(random, 2, 8), 6, "0");
    if (exists(path)) continue;
    files.mkdir(path, false, 0o700);
    return path;
  }
  throw files.failure("EEXIST");
}

function readFile(path, flags) {
  return files.contents(files.openNode(path, flags ?? 0, 0o666));
}

const seconds = (whole, nanoseconds) => whole * 1000 + nanoseconds / 1e6;

function setTimes(node, atimeSeconds, atimeNanoseconds, mtimeSeconds, mtimeNanoseconds) {
  files.change(node, {
    atime: seconds(atimeSeconds, atimeNanoseconds),
    mtime: seconds(mtimeSeconds, mtimeNanoseconds),
  });
}

/** An op on a descriptor's node. */
const onDescriptor = (call) => (fd, ...args) => call(files.descriptor(fd).node, ...args);
const onLink = (call) => (path, ...args) => call(files.existing(path, false), ...args);

const readRids = new SafeMap();
let nextReadRid = 1;

/** What has a synchronous and an asynchronous op. */
const pairs = {
  __proto__: null,
  op_node_fs_fchmod: onDescriptor((node, permissions) => files.change(node, { permissions })),
  op_node_fs_fchown: onDescriptor((node, uid, gid) => files.change(node, { uid, gid })),
  op_node_fs_fdatasync: onDescriptor(() => {}),
  op_node_fs_fstat: onDescriptor((node) => files.stat(node)),
  op_node_fs_fsync: onDescriptor(() => {}),
  op_node_fs_ftruncate(fd, length) {
    const file = files.descriptor(fd);
    if (!file.writes) throw files.failure("EINVAL");
    files.truncate(file.node, length);
  },
  op_node_fs_futimes: onDescriptor(setTimes),
  op_node_fs_exists: exists,
  op_node_fs_read_file: onDescriptor((node) => files.contents(node)),
  op_node_fs_seek: (fd, offset, whence) => files.seek(fd, offset, whence),
  op_node_lchmod: onLink((node, permissions) => files.change(node, { permissions })),
  op_node_lchown: onLink((node, uid, gid) => files.change(node, { uid, gid })),
  op_node_lutimes: onLink(setTimes),
  op_node_mkdtemp: mkdtemp,
  op_node_open: (path, flags, mode) => files.open(path, flags, mode),
  op_node_rmdir: (path) => files.remove(path, "directory"),
  op_node_statfs(path) {
    files.existing(path);
    return files.usage();
  },
};

const ops = {
  __proto__: null,
  op_fs_cwd: () => core.loadExtScript("ext:selvedge_node/deno.js").cwd(),
  op_fs_read_dir_sync: (path) => files.entriesOf(path),
  async op_fs_read_dir_async(path) {
    // Deno closes this as a resource; a number that no resource has makes that harmless.
    const entries = files.entriesOf(path);
    const rid = 0x4000_0000 + nextReadRid++;
    readRids.set(rid, { entries, next: 0 });
    return rid;
  },
  async op_fs_read_dir_async_next(rid) {
    const list = readRids.get(rid);
    if (list.next < list.entries.length) return list.entries[list.next++];
    readRids.delete(rid);
    return null;
  },
  op_fs_read_file_sync: readFile,
  op_fs_read_file_async: later((path, _cancelRid, flags) => readFile(path, flags)),
  op_fs_umask: (mask) => files.setUmask(mask),
  op_node_fs_close: (fd) => files.close(fd),
  op_node_fs_read_sync: (fd, buffer, position) => files.read(fd, buffer, Number(position)),
  op_node_fs_read_deferred: later((fd, buffer, position) => files.read(fd, buffer, Number(position))),
  op_node_fs_write_sync: (fd, buffer, position) => files.write(fd, buffer, position),
  op_node_fs_write_deferred: later((fd, buffer, position) => files.write(fd, buffer, position)),
  op_node_cp_sync: copyTree,
  op_node_cp_fast: later((from, to, recursive) => copyTree(from, to, false, recursive, true, false)),
  op_node_cp_check_paths_recursive: later(checkPaths),
  op_node_cp_validate_and_prepare: later((from, to, dereference) => {
    files.mkdir(files.parentPath(to), true);
    return checkPaths(from, to, dereference);
  }),
  op_node_cp_on_file: later((from, to, _mode, exists, force, errorOnExist, preserve) => {
    copyFile(from, to, exists, force, errorOnExist, preserve);
  }),
  op_node_cp_on_link: later((from, to, exists) => {
    if (exists) files.remove(to, "file");
    files.symlink(files.readLink(from), to);
  }),
  op_require_real_path: (path) => files.realPath(path),
  op_require_stat(path) {
    try {
      return files.stat(files.existing(path)).isDirectory ? 1 : 0;
    } catch {
      return -1;
    }
  },
};

for (const name in pairs) {
  ops[`${name}_sync`] = pairs[name];
  ops[name] = later(pairs[name]);
}

// === copying ===

const SRC_MODE_MASK = 0xffff_ffffn;
const DEST_EXISTS = 1n << 32n;
const SRC_DIRECTORY = 1n << 33n;
const SRC_FILE = 1n << 34n;
const SRC_CHAR_DEVICE = 1n << 35n;
const SRC_SYMLINK = 1n << 37n;

/** An error of `cp`: its `kind` says which. */
function copyFailure(kind, message, path) {
  const error = files.failure("EINVAL");
  error.os_errno = undefined;
  error.kind = kind;
  error.message = message;
  error.path = path;
  return error;
}

/** What Deno's `cp` asks about a source and its destination, as one number. */
function checkPaths(from, to, dereference) {
  const source = files.existing(from, dereference);
  const target = files.locate(to, dereference).node;
  const stat = files.stat(source);
  const targetStat = target === undefined ? undefined : files.stat(target);
  if (targetStat !== undefined) {
    if (target === source) throw copyFailure("EINVAL", "src and dest cannot be the same", to);
    if (stat.isDirectory && !targetStat.isDirectory) {
      throw copyFailure("DIR_TO_NON_DIR", `cannot overwrite non-directory ${to} with directory ${from}`, to);
    }
    if (!stat.isDirectory && targetStat.isDirectory) {
      throw copyFailure("NON_DIR_TO_DIR", `cannot overwrite directory ${to} with non-directory ${from}`, to);
    }
  }
  if (stat.isDirectory && StringPrototypeStartsWith(`${to}/`, `${from}/`)) {
    throw copyFailure("EINVAL", `cannot copy ${from} to a subdirectory of self ${to}`, to);
  }
  let info = BigInt(stat.mode) & SRC_MODE_MASK;
  if (targetStat !== undefined) info |= DEST_EXISTS;
  if (stat.isDirectory) info |= SRC_DIRECTORY;
  if (stat.isFile) info |= SRC_FILE;
  if (stat.isCharDevice) info |= SRC_CHAR_DEVICE;
  if (stat.isSymlink) info |= SRC_SYMLINK;
  return info;
}

function copyFile(from, to, exists, force, errorOnExist, preserve) {
  if (exists) {
    if (!force) {
      if (errorOnExist) throw copyFailure("EEXIST", `${to} already exists`, to);
      return;
    }
    files.remove(to, "file");
  }
  files.copy(from, to);
  if (preserve) {
    const { atimeMs, mtimeMs } = files.stat(files.existing(from));
    files.change(files.existing(to), { atime: atimeMs, mtime: mtimeMs });
  }
}

function copyTree(from, to, dereference, recursive, force, errorOnExist, preserve, _verbatim, _mode, filter) {
  checkPaths(from, to, dereference);
  const stat = files.stat(files.existing(from, dereference));
  const exists = files.locate(to, dereference).node !== undefined;
  if (stat.isSymlink) {
    if (exists) files.remove(to, "file");
    files.symlink(files.readLink(from), to);
    return;
  }
  if (!stat.isDirectory) {
    files.mkdir(files.parentPath(to), true);
    copyFile(from, to, exists, force, errorOnExist, preserve);
    return;
  }
  if (!recursive) throw copyFailure("EISDIR", `Recursive option not enabled, cannot copy a directory: ${from}`, from);
  files.mkdir(to, true);
  for (const { name } of files.entriesOf(from)) {
    const source = `${from}/${name}`;
    const target = `${to}/${name}`;
    if (filter && !filter(source, target)) continue;
    copyTree(source, target, dereference, recursive, force, errorOnExist, preserve, false, 0, filter);
  }
}

// === functions of `Deno` ===

function fileInfo(node) {
  const stat = files.stat(node);
  stat.atime = new Date(stat.atimeMs);
  stat.mtime = new Date(stat.mtimeMs);
  stat.ctime = new Date(stat.ctimeMs);
  stat.birthtime = new Date(stat.birthtimeMs);
  return stat;
}

const milliseconds = (time) =>
  ObjectPrototypeIsPrototypeOf(DatePrototype, time) ? DatePrototypeGetTime(time) : Number(time) * 1000;

const synchronous = {
  __proto__: null,
  chmod: (path, permissions) => files.change(files.existing(`${path}`), { permissions }),
  chown: (path, uid, gid) => files.change(files.existing(`${path}`), { uid, gid }),
  copyFile: (from, to) => files.copy(`${from}`, `${to}`),
  link: (from, to) => files.link(`${from}`, `${to}`),
  lstat: (path) => fileInfo(files.existing(`${path}`, false)),
  mkdir: (path, options) => files.mkdir(`${path}`, options?.recursive === true, options?.mode ?? 0o777),
  readDir: (path) => files.entriesOf(`${path}`),
  readLink: (path) => files.readLink(`${path}`),
  realPath: (path) => files.realPath(`${path}`),
  remove: (path, options) => files.remove(`${path}`, options?.recursive === true ? "tree" : "either"),
  rename: (from, to) => files.rename(`${from}`, `${to}`),
  stat: (path) => fileInfo(files.existing(`${path}`)),
  symlink: (target, path) => files.symlink(`${target}`, `${path}`),
  truncate: (path, length) => files.truncate(files.openNode(`${path}`, 1, 0o666), length ?? 0),
  utime: (path, atime, mtime) =>
    files.change(files.existing(`${path}`), { atime: milliseconds(atime), mtime: milliseconds(mtime) }),
};

const functions = { __proto__: null };
for (const name in synchronous) {
  functions[`${name}Sync`] = synchronous[name];
  functions[name] = later(synchronous[name]);
}
functions.readDir = (path) => ({
  async *[SymbolAsyncIterator]() {
    yield* files.entriesOf(`${path}`);
  },
});
/** Nothing changes files but the worker itself, and that goes unreported: a watcher that stays silent. */
functions.watchFs = () => ({
  close() {},
  ref() {},
  unref() {},
  [SymbolAsyncIterator]: () => ({ next: () => new Promise(() => {}), return: async () => ({ done: true }) }),
});

return { functions, ops };
})();
