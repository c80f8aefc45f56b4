// The models of a track: how large they are, what they learned from, whose they are.

/** Entries by what makes a model: its name, its base and the weights that it started from. */
const byModel = (track) => {
  const groups = new Map();
  bestFirst(track, track.entries).forEach((entry) => {
    const key = JSON.stringify([entry.title, entry.weights && entry.weights.file_sha256]);
    groups.set(key, [...(groups.get(key) || []), entry]);
  });
  return [...groups.values()];
};

/** The lowest and the highest of some numbers. */
const rangeText = (numbers) => distinct([Math.min(...numbers), Math.max(...numbers)].map(short)).join(' to ');

const origin = (track, members) => {
  const [entry] = members;
  if (entry.stage === 'reference') return 'nothing: a fixed model';
  const initial = members.map((member) => member.initial_labels);
  const own = Math.max(...initial) > 0 ? `${rangeText(initial)} initial labels at ${entry.method}` : '';
  if (!entry.weights) return own || 'no label before the training';
  const { method, license } = entry.weights;
  return [
    `pretrained weights ${weightsOf(entry)}, trained at ${method || 'a level that is not known'} (${license || 'licence not known'})`,
    own,
  ]
    .filter(Boolean)
    .join('; ');
};

/** Year and month of a citation, where its number says it: those of arXiv do. */
const published = (text) => {
  const found = /^arXiv:(\d\d)(\d\d)\./.exec(text);
  return found ? ` (20${found[1]}-${found[2]})` : '';
};

const modelRow = (track) => (members) => {
  const [entry] = members;
  const { credits, weights } = entry;
  const name = entry.model.split(':')[0];
  const days = members.map((member) => member.provenance.finished_utc.slice(0, 10)).filter(Boolean).sort();
  const cited = credits.citations[name];
  const parameters = members.map((member) => member.parameters).filter((count) => count !== null);
  return [
    entry.title,
    parameters.length ? distinct(parameters).join(', ') : MISSING,
    { words: origin(track, members) },
    { words: weights ? [weights.overlap, overlapUnknown(entry) && warningMark()] : MISSING },
    { words: credits.licenses[name] || 'not stated' },
    { words: cited ? [citation(cited), published(cited)] : MISSING },
    { words: make('span', { class: 'date' }, distinct([days[0], days.at(-1)]).filter(Boolean).join(' to ') || MISSING) },
  ];
};

/** The section of models of a track. */
const modelsOf = (track) =>
  track.entries.length
    ? make(
        'section',
        { 'aria-label': 'Models' },
        heading(3, 'Models'),
        plainTable(
          'The best one first, by its best entry',
          ['Model', 'Parameters', 'Learned before the training from', 'Overlap with the test molecules', 'Licence', 'To cite', 'Run on'],
          byModel(track).map(modelRow(track)),
        ),
      )
    : '';
