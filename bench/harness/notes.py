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
]
