// `selvedge dev` starts no cron by itself. To run the handler:
//   curl "http://localhost:8787/cdn-cgi/handler/scheduled?cron=0+3+*+*+1"
const runs: { cron: string; at: string; report?: string }[] = [];

async function weeklyReport(run: { report?: string }): Promise<void> {
  await scheduler.wait(10);
  run.report = "written";
}

export default {
  async scheduled(controller: ScheduledController, _env: unknown, ctx: ExecutionContext): Promise<void> {
    const run = { cron: controller.cron, at: new Date(controller.scheduledTime).toISOString() };
    runs.push(run);
    console.log(`running for ${controller.cron}`);
    if (controller.cron === "0 3 * * 1") {
      // Goes on after the handler has returned.
      ctx.waitUntil(weeklyReport(run));
    }
  },

  fetch(): Response {
    return Response.json(runs);
  },
};
