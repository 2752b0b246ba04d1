// What every page does; each behaviour is a file of its own.
import { startClocks } from "./clocks.js";
import { startCopy } from "./copy.js";
import { startJob } from "./job.js";
import { startKeys } from "./keys.js";
import { connect } from "./live.js";
import { startLook } from "./look.js";
import { startRows } from "./rows.js";

startLook();
startCopy();
startClocks();
startKeys();
const list = startRows();
const job = startJob();
const part = job ?? list;
if (part) connect(part);
