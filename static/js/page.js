// What every page does; each behaviour is a file of its own.
import { startClocks } from "./clocks.js";
import { startComplete } from "./complete.js";
import { startCopy } from "./copy.js";
import { startFavicon } from "./favicon.js";
import { startJob } from "./job.js";
import { startKeys } from "./keys.js";
import { startList } from "./list.js";
import { connect } from "./live.js";
import { startLook } from "./look.js";
import { refreshed, startRefresh } from "./refresh.js";
import { startRows } from "./rows.js";

startLook();
startCopy();
startFavicon();
startClocks();
startKeys();
startRefresh();
startComplete();
const list = startList() ?? startRows();
const job = startJob();
// Pages without rows listen too: what moved tells them to draw anew.
const part = job ?? (await workflow()) ?? list ?? refreshed();
if (part) connect(part);

/** The graph is the largest of them, and on one page only. */
async function workflow() {
  return document.querySelector("[data-graph]") ? (await import("./workflow.js")).startWorkflow() : null;
}
