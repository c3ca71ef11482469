// `node:sqlite`: there are no database files; Durable Objects and D1 are where SQL lives.
(function () {
const { refusing, refusingClass } = __bootstrap.core.loadExtScript("ext:selvedge_node/stubs.js");
const constants = {
  __proto__: null,
  SQLITE_CHANGESET_OMIT: 0,
  SQLITE_CHANGESET_REPLACE: 1,
  SQLITE_CHANGESET_ABORT: 2,
  SQLITE_CHANGESET_DATA: 1,
  SQLITE_CHANGESET_NOTFOUND: 2,
  SQLITE_CHANGESET_CONFLICT: 3,
  SQLITE_CHANGESET_CONSTRAINT: 4,
  SQLITE_CHANGESET_FOREIGN_KEY: 5,
};
return {
  backup: refusing("sqlite", "backup"),
  constants,
  DatabaseSync: refusingClass("sqlite", "DatabaseSync", ["close", "exec", "open", "prepare"]),
  StatementSync: refusingClass("sqlite", "StatementSync", ["all", "get", "iterate", "run"]),
};
})();
