"""What a reader must know to judge the table."""

NOTES = [
    "A cell is the median of the rounds; ± is half the range of the rounds, in percent of it. The order of the servers "
    "rotates from round to round; one server runs at a time.",
    "Server and client share the same cores: throughput is what is left beside the client. All traffic is loopback.",
    "Full load: 64 connections, each always with one request in flight (closed loop). Half load: requests due at half "
    "of that server's own throughput of the same round, over 64 connections (open loop); latency counts from when a "
    "request was due, so a stall is charged to all requests it delays. The rates differ between servers: a faster "
    "server's half-load latency is measured at a higher rate.",
    "Each answer's status and framing are checked under load, its content before and after; one bad answer fails the "
    "measure. Every server warms up before it is measured.",
    "All servers run the same bundled modules. workerd and Deno run as their manuals start them: one thread of "
    "JavaScript each (workerd has no other way; `deno serve --parallel` is not used). Deno serves one program without "
    "isolation between tenants.",
    "SHA-256 is native code in all three; they may run it on another thread than the handler's.",
    "Cold start, Selvedge: all workers are deployed to one `dev`, which has started; the first request loads the "
    "worker. One keep-alive connection, one request at a time, timed by the client from the first byte sent to the "
    "last received, nothing subtracted. `Back to back` leaves no time to refill a pool of blank isolates.",
    "Cold start, workerd: a configured worker is loaded at start-up, so it has no cold start in this sense. Its "
    "nearest equivalent is measured: one dispatcher loads each worker upon its first request through workerd's Worker "
    "Loader (experimental), in the process that serves it: no process boundary, no sandbox around it.",
    "Cold start, Deno: process start to first answer, one process for each of 100 of the workers.",
    "Start-up per worker: start-up with all workers deployed, less start-up with one, over their number. workerd "
    "creates every isolate in that time; Selvedge reads and bundles, and loads none.",
    "Memory is the proportional set size (PSS) summed over the server's processes, less that of the same server "
    "with the same workers deployed but unloaded (workerd: with the same sockets but no workers behind them), each "
    "worker having answered one request, a second or more after. MB are 10^6 bytes. Selvedge's warm pool of "
    "blank isolates is part of the base.",
    "Memory, Deno: web workers of one process, each started by its first request; they do not serve HTTP themselves.",
    "Start-up is timed from before the process is made to the first complete answer, asked for every half millisecond, "
    "with caches warm from one start before.",
    "Static file: answered by the edge from `assets`, without an isolate; by workerd's disk service.",
    "Deploys under load: `selvedge up`; each deploy is what wrangler sends for a worker with static files (a new file, a "
    "version of two modules, a deployment). Two connections ask the worker, whose answer has the number of its code, of "
    "another module, of its static file and of its version; one asks for the file itself. None pauses. Live is when the "
    "last of them first saw the new number, counted from when the API's answer was read; 0 if before. One failed "
    "request, one answer of unequal numbers or one older than before fails the measure.",
    "Many deployed, Selvedge: one `selvedge up`, to which distinct small workers are deployed by its API, each by a "
    "multipart upload and a call that opens its host name; it starts each once. Start-up is from exec, with the data of "
    "those deploys: to `/readyz`, and in other starts to the first answer of a worker. `After a start` none is loaded; "
    "`after their deploys` the isolates that showed that they start are there yet, up to 2,000 for up to ten minutes "
    "(memory of all processes: PSS). One more deploy: another version of a random one, one client.",
    "Many deployed, workerd: as many services in its configuration, which it loads at its start, and a router of one "
    "worker with a service binding to each, since it does not route by host. Throughput and latency are with that hop.",
    "Many deployed: the same rate is half of that server's first throughput with one deployed. The routing process is "
    "Selvedge's edge, with its control plane, without its runners, which hold none of the workers after a start; workerd "
    "is one process, which holds them all: these rows say what deployed workers cost that nobody asks for, not isolates. "
    "Memory of the routing process is its resident set size (RSS); for each one deployed, it is that with the most less "
    "that with the fewest, over their number.",
]
