// A worker in Node (18 or newer, nothing to install): claims jobs of the tool "text.count", reports, and ends them.
// JOBSITE_URL=http://127.0.0.1:8000 JOBSITE_TOKEN=jst_... node examples/worker.mjs
// The tool is registered once, with an admin's token:
//   curl -X PUT $JOBSITE_URL/api/v1/tools/text.count -H "Authorization: Bearer $ADMIN" -H "Content-Type: application/json" \
//     -d '{"params": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}}'
const api = `${process.env.JOBSITE_URL ?? "http://127.0.0.1:8000"}/api/v1`;
const headers = { Authorization: `Bearer ${process.env.JOBSITE_TOKEN}`, "Content-Type": "application/json" };
const LEASE = 15_000;
let stopping = false;
process.on("SIGTERM", () => (stopping = true));

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function post(path, body = {}) {
  const answer = await fetch(api + path, { method: "POST", headers, body: JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(said.detail), { type: said.type });
  return said;
}

// What the tool does. `report` says how far it is, and throws when the job was cancelled or is no longer ours.
async function count({ text }, report) {
  const words = text.split(/\s+/).filter(Boolean);
  const seen = {};
  for (const [place, word] of words.entries()) {
    seen[word] = (seen[word] ?? 0) + 1;
    await report({ progress: (100 * place) / words.length, message: `word ${place + 1}`, currentStage: "count" });
  }
  return { words: words.length, seen };
}

async function run(job) {
  const attempt = `/attempts/${job.attempt}`;
  const report = async (news) => {
    const { cancelRequested, reason } = await post(`${attempt}/progress`, { ...news, leaseMs: LEASE });
    if (cancelRequested) throw new Error(`cancelled: ${reason}`);
    if (stopping) throw Object.assign(new Error("the worker is stopped"), { giveBack: true });
  };
  const beats = setInterval(() => post(`${attempt}/heartbeat`, { leaseMs: LEASE }).catch(() => {}), LEASE / 3);
  try {
    await post(`${attempt}/result`, { structuredContent: await count(job.params, report) });
  } catch (error) {
    // Whoever has lost the job (another has taken over, or it timed out) has nothing more to say about it.
    if (error.type?.endsWith("/superseded")) return;
    if (error.giveBack) await post(`${attempt}/release`);
    else await post(`${attempt}/failure`, { errorClass: error.name, message: error.message, category: "transient" });
  } finally {
    clearInterval(beats);
  }
}

while (!stopping) {
  try {
    const { jobs } = await post("/claims?wait=5", { tools: ["text.count"], max: 4, leaseMs: LEASE, worker: `node-${process.pid}` });
    await Promise.all(jobs.map(run));
  } catch (error) {
    console.error(error.message);
    await sleep(1000);
  }
}
