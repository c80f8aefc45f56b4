// What is looked at is in the location's hash, so that a view can be shared, and nowhere else.

const DEFAULTS = {
  track: content.tracks.length ? content.tracks[0].name : '',
  q: '',
  stage: '',
  model: '',
  selection: '',
  budget: '',
  sort: '',
  all: '',
  entry: '',
  measure: '',
  number: '',
  plot: '',
  molecule: '',
  shown: '',
  find: '',
  order: '',
};
const KEPT_BETWEEN_TRACKS = ['track', 'sort', 'all', 'measure', 'number', 'plot'];
const watchers = [];
let state = { ...DEFAULTS };

const readHash = () => {
  const given = new URLSearchParams(window.location.hash.slice(1));
  const found = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) if (given.has(name)) found[name] = given.get(name);
  if (!content.tracks.some((track) => track.name === found.track)) found.track = DEFAULTS.track;
  return found;
};

const hashOf = (view) => {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(view))
    if (value && (name === 'track' || value !== DEFAULTS[name])) given.set(name, value);
  return `#${given}`;
};

/** The address of a track, with what may stay as it is. */
const trackAddress = (name) =>
  hashOf({
    ...Object.fromEntries(KEPT_BETWEEN_TRACKS.map((key) => [key, state[key]])),
    track: name,
  });

/** Change the view; a change of track, entry or molecule is a step that "back" takes back. */
const go = (changes) => {
  const next = { ...state, ...changes };
  const step = ['track', 'entry', 'molecule'].some((name) => next[name] !== state[name]);
  window.history[step ? 'pushState' : 'replaceState'](null, '', hashOf(next));
  announce(next);
};

const announce = (next) => {
  const before = state;
  state = next;
  const changed = new Set(Object.keys(DEFAULTS).filter((name) => before[name] !== next[name]));
  if (changed.size) watchers.forEach((watch) => watch(changed));
};

const watchLocation = () => {
  state = readHash();
  window.addEventListener('popstate', () => announce(readHash()));
};
const currentIndex = () => content.tracks.findIndex((track) => track.name === state.track);
