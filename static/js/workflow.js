// The graph of a workflow: laid out by dagre, drawn once as SVG; what moves changes one class. Zoomed, panned, walked by keys, folded.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 180;
const HEIGHT = 36;
const FLUSH = 250;
const ORDER = ["failed", "running", "pending", "cancelled", "completed"];

export function startWorkflow() {
  const box = document.querySelector("[data-graph]");
  const source = document.querySelector("#drawn");
  if (!(box instanceof HTMLElement) || !source) return null;
  const data = JSON.parse(source.textContent ?? "{}");
  /** @type {Map<string, Task>} */
  const tasks = new Map(data.jobs.map((/** @type {Task} */ task) => [task.id, task]));
  const view = startView(box);
  let folded = data.folded;
  /** @type {Map<string, Drawn>} */
  let nodes = new Map();
  let at = "";
  /** What is to be drawn anew, and by how much the counts have moved. @type {Set<string>} */
  const changed = new Set();
  /** @type {Map<string, number>} */
  const moved = new Map();
  /** @type {number | undefined} */
  let timer;

  const lay = () => {
    const graph = folded ? stages(tasks, data.stageEdges) : single(tasks, data.edges);
    nodes = paint(view.stage, graph, new Set(folded ? [] : data.critical));
    for (const id of nodes.keys()) colour(id);
    at = "";
    view.fit();
  };
  /** @param {string} id */
  const colour = (id) => {
    const node = nodes.get(id);
    if (!node) return;
    const members = folded ? [...tasks.values()].filter((task) => task.stage === id) : [];
    const status = folded
      ? (ORDER.find((wanted) => members.some((task) => task.status === wanted)) ?? "pending")
      : tasks.get(id)?.status;
    node.shape.setAttribute("class", `${node.shape.dataset.base} s-${status}${id === at ? " at" : ""}`);
    if (folded) {
      const of = node.shape.querySelector(".of");
      const done = members.filter((task) => task.status === "completed").length;
      if (of) of.textContent = `${done} of ${members.length}`;
    }
  };
  // A change of one class paints the whole picture again, so changes are gathered.
  const flush = () => {
    timer = undefined;
    for (const id of changed) colour(id);
    count(moved);
    changed.clear();
    moved.clear();
  };
  /** @param {string} id */
  const go = (id) => {
    const before = at;
    at = id;
    colour(before);
    colour(id);
    const node = nodes.get(id);
    if (node) view.show(node);
    const said = document.querySelector("[data-graph-said]");
    if (said && node) said.textContent = `${node.label}: ${folded ? node.about : (tasks.get(id)?.status ?? "")}`;
  };
  const open = () => {
    if (!nodes.has(at)) return;
    const stage = at.slice(at.indexOf(":") + 1);
    location.assign(
      folded
        ? `${box.dataset.jobs}?${new URLSearchParams({ q: `${box.dataset.query} tool:${stage}` })}`
        : `/jobs/${encodeURIComponent(at)}/`,
    );
  };

  const fold = () => {
    folded = !folded;
    lay();
  };
  dress(box, { folded: () => folded, fold, mayUnfold: data.mayUnfold, view });
  box.addEventListener("click", (event) => {
    const shape = event.target instanceof Element ? event.target.closest("[data-id]") : null;
    if (!(shape instanceof SVGElement) || view.dragged()) return;
    const id = shape.dataset.id ?? "";
    if (id === at) open();
    else go(id);
  });
  box.addEventListener("dblclick", open);
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) go(nearest(nodes, at, /** @type {[number, number]} */ (way)));
    else if (event.key === "Enter") open();
    else if (event.key === "+" || event.key === "=") view.zoom(1.3);
    else if (event.key === "-") view.zoom(1 / 1.3);
    else if (event.key === "0") view.fit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  // The layout's library is a plain script that may come a moment later.
  if (document.readyState === "complete") lay();
  else window.addEventListener("load", lay);

  return {
    topic: box.dataset.topic ?? "jobs",
    ids: () => [],
    /** @param {Delta[]} deltas */
    show(deltas) {
      for (const delta of deltas) {
        const task = tasks.get(delta.id);
        if (!task || !delta.status || delta.v[0] < task.v[0]) continue;
        if (delta.status !== task.status) {
          moved.set(task.status, (moved.get(task.status) ?? 0) - 1);
          moved.set(delta.status, (moved.get(delta.status) ?? 0) + 1);
        }
        task.v = delta.v;
        task.status = delta.status;
        changed.add(folded ? task.stage : task.id);
      }
      if (changed.size) timer ??= window.setTimeout(flush, FLUSH);
    },
  };
}

/** The tally above the graph, which may count more jobs than are drawn. @param {Map<string, number>} moved */
function count(moved) {
  /** @param {string} status */
  const add = (status) => {
    const shown = document.querySelector(`[data-whole-count="${CSS.escape(status)}"]`);
    const number = Math.max(0, Number(shown?.textContent ?? 0) + (moved.get(status) ?? 0));
    if (shown) shown.textContent = String(number);
    return number;
  };
  const ended = ["completed", "failed", "cancelled"].reduce((sum, status) => sum + add(status), 0);
  const total = ["pending", "running"].reduce((sum, status) => sum + add(status), ended);
  const percent = (100 * ended) / Math.max(1, total);
  const bar = document.querySelector("[data-whole-progress]");
  if (bar instanceof HTMLProgressElement) bar.value = Math.max(bar.value, percent);
  const whole = document.querySelector("[data-whole]");
  const completed = document.querySelector('[data-whole-count="completed"]')?.textContent;
  if (whole instanceof HTMLElement) whole.dataset.status = Number(completed) === total ? "completed" : "";
  const text = document.querySelector("[data-whole-percent]");
  if (text && bar instanceof HTMLProgressElement) text.textContent = `${Math.round(bar.value)} %`;
}

/** @param {Map<string, Task>} tasks @param {[string, string][]} edges @returns {Graph} */
function single(tasks, edges) {
  return { nodes: [...tasks.values()].map((task) => ({ id: task.id, label: task.id, about: task.tool })), edges };
}

/** A tool on a level is a stage. @param {Map<string, Task>} tasks @param {[string, string, number][]} edges @returns {Graph} */
function stages(tasks, edges) {
  /** @type {Map<string, number>} */
  const sizes = new Map();
  for (const task of tasks.values()) sizes.set(task.stage, (sizes.get(task.stage) ?? 0) + 1);
  const nodes = [...sizes].map(([id, size]) => ({ id, label: id.slice(id.indexOf(":") + 1), about: `${size} jobs` }));
  return { nodes, edges: edges.map(([from, to]) => [from, to]) };
}

/** @param {string} name @param {Record<string, string | number>} attributes @param {string} [text] */
function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

/** @param {SVGGElement} stage @param {Graph} graph @param {Set<string>} critical */
function paint(stage, graph, critical) {
  const dagre = /** @type {any} */ (globalThis).dagre;
  const laid = new dagre.graphlib.Graph();
  // The exact ranker takes seconds for a thousand nodes; the longest path is right for what flows one way.
  const ranker = graph.nodes.length > 200 ? "longest-path" : "network-simplex";
  laid.setGraph({ rankdir: "LR", nodesep: 12, ranksep: 70, marginx: 20, marginy: 20, ranker });
  laid.setDefaultEdgeLabel(() => ({}));
  for (const node of graph.nodes) laid.setNode(node.id, { ...node, width: WIDTH, height: HEIGHT });
  for (const [from, to] of graph.edges) laid.setEdge(from, to);
  dagre.layout(laid);
  const edges = laid.edges().map((/** @type {{v: string, w: string}} */ edge) => {
    const on = critical.has(edge.v) && critical.has(edge.w) ? " critical" : "";
    return shape("path", { class: `edge${on}`, d: curve(laid.edge(edge).points) });
  });
  /** @type {Map<string, Drawn>} */
  const nodes = new Map();
  for (const id of laid.nodes()) {
    const node = laid.node(id);
    const base = `node${critical.has(id) ? " critical" : ""}`;
    const group = /** @type {SVGGElement} */ (
      shape("g", {
        class: base,
        "data-base": base,
        "data-id": id,
        transform: `translate(${node.x - WIDTH / 2} ${node.y - HEIGHT / 2})`,
      })
    );
    group.append(
      shape("title", {}, `${node.label} ${node.about}`),
      shape("rect", { width: WIDTH, height: HEIGHT, rx: 7 }),
      shape("circle", { cx: 14, cy: HEIGHT / 2, r: 4.5 }),
      shape("text", { x: 26, y: 15 }, node.label.length > 18 ? `…${node.label.slice(-17)}` : node.label),
      shape("text", { x: 26, y: 29, class: "of" }, node.about.slice(0, 26)),
    );
    nodes.set(id, { ...node, shape: group });
  }
  stage.replaceChildren(...edges, ...[...nodes.values()].map((node) => node.shape));
  return nodes;
}

/** @param {{x: number, y: number}[]} points */
function curve(points) {
  const first = points[0];
  const last = points.at(-1);
  if (!first || !last) return "";
  const bend = (last.x - first.x) / 2;
  return `M${first.x},${first.y} C${first.x + bend},${first.y} ${last.x - bend},${last.y} ${last.x},${last.y}`;
}

/** The next node in a direction, the straightest first. @param {Map<string, Drawn>} nodes @param {string} at @param {[number, number]} way */
function nearest(nodes, at, way) {
  const here = nodes.get(at);
  if (!here) return nodes.keys().next().value ?? "";
  let best = at;
  let least = Number.POSITIVE_INFINITY;
  for (const [id, node] of nodes) {
    const along = (node.x - here.x) * way[0] + (node.y - here.y) * way[1];
    const across = Math.abs((node.x - here.x) * way[1]) + Math.abs((node.y - here.y) * way[0]);
    if (along > 1 && along + 3 * across < least) {
      least = along + 3 * across;
      best = id;
    }
  }
  return best;
}

/** Zoom and pan of the stage inside the box. @param {HTMLElement} box */
function startView(box) {
  const svg = shape("svg", { "aria-hidden": "true" });
  const stage = /** @type {SVGGElement} */ (shape("g", {}));
  svg.append(stage);
  box.replaceChildren(svg);
  let scale = 1;
  let x = 0;
  let y = 0;
  let moved = 0;
  /** Somebody chose what is to be seen: a box of another size does not take it away. */
  let chosen = false;
  const set = () => {
    stage.setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
    svg.classList.toggle("far", scale < 0.45);
  };
  /** @param {number} by @param {number} [cx] @param {number} [cy] */
  const zoom = (by, cx = box.clientWidth / 2, cy = box.clientHeight / 2) => {
    const next = Math.min(3, Math.max(0.02, scale * by));
    x = cx - ((cx - x) * next) / scale;
    y = cy - ((cy - y) * next) / scale;
    scale = next;
    chosen = true;
    set();
  };
  const fit = () => {
    const size = stage.getBBox();
    if (!size.width) return;
    scale = Math.min(1.2, (box.clientWidth - 20) / size.width, (box.clientHeight - 20) / size.height);
    x = (box.clientWidth - size.width * scale) / 2 - size.x * scale;
    y = (box.clientHeight - size.height * scale) / 2 - size.y * scale;
    chosen = false;
    set();
  };
  new ResizeObserver(() => {
    if (!chosen) fit();
  }).observe(box);
  box.addEventListener(
    "wheel",
    (event) => {
      // Without a modifier the page scrolls on, as everywhere; a pinch comes with one.
      if (!event.ctrlKey && document.activeElement !== box) return;
      event.preventDefault();
      const place = box.getBoundingClientRect();
      zoom(event.deltaY < 0 ? 1.12 : 1 / 1.12, event.clientX - place.left, event.clientY - place.top);
    },
    { passive: false },
  );
  box.addEventListener("pointerdown", () => {
    moved = 0;
  });
  box.addEventListener("pointermove", (event) => {
    if (event.buttons !== 1) return;
    x += event.movementX;
    y += event.movementY;
    moved += Math.abs(event.movementX) + Math.abs(event.movementY);
    chosen = true;
    set();
  });
  return {
    stage,
    zoom,
    fit,
    dragged: () => moved > 6,
    /** @param {Drawn} node */
    show(node) {
      const sx = x + node.x * scale;
      const sy = y + node.y * scale;
      if (scale < 0.45) zoom(0.8 / scale, sx, sy);
      const nx = x + node.x * scale;
      const ny = y + node.y * scale;
      if (nx < 80 || nx > box.clientWidth - 80) x += box.clientWidth / 2 - nx;
      if (ny < 40 || ny > box.clientHeight - 40) y += box.clientHeight / 2 - ny;
      set();
    },
  };
}

/**
 * The buttons beside the graph.
 * @param {HTMLElement} box
 * @param {{folded: () => boolean, fold: () => void, mayUnfold: boolean, view: ReturnType<typeof startView>}} of
 */
function dress(box, of) {
  const tools = document.querySelector("[data-graph-tools]");
  if (!(tools instanceof HTMLElement)) return;
  tools.hidden = false;
  const fold = tools.querySelector("[data-fold]");
  const critical = tools.querySelector("[data-critical]");
  if (fold instanceof HTMLButtonElement) {
    fold.disabled = !of.mayUnfold;
    fold.setAttribute("aria-pressed", String(of.folded()));
    fold.addEventListener("click", () => {
      of.fold();
      fold.setAttribute("aria-pressed", String(of.folded()));
    });
  }
  critical?.addEventListener("click", () => {
    const on = box.firstElementChild?.classList.toggle("show-critical") ?? false;
    critical.setAttribute("aria-pressed", String(on));
  });
  for (const button of tools.querySelectorAll("[data-zoom]")) {
    const way = button instanceof HTMLElement ? button.dataset.zoom : "";
    button.addEventListener("click", () => (way === "fit" ? of.view.fit() : of.view.zoom(way === "in" ? 1.3 : 1 / 1.3)));
  }
}
