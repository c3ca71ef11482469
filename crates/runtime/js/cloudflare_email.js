// `cloudflare:email`: https://developers.cloudflare.com/email-routing/email-workers/send-email-workers/
import { primordials } from "ext:core/mod.js";
const { ObjectDefineProperty, SymbolToStringTag, TypeError } = primordials;

/** A message as `send_email` bindings and `reply()` take it. */
export class EmailMessage {
  #from;
  #to;
  #raw;
  constructor(from, to, raw) {
    if (typeof from !== "string" || typeof to !== "string") {
      throw new TypeError("Failed to construct 'EmailMessage': from and to must be strings.");
    }
    if (raw === undefined || raw === null) {
      throw new TypeError("Failed to construct 'EmailMessage': the raw message must be a string or a ReadableStream.");
    }
    this.#from = from;
    this.#to = to;
    this.#raw = raw;
  }
  get from() {
    return this.#from;
  }
  get to() {
    return this.#to;
  }
  get raw() {
    return this.#raw;
  }
}
ObjectDefineProperty(EmailMessage.prototype, SymbolToStringTag, { __proto__: null, value: "EmailMessage", configurable: true });
