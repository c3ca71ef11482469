// `node:zlib`: Deno's, with its constants as exports of their own, as Node has them too.
(function () {
const { core, primordials } = __bootstrap;
const { ObjectHasOwn } = primordials;
const zlib = core.loadExtScript("ext:deno_node/zlib.js");
const exports = { ...(zlib.default ?? zlib) };

/** https://github.com/facebook/zstd/blob/dev/lib/zstd_errors.h */
const ZSTD = {
  ZSTD_CLEVEL_DEFAULT: 3,
  ZSTD_ENCODE: 10,
  ZSTD_DECODE: 11,
  ZSTD_error_no_error: 0,
  ZSTD_error_GENERIC: 1,
  ZSTD_error_prefix_unknown: 10,
  ZSTD_error_version_unsupported: 12,
  ZSTD_error_frameParameter_unsupported: 14,
  ZSTD_error_frameParameter_windowTooLarge: 16,
  ZSTD_error_corruption_detected: 20,
  ZSTD_error_checksum_wrong: 22,
  ZSTD_error_literals_headerWrong: 24,
  ZSTD_error_dictionary_corrupted: 30,
  ZSTD_error_dictionary_wrong: 32,
  ZSTD_error_dictionaryCreation_failed: 34,
  ZSTD_error_parameter_unsupported: 40,
  ZSTD_error_parameter_combination_unsupported: 41,
  ZSTD_error_parameter_outOfBound: 42,
  ZSTD_error_tableLog_tooLarge: 44,
  ZSTD_error_maxSymbolValue_tooLarge: 46,
  ZSTD_error_maxSymbolValue_tooSmall: 48,
  ZSTD_error_stabilityCondition_notRespected: 50,
  ZSTD_error_stage_wrong: 60,
  ZSTD_error_init_missing: 62,
  ZSTD_error_memory_allocation: 64,
  ZSTD_error_workSpace_tooSmall: 66,
  ZSTD_error_dstSize_tooSmall: 70,
  ZSTD_error_srcSize_wrong: 72,
  ZSTD_error_dstBuffer_null: 74,
  ZSTD_error_noForwardProgress_destFull: 80,
  ZSTD_error_noForwardProgress_inputEmpty: 82,
};
const constants = { ...ZSTD, ...exports.constants };
for (const name in constants) {
  if (!ObjectHasOwn(exports, name)) exports[name] = constants[name];
}
exports.constants = constants;
return exports;
})();
