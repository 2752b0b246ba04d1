// Shapes that the scripts of the pages share. They stand apart, so that no browser loads them.

/** What the hub tells of a job: a move tells everything, a progress report its first line only. */
interface Delta {
  id: string;
  v: [number, number];
  progress?: number;
  message?: string;
  stage?: string;
  sub?: number | null;
  status?: string;
  tool?: string;
  attempts?: number;
  cancelling?: boolean;
  created?: number;
  started?: number | null;
  finished?: number | null;
  diagnostics?: string[];
}

/** What a page shows of the live jobs. */
interface Part {
  topic: string;
  ids: () => string[];
  show: (deltas: Delta[]) => void;
  /** Does it tell where its job stands in line? */
  line?: () => boolean;
  /** After a gap, and when the line has moved: the server knows more than the deltas tell. */
  again?: () => void;
}

interface Line {
  key: string;
  label: string;
  shown: number | null;
  values: (number | null)[];
}

interface Chart {
  form: string;
  unit: string;
  times: number[];
  lines: Line[];
}

interface Suggestion {
  text: string;
  about: string;
  start: number;
}

interface Task {
  id: string;
  tool: string;
  status: string;
  stage: string;
  v: [number, number];
}

/** A workflow as it is drawn: jobs or stages, and what leads to what. */
interface Graph {
  nodes: { id: string; label: string; about: string }[];
  edges: [string, string][];
}

interface Drawn {
  id: string;
  label: string;
  about: string;
  x: number;
  y: number;
  width: number;
  height: number;
  shape: SVGGElement;
}
