// Stands in for deno_fetch's client: outbound requests leave by the host door, so there is none in the isolate.
(function () {
class HttpClient {}
return { HttpClient, HttpClientPrototype: HttpClient.prototype };
})();
