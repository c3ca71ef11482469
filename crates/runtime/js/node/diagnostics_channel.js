// `node:diagnostics_channel`: Deno's, with the class of its tracing channels. What is published is told to tail workers too,
// whether or not anybody subscribed:
// https://developers.cloudflare.com/workers/runtime-apis/nodejs/diagnostics-channel/
(function () {
const { core, primordials } = __bootstrap;
const { ObjectGetPrototypeOf, ReflectApply, SymbolPrototypeToString } = primordials;
const channels = core.loadExtScript("ext:deno_node/diagnostics_channel.js");
const { channelRecord } = core.loadExtScript("ext:selvedge/console.js");
const exports = channels.default ?? channels;
exports.TracingChannel ??= exports.tracingChannel("selvedge").constructor;

/** The prototype that a channel has while there are subscribers, which Deno does not export. */
function activePrototype() {
  const channel = exports.channel("selvedge");
  const subscriber = () => {};
  channel.subscribe(subscriber);
  const prototype = ObjectGetPrototypeOf(channel);
  channel.unsubscribe(subscriber);
  return prototype;
}

/** Tells of what is published through a prototype, after its subscribers. */
function tellOf(prototype) {
  const { publish } = prototype;
  prototype.publish = {
    publish(message) {
      ReflectApply(publish, this, [message]);
      const name = typeof this.name === "symbol" ? SymbolPrototypeToString(this.name) : this.name;
      if (typeof name === "string") channelRecord(name, message);
    },
  }.publish;
}

const inactive = exports.Channel.prototype;
tellOf(inactive);
tellOf(activePrototype());
// Deno publishes nothing where nobody subscribed.
inactive.runStores = {
  runStores(message, run, receiver, ...args) {
    this.publish(message);
    return ReflectApply(run, receiver, args);
  },
}.runStores;
return exports;
})();
