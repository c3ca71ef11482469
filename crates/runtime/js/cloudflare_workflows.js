// `cloudflare:workflows`: https://developers.cloudflare.com/workflows/build/workers-api/
import { primordials } from "ext:core/mod.js";
const { Error } = primordials;

/** Thrown in a step that is not to be tried again. */
export class NonRetryableError extends Error {
  constructor(message, name = "NonRetryableError") {
    super(message);
    this.name = name;
  }
}
