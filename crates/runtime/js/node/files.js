// The file system of one isolate: a tree in the isolate's own heap, so that it counts against the isolate's memory and
// goes away with it. /tmp is for the worker to write; /dev has the devices that programs look for; the rest is read-only.
(function () {
const { core, primordials } = __bootstrap;
const { op_frozen_now } = core.ops;
const {
  ArrayPrototypePop,
  ArrayPrototypePush,
  MathFloor,
  MathMax,
  MathMin,
  SafeMap,
  SafeMapIterator,
  StringPrototypeCharCodeAt,
  StringPrototypeEndsWith,
  StringPrototypeSlice,
  StringPrototypeSplit,
  StringPrototypeStartsWith,
  TypedArrayPrototypeFill,
  TypedArrayPrototypeSet,
  TypedArrayPrototypeSlice,
  TypedArrayPrototypeSubarray,
  Uint8Array,
} = primordials;
const Deno = core.loadExtScript("ext:selvedge_node/deno.js");

/** Bytes of all files together. */
const BYTES_MAX = 64 * 1024 * 1024;
/** Files, folders and links together. */
const NODES_MAX = 16_384;
/** Open descriptors. */
const DESCRIPTORS_MAX = 1_024;
/** A path, in characters, and one of its names. */
const PATH_MAX = 4_096;
const NAME_MAX = 255;
/** Links followed in one path. */
const LINKS_MAX = 40;

const ERRORS = {
  __proto__: null,
  EPERM: [1, "Operation not permitted", "PermissionDenied"],
  ENOENT: [2, "No such file or directory", "NotFound"],
  EBADF: [9, "Bad file descriptor", "BadResource"],
  EEXIST: [17, "File exists", "AlreadyExists"],
  EXDEV: [18, "Invalid cross-device link", "NotSupported"],
  ENOTDIR: [20, "Not a directory", "NotADirectory"],
  EISDIR: [21, "Is a directory", "IsADirectory"],
  EINVAL: [22, "Invalid argument", "InvalidData"],
  EMFILE: [24, "Too many open files", "Busy"],
  ENOSPC: [28, "No space left on device", "Busy"],
  EROFS: [30, "Read-only file system", "PermissionDenied"],
  ENAMETOOLONG: [36, "File name too long", "InvalidData"],
  ENOTEMPTY: [39, "Directory not empty", "Busy"],
  ELOOP: [40, "Too many levels of symbolic links", "FilesystemLoop"],
};

/** An error as Deno's ops throw it: `node:fs` reads the number in its message. */
function failure(code) {
  const { 0: errno, 1: text, 2: name } = ERRORS[code];
  const error = new Deno.errors[name](`${text} (os error ${errno})`);
  error.code = code;
  error.os_errno = errno;
  return error;
}

// === nodes ===

const DIRECTORY = 0o040000;
const FILE = 0o100000;
const LINK = 0o120000;
const DEVICE = 0o020000;

let inodes = 1;
let nodes = 0;
let bytes = 0;

class Node {
  constructor(type, permissions, writable) {
    const now = op_frozen_now();
    this.ino = inodes++;
    this.type = type;
    this.permissions = permissions;
    /** Whether a worker may change it. */
    this.writable = writable;
    this.links = type === DIRECTORY ? 2 : 1;
    this.atime = this.mtime = this.ctime = this.birthtime = now;
    this.parent = undefined;
    this.entries = type === DIRECTORY ? new SafeMap() : undefined;
    this.target = undefined;
    this.device = undefined;
    this.data = undefined;
    this.size = 0;
    this.uid = this.gid = 0;
  }
}

function fixed(parent, name, type, permissions, writable = false) {
  const node = new Node(type, permissions, writable);
  node.parent = parent;
  parent.entries.set(name, node);
  return node;
}

const root = new Node(DIRECTORY, 0o755, false);
root.parent = root;
fixed(root, "bundle", DIRECTORY, 0o755);
fixed(root, "tmp", DIRECTORY, 0o777, true);
const dev = fixed(root, "dev", DIRECTORY, 0o755);
for (const name of ["full", "null", "random", "urandom", "zero"]) {
  fixed(dev, name, DEVICE, 0o666, true).device = name;
}

function created(parent, name, type, permissions) {
  if (!parent.writable) throw failure("EROFS");
  if (name.length > NAME_MAX) throw failure("ENAMETOOLONG");
  if (nodes >= NODES_MAX) throw failure("ENOSPC");
  nodes++;
  const node = new Node(type, permissions, true);
  node.parent = parent;
  parent.entries.set(name, node);
  if (type === DIRECTORY) parent.links++;
  touched(parent);
  return node;
}

function touched(node) {
  node.mtime = node.ctime = op_frozen_now();
}

function dropped(parent, name, node) {
  parent.entries.delete(name);
  if (node.type === DIRECTORY) parent.links--;
  touched(parent);
  node.links--;
  node.ctime = op_frozen_now();
  if (node.type === DIRECTORY || node.links === 0) {
    nodes--;
    // What is open stays readable; its bytes are given back when the last descriptor closes.
    if (node.data !== undefined && !(node.open > 0)) release(node);
  }
}

function release(node) {
  bytes -= node.data.length;
  node.data = undefined;
}

// === paths ===

function segments(path) {
  if (path === "") throw failure("ENOENT");
  if (path.length > PATH_MAX) throw failure("ENAMETOOLONG");
  for (let i = 0; i < path.length; i++) {
    if (StringPrototypeCharCodeAt(path, i) === 0) throw failure("EINVAL");
  }
  const absolute = StringPrototypeStartsWith(path, "/") ? path : `${Deno.cwd()}/${path}`;
  const names = [];
  for (const name of StringPrototypeSplit(absolute, "/")) {
    if (name !== "" && name !== ".") ArrayPrototypePush(names, name);
  }
  return names;
}

/**
 * Walks to where `path` leads.
 * @param {boolean} follow whether a link at its end is followed
 * @returns {{ parent: Node, name: string, node: Node | undefined }} the node, if it is there, and where it would lie
 */
function locate(path, follow = true) {
  let pending = segments(path);
  let at = root;
  let links = 0;
  let place = { parent: root, name: "", node: root };
  for (let i = 0; i < pending.length; i++) {
    const name = pending[i];
    if (at === undefined) throw failure("ENOENT");
    if (at.type !== DIRECTORY) throw failure("ENOTDIR");
    if (name === "..") {
      at = at.parent;
      place = { parent: at.parent, name: "", node: at };
      continue;
    }
    const node = at.entries.get(name);
    const last = i === pending.length - 1;
    if (node !== undefined && node.type === LINK && (!last || follow)) {
      if (++links > LINKS_MAX) throw failure("ELOOP");
      const rest = [];
      for (let j = i + 1; j < pending.length; j++) ArrayPrototypePush(rest, pending[j]);
      const target = StringPrototypeStartsWith(node.target, "/") ? node.target : `${pathOf(at)}/${node.target}`;
      pending = segments(target);
      for (let j = 0; j < rest.length; j++) ArrayPrototypePush(pending, rest[j]);
      at = root;
      i = -1;
      place = { parent: root, name: "", node: root };
      continue;
    }
    place = { parent: at, name, node };
    at = node;
  }
  if (place.node !== undefined && place.node.type !== DIRECTORY && StringPrototypeEndsWith(path, "/")) {
    throw failure("ENOTDIR");
  }
  return place;
}

function existing(path, follow = true) {
  const { node } = locate(path, follow);
  if (node === undefined) throw failure("ENOENT");
  return node;
}

function nameIn(parent, node) {
  for (const { 0: name, 1: entry } of new SafeMapIterator(parent.entries)) {
    if (entry === node) return name;
  }
  return "";
}

/** The absolute path of a directory. */
function pathOf(directory) {
  let path = "";
  for (let at = directory; at !== root; at = at.parent) path = `/${nameIn(at.parent, at)}${path}`;
  return path === "" ? "/" : path;
}

function realPath(path) {
  const place = locate(path);
  if (place.node === undefined) throw failure("ENOENT");
  if (place.node.type === DIRECTORY) return pathOf(place.node);
  const parent = pathOf(place.parent);
  return parent === "/" ? `/${place.name}` : `${parent}/${place.name}`;
}

/** The path of the directory that `path` names, for `process.chdir`. */
function directoryAt(path) {
  if (existing(path).type !== DIRECTORY) throw failure("ENOTDIR");
  return realPath(path);
}

// === contents ===

const EMPTY = new Uint8Array(0);

/** Makes room for `size` bytes in a file. */
function reserve(node, size) {
  const data = node.data ?? EMPTY;
  if (size <= data.length) return;
  const capacity = MathMax(size, MathMin(data.length * 2, data.length + 1024 * 1024));
  const more = capacity - data.length;
  if (bytes + more > BYTES_MAX) throw failure("ENOSPC");
  const grown = new Uint8Array(capacity);
  TypedArrayPrototypeSet(grown, TypedArrayPrototypeSubarray(data, 0, node.size));
  bytes += more;
  node.data = grown;
}

function truncate(node, size) {
  if (node.type !== FILE) return;
  if (size > node.size) reserve(node, size);
  else if (node.data !== undefined) TypedArrayPrototypeFill(node.data, 0, size, node.size);
  node.size = size;
  touched(node);
}

function readAt(node, buffer, position) {
  switch (node.device) {
    case undefined:
      break;
    case "null":
      return 0;
    case "random":
    case "urandom":
      core.ops.op_node_fill_random(buffer);
      return buffer.length;
    default:
      TypedArrayPrototypeFill(buffer, 0);
      return buffer.length;
  }
  if (node.type === DIRECTORY) throw failure("EISDIR");
  node.atime = op_frozen_now();
  const count = MathMin(buffer.length, MathMax(0, node.size - position));
  if (count > 0) TypedArrayPrototypeSet(buffer, TypedArrayPrototypeSubarray(node.data, position, position + count));
  return count;
}

function writeAt(node, buffer, position) {
  if (node.device === "full") throw failure("ENOSPC");
  if (node.device !== undefined) return buffer.length;
  reserve(node, position + buffer.length);
  TypedArrayPrototypeSet(node.data ?? EMPTY, buffer, position);
  node.size = MathMax(node.size, position + buffer.length);
  touched(node);
  return buffer.length;
}

function contents(node) {
  if (node.type === DIRECTORY) throw failure("EISDIR");
  if (node.type === DEVICE && node.device !== "null") throw failure("EINVAL");
  return node.data === undefined ? new Uint8Array(0) : TypedArrayPrototypeSlice(node.data, 0, node.size);
}

// === descriptors ===

const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const O_APPEND = 0o2000;
const O_DIRECTORY = 0o200000;
const O_NOFOLLOW = 0o400000;

const descriptors = new SafeMap();
const freed = [];
// 0, 1 and 2 are the standard streams, which are not files.
let nextDescriptor = 3;

function openNode(path, flags, mode) {
  const place = locate(path, (flags & O_NOFOLLOW) === 0);
  let { node } = place;
  const writes = (flags & O_ACCMODE) === O_WRONLY || (flags & O_ACCMODE) === O_RDWR;
  if (node === undefined) {
    if ((flags & O_CREAT) === 0) throw failure("ENOENT");
    if (StringPrototypeEndsWith(path, "/")) throw failure("EISDIR");
    node = created(place.parent, place.name, FILE, mode & 0o777 & ~umask);
  } else {
    if ((flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0) throw failure("EEXIST");
    if (node.type === LINK) throw failure("ELOOP");
    if ((flags & O_DIRECTORY) !== 0 && node.type !== DIRECTORY) throw failure("ENOTDIR");
    if (writes && node.type === DIRECTORY) throw failure("EISDIR");
    if (writes && !node.writable) throw failure("EROFS");
    if ((flags & O_TRUNC) !== 0 && writes) truncate(node, 0);
  }
  return node;
}

function open(path, flags = 0, mode = 0o666) {
  if (descriptors.size >= DESCRIPTORS_MAX) throw failure("EMFILE");
  const node = openNode(path, flags, mode);
  const fd = freed.length > 0 ? ArrayPrototypePop(freed) : nextDescriptor++;
  node.open = (node.open ?? 0) + 1;
  const access = flags & O_ACCMODE;
  descriptors.set(fd, {
    node,
    position: 0,
    reads: access !== O_WRONLY,
    writes: access === O_WRONLY || access === O_RDWR,
    appends: (flags & O_APPEND) !== 0,
  });
  return fd;
}

function descriptor(fd) {
  const found = descriptors.get(fd);
  if (found === undefined) throw failure("EBADF");
  return found;
}

function close(fd) {
  const { node } = descriptor(fd);
  descriptors.delete(fd);
  ArrayPrototypePush(freed, fd);
  node.open--;
  if (node.open === 0 && node.links === 0 && node.data !== undefined) release(node);
}

/** Reads at `position`, or where the descriptor stands if that is negative. */
function read(fd, buffer, position) {
  const file = descriptor(fd);
  if (!file.reads) throw failure("EBADF");
  const count = readAt(file.node, buffer, position < 0 ? file.position : position);
  if (position < 0) file.position += count;
  return count;
}

function write(fd, buffer, position) {
  const file = descriptor(fd);
  if (!file.writes) throw failure("EBADF");
  const at = file.appends ? file.node.size : position < 0 ? file.position : position;
  const count = writeAt(file.node, buffer, at);
  if (position < 0) file.position = at + count;
  return count;
}

function seek(fd, offset, whence) {
  const file = descriptor(fd);
  const base = whence === 0 ? 0 : whence === 1 ? file.position : file.node.size;
  if (base + offset < 0) throw failure("EINVAL");
  file.position = base + offset;
  return file.position;
}

// === the tree ===

let umask = 0o022;

function setUmask(mask) {
  const previous = umask;
  if (mask !== null && mask !== undefined) umask = mask & 0o777;
  return previous;
}

function mkdir(path, recursive, mode = 0o777) {
  const names = segments(path);
  let at = "";
  for (let i = 0; i < names.length; i++) {
    at += `/${names[i]}`;
    const last = i === names.length - 1;
    if (!recursive && !last) continue;
    const { parent, name, node } = locate(at);
    if (node === undefined) {
      created(parent, name, DIRECTORY, mode & 0o777 & ~umask);
    } else if (node.type !== DIRECTORY) {
      throw failure(last ? "EEXIST" : "ENOTDIR");
    } else if (last && !recursive) {
      throw failure("EEXIST");
    }
  }
  if (names.length === 0 && !recursive) throw failure("EEXIST");
}

function removeTree(parent, name, node) {
  if (!node.writable || !parent.writable) throw failure("EROFS");
  if (node.type === DIRECTORY) {
    for (const entry of [...new SafeMapIterator(node.entries)]) removeTree(node, entry[0], entry[1]);
  }
  dropped(parent, name, node);
}

/** @param {"file" | "directory" | "either" | "tree"} what */
function remove(path, what) {
  const { parent, name, node } = locate(path, false);
  if (node === undefined) throw failure("ENOENT");
  if (node === root || name === "") throw failure("EINVAL");
  if (!parent.writable) throw failure("EROFS");
  if (what === "file" && node.type === DIRECTORY) throw failure("EISDIR");
  if (what === "directory" && node.type !== DIRECTORY) throw failure("ENOTDIR");
  if (what !== "tree" && node.type === DIRECTORY && node.entries.size > 0) throw failure("ENOTEMPTY");
  removeTree(parent, name, node);
}

function within(node, directory) {
  for (let at = node; ; at = at.parent) {
    if (at === directory) return true;
    if (at === root) return false;
  }
}

function rename(from, to) {
  const source = locate(from, false);
  if (source.node === undefined) throw failure("ENOENT");
  const target = locate(to, false);
  if (!source.parent.writable || !target.parent.writable) throw failure("EROFS");
  if (source.node === target.node) return;
  if (source.node.type === DIRECTORY && within(target.parent, source.node)) throw failure("EINVAL");
  if (target.node !== undefined) {
    if (target.node.type === DIRECTORY && source.node.type !== DIRECTORY) throw failure("EISDIR");
    if (target.node.type !== DIRECTORY && source.node.type === DIRECTORY) throw failure("ENOTDIR");
    if (target.node.type === DIRECTORY && target.node.entries.size > 0) throw failure("ENOTEMPTY");
    dropped(target.parent, target.name, target.node);
  }
  source.parent.entries.delete(source.name);
  target.parent.entries.set(target.name, source.node);
  if (source.node.type === DIRECTORY) {
    source.parent.links--;
    target.parent.links++;
  }
  source.node.parent = target.parent;
  touched(source.parent);
  touched(target.parent);
}

function link(from, to) {
  const node = existing(from, false);
  if (node.type === DIRECTORY) throw failure("EPERM");
  const target = locate(to, false);
  if (target.node !== undefined) throw failure("EEXIST");
  if (!target.parent.writable || !node.writable) throw failure("EROFS");
  target.parent.entries.set(target.name, node);
  node.links++;
  touched(target.parent);
}

function symlink(target, path) {
  const place = locate(path, false);
  if (place.node !== undefined) throw failure("EEXIST");
  const node = created(place.parent, place.name, LINK, 0o777);
  node.target = target;
  node.size = target.length;
}

function readLink(path) {
  const node = existing(path, false);
  if (node.type !== LINK) throw failure("EINVAL");
  return node.target;
}

function entriesOf(path) {
  const node = existing(path);
  if (node.type !== DIRECTORY) throw failure("ENOTDIR");
  const list = [];
  for (const { 0: name, 1: entry } of new SafeMapIterator(node.entries)) {
    ArrayPrototypePush(list, {
      name,
      isFile: entry.type === FILE,
      isDirectory: entry.type === DIRECTORY,
      isSymlink: entry.type === LINK,
      isCharDevice: entry.type === DEVICE,
      isBlockDevice: false,
      isFifo: false,
      isSocket: false,
    });
  }
  return list;
}

/** Changes what a node says of itself. */
function change(node, what) {
  if (!node.writable) throw failure("EROFS");
  if (what.permissions !== undefined) node.permissions = what.permissions & 0o7777;
  if (what.uid !== undefined && what.uid !== null) node.uid = what.uid;
  if (what.gid !== undefined && what.gid !== null) node.gid = what.gid;
  if (what.atime !== undefined) node.atime = what.atime;
  if (what.mtime !== undefined) node.mtime = what.mtime;
  node.ctime = op_frozen_now();
}

const BLOCK = 4096;

function stat(node) {
  return {
    isFile: node.type === FILE,
    isDirectory: node.type === DIRECTORY,
    isSymlink: node.type === LINK,
    isBlockDevice: false,
    isCharDevice: node.type === DEVICE,
    isFifo: false,
    isSocket: false,
    size: node.size,
    atimeMs: node.atime,
    mtimeMs: node.mtime,
    ctimeMs: node.ctime,
    birthtimeMs: node.birthtime,
    dev: 1,
    ino: node.ino,
    mode: node.type | node.permissions,
    nlink: node.links,
    uid: node.uid,
    gid: node.gid,
    rdev: 0,
    blksize: BLOCK,
    blocks: MathFloor((node.size + 511) / 512),
  };
}

function usage() {
  return {
    type: 0x01021994, // tmpfs
    bsize: BLOCK,
    blocks: BYTES_MAX / BLOCK,
    bfree: MathFloor((BYTES_MAX - bytes) / BLOCK),
    bavail: MathFloor((BYTES_MAX - bytes) / BLOCK),
    files: NODES_MAX,
    ffree: NODES_MAX - nodes,
  };
}

function copy(from, to) {
  const node = existing(from);
  const data = contents(node);
  const target = openNode(to, O_WRONLY | O_CREAT, node.permissions);
  if (target === node) return;
  truncate(target, 0);
  writeAt(target, data, 0);
}

/** The first part of a path up to its last slash. */
function parentPath(path) {
  let end = path.length;
  while (end > 0 && path[end - 1] !== "/") end--;
  return end === 0 ? "." : StringPrototypeSlice(path, 0, end);
}

return {
  change,
  close,
  contents,
  copy,
  descriptor,
  directoryAt,
  entriesOf,
  existing,
  failure,
  link,
  locate,
  mkdir,
  open,
  openNode,
  parentPath,
  read,
  readLink,
  realPath,
  remove,
  rename,
  seek,
  setUmask,
  stat,
  symlink,
  truncate,
  usage,
  write,
};
})();
