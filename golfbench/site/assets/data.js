// The data of this page.

const content = JSON.parse(document.getElementById('content').textContent);
const STAGES = { reference: 'fixed model', before: 'baseline', after: 'trained' };
const NEVER_FINISHED = new Set(['diverged', 'oracle_failed', 'error', 'skipped', 'interrupted']);
const BAD = new Set([...NEVER_FINISHED, 'topology_changed', 'missing']);
const parsed = new Map();

/** Geometries of a track; they are parsed when the first molecule is looked at. */
const shapesOf = (index) => {
  if (!parsed.has(index)) parsed.set(index, JSON.parse(document.getElementById(`geometries-${index}`).textContent));
  return parsed.get(index);
};

/** Thousandths of an Å, as 16-bit integers in base64 or as a list, to Å: x, y, z, x, ... */
const coordinates = (code) => {
  if (code === null || code === undefined) return null;
  if (Array.isArray(code)) return Float64Array.from(code, (x) => x / 1000);
  const bytes = Uint8Array.from(atob(code), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 2 }, (_, n) => view.getInt16(2 * n, true) / 1000);
};

const weightsOf = ({ weights, weights_of_base: ofBase }) =>
  weights ? `${ofBase ? 'of the base: ' : ''}${weights.name || weights.file_sha256.slice(0, 12)}` : '';
const overlapUnknown = (entry) => Boolean(entry.weights) && entry.weights.overlap === 'unknown';
const selectionOf = (entry) => entry.selection || STAGES[entry.stage];
const rankOf = (entry) => (entry.rank === null ? MISSING : `${entry.rank}${entry.tied ? '=' : ''}`);
const groupOf = (entry) => {
  if (entry.stage === 'reference') return 'Fixed models, for comparison (no rank)';
  return entry.budget
    ? `Budget: ${entry.budget} training labels`
    : 'Baselines: no training labels beside the initial set';
};
const complete = (entry) => entry.n_failed === 0 && entry.n_missing === 0;
const measureOf = (track, name) => track.measures.find((measure) => measure.name === name);

/** Name each entry by what tells it from the others of its track. */
const nameEntries = (track) => {
  const several = (field) => new Set(track.entries.map((entry) => entry[field])).size > 1;
  const optimizers = several('optimizer');
  const oracles = several('oracle');
  const names = track.entries.map((entry) =>
    [
      entry.title,
      optimizers && entry.optimizer,
      selectionOf(entry),
      entry.budget > 0 && String(entry.budget),
      oracles && entry.oracle,
    ]
      .filter(Boolean)
      .join(' · '),
  );
  const count = new Map();
  names.forEach((name) => count.set(name, (count.get(name) || 0) + 1));
  track.entries.forEach((entry, n) => {
    entry.place = n;
    entry.name =
      count.get(names[n]) > 1
        ? `${names[n]} · ${track.published ? entry.entry_id.slice(-8) : entry.provenance.run_id}`
        : names[n];
  });
};
content.tracks.forEach(nameEntries);

/** Positions of the entries of its budget that an entry is not separable from. */
const inseparable = (track, entry) => {
  const apart = new Set(track.separable.filter((pair) => pair.includes(entry.place)).flat());
  return track.entries.filter(
    (other) =>
      other !== entry && groupOf(other) === groupOf(entry) && other.stage !== 'reference' && !apart.has(other.place),
  );
};
